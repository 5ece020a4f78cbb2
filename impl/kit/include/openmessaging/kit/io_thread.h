// SPDX-License-Identifier: Apache-2.0
//
// IoThread is a thread that owns one socket, for client libraries that have no
// thread and allow only one. Others hand it tasks, and an eventfd wakes it.

#ifndef OPENMESSAGING_KIT_IO_THREAD_H_
#define OPENMESSAGING_KIT_IO_THREAD_H_

#include <chrono>
#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::inline v0::kit {

// Runs from its construction until Stop().
//
// Threads: Post and IsHere from any; Stop from any but its own, once.
// Invariants:
//   (1) tasks run on the thread, in the order of Post, and none is dropped:
//   what
//       was posted before Stop runs before Stop returns;
//   (2) the thread looks at the socket and at its tasks in turn, so that
//       neither keeps the other waiting;
//   (3) a wake costs a system call only where the thread sleeps.
class IoThread {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Task = std::function<void()>;

  // What is served. Called on the thread only.
  class Work {
   public:
    // Returns: the socket whose input is waited for; -1 where there is none.
    virtual int Socket() = 0;

    // Reads what is there and does what is due. Called when there is input,
    // after tasks, and when the time has come that it gave.
    // Returns: when it wants to be called at the latest.
    virtual TimePoint Turn() = 0;

   protected:
    ~Work() = default;
  };

  // `work` outlives the thread.
  explicit IoThread(Work& work);
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  ~IoThread();  // Stops.

  // Hands `task` to the thread. Returns: false, and drops it, after Stop.
  bool Post(Task task) ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns: whether the caller is the thread.
  bool IsHere() const { return std::this_thread::get_id() == id_; }

  // Runs what was posted and ends the thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // Returns: false once stopped.
  bool RunTasks() ABSL_LOCKS_EXCLUDED(mutex_);
  void Sleep(TimePoint until) ABSL_LOCKS_EXCLUDED(mutex_);
  void Ring() const;

  Work& work_;
  const int bell_;  // An eventfd.

  internal::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
  std::thread::id id_;  // Constant after construction.
};

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_IO_THREAD_H_
