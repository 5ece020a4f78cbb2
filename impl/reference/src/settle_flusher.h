// SPDX-License-Identifier: Apache-2.0
//
// SettleFlusher completes settlements that must be durable, for callers that do
// not wait.

#ifndef OPENMESSAGING_REFERENCE_SETTLE_FLUSHER_H_
#define OPENMESSAGING_REFERENCE_SETTLE_FLUSHER_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "env/environment.h"
#include "log.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::reference {

// The settlements of one call, and how each went in memory.
struct SettledBatch {
  std::vector<absl::Status> results{};
  driver::SettleCompletion* done = nullptr;
  // Durable once the log is up to here.
  uint64_t position = 0;
  TimePoint deadline = TimePoint::max();

  // Completes each; what went well with `durable`.
  void Complete(const absl::Status& durable);
};

// Threads: Add from any thread; Stop once, with no Add in progress. It has a
// thread of its own from the first Add on.
class SettleFlusher {
 public:
  explicit SettleFlusher(Log* log) : log_(log) {}
  ~SettleFlusher() { Stop(); }

  void Add(SettledBatch batch);
  // Completes what is left and ends the thread. In the child of a fork it only
  // lets go.
  void Stop();

 private:
  void Run();

  Log* const log_;
  internal::Mutex mutex_;
  internal::Condition changed_;
  std::deque<SettledBatch> batches_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<std::thread> thread_ ABSL_GUARDED_BY(mutex_);
  // Whose thread it is; the child of a fork has none. 0: not yet.
  std::atomic<pid_t> process_{0};
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SETTLE_FLUSHER_H_
