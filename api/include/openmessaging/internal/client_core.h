// SPDX-License-Identifier: Apache-2.0
//
// ClientCore is what producers and consumers have in common: the lifecycle, and
// the count of the calls in progress.

#ifndef OPENMESSAGING_INTERNAL_CLIENT_CORE_H_
#define OPENMESSAGING_INTERNAL_CLIENT_CORE_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/base/attributes.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Opens a driver's client once, lets calls in while it is started, and closes
// it once after the last of them has left. One word holds it all:
//
//   word_ = calls in progress << 3 | state
//
// Threads: every method from any thread. A call costs one atomic operation on
// its way in and one on its way out; mutex_ is only for those who wait.
// Invariants:
//   (1) Open and Close each run on one thread at a time, Interrupt only while a
//       call is counted, so never after Close;
//   (2) Close runs once, in kClosing, which is entered from kStopping with no
//       call in progress, by whoever sees that first.
class ClientCore {
 public:
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  bool autostart() const { return autostart_; }
  LifecycleState state() const {
    const uint64_t state = word_.load(std::memory_order_acquire) & kStateMask;
    if (state == kClosing) return LifecycleState::kStopping;
    if (state == kClosed) return LifecycleState::kStopped;
    return static_cast<LifecycleState>(state);
  }

  bool IsStopping() const {
    return (word_.load(std::memory_order_acquire) & kStateMask) >= kStopping;
  }

  // How long a start may take that has no deadline of its own.
  std::chrono::milliseconds start_timeout() const { return start_timeout_; }

  // Starts, or waits for the start in progress.
  // Errors: 1601 after Stop, 1410 at `deadline`, and what opening can say; the
  // next call tries again.
  absl::Status Start(TimePoint deadline);

  // Refuses new calls, wakes those that wait, and closes when the last one has
  // left: here, or there where they are not done by `deadline`.
  // Returns: how many calls are still in progress, closing included.
  size_t Stop(TimePoint deadline);

