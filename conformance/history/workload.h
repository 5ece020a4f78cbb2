// SPDX-License-Identifier: Apache-2.0
//
// A run: workers that send and receive, some of them killed, until everything
// has come or nothing comes any more.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_WORKLOAD_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_WORKLOAD_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checker.h"
#include "operation.h"
#include "worker.h"

namespace openmessaging::conformance::history {

struct WorkloadOptions {
  std::string url{};
  std::string library{};  // With the driver; empty: it is linked, or found.
  std::chrono::seconds duration{10};  // Of sending.
  uint64_t seed = 0;
  int senders = 3;
  int consumers = 2;  // Of each group.
  // Kill workers, where they can be processes of their own.
  bool kills = true;
  // Delay messages, where the driver can.
  bool delays = true;
  // When nothing has come for so long, nothing will: at least twice the lease.
  std::chrono::milliseconds patience{2 * kLease};
  // Where the history goes while it is made; empty: nowhere.
  std::string file{};
};

struct Workload {
  std::vector<Operation> history{};
  Terms terms{};
  bool in_processes = false;
};

// Makes a queue of its own, works, and deletes it.
// Blocks: for `duration`, and until nothing has come for `patience`; no longer
// than for twice the one and ten times the other.
// Errors: 1600 the driver has neither queues that can be made nor groups; what
// kept a worker from beginning; 1418 the file cannot be written.
absl::StatusOr<Workload> Run(const WorkloadOptions& options);

// The process of one worker: works as `arguments` say, which Run() wrote, and
// prints its operations. Returns: an exit code.
int WorkerMain(const std::vector<std::string>& arguments);

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_WORKLOAD_H_
