// SPDX-License-Identifier: Apache-2.0

#include "store_time.h"

#include <algorithm>
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
  const uint64_t first = partition.first_offset.Load();
  const uint64_t whole =
      std::min(std::max(partition.whole_from.Load(), first), end);
  uint64_t low = whole;
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
  if (end != whole) return end;
  // Those before are single ones that stayed when others were retired.
  for (uint64_t n = index.Next(first, whole); n < whole;
       n = index.Next(n + 1, whole)) {
    const auto stored_ms = StoreMs(segments, index, n);
    if (stored_ms && *stored_ms > since_ms) return n;
  }
  return end;
}

}  // namespace openmessaging::reference
