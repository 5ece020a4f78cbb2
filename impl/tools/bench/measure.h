// SPDX-License-Identifier: Apache-2.0
//
// The two loops that measure: one for the rate, which looks at the clock now
// and then only, one for the time of each call, which looks at it once a call.

#ifndef OPENMESSAGING_TOOLS_BENCH_MEASURE_H_
#define OPENMESSAGING_TOOLS_BENCH_MEASURE_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "interrupt.h"
#include "samples.h"

namespace openmessaging::tools {

// How long one loop goes on; whatever comes first ends it.
struct Budget {
  std::chrono::nanoseconds time{};
  size_t max_calls = 0;
};

// Returns: a time that all processes of the machine share.
inline int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Rate {
  size_t calls = 0;
  double per_second = 0;
};

inline Rate RateOf(size_t calls, int64_t elapsed_ns) {
  return {calls, static_cast<double>(calls) * 1e9 /
                     static_cast<double>(std::max<int64_t>(elapsed_ns, 1))};
}

// Calls `call` until the budget is used up. It returns absl::StatusOr<bool>:
// whether there is more to do.
template <typename Call>
absl::StatusOr<Rate> MeasureRate(const Budget& budget, Call&& call) {
  // The clock is read about once in 20 us at most, and after each slow call.
  constexpr int64_t kLookNs = 20'000;
  constexpr size_t kMaxBurst = 1024;
  const int64_t start_ns = NowNs();
  int64_t now_ns = start_ns;
  size_t burst = 1;
  size_t calls = 0;
  bool more = true;
  while (more && calls < budget.max_calls &&
         now_ns - start_ns < budget.time.count()) {
    if (auto status = CheckInterrupted(); !status.ok()) return status;
    const size_t last = calls + std::min(burst, budget.max_calls - calls);
    while (more && calls < last) {
      const auto result = call();
      if (!result.ok()) return result.status();
      more = *result;
      if (more) ++calls;
    }
    const int64_t looked_ns = NowNs();
    if (looked_ns - now_ns < kLookNs && burst < kMaxBurst) {
      burst *= 2;
    } else if (looked_ns - now_ns > 2 * kLookNs && burst > 1) {
      burst /= 2;
    }
    now_ns = looked_ns;
  }
  return RateOf(calls, now_ns - start_ns);
}

// As above, and keeps the time of each call while `samples` has room. The end
// of one call is the beginning of the next.
template <typename Call>
absl::Status MeasureLatency(const Budget& budget, Samples& samples,
                            Call&& call) {
  const int64_t start_ns = NowNs();
  int64_t now_ns = start_ns;
  for (size_t calls = 0; calls < budget.max_calls && !samples.full() &&
                         now_ns - start_ns < budget.time.count();
       ++calls) {
    const auto more = call();
    if (!more.ok()) return more.status();
    if (!*more) break;
    const int64_t ended_ns = NowNs();
    samples.Add(ended_ns - now_ns);
    now_ns = ended_ns;
    if (InterruptedBy() != 0) return CheckInterrupted();
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_MEASURE_H_
