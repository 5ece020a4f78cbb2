// SPDX-License-Identifier: Apache-2.0
//
// What a member receives and settles. Its group is in member_group.cc.

#include "member.h"

#include <algorithm>
#include <array>

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

bool Member::TakeInterrupt() {
  const internal::MutexLock lock(mutex_);
  return std::exchange(interrupted_, false);
}

TimePoint Member::NextDue(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  return due_.empty() ? deadline : std::min(deadline, due_.begin()->first);
}

absl::Status Member::Receive(size_t max, TimePoint deadline,
                             driver::DeliverySink& sink) {
  std::vector<Delivery> out;
  absl::Status status;
  while (true) {
    {
      const internal::MutexLock lock(mutex_);
      fetching_ = false;
      changed_.NotifyAll();
      while (seeking_ > 0) changed_.Wait(mutex_);
      status = std::exchange(error_, absl::OkStatus());
      if (status.ok() && !ended_.empty()) {
        status = MakeStatus(Code::kIllegalState, "receive: the group of \"",
                            std::string_view(*ended_.begin()),
                            "\" was deleted; expected it to be unbound first");
      }
      if (status.ok()) (void)TakeDue(max, out);
      fetching_ = status.ok();
    }
    if (!status.ok()) break;
    if (out.size() < max) {
      status = Fetch(max - out.size(), TimePoint::min(), out);
    }
    if (!status.ok() || !out.empty()) break;
    if (TakeInterrupt() || Clock::now() >= deadline) break;
    status = Fetch(max, NextDue(deadline), out);
    if (!status.ok() || !out.empty()) break;
  }
  (void)TakeInterrupt();  // It ends here.
  // What may come once only is settled before anybody sees it.
  PartitionList once;
  {
    const internal::MutexLock lock(mutex_);
    fetching_ = false;
    changed_.NotifyAll();
    const bool any = std::any_of(out.begin(), out.end(), [](const auto& one) {
      return one.message.qos() == Qos::kAtMostOnce;
    });
    if (any) once = TakeDirty(false, nullptr);
  }
  if (once != nullptr) {
    const rd_kafka_resp_err_t error =
        CommitNow(*once, Clock::now() + std::chrono::seconds(3));
    CommitEnded(error);
  }
  for (Delivery& one : out) {
    sink.Deliver(std::move(one.message), one.receipt);
  }
  return status;
}

absl::Status Member::Fetch(size_t max, TimePoint wait_until,
                           std::vector<Delivery>& out) {
  absl::Status status;
  if (wait_until > Clock::now()) {
    OwnedMessage first(
        rd_kafka_consume_queue(fetched_.get(), TimeoutMs(wait_until)));
    if (first == nullptr) return status;
    status = TakeIn(std::move(first), out);
    if (--max == 0 || !status.ok()) return status;
  }
  std::array<rd_kafka_message_t*, kMostAtOnce> records;
  const ssize_t count = rd_kafka_consume_batch_queue(
      fetched_.get(), 0, records.data(), std::min(max, records.size()));
  for (ssize_t i = 0; i < count; ++i) {
    absl::Status taken =
        TakeIn(OwnedMessage(records[static_cast<size_t>(i)]), out);
    if (status.ok()) status = std::move(taken);
  }
  return status;
}

absl::Status Member::TakeIn(OwnedMessage record, std::vector<Delivery>& out) {
  if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    OnError(record->err, rd_kafka_message_errstr(record.get()));
    return absl::OkStatus();
  }
  const Place place(rd_kafka_topic_name(record->rkt), record->partition);
  const int64_t offset = record->offset;
  Received received =
      kafka::Receive(std::move(record), handle_, cluster_->cluster_id());
  bool pause = false;
  {
    const internal::MutexLock lock(mutex_);
    const auto found = assigned_.find(place);
    if (found == assigned_.end()) return absl::OkStatus();  // Revoked.
    Assigned& partition = *found->second;
    if (partition.parked.empty() && partition.tracker.HasRoom(offset)) {
      Admit(partition, std::move(received), out);
    } else {
      partition.parked.push_back(std::move(received));
      pause = !std::exchange(partition.paused, true);
    }
  }
  if (pause) {
    const PartitionList list = NewPartitionList();
    rd_kafka_topic_partition_list_add(list.get(), place.first.c_str(),
                                      place.second);
    (void)rd_kafka_pause_partitions(handle_->get(), list.get());
  }
  return absl::OkStatus();
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
  partition.unsettled.emplace(offset, std::move(received.message));
  if (left.count() > 0) {
    due_.emplace(Clock::now() + left, std::pair(partition.source, offset));
  } else {
    HandOut(partition, offset, out);
  }
}

