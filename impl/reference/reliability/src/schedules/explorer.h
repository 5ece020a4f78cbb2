// SPDX-License-Identifier: Apache-2.0
//
// Explorer runs a scenario under one schedule after another.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_EXPLORER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_EXPLORER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "schedules/world.h"

namespace openmessaging::reference::schedules {

// How far a scenario is explored.
struct Bounds {
  int preemptions = 2;  // In one schedule, at most.
  int kills = 0;
  int both = 3;  // Preemptions and kills together.
  // Schedules of the search. Where there are more, those with the most
  // preemptions and kills are drawn at random.
  uint64_t searched = 1000;
  // Schedules at random beside them, with more preemptions.
  uint64_t drawn = 0;
};

// Lies where parent and child see it.
struct Findings {
  uint64_t schedules = 0;
  uint64_t events = 0;
  // All schedules with so many preemptions and kills together were run; -1:
  // none was.
  int complete_to = -1;
  bool exhausted = false;  // All within the bounds.
  uint32_t shared_words = 0;
  uint64_t digest = 0;  // Of all that was run, in its order.
  bool failed = false;
  std::array<char, 400> failure{};
  std::array<char, 400> schedule{};
};

struct ScenarioKind {
  const char* name = "";
  uint32_t processes = 2;
  std::function<Scenario*()> make{};
  Bounds quick{};
  Bounds thorough{};
};

// Runs it in a process of its own; a crash there is a failure of the schedule
// that was run. Stops at the first failure.
Findings Explore(const ScenarioKind& kind, const Bounds& bounds, uint64_t seed);

// Runs one schedule and shows it on standard error. Returns: what failed; empty
// if nothing did.
std::string Replay(const ScenarioKind& kind, std::string_view schedule);

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_EXPLORER_H_
