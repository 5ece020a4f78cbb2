// SPDX-License-Identifier: Apache-2.0
//
// Retirement: a segment goes when every group has settled all messages in it, or
// those that somebody needs have moved (evacuation.cc). What else lives there is
// appended again first, so that the remaining log alone rebuilds the store.

#include <algorithm>
#include <chrono>
#include <string>

#include "cursor_image.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "evacuation.h"
#include "index.h"
#include "last_deliveries.h"
#include "needed_messages.h"
#include "openmessaging/key_value.h"
#include "planted.h"
#include "prepared_table.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

constexpr std::chrono::seconds kRetentionPatience{2};
// Of one DEDUPLICATION record.
constexpr size_t kRenewedBytes = 32 * sizeof(DeduplicatedImage);
// How often the housekeepers of all processes together look.
constexpr int64_t kIdleLookNs = 900'000'000;

}  // namespace

uint64_t Store::LowestNeeded(uint64_t end) {
  uint64_t lowest = end;
  for (const NeededMessages& needed : FindNeeded(*this)) {
    if (OMS_PLANTED(kNeededRetired)) continue;
    lowest = std::min(lowest, needed.Lowest(*control_, lowest));
  }
  return lowest;
}

std::vector<Store::Remainder> Store::RemaindersFrom(uint64_t boundary) {
  std::vector<Remainder> all;
  for (uint32_t n = 0; n < catalog_->count(); ++n) {
    const CatalogEntry& entry = *catalog_->entry(n);
    if (entry.kind.Load() != kQueueKind || entry.state.Load() == 0) continue;
    auto* const queue = control_->Get<QueueState>(entry.state.Load());
    for (uint32_t p = 0; p < queue->partitions; ++p) {
      PartitionState& partition = *queue->partition(p);
      const uint32_t queue_partition = QueuePartition(queue->id, p);
      IndexReader reader(control_.get(), &partition, queue_partition);
      const auto stays = [&](uint64_t offset) {
        const auto hit = reader.Find(offset);
        return hit && hit->position >= boundary;
      };
      // What stayed of what was retired before, and still does.
      uint64_t whole = partition.whole_from.Load();
      uint64_t first =
          reader.Next(partition.first_offset.Load(), whole);
      while (first < whole && !stays(first)) {
        first = reader.Next(first + 1, whole);
      }
      bool any = first < whole;
      const uint64_t end = partition.next_offset.Load();
      for (; whole < end; ++whole) {
        const auto hit = reader.Find(whole);
        if (!hit || hit->position < boundary) continue;
        if (!any) first = whole;
        any = true;
        // All behind it are in their places.
        if ((hit->flags & kIndexMoved) == 0) break;
      }
      if (whole > 0) {
        all.push_back(
            {queue_partition, &partition, any ? first : whole, whole});
      }
    }
  }
  return all;
}

uint32_t Store::Retirable(uint32_t first, uint32_t keep) {
  const DelayTable delays(control_.get());
  const DeduplicationTable deduplications(control_.get());
  const PreparedTable prepared(control_.get());
  if (delays.count() == 0 && deduplications.count() == 0 &&
      prepared.count() == 0) {
    return keep;
  }
  // Often the first one is kept: then the others need not be looked at.
  if (keep - first > 1 && Retirable(first, first + 1) == first) return first;
  const uint64_t below = segments_->entry(keep).base.Load();
  std::vector<uint64_t> bytes(keep - first);
  const auto add = [&](uint64_t position, uint64_t renewed) {
    for (uint32_t n = first; n != keep; ++n) {
      const uint64_t base = segments_->entry(n).base.Load();
      if (position - base < segments_->entry(n).capacity.Load()) {
        bytes[n - first] += renewed;
        break;
      }
    }
  };
  for (const Delayed& delayed : delays.All(INT64_MAX, below)) {
    add(delayed.position, delayed.bytes);
  }
  for (const Deduplicated& fact :
       deduplications.All(environment_->clock->BootNs(), below)) {
    add(fact.position, sizeof(DeduplicatedImage));
  }
  for (const Prepared& said :
       prepared.All(environment_->clock->BootNs(), below)) {
    add(said.position, said.state == PreparedState::kUndecided
                           ? said.bytes
                           : sizeof(OutcomeImage));
  }
  uint64_t spare = log_->SpareForRenewal();
  for (uint32_t n = first; n != keep; ++n) {
    const uint64_t again = bytes[n - first];
    if (again > segments_->entry(n).capacity.Load() / 4 || again > spare) {
      return n;
    }
    spare -= again;
  }
  return keep;
}