void Member::HandOut(Assigned& partition, int64_t offset,
                     std::vector<Delivery>& out) {
  const int32_t delivery = partition.tracker.Deliver(offset);
  const auto found = partition.unsettled.find(offset);
  if (delivery == 0 || found == partition.unsettled.end()) return;
  const QueueOptions& options = queue_options_[partition.topic];
  const bool dead = !options.dead_letter_queue.empty();
  const milliseconds expires = found->second.expire_at();
  if (expires.count() > 0 && expires <= WallNow()) {
    if (dead) {
      Bury(partition, offset, delivery, kDeadExpired, nullptr, 0);
    } else {
      partition.tracker.Drop(offset);
      partition.unsettled.erase(found);
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
  Message message(found->second);  // Shares its bytes.
  driver::MessageAccess::SetDelivery(
      message, {.partition = partition.partition,
                .offset = offset,
                .store_timestamp_ms = message.store_timestamp().count(),
                .delivery_count = delivery});
  if (message.qos() == Qos::kAtMostOnce) {
    (void)partition.tracker.Ack(offset, delivery);
    partition.settled = true;
    partition.unsettled.erase(found);
  }
  out.push_back({std::move(message),
                 Token{offset, delivery}.ToReceipt(partition.source)});
}

size_t Member::TakeDue(size_t max, std::vector<Delivery>& out) {
  const size_t before = out.size();
  const TimePoint now = Clock::now();
  while (out.size() < max && !due_.empty() && due_.begin()->first <= now) {
    const auto [source, offset] = due_.begin()->second;
    due_.erase(due_.begin());
    const auto found = by_source_.find(source);
    if (found != by_source_.end()) HandOut(*found->second, offset, out);
  }
  for (auto& [place, partition] : assigned_) {
    while (out.size() < max && !partition->parked.empty()) {
      const int64_t offset = partition->parked.front().message.offset();
      if (!partition->tracker.HasRoom(offset)) break;
      Received received = std::move(partition->parked.front());
      partition->parked.pop_front();
      Admit(*partition, std::move(received), out);
    }
    Resume(*partition);
  }
  return out.size() - before;
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
  std::vector<absl::Status> results;
  results.reserve(batch.size());
  // Dead letters complete when they lie where they belong.
  std::vector<bool> later(batch.size(), false);
  bool wake = false;
  {
    const internal::MutexLock lock(mutex_);
    const size_t waiting = due_.size();
    for (const driver::Settlement& settlement : batch) {
      const size_t index = results.size();
      if (settlement.verb == Verb::kReject) {
        const auto rejected = Reject(settlement, done, index);
        later[index] = rejected.ok() && *rejected;
        results.push_back(rejected.status());
      } else {
        results.push_back(SettleOne(settlement));
      }
    }
    wake = due_.size() != waiting;
    for (const auto& [place, partition] : assigned_) {
      if (partition->settled) dirty_ = true;
      if (!partition->parked.empty()) wake = true;
    }
  }
  if (wake) Wake();
  CommitSoon();
  for (size_t i = 0; i < batch.size(); ++i) {
    if (later[i]) continue;
    if (results[i].ok()) {
      done.Settled(i, {});
    } else {
      done.Failed(i, std::move(results[i]));
    }
  }
}

absl::Status Member::SettleOne(const driver::Settlement& settlement) {
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
  switch (settlement.verb) {
    case Verb::kAck:
      outcome = partition.tracker.Ack(offset, token->delivery);
      if (outcome == Tracked::kDone) {
        partition.settled |= partition.unsettled.erase(offset) != 0;
      }
      return StatusOf(outcome);
    case Verb::kAckUpTo:
      outcome = partition.tracker.AckUpTo(
          offset, token->delivery, [&partition](int64_t settled) {
            partition.settled |= partition.unsettled.erase(settled) != 0;
          });
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
  const QueueOptions& options = queue_options_[partition.topic];
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
