// SPDX-License-Identifier: Apache-2.0
//
// Tests of bindings with a filter: who gets what, who may have which filter at
// one time, in one process and in several, and what a filter leaves behind.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::filter_test {
namespace {

constexpr char kQueue[] = "orders";
constexpr char kOdd[] = "kind = 'odd'";
constexpr char kEven[] = "kind = 'even'";

// Sends the numbers as bodies, each with a property that says its kind.
void SendKinds(const MessagingAccessPoint& bus, int first, int last) {
  // As cheap as a store of files can.
  const bool is_durable =
      Must(bus.capabilities(kQueue)).Has(Capability::kDurable);
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch;
  for (int n = first; n <= last; ++n) {
    Message& message = batch.emplace_back(kQueue, std::to_string(n));
    Must(message.SetProperty("kind", n % 2 == 0 ? "even" : "odd"));
    Must(message.SetProperty("n", n));
    if (is_durable) message.SetDurability(Durability::kProcess);
    if (batch.size() < 500 && n != last) continue;
    for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
      Must(sent.status());
    }
    batch.clear();
  }
}

PullConsumer ConsumeSome(const MessagingAccessPoint& bus,
                         const std::string& filter,
                         const PullConsumerOptions& options = {}) {
  PullConsumer consumer = Must(bus.CreatePullConsumer(options));
  Must(consumer.Bind(kQueue, {.filter = filter}));
  return consumer;
}

absl::Status BindStatus(const MessagingAccessPoint& bus,
                        const std::string& filter,
                        const PullConsumerOptions& options = {}) {
  PullConsumer consumer = Must(bus.CreatePullConsumer(options));
  return consumer.Bind(kQueue, {.filter = filter});
}

// Arguments: URL, filter. Binds, says the code, and holds it until it hears or
// is killed; "take" receives one message and says its body, unsettled.
OMS_ROLE(member) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  const auto bound = consumer.Bind(kQueue, {.filter = role.argument(1)});
  role.Say(std::to_string(static_cast<int>(OmsCode(bound))));
  while (const auto line = role.Hear()) {
    if (*line != "take") break;
    role.Say(Take(consumer)->body());
  }
}

}  // namespace

TEST_CASE_TEMPLATE("OMS-CONS-025: a member gets what its filter is true for",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue, 3);
  PullConsumer consumer = ConsumeSome(bus, "kind = 'odd' AND n > 4");
  SendKinds(bus, 1, 20);
  SendOne(bus, Message(kQueue, "neither"));

  std::vector<std::string> bodies = DrainBodies(consumer);
  std::sort(bodies.begin(), bodies.end());

  CHECK(bodies ==
        std::vector<std::string>{"11", "13", "15", "17", "19", "5", "7", "9"});
}

TEST_CASE_TEMPLATE("OMS-CONS-025: what a filter leaves out disturbs nobody",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PullConsumer odd = ConsumeSome(bus, kOdd, {.group = "odd"});
  PullConsumer even = ConsumeSome(bus, kEven, {.group = "even"});
  PullConsumer all = Consume(bus, kQueue, {.group = "all"});
  PullConsumer mine = ConsumeSome(bus, kOdd, {.broadcast = true});
  PullConsumer other = ConsumeSome(bus, kEven, {.broadcast = true});
  SendKinds(bus, 1, 6);

  CHECK(DrainBodies(odd) == std::vector<std::string>{"1", "3", "5"});
  CHECK(DrainBodies(even) == std::vector<std::string>{"2", "4", "6"});
  CHECK(DrainBodies(all) == Numbers(1, 6));
  CHECK(DrainBodies(mine) == std::vector<std::string>{"1", "3", "5"});
  CHECK(DrainBodies(other) == std::vector<std::string>{"2", "4", "6"});
}

