// SPDX-License-Identifier: Apache-2.0
//
// What the portable layer costs on the hot paths: nothing is allocated once it
// is warm. It replaces operator new, so it is a program of its own.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/messaging_access_point.h"

namespace {

// Counts what the current thread allocates.
thread_local size_t allocations = 0;

void* Allocate(size_t bytes) {
  ++allocations;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace openmessaging::allocation_test {
namespace {

using fake::Answer;
using fake::Script;
using fake::World;
using std::chrono::milliseconds;

constexpr int kRounds = 1000;
constexpr milliseconds kLong = std::chrono::seconds(10);

// Returns: how many allocations `operation` makes after it ran a few times.
template <typename Operation>
size_t AllocationsOf(Operation operation) {
  for (int i = 0; i < 10; ++i) operation();
  const size_t before = allocations;
  for (int i = 0; i < kRounds; ++i) operation();
  return allocations - before;
}

TEST_CASE("OMS-PROD-016: the count sees an allocation") {
  CHECK(AllocationsOf([] { ::operator delete(::operator new(1)); }) == kRounds);
}

TEST_CASE("OMS-PROD-016: send allocates nothing") {
  World world;
  world.broker->AddQueue("other");
  world.broker->Set([](Script& script) { script.discard = true; });
  Producer producer = world.MakeProducer();
  const Message message("orders", "42 apples");
  Message full("other", std::string(2000, 'x'));
  full.SetMessageKey("key").SetPriority(9).SetDelay(milliseconds(1));
  REQUIRE(full.SetProperty("tries", 3).ok());

  const size_t count = AllocationsOf([&] {
    const bool ok = producer.Send(message).ok() && producer.Send(full).ok();
    if (!ok) FAIL("a send failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-PROD-016: building and sending a message allocates nothing") {
  World world;
  world.broker->Set([](Script& script) { script.discard = true; });
  Producer producer = world.MakeProducer();

  const size_t count = AllocationsOf([&] {
    Message message("orders", "42 apples");
    message.SetMessageKey("key");
    if (!producer.Send(message).ok()) FAIL("a send failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-PROD-016: a send that is given up costs one completion") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(1)});
  const Message message("orders", "x");
  CHECK_FALSE(producer.Send(message).ok());
  world.broker->AnswerHeld();
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kInline;
    script.discard = true;
  });

  const size_t count = AllocationsOf([&] {
    if (!producer.Send(message).ok()) FAIL("a send failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-PROD-031: an asynchronous send allocates nothing") {
  World world;
  world.broker->Set([](Script& script) { script.discard = true; });
  Producer producer = world.MakeProducer();
  const Message message("orders", "42 apples");
  std::array<Future<SendResult>, 100> futures;

  const size_t one = AllocationsOf([&] {
    if (!producer.SendAsync(message).Await().ok()) FAIL("a send failed");
    if (!producer.SendOneway(message).ok()) FAIL("a send failed");
  });
  const size_t many = AllocationsOf([&] {
    for (auto& future : futures) future = producer.SendAsync(message);
    for (auto& future : futures) {
      if (!future.Await().ok()) FAIL("a send failed");
    }
  });

  CHECK(one == 0);
  CHECK(many == 0);
}

// Looks at what passes and changes nothing.
class Onlooker final : public ProducerInterceptor, public ConsumerInterceptor {
};

TEST_CASE("OMS-INTC-011: interceptors that were removed cost nothing") {
  World world;
  const auto onlooker = std::make_shared<Onlooker>();
  Producer producer = world.MakeProducer();
  const std::vector<Message> messages(kRounds + 20,
                                      Message("orders", "42 apples"));
  for (const auto& result : producer.Send(messages)) REQUIRE(result.ok());
  world.broker->Set([](Script& script) { script.discard = true; });
  PullConsumer consumer = world.MakeConsumer();
  REQUIRE(producer.AddInterceptor(onlooker).ok());
  REQUIRE(consumer.AddInterceptor(onlooker).ok());
  REQUIRE(producer.Send(messages[0]).ok());
  REQUIRE(producer.RemoveInterceptor(onlooker.get()));
  REQUIRE(consumer.RemoveInterceptor(onlooker.get()));

  const size_t count = AllocationsOf([&] {
    if (!producer.Send(messages[0]).ok()) FAIL("a send failed");
    if (!producer.SendAsync(messages[0]).Await().ok()) FAIL("a send failed");
    const auto received = consumer.Receive(kLong);
    const bool ok =
        received.ok() && received->has_value() && (*received)->Ack().ok();
    if (!ok) FAIL("a receive failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-CONS-017: receive and ack allocate nothing") {
  World world;
  Producer producer = world.MakeProducer();
  const std::vector<Message> messages(2 * (kRounds + 20),
                                      Message("orders", "42 apples"));
  for (const auto& result : producer.Send(messages)) REQUIRE(result.ok());
  world.broker->Set([](Script& script) { script.discard = true; });
  PullConsumer consumer = world.MakeConsumer();

  const size_t count = AllocationsOf([&] {
    const auto received = consumer.Receive(kLong);
    const bool ok =
        received.ok() && received->has_value() && (*received)->Ack().ok();
    if (!ok) FAIL("a receive failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-CONS-017: a batch into the caller's storage allocates nothing") {
  World world;
  Producer producer = world.MakeProducer();
  const std::vector<Message> messages(4 * (kRounds + 20),
                                      Message("orders", "42 apples"));
  for (const auto& result : producer.Send(messages)) REQUIRE(result.ok());
  world.broker->Set([](Script& script) { script.discard = true; });
  PullConsumer consumer = world.MakeConsumer();
  std::array<Delivery, 4> batch;

  const size_t count = AllocationsOf([&] {
    const auto received = consumer.ReceiveBatch(batch, kLong);
    bool ok = received.ok() && *received == batch.size();
    for (const Delivery& delivery : batch)
      ok = ok && consumer.Ack(delivery).ok();
    if (!ok) FAIL("a receive failed");
  });

  CHECK(count == 0);
}

TEST_CASE("OMS-CONS-017: an empty receive allocates nothing") {
  World world;
  PullConsumer consumer = world.MakeConsumer();

  const size_t count = AllocationsOf([&] {
    if (!consumer.Receive(milliseconds(0)).ok()) FAIL("a receive failed");
  });

  CHECK(count == 0);
}

}  // namespace
}  // namespace openmessaging::allocation_test
