// SPDX-License-Identifier: Apache-2.0
//
// A fiber: a stack of its own and thread-local variables of its own, run by the
// one thread of the program. Switching makes no other thread wait for the
// processor, which on a busy machine costs a thousand times as much.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_FIBER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_FIBER_H_

#include <ucontext.h>

#include <cstddef>
#include <vector>

namespace openmessaging::reference::schedules {

// The thread-local variables of the program as bytes: those of its own code and
// of what is linked to it for good, which is all that the engine has. The C
// library's are shared by all fibers.
using LocalVariables = std::vector<char>;

// Returns: what a new thread begins with.
LocalVariables NewLocalVariables();

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins anew: `body(argument)` runs at the next Resume. Of what ran before
  // nothing is unwound. `body` must not return.
  void Start(void (*body)(void*), void* argument, const LocalVariables& local);

  // Runs it until it calls Leave.
  void Resume();
  // Of the fiber that runs.
  void Leave();

  // Those it has left behind.
  const LocalVariables& local() const { return local_; }

 private:
  static void Enter(unsigned high, unsigned low);

  char* stack_ = nullptr;
  ucontext_t own_{};
  ucontext_t resumer_{};
  LocalVariables local_;
  LocalVariables resumer_local_;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  // Of the address sanitizer.
  void* own_fake_stack_ = nullptr;
  void* resumer_fake_stack_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_bytes_ = 0;
};

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_FIBER_H_
