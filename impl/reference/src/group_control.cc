// SPDX-License-Identifier: Apache-2.0

#include "group_control.h"

#include <algorithm>

#include "bells.h"
#include "group_window.h"
#include "openmessaging/status.h"
#include "partition_log.h"
#include "redelivery.h"

namespace openmessaging::reference {

absl::StatusOr<std::shared_ptr<const Queue>> ReferenceGroupControl::FindQueue(
    std::string_view queue, TimePoint deadline) {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  return store_->catalog().FindQueue(queue, deadline);
}

absl::StatusOr<std::vector<std::string>> ReferenceGroupControl::ListGroups(
    std::string_view queue, TimePoint deadline) noexcept {
  const auto found = FindQueue(queue, deadline);
  if (!found.ok()) return found.status();
  const auto groups = store_->catalog().GroupsOf(**found, deadline);
  if (!groups.ok()) return groups.status();
  std::vector<std::string> names;
  for (const auto& group : *groups) {
    if (group->entry->live.Load() == kLive) names.push_back(group->name);
  }
  return names;
}

absl::Status ReferenceGroupControl::Seek(std::string_view queue,
                                         std::string_view group,
                                         int32_t partition, int64_t offset,
                                         TimePoint deadline) noexcept {
  const auto found = FindQueue(queue, deadline);
  if (!found.ok()) return found.status();
  const Queue& of = **found;
  if (of.has_priorities()) {
    return MakeStatus(Code::kUnsupported, "seek group \"", group,
                      "\" of queue \"", queue,
                      "\": the queue has priorities, and so no one order of "
                      "offsets; expected a queue without (seek)");
  }
  if (partition < 0 || static_cast<uint32_t>(partition) >= of.partitions) {
    return MakeStatus(Code::kBadParameter, "seek group \"", group,
                      "\" of queue \"", queue, "\": partition ", partition,
                      " does not exist; the queue has ", of.partitions);
  }
  Catalog& catalog = store_->catalog();
  const auto moved = catalog.FindGroup(of, group, deadline);
  if (!moved.ok()) return moved.status();
  const auto number = static_cast<uint32_t>(partition);
  Cursor& cursor = *(*moved)->state->cursor(number);
  if (auto s = catalog.EnsureWindow(cursor, deadline); !s.ok()) return s;
  PartitionLog log(store_.get(), *moved, number);
  GroupWindow window(&store_->control(), &store_->environment(),
                     &store_->liveness(), of.state->partition(number),
                     QueuePartition(of.id, number), &cursor,
                     RedeliveryPolicy::Of(of.options), &log);
  const auto position = window.Seek(
      static_cast<uint64_t>(std::max<int64_t>(offset, 0)), deadline);
  if (!position.ok()) return position.status();
  RingBells(store_->control(), store_->environment(), store_->liveness(),
            *of.state);
  return store_->log().WaitDurable(*position, deadline);
}

absl::Status ReferenceGroupControl::DeleteGroup(std::string_view queue,
                                                std::string_view group,
                                                TimePoint deadline) noexcept {
  const auto found = FindQueue(queue, deadline);
  if (!found.ok()) return found.status();
  auto deleted = store_->catalog().DeleteGroup(**found, group, deadline);
  // Its members learn of it at once.
  RingBells(store_->control(), store_->environment(), store_->liveness(),
            *(*found)->state);
  return deleted;
}

}  // namespace openmessaging::reference
