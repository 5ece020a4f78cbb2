// SPDX-License-Identifier: Apache-2.0
//
// BackOff says how long to wait before the next attempt at something that has
// failed: longer each time, up to a bound, and never the same for two clients
// that failed together.

#ifndef OPENMESSAGING_KIT_BACK_OFF_H_
#define OPENMESSAGING_KIT_BACK_OFF_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace openmessaging::inline v0::kit {

struct BackOffOptions {
  // The most that the first wait takes, and the most that any takes.
  std::chrono::milliseconds first{50};
  std::chrono::milliseconds longest{5000};
};

// Counts failures. Each wait is drawn from the upper half of what it may be:
// half of it spreads clients well enough, and none comes back at once.
//
// Threads: the owner's only.
class BackOff {
 public:
  using Milliseconds = std::chrono::milliseconds;

  explicit BackOff(const BackOffOptions& options = {},
                   uint64_t seed = std::random_device()())
      : options_(options), most_(options.first), random_(seed) {}

  // Returns: how long to wait after one more failure.
  Milliseconds Next() {
    const Milliseconds most = std::min(most_, options_.longest);
    most_ = most > options_.longest / 2 ? options_.longest : most * 2;
    std::uniform_int_distribution<int64_t> wait(most.count() / 2, most.count());
    return Milliseconds(wait(random_));
  }

  // It has worked: the next failure is a first one.
  void Reset() { most_ = options_.first; }

 private:
  const BackOffOptions options_;
  Milliseconds most_;
  std::mt19937_64 random_;
};

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_BACK_OFF_H_
