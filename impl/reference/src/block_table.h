// SPDX-License-Identifier: Apache-2.0
//
// BlockTable is what the tables in ctl have in common that are derived from the
// log: blocks of entries, chains by key, a list of free places, and who mends
// them.

#ifndef OPENMESSAGING_REFERENCE_BLOCK_TABLE_H_
#define OPENMESSAGING_REFERENCE_BLOCK_TABLE_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "control.h"
#include "control_file.h"
#include "env/shared.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

// A look for what is over walks all blocks, with the append lock held.
inline constexpr int64_t kLookApartNs = 10'000'000;

// `Block` is one page of ctl and says what an entry is. It has
//
//   kEntries, kBuckets      how many there are
//   kWhat                   what an entry is, for errors
//   next, earliest_ns       offset of the next block, 0 = none; no time in it is
//                           earlier, INT64_MAX: it is empty
//   sequence[], link[]      an entry is there while its sequence is not 0: that
//                           is stored last and cleared first
//   BucketOf(n), TimeOf(n)  of an entry: what picks its bucket; its time
//
// Invariants:
//   (1) an entry's sequence says whether it is there; buckets, the free list,
//       counts and earliest times follow from that, and an heir whose dead was
//       changing them makes them anew;
//   (2) blocks are added, and never taken away.
//
// Threads: a value. Everything under the append lock, or alone, but what is said
// to need none.
template <typename Block>
class BlockTable {
 public:
  BlockTable(const Control* control, ControlHeader::Table* header)
      : control_(control), header_(header) {}

  // Returns: how many more there is room for.
  uint32_t spare() const { return header_->free_count.Load(); }
  uint32_t count() const { return header_->count.Load(); }

  // Finishes what a dead process was changing.
  void Mend() {
    if (MendBlocks()) header_->changing.Store(0);
  }
  // Adds an empty block, which lies at `offset`.
  void AddBlock(uint64_t offset);
  // Makes another block, outside of the append lock, under the catalog's or
  // alone. Returns: where it lies. Errors: 1502 ctl has no room.
  absl::StatusOr<uint64_t> Allocate(Control& control) const;
  // Returns: how many blocks to add, so that what is over is looked for seldom.
  uint32_t Growth() const {
    return 1 + (count() + spare()) / (8 * Block::kEntries);
  }

  // Without a lock: the earliest time; INT64_MAX: none.
  int64_t EarliestNs() const {
    int64_t earliest_ns = INT64_MAX;
    ForEachBlock([&](Block& block, uint64_t /*at*/) {
      earliest_ns = std::min(earliest_ns, block.earliest_ns.LoadSequential());
    });
    return earliest_ns;
  }

 protected:
  struct Place {
    Block* block = nullptr;
    uint32_t index = 0;
    uint32_t link = 0;
  };

  // Says to an heir that something is being changed.
  class Changing {
   public:
    explicit Changing(const BlockTable& table) : word_(table.header_->changing) {
      word_.Store(1);
    }
    ~Changing() { word_.Store(0); }
    Changing(const Changing&) = delete;
    Changing& operator=(const Changing&) = delete;

   private:
    Shared<uint32_t>& word_;
  };

  // As Mend, but leaves it said that something is being changed. Returns:
  // whether it was.
  bool MendBlocks();

  const Control& control() const { return *control_; }
  ControlHeader::Table& header() const { return *header_; }

  // Returns: the place of the first that `matches(block, index)`; none: nullptr.
  template <typename Matches>
  Place Find(uint64_t bucket, const Matches& matches) const {
    if (header_->buckets.Load() == 0) return {};
    Place place = PlaceOf(BucketAt(bucket).Load());
    while (place.block != nullptr && !matches(*place.block, place.index)) {
      place = PlaceOf(place.block->link[place.index].Load());
    }
    return place;
  }

  // Takes a free place, while changing. Fill it in, then Enter it.
  Place Take() const {
    const Place place = PlaceOf(header_->free.Load());
    if (place.block == nullptr) return place;
    header_->free.Store(place.block->link[place.index].Load());
    header_->free_count.Store(header_->free_count.Load() - 1);
    return place;
  }
  // The sequence goes in last, and then it is there.
  void Enter(const Place& place, uint64_t sequence) const {
    Block& block = *place.block;
    block.sequence[place.index].Store(sequence);
    Link(BucketAt(block.BucketOf(place.index)), place);
    header_->count.Store(header_->count.Load() + 1);
    Lower(place);
  }
  // Its time may be the earliest of its block.
  void Lower(const Place& place) const {
    Block& block = *place.block;
    block.earliest_ns.StoreSequential(
        std::min(block.earliest_ns.Load(), block.TimeOf(place.index)));
  }
  // Frees a place, while changing. The block's earliest time stays.
  void Leave(const Place& place) const {
    Block& block = *place.block;
    // While it still says which.
    Shared<uint32_t>& bucket = BucketAt(block.BucketOf(place.index));
    block.sequence[place.index].Store(0);
    Unlink(bucket, place);
    Link(header_->free, place);
    header_->free_count.Store(header_->free_count.Load() + 1);
    header_->count.Store(header_->count.Load() - 1);
  }
  static void FindEarliest(Block& block) {
    int64_t earliest_ns = INT64_MAX;
    for (uint32_t n = 0; n < Block::kEntries; ++n) {
      if (block.sequence[n].Load() == 0) continue;
      earliest_ns = std::min(earliest_ns, block.TimeOf(n));
    }
    block.earliest_ns.StoreSequential(earliest_ns);
  }

