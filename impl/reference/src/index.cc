// SPDX-License-Identifier: Apache-2.0

#include "index.h"

#include <algorithm>
#include <utility>

#include "checksum.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

constexpr uint64_t kPositionMask = (uint64_t{1} << 48) - 1;
// Of an extent that nobody uses.
constexpr uint32_t kNobody = ~uint32_t{0};

// Whether an extent is of a partition and has an offset.
bool HasOffset(const Control& control, uint32_t number,
               uint32_t queue_partition, uint64_t offset) {
  if (number >= control.header().catalog.index_extents.Load()) return false;
  const IndexExtent& extent = control.extent(number);
  // In this order, because an extent that is taken again is written the other
  // way round.
  if (extent.queue_partition.Load() != queue_partition) return false;
  const uint64_t first = extent.first_offset.Load();
  return offset >= first && offset - first < IndexExtent::kEntries;
}

}  // namespace

uint32_t IndexCheckOf(uint32_t queue_partition, uint64_t offset,
                      uint64_t place) {
  place &= ~(kBuriedBit | kMovingBit);
  return static_cast<uint32_t>(
      Mix64(place ^ Mix64(offset ^ uint64_t{queue_partition} << 32)));
}

uint64_t IndexWriter::Spare() const {
  const ControlHeader& header = control_->header();
  const uint64_t room = header.catalog.index_extents.Load();
  const uint64_t used = header.append.index_bump.Load();
  return room > used ? room - used : 0;
}

uint32_t IndexWriter::Take() {
  ControlHeader& header = control_->header();
  if (const uint32_t free = header.append.index_free.Load(); free != 0) {
    if (free < header.catalog.index_extents.Load() &&
        control_->extent(free).queue_partition.Load() == kNobody) {
      header.append.index_free.Store(control_->extent(free).next.Load());
      return free;
    }
    // The links of idx have no checksum. What is behind a wrong one is lost to
    // this ctl, and found by the next.
    header.append.index_free.Store(0);
  }
  if (Spare() == 0) return 0;
  const uint32_t taken = header.append.index_bump.Load();
  header.append.index_bump.Store(taken + 1);
  return taken;
}

uint32_t IndexWriter::Make(uint32_t queue_partition, uint64_t offset) {
  const uint64_t first = offset - offset % IndexExtent::kEntries;
  const bool used = control_->header().append.index_free.Load() != 0;
  const uint32_t number = Take();
  if (number == 0) return 0;
  IndexExtent& extent = control_->extent(number);
  extent.next.Store(0);
  // What an earlier life left must not be taken for entries.
  if (used || offset != first) {
    for (IndexEntry& entry : extent.entries) {
      entry.place.StoreRelaxed(0);
      entry.check.StoreRelaxed(0);
    }
  }
  // Whoever sees whose it is sees where it begins as well.
  extent.first_offset.Store(first);
  extent.queue_partition.Store(queue_partition);
  return number;
}

uint32_t IndexWriter::Earlier(PartitionState& partition,
                              uint32_t queue_partition, uint64_t offset) {
  const uint32_t last = partition.last_extent.Load();
  const uint64_t limit = control_->header().catalog.index_extents.Load();
  uint32_t before = 0;
  uint32_t at = partition.first_extent.Load();
  for (uint64_t n = 0; at != 0 && at < limit && n < limit; ++n) {
    const IndexExtent& extent = control_->extent(at);
    const uint64_t first = extent.first_offset.Load();
    if (offset < first) break;
    if (offset - first < IndexExtent::kEntries) return at;
    if (at == last) return 0;
    before = at;
    at = extent.next.Load();
  }
  // Those of retired messages are gone; a message that stayed behind them is
  // read back from a log that has no other of them.
  const uint32_t made = Make(queue_partition, offset);
  if (made == 0) return 0;
  control_->extent(made).next.Store(at);
  if (before == 0) {
    partition.first_extent.Store(made);
  } else {
    control_->extent(before).next.Store(made);
  }
  return made;
}

uint32_t IndexWriter::ExtentFor(PartitionState& partition,
                                uint32_t queue_partition, uint64_t offset) {
  const uint32_t last = partition.last_extent.Load();
  if (last != 0) {
    IndexExtent& extent = control_->extent(last);
    const uint64_t first = extent.first_offset.Load();
    if (offset >= first && offset - first < IndexExtent::kEntries) return last;
    // An heir repeats a claim that began in an earlier extent; or the message
    // moved.
    if (offset < first) return Earlier(partition, queue_partition, offset);
  }
  // A dead appender may have linked the extent without naming it as the last.
  uint32_t next = last == 0 ? partition.first_extent.Load()
                            : control_->extent(last).next.Load();
  // Of a link that is damaged it is another one's, or does not fit.
  if (next != 0 && !HasOffset(*control_, next, queue_partition, offset)) {
    next = 0;
  }
  if (next == 0) {
    next = Make(queue_partition, offset);
    if (next == 0) return 0;
    if (last == 0) {
      partition.first_extent.Store(next);
    } else {
      control_->extent(last).next.Store(next);
    }
  }
  partition.last_extent.Store(next);
  return next;
}

