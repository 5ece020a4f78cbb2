// SPDX-License-Identifier: Apache-2.0

#include "checkpoint.h"

#include <algorithm>
#include <array>

#include "checksum.h"
#include "cursor_image.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

constexpr uint64_t kMagic = 0x36305450'4b534d4f;  // "OMSKPT06"
constexpr std::array<const char*, 2> kNames = {"ckpt/A", "ckpt/B"};
constexpr size_t kMaxBytes = size_t{1} << 31;

std::optional<Checkpoint> ReadOne(Storage& storage, const char* name,
                                  const StoreUuid& uuid) {
  auto file = storage.Open(name, Access::kRead);
  if (!file.ok()) return std::nullopt;
  const auto bytes = (*file)->ReadAll(kMaxBytes);
  if (!bytes.ok()) return std::nullopt;
  ImageReader outer(*bytes);
  const auto magic = outer.Get<uint64_t>();
  const auto checksum = outer.Get<uint32_t>();
  const std::string_view body = outer.GetBytes();
  if (!outer.ok() || magic != kMagic ||
      (Crc32c(body) != checksum && !OMS_PLANTED(kCheckpointUnverified))) {
    return std::nullopt;
  }
  ImageReader reader(body);
  Checkpoint checkpoint;
  if (reader.Get<StoreUuid>() != uuid) return std::nullopt;
  checkpoint.generation = reader.Get<uint64_t>();
  checkpoint.end = reader.Get<uint64_t>();
  checkpoint.sequence = reader.Get<uint64_t>();
  checkpoint.chain = reader.Get<uint64_t>();
  checkpoint.epoch = reader.Get<uint32_t>();
  checkpoint.next_queue = reader.Get<uint32_t>();
  checkpoint.next_group = reader.Get<uint32_t>();
  checkpoint.index_bump = reader.Get<uint32_t>();
  checkpoint.index_free = reader.Get<uint32_t>();
  checkpoint.index_checksum = reader.Get<uint32_t>();
  checkpoint.current = reader.Get<uint32_t>();
  checkpoint.large_bytes = reader.Get<uint64_t>();
  for (auto n = reader.Get<uint32_t>(); n > 0 && reader.ok(); --n) {
    Checkpoint::SegmentPart part;
    part.base = reader.Get<uint64_t>();
    part.capacity = reader.Get<uint64_t>();
    part.salt = reader.Get<uint64_t>();
    part.epoch = reader.Get<uint32_t>();
    part.used = reader.Get<uint32_t>();
    checkpoint.segments.push_back(part);
  }
  checkpoint.catalog = std::string(reader.GetBytes());
  checkpoint.delays = std::string(reader.GetBytes());
  checkpoint.deduplications = std::string(reader.GetBytes());
  checkpoint.prepared = std::string(reader.GetBytes());
  if (!reader.ok() || checkpoint.current >= checkpoint.segments.size()) {
    return std::nullopt;
  }
  return checkpoint;
}

uint32_t IndexChecksum(const GrowingFile& idx, uint32_t bump) {
  return Crc32c(0, idx.data(), uint64_t{bump} * kPage);
}

std::string CatalogImage(const Control& control, const Catalog& catalog) {
  ImageWriter image;
  for (uint32_t n = 0; n < catalog.count(); ++n) {
    const CatalogEntry& entry = *catalog.entry(n);
    const uint32_t kind = entry.kind.Load();
    const bool has_state = kind == kQueueKind || kind == kGroupKind;
    if (entry.live.Load() == 0 || (has_state && entry.state.Load() == 0)) {
      continue;
    }
    const bool queue = entry.kind.Load() == kQueueKind;
    // Whoever had a group of its own is gone.
    if (!queue && entry.live.Load() == kLivePrivately) continue;
    image.Put(entry.kind.Load());
    image.Put(entry.id.Load());
    image.Put(entry.queue.Load());
    image.Put(entry.record.Load());
    if (!has_state) continue;
    if (queue) {
      auto* const state = control.Get<QueueState>(entry.state.Load());
      image.Put(state->partitions);
      image.Put(state->retention_ms.Load());
      image.Put(state->deduplication_ms.Load());
      image.Put(state->max_deliveries.Load());
      for (uint32_t p = 0; p < state->partitions; ++p) {
        const PartitionState& partition = *state->partition(p);
        image.Put(partition.next_offset.Load());
        image.Put(partition.first_offset.Load());
        image.Put(partition.whole_from.Load());
        image.Put(partition.first_extent.Load());
        image.Put(partition.last_extent.Load());
      }
    } else {
      auto* const state = control.Get<GroupState>(entry.state.Load());
      image.Put(state->partitions);
      for (uint32_t p = 0; p < state->partitions; ++p) {
        image.Put(state->cursor(p)->images.Load());
        image.Put(state->cursor(p)->once_from.Load());
        image.PutBytes(TakeCursorImage(control, *state->cursor(p)));
      }
    }
  }
  return std::move(image.bytes());
}

