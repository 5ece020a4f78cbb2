// SPDX-License-Identifier: Apache-2.0
//
// How a call waits for what another thread or process does.

#ifndef OPENMESSAGING_REFERENCE_WAITING_H_
#define OPENMESSAGING_REFERENCE_WAITING_H_

#include <chrono>

namespace openmessaging::reference {

// A sleep is bounded: whoever should wake us may have died before.
inline constexpr std::chrono::nanoseconds kMaxSleep{50'000'000};
// How long another's flush is waited for before looking around again.
inline constexpr std::chrono::milliseconds kFlushWait{10};
// Worth spinning before a sleep, which costs two system calls and a wake-up.
inline constexpr int kSpins = 100;

// Tells the processor that this thread spins.
inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace openmessaging::reference

#endif  // OPENMESSAGING_REFERENCE_WAITING_H_
