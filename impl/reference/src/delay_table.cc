// SPDX-License-Identifier: Apache-2.0

#include "delay_table.h"

#include <algorithm>

#include "checksum.h"
#include "cursor_image.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr uint32_t kIndexBits = 7;

}  // namespace

Delayed DelayedOf(const RecordHeader& header, const char* record) {
  const DelayHead head = DelayHeadOf(header, record);
  Delayed delayed;
  delayed.id = DelayIdOf(head, header);
  delayed.queue_partition = header.queue_partition;
  delayed.bytes = static_cast<uint32_t>(
      PaddedBytes(CommitWord::Length(header.commit)));
  delayed.position = header.position;
  delayed.due_ns = head.due_ns;
  delayed.due_ms = head.due_ms;
  return delayed;
}

int64_t DueNsOf(const DelayHead& head, const Clock& clock) {
  if (head.boot_hash != 0 && head.boot_hash == clock.BootHash()) {
    return head.due_ns;
  }
  const int64_t left_ms = std::clamp<int64_t>(
      head.due_ms - clock.ExactWallMs(), 0, 2 * kMaxDelayMs);
  return clock.BootNs() + left_ms * 1'000'000;
}

DelayTable::Place DelayTable::PlaceOf(uint32_t link) const {
  if (link == 0) return {};
  return {control_->Get<DelayBlock>(uint64_t{link >> kIndexBits} * kPage),
          link & ((1u << kIndexBits) - 1), link};
}

Shared<uint32_t>& DelayTable::BucketOf(uint64_t sequence) const {
  return control_->Get<Shared<uint32_t>>(
      delay().buckets.Load())[Mix64(sequence) % kBuckets];
}

DelayTable::Place DelayTable::FindPlace(const DelayId& id) const {
  if (delay().buckets.Load() == 0 || id.sequence == 0) return {};
  Place place = PlaceOf(BucketOf(id.sequence).Load());
  while (place.block != nullptr &&
         (place.block->sequence[place.index].Load() != id.sequence ||
          place.block->epoch[place.index].Load() != id.epoch)) {
    place = PlaceOf(place.block->link[place.index].Load());
  }
  return place;
}

Delayed DelayTable::Read(const Place& place) const {
  const auto& [block, n, link] = place;
  Delayed delayed;
  delayed.id.epoch = block->epoch[n].Load();
  delayed.queue_partition = block->queue_partition[n].Load();
  delayed.bytes = block->bytes[n].Load();
  delayed.position = block->position[n].Load();
  delayed.due_ns = block->due_ns[n].Load();
  delayed.due_ms = block->due_ms[n].Load();
  // Last, so that whoever finds it unchanged has read one entry.
  delayed.id.sequence = block->sequence[n].Load();
  return delayed;
}

std::optional<Delayed> DelayTable::Find(const DelayId& id) const {
  const Place place = FindPlace(id);
  if (place.block == nullptr) return std::nullopt;
  return Read(place);
}

void DelayTable::Link(Shared<uint32_t>& head, const Place& place) const {
  place.block->link[place.index].Store(head.Load());
  head.Store(place.link);
}

void DelayTable::Unlink(Shared<uint32_t>& head, const Place& place) const {
  const uint32_t next = place.block->link[place.index].Load();
  Shared<uint32_t>* link = &head;
  while (link->Load() != place.link) {
    const Place other = PlaceOf(link->Load());
    if (other.block == nullptr) return;
    link = &other.block->link[other.index];
  }
  link->Store(next);
}

int64_t DelayTable::EarliestIn(const DelayBlock& block) {
  int64_t earliest_ns = INT64_MAX;
  for (uint32_t n = 0; n < DelayBlock::kEntries; ++n) {
    if (block.sequence[n].Load() == 0) continue;
    earliest_ns = std::min(earliest_ns, block.due_ns[n].Load());
  }
  return earliest_ns;
}

