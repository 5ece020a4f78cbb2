// SPDX-License-Identifier: Apache-2.0

#include "producer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bells.h"
#include "key_hash.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "producer_scratch.h"
#include "routes.h"

namespace openmessaging::reference {
namespace {

using driver::MessageAccess;
using internal::Field;

// Fields that the library or a driver sets: a received message that is sent on
// has them, and they would be another message's.
bool IsForeign(Field type) {
  switch (type) {
    case Field::kDestination:
    case Field::kVersion:
    case Field::kMessageId:
    case Field::kBornTimestamp:
    case Field::kBornHost:
    case Field::kStoreHost:
    case Field::kTransactionId:
      return true;
    default:
      return false;
  }
}

// What one look over the fields finds.
struct FieldFacts {
  bool has_foreign = false;
  bool expires = false;
  bool once = false;
  bool exactly_once = false;
  int priority = Message::kDefaultPriority;
  int64_t delay_ms = 0;
  std::string_view deduplication_id{};
};

int64_t NumberIn(const internal::FieldSpan& field) {
  int64_t number = 0;
  if (field.payload.size() == sizeof(number)) {
    std::memcpy(&number, field.payload.data(), sizeof(number));
  }
  return number;
}

FieldFacts LookOver(std::string_view fields) {
  FieldFacts facts;
  size_t at = 0;
  while (const auto field = internal::FieldAt(fields, at)) {
    if (IsForeign(field->type)) facts.has_foreign = true;
    if (field->type == Field::kExpireAt) facts.expires = NumberIn(*field) != 0;
    if (field->type == Field::kQos) {
      const auto qos =
          field->payload.empty() ? Qos::kAtLeastOnce
                                 : static_cast<Qos>(field->payload[0]);
      facts.once = qos == Qos::kAtMostOnce;
      facts.exactly_once = qos == Qos::kExactlyOnce;
    }
    if (field->type == Field::kDelay) facts.delay_ms = NumberIn(*field);
    if (field->type == Field::kDeduplicationId) {
      facts.deduplication_id = field->payload;
    }
    if (field->type == Field::kPriority && !field->payload.empty()) {
      const int priority = static_cast<uint8_t>(field->payload[0]);
      if (priority >= 1 && priority <= static_cast<int>(kLanes)) {
        facts.priority = priority;
      }
    }
    at = field->end;
  }
  return facts;
}

// Returns: the fields but those of which `leave_out(type)` is true.
template <typename LeaveOut>
std::string Without(std::string_view fields, const LeaveOut& leave_out) {
  std::string kept;
  size_t at = 0;
  while (const auto field = internal::FieldAt(fields, at)) {
    if (!leave_out(field->type)) {
      kept.append(fields.substr(field->begin, field->end - field->begin));
    }
    at = field->end;
  }
  return kept;
}

// Returns: the fields with the one that says when the message was born. A field
// of origin stands before it; the order of fields is by number.
std::string WithBorn(std::string_view fields, std::string_view born) {
  const auto first = internal::FieldAt(fields, 0);
  const size_t before =
      first && first->type < Field::kBornTimestamp ? first->end : 0;
  std::string merged(fields.substr(0, before));
  merged += born;
  merged += fields.substr(before);
  return merged;
}

}  // namespace

ReferenceProducer::ReferenceProducer(std::shared_ptr<Store> store,
                                     bool auto_create)
    : store_(std::move(store)), auto_create_(auto_create), id_(Scratch::NextProducer()) {}

absl::StatusOr<const Queue*> ReferenceProducer::QueueOf(std::string_view name,
                                                        TimePoint deadline,
                                                        Scratch& scratch) {
  if (scratch.queue_of == id_ && scratch.queue->name == name &&
      scratch.queue->current()) {
    return scratch.queue.get();
  }
  auto found = FindQueue(name, deadline);
  if (!found.ok()) return found.status();
  if (!scratch.items.empty()) {
    scratch.other_queues.push_back(std::move(scratch.queue));
  }
  scratch.queue = *std::move(found);
  scratch.queue_of = id_;
  return scratch.queue.get();
}

absl::StatusOr<std::shared_ptr<const Queue>> ReferenceProducer::FindQueue(
    std::string_view name, TimePoint deadline) {
  {
    const internal::MutexLock lock(mutex_);
    if (last_queue_ != nullptr && last_queue_->name == name &&
        last_queue_->current()) {
      return last_queue_;
    }
  }
  auto queue = store_->catalog().FindQueue(name, deadline);
  if (!queue.ok() && OmsCode(queue.status()) == Code::kQueueNotFound &&
      auto_create_) {
    const auto made = store_->catalog().CreateQueue(name, {}, deadline);
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) return made;
    queue = store_->catalog().FindQueue(name, deadline);
  }
  if (!queue.ok()) return queue.status();
  const internal::MutexLock lock(mutex_);
  last_queue_ = *queue;
  return queue;
}

