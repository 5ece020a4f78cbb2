// SPDX-License-Identifier: Apache-2.0
//
// The fixed part of ctl and the log. What it allocates is in control_areas.cc.

#include "control_check.h"

#include <algorithm>
#include <cstring>

#include "openmessaging/status.h"
#include "scanner.h"
#include "sound_header.h"

namespace openmessaging::reference {

bool ControlCheck::IsZero(std::string_view bytes) {
  // Each byte equals the one before it, and the first is zero.
  return bytes.empty() ||
         (bytes[0] == '\0' &&
          std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool ControlCheck::IsPlace(uint64_t position) {
  return position % kRecordAlignment == 0 && position <= kMaxPosition;
}

std::string_view ControlCheck::FindFault() {
  taken_.clear();
  queues_.clear();
  open_.clear();
  for (const auto part :
       {&ControlCheck::CheckHeader, &ControlCheck::CheckSegments,
        &ControlCheck::CheckTail, &ControlCheck::CheckDurable,
        &ControlCheck::CheckTables, &ControlCheck::CheckBindings,
        &ControlCheck::CheckCatalog}) {
    if (const auto fault = (this->*part)(); !fault.empty()) return fault;
  }
  return kSound;
}

std::string_view ControlCheck::CheckHeader() {
  StoreOptions made = store_.options;
  made.max_segments = header_.options.max_segments;
  if (header_.options != made ||
      made.max_segments < store_.options.max_segments + kReservedSegments) {
    return "the options are not those of the store";
  }
  const ControlLayout layout(header_.options);
  if (header_.slots != layout.slots || header_.bells != layout.bells ||
      header_.segments != layout.segments) {
    return "a fixed area is elsewhere";
  }
  const uint64_t bump = header_.bump.Load();
  const uint64_t size = header_.size.Load();
  if (bump % kPage != 0 || bump < layout.end || bump > size ||
      size > control_.ctl().limit()) {
    return "its own size cannot be";
  }
  if (!IsZero({control_.ctl().data() + bump, size - bump})) {
    return "what was never allocated is in use";
  }
  taken_.assign(bump / kPage, false);
  for (uint64_t page = 0; page < layout.end / kPage; ++page) {
    taken_[page] = true;
  }
  const std::string_view index = CheckIndex();
  return index.empty() ? CheckLocks() : index;
}

bool ControlCheck::Take(uint64_t offset, uint64_t bytes) {
  const uint64_t pages = AlignUp(bytes, kPage) / kPage;
  if (offset % kPage != 0 || offset / kPage > taken_.size() ||
      pages > taken_.size() - offset / kPage) {
    return false;
  }
  for (uint64_t n = offset / kPage; n < offset / kPage + pages; ++n) {
    if (taken_[n]) return false;
    taken_[n] = true;
  }
  return true;
}

// Whoever takes a slot now would find himself the owner.
bool ControlCheck::IsFuture(const LockWord& lock) const {
  const Owner owner = Owner::FromWord(lock.owner.Load());
  if (owner.word() == 0) return false;
  if (owner.slot() >= header_.options.slots) return true;
  const uint32_t generation =
      control_.slots()[owner.slot()].generation.Load() & 0xfffff;
  return owner.generation() == generation + 1 ||
         (owner.generation() == 1 && generation == 0xfffff);
}

std::string_view ControlCheck::CheckLocks() const {
  ControlHeader::Catalog& catalog = header_.catalog;
  for (const LockWord* const lock :
       {&header_.append.lock, &header_.flush.lock, &header_.bodies.lock,
        &catalog.lock, &catalog.prepare, &catalog.retire, &catalog.bindings}) {
    if (IsFuture(*lock)) return "a lock has an owner that was not yet";
  }
  return kSound;
}

std::string_view ControlCheck::CheckIndex() const {
  const uint64_t extents = header_.catalog.index_extents.Load();
  const uint32_t bump = header_.append.index_bump.Load();
  if (extents > control_.idx().limit() / kPage || bump == 0 ||
      bump > extents || header_.append.index_free.Load() >= bump) {
    return "the index has not so many extents";
  }
  if (bump == extents) return kSound;
  // What was never used is zero.
  const IndexExtent& next = control_.extent(bump);
  if (next.next.Load() != 0 || next.queue_partition.Load() != 0 ||
      next.first_offset.Load() != 0) {
    return "an extent of the index is in use that it takes for a new one";
  }
  return kSound;
}

std::string_view ControlCheck::CheckSegments() {
  const ControlHeader::Catalog& catalog = header_.catalog;
  const uint32_t first = catalog.first_segment.Load();
  const uint32_t count = catalog.end_segment.Load() - first;
  if (count == 0 || count > header_.options.max_segments ||
      header_.append.current.Load() - first >= count) {
    return "the table of segments has other bounds";
  }
  uint64_t end = 0;
  for (uint32_t n = 0; n < count; ++n) {
    const SegmentEntry& entry = EntryOf(first + n);
    const uint64_t base = entry.base.Load();
    const uint64_t capacity = entry.capacity.Load();
    if (!IsPlace(base) || capacity > kMaxPosition || base < end) {
      return "a segment is at an impossible place";
    }
    end = base + capacity;
    const auto fault = CheckSegment(first + n);
    if (!fault.empty()) return fault;
  }
  return kSound;
}

std::string_view ControlCheck::CheckSegment(uint32_t ordinal) {
  const SegmentEntry& entry = EntryOf(ordinal);
  if ((entry.used.Load() &
       ~(kSegmentUsed | kNamesBodies | kSharesBodies)) != 0) {
    return "a segment is used for what nobody knows";
  }
  const auto file = storage_.Open(
      SegmentName(entry.base.Load(), entry.epoch.Load()), Access::kRead);
  // Whoever retires removes it before he says so.
  if (!file.ok()) {
    Note(file.status());
    return (ordinal == header_.append.current.Load()) ? "its segment is missing"
                                                      : kSound;
  }
  const auto bytes = (*file)->ReadAll(sizeof(SegmentHeader));
  SegmentHeader header;
  if (!bytes.ok()) Note(bytes.status());
  if (!bytes.ok() || bytes->size() < sizeof(header)) {
    return "a segment cannot be read";
  }
  std::memcpy(&header, bytes->data(), sizeof(header));
  const bool same = header.magic == SegmentHeader::kMagic &&
                    SealOf(header) == header.checksum &&
                    header.uuid == store_.uuid &&
                    header.base == entry.base.Load() &&
                    header.epoch == entry.epoch.Load() &&
                    header.salt == entry.salt.Load() &&
                    header.capacity >= entry.capacity.Load();
  return same ? kSound : "a segment's header says something else";
}

const ControlCheck::LogFile* ControlCheck::Open(uint32_t ordinal) {
  const auto [place, fresh] = open_.try_emplace(ordinal);
  LogFile& log_file = place->second;
  if (!fresh) return log_file.region == nullptr ? nullptr : &log_file;
  const SegmentEntry& entry = EntryOf(ordinal);
  log_file.base = entry.base.Load();
  log_file.capacity = entry.capacity.Load();
  auto file = storage_.Open(SegmentName(log_file.base, entry.epoch.Load()),
                            Access::kRead);
  if (!file.ok()) return Note(file.status()), nullptr;
  const uint64_t bytes = kSegmentHeaderBytes + log_file.capacity;
  const auto size = (*file)->Size();
  if (!size.ok()) return Note(size.status()), nullptr;
  if (*size < bytes) return nullptr;
  auto region = (*file)->Map(Access::kRead, bytes);
  if (!region.ok()) return Note(region.status()), nullptr;
  std::memcpy(&log_file.header, (*region)->data(), sizeof(SegmentHeader));
  log_file.file = *std::move(file);
  log_file.region = *std::move(region);
  return &log_file;
}

void ControlCheck::Note(const absl::Status& failure) {
  if (OmsCode(failure) != Code::kQueueNotFound) failure_ = failure;
}

std::optional<ControlCheck::Found> ControlCheck::ReadIn(
    const LogFile& file, uint64_t position) const {
  Found found;
  if (!IsPlace(position) || !file.Has(position) ||
      !ReadSoundHeader(file.At(position), file.Room(position), position,
                       file.header.salt, found.header)) {
    return std::nullopt;
  }
  found.record = file.At(position);
  return found;
}

std::optional<ControlCheck::Found> ControlCheck::Read(uint64_t position) {
  if (position >= end_) return std::nullopt;
  const uint32_t end = header_.catalog.end_segment.Load();
  for (uint32_t n = header_.catalog.first_segment.Load(); n != end; ++n) {
    const SegmentEntry& entry = EntryOf(n);
    const uint64_t base = entry.base.Load();
    if (position < base || position - base >= entry.capacity.Load()) continue;
    const LogFile* const file = Open(n);
    return file == nullptr ? std::nullopt : ReadIn(*file, position);
  }
  return std::nullopt;
}

std::optional<ControlCheck::Found> ControlCheck::ReadLast(const LogFile& file,
                                                          uint64_t end) const {
  for (uint64_t at = end; at > file.base;) {
    at -= kRecordAlignment;
    if (file.Room(at) < sizeof(RecordHeader)) continue;
    uint64_t own = 0;
    std::memcpy(&own, file.At(at) + offsetof(RecordHeader, position),
                sizeof(own));
    if (own != at) continue;
    auto found = ReadIn(file, at);
    if (found && PaddedBytes(found->header) == end - at) return found;
  }
  return std::nullopt;
}

std::string_view ControlCheck::CheckTail() {
  const LogFile* const current = Open(header_.append.current.Load());
  if (current == nullptr) return "its segment cannot be mapped";
  const SegmentHeader::Roll& roll = current->header.roll;
  if (SealOf(roll, current->header.salt) != roll.checksum) {
    return "the log never came to its segment";
  }
  uint64_t tail = header_.append.tail.Load();
  if (!IsPlace(tail)) return "the tail is nowhere";
  if (!current->Has(tail)) {
    // A roll that was cut.
    if (tail != roll.previous_end || InFlight()) return "the tail is nowhere";
    tail = current->base;
  }
  uint64_t sequence = roll.previous_sequence;
  if (tail != current->base) {
    const auto last = ReadLast(*current, tail);
    if (!last) return "no record ends at the tail";
    sequence = last->header.sequence;
    if (last->header.epoch > header_.epoch) return "the epoch is over";
  }
  if (header_.epoch < current->header.epoch) return "the epoch is over";
  end_ = tail;
  if (header_.catalog.bodies_from.Load() > tail) {
    return "bodies of what is not yet are gone";
  }
  if (const auto fault = CheckClaim(*current, sequence); !fault.empty()) {
    return fault;
  }
  return CheckCommitted(*current);
}

std::string_view ControlCheck::CheckClaim(const LogFile& current,
                                          uint64_t last_sequence) {
  const uint64_t tail = end_;
  const uint64_t begin = header_.append.intent_begin.Load();
  const uint64_t end = header_.append.intent_end.Load();
  const uint64_t sequence = header_.append.sequence.Load();
  const bool open = end != 0 && begin == tail;
  if (end != 0 && !open && (end != tail || begin >= tail ||
                            !current.Has(begin) || !IsPlace(begin))) {
    return "an append is under way elsewhere";
  }
  if (!open) {
    // What is there would be written over.
    const auto next = ReadIn(current, tail);
    if (next && next->header.sequence == last_sequence + 1) {
      return "the log goes on behind the tail";
    }
    return sequence == last_sequence ? kSound : "the sequence is another one";
  }
  if (!IsPlace(end) || end <= tail || end - current.base > current.capacity) {
    return "an append is under way elsewhere";
  }
  end_ = end;
  // Its first record is written last, and with that all of it is there.
  uint64_t last = last_sequence;
  uint64_t at = tail;
  for (; at < end; ++last) {
    const auto record = ReadIn(current, at);
    if (!record || record->header.sequence != last + 1) break;
    at += PaddedBytes(record->header);
  }
  if (at != tail && at != end) return "an append ends within a record";
  return sequence == last_sequence || (at == end && sequence == last)
             ? kSound
             : "the sequence is another one";
}

std::string_view ControlCheck::CheckCommitted(const LogFile& current) const {
  const ControlHeader::Append& append = header_.append;
  const uint64_t committed = header_.committed.end.Load();
  const uint64_t tail =
      current.Has(append.tail.Load()) ? append.tail.Load() : current.base;
  // Where the first append of a segment begins, it is what it was before.
  const uint64_t begin = InFlight() ? append.intent_begin.Load() : tail;
  if (committed == tail || committed == begin) return kSound;
  const uint64_t before = current.header.roll.previous_end;
  return begin == current.base && committed == before
             ? kSound
             : "another end is committed";
}

std::string_view ControlCheck::CheckDurable() {
  const uint64_t durable = header_.flush.durable.Load();
  const uint64_t committed = header_.committed.end.Load();
  if (durable == committed) return kSound;
  if (!IsPlace(durable) || durable > committed) {
    return "more is durable than there is";
  }
  const uint32_t end = header_.catalog.end_segment.Load();
  for (uint32_t n = header_.catalog.first_segment.Load(); n != end; ++n) {
    const SegmentEntry& entry = EntryOf(n);
    const uint64_t base = entry.base.Load();
    if (durable < base || durable - base >= entry.capacity.Load()) continue;
    const LogFile* const file = Open(n);
    if (file == nullptr) return "its segment cannot be mapped";
    if (file->Room(durable) < sizeof(RecordHeader)) return kSound;
    uint64_t commit = 0;
    std::memcpy(&commit, file->At(durable), sizeof(commit));
    // Behind the last record of a segment there is none.
    if (commit == 0 || ReadIn(*file, durable)) return kSound;
    return "durable ends within a record";
  }
  return "no segment has what is durable";
}

}  // namespace openmessaging::reference
