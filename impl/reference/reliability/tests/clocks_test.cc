// SPDX-License-Identifier: Apache-2.0
//
// Thousands of hours of delays, leases, expiry, retention and checks, with
// clocks that jump, processes that die and machines that boot.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "clocks/world.h"
#include "doctest/doctest.h"
#include "goals.h"
#include "power/trace.h"

namespace openmessaging::reference::clocks_test {
namespace {

using clocks::Counts;
using clocks::World;

// Of one world. Some delays are longer than a life of their store.
constexpr int64_t kHoursOfWorld = 2000;
// A call that waits for a time that does not come would look for ever.
constexpr uint64_t kMostLooks = 1000;

void Tell(const World& world, uint64_t seed) {
  if (world.failure().empty()) return;
  std::printf("%sclocks: turn %llu: %s\n  repeat with OMS_CLOCKS_REPLAY=%llu\n",
              world.LastOperations().c_str(),
              static_cast<unsigned long long>(world.counts().turns),
              world.failure().c_str(), static_cast<unsigned long long>(seed));
}

struct Replayed {
  uint64_t seed = 0;
  uint64_t turn = 0;
};

// Returns: what OMS_CLOCKS_REPLAY names: the seed of a world, and the turn from
// which on its operations are shown.
std::optional<Replayed> AskedFor() {
  const char* const name = std::getenv("OMS_CLOCKS_REPLAY");
  if (name == nullptr) return std::nullopt;
  std::istringstream in(name);
  Replayed asked;
  char mark = 0;
  in >> asked.seed;
  if (!(in >> mark >> asked.turn)) asked.turn = UINT64_MAX;
  return asked;
}

TEST_CASE("nothing is early or late or lost however clocks go") {
  if (const auto asked = AskedFor()) {
    World world(asked->seed);
    world.ShowFrom(asked->turn);
    world.Run(kHoursOfWorld);
    Tell(world, asked->seed);
    CHECK(world.failure().empty());
    return;
  }
  const auto goal = static_cast<int64_t>(For({100'000, 1'000'000}));
  Counts counts;
  bool fine = true;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t n = 0; fine && counts.simulated_ms < goal * 3'600'000; ++n) {
    const uint64_t seed = power::Mix(RunSeed(), n);
    World world(seed);
    world.Run(kHoursOfWorld);
    counts.Add(world.counts());
    Tell(world, seed);
    fine = world.failure().empty();
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  std::printf(
      "clocks: %.1f s, turns %llu, operations %llu, sent %llu, received %llu, "
      "delayed %llu, expired %llu, checks %llu, dead letters %llu, jumps %llu, "
      "crashes %llu, boots %llu, looks at a clock in one call at most %llu\n",
      seconds, static_cast<unsigned long long>(counts.turns),
      static_cast<unsigned long long>(counts.operations),
      static_cast<unsigned long long>(counts.sent),
      static_cast<unsigned long long>(counts.received),
      static_cast<unsigned long long>(counts.delayed),
      static_cast<unsigned long long>(counts.expired),
      static_cast<unsigned long long>(counts.checks),
      static_cast<unsigned long long>(counts.dead_letters),
      static_cast<unsigned long long>(counts.jumps),
      static_cast<unsigned long long>(counts.crashes),
      static_cast<unsigned long long>(counts.boots),
      static_cast<unsigned long long>(counts.most_looks));
  CHECK(fine);
  const uint64_t hours =
      static_cast<uint64_t>(counts.simulated_ms) / uint64_t{3'600'000};
  Report({"clocks", "simulated hours, nothing early, late, lost or twice",
          WithCommas(static_cast<uint64_t>(goal)), WithCommas(hours),
          fine && hours >= static_cast<uint64_t>(goal)});
  Report({"clocks", "operations in them, wrong", "0", fine ? "0" : "1", fine});
  Report({"clocks", "looks at a clock in one call, at most",
          WithCommas(kMostLooks), WithCommas(counts.most_looks),
          counts.most_looks <= kMostLooks});
  CHECK(counts.most_looks <= kMostLooks);
}

TEST_CASE("a seed is all that a world depends on") {
  const uint64_t seed = power::Mix(RunSeed(), 1);
  World first(seed);
  first.Run(100);
  World second(seed);
  second.Run(100);
  CHECK(first.digest() == second.digest());
  CHECK(first.counts().operations == second.counts().operations);
}

}  // namespace
}  // namespace openmessaging::reference::clocks_test