absl::StatusOr<uint32_t> ReferenceProducer::PartitionFor(
    const Message& message, const Queue& queue, uint32_t key_hash) {
  const uint32_t partitions = queue.lane_partitions;
  if (partitions == 1 && message.requested_partition() <= 0) return 0u;
  const int32_t requested = message.requested_partition();
  if (requested >= 0) {
    if (static_cast<uint32_t>(requested) < partitions) {
      return static_cast<uint32_t>(requested);
    }
    return MakeStatus(Code::kBadParameter, "send to \"",
                      std::string_view(queue.name), "\": partition ",
                      requested, " does not exist; the queue has ", partitions);
  }
  if (key_hash != 0) return PartitionOfKey(key_hash, partitions);
  return next_partition_.fetch_add(1, std::memory_order_relaxed) % partitions;
}

absl::Status ReferenceProducer::Plan(const Message& message,
                                     const driver::CallContext& context,
                                     int64_t store_ms, Scratch& scratch) {
  const auto found = QueueOf(message.destination(), context.deadline, scratch);
  if (!found.ok()) return found.status();
  const Queue* const queue = *found;
  const std::string_view key = message.message_key();
  const uint32_t key_hash = KeyHash(key);
  const auto shown = PartitionFor(message, *queue, key_hash);
  if (!shown.ok()) return shown.status();
  std::string_view fields = MessageAccess::FieldsAfterDestination(message);
  const FieldFacts facts = LookOver(fields);
  if (facts.delay_ms > kMaxDelayMs) {
    return MakeStatus(Code::kBadParameter, "send to \"",
                      std::string_view(queue->name), "\": delay is ",
                      facts.delay_ms, " ms; limit is ", kMaxDelayMs, " ms");
  }
  // The queue may be another one than was asked what it can do.
  if (facts.priority != Message::kDefaultPriority && !queue->has_priorities()) {
    return MakeStatus(Code::kUnsupported, "send to \"",
                      std::string_view(queue->name),
                      "\": the queue was created without priorities; expected "
                      "a message that sets none (priority)");
  }
  if (!facts.deduplication_id.empty() &&
      queue->options.deduplication_window.count() == 0) {
    return MakeStatus(Code::kUnsupported, "send to \"",
                      std::string_view(queue->name),
                      "\": the queue was created without a deduplication "
                      "window; expected a message without an id (dedup)");
  }
  if (facts.exactly_once && facts.deduplication_id.empty() &&
      !scratch.together) {
    return MakeStatus(Code::kBadParameter, "send to \"",
                      std::string_view(queue->name),
                      "\": a message at qos exactly once has no deduplication "
                      "id, by which it could be sent again; expected one, or a "
                      "local transaction (exactly-once)");
  }
  const bool routed = queue->routed && facts.delay_ms <= 0 && !scratch.prepares;
  if (routed && scratch.routes == nullptr) {
    auto routes = store_->catalog().Routes(context.deadline);
    if (!routes.ok()) return routes.status();
    scratch.routes = *std::move(routes);
  }
  const uint32_t partition = queue->InLane(*shown, facts.priority);

  Append& append = scratch.appends.emplace_back();
  Scratch::Item& item = scratch.items.emplace_back();
  Durability durability = message.durability();
  if (durability == Durability::kDefault) durability = Durability::kDisk;
  if (!store_->volatile_storage()) {
    append.flags = durability == Durability::kDisk ? kDisk : kPayloadPending;
    // A caller that does not wait does not wait for its body's flush either.
    // A delayed one has its body in its record.
    if (!context.caller_waits && facts.delay_ms <= 0 &&
        store_->log().HasOwnFile(message.body())) {
      append.flags |= kPayloadPending;
    }
  }
  append.queue_partition = QueuePartition(queue->id, partition);
  append.key_hash = key_hash;
  append.partition = queue->state->partition(partition);
  append.alive = queue->entry;
  if (facts.expires) append.flags |= kExpires;
  if (facts.once) append.flags |= kOnce;
  if (facts.has_foreign) {
    fields = scratch.Keep(Without(fields, IsForeign));
  }
  // Implied where it is the store time.
  if (context.born_timestamp_ms != store_ms && context.born_timestamp_ms != 0) {
    item.has_born = true;
    scratch.incomplete = true;
    internal::PutField(item.born.data(), Field::kBornTimestamp,
                       internal::NumberBytes(context.born_timestamp_ms));
  }
  append.pieces = {std::string_view(), fields, message.body()};
  if (facts.delay_ms > 0) {
    const Clock& clock = *store_->environment().clock;
    scratch.LookAtClock(clock);
    item.delay.store_ms = store_ms;
    item.delay.due_ns = scratch.now_ns + facts.delay_ms * 1'000'000;
    item.delay.due_ms = scratch.now_ms + facts.delay_ms + 1;
    item.delay.boot_hash = clock.BootHash();
    append.type = RecordType::kDelayed;
    append.partition = nullptr;
    append.takes_room = true;
    append.offset = UINT64_MAX;
    scratch.delayed = true;
    scratch.incomplete = true;
  }
  if (!facts.deduplication_id.empty()) {
    append.flags |= kDeduplicated;
    AddDeduplication(facts.deduplication_id, *queue, scratch);
  }
  item.queue = queue;
  if (routed) {
    AddCopies({key_hash, facts.priority}, store_ms, scratch);
  }
  return absl::OkStatus();
}

