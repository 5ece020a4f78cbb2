// SPDX-License-Identifier: Apache-2.0

#include "producer.h"

#include <amqp_framing.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>

#include "broker_error.h"
#include "delay_line.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/text.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

// So much is written before frames are read again.
constexpr size_t kMostInTurn = 256;
constexpr size_t kMostBytesInTurn = size_t{512} << 10;

// How long a destination of delayed messages is taken to be there.
constexpr std::chrono::seconds kThereFor{5};

// Longest time that a confirm is waited for.
constexpr std::chrono::seconds kConfirmLimit{4};

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// About what a message has beside its fields and its body: two frames, and how
// the broker is told where it goes.
constexpr size_t kEnvelopeBytes = 512;

// Returns: how many bytes it has for the broker, or a few more. One with a
// delay may have to make its levels first.
size_t CostOf(const Message& message) {
  if (message.delay().count() > 0) return Link::kMostHere + 1;
  return message.body().size() +
         2 * driver::MessageAccess::Fields(message).size() + kEnvelopeBytes;
}

size_t CostOfAll(std::span<const Message> batch) {
  size_t bytes = 0;
  for (const Message& message : batch) bytes += CostOf(message);
  return bytes;
}

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace

PublishChannel::PublishChannel(std::shared_ptr<Link> link,
                               std::shared_ptr<const KeptQueues> kept,
                               std::string id_prefix, QueueType queue_type)
    : link_(std::move(link)),
      kept_(std::move(kept)),
      id_prefix_(std::move(id_prefix)),
      queue_type_(queue_type),
      host_(HostName()) {}

std::string PublishChannel::Entry::Id(std::string_view prefix) const {
  return back_to.empty() ? internal::Concat(prefix, '-', number)
                         : message.message_id().ToString();
}

// --- any thread ---

bool PublishChannel::Add(std::span<const Message> batch, int64_t born_ms,
                         driver::SendCompletion& done, const Left& left) {
  const internal::MutexLock lock(mutex_);
  for (size_t i = 0; i < batch.size(); ++i) {
    Entry& entry = incoming_.emplace_back();
    entry.message = batch[i];  // Shares its bytes.
    entry.born_ms = born_ms;
    entry.index = i;
    entry.done = &done;
    entry.left = left;
    entry.delay_units = DelayUnits(entry.message.delay());
  }
  enqueued_ += batch.size();
  return !batch.empty() && !std::exchange(pump_posted_, true);
}

void PublishChannel::Enqueue(std::span<const Message> batch, int64_t born_ms,
                             driver::SendCompletion& done) {
  if (Add(batch, born_ms, done, nullptr)) PostPump();
}

void PublishChannel::EnqueueAndAwait(std::span<const Message> batch,
                                     int64_t born_ms,
                                     driver::SendCompletion& done,
                                     TimePoint deadline) {
  const auto left = std::make_shared<std::atomic<size_t>>(batch.size());
  const bool begin = Add(batch, born_ms, done, left);
  if (begin && CostOfAll(batch) <= Link::kMostHere) {
    const bool begun = link_->Run(
        [self = shared_from_this()] { self->Pump(Link::kMostHere); });
    if (!begun) FailAll();
  } else if (begin) {
    PostPump();
  }
  (void)link_->Await([&left] { return left->load() == 0; }, deadline);
}

void PublishChannel::EnqueueBack(const Message& message, std::string queue,
                                 std::chrono::milliseconds delay,
                                 driver::SendCompletion& done) {
  bool post = false;
  {
    const internal::MutexLock lock(mutex_);
    Entry& entry = incoming_.emplace_back();
    entry.message = message;
    entry.born_ms = message.born_timestamp().count();
    entry.done = &done;
    entry.delay_units = DelayUnits(delay);
    entry.back_to = std::move(queue);
    ++enqueued_;
    post = !std::exchange(pump_posted_, true);
  }
  if (post) PostPump();
}

void PublishChannel::PostPump() {
  const bool posted = link_->Post(
      [self = shared_from_this()] { self->Pump(kMostBytesInTurn); });
  // The link has stopped: nobody else works on it any more.
  if (!posted) FailAll();
}

