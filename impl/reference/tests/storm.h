// SPDX-License-Identifier: Apache-2.0
//
// What storms of killed processes share.

#ifndef OPENMESSAGING_REFERENCE_TESTS_STORM_H_
#define OPENMESSAGING_REFERENCE_TESTS_STORM_H_

#include <chrono>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>

#include "child.h"
#include "doctest/doctest.h"

namespace openmessaging::reference {

// The roles of who takes part in a storm.
struct StormRoles {
  std::string_view taker{};
  std::string_view sender{};
};

// Runs one taker and two senders, and kills one of them, some, or all at once;
// again and again. What they say goes to `ledger`. With `rob_ctl` the shared
// state is lost each time.
template <typename Ledger>
void Torment(const StormRoles& roles, const std::string& url,
             const std::string& path, bool rob_ctl, std::mt19937_64& random,
             Ledger& ledger) {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  const uint64_t rounds = 24 * TestScale() / kSlowness;
  for (uint64_t round = 0; round < rounds; ++round) {
    Child taker(roles.taker, {url});
    Child first(roles.sender, {url, std::to_string(random())});
    Child second(roles.sender, {url, std::to_string(random())});
    for (Child* const child : {&taker, &first, &second}) {
      REQUIRE(child->Hear() == "ready");
    }
    const auto instant =
        steady_clock::now() +
        std::chrono::microseconds(5'000 + random() % 120'000);
    while (steady_clock::now() < instant) {
      for (Child* const child : {&taker, &first, &second}) {
        ledger.Hear(*child, milliseconds(1));
      }
    }
    REQUIRE(first.Kill());
    if (round % 3 != 0) {
      ledger.Hear(second, milliseconds(5));
      REQUIRE(second.Kill());
    }
    REQUIRE(taker.Kill());
    if (round % 3 == 0) {
      second.HangUp();
      REQUIRE(second.Finish());
    }
    for (Child* const child : {&taker, &first, &second}) {
      ledger.Hear(*child, milliseconds(0), INT_MAX);
    }
    if (rob_ctl) std::filesystem::remove(path + "/ctl");
  }
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_TESTS_STORM_H_