void ReferenceProducer::AddCopies(const MessagePlan& plan, int64_t store_ms,
                                  Scratch& scratch) {
  const size_t source = scratch.appends.size() - 1;
  Scratch::Item& of_source = scratch.items[source];
  std::string_view fields = scratch.appends[source].pieces[1];
  if (of_source.has_born) {
    // Filters see it in one piece.
    of_source.has_born = false;
    fields = scratch.Keep(WithBorn(
        fields, {of_source.born.data(), of_source.born.size()}));
    scratch.appends[source].pieces[1] = fields;
  }
  FindTargets(*scratch.routes, *of_source.queue, fields, store_ms,
              store_->uuid(), store_->environment().host, scratch.targets);
  if (scratch.targets.empty()) return;
  // It was for the source's partitions only.
  const bool asked =
      internal::FindField(fields, Field::kPartition).has_value();
  if (asked) {
    fields = scratch.Keep(Without(
        fields, [](Field type) { return type == Field::kPartition; }));
  }
  const uint32_t turn = next_copy_.fetch_add(1, std::memory_order_relaxed);
  scratch.appends[source].flags |= kMore;
  for (const Queue* const target : scratch.targets) {
    Append copy = CopyOf(scratch.appends[source], *target,
                         {plan.key_hash, plan.priority, turn});
    copy.pieces[1] = fields;
    scratch.appends.push_back(copy);
    Scratch::Item& item = scratch.items.emplace_back();
    item.target = target;
    item.index = scratch.routed.size();
    scratch.routed.emplace_back().back =
        static_cast<uint32_t>(scratch.appends.size() - 1 - source);
  }
  scratch.appends.back().flags &= static_cast<uint8_t>(~kMore);
  scratch.incomplete = true;
}

void ReferenceProducer::AddDeduplication(std::string_view id,
                                         const Queue& queue, Scratch& scratch) {
  scratch.LookAtClock(*store_->environment().clock);
  Deduplication& asked = scratch.deduplications.emplace_back();
  const int64_t window_ms =
      queue.options.deduplication_window.count() + kClockStepMs;
  scratch.incomplete = true;
  asked.now_ns = scratch.now_ns;
  asked.fact.key = DeduplicationKey(store_->uuid(), queue.id, id);
  asked.fact.end_ns = scratch.now_ns + window_ms * 1'000'000;
  asked.fact.end_ms = scratch.now_ms + window_ms;
  scratch.deduplicated.push_back(scratch.appends.size() - 1);
}

void ReferenceProducer::Send(std::span<const Message> batch,
                             const driver::CallContext& context,
                             driver::SendCompletion& done) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) {
    for (size_t i = 0; i < batch.size(); ++i) done.Failed(i, usable);
    return;
  }
  Scratch& of_thread = Scratch::OfThread();
  if (!of_thread.in_use) return SendWith(of_thread, batch, context, done);
  // A completion sends again on this thread.
  Scratch nested;
  SendWith(nested, batch, context, done);
}

