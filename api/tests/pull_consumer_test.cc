// SPDX-License-Identifier: Apache-2.0
//
// PullConsumer and Delivery over the fake driver: binding, receiving, settling,
// revocation and the lifecycle.

#include "openmessaging/pull_consumer.h"

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/delivery.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::pull_consumer_test {
namespace {

using driver::Verb;
using fake::AllBut;
using fake::Answer;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

void SendAll(World& world, const std::vector<std::string>& bodies,
             std::string_view queue = "orders") {
  Producer producer = world.MakeProducer();
  for (const std::string& body : bodies) {
    REQUIRE(producer.Send(Message(queue, body)).ok());
  }
}

// Receives one message, which must be there.
Delivery Take(PullConsumer& consumer) {
  auto received = consumer.Receive(kLong);
  REQUIRE(received.ok());
  REQUIRE(received->has_value());
  return **std::move(received);
}

TEST_CASE("OMS-CONS-001: binding lists a queue and binding twice is once") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer = world.MakeConsumer();

  CHECK(consumer.Bind("other").ok());
  CHECK(consumer.Bind("orders").ok());

  CHECK(consumer.bound_queues() == std::vector<std::string>{"orders", "other"});
  SendAll(world, {"a"});
  SendAll(world, {"b"}, "other");
  std::set<std::string> bodies = {std::string(Take(consumer)->body()),
                                  std::string(Take(consumer)->body())};
  CHECK(bodies == std::set<std::string>{"a", "b"});
}

TEST_CASE("OMS-CONS-025: a filter is for the driver where it can filter") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kFilter}));
  world.broker->AddQueue("other");
  PullConsumer consumer = world.MakeConsumer();

  const absl::Status refused = consumer.Bind("plain", {.filter = "a = 1"});

  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused).find("filter") != std::string_view::npos);
  CHECK(consumer.bound_queues() == std::vector<std::string>{"orders"});
  CHECK(consumer.Bind("plain").ok());
  CHECK(world.broker->last_bind().filter.empty());
  CHECK(consumer.Bind("other", {.filter = "a = 1"}).ok());
  CHECK(world.broker->last_bind().filter == "a = 1");
}

TEST_CASE("OMS-CONS-026: a binding keeps its filter until it ends") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer = world.MakeConsumer();
  REQUIRE(consumer.Bind("other", {.filter = "a = 1"}).ok());

  CHECK(consumer.Bind("other", {.filter = "a = 1"}).ok());
  CHECK(OmsCode(consumer.Bind("other")) == Code::kIllegalState);
  CHECK(OmsCode(consumer.Bind("other", {.filter = "a = 2"})) ==
        Code::kIllegalState);
  CHECK(OmsCode(consumer.Bind("orders", {.filter = "a = 1"})) ==
        Code::kIllegalState);
  CHECK(world.broker->last_bind().filter == "a = 1");

  REQUIRE(consumer.Unbind("other").ok());
  CHECK(consumer.Bind("other", {.filter = "a = 2"}).ok());
  CHECK(world.broker->last_bind().filter == "a = 2");
}

TEST_CASE("OMS-CONS-032: binding what is missing or misnamed fails") {
  World world;
  PullConsumer consumer = world.MakeConsumer();

  CHECK(OmsCode(consumer.Bind("nowhere")) == Code::kQueueNotFound);
  CHECK(OmsCode(consumer.Bind("no blanks")) == Code::kBadParameter);
  CHECK(OmsCode(consumer.Bind("")) == Code::kBadParameter);

  CHECK(consumer.bound_queues() == std::vector<std::string>{"orders"});
}

TEST_CASE("OMS-CONS-033: a lease must suit the queue") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().min_lease = milliseconds(1000);
  capabilities.mutable_limits().max_lease = milliseconds(60000);
  world.broker->AddQueue("leased", capabilities);
  world.broker->AddQueue("unleased",
                         Capabilities(capabilities)
                             .Set(Capability::kLease, Support::kUnsupported));
  PullConsumer brief = world.MakeConsumer({.lease = milliseconds(999)});
  PullConsumer lengthy = world.MakeConsumer({.lease = milliseconds(60001)});
  PullConsumer fits = world.MakeConsumer({.lease = milliseconds(60000)});

  const absl::Status refused = brief.Bind("leased");

  CHECK(OmsCode(refused) == Code::kBadParameter);
  CHECK(Text(refused) ==
        "bind \"leased\": lease is 999 ms; expected at least 1000 ms (limit of "
        "the queue, OMS-CONS-033)");
  CHECK(OmsCode(lengthy.Bind("leased")) == Code::kBadParameter);
  CHECK(lengthy.Bind("unleased").ok());
  CHECK(fits.Bind("leased").ok());
}

