// SPDX-License-Identifier: Apache-2.0

#include "mutant_abilities.h"

#include "mutant_resources.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {

using driver::TimePoint;

void* MutantAbilities::Query(std::string_view name) {
  if (name == driver::Admin::kInterface) {
    return static_cast<driver::Admin*>(this);
  }
  if (name == driver::DelayControl::kInterface) {
    return static_cast<driver::DelayControl*>(this);
  }
  if (name == driver::StreamSource::kInterface &&
      mutant_ != Mutant::kClaimsStream) {
    return static_cast<driver::StreamSource*>(this);
  }
  if (name == driver::GroupControl::kInterface) {
    return static_cast<driver::GroupControl*>(this);
  }
  if (name == driver::StatsSource::kInterface) {
    return static_cast<driver::StatsSource*>(this);
  }
  return nullptr;
}

absl::Status MutantAbilities::CreateQueue(std::string_view queue,
                                          const QueueOptions& options,
                                          TimePoint deadline) {
  QueueOptions changed = options;
  if (mutant_ == Mutant::kIgnoresQueueFilter) changed.filter.clear();
  if (mutant_ == Mutant::kMixesNamespaces &&
      WithoutNamespace(queue) != queue) {
    (void)admin_.CreateQueue(WithoutNamespace(queue), changed, deadline);
  }
  if (mutant_ == Mutant::kOffByOneMaxDeliveries && options.max_deliveries > 0) {
    ++changed.max_deliveries;
  }
  if (mutant_ == Mutant::kForgetsOptions) {
    const QueueOptions plain;
    changed.redelivery_delay = plain.redelivery_delay;
    changed.max_redelivery_delay = plain.max_redelivery_delay;
  }
  absl::Status status = admin_.CreateQueue(queue, changed, deadline);
  if (mutant_ == Mutant::kCreatesTwice &&
      OmsCode(status) == Code::kQueueExists) {
    return absl::OkStatus();
  }
  return status;
}

absl::Status MutantAbilities::DeleteQueue(std::string_view queue,
                                          TimePoint deadline) {
  if (mutant_ == Mutant::kDeletesNothing) return absl::OkStatus();
  absl::Status status = admin_.DeleteQueue(queue, deadline);
  if (mutant_ == Mutant::kDeletesTarget &&
      OmsCode(status) == Code::kIllegalState) {
    const auto routes = routes_.ListRoutes("", deadline);
    if (!routes.ok()) return status;
    for (const Route& route : *routes) {
      if (route.target != queue) continue;
      (void)routes_.DeleteRoute(route.source, route.target, deadline);
    }
    return admin_.DeleteQueue(queue, deadline);
  }
  return status;
}

absl::StatusOr<std::vector<QueueInfo>> MutantAbilities::ListQueues(
    std::string_view name_space, TimePoint deadline) {
  auto all = admin_.ListQueues(name_space, deadline);
  if (mutant_ == Mutant::kListsLess && all.ok() && !all->empty()) {
    all->pop_back();
  }
  if (mutant_ == Mutant::kHidesReplyQueues && all.ok()) {
    std::erase_if(*all, [](const QueueInfo& info) {
      return info.name.starts_with("oms-reply.");
    });
  }
  return all;
}

absl::Status MutantAbilities::Cancel(std::string_view queue,
                                     const MessageId& id, TimePoint deadline) {
  if (mutant_ == Mutant::kCancelForgets) return absl::OkStatus();
  return delays_.Cancel(queue, id, deadline);
}

absl::StatusOr<int64_t> MutantAbilities::OffsetAt(
    std::string_view queue, int32_t partition,
    std::chrono::milliseconds since_1970_utc, TimePoint deadline) {
  if (mutant_ == Mutant::kStreamTimeIsEarliest) {
    const auto range = streams_.RangeOf(queue, partition, deadline);
    if (!range.ok()) return range.status();
    return range->first;
  }
  return streams_.OffsetAt(queue, partition, since_1970_utc, deadline);
}

absl::StatusOr<std::unique_ptr<driver::StreamReader>> MutantAbilities::Open(
    std::string_view queue, int32_t partition, int64_t offset,
    TimePoint deadline) {
  if (mutant_ == Mutant::kStreamExclusive && offset > 0) ++offset;
  return streams_.Open(queue, partition, offset, deadline);
}

absl::Status MutantAbilities::Seek(std::string_view queue,
                                   std::string_view group, int32_t partition,
                                   int64_t offset, TimePoint deadline) {
  if (mutant_ == Mutant::kSeekForgets) return absl::OkStatus();
  return groups_.Seek(queue, group, partition, offset, deadline);
}

absl::StatusOr<QueueStats> MutantAbilities::StatsOf(std::string_view queue,
                                                    TimePoint deadline) {
  auto stats = stats_.StatsOf(queue, deadline);
  if (!stats.ok()) return stats;
  if (mutant_ == Mutant::kWrongStats) stats->depth += 4;
  for (GroupStats& group : stats->groups) {
    if (mutant_ == Mutant::kHidesStopped) group.stopped = false;
    if (mutant_ == Mutant::kClaimsStopped) group.stopped = true;
  }
  return stats;
}

}  // namespace openmessaging::conformance