  // Enter and Leave are two instructions around every call: a compiler that
  // finds many callers would make functions of them.
  //
  // Lets a call in; follow it with Leave. `operation` is for the error.
  // Errors: 1601 after Stop; 1602 not started, where autostart is off; else
  // what Start says, which is called first.
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::Status Enter(std::string_view operation,
                                                  TimePoint deadline) {
    if (TryEnter()) return absl::OkStatus();
    return EnterSlow(operation, deadline);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE void Leave() {
    const uint64_t old = word_.fetch_sub(kOne, std::memory_order_acq_rel);
    if (old == (kOne | kStopping)) CloseIfLast();
  }

  // Sleeps until `until`. Returns: true at once when a Stop begins.
  bool SleepUnlessStopped(TimePoint until) {
    const MutexLock lock(mutex_);
    while (!IsStopping()) {
      if (!changed_.WaitUntil(mutex_, until)) return IsStopping();
    }
    return true;
  }

  // The status of a call that came too late.
  absl::Status ClosedStatus(std::string_view operation) const {
    return MakeStatus(Code::kClosed, operation, ": the ", kind_,
                      " is stopped; expected a call before Stop");
  }

 protected:
  // `kind`: "producer", "consumer"; a literal.
  ClientCore(std::string_view kind, bool autostart,
             std::chrono::milliseconds start_timeout)
      : kind_(kind), autostart_(autostart), start_timeout_(start_timeout) {}
  ~ClientCore() = default;

  virtual absl::Status Open(TimePoint deadline) = 0;
  // Wakes the call that waits in the driver. Not before a successful Open.
  virtual void Interrupt() {}
  // Also called where no Open ever succeeded.
  virtual void Close(TimePoint deadline) = 0;

 private:
  // The public states have these numbers; the two behind them are kStopping
  // and kStopped in public, so that no state changes under a mask.
  static constexpr uint64_t kInitialized = 0;
  static constexpr uint64_t kStarting = 1;
  static constexpr uint64_t kStarted = 2;
  static constexpr uint64_t kStopping = 3;
  static constexpr uint64_t kClosing = 4;
  static constexpr uint64_t kClosed = 5;
  static constexpr uint64_t kStateMask = 7;
  static constexpr uint64_t kOne = 8;

  ABSL_ATTRIBUTE_ALWAYS_INLINE bool TryEnter() {
    // The look before keeps refused calls out of the count, so that a stopped
    // client is not kept alive by those that go on calling it.
    if ((word_.load(std::memory_order_relaxed) & kStateMask) != kStarted) {
      return false;
    }
    const uint64_t old = word_.fetch_add(kOne, std::memory_order_acquire);
    if ((old & kStateMask) == kStarted) return true;
    Leave();
    return false;
  }

  absl::Status EnterSlow(std::string_view operation, TimePoint deadline);
  void CloseIfLast();

  // Changes the state and adds `calls`, if the state is still `from`.
  bool Change(uint64_t from, uint64_t to, int calls) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    uint64_t wanted = 0;
    do {
      if ((old & kStateMask) != from) return false;
      wanted = (old - from + to) + (calls > 0 ? kOne : 0);
    } while (!word_.compare_exchange_weak(
        old, wanted, std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
  }

  // Constant after construction.
  const std::string_view kind_;
  const bool autostart_;
  const std::chrono::milliseconds start_timeout_;

  std::atomic<uint64_t> word_{kInitialized};

  // Announces changes of state.
  Mutex mutex_;
  Condition changed_;
  TimePoint close_deadline_ ABSL_GUARDED_BY(mutex_) = kNoWait;
};

// Holds a call in progress; see ClientCore::Enter.
class CallGuard {
 public:
  explicit CallGuard(ClientCore& core) : core_(core) {}
  ~CallGuard() { core_.Leave(); }
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;

 private:
  ClientCore& core_;
};

inline absl::Status ClientCore::Start(TimePoint deadline) {
  {
    const MutexLock lock(mutex_);
    // The start is a call in progress: a Stop meanwhile closes after it.
    while (!Change(kInitialized, kStarting, 1)) {
      if (IsStopping()) return ClosedStatus("start");
      if (state() == LifecycleState::kStarted) return absl::OkStatus();
      if (!changed_.WaitUntil(mutex_, deadline) &&
          state() == LifecycleState::kStarting) {
        return MakeStatus(Code::kTimeout, "start: the ", kind_,
                          " is still being started by another call; expected "
                          "an end in time (operation.timeout)");
      }
    }
  }
  absl::Status status = Open(deadline);
  const bool in_time = Change(kStarting, status.ok() ? kStarted : kInitialized,
                              /*calls=*/0);
  {
    const MutexLock lock(mutex_);
    changed_.NotifyAll();
  }
  if (!in_time) status = ClosedStatus("start");
  Leave();
  return status;
}

inline size_t ClientCore::Stop(TimePoint deadline) {
  {
    const MutexLock lock(mutex_);
    close_deadline_ = std::max(close_deadline_, deadline);
  }
  // This Stop is a call in progress while it interrupts the others. Tried again
  // where the state moves between two looks at it.
  while (!IsStopping()) {
    const bool was_started = Change(kStarted, kStopping, 1);
    if (!was_started && !Change(kStarting, kStopping, 1) &&
        !Change(kInitialized, kStopping, 1)) {
      continue;
    }
    if (was_started) Interrupt();
    {
      const MutexLock lock(mutex_);
      changed_.NotifyAll();
    }
    Leave();
  }
  const MutexLock lock(mutex_);
  while (state() != LifecycleState::kStopped) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  const uint64_t word = word_.load(std::memory_order_acquire);
  if ((word & kStateMask) == kClosed) return 0;
  return std::max<size_t>(1, word / kOne);
}

inline absl::Status ClientCore::EnterSlow(std::string_view operation,
                                          TimePoint deadline) {
  while (!TryEnter()) {
    if (IsStopping()) return ClosedStatus(operation);
    if (!autostart_ && state() != LifecycleState::kStarted) {
      return MakeStatus(Code::kIllegalState, operation, ": the ", kind_,
                        " is not started; expected a call of Start before "
                        "(autostart is off)");
    }
    absl::Status status =
        Start(deadline == kNoWait ? DeadlineAfter(start_timeout_) : deadline);
    if (OmsCode(status) == Code::kClosed && IsStopping()) {
      return ClosedStatus(operation);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

inline void ClientCore::CloseIfLast() {
  uint64_t expected = kStopping;
  if (!word_.compare_exchange_strong(expected, kClosing,
                                     std::memory_order_acq_rel)) {
    return;
  }
  TimePoint deadline = kNoWait;
  {
    const MutexLock lock(mutex_);
    deadline = close_deadline_;
  }
  Close(deadline);
  const MutexLock lock(mutex_);
  // Refused calls may be counted for an instant; they find another state.
  Change(kClosing, kClosed, 0);
  changed_.NotifyAll();
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CLIENT_CORE_H_
