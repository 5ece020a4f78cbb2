// SPDX-License-Identifier: Apache-2.0
//
// What the engine asks of the C library without the seam: deadlines are by the
// steady clock, and the gate is waited for by sleeping. In a World that time is
// virtual as well.

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "schedules/memory.h"
#include "schedules/world.h"

namespace {

namespace world = openmessaging::reference::schedules;

constexpr int64_t kSecondNs = 1'000'000'000;
// The steady clock does not begin at zero.
constexpr int64_t kBeginNs = 1000 * kSecondNs;

bool InWorld() { return world::Memory::on(); }

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) {
  if (!InWorld()) {
    return static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  }
  const int64_t ns = kBeginNs + world::World::Get().now_ns();
  now->tv_sec = ns / kSecondNs;
  now->tv_nsec = ns % kSecondNs;
  return 0;
}

int nanosleep(const timespec* time, timespec* left) {
  if (!InWorld()) {
    return static_cast<int>(syscall(SYS_nanosleep, time, left));
  }
  world::World::Get().Sleep(int64_t{time->tv_sec} * kSecondNs + time->tv_nsec);
  return 0;
}

// A fiber ends without its thread's end: what it would have run then is
// forgotten with its memory.
int __cxa_thread_atexit_impl(void (*)(void*), void*, void*);
int __cxa_thread_atexit(void (*call)(void*), void* object, void* library) {
  if (InWorld()) return 0;
  return __cxa_thread_atexit_impl(call, object, library);
}

}  // extern "C"
