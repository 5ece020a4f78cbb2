// SPDX-License-Identifier: Apache-2.0

#include "signals.h"

#include <atomic>
#include <csignal>

#include "openmessaging/internal/thread_start.h"

namespace openmessaging::tools {
namespace {

std::atomic<int> ended_by = 0;

// Waits for both signals. Waiting for them cannot miss one, as a handler can
// whose thread never comes to a place where it may run.
void WaitFor(const sigset_t& ends) {
  int number = 0;
  if (sigwait(&ends, &number) != 0) return;
  ended_by = number;
  if (sigwait(&ends, &number) != 0) return;
  pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);
  std::raise(number);
}

}  // namespace

void WatchSignals() {
  sigset_t ends;
  sigemptyset(&ends);
  for (const int number : {SIGINT, SIGTERM}) {
    sigaddset(&ends, number);
    // What a shell had us ignore would not be waited for.
    std::signal(number, SIG_DFL);
  }
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  internal::StartThread([ends] { WaitFor(ends); }).detach();
}

int EndedBy() { return ended_by; }

}  // namespace openmessaging::tools