TEST_CASE("OMS-CONS-002: a message arrives as it was sent") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  Producer producer = world.MakeProducer();
  Message message("orders", std::string("\0\xFF body", 7));
  message.SetMessageKey("key").SetCorrelationId("42").SetPriority(7);
  REQUIRE(message.SetProperty("tries", 3).ok());
  const auto sent = producer.Send(message);
  REQUIRE(sent.ok());

  const Delivery delivery = Take(consumer);

  CHECK(delivery->body() == message.body());
  CHECK(delivery->destination() == "orders");
  CHECK(delivery->message_key() == "key");
  CHECK(delivery->correlation_id() == "42");
  CHECK(delivery->priority() == 7);
  CHECK(delivery->properties() == message.properties());
  CHECK(delivery->message_id() == sent->message_id);
  CHECK(delivery->born_timestamp() ==
        milliseconds(world.broker->last_context().born_timestamp_ms));
  CHECK(delivery->delivery_count() == 1);
  CHECK(delivery->partition() == 0);
  CHECK(delivery->offset() == 0);
  CHECK_FALSE(delivery.receipt().empty());
  CHECK((*delivery).body() == delivery.message().body());
}

TEST_CASE("OMS-CONS-002: the driver gets the options of the consumer") {
  World world;
  const PullConsumer consumer =
      world.MakeConsumer({.group = "billing",
                          .lease = milliseconds(1234),
                          .start = StartPosition::kLatest});

  const driver::ConsumerOptions options = world.broker->last_options();

  CHECK(options.group == "billing");
  CHECK(options.lease == milliseconds(1234));
  CHECK(options.start == StartPosition::kLatest);
}

TEST_CASE("OMS-CONS-003: receive waits until its timeout and not longer") {
  World world;
  PullConsumer consumer = world.MakeConsumer();

  for (const milliseconds timeout : {milliseconds(30), milliseconds(150)}) {
    const auto before = steady_clock::now();
    const auto received = consumer.Receive(timeout);
    const auto took = steady_clock::now() - before;

    REQUIRE(received.ok());
    CHECK_FALSE(received->has_value());
    CHECK(took >= timeout);
    CHECK(took < timeout + std::chrono::seconds(5));
  }
}

TEST_CASE("OMS-CONS-003: receive with zero looks and does not block") {
  World world;
  PullConsumer consumer = world.MakeConsumer();

  CHECK_FALSE(consumer.Receive(milliseconds(0)).value().has_value());
  CHECK_FALSE(consumer.Receive(milliseconds(-1)).value().has_value());
  SendAll(world, {"x"});
  CHECK(consumer.Receive(milliseconds(0)).value().has_value());
}

TEST_CASE("OMS-CONS-003: receive with zero does not wait for another one") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::thread blocked([&] {
    CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kClosed);
  });
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  const auto received = consumer.Receive(milliseconds(0));
  const auto late = consumer.Receive(milliseconds(20));

  CHECK_FALSE(received.value().has_value());
  CHECK_FALSE(late.value().has_value());
  CHECK(consumer.Stop(Soon()) == 0);
  blocked.join();
}

TEST_CASE("OMS-CONS-037: a message that comes ends the wait") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::thread sender([&] {
    CHECK(world.broker->Await([](auto counts) { return counts.receives > 0; }));
    SendAll(world, {"x"});
  });

  CHECK(Take(consumer)->body() == "x");

  sender.join();
}

TEST_CASE("OMS-CONS-004: receive without a bound queue is refused") {
  World world;
  auto consumer = world.bus->CreatePullConsumer();
  REQUIRE(consumer.ok());

  const auto received = consumer->Receive(kLong);

  CHECK(OmsCode(received.status()) == Code::kIllegalState);
  CHECK(Text(received.status()) ==
        "receive: no queue is bound; expected a call of Bind before "
        "(OMS-CONS-004)");
}