void ReferenceProducer::SendWith(Scratch& scratch,
                                 std::span<const Message> batch,
                                 const driver::CallContext& context,
                                 driver::SendCompletion& done) {
  scratch.in_use = true;
  scratch.Clear();
  const int64_t store_ms = store_->environment().clock->WallMs();
  for (size_t i = 0; i < batch.size(); ++i) {
    const size_t planned = scratch.items.size();
    if (auto s = Plan(batch[i], context, store_ms, scratch); !s.ok()) {
      // Zeros of a lost page know no queue.
      const absl::Status pages = store_->CheckPages();
      done.Failed(i, pages.ok() ? std::move(s) : pages);
      continue;
    }
    scratch.items[planned].index = i;
  }
  Complete(scratch);
  store_->log().AppendAll(scratch.appends, store_ms, context.deadline);
  // Without one, whoever receives does it.
  if (scratch.delayed && store_->housekeeper() != nullptr) {
    store_->housekeeper()->Nudge();
  }
  CompleteAll(scratch, context.caller_waits, context.deadline, done);
  scratch.Clear();
  scratch.in_use = false;
}

void ReferenceProducer::Complete(Scratch& scratch) {
  if (!scratch.incomplete) return;
  for (size_t n = 0; n < scratch.deduplications.size(); ++n) {
    scratch.appends[scratch.deduplicated[n]].deduplication =
        &scratch.deduplications[n];
  }
  for (size_t n = 0; n < scratch.items.size(); ++n) {
    const Scratch::Item& item = scratch.items[n];
    if (item.target != nullptr) {
      scratch.appends[n].body_of = &scratch.appends[SourceOf(scratch, n)];
      scratch.appends[n].pieces[0] =
          internal::NumberBytes(scratch.routed[item.index]);
    }
    if (item.has_born) {
      std::string_view& fields = scratch.appends[n].pieces[1];
      const std::string_view born(item.born.data(), item.born.size());
      const auto first = internal::FieldAt(fields, 0);
      if (first && first->type < Field::kBornTimestamp) {
        fields = scratch.Keep(WithBorn(fields, born));
      } else {
        scratch.appends[n].pieces[0] = born;
      }
    }
    const RecordType type = scratch.appends[n].type;
    if (type == RecordType::kDelayed || type == RecordType::kPrepare) {
      auto& [head, fields, body] = scratch.appends[n].pieces;
      if (!head.empty()) {
        fields = scratch.Keep(std::string(head) + std::string(fields));
      }
      head = type == RecordType::kDelayed
                 ? internal::NumberBytes(item.delay)
                 : internal::NumberBytes(scratch.prepared);
    }
  }
}

absl::StatusOr<MessageId> ReferenceProducer::Prepare(
    const Message& message, uint64_t group,
    const driver::PrepareOptions& options, const driver::CallContext& context) {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  const Clock& clock = *store_->environment().clock;
  const int64_t store_ms = clock.WallMs();
  Scratch scratch;
  scratch.prepares = true;
  if (auto s = Plan(message, context, store_ms, scratch); !s.ok()) return s;
  scratch.incomplete = true;
  Append& append = scratch.appends[0];
  append.type = RecordType::kPrepare;
  append.partition = nullptr;
  append.takes_room = true;
  append.offset = UINT64_MAX;
  PreparedHead& head = scratch.prepared;
  const int64_t wait_ms = options.check_after.count();
  head.held.store_ms = store_ms;
  head.held.due_ns = clock.BootNs() + wait_ms * 1'000'000;
  head.held.due_ms = clock.ExactWallMs() + wait_ms;
  head.held.boot_hash = clock.BootHash();
  head.group = group;
  head.check_after_ms = static_cast<uint32_t>(wait_ms);
  head.max_checks = static_cast<uint16_t>(options.max_checks);
  Complete(scratch);
  store_->log().AppendAll(scratch.appends, store_ms, context.deadline);
  if (!append.status.ok()) return append.status;
  if ((append.flags & kDisk) != 0) {
    auto flushed = store_->log().WaitDurable(append.end, context.deadline);
    if (!flushed.ok()) return flushed;
  }
  return MessageId(store_->uuid(), store_->control().header().epoch,
                   append.sequence);
}

