// SPDX-License-Identifier: Apache-2.0
//
// Power losses: at any place of many short lives of a store, with any part of
// what was not flushed, in recoveries as well.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>

#include "doctest/doctest.h"
#include "goals.h"
#include "power/explorer.h"

namespace openmessaging::reference::power_test {
namespace {

using power::Counts;
using power::Explorer;
using power::Finding;
using power::Path;

void Tell(const Explorer& explorer) {
  for (const Finding& finding : explorer.findings()) {
    std::printf("power: %s\n  repeat with OMS_POWER_REPLAY=%s\n",
                finding.what.c_str(), finding.Name().c_str());
  }
}

struct Replayed {
  uint64_t seed = 0;
  uint64_t workload = 0;
  Path path{};
};

// Returns: what OMS_POWER_REPLAY names.
std::optional<Replayed> AskedFor() {
  const char* const name = std::getenv("OMS_POWER_REPLAY");
  if (name == nullptr) return std::nullopt;
  std::istringstream in(name);
  Replayed asked;
  char mark = 0;
  in >> asked.seed >> mark >> asked.workload;
  size_t cut = 0;
  size_t state = 0;
  while (in >> mark >> cut >> mark >> state) asked.path.push_back({cut, state});
  return asked;
}

TEST_CASE("a power loss loses nothing that was acknowledged") {
  if (const auto asked = AskedFor()) {
    Explorer explorer(asked->seed);
    explorer.Replay(asked->workload, asked->path);
    Tell(explorer);
    CHECK(explorer.findings().empty());
    return;
  }
  const uint64_t goal = For({100'000, 2'000'000});
  const auto begin = std::chrono::steady_clock::now();
  Explorer explorer(RunSeed());
  for (uint64_t n = 0;
       explorer.counts().all() < goal && explorer.findings().empty(); ++n) {
    explorer.Explore(n, 2'000);
  }
  Tell(explorer);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  const Counts& counts = explorer.counts();
  std::printf(
      "power: %llu recordings, %llu cuts, %llu judged, %llu lies, %.1f s, "
      "%.3f ms each; by depth %llu %llu %llu %llu\n",
      static_cast<unsigned long long>(counts.recordings),
      static_cast<unsigned long long>(counts.cuts),
      static_cast<unsigned long long>(counts.judged),
      static_cast<unsigned long long>(counts.lies), seconds,
      seconds * 1000 / static_cast<double>(counts.judged),
      static_cast<unsigned long long>(counts.distinct[0]),
      static_cast<unsigned long long>(counts.distinct[1]),
      static_cast<unsigned long long>(counts.distinct[2]),
      static_cast<unsigned long long>(counts.distinct[3]));
  CHECK(explorer.findings().empty());
  Report({"power", "power-loss states, all different, none loses or alters",
          WithCommas(goal), WithCommas(counts.all()),
          counts.all() >= goal && explorer.findings().empty()});
}

}  // namespace
}  // namespace openmessaging::reference::power_test