TEST_CASE("OMS-CONS-005: four threads on one consumer all get messages") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  constexpr size_t kMessages = 400;
  std::vector<std::set<std::string>> got(4);
  std::atomic<size_t> total{0};
  std::atomic<int> waiting{0};
  std::vector<std::thread> threads;
  for (auto& mine : got) {
    threads.emplace_back([&] {
      waiting.fetch_add(1);
      while (total.load() < kMessages) {
        auto received = consumer.Receive(milliseconds(200));
        if (!received.ok()) FAIL_CHECK(Text(received.status()));
        if (!received.ok() || !*received) continue;
        CHECK(mine.insert(std::string((**received)->body())).second);
        CHECK((*received)->Ack().ok());
        total.fetch_add(1);
      }
    });
  }
  while (waiting.load() < 4) std::this_thread::yield();
  std::vector<std::string> bodies;
  for (size_t i = 0; i < kMessages; ++i) bodies.push_back(std::to_string(i));

  SendAll(world, bodies);
  for (std::thread& thread : threads) thread.join();

  std::set<std::string> all;
  for (const auto& mine : got) {
    CHECK_FALSE(mine.empty());
    all.insert(mine.begin(), mine.end());
  }
  CHECK(all.size() == kMessages);
  CHECK(total.load() == kMessages);
}

TEST_CASE("OMS-CONS-006: a batch has what is there and at most its size") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2", "3", "4", "5"});

  const auto three = consumer.ReceiveBatch(3, kLong);
  const auto before = steady_clock::now();
  const auto rest = consumer.ReceiveBatch(1'000'000'000, kLong);

  REQUIRE(three.ok());
  REQUIRE(three->size() == 3);
  CHECK((*three)[2]->body() == "3");
  REQUIRE(rest.ok());
  CHECK(rest->size() == 2);
  CHECK(steady_clock::now() - before < kLong);
  CHECK(consumer.ReceiveBatch(3, milliseconds(0)).value().empty());
}

TEST_CASE("OMS-CONS-006: a batch fills deliveries of the caller") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2", "3"});
  std::array<Delivery, 2> deliveries;

  CHECK(consumer.ReceiveBatch(deliveries, kLong).value() == 2);
  CHECK(deliveries[1]->body() == "2");
  CHECK(consumer.ReceiveBatch(deliveries, kLong).value() == 1);

  CHECK(deliveries[0]->body() == "3");
  CHECK(deliveries[1]->body().empty());
  CHECK(deliveries[1].receipt().empty());
  CHECK(deliveries[0].Ack().ok());
  CHECK(OmsCode(deliveries[1].Ack()) == Code::kReceiptInvalid);
}

TEST_CASE("OMS-CONS-006: a batch of nothing is refused") {
  World world;
  PullConsumer consumer = world.MakeConsumer();

  CHECK(OmsCode(consumer.ReceiveBatch(0, kLong).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(consumer.ReceiveBatch(std::span<Delivery>(), kLong).status()) ==
        Code::kBadParameter);
}

TEST_CASE("OMS-CONS-007: unbinding ends deliveries and gives back") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer = world.MakeConsumer();
  REQUIRE(consumer.Bind("other").ok());
  SendAll(world, {"1", "2"});
  const Delivery open = Take(consumer);

  CHECK(consumer.Unbind("orders").ok());
  CHECK(consumer.Unbind("orders").ok());

  CHECK(consumer.bound_queues() == std::vector<std::string>{"other"});
  CHECK_FALSE(consumer.Receive(milliseconds(0)).value().has_value());
  PullConsumer next = world.MakeConsumer();
  CHECK(Take(next)->body() == "1");
  REQUIRE(consumer.Unbind("other").ok());
  CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kIllegalState);
}

