// SPDX-License-Identifier: Apache-2.0
//
// PushConsumer over the fake driver: listeners of every kind, verdicts,
// concurrency, prefetch, suspension, leases, revocation and stop.

#include "openmessaging/push_consumer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::push_consumer_test {
namespace {

using driver::Verb;
using fake::AllBut;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// Waits until `condition()` holds. Returns: false after ten seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = Soon();
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

void SendSome(World& world, int count, std::string_view queue = "orders") {
  Producer producer = world.MakeProducer();
  for (int i = 0; i < count; ++i) {
    REQUIRE(producer.Send(Message(queue, std::to_string(i))).ok());
  }
}

// Notes what listeners saw, in their order.
class Seen {
 public:
  void Add(std::string_view body) {
    const std::lock_guard lock(mutex_);
    bodies_.emplace_back(body);
  }
  std::vector<std::string> bodies() const {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  size_t size() const { return bodies().size(); }
  size_t CountOf(std::string_view body) const {
    const auto all = bodies();
    return static_cast<size_t>(std::count(all.begin(), all.end(), body));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> bodies_;
};

// A door that listeners wait at.
class Gate {
 public:
  void Pass() {
    ++waiting_;
    while (!open_) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  bool AwaitWaiting(int count) {
    return Eventually([&] { return waiting_ >= count; });
  }
  void Open() { open_ = true; }
  int waiting() const { return waiting_; }

 private:
  std::atomic<int> waiting_{0};
  std::atomic<bool> open_{false};
};

TEST_CASE("OMS-PUSH-001: each message reaches the listener of its queue") {
  World world;
  world.broker->AddQueue("other");
  PushConsumer consumer = world.MakePushConsumer();
  Seen orders;
  Seen other;
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    orders.Add(message.body());
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(consumer.Bind("other", [&](const Message& message) {
    other.Add(message.body());
    return Ack();
  }).ok());
  CHECK(consumer.bound_queues() == std::vector<std::string>{"orders", "other"});

  SendSome(world, 3);
  SendSome(world, 2, "other");

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(world.broker->AwaitSettled("other"));
  CHECK(orders.bodies() == std::vector<std::string>{"0", "1", "2"});
  CHECK(other.bodies() == std::vector<std::string>{"0", "1"});
}

TEST_CASE("OMS-PUSH-018: a queue has one listener") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  const auto listener = [](const Message&) { return Ack(); };
  REQUIRE(consumer.Bind("orders", listener).ok());

  const absl::Status again = consumer.Bind("orders", listener);

  CHECK(OmsCode(again) == Code::kIllegalState);
  CHECK(Text(again) ==
        "bind \"orders\": the queue has a listener; expected a call of Unbind "
        "before (OMS-PUSH-018)");
  CHECK(OmsCode(consumer.Bind("nowhere", listener)) == Code::kQueueNotFound);
  CHECK(OmsCode(consumer.Bind("nowhere", listener)) == Code::kQueueNotFound);
  CHECK(OmsCode(consumer.Bind("no blanks", listener)) == Code::kBadParameter);
  CHECK(consumer.Unbind("orders").ok());
  CHECK(consumer.Unbind("orders").ok());
  CHECK(consumer.Bind("orders", listener).ok());
}

TEST_CASE(
    "OMS-PUSH-001: the driver gets the options and wrong ones are refused") {
  World world;
  PushConsumer consumer = world.MakePushConsumer(
      {.group = "billing",
       .prefetch_messages = 7,
       .prefetch_bytes = 8000,
       .lease = milliseconds(1234),
       .start = StartPosition::kLatest,
       .broadcast = true,
       .exclusive = true});
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());

  const auto options = world.broker->last_options();
  CHECK(options.group == "billing");
  CHECK(options.prefetch_messages == 7);
  CHECK(options.prefetch_bytes == 8000);
  CHECK(options.lease == milliseconds(1234));
  CHECK(options.start == StartPosition::kLatest);
  CHECK(options.broadcast);
  CHECK(options.exclusive);
  const auto refused = [&](const PushConsumerOptions& wrong) {
    const auto made = world.bus->CreatePushConsumer(wrong);
    return std::string(Text(made.status()).substr(0, 39));
  };
  CHECK(refused({.concurrency = 0}) ==
        "create push consumer: concurrency is 0;");
  CHECK(refused({.concurrency = 1025}) ==
        "create push consumer: concurrency is 10");
  CHECK_FALSE(refused({.group = "no blanks"}).empty());
  CHECK_FALSE(refused({.prefetch_messages = 0}).empty());
  CHECK_FALSE(refused({.prefetch_bytes = 0}).empty());
  CHECK_FALSE(refused({.max_batch_messages = 0}).empty());
  CHECK_FALSE(refused({.lease = milliseconds(0)}).empty());
  CHECK_FALSE(refused({.operation_timeout = milliseconds(0)}).empty());
}

TEST_CASE("OMS-PUSH-002: verdicts settle as they say") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  std::map<std::string, int> deliveries;
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    const std::string body(message.body());
    const int count = ++deliveries[body];
    CHECK(message.delivery_count() == count);
    if (body == "0" || count > 1) return Ack();
    if (body == "1") return Nack();
    if (body == "2") return Nack(milliseconds(20));
    return Reject();
  }).ok());
  const auto begin = steady_clock::now();
  SendSome(world, 4);

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(steady_clock::now() - begin >= milliseconds(20));
  CHECK(consumer.Stop(Soon()) == 0);
  CHECK(deliveries ==
        std::map<std::string, int>{{"0", 1}, {"1", 2}, {"2", 2}, {"3", 1}});
  std::map<Verb, int> verbs;
  for (const auto& settlement : world.broker->settlements()) {
    ++verbs[settlement.verb];
  }
  CHECK(verbs == std::map<Verb, int>{{Verb::kAck, 3},
                                     {Verb::kNack, 1},
                                     {Verb::kNackDelay, 1},
                                     {Verb::kReject, 1}});
  CHECK(Nack(milliseconds(-1)) == Nack(milliseconds(0)));
}

