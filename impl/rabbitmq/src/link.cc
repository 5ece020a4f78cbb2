// SPDX-License-Identifier: Apache-2.0

#include "link.h"

#include <amqp_framing.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <utility>
#include <vector>

#include "broker_error.h"
#include "openmessaging/internal/text.h"

namespace openmessaging::rabbitmq {
namespace {

using Clock = std::chrono::steady_clock;

// Frames that are read before tasks have their turn again.
constexpr int kFramesInTurn = 512;
// A body's size is what a peer claims; more comes as it comes.
constexpr uint64_t kMostReserved = uint64_t{8} << 20;

template <typename T>
const T& Decoded(const amqp_method_t& method) {
  return *static_cast<const T*>(method.decoded);
}

bool HasContent(amqp_method_number_t method) {
  return method == AMQP_BASIC_DELIVER_METHOD ||
         method == AMQP_BASIC_GET_OK_METHOD ||
         method == AMQP_BASIC_RETURN_METHOD;
}

Reply ReplyOf(const amqp_method_t& method) {
  Reply reply;
  reply.method = method.id;
  if (method.id == AMQP_QUEUE_DECLARE_OK_METHOD) {
    const auto& declared = Decoded<amqp_queue_declare_ok_t>(method);
    reply.message_count = declared.message_count;
    reply.consumer_count = declared.consumer_count;
  } else if (method.id == AMQP_BASIC_GET_OK_METHOD) {
    const auto& got = Decoded<amqp_basic_get_ok_t>(method);
    reply.delivery_tag = got.delivery_tag;
    reply.message_count = got.message_count;
  }
  return reply;
}

// What would be refused again by the same credentials.
bool IsRefusal(const absl::Status& status) {
  const Code code = OmsCode(status);
  return code == Code::kUnauthorized || code == Code::kForbidden;
}

}  // namespace

Link::Link(const Config& config, std::string purpose)
    : config_(config),
      purpose_(std::move(purpose)),
      back_off_({.first = std::chrono::milliseconds(50),
                 .longest = config.reconnect_wait}),
      thread_(*this) {}

Link::~Link() { Stop(Clock::now()); }

absl::Status Link::Connect(TimePoint deadline) {
  uint64_t attempts = 0;
  {
    const internal::MutexLock lock(mutex_);
    if (connected_) return absl::OkStatus();
    attempts = attempts_;
  }
  const bool posted = Post([this] {
    wanted_ = true;
    next_attempt_ = {};
  });
  if (!posted) {
    return MakeStatus(Code::kClosed, "connect to \"",
                      std::string_view(Text(config_.hosts[0])),
                      "\": the connection is closed");
  }
  const internal::MutexLock lock(mutex_);
  while (!connected_ && attempts_ == attempts) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  if (connected_) return absl::OkStatus();
  if (attempts_ != attempts) return last_error_;
  return BrokenLink("connect to", Text(config_.hosts[0]), "no answer in time");
}

ServerInfo Link::server() const {
  const internal::MutexLock lock(mutex_);
  return server_;
}

void Link::Stop(TimePoint deadline) {
  auto ended = std::make_shared<std::promise<void>>();
  const bool posted = Post([this, ended] {
    wanted_ = false;
    if (connection_ != nullptr) {
      amqp_connection_close(connection_, AMQP_REPLY_SUCCESS);
    }
    Disconnect(MakeStatus(Code::kClosed, purpose_, " \"",
                          std::string_view(Text(config_.hosts[0])),
                          "\": the connection is closed"));
    slots_.clear();
    ended->set_value();
  });
  if (posted) {
    // Asked with a least, because a deadline may be long past.
    const auto until =
        std::max(deadline, Clock::now() + std::chrono::milliseconds(200));
    if (ended->get_future().wait_until(until) != std::future_status::ready) {
      const int socket = socket_.load();
      if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
    }
  }
  thread_.Stop();
}

TimePoint Link::Turn(bool ready) {
  if (connection_ == nullptr) {
    if (!wanted_ && slots_.empty()) return TimePoint::max();
    // Whoever helps must not wait for a login that he did not ask for.
    if (!thread_.IsHere()) {
      (void)Post([] {});
      return TimePoint::max();
    }
    if (Clock::now() < next_attempt_) return next_attempt_;
    TryToConnect();
    if (connection_ == nullptr) return next_attempt_;
    ready = true;
  }
  if (ready) Read();
  const TimePoint now = Clock::now();
  if (now >= next_tick_) Tick();
  if (connection_ == nullptr) return Turn(false);
  if (amqp_frames_enqueued(connection_) || amqp_data_in_buffer(connection_)) {
    return {};
  }
  // Reading sends heartbeats and sees that the other side's are missing.
  return now + std::min<Clock::duration>(config_.heartbeat / 4,
                                         std::chrono::milliseconds(500));
}

bool Link::CanWrite() const {
  if (connection_ == nullptr) return false;
  // It says so where a third of the buffer is free, which has 87 KiB or more.
  pollfd watched{socket_.load(), POLLOUT, 0};
  return ::poll(&watched, 1, 0) == 1 && watched.revents == POLLOUT;
}

void Link::Tick() {
  next_tick_ = Clock::now() + std::chrono::milliseconds(500);
  std::vector<std::shared_ptr<Channel>> channels;
  for (const auto& [id, slot] : slots_) channels.push_back(slot.channel);
  for (const auto& channel : channels) channel->OnTick();
}

void Link::Renew(const Channel& channel, const absl::Status& why) {
  Slot* const slot = Find(channel);
  if (slot == nullptr || !slot->open) return;
  const std::shared_ptr<Channel> keep = slot->channel;
  amqp_channel_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  close.reply_text = amqp_empty_bytes;
  const amqp_channel_t id = slot->id;
  Fail(*slot, why, false);
  Slot* const still = Find(*keep);
  if (still == nullptr || connection_ == nullptr) return;
  // Its number may be used again when the broker has answered.
  still->opening = true;
  still->calls.push_back([this, keep](const absl::StatusOr<Reply>& reply) {
    Slot* const closed = Find(*keep);
    if (closed == nullptr || !reply.ok()) return;
    closed->opening = false;
    OpenSlot(*closed);
  });
  Check(amqp_send_method(connection_, id, AMQP_CHANNEL_CLOSE_METHOD, &close));
}

void Link::TryToConnect() {
  absl::Status failed;
  for (size_t i = 0; i < config_.hosts.size(); ++i) {
    const Config::Host& host = config_.hosts[next_host_ % config_.hosts.size()];
    auto connection = LogIn(config_, host, purpose_);
    if (connection.ok()) {
      connection_ = connection->release();
      break;
    }
    failed = connection.status();
    ++next_host_;
  }
  if (connection_ == nullptr) {
    next_attempt_ = Clock::now() + back_off_.Next();
    if (IsRefusal(failed)) {
      wanted_ = false;
      next_attempt_ = TimePoint::max();
    }
    Tell(false, failed);
    FailAll(failed);
    return;
  }
  wanted_ = false;
  back_off_.Reset();
  blocked_ = false;
  socket_ = amqp_get_sockfd(connection_);
  {
    const internal::MutexLock lock(mutex_);
    server_ = InfoOf(connection_);
  }
  Tell(true, absl::OkStatus());
  for (auto& [id, slot] : slots_) OpenSlot(slot);
}

void Link::Want() {
  if (connection_ != nullptr || next_attempt_ != TimePoint::max()) return;
  wanted_ = true;
  next_attempt_ = Clock::now() + back_off_.Next();
}

std::string Link::Where() const {
  return Text(config_.hosts[next_host_ % config_.hosts.size()]);
}

void Link::Tell(bool connected, const absl::Status& status) {
  const internal::MutexLock lock(mutex_);
  connected_ = connected;
  ++attempts_;
  last_error_ = status;
  changed_.NotifyAll();
}

void Link::Disconnect(const absl::Status& why) {
  const int socket = socket_.exchange(-1);
  // Who waits for it on another thread wakes.
  if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
  if (connection_ != nullptr) {
    amqp_destroy_connection(std::exchange(connection_, nullptr));
  }
  blocked_ = false;
  next_attempt_ = Clock::now() + back_off_.Next();
  Tell(false, why);
  FailAll(why);
}

void Link::FailAll(const absl::Status& why) {
  // A channel that is told may detach itself or others.
  std::vector<amqp_channel_t> ids;
  for (const auto& [id, slot] : slots_) ids.push_back(id);
  for (const amqp_channel_t id : ids) {
    const auto found = slots_.find(id);
    if (found != slots_.end()) Fail(found->second, why, false);
  }
}

void Link::Fail(Slot& slot, const absl::Status& why, bool refused) {
  slot.open = slot.opening = false;
  slot.method.id = 0;
  const std::shared_ptr<Channel> channel = slot.channel;
  std::deque<OnReply> calls;
  calls.swap(slot.calls);
  // First, so that whoever asks again on a failed call waits for an open one.
  channel->OnDown(why, refused);
  for (OnReply& call : calls) {
    if (call) call(why);
  }
}

Link::Slot* Link::Find(const Channel& channel) {
  for (auto& [id, slot] : slots_) {
    if (slot.channel.get() == &channel) return &slot;
  }
  return nullptr;
}

const Link::Slot* Link::Find(const Channel& channel) const {
  return const_cast<Link*>(this)->Find(channel);
}

void Link::Attach(std::shared_ptr<Channel> channel) {
  // Numbers are used again late: what the broker says of an old one must not
  // reach a new one.
  do {
    last_id_ = last_id_ >= 2000 ? 1 : last_id_ + 1;
  } while (slots_.contains(last_id_));
  Slot& slot = slots_[last_id_];
  slot.id = last_id_;
  slot.channel = std::move(channel);
  if (connection_ != nullptr) OpenSlot(slot);
}

void Link::Detach(const Channel& channel) {
  std::erase_if(slots_, [&](const auto& entry) {
    return entry.second.channel.get() == &channel;
  });
}

void Link::Reopen(const Channel& channel) {
  Slot* const slot = Find(channel);
  if (slot != nullptr && connection_ != nullptr) OpenSlot(*slot);
}

bool Link::IsOpen(const Channel& channel) const {
  const Slot* const slot = Find(channel);
  return slot != nullptr && slot->open;
}

void Link::OpenSlot(Slot& slot) {
  if (slot.open || slot.opening) return;
  slot.opening = true;
  amqp_channel_open_t open{};
  open.out_of_band = amqp_empty_bytes;
  Check(
      amqp_send_method(connection_, slot.id, AMQP_CHANNEL_OPEN_METHOD, &open));
}

bool Link::Check(int written) {
  if (written == AMQP_STATUS_OK) return true;
  // The connection is cut when tasks are done with it.
  const int socket = socket_.load();
  if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
  return false;
}

Link::Slot* Link::BeginCall(const Channel& channel, OnReply& on_reply) {
  Slot* const slot = Find(channel);
  if (slot != nullptr && slot->open) {
    slot->calls.push_back(std::move(on_reply));
    return slot;
  }
  Want();
  if (on_reply) {
    on_reply(
        BrokenLink("call", Text(config_.hosts[0]), "the channel is not open"));
  }
  return nullptr;
}

void Link::Close(const Channel& channel, OnReply on_closed) {
  Slot* const slot = Find(channel);
  if (slot == nullptr || !slot->open) {
    Detach(channel);
    if (on_closed) on_closed(Reply());
    return;
  }
  slot->calls.push_back(
      [this, &channel, done = std::move(on_closed)](const auto& reply) {
        const std::shared_ptr<Channel> keep =
            Find(channel) == nullptr ? nullptr : Find(channel)->channel;
        Detach(channel);
        if (done) done(reply);
      });
  amqp_channel_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  close.reply_text = amqp_empty_bytes;
  Check(amqp_send_method(connection_, slot->id, AMQP_CHANNEL_CLOSE_METHOD,
                         &close));
}

void Link::Read() {
  for (int i = 0; i < kFramesInTurn && connection_ != nullptr; ++i) {
    amqp_frame_t frame{};
    timeval none{};
    const int status =
        amqp_simple_wait_frame_noblock(connection_, &frame, &none);
    if (status == AMQP_STATUS_TIMEOUT) return;
    if (status != AMQP_STATUS_OK) {
      Disconnect(BrokenLink(purpose_, Where(), amqp_error_string2(status)));
      return;
    }
    Take(frame);
    // Asking whether there is more costs two system calls, and who waits for
    // the socket is told. But TLS has a buffer of its own.
    if (connection_ != nullptr && !config_.tls.enabled &&
        !amqp_frames_enqueued(connection_) &&
        !amqp_data_in_buffer(connection_)) {
      return;
    }
  }
}

void Link::Take(const amqp_frame_t& frame) {
  if (frame.channel == 0) {
    if (frame.frame_type == AMQP_FRAME_METHOD) {
      TakeLinkMethod(frame.payload.method);
    }
    if (connection_ != nullptr) {
      amqp_maybe_release_buffers_on_channel(connection_, 0);
    }
    return;
  }
  const auto found = slots_.find(frame.channel);
  const amqp_channel_t id = frame.channel;
  if (found != slots_.end()) {
    Slot& slot = found->second;
    if (frame.frame_type == AMQP_FRAME_METHOD) {
      TakeMethod(slot, frame.payload.method);
    } else if (frame.frame_type == AMQP_FRAME_HEADER) {
      TakeHeader(slot, frame);
    } else if (frame.frame_type == AMQP_FRAME_BODY) {
      TakeBody(slot, View(frame.payload.body_fragment));
    }
  }
  // It lies in the channel's pool until its content is whole.
  const auto still = slots_.find(id);
  if (connection_ != nullptr &&
      (still == slots_.end() || still->second.method.id == 0)) {
    amqp_maybe_release_buffers_on_channel(connection_, id);
  }
}

void Link::TakeLinkMethod(const amqp_method_t& method) {
  switch (method.id) {
    case AMQP_CONNECTION_BLOCKED_METHOD:
      blocked_ = true;
      return;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      blocked_ = false;
      return;
    case AMQP_CONNECTION_CLOSE_METHOD: {
      const auto& close = Decoded<amqp_connection_close_t>(method);
      const absl::Status why = RefusedBy(purpose_, Where(), close.reply_code,
                                         View(close.reply_text));
      amqp_connection_close_ok_t ok{};
      (void)amqp_send_method(connection_, 0, AMQP_CONNECTION_CLOSE_OK_METHOD,
                             &ok);
      Disconnect(why);
      return;
    }
    default:
      return;
  }
}

void Link::TakeMethod(Slot& slot, const amqp_method_t& method) {
  if (HasContent(method.id)) {
    slot.method = method;
    slot.properties = nullptr;
    return;
  }
  switch (method.id) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
      slot.opening = false;
      slot.open = true;
      slot.channel->OnOpen();
      return;
    case AMQP_CHANNEL_CLOSE_METHOD:
      Refuse(slot, Decoded<amqp_channel_close_t>(method));
      return;
    case AMQP_BASIC_ACK_METHOD: {
      const auto& ack = Decoded<amqp_basic_ack_t>(method);
      slot.channel->OnConfirm(ack.delivery_tag, ack.multiple != 0, true);
      return;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto& nack = Decoded<amqp_basic_nack_t>(method);
      slot.channel->OnConfirm(nack.delivery_tag, nack.multiple != 0, false);
      return;
    }
    case AMQP_BASIC_CANCEL_METHOD: {
      const auto& cancel = Decoded<amqp_basic_cancel_t>(method);
      slot.channel->OnCancel(View(cancel.consumer_tag));
      return;
    }
    case AMQP_CHANNEL_FLOW_METHOD: {
      // RabbitMQ does not send it.
      return;
    }
    default:
      Answer(slot, ReplyOf(method));
  }
}