TEST_CASE("OMS-CONS-008: the verbs reach the driver") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2", "3", "4", "5", "6"});
  auto deliveries = consumer.ReceiveBatch(6, kLong).value();
  REQUIRE(deliveries.size() == 6);

  CHECK(deliveries[0].Ack().ok());
  CHECK(deliveries[1].Nack().ok());
  CHECK(deliveries[2].Nack(milliseconds(60000)).ok());
  CHECK(consumer.Ack(deliveries[3]).ok());
  CHECK(consumer.Nack(deliveries[4].receipt()).ok());
  CHECK(consumer.Nack(deliveries[5].receipt(), milliseconds(0)).ok());
  CHECK(consumer.Ack(deliveries[0].receipt()).ok());

  const auto seen = world.broker->settlements();
  REQUIRE(seen.size() == 7);
  CHECK(seen[0].verb == Verb::kAck);
  CHECK(seen[0].receipt == deliveries[0].receipt());
  CHECK(seen[1].verb == Verb::kNack);
  CHECK(seen[2].verb == Verb::kNackDelay);
  CHECK(seen[2].duration == milliseconds(60000));
  CHECK(seen[3].verb == Verb::kAck);
  CHECK(seen[4].verb == Verb::kNack);
  CHECK(seen[5].verb == Verb::kNackDelay);
  CHECK(seen[5].duration == milliseconds(0));
  CHECK(seen[6].verb == Verb::kAck);
  // What was nacked without a delay is there again.
  const auto again = consumer.ReceiveBatch(6, milliseconds(0)).value();
  REQUIRE(again.size() == 3);
  CHECK(again[0]->body() == "2");
  CHECK(again[0]->delivery_count() == 2);
}

TEST_CASE("OMS-CONS-008: what the driver says of a settlement is the result") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1"});
  const Delivery first = Take(consumer);
  REQUIRE(first.Nack().ok());
  const Delivery second = Take(consumer);

  CHECK(OmsCode(first.Ack()) == Code::kReceiptExpired);
  CHECK(OmsCode(second.Nack(milliseconds(-1))) == Code::kBadParameter);
  world.broker->Set([](Script& script) {
    script.settle_failures = {MakeStatus(Code::kUnavailable, "gone")};
  });
  CHECK(OmsCode(second.Ack()) == Code::kUnavailable);
  CHECK(second.Ack().ok());
  CHECK(second.Ack().ok());
}

TEST_CASE("OMS-CONS-009: receipts of nothing and of nobody are refused") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1"});
  const Delivery good = Take(consumer);

  CHECK(OmsCode(Delivery().Ack()) == Code::kReceiptInvalid);
  CHECK(OmsCode(consumer.Ack(Delivery())) == Code::kReceiptInvalid);
  CHECK(OmsCode(consumer.Ack(Receipt())) == Code::kReceiptInvalid);
  CHECK(world.broker->counts().settles == 0);
  CHECK(OmsCode(consumer.Ack(Receipt(1, "garbage"))) == Code::kReceiptInvalid);
  CHECK(world.broker->counts().settles == 1);
  CHECK(good.Ack().ok());
}

TEST_CASE("OMS-CONS-009: another consumer's delivery needs shared receipts") {
  World world;
  world.broker->AddQueue(
      "shared", AllBut({}).Set(Capability::kSharedReceipt, Support::kNative));
  PullConsumer owner = world.MakeConsumer();
  PullConsumer other = world.MakeConsumer();
  SendAll(world, {"1"});
  const Delivery apart = Take(owner);
  REQUIRE(owner.Unbind("orders").ok());
  REQUIRE(owner.Bind("shared").ok());
  SendAll(world, {"2"}, "shared");
  const Delivery shared = Take(owner);

  CHECK(OmsCode(other.Ack(apart)) == Code::kReceiptInvalid);
  CHECK(world.broker->counts().settles == 0);
  CHECK(other.Ack(shared).ok());
  const std::vector<Delivery> both = {apart, shared};
  const auto results = other.Ack(both);
  CHECK(OmsCode(results[0]) == Code::kReceiptInvalid);
  CHECK(results[1].ok());
}

TEST_CASE("OMS-CONS-010: after stop every call answers closed") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2"});
  const Delivery open = Take(consumer);
  const Delivery copy(open);

  REQUIRE(consumer.Stop(Soon()) == 0);

  std::array<Delivery, 1> into;
  CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kClosed);
  CHECK(OmsCode(consumer.ReceiveBatch(2, kLong).status()) == Code::kClosed);
  CHECK(OmsCode(consumer.ReceiveBatch(into, kLong).status()) == Code::kClosed);
  CHECK(OmsCode(consumer.Bind("orders")) == Code::kClosed);
  CHECK(OmsCode(consumer.Unbind("orders")) == Code::kClosed);
  CHECK(OmsCode(consumer.Ack(open)) == Code::kClosed);
  CHECK(OmsCode(copy.Ack()) == Code::kClosed);
  CHECK(OmsCode(copy.Nack(milliseconds(1))) == Code::kClosed);
  for (const auto& status : consumer.Nack(std::span(&open, 1))) {
    CHECK(OmsCode(status) == Code::kClosed);
  }
  CHECK(OmsCode(consumer.Start()) == Code::kClosed);
  CHECK(consumer.state() == LifecycleState::kStopped);
  PullConsumer next = world.MakeConsumer();
  CHECK(Take(next)->body() == "1");
}

