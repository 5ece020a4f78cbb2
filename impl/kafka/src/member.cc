// SPDX-License-Identifier: Apache-2.0
//
// What a member receives and settles. Its group is in member_group.cc.

#include "member.h"

#include <algorithm>
#include <array>

#include "absl/container/inlined_vector.h"
#include "errors.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using driver::Verb;
using Tracked = kit::AckTracker::Outcome;

// How many records are taken from librdkafka at once, whatever Receive asks
// for: each call has a price, and what lies here is no nearer to the
// application than what lies there.
constexpr size_t kLeastAtOnce = 32;
constexpr size_t kMostAtOnce = 256;

// How long a message waits that was given back for the how manieth time.
milliseconds BackOff(const QueueOptions& options, int32_t deliveries) {
  milliseconds delay = options.redelivery_delay;
  for (int32_t n = 1; n < deliveries && delay < options.max_redelivery_delay;
       ++n) {
    delay *= 2;
  }
  return std::min(delay, options.max_redelivery_delay);
}

milliseconds WallNow() {
  return std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

absl::Status StatusOf(Tracked outcome) {
  switch (outcome) {
    case Tracked::kDone:
      return absl::OkStatus();
    case Tracked::kStale:
      return MakeStatus(Code::kReceiptExpired,
                        "settle: the message was given back meanwhile; "
                        "expected the receipt of its last delivery");
    default:
      return MakeStatus(Code::kReceiptInvalid,
                        "settle: the receipt is of no delivery of this "
                        "consumer's");
  }
}

}  // namespace

void Member::Interrupt() {
  {
    const internal::MutexLock lock(mutex_);
    interrupted_ = true;
  }
  Wake();
}

absl::Status Member::NextError() {
  if (!error_.ok()) return std::exchange(error_, absl::OkStatus());
  if (ended_.empty()) return absl::OkStatus();
  return MakeStatus(Code::kIllegalState, "receive: the group of \"",
                    std::string_view(*ended_.begin()),
                    "\" was deleted; expected it to be unbound first");
}

absl::Status Member::Receive(size_t max, TimePoint deadline,
                             driver::DeliverySink& sink) {
  handing_.clear();
  bool looked = false;
  absl::Status status;
  PartitionList once;
  while (true) {
    TimePoint wait_until = TimePoint::min();
    {
      const internal::MutexLock lock(mutex_);
      if (std::exchange(fetching_, false)) changed_.NotifyAll();
      while (moving_ > 0) changed_.Wait(mutex_);
      status = NextError();
      if (status.ok()) TakeReady(max, handing_);
      const bool enough = !status.ok() || handing_.size() == max;
      if (enough || (looked && (!handing_.empty() || interrupted_ ||
                                Clock::now() >= deadline))) {
        interrupted_ = false;  // It ends here.
        // What may come once only is settled before anybody sees it.
        if (std::exchange(once_, false)) once = TakeDirty(false, nullptr);
        break;
      }
      fetching_ = true;
      if (looked) {
        wait_until =
            due_.empty() ? deadline : std::min(deadline, due_.begin()->first);
      }
    }
    Fetch(max - handing_.size(), wait_until);
    looked = true;
  }
  if (once != nullptr) {
    const rd_kafka_resp_err_t error =
        CommitNow(*once, Clock::now() + std::chrono::seconds(3));
    CommitEnded(error);
  }
  for (Delivery& one : handing_) {
    sink.Deliver(std::move(one.message), one.receipt);
  }
  handing_.clear();
  return status;
}

void Member::Fetch(size_t max, TimePoint wait_until) {
  std::array<rd_kafka_message_t*, kMostAtOnce> records;
  size_t count = 0;
  if (wait_until != TimePoint::min()) {
    records[0] = rd_kafka_consume_queue(fetched_.get(), TimeoutMs(wait_until));
    if (records[0] == nullptr) return;
    count = 1;
  }
  const size_t wanted = std::clamp(max, kLeastAtOnce, kMostAtOnce);
  const ssize_t more = rd_kafka_consume_batch_queue(
      fetched_.get(), 0, records.data() + count, wanted - count);
  if (more > 0) count += static_cast<size_t>(more);
  if (count == 0) return;
  std::vector<Received>& fresh = fetched_now_;
  const std::string cluster = cluster_->cluster_id();
  for (size_t i = 0; i < count; ++i) {
    OwnedMessage record(records[i]);
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      OnError(record->err, rd_kafka_message_errstr(record.get()));
    } else {
      fresh.push_back(kafka::Receive(std::move(record), handle_, cluster));
    }
  }
  const internal::MutexLock lock(mutex_);
  // It is empty: only then is more fetched.
  arrived_.swap(fresh);
  next_arrived_ = 0;
  fresh.clear();
}