bool IndexWriter::Put(PartitionState& partition, uint32_t queue_partition,
                      uint64_t offset, uint64_t position, uint16_t flags,
                      uint32_t key_hash) {
  const uint32_t number = ExtentFor(partition, queue_partition, offset);
  if (number == 0) return false;
  IndexExtent& extent = control_->extent(number);
  IndexEntry& entry = extent.entries[offset - extent.first_offset.Load()];
  const uint64_t place =
      position / kRecordAlignment | uint64_t{flags} << 48;
  entry.place.StoreRelaxed(place);
  entry.check.StoreRelaxed(
      key_hash | uint64_t{IndexCheckOf(queue_partition, offset, place)} << 32);
  return true;
}

bool IndexWriter::Move(PartitionState& partition, uint32_t queue_partition,
                       uint64_t offset, uint64_t position, uint16_t flags,
                       uint32_t key_hash) {
  const uint32_t number = ExtentFor(partition, queue_partition, offset);
  if (number == 0) return false;
  IndexExtent& extent = control_->extent(number);
  IndexEntry& entry = extent.entries[offset - extent.first_offset.Load()];
  const uint64_t before = entry.place.Load();
  const uint64_t place = position / kRecordAlignment |
                         uint64_t{flags} << 48 | uint64_t{kIndexMoved} << 48 |
                         (before & kBuriedBit);
  // In this order, so that whoever dies between leaves an entry that is good, and
  // the heir repeats the rest.
  if (before != 0 && before != place) entry.place.FetchOr(kMovingBit);
  entry.check.Store(
      key_hash | uint64_t{IndexCheckOf(queue_partition, offset, place)} << 32);
  entry.place.Store(place);
  return true;
}

void IndexWriter::Bury(PartitionState& partition, uint32_t queue_partition,
                       uint64_t offset) {
  IndexReader reader(control_, &partition, queue_partition);
  if (Shared<uint64_t>* const place = reader.Place(offset); place != nullptr) {
    place->FetchOr(kBuriedBit);
  }
}

void IndexWriter::Free(PartitionState& partition, uint32_t number) {
  // Whoever walked here when it was in the chain sees that something was taken
  // out, however far he goes astray.
  partition.removals.FetchAdd(1);
  ControlHeader& header = control_->header();
  IndexExtent& extent = control_->extent(number);
  extent.queue_partition.Store(kNobody);
  extent.next.Store(header.append.index_free.Load());
  header.append.index_free.Store(number);
}

void IndexWriter::FreeBelow(PartitionState& partition, uint64_t offset) {
  const uint64_t limit = control_->header().catalog.index_extents.Load();
  while (true) {
    const uint32_t first = partition.first_extent.Load();
    const uint32_t last = partition.last_extent.Load();
    if (first == 0 || first == last || first >= limit) return;
    const IndexExtent& extent = control_->extent(first);
    // Another one's, or one that was given back before, is no part of a chain.
    if (extent.queue_partition.Load() !=
        control_->extent(last).queue_partition.Load()) {
      return;
    }
    if (extent.first_offset.Load() + IndexExtent::kEntries > offset) return;
    partition.first_extent.Store(extent.next.Load());
    Free(partition, first);
  }
}

bool IndexWriter::FreeRetired(PartitionState& partition, uint64_t offset,
                              uint64_t position, uint32_t& at) {
  // Extents of one call, which bounds how long the lock is held.
  constexpr int kMost = 64;
  const uint64_t limit = control_->header().catalog.index_extents.Load();
  for (int n = 0; n < kMost; ++n) {
    const uint32_t number = at == 0 ? partition.first_extent.Load()
                                    : control_->extent(at).next.Load();
    if (number == 0 || number >= limit) return false;
    IndexExtent& extent = control_->extent(number);
    const uint64_t first = extent.first_offset.Load();
    if (first >= offset) return false;
    // A chain ascends; one that does not would never end.
    if (extent.queue_partition.Load() == kNobody ||
        (at != 0 && first <= control_->extent(at).first_offset.Load())) {
      return false;
    }
    bool any = first + IndexExtent::kEntries > offset;
    const uint64_t end = std::min(offset - first, uint64_t{IndexExtent::kEntries});
    for (uint64_t k = 0; k < end; ++k) {
      IndexEntry& entry = extent.entries[k];
      const uint64_t place = entry.place.Load();
      if (place == 0) continue;
      if ((place & kPositionMask) * kRecordAlignment >= position) {
        any = true;
        continue;
      }
      entry.place.Store(0);
      entry.check.Store(0);
    }
    if (any || number == partition.last_extent.Load()) {
      at = number;
      continue;
    }
    if (at == 0) {
      partition.first_extent.Store(extent.next.Load());
    } else {
      control_->extent(at).next.Store(extent.next.Load());
    }
    Free(partition, number);
  }
  return true;
}

