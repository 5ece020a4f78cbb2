// SPDX-License-Identifier: Apache-2.0
//
// Who makes a history: senders, and consumers of groups, each with a connection
// of its own, in a thread or in a process.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_WORKER_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_WORKER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "operation.h"
#include "step.h"

namespace openmessaging::conformance::history {

struct WorkerOptions {
  std::string url{};
  std::string library{};  // With the driver; empty: it is linked, or found.
  std::string queue{};
  std::string name{};   // `sender-2.0`
  std::string group{};  // Of a consumer; empty: a sender.
  bool ordered = false;
  bool nacks = false;  // The driver can.
  bool leases = false;
  Means means{};
  uint64_t seed = 0;
  std::chrono::milliseconds duration{0};  // Of a sender.
};

// How long a consumer may have a message.
inline constexpr std::chrono::milliseconds kLease{3000};

using Record = std::function<void(const Operation&)>;

// Works until its time is over or `stop()` says so. `record` is called with
// each operation right after it. Errors: what kept it from beginning.
absl::Status Work(const WorkerOptions& options, const Record& record,
                  const std::function<bool()>& stop);

// Loads the driver's library, unless `path` is empty.
absl::Status LoadDriver(const std::string& path);

// Returns: now, as operations have it.
int64_t NowNs();

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_WORKER_H_
