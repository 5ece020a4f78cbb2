// SPDX-License-Identifier: Apache-2.0

#include "goals.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference {
namespace {

// How much less a build does that is slower by as much.
constexpr uint64_t kSlower =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    10;
#else
    1;
#endif

// What a change must pass is the same each time; the long form looks for more.
constexpr uint64_t kQuickSeed = 2;

}  // namespace

bool IsLongRun() {
  const char* const form = std::getenv("OMS_RELIABILITY");
  return form != nullptr && std::string_view(form) == "long";
}

uint64_t For(const Rounds& rounds) {
  const uint64_t number = IsLongRun() ? rounds.thorough : rounds.quick;
  return std::max<uint64_t>(1, number / kSlower);
}

uint64_t RunSeed() {
  static const uint64_t seed = [] {
    const char* const given = std::getenv("OMS_TEST_SEED");
    const uint64_t value = given != nullptr ? std::stoull(given)
                           : IsLongRun()    ? std::random_device()()
                                            : kQuickSeed;
    std::printf("seed: %llu (repeat with OMS_TEST_SEED)\n",
                static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

std::mt19937_64 RandomOfRun(uint64_t stream) {
  std::seed_seq sequence{RunSeed(), stream};
  return std::mt19937_64(sequence);
}

void Report(const GoalRow& row) {
  const std::string line = internal::Concat(
      row.machine, '\t', row.goal, '\t', row.wanted, '\t', row.reached, '\t',
      row.met ? "met" : "MISSED", '\t', RunSeed());
  std::printf("goal: %s\n", line.c_str());
  std::fflush(stdout);
  const char* const table = std::getenv("OMS_RELIABILITY_TABLE");
  if (table == nullptr) return;
  // One write, so that machines that run at once do not mix their lines.
  std::ofstream(table, std::ios::app) << line + '\n' << std::flush;
}

std::string WithCommas(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

}  // namespace openmessaging::reference