absl::Status Senseless() {
  return MakeStatus(Code::kDamaged, "open store: the checkpoint makes no sense");
}

}  // namespace

std::optional<Checkpoint> ReadCheckpoint(Storage& storage,
                                         const StoreUuid& uuid) {
  std::optional<Checkpoint> newest;
  for (const char* const name : kNames) {
    auto found = ReadOne(storage, name, uuid);
    if (found && (!newest || found->generation > newest->generation ||
                  OMS_PLANTED(kOldCheckpointTaken))) {
      newest = std::move(found);
    }
  }
  return newest;
}

absl::Status WriteCheckpoint(Storage& storage, const Clock& clock,
                             const Control& control, SegmentMap& segments,
                             const Catalog& catalog) {
  const ControlHeader& header = control.header();
  const auto newest = ReadCheckpoint(storage, header.uuid);
  const uint64_t generation = newest ? newest->generation + 1 : 1;
  ImageWriter body;
  body.Put(header.uuid);
  body.Put(generation);
  body.Put(header.append.tail.Load());
  body.Put(header.append.sequence.Load());
  body.Put(header.append.chain.Load());
  body.Put(header.epoch);
  body.Put(header.append.next_queue.Load());
  body.Put(header.append.next_group.Load());
  body.Put(header.append.index_bump.Load());
  body.Put(header.append.index_free.Load());
  body.Put(IndexChecksum(control.idx(), header.append.index_bump.Load()));
  const uint32_t first = header.catalog.first_segment.Load();
  const uint32_t end = header.catalog.end_segment.Load();
  body.Put(header.append.current.Load() - first);
  body.Put(header.append.large_bytes.Load());
  body.Put(end - first);
  for (uint32_t n = first; n != end; ++n) {
    const SegmentEntry& entry = segments.entry(n);
    body.Put(entry.base.Load());
    body.Put(entry.capacity.Load());
    body.Put(entry.salt.Load());
    body.Put(entry.epoch.Load());
    body.Put(entry.used.Load());
  }
  body.PutBytes(CatalogImage(control, catalog));
  body.PutBytes(DelayTable(&control).Image());
  body.PutBytes(DeduplicationTable(&control).Image(clock.BootNs()));
  body.PutBytes(PreparedTable(&control).Image(clock.BootNs()));

  ImageWriter image;
  image.Put(kMagic);
  image.Put(Crc32c(body.bytes()));
  image.PutBytes(body.bytes());
  auto file = storage.Create(
      kNames[OMS_PLANTED(kOneCheckpoint) ? 0 : generation % kNames.size()]);
  if (!file.ok()) return file.status();
  if (auto s = (*file)->WriteAll(image.bytes()); !s.ok()) return s;
  if (auto s = (*file)->Sync(); !s.ok()) return s;
  return storage.SyncDirectory("ckpt");
}

bool IndexMatches(const GrowingFile& idx, const Checkpoint& checkpoint) {
  const auto size = idx.file().Size();
  return size.ok() && *size / kPage >= checkpoint.index_bump &&
         checkpoint.index_bump >= 1 &&
         IndexChecksum(idx, checkpoint.index_bump) ==
             checkpoint.index_checksum;
}

