// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager creates, lists and deletes queues and namespaces, and moves
// and deletes groups, where the broker lets clients do that.

#ifndef OPENMESSAGING_RESOURCE_MANAGER_H_
#define OPENMESSAGING_RESOURCE_MANAGER_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/queue_stats.h"
#include "openmessaging/status.h"
#include "openmessaging/stream_position.h"

namespace openmessaging {
inline namespace v0 {

// Manages the namespaces, queues and groups of one access point. Obtain one from
// MessagingAccessPoint::resource_manager().
//
// Every method blocks up to the attribute operation.timeout, and answers
// kUnimplemented 1600 where the driver cannot do it, kInvalidArgument 1418 for
// a bad name, and what the broker says: 1401, 1403, 1410, 1503.
//
// Threads: every method may be called from any thread at any time.
// Lifetime: a copyable handle; it keeps its connection alive.
class ResourceManager {
 public:
  // A namespace keeps queues apart: `eu://orders`, `us://orders` and `orders`,
  // which is in the default namespace, have nothing in common. A name says the
  // same in every call; none is relative to another. Queues are created in a
  // namespace once it is there.
  // Errors: kAlreadyExists 1407: it exists; kResourceExhausted 1417: too many
  // namespaces; kUnimplemented 1600: the capability namespaces is missing.
  // Implements: OMS-NS-001, 002, 004.
  [[nodiscard]] absl::Status CreateNamespace(std::string_view name_space);

  // Deletes an empty namespace; its name may be used again.
  // Errors: kNotFound 1405; kFailedPrecondition 1602: it has queues; they are
  // deleted one by one, so that no message goes by accident.
  // Implements: OMS-NS-001, 002.
  [[nodiscard]] absl::Status DeleteNamespace(std::string_view name_space);

  // Returns: the names of all in their order, but the default one, which has no
  // name and is always there.
  // Implements: OMS-NS-001.
  [[nodiscard]] absl::StatusOr<std::vector<std::string>> ListNamespaces();

  // Errors:
  //   kInvalidArgument    1418: fewer than 1 partition, a negative number, a
  //                       limit of deliveries without a dead-letter queue, or
  //                       a dead-letter queue that is the queue itself
  //   kAlreadyExists      1406: there is such a queue, whatever its options
  //   kNotFound           1404: there is no such dead-letter queue
  //                       1405: the namespace of one of the two is missing
  //   kResourceExhausted  1415, 1416: too many partitions, too many queues
  // Implements: OMS-MAP-010, 011, 012.
  [[nodiscard]] absl::Status CreateQueue(std::string_view queue,
                                         const QueueOptions& options = {});

  // Deletes the queue and its messages; sends answer 1404 from then on.
  // Errors: kNotFound 1404; kFailedPrecondition 1602: it is the dead-letter
  // queue of another.
  // Implements: OMS-MAP-010, 011, 012.
  [[nodiscard]] absl::Status DeleteQueue(std::string_view queue);

  // Returns: the queues of a namespace; the empty one is the default one.
  // Errors: kNotFound 1405.
  // Implements: OMS-MAP-010, 011, 012.
  [[nodiscard]] absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space = "");

  // Errors: kNotFound 1404.
  // Implements: OMS-MAP-010, 011, 012.
  [[nodiscard]] absl::StatusOr<QueueInfo> DescribeQueue(std::string_view queue);

  // Returns: the groups that have bound the queue, with members or without; not
  // those of broadcast consumers.
  // Errors: kNotFound 1404: no such queue.
  // Implements: OMS-GRP-001.
  [[nodiscard]] absl::StatusOr<std::vector<std::string>> ListGroups(
      std::string_view queue);

  // Moves a group for all its members: everything below `position` counts as
  // settled, all else as new, also what was handed out, settled, given back or
  // waits for another delivery. So seeking back replays what is still stored,
  // from the oldest on, and seeking forward skips. A receipt of an earlier
  // delivery answers 1604 from then on, and push listeners are not given what
  // waits to be. It lasts when it returns, whatever dies. Without `partition`
  // it moves all of them, one after the other: where that fails some have
  // moved, and it may be repeated.
  // Errors:
  //   kInvalidArgument    1418: a negative position or partition, one that the
  //                       queue has not, or an offset without a partition where
  //                       there are several
  //   kNotFound           1404: no such queue or group
  //   kFailedPrecondition 1602: the group has members, where the broker moves
  //                       only idle ones
  //   kUnimplemented      1600: the capability seek is missing; or the broker
  //                       cannot say what has the position
  // Implements: OMS-GRP-002, 003, 004.
  [[nodiscard]] absl::Status SeekGroup(
      std::string_view queue, std::string_view group, StreamPosition position,
      std::optional<int32_t> partition = std::nullopt);

  // Deletes a group: what it had settled is forgotten, and it keeps no message
  // any more. Each member's Receive answers 1602 until it has unbound the
  // queue; who binds it then begins a new group.
  // Errors: kNotFound 1404: no such queue or group; kFailedPrecondition 1602:
  // it has members, where the broker deletes only idle ones.
  // Implements: OMS-GRP-005.
  [[nodiscard]] absl::Status DeleteGroup(std::string_view queue,
                                         std::string_view group);

  // Tells how full a queue is and how far each of its groups. It counts what
  // was sent and settled before, and holds nobody up.
  // Errors: kNotFound 1404; kUnimplemented 1600: the capability stats is
  // missing.
  // Implements: OMS-STAT-001, 002, 003.
  [[nodiscard]] absl::StatusOr<QueueStats> Stats(std::string_view queue);

 private:
  friend class MessagingAccessPoint;
  explicit ResourceManager(std::shared_ptr<internal::ConnectionCore> connection)
      : connection_(std::move(connection)) {}

  absl::StatusOr<driver::Admin*> Admin(std::string_view operation,
                                       std::string_view object) const;
  // Errors: 1600.
  absl::StatusOr<driver::NamespaceControl*> Namespaces(
      std::string_view operation) const;
  // Errors: 1418 a bad name; 1600.
  absl::StatusOr<driver::GroupControl*> Groups(std::string_view operation,
                                               std::string_view queue,
                                               std::string_view group) const;
  // Returns: the offset that `position` has in a partition.
  absl::StatusOr<int64_t> Resolve(std::string_view queue,
                                  StreamPosition position, int32_t partition,
                                  driver::TimePoint deadline) const;
  // Returns: how many partitions the queue has.
  absl::StatusOr<int32_t> Partitions(std::string_view queue,
                                     driver::TimePoint deadline) const;
  driver::StreamSource* Positions() const {
    return driver::QueryInterface<driver::StreamSource>(
        connection_->connection());
  }
  // Errors: 1418, 1415; what can be said without the broker.
  static absl::Status CheckOptions(std::string_view queue,
                                   const QueueOptions& options);
  static absl::Status CheckRedelivery(std::string_view queue,
                                      const QueueOptions& options);
  driver::TimePoint Deadline() const {
    return internal::DeadlineAfter(connection_->operation_timeout());
  }

  std::shared_ptr<internal::ConnectionCore> connection_;
};

inline absl::StatusOr<driver::Admin*> ResourceManager::Admin(
    std::string_view operation, std::string_view object) const {
  auto* const admin =
      driver::QueryInterface<driver::Admin>(connection_->connection());
  if (admin != nullptr) return admin;
  return MakeStatus(Code::kUnsupported, operation, " \"",
                    internal::Printable(object), "\": driver ",
                    std::string_view(connection_->url().driver()),
                    " cannot manage queues; expected the broker's own tools "
                    "(OMS-MAP-010)");
}

inline absl::StatusOr<driver::NamespaceControl*> ResourceManager::Namespaces(
    std::string_view operation) const {
  auto* const namespaces = driver::QueryInterface<driver::NamespaceControl>(
      connection_->connection());
  if (namespaces != nullptr) return namespaces;
  return MakeStatus(Code::kUnsupported, operation, ": driver ",
                    std::string_view(connection_->url().driver()),
                    " cannot manage namespaces; expected the broker's own "
                    "tools (OMS-NS-001)");
}

inline absl::Status ResourceManager::CreateNamespace(
    std::string_view name_space) {
  absl::Status status = CheckNamespaceName(name_space);
  if (!status.ok()) return status;
  const auto namespaces =
      Namespaces(internal::Concat("create namespace \"", name_space, '"'));
  if (!namespaces.ok()) return namespaces.status();
  return (*namespaces)->CreateNamespace(name_space, Deadline());
}

inline absl::Status ResourceManager::DeleteNamespace(
    std::string_view name_space) {
  absl::Status status = CheckNamespaceName(name_space);
  if (!status.ok()) return status;
  const auto namespaces =
      Namespaces(internal::Concat("delete namespace \"", name_space, '"'));
  if (!namespaces.ok()) return namespaces.status();
  return (*namespaces)->DeleteNamespace(name_space, Deadline());
}

inline absl::StatusOr<std::vector<std::string>>
ResourceManager::ListNamespaces() {
  const auto namespaces = Namespaces("list namespaces");
  if (!namespaces.ok()) return namespaces.status();
  auto names = (*namespaces)->ListNamespaces(Deadline());
  if (names.ok()) std::sort(names->begin(), names->end());
  return names;
}

inline absl::Status ResourceManager::CheckOptions(
    std::string_view queue, const QueueOptions& options) {
  if (options.partitions < 1 || options.partitions > kMaxPartitions) {
    return MakeStatus(
        options.partitions < 1 ? Code::kBadParameter : Code::kTooManyPartitions,
        "create queue \"", queue, "\": there are ", options.partitions,
        " partitions; expected 1 to ", kMaxPartitions, " (OMS-MAP-011)");
  }
  if (absl::Status status = CheckRedelivery(queue, options); !status.ok()) {
    return status;
  }
  if (options.retention.count() < 0) {
    return MakeStatus(Code::kBadParameter, "create queue \"", queue,
                      "\": retention is ", options.retention.count(),
                      " ms; expected 0 or more (OMS-MAP-011)");
  }
  if (options.deduplication_window.count() < 0) {
    return MakeStatus(Code::kBadParameter, "create queue \"", queue,
                      "\": deduplication_window is ",
                      options.deduplication_window.count(),
                      " ms; expected 0 or more (OMS-MAP-011)");
  }
  return absl::OkStatus();
}

inline absl::Status ResourceManager::CheckRedelivery(
    std::string_view queue, const QueueOptions& options) {
  const std::string_view dead = options.dead_letter_queue;
  const auto fail = [&](const auto&... what) {
    return MakeStatus(Code::kBadParameter, "create queue \"", queue, "\": ",
                      what..., " (OMS-MAP-011)");
  };
  if (options.max_deliveries < 0) {
    return fail("max_deliveries is ", options.max_deliveries,
                "; expected 0 or more");
  }
  if (options.max_deliveries > 0 && dead.empty()) {
    return fail("max_deliveries is ", options.max_deliveries,
                " without a dead_letter_queue; expected both, because nothing "
                "is dropped");
  }
  if (!dead.empty()) {
    if (absl::Status status = CheckQueueName(dead); !status.ok()) return status;
  }
  if (dead == queue) {
    return fail("it is its own dead_letter_queue; expected another queue");
  }
  if (options.redelivery_delay.count() < 0 ||
      options.max_redelivery_delay < options.redelivery_delay) {
    return fail("redelivery_delay is ", options.redelivery_delay.count(),
                " ms and max_redelivery_delay ",
                options.max_redelivery_delay.count(),
                " ms; expected 0 or more, and the longest not shorter");
  }
  return absl::OkStatus();
}

inline absl::Status ResourceManager::CreateQueue(std::string_view queue,
                                                 const QueueOptions& options) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  if (absl::Status status = CheckOptions(queue, options); !status.ok()) {
    return status;
  }
  const auto admin = Admin("create queue", queue);
  if (!admin.ok()) return admin.status();
  absl::Status status = (*admin)->CreateQueue(queue, options, Deadline());
  connection_->ForgetFactsOf(queue);
  return status;
}

