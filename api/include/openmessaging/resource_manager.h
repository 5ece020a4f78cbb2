// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager manages namespaces, queues, the routes between them and their
// groups, where the broker lets clients do that.

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
#include "openmessaging/internal/queue_check.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/queue_stats.h"
#include "openmessaging/route.h"
#include "openmessaging/status.h"
#include "openmessaging/stream_position.h"

namespace openmessaging {
inline namespace v0 {

// Manages the namespaces, queues, routes and groups of one access point. Obtain
// one from
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
  //                       limit of deliveries without a dead-letter queue, a
  //                       dead-letter queue that is the queue itself, or a
  //                       filter that does not compile; the text says where
  //   kAlreadyExists      1406: there is such a queue, whatever its options
  //   kNotFound           1404: there is no such dead-letter queue
  //                       1405: the namespace of one of the two is missing
  //   kResourceExhausted  1415, 1416: too many partitions, too many queues
  // Implements: OMS-MAP-010, 011, 012.
  [[nodiscard]] absl::Status CreateQueue(std::string_view queue,
                                         const QueueOptions& options = {});

  // Changes a queue that there is: all that `update` sets, or nothing. Members
  // of its groups go by it from their next look at the queue on, in every
  // process; it lasts when it returns.
  // Errors:
  //   kInvalidArgument    1418: an option that cannot be changed (in the
  //                       reference driver: partitions and priorities); what
  //                       CreateQueue refuses, of what the queue would be; a
  //                       ring of dead-letter queues
  //   kNotFound           1404: no such queue, or dead-letter queue
  //   kUnimplemented      1600: the broker cannot change queues
  // Implements: OMS-RES-009, 010, OMS-FILTER-019, 020.
  [[nodiscard]] absl::Status UpdateQueue(std::string_view queue,
                                         const QueueUpdate& update);

  // Deletes the queue, its messages and the routes that begin at it; sends
  // answer 1404 from then on.
  // Errors: kNotFound 1404; kFailedPrecondition 1602: it is the dead-letter
  // queue of another, or a route ends at it.
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

  // Lets what enters a queue from then on enter another one too, in every
  // process; it lasts when it returns. What enters a queue does so when it is
  // sent, or becomes due, or is committed; a dead letter does not.
  // Errors:
  //   kInvalidArgument    1418: a filter that does not compile (the text says
  //                       where), a target from which routes lead back to the
  //                       source, or one more copy than a message may have (64
  //                       in the reference driver)
  //   kAlreadyExists      1406: there is a route from the one to the other
  //   kNotFound           1404: no such queue
  //   kUnimplemented      1600: the capability routing is missing
  // Implements: OMS-ROUTE-001, 002, 003, 004.
  [[nodiscard]] absl::Status CreateRoute(const Route& route);

  // Ends a route; what was copied stays. Errors: kNotFound 1404: no such queue
  // or route.
  // Implements: OMS-ROUTE-001.
  [[nodiscard]] absl::Status DeleteRoute(std::string_view source,
                                         std::string_view target);

  // Returns: the routes that begin at a queue, or all of them, in the order of
  // their names. Errors: kNotFound 1404.
  // Implements: OMS-ROUTE-001.
  [[nodiscard]] absl::StatusOr<std::vector<Route>> ListRoutes(
      std::string_view source = "");

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
  absl::StatusOr<driver::RouteAdmin*> Routes(std::string_view operation,
                                             std::string_view source) const;
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

inline absl::Status ResourceManager::CreateQueue(std::string_view queue,
                                                 const QueueOptions& options) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  absl::Status checked =
      internal::CheckQueueOptions("create", queue, options);
  if (!checked.ok()) return checked;
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

inline absl::Status ResourceManager::UpdateQueue(std::string_view queue,
                                                 const QueueUpdate& update) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  absl::Status checked = internal::CheckQueueUpdate(queue, update);
  if (!checked.ok()) return checked;
  auto* const updater =
      driver::QueryInterface<driver::QueueUpdater>(connection_->connection());
  if (updater == nullptr) {
    return MakeStatus(Code::kUnsupported, "update queue \"", queue,
                      "\": driver ",
                      std::string_view(connection_->url().driver()),
                      " cannot change queues; expected the broker's own tools "
                      "(OMS-RES-009)");
  }
  absl::Status status = updater->UpdateQueue(queue, update, Deadline());
  connection_->ForgetFactsOf(queue);
  return status;
}

inline absl::StatusOr<driver::RouteAdmin*> ResourceManager::Routes(
    std::string_view operation, std::string_view source) const {
  if (!source.empty()) {
    absl::Status named = CheckQueueName(source);
    if (!named.ok()) return named;
  }
  auto* const routes =
      driver::QueryInterface<driver::RouteAdmin>(connection_->connection());
  if (routes != nullptr) return routes;
  return MakeStatus(Code::kUnsupported, operation, " of queue \"", source,
                    "\": driver ", std::string_view(connection_->url().driver()),
                    " has no routes; expected the broker's own tools "
                    "(OMS-ROUTE-001)");
}

inline absl::Status ResourceManager::CreateRoute(const Route& route) {
  for (const std::string_view name : {route.source, route.target}) {
    if (absl::Status named = CheckQueueName(name); !named.ok()) return named;
  }
  const auto routes = Routes("create a route", route.source);
  if (!routes.ok()) return routes.status();
  return (*routes)->CreateRoute(route, Deadline());
}

inline absl::Status ResourceManager::DeleteRoute(std::string_view source,
                                                 std::string_view target) {
  for (const std::string_view name : {source, target}) {
    if (absl::Status named = CheckQueueName(name); !named.ok()) return named;
  }
  const auto routes = Routes("delete a route", source);
  if (!routes.ok()) return routes.status();
  return (*routes)->DeleteRoute(source, target, Deadline());
}

inline absl::StatusOr<std::vector<Route>> ResourceManager::ListRoutes(
    std::string_view source) {
  const auto routes = Routes("list the routes", source);
  if (!routes.ok()) return routes.status();
  return (*routes)->ListRoutes(source, Deadline());
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
