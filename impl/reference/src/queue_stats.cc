// SPDX-License-Identifier: Apache-2.0

#include "queue_stats.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "cursor_words.h"
#include "delivery_word.h"
#include "index.h"
#include "prepared_table.h"

namespace openmessaging::reference {
namespace {

// The records of more messages are not looked at to add up their bytes.
constexpr uint64_t kMaxMeasured = 65'536;

// One group in one partition.
struct CursorStats {
  // Never handed out from here on; at least the oldest that is stored.
  uint64_t next = 0;
  // Handed out before, and not settled.
  std::vector<uint64_t> unsettled{};
  int64_t leased = 0;
  int64_t backing_off = 0;
  int64_t exceptions = 0;
  bool stopped = false;
};

void Count(DeliveryWord found, uint64_t offset, int64_t due_ns, int64_t now_ns,
           CursorStats& stats) {
  stats.unsettled.push_back(offset);
  // A damaged word counts as not handed out.
  if (!found.Is(offset)) return;
  if (found.state() == DeliveryState::kLeased) ++stats.leased;
  if (found.state() == DeliveryState::kReturned && due_ns > now_ns) {
    ++stats.backing_off;
  }
}

CursorStats LookAtCursor(const Control& control, const Cursor& cursor,
                         uint64_t first, uint64_t end, int64_t now_ns) {
  CursorStats stats;
  // As for an image: the pair counts only if the floor stood still.
  uint64_t floor = cursor.floor.Load();
  uint64_t next = cursor.next.Load();
  while (cursor.floor.Load() != floor) {
    floor = cursor.floor.Load();
    next = cursor.next.Load();
  }
  stats.next = std::clamp(next, first, std::max(first, end));
  const CursorWords words(&control, &cursor);
  if (!words.has_window()) return stats;
  bool floor_is_settled = false;
  for (uint64_t offset = floor; offset < next; ++offset) {
    const DeliveryPlace place = words.InWindow(offset);
    const DeliveryWord found = place.Load();
    const bool over = found.Is(offset) &&
                      (found.state() == DeliveryState::kSettled ||
                       found.state() == DeliveryState::kMoved);
    if (offset == floor) floor_is_settled = over;
    if (!over && offset >= first) {
      Count(found, offset, place.due->Load(), now_ns, stats);
    }
  }
  for (uint32_t n = 0; n < words.UsedExceptions(); ++n) {
    const ExceptionEntry& entry = words.exceptions()->entry(n);
    const uint64_t name = entry.name.Load();
    const DeliveryWord found(entry.word.Load());
    if (name == 0 || name - 1 < first ||
        (found.Is(name - 1) && found.state() == DeliveryState::kSettled)) {
      continue;
    }
    ++stats.exceptions;
    Count(found, name - 1, entry.due.Load(), now_ns, stats);
  }
  // As GroupWindow decides.
  const bool full = next >= floor && next - floor >= words.window();
  const bool no_room =
      words.exceptions() == nullptr
          ? cursor.stalled.Load() != 0
          : stats.exceptions >= static_cast<int64_t>(words.window());
  stats.stopped = full && no_room && next < end && !floor_is_settled;
  return stats;
}

// The messages of one partition that count for the queue.
struct Union {
  std::vector<uint64_t> early{};  // Below `from`; sorted, each once.
  uint64_t from = 0;              // And all from here on.
};

void Join(Union& all, const CursorStats& stats, bool first_group) {
  if (first_group || stats.next < all.from) all.from = stats.next;
  all.early.insert(all.early.end(), stats.unsettled.begin(),
                   stats.unsettled.end());
}

// What the records of messages say.
class Records {
 public:
  Records(Store& store, PartitionState& partition, uint32_t queue_partition)
      : store_(store),
        whole_(partition.whole_from.Load()),
        index_(&store.control(), &partition, queue_partition) {}

  std::optional<RecordHeader> Find(uint64_t offset) {
    const auto hit = index_.Find(offset);
    if (!hit) return std::nullopt;
    const auto segment = store_.segments().Find(hit->position);
    if (!segment.ok()) return std::nullopt;
    RecordHeader header;
    std::memcpy(&header, (*segment)->Read(hit->position), sizeof(header));
    if (header.position != hit->position) return std::nullopt;
    return header;
  }
  // Returns: how many of the messages from `offset` to `end` are stored.
  uint64_t Count(uint64_t offset, uint64_t end) {
    uint64_t count = 0;
    while (offset < end && offset < whole_) {
      offset = index_.Next(offset, std::min(end, whole_));
      if (offset < std::min(end, whole_)) {
        ++count;
        ++offset;
      }
    }
    return count + (end - std::min(end, offset));
  }
  // Returns: the first offset from there on that was not retired.
  uint64_t Stored(uint64_t offset) {
    return offset < whole_ ? index_.Next(offset, whole_) : offset;
  }
  std::optional<int64_t> StoreMs(uint64_t offset) {
    const auto header = Find(offset);
    if (!header) return std::nullopt;
    return header->store_ms;
  }