TEST_CASE("OMS-CONS-010: stop wakes every thread that receives") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::vector<std::thread> threads;
  std::atomic<int> entered{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      entered.fetch_add(1);
      const auto received = consumer.Receive(std::chrono::hours(1));
      CHECK(OmsCode(received.status()) == Code::kClosed);
    });
  }
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));
  while (entered.load() < 4) std::this_thread::yield();
  const auto before = steady_clock::now();

  CHECK(consumer.Stop(Soon()) == 0);

  for (std::thread& thread : threads) thread.join();
  CHECK(steady_clock::now() - before < std::chrono::seconds(5));
  CHECK(world.broker->counts().consumers_closed == 1);
}

TEST_CASE("OMS-CONS-010: receiving without a limit ends with stop") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::thread receiver([&] {
    const auto received = consumer.Receive(milliseconds::max());
    CHECK(OmsCode(received.status()) == Code::kClosed);
  });
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  CHECK(consumer.Stop(steady_clock::time_point::max()) == 0);

  receiver.join();
}

TEST_CASE("OMS-CONS-011: stop says what it did not wait for") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1"});
  const Delivery open = Take(consumer);
  world.broker->Set([](Script& script) { script.stuck_settle = true; });
  std::thread settler([&] { CHECK(open.Ack().ok()); });
  REQUIRE(world.broker->Await([](auto counts) { return counts.settles == 1; }));

  CHECK(consumer.Stop(steady_clock::now() + milliseconds(10)) == 1);
  CHECK(consumer.state() == LifecycleState::kStopping);
  world.broker->Set([](Script& script) { script.stuck_settle = false; });
  CHECK(consumer.Stop(Soon()) == 0);

  settler.join();
  CHECK(world.broker->counts().consumers_closed == 1);
}

TEST_CASE("OMS-CONS-011: eight threads may stop while others use it") {
  for (int round = 0; round < 20; ++round) {
    World world;
    PullConsumer consumer = world.MakeConsumer();
    SendAll(world, std::vector<std::string>(50, "x"));
    std::atomic<int> received{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        while (true) {
          const auto one = consumer.Receive(std::chrono::hours(1));
          if (!one.ok()) {
            CHECK(OmsCode(one.status()) == Code::kClosed);
            return;
          }
          received.fetch_add(1);
          const absl::Status status = (*one)->Ack();
          if (!status.ok()) CHECK(OmsCode(status) == Code::kClosed);
        }
      });
    }
    while (received.load() < 10) std::this_thread::yield();
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] { CHECK(consumer.Stop(Soon()) == 0); });
    }

    for (std::thread& thread : threads) thread.join();

    CHECK(world.broker->counts().consumers_closed == 1);
  }
}

TEST_CASE("OMS-CONS-012: settling what was revoked answers expired") {
  for (const bool lost : {false, true}) {
    World world;
    PullConsumer consumer = world.MakeConsumer();
    SendAll(world, {"1", "2"});
    world.broker->source = 7;
    const Delivery revoked = Take(consumer);
    world.broker->source = 8;
    const Delivery kept = Take(consumer);

    world.broker->Revoke(7, lost);

    CHECK(OmsCode(revoked.Ack()) == Code::kReceiptExpired);
    CHECK(OmsCode(consumer.Nack(revoked.receipt())) == Code::kReceiptExpired);
    CHECK(world.broker->counts().settles == 0);
    CHECK(kept.Ack().ok());
    const std::vector<Delivery> both = {revoked, kept};
    const auto results = consumer.Ack(both);
    CHECK(OmsCode(results[0]) == Code::kReceiptExpired);
    CHECK(results[1].ok());
  }
}

TEST_CASE("OMS-CONS-012: the list of revoked sources does not grow for ever") {
  internal::RevokedSources revoked;
  CHECK_FALSE(revoked.Contains(0));

  for (uint64_t source = 0; source < 1500; ++source) revoked.Add(source);
  revoked.Add(1499);

  CHECK(revoked.Contains(1499));
  CHECK(revoked.Contains(476));
  CHECK_FALSE(revoked.Contains(475));
  CHECK_FALSE(revoked.Contains(1500));
}

