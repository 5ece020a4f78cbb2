// SPDX-License-Identifier: Apache-2.0
//
// Future is the outcome of a call that may still be going on: what SendAsync
// and AckAsync return. The promises are in spec/async.md, the reasons in
// docs/design/async.md.

#ifndef OPENMESSAGING_FUTURE_H_
#define OPENMESSAGING_FUTURE_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/future_state.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// The outcome of one asynchronous call: a StatusOr<T>, or a Status where T is
// void. What the call answers at once, such as an argument that is refused, is
// an outcome like any other.
//
// To drop a future cancels nothing: the call goes on, and what was given to
// OnDone still runs.
//
// Threads: a value; const methods may run together, and copies on any threads.
// Lifetime: copies share the outcome. It outlives the client that made it,
// which completes it when it stops.
// Implements: OMS-FUT-001 to OMS-FUT-009.
template <typename T>
class Future {
 public:
  // absl::StatusOr<T>, or absl::Status.
  using Result = typename internal::FutureState<T>::Result;

  // A future of nothing: its outcome is 1602.
  Future() = default;
  Future(const Future& other) : state_(other.state_) {
    if (state_ != nullptr) state_->Ref();
  }
  Future(Future&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)) {}
  Future& operator=(Future other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Future() {
    if (state_ != nullptr) state_->Unref();
  }

  // Returns: whether the outcome is known.
  bool Ready() const { return state_ == nullptr || state_->IsDone(); }

  // Waits for the outcome.
  //
  // Blocks: until it is known; the end of the client at the latest makes it so.
  // Errors: those of the call; 1601 where the client was stopped before.
  // Implements: OMS-FUT-001.
  [[nodiscard]] Result Await() const {
    if (state_ == nullptr) return Nothing();
    state_->Wait(internal::TimePoint::max());
    return state_->result();
  }

  // As Await(), but no longer than `timeout`; with zero it only looks.
  // Errors: also 1410: no outcome yet. The future stays good.
  // Implements: OMS-FUT-002.
  [[nodiscard]] Result AwaitFor(std::chrono::milliseconds timeout) const;

  // Calls `callback(const Result&)` once: now, where the outcome is known, and
  // otherwise on a thread that the connection has for it, where callbacks run
  // one after another. Any call of the API may be made there; one that takes
  // long holds up other callbacks, but no driver. What it throws is dropped.
  // Implements: OMS-FUT-003, 004, 005.
  template <typename Callback>
  void OnDone(Callback callback) const;

  // Withdraws the call where it has not begun. Returns: whether it was
  // withdrawn, which is then 1606. Nothing waits in a queue of the library's:
  // every call is with the driver when its future is made, and no driver takes
  // one back, so today the answer is always false.
  // Implements: OMS-FUT-006.
  bool Cancel() const { return false; }

  // Waits in a coroutine: `auto result = co_await producer.SendAsync(message);`
  // goes on where OnDone would call. A coroutine that is suspended here may be
  // destroyed, unless it is being resumed on another thread.
  // Implements: OMS-FUT-007, 008.
  auto operator co_await() const { return Awaiter(*this); }

 private:
  friend class internal::FutureAccess;

  class Awaiter;

  // Takes a reference that was counted.
  explicit Future(internal::FutureState<T>* state) : state_(state) {}

  static absl::Status Nothing() {
    return MakeStatus(Code::kIllegalState,
                      "await: the future is empty; expected one that a call "
                      "returned (OMS-FUT-001)");
  }

  internal::FutureState<T>* state_ = nullptr;
};

namespace internal {

class FutureAccess {
 public:
  template <typename T>
  static Future<T> Of(FutureState<T>* state) {
    return Future<T>(state);
  }
  template <typename T>
  static Future<T> Done(typename FutureState<T>::Result result) {
    return Future<T>(DoneState<T>::Make(std::move(result)));
  }
};

// Where a coroutine waits. Whoever takes it first, to resume or to give it up,
// has it; a coroutine's type is known only where it is made.
class ResumePoint {
 public:
  ResumePoint(void* address, void (*resume)(void*))
      : address_(address), resume_(resume) {}

  void Resume() {
    if (!taken_.exchange(true, std::memory_order_acq_rel)) resume_(address_);
  }
  void GiveUp() { taken_.store(true, std::memory_order_release); }

 private:
  void* const address_;
  void (*const resume_)(void*);
  std::atomic<bool> taken_{false};
};

}  // namespace internal

// It needs nothing of <coroutine>, which not every compiler has.
template <typename T>
class Future<T>::Awaiter {
 public:
  explicit Awaiter(Future future) : future_(std::move(future)) {}
  Awaiter(const Awaiter&) = delete;
  Awaiter& operator=(const Awaiter&) = delete;
  ~Awaiter() {
    if (point_) point_->GiveUp();
  }

  bool await_ready() const { return future_.Ready(); }

  // Returns: false to go on at once, as the outcome has come meanwhile.
  template <typename Handle>
  bool await_suspend(Handle handle) {
    auto point = std::make_shared<internal::ResumePoint>(
        handle.address(),
        [](void* address) { Handle::from_address(address).resume(); });
    point_ = point;
    auto resume = [point = std::move(point)](const Result&) {
      point->Resume();
    };
    std::unique_ptr<internal::Continuation<Result>> continuation =
        std::make_unique<
            internal::ContinuationOf<Result, decltype(resume)>>(
            std::move(resume));
    // Once it is added, this object may be gone.
    return future_.state_->Add(continuation);
  }

  Result await_resume() const { return future_.Await(); }

 private:
  Future future_;
  std::shared_ptr<internal::ResumePoint> point_;
};

template <typename T>
typename Future<T>::Result Future<T>::AwaitFor(
    std::chrono::milliseconds timeout) const {
  if (state_ == nullptr) return Nothing();
  if (state_->IsDone() || state_->Wait(internal::DeadlineAfter(timeout))) {
    return state_->result();
  }
  return MakeStatus(Code::kTimeout, "await: no outcome within ",
                    timeout.count(),
                    " ms, the call goes on; expected a longer timeout or "
                    "another look (OMS-FUT-002)");
}

template <typename T>
template <typename Callback>
void Future<T>::OnDone(Callback callback) const {
  static_assert(std::is_invocable_v<Callback&, const Result&>,
                "a callback takes the result: const Future<T>::Result&");
  if (state_ == nullptr) {
    const Result nothing = Nothing();
    (void)internal::RunUserCode([&] { callback(nothing); });
    return;
  }
  const Future kept(*this);  // The callback may end this one.
  if (kept.Ready()) {
    (void)internal::RunUserCode([&] { callback(kept.state_->result()); });
    return;
  }
  std::unique_ptr<internal::Continuation<Result>> continuation =
      std::make_unique<internal::ContinuationOf<Result, Callback>>(
          std::move(callback));
  if (!kept.state_->Add(continuation)) {
    continuation->Run(kept.state_->result());
  }
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_FUTURE_H_
