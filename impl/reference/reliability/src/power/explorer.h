// SPDX-License-Identifier: Apache-2.0
//
// Cuts the power at the places of a recording, judges what may be left, and
// does the same with the recoveries of some of it.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_EXPLORER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_EXPLORER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "power/judge.h"
#include "power/model.h"
#include "power/trace.h"
#include "power/workload.h"

namespace openmessaging::reference::power {

// How deep recoveries are cut themselves.
inline constexpr int kDepth = 3;

struct Counts {
  // States that differ in more than ctl and idx, by how many recoveries were
  // cut before.
  std::array<uint64_t, kDepth + 1> distinct{};
  uint64_t judged = 0;
  uint64_t lies = 0;  // Judged behind a flush that the drive only pretended.
  uint64_t recordings = 0;
  uint64_t cuts = 0;

  uint64_t all() const {
    uint64_t sum = 0;
    for (const uint64_t part : distinct) sum += part;
    return sum;
  }
};

// One state: the place of the cut and which of the states there, for the
// workload and for each recovery that was cut.
using Path = std::vector<std::pair<size_t, size_t>>;

struct Finding {
  uint64_t seed = 0;  // Of the run.
  uint64_t workload = 0;
  Path path{};
  std::string what{};

  // What OMS_POWER_REPLAY takes: seed/workload/cut:state/cut:state...
  std::string Name() const;
};

// Judges states of workload after workload.
//
// Threads: one.
class Explorer {
 public:
  explicit Explorer(uint64_t seed) : seed_(seed) {}

  // Judges states of the `number`th workload, about `budget` of them.
  void Explore(uint64_t number, uint64_t budget);
  // Judges this state alone.
  void Replay(uint64_t number, const Path& path);

  const Counts& counts() const { return counts_; }
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  // What one trace is explored with.
  struct Job {
    const Model* model = nullptr;
    const Trace* trace = nullptr;
    const Image* begin = nullptr;  // Null: an empty disk.
    size_t cut = kNever;           // Of the model, where the trace is another.
    uint64_t seed = 0;
    uint64_t budget = 0;
    int depth = 0;
    Path path{};
  };

  void Walk(const Job& job);
  void WalkLies(const Job& job);
  size_t StatesAt(const Job& job, size_t at, const Cut& cut) const;
  void TryState(const Job& job, const Cut& cut, size_t at, size_t state);
  void CutRecovery(const Job& job, const Image& image, size_t cut,
                   const Path& path, uint64_t seed);
  void Add(const Path& path, std::string what);

  const uint64_t seed_;
  uint64_t workload_ = 0;
  Counts counts_;
  std::unordered_set<uint64_t> seen_;
  std::unordered_set<uint64_t> judged_;
  // Where what is acknowledged changes, in order.
  std::vector<size_t> acknowledged_;
  std::vector<Finding> findings_;
  const Path* only_ = nullptr;
};

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_EXPLORER_H_
