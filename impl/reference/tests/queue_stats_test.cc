// SPDX-License-Identifier: Apache-2.0
//
// Stats: what is sent minus what is settled, and what became of the rest.

#include "openmessaging/queue_stats.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::queue_stats_test {
namespace {

constexpr int kWindow = 16;

QueueStats StatsOf(const MessagingAccessPoint& bus) {
  return Must(bus.resource_manager().Stats("orders"));
}

GroupStats GroupOf(const MessagingAccessPoint& bus, std::string_view name) {
  for (const GroupStats& group : StatsOf(bus).groups) {
    if (group.group == name) return group;
  }
  FAIL("no such group: " << name);
  return {};
}

TEST_CASE_TEMPLATE("OMS-STAT-005: what is prepared counts until it is decided",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("others", {}));
  CHECK(StatsOf(bus).prepared == 0);
  ProducerOptions options;
  options.group = "shop";
  options.check = [](const Message&) { return TransactionState::kUnknown; };
  options.check_after = std::chrono::minutes(1);
  Producer producer = Must(bus.CreateProducer(options));
  PreparedMessage first = Must(producer.Prepare(Message("orders", "1")));
  PreparedMessage second = Must(producer.Prepare(Message("orders", "2")));
  PreparedMessage third = Must(producer.Prepare(Message("others", "3")));
  const auto elsewhere = Connect(place.Url());
  CHECK(StatsOf(elsewhere).prepared == 2);
  CHECK(StatsOf(elsewhere).depth == 0);

  Must(first.Commit());
  CHECK(StatsOf(bus).prepared == 1);
  CHECK(StatsOf(bus).depth == 1);
  Must(second.Rollback());
  CHECK(StatsOf(bus).prepared == 0);
  CHECK(StatsOf(bus).depth == 1);
  CHECK(Must(bus.resource_manager().Stats("others")).prepared == 1);
  Must(third.Rollback());
}

TEST_CASE_TEMPLATE("OMS-STAT-002: depth and lag are what was sent less what "
                   "was settled",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 3);
  const auto elsewhere = Connect(place.Url());
  CHECK(StatsOf(bus).queue == "orders");
  CHECK(StatsOf(bus).depth == 0);
  CHECK(StatsOf(bus).bytes == 0);
  CHECK(!StatsOf(bus).oldest_age);
  CHECK(StatsOf(bus).groups.empty());

  SendNumbers(bus, "orders", 0, 29);
  CHECK(StatsOf(bus).depth == 30);
  CHECK(StatsOf(bus).bytes > 30);
  PullConsumer billing = Consume(bus, "orders", {.group = "billing"});
  PullConsumer audit = Consume(elsewhere, "orders", {.group = "audit"});
  std::vector<Delivery> held;
  for (int n = 0; n < 10; ++n) held.push_back(Take(billing));

  // Seen from another process as well.
  for (const MessagingAccessPoint* const from : {&bus, &elsewhere}) {
    const GroupStats group = GroupOf(*from, "billing");
    CHECK(group.lag == 30);
    CHECK(group.leased == 10);
    CHECK(group.backing_off == 0);
    CHECK(group.exceptions == 0);
    CHECK(!group.stopped);
    CHECK(group.oldest_age.has_value());
    CHECK(GroupOf(*from, "audit").lag == 30);
    CHECK(GroupOf(*from, "audit").leased == 0);
  }
  for (int n = 0; n < 4; ++n) Must(held[static_cast<size_t>(n)].Ack());
  Must(held[4].Nack(kLong));
  Must(held[5].Nack(milliseconds(0)));
  const GroupStats group = GroupOf(bus, "billing");
  CHECK(group.lag == 26);
  CHECK(group.leased == 4);
  CHECK(group.backing_off == 1);
  // Nobody else has settled anything.
  CHECK(StatsOf(bus).depth == 30);
  CHECK(DrainBodies(audit).size() == 30);
  CHECK(GroupOf(bus, "audit").lag == 0);
  CHECK(!GroupOf(bus, "audit").oldest_age);
  CHECK(StatsOf(bus).depth == 26);
  CHECK(StatsOf(bus).groups.size() == 2);
  CHECK(StatsOf(bus).groups[0].group == "audit");

  // Who moves a group moves its numbers.
  Must(bus.resource_manager().SeekGroup("orders", "audit",
                                        StreamPosition::Earliest()));
  CHECK(GroupOf(bus, "audit").lag == 30);
  Must(bus.resource_manager().DeleteGroup("orders", "audit"));
  CHECK(StatsOf(bus).depth == 26);
  CHECK(OmsCode(bus.resource_manager().Stats("absent").status()) ==
        Code::kQueueNotFound);
}