absl::Status PublishChannel::AwaitAll(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  const uint64_t until = enqueued_;
  while (completed_ < until) {
    if (!changed_.WaitUntil(mutex_, deadline) && completed_ < until) {
      return MakeStatus(Code::kTimeout, "flush: ", until - completed_,
                        " messages are not confirmed yet");
    }
  }
  return absl::OkStatus();
}

absl::Status PublishChannel::AwaitReady(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  const uint64_t failures = failures_;
  while (!is_ready_ && failures_ == failures) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  if (is_ready_) return absl::OkStatus();
  if (failures_ != failures) return last_failure_;
  return MakeStatus(Code::kTimeout, "open a channel: no answer in time");
}

void PublishChannel::Shut(TimePoint deadline) {
  AwaitAll(deadline).IgnoreError();
  const auto self = shared_from_this();
  (void)link_->Post([self] {
    self->OnDown(MakeStatus(Code::kClosed, "the producer is closed"), false);
    if (self->probe_ != nullptr) {
      self->link_->Close(*self->probe_, nullptr);
      self->probe_.reset();
    }
    self->link_->Close(*self, nullptr);
  });
  // What was left has completed when this returns.
  const auto least =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  AwaitAll(std::max(deadline, least)).IgnoreError();
}

// --- the link's thread ---

void PublishChannel::OnOpen() {
  first_tag_ = 1;
  stale_ = false;
  delay_levels_ = 0;
  making_ = 0;
  delay_type_ =
      ExpiresInQuorum(link_->server()) ? queue_type_ : QueueType::kClassic;
  amqp_confirm_select_t select{};
  const auto self = shared_from_this();
  link_->Call(
      *this,
      [&select](amqp_connection_state_t connection, amqp_channel_t id) {
        return amqp_send_method(connection, id, AMQP_CONFIRM_SELECT_METHOD,
                                &select);
      },
      [self](const absl::StatusOr<Reply>& reply) {
        if (!reply.ok()) return;  // It is told that it is down, too.
        self->ready_ = true;
        {
          const internal::MutexLock lock(self->mutex_);
          self->is_ready_ = true;
          self->changed_.NotifyAll();
        }
        self->Pump(kMostBytesInTurn);
      });
}

void PublishChannel::OnDown(const absl::Status& why, bool refused) {
  ready_ = false;
  std::deque<Entry> unconfirmed;
  unconfirmed.swap(unconfirmed_);
  std::deque<Entry> waiting;
  waiting.swap(waiting_);
  {
    const internal::MutexLock lock(mutex_);
    is_ready_ = false;
    ++failures_;
    last_failure_ = why;
    for (Entry& entry : incoming_) waiting.push_back(std::move(entry));
    incoming_.clear();
    pump_posted_ = false;
    changed_.NotifyAll();
  }
  for (auto& [queue, unsure] : std::exchange(unsure_, {})) {
    for (Entry& entry : unsure) waiting.push_back(std::move(entry));
  }
  size_t count = waiting.size();
  for (Entry& entry : unconfirmed) {
    // One in the middle may have been confirmed before those in front of it.
    if (entry.done == nullptr) continue;
    Fail(entry, why, Outcome::kUnknown);
    ++count;
  }
  for (Entry& entry : waiting) Fail(entry, why, Outcome::kNotStored);
  Completed(count);
  if (refused) link_->Reopen(*this);
}

void PublishChannel::Pump(size_t most_bytes) {
  {
    const internal::MutexLock lock(mutex_);
    pump_posted_ = false;
    if (waiting_.empty()) {
      waiting_.swap(incoming_);
    } else {
      for (Entry& entry : incoming_) waiting_.push_back(std::move(entry));
      incoming_.clear();
    }
  }
  // Until it is open again, or that has failed.
  if (!ready_) {
    link_->Want();
    return;
  }
  if (stale_) return;
  size_t count = 0;
  size_t bytes = 0;
  size_t failed = 0;
  const TimePoint now = std::chrono::steady_clock::now();
  while (!waiting_.empty() && count < kMostInTurn && bytes < most_bytes) {
    bytes += CostOf(waiting_.front().message);
    if (bytes > most_bytes && most_bytes == Link::kMostHere) break;
    Entry entry = std::move(waiting_.front());
    waiting_.pop_front();
    if (link_->blocked()) {
      Fail(entry,
           MakeStatus(Code::kStorageBusy,
                      "the broker takes no messages for now"),
           Outcome::kNotStored);
      ++failed;
      continue;
    }
    if (WaitsForProbe(entry, now)) continue;
    ++count;
    entry.number = ++last_number_;
    entry.written = now;
    const bool written = Publish(entry);
    // Of the bytes of one that was not, some may have left.
    unconfirmed_.push_back(std::move(entry));
    if (!written) break;
  }
  Completed(failed);
  if (!waiting_.empty() && ready_) PumpLater();
}

