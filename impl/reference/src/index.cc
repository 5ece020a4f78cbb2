// SPDX-License-Identifier: Apache-2.0

#include "index.h"

#include <utility>

#include "checksum.h"

namespace openmessaging::reference {
namespace {

constexpr uint64_t kPositionMask = (uint64_t{1} << 48) - 1;

// Binds an entry to where it stands and what it says.
uint32_t CheckOf(uint32_t queue_partition, uint64_t offset, uint64_t place) {
  place &= ~kBuriedBit;
  return static_cast<uint32_t>(
      Mix64(place ^ Mix64(offset ^ uint64_t{queue_partition} << 32)));
}

}  // namespace

uint64_t IndexWriter::Spare() const {
  const ControlHeader& header = control_->header();
  const uint64_t room = header.catalog.index_extents.Load();
  const uint64_t used = header.append.index_bump.Load();
  return room > used ? room - used : 0;
}

uint32_t IndexWriter::Take() {
  ControlHeader& header = control_->header();
  if (const uint32_t free = header.append.index_free.Load(); free != 0) {
    header.append.index_free.Store(control_->extent(free).next.Load());
    return free;
  }
  if (Spare() == 0) return 0;
  const uint32_t taken = header.append.index_bump.Load();
  header.append.index_bump.Store(taken + 1);
  return taken;
}

uint32_t IndexWriter::Earlier(const PartitionState& partition,
                              uint64_t offset) const {
  const uint32_t last = partition.last_extent.Load();
  const uint64_t limit = control_->header().catalog.index_extents.Load();
  uint32_t at = partition.first_extent.Load();
  for (uint64_t n = 0; at != 0 && at != last && at < limit && n < limit; ++n) {
    const IndexExtent& extent = control_->extent(at);
    const uint64_t first = extent.first_offset.Load();
    if (offset >= first && offset - first < IndexExtent::kEntries) return at;
    at = extent.next.Load();
  }
  return 0;
}

uint32_t IndexWriter::ExtentFor(PartitionState& partition,
                                uint32_t queue_partition, uint64_t offset) {
  const uint32_t last = partition.last_extent.Load();
  if (last != 0) {
    IndexExtent& extent = control_->extent(last);
    const uint64_t first = extent.first_offset.Load();
    if (offset >= first && offset - first < IndexExtent::kEntries) return last;
    // An heir repeats a claim that began in an earlier extent.
    if (offset < first) return Earlier(partition, offset);
  }
  // A dead appender may have linked the extent without naming it as the last.
  uint32_t next = last == 0 ? partition.first_extent.Load()
                            : control_->extent(last).next.Load();
  if (next == 0) {
    next = Take();
    if (next == 0) return 0;
    IndexExtent& extent = control_->extent(next);
    extent.next.Store(0);
    // Whoever sees whose it is sees where it begins as well.
    extent.first_offset.Store(offset);
    extent.queue_partition.Store(queue_partition);
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
      key_hash | uint64_t{CheckOf(queue_partition, offset, place)} << 32);
  return true;
}

void IndexWriter::Bury(PartitionState& partition, uint32_t queue_partition,
                       uint64_t offset) {
  IndexReader reader(control_, &partition, queue_partition);
  if (Shared<uint64_t>* const place = reader.Place(offset); place != nullptr) {
    place->FetchOr(kBuriedBit);
  }
}

void IndexWriter::FreeBelow(PartitionState& partition, uint64_t offset) {
  ControlHeader& header = control_->header();
  while (true) {
    const uint32_t first = partition.first_extent.Load();
    if (first == 0 || first == partition.last_extent.Load()) return;
    IndexExtent& extent = control_->extent(first);
    if (extent.first_offset.Load() + IndexExtent::kEntries > offset) return;
    partition.first_extent.Store(extent.next.Load());
    extent.queue_partition.Store(~uint32_t{0});
    extent.next.Store(header.append.index_free.Load());
    header.append.index_free.Store(first);
  }
}

bool IndexReader::Fits(uint32_t extent, uint64_t offset) const {
  const IndexExtent& candidate = control_->extent(extent);
  // In this order, because an extent that is taken again is written the other
  // way round.
  if (candidate.queue_partition.Load() != queue_partition_) return false;
  const uint64_t first = candidate.first_offset.Load();
  return offset >= first && offset - first < IndexExtent::kEntries;
}

std::optional<IndexHit> IndexReader::Find(uint64_t offset) {
  if (extent_ == 0 || offset < first_offset_ ||
      offset - first_offset_ >= IndexExtent::kEntries) {
    const uint64_t limit = control_->header().catalog.index_extents.Load();
    const auto walk = [&](uint32_t from) {
      // Bounded, whatever a damaged chain says.
      for (uint64_t steps = 0; from != 0 && from < limit && steps < limit;
           ++steps) {
        if (Fits(from, offset)) return from;
        from = control_->extent(from).next.Load();
      }
      return uint32_t{0};
    };
    // Onwards from here, unless retirement has taken this extent meanwhile.
    uint32_t found = 0;
    if (extent_ != 0 && offset >= first_offset_ &&
        control_->extent(extent_).queue_partition.Load() == queue_partition_) {
      found = walk(extent_);
    }
    // Retirement takes extents from the head of the chain: a walk that went
    // astray on one of them sees another head behind it.
    while (found == 0) {
      const uint32_t head = partition_->first_extent.Load();
      found = walk(head);
      if (found == 0 && partition_->first_extent.Load() == head) {
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
  const uint64_t place = entry.place.LoadRelaxed();
  const uint64_t check = entry.check.LoadRelaxed();
  if (static_cast<uint32_t>(check >> 32) !=
      CheckOf(queue_partition_, offset, place)) {
    // Wrong, unless the extent was retired and taken again under us.
    const uint32_t used = std::exchange(extent_, 0);
    return Fits(used, offset) ? std::nullopt : Find(offset);
  }
  const auto flags = static_cast<uint16_t>(place >> 48);
  if ((flags & (kIndexBuried | kIndexExpires)) == kIndexBuried) {
    return std::nullopt;
  }
  return IndexHit{(place & kPositionMask) * kRecordAlignment, flags,
                  static_cast<uint32_t>(check)};
}

Shared<uint64_t>* IndexReader::Place(uint64_t offset) {
  if (!Find(offset)) return nullptr;
  return &control_->extent(extent_).entries[offset - first_offset_].place;
}

}  // namespace openmessaging::reference
