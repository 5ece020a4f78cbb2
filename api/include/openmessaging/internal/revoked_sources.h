// SPDX-License-Identifier: Apache-2.0
//
// RevokedSources remembers which deliveries a consumer may not settle any more.

#ifndef OPENMESSAGING_INTERNAL_REVOKED_SOURCES_H_
#define OPENMESSAGING_INTERNAL_REVOKED_SOURCES_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// The sources whose deliveries went to somebody else. A number is never used
// again, so only the latest are remembered; a driver refuses older ones by
// itself.
//
// Threads: any. Costs one load until something was revoked.
class RevokedSources {
 public:
  void Add(uint64_t source) {
    const MutexLock lock(mutex_);
    if (Find(source)) return;
    if (sources_.size() < kMaximum) {
      sources_.push_back(source);
    } else {
      sources_[oldest_] = source;
      oldest_ = (oldest_ + 1) % kMaximum;
    }
    any_.store(true, std::memory_order_release);
  }

  bool Contains(uint64_t source) const {
    if (!any_.load(std::memory_order_acquire)) return false;
    const MutexLock lock(mutex_);
    return Find(source);
  }

 private:
  static constexpr size_t kMaximum = 1024;

  bool Find(uint64_t source) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::find(sources_.begin(), sources_.end(), source) !=
           sources_.end();
  }

  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  std::vector<uint64_t> sources_ ABSL_GUARDED_BY(mutex_);
  size_t oldest_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_REVOKED_SOURCES_H_
