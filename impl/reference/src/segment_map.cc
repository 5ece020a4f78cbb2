// SPDX-License-Identifier: Apache-2.0

#include "segment_map.h"

#include <algorithm>
#include <vector>

#include "openmessaging/status.h"

namespace openmessaging::reference {

using internal::MutexLock;

absl::StatusOr<std::shared_ptr<Segment>> Segment::Open(Storage& storage,
                                                       uint64_t base,
                                                       uint64_t capacity,
                                                       uint32_t epoch,
                                                       uint64_t salt) {
  // make_shared needs a public constructor.
  std::shared_ptr<Segment> segment(new Segment(base, capacity, epoch, salt));
  auto file = storage.Open(SegmentName(base, epoch), Access::kWrite);
  if (!file.ok()) return file.status();
  segment->file_ = std::move(*file);
  auto size = segment->file_->Size();
  if (!size.ok()) return size.status();
  const uint64_t bytes = kSegmentHeaderBytes + capacity;
  if (*size < bytes) {
    return MakeStatus(Code::kDamaged, "open segment \"",
                      std::string_view(SegmentName(base, epoch)), "\": it has ",
                      *size, " bytes; its header says ", bytes);
  }
  auto read = segment->file_->Map(Access::kRead, bytes);
  if (!read.ok()) return read.status();
  segment->read_ = std::move(*read);
  auto write = segment->file_->Map(Access::kWrite, bytes);
  if (!write.ok()) return write.status();
  segment->write_ = std::move(*write);
  return segment;
}

absl::StatusOr<std::shared_ptr<Segment>> SegmentMap::Find(uint64_t position) {
  {
    const MutexLock lock(mutex_);
    auto found = mapped_.upper_bound(position);
    if (found != mapped_.begin() && (--found)->second->Contains(position)) {
      return found->second;
    }
  }
  const uint32_t end = header_->catalog.end_segment.Load();
  for (uint32_t n = header_->catalog.first_segment.Load(); n != end; ++n) {
    SegmentEntry& candidate = entry(n);
    const uint64_t base = candidate.base.Load();
    if (position >= base && position - base < candidate.capacity.Load()) {
      return ByOrdinal(n);
    }
  }
  return MakeStatus(Code::kQueueNotFound, "find position ", position,
                    ": no segment has it");
}

std::shared_ptr<Segment> SegmentMap::IfMapped(uint32_t ordinal) {
  const uint64_t base = entry(ordinal).base.Load();
  const MutexLock lock(mutex_);
  const auto found = mapped_.find(base);
  return found == mapped_.end() ? nullptr : found->second;
}

absl::StatusOr<std::shared_ptr<Segment>> SegmentMap::ByOrdinal(
    uint32_t ordinal) {
  if (auto segment = IfMapped(ordinal)) return segment;
  SegmentEntry& wanted = entry(ordinal);
  auto segment =
      Segment::Open(*storage_, wanted.base.Load(), wanted.capacity.Load(),
                    wanted.epoch.Load(), wanted.salt.Load());
  if (!segment.ok()) return segment.status();
  if (on_roll_ && header_->catalog.first_segment.Load() !=
                      header_->append.current.Load()) {
    on_roll_();
  }
  // Another process may have retired segments that this one still has mapped:
  // they would keep their blocks and descriptors for ever.
  const uint32_t first = header_->catalog.first_segment.Load();
  Forget(std::min(entry(first).base.Load(), (*segment)->base()));
  const MutexLock lock(mutex_);
  return mapped_.try_emplace((*segment)->base(), *segment).first->second;
}

SegmentEntry* SegmentMap::EntryOf(uint64_t position) {
  const uint32_t end = header_->catalog.end_segment.Load();
  for (uint32_t n = header_->catalog.first_segment.Load(); n != end; ++n) {
    SegmentEntry& candidate = entry(n);
    const uint64_t base = candidate.base.Load();
    if (position >= base && position - base < candidate.capacity.Load()) {
      return &candidate;
    }
  }
  return nullptr;
}

bool SegmentMap::NamesBodies(const Segment& segment) {
  const SegmentEntry* const entry = EntryOf(segment.base());
  return entry != nullptr && (entry->used.Load() & kNamesBodies) != 0;
}

void SegmentMap::Forget(uint64_t position) {
  // Unmapped without the mutex, which appenders take.
  std::vector<std::shared_ptr<Segment>> gone;
  const MutexLock lock(mutex_);
  while (!mapped_.empty() && mapped_.begin()->second->end() <= position) {
    gone.push_back(std::move(mapped_.begin()->second));
    mapped_.erase(mapped_.begin());
  }
}

}  // namespace openmessaging::reference
