// SPDX-License-Identifier: Apache-2.0
//
// The end that a user asks for: measurements stop, and what was made for them
// is removed.

#ifndef OPENMESSAGING_TOOLS_BENCH_INTERRUPT_H_
#define OPENMESSAGING_TOOLS_BENCH_INTERRUPT_H_

#include "absl/status/status.h"

namespace openmessaging::tools {

// From now on SIGINT, SIGTERM and SIGHUP are noticed; a second one ends the
// process at once.
void WatchSignals();

// Returns: the signal that came, 0 before.
int InterruptedBy();

// Returns: 1606 once a signal came.
absl::Status CheckInterrupted();

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_INTERRUPT_H_
