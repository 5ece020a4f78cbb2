// SPDX-License-Identifier: Apache-2.0
//
// The wish of the user that a command that waits comes to its end.

#ifndef OPENMESSAGING_TOOLS_OMS_SIGNALS_H_
#define OPENMESSAGING_TOOLS_OMS_SIGNALS_H_

#include <chrono>

namespace openmessaging::tools {

// How long such a wish may take to be noticed.
inline constexpr std::chrono::milliseconds kSignalCheck{100};

// Notes SIGINT and SIGTERM from now on, in a thread of its own. The first is
// obeyed between two messages, a second one ends the process at once. Call it
// once, before other threads than the library's are made.
void WatchSignals();

// Returns: the signal that asks for the end; 0 before.
int EndedBy();

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_SIGNALS_H_
