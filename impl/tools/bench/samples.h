// SPDX-License-Identifier: Apache-2.0
//
// Samples keeps the time of every single call, so that percentiles are exact.

#ifndef OPENMESSAGING_TOOLS_BENCH_SAMPLES_H_
#define OPENMESSAGING_TOOLS_BENCH_SAMPLES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace openmessaging::tools {

// A percentile is a time that was measured: the smallest one that so large a
// part of the calls did not exceed (nearest rank).
struct Latency {
  size_t count = 0;  // 0: nothing was measured, and the rest means nothing.
  int64_t p50_ns = 0;
  int64_t p99_ns = 0;
  int64_t p99_9_ns = 0;
  int64_t max_ns = 0;
};

// Threads: one. Its room is fixed and touched when it is made, so that keeping
// a sample costs one store and never a page fault.
class Samples {
 public:
  explicit Samples(size_t room) : times_ns_(room) {}

  bool full() const { return count_ == times_ns_.size(); }
  // Not when full().
  void Add(int64_t time_ns) { times_ns_[count_++] = time_ns; }
  std::span<const int64_t> times_ns() const {
    return std::span(times_ns_).first(count_);
  }

 private:
  std::vector<int64_t> times_ns_;
  size_t count_ = 0;
};

// Summarises the samples of one thread, or of several that did the same.
Latency Summarise(std::vector<int64_t> times_ns);
inline Latency Summarise(const Samples& samples) {
  return Summarise({samples.times_ns().begin(), samples.times_ns().end()});
}

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_SAMPLES_H_
