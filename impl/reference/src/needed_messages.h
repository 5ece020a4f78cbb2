// SPDX-License-Identifier: Apache-2.0
//
// Which messages of a store something still needs.

#ifndef OPENMESSAGING_REFERENCE_NEEDED_MESSAGES_H_
#define OPENMESSAGING_REFERENCE_NEEDED_MESSAGES_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "control.h"
#include "control_file.h"
#include "index.h"

namespace openmessaging::reference {

class Store;

// Those of one partition: what a group has not settled, or what is kept for the
// queue's retention time; all of it where a group has received nothing yet, or
// there is none.
struct NeededMessages {
  uint32_t queue_partition = 0;
  const CatalogEntry* queue = nullptr;
  PartitionState* partition = nullptr;
  std::vector<uint64_t> early{};  // Below `from`; ascending, each once.
  uint64_t from = 0;              // And all from here on,
  uint64_t end = 0;               // up to here.

  // Calls `visit(offset, hit)` for each of them that lies below `position` or
  // whose place is unknown, in the order of offsets, until it returns false.
  // `stride`: of those from `whole_from` on that follow one another only one of
  // so many is visited.
  template <typename Visit>
  void ForEachBelow(const Control& control, uint64_t position, uint64_t stride,
                    const Visit& visit) const;

  // Returns: the lowest position of any of them, at most `limit`; 0 where the
  // place of one is unknown, which so may be anywhere.
  uint64_t Lowest(const Control& control, uint64_t limit) const;
};

// Returns: those of every partition of every queue. Without a lock: what is
// settled meanwhile may be among them, and nothing that stays unsettled is not.
std::vector<NeededMessages> FindNeeded(Store& store);

template <typename Visit>
void NeededMessages::ForEachBelow(const Control& control, uint64_t position,
                                  uint64_t stride, const Visit& visit) const {
  IndexReader index(&control, partition, queue_partition);
  const uint64_t whole = partition->whole_from.Load();
  const auto visit_one = [&](uint64_t offset) {
    const std::optional<IndexHit> hit = index.Find(offset);
    if (hit ? hit->position >= position : offset < whole) return true;
    return static_cast<bool>(visit(offset, hit));
  };
  for (const uint64_t offset : early) {
    if (!visit_one(offset)) return;
  }
  // What stayed when others were retired is anywhere.
  const uint64_t single = std::min(whole, end);
  for (uint64_t offset = index.Next(from, single); offset < single;
       offset = index.Next(offset + 1, single)) {
    if (!visit_one(offset)) return;
  }
  for (uint64_t offset = std::max(from, whole); offset < end;
       offset += stride) {
    const std::optional<IndexHit> hit = index.Find(offset);
    if (hit && hit->position >= position) {
      if ((hit->flags & kIndexMoved) != 0) continue;
      return;  // They ascend, but for what moved.
    }
    if (!visit(offset, hit)) return;
  }
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_NEEDED_MESSAGES_H_
