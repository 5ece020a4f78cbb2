// SPDX-License-Identifier: Apache-2.0
//
// Making segments, ahead of the append that needs them.

#include <algorithm>
#include <cstring>
#include <string>

#include "log.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr char kTemporary[] = "log/next.tmp";

}  // namespace

uint64_t Log::NextCapacity(uint64_t last_capacity, uint64_t bytes) const {
  const StoreOptions& options = control_->header().options;
  const uint64_t usual = std::min(options.max_segment_bytes,
                                  std::max(options.first_segment_bytes,
                                           last_capacity * 2));
  return std::max(usual, AlignUp(bytes + 2 * kRecordAlignment, kPage));
}

absl::Status Log::MakeSegment(uint64_t base, uint64_t capacity, uint32_t epoch,
                              const SegmentHeader::Roll* roll) {
  ControlHeader& control = control_->header();
  SegmentHeader header;
  header.uuid = control.uuid;
  header.base = base;
  header.capacity = capacity;
  header.created_ms = static_cast<uint64_t>(environment_->clock->WallMs());
  header.salt = environment_->random->Next();
  header.boot_hash = environment_->clock->BootHash();
  header.epoch = epoch;
  header.checksum = SealOf(header);
  if (roll != nullptr) {
    header.roll = *roll;
    header.roll.checksum = SealOf(header.roll, header.salt);
  }
  auto file = storage_->Create(kTemporary);
  if (!file.ok()) return file.status();
  const auto build = [&]() -> absl::Status {
    if (auto s = (*file)->Grow(kSegmentHeaderBytes + capacity); !s.ok()) {
      return s;
    }
    if (auto s = (*file)->WriteAll(
            {reinterpret_cast<const char*>(&header), sizeof(header)});
        !s.ok()) {
      return s;
    }
    if (auto s = (*file)->Sync(); !s.ok()) return s;
    if (auto s = storage_->Rename(kTemporary, SegmentName(base, epoch));
        !s.ok()) {
      return s;
    }
    return storage_->SyncDirectory("log");
  };
  if (auto status = build(); !status.ok()) {
    // Its blocks are given back at once: on a full disk they are missed.
    storage_->Remove(kTemporary).IgnoreError();
    return status;
  }
  const uint32_t ordinal = control.catalog.end_segment.Load();
  SegmentEntry& entry = segments_->entry(ordinal);
  entry.base.Store(base);
  entry.capacity.Store(capacity);
  entry.salt.Store(header.salt);
  entry.epoch.Store(epoch);
  entry.used.Store(1);
  control.catalog.end_segment.Store(ordinal + 1);
  return absl::OkStatus();
}

absl::Status Log::PrepareSegment(uint64_t bytes, TimePoint deadline) {
  listener_->BeforePrepare();
  if (prepare_lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
    StatusDetail detail = DefaultDetail(Code::kTimeout);
    detail.outcome = Outcome::kNotStored;
    return WithDetail(MakeStatus(Code::kTimeout,
                                 "append: the next segment was not ready at "
                                 "the deadline; nothing was stored"),
                      detail);
  }
  const auto prepare = [&]() -> absl::Status {
    ControlHeader& control = control_->header();
    ControlHeader::Catalog& catalog = control.catalog;
    const uint32_t last = catalog.end_segment.Load() - 1;
    SegmentEntry& entry = segments_->entry(last);
    const uint64_t capacity = entry.capacity.Load();
    const uint64_t end = entry.base.Load() + capacity;
    if (last != control.append.current.Load() &&
        PaddedBytes(bytes) <= capacity - kRecordAlignment) {
      return absl::OkStatus();
    }
    if (last + 1 - catalog.first_segment.Load() >=
        control.options.max_segments) {
      return MakeStatus(Code::kStorageBusy, "append to \"",
                        std::string_view(storage_->Describe()),
                        "\": the store has its ", control.options.max_segments,
                        " segments; settle messages or make it larger");
    }
    const uint64_t next = NextCapacity(capacity, bytes);
    uint64_t total = next;
    for (uint32_t n = catalog.first_segment.Load(); n <= last; ++n) {
      total += segments_->entry(n).capacity.Load();
    }
    if (storage_->MaxBytes() != 0 && total > storage_->MaxBytes()) {
      return MakeStatus(Code::kStorageBusy, "append to \"",
                        std::string_view(storage_->Describe()),
                        "\": the store is full at ", storage_->MaxBytes(),
                        " bytes; settle messages first");
    }
    return MakeSegment(end, next, control.epoch, nullptr);
  };
  absl::Status status = prepare();
  prepare_lock_.Release();
  return status;
}

void Log::PrepareAhead() {
  const ControlHeader& control = control_->header();
  const uint32_t current = control.append.current.Load();
  if (current + 1 != control.catalog.end_segment.Load()) return;
  const SegmentEntry& entry = segments_->entry(current);
  const uint64_t used = control.append.tail.Load() - entry.base.Load();
  const uint64_t capacity = entry.capacity.Load();
  // The first segment waits longer, so that a small store stays one segment.
  if (used < capacity / 2 || used > capacity) return;
  // A failure is the next append's to report, if it still needs the segment.
  PrepareSegment(0, TimePoint::min()).IgnoreError();
}

}  // namespace openmessaging::reference