inline absl::Status ResourceManager::DeleteQueue(std::string_view queue) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  const auto admin = Admin("delete queue", queue);
  if (!admin.ok()) return admin.status();
  absl::Status status = (*admin)->DeleteQueue(queue, Deadline());
  connection_->ForgetFactsOf(queue);
  return status;
}

inline absl::StatusOr<std::vector<QueueInfo>> ResourceManager::ListQueues(
    std::string_view name_space) {
  if (!name_space.empty()) {
    absl::Status status = CheckNamespaceName(name_space);
    if (!status.ok()) return status;
  }
  const auto admin = Admin("list queues of", name_space);
  if (!admin.ok()) return admin.status();
  return (*admin)->ListQueues(name_space, Deadline());
}

inline absl::StatusOr<QueueInfo> ResourceManager::DescribeQueue(
    std::string_view queue) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  const auto admin = Admin("describe queue", queue);
  if (!admin.ok()) return admin.status();
  return (*admin)->DescribeQueue(queue, Deadline());
}

inline absl::StatusOr<driver::GroupControl*> ResourceManager::Groups(
    std::string_view operation, std::string_view queue,
    std::string_view group) const {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  if (!group.empty()) {
    if (absl::Status status = CheckGroupName(group); !status.ok()) {
      return status;
    }
  }
  auto* const groups =
      driver::QueryInterface<driver::GroupControl>(connection_->connection());
  if (groups != nullptr) return groups;
  return MakeStatus(Code::kUnsupported, operation, " of queue \"", queue,
                    "\": driver ", std::string_view(connection_->url().driver()),
                    " cannot manage groups; expected the broker's own tools "
                    "(OMS-GRP-001)");
}

