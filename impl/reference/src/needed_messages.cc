// SPDX-License-Identifier: Apache-2.0

#include "needed_messages.h"

#include "absl/container/flat_hash_map.h"
#include "cursor_words.h"
#include "delivery_word.h"
#include "planted.h"
#include "store.h"
#include "store_time.h"

namespace openmessaging::reference {
namespace {

// The groups of one queue.
struct Readers {
  bool unread = false;  // One has not received anything yet.
  std::vector<GroupState*> states{};
};

absl::flat_hash_map<uint32_t, Readers> ReadersByQueue(Store& store) {
  absl::flat_hash_map<uint32_t, Readers> all;
  Catalog& catalog = store.catalog();
  for (uint32_t n = 0; n < catalog.count(); ++n) {
    const CatalogEntry& entry = *catalog.entry(n);
    if (entry.kind.Load() != kGroupKind || entry.live.Load() == 0) continue;
    // It ends with the next retirement.
    if (catalog.IsOrphan(entry)) continue;
    Readers& readers = all[entry.queue.Load()];
    if (entry.state.Load() == 0) {
      readers.unread = true;
    } else {
      readers.states.push_back(
          store.control().Get<GroupState>(entry.state.Load()));
    }
  }
  return all;
}

// Adds what a group has in hand or was given back, and lowers `from` to where
// all is new to it.
void AddUnsettled(const Control& control, const Cursor& cursor,
                  NeededMessages& needed) {
  // As for an image: the pair counts only if the floor stood still.
  uint64_t floor = cursor.floor.Load();
  uint64_t next = cursor.next.Load();
  while (cursor.floor.Load() != floor) {
    floor = cursor.floor.Load();
    next = cursor.next.Load();
  }
  needed.from = std::min(needed.from, next);
  const CursorWords words(&control, &cursor);
  if (!words.has_window()) {
    needed.from = std::min(needed.from, floor);
    return;
  }
  for (uint64_t offset = floor; offset < next; ++offset) {
    const DeliveryWord found = words.InWindow(offset).Load();
    if (!found.Is(offset) || (found.state() != DeliveryState::kSettled &&
                              found.state() != DeliveryState::kMoved)) {
      needed.early.push_back(offset);
    }
  }
  // Behind the window, so that what moves meanwhile is found here at least.
  for (uint32_t n = 0; n < words.UsedExceptions(); ++n) {
    const ExceptionEntry& entry = words.exceptions()->entry(n);
    const uint64_t name = entry.name.Load();
    const DeliveryWord found(entry.word.Load());
    if (name != 0 && !(found.Is(name - 1) &&
                       found.state() == DeliveryState::kSettled)) {
      needed.early.push_back(name - 1);
    }
  }
}

NeededMessages NeededOf(Store& store, const CatalogEntry& entry,
                        QueueState& queue, uint32_t number,
                        const Readers* readers) {
  NeededMessages needed;
  needed.queue_partition = QueuePartition(queue.id, number);
  needed.queue = &entry;
  needed.partition = queue.partition(number);
  // Before the groups: none of them is further then.
  needed.end = needed.partition->next_offset.Load();
  const uint64_t first = needed.partition->first_offset.Load();
  needed.from = needed.end;
  bool unread = readers == nullptr || readers->unread;
  if (!unread) {
    for (GroupState* const group : readers->states) {
      if (number >= group->partitions) {
        unread = true;
        break;
      }
      AddUnsettled(store.control(), *group->cursor(number), needed);
    }
  }
  if (unread && !OMS_PLANTED(kUnreadRetired)) needed.from = first;
  // What everybody has settled stays for the queue's retention time.
  if (const int64_t retention_ms = queue.retention_ms.Load();
      retention_ms > 0 && needed.from > first) {
    needed.from = std::min(
        needed.from,
        FirstStoredAt(store.control(), store.segments(), *needed.partition,
                      needed.queue_partition, needed.from,
                      store.environment().clock->WallMs() - retention_ms));
  }
  std::erase_if(needed.early, [&](uint64_t offset) {
    return offset < first || offset >= needed.from;
  });
  std::sort(needed.early.begin(), needed.early.end());
  needed.early.erase(std::unique(needed.early.begin(), needed.early.end()),
                     needed.early.end());
  return needed;
}

}  // namespace

uint64_t NeededMessages::Lowest(const Control& control, uint64_t limit) const {
  const uint64_t whole = partition->whole_from.Load();
  uint64_t lowest = limit;
  ForEachBelow(control, limit, 1,
               [&](uint64_t offset, const std::optional<IndexHit>& hit) {
                 lowest = std::min(lowest, hit ? hit->position : 0);
                 // Those behind lie behind it.
                 return hit && (offset < whole ||
                                (hit->flags & kIndexMoved) != 0);
               });
  return lowest;
}

std::vector<NeededMessages> FindNeeded(Store& store) {
  const auto readers = ReadersByQueue(store);
  Catalog& catalog = store.catalog();
  std::vector<NeededMessages> all;
  for (uint32_t n = 0; n < catalog.count(); ++n) {
    const CatalogEntry& entry = *catalog.entry(n);
    if (entry.kind.Load() != kQueueKind || entry.live.Load() == 0 ||
        entry.state.Load() == 0) {
      continue;
    }
    auto* const queue = store.control().Get<QueueState>(entry.state.Load());
    const auto found = readers.find(queue->id);
    for (uint32_t p = 0; p < queue->partitions; ++p) {
      NeededMessages needed =
          NeededOf(store, entry, *queue, p,
                   found == readers.end() ? nullptr : &found->second);
      if (needed.from < needed.end || !needed.early.empty()) {
        all.push_back(std::move(needed));
      }
    }
  }
  return all;
}

}  // namespace openmessaging::reference