  // Calls `visit(block, offset)`, with or without a lock.
  template <typename Visit>
  void ForEachBlock(const Visit& visit) const {
    for (uint64_t at = header_->first_block.Load(); at != 0;) {
      auto* const block = control_->Get<Block>(at);
      visit(*block, at);
      at = block->next.Load();
    }
  }
  // Calls `visit(place)` with what is there, in blocks with a time up to
  // `time_ns`. Without a lock: an entry whose sequence is the same before and
  // after it was read was read whole.
  template <typename Visit>
  void ForEach(int64_t time_ns, const Visit& visit) const {
    ForEachBlock([&](Block& block, uint64_t at) {
      if (block.earliest_ns.Load() > time_ns) return;
      for (uint32_t n = 0; n < Block::kEntries; ++n) {
        if (block.sequence[n].Load() != 0) visit(PlaceIn(block, at, n));
      }
    });
  }
  // Frees what is over, in blocks with a time up to `time_ns`; not too often.
  template <typename IsOver>
  void Sweep(int64_t now_ns, int64_t time_ns, const IsOver& is_over) const;

 private:
  static constexpr uint32_t kIndexBits = std::bit_width(Block::kEntries - 1);
  static_assert(sizeof(Block) == kPage);

  static Place PlaceIn(Block& block, uint64_t at, uint32_t index) {
    return {&block, index,
            static_cast<uint32_t>(at / kPage) << kIndexBits | index};
  }
  Place PlaceOf(uint32_t link) const {
    if (link == 0) return {};
    return {control_->Get<Block>(uint64_t{link >> kIndexBits} * kPage),
            link & ((1u << kIndexBits) - 1), link};
  }
  Shared<uint32_t>& BucketAt(uint64_t bucket) const {
    return control_->Get<Shared<uint32_t>>(
        header_->buckets.Load())[bucket % Block::kBuckets];
  }
  void Link(Shared<uint32_t>& head, const Place& place) const {
    place.block->link[place.index].Store(head.Load());
    head.Store(place.link);
  }
  void Unlink(Shared<uint32_t>& head, const Place& place) const {
    const uint32_t next = place.block->link[place.index].Load();
    Shared<uint32_t>* link = &head;
    while (link->Load() != place.link) {
      const Place other = PlaceOf(link->Load());
      if (other.block == nullptr) return;
      link = &other.block->link[other.index];
    }
    link->Store(next);
  }

  const Control* control_;
  ControlHeader::Table* header_;
};

template <typename Block>
bool BlockTable<Block>::MendBlocks() {
  if (header_->changing.Load() == 0) return false;
  for (uint32_t n = 0; n < Block::kBuckets && header_->buckets.Load() != 0;
       ++n) {
    BucketAt(n).Store(0);
  }
  header_->free.Store(0);
  uint32_t free = 0;
  uint32_t taken = 0;
  ForEachBlock([&](Block& block, uint64_t at) {
    for (uint32_t n = 0; n < Block::kEntries; ++n) {
      const bool here = block.sequence[n].Load() != 0;
      Link(here ? BucketAt(block.BucketOf(n)) : header_->free,
           PlaceIn(block, at, n));
      ++(here ? taken : free);
    }
    FindEarliest(block);
    header_->last_block.Store(at);
  });
  header_->free_count.Store(free);
  header_->count.Store(taken);
  return true;
}

template <typename Block>
void BlockTable<Block>::AddBlock(uint64_t offset) {
  const Changing changing(*this);
  if (header_->first_block.Load() == 0) {
    header_->first_block.Store(offset);
  } else {
    control_->Get<Block>(header_->last_block.Load())->next.Store(offset);
  }
  header_->last_block.Store(offset);
  Block& block = *control_->Get<Block>(offset);
  for (uint32_t n = Block::kEntries; n-- > 0;) {
    Link(header_->free, PlaceIn(block, offset, n));
  }
  header_->free_count.Store(header_->free_count.Load() + Block::kEntries);
}

template <typename Block>
absl::StatusOr<uint64_t> BlockTable<Block>::Allocate(Control& control) const {
  if (header_->buckets.Load() == 0) {
    const auto buckets = control.Allocate(Block::kBuckets * sizeof(uint32_t));
    if (!buckets.ok()) return buckets.status();
    header_->buckets.Store(*buckets);
  }
  const auto block = control.Allocate(sizeof(Block));
  if (!block.ok()) return block.status();
  if (*block / kPage >> (32 - kIndexBits) != 0) {
    return MakeStatus(Code::kStorageBusy, "send: ctl has no more room for ",
                      Block::kWhat);
  }
  control.Get<Block>(*block)->earliest_ns.Store(INT64_MAX);
  return block;
}

template <typename Block>
template <typename IsOver>
void BlockTable<Block>::Sweep(int64_t now_ns, int64_t time_ns,
                              const IsOver& is_over) const {
  if (now_ns < header_->next_look_ns.Load()) return;
  header_->next_look_ns.Store(now_ns + kLookApartNs);
  const Changing changing(*this);
  ForEachBlock([&](Block& block, uint64_t at) {
    if (block.earliest_ns.Load() > time_ns) return;
    for (uint32_t n = 0; n < Block::kEntries; ++n) {
      if (block.sequence[n].Load() == 0) continue;
      const Place place = PlaceIn(block, at, n);
      if (is_over(place)) Leave(place);
    }
    FindEarliest(block);
  });
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_BLOCK_TABLE_H_
