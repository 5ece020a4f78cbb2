// SPDX-License-Identifier: Apache-2.0
//
// How a call waits for what another thread or process does.

#ifndef OPENMESSAGING_REFERENCE_WAITING_H_
#define OPENMESSAGING_REFERENCE_WAITING_H_

#include <chrono>
#include <cstdint>

namespace openmessaging::reference {

// A sleep is bounded: whoever should wake us may have died before.
inline constexpr std::chrono::nanoseconds kMaxSleep{50'000'000};
// How long another's flush is waited for before looking around again.
inline constexpr std::chrono::milliseconds kFlushWait{10};
// Worth spinning before a sleep, which costs two system calls and a wake-up:
// turns of a receiver, and of who wants a lock.
#ifdef OPENMESSAGING_TRACE_ATOMICS
inline constexpr int kSpins = 1;  // Another turn is another schedule.
inline constexpr int kLockSpins = 1;
#else
inline constexpr int kSpins = 100;
inline constexpr int kLockSpins = 200;
#endif

// How often somebody asks whether the owners of leases live.
inline constexpr int64_t kLookForDeadNs = 50'000'000;
// Waited for the append lock even by those who wait for nothing: its owner
// holds it for microseconds, unless it is stopped.
inline constexpr std::chrono::milliseconds kAppendPatience{10};

inline int64_t SaturatingAdd(int64_t a, int64_t b) {
  return b > INT64_MAX - a ? INT64_MAX : a + b;
}

// Tells the processor that this thread spins.
inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace openmessaging::reference

#endif  // OPENMESSAGING_REFERENCE_WAITING_H_
