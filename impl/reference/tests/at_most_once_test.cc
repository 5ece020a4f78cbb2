// SPDX-License-Identifier: Apache-2.0
//
// Messages that no group gets twice, whatever becomes of who received them.

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::at_most_once_test {
namespace {

constexpr milliseconds kLease{50};

Message Once(std::string_view body) {
  Message message("orders", body);
  message.SetQos(Qos::kAtMostOnce);
  return message;
}

PullConsumer Member(const MessagingAccessPoint& bus,
                    std::string_view group = "billing") {
  return Consume(bus, "orders", {.group = std::string(group), .lease = kLease});
}

// Returns: the bodies that come within two leases and a while, acknowledged.
std::vector<std::string> WhatComes(PullConsumer& consumer) {
  std::vector<std::string> bodies;
  while (true) {
    const auto batch = Must(consumer.ReceiveBatch(64, 4 * kLease));
    if (batch.empty()) return bodies;
    for (const Delivery& delivery : batch) {
      bodies.emplace_back(delivery->body());
      Must(delivery.Ack());
    }
  }
}

// Argument: URL. Receives everything, says so, and waits to be killed.
OMS_ROLE(unsure_taker) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(
      bus, "orders", {.group = "billing", .lease = std::chrono::hours(1)});
  std::vector<Delivery> taken;
  for (int n = 0; n < 3; ++n) taken.push_back(Take(consumer));
  role.Say("has them");
  (void)role.Hear();
}

// Argument: URL. Sends three messages and waits to be killed.
OMS_ROLE(killed_sender) {
  const auto bus = Connect(role.argument(0));
  SendOne(bus, Once("1"));
  SendOne(bus, Message("orders", "plain"));
  SendOne(bus, Once("2"));
  role.Say("sent");
  (void)role.Hear();
}

TEST_CASE_TEMPLATE("OMS-CONS-029: at most once means once for each group", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendOne(bus, Once("once"));
  SendOne(bus, Message("orders", "plain"));
  PullConsumer consumer = Member(bus);
  const auto first = Must(consumer.ReceiveBatch(2, kLong));
  REQUIRE(first.size() == 2);
  CHECK(first[0]->delivery_count() == 1);

  // The lease ends, and only the other one comes again.
  CHECK(WhatComes(consumer) == std::vector<std::string>{"plain"});

  PullConsumer other = Member(bus, "auditing");
  CHECK(WhatComes(other) == std::vector<std::string>{"once", "plain"});
}

TEST_CASE_TEMPLATE("OMS-CONS-029: no settlement brings it back", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue("dead"));
  Must(bus.resource_manager().CreateQueue("orders",
                                          {.dead_letter_queue = "dead"}));
  PullConsumer consumer = Member(bus);
  for (int n = 0; n < 4; ++n) SendOne(bus, Once("once"));
  const auto taken = Must(consumer.ReceiveBatch(4, kLong));
  REQUIRE(taken.size() == 4);

  CHECK(taken[0].Ack().ok());
  CHECK(taken[1].Nack(milliseconds(0)).ok());
  CHECK(OmsCode(taken[2].Extend(kLease)) == Code::kReceiptExpired);
  CHECK(taken[3].Reject().ok());

  CHECK(WhatComes(consumer).empty());
  CHECK(consumer.Stop(Soon()) == 0);
  PullConsumer next = Member(bus);
  CHECK(WhatComes(next).empty());
  PullConsumer dead = Consume(bus, "dead");
  CHECK(NothingComes(dead));
}

TEST_CASE_TEMPLATE("OMS-CONS-029: a delayed one is delivered once too", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Member(bus);
  SendOne(bus, Once("later").SetDelay(milliseconds(20)));

  CHECK(Take(consumer)->body() == "later");

  CHECK(WhatComes(consumer).empty());
}

TEST_CASE_TEMPLATE("OMS-CONS-029: its key does not wait for it", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(
      bus, "orders", {.lease = std::chrono::hours(1), .ordered = true});
  SendOne(bus, Once("1").SetMessageKey("k"));
  SendOne(bus, Message("orders", "2").SetMessageKey("k"));

  const Delivery first = Take(consumer);

  CHECK(first->body() == "1");
  CHECK(Take(consumer)->body() == "2");
}

TEST_CASE("OMS-CONS-029: it stays settled when the store is opened again") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    PullConsumer consumer = Member(bus);
    SendOne(bus, Once("once"));
    SendOne(bus, Message("orders", "plain"));
    CHECK(Must(consumer.ReceiveBatch(2, kLong)).size() == 2);
  }
  CheckSound(place.path());

  const auto bus = Connect(place.Url());
  PullConsumer consumer = Member(bus);

  CHECK(WhatComes(consumer) == std::vector<std::string>{"plain"});
}

TEST_CASE("OMS-CONS-029: nobody gets what a killed process had received") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    SendOne(bus, Once("1"));
    SendOne(bus, Message("orders", "plain"));
    SendOne(bus, Once("2"));
    Child taker("unsure_taker", {place.Url()});
    REQUIRE(taker.Hear() == "has them");
    REQUIRE(taker.Kill());
    PullConsumer consumer = Member(bus);
    CHECK(WhatComes(consumer) == std::vector<std::string>{"plain"});
  }
}

// Nothing of what was handed out outlives ctl here.
TEST_CASE("OMS-CONS-029: what was handed out before a power loss does not come") {
  FilePlace place;
  { const auto bus = ConnectWith(place.Url(), "orders"); }
  Child sender("killed_sender", {place.Url()});
  REQUIRE(sender.Hear() == "sent");
  Child taker("unsure_taker", {place.Url()});
  REQUIRE(taker.Hear() == "has them");
  REQUIRE(taker.Kill());
  REQUIRE(sender.Kill());
  std::filesystem::remove(place.path() + "/ctl");
  // Closed and opened once more it is no other.
  for (const bool closed : {false, true}) {
    CAPTURE(closed);
    const auto bus = Connect(place.Url());
    if (!closed) continue;
    PullConsumer consumer = Member(bus);

    CHECK(WhatComes(consumer) == std::vector<std::string>{"plain"});
    // Of what comes from now on nothing is left out, nor of a new group.
    SendOne(bus, Once("3"));
    CHECK(WhatComes(consumer) == std::vector<std::string>{"3"});
    PullConsumer other = Member(bus, "auditing");
    CHECK(WhatComes(other) ==
          std::vector<std::string>{"1", "plain", "2", "3"});
  }
}

}  // namespace
}  // namespace openmessaging::reference::at_most_once_test
