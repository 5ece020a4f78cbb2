// SPDX-License-Identifier: Apache-2.0

#include "sender.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>
#include <tuple>

#include "errors.h"
#include "headers.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/object_pool.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::string What(std::string_view queue) {
  return Concat("send to \"", queue, "\"");
}

// Up to here a copy by librdkafka is cheaper than to keep the message until its
// report, which is on another thread than the one that will need the memory.
constexpr size_t kCopiedBytes = 4096;

// How long a route is taken without a question; it asks whether the cluster's
// answers are fresh.
constexpr milliseconds kRouteFor{500};

Outcome OutcomeOfReport(const rd_kafka_message_t& message) {
  switch (rd_kafka_message_status(&message)) {
    case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
      return Outcome::kNotStored;
    case RD_KAFKA_MSG_STATUS_PERSISTED:
      return Outcome::kStored;
    default:
      return Outcome::kUnknown;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Sender>> Sender::Make(
    const std::shared_ptr<Cluster>& cluster, bool transactional) {
  std::string unique;
  std::random_device random;
  for (int i = 0; i < 4; ++i) {
    const uint32_t part = random();
    internal::AppendHex(unique, internal::NumberBytes(part));
  }
  std::vector<std::pair<std::string, std::string>> settings = {
      {"enable.idempotence", "true"},
      // The partition that the official client gives a key.
      {"partitioner", "murmur2_random"}};
  // Nobody goes on with it: what groups have is what fences.
  if (transactional) settings.emplace_back("transactional.id", "oms-" + unique);
  auto conf = cluster->config().Make(Config::Kind::kProducer, settings);
  if (!conf.ok()) return conf.status();
  auto sender = std::make_shared<Sender>(cluster);
  rd_kafka_conf_set_opaque(conf->get(), sender.get());
  rd_kafka_conf_set_events(conf->get(),
                           RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
                               RD_KAFKA_EVENT_STATS);
  rd_kafka_conf_set_background_event_cb(conf->get(), &Sender::OnEvent);
  auto handle = Handle::Make(RD_KAFKA_PRODUCER, *std::move(conf));
  if (!handle.ok()) return handle.status();
  sender->handle_ = *std::move(handle);
  const OwnedQueue main(rd_kafka_queue_get_main(sender->get()));
  const OwnedQueue background(rd_kafka_queue_get_background(sender->get()));
  rd_kafka_queue_forward(main.get(), background.get());
  sender->id_prefix_ = unique;
  return sender;
}

Sender::~Sender() {
  {
    const internal::MutexLock lock(mutex_);
    topics_.clear();
  }
}

void Sender::Close(std::shared_ptr<Sender> sender) {
  if (sender == nullptr || sender.use_count() != 1) return;
  {
    const internal::MutexLock lock(sender->mutex_);
    sender->topics_.clear();
  }
  sender->cluster_->NoteStatistics(rd_kafka_name(sender->get()), {});
  Handle::Release(std::move(sender->handle_));
}

rd_kafka_topic_t* Sender::TopicOf(std::string_view topic) {
  const internal::MutexLock lock(mutex_);
  const auto found = topics_.find(topic);
  if (found != topics_.end()) return found->second.get();
  std::string name(topic);
  OwnedTopic made(rd_kafka_topic_new(get(), name.c_str(), nullptr));
  return topics_.emplace(std::move(name), std::move(made)).first->second.get();
}

MessageId Sender::NewId() {
  std::array<char, MessageId::kMaxTextBytes> text;
  char* out = std::copy(id_prefix_.begin(), id_prefix_.end(), text.data());
  *out++ = '-';
  out = std::to_chars(out, text.data() + text.size(),
                      ids_.fetch_add(1, std::memory_order_relaxed))
            .ptr;
  return *MessageId::FromText(
      {text.data(), static_cast<size_t>(out - text.data())});
}

void Sender::OnEvent(rd_kafka_t* rk, rd_kafka_event_t* event, void* opaque) {
  const OwnedEvent owner(event);
  if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
    KafkaProducer::CompleteAll(event);
  } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_STATS) {
    static_cast<Sender*>(opaque)->cluster_->NoteStatistics(
        rd_kafka_name(rk), rd_kafka_event_stats(event));
  } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
    static_cast<Sender*>(opaque)->OnError(rd_kafka_event_error(event));
  }
}