TEST_CASE("OMS-PUSH-002: verdicts of quick listeners settle together") {
  World world;
  SendSome(world, 200);
  PushConsumer consumer = world.MakePushConsumer();
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(world.broker->counts().settles < 150);
}

TEST_CASE("OMS-PUSH-002: a verdict does not wait for a slow listener") {
  World world;
  SendSome(world, 2);
  PushConsumer consumer = world.MakePushConsumer();
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    if (message.body() == "1") gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));

  CHECK(Eventually([&] { return world.broker->unsettled("orders") == 1; }));

  gate.Open();
  CHECK(world.broker->AwaitSettled("orders"));
}

TEST_CASE("OMS-PUSH-003: a listener may own its delivery") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  std::mutex mutex;
  std::vector<Delivery> owned;
  REQUIRE(consumer.Bind("orders", [&](Delivery delivery) {
    if (delivery->body() == "0") {
      CHECK(delivery.Ack().ok());
      return;
    }
    const std::lock_guard lock(mutex);
    owned.push_back(std::move(delivery));
  }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 3);
  REQUIRE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return owned.size() == 2;
  }));

  CHECK(world.broker->unsettled("orders") == 2);
  CHECK(owned[0].Ack().ok());
  CHECK(consumer.Ack(owned[1].receipt()).ok());

  CHECK(world.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-PUSH-019: batch listeners get up to the limit and settle each") {
  World world;
  SendSome(world, 25);
  PushConsumer consumer = world.MakePushConsumer({.max_batch_messages = 10});
  std::atomic<size_t> largest{0};
  Seen seen;
  REQUIRE(consumer.Bind("orders", [&](std::span<const Message> batch) {
    largest = std::max(largest.load(), batch.size());
    std::vector<Verdict> verdicts;
    for (const Message& message : batch) {
      seen.Add(message.body());
      const bool first = message.delivery_count() == 1;
      if (first && message.body() == "24") break;  // Says nothing of it.
      verdicts.push_back(first && message.body() == "3" ? Nack() : Ack());
    }
    return verdicts;
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(largest >= 1);
  CHECK(largest <= 10);
  CHECK(seen.size() == 27);
  CHECK(seen.CountOf("3") == 2);
  CHECK(seen.CountOf("24") == 2);
}

TEST_CASE("OMS-PUSH-003: batch listeners may own their deliveries") {
  World world;
  SendSome(world, 25);
  PushConsumer consumer = world.MakePushConsumer({.max_batch_messages = 10});
  std::atomic<size_t> count{0};
  REQUIRE(consumer.Bind("orders", [&](std::vector<Delivery> batch) {
    CHECK(batch.size() >= 1);
    CHECK(batch.size() <= 10);
    count += batch.size();
    for (const Delivery& delivery : batch) CHECK(delivery.Ack().ok());
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(count == 25);
}

TEST_CASE("OMS-PUSH-020: a listener that throws has said nack") {
  using Listen = std::function<absl::Status(PushConsumer&, Seen&)>;
  const auto fail_first = [](Seen& seen, const Message& message) {
    seen.Add(message.body());
    if (message.delivery_count() == 1) throw std::runtime_error("a mistake");
  };
  const std::vector<Listen> listeners = {
      [&](PushConsumer& consumer, Seen& seen) {
        return consumer.Bind("orders", [&](const Message& message) {
          fail_first(seen, message);
          return Ack();
        });
      },
      [&](PushConsumer& consumer, Seen& seen) {
        return consumer.Bind("orders", [&](std::span<const Message> batch) {
          fail_first(seen, batch[0]);
          return std::vector<Verdict>(batch.size(), Ack());
        });
      },
      [&](PushConsumer& consumer, Seen& seen) {
        return consumer.Bind("orders", [&](Delivery delivery) {
          fail_first(seen, *delivery);
          CHECK(delivery.Ack().ok());
        });
      },
      [&](PushConsumer& consumer, Seen& seen) {
        return consumer.Bind("orders", [&](std::vector<Delivery> batch) {
          fail_first(seen, *batch[0]);
          CHECK(batch[0].Ack().ok());
        });
      }};
  for (const Listen& listen : listeners) {
    World world;
    PushConsumer consumer = world.MakePushConsumer({.max_batch_messages = 1});
    Seen seen;
    REQUIRE(listen(consumer, seen).ok());
    REQUIRE(consumer.Start().ok());
    SendSome(world, 2);

    CHECK(world.broker->AwaitSettled("orders"));
    CHECK(seen.size() == 4);
    CHECK(seen.CountOf("1") == 2);
  }
}

TEST_CASE("OMS-PUSH-004: unbinding ends the calls of a listener") {
  World world;
  world.broker->AddQueue("other");
  PushConsumer consumer = world.MakePushConsumer();
  Gate gate;
  Seen seen;
  auto captured = std::make_shared<int>(7);
  REQUIRE(consumer.Bind("orders", [&, captured](const Message& message) {
    seen.Add(message.body());
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 5);
  REQUIRE(gate.AwaitWaiting(1));

  CHECK(consumer.Unbind("orders").ok());

  gate.Open();
  CHECK(Eventually([&] { return captured.use_count() == 1; }));
  CHECK(seen.size() == 1);
  PullConsumer rest = world.MakeConsumer();
  size_t count = 0;
  while (count < 4) {
    const auto batch = rest.ReceiveBatch(5, kLong);
    REQUIRE(batch.ok());
    REQUIRE_FALSE(batch->empty());
    count += batch->size();
  }
}

TEST_CASE("OMS-PUSH-005: no listener runs before start and start is once") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  Seen seen;
  CHECK(consumer.state() == LifecycleState::kInitialized);
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    seen.Add(message.body());
    return Ack();
  }).ok());
  SendSome(world, 1);
  CHECK(world.broker->counts().receives == 0);
  CHECK(consumer.state() == LifecycleState::kInitialized);

  CHECK(consumer.Start().ok());
  CHECK(consumer.Start().ok());

  CHECK(consumer.state() == LifecycleState::kStarted);
  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(consumer.Stop(Soon()) == 0);
  CHECK(consumer.state() == LifecycleState::kStopped);
  CHECK(OmsCode(consumer.Start()) == Code::kClosed);
  CHECK(OmsCode(consumer.Bind("orders", [](const Message&) { return Ack(); })) ==
        Code::kClosed);
}

TEST_CASE("OMS-PUSH-005: a start that failed can be tried again") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  world.broker->Set([](Script& script) {
    script.open_failures = {MakeStatus(Code::kUnavailable, "no broker")};
  });

  CHECK(OmsCode(consumer.Start()) == Code::kUnavailable);
  CHECK(consumer.state() == LifecycleState::kInitialized);
  CHECK(consumer.Start().ok());
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());
  SendSome(world, 1);
  CHECK(world.broker->AwaitSettled("orders"));
}

TEST_CASE("OMS-PUSH-006: stop waits for listeners and says what it left") {
  World world;
  PushConsumer consumer = world.MakePushConsumer({.concurrency = 2});
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 5);
  REQUIRE(gate.AwaitWaiting(2));
  const auto begin = steady_clock::now();

  CHECK(consumer.Stop(steady_clock::now() + milliseconds(20)) == 2);

  CHECK(steady_clock::now() - begin >= milliseconds(20));
  CHECK(world.broker->unsettled("orders") == 5);
  CHECK(world.broker->counts().consumers_closed == 1);
  gate.Open();
  CHECK(consumer.Stop(Soon()) == 0);
  CHECK(gate.waiting() == 2);
  PullConsumer rest = world.MakeConsumer();
  CHECK(rest.ReceiveBatch(10, kLong)->size() == 5);
}

TEST_CASE("OMS-PUSH-006: stop settles what listeners have said") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 1);
  REQUIRE(gate.AwaitWaiting(1));
  std::thread opener([&] {
    while (consumer.state() == LifecycleState::kStarted) {
      std::this_thread::yield();
    }
    gate.Open();
  });

  CHECK(consumer.Stop(Soon()) == 0);

  opener.join();
  CHECK(world.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-PUSH-006: eight threads may stop while listeners run") {
  World world;
  PushConsumer consumer = world.MakePushConsumer({.concurrency = 3});
  REQUIRE(consumer.Bind("orders", [&](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 200);

  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { CHECK(consumer.Stop(Soon()) == 0); });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(consumer.state() == LifecycleState::kStopped);
  CHECK(world.broker->counts().consumers_closed == 1);
}

TEST_CASE("OMS-PUSH-006: fifty consumers leave nothing behind") {
  World world;
  SendSome(world, 50);
  for (int i = 0; i < 50; ++i) {
    PushConsumer consumer = world.MakePushConsumer({.concurrency = 2});
    REQUIRE(consumer.Bind("orders", [](const Message&) { return Nack(); }).ok());
    if (i % 3 != 0) REQUIRE(consumer.Start().ok());
    PushConsumer moved(std::move(consumer));
    consumer = std::move(moved);
  }

  CHECK(world.broker->counts().consumers_opened == 50);
  CHECK(world.broker->counts().consumers_closed == 50);
}

// Returns: how many messages were released so far.
size_t Released(const World& world) {
  size_t released = 0;
  for (const auto& settlement : world.broker->settlements()) {
    if (settlement.verb == Verb::kRelease) ++released;
  }
  return released;
}

// Receives so many messages of another consumer's. Returns: how many of them
// come as if it had never had them.
size_t CountFirstDeliveries(World& world, int messages) {
  PullConsumer other = world.MakeConsumer();
  size_t first = 0;
  for (int i = 0; i < messages; ++i) {
    const auto delivery = other.Receive(kLong);
    REQUIRE(delivery.ok());
    REQUIRE(delivery->has_value());
    if ((**delivery)->delivery_count() == 1) ++first;
    CHECK((**delivery).Ack().ok());
  }
  return first;
}

TEST_CASE("OMS-PUSH-006: stop gives back at once what no listener has seen") {
  World world;
  SendSome(world, 5);
  PushConsumer consumer =
      world.MakePushConsumer({.concurrency = 1, .prefetch_messages = 5});
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));

  CHECK(consumer.Stop(steady_clock::now() + milliseconds(20)) == 1);

  CHECK(Released(world) == 4);
  CHECK(CountFirstDeliveries(world, 5) == 4);
  gate.Open();
}

