// SPDX-License-Identifier: Apache-2.0

#include "store_time.h"

#include <cstring>
#include <optional>

#include "index.h"

namespace openmessaging::reference {
namespace {

// Returns: nothing where the message cannot be found.
std::optional<int64_t> StoreMs(SegmentMap& segments, IndexReader& index,
                               uint64_t offset) {
  const auto hit = index.Find(offset);
  if (!hit) return std::nullopt;
  const auto segment = segments.Find(hit->position);
  if (!segment.ok()) return std::nullopt;
  RecordHeader header;
  std::memcpy(&header, (*segment)->Read(hit->position), sizeof(header));
  if (header.position != hit->position) return std::nullopt;
  return header.store_ms;
}

}  // namespace

uint64_t FirstStoredAt(const Control& control, SegmentMap& segments,
                       PartitionState& partition, uint32_t queue_partition,
                       uint64_t end, int64_t since_ms) {
  IndexReader index(&control, &partition, queue_partition);
  uint64_t low = partition.first_offset.Load();
  while (low < end) {
    const uint64_t middle = low + (end - low) / 2;
    // One that is damaged or gone counts as old: it keeps nothing alive.
    const auto stored_ms = StoreMs(segments, index, middle);
    if (stored_ms && *stored_ms > since_ms) {
      end = middle;
    } else {
      low = middle + 1;
    }
  }
  return end;
}

}  // namespace openmessaging::reference
