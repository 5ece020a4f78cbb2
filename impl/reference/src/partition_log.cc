// SPDX-License-Identifier: Apache-2.0

#include "partition_log.h"

#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "bells.h"
#include "cursor_image.h"
#include "key_hash.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using driver::MessageAccess;
using internal::Field;

// Fields that are written anew, or asked for something in the old queue.
bool IsLeftBehind(Field type) {
  switch (type) {
    case Field::kDestination:
    case Field::kOriginId:
    case Field::kBornTimestamp:
    case Field::kPartition:
    case Field::kTransactionId:
    case Field::kDelay:
    case Field::kExpireAt:
    case Field::kProperties:
      return true;
    default:
      return false;
  }
}

std::string_view NameOf(DeadReason reason) {
  switch (reason) {
    case DeadReason::kRejected:
      return kDeadRejected;
    case DeadReason::kMaxDeliveries:
      return kDeadMaxDeliveries;
    case DeadReason::kExpired:
      break;
  }
  return kDeadExpired;
}

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A source that is gone is not to be taken for a dead-letter queue that is.
absl::Status SourceError(const DeadLetter& letter, const absl::Status& status) {
  if (OmsCode(status) != Code::kQueueNotFound) return status;
  return MakeStatus(Code::kDamaged, "settle offset ", letter.offset,
                    ": the segment of the message is gone");
}

}  // namespace

PartitionLog::PartitionLog(Store* store, std::shared_ptr<const Group> group,
                           uint32_t partition, const DeliveryTerms* terms)
    : store_(store),
      group_(std::move(group)),
      queue_partition_(QueuePartition(group_->queue->id, partition)),
      terms_(terms),
      cursor_(group_->state->cursor(partition)) {}

absl::Status PartitionLog::EnsureExceptions(TimePoint deadline) {
  return store_->catalog().EnsureExceptions(*cursor_, deadline);
}

absl::Status PartitionLog::LogCursor(TimePoint deadline) {
  if (store_->volatile_storage()) return absl::OkStatus();
  return store_->LogCursor(*group_->state, PartitionOf(queue_partition_),
                           deadline);
}

absl::Status PartitionLog::LogAttempts(uint64_t floor,
                                       std::span<const Attempt> attempts,
                                       TimePoint deadline) {
  // Of a store in memory nothing outlives its words.
  if (store_->volatile_storage()) return store_->log().FinishDead(deadline);
  ImageWriter body(std::move(buffer_));
  body.Put(group_->id);
  body.Put(floor);
  for (const Attempt& attempt : attempts) {
    body.Put(attempt.offset);
    body.Put(static_cast<uint16_t>(attempt.attempts));
  }
  Append record;
  record.type = RecordType::kDelivered;
  record.queue_partition = queue_partition_;
  record.offset = group_->id;
  record.pieces[2] = body.bytes();
  store_->log().AppendAll(
      {&record, 1}, store_->environment().clock->WallMs(), deadline);
  buffer_ = std::move(body.bytes());
  return record.status;
}

bool PartitionLog::IsExpired(uint64_t offset, uint64_t position) {
  const auto segment = store_->segments().Find(position);
  return segment.ok() &&
         reference::IsExpired(*store_, **segment,
                              {queue_partition_, offset, position});
}

absl::StatusOr<Message> PartitionLog::ReadSource(
    const DeadLetter& letter) const {
  auto segment = store_->segments().Find(letter.position);
  if (!segment.ok()) return segment.status();
  auto* const holder =
      new SegmentHolder(*std::move(segment), group_->queue, *store_);
  auto message = ReadMessage(
      *store_, holder, {queue_partition_, letter.offset, letter.position},
      letter.attempts);
  holder->Unref();
  return message;
}

absl::StatusOr<std::optional<PartitionLog::SharedBody>>
PartitionLog::SharedBodyOf(const DeadLetter& letter) const {
  const auto segment = store_->segments().Find(letter.position);
  if (!segment.ok()) return segment.status();
  const char* const record = (*segment)->Read(letter.position);
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  const auto body = LargeBodyOf(header, record);
  if (!body) return std::nullopt;
  // As pending as the source is: who flushes completes either.
  return SharedBody{
      *body, (CommitWord::Flags(header.commit) & kPayloadPending) != 0};
}

KeyValue PartitionLog::PropertiesOf(const Message& message,
                                    const DeadLetter& letter) const {
  KeyValue properties(message.properties());
  const auto put = [&](std::string_view key, const Value& value) {
    properties.Put(key, value).IgnoreError();
  };
  put(kDeadQueue, group_->queue->name);
  put(kDeadPartition, static_cast<int32_t>(group_->queue->Shown(
                          PartitionOf(queue_partition_))));
  put(kDeadOffset, static_cast<int64_t>(letter.offset));
  put(kDeadGroup, group_->name);
  put(kDeadDeliveries, static_cast<int32_t>(letter.attempts));
  put(kDeadReason, NameOf(letter.reason));
  return properties;
}