TEST_CASE("OMS-PUSH-006: without prompt release the driver alone gives back") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kPromptRelease}));
  SendSome(world, 5, "plain");
  PushConsumer consumer =
      world.MakePushConsumer({.concurrency = 1, .prefetch_messages = 5});
  Gate gate;
  REQUIRE(consumer.Bind("plain", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));

  CHECK(consumer.Stop(steady_clock::now() + milliseconds(20)) == 1);

  CHECK(Released(world) == 0);
  gate.Open();
}

TEST_CASE("OMS-PUSH-004: unbinding gives back what no listener has seen") {
  World world;
  world.broker->AddQueue("other");
  SendSome(world, 5);
  PushConsumer consumer =
      world.MakePushConsumer({.concurrency = 1, .prefetch_messages = 5});
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));

  REQUIRE(consumer.Unbind("orders").ok());

  // Before the driver's own Unbind, behind which they would be refused.
  CHECK(Released(world) == 4);
  CHECK(CountFirstDeliveries(world, 5) == 4);
  gate.Open();
}

TEST_CASE("OMS-PUSH-006: what arrives while stopping is given back uncounted") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<int> calls{0};
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    ++calls;
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(world.broker->Await(
      [](const auto& counts) { return counts.receives >= 2; }));
  // Receive stands still; what comes meanwhile is delivered when it goes on,
  // and by then this consumer is stopping.
  world.broker->Set([](Script& script) { script.stuck_receive = true; });
  const size_t before = world.broker->counts().receives;
  REQUIRE(consumer.Bind("orders2", [](const Message&) { return Ack(); }).code() ==
          absl::StatusCode::kNotFound);
  REQUIRE(world.broker->Await(
      [&](const auto& counts) { return counts.receives > before; }));
  SendSome(world, 3);
  std::thread stopping([&] { consumer.Stop(Soon()); });
  REQUIRE(Eventually(
      [&] { return consumer.state() != LifecycleState::kStarted; }));
  world.broker->Set([](Script& script) { script.stuck_receive = false; });
  stopping.join();

  CHECK(calls == 0);
  CHECK(CountFirstDeliveries(world, 3) == 3);
}

