// SPDX-License-Identifier: Apache-2.0
//
// The housekeeper is the one thread of an open store: it does what nobody waits
// for.

#ifndef OPENMESSAGING_REFERENCE_HOUSEKEEPER_H_
#define OPENMESSAGING_REFERENCE_HOUSEKEEPER_H_

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "control.h"
#include "env/environment.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::reference {

class Store;

// A message at durability disk that is stored, and whose sender did not wait.
struct Undurable {
  uint64_t end = 0;  // Where its record ends: durable from there on.
  uint64_t sequence = 0;
  uint64_t offset = 0;
  uint32_t partition = 0;  // As its sender knows it.
  uint32_t epoch = 0;
  bool duplicate = false;
  QueueState* queue = nullptr;
  driver::SendCompletion* done = nullptr;
  size_t index = 0;  // In `done`'s batch.
  const void* sender = nullptr;
};

// Completes asynchronous sends once the durable mark passes them, leading the
// flush if nobody does; makes and touches what appends need next; retires
// segments in a store where nobody sends.
//
// The thread begins with the first work and ends with Stop. Each message
// completes exactly once, in the order of positions among those that are here;
// whoever sends one after another finds them completed in that order. One flush
// serves all that came while the one before it ran.
//
// Threads: every method may be called from any thread at any time, also by a
// completion.
// Lifetime: shared with its thread, so that a completion may drop the store.
class Housekeeper : public std::enable_shared_from_this<Housekeeper> {
 public:
  explicit Housekeeper(Store* store);
  ~Housekeeper() = default;
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // Takes messages over. Returns: false, and took none, where no thread can be
  // had; the caller then completes them.
  bool Take(std::span<const Undurable> messages);

  // Says that the log may soon need a segment or pages, or that something can
  // be retired. Returns: as Take.
  bool Nudge();

  // Returns once all that was taken below `position` has completed.
  // Errors: 1410 at `deadline`.
  absl::Status WaitCompleted(uint64_t position, TimePoint deadline);

  // Returns once all messages of a sender have completed; at `deadline` what is
  // left completes with 1504.
  void Finish(const void* sender, TimePoint deadline);

  // Ends the thread, then completes what is left as Finish does.
  void Stop(TimePoint deadline);

  // In the child of a fork there is no thread, and nothing may be asked of it.
  void AbandonAfterFork() { self_.reset(); }

 private:
  static void* RunThread(void* housekeeper);
  void Run();
  bool EnsureThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OnOwnThread() const;
  void Ring();
  bool Stopping();

  // Brings in delayed messages that are due. Returns: how long to sleep at most.
  std::chrono::nanoseconds WorkDelays();

  // The highest end of the messages of `sender` (nullptr: of any); 0 for none.
  uint64_t HighestEnd(const void* sender);
  bool HasBelow(uint64_t position);
  bool HasOf(const void* sender);
  // Flushes and completes; returns after a while also where another process's
  // flush does not end.
  void FlushTo(uint64_t position);
  void CompleteDurable();
  // Completes what is left up to `position` with `status`.
  void FailTo(uint64_t position, const void* sender,
              const absl::Status& status);
  // Takes one out that ends at or below `position`. Returns: whether there is
  // one.
  bool Pop(uint64_t position, Undurable& message);
  void Complete(const Undurable& message, const absl::Status& status);
  // Sleeps until something completed, at most until `deadline`.
  void AwaitCompletion(uint32_t seen, TimePoint deadline);

  const Environment* const environment_;
  // Rung when there is something to do, and after completions.
  std::atomic<uint32_t> bell_{0};
  std::atomic<bool> asleep_{false};
  std::atomic<uint32_t> completions_{0};
  std::atomic<uint32_t> waiters_{0};
  std::atomic<bool> nudged_{false};

  internal::Mutex mutex_;
  // Nothing once a completion on the own thread has stopped this.
  Store* store_;
  // A heap, the lowest end first.
  std::vector<Undurable> waiting_ ABSL_GUARDED_BY(mutex_);
  // Whose messages are being completed at this moment.
  std::vector<const void*> completing_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  pthread_t thread_ ABSL_GUARDED_BY(mutex_) = {};
  // Keeps this alive as long as the thread runs; not on the thread's stack,
  // which the child of a fork has, too, and never unwinds.
  std::shared_ptr<Housekeeper> self_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_HOUSEKEEPER_H_
