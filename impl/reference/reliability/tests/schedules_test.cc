// SPDX-License-Identifier: Apache-2.0
//
// The shipped engine under one schedule after another: two or three processes
// share a store in a world whose next step is chosen, and may die at each.
//
//   OMS_SCHEDULE=<scenario>:<schedule> reliability_schedules_test
//
// runs the one that a failure printed and shows each of its steps;
// OMS_SCENARIO=<scenario> explores that one alone.

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "goals.h"
#include "schedules/explorer.h"
#include "schedules/scenarios.h"

namespace openmessaging::reference::schedules_test {
namespace {

// Its addresses are where a world would be, and there is one thread anyway.
#if defined(__SANITIZE_THREAD__)
constexpr bool kApplies = false;
#else
constexpr bool kApplies = true;
#endif

using schedules::Bounds;
using schedules::Findings;
using schedules::ScenarioKind;

std::string_view Asked(const char* name) {
  const char* const text = ::getenv(name);
  return text == nullptr ? std::string_view() : text;
}

Bounds BoundsOf(const ScenarioKind& kind) {
  Bounds bounds = IsLongRun() ? kind.thorough : kind.quick;
  bounds.searched = For({kind.quick.searched, kind.thorough.searched});
  if (bounds.drawn > 0) {
    bounds.drawn = For({kind.quick.drawn, kind.thorough.drawn});
  }
  return bounds;
}

void Show(const ScenarioKind& kind, const Findings& found, double seconds) {
  std::printf(
      "%-26s %9s schedules, %4.0f events each, %3u shared words, %s, %.1f s, "
      "digest %016llx\n",
      kind.name, WithCommas(found.schedules).c_str(),
      static_cast<double>(found.events) /
          static_cast<double>(std::max<uint64_t>(1, found.schedules)),
      found.shared_words,
      found.exhausted ? "exhausted"
                      : ("all to " + std::to_string(found.complete_to)).c_str(),
      seconds, static_cast<unsigned long long>(found.digest));
  std::fflush(stdout);
}

TEST_CASE("no schedule of a few processes breaks a rule of the engine") {
  if (!kApplies || !Asked("OMS_SCHEDULE").empty()) return;
  uint64_t total = 0;
  uint64_t exhausted = 0;
  uint64_t scenarios = 0;
  for (const ScenarioKind& kind : schedules::AllScenarios()) {
    if (const auto asked = Asked("OMS_SCENARIO");
        !asked.empty() && asked != kind.name) {
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const Findings found = Explore(kind, BoundsOf(kind), RunSeed());
    Show(kind, found,
         std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
             .count());
    ++scenarios;
    total += found.schedules;
    exhausted += found.exhausted ? 1 : 0;
    CHECK_MESSAGE(!found.failed, std::string(found.failure.data()),
                  "; replay it with OMS_SCHEDULE=", std::string(kind.name), ":",
                  std::string(found.schedule.data()));
  }
  CHECK(total > 0);
  if (!Asked("OMS_SCENARIO").empty()) return;
  const uint64_t wanted = For({50'000, 1'000'000});
  Report({"schedules", "schedules of 2 and 3 processes, no rule is broken",
          WithCommas(wanted), WithCommas(total), total >= wanted});
  Report({"schedules", "scenarios explored wholly within their bounds",
          WithCommas(scenarios), WithCommas(exhausted), true});
}

TEST_CASE("one schedule is shown step by step") {
  const std::string_view asked = Asked("OMS_SCHEDULE");
  if (!kApplies || asked.empty()) return;
  const size_t colon = asked.find(':');
  REQUIRE(colon != std::string_view::npos);
  for (const ScenarioKind& kind : schedules::AllScenarios()) {
    if (asked.substr(0, colon) != kind.name) continue;
    CHECK(schedules::Replay(kind, asked.substr(colon + 1)) == "");
    return;
  }
  FAIL("no scenario has that name");
}

}  // namespace
}  // namespace openmessaging::reference::schedules_test