bool ReferenceProducer::HandOver(Scratch& scratch,
                                 driver::SendCompletion& done) {
  Housekeeper* const housekeeper = store_->housekeeper();
  if (housekeeper == nullptr) return false;
  for (size_t n = 0; n < scratch.items.size(); ++n) {
    const Append& append = scratch.appends[n];
    if (!append.status.ok() || (append.flags & kDisk) == 0) continue;
    const Scratch::Item& item = scratch.items[n];
    // Nobody waits for a copy but its receivers.
    if (item.target != nullptr && append.duplicate) continue;
    scratch.undurable.push_back(
        {append.end, append.sequence, append.offset,
         item.place().Shown(PartitionOf(append.queue_partition)),
         append.duplicate ? append.epoch : store_->control().header().epoch,
         append.duplicate, item.place().state,
         item.target != nullptr ? nullptr : &done, item.index, this});
  }
  return housekeeper->Take(scratch.undurable);
}

void ReferenceProducer::CompleteAll(Scratch& scratch, bool caller_waits,
                                    TimePoint deadline,
                                    driver::SendCompletion& done) {
  uint64_t disk_end = 0;
  for (const Append& append : scratch.appends) {
    if (append.status.ok() && (append.flags & kDisk) != 0) {
      disk_end = std::max(disk_end, append.end);
    }
  }
  absl::Status flushed;
  // Taken over, they may be complete already and `done` gone when the last of
  // the others, which are completed here, is.
  const bool handed_over =
      disk_end != 0 && !caller_waits && HandOver(scratch, done);
  if (disk_end != 0 && !handed_over) {
    flushed = store_->log().WaitDurable(disk_end, deadline);
  }
  const QueueState* rung = nullptr;
  for (size_t n = 0; n < scratch.items.size(); ++n) {
    Append& append = scratch.appends[n];
    const Scratch::Item& item = scratch.items[n];
    if ((append.flags & kMore) != 0 && item.target == nullptr &&
        OmsCode(append.status) == Code::kQueueNotFound && item.queue->live()) {
      append.status = TargetGone(item.queue->name);
    }
    if (item.target != nullptr) {
      const bool here = (append.flags & kDisk) == 0 || !handed_over;
      if (append.status.ok() && here) RingFor(scratch, n, rung);
      continue;
    }
    if (!append.status.ok()) {
      done.Failed(item.index, append.status);
      continue;
    }
    const bool disk = (append.flags & kDisk) != 0;
    if (disk && handed_over) continue;
    RingFor(scratch, n, rung);
    if (disk && !flushed.ok()) {
      done.Failed(item.index, flushed);
      continue;
    }
    done.Sent(item.index, ResultOf(scratch, n));
  }
}

void ReferenceProducer::RingFor(Scratch& scratch, size_t n,
                                const QueueState*& rung) const {
  QueueState& queue = *scratch.items[n].place().state;
  if (&queue == rung || OMS_PLANTED(kSenderRingsNobody)) return;
  rung = &queue;
  // With copies among them they go by turns.
  if (scratch.routes != nullptr) {
    auto& all = scratch.rung;
    if (std::find(all.begin(), all.end(), rung) != all.end()) return;
    all.push_back(rung);
  }
  RingBells(store_->control(), store_->environment(), store_->liveness(),
            queue);
}

SendResult ReferenceProducer::ResultOf(const Scratch& scratch,
                                       size_t n) const {
  const Append& append = scratch.appends[n];
  // Made where it stands: a copy would wait for each piece of the id.
  return {
      .message_id = MessageId(
          store_->uuid(),
          append.duplicate ? append.epoch : store_->control().header().epoch,
          append.sequence),
      .partition = static_cast<int32_t>(scratch.items[n].queue->Shown(
          PartitionOf(append.queue_partition))),
      .offset = static_cast<int64_t>(append.offset),
      .duplicate = append.duplicate};
}

size_t ReferenceProducer::SourceOf(const Scratch& scratch, size_t n) {
  return n - scratch.routed[scratch.items[n].index].back;
}

absl::Status ReferenceProducer::Flush(TimePoint deadline) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  const uint64_t position = store_->log().committed();
  if (auto s = store_->log().WaitDurable(position, deadline); !s.ok()) {
    if (OmsCode(s) != Code::kFlushTimeout) return s;
    return MakeStatus(Code::kTimeout,
                      "flush: another process's flush did not end before the "
                      "deadline");
  }
  Housekeeper* const housekeeper = store_->housekeeper();
  return housekeeper == nullptr
             ? absl::OkStatus()
             : housekeeper->WaitCompleted(position, deadline);
}

absl::Status ReferenceProducer::Close(TimePoint deadline) noexcept {
  // In the child of a fork nothing completes.
  if (store_->CheckUsable().ok() && store_->housekeeper() != nullptr) {
    store_->housekeeper()->Finish(this, deadline);
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