TEST_CASE("OMS-CONS-013: a queue can be bound while another thread receives") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer = world.MakeConsumer();
  std::thread receiver([&] {
    const auto received = consumer.Receive(std::chrono::hours(1));
    REQUIRE(received.ok());
    REQUIRE(received->has_value());
    CHECK((**received)->body() == "x");
  });
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  CHECK(consumer.Bind("other").ok());
  CHECK(consumer.Unbind("orders").ok());
  SendAll(world, {"x"}, "other");

  receiver.join();
}

TEST_CASE("OMS-CONS-013: binding goes before all that wait to receive") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer =
      world.MakeConsumer({.operation_timeout = std::chrono::seconds(5)});
  std::atomic<int> entered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      entered.fetch_add(1);
      const auto received = consumer.Receive(std::chrono::hours(1));
      CHECK(OmsCode(received.status()) == Code::kClosed);
    });
  }
  while (entered.load() < 4) std::this_thread::yield();
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 1; }));

  for (int i = 0; i < 20; ++i) {
    CHECK(consumer.Bind("other").ok());
    CHECK(consumer.Unbind("other").ok());
  }

  CHECK(consumer.Stop(Soon()) == 0);
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("OMS-CONS-013: binding does not wait for a stuck driver for ever") {
  World world;
  world.broker->AddQueue("other");
  PullConsumer consumer =
      world.MakeConsumer({.operation_timeout = milliseconds(50)});
  world.broker->Set([](Script& script) { script.stuck_receive = true; });
  std::thread receiver([&] {
    const auto received = consumer.Receive(kLong);
    CHECK(OmsCode(received.status()) == Code::kClosed);
  });
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  const absl::Status status = consumer.Bind("other");

  CHECK(OmsCode(status) == Code::kTimeout);
  CHECK(Text(status) ==
        "bind \"other\": another call of this consumer did not end within 50 "
        "ms; expected a free consumer (operation_timeout)");
  CHECK(consumer.Stop(steady_clock::now() + milliseconds(10)) == 1);
  world.broker->Set([](Script& script) { script.stuck_receive = false; });
  receiver.join();
  CHECK(consumer.Stop(Soon()) == 0);
}

TEST_CASE("OMS-CONS-024: broadcast and exclusive reach the driver") {
  World world;
  const PullConsumer consumer =
      world.MakeConsumer({.broadcast = true, .exclusive = true});

  CHECK(world.broker->last_options().broadcast);
  CHECK(world.broker->last_options().exclusive);
}

TEST_CASE("OMS-CONS-024: what a queue cannot give is refused at its binding") {
  World world;
  world.broker->AddQueue("shared", AllBut({Capability::kExclusive}));
  world.broker->AddQueue("single", AllBut({Capability::kBroadcast}));
  PullConsumer all = world.MakeConsumer({.broadcast = true});
  PullConsumer alone = world.MakeConsumer({.exclusive = true});

  const absl::Status refused = all.Bind("single");

  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused) ==
        "bind \"single\": the queue does not support broadcast; expected a "
        "consumer without it (OMS-CONS-024)");
  CHECK(OmsCode(alone.Bind("shared")) == Code::kUnsupported);
  CHECK(all.Bind("shared").ok());
  CHECK(alone.Bind("single").ok());
}

TEST_CASE("OMS-CONS-014: verbs that no bound queue knows are refused") {
  World world;
  world.broker->AddQueue("plain",
                         AllBut({Capability::kNack, Capability::kNackDelay}));
  auto consumer = world.bus->CreatePullConsumer();
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("plain").ok());
  SendAll(world, {"1"}, "plain");
  const Delivery delivery = Take(*consumer);

  const absl::Status refused = delivery.Nack();

  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused) ==
        "settle: no bound queue supports nack; expected another way to settle "
        "(OMS-CONS-014)");
  CHECK(OmsCode(delivery.Nack(milliseconds(1))) == Code::kUnsupported);
  CHECK(world.broker->counts().settles == 0);
  CHECK(delivery.Ack().ok());
  REQUIRE(consumer->Bind("orders").ok());
  CHECK(delivery.Nack().ok());
}