void Link::Answer(Slot& slot, const absl::StatusOr<Reply>& reply) {
  if (slot.calls.empty()) return;
  const OnReply call = std::move(slot.calls.front());
  slot.calls.pop_front();
  if (call) call(reply);
}

void Link::Refuse(Slot& slot, const amqp_channel_close_t& close) {
  const absl::Status why =
      RefusedBy(purpose_, Where(), close.reply_code, View(close.reply_text));
  amqp_channel_close_ok_t ok{};
  Check(amqp_send_method(connection_, slot.id, AMQP_CHANNEL_CLOSE_OK_METHOD,
                         &ok));
  Fail(slot, why, true);
}

void Link::TakeHeader(Slot& slot, const amqp_frame_t& frame) {
  if (slot.method.id == 0) return;
  slot.properties =
      static_cast<amqp_basic_properties_t*>(frame.payload.properties.decoded);
  slot.body_bytes = frame.payload.properties.body_size;
  slot.body.clear();
  if (slot.body_bytes == 0) Complete(slot, {}, nullptr);
}

void Link::TakeBody(Slot& slot, std::string_view fragment) {
  if (slot.properties == nullptr) return;
  if (slot.body.empty() && fragment.size() == slot.body_bytes) {
    Complete(slot, fragment, nullptr);
    return;
  }
  if (slot.body.empty()) {
    slot.body.reserve(std::min(slot.body_bytes, kMostReserved));
  }
  slot.body.append(fragment);
  if (slot.body.size() < slot.body_bytes) return;
  std::string body;
  body.swap(slot.body);
  Complete(slot, body, &body);
}

void Link::Complete(Slot& slot, std::string_view body, std::string* owned) {
  const amqp_method_t method = slot.method;
  slot.method.id = 0;
  const Content content{*std::exchange(slot.properties, nullptr), body, owned};
  const std::shared_ptr<Channel> channel = slot.channel;
  if (method.id == AMQP_BASIC_DELIVER_METHOD) {
    channel->OnDelivery(Decoded<amqp_basic_deliver_t>(method), content);
  } else if (method.id == AMQP_BASIC_RETURN_METHOD) {
    channel->OnReturn(Decoded<amqp_basic_return_t>(method), content);
  } else {
    channel->OnGot(Decoded<amqp_basic_get_ok_t>(method), content);
    Slot* const still = Find(*channel);
    if (still != nullptr) Answer(*still, ReplyOf(method));
  }
}

}  // namespace openmessaging::rabbitmq
