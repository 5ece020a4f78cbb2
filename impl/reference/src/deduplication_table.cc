// SPDX-License-Identifier: Apache-2.0

#include "deduplication_table.h"

#include <algorithm>
#include <cstring>

#include "cursor_image.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/status.h"
#include "written_time.h"

namespace openmessaging::reference {
Deduplicated DeduplicatedOf(const DeduplicatedImage& image,
                            const Clock& clock) {
  Deduplicated fact;
  fact.key = image.key;
  fact.sequence = image.sequence;
  fact.offset = image.offset;
  fact.epoch = image.epoch;
  fact.queue_partition = image.queue_partition;
  fact.end_ms = image.end_ms;
  fact.end_ns = BootTimeOf({image.end_ns, image.end_ms, image.boot_hash},
                           kMaxDeduplicationMs, clock);
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
  fact.bytes = PaddedBytes(header);
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

DeduplicationTable::Place DeduplicationTable::FindPlace(
    const Hash128& key) const {
  return BlockTable::Find(
      key[0], [&](const DeduplicationBlock& block, uint32_t n) {
        return block.key_low[n].Load() == key[0] &&
               block.key_high[n].Load() == key[1];
      });
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

void DeduplicationTable::Put(const Deduplicated& fact) {
  Place place = FindPlace(fact.key);
  if (place.block != nullptr) {
    if (IsOf(place, fact)) return Move(fact);
    if (place.block->sequence[place.index].Load() > fact.sequence) return;
  }
  const Changing changing(*this);
  // It was over, or nothing of the same id would have been stored.
  if (place.block != nullptr) Leave(place);
  place = Take();
  if (place.block == nullptr) return;
  const auto& [block, n, link] = place;
  block->key_low[n].Store(fact.key[0]);
  block->key_high[n].Store(fact.key[1]);
  block->offset[n].Store(fact.offset);
  block->epoch[n].Store(fact.epoch);
  block->queue_partition[n].Store(fact.queue_partition);
  block->position[n].Store(fact.position);
  block->bytes[n].Store(fact.bytes);
  block->end_ns[n].Store(fact.end_ns);
  block->end_ms[n].Store(fact.end_ms);
  Enter(place, fact.sequence);
}

void DeduplicationTable::Move(const Deduplicated& fact) {
  const Place place = FindPlace(fact.key);
  if (place.block == nullptr || !IsOf(place, fact)) return;
  // The older place of either is good as well.
  place.block->position[place.index].Store(fact.position);
  place.block->bytes[place.index].Store(fact.bytes);
}

void DeduplicationTable::MakeRoom(int64_t now_ns) {
  if (spare() != 0) return;
  Sweep(now_ns, now_ns, [&](const Place& place) {
    return place.block->end_ns[place.index].Load() <= now_ns;
  });
}

absl::Status DeduplicationTable::CheckMayGrow() const {
  if (count() + spare() < kMaxDeduplicated) return absl::OkStatus();
  return MakeStatus(Code::kStorageBusy, "send: the store remembers ", count(),
                    " deduplication ids, as many as it can; expected a window "
                    "to end");
}

std::vector<Deduplicated> DeduplicationTable::All(int64_t now_ns,
                                                  uint64_t below) const {
  std::vector<Deduplicated> all;
  ForEach(INT64_MAX, [&](const Place& place) {
    const uint64_t sequence = place.block->sequence[place.index].Load();
    const Deduplicated fact = Read(place);
    if (sequence != 0 && fact.sequence == sequence && fact.end_ns > now_ns &&
        fact.position < below) {
      all.push_back(fact);
    }
  });
  return all;
}

std::string DeduplicationTable::Image(int64_t now_ns) const {
  ImageWriter image;
  for (const Deduplicated& fact : All(now_ns, UINT64_MAX)) {
    image.Put(ImageOf(fact, control().header().boot_hash));
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
