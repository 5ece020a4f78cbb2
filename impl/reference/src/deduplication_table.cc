// SPDX-License-Identifier: Apache-2.0

#include "deduplication_table.h"

#include <algorithm>
#include <cstring>

#include "cursor_image.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

constexpr uint32_t kIndexBits = 6;
// A look for what is over walks all blocks, with the append lock held.
constexpr int64_t kLookApartNs = 10'000'000;

// Returns: when a window ends by the boot clock: what was written in this boot,
// else by the wall clock.
int64_t EndNsOf(const DeduplicatedImage& image, const Clock& clock) {
  if (image.boot_hash != 0 && image.boot_hash == clock.BootHash()) {
    return image.end_ns;
  }
  const int64_t left_ms = std::clamp<int64_t>(
      image.end_ms - clock.ExactWallMs(), 0, kMaxDeduplicationMs);
  return clock.BootNs() + left_ms * 1'000'000;
}

}  // namespace

Deduplicated DeduplicatedOf(const DeduplicatedImage& image,
                            const Clock& clock) {
  Deduplicated fact;
  fact.key = image.key;
  fact.sequence = image.sequence;
  fact.offset = image.offset;
  fact.epoch = image.epoch;
  fact.queue_partition = image.queue_partition;
  fact.end_ms = image.end_ms;
  fact.end_ns = EndNsOf(image, clock);
  return fact;
}

Hash128 DeduplicationKey(const StoreUuid& store, uint32_t queue,
                         std::string_view id) {
  SipKey key;
  static_assert(sizeof(key) == sizeof(store));
  std::memcpy(&key, store.data(), sizeof(key));
  // Never the same for two queues.
  key[0] ^= uint64_t{queue} << 32 | queue;
  return SipHash128(key, id);
}

Deduplicated DeduplicatedOf(const RecordHeader& header, const char* record,
                            const StoreUuid& store, int64_t window_ms,
                            const Clock& clock) {
  const std::string_view id =
      internal::FindField(MessageFields(header, record),
                          internal::Field::kDeduplicationId)
          .value_or(std::string_view());
  DeduplicatedImage image;
  image.key = DeduplicationKey(store, QueueOf(header.queue_partition), id);
  image.sequence = header.sequence;
  image.offset = header.offset;
  image.epoch = header.epoch;
  image.queue_partition = header.queue_partition;
  image.end_ms = header.store_ms + window_ms + kClockStepMs;
  Deduplicated fact = DeduplicatedOf(image, clock);
  // Not longer, though the clock was set back meanwhile.
  fact.end_ns = std::min(
      fact.end_ns, clock.BootNs() + (window_ms + kClockStepMs) * 1'000'000);
  fact.position = header.position;
  fact.bytes =
      static_cast<uint32_t>(PaddedBytes(CommitWord::Length(header.commit)));
  return fact;
}

DeduplicatedImage ImageOf(const Deduplicated& fact, uint64_t boot_hash) {
  DeduplicatedImage image;
  image.key = fact.key;
  image.sequence = fact.sequence;
  image.offset = fact.offset;
  image.end_ns = fact.end_ns;
  image.end_ms = fact.end_ms;
  image.boot_hash = boot_hash;
  image.epoch = fact.epoch;
  image.queue_partition = fact.queue_partition;
  return image;
}

DeduplicationTable::Place DeduplicationTable::PlaceOf(uint32_t link) const {
  if (link == 0) return {};
  return {
      control_->Get<DeduplicationBlock>(uint64_t{link >> kIndexBits} * kPage),
      link & ((1u << kIndexBits) - 1), link};
}

Shared<uint32_t>& DeduplicationTable::BucketOf(uint64_t key_low) const {
  return control_->Get<Shared<uint32_t>>(
      table().buckets.Load())[key_low % kBuckets];
}

DeduplicationTable::Place DeduplicationTable::FindPlace(
    const Hash128& key) const {
  if (table().buckets.Load() == 0) return {};
  Place place = PlaceOf(BucketOf(key[0]).Load());
  while (place.block != nullptr &&
         (place.block->key_low[place.index].Load() != key[0] ||
          place.block->key_high[place.index].Load() != key[1])) {
    place = PlaceOf(place.block->link[place.index].Load());
  }
  return place;
}

Deduplicated DeduplicationTable::Read(const Place& place) {
  const auto& [block, n, link] = place;
  Deduplicated fact;
  fact.key = {block->key_low[n].Load(), block->key_high[n].Load()};
  fact.offset = block->offset[n].Load();
  fact.epoch = block->epoch[n].Load();
  fact.queue_partition = block->queue_partition[n].Load();
  fact.position = block->position[n].Load();
  fact.bytes = block->bytes[n].Load();
  fact.end_ns = block->end_ns[n].Load();
  fact.end_ms = block->end_ms[n].Load();
  // Last, so that whoever finds it unchanged has read one entry.
  fact.sequence = block->sequence[n].Load();
  return fact;
}

