// SPDX-License-Identifier: Apache-2.0
//
// Turn is a lock that is fair and that a thread can stop waiting for.

#ifndef OPENMESSAGING_INTERNAL_TURN_H_
#define OPENMESSAGING_INTERNAL_TURN_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Lets one thread at a time receive, in the order in which they came. It is
// handed to the next in the queue rather than let go, because a thread that
// receives in a loop would otherwise starve the others.
//
// Threads: any. Without a contender, taking and giving it is one atomic
// operation each.
// Invariants:
//   (1) waiters_ is empty unless state_ is kContended;
//   (2) state_ becomes kFree only while waiters_ is empty.
class Turn {
 public:
  Turn() = default;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // Returns: false at `deadline`, or once `*give_up` and a Wake() after it.
  bool Take(TimePoint deadline, const std::atomic<bool>* give_up = nullptr) {
    if (TryTake()) return true;
    if (HasPassed(deadline)) return false;
    return TakeSlow(deadline, /*first=*/false, give_up, [] {});
  }

  // Lets those that wait see whether they give up.
  void Wake() {
    const MutexLock lock(mutex_);
    for (Waiter* at = waiters_; at != nullptr; at = at->next) {
      at->condition.NotifyAll();
    }
  }

  // Takes it before all that wait with Take. Where somebody has it, calls
  // `interrupt()`, which makes that one give it up soon; what it has to do can
  // be done later. No lock is held meanwhile.
  template <typename Interrupt>
  bool TakeFirst(TimePoint deadline, Interrupt interrupt) {
    if (TryTake()) return true;
    firsts_.fetch_add(1, std::memory_order_seq_cst);
    const bool taken = TakeSlow(deadline, /*first=*/true, nullptr, interrupt);
    firsts_.fetch_sub(1, std::memory_order_relaxed);
    return taken;
  }

  // Returns: whether somebody in TakeFirst wants it. Who has it asks after each
  // step that may have used up the interrupt.
  bool IsWantedFirst() const {
    return firsts_.load(std::memory_order_seq_cst) != 0;
  }

  void Give() {
    uint32_t taken = kTaken;
    if (state_.compare_exchange_strong(taken, kFree, std::memory_order_release,
                                       std::memory_order_relaxed)) {
      return;
    }
    const MutexLock lock(mutex_);
    if (waiters_ == nullptr) {
      state_.store(kFree, std::memory_order_release);
      return;
    }
    Waiter* const next = waiters_;
    waiters_ = next->next;
    next->has_turn = true;
    next->condition.NotifyAll();
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kTaken = 1;
  static constexpr uint32_t kContended = 2;

  // On the stack of the thread that waits; all of it under mutex_.
  struct Waiter {
    bool first;
    bool has_turn = false;
    Waiter* next = nullptr;
    Condition condition{};
  };

  bool TryTake() {
    uint32_t free = kFree;
    return state_.compare_exchange_strong(
        free, kTaken, std::memory_order_acquire, std::memory_order_relaxed);
  }

  template <typename Interrupt>
  bool TakeSlow(TimePoint deadline, bool first,
                const std::atomic<bool>* give_up, Interrupt interrupt) {
    mutex_.Lock();
    if (state_.exchange(kContended, std::memory_order_acquire) == kFree) {
      mutex_.Unlock();
      return true;
    }
    Waiter self{first};
    Enqueue(self);
    if (first) {
      mutex_.Unlock();
      interrupt();
      mutex_.Lock();
    }
    while (!self.has_turn) {
      const bool leaves = give_up != nullptr && give_up->load();
      if ((leaves || !self.condition.WaitUntil(mutex_, deadline)) &&
          !self.has_turn) {
        Remove(self);
        break;
      }
    }
    const bool has_turn = self.has_turn;
    mutex_.Unlock();
    return has_turn;
  }

  void Enqueue(Waiter& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Waiter** at = &waiters_;
    while (*at != nullptr && (!self.first || (*at)->first)) at = &(*at)->next;
    self.next = *at;
    *at = &self;
  }

  void Remove(const Waiter& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Waiter** at = &waiters_;
    while (*at != &self) at = &(*at)->next;
    *at = self.next;
  }

  std::atomic<uint32_t> state_{kFree};
  std::atomic<uint32_t> firsts_{0};
  Mutex mutex_;
  Waiter* waiters_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_TURN_H_
