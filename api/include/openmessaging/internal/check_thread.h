// SPDX-License-Identifier: Apache-2.0
//
// CheckThread asks a check listener about prepared messages of its group that
// nobody has decided.

#ifndef OPENMESSAGING_INTERNAL_CHECK_THREAD_H_
#define OPENMESSAGING_INTERNAL_CHECK_THREAD_H_

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/thread_start.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Threads: Start and Stop one after another, Stop also from the listener.
// Invariants:
//   (1) the thread touches nothing but what it shares, which it keeps alive: a
//       listener may end the producer that asks it, and one that does not return
//       is left behind;
//   (2) no listener is called that had not been before Stop began.
class CheckThread {
 public:
  CheckThread() = default;
  CheckThread(const CheckThread&) = delete;
  CheckThread& operator=(const CheckThread&) = delete;
  ~CheckThread() { Stop(kNoWait); }

  // Errors: as opening the checks.
  absl::Status Start(std::shared_ptr<ConnectionCore> connection,
                     driver::TransactionSource& source, std::string_view group,
                     CheckListener listener, std::chrono::milliseconds timeout,
                     TimePoint deadline) {
    auto checks = source.OpenChecks(group, deadline);
    if (!checks.ok()) return checks.status();
    shared_ = std::make_shared<Shared>();
    shared_->connection = std::move(connection);
    shared_->source = &source;
    shared_->checks = *std::move(checks);
    shared_->listener = std::move(listener);
    shared_->timeout = timeout;
    thread_ = StartThread([kept = shared_] { kept->Work(); });
    return absl::OkStatus();
  }

  // Waits for the listener that runs, unless called in it, until `deadline`.
  void Stop(TimePoint deadline) {
    if (!thread_.joinable()) return;
    bool ended = false;
    Shared& shared = *shared_;
    {
      const MutexLock lock(shared.mutex);
      shared.stopping = true;
      shared.changed.NotifyAll();
    }
    shared.checks->Interrupt();
    if (thread_.get_id() != std::this_thread::get_id()) {
      const MutexLock lock(shared.mutex);
      while (!shared.ended && shared.changed.WaitUntil(shared.mutex, deadline)) {
      }
      ended = shared.ended;
    }
    if (ended) {
      thread_.join();
    } else {
      thread_.detach();
    }
    shared_.reset();
  }

 private:
  // A look that finds nothing is a sign of life for the driver.
  static constexpr std::chrono::milliseconds kLook{1000};
  static constexpr std::chrono::milliseconds kFirstWait{10};
  static constexpr std::chrono::milliseconds kLongestWait{1000};

  struct Shared {
    void Work() {
      std::chrono::milliseconds wait = kFirstWait;
      while (!Stopping()) {
        const auto taken = checks->Take(DeadlineAfter(kLook));
        if (!taken.ok()) {
          if (OmsCode(taken.status()) == Code::kClosed) break;
          WaitOrStop(wait);
          wait = std::min(wait * 2, kLongestWait);
          continue;
        }
        wait = kFirstWait;
        if (*taken && !Stopping()) Ask(**taken);
      }
      // What the listener captured may hold what waits for this thread.
      listener = nullptr;
      const MutexLock lock(mutex);
      ended = true;
      changed.NotifyAll();
    }

    void Ask(const Message& message) {
      TransactionState state = TransactionState::kUnknown;
      const bool answered = RunUserCode([&] { state = listener(message); });
      using Decision = driver::TransactionSource::Decision;
      if (!answered || (state != TransactionState::kCommit &&
                        state != TransactionState::kRollback)) {
        return;
      }
      // Where that fails, somebody is asked again.
      source
          ->Resolve(message.transaction_id(),
                    state == TransactionState::kCommit ? Decision::kCommit
                                                       : Decision::kRollback,
                    DeadlineAfter(timeout))
          .IgnoreError();
    }

    bool Stopping() {
      const MutexLock lock(mutex);
      return stopping;
    }
    void WaitOrStop(std::chrono::milliseconds wait) {
      const TimePoint until = SaturatingAdd(
          std::chrono::steady_clock::now(), wait);
      const MutexLock lock(mutex);
      while (!stopping && changed.WaitUntil(mutex, until)) {
      }
    }

    // In the order in which they must live.
    std::shared_ptr<ConnectionCore> connection;
    driver::TransactionSource* source = nullptr;
    std::unique_ptr<driver::CheckSource> checks;
    CheckListener listener;
    std::chrono::milliseconds timeout{0};

    Mutex mutex;
    Condition changed;
    bool stopping ABSL_GUARDED_BY(mutex) = false;
    bool ended ABSL_GUARDED_BY(mutex) = false;
  };

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CHECK_THREAD_H_
