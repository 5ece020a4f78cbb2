// SPDX-License-Identifier: Apache-2.0
//
// Dead letters with the reference driver, in memory and in files: messages that
// are rejected or delivered too often, once, whole, with what they say of it.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::dead_letter_test {
namespace {

// Connects, and makes "orders", whose dead letters go to "dead".
MessagingAccessPoint ConnectWithDead(const std::string& url,
                                     int32_t max_deliveries,
                                     int32_t partitions = 1,
                                     int32_t dead_partitions = 1) {
  MessagingAccessPoint bus = ConnectWith(url, "dead", dead_partitions);
  Must(bus.resource_manager().CreateQueue(
      "orders", {.partitions = partitions,
                 .max_deliveries = max_deliveries,
                 .dead_letter_queue = "dead",
                 .redelivery_delay = milliseconds(0)}));
  return bus;
}

template <typename T>
T PropertyOf(const Delivery& delivery, std::string_view key, T fallback) {
  return delivery->properties().GetOr<T>(key, fallback);
}

TEST_CASE_TEMPLATE("OMS-SET-025: after its last delivery a message moves",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), 3);
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  Message poison("orders", "poison");
  poison.SetMessageKey("k").SetCorrelationId("c").SetReplyTo("answers");
  Must(poison.SetProperty("colour", "red"));
  const SendResult sent = SendOne(bus, poison);
  SendOne(bus, Message("orders", "good"));

  std::optional<std::chrono::milliseconds> born;
  for (int32_t count = 1; count <= 3; ++count) {
    const Delivery delivery = Take(consumer);
    CHECK(delivery->body() == "poison");
    CHECK(delivery->delivery_count() == count);
    born = delivery->born_timestamp();
    Must(delivery.Nack());
  }
  CHECK(Take(consumer)->body() == "good");
  CHECK(NothingComes(consumer));

  PullConsumer undertaker = Consume(bus, "dead");
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "poison");
  CHECK(dead->destination() == "dead");
  CHECK(dead->delivery_count() == 1);
  CHECK(dead->message_key() == "k");
  CHECK(dead->correlation_id() == "c");
  CHECK(dead->reply_to() == "answers");
  CHECK(dead->origin_id().ToString() == sent.message_id.ToString());
  CHECK(dead->message_id() != sent.message_id);
  CHECK(dead->born_timestamp() == *born);
  CHECK(PropertyOf<std::string>(dead, "colour", "") == "red");
  CHECK(PropertyOf<std::string>(dead, kDeadQueue, "") == "orders");
  CHECK(PropertyOf<int32_t>(dead, kDeadPartition, -1) == 0);
  CHECK(PropertyOf<int64_t>(dead, kDeadOffset, -1) == 0);
  CHECK(PropertyOf<std::string>(dead, kDeadGroup, "") == "billing");
  CHECK(PropertyOf<int32_t>(dead, kDeadDeliveries, -1) == 3);
  CHECK(PropertyOf<std::string>(dead, kDeadReason, "") == kDeadMaxDeliveries);
  Must(dead.Ack());
  CHECK(NothingComes(undertaker));
}

TEST_CASE_TEMPLATE("OMS-SET-006: a rejected message moves at once", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), 0, 2, 3);
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  Message message("orders", std::string("\0binary\xff", 8));
  message.SetPartition(1);
  SendOne(bus, message);

  const Delivery delivery = Take(consumer);
  Must(delivery.Reject());

  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == message.body());
  CHECK(PropertyOf<int32_t>(dead, kDeadPartition, -1) == 1);
  CHECK(PropertyOf<int32_t>(dead, kDeadDeliveries, -1) == 1);
  CHECK(PropertyOf<std::string>(dead, kDeadReason, "") == kDeadRejected);
  // Settled is settled, whoever says it again; it moves once.
  CHECK(delivery.Reject().ok());
  CHECK(delivery.Ack().ok());
  CHECK(delivery.Nack().ok());
  CHECK(OmsCode(delivery.Extend(kLong)) == Code::kReceiptExpired);
  CHECK(NothingComes(consumer));
  CHECK(NothingComes(undertaker));
}

TEST_CASE_TEMPLATE("OMS-CONS-014: who asked before a queue was made can reject",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  REQUIRE(OmsCode(consumer.Bind("orders")) == Code::kQueueNotFound);
  REQUIRE_FALSE(Must(bus.capabilities("orders")).Has(Capability::kReject));
  // Made by somebody else, of whom this connection is not told.
  ConnectWithDead(place.Url(), 0);
  SendOne(bus, Message("orders", "bad"));

  Must(consumer.Bind("orders"));

  Must(Take(consumer).Reject());
}