bool IndexReader::Fits(uint32_t extent, uint64_t offset) const {
  return HasOffset(*control_, extent, queue_partition_, offset);
}

uint32_t IndexReader::Walk(uint32_t extent, uint64_t offset) {
  const uint64_t limit = control_->header().catalog.index_extents.Load();
  beyond_ = UINT64_MAX;
  // Bounded, whatever a damaged chain says.
  for (uint64_t steps = 0; extent != 0 && extent < limit && steps < limit;
       ++steps) {
    if (Fits(extent, offset)) return extent;
    const IndexExtent& candidate = control_->extent(extent);
    if (candidate.queue_partition.Load() == queue_partition_) {
      const uint64_t first = candidate.first_offset.Load();
      if (first > offset) {
        beyond_ = first;
        return 0;
      }
    }
    extent = candidate.next.Load();
  }
  return 0;
}

std::optional<uint64_t> IndexReader::ReadAgain(const IndexEntry& entry,
                                               uint64_t offset,
                                               uint64_t& check) const {
  while (true) {
    const uint64_t place = entry.place.Load();
    check = entry.check.Load();
    if ((place & kMovingBit) != 0 ||
        static_cast<uint32_t>(check >> 32) ==
            IndexCheckOf(queue_partition_, offset, place)) {
      return place;
    }
    // Wrong, unless somebody writes it at this moment.
    if (entry.place.Load() == place && entry.check.Load() == check) {
      return std::nullopt;
    }
  }
}

std::optional<IndexHit> IndexReader::Find(uint64_t offset) {
  if (extent_ == 0 || offset < first_offset_ ||
      offset - first_offset_ >= IndexExtent::kEntries) {
    // Onwards from here, unless retirement has taken this extent meanwhile.
    uint32_t found = 0;
    if (extent_ != 0 && offset >= first_offset_ &&
        control_->extent(extent_).queue_partition.Load() == queue_partition_) {
      found = Walk(extent_, offset);
    }
    // Retirement takes extents out of the chain: a walk that went astray on one
    // of them sees that behind it.
    while (found == 0) {
      const uint32_t removals = partition_->removals.Load();
      found = Walk(partition_->first_extent.Load(), offset);
      if (found == 0 && partition_->removals.Load() == removals) {
        return std::nullopt;
      }
    }
    const uint64_t first = control_->extent(found).first_offset.Load();
    // Retired and taken again since it fitted.
    if (offset - first >= IndexExtent::kEntries) return Find(offset);
    extent_ = found;
    first_offset_ = first;
  }
  const IndexEntry& entry =
      control_->extent(extent_).entries[offset - first_offset_];
  uint64_t place = entry.place.LoadRelaxed();
  uint64_t check = entry.check.LoadRelaxed();
  if (static_cast<uint32_t>(check >> 32) !=
          IndexCheckOf(queue_partition_, offset, place) &&
      !OMS_PLANTED(kPlaceUnchecked)) {
    const auto again = ReadAgain(entry, offset, check);
    // Of another one, where the extent was retired and taken again under us.
    if (!again || !Fits(extent_, offset)) {
      beyond_ = offset + 1;
      const uint32_t used = std::exchange(extent_, 0);
      return Fits(used, offset) ? std::nullopt : Find(offset);
    }
    place = *again;
  }
  const auto flags = static_cast<uint16_t>((place & ~kMovingBit) >> 48);
  if ((flags & (kIndexBuried | kIndexExpires)) == kIndexBuried) {
    beyond_ = offset + 1;
    return std::nullopt;
  }
  return IndexHit{(place & kPositionMask) * kRecordAlignment, flags,
                  static_cast<uint32_t>(check)};
}

uint64_t IndexReader::Next(uint64_t offset, uint64_t end) {
  while (offset < end && !Find(offset)) offset = beyond_;
  return std::min(offset, end);
}

Shared<uint64_t>* IndexReader::Place(uint64_t offset) {
  if (!Find(offset)) return nullptr;
  return &control_->extent(extent_).entries[offset - first_offset_].place;
}

}  // namespace openmessaging::reference
