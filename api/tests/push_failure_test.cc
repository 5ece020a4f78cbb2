// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/push_failure.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::push_failure_test {
namespace {

using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Collects what a consumer is told.
class Failures {
 public:
  PushFailureListener Listener() {
    return [this](const PushFailure& failure) {
      const std::lock_guard lock(mutex_);
      all_.push_back(failure);
    };
  }
  // Waits for so many. Returns: those there are after ten seconds at most.
  std::vector<PushFailure> Await(size_t count) const {
    const auto deadline = Soon();
    while (true) {
      {
        const std::lock_guard lock(mutex_);
        if (all_.size() >= count || steady_clock::now() > deadline) return all_;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

 private:
  mutable std::mutex mutex_;
  std::vector<PushFailure> all_;
};

absl::Status Refused() {
  return MakeStatus(Code::kReceiptExpired, "settle \"orders\": too late");
}

void SendOne(World& world) {
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PUSH-017: a verdict that is refused is told with its receipt") {
  World world;
  world.broker->Set(
      [](Script& script) { script.settle_failures = {Refused()}; });
  SendOne(world);
  Failures failures;
  PushConsumer consumer =
      world.MakePushConsumer({.on_failure = failures.Listener()});
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer.Start().ok());

  const auto told = failures.Await(1);

  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == PushFailure::Kind::kSettle);
  CHECK(OmsCode(told[0].status) == Code::kReceiptExpired);
  CHECK(told[0].queue == "orders");
  CHECK_FALSE(told[0].receipt.empty());
}

TEST_CASE("OMS-PUSH-017: a receive that fails is told and tried again") {
  World world;
  world.broker->Set([](Script& script) {
    script.receive_failures = {
        MakeStatus(Code::kUnavailable, "receive: the broker is away")};
  });
  SendOne(world);
  Failures failures;
  std::atomic<int> seen{0};
  PushConsumer consumer =
      world.MakePushConsumer({.on_failure = failures.Listener()});
  const auto listener = [&](const Message&) {
    ++seen;
    return Ack();
  };
  REQUIRE(consumer.Bind("orders", listener).ok());
  REQUIRE(consumer.Start().ok());

  const auto told = failures.Await(1);

  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == PushFailure::Kind::kReceive);
  CHECK(OmsCode(told[0].status) == Code::kUnavailable);
  CHECK(told[0].queue.empty());
  const auto deadline = Soon();
  while (seen == 0 && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  CHECK(seen == 1);
}

TEST_CASE("OMS-PUSH-017: who is told may throw, stop and drop the consumer") {
  World world;
  world.broker->Set([](Script& script) {
    script.settle_failures = {Refused(), Refused()};
  });
  SendOne(world);
  std::atomic<bool> ended{false};
  std::mutex mutex;
  std::optional<PushConsumer> consumer;
  std::unique_lock lock(mutex);
  consumer.emplace(world.MakePushConsumer({.on_failure = [&](const auto&) {
    const std::lock_guard own(mutex);
    if (!consumer) return;
    consumer->Stop(Soon());
    consumer.reset();
    ended = true;
    throw std::runtime_error("contained");
  }}));
  REQUIRE(consumer->Bind("orders", [](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer->Start().ok());
  lock.unlock();

  const auto deadline = Soon();
  while (!ended && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  lock.lock();

  CHECK(ended);
}

TEST_CASE("OMS-PUSH-017: after Stop who was told is let go of") {
  World world;
  const auto owner = std::make_shared<int>(0);
  PushConsumer consumer =
      world.MakePushConsumer({.on_failure = [owner](const auto&) {}});
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer.Start().ok());

  consumer.Stop(Soon());

  CHECK(owner.use_count() == 1);
}

TEST_CASE("OMS-PUSH-017: who was told may ask the consumer while he is let go") {
  World world;
  // Asks a consumer when it ends.
  struct Asks {
    ~Asks() { suspended = consumer->IsSuspended(); }
    PushConsumer* consumer = nullptr;
    bool suspended = true;
  };
  auto asks = std::make_shared<Asks>();
  PushConsumer consumer = world.MakePushConsumer(
      {.on_failure = [asks](const auto&) { (void)asks; }});
  asks->consumer = &consumer;
  REQUIRE(consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());
  REQUIRE(consumer.Start().ok());
  const std::weak_ptr<Asks> ended = asks;
  asks.reset();

  consumer.Stop(Soon());

  CHECK(ended.expired());
}

}  // namespace
}  // namespace openmessaging::push_failure_test
