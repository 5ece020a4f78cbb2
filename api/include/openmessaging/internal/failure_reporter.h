// SPDX-License-Identifier: Apache-2.0
//
// FailureReporter tells an application what a push consumer could not do.

#ifndef OPENMESSAGING_INTERNAL_FAILURE_REPORTER_H_
#define OPENMESSAGING_INTERNAL_FAILURE_REPORTER_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/push_failure.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Passes failures to a listener by way of the dispatcher: some are found on a
// thread of the driver's, which may not wait for the application.
//
// Threads: every method from any thread.
class FailureReporter {
 public:
  FailureReporter(PushFailureListener listener, Dispatcher& dispatcher)
      : dispatcher_(dispatcher) {
    if (listener == nullptr) return;
    listener_ =
        std::make_shared<const PushFailureListener>(std::move(listener));
  }

  void Report(PushFailure failure) {
    auto listener = Current();
    if (listener == nullptr) return;
    dispatcher_.Post(*new Task(std::move(listener), std::move(failure)));
  }

  // Lets go of the listener, which may have captured what holds this object.
  void End() {
    std::shared_ptr<const PushFailureListener> ended;
    const MutexLock lock(mutex_);
    ended.swap(listener_);
  }

 private:
  class Task final : public DispatchTask {
   public:
    Task(std::shared_ptr<const PushFailureListener> listener,
         PushFailure failure)
        : listener_(std::move(listener)), failure_(std::move(failure)) {}

    void Run() override {
      // One that throws has been told all the same.
      (void)RunUserCode([&] { (*listener_)(failure_); });
      delete this;
    }

   private:
    const std::shared_ptr<const PushFailureListener> listener_;
    const PushFailure failure_;
  };

  std::shared_ptr<const PushFailureListener> Current() {
    const MutexLock lock(mutex_);
    return listener_;
  }

  Dispatcher& dispatcher_;
  Mutex mutex_;
  std::shared_ptr<const PushFailureListener> listener_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_FAILURE_REPORTER_H_