TEST_CASE("OMS-STAT-002: the numbers are the same after every opening") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    SendNumbers(bus, "orders", 0, 19);
    PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
    for (int n = 0; n < 7; ++n) Must(Take(consumer).Ack());
  }
  SUBCASE("clean") {}
  SUBCASE("from the log") { std::filesystem::remove(place.path() + "/ctl"); }
  const auto bus = Connect(place.Url());

  CHECK(StatsOf(bus).depth == 13);
  CHECK(GroupOf(bus, "billing").lag == 13);
  CHECK(GroupOf(bus, "billing").leased == 0);
}

TEST_CASE_TEMPLATE("OMS-STAT-003: a group that is stopped is told", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(
      place.Url("?window=" + std::to_string(kWindow)), "orders");
  SendNumbers(bus, "orders", 0, 3 * kWindow);
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  std::vector<Delivery> held;
  CHECK(!GroupOf(bus, "billing").stopped);
  while (auto received = Must(consumer.Receive(kShort))) {
    held.push_back(*std::move(received));
  }

  // The window and the table beside it.
  CHECK(held.size() == 2 * kWindow);
  GroupStats group = GroupOf(bus, "billing");
  CHECK(group.stopped);
  CHECK(group.leased == 2 * kWindow);
  CHECK(group.exceptions == kWindow);
  CHECK(group.lag == 3 * kWindow + 1);
  CHECK(StatsOf(bus).depth == 3 * kWindow + 1);

  Must(held[0].Ack());
  CHECK(!GroupOf(bus, "billing").stopped);
  held.push_back(Take(consumer));
  group = GroupOf(bus, "billing");
  CHECK(group.lag == 3 * kWindow);
  CHECK(group.leased == 2 * kWindow);
}

TEST_CASE_TEMPLATE("OMS-STAT-002: ages and bytes are of what is unsettled",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendNumbers(bus, "orders", 0, 0, std::string(1000, 'x'));
  std::this_thread::sleep_for(milliseconds(300));
  SendNumbers(bus, "orders", 1, 1, std::string(100, 'x'));
  PullConsumer own = Consume(bus, "orders", {.broadcast = true});
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});

  QueueStats stats = StatsOf(bus);
  REQUIRE(stats.bytes.has_value());
  CHECK(*stats.bytes >= 1100);
  CHECK(*stats.bytes < 1600);
  REQUIRE(stats.oldest_age.has_value());
  CHECK(*stats.oldest_age >= milliseconds(290));

  Must(Take(consumer).Ack());
  CHECK(*GroupOf(bus, "billing").oldest_age < *StatsOf(bus).oldest_age);
  // A broadcast consumer holds messages too, but is no group to list.
  CHECK(StatsOf(bus).depth == 2);
  CHECK(StatsOf(bus).groups.size() == 1);
  Must(Take(own).Ack());
  stats = StatsOf(bus);
  CHECK(stats.depth == 1);
  CHECK(*stats.bytes < 600);
}

TEST_CASE("OMS-STAT-002: what would take long to measure is left out") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendNumbers(bus, "orders", 0, 65'535);
  CHECK(StatsOf(bus).bytes.has_value());
  SendNumbers(bus, "orders", 0, 0);

  CHECK(StatsOf(bus).depth == 65'537);
  CHECK(!StatsOf(bus).bytes);
  CHECK(StatsOf(bus).oldest_age.has_value());
}

TEST_CASE("OMS-STAT-002: asking disturbs nobody who sends and settles") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url("?first-segment=64KiB"), "orders");
  std::thread worker([&] {
    Producer producer = Must(bus.CreateProducer());
    PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
    for (int n = 0; n < 2000; ++n) {
      Message message("orders", std::string(200, 'x'));
      message.SetDurability(Durability::kProcess);
      Must(producer.Send(message));
      if (n % 3 != 0) Must(Take(consumer).Ack());
    }
    DrainBodies(consumer);
  });
  const auto deadline = Soon();
  bool busy = false;
  while (steady_clock::now() < deadline) {
    const QueueStats stats = StatsOf(bus);
    CHECK(stats.depth >= 0);
    CHECK(stats.depth <= 2000);
    if (stats.depth > 0) busy = true;
    for (const GroupStats& group : stats.groups) {
      CHECK(group.lag >= 0);
      CHECK(group.lag <= 2000);
      CHECK(*group.leased <= 64);  // As many as one call takes.
    }
    if (busy && stats.depth == 0 && !stats.groups.empty()) break;
  }
  worker.join();
  CHECK(busy);
  CHECK(StatsOf(bus).depth == 0);
}

}  // namespace
}  // namespace openmessaging::reference::queue_stats_test
