// SPDX-License-Identifier: Apache-2.0
//
// Messages that expire, in memory and in files: never delivered after their
// time, and moved once where there is a dead-letter queue.

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::expiry_test {
namespace {

using std::chrono::system_clock;

milliseconds Now() {
  return std::chrono::duration_cast<milliseconds>(
      system_clock::now().time_since_epoch());
}

Message Expiring(std::string_view body, milliseconds expire_at) {
  Message message("orders", body);
  message.SetExpireAt(expire_at);
  return message;
}

void SleepUntil(milliseconds since_1970) {
  while (Now() <= since_1970) std::this_thread::sleep_for(milliseconds(1));
}

MessagingAccessPoint ConnectWithDead(const std::string& url) {
  MessagingAccessPoint bus = ConnectWith(url, "dead");
  Must(bus.resource_manager().CreateQueue(
      "orders", {.dead_letter_queue = "dead",
                 .redelivery_delay = milliseconds(0)}));
  return bus;
}

TEST_CASE_TEMPLATE("OMS-TIME-006: an expired message is never delivered", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "plain"));
  SendOne(bus, Expiring("long ago", milliseconds(1)));
  SendOne(bus, Expiring("tomorrow", Now() + std::chrono::hours(24)));
  SendOne(bus, Expiring("just now", Now()));
  SendOne(bus, Message("orders", "last"));

  // Behind one that has not expired, and in front of it.
  CHECK(DrainBodies(consumer) ==
        std::vector<std::string>{"plain", "tomorrow", "last"});
}

TEST_CASE_TEMPLATE("OMS-TIME-006: one look goes past all that has expired",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  // More than a window of them.
  const auto bus = ConnectWith(place.Url("?window=16"), "orders");
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch(100, Expiring("old", milliseconds(1)));
  batch.push_back(Message("orders", "new"));
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    Must(sent.status());
  }
  PullConsumer consumer = Consume(bus, "orders");

  const auto received = Must(consumer.Receive(milliseconds(0)));

  REQUIRE(received.has_value());
  CHECK((*received)->body() == "new");
}

TEST_CASE_TEMPLATE("OMS-TIME-006: what expires while it is out does not come back",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  const milliseconds end = Now() + milliseconds(500);
  SendOne(bus, Expiring("short", end));
  SendOne(bus, Expiring("acked", end));
  const Delivery kept = Take(consumer);
  const Delivery acked = Take(consumer);
  CHECK(kept->body() == "short");

  SleepUntil(end);
  // Who has it may still settle it.
  Must(acked.Ack());
  Must(kept.Nack(milliseconds(0)));

  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TIME-010: an expired message moves once", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithDead(place.Url());
  PullConsumer billing = Consume(bus, "orders", {.group = "billing"});
  PullConsumer audit = Consume(bus, "orders", {.group = "audit"});
  const milliseconds end = Now() + milliseconds(500);
  Message message = Expiring("short", end);
  message.SetMessageKey("k");
  SendOne(bus, message);
  SendOne(bus, Expiring("old", milliseconds(1)));
  SendOne(bus, Message("orders", "good"));
  // One of two groups settles it in time.
  const Delivery in_time = Take(billing);
  CHECK(in_time->body() == "short");
  Must(in_time.Ack());
  CHECK(DrainBodies(billing) == std::vector<std::string>{"good"});

  SleepUntil(end);
  CHECK(DrainBodies(audit) == std::vector<std::string>{"good"});
  PullConsumer late = Consume(bus, "orders", {.group = "late"});
  CHECK(DrainBodies(late) == std::vector<std::string>{"good"});

  PullConsumer undertaker = Consume(bus, "dead");
  const Delivery old = Take(undertaker);
  CHECK(old->body() == "old");
  CHECK(old->properties().GetOr<std::string>(kDeadGroup, "") == "billing");
  CHECK(old->properties().GetOr<int32_t>(kDeadDeliveries, -1) == 0);
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "short");
  CHECK(dead->message_key() == "k");
  CHECK(dead->expire_at() == milliseconds(0));
  CHECK(dead->properties().GetOr<std::string>(kDeadReason, "") == kDeadExpired);
  CHECK(dead->properties().GetOr<std::string>(kDeadGroup, "") == "audit");
  CHECK(NothingComes(undertaker));
}

TEST_CASE_TEMPLATE("OMS-TIME-006: a stream does not show what has expired",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendOne(bus, Expiring("old", milliseconds(1)));
  SendOne(bus, Message("orders", "good"));
  SendOne(bus, Expiring("young", Now() + std::chrono::hours(1)));
  SendOne(bus, Expiring("old", milliseconds(1)));

  auto reader = Must(
      bus.CreateStreamReader("orders", 0, StreamPosition::Earliest()));
  std::vector<std::string> bodies;
  std::vector<int64_t> offsets;
  for (const Message& message : Must(reader.Read(10, kShort))) {
    bodies.emplace_back(message.body());
    offsets.push_back(message.offset());
  }

  CHECK(bodies == std::vector<std::string>{"good", "young"});
  CHECK(offsets == std::vector<int64_t>{1, 2});
}

TEST_CASE("OMS-TIME-006: expired is expired after the store was closed") {
  FilePlace place;
  {
    const auto bus = ConnectWithDead(place.Url());
    PullConsumer billing = Consume(bus, "orders", {.group = "billing"});
    PullConsumer audit = Consume(bus, "orders", {.group = "audit"});
    SendOne(bus, Expiring("old", milliseconds(1)));
    CHECK(NothingComes(billing));
  }
  for (int round = 0; round < 2; ++round) {
    const auto bus = Connect(place.Url());
    PullConsumer audit = Consume(bus, "orders", {.group = "audit"});
    CHECK(NothingComes(audit));
    PullConsumer undertaker =
        Consume(bus, "dead", {.group = std::to_string(round)});
    CHECK(DrainBodies(undertaker) == std::vector<std::string>{"old"});
  }
  CheckSound(place.path());
}

}  // namespace
}  // namespace openmessaging::reference::expiry_test