void Member::TakeIn(Received received, std::vector<Delivery>& out) {
  const std::pair<std::string_view, int32_t> place(
      received.message.destination(), received.message.partition());
  const auto found = assigned_.find(place);
  if (found == assigned_.end()) return;  // Revoked.
  Assigned& partition = *found->second;
  if (partition.parked.empty() &&
      partition.tracker.HasRoom(received.message.offset())) {
    Admit(partition, std::move(received), out);
    return;
  }
  partition.parked.push_back(std::move(received));
  if (partition.IsStopped() != partition.told_stopped) dirty_ = true;
  if (std::exchange(partition.paused, true)) return;
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(),
                                    partition.partition);
  (void)rd_kafka_pause_partitions(handle_->get(), list.get());
}

void Member::DropArrived(std::string_view queue, int32_t partition) {
  const auto waiting =
      arrived_.begin() + static_cast<ptrdiff_t>(next_arrived_);
  arrived_.erase(std::remove_if(waiting, arrived_.end(),
                                [&](const Received& one) {
                                  return one.message.partition() ==
                                             partition &&
                                         one.message.destination() == queue;
                                }),
                 arrived_.end());
}

void Member::Admit(Assigned& partition, Received received,
                   std::vector<Delivery>& out) {
  const int64_t offset = received.message.offset();
  if (!partition.tracker.Arrive(offset)) return;
  // A delay counts from when the broker took the message, whose time is without
  // the rest of its last millisecond.
  const milliseconds left =
      received.delay_ms <= 0
          ? milliseconds(0)
          : received.message.store_timestamp() +
                milliseconds(received.delay_ms + 1) - WallNow();
  const auto place =
      partition.unsettled.insert_or_assign(offset, std::move(received)).first;
  if (left.count() > 0) {
    due_.emplace(Clock::now() + left, std::pair(partition.source, offset));
  } else {
    HandOut(partition, place, out);
  }
}

void Member::HandOut(Assigned& partition, Assigned::Unsettled::iterator place,
                     std::vector<Delivery>& out) {
  const int64_t offset = place->first;
  const Received& received = place->second;
  const int32_t delivery = partition.tracker.Deliver(offset);
  if (delivery == 0) return;
  const QueueOptions& options = partition.options;
  const bool dead = !options.dead_letter_queue.empty();
  if (received.expire_at_ms > 0 && received.expire_at_ms <= WallNow().count()) {
    if (dead) {
      Bury(partition, offset, delivery, kDeadExpired, nullptr, 0);
    } else {
      partition.tracker.Drop(offset);
      partition.unsettled.erase(place);
      partition.settled = dirty_ = true;
    }
    return;
  }
  // An earlier owner had it for the last time, and could not tell.
  if (dead && options.max_deliveries > 0 &&
      delivery > options.max_deliveries) {
    Bury(partition, offset, delivery, kDeadMaxDeliveries, nullptr, 0);
    return;
  }
  partition.delivered = true;
  Delivery& one = out.emplace_back();
  one.message = received.message;  // Shares its bytes.
  one.receipt = Token{offset, delivery}.ToReceipt(partition.source);
  driver::MessageAccess::SetDelivery(
      one.message,
      {.partition = partition.partition,
       .offset = offset,
       .store_timestamp_ms = received.message.store_timestamp().count(),
       .delivery_count = delivery});
  if (received.qos == Qos::kAtMostOnce) {
    (void)partition.tracker.Ack(offset, delivery);
    partition.settled = once_ = true;
    partition.unsettled.erase(place);
  }
}

void Member::TakeReady(size_t max, std::vector<Delivery>& out) {
  const TimePoint now = due_.empty() ? TimePoint::min() : Clock::now();
  while (out.size() < max && !due_.empty() && due_.begin()->first <= now) {
    const auto [source, offset] = due_.begin()->second;
    due_.erase(due_.begin());
    const auto found = by_source_.find(source);
    if (found == by_source_.end()) continue;
    const auto place = found->second->unsettled.find(offset);
    if (place == found->second->unsettled.end()) continue;
    HandOut(*found->second, place, out);
  }
  for (auto& [place, partition] : assigned_) {
    if (!partition->paused) continue;
    while (out.size() < max && !partition->parked.empty()) {
      const int64_t offset = partition->parked.front().message.offset();
      if (!partition->tracker.HasRoom(offset)) break;
      Received received = std::move(partition->parked.front());
      partition->parked.pop_front();
      Admit(*partition, std::move(received), out);
    }
    Resume(*partition);
  }
  while (out.size() < max && next_arrived_ < arrived_.size()) {
    TakeIn(std::move(arrived_[next_arrived_++]), out);
  }
}