std::string PartitionLog::FieldsOf(const Message& message,
                                   const DeadLetter& letter) const {
  // In the order of their numbers, which is the order of the field form.
  std::map<Field, std::string_view> fields;
  const std::string_view old = MessageAccess::Fields(message);
  size_t at = 0;
  while (const auto field = internal::FieldAt(old, at)) {
    if (!IsLeftBehind(field->type)) fields[field->type] = field->payload;
    at = field->end;
  }
  const std::string origin = message.origin_id().ToString();
  const int64_t born_ms = message.born_timestamp().count();
  const KeyValue properties = PropertiesOf(message, letter);
  fields[Field::kOriginId] = origin;
  fields[Field::kBornTimestamp] = BytesOf(born_ms);
  fields[Field::kProperties] = properties.encoded();
  std::string form;
  for (const auto& [type, payload] : fields) {
    const size_t end = form.size();
    form.resize(end + internal::FieldSize(payload.size()));
    internal::PutField(form.data() + end, type, payload);
  }
  return form;
}

absl::Status PartitionLog::MoveDead(const DeadLetter& letter,
                                    TimePoint deadline) {
  const DeliveryTerms* const terms = terms_.load(std::memory_order_acquire);
  const Queue* const target =
      terms == nullptr ? nullptr : terms->dead_letters.get();
  if (target == nullptr) {
    return MakeStatus(Code::kUnsupported, "settle: queue \"",
                      std::string_view(group_->queue->name),
                      "\" has no dead-letter queue; create it with one");
  }
  const bool expired = letter.reason == DeadReason::kExpired;
  if (expired) {
    // Its place in the index is compared under the append lock; the word here,
    // once what a dead process appended is finished: the cursor's lock is held.
    auto finished = store_->log().FinishDead(deadline);
    if (!finished.ok()) return finished;
    if (letter.word->Load() != letter.expected) {
      return MakeStatus(Code::kReceiptExpired, "settle offset ", letter.offset,
                        ": the message moved already");
    }
  }
  const auto message = ReadSource(letter);
  if (!message.ok()) return SourceError(letter, message.status());
  if (expired && terms->choose() && !terms->Matches(*message)) {
    return MakeStatus(Code::kReceiptExpired, "settle offset ", letter.offset,
                      ": the message is not for this group, which leaves it "
                      "to those that it is for");
  }
  const std::string fields = FieldsOf(*message, letter);
  const uint32_t key_hash = KeyHash(message->message_key());
  const uint32_t came_from =
      group_->queue->Shown(PartitionOf(queue_partition_));
  const uint32_t partition = target->InLane(
      key_hash != 0 ? PartitionOfKey(key_hash, target->lane_partitions)
                    : came_from % target->lane_partitions,
      message->priority());
  const DeadSource source{group_->id,   queue_partition_, letter.offset,
                          letter.floor, letter.attempts,  expired ? 1u : 0u};
  Append record;
  record.type = RecordType::kDead;
  if (!store_->volatile_storage()) {
    // Not less than its sender asked for.
    const bool disk = message->durability() == Durability::kDisk ||
                      message->durability() == Durability::kDefault;
    record.flags = disk ? kDisk : kPayloadPending;
  }
  record.queue_partition = QueuePartition(target->id, partition);
  record.key_hash = key_hash;
  record.partition = target->state->partition(partition);
  record.alive = target->entry;
  record.source = cursor_;
  record.guard = expired ? letter.place : letter.word;
  record.guarded = expired ? letter.unburied : letter.expected;
  record.pieces = {BytesOf(source), fields, message->body()};
  const auto large = SharedBodyOf(letter);
  if (!large.ok()) return SourceError(letter, large.status());
  if (large->has_value()) {
    // Not copied: both records name one file.
    record.flags |= kBodyApart;
    if ((*large)->pending) record.flags |= kPayloadPending;
    record.source_position = letter.position;
    record.pieces[2] = BytesOf((*large)->body);
  }
  store_->log().AppendAll(
      {&record, 1}, store_->environment().clock->WallMs(), deadline);
  if (!record.status.ok()) return record.status;
  RingBells(store_->control(), store_->environment(), store_->liveness(),
            *target->state);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> PartitionLog::LogSeek(uint64_t offset,
                                               uint64_t number,
                                               TimePoint deadline) {
  const SeekTarget target{group_->id, 0, offset, number};
  Append record;
  record.type = RecordType::kSeek;
  record.queue_partition = queue_partition_;
  record.offset = group_->id;
  record.alive = group_->entry;
  record.source = cursor_;
  record.pieces[2] = BytesOf(target);
  store_->log().AppendAll(
      {&record, 1}, store_->environment().clock->WallMs(), deadline);
  if (!record.status.ok()) return record.status;
  return record.end;
}

absl::Status PartitionLog::FinishDead(TimePoint deadline) {
  return store_->log().FinishDead(deadline);
}

}  // namespace openmessaging::reference
