// SPDX-License-Identifier: Apache-2.0
//
// Messages that kill their consumers, and consumers that are killed while they
// bury messages: each message ends in one place, once.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include <signal.h>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::poison_test {
namespace {

constexpr int32_t kMaxDeliveries = 4;

MessagingAccessPoint ConnectWithDead(const std::string& url,
                                     int32_t max_deliveries) {
  MessagingAccessPoint bus = ConnectWith(url, "dead");
  Must(bus.resource_manager().CreateQueue(
      "orders", {.max_deliveries = max_deliveries,
                 .dead_letter_queue = "dead",
                 .redelivery_delay = milliseconds(0)}));
  return bus;
}

// Arguments: URL. Dies of the first message "poison", after saying the count of
// its delivery; acknowledges every other one and says its body.
OMS_ROLE(victim) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  while (true) {
    const Delivery delivery = Take(consumer);
    if (delivery->body() == "poison") {
      role.Say(std::to_string(delivery->delivery_count()));
      ::raise(SIGKILL);
    }
    Must(delivery.Ack());
    role.Say(delivery->body());
  }
}

// Says the next thing that a victim says, which is dead by then if it is a
// count.
std::string LastWordsOfVictim(const FilePlace& place) {
  Child victim("victim", {place.Url()});
  auto words = victim.Hear();
  REQUIRE(words);
  return *words;
}

// What is left when the poison has done its work.
void CheckBuried(const FilePlace& place) {
  const auto bus = Connect(place.Url());
  // It moves when it would be handed out again.
  PullConsumer consumer = Consume(bus, "orders");
  CHECK_FALSE(Must(consumer.Receive(milliseconds(300))).has_value());
  PullConsumer undertaker = Consume(bus, "dead");
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "poison");
  CHECK(dead->properties().GetOr<int32_t>(kDeadDeliveries, 0) ==
        kMaxDeliveries);
  Must(dead.Ack());
  CHECK(NothingComes(undertaker));
}

TEST_CASE(
    "OMS-REF-024: a message that kills every consumer reaches the "
    "dead-letter queue") {
  FilePlace place;
  std::optional<MessagingAccessPoint> bus =
      ConnectWithDead(place.Url(), kMaxDeliveries);
  SendOne(*bus, Message("orders", "poison"));
  SUBCASE("while another process lives") {}
  SUBCASE("though no process survives") { bus.reset(); }

  for (int32_t count = 1; count <= kMaxDeliveries; ++count) {
    CHECK(LastWordsOfVictim(place) == std::to_string(count));
  }

  // The next one lives.
  SendOne(Connect(place.Url()), Message("orders", "good"));
  CHECK(LastWordsOfVictim(place) == "good");
  CheckBuried(place);
  bus.reset();
  CheckSound(place.path());
}

TEST_CASE("counts survive the loss of all that processes shared") {
  FilePlace place;
  {
    const auto bus = ConnectWithDead(place.Url(), kMaxDeliveries);
    SendOne(bus, Message("orders", "poison"));
  }
  CHECK(LastWordsOfVictim(place) == "1");
  // From the second delivery on it is in the log.
  for (int32_t count = 2; count <= kMaxDeliveries; ++count) {
    CHECK(LastWordsOfVictim(place) == std::to_string(count));
    std::filesystem::remove(place.path() + "/ctl");
  }

  CheckBuried(place);
  CheckSound(place.path());
}

// Arguments: URL. Rejects everything, and says "done" when nothing comes.
OMS_ROLE(rejecter) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  role.Say("ready");
  while (true) {
    const auto batch = Must(consumer.ReceiveBatch(8, milliseconds(300)));
    if (batch.empty()) break;
    for (const Delivery& delivery : batch) Must(delivery.Reject());
  }
  role.Say("done");
}

TEST_CASE("killed in the middle of a move a message is in one place") {
  auto random = RandomOf(0xdead);
  FilePlace place;
  constexpr int kMessages = 3000;
  std::optional<MessagingAccessPoint> bus = ConnectWithDead(
      place.Url("?first-segment=64KiB&max-segment=64KiB"), 0);
  {
    Producer producer = Must(bus->CreateProducer());
    for (int n = 0; n < kMessages; ++n) {
      Message message("orders", std::to_string(n));
      message.SetDurability(Durability::kProcess);
      Must(producer.Send(message));
    }
  }
  // Sometimes nobody survives.
  bus.reset();

  int killed = 0;
  bool done = false;
  while (!done) {
    Child first("rejecter", {place.Url()});
    std::optional<Child> second;
    if (random() % 2 == 0) second.emplace("rejecter", std::vector{place.Url()});
    REQUIRE(first.Hear() == "ready");
    if (killed == 40) {
      done = first.Hear() == "done";
      REQUIRE(done);
      break;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
    first.Kill();
    ++killed;
  }

  bus = Connect(place.Url());
  PullConsumer undertaker = Consume(*bus, "dead");
  std::map<std::string, int> times;
  for (const std::string& body : DrainBodies(undertaker)) ++times[body];
  CHECK(times.size() == kMessages);
  for (const auto& body_times : times) {
    CAPTURE(body_times.first);
    CHECK(body_times.second == 1);
  }
  PullConsumer consumer = Consume(*bus, "orders");
  CHECK(NothingComes(consumer));
  bus.reset();
  CheckSound(place.path());
}

// Arguments: URL. Rejects one message, says "done", and closes nothing.
OMS_ROLE(burier) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders");
  Must(Take(consumer).Reject());
  role.Say("done");
  role.Hear();
}

TEST_CASE("a dead letter does not come back though ctl is lost") {
  FilePlace place;
  {
    const auto bus = ConnectWithDead(place.Url(), 0);
    SendOne(bus, Message("orders", "poison"));
  }
  Child burier("burier", {place.Url()});
  REQUIRE(burier.Hear() == "done");
  REQUIRE(burier.Kill());
  // Nothing but the record of the move says that its source is settled.
  std::filesystem::remove(place.path() + "/ctl");

  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(NothingComes(consumer));
  PullConsumer undertaker = Consume(bus, "dead");
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "poison");
  Must(dead.Ack());
  CHECK(NothingComes(undertaker));
}

}  // namespace
}  // namespace openmessaging::reference::poison_test