void Member::Resume(Assigned& partition) {
  if (!partition.paused || !partition.parked.empty()) return;
  partition.paused = false;
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(),
                                    partition.partition);
  (void)rd_kafka_resume_partitions(handle_->get(), list.get());
}

void Member::Settle(std::span<const driver::Settlement> batch,
                    driver::SettleCompletion& done) {
  // Nothing: a dead letter, which completes when it lies where it belongs.
  absl::InlinedVector<std::optional<absl::Status>, 1> results;
  results.reserve(batch.size());
  bool wake = false;
  PartitionList commit;
  {
    const internal::MutexLock lock(mutex_);
    const size_t waiting = due_.size();
    for (const driver::Settlement& settlement : batch) {
      if (settlement.verb != Verb::kReject) {
        results.emplace_back(SettleOne(settlement, wake));
        continue;
      }
      const auto rejected = Reject(settlement, done, results.size());
      const bool later = rejected.ok() && *rejected;
      results.push_back(later ? std::optional<absl::Status>()
                              : std::optional<absl::Status>(rejected.status()));
    }
    wake = wake || due_.size() != waiting;
    commit = TakeDueCommit();
  }
  if (wake) Wake();
  if (commit != nullptr) BeginCommit(*commit);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!results[i]) continue;
    if (results[i]->ok()) {
      done.Settled(i, {});
    } else {
      done.Failed(i, *std::move(results[i]));
    }
  }
}

absl::Status Member::SettleOne(const driver::Settlement& settlement,
                               bool& wake) {
  const auto token = Token::Read(settlement.receipt.token());
  if (!token) return StatusOf(Tracked::kUnknown);
  const auto found = by_source_.find(settlement.receipt.source());
  if (found == by_source_.end()) {
    if (!lost_.contains(settlement.receipt.source())) {
      return StatusOf(Tracked::kUnknown);
    }
    return MakeStatus(Code::kReceiptExpired,
                      "settle: the partition has gone to another member; "
                      "expected an acknowledgement before that");
  }
  Assigned& partition = *found->second;
  const int64_t offset = token->offset;
  Tracked outcome = Tracked::kDone;
  const auto settled = [&](int64_t one) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (partition.unsettled.erase(one) == 0) return;
    partition.settled = dirty_ = true;
    // There may be room for what waits.
    wake = wake || !partition.parked.empty();
  };
  switch (settlement.verb) {
    case Verb::kAck:
      outcome = partition.tracker.Ack(offset, token->delivery);
      if (outcome == Tracked::kDone) settled(offset);
      return StatusOf(outcome);
    case Verb::kAckUpTo:
      outcome = partition.tracker.AckUpTo(offset, token->delivery, settled);
      return StatusOf(outcome);
    case Verb::kNack:
      return GiveBack(partition, offset, token->delivery, std::nullopt);
    case Verb::kNackDelay:
      return GiveBack(partition, offset, token->delivery, settlement.duration);
    default:
      return MakeStatus(Code::kUnsupported,
                        "settle: Kafka has no such settlement");
  }
}

absl::Status Member::GiveBack(Assigned& partition, int64_t offset,
                              int32_t delivery,
                              std::optional<milliseconds> delay) {
  if (!partition.unsettled.contains(offset)) {
    // Settled before: what is delivered at most once, or acknowledged.
    return StatusOf(partition.tracker.GiveBack(offset, delivery));
  }
  const QueueOptions& options = partition.options;
  if (options.max_deliveries > 0 && delivery >= options.max_deliveries &&
      partition.tracker.IsOut(offset, delivery)) {
    Bury(partition, offset, delivery, kDeadMaxDeliveries, nullptr, 0);
    return absl::OkStatus();
  }
  const Tracked outcome = partition.tracker.GiveBack(offset, delivery);
  if (outcome != Tracked::kDone) return StatusOf(outcome);
  partition.delivered = true;
  const milliseconds wait = delay ? *delay : BackOff(options, delivery);
  due_.emplace(Clock::now() + wait, std::pair(partition.source, offset));
  return absl::OkStatus();
}

}  // namespace openmessaging::kafka
