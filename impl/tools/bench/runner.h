// SPDX-License-Identifier: Apache-2.0
//
// Runner measures one case after another at one URL.

#ifndef OPENMESSAGING_TOOLS_BENCH_RUNNER_H_
#define OPENMESSAGING_TOOLS_BENCH_RUNNER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "case.h"
#include "measure.h"
#include "openmessaging/openmessaging.h"
#include "samples.h"
#include "yardstick.h"

namespace openmessaging::tools {

// What the machine allows for a case.
struct Limit {
  std::string name{};  // Of the yardsticks that it is made of, or of a case.
  // One of the two; the other is 0.
  double per_second = 0;  // Messages.
  int64_t p50_ns = 0;
};

struct Result {
  Case of{};
  uint64_t messages = 0;  // In the time that was measured.
  double per_second = 0;  // Messages, or round trips.
  Latency latency{};      // Of one call, a whole batch; none for kTransfer.
  Limit limit{};

  // The figure as a part of the limit, or as a multiple where it is a time.
  double Ratio() const;
};

struct RunnerOptions {
  std::string url{};
  // Of one loop; a case has one for the rate and one for the latency.
  std::chrono::nanoseconds time{};
  // What one loop may put into a store at most, bodies and what goes with them.
  size_t max_bytes = 0;
};

// Threads: one. Lifetime: queues that it makes are gone with the call.
class Runner {
 public:
  // `yardstick` is borrowed.
  Runner(RunnerOptions options, MessagingAccessPoint bus, Yardstick* yardstick)
      : options_(std::move(options)),
        bus_(std::move(bus)),
        yardstick_(yardstick) {}

  // Returns: why `one` cannot be measured here, empty where it can.
  std::string ReasonToSkip(const Case& one);

  // Errors: what the driver says; 1606 after a signal.
  absl::StatusOr<Result> Run(const Case& one);

 private:
  // A queue that is deleted again.
  class OwnQueue;

  absl::StatusOr<OwnQueue> MakeQueue();
  absl::StatusOr<Limit> LimitOf(const Case& one);
  absl::StatusOr<Limit> CopyLimit(const Case& one);
  Budget BudgetOf(const Case& one) const;
  // The access point for a case's way of waiting.
  absl::StatusOr<MessagingAccessPoint> BusOf(const Case& one);

  absl::Status Send(const Case& one, Result& result);
  absl::Status Senders(const Case& one, Result& result);
  absl::Status Async(const Case& one, Result& result);
  absl::Status Receive(const Case& one, Result& result);
  absl::Status Cycle(const Case& one, Result& result);
  absl::Status Transfer(const Case& one, Result& result);
  absl::Status RoundTrip(const Case& one, Result& result);

  const RunnerOptions options_;
  const MessagingAccessPoint bus_;
  Yardstick* const yardstick_;
  std::optional<absl::StatusOr<MessagingAccessPoint>> spin_bus_;
  std::optional<absl::StatusOr<Capabilities>> capabilities_;
  int next_queue_ = 0;
};

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_RUNNER_H_
