// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager creates, lists and deletes queues, where the broker lets
// clients do that.

#ifndef OPENMESSAGING_RESOURCE_MANAGER_H_
#define OPENMESSAGING_RESOURCE_MANAGER_H_

#include <chrono>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Manages the queues of one access point. Obtain one from
// MessagingAccessPoint::resource_manager().
//
// Every method blocks up to the attribute operation.timeout, and answers
// kUnimplemented 1600 where the driver cannot manage queues, kInvalidArgument
// 1418 for a bad name, and what the broker says: 1401, 1403, 1410, 1503.
//
// Threads: every method may be called from any thread at any time.
// Lifetime: a copyable handle; it keeps its connection alive.
class ResourceManager {
 public:
  // Errors:
  //   kInvalidArgument    1418: fewer than 1 partition, a negative number, a
  //                       limit of deliveries without a dead-letter queue, or
  //                       a dead-letter queue that is the queue itself
  //   kAlreadyExists      1406: there is such a queue, whatever its options
  //   kNotFound           1404: there is no such dead-letter queue
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

 private:
  friend class MessagingAccessPoint;
  explicit ResourceManager(std::shared_ptr<internal::ConnectionCore> connection)
      : connection_(std::move(connection)) {}

  absl::StatusOr<driver::Admin*> Admin(std::string_view operation,
                                       std::string_view object) const;
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

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_RESOURCE_MANAGER_H_