TEST_CASE("OMS-CONS-015: settling many reports on each") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2", "3"});
  std::vector<Delivery> batch = consumer.ReceiveBatch(3, kLong).value();
  batch.insert(batch.begin() + 1, Delivery());
  world.broker->Set([](Script& script) {
    script.settle_failures = {absl::OkStatus(),
                              MakeStatus(Code::kUnavailable, "gone")};
  });

  const auto results = consumer.Ack(batch);

  REQUIRE(results.size() == 4);
  CHECK(results[0].ok());
  CHECK(OmsCode(results[1]) == Code::kReceiptInvalid);
  CHECK(OmsCode(results[2]) == Code::kUnavailable);
  CHECK(results[3].ok());
  CHECK(world.broker->counts().settles == 1);
  CHECK(consumer.Ack(std::span<const Delivery>()).empty());
  CHECK(consumer.Ack(std::span(&batch[1], 1)).size() == 1);
  CHECK(world.broker->counts().settles == 1);
  CHECK(consumer.Nack(std::span(&batch[2], 1))[0].ok());
}

TEST_CASE("OMS-CONS-016: a consumer starts with its first call") {
  World world;
  auto consumer = world.bus->CreatePullConsumer();
  REQUIRE(consumer.ok());
  CHECK(consumer->state() == LifecycleState::kInitialized);
  world.broker->Set([](Script& script) {
    script.open_failures = {MakeStatus(Code::kUnavailable, "no broker")};
  });

  CHECK(OmsCode(consumer->Bind("orders")) == Code::kUnavailable);
  CHECK(consumer->state() == LifecycleState::kInitialized);
  CHECK(consumer->Bind("orders").ok());

  CHECK(consumer->state() == LifecycleState::kStarted);
  CHECK(consumer->Start().ok());
  CHECK(world.broker->counts().consumers_opened == 2);
}

TEST_CASE("OMS-CONS-016: without autostart a call before start is refused") {
  World world;
  PullConsumer consumer = world.MakeConsumer({.autostart = false});

  CHECK(OmsCode(consumer.Bind("orders")) == Code::kIllegalState);
  CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kIllegalState);
  CHECK(OmsCode(consumer.Ack(Receipt(1, "x"))) == Code::kIllegalState);
  REQUIRE(consumer.Start().ok());
  CHECK(consumer.Bind("orders").ok());
}

TEST_CASE("OMS-CONS-018: an error beside messages is told by the next call") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2"});
  world.broker->Set([](Script& script) {
    script.receive_failures = {MakeStatus(Code::kDamaged, "one was damaged")};
  });

  CHECK(Take(consumer)->body() == "1");
  CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kDamaged);
  CHECK(Take(consumer)->body() == "2");
}

TEST_CASE("OMS-CONS-018: a failure of the driver does not end the consumer") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  world.broker->Set([](Script& script) {
    script.receive_failures = {MakeStatus(Code::kUnavailable, "gone")};
  });

  CHECK(OmsCode(consumer.Receive(kLong).status()) == Code::kUnavailable);

  SendAll(world, {"1"});
  CHECK(Take(consumer)->body() == "1");
}

TEST_CASE(
    "OMS-CONS-019: a delivery outlives its consumer and its access point") {
  World world;
  std::optional<Delivery> delivery;
  {
    PullConsumer consumer = world.MakeConsumer();
    SendAll(world, {"still here"});
    delivery = Take(consumer);
  }
  world.bus.reset();

  CHECK((*delivery)->body() == "still here");
  CHECK(OmsCode(delivery->Ack()) == Code::kClosed);
  CHECK(world.broker->counts().consumers_closed == 1);
  CHECK(world.broker->counts().connections_closed == 0);
  delivery.reset();
  CHECK(world.broker->counts().connections_closed == 1);
}

TEST_CASE("OMS-CONS-019: a hundred consumers leave nothing behind") {
  World world;
  for (int i = 0; i < 100; ++i) {
    PullConsumer consumer = world.MakeConsumer();
    PullConsumer moved(std::move(consumer));
    consumer = std::move(moved);
  }

  CHECK(world.broker->counts().consumers_opened == 100);
  CHECK(world.broker->counts().consumers_closed == 100);
}