void Sender::OnError(rd_kafka_resp_err_t error) {
  if (error == RD_KAFKA_RESP_ERR__FATAL) failed_ = true;
  // Whoever sends next learns at once whether anybody is there.
  if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) cluster_->Forget({});
}

absl::StatusOr<std::shared_ptr<Sender>> Senders::Get() {
  const internal::MutexLock lock(mutex_);
  if (sender_ == nullptr || sender_->failed()) {
    auto made = Sender::Make(cluster_, kind_ == Kind::kTransactional);
    if (!made.ok()) return made.status();
    sender_ = *std::move(made);
  }
  return sender_;
}

void Senders::Close() {
  std::shared_ptr<Sender> sender;
  {
    const internal::MutexLock lock(mutex_);
    sender.swap(sender_);
  }
  Sender::Close(std::move(sender));
}

void KafkaProducer::State::Link(Pending& one) {
  one.next = first;
  if (first != nullptr) first->previous = &one;
  first = &one;
  ++count;
}

void KafkaProducer::State::Unlink(Pending& one) {
  (one.previous == nullptr ? first : one.previous->next) = one.next;
  if (one.next != nullptr) one.next->previous = one.previous;
  one.next = one.previous = nullptr;
  --count;
}

void KafkaProducer::Send(std::span<const Message> batch,
                         const driver::CallContext& context,
                         driver::SendCompletion& done) {
  if (state_->deferred == 0 && (context.caller_waits || KnowsAll(batch))) {
    SendNow(batch, context, done);
    return;
  }
  ++state_->deferred;
  worker_.Post([this,
                messages = std::vector<Message>(batch.begin(), batch.end()),
                call = driver::CallContext(context), &done]() mutable {
    call.caller_waits = true;
    const TimePoint soon = Clock::now() + std::chrono::seconds(10);
    call.deadline = std::min(call.deadline, soon);
    SendNow(messages, call, done);
    const internal::MutexLock lock(state_->mutex);
    --state_->deferred;
    state_->changed.NotifyAll();
  });
}

bool KafkaProducer::KnowsAll(std::span<const Message> batch) const {
  {
    State& state = *state_;
    const internal::MutexLock lock(state.mutex);
    if (batch.size() == 1 && state.route.queue == batch[0].destination() &&
        state.route.changes == cluster_->changes() &&
        internal::CoarseSteadyNow() < state.route.until) {
      return true;
    }
  }
  for (const Message& message : batch) {
    if (cluster_->KnownPartitions(message.destination()) < 0) return false;
  }
  return true;
}

void KafkaProducer::SendNow(std::span<const Message> batch,
                            const driver::CallContext& context,
                            driver::SendCompletion& done) {
  // The destinations and keys of what was refused.
  std::vector<const Message*> refused;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Message& message = batch[i];
    absl::Status status;
    for (const Message* const before : refused) {
      if (before->destination() != message.destination() ||
          before->message_key() != message.message_key()) {
        continue;
      }
      status = MakeStatus(Code::kUnavailable, What(message.destination()),
                          ": an earlier message of its key in the batch was "
                          "refused (OMS-DRV-011)");
      break;
    }
    if (status.ok()) status = SendOne(message, context, done, i);
    if (status.ok()) continue;
    refused.push_back(&message);
    done.Failed(i, std::move(status));
  }
}

std::pair<rd_kafka_topic_t*, int32_t> KafkaProducer::Enter(
    std::string_view queue, Pending& pending) {
  State& state = *state_;
  const internal::MutexLock lock(state.mutex);
  if (state.route.queue != queue ||
      state.route.changes != cluster_->changes() ||
      internal::CoarseSteadyNow() >= state.route.until ||
      state.route.sender->failed()) {
    return {nullptr, 0};
  }
  pending.sender = state.route.sender;
  state.Link(pending);
  return {state.route.topic, state.route.partitions};
}

