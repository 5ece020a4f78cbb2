// SPDX-License-Identifier: Apache-2.0
//
// Dispatcher runs the callbacks of futures. Why they do not run where a driver
// completes is in docs/design/async.md.

#ifndef OPENMESSAGING_INTERNAL_DISPATCHER_H_
#define OPENMESSAGING_INTERNAL_DISPATCHER_H_

#include <cstdint>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/thread_start.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// What a dispatcher runs. It is in one queue at a time.
class DispatchTask {
 public:
  // Runs code of the application's and may end the task.
  virtual void Run() = 0;

 protected:
  ~DispatchTask() = default;

 private:
  friend class Dispatcher;
  DispatchTask* next_task_ = nullptr;
};

// Runs tasks one after another, in the order in which they came, on a thread
// that the first of them starts.
//
// Threads: every method from any thread, also from a task.
// Invariants:
//   (1) the thread touches nothing but what it shares, which it keeps alive: a
//       task may end the dispatcher that runs it;
//   (2) what was posted is run, also by a dispatcher that ends.
class Dispatcher {
 public:
  Dispatcher() : shared_(std::make_shared<Shared>()) {}
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void Post(DispatchTask& task) {
    Shared& shared = *shared_;
    const MutexLock lock(shared.mutex);
    task.next_task_ = nullptr;
    *shared.end = &task;
    shared.end = &task.next_task_;
    ++shared.posted;
    if (!thread_.joinable()) {
      thread_ = StartThread([kept = shared_] { Work(*kept); });
      shared.thread = thread_.get_id();
    }
    shared.changed.NotifyAll();
  }

  // Waits until what was posted so far has run. Returns: false at `deadline`,
  // and at once in a task, which cannot wait for itself.
  bool AwaitPosted(TimePoint deadline) {
    Shared& shared = *shared_;
    const MutexLock lock(shared.mutex);
    const uint64_t wanted = shared.posted;
    if (shared.ran == wanted) return true;
    if (shared.thread == std::this_thread::get_id()) return false;
    while (shared.ran < wanted) {
      if (!shared.changed.WaitUntil(shared.mutex, deadline)) {
        return shared.ran >= wanted;
      }
    }
    return true;
  }

  // Runs what is left. One that does not end by `deadline` goes on without its
  // dispatcher.
  void End(TimePoint deadline) {
    const bool idle = AwaitPosted(deadline);
    {
      const MutexLock lock(shared_->mutex);
      shared_->ended = true;
      shared_->changed.NotifyAll();
    }
    if (!thread_.joinable()) return;
    if (idle && thread_.get_id() != std::this_thread::get_id()) {
      thread_.join();
    } else {
      thread_.detach();
    }
  }
  ~Dispatcher() { End(kNoWait); }

 private:
  struct Shared {
    Mutex mutex;
    Condition changed;
    DispatchTask* first ABSL_GUARDED_BY(mutex) = nullptr;
    DispatchTask** end ABSL_GUARDED_BY(mutex) = &first;
    uint64_t posted ABSL_GUARDED_BY(mutex) = 0;
    uint64_t ran ABSL_GUARDED_BY(mutex) = 0;
    bool ended ABSL_GUARDED_BY(mutex) = false;
    std::thread::id thread ABSL_GUARDED_BY(mutex);
  };

  static void Work(Shared& shared) {
    shared.mutex.Lock();
    while (true) {
      DispatchTask* const task = shared.first;
      if (task == nullptr) {
        if (shared.ended) break;
        shared.changed.Wait(shared.mutex);
        continue;
      }
      shared.first = task->next_task_;
      if (shared.first == nullptr) shared.end = &shared.first;
      shared.mutex.Unlock();
      task->Run();
      shared.mutex.Lock();
      ++shared.ran;
      shared.changed.NotifyAll();
    }
    shared.mutex.Unlock();
  }

  const std::shared_ptr<Shared> shared_;
  // Started under the lock; ended by the owner alone.
  std::thread thread_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_DISPATCHER_H_