void PublishChannel::PumpLater() {
  bool post = false;
  {
    const internal::MutexLock lock(mutex_);
    post = !std::exchange(pump_posted_, true);
  }
  if (!post) return;
  (void)link_->Post(
      [self = shared_from_this()] { self->Pump(kMostBytesInTurn); });
}

bool PublishChannel::Publish(Entry& entry) {
  const std::string id = entry.Id(id_prefix_);
  const bool back = !entry.back_to.empty();
  const bool delayed = entry.delay_units > 0;
  amqp_basic_properties_t properties = writer_.Write(
      entry.message, id, host_, entry.born_ms == 0 ? NowMs() : entry.born_ms,
      NowMs(), back ? entry.message.delivery_count() : 0);
  // What expires while it waits would go on to the next level at once.
  if (entry.message.expire_at().count() != 0 &&
      (delayed || kept_->Has(entry.message.destination()))) {
    properties._flags &= ~static_cast<amqp_flags_t>(AMQP_BASIC_EXPIRATION_FLAG);
  }
  std::string exchange(entry.direct ? std::string_view() : kExchange);
  std::string key;
  if (delayed) {
    MakeDelaysFor(entry.delay_units);
    exchange = DelayLevelName(delay_type_, TopDelayLevel(entry.delay_units));
    key = back ? DelayKey(entry.delay_units, DelayedTo::kQueue, entry.back_to)
               : DelayKey(entry.delay_units, DelayedTo::kAll,
                          entry.message.destination());
  }
  return link_->Send(
      *this, [&](amqp_connection_state_t connection, amqp_channel_t channel) {
        return amqp_basic_publish(
            connection, channel, ToBytes(exchange),
            delayed ? ToBytes(key) : ToBytes(entry.message.destination()),
            /*mandatory=*/1,
            /*immediate=*/0, &properties, ToBytes(entry.message.body()));
      });
}

bool PublishChannel::WaitsForProbe(Entry& entry, TimePoint now) {
  if (entry.delay_units == 0 || !entry.back_to.empty()) return false;
  const std::string_view queue = entry.message.destination();
  const auto known = there_.find(queue);
  if (known != there_.end() && now < known->second) return false;
  const std::string name(queue);
  std::vector<Entry>& unsure = unsure_[name];
  unsure.push_back(std::move(entry));
  if (unsure.size() > 1) return true;
  if (probe_ == nullptr) probe_ = std::make_shared<QueueProbe>(*link_);
  probe_->Ask(name, [self = weak_from_this(), name](const absl::Status& told) {
    if (const auto channel = self.lock()) channel->Probed(name, told);
  });
  return true;
}

void PublishChannel::Probed(const std::string& queue,
                            const absl::Status& status) {
  const auto found = unsure_.find(queue);
  if (found == unsure_.end()) return;
  std::vector<Entry> unsure = std::move(found->second);
  unsure_.erase(found);
  if (!status.ok()) {
    there_.erase(queue);
    for (Entry& entry : unsure) Fail(entry, status, Outcome::kNotStored);
    Completed(unsure.size());
    return;
  }
  there_[queue] = std::chrono::steady_clock::now() + kThereFor;
  for (Entry& entry : unsure) waiting_.push_back(std::move(entry));
  PumpLater();
}

void PublishChannel::MakeDelaysFor(int64_t units) {
  const int top = TopDelayLevel(units);
  if (top < delay_levels_) return;
  // A later opening has answers of its own.
  making_ += MakeDelayLevels(
      *link_, *this, delay_type_, delay_levels_, top,
      [self = shared_from_this()] { self->making_ -= self->making_ > 0; });
  delay_levels_ = top + 1;
}