std::optional<Deduplicated> DeduplicationTable::Find(const Hash128& key,
                                                     int64_t now_ns) const {
  const Place place = FindPlace(key);
  if (place.block == nullptr ||
      place.block->end_ns[place.index].Load() <= now_ns) {
    return std::nullopt;
  }
  return Read(place);
}

void DeduplicationTable::Link(Shared<uint32_t>& head,
                              const Place& place) const {
  place.block->link[place.index].Store(head.Load());
  head.Store(place.link);
}

void DeduplicationTable::Unlink(Shared<uint32_t>& head,
                                const Place& place) const {
  const uint32_t next = place.block->link[place.index].Load();
  Shared<uint32_t>* link = &head;
  while (link->Load() != place.link) {
    const Place other = PlaceOf(link->Load());
    if (other.block == nullptr) return;
    link = &other.block->link[other.index];
  }
  link->Store(next);
}

int64_t DeduplicationTable::EarliestIn(const DeduplicationBlock& block) {
  int64_t earliest_ns = INT64_MAX;
  for (uint32_t n = 0; n < DeduplicationBlock::kEntries; ++n) {
    if (block.sequence[n].Load() == 0) continue;
    earliest_ns = std::min(earliest_ns, block.end_ns[n].Load());
  }
  return earliest_ns;
}

void DeduplicationTable::Remove(const Place& place) const {
  const auto& [block, n, link] = place;
  block->sequence[n].Store(0);
  Unlink(BucketOf(block->key_low[n].Load()), place);
  Link(table().free, place);
  table().free_count.Store(table().free_count.Load() + 1);
  table().count.Store(table().count.Load() - 1);
}

void DeduplicationTable::Put(const Deduplicated& fact) {
  Place place = FindPlace(fact.key);
  if (place.block != nullptr) {
    if (IsOf(place, fact)) return Move(fact);
    if (place.block->sequence[place.index].Load() > fact.sequence) return;
  }
  ControlHeader::Deduplication& all = table();
  all.changing.Store(1);
  // It was over, or nothing of the same id would have been stored.
  if (place.block != nullptr) Remove(place);
  place = PlaceOf(all.free.Load());
  if (place.block != nullptr) {
    const auto& [block, n, link] = place;
    all.free.Store(block->link[n].Load());
    all.free_count.Store(all.free_count.Load() - 1);
    block->key_low[n].Store(fact.key[0]);
    block->key_high[n].Store(fact.key[1]);
    block->offset[n].Store(fact.offset);
    block->epoch[n].Store(fact.epoch);
    block->queue_partition[n].Store(fact.queue_partition);
    block->position[n].Store(fact.position);
    block->bytes[n].Store(fact.bytes);
    block->end_ns[n].Store(fact.end_ns);
    block->end_ms[n].Store(fact.end_ms);
    block->sequence[n].Store(fact.sequence);
    Link(BucketOf(fact.key[0]), place);
    all.count.Store(all.count.Load() + 1);
    block->earliest_ns.Store(std::min(block->earliest_ns.Load(), fact.end_ns));
  }
  all.changing.Store(0);
}

void DeduplicationTable::Move(const Deduplicated& fact) {
  const Place place = FindPlace(fact.key);
  if (place.block == nullptr || !IsOf(place, fact)) return;
  // The older place of either is good as well.
  place.block->position[place.index].Store(fact.position);
  place.block->bytes[place.index].Store(fact.bytes);
}

void DeduplicationTable::MakeRoom(int64_t now_ns) {
  ControlHeader::Deduplication& all = table();
  if (all.free_count.Load() != 0 || now_ns < all.next_look_ns.Load()) return;
  all.next_look_ns.Store(now_ns + kLookApartNs);
  all.changing.Store(1);
  for (uint64_t at = all.first_block.Load(); at != 0;) {
    auto* const block = control_->Get<DeduplicationBlock>(at);
    if (block->earliest_ns.Load() <= now_ns) {
      for (uint32_t n = 0; n < DeduplicationBlock::kEntries; ++n) {
        if (block->sequence[n].Load() != 0 &&
            block->end_ns[n].Load() <= now_ns) {
          Remove(
              {block, n, static_cast<uint32_t>(at / kPage) << kIndexBits | n});
        }
      }
      block->earliest_ns.Store(EarliestIn(*block));
    }
    at = block->next.Load();
  }
  all.changing.Store(0);
}

