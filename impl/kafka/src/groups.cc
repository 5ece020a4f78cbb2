// SPDX-License-Identifier: Apache-2.0

#include "groups.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "admin_call.h"
#include "assigned.h"
#include "errors.h"
#include "member.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

using OwnedListOffsets = Owned<rd_kafka_ListConsumerGroupOffsets_t,
                               rd_kafka_ListConsumerGroupOffsets_destroy>;
using OwnedAlterOffsets = Owned<rd_kafka_AlterConsumerGroupOffsets_t,
                                rd_kafka_AlterConsumerGroupOffsets_destroy>;
using OwnedDeleteOffsets = Owned<rd_kafka_DeleteConsumerGroupOffsets_t,
                                 rd_kafka_DeleteConsumerGroupOffsets_destroy>;

bool HasCommit(const rd_kafka_topic_partition_list_t& list) {
  for (int i = 0; i < list.cnt; ++i) {
    if (list.elems[i].offset >= 0) return true;
  }
  return false;
}

// Returns: how many above the mark are settled already.
int64_t SettledAbove(const rd_kafka_topic_partition_t& one) {
  kit::AckTracker tracker(one.offset, kWindow);
  RestoreFrom(MetadataIn(one), tracker);
  return tracker.settled_above();
}

// What a request answered of one group.
absl::Status GroupStatus(const rd_kafka_group_result_t* result,
                         std::string_view what) {
  if (const rd_kafka_error_t* const error =
          rd_kafka_group_result_error(result)) {
    return KafkaStatus(rd_kafka_error_code(error), what,
                       rd_kafka_error_string(error));
  }
  const rd_kafka_topic_partition_list_t* const list =
      rd_kafka_group_result_partitions(result);
  for (int i = 0; list != nullptr && i < list->cnt; ++i) {
    if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return KafkaStatus(list->elems[i].err, what);
    }
  }
  return absl::OkStatus();
}

// How long a member that was ended takes to leave, and until it is looked again.
constexpr milliseconds kLeaving{5000};
constexpr milliseconds kLeaveAgain{20};