TEST_CASE("OMS-CONS-020: a settlement without an answer is 1410") {
  World world;
  PullConsumer consumer =
      world.MakeConsumer({.operation_timeout = milliseconds(30)});
  SendAll(world, {"1", "2", "3"});
  std::vector<Delivery> batch = consumer.ReceiveBatch(3, kLong).value();
  world.broker->Set(
      [](Script& script) { script.settle_answer = Answer::kHeld; });

  const absl::Status one = batch[0].Ack();
  const auto many = consumer.Ack(batch);

  CHECK(OmsCode(one) == Code::kTimeout);
  CHECK(OutcomeOf(one) == Outcome::kUnknown);
  for (const absl::Status& status : many) {
    CHECK(OmsCode(status) == Code::kTimeout);
  }
  world.broker->AnswerHeld(2);
  CHECK(world.broker->held() == 2);
  CHECK(consumer.Stop(Soon()) == 0);
  CHECK(world.broker->held() == 0);
}

TEST_CASE("OMS-CONS-020: a settlement that is answered later is waited for") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1", "2"});
  const auto batch = consumer.ReceiveBatch(2, kLong).value();
  world.broker->Set([](Script& script) {
    script.settle_answer = Answer::kLater;
    script.answer_delay = milliseconds(10);
  });

  CHECK(batch[0].Ack().ok());
  for (const absl::Status& status : consumer.Ack(batch)) CHECK(status.ok());
}

TEST_CASE("OMS-CONS-021: a delivery may be filled by another consumer") {
  World world;
  std::array<Delivery, 1> into;
  {
    World other;
    PullConsumer first = other.MakeConsumer();
    SendAll(other, {"1"});
    REQUIRE(first.ReceiveBatch(into, kLong).value() == 1);
  }
  PullConsumer second = world.MakeConsumer();
  SendAll(world, {"2"});

  CHECK(second.ReceiveBatch(into, kLong).value() == 1);

  CHECK(into[0]->body() == "2");
  CHECK(second.Ack(into[0]).ok());
}

TEST_CASE("OMS-CONS-021: the application may stop from a body that ends") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendAll(world, {"1"});
  std::array<Delivery, 1> into;
  into[0].mutable_message() = Message::Borrow(
      "orders", "body",
      [](void* context) {
        CHECK(static_cast<PullConsumer*>(context)->Stop(Soon()) == 0);
      },
      &consumer);

  const auto received = consumer.ReceiveBatch(into, kLong);

  CHECK(OmsCode(received.status()) == Code::kClosed);
}

TEST_CASE("OMS-CONS-034: a stop token ends a receive and no message is lost") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::vector<Delivery> into(4);
  const auto receive = [&](int how, const std::stop_token& token) -> size_t {
    const auto ten_seconds = std::chrono::seconds(10);
    if (how == 0) {
      const auto one = consumer.Receive(ten_seconds, token);
      REQUIRE(one.ok());
      return one->has_value() ? 1 : 0;
    }
    if (how == 1) {
      const auto some = consumer.ReceiveBatch(4, ten_seconds, token);
      REQUIRE(some.ok());
      return some->size();
    }
    const auto some = consumer.ReceiveBatch(into, ten_seconds, token);
    REQUIRE(some.ok());
    return *some;
  };
  for (const int how : {0, 1, 2}) {
    CAPTURE(how);
    std::stop_source stop;
    const size_t before = world.broker->counts().receives;
    std::thread stopper([&] {
      // The first look, and the one that waits.
      world.broker->Await([&](const auto& counts) {
        return counts.receives >= before + 2;
      });
      stop.request_stop();
    });

    const auto begin = std::chrono::steady_clock::now();
    CHECK(receive(how, stop.get_token()) == 0);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
    stopper.join();

    Producer producer = world.MakeProducer();
    REQUIRE(producer.Send(Message("orders", "x")).ok());
    // One that is stopped already looks once.
    CHECK(receive(how, stop.get_token()) == 1);
    CHECK(receive(how, stop.get_token()) == 0);
  }
}

TEST_CASE("OMS-CONS-005: a stop token ends a receive that waits for its turn") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  std::stop_source stop;
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      CHECK(OmsCode(consumer.Receive(std::chrono::seconds(10)).status()) ==
            Code::kClosed);
    });
  }
  REQUIRE(world.broker->Await(
      [](const auto& counts) { return counts.receives >= 2; }));
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });

  const auto begin = std::chrono::steady_clock::now();
  const auto received =
      consumer.Receive(std::chrono::seconds(10), stop.get_token());

  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
  REQUIRE(received.ok());
  CHECK_FALSE(received->has_value());
  consumer.Stop(fake::Soon());
  stopper.join();
  for (std::thread& other : others) other.join();
}

}  // namespace
}  // namespace openmessaging::pull_consumer_test