 private:
  Store& store_;
  const uint64_t whole_;
  IndexReader index_;
};

// Keeps the earlier of two times, where there are any.
void KeepEarlier(std::optional<int64_t>& ms, std::optional<int64_t> other) {
  if (other && (!ms || *other < *ms)) ms = other;
}

// Puts one queue's numbers together, a partition at a time.
class Summary {
 public:
  Summary(Store& store, const Queue& queue,
          std::vector<std::shared_ptr<const Group>> groups)
      : store_(store),
        queue_(queue),
        groups_(std::move(groups)),
        group_oldest_(groups_.size()),
        group_stats_(groups_.size()),
        now_ns_(store.environment().clock->BootNs()) {
    stats_.queue = queue.name;
    for (size_t g = 0; g < groups_.size(); ++g) {
      group_stats_[g].group = groups_[g]->name;
      group_stats_[g].leased = 0;
      group_stats_[g].backing_off = 0;
      group_stats_[g].exceptions = 0;
    }
  }

  void Add(uint32_t number) {
    PartitionState& partition = *queue_.state->partition(number);
    const uint64_t first = partition.first_offset.Load();
    const uint64_t end = std::max(partition.next_offset.Load(), first);
    Records records(store_, partition, QueuePartition(queue_.id, number));
    Union all;
    all.from = first;
    for (size_t g = 0; g < groups_.size(); ++g) {
      const CursorStats found =
          LookAtCursor(store_.control(), *groups_[g]->state->cursor(number),
                       first, end, now_ns_);
      AddGroup(g, found, end, records);
      Join(all, found, g == 0);
    }
    AddQueue(all, end, records);
  }

  QueueStats Finish() {
    stats_.prepared = CountUndecided();
    const int64_t now_ms = store_.environment().clock->WallMs();
    const auto age = [&](std::optional<int64_t> stored_ms)
        -> std::optional<std::chrono::milliseconds> {
      if (!stored_ms) return std::nullopt;
      return std::chrono::milliseconds(
          std::max<int64_t>(now_ms - *stored_ms, 0));
    };
    stats_.oldest_age = age(oldest_);
    if (measured_ <= kMaxMeasured) stats_.bytes = bytes_;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g]->entry->live.Load() != kLive) continue;
      group_stats_[g].oldest_age = age(group_oldest_[g]);
      stats_.groups.push_back(std::move(group_stats_[g]));
    }
    return std::move(stats_);
  }

 private:
  int64_t CountUndecided() const {
    const PreparedTable table(&store_.control());
    if (table.count() == 0) return 0;
    const auto all = table.All(now_ns_, UINT64_MAX);
    return std::count_if(all.begin(), all.end(), [&](const Prepared& said) {
      return said.state == PreparedState::kUndecided &&
             QueueOf(said.queue_partition) == queue_.id;
    });
  }
  void AddGroup(size_t g, const CursorStats& found, uint64_t end,
                Records& records) {
    GroupStats& group = group_stats_[g];
    group.lag += static_cast<int64_t>(records.Count(found.next, end)) +
                 static_cast<int64_t>(found.unsettled.size());
    *group.leased += found.leased;
    *group.backing_off += found.backing_off;
    *group.exceptions += found.exceptions;
    group.stopped = group.stopped || found.stopped;
    uint64_t oldest = records.Stored(found.next);
    for (const uint64_t offset : found.unsettled) {
      oldest = std::min(oldest, offset);
    }
    if (oldest < end) KeepEarlier(group_oldest_[g], records.StoreMs(oldest));
  }

  void AddQueue(Union& all, uint64_t end, Records& records) {
    std::erase_if(all.early, [&](uint64_t offset) {
      return offset >= all.from;
    });
    std::sort(all.early.begin(), all.early.end());
    all.early.erase(std::unique(all.early.begin(), all.early.end()),
                    all.early.end());
    const uint64_t count = all.early.size() + records.Count(all.from, end);
    stats_.depth += static_cast<int64_t>(count);
    if (count == 0) return;
    KeepEarlier(oldest_, records.StoreMs(all.early.empty()
                                              ? records.Stored(all.from)
                                              : all.early[0]));
    measured_ += count;
    if (measured_ > kMaxMeasured) return;
    const auto measure = [&](uint64_t offset) {
      if (const auto header = records.Find(offset)) {
        bytes_ += CommitWord::Length(header->commit);
      }
    };
    for (const uint64_t offset : all.early) measure(offset);
    for (uint64_t offset = records.Stored(all.from); offset < end;
         offset = records.Stored(offset + 1)) {
      measure(offset);
    }
  }

  Store& store_;
  const Queue& queue_;
  // Those of broadcast consumers as well.
  const std::vector<std::shared_ptr<const Group>> groups_;
  std::vector<std::optional<int64_t>> group_oldest_;
  std::vector<GroupStats> group_stats_;
  const int64_t now_ns_;
  QueueStats stats_;
  std::optional<int64_t> oldest_;
  uint64_t measured_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<QueueStats> ReferenceStatsSource::StatsOf(
    std::string_view queue, TimePoint deadline) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  Catalog& catalog = store_->catalog();
  const auto found = catalog.FindQueue(queue, deadline);
  if (!found.ok()) return found.status();
  auto groups = catalog.GroupsOf(**found, deadline);
  if (!groups.ok()) return groups.status();
  // One whose consumer died keeps nothing.
  std::erase_if(*groups, [&](const std::shared_ptr<const Group>& group) {
    return catalog.IsOrphan(*group->entry);
  });
  Summary summary(*store_, **found, *std::move(groups));
  for (uint32_t p = 0; p < (*found)->partitions; ++p) summary.Add(p);
  return summary.Finish();
}

}  // namespace openmessaging::reference
