// SPDX-License-Identifier: Apache-2.0
//
// Retirement: a segment goes when every group has settled all messages in it.
// What else lives there is appended again first, so that the remaining log alone
// rebuilds the store.

#include <algorithm>
#include <chrono>
#include <string>

#include "cursor_image.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "index.h"
#include "last_deliveries.h"
#include "openmessaging/key_value.h"
#include "prepared_table.h"
#include "store_time.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

constexpr std::chrono::seconds kRetentionPatience{2};
// Of one DEDUPLICATION record.
constexpr size_t kRenewedBytes = 32 * sizeof(DeduplicatedImage);
// How often the housekeepers of all processes together look.
constexpr int64_t kIdleLookNs = 900'000'000;

}  // namespace

absl::flat_hash_map<uint32_t, Store::Floors> Store::FloorsByQueue() {
  absl::flat_hash_map<uint32_t, Floors> all;
  for (uint32_t n = 0; n < catalog_->count(); ++n) {
    const CatalogEntry& entry = *catalog_->entry(n);
    if (entry.kind.Load() != 2 || entry.live.Load() == 0) continue;
    // It ends with the next retirement.
    if (catalog_->IsOrphan(entry)) continue;
    Floors& queue = all[entry.queue.Load()];
    if (entry.state.Load() == 0) {
      queue.unread = true;
      continue;
    }
    auto* const group = control_->Get<GroupState>(entry.state.Load());
    queue.settled.resize(group->partitions, UINT64_MAX);
    for (uint32_t p = 0; p < group->partitions; ++p) {
      queue.settled[p] = std::min(queue.settled[p],
                                  SettledFloor(*control_, *group->cursor(p)));
    }
  }
  return all;
}

uint64_t Store::LowestNeeded(uint64_t end) {
  uint64_t lowest = end;
  const auto floors = FloorsByQueue();
  for (uint32_t n = 0; n < catalog_->count(); ++n) {
    const CatalogEntry& entry = *catalog_->entry(n);
    if (entry.kind.Load() != 1 || entry.live.Load() == 0 ||
        entry.state.Load() == 0) {
      continue;
    }
    auto* const queue = control_->Get<QueueState>(entry.state.Load());
    const auto groups = floors.find(queue->id);
    for (uint32_t p = 0; p < queue->partitions; ++p) {
      PartitionState& partition = *queue->partition(p);
      // A queue without a group keeps everything.
      const bool settled = groups != floors.end() && !groups->second.unread &&
                           p < groups->second.settled.size();
      uint64_t floor = settled ? groups->second.settled[p]
                               : partition.first_offset.Load();
      // What everybody has settled stays for the queue's retention time.
      if (const int64_t retention_ms = queue->retention_ms.Load();
          retention_ms > 0) {
        floor = std::min(
            floor, FirstStoredAt(*control_, *segments_, partition,
                                 QueuePartition(queue->id, p), floor,
                                 environment_->clock->WallMs() - retention_ms));
      }
      if (floor >= partition.next_offset.Load()) continue;
      IndexReader reader(control_.get(), &partition,
                         QueuePartition(queue->id, p));
      const auto hit = reader.Find(floor);
      // A message whose place is unknown may lie anywhere.
      if (!hit) return 0;
      lowest = std::min(lowest, hit->position);
    }
  }
  return lowest;
}

std::vector<Store::RetiredTo> Store::FirstOffsetsFrom(uint64_t boundary) {
  std::vector<RetiredTo> firsts;
  for (uint32_t n = 0; n < catalog_->count(); ++n) {
    const CatalogEntry& entry = *catalog_->entry(n);
    if (entry.kind.Load() != 1 || entry.state.Load() == 0) continue;
    auto* const queue = control_->Get<QueueState>(entry.state.Load());
    for (uint32_t p = 0; p < queue->partitions; ++p) {
      PartitionState& partition = *queue->partition(p);
      const uint32_t queue_partition = QueuePartition(queue->id, p);
      IndexReader reader(control_.get(), &partition, queue_partition);
      uint64_t offset = partition.first_offset.Load();
      const uint64_t end = partition.next_offset.Load();
      while (offset < end) {
        const auto hit = reader.Find(offset);
        if (hit && hit->position >= boundary) break;
        ++offset;
      }
      if (offset > 0) firsts.push_back({queue_partition, offset, &partition});
    }
  }
  return firsts;
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

void Store::Retire() {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  // A flush leader that needs a segment comes here too; it could not make a
  // RETIRE record durable.
  if (Owner::FromWord(control_->header().flush.lock.owner.Load()) ==
      liveness_->self()) {
    return;
  }
  const uint32_t first = catalog.first_segment.Load();
  const uint32_t current = control_->header().append.current.Load();
  if (first == current) return;
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
  if (keep == first) return;

  SlotLock lock(&catalog.retire, liveness_.get(), environment_->waiting);
  if (lock.TryAcquire() == SlotLock::Result::kTimeout) return;
  const uint64_t boundary = segments_->entry(keep).base.Load();
  const TimePoint deadline =
      std::chrono::steady_clock::now() + kRetentionPatience;
  const std::vector<RetiredTo> firsts = FirstOffsetsFrom(boundary);
  const auto renew = [&]() -> absl::Status {
    if (auto s = catalog_->EndOrphans(deadline); !s.ok()) return s;
    if (auto s = catalog_->Renew(boundary, deadline); !s.ok()) return s;
    if (auto s = delays_->Renew(boundary, deadline); !s.ok()) return s;
    if (auto s = RenewDeduplications(boundary, deadline); !s.ok()) return s;
    if (auto s = transactions_->Renew(boundary, deadline); !s.ok()) return s;
    if (auto s = LogCursors(true, deadline); !s.ok()) return s;
    ImageWriter offsets;
    for (const RetiredTo& to : firsts) {
      offsets.Put(to.queue_partition);
      offsets.Put(to.first_offset);
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
    // Not WaitDurable: whoever flushes now may be waiting for this.
    const auto flushed = log_->TryFlush();
    if (!flushed.ok()) return flushed.status();
    if (!storage_->IsVolatile() && log_->durable() < record.end) {
      return absl::UnavailableError("a flush is in progress");
    }
    return absl::OkStatus();
  };
  // Only if nobody retired meanwhile. A failure leaves more than is needed,
  // which is safe; the next segment tries again.
  if (catalog.first_segment.Load() == first && renew().ok()) {
    for (const RetiredTo& to : firsts) {
      to.partition->first_offset.Store(to.first_offset);
      log_->FreeIndex(*to.partition, to.first_offset);
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
    log_->RestoreReserve();
  }
  lock.Release();
}

void Store::LookAround() {
  ControlHeader::Catalog& catalog = control_->header().catalog;
  segments_->Forget(
      segments_->entry(catalog.first_segment.Load()).base.Load());
  const int64_t now_ns = environment_->clock->BootNs();
  int64_t next_ns = catalog.next_retire_ns.Load();
  if (now_ns < next_ns ||
      !catalog.next_retire_ns.CompareExchange(next_ns, now_ns + kIdleLookNs)) {
    return;
  }
  Retire();
  log_->RestoreReserve();
  MoveLastDeliveries(*this);
}

}  // namespace openmessaging::reference
