// SPDX-License-Identifier: Apache-2.0
//
// FutureState is what a future and the one who completes it share.

#ifndef OPENMESSAGING_INTERNAL_FUTURE_STATE_H_
#define OPENMESSAGING_INTERNAL_FUTURE_STATE_H_

#include <atomic>
#include <cassert>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/object_pool.h"
#include "openmessaging/internal/user_code.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// What a future of T has in the end: a value or a status.
template <typename T>
struct FutureResult {
  using Type = absl::StatusOr<T>;
};
template <>
struct FutureResult<void> {
  using Type = absl::Status;
};

// A function to call with the result.
template <typename Result>
class Continuation {
 public:
  virtual ~Continuation() = default;
  virtual void Run(const Result& result) = 0;

 private:
  template <typename T>
  friend class FutureState;
  std::unique_ptr<Continuation> next_;
};

template <typename Result, typename Function>
class ContinuationOf final : public Continuation<Result> {
 public:
  explicit ContinuationOf(Function function)
      : function_(std::move(function)) {}
  void Run(const Result& result) override {
    // A failure of one callback is not the next one's business.
    (void)RunUserCode([&] { function_(result); });
  }

 private:
  Function function_;
};

// One outcome, counted by those who refer to it and given back to a pool by the
// last of them.
//
// Threads: every method from any thread; Complete once.
// Invariants:
//   (1) result_ is written before kDone is set and never after;
//   (2) kAwaited is set under mutex_ while kDone is not, by those who wait or
//       left a continuation; without it completing takes no lock.
template <typename T>
class FutureState : public DispatchTask {
 public:
  using Result = typename FutureResult<T>::Type;

  FutureState() = default;
  FutureState(const FutureState&) = delete;
  FutureState& operator=(const FutureState&) = delete;

  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) Recycle();
  }

  bool IsDone() const {
    return (word_.load(std::memory_order_acquire) & kDone) != 0;
  }
  // Good once it is done.
  const Result& result() const { return result_; }

  // Returns: false at `deadline`.
  bool Wait(TimePoint deadline) {
    if (IsDone()) return true;
    if (HasPassed(deadline)) return false;
    const MutexLock lock(mutex_);
    if (!SetAwaited()) return true;
    while (!IsDone()) {
      if (!condition_.WaitUntil(mutex_, deadline)) return IsDone();
    }
    return true;
  }

  // Keeps `continuation` to be run with the result. Returns: false, leaving it
  // to the caller, when the result is there already.
  bool Add(std::unique_ptr<Continuation<Result>>& continuation) {
    if (IsDone()) return false;
    const MutexLock lock(mutex_);
    if (!SetAwaited()) return false;
    std::unique_ptr<Continuation<Result>>* at = &continuations_;
    while (*at) at = &(*at)->next_;
    *at = std::move(continuation);
    return true;
  }

 protected:
  ~FutureState() = default;

  // Begins anew, with references of the completer and of the future.
  void Begin(uint32_t references) {
    references_.store(references, std::memory_order_relaxed);
    word_.store(0, std::memory_order_relaxed);
  }
  // Begins with an outcome, and the reference of the future.
  void BeginDone(Result result) {
    result_ = std::move(result);
    references_.store(1, std::memory_order_relaxed);
    word_.store(kDone, std::memory_order_relaxed);
  }

  // Sets the outcome and wakes those that wait. `dispatcher` runs what is to be
  // called: not this thread, which may be one that its driver cannot spare.
  void Complete(Result result, Dispatcher& dispatcher) {
    assert(!IsDone() && "a driver completed an entry twice");
    result_ = std::move(result);
    const uint32_t old = word_.fetch_or(kDone, std::memory_order_acq_rel);
    if ((old & kAwaited) == 0) return;
    bool has_continuations = false;
    {
      const MutexLock lock(mutex_);
      condition_.NotifyAll();
      has_continuations = continuations_ != nullptr;
    }
    if (!has_continuations) return;
    Ref();
    dispatcher.Post(*this);
  }

  // Gives the object back. The result keeps its memory until the next one.
  virtual void Recycle() = 0;

 private:
  static constexpr uint32_t kDone = 1;
  static constexpr uint32_t kAwaited = 2;

  bool SetAwaited() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return (word_.fetch_or(kAwaited, std::memory_order_acq_rel) & kDone) == 0;
  }

  // Runs the continuations, of which there are no new ones once it is done.
  void Run() override {
    std::unique_ptr<Continuation<Result>> next;
    {
      const MutexLock lock(mutex_);
      next = std::move(continuations_);
    }
    while (next) {
      next->Run(result_);
      // What it captured ends before the next one runs.
      next = std::move(next->next_);
    }
    Unref();
  }

  std::atomic<uint32_t> references_{0};
  std::atomic<uint32_t> word_{0};
  Result result_{};

  Mutex mutex_;
  Condition condition_;
  std::unique_ptr<Continuation<Result>> continuations_ ABSL_GUARDED_BY(mutex_);
};

// An outcome that was known at once.
template <typename T>
class DoneState final : public FutureState<T> {
 public:
  static DoneState* Make(typename FutureState<T>::Result result) {
    DoneState* const state = ObjectPool<DoneState>::Take();
    state->BeginDone(std::move(result));
    return state;
  }

 private:
  void Recycle() override { ObjectPool<DoneState>::Give(this); }
};

// Finds the state of a future, which is in future.h.
class FutureAccess;

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_FUTURE_STATE_H_