TEST_CASE_TEMPLATE("OMS-CONS-025: what a filter leaves out is not buried", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue(kQueue,
                                          {.dead_letter_queue = "dead"}));
  for (const char* const kind : {"even", "odd"}) {
    Message message(kQueue, kind);
    Must(message.SetProperty("kind", kind));
    message.SetExpireAt(milliseconds(1));
    SendOne(bus, message);
  }
  PullConsumer odd = ConsumeSome(bus, kOdd, {.group = "odd"});
  PullConsumer even = ConsumeSome(bus, kEven, {.group = "even"});
  PullConsumer undertaker = Consume(bus, "dead");

  // It is for the group that it came too late for.
  for (const auto& [consumer, name] :
       {std::pair(&odd, "odd"), std::pair(&even, "even")}) {
    CHECK(NothingComes(*consumer));
    const Delivery dead = Take(undertaker);
    CHECK(dead->body() == name);
    CHECK(dead->properties().GetOr<std::string>(kDeadGroup, "") == name);
    CHECK(NothingComes(undertaker));
  }
}

TEST_CASE_TEMPLATE("OMS-CONS-025: an invalid filter fails when it is bound",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);

  const absl::Status status = BindStatus(bus, "price >");

  CHECK(OmsCode(status) == Code::kBadParameter);
  CHECK(Text(status).find("column 8") != std::string::npos);
  // Nobody is a member because of it.
  CHECK(BindStatus(bus, kOdd).ok());
}

TEST_CASE_TEMPLATE("OMS-CONS-025: without the filter comes what is new", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  {
    PullConsumer odd = ConsumeSome(bus, kOdd);
    SendKinds(bus, 1, 6);
    REQUIRE(DrainBodies(odd) == std::vector<std::string>{"1", "3", "5"});
    Must(odd.Unbind(kQueue));

    Must(odd.Bind(kQueue));
    SendKinds(bus, 7, 8);
    CHECK(DrainBodies(odd) == Numbers(7, 8));
  }
  PullConsumer even = ConsumeSome(bus, kEven);
  SendKinds(bus, 9, 10);
  CHECK(DrainBodies(even) == std::vector<std::string>{"10"});
}

TEST_CASE_TEMPLATE("OMS-CONS-025: what was nacked meets the filter of then",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  SendKinds(bus, 1, 2);
  {
    PullConsumer odd = ConsumeSome(bus, kOdd);
    Must(Take(odd).Nack(milliseconds(0)));
  }

  PullConsumer even = ConsumeSome(bus, kEven);

  CHECK(DrainBodies(even) == std::vector<std::string>{"2"});
  Must(even.Unbind(kQueue));
  Must(even.Bind(kQueue));
  CHECK(NothingComes(even));
}

TEST_CASE_TEMPLATE("OMS-CONS-027: members that live have one filter", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Must(bus.resource_manager().CreateQueue("other", {}));
  const auto again = Connect(place.Url());
  {
    PullConsumer odd = ConsumeSome(bus, kOdd);

    for (const char* filter : {kEven, ""}) {
      CAPTURE(filter);
      const absl::Status refused = BindStatus(again, filter);
      CHECK(OmsCode(refused) == Code::kConsumerExists);
      CHECK(Text(refused).find("another filter") != std::string::npos);
    }
    // Other blanks are no other filter; other groups and queues are others.
    CHECK(BindStatus(again, "(kind)='odd'").ok());
    CHECK(BindStatus(again, kEven, {.group = "another"}).ok());
    PullConsumer elsewhere = Must(again.CreatePullConsumer());
    CHECK(elsewhere.Bind("other", {.filter = kEven}).ok());
    // A refusal leaves nothing behind, an exclusive claim neither.
    CHECK(OmsCode(BindStatus(again, kEven, {.exclusive = true})) ==
          Code::kConsumerExists);
    CHECK(BindStatus(again, kOdd).ok());
  }
  CHECK(BindStatus(again, kEven).ok());
  CHECK(BindStatus(again, "").ok());
}

TEST_CASE("OMS-CONS-027: more members than one page has have one filter") {
  const MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  std::vector<PullConsumer> consumers;
  for (int n = 0; n < 300; ++n) {
    consumers.push_back(
        ConsumeSome(bus, kOdd, {.group = "g" + std::to_string(n % 2)}));
  }

  CHECK(OmsCode(BindStatus(bus, kEven, {.group = "g1"})) ==
        Code::kConsumerExists);
  for (int n = 1; n < 300; n += 2) Must(consumers[n].Unbind(kQueue));
  CHECK(BindStatus(bus, kEven, {.group = "g1"}).ok());
  CHECK(OmsCode(BindStatus(bus, kEven, {.group = "g0"})) ==
        Code::kConsumerExists);
}