void PublishChannel::OnTick() {
  // A queue that had no leader when a message came may never confirm it, nor
  // what comes behind it on this channel.
  if (!ready_ || unconfirmed_.empty() || link_->blocked() || making_ > 0 ||
      std::chrono::steady_clock::now() - unconfirmed_.front().written <
          kConfirmLimit) {
    return;
  }
  link_->Renew(*this, MakeStatus(Code::kTimeout,
                                 "the broker did not confirm it in time"));
}

void PublishChannel::OnReturn(const amqp_basic_return_t& method,
                              const Content& content) {
  std::string_view id = IdOf(content.properties);
  uint64_t number = 0;
  if (!id.starts_with(id_prefix_) || id.size() <= id_prefix_.size()) return;
  id.remove_prefix(id_prefix_.size() + 1);
  if (!internal::ParseInteger(id, number) || unconfirmed_.empty()) return;
  const uint64_t first = unconfirmed_.front().number;
  if (number < first || number - first >= unconfirmed_.size()) return;
  Entry& entry = unconfirmed_[number - first];
  entry.returned = RefusedBy("send to", entry.message.destination(),
                             method.reply_code, View(method.reply_text));
}

void PublishChannel::OnConfirm(uint64_t tag, bool multiple, bool taken) {
  if (tag < first_tag_ || tag - first_tag_ >= unconfirmed_.size()) {
    // Tag 0 with `multiple` means all that there are.
    if (tag != 0 || !multiple || unconfirmed_.empty()) return;
    tag = first_tag_ + unconfirmed_.size() - 1;
  }
  stale_ = stale_ || !taken;
  const size_t last = tag - first_tag_;
  size_t count = 0;
  bool again = false;
  for (size_t i = multiple ? 0 : last; i <= last; ++i) {
    Entry& entry = unconfirmed_[i];
    if (entry.done == nullptr) continue;
    if (GoesDirect(entry)) {
      waiting_.push_back(std::exchange(entry, Entry()));
      again = true;
      continue;
    }
    Complete(entry, taken);
    ++count;
  }
  while (!unconfirmed_.empty() && unconfirmed_.front().done == nullptr) {
    unconfirmed_.pop_front();
    ++first_tag_;
  }
  Completed(count);
  if (stale_ && unconfirmed_.empty()) {
    link_->Renew(*this, MakeStatus(Code::kUnavailable,
                                   "the broker did not take a message"));
  } else if (again) {
    PumpLater();
  }
}

// What others made is bound to no exchange of ours. Each message asks the
// exchange first all the same, so that none overtakes another.
bool PublishChannel::GoesDirect(Entry& entry) {
  if (entry.direct || entry.delay_units > 0 ||
      OmsCode(entry.returned) != Code::kQueueNotFound ||
      entry.message.destination().starts_with(kCatalogQueue)) {
    return false;
  }
  entry.direct = true;
  entry.returned = absl::OkStatus();
  return true;
}

void PublishChannel::Complete(Entry& entry, bool taken) {
  driver::SendCompletion& done = *std::exchange(entry.done, nullptr);
  if (!entry.returned.ok()) {
    done.Failed(entry.index, std::move(entry.returned));
  } else if (!taken) {
    done.Failed(entry.index,
                MakeStatus(Code::kStorageBusy, "send to \"",
                           entry.message.destination(),
                           "\": the broker did not take the message"));
  } else {
    SendResult result;
    // One of another client's may have none.
    result.message_id =
        MessageId::FromText(entry.Id(id_prefix_)).value_or(MessageId());
    done.Sent(entry.index, result);
  }
  entry.message = Message();
  Leave(entry);
}

void PublishChannel::Leave(Entry& entry) {
  if (entry.left == nullptr) return;
  entry.left->fetch_sub(1);
  entry.left.reset();
  link_->Wake();
}

void PublishChannel::Fail(Entry& entry, const absl::Status& why,
                          Outcome outcome) {
  driver::SendCompletion& done = *std::exchange(entry.done, nullptr);
  if (!entry.returned.ok()) {
    done.Failed(entry.index, std::move(entry.returned));
  } else {
    done.Failed(entry.index,
                About("send to", entry.message.destination(), why, outcome));
  }
  Leave(entry);
}

void PublishChannel::Completed(size_t count) {
  if (count == 0) return;
  const internal::MutexLock lock(mutex_);
  completed_ += count;
  changed_.NotifyAll();
}

}  // namespace openmessaging::rabbitmq
