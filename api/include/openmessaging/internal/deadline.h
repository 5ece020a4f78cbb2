// SPDX-License-Identifier: Apache-2.0
//
// Deadlines and the time of day, cheap enough to ask for with every message.

#ifndef OPENMESSAGING_INTERNAL_DEADLINE_H_
#define OPENMESSAGING_INTERNAL_DEADLINE_H_

#include <time.h>

#include <chrono>
#include <cstdint>

namespace openmessaging {
inline namespace v0 {
namespace internal {

using TimePoint = std::chrono::steady_clock::time_point;

// Long past: a call with this deadline looks once and waits for nothing.
inline constexpr TimePoint kNoWait{};

// Adds and saturates: TimePoint::max() means no limit.
inline TimePoint SaturatingAdd(TimePoint time, std::chrono::milliseconds add) {
  using std::chrono::duration_cast;
  if (add > duration_cast<std::chrono::milliseconds>(TimePoint::max() - time)) {
    return TimePoint::max();
  }
  return time + add;
}

// Clocks that read memory instead of hardware, for a quarter of the cost. They
// step with the kernel's tick, every 1 to 10 ms, and later on a busy machine.
#if defined(__linux__)
inline std::chrono::nanoseconds CoarseClock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) +
         std::chrono::nanoseconds(now.tv_nsec);
}
inline TimePoint CoarseSteadyNow() {
  return TimePoint(CoarseClock(CLOCK_MONOTONIC_COARSE));
}
inline int64_t CoarseSystemMilliseconds() {
  return CoarseClock(CLOCK_REALTIME_COARSE) / std::chrono::milliseconds(1);
}
#else
inline TimePoint CoarseSteadyNow() { return std::chrono::steady_clock::now(); }
inline int64_t CoarseSystemMilliseconds() {
  return std::chrono::system_clock::now().time_since_epoch() /
         std::chrono::milliseconds(1);
}
#endif

// Returns: when a call that may take `timeout` from now on must end; kNoWait
// for zero and for negative ones; saturates. For a second and more it is up to
// 25 ms late, so that the coarse clock is good enough not to make it early.
inline TimePoint DeadlineAfter(std::chrono::milliseconds timeout) {
  if (timeout.count() <= 0) return kNoWait;
  if (timeout < std::chrono::seconds(1)) {
    return SaturatingAdd(std::chrono::steady_clock::now(), timeout);
  }
  return SaturatingAdd(CoarseSteadyNow() + std::chrono::milliseconds(25),
                       timeout);
}

inline bool HasPassed(TimePoint deadline) {
  return deadline == kNoWait || (deadline != TimePoint::max() &&
                                 deadline <= std::chrono::steady_clock::now());
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_DEADLINE_H_
