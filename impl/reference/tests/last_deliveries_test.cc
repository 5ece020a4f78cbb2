// SPDX-License-Identifier: Apache-2.0
//
// Messages that had their last delivery, in groups that nobody receives for any
// more: whoever waits for dead letters gets them all the same.

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "child.h"
#include "store_fixture.h"

namespace openmessaging::reference::last_deliveries_test {
namespace {

MessagingAccessPoint ConnectWithDead(const std::string& url,
                                     milliseconds redelivery_delay = {},
                                     int32_t max_deliveries = 1) {
  MessagingAccessPoint bus = ConnectWith(url, "dead");
  Must(bus.resource_manager().CreateQueue(
      "orders", {.max_deliveries = max_deliveries,
                 .dead_letter_queue = "dead",
                 .redelivery_delay = redelivery_delay}));
  return bus;
}

// Arguments: URL. Receives one message, and says so; keeps it.
OMS_ROLE(last_holder) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  const Delivery held = Take(consumer);
  role.Say(held->body());
  role.Hear();
}

TEST_CASE_TEMPLATE(
    "OMS-REF-026: what was given back the last time moves though nobody "
    "receives",
    Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  SendNumbers(bus, "orders", 1, 100);
  const std::vector<Delivery> taken = Must(consumer.ReceiveBatch(100, kLong));
  for (const Delivery& delivery : taken) Must(delivery.Nack());

  for (size_t n = 0; n < taken.size(); ++n) {
    const Delivery dead = Take(undertaker);
    CHECK(dead->body() == taken[n]->body());
    CHECK(dead->properties().GetOr<std::string>(kDeadReason, "") ==
          kDeadMaxDeliveries);
    Must(dead.Ack());
  }

  CHECK(NothingComes(undertaker));
  CHECK(DrainBodies(consumer).size() + taken.size() == 100);
}

TEST_CASE_TEMPLATE("OMS-REF-026: so does one whose lease ran out", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url());
  PullConsumer consumer =
      Consume(bus, "orders", {.lease = milliseconds(100)});
  PullConsumer undertaker = Consume(bus, "dead");
  SendOne(bus, Message("orders", "forgotten"));
  const Delivery held = Take(consumer);

  CHECK(Take(undertaker)->body() == "forgotten");

  CHECK(held.Ack().ok());  // Settled is settled.
}

TEST_CASE_TEMPLATE(
    "OMS-REF-026: what may be delivered again waits for a member", Place,
    MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url(), {}, 2);
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  SendOne(bus, Message("orders", "once"));
  SendOne(bus, Message("orders", "twice"));
  Must(Take(consumer).Nack(milliseconds(3'600'000)));
  Must(Take(consumer).Nack());
  const Delivery second = Take(consumer);
  REQUIRE(second->body() == "twice");
  Must(second.Nack());

  CHECK(Take(undertaker)->body() == "twice");

  CHECK(NothingComes(undertaker));
}

TEST_CASE("OMS-REF-026: a message whose only member was killed moves") {
  FilePlace place;
  std::optional<MessagingAccessPoint> bus = ConnectWithDead(place.Url());
  SendOne(*bus, Message("orders", "poison"));
  Child holder("last_holder", {place.Url()});
  REQUIRE(holder.Hear() == "poison");
  SUBCASE("while another process lives") {}
  SUBCASE("though no process survives") { bus.reset(); }
  REQUIRE(holder.Kill());

  // It knows of the dead letters alone.
  const auto undertakers = Connect(place.Url());
  PullConsumer undertaker = Consume(undertakers, "dead");
  CHECK(Take(undertaker)->body() == "poison");

  bus.reset();
  CheckSound(place.path());
}

TEST_CASE("OMS-REF-026: a queue that is made later is looked at as well") {
  FilePlace place;
  const auto waiting = ConnectWith(place.Url(), "dead");
  PullConsumer undertaker = Consume(waiting, "dead");
  REQUIRE(NothingComes(undertaker));
  {
    const auto others = Connect(place.Url());
    Must(others.resource_manager().CreateQueue(
        "orders", {.max_deliveries = 1,
                   .dead_letter_queue = "dead",
                   .redelivery_delay = milliseconds(0)}));
    PullConsumer consumer = Consume(others, "orders");
    SendOne(others, Message("orders", "late"));
    Must(Take(consumer).Nack());
  }

  CHECK(Take(undertaker)->body() == "late");
}

}  // namespace
}  // namespace openmessaging::reference::last_deliveries_test