TEST_CASE_TEMPLATE("OMS-SET-018: a stale receipt rejects nothing", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), 0);
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  SendOne(bus, Message("orders", "x"));
  const Delivery first = Take(consumer);
  Must(first.Nack(milliseconds(0)));

  CHECK(OmsCode(first.Reject()) == Code::kReceiptExpired);
  const Delivery second = Take(consumer);
  CHECK(OmsCode(first.Reject()) == Code::kReceiptExpired);

  Must(second.Ack());
  CHECK(second.Reject().ok());
  CHECK(NothingComes(undertaker));
}

TEST_CASE_TEMPLATE("OMS-SET-030: without a dead-letter queue nothing is "
                   "rejected or lost",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  auto bus = ConnectWith(place.Url(), "plain");
  Must(bus.resource_manager().CreateQueue("dead"));
  Must(bus.resource_manager().CreateQueue("orders",
                                          {.dead_letter_queue = "dead"}));
  for (const Capability capability :
       {Capability::kReject, Capability::kDeadLetter}) {
    CHECK_FALSE(Must(bus.capabilities("plain")).Has(capability));
    CHECK_FALSE(Must(bus.capabilities("dead")).Has(capability));
    CHECK_FALSE(Must(bus.capabilities("nowhere")).Has(capability));
    CHECK(Must(bus.capabilities("orders")).Of(capability) == Support::kNative);
  }
  for (const Capability capability :
       {Capability::kCumulativeAck, Capability::kExtend}) {
    CHECK(Must(bus.capabilities("plain")).Of(capability) == Support::kNative);
  }
  SendOne(bus, Message("plain", "x"));
  PullConsumer consumer = Consume(bus, "plain");

  CHECK(OmsCode(Take(consumer).Reject()) == Code::kUnsupported);
  // One that may reject elsewhere may not here.
  Must(consumer.Bind("orders"));
  CHECK(consumer.Stop(Soon()) == 0);
  PullConsumer both = Consume(bus, "plain");
  Must(both.Bind("orders"));
  const Delivery delivery = Take(both);
  CHECK(OmsCode(delivery.Reject()) == Code::kUnsupported);
  Must(delivery.Ack());
}

TEST_CASE_TEMPLATE("OMS-SET-027: a dead letter is a message like any other",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "grave");
  Must(bus.resource_manager().CreateQueue(
      "dead", {.max_deliveries = 2,
               .dead_letter_queue = "grave",
               .redelivery_delay = milliseconds(0)}));
  Must(bus.resource_manager().CreateQueue("orders",
                                          {.dead_letter_queue = "dead"}));
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  PullConsumer last = Consume(bus, "grave");
  const SendResult sent = SendOne(bus, Message("orders", "x"));
  Must(Take(consumer).Reject());

  SUBCASE("it is sent back where it came from") {
    const Delivery dead = Take(undertaker);
    Message back = dead.message();
    back.SetDestination("orders");
    SendOne(bus, back);
    Must(dead.Ack());

    const Delivery again = Take(consumer);
    CHECK(again->body() == "x");
    CHECK(again->origin_id().ToString() ==
          sent.message_id.ToString());
    CHECK(PropertyOf<std::string>(again, kDeadReason, "") == kDeadRejected);
    Must(again.Ack());
  }
  SUBCASE("it dies a second time, and tells of that") {
    for (int n = 0; n < 2; ++n) Must(Take(undertaker).Nack());
    CHECK(NothingComes(undertaker));

    const Delivery dead = Take(last);
    CHECK(dead->origin_id().ToString() ==
          sent.message_id.ToString());
    CHECK(PropertyOf<std::string>(dead, kDeadQueue, "") == "dead");
    CHECK(PropertyOf<int32_t>(dead, kDeadDeliveries, -1) == 2);
    CHECK(PropertyOf<std::string>(dead, kDeadReason, "") ==
          kDeadMaxDeliveries);
    Must(dead.Ack());
  }
  CHECK(NothingComes(consumer));
  CHECK(NothingComes(undertaker));
  CHECK(NothingComes(last));
}

