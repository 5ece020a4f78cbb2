// SPDX-License-Identifier: Apache-2.0

#include "interrupt.h"

#include <csignal>

#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

volatile std::sig_atomic_t interrupted_by = 0;

void OnSignal(int number) { interrupted_by = number; }

}  // namespace

void WatchSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    sigaction(number, &action, nullptr);
  }
}

int InterruptedBy() { return interrupted_by; }

absl::Status CheckInterrupted() {
  if (interrupted_by == 0) return absl::OkStatus();
  return MakeStatus(Code::kCancelled, "measure: interrupted by signal ",
                    static_cast<int>(interrupted_by));
}

}  // namespace openmessaging::tools
