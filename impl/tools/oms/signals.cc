// SPDX-License-Identifier: Apache-2.0

#include "signals.h"

#include <csignal>

namespace openmessaging::tools {
namespace {

volatile std::sig_atomic_t ended_by = 0;

void OnSignal(int number) { ended_by = number; }

}  // namespace

void WatchSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM}) {
    sigaction(number, &action, nullptr);
  }
}

int EndedBy() { return ended_by; }

}  // namespace openmessaging::tools
