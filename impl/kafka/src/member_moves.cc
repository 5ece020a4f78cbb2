// SPDX-License-Identifier: Apache-2.0
//
// What moves a member's messages elsewhere: transactions, dead letters, and
// whoever seeks its group.

#include <algorithm>

#include "errors.h"
#include "member.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/status.h"
#include "transactions.h"

namespace openmessaging::kafka {
namespace {

using driver::MessageAccess;
using internal::Field;

// How long a dead letter may take, and until the next attempt.
constexpr milliseconds kBuryTimeout{10000};
constexpr milliseconds kBuryAgain{1000};

absl::Status NotOut(kit::AckTracker::Outcome outcome) {
  switch (outcome) {
    case kit::AckTracker::Outcome::kDone:
      return MakeStatus(Code::kTransactionConflict,
                        "commit: a message is settled already; expected one "
                        "that is not");
    case kit::AckTracker::Outcome::kStale:
      return MakeStatus(Code::kReceiptExpired,
                        "commit: a message was given back meanwhile; expected "
                        "the receipt of its last delivery");
    default:
      return MakeStatus(Code::kReceiptInvalid,
                        "commit: a receipt is of no delivery of this "
                        "consumer's");
  }
}

}  // namespace

bool Member::Knows(uint64_t source) {
  const internal::MutexLock lock(mutex_);
  return by_source_.contains(source) || lost_.contains(source);
}

absl::StatusOr<PartitionList> Member::BeginTransaction(
    std::span<const driver::Settlement> acks, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  while (committing_ || transacting_) {
    if (!changed_.WaitUntil(mutex_, deadline)) {
      return MakeStatus(Code::kUnavailable,
                        "commit: the group's coordinator does not answer");
    }
  }
  // As the group will be, if it comes to that.
  std::map<Assigned*, kit::AckTracker> after;
  for (const driver::Settlement& ack : acks) {
    const auto token = Token::Read(ack.receipt.token());
    const auto found = by_source_.find(ack.receipt.source());
    if (!token) return NotOut(kit::AckTracker::Outcome::kUnknown);
    if (found == by_source_.end()) {
      return NotOut(kit::AckTracker::Outcome::kStale);
    }
    Assigned& partition = *found->second;
    if (!partition.tracker.IsOut(token->offset, token->delivery)) {
      kit::AckTracker copy = partition.tracker;
      return NotOut(copy.Ack(token->offset, token->delivery));
    }
    const auto entry = after.try_emplace(&partition, partition.tracker).first;
    (void)entry->second.Ack(token->offset, token->delivery);
  }
  transacting_ = true;
  PartitionList list;
  for (const auto& [partition, tracker] : after) {
    if (list == nullptr) list = NewPartitionList(after.size());
    rd_kafka_topic_partition_t* const one = rd_kafka_topic_partition_list_add(
        list.get(), partition->topic.c_str(), partition->partition);
    one->offset = tracker.low_water();
    SetMetadata(*one, MetadataOf(tracker, partition->told_stopped));
  }
  return list;
}

rd_kafka_error_t* Member::AddToTransaction(
    rd_kafka_t* producer, const rd_kafka_topic_partition_list_t& offsets,
    int timeout_ms) {
  const Owned<rd_kafka_consumer_group_metadata_t,
              rd_kafka_consumer_group_metadata_destroy>
      metadata(rd_kafka_consumer_group_metadata(handle_->get()));
  return rd_kafka_send_offsets_to_transaction(producer, &offsets,
                                              metadata.get(), timeout_ms);
}

void Member::EndTransaction(std::span<const driver::Settlement> acks,
                            bool committed) {
  const internal::MutexLock lock(mutex_);
  transacting_ = false;
  changed_.NotifyAll();
  if (!committed) return;
  for (const driver::Settlement& ack : acks) {
    const auto token = Token::Read(ack.receipt.token());
    const auto found = by_source_.find(ack.receipt.source());
    if (!token || found == by_source_.end()) continue;
    Assigned& partition = *found->second;
    (void)partition.tracker.Ack(token->offset, token->delivery);
    partition.unsettled.erase(token->offset);
    // What was settled meanwhile is not in what was committed.
    partition.settled = dirty_ = true;
  }
}

absl::StatusOr<bool> Member::Reject(const driver::Settlement& settlement,
                                    driver::SettleCompletion& done,
                                    size_t index) {
  const auto token = Token::Read(settlement.receipt.token());
  const auto found = by_source_.find(settlement.receipt.source());
  driver::Settlement plain = settlement;
  plain.verb = driver::Verb::kAck;
  // Where it cannot be acknowledged any more, that is the answer.
  if (!token || found == by_source_.end() ||
      !found->second->tracker.IsOut(token->offset, token->delivery)) {
    bool ignored = false;
    if (absl::Status s = SettleOne(plain, ignored); !s.ok()) return s;
    return false;
  }
  Assigned& partition = *found->second;
  if (partition.options.dead_letter_queue.empty()) {
    return MakeStatus(Code::kUnsupported, "reject: queue \"",
                      std::string_view(partition.topic),
                      "\" has no dead-letter queue");
  }
  Bury(partition, token->offset, token->delivery, kDeadRejected, &done, index);
  return true;
}

void Member::Bury(Assigned& partition, int64_t offset, int32_t delivery,
                  std::string_view reason, driver::SettleCompletion* done,
                  size_t index) {
  const QueueOptions& options = partition.options;
  Message dead(partition.unsettled.at(offset).message);
  // The group got it no more often than it saw it.
  const int32_t seen = reason == kDeadMaxDeliveries
                           ? std::min(delivery, options.max_deliveries)
                           : delivery - (reason == kDeadExpired ? 1 : 0);
  KeyValue properties(dead.properties());
  (void)properties.Put(kDeadQueue, partition.topic);
  (void)properties.Put(kDeadPartition, partition.partition);
  (void)properties.Put(kDeadOffset, offset);
  (void)properties.Put(kDeadGroup, options_.group);
  (void)properties.Put(kDeadDeliveries, seen);
  (void)properties.Put(kDeadReason, reason);
  const std::string origin = dead.origin_id().ToString();
  const std::string topic = options.dead_letter_queue;
  dead.SetDestination(topic).SetProperties(properties);
  MessageAccess::SetField(dead, Field::kOriginId, origin);
  // They have been obeyed.
  MessageAccess::SetField(dead, Field::kDelay, {});
  MessageAccess::SetField(dead, Field::kExpireAt, {});
  const driver::Settlement ack{
      Token{offset, delivery}.ToReceipt(partition.source), driver::Verb::kAck};
  ++burying_;
  services_.worker->Post([self = shared_from_this(), dead, ack, done, index] {
    self->BuryNow(dead, ack, done, index);
  });
}

void Member::BuryNow(const Message& dead, const driver::Settlement& ack,
                     driver::SettleCompletion* done, size_t index) {
  const auto moved = services_.transactions->CommitLocal(
      {&dead, 1}, {&ack, 1},
      {.deadline = Clock::now() + kBuryTimeout,
       .caller_waits = true,
       .born_timestamp_ms = dead.born_timestamp().count()});
  if (done != nullptr && moved.ok()) done->Settled(index, {});
  if (done != nullptr && !moved.ok()) done->Failed(index, moved.status());
  {
    const internal::MutexLock lock(mutex_);
    --burying_;
    changed_.NotifyAll();
    const auto token = Token::Read(ack.receipt.token());
    const auto found = by_source_.find(ack.receipt.source());
    // Nobody is told but by the message, which goes on being there.
    if (!moved.ok() && done == nullptr && found != by_source_.end() &&
        found->second->tracker.GiveBack(token->offset, token->delivery) ==
            kit::AckTracker::Outcome::kDone) {
      due_.emplace(Clock::now() + kBuryAgain,
                   std::pair(ack.receipt.source(), token->offset));
    }
  }
  Wake();
  CommitSoon();
}

std::optional<int64_t> Member::BroadcastLag(std::string_view queue,
                                            int32_t partition, int64_t end) {
  const internal::MutexLock lock(mutex_);
  const auto found = assigned_.find(Place(queue, partition));
  if (!options_.broadcast || found == assigned_.end()) return std::nullopt;
  const kit::AckTracker& tracker = found->second->tracker;
  return std::max<int64_t>(
      end - tracker.low_water() - tracker.settled_above(), 0);
}

std::optional<absl::Status> Member::SeekTo(std::string_view queue,
                                           int32_t partition, int64_t offset,
                                           TimePoint deadline) {
  const Place place(queue, partition);
  std::unique_ptr<Assigned> old;
  uint64_t source = 0;
  {
    const internal::MutexLock lock(mutex_);
    if (!assigned_.contains(place)) return std::nullopt;
    ++moving_;
    // A message that was fetched from the old place must not arrive later.
    while (fetching_ || committing_ || transacting_) {
      Wake();
      (void)changed_.WaitUntil(mutex_, Clock::now() + milliseconds(20));
      if (Clock::now() >= deadline) break;
    }
    const auto found = assigned_.find(place);
    if (found == assigned_.end() || fetching_) {
      --moving_;
      changed_.NotifyAll();
      if (found == assigned_.end()) return std::nullopt;
      return MakeStatus(Code::kTimeout, "seek group \"",
                        std::string_view(options_.group),
                        "\": its member did not stop receiving in time");
    }
    old = std::move(found->second);
    source = old->source;
    lost_.insert(source);
    by_source_.erase(source);
    found->second = std::make_unique<Assigned>(
        cluster_->NewSource(), place.first, partition, offset, old->options);
    DropArrived(queue, partition);
    found->second->paused = old->paused;
    by_source_[found->second->source] = found->second.get();
  }
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_list_add(list.get(), place.first.c_str(), partition)
      ->offset = offset;
  rd_kafka_resp_err_t error = CommitNow(*list, deadline);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const OwnedError failed(rd_kafka_seek_partitions(
        handle_->get(), list.get(), std::max(1, TimeoutMs(deadline))));
    if (failed != nullptr) error = rd_kafka_error_code(failed.get());
  }
  {
    const internal::MutexLock lock(mutex_);
    --moving_;
    changed_.NotifyAll();
  }
  events_.Lost({&source, 1});
  return error == RD_KAFKA_RESP_ERR_NO_ERROR
             ? absl::OkStatus()
             : KafkaStatus(error, "seek the group");
}

}  // namespace openmessaging::kafka