absl::Status KafkaProducer::FindRoute(std::string_view queue,
                                      TimePoint deadline) {
  Route found{.queue = std::string(queue), .changes = cluster_->changes()};
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  found.partitions = *partitions;
  auto sender = senders_.Get();
  if (!sender.ok()) return sender.status();
  found.topic = (*sender)->TopicOf(queue);
  found.sender = *std::move(sender);
  found.until = internal::CoarseSteadyNow() + kRouteFor;
  const internal::MutexLock lock(state_->mutex);
  std::swap(state_->route, found);
  return absl::OkStatus();
}

absl::Status KafkaProducer::SendOne(const Message& message,
                                    const driver::CallContext& context,
                                    driver::SendCompletion& done,
                                    size_t index) {
  const std::string_view queue = message.destination();
  Pending* const pending = internal::ObjectPool<Pending>::Take();
  auto [topic, partitions] = Enter(queue, *pending);
  absl::Status status;
  while (topic == nullptr && status.ok()) {
    status = FindRoute(queue, context.deadline);
    if (status.ok()) std::tie(topic, partitions) = Enter(queue, *pending);
  }
  if (!status.ok()) {
    internal::ObjectPool<Pending>::Give(pending);
    return status;
  }
  pending->state = state_;
  pending->index = index;
  pending->id = pending->sender->NewId();
  pending->delayed = message.delay().count() > 0;
  pending->done = &done;
  const int32_t wanted = message.requested_partition();
  if (wanted >= partitions) {
    Drop(pending);
    return MakeStatus(Code::kBadParameter, What(queue), ": partition ", wanted,
                      " is asked for; the queue has ", partitions,
                      " (OMS-ORDER-013)");
  }
  status = Produce(message, topic, context.born_timestamp_ms, *pending);
  if (!status.ok()) Drop(pending);
  return status;
}

absl::Status KafkaProducer::Produce(const Message& message,
                                    rd_kafka_topic_t* topic, int64_t born_ms,
                                    Pending& pending) {
  static const std::string host = HostName();
  std::array<char, MessageId::kMaxPrintedBytes> id_text;
  OwnedHeaders headers = NativeHeaders(
      message, {.message_id = pending.id.Print(id_text),
                .born_timestamp_ms = born_ms,
                .host = host});
  const std::string_view body = message.body();
  const std::string_view key = message.message_key();
  const int32_t wanted = message.requested_partition();
  const bool tombstone =
      body.empty() && message.properties().GetOr<bool>(kTombstone, false);
  const bool copy = body.size() <= kCopiedBytes;
  if (!copy) pending.message = message;  // Shares its bytes.
  // An empty body is not an absent one.
  static char nothing = 0;
  void* const payload =
      tombstone ? nullptr
                : (body.empty() ? &nothing : const_cast<char*>(body.data()));
  std::array<rd_kafka_vu_t, 7> arguments;
  arguments[0].vtype = RD_KAFKA_VTYPE_RKT;
  arguments[0].u.rkt = topic;
  arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION;
  arguments[1].u.i32 = wanted < 0 ? RD_KAFKA_PARTITION_UA : wanted;
  arguments[2].vtype = RD_KAFKA_VTYPE_VALUE;
  arguments[2].u.mem.ptr = payload;
  arguments[2].u.mem.size = body.size();
  arguments[3].vtype = RD_KAFKA_VTYPE_KEY;
  arguments[3].u.mem.ptr =
      key.empty() ? nullptr : const_cast<char*>(key.data());
  arguments[3].u.mem.size = key.size();
  arguments[4].vtype = RD_KAFKA_VTYPE_OPAQUE;
  arguments[4].u.ptr = &pending;
  arguments[5].vtype = RD_KAFKA_VTYPE_HEADERS;
  arguments[5].u.headers = headers.get();
  arguments[6].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
  arguments[6].u.i = copy ? RD_KAFKA_MSG_F_COPY : 0;
  const OwnedError error(rd_kafka_produceva(
      pending.sender->get(), arguments.data(), arguments.size()));
  if (error == nullptr) {
    // From here on `pending` may be gone.
    (void)headers.release();
    return absl::OkStatus();
  }
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error.get());
  if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
    cluster_->Forget(message.destination());
  }
  return KafkaStatus(code, What(message.destination()), Outcome::kNotStored);
}

