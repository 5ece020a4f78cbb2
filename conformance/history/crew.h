// SPDX-License-Identifier: Apache-2.0
//
// The workers of a run, as threads or as processes.

#ifndef OPENMESSAGING_CONFORMANCE_HISTORY_CREW_H_
#define OPENMESSAGING_CONFORMANCE_HISTORY_CREW_H_

#include <sys/types.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/internal/mutex.h"
#include "operation.h"
#include "worker.h"

namespace openmessaging::conformance::history {

// What all workers did so far.
//
// Threads: any.
class Ledger {
 public:
  // Errors: 1418 `path` cannot be written. Empty: no file.
  absl::Status Open(const std::string& path);
  ~Ledger();

  void Add(const Operation& operation);
  // A worker's process said something that is no operation, or could not begin.
  void Fail(absl::Status failure);
  absl::Status failure() const;
  // So many of that kind.
  size_t Count(Kind kind) const;
  std::vector<Operation> Take();

 private:
  mutable internal::Mutex mutex_;
  std::FILE* file_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<Operation> history_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

// One worker. The destructor stops it and waits.
//
// Threads: one.
class Worker {
 public:
  // `mute`: what its process complains of is not shown.
  Worker(const WorkerOptions& options, bool in_process, Ledger& ledger,
         bool mute = false);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  // Says that it shall end, and waits for that.
  void Stop();
  // Ends a process in the middle of whatever it does. Returns: false where it
  // had ended before.
  bool Kill();
  // Whether it works still.
  bool working() const { return !ended_.load(); }
  const WorkerOptions& options() const { return options_; }

 private:
  void Spawn(bool mute);
  void Listen();  // Reads what the process says, until it has ended.

  const WorkerOptions options_;
  Ledger& ledger_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> killed_{false};
  pid_t pid_ = -1;
  int to_process_ = -1;
  int from_process_ = -1;
  std::thread thread_;
};

}  // namespace openmessaging::conformance::history
#endif  // OPENMESSAGING_CONFORMANCE_HISTORY_CREW_H_