absl::Status NoSuchGroup(std::string_view operation, std::string_view group,
                         std::string_view queue) {
  return MakeStatus(Code::kQueueNotFound, operation, " group \"", group,
                    "\": it has never bound \"", queue, "\"");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> GroupAdmin::AllGroups(
    TimePoint deadline) {
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, "list groups",
      deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_ListConsumerGroups((*control)->get(), call, answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_ConsumerGroupListing_t** const all =
      rd_kafka_ListConsumerGroups_result_valid(
          rd_kafka_event_ListConsumerGroups_result(event->get()), &count);
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    names.emplace_back(rd_kafka_ConsumerGroupListing_group_id(all[i]));
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<PartitionList> GroupAdmin::CommittedOf(std::string_view group,
                                                      std::string_view queue,
                                                      int32_t partitions,
                                                      TimePoint deadline) {
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const std::string what =
      Concat("offsets of group \"", group, "\" in \"", queue, "\"");
  const PartitionList asked = NewPartitionList();
  for (int32_t partition = 0; partition < partitions; ++partition) {
    rd_kafka_topic_partition_list_add(asked.get(), std::string(queue).c_str(),
                                      partition);
  }
  const OwnedListOffsets request(rd_kafka_ListConsumerGroupOffsets_new(
      std::string(group).c_str(), asked.get()));
  rd_kafka_ListConsumerGroupOffsets_t* one = request.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, what,
      deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_ListConsumerGroupOffsets((*control)->get(), &one, 1, call,
                                          answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_group_result_t** const groups =
      rd_kafka_ListConsumerGroupOffsets_result_groups(
          rd_kafka_event_ListConsumerGroupOffsets_result(event->get()),
          &count);
  if (count != 1) return NewPartitionList();
  if (auto s = GroupStatus(groups[0], what); !s.ok()) {
    if (OmsCode(s) == Code::kQueueNotFound) return NewPartitionList();
    return s;
  }
  return PartitionList(rd_kafka_topic_partition_list_copy(
      rd_kafka_group_result_partitions(groups[0])));
}

absl::StatusOr<std::vector<std::string>> GroupAdmin::ListGroups(
    std::string_view queue, TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  auto all = AllGroups(deadline);
  if (!all.ok()) return all;
  std::vector<std::string> groups;
  for (std::string& group : *all) {
    const auto committed = CommittedOf(group, queue, *partitions, deadline);
    if (!committed.ok()) return committed.status();
    if (HasCommit(**committed)) groups.push_back(std::move(group));
  }
  return groups;
}

absl::Status GroupAdmin::Seek(std::string_view queue, std::string_view group,
                              int32_t partition, int64_t offset,
                              TimePoint deadline) {
  const auto range = streams_.RangeOf(queue, partition, deadline);
  if (!range.ok()) return range.status();
  offset = std::clamp(offset, range->first, range->end);
  for (const auto& member : members_.All()) {
    if (member->group() != group || member->broadcast()) continue;
    const auto moved = member->SeekTo(queue, partition, offset, deadline);
    if (moved) return *moved;
  }
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const std::string what =
      Concat("seek group \"", group, "\" in \"", queue, "\"");
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_list_add(list.get(), std::string(queue).c_str(),
                                    partition)
      ->offset = offset;
  const OwnedAlterOffsets request(rd_kafka_AlterConsumerGroupOffsets_new(
      std::string(group).c_str(), list.get()));
  rd_kafka_AlterConsumerGroupOffsets_t* one = request.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, what,
      deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_AlterConsumerGroupOffsets((*control)->get(), &one, 1, call,
                                           answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_group_result_t** const groups =
      rd_kafka_AlterConsumerGroupOffsets_result_groups(
          rd_kafka_event_AlterConsumerGroupOffsets_result(event->get()),
          &count);
  return count == 1 ? GroupStatus(groups[0], what) : absl::OkStatus();
}

absl::Status GroupAdmin::DeleteGroup(std::string_view queue,
                                     std::string_view group,
                                     TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  const auto committed = CommittedOf(group, queue, *partitions, deadline);
  if (!committed.ok()) return committed.status();
  if (!HasCommit(**committed)) return NoSuchGroup("delete", group, queue);
  TimePoint patience = TimePoint::min();
  for (const auto& member : members_.All()) {
    if (member->group() != group || member->broadcast()) continue;
    member->EndGroup(queue, deadline);
    patience = std::min(deadline, Clock::now() + kLeaving);
  }
  while (true) {
    absl::Status deleted = DeleteOffsets(queue, group, **committed, deadline);
    // Those that were ended just now may be on their way out.
    if (OmsCode(deleted) != Code::kIllegalState || Clock::now() >= patience) {
      return deleted;
    }
    std::this_thread::sleep_for(kLeaveAgain);
  }
}

absl::Status GroupAdmin::DeleteOffsets(
    std::string_view queue, std::string_view group,
    const rd_kafka_topic_partition_list_t& offsets, TimePoint deadline) {
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const std::string what =
      Concat("delete group \"", group, "\" of \"", queue, "\"");
  const OwnedDeleteOffsets request(rd_kafka_DeleteConsumerGroupOffsets_new(
      std::string(group).c_str(), &offsets));
  rd_kafka_DeleteConsumerGroupOffsets_t* one = request.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, what,
      deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_DeleteConsumerGroupOffsets((*control)->get(), &one, 1, call,
                                            answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_group_result_t** const groups =
      rd_kafka_DeleteConsumerGroupOffsets_result_groups(
          rd_kafka_event_DeleteConsumerGroupOffsets_result(event->get()),
          &count);
  return count == 1 ? GroupStatus(groups[0], what) : absl::OkStatus();
}

absl::StatusOr<QueueStats> GroupAdmin::StatsOf(std::string_view queue,
                                               TimePoint deadline) {
  cluster_->Forget(queue);
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  std::vector<driver::StreamSource::Range> ranges;
  int64_t stored = 0;
  for (int32_t partition = 0; partition < *partitions; ++partition) {
    const auto range = streams_.RangeOf(queue, partition, deadline);
    if (!range.ok()) return range.status();
    ranges.push_back(*range);
    stored += range->end - range->first;
  }
  const auto all = AllGroups(deadline);
  if (!all.ok()) return all.status();
  QueueStats stats;
  stats.queue = queue;
  // What the group that is farthest behind lacks of each partition.
  std::vector<int64_t> lacking(ranges.size(), 0);
  for (const std::string& group : *all) {
    const auto committed = CommittedOf(group, queue, *partitions, deadline);
    if (!committed.ok()) return committed.status();
    if (!HasCommit(**committed)) continue;
    GroupStats one;
    one.group = group;
    for (int i = 0; i < (*committed)->cnt; ++i) {
      const rd_kafka_topic_partition_t& place = (*committed)->elems[i];
      const auto index = static_cast<size_t>(place.partition);
      if (index >= ranges.size()) continue;
      const int64_t mark =
          place.offset < 0
              ? ranges[index].first
              : std::clamp(place.offset, ranges[index].first,
                           ranges[index].end);
      const int64_t lag =
          std::max<int64_t>(ranges[index].end - mark - SettledAbove(place), 0);
      one.lag += lag;
      one.stopped = one.stopped || SaysStopped(MetadataIn(place));
      lacking[index] = std::max(lacking[index], lag);
    }
    stats.groups.push_back(std::move(one));
  }
  bool broadcast = false;
  for (const auto& member : members_.All()) {
    for (size_t i = 0; i < ranges.size(); ++i) {
      const auto lag = member->BroadcastLag(queue, static_cast<int32_t>(i),
                                            ranges[i].end);
      if (!lag) continue;
      broadcast = true;
      lacking[i] = std::max(lacking[i], *lag);
    }
  }
  if (stats.groups.empty() && !broadcast) {
    stats.depth = stored;
  } else {
    for (const int64_t lag : lacking) stats.depth += lag;
  }
  return stats;
}

}  // namespace openmessaging::kafka