absl::Status RestoreCheckpoint(Control& control, Catalog& catalog,
                               const Checkpoint& checkpoint) {
  ControlHeader& header = control.header();
  header.append.next_queue.Store(checkpoint.next_queue);
  header.append.next_group.Store(checkpoint.next_group);
  header.append.index_bump.Store(checkpoint.index_bump);
  header.append.index_free.Store(checkpoint.index_free);
  header.append.sequence.Store(checkpoint.sequence);
  ImageReader reader(checkpoint.catalog);
  while (!reader.at_end() && reader.ok()) {
    const auto kind = reader.Get<uint32_t>();
    const auto id = reader.Get<uint32_t>();
    const auto queue = reader.Get<uint32_t>();
    const auto record = reader.Get<uint64_t>();
    const bool has_state = kind == kQueueKind || kind == kGroupKind;
    const auto partitions = has_state ? reader.Get<uint32_t>() : 0;
    if (has_state &&
        (partitions < 1 || partitions > kMaxPartitionsPerQueue)) {
      return Senseless();
    }
    if (auto s = catalog.EnsurePage(); !s.ok()) return s;
    const uint32_t number = catalog.count();
    CatalogEntry& entry = *catalog.entry(number);
    entry.record.Store(record);
    entry.id.Store(id);
    entry.queue.Store(queue);
    entry.kind.Store(kind);
    entry.live.Store(1);
    if (!has_state) {
      header.catalog.count.Store(number + 1);
      continue;
    }
    if (kind == kQueueKind) {
      const auto offset = control.Allocate(QueueState::Bytes(partitions));
      if (!offset.ok()) return offset.status();
      auto* const state = control.Get<QueueState>(*offset);
      state->id = id;
      state->partitions = partitions;
      state->retention_ms.Store(reader.Get<int64_t>());
      state->deduplication_ms.Store(reader.Get<int64_t>());
      state->max_deliveries.Store(reader.Get<uint32_t>());
      if (state->max_deliveries.Load() != 0) {
        header.catalog.counts_deliveries.Store(1);
      }
      for (uint32_t p = 0; p < partitions; ++p) {
        PartitionState& partition = *state->partition(p);
        partition.next_offset.Store(reader.Get<uint64_t>());
        partition.first_offset.Store(reader.Get<uint64_t>());
        partition.whole_from.Store(reader.Get<uint64_t>());
        partition.first_extent.Store(reader.Get<uint32_t>());
        partition.last_extent.Store(reader.Get<uint32_t>());
      }
      entry.state.Store(*offset);
      header.catalog.count.Store(number + 1);
      continue;
    }
    PartitionState* const first =
        catalog.FindPartition(QueuePartition(queue, 0));
    const auto offset = control.Allocate(GroupState::Bytes(partitions));
    if (!offset.ok()) return offset.status();
    auto* const state = control.Get<GroupState>(*offset);
    state->id = id;
    state->queue = queue;
    state->partitions = partitions;
    for (uint32_t p = 0; p < partitions; ++p) {
      state->cursor(p)->images.Store(reader.Get<uint64_t>());
      state->cursor(p)->once_from.Store(reader.Get<uint64_t>());
      const std::string_view image = reader.GetBytes();
      // The group of a queue that is gone goes with it.
      if (first == nullptr) continue;
      PartitionState* const partition =
          catalog.FindPartition(QueuePartition(queue, p));
      if (partition == nullptr ||
          (partitions < kMaxPartitionsPerQueue &&
           catalog.FindPartition(QueuePartition(queue, partitions)) !=
               nullptr)) {
        return Senseless();
      }
      if (auto s = RestoreCursor(control, catalog, *partition,
                                 *state->cursor(p), image, {});
          !s.ok()) {
        return s;
      }
    }
    entry.state.Store(*offset);
    entry.live.Store(first != nullptr ? 1 : 0);
    header.catalog.count.Store(number + 1);
  }
  if (!reader.ok()) return Senseless();
  header.catalog.version.FetchAdd(1);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
