// SPDX-License-Identifier: Apache-2.0
//
// How long calls took in many processes, and how long the machine itself stood
// still meanwhile.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WAITS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WAITS_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace openmessaging::reference::kill {

// Nanoseconds of the one clock that all processes share.
int64_t NowNs();

// A count of durations by their logarithm, sixteen steps to an octave. All
// zero bytes are an empty one, so that it may lie in shared memory.
//
// Threads: Add from any thread and process.
class Histogram {
 public:
  void Add(int64_t ns);
  uint64_t count() const;
  int64_t max_ns() const { return max_ns_.load(); }
  // Returns: what `share` of all took at most, not less than it was.
  int64_t QuantileNs(double share) const;
  // Returns: "p50 1.2, p99 3.4, p99.9 5.6, max 7.8 ms".
  std::string ToText() const;

 private:
  static constexpr size_t kSteps = 16;
  static constexpr size_t kOctaves = 44;
  static size_t StepOf(int64_t ns);

  std::array<std::atomic<uint64_t>, kSteps * kOctaves> counts_;
  std::atomic<int64_t> max_ns_;
};

// A time in which something stood still.
struct Gap {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

// The latest of them, and how many there were. In shared memory, as above.
class GapList {
 public:
  void Add(const Gap& gap);
  uint64_t count() const { return count_.load(); }
  std::vector<Gap> All() const;

 private:
  static constexpr size_t kMost = 4096;
  std::atomic<uint64_t> count_;
  std::array<std::atomic<int64_t>, kMost> begins_;
  std::array<std::atomic<int64_t>, kMost> ends_;
};

// Looks at the clock again and again until `stop`, and notes when it was kept
// from that for longer than `least`: the machine had something else to do. As a
// process beside the others, it is treated as they are.
void WatchMachine(const std::atomic<bool>& stop, std::chrono::nanoseconds least,
                  Histogram& stalls, GapList& gaps);

// Returns: how long the calling thread could have run and was not let, since
// it began; 0 where the system does not say.
class RunDelay {
 public:
  RunDelay();
  ~RunDelay();
  RunDelay(const RunDelay&) = delete;
  RunDelay& operator=(const RunDelay&) = delete;

  int64_t Ns() const;

 private:
  int fd_ = -1;
};

// Returns: what of a wait remains without the gaps of the machine in it.
int64_t WithoutGaps(const Gap& wait, const std::vector<Gap>& gaps);

}  // namespace openmessaging::reference::kill
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_KILL_WAITS_H_
