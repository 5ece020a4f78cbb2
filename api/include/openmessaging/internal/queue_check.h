// SPDX-License-Identifier: Apache-2.0
//
// What can be said of a queue's options without the broker.

#ifndef OPENMESSAGING_INTERNAL_QUEUE_CHECK_H_
#define OPENMESSAGING_INTERNAL_QUEUE_CHECK_H_

#include <algorithm>
#include <chrono>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline absl::Status CheckRedeliveryOptions(std::string_view operation,
                                           std::string_view queue,
                                           const QueueOptions& options) {
  const std::string_view dead = options.dead_letter_queue;
  const auto fail = [&](const auto&... what) {
    return MakeStatus(Code::kBadParameter, operation, " queue \"", queue,
                      "\": ", what..., " (OMS-MAP-011)");
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

// `operation`: what is said to have failed, such as "create".
// Errors: 1418; 1415 the partitions.
inline absl::Status CheckQueueOptions(std::string_view operation,
                                      std::string_view queue,
                                      const QueueOptions& options) {
  const auto fail = [&](Code code, const auto&... what) {
    return MakeStatus(code, operation, " queue \"", queue, "\": ", what...,
                      " (OMS-MAP-011)");
  };
  if (options.partitions < 1 || options.partitions > kMaxPartitions) {
    return fail(
        options.partitions < 1 ? Code::kBadParameter : Code::kTooManyPartitions,
        "there are ", options.partitions, " partitions; expected 1 to ",
        kMaxPartitions);
  }
  absl::Status status = CheckRedeliveryOptions(operation, queue, options);
  if (!status.ok()) return status;
  if (options.retention.count() < 0) {
    return fail(Code::kBadParameter, "retention is ",
                options.retention.count(), " ms; expected 0 or more");
  }
  if (options.deduplication_window.count() < 0) {
    return fail(Code::kBadParameter, "deduplication_window is ",
                options.deduplication_window.count(),
                " ms; expected 0 or more");
  }
  return absl::OkStatus();
}

// Checks what an update sets, where what it does not set goes with all of it.
// Errors: as CheckQueueOptions.
inline absl::Status CheckQueueUpdate(std::string_view queue,
                                     const QueueUpdate& update) {
  QueueOptions options = Updated({}, update);
  if (!update.dead_letter_queue && options.max_deliveries > 0) {
    options.dead_letter_queue = queue == "a" ? "b" : "a";
  }
  if (!update.max_deliveries) options.max_deliveries = 0;
  if (!update.max_redelivery_delay) {
    options.max_redelivery_delay =
        std::max(options.max_redelivery_delay, options.redelivery_delay);
  }
  if (!update.redelivery_delay) {
    options.redelivery_delay =
        std::clamp(options.max_redelivery_delay, std::chrono::milliseconds(0),
                   options.redelivery_delay);
  }
  return CheckQueueOptions("update", queue, options);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_QUEUE_CHECK_H_
