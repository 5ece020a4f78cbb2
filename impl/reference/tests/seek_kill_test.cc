// SPDX-License-Identifier: Apache-2.0
//
// Processes that move a group and are killed at it: the group is where the last
// seek that returned has put it, or where the one that was under way would.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::seek_kill_test {
namespace {

constexpr int kMessages = 300;
constexpr int kRounds = 30 / (kSlowness == 1 ? 1 : 3);

// Arguments: URL, number. Moves the group for ever, to offsets that its number
// decides; says "ready", then "to <offset>" before each move, and "at <offset>"
// behind it.
OMS_ROLE(mover) {
  const auto bus = Connect(role.argument(0));
  ResourceManager manager = bus.resource_manager();
  std::mt19937_64 random(static_cast<uint64_t>(role.number(1)));
  role.Say("ready");
  while (true) {
    const auto offset = static_cast<int64_t>(random() % kMessages);
    role.Say("to " + std::to_string(offset));
    Must(manager.SeekGroup("orders", "billing", StreamPosition::Offset(offset)));
    role.Say("at " + std::to_string(offset));
  }
}

// What a mover said: where it put the group last, and where it was about to.
struct Said {
  int64_t at = -1;
  int64_t to = -1;
};

Said HearAll(Child& mover) {
  Said said;
  while (const auto line = mover.Hear()) {
    const int64_t offset = std::stoll(line->substr(3));
    if (line->starts_with("at ")) {
      said = {offset, -1};
    } else {
      said.to = offset;
    }
  }
  return said;
}

TEST_CASE("OMS-GRP-002: a group that was moved stays there whoever is killed") {
  FilePlace place;
  auto bus = std::make_unique<MessagingAccessPoint>(
      ConnectWith(place.Url(), "orders"));
  SendNumbers(*bus, "orders", 0, kMessages - 1);
  { PullConsumer consumer = Consume(*bus, "orders", {.group = "billing"}); }
  // So that all of it stays, though the group has it behind itself.
  { PullConsumer keeper = Consume(*bus, "orders", {.group = "keeper"}); }
  std::mt19937_64 random = RandomOf(61);
  int64_t last = 0;
  int moves = 0;

  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    // With a peer that lives on; alone; alone, and robbed of what the living
    // shared.
    if (round % 3 != 0) bus.reset();
    Child mover("mover", {place.Url(), std::to_string(random() % 1'000'000)});
    REQUIRE(mover.Hear() == "ready");
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    REQUIRE(mover.Kill());
    const Said said = HearAll(mover);
    if (round % 3 == 2) std::filesystem::remove(place.path() + "/ctl");
    if (bus == nullptr) {
      bus = std::make_unique<MessagingAccessPoint>(Connect(place.Url()));
    }

    PullConsumer consumer = Consume(*bus, "orders", {.group = "billing"});
    const Delivery found = Take(consumer);

    const int64_t before = said.at >= 0 ? said.at : last;
    INFO("found " << found->offset() << ", was at " << before
                  << ", on the way to " << said.to);
    CHECK((found->offset() == before || found->offset() == said.to));
    if (said.at >= 0) ++moves;
    if (said.at >= 0) CHECK(found->delivery_count() == 1);
    last = found->offset();
  }
  CHECK(moves > 0);
  bus.reset();
  CheckSound(place.path());
}

}  // namespace
}  // namespace openmessaging::reference::seek_kill_test
