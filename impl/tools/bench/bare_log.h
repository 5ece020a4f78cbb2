// SPDX-License-Identifier: Apache-2.0
//
// BareLog is the least that a log on a disk can be: append, flush, and one
// flush for all who wait. It is what durable sends are compared with.

#ifndef OPENMESSAGING_TOOLS_BENCH_BARE_LOG_H_
#define OPENMESSAGING_TOOLS_BENCH_BARE_LOG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::tools {

// Appends to a file that is full of zeros, so that a flush has no new blocks to
// tell the file system of; begins anew at its end.
//
// Threads: every method may be called from any thread at any time.
// Invariants: durable_ <= appended_; one thread at a time flushes, with no lock
// held, what was gathered while the last flush ran.
class BareLog {
 public:
  // `fd`: borrowed; `file_bytes` are more than all threads append at once.
  BareLog(int fd, size_t file_bytes) : fd_(fd), file_bytes_(file_bytes) {}

  // Blocks: until the record is on stable storage.
  // Errors: 1501.
  absl::Status Append(std::string_view record);

 private:
  absl::Status WriteAndFlush(std::string_view bytes, size_t offset) const;

  const int fd_;
  const size_t file_bytes_;

  internal::Mutex mutex_;
  internal::Condition flushed_;
  std::string gathered_ ABSL_GUARDED_BY(mutex_);
  bool flushing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t appended_ ABSL_GUARDED_BY(mutex_) = 0;  // Records.
  uint64_t durable_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);

  // The flushing thread's own.
  std::string flushed_bytes_;
  size_t offset_ = 0;
};

// Fills a file with so many zeros and flushes it. Errors: 1501.
absl::Status FillWithZeros(int fd, size_t bytes);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_BARE_LOG_H_
