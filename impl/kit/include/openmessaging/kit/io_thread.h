// SPDX-License-Identifier: Apache-2.0
//
// IoThread serves one socket, for client libraries that have no thread and
// allow only one at a time. It has a thread of its own, and lets callers do its
// work where they would only wait for it.

#ifndef OPENMESSAGING_KIT_IO_THREAD_H_
#define OPENMESSAGING_KIT_IO_THREAD_H_

#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::inline v0::kit {

// Whoever works with the socket has the turn: its own thread; a caller of Run,
// for one task; a helper, which is a caller of Await, for what it reads.
// docs/design/io-thread.md says why, and what was rejected.
//
// Runs from its construction until Stop().
//
// Threads: every method from any; Stop not from its own, and once. Run and
// Await call the work and tasks, so that no lock may be held that these take.
// Invariants:
//   (1) one thread at a time has the turn, and no lock is held while it works;
//   (2) tasks run in the order of Post and Run, and none is dropped: what was
//       posted before Stop runs before Stop returns;
//   (3) the thread looks at the socket and at its tasks in turn, so that
//       neither keeps the other waiting;
//   (4) while there is a helper, it alone reads. When it has left, the thread
//       reads again: at once where somebody posted, or wanted to help beside
//       it, within the last 20 ms; else within 100 ms;
//   (5) a wake costs a system call only where its thread sleeps.
class IoThread {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Task = std::function<void()>;

  // What is served. Called by who has the turn, but for Socket.
  class Work {
   public:
    // Returns: the socket whose input is waited for; -1 where there is none.
    // Called at any time. One that is to be closed is shut down first, which
    // wakes who waits for it.
    virtual int Socket() = 0;

    // Does what is due. `ready`: there may be input, and so it is called when
    // the time has come that it gave; otherwise there were only tasks.
    // Returns: when it wants to be called at the latest; TimePoint() where it
    // has input that the socket does not show any more.
    virtual TimePoint Turn(bool ready) = 0;

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

  // Runs `task` here where nobody works and nothing was posted before it, else
  // posts it. What it does is not followed by a turn. Returns: as Post.
  template <typename AnyTask>
  bool Run(AnyTask&& task) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!TryTakeTurn()) return Post(std::forward<AnyTask>(task));
    task();
    GiveTurn();
    return true;
  }

  // Takes the turn where Run would run its task. Returns: false where it would
  // post it. GiveTurn must follow.
  bool TryTakeTurn() ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveTurn() ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads in place of the thread until `done()` or `deadline`. Whoever makes it
  // true calls Wake().
  // Returns: false at once where somebody helps already, where the caller is
  // the thread, and after Stop: then wait for the thread.
  template <typename Done>
  bool Await(const Done& done, TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!BeginHelp()) return false;
    while (!done() && Help(deadline)) {
    }
    EndHelp();
    return true;
  }

  // Lets the helper ask again whether it is done. Costs nothing where there is
  // none, and where it is the caller.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns: whether the caller is the thread.
  bool IsHere() const { return std::this_thread::get_id() == id_; }

  // Runs what was posted and ends the thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // Returns: false at `deadline`.
  bool TakeTurn(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns: false once stopped.
  bool RunTasks() ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns: the next turn's `ready`.
  bool Sleep(TimePoint until) ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns: whether the thread reads, rather than leave that to a helper; else
  // `until` becomes when to ask again.
  bool Watches(TimePoint now, TimePoint& until)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool BeginHelp() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for input, or a Wake, and reads. Returns: false where that ends.
  bool Help(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndHelp() ABSL_LOCKS_EXCLUDED(mutex_);

  Work& work_;
  // Eventfds: they wake the thread, and the helper.
  const int bell_;
  const int helper_bell_;

  internal::Mutex mutex_;
  internal::Condition turn_given_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;
  int wanted_ ABSL_GUARDED_BY(mutex_) = 0;  // By so many in TakeTurn.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  // The thread's sleep, and whether it watches the socket meanwhile.
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  bool watching_ ABSL_GUARDED_BY(mutex_) = false;
  // It sleeps longer than kGrace, because the helper does.
  bool deep_ ABSL_GUARDED_BY(mutex_) = false;
  // When somebody last asked for what the thread would read.
  TimePoint asked_at_ ABSL_GUARDED_BY(mutex_){};
  // The helper left input that the socket does not show.
  bool left_input_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread::id helper_ ABSL_GUARDED_BY(mutex_);  // None: id().
  TimePoint helped_at_ ABSL_GUARDED_BY(mutex_){};   // Its last begin or end.
  bool has_input_ = false;                          // The helper's.

  std::thread thread_;
  std::thread::id id_;  // Constant after construction.
};

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_IO_THREAD_H_
