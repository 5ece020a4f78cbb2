// SPDX-License-Identifier: Apache-2.0

#include "samples.h"

#include <algorithm>

namespace openmessaging::tools {

Latency Summarise(std::vector<int64_t> times_ns) {
  Latency latency;
  latency.count = times_ns.size();
  if (times_ns.empty()) return latency;
  std::sort(times_ns.begin(), times_ns.end());
  const auto at = [&times_ns](size_t thousandths) {
    return times_ns[(times_ns.size() * thousandths + 999) / 1000 - 1];
  };
  latency.p50_ns = at(500);
  latency.p99_ns = at(990);
  latency.p99_9_ns = at(999);
  latency.max_ns = times_ns.back();
  return latency;
}

}  // namespace openmessaging::tools
