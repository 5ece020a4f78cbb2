// SPDX-License-Identifier: Apache-2.0
//
// What appends change beside the log and its index, which retirement empties: the tables of delayed and
// prepared messages and of deduplication ids, and what those above publish.

#include <cstdint>
#include <optional>

#include "log.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "settled_record.h"

namespace openmessaging::reference {
namespace {

}  // namespace

bool Log::WaitsStill(const Append& entry) const {
  const auto found = delays_.Find(entry.waiting->id);
  return OMS_PLANTED(kCancelledBroughtIn) ||
         (found && found->position == entry.waiting->position);
}

bool Log::IsKnown(const Deduplication& asked,
                  std::span<const Append> earlier) const {
  for (const Append& other : earlier) {
    if (other.deduplication != nullptr &&
        other.deduplication->fact.key == asked.fact.key) {
      return true;
    }
  }
  return deduplications_.Find(asked.fact.key, asked.now_ns).has_value();
}

void Log::Remember(const RecordHeader& header, const char* record,
                   const Append* entry) {
  if ((CommitWord::Flags(header.commit) & kDeduplicated) == 0) return;
  Deduplicated fact;
  if (entry != nullptr) {
    fact = entry->deduplication->fact;
    fact.sequence = header.sequence;
    fact.offset = header.offset;
    fact.epoch = header.epoch;
    fact.queue_partition = header.queue_partition;
    fact.position = header.position;
    fact.bytes = PaddedBytes(header);
  } else {
    const int64_t window_ms =
        listener_->DeduplicationMs(QueueOf(header.queue_partition));
    if (window_ms == 0) return;  // Its queue is gone.
    fact = DeduplicatedOf(header, record, control_->header().uuid, window_ms,
                          *environment_->clock);
  }
  deduplications_.Put(fact);
}

void Log::FinishOther(const RecordHeader& header, const char* record,
                      const Append* entry) {
  switch (CommitWord::Type(header.commit)) {
    case RecordType::kMessage:
      Remember(header, record, entry);
      break;
    case RecordType::kQueue:
    case RecordType::kGroup:
    case RecordType::kRoute:
    case RecordType::kNamespace:
      listener_->Publish(header);
      break;
    case RecordType::kDead:
      listener_->SettleDead(DeadSourceOf(header, record),
                            entry == nullptr ? nullptr : entry->source);
      break;
    case RecordType::kSettled:
      ForEachSettled(header, record, [&](const DeadSource& source) {
        listener_->SettleDead(source,
                              entry == nullptr ? nullptr : entry->source);
      });
      break;
    case RecordType::kSeek:
      listener_->MoveCursor(SeekTargetOf(header, record),
                            header.queue_partition,
                            entry == nullptr ? nullptr : entry->source);
      break;
    case RecordType::kDelayed:
      delays_.Put(DelayedOf(header, record));
      Remember(header, record, entry);
      break;
    case RecordType::kDeduplication:
      ForEachDeduplicated(
          header, record, [&](const DeduplicatedImage& image) {
            Deduplicated fact;
            fact.key = image.key;
            fact.sequence = image.sequence;
            fact.epoch = image.epoch;
            fact.position = header.position;
            fact.bytes = PaddedBytes(header);
            deduplications_.Move(fact);
          });
      break;
    case RecordType::kDue:
      if (OMS_PLANTED(kDueStaysDelayed)) break;
      delays_.Remove(HeldIdOf(HeldHeadOf(header, record), header));
      break;
    case RecordType::kCancel:
      delays_.Remove(NamedIn(header, record));
      break;
    case RecordType::kPrepare:
      prepared_.Put(PreparedOf(header, record, *environment_->clock));
      break;
    case RecordType::kCommit:
    case RecordType::kRollback:
      prepared_.Put(DecisionOf(header, record, *environment_->clock));
      break;
    case RecordType::kOutcomes:
      ForEachOutcome(header, record, [&](const OutcomeImage& image) {
        prepared_.Put(RememberedOf(image, header, *environment_->clock));
      });
      break;
    default:
      break;
  }
}

absl::StatusOr<std::optional<Delayed>> Log::FindDelayed(const HeldId& id,
                                                        TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  const std::optional<Delayed> found = delays_.Find(id);
  append_lock_.Release();
  return found;
}

void Log::FreeIndex(PartitionState& partition, uint64_t position) {
  uint32_t at = 0;
  bool more = true;
  for (bool first = true; more; first = false) {
    if (!LockWhole(TimePoint::max()).ok()) return;
    if (first) index_.FreeBelow(partition, partition.first_offset.Load());
    more = index_.FreeRetired(partition, partition.whole_from.Load(), position,
                              at);
    append_lock_.Release();
  }
}

absl::Status Log::AddDelayBlock(uint64_t block, TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  delays_.AddBlock(block);
  append_lock_.Release();
  return absl::OkStatus();
}

absl::Status Log::AddDeduplicationBlock(uint64_t block, TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  deduplications_.AddBlock(block);
  append_lock_.Release();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Prepared>> Log::FindPrepared(
    const HeldId& id, TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  const auto found = prepared_.Find(id, environment_->clock->BootNs());
  append_lock_.Release();
  return found;
}

absl::Status Log::AddPreparedBlock(uint64_t block, TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  prepared_.AddBlock(block);
  append_lock_.Release();
  return absl::OkStatus();
}

absl::StatusOr<bool> Log::CountCheck(const Prepared& seen, int64_t next_ns,
                                     int64_t next_ms, TimePoint deadline) {
  if (auto s = LockWhole(deadline); !s.ok()) return s;
  const bool counted = prepared_.CountCheck(seen, next_ns, next_ms);
  append_lock_.Release();
  return counted;
}

void Log::ForgetOutcomes(TimePoint deadline) {
  if (!LockWhole(deadline).ok()) return;
  prepared_.ForgetOver(environment_->clock->BootNs());
  append_lock_.Release();
}

}  // namespace openmessaging::reference