absl::Status Store::RenewDeduplications(uint64_t position, TimePoint deadline) {
  if (OMS_PLANTED(kIdsNotRenewed)) return absl::OkStatus();
  const std::vector<Deduplicated> all =
      DeduplicationTable(control_.get())
          .All(environment_->clock->BootNs(), position);
  std::string body;
  for (size_t n = 0; n < all.size(); ++n) {
    // What is of a queue that is gone, nobody will ask for.
    if (catalog_->FindLiveQueue(QueueOf(all[n].queue_partition)) != nullptr) {
      const DeduplicatedImage image =
          ImageOf(all[n], control_->header().boot_hash);
      body.append(reinterpret_cast<const char*>(&image), sizeof(image));
    }
    const bool full = body.size() >= kRenewedBytes || n + 1 == all.size();
    if (!full || body.empty()) continue;
    Append record;
    record.type = RecordType::kDeduplication;
    record.pieces[2] = body;
    log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
    if (!record.status.ok()) return record.status;
    body.clear();
  }
  return absl::OkStatus();
}

absl::Status Store::RenewBelow(uint64_t boundary,
                               const std::vector<Remainder>& remainders,
                               TimePoint deadline) {
  if (auto s = catalog_->EndOrphans(deadline); !s.ok()) return s;
  if (auto s = catalog_->Renew(boundary, deadline); !s.ok()) return s;
  if (auto s = delays_->Renew(boundary, deadline); !s.ok()) return s;
  if (auto s = RenewDeduplications(boundary, deadline); !s.ok()) return s;
  if (auto s = transactions_->Renew(boundary, deadline); !s.ok()) return s;
  if (auto s = LogCursors(true, deadline); !s.ok()) return s;
  ImageWriter offsets;
  for (const Remainder& remainder : remainders) {
    offsets.Put(remainder.queue_partition);
    offsets.Put(remainder.whole_from);
  }
  KeyValue body;
  ControlHeader::Append& append = control_->header().append;
  body.Put("first", static_cast<int64_t>(boundary)).IgnoreError();
  body.Put("queue", static_cast<int32_t>(append.next_queue.Load()))
      .IgnoreError();
  body.Put("group", static_cast<int32_t>(append.next_group.Load()))
      .IgnoreError();
  body.Put("offsets", Bytes{offsets.bytes()}).IgnoreError();
  Append record;
  record.type = RecordType::kRetire;
  record.pieces[2] = body.encoded();
  log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
  if (!record.status.ok()) return record.status;
  if (OMS_PLANTED(kRetiredUnflushed)) return absl::OkStatus();
  // Not WaitDurable: whoever flushes now may be waiting for this.
  const auto flushed = log_->TryFlush();
  if (!flushed.ok()) return flushed.status();
  if (!storage_->IsVolatile() && log_->durable() < record.end) {
    return absl::UnavailableError("a flush is in progress");
  }
  return absl::OkStatus();
}