TEST_CASE("OMS-PUSH-007: a listener may stop its consumer and still decide") {
  World world;
  SendSome(world, 2);
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<size_t> unfinished{99};
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    unfinished = consumer.Stop(Soon());
    return Ack();
  }).ok());

  REQUIRE(consumer.Start().ok());

  REQUIRE(Eventually(
      [&] { return consumer.state() == LifecycleState::kStopped; }));
  CHECK(unfinished == 1);
  CHECK(world.broker->unsettled("orders") == 1);
  CHECK(consumer.Stop(Soon()) == 0);
}

TEST_CASE("OMS-PUSH-007: a listener may drop the last handles") {
  World world;
  SendSome(world, 1);
  auto consumer = std::make_unique<PushConsumer>(world.MakePushConsumer());
  std::atomic<bool> dropped{false};
  REQUIRE(consumer->Bind("orders", [&](const Message& message) {
    consumer.reset();
    world.bus.reset();
    CHECK(message.body() == "0");
    dropped = true;
    return Ack();
  }).ok());

  REQUIRE(consumer->Start().ok());

  REQUIRE(Eventually([&] { return dropped.load(); }));
  CHECK(world.broker->Await(
      [](const auto& counts) { return counts.connections_closed == 1; }));
  CHECK(world.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-PUSH-007: stop lets go of what listeners captured") {
  World world;
  auto consumer = std::make_shared<PushConsumer>(world.MakePushConsumer());
  const std::weak_ptr<PushConsumer> observer = consumer;
  REQUIRE(consumer->Bind("orders", [consumer](const Message&) {
    return Ack();
  }).ok());
  REQUIRE(consumer->Start().ok());

  CHECK(consumer->Stop(Soon()) == 0);

  consumer.reset();
  CHECK(observer.expired());
}

TEST_CASE("OMS-PUSH-008: no listener call begins while suspended") {
  World world;
  PushConsumer consumer = world.MakePushConsumer({.concurrency = 2});
  Gate gate;
  Seen seen;
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    seen.Add(message.body());
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  SendSome(world, 20);
  REQUIRE(gate.AwaitWaiting(2));
  CHECK_FALSE(consumer.IsSuspended());

  CHECK_FALSE(consumer.Suspend(milliseconds(10)));
  CHECK(consumer.IsSuspended());
  gate.Open();
  CHECK(consumer.Suspend(kLong));
  CHECK(seen.size() == 2);
  CHECK(Eventually([&] { return world.broker->unsettled("orders") == 18; }));
  CHECK(seen.size() == 2);
  consumer.Resume();

  CHECK_FALSE(consumer.IsSuspended());
  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(seen.size() == 20);
}

TEST_CASE("OMS-PUSH-021: a listener may suspend its own consumer") {
  World world;
  SendSome(world, 3);
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<int> calls{0};
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    ++calls;
    CHECK(consumer.Suspend(kLong));
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());

  for (size_t left = 2; left + 1 > 0; --left) {
    REQUIRE(Eventually(
        [&] { return world.broker->unsettled("orders") == left; }));
    CHECK(consumer.Suspend(kLong));
    CHECK(calls == static_cast<int>(3 - left));
    if (left == 0) break;
    consumer.Resume();
  }
  CHECK(consumer.Stop(Soon()) == 0);
}

