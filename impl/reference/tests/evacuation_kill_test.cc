// SPDX-License-Identifier: Apache-2.0
//
// Evacuation among processes: one that holds a message does not hold the log, and
// whoever is killed while messages move, each that stayed is there once.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "store_fixture.h"

namespace openmessaging::reference::evacuation_kill_test {
namespace {

constexpr std::string_view kSmallSegments =
    "?first-segment=16KiB&max-segment=16KiB";
constexpr int kRounds = kSlowness == 1 ? 40 : 8;

size_t SegmentFilesOf(const FilePlace& place) {
  size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(place.path() + "/log")) {
    if (entry.path().extension() == ".seg") ++count;
  }
  return count;
}

// Acknowledges a message, unless it is one that stays. Returns: whether it did.
bool Settle(const Delivery& delivery) {
  if (delivery->body().starts_with("stays")) {
    Must(delivery.Nack(std::chrono::hours(1)));
    return false;
  }
  Must(delivery.Ack());
  return true;
}

// Sends numbers and settles as many, as one consumer.
void Flow(const MessagingAccessPoint& bus, PullConsumer& consumer, int first,
          int last) {
  static const std::string padding(400, '.');
  SendNumbers(bus, "orders", first, last, padding);
  for (int n = first; n <= last;) {
    for (const Delivery& delivery : Must(consumer.ReceiveBatch(64, kLong))) {
      if (Settle(delivery)) ++n;
    }
  }
}

// Arguments: URL. Receives one message and keeps it until it is told to
// acknowledge it.
OMS_ROLE(evacuation_holder) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer =
      Consume(bus, "orders", {.lease = std::chrono::hours(1)});
  const Delivery held = Take(consumer);
  role.Say(held->body());
  role.Hear();
  Must(held.Ack());
  role.Say("done");
}

TEST_CASE("OMS-REF-027: a message that another process holds does not hold the log") {
  FilePlace place;
  const auto bus =
      ConnectWith(place.Url(std::string(kSmallSegments)), "orders");
  SendOne(bus, Message("orders", "held"));
  Child holder("evacuation_holder", {place.Url()});
  REQUIRE(holder.Hear() == "held");
  PullConsumer consumer = Consume(bus, "orders");

  Flow(bus, consumer, 1, 2000);

  const auto deadline = steady_clock::now() + 2 * kLong;
  while (SegmentFilesOf(place) > 8 && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  CHECK(SegmentFilesOf(place) <= 8);
  auto stats = Must(bus.resource_manager().Stats("orders"));
  CHECK(stats.depth == 1);
  holder.Say("acknowledge it");
  CHECK(holder.Hear() == "done");
  CHECK(holder.Finish());
  CHECK(NothingComes(consumer));
  stats = Must(bus.resource_manager().Stats("orders"));
  CHECK(stats.depth == 0);
}

TEST_CASE_TEMPLATE("OMS-REF-027: a store of little room goes on beside a message that stays",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(
      place.Url(std::string(kSmallSegments) + "&max-bytes=128KiB&reserve=16KiB"), "orders");
  SendOne(bus, Message("orders", "stays"));
  PullConsumer consumer = Consume(bus, "orders");
  Must(Take(consumer).Nack(std::chrono::hours(1)));

  // Many times as much as there is room for.
  for (int n = 1; n < 2000; n += 50) Flow(bus, consumer, n, n + 49);

  PullConsumer late = Consume(bus, "orders", {.group = "late"});
  CHECK(Take(late)->body() == "stays");
  CHECK(Must(bus.resource_manager().Stats("orders")).groups.size() == 2);
}

// Arguments: URL, number of the first message. Says each message that is to stay
// once it is stored and given back for a long time; opens the store anew for each
// hundred, since the last to close evacuates it.
OMS_ROLE(evacuation_victim) {
  for (int64_t n = role.number(1);; n += 100) {
    const auto bus = Connect(role.argument(0));
    PullConsumer consumer = Consume(bus, "orders");
    const std::string body = "stays " + std::to_string(n);
    SendOne(bus, Message("orders", body));
    while (true) {
      const auto delivery = Must(consumer.Receive(milliseconds(0)));
      if (!delivery) break;
      Settle(*delivery);
    }
    role.Say(body);
    Flow(bus, consumer, 1, 100);
  }
}

TEST_CASE("OMS-REF-027: whoever is killed while messages move each is there once") {
  FilePlace place;
  const std::string url = place.Url(std::string(kSmallSegments));
  ConnectWith(url, "orders");
  std::set<std::string> stayed;
  std::mt19937_64 random = RandomOf(27);
  size_t most = 0;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    Child victim("evacuation_victim",
                 {place.Url(), std::to_string(round * 1'000'000)});
    const auto first = victim.Hear();
    REQUIRE(first);
    stayed.insert(*first);
    std::this_thread::sleep_for(
        std::chrono::microseconds(random() % (200'000 * kSlowness)));
    REQUIRE(victim.Kill());
    while (const auto line = victim.Hear()) stayed.insert(*line);
    if (round % 3 == 2) std::filesystem::remove(place.path() + "/ctl");
    most = std::max(most, SegmentFilesOf(place));
  }
  REQUIRE(stayed.size() > static_cast<size_t>(kRounds));

  const auto bus = Connect(url);
  PullConsumer consumer = Consume(bus, "orders", {.group = "all"});
  std::set<std::string> came;
  int64_t last = -1;
  while (true) {
    const auto delivery = Must(consumer.Receive(milliseconds(300)));
    if (!delivery) break;
    CHECK((*delivery)->offset() > last);
    last = (*delivery)->offset();
    if ((*delivery)->body().starts_with("stays")) {
      CHECK(came.insert(std::string((*delivery)->body())).second);
    }
    Must(delivery->Ack());
  }
  for (const std::string& body : stayed) CHECK(came.contains(body));
  CheckSound(place.path());
  // Some 4,000 messages of 500 bytes went through.
  CHECK(most < 60);
}

}  // namespace
}  // namespace openmessaging::reference::evacuation_kill_test
