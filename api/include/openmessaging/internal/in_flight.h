// SPDX-License-Identifier: Apache-2.0
//
// InFlight counts what a driver has been given and has not completed.

#ifndef OPENMESSAGING_INTERNAL_IN_FLIGHT_H_
#define OPENMESSAGING_INTERNAL_IN_FLIGHT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Lets entries in up to a number and a sum of bytes. One word holds it all:
//
//   word_ = kWaiting | entries << 40 | bytes
//
// Threads: every method from any thread. Without a waiter, entering and leaving
// is one atomic operation each.
// Invariants:
//   (1) kWaiting is set and cleared under mutex_, and set while somebody waits;
//   (2) who leaves while it is not set touches nothing afterwards; else he
//       leaves under mutex_: so AwaitEmpty may be followed by the end of this.
class InFlight {
 public:
  // Room for the counts beside each other.
  static constexpr size_t kMaxEntries = size_t{1} << 22;
  static constexpr size_t kMaxBytes = size_t{1} << 38;

  // The limits are at most the two above.
  InFlight(size_t max_entries, size_t max_bytes)
      : max_entries_(max_entries), max_bytes_(max_bytes) {}
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  size_t entries() const {
    return EntriesOf(word_.load(std::memory_order_acquire));
  }

  // Enters if there is room; one entry over max_bytes finds it where there is
  // no other.
  bool TryEnter(size_t bytes) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    do {
      const size_t entries = EntriesOf(old);
      if (entries > 0 && (entries >= max_entries_ ||
                          BytesOf(old) + bytes > max_bytes_)) {
        return false;
      }
    } while (!word_.compare_exchange_weak(old, old + kOne + bytes,
                                          std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return true;
  }

  // Enters when there is room. Returns: false at `deadline`, and when `stop()`
  // holds, which is asked again after each Wake().
  template <typename Stop>
  bool Enter(size_t bytes, TimePoint deadline, Stop stop) {
    if (TryEnter(bytes)) return true;
    if (HasPassed(deadline)) return false;
    const MutexLock lock(mutex_);
    AddWaiter();
    bool entered = TryEnter(bytes);
    while (!entered && !stop()) {
      const bool in_time = changed_.WaitUntil(mutex_, deadline);
      entered = TryEnter(bytes);
      if (!in_time) break;
    }
    RemoveWaiter();
    return entered;
  }

  void Leave(size_t bytes) {
    const uint64_t left = kOne + bytes;
    uint64_t old = word_.load(std::memory_order_relaxed);
    while ((old & kWaiting) == 0) {
      if (word_.compare_exchange_weak(old, old - left,
                                      std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return;
      }
    }
    const MutexLock lock(mutex_);
    word_.fetch_sub(left, std::memory_order_acq_rel);
    changed_.NotifyAll();
  }

  void Wake() {
    const MutexLock lock(mutex_);
    changed_.NotifyAll();
  }

  // Takes the lock even where nobody is left: the last may be about to let it
  // go.
  void AwaitEmpty() {
    const MutexLock lock(mutex_);
    AddWaiter();
    while (entries() > 0) changed_.Wait(mutex_);
    RemoveWaiter();
  }

 private:
  static constexpr uint64_t kWaiting = uint64_t{1} << 63;
  static constexpr uint64_t kOne = uint64_t{1} << 40;

  static size_t EntriesOf(uint64_t word) { return (word & ~kWaiting) / kOne; }
  static size_t BytesOf(uint64_t word) { return word % kOne; }

  void AddWaiter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (++waiters_ == 1) word_.fetch_or(kWaiting, std::memory_order_acq_rel);
  }
  void RemoveWaiter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (--waiters_ == 0) word_.fetch_and(~kWaiting, std::memory_order_acq_rel);
  }

  const size_t max_entries_;
  const size_t max_bytes_;
  std::atomic<uint64_t> word_{0};

  Mutex mutex_;
  Condition changed_;
  size_t waiters_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_IN_FLIGHT_H_