void DelayTable::LowerNextDue(int64_t due_ns) const {
  Shared<int64_t>& next = control_->header().flush.next_due_ns;
  int64_t old = next.LoadSequential();
  while ((old == 0 || due_ns < old) && !next.CompareExchange(old, due_ns)) {
  }
}

void DelayTable::Put(const Delayed& delayed) {
  ControlHeader::Delay& table = delay();
  table.changing.Store(1);
  Place place = FindPlace(delayed.id);
  if (place.block != nullptr) {
    place.block->position[place.index].Store(delayed.position);
    table.changing.Store(0);
    return;
  }
  place = PlaceOf(table.free.Load());
  if (place.block != nullptr) {
    const auto& [block, n, link] = place;
    table.free.Store(block->link[n].Load());
    table.free_count.Store(table.free_count.Load() - 1);
    block->position[n].Store(delayed.position);
    block->due_ns[n].Store(delayed.due_ns);
    block->due_ms[n].Store(delayed.due_ms);
    block->epoch[n].Store(delayed.id.epoch);
    block->queue_partition[n].Store(delayed.queue_partition);
    block->bytes[n].Store(delayed.bytes);
    block->sequence[n].Store(delayed.id.sequence);
    Link(BucketOf(delayed.id.sequence), place);
    table.count.Store(table.count.Load() + 1);
    // Whoever looks for the earliest writes the next due time first, and then
    // looks again; here it is the other way round.
    block->earliest_ns.StoreSequential(
        std::min(block->earliest_ns.Load(), delayed.due_ns));
    LowerNextDue(delayed.due_ns);
  }
  table.changing.Store(0);
}

void DelayTable::Remove(const DelayId& id) {
  const Place place = FindPlace(id);
  if (place.block == nullptr) return;
  ControlHeader::Delay& table = delay();
  table.changing.Store(1);
  const auto& [block, n, link] = place;
  block->sequence[n].Store(0);
  Unlink(BucketOf(id.sequence), place);
  Link(table.free, place);
  table.free_count.Store(table.free_count.Load() + 1);
  table.count.Store(table.count.Load() - 1);
  if (block->due_ns[n].Load() <= block->earliest_ns.Load()) {
    block->earliest_ns.StoreSequential(EarliestIn(*block));
  }
  table.changing.Store(0);
}

void DelayTable::Mend() {
  ControlHeader::Delay& table = delay();
  if (table.changing.Load() == 0) return;
  for (uint32_t n = 0; n < kBuckets && table.buckets.Load() != 0; ++n) {
    control_->Get<Shared<uint32_t>>(table.buckets.Load())[n].Store(0);
  }
  table.free.Store(0);
  uint32_t free = 0;
  uint32_t taken = 0;
  for (uint64_t at = table.first_block.Load(); at != 0;) {
    auto* const block = control_->Get<DelayBlock>(at);
    for (uint32_t n = 0; n < DelayBlock::kEntries; ++n) {
      const Place place{block, n,
                        static_cast<uint32_t>(at / kPage) << kIndexBits | n};
      const uint64_t sequence = block->sequence[n].Load();
      Link(sequence == 0 ? table.free : BucketOf(sequence), place);
      ++(sequence == 0 ? free : taken);
    }
    const int64_t earliest_ns = EarliestIn(*block);
    block->earliest_ns.StoreSequential(earliest_ns);
    if (earliest_ns != INT64_MAX) LowerNextDue(earliest_ns);
    table.last_block.Store(at);
    at = block->next.Load();
  }
  table.free_count.Store(free);
  table.count.Store(taken);
  table.changing.Store(0);
}

absl::StatusOr<uint64_t> DelayTable::Allocate(Control& control) const {
  if (count() + spare() >= kMaxDelayed) {
    return MakeStatus(Code::kStorageBusy, "send: ", count(),
                      " delayed messages wait already; the limit is ",
                      kMaxDelayed);
  }
  if (delay().buckets.Load() == 0) {
    const auto buckets = control.Allocate(kBuckets * sizeof(uint32_t));
    if (!buckets.ok()) return buckets.status();
    delay().buckets.Store(*buckets);
  }
  const auto block = control.Allocate(sizeof(DelayBlock));
  if (!block.ok()) return block.status();
  if (*block / kPage >> (32 - kIndexBits) != 0) {
    return MakeStatus(Code::kStorageBusy,
                      "send: ctl has no more room for delayed messages");
  }
  control.Get<DelayBlock>(*block)->earliest_ns.Store(INT64_MAX);
  return block;
}