void KafkaProducer::Drop(Pending* pending) {
  {
    const internal::MutexLock lock(state_->mutex);
    state_->Unlink(*pending);
    if (state_->waiting > 0) state_->changed.NotifyAll();
  }
  Recycle(pending);
}

void KafkaProducer::Recycle(Pending* pending) {
  pending->sender.reset();
  pending->state.reset();
  pending->message = Message();
  internal::ObjectPool<Pending>::Give(pending);
}

void KafkaProducer::Complete(const rd_kafka_message_t& message,
                             Pending& pending) {
  driver::SendCompletion* const done = pending.done.exchange(nullptr);
  if (done == nullptr) return;  // The producer has closed.
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    // A delayed message has its place when it is due.
    done->Sent(pending.index,
               {.message_id = pending.id,
                .partition = message.partition,
                .offset = pending.delayed ? -1 : message.offset});
    return;
  }
  done->Failed(
      pending.index,
      KafkaStatus(message.err, What(rd_kafka_topic_name(message.rkt)),
                  OutcomeOfReport(message)));
}

void KafkaProducer::CompleteAll(rd_kafka_event_t* event) {
  std::vector<Pending*> ended;
  ended.reserve(rd_kafka_event_message_count(event));
  while (const rd_kafka_message_t* const message =
             rd_kafka_event_message_next(event)) {
    auto* const pending = static_cast<Pending*>(message->_private);
    Complete(*message, *pending);
    ended.push_back(pending);
  }
  for (size_t i = 0; i < ended.size();) {
    const std::shared_ptr<State> state = ended[i]->state;
    const internal::MutexLock lock(state->mutex);
    for (; i < ended.size() && ended[i]->state == state; ++i) {
      state->Unlink(*ended[i]);
    }
    if (state->waiting > 0) state->changed.NotifyAll();
  }
  for (Pending* const pending : ended) Recycle(pending);
}

absl::Status KafkaProducer::Flush(TimePoint deadline) {
  State& state = *state_;
  const internal::MutexLock lock(state.mutex);
  ++state.waiting;
  bool in_time = true;
  while (in_time && (state.count > 0 || state.deferred > 0)) {
    in_time = state.changed.WaitUntil(state.mutex, deadline);
  }
  --state.waiting;
  if (state.count == 0 && state.deferred == 0) return absl::OkStatus();
  return MakeStatus(Code::kTimeout, "flush: ", state.count,
                    " messages have no answer yet");
}

absl::Status KafkaProducer::Close(TimePoint deadline) {
  const absl::Status flushed = Flush(deadline);
  std::vector<std::pair<driver::SendCompletion*, size_t>> left;
  Route route;
  {
    const internal::MutexLock lock(state_->mutex);
    // What waits for a look-up ends when its own deadline does.
    while (state_->deferred > 0) state_->changed.Wait(state_->mutex);
    for (Pending* one = state_->first; one != nullptr; one = one->next) {
      if (auto* const done = one->done.exchange(nullptr)) {
        left.emplace_back(done, one->index);
      }
    }
    std::swap(route, state_->route);
  }
  for (const auto& [done, index] : left) {
    StatusDetail detail = DefaultDetail(Code::kClosed);
    detail.outcome = Outcome::kUnknown;
    done->Failed(index, WithDetail(MakeStatus(Code::kClosed,
                                              "send: the producer was closed "
                                              "before the broker answered"),
                                   detail));
  }
  return flushed;
}

}  // namespace openmessaging::kafka
