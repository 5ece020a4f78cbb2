// SPDX-License-Identifier: Apache-2.0
//
// Doorbells: how a receiver sleeps and an appender wakes it.

#ifndef OPENMESSAGING_REFERENCE_BELLS_H_
#define OPENMESSAGING_REFERENCE_BELLS_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "control_file.h"
#include "env/environment.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// Wakes everybody who sleeps until something comes to the queue. Makes no
// system call when nobody does. The caller made the change visible with a
// sequentially consistent store before.
void RingBells(const Control& control, const Environment& environment,
               const Liveness& liveness, QueueState& queue);

// One receiver's place to sleep.
//
// A sleeper sets its bit in each queue and then looks once more; an appender
// makes its message visible and then reads the bits. Both are sequentially
// consistent, so at least one sees the other. Every sleep is bounded all the
// same: an appender may die before it rings.
//
// Threads: Prepare, Sleep and Leave by one; Ring from any.
class Sleeper {
 public:
  Sleeper(const Control* control, const Environment* environment,
          const Liveness* liveness)
      : control_(control), environment_(environment), liveness_(liveness) {}
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  // Announces that this receiver is about to sleep on `queues`. Look once more
  // after it. Where all bells are taken, Sleep is short instead.
  void Prepare(const std::vector<QueueState*>& queues);
  void Sleep(std::chrono::nanoseconds limit);
  void Leave(const std::vector<QueueState*>& queues);

  // Ends the sleep in progress or announced.
  void Ring();

 private:
  bool Claim();

  const Control* const control_;
  const Environment* const environment_;
  const Liveness* const liveness_;
  // Index of the bell; negative: none yet.
  std::atomic<int32_t> bell_{-1};
  uint32_t seen_ = 0;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_BELLS_H_