void DelayTable::AddBlock(uint64_t offset) {
  ControlHeader::Delay& table = delay();
  table.changing.Store(1);
  if (table.first_block.Load() == 0) {
    table.first_block.Store(offset);
  } else {
    control_->Get<DelayBlock>(table.last_block.Load())->next.Store(offset);
  }
  table.last_block.Store(offset);
  for (uint32_t n = DelayBlock::kEntries; n-- > 0;) {
    Link(table.free,
         PlaceOf(static_cast<uint32_t>(offset / kPage) << kIndexBits | n));
  }
  table.free_count.Store(table.free_count.Load() + DelayBlock::kEntries);
  table.changing.Store(0);
}

int64_t DelayTable::EarliestNs() const {
  int64_t earliest_ns = INT64_MAX;
  for (uint64_t at = delay().first_block.Load(); at != 0;) {
    const auto* const block = control_->Get<DelayBlock>(at);
    earliest_ns = std::min(earliest_ns, block->earliest_ns.LoadSequential());
    at = block->next.Load();
  }
  return earliest_ns;
}

std::vector<Delayed> DelayTable::All(int64_t due_ns, uint64_t below) const {
  std::vector<Delayed> all;
  for (uint64_t at = delay().first_block.Load(); at != 0;) {
    auto* const block = control_->Get<DelayBlock>(at);
    at = block->next.Load();
    if (block->earliest_ns.Load() > due_ns) continue;
    for (uint32_t n = 0; n < DelayBlock::kEntries; ++n) {
      const uint64_t sequence = block->sequence[n].Load();
      if (sequence == 0) continue;
      const Delayed delayed = Read({block, n, 0});
      if (delayed.id.sequence == sequence && delayed.due_ns <= due_ns &&
          delayed.position < below) {
        all.push_back(delayed);
      }
    }
  }
  return all;
}

std::string DelayTable::Image() const {
  ImageWriter image;
  image.Put(control_->header().boot_hash);
  for (const Delayed& delayed : All(INT64_MAX, UINT64_MAX)) {
    image.Put(delayed.id.sequence);
    image.Put(delayed.id.epoch);
    image.Put(delayed.queue_partition);
    image.Put(delayed.bytes);
    image.Put(delayed.position);
    image.Put(delayed.due_ns);
    image.Put(delayed.due_ms);
  }
  return std::move(image.bytes());
}

absl::Status RestoreDelays(Control& control, const Clock& clock,
                           std::string_view image) {
  DelayTable table(&control);
  ImageReader reader(image);
  DelayHead head;
  head.boot_hash = reader.Get<uint64_t>();
  while (!reader.at_end() && reader.ok()) {
    Delayed delayed;
    delayed.id.sequence = reader.Get<uint64_t>();
    delayed.id.epoch = reader.Get<uint32_t>();
    delayed.queue_partition = reader.Get<uint32_t>();
    delayed.bytes = reader.Get<uint32_t>();
    delayed.position = reader.Get<uint64_t>();
    head.due_ns = reader.Get<int64_t>();
    head.due_ms = delayed.due_ms = reader.Get<int64_t>();
    delayed.due_ns = DueNsOf(head, clock);
    if (auto s = table.Restore(control, delayed); !s.ok()) return s;
  }
  if (reader.ok()) return absl::OkStatus();
  return MakeStatus(Code::kDamaged, "open store: the checkpoint makes no sense");
}

absl::Status DelayTable::Restore(Control& control, const Delayed& delayed) {
  if (spare() == 0) {
    const auto block = Allocate(control);
    if (!block.ok()) return block.status();
    AddBlock(*block);
  }
  Put(delayed);
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