void Store::RemoveSegments(uint32_t first, uint32_t keep,
                           const std::vector<Remainder>& remainders,
                           TimePoint deadline) {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  const uint64_t boundary = segments_->entry(keep).base.Load();
  for (const Remainder& remainder : remainders) {
    // In this order: what readers do not find any more is retired, not lost.
    remainder.partition->whole_from.Store(remainder.whole_from);
    remainder.partition->first_offset.Store(remainder.first_offset);
    log_->FreeIndex(*remainder.partition, boundary);
  }
  // Before the segments, whose records tell which ones.
  const bool bodies_went = RetireBodies(first, keep, deadline);
  for (uint32_t n = first; n != keep && bodies_went; ++n) {
    SegmentEntry& entry = segments_->entry(n);
    storage_->Remove(SegmentName(entry.base.Load(), entry.epoch.Load()))
        .IgnoreError();
    entry.used.Store(0);
    catalog.first_segment.Store(n + 1);
  }
  storage_->SyncDirectory("log").IgnoreError();
  segments_->Forget(boundary);
  log_->RestoreReserve().IgnoreError();
}

bool Store::RetireOldest(bool evacuate) {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  // A flush leader that needs a segment comes here too; it could not make a
  // RETIRE record durable.
  if (Owner::FromWord(control_->header().flush.lock.owner.Load()) ==
      liveness_->self()) {
    return false;
  }
  const uint32_t first = catalog.first_segment.Load();
  const uint32_t current = control_->header().append.current.Load();
  if (first == current) return false;
  // Cheap before dear: the oldest segment must be free at least.
  const auto end_of = [&](uint32_t ordinal) {
    const SegmentEntry& entry = segments_->entry(ordinal);
    return entry.base.Load() + entry.capacity.Load();
  };
  const uint64_t lowest =
      LowestNeeded(segments_->entry(current).base.Load());
  uint32_t keep = first;
  while (keep != current && end_of(keep) <= lowest) ++keep;
  if (keep != first) keep = Retirable(first, keep);
  Evacuation evacuation(this);
  const bool moves =
      evacuate && keep == first && evacuation.Pays(first, current);
  if (moves) keep = first + 1;
  if (keep == first) return false;
  if (catalog_->HasDamage(std::chrono::steady_clock::now() +
                          kRetentionPatience)) {
    return false;
  }

  SlotLock lock(&catalog.retire, liveness_.get(), environment_->waiting);
  if (lock.TryAcquire() == SlotLock::Result::kTimeout) return false;
  const uint64_t boundary = segments_->entry(keep).base.Load();
  const TimePoint deadline =
      std::chrono::steady_clock::now() + kRetentionPatience;
  auto progress = Evacuation::Progress::kFailed;
  // Only if nobody retired meanwhile. A failure leaves more than is needed,
  // which is safe; the next segment tries again.
  if (catalog.first_segment.Load() == first) {
    progress = moves ? evacuation.Run(boundary, deadline)
                     : Evacuation::Progress::kDone;
  }
  if (progress == Evacuation::Progress::kDone) {
    const std::vector<Remainder> remainders = RemaindersFrom(boundary);
    if (RenewBelow(boundary, remainders, deadline).ok()) {
      RemoveSegments(first, keep, remainders, deadline);
    }
    // Something is in the way: not again at once.
    if (catalog.first_segment.Load() == first) {
      progress = Evacuation::Progress::kFailed;
    }
  }
  lock.Release();
  return evacuate && progress != Evacuation::Progress::kFailed;
}

bool Store::LookAround() {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  segments_->Forget(
      segments_->entry(catalog.first_segment.Load()).base.Load());
  const int64_t now_ns = environment_->clock->BootNs();
  int64_t next_ns = catalog.next_retire_ns.Load();
  if (now_ns < next_ns ||
      !catalog.next_retire_ns.CompareExchange(next_ns, now_ns + kIdleLookNs)) {
    return false;
  }
  const bool more = RetireOldest(true);
  log_->RestoreReserve().IgnoreError();
  MoveLastDeliveries(*this);
  // Whoever comes first goes on.
  if (more) catalog.next_retire_ns.Store(now_ns);
  return more;
}

}  // namespace openmessaging::reference