inline absl::StatusOr<std::vector<std::string>> ResourceManager::ListGroups(
    std::string_view queue) {
  const auto groups = Groups("list the groups", queue, {});
  if (!groups.ok()) return groups.status();
  return (*groups)->ListGroups(queue, Deadline());
}

inline absl::StatusOr<int32_t> ResourceManager::Partitions(
    std::string_view queue, driver::TimePoint deadline) const {
  if (driver::StreamSource* const source = Positions(); source != nullptr) {
    return source->PartitionsOf(queue, deadline);
  }
  const auto admin = Admin("seek a group of queue", queue);
  if (!admin.ok()) return admin.status();
  const auto info = (*admin)->DescribeQueue(queue, deadline);
  if (!info.ok()) return info.status();
  return info->options.partitions;
}

inline absl::StatusOr<int64_t> ResourceManager::Resolve(
    std::string_view queue, StreamPosition position, int32_t partition,
    driver::TimePoint deadline) const {
  using Kind = StreamPosition::Kind;
  if (position.kind() == Kind::kOffset) return position.value();
  driver::StreamSource* const source = Positions();
  if (source == nullptr) {
    return MakeStatus(Code::kUnsupported, "seek group of queue \"", queue,
                      "\": driver ",
                      std::string_view(connection_->url().driver()),
                      " cannot say what offset that is; expected an offset "
                      "(OMS-GRP-003)");
  }
  if (position.kind() == Kind::kTime) {
    return source->OffsetAt(queue, partition,
                            std::chrono::milliseconds(position.value()),
                            deadline);
  }
  const auto range = source->RangeOf(queue, partition, deadline);
  if (!range.ok()) return range.status();
  return position.kind() == Kind::kEarliest ? range->first : range->end;
}