void DeduplicationTable::Mend() {
  ControlHeader::Deduplication& all = table();
  if (all.changing.Load() == 0) return;
  for (uint32_t n = 0; n < kBuckets && all.buckets.Load() != 0; ++n) {
    control_->Get<Shared<uint32_t>>(all.buckets.Load())[n].Store(0);
  }
  all.free.Store(0);
  uint32_t free = 0;
  uint32_t taken = 0;
  for (uint64_t at = all.first_block.Load(); at != 0;) {
    auto* const block = control_->Get<DeduplicationBlock>(at);
    for (uint32_t n = 0; n < DeduplicationBlock::kEntries; ++n) {
      const Place place{block, n,
                        static_cast<uint32_t>(at / kPage) << kIndexBits | n};
      const bool here = block->sequence[n].Load() != 0;
      Link(here ? BucketOf(block->key_low[n].Load()) : all.free, place);
      ++(here ? taken : free);
    }
    block->earliest_ns.Store(EarliestIn(*block));
    all.last_block.Store(at);
    at = block->next.Load();
  }
  all.free_count.Store(free);
  all.count.Store(taken);
  all.changing.Store(0);
}

absl::Status DeduplicationTable::CheckMayGrow() const {
  if (count() + spare() < kMaxDeduplicated) return absl::OkStatus();
  return MakeStatus(Code::kStorageBusy, "send: the store remembers ", count(),
                    " deduplication ids, as many as it can; expected a window "
                    "to end");
}

absl::StatusOr<uint64_t> DeduplicationTable::Allocate(Control& control) const {
  if (table().buckets.Load() == 0) {
    const auto buckets = control.Allocate(kBuckets * sizeof(uint32_t));
    if (!buckets.ok()) return buckets.status();
    table().buckets.Store(*buckets);
  }
  const auto block = control.Allocate(sizeof(DeduplicationBlock));
  if (!block.ok()) return block.status();
  if (*block / kPage >> (32 - kIndexBits) != 0) {
    return MakeStatus(Code::kStorageBusy,
                      "send: ctl has no more room for deduplication ids");
  }
  control.Get<DeduplicationBlock>(*block)->earliest_ns.Store(INT64_MAX);
  return block;
}

uint32_t DeduplicationTable::Growth() const {
  return 1 + (count() + spare()) / (8 * DeduplicationBlock::kEntries);
}

void DeduplicationTable::AddBlock(uint64_t offset) {
  ControlHeader::Deduplication& all = table();
  all.changing.Store(1);
  if (all.first_block.Load() == 0) {
    all.first_block.Store(offset);
  } else {
    control_->Get<DeduplicationBlock>(all.last_block.Load())
        ->next.Store(offset);
  }
  all.last_block.Store(offset);
  for (uint32_t n = DeduplicationBlock::kEntries; n-- > 0;) {
    Link(all.free,
         PlaceOf(static_cast<uint32_t>(offset / kPage) << kIndexBits | n));
  }
  all.free_count.Store(all.free_count.Load() + DeduplicationBlock::kEntries);
  all.changing.Store(0);
}

std::vector<Deduplicated> DeduplicationTable::All(int64_t now_ns,
                                                  uint64_t below) const {
  std::vector<Deduplicated> all;
  for (uint64_t at = table().first_block.Load(); at != 0;) {
    auto* const block = control_->Get<DeduplicationBlock>(at);
    at = block->next.Load();
    for (uint32_t n = 0; n < DeduplicationBlock::kEntries; ++n) {
      const uint64_t sequence = block->sequence[n].Load();
      if (sequence == 0) continue;
      const Deduplicated fact = Read({block, n, 0});
      if (fact.sequence == sequence && fact.end_ns > now_ns &&
          fact.position < below) {
        all.push_back(fact);
      }
    }
  }
  return all;
}

std::string DeduplicationTable::Image(int64_t now_ns) const {
  ImageWriter image;
  for (const Deduplicated& fact : All(now_ns, UINT64_MAX)) {
    image.Put(ImageOf(fact, control_->header().boot_hash));
    image.Put(fact.position);
    image.Put(fact.bytes);
  }
  return std::move(image.bytes());
}

absl::Status DeduplicationTable::Restore(Control& control,
                                         const Deduplicated& fact) {
  if (spare() == 0) {
    const auto block = Allocate(control);
    if (!block.ok()) return block.status();
    AddBlock(*block);
  }
  Put(fact);
  return absl::OkStatus();
}

absl::Status RestoreDeduplications(Control& control, const Clock& clock,
                                   std::string_view image) {
  DeduplicationTable table(&control);
  ImageReader reader(image);
  while (!reader.at_end() && reader.ok()) {
    Deduplicated fact = DeduplicatedOf(reader.Get<DeduplicatedImage>(), clock);
    fact.position = reader.Get<uint64_t>();
    fact.bytes = reader.Get<uint32_t>();
    if (!reader.ok()) break;
    if (auto s = table.Restore(control, fact); !s.ok()) return s;
  }
  if (reader.ok()) return absl::OkStatus();
  return MakeStatus(Code::kDamaged, "open store: the checkpoint makes no sense");
}

}  // namespace openmessaging::reference
