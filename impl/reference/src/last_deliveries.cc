// SPDX-License-Identifier: Apache-2.0

#include "last_deliveries.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "bells.h"
#include "delivery_terms.h"
#include "group_window.h"
#include "partition_log.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

// Moved under one hold of a cursor's lock.
constexpr size_t kMovedAtOnce = 64;
// How long a cursor's lock is waited for: who has it looks himself, unless he is
// stopped.
constexpr std::chrono::milliseconds kCursorPatience{10};
constexpr std::chrono::seconds kTermsPatience{1};

TimePoint In(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

// Whether a look at a cursor may find something.
bool MayBeDue(const Cursor& cursor, int64_t now_ns) {
  return cursor.window.Load() != 0 && cursor.next_scan_ns.Load() <= now_ns;
}

// A few loads for each group and partition: most have nothing due.
bool MayBeDue(Control& control, const Catalog& catalog,
              const CatalogEntry& entry, int64_t now_ns) {
  if (entry.kind.Load() != kGroupKind || entry.live.Load() == 0 ||
      entry.state.Load() == 0) {
    return false;
  }
  const CatalogEntry* const queue = catalog.FindLiveQueue(entry.queue.Load());
  if (queue == nullptr || control.Get<QueueState>(queue->state.Load())
                                  ->max_deliveries.Load() == 0) {
    return false;
  }
  auto* const group = control.Get<GroupState>(entry.state.Load());
  for (uint32_t p = 0; p < group->partitions; ++p) {
    if (MayBeDue(*group->cursor(p), now_ns)) return true;
  }
  return false;
}

void MoveFrom(Store& store, const std::shared_ptr<const Group>& group,
              const Queue& queue, int64_t now_ns) {
  const auto terms =
      TermsOf(store.catalog(), queue, std::nullopt, In(kTermsPatience));
  if (!terms.ok() || (*terms)->policy.max_deliveries == 0) return;
  bool any = false;
  for (uint32_t p = 0; p < group->state->partitions; ++p) {
    Cursor* const cursor = group->state->cursor(p);
    if (!MayBeDue(*cursor, now_ns)) continue;
    PartitionLog log(&store, group, p, terms->get());
    GroupWindow window(&store.control(), &store.environment(),
                       &store.liveness(), queue.state->partition(p),
                       QueuePartition(queue.id, p), cursor, (*terms)->policy,
                       &log);
    size_t moved = kMovedAtOnce;
    while (moved == kMovedAtOnce) {
      moved = window.MoveLast(kMovedAtOnce, now_ns, In(kCursorPatience));
      any = any || moved > 0;
    }
  }
  // What waited for one of them, by its key or for room in the window.
  if (any) {
    RingBells(store.control(), store.environment(), store.liveness(),
              *queue.state);
  }
}

}  // namespace

void MoveLastDeliveries(Store& store) {
  Control& control = store.control();
  if (control.header().catalog.counts_deliveries.Load() == 0) return;
  Catalog& catalog = store.catalog();
  const int64_t now_ns = store.environment().clock->BootNs();
  std::vector<const CatalogEntry*> due;
  for (uint32_t n = 0; n < catalog.count(); ++n) {
    const CatalogEntry& entry = *catalog.entry(n);
    // One whose consumer died ends with the next retirement.
    if (MayBeDue(control, catalog, entry, now_ns) && !catalog.IsOrphan(entry)) {
      due.push_back(&entry);
    }
  }
  if (due.empty()) return;
  const auto groups = catalog.Groups(In(kTermsPatience));
  const auto queues = catalog.Queues(In(kTermsPatience));
  if (!groups.ok() || !queues.ok()) return;
  for (const auto& group : *groups) {
    if (std::find(due.begin(), due.end(), group->entry) == due.end()) continue;
    // That of the group is as it was when the group was loaded.
    for (const auto& queue : *queues) {
      if (queue->id == group->queue->id) {
        MoveFrom(store, group, *queue, now_ns);
      }
    }
  }
}

}  // namespace openmessaging::reference