TEST_CASE_TEMPLATE("OMS-SET-028: each group has its own deaths", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), 0);
  PullConsumer billing = Consume(bus, "orders", {.group = "billing"});
  PullConsumer audit = Consume(bus, "orders", {.group = "audit"});
  PullConsumer undertaker = Consume(bus, "dead");
  SendOne(bus, Message("orders", "x"));

  Must(Take(billing).Reject());
  Must(Take(audit).Ack());
  const Delivery first = Take(undertaker);
  CHECK(PropertyOf<std::string>(first, kDeadGroup, "") == "billing");
  Must(first.Ack());

  CHECK(NothingComes(undertaker));
}

TEST_CASE_TEMPLATE("OMS-SET-025: a lease that runs out counts as a delivery",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), 2);
  PullConsumer consumer =
      Consume(bus, "orders", {.lease = milliseconds(20)});
  PullConsumer undertaker = Consume(bus, "dead");
  SendOne(bus, Message("orders", "x"));
  const Delivery first = Take(consumer);
  const Delivery second = Take(consumer);
  CHECK(second->delivery_count() == 2);

  // It moves when it would be handed out again; nobody acknowledged it so far.
  CHECK_FALSE(Must(consumer.Receive(milliseconds(200))).has_value());

  CHECK(PropertyOf<int32_t>(Take(undertaker), kDeadDeliveries, -1) == 2);
  CHECK(second.Ack().ok());
}

TEST_CASE_TEMPLATE("OMS-SET-025: who does not wait gets what lies behind a move",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  // Nobody else moves it.
  const auto bus = ConnectWithDead(place.Url("?housekeeper=off"), 2);
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "poison"));
  Must(Take(consumer).Nack(milliseconds(0)));
  const Delivery last = Take(consumer);
  CHECK(last->delivery_count() == 2);
  SendOne(bus, Message("orders", "good"));
  const Delivery good = Take(consumer);
  Must(last.Nack(milliseconds(0)));
  Must(good.Nack(milliseconds(0)));

  const auto received = Must(consumer.Receive(milliseconds(0)));

  REQUIRE(received.has_value());
  CHECK((*received)->body() == "good");
  CHECK((*received)->delivery_count() == 2);
  PullConsumer undertaker = Consume(bus, "dead");
  CHECK(Take(undertaker)->body() == "poison");
}

TEST_CASE_TEMPLATE("OMS-SET-025: a thousand dead letters keep their order",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url("?max-segment=64KiB&"
                                             "first-segment=64KiB"),
                                   0);
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  constexpr int kMessages = 1000;
  const std::string padding(200, ' ');
  std::vector<std::string> bodies;
  for (int n = 1; n <= kMessages; ++n) {
    bodies.push_back(std::to_string(n) + padding);
  }
  SendNumbers(bus, "orders", 1, kMessages, padding);

  for (int n = 0; n < kMessages; ++n) Must(Take(consumer).Reject());

  CHECK(DrainBodies(undertaker) == bodies);
  CHECK(NothingComes(consumer));
}

// Opens the store again in the way that `way` says.
void Reopen(const FilePlace& place, std::string_view way) {
  if (way == "clean") return;
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }
}

TEST_CASE("OMS-SET-029: moves and counts outlive a reopening") {
  for (const char* const way : {"clean", "cold"}) {
    CAPTURE(way);
    FilePlace place;
    {
      const auto bus = ConnectWithDead(place.Url(), 3);
      PullConsumer consumer = Consume(bus, "orders");
      SendNumbers(bus, "orders", 1, 3);
      Must(Take(consumer).Reject());
      for (int32_t count = 1; count <= 2; ++count) {
        const Delivery delivery = Take(consumer);
        CHECK(delivery->body() == "2");
        CHECK(delivery->delivery_count() == count);
        Must(delivery.Nack());
      }
    }
    Reopen(place, way);
    {
      const auto bus = Connect(place.Url());
      PullConsumer consumer = Consume(bus, "orders");
      const Delivery poison = Take(consumer);
      CHECK(poison->body() == "2");
      CHECK(poison->delivery_count() == 3);
      Must(poison.Nack());
      const Delivery other = Take(consumer);
      CHECK(other->body() == "3");
      Must(other.Ack());
      CHECK(NothingComes(consumer));
    }
    Reopen(place, way);

    const auto bus = Connect(place.Url());
    PullConsumer consumer = Consume(bus, "orders");
    PullConsumer undertaker = Consume(bus, "dead");
    CHECK(NothingComes(consumer));
    CHECK(DrainBodies(undertaker) == Numbers(1, 2));
    CheckSound(place.path());
  }
}

}  // namespace
}  // namespace openmessaging::reference::dead_letter_test