TEST_CASE("OMS-PUSH-009: with concurrency one calls never overlap") {
  World world;
  SendSome(world, 300);
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<int> running{0};
  std::atomic<bool> overlap{false};
  Seen seen;
  REQUIRE(consumer.Bind("orders", [&](const Message& message) {
    if (++running != 1) overlap = true;
    seen.Add(message.body());
    --running;
    return Ack();
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK_FALSE(overlap);
  const auto bodies = seen.bodies();
  REQUIRE(bodies.size() == 300);
  for (size_t i = 0; i < bodies.size(); ++i) {
    CHECK(bodies[i] == std::to_string(i));
  }
}

TEST_CASE("OMS-PUSH-022: with more calls run at once and not too many") {
  World world;
  SendSome(world, 12);
  PushConsumer consumer = world.MakePushConsumer({.concurrency = 3});
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());

  REQUIRE(consumer.Start().ok());

  REQUIRE(gate.AwaitWaiting(3));
  CHECK(gate.waiting() == 3);
  gate.Open();
  CHECK(world.broker->AwaitSettled("orders"));
}

TEST_CASE("OMS-PUSH-010: a listener may call everything") {
  World world;
  world.broker->AddQueue("other");
  SendSome(world, 1);
  Producer producer = world.MakeProducer();
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<bool> done{false};
  REQUIRE(consumer.Bind("orders", [&](Delivery delivery) {
    CHECK(producer.Send(Message("other", "from a listener")).ok());
    CHECK(producer.SendAsync(Message("other", "again")).Await().ok());
    CHECK(consumer.Bind("other", [&](const Message&) { return Ack(); }).ok());
    CHECK(delivery.AckAsync().Await().ok());
    CHECK(consumer.Unbind("orders").ok());
    CHECK(consumer.Suspend(kLong));
    consumer.Resume();
    done = true;
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(Eventually([&] { return done.load(); }));
  CHECK(world.broker->AwaitSettled("other"));
  CHECK(consumer.bound_queues() == std::vector<std::string>{"other"});
}

TEST_CASE("OMS-PUSH-011: a blocked listener holds no more than the prefetch") {
  World world;
  PushConsumer blocked = world.MakePushConsumer({.prefetch_messages = 5});
  Gate gate;
  REQUIRE(blocked.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(blocked.Start().ok());
  SendSome(world, 20);
  REQUIRE(gate.AwaitWaiting(1));
  PushConsumer other = world.MakePushConsumer();
  REQUIRE(other.Bind("orders", [&](const Message&) { return Ack(); }).ok());

  REQUIRE(other.Start().ok());

  CHECK(Eventually([&] { return world.broker->unsettled("orders") <= 5; }));
  gate.Open();
  CHECK(world.broker->AwaitSettled("orders"));
}

TEST_CASE("OMS-PUSH-011: bytes are bounded too") {
  World world;
  PushConsumer blocked = world.MakePushConsumer({.prefetch_bytes = 3000});
  Gate gate;
  REQUIRE(blocked.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", std::string(1000, 'x'))).ok());
  REQUIRE(blocked.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));
  for (int i = 0; i < 19; ++i) {
    REQUIRE(producer.Send(Message("orders", std::string(1000, 'x'))).ok());
  }
  PushConsumer other = world.MakePushConsumer();
  REQUIRE(other.Bind("orders", [&](const Message&) { return Ack(); }).ok());

  REQUIRE(other.Start().ok());

  CHECK(Eventually([&] { return world.broker->unsettled("orders") <= 4; }));
  gate.Open();
  CHECK(world.broker->AwaitSettled("orders"));
}

// Returns: how often the broker was asked to extend a lease.
size_t Extensions(World& world, milliseconds duration) {
  size_t count = 0;
  for (const auto& settlement : world.broker->settlements()) {
    if (settlement.verb != Verb::kExtend) continue;
    CHECK(settlement.duration == duration);
    ++count;
  }
  return count;
}

TEST_CASE("OMS-PUSH-012: leases are extended while a listener runs") {
  for (const bool new_receipts : {false, true}) {
    World world;
    world.broker->Set([&](Script& script) {
      script.leases = true;
      script.new_receipts = new_receipts;
    });
    SendSome(world, 3);
    const milliseconds lease(150);
    PushConsumer consumer = world.MakePushConsumer({.lease = lease});
    Seen seen;
    REQUIRE(consumer.Bind("orders", [&](const Message& message) {
      seen.Add(message.body());
      // What waits behind this one is extended with it.
      CHECK(Eventually([&] { return Extensions(world, lease) >= 9; }));
      return Ack();
    }).ok());

    REQUIRE(consumer.Start().ok());

    CHECK(world.broker->AwaitSettled("orders"));
    CHECK(seen.CountOf("2") >= 1);
  }
}

TEST_CASE("OMS-PUSH-012: no lease is extended where it is not wanted") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kExtend}));
  world.broker->AddQueue("nolease", AllBut({Capability::kLease}));
  const std::vector<std::string> queues = {"orders", "plain", "nolease"};
  const auto listener = [](const Message&) {
    std::this_thread::sleep_for(milliseconds(500));
    return Ack();
  };
  std::vector<PushConsumer> consumers;
  for (const std::string& queue : queues) {
    SendSome(world, 1, queue);
    consumers.push_back(world.MakePushConsumer(
        {.lease = milliseconds(900), .renew_leases = queue != "orders"}));
    REQUIRE(consumers.back().Bind(queue, listener).ok());
    REQUIRE(consumers.back().Start().ok());
  }

  for (const std::string& queue : queues) {
    CHECK(world.broker->AwaitSettled(queue));
  }

  CHECK(Extensions(world, milliseconds(0)) == 0);
}

TEST_CASE("OMS-PUSH-013: a dropped delivery comes back with its lease") {
  World world;
  world.broker->Set([](Script& script) { script.leases = true; });
  SendSome(world, 1);
  PushConsumer consumer = world.MakePushConsumer({.lease = milliseconds(100)});
  std::atomic<int> calls{0};
  const auto begin = steady_clock::now();
  REQUIRE(consumer.Bind("orders", [&](Delivery delivery) {
    // A busy machine may need more of them.
    if (++calls >= 2) (void)delivery.Ack();
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(steady_clock::now() - begin >= milliseconds(100));
  CHECK(calls >= 2);
  for (const auto& settlement : world.broker->settlements()) {
    CHECK(settlement.verb == Verb::kAck);
  }
}

TEST_CASE("OMS-PUSH-013: without leases a dropped delivery is nacked") {
  World world;
  world.broker->AddQueue("nolease", AllBut({Capability::kLease}));
  SendSome(world, 1, "nolease");
  PushConsumer consumer = world.MakePushConsumer();
  std::atomic<int> calls{0};
  REQUIRE(consumer.Bind("nolease", [&](Delivery delivery) {
    const Delivery copy = delivery;
    if (++calls == 2) CHECK(copy.Ack().ok());
  }).ok());

  REQUIRE(consumer.Start().ok());

  CHECK(world.broker->AwaitSettled("nolease"));
  CHECK(calls == 2);
  const auto settlements = world.broker->settlements();
  REQUIRE(settlements.size() == 2);
  CHECK(settlements[0].verb == Verb::kNack);
  CHECK(settlements[1].verb == Verb::kAck);
}

TEST_CASE("OMS-PUSH-014: what is revoked does not reach a listener") {
  for (const bool lost : {false, true}) {
    World world;
    SendSome(world, 5);
    PushConsumer consumer = world.MakePushConsumer();
    Gate gate;
    Seen seen;
    REQUIRE(consumer.Bind("orders", [&](const Message& message) {
      seen.Add(message.body());
      gate.Pass();
      return Ack();
    }).ok());
    REQUIRE(consumer.Start().ok());
    REQUIRE(gate.AwaitWaiting(1));
    REQUIRE(world.broker->Await(
        [](const auto& counts) { return counts.receives >= 2; }));

    world.broker->Revoke(1, lost);
    gate.Open();
    CHECK(consumer.Suspend(kLong));
    consumer.Resume();
    CHECK(consumer.Stop(Soon()) == 0);

    CHECK(seen.bodies() == std::vector<std::string>{"0"});
    CHECK(world.broker->settlements().empty());
  }
}

TEST_CASE("OMS-PUSH-014: revoking waits for the listeners that run") {
  World world;
  SendSome(world, 1);
  PushConsumer consumer = world.MakePushConsumer();
  Gate gate;
  REQUIRE(consumer.Bind("orders", [&](const Message&) {
    gate.Pass();
    return Ack();
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(gate.AwaitWaiting(1));
  std::atomic<bool> revoked{false};
  std::thread rebalance([&] {
    world.broker->Revoke(1, /*lost=*/false, Soon());
    revoked = true;
  });
  std::this_thread::sleep_for(milliseconds(20));
  CHECK_FALSE(revoked);

  gate.Open();

  rebalance.join();
  CHECK(world.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-PUSH-014: revoking does not wait for what an owner keeps") {
  World world;
  SendSome(world, 1);
  PushConsumer consumer = world.MakePushConsumer();
  std::mutex mutex;
  std::optional<Delivery> kept;
  REQUIRE(consumer.Bind("orders", [&](Delivery delivery) {
    const std::lock_guard lock(mutex);
    kept = std::move(delivery);
  }).ok());
  REQUIRE(consumer.Start().ok());
  REQUIRE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return kept.has_value();
  }));
  REQUIRE(consumer.Suspend(kLong));

  world.broker->Revoke(1, /*lost=*/false, Soon());

  CHECK(OmsCode(kept->Ack()) == Code::kReceiptExpired);
}

TEST_CASE("OMS-PUSH-015: a failure of the driver does not end the consumer") {
  World world;
  PushConsumer consumer = world.MakePushConsumer();
  world.broker->Set([](Script& script) {
    for (int i = 0; i < 3; ++i) {
      script.receive_failures.push_back(
          MakeStatus(Code::kUnavailable, "gone"));
    }
    script.receive_failures.push_back(MakeStatus(Code::kDamaged, "one"));
  });
  REQUIRE(consumer.Bind("orders", [&](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer.Start().ok());

  SendSome(world, 10);

  CHECK(world.broker->AwaitSettled("orders"));
}

TEST_CASE("OMS-PUSH-016: members of a group share while some come and go") {
  World world;
  std::atomic<int> acked{0};
  const auto listener = [&](const Message&) {
    ++acked;
    return Ack();
  };
  PushConsumer constant = world.MakePushConsumer({.prefetch_messages = 4});
  REQUIRE(constant.Bind("orders", listener).ok());
  REQUIRE(constant.Start().ok());
  std::thread sender([&] { SendSome(world, 1000); });
  for (int i = 0; i < 10; ++i) {
    PushConsumer guest =
        world.MakePushConsumer({.concurrency = 2, .prefetch_messages = 8});
    REQUIRE(guest.Bind("orders", listener).ok());
    REQUIRE(guest.Start().ok());
    std::this_thread::sleep_for(milliseconds(2));
    CHECK(guest.Stop(Soon()) == 0);
  }
  sender.join();

  CHECK(world.broker->AwaitSettled("orders"));
  CHECK(acked >= 1000);
}

}  // namespace
}  // namespace openmessaging::push_consumer_test