inline absl::Status ResourceManager::SeekGroup(
    std::string_view queue, std::string_view group, StreamPosition position,
    std::optional<int32_t> partition) {
  if (absl::Status status = CheckGroupName(group); !status.ok()) return status;
  const auto groups = Groups("seek a group", queue, group);
  if (!groups.ok()) return groups.status();
  const auto refuse = [&](const auto&... what) {
    return MakeStatus(Code::kBadParameter, "seek group \"", group,
                      "\" of queue \"", queue, "\": ", what...,
                      " (OMS-GRP-003)");
  };
  if (position.value() < 0) {
    return refuse(position.kind() == StreamPosition::Kind::kTime ? "time"
                                                                 : "offset",
                  " is ", position.value(), "; expected 0 or more");
  }
  const driver::TimePoint deadline = Deadline();
  const auto count = Partitions(queue, deadline);
  if (!count.ok()) return count.status();
  if (partition && (*partition < 0 || *partition >= *count)) {
    return refuse("partition is ", *partition, "; expected 0 to ", *count - 1);
  }
  if (!partition && *count > 1 &&
      position.kind() == StreamPosition::Kind::kOffset) {
    return refuse("it has ", *count, " partitions, each with its own offsets; "
                  "expected a partition beside an offset");
  }
  const int32_t first = partition.value_or(0);
  const int32_t end = partition ? *partition + 1 : *count;
  for (int32_t p = first; p < end; ++p) {
    const auto offset = Resolve(queue, position, p, deadline);
    if (!offset.ok()) return offset.status();
    absl::Status moved =
        (*groups)->Seek(queue, group, p, *offset, deadline);
    if (!moved.ok()) return moved;
  }
  return absl::OkStatus();
}

inline absl::Status ResourceManager::DeleteGroup(std::string_view queue,
                                                 std::string_view group) {
  if (absl::Status status = CheckGroupName(group); !status.ok()) return status;
  const auto groups = Groups("delete a group", queue, group);
  if (!groups.ok()) return groups.status();
  return (*groups)->DeleteGroup(queue, group, Deadline());
}

inline absl::StatusOr<QueueStats> ResourceManager::Stats(
    std::string_view queue) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  auto* const source =
      driver::QueryInterface<driver::StatsSource>(connection_->connection());
  if (source != nullptr) return source->StatsOf(queue, Deadline());
  return MakeStatus(Code::kUnsupported, "ask for the stats of queue \"", queue,
                    "\": driver ", std::string_view(connection_->url().driver()),
                    " does not tell; expected the broker's own tools "
                    "(OMS-STAT-001)");
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_RESOURCE_MANAGER_H_
