// SPDX-License-Identifier: Apache-2.0
//
// SyncCall waits for what a driver completes, and survives a caller that does
// not want to wait any longer. SyncSend and SyncSettle are the completions that
// the synchronous calls hand to drivers.

#ifndef OPENMESSAGING_INTERNAL_SYNC_CALL_H_
#define OPENMESSAGING_INTERNAL_SYNC_CALL_H_

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/thread_cache.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// One call of `size` entries, shared by the caller and the driver: it belongs
// to the caller until the caller leaves, then to the driver until the last
// entry completes. One word decides who is last:
//
//   word_ = entries that have not completed << 2 | kLeft | kWaiting
//
// Threads: the caller's methods are for one thread, CompleteOne for any. A call
// that a driver completes before it returns takes no lock and waits for
// nothing.
// Invariants:
//   (1) who brings the count to zero is the last of the driver's to touch it,
//       unless kWaiting was set: then the caller waits for notified_;
//   (2) kLeft is set at most once, by the caller, who never touches it again
//       unless the count was zero already.
class SyncCall {
 public:
  SyncCall() = default;
  SyncCall(const SyncCall&) = delete;
  SyncCall& operator=(const SyncCall&) = delete;

  // Waits until every entry has completed. Returns: false at `deadline`.
  bool Wait(TimePoint deadline) {
    if (word_.load(std::memory_order_acquire) < kOne) return true;
    if (word_.fetch_or(kWaiting, std::memory_order_acq_rel) < kOne) return true;
    const MutexLock lock(mutex_);
    while (!notified_) {
      if (!condition_.WaitUntil(mutex_, deadline)) return notified_;
    }
    return true;
  }

  // Leaves the call to the driver after Wait returned false. Returns: false
  // when it did; true when the last entry completed just before, and the call
  // is the caller's as after a Wait that returned true.
  bool CompletedBeforeLeaving() {
    if (word_.fetch_or(kLeft, std::memory_order_acq_rel) >= kOne) return false;
    const MutexLock lock(mutex_);
    while (!notified_) condition_.Wait(mutex_);
    return true;
  }

 protected:
  ~SyncCall() = default;

  // Begins a call, before the driver knows of it.
  void Begin(size_t size) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    notified_ = false;
    word_.store(static_cast<uint32_t>(size) * kOne, std::memory_order_relaxed);
  }

  // Returns: true when this was the last entry of a call that the caller left:
  // the object must be deleted. Otherwise it must not be touched any more.
  bool CompleteOne() {
    const uint32_t old = word_.fetch_sub(kOne, std::memory_order_acq_rel);
    assert(old >= kOne && "a driver completed an entry twice");
    if (old / kOne != 1) return false;
    if ((old & kLeft) != 0) return true;
    if ((old & kWaiting) != 0) {
      const MutexLock lock(mutex_);
      notified_ = true;
      condition_.NotifyAll();
    }
    return false;
  }

 private:
  static constexpr uint32_t kWaiting = 1;
  static constexpr uint32_t kLeft = 2;
  static constexpr uint32_t kOne = 4;

  std::atomic<uint32_t> word_{0};
  Mutex mutex_;
  Condition condition_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = false;
};

// A call with a result for each entry.
template <typename Result>
class SyncResults : public SyncCall {
 public:
  // Returns: whether that entry has completed, while others may have not.
  bool IsReady(size_t index) const {
    return slots_[index].ready.load(std::memory_order_acquire);
  }
  // Good for entries that are ready.
  Result& result(size_t index) { return slots_[index].result; }

 protected:
  ~SyncResults() = default;

  void BeginResults(size_t size) {
    size_ = size;
    if (size > 1) more_ = std::make_unique<Slot[]>(size);
    slots_ = size > 1 ? more_.get() : &one_;
    one_.ready.store(false, std::memory_order_relaxed);
    Begin(size);
  }
  void EndResults() { more_.reset(); }

  template <typename T>
  bool Complete(size_t index, T&& result) {
    assert(index < size_ &&
           "a driver completed an entry that it was not given");
    slots_[index].result = std::forward<T>(result);
    slots_[index].ready.store(true, std::memory_order_release);
    return CompleteOne();
  }

 private:
  struct Slot {
    std::atomic<bool> ready{false};
    Result result{};
  };

  size_t size_ = 0;
  Slot* slots_ = nullptr;
  Slot one_;
  std::unique_ptr<Slot[]> more_;
};

// Gets and gives back a completion of type Call; see SyncSend.
template <typename Call>
class SyncCallHandle {
 public:
  explicit SyncCallHandle(size_t size) : call_(ThreadCache<Call>::Take()) {
    call_->BeginResults(size);
  }
  ~SyncCallHandle() {
    if (!call_) return;
    call_->EndResults();
    ThreadCache<Call>::Give(std::move(call_));
  }
  SyncCallHandle(const SyncCallHandle&) = delete;
  SyncCallHandle& operator=(const SyncCallHandle&) = delete;

  Call& operator*() const { return *call_; }
  Call* operator->() const { return call_.get(); }

  // Leaves the call to the driver, which ends it; this handle is then empty.
  // Returns: false when every entry completed before that could happen.
  bool Leave() {
    if (call_->CompletedBeforeLeaving()) return false;
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): as said.
    (void)call_.release();
    return true;
  }

 private:
  std::unique_ptr<Call> call_;
};

// Takes the place of a failure that a driver reported without a status.
inline absl::Status FailureOf(absl::Status status) {
  if (!status.ok()) return status;
  return MakeStatus(Code::kBrokerError,
                    "complete call: the driver reported a failure with the "
                    "status OK; expected an error");
}

// Completes one Send of a batch.
class SyncSend final : public driver::SendCompletion,
                       public SyncResults<absl::StatusOr<SendResult>> {
 public:
  using SyncResults::BeginResults;
  using SyncResults::EndResults;

  void Sent(size_t index, const SendResult& result) override {
    if (Complete(index, result)) delete this;
  }
  void Failed(size_t index, absl::Status status) override {
    if (Complete(index, FailureOf(std::move(status)))) delete this;
  }
};

// Completes one Settle of a batch.
class SyncSettle final : public driver::SettleCompletion,
                         public SyncResults<absl::Status> {
 public:
  using SyncResults::BeginResults;
  using SyncResults::EndResults;

  void Settled(size_t index, const Receipt& /*replacement*/) override {
    if (Complete(index, absl::OkStatus())) delete this;
  }
  void Failed(size_t index, absl::Status status) override {
    if (Complete(index, FailureOf(std::move(status)))) delete this;
  }
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_SYNC_CALL_H_