TEST_CASE("OMS-CONS-027: a member that died has no filter any more") {
  const FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  SendKinds(bus, 1, 6);
  Child child("member", {place.Url(), kOdd});
  REQUIRE(child.Hear() == "1200");
  CHECK(OmsCode(BindStatus(bus, kEven)) == Code::kConsumerExists);
  Child second("member", {place.Url(), kEven});
  CHECK(second.Hear() == "1408");
  CHECK(second.Finish());
  child.Say("take");
  REQUIRE(child.Hear() == "1");
  child.Say("take");
  REQUIRE(child.Hear() == "3");

  REQUIRE(child.Kill());

  // What it skipped is settled; what it held comes back, and is for nobody who
  // wants the even ones.
  PullConsumer even = ConsumeSome(bus, kEven);
  CHECK(DrainBodies(even) == std::vector<std::string>{"4", "6"});
}

TEST_CASE(
    "OMS-CONS-025: what a filter left out stays settled when all closed") {
  const FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), kQueue);
    PullConsumer odd = ConsumeSome(bus, kOdd);
    SendKinds(bus, 1, 6);
    REQUIRE(DrainBodies(odd) == std::vector<std::string>{"1", "3", "5"});
    // The last one too has been looked at.
    REQUIRE(NothingComes(odd));
  }
  const auto bus = Connect(place.Url());
  PullConsumer all = Consume(bus, kQueue);

  CHECK(NothingComes(all));
  SendKinds(bus, 7, 7);
  CHECK(DrainBodies(all) == std::vector<std::string>{"7"});
  CheckSound(place.path());
}

TEST_CASE_TEMPLATE("OMS-CONS-025: a push listener has a filter as well", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PushConsumer consumer = Must(bus.CreatePushConsumer());
  std::atomic<int> odd{0};
  std::atomic<int> other{0};
  Must(consumer.Bind(kQueue, {.filter = kOdd}, [&](const Message& message) {
    (message.properties().GetOr("kind", "") == "odd" ? odd : other)++;
    return openmessaging::Ack();
  }));
  Must(consumer.Start());

  SendKinds(bus, 1, 20);

  const auto deadline = Soon();
  while (odd < 10 && steady_clock::now() < deadline) std::this_thread::yield();
  consumer.Stop(Soon());
  CHECK(odd == 10);
  CHECK(other == 0);
}

TEST_CASE_TEMPLATE("OMS-CONS-028: many messages that are for others pass by",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  SendKinds(bus, 1, 1);
  PullConsumer consumer = ConsumeSome(bus, "n = 1 OR n >= 50000");
  // One that stays unsettled does not hold them up.
  const Delivery held = Take(consumer);
  SendKinds(bus, 2, 50'000);

  const auto begin = steady_clock::now();
  const Delivery next = Take(consumer);
  const auto took = steady_clock::now() - begin;

  MESSAGE(
      "ns for each message that passed: "
      << std::chrono::duration_cast<std::chrono::nanoseconds>(took).count() /
             50'000);
  CHECK(next->body() == "50000");
  Must(next.Ack());
  Must(held.Ack());
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-CONS-028: a look without waiting sees behind them",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PullConsumer consumer = ConsumeSome(bus, "n = 500");
  SendKinds(bus, 1, 500);

  // Where the machine is slow it may take more than one.
  const auto deadline = Soon();
  std::optional<Delivery> found;
  int looks = 0;
  for (; !found && steady_clock::now() < deadline; ++looks) {
    found = Must(consumer.Receive(milliseconds(0)));
  }

  REQUIRE(found);
  CHECK((*found)->body() == "500");
  CHECK(looks < 50);
}

TEST_CASE("OMS-CONS-028: a deadline ends a Receive that leaves out messages") {
  const MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PullConsumer consumer = ConsumeSome(bus, "n < 0");
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    for (int n = 0; !stop; ++n) SendKinds(bus, n, n + 499);
  });

  const auto begin = steady_clock::now();
  const auto received = consumer.Receive(milliseconds(200));
  const auto took = steady_clock::now() - begin;

  stop = true;
  sender.join();
  REQUIRE(received.ok());
  CHECK_FALSE(received->has_value());
  CHECK(took >= milliseconds(200));
  CHECK(took < milliseconds(2000));
}

}  // namespace openmessaging::reference::filter_test
