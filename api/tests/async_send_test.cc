// SPDX-License-Identifier: Apache-2.0
//
// Sends that nobody waits for, over the fake driver: order, batches, the limits
// of what is in flight, one-way sends, flush and stop.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::async_send_test {
namespace {

using fake::AllBut;
using fake::Answer;
using fake::Busy;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

void Answers(World& world, Answer answer) {
  world.broker->Set([&](Script& script) { script.send_answer = answer; });
}

TEST_CASE("OMS-PROD-021: an asynchronous send answers what a send does") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kDelay}));
  Producer producer = world.MakeProducer({.max_body_bytes = 10});
  Message delayed("plain", "x");
  delayed.SetDelay(milliseconds(5));
  const std::vector<Message> messages = {
      Message("orders", "x"), Message("", "x"), Message("nowhere", "x"),
      Message("orders", std::string(11, 'x')), delayed};

  for (const Message& message : messages) {
    const auto waited = producer.Send(message);
    const auto later = producer.SendAsync(message).Await();
    CHECK(OmsCode(later.status()) == OmsCode(waited.status()));
    CHECK(later.status().message() == waited.status().message());
  }

  CHECK(world.broker->bodies("orders").size() == 2);
  CHECK_FALSE(world.broker->last_context().caller_waits);
}

TEST_CASE("OMS-PROD-021: a lenient access point says what was left out") {
  Attributes attributes;
  REQUIRE(attributes.Set("lenient", "on").ok());
  World world(attributes);
  world.broker->AddQueue("plain", AllBut({Capability::kDelay}));
  Producer producer = world.MakeProducer();
  Message delayed("plain", "x");
  delayed.SetDelay(milliseconds(5));
  const std::vector<Message> batch = {Message("plain", "y"), delayed,
                                      Message("plain", "z")};

  const auto result = producer.SendAsync(delayed).Await();
  const auto futures = producer.SendAsync(batch);

  REQUIRE(result.ok());
  CHECK(result->ignored.Contains(Capability::kDelay));
  REQUIRE(futures.size() == 3);
  CHECK(futures[0].Await()->ignored.empty());
  CHECK(futures[1].Await()->ignored.Contains(Capability::kDelay));
  CHECK(world.broker->bodies("plain") ==
        std::vector<std::string>{"x", "y", "x", "z"});
  CHECK(world.broker->last_message().delay() == milliseconds(0));
}

TEST_CASE("OMS-PROD-022: sends of one thread keep their order") {
  World world;
  Producer producer = world.MakeProducer();
  Answers(world, Answer::kHeld);
  std::vector<Future<SendResult>> futures;
  for (int i = 0; i < 100; ++i) {
    futures.push_back(
        producer.SendAsync(Message("orders", std::to_string(i))));
  }

  world.broker->AnswerHeldBackwards();

  for (size_t i = 0; i < futures.size(); ++i) {
    CHECK(futures[i].Await()->offset == static_cast<int64_t>(i));
    CHECK(world.broker->bodies("orders")[i] == std::to_string(i));
  }
}

TEST_CASE("OMS-PROD-037: a failed asynchronous send is not sent again") {
  World world;
  world.broker->Set([](Script& script) { script.send_failures = {Busy()}; });
  Producer producer = world.MakeProducer();

  const auto result = producer.SendAsync(Message("orders", "x")).Await();

  CHECK(OmsCode(result.status()) == Code::kStorageBusy);
  CHECK(IsRetriable(result.status()));
  CHECK(world.broker->counts().sends == 1);
}

TEST_CASE("OMS-PROD-038: to drop a future does not cancel the send") {
  World world;
  Producer producer = world.MakeProducer();
  Answers(world, Answer::kHeld);

  (void)producer.SendAsync(Message("orders", "x"));

  world.broker->AnswerHeld();
  CHECK(producer.Flush(kLong).ok());
  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"x"});
}

TEST_CASE("OMS-PROD-023: the limit of messages in flight fails if asked to") {
  World world;
  Producer producer = world.MakeProducer(
      {.max_in_flight_messages = 2, .at_in_flight_limit = InFlightPolicy::kFail});
  const Message message("orders", "x");
  Answers(world, Answer::kHeld);
  const auto first = producer.SendAsync(message);
  const auto second = producer.SendAsync(message);

  const auto third = producer.SendAsync(message);

  REQUIRE(third.Ready());
  const absl::Status full = third.Await().status();
  CHECK(OmsCode(full) == Code::kLocalQueueFull);
  CHECK(IsRetriable(full));
  CHECK(OutcomeOf(full) == Outcome::kNotStored);
  CHECK(Text(full) ==
        "send to \"orders\": so many sends are in flight that there is no "
        "room, the message was not stored; expected fewer than 2 messages and "
        "67108864 bytes (max_in_flight_messages, max_in_flight_bytes, "
        "OMS-PROD-023)");
  world.broker->AnswerHeld(1);
  CHECK(first.Await().ok());
  CHECK(producer.SendAsync(message).Cancel() == false);
  world.broker->AnswerHeld();
  CHECK(second.Await().ok());
  CHECK(producer.Flush(kLong).ok());
  CHECK(world.broker->bodies("orders").size() == 3);
}

TEST_CASE("OMS-PROD-023: at the limit a send waits for room") {
  World world;
  Producer producer = world.MakeProducer({.max_in_flight_messages = 1});
  const Message message("orders", "x");
  Answers(world, Answer::kHeld);
  const auto first = producer.SendAsync(message);
  std::atomic<bool> sent{false};
  std::thread sender([&] {
    const auto second = producer.SendAsync(message);
    sent = true;
    CHECK(second.Await().ok());
  });
  const auto until = steady_clock::now() + milliseconds(20);
  while (steady_clock::now() < until && !sent) std::this_thread::yield();
  CHECK_FALSE(sent);

  world.broker->AnswerHeld();

  REQUIRE(world.broker->Await([](const auto& counts) {
    return counts.sends == 2;
  }));
  while (world.broker->held() == 0) std::this_thread::yield();
  world.broker->AnswerHeld();
  sender.join();
  CHECK(first.Await().ok());
}

TEST_CASE("OMS-PROD-023: the wait for room ends with the send timeout") {
  World world;
  Producer producer = world.MakeProducer(
      {.send_timeout = milliseconds(20), .max_in_flight_messages = 1});
  const Message message("orders", "x");
  Answers(world, Answer::kHeld);
  const auto first = producer.SendAsync(message);
  const auto begin = steady_clock::now();

  const auto second = producer.SendAsync(message).Await();

  CHECK(steady_clock::now() - begin >= milliseconds(20));
  CHECK(OmsCode(second.status()) == Code::kLocalQueueFull);
  CHECK(Text(second.status()).find("no room within 20 ms") !=
        std::string_view::npos);
  world.broker->AnswerHeld();
}

TEST_CASE("OMS-PROD-023: bytes are limited and a large message goes alone") {
  World world;
  Producer producer = world.MakeProducer(
      {.max_in_flight_bytes = 1000,
       .at_in_flight_limit = InFlightPolicy::kFail});
  Answers(world, Answer::kHeld);
  const Message half("orders", std::string(480, 'x'));
  const Message large("orders", std::string(5000, 'x'));

  const auto alone = producer.SendAsync(large);
  CHECK(OmsCode(producer.SendAsync(half).Await().status()) ==
        Code::kLocalQueueFull);
  world.broker->AnswerHeld();
  CHECK(alone.Await().ok());
  const auto first = producer.SendAsync(half);
  const auto second = producer.SendAsync(half);
  CHECK_FALSE(second.Ready());
  CHECK(OmsCode(producer.SendAsync(half).Await().status()) ==
        Code::kLocalQueueFull);
  CHECK(OmsCode(producer.SendAsync(large).Await().status()) ==
        Code::kLocalQueueFull);

  world.broker->AnswerHeld();
  CHECK(producer.Flush(kLong).ok());
}

TEST_CASE("OMS-PROD-023: limits of nothing are refused") {
  World world;

  const auto none = world.bus->CreateProducer({.max_in_flight_messages = 0});
  const auto many =
      world.bus->CreateProducer({.max_in_flight_messages = 1'000'001});
  const auto empty = world.bus->CreateProducer({.max_in_flight_bytes = 0});

  CHECK(Text(none.status()) ==
        "create producer: max_in_flight_messages is 0; expected 1 to 1000000 "
        "(OMS-MAP-009)");
  CHECK(OmsCode(many.status()) == Code::kBadParameter);
  CHECK(OmsCode(empty.status()) == Code::kBadParameter);
}

TEST_CASE("OMS-PROD-024: a batch has a future for each message in its order") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().max_batch_messages = 2;
  world.broker->AddQueue("small", capabilities);
  Producer producer = world.MakeProducer();
  Answers(world, Answer::kLater);
  std::vector<Message> messages;
  for (int i = 0; i < 4; ++i) {
    messages.emplace_back("orders", std::to_string(i));
  }
  messages.emplace_back("", "no queue");
  for (int i = 0; i < 5; ++i) messages.emplace_back("small", std::to_string(i));

  const auto futures = producer.SendAsync(messages);

  REQUIRE(futures.size() == messages.size());
  for (size_t i = 0; i < futures.size(); ++i) {
    const auto result = futures[i].Await();
    CHECK(result.ok() == (i != 4));
    if (i < 4) CHECK(result->offset == static_cast<int64_t>(i));
    if (i > 4) CHECK(result->offset == static_cast<int64_t>(i) - 5);
  }
  CHECK(OmsCode(futures[4].Await().status()) == Code::kBadParameter);
  CHECK(world.broker->batch_sizes() == std::vector<size_t>{4, 2, 2, 1});
  CHECK(producer.SendAsync(std::span<const Message>()).empty());
}

TEST_CASE("OMS-PROD-024: a batch over the limit is sent as there is room") {
  World world;
  Producer producer = world.MakeProducer({.max_in_flight_messages = 3});
  Answers(world, Answer::kLater);
  const std::vector<Message> messages(20, Message("orders", "x"));

  const auto futures = producer.SendAsync(messages);

  REQUIRE(futures.size() == 20);
  for (size_t i = 0; i < futures.size(); ++i) {
    CHECK(futures[i].Await()->offset == static_cast<int64_t>(i));
  }
  for (const size_t size : world.broker->batch_sizes()) CHECK(size <= 3);
}

TEST_CASE("OMS-PROD-025: a one-way send arrives before stop ends") {
  World world;
  Producer producer = world.MakeProducer();
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(20);
  });

  for (int i = 0; i < 10; ++i) {
    CHECK(producer.SendOneway(Message("orders", std::to_string(i))).ok());
  }

  CHECK(producer.Stop(Soon()) == 0);
  CHECK(world.broker->bodies("orders").size() == 10);
  CHECK(OmsCode(producer.SendOneway(Message("orders", "x"))) == Code::kClosed);
}

TEST_CASE("OMS-PROD-039: a one-way send refuses what is wrong at once") {
  World world;
  Producer producer = world.MakeProducer({.max_body_bytes = 10,
                                          .max_in_flight_messages = 1});

  CHECK(OmsCode(producer.SendOneway(Message())) == Code::kBadParameter);
  CHECK(OmsCode(producer.SendOneway(Message("a b", ""))) ==
        Code::kBadParameter);
  CHECK(OmsCode(producer.SendOneway(Message("orders", std::string(11, 'x')))) ==
        Code::kBodyTooLarge);
  CHECK(world.broker->counts().sends == 0);

  Answers(world, Answer::kHeld);
  CHECK(producer.SendOneway(Message("orders", "x")).ok());
  CHECK(OmsCode(producer.SendOneway(Message("orders", "x"))) ==
        Code::kLocalQueueFull);
  world.broker->AnswerHeld();
}

TEST_CASE("OMS-PROD-026: the message may change once the call returned") {
  World world;
  Producer producer = world.MakeProducer();
  Answers(world, Answer::kHeld);
  Message message("orders", "before");

  const auto future = producer.SendAsync(message);
  message.SetBody("after!");
  message = Message();

  world.broker->AnswerHeld();
  CHECK(future.Await().ok());
  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"before"});
}

TEST_CASE("OMS-PROD-027: flush waits for what was sent before") {
  World world;
  Producer producer = world.MakeProducer();
  CHECK(producer.Flush(milliseconds(0)).ok());
  CHECK(world.broker->counts().producers_opened == 0);
  std::vector<Future<SendResult>> futures;
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(10);
  });
  for (int i = 0; i < 10; ++i) {
    futures.push_back(producer.SendAsync(Message("orders", "x")));
  }

  CHECK(producer.Flush(kLong).ok());

  for (const auto& future : futures) CHECK(future.Ready());
  Answers(world, Answer::kHeld);
  const auto held = producer.SendAsync(Message("orders", "x"));
  CHECK(OmsCode(producer.Flush(milliseconds(10))) == Code::kTimeout);
  CHECK(producer.Stop(steady_clock::now()) == 0);
  CHECK(OmsCode(producer.Flush(kLong)) == Code::kClosed);
}

TEST_CASE("OMS-PROD-028: stop completes every future once") {
  World world;
  Producer producer = world.MakeProducer();
  Answers(world, Answer::kHeld);
  std::atomic<int> closed{0};
  std::vector<Future<SendResult>> futures;
  for (int i = 0; i < 10; ++i) {
    futures.push_back(producer.SendAsync(Message("orders", "x")));
    futures.back().OnDone([&](const auto& result) {
      if (OmsCode(result.status()) == Code::kClosed) ++closed;
    });
  }

  CHECK(producer.Stop(steady_clock::now() + milliseconds(20)) == 0);

  for (const auto& future : futures) {
    CHECK(future.Ready());
    CHECK(OmsCode(future.Await().status()) == Code::kClosed);
  }
  REQUIRE(world.broker->held() == 0);
  const auto deadline = Soon();
  while (closed < 10 && steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(closed == 10);
}

TEST_CASE("OMS-PROD-028: stop waits for what is answered in time") {
  World world;
  Producer producer = world.MakeProducer();
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(20);
  });
  const auto future = producer.SendAsync(Message("orders", "x"));

  CHECK(producer.Stop(Soon()) == 0);

  CHECK(future.Ready());
  CHECK(future.Await().ok());
}

TEST_CASE("OMS-PROD-029: stop wakes those that wait for room") {
  World world;
  Producer producer = world.MakeProducer(
      {.send_timeout = kLong, .max_in_flight_messages = 1});
  Answers(world, Answer::kHeld);
  const auto first = producer.SendAsync(Message("orders", "x"));
  std::atomic<int> entered{0};
  std::vector<std::thread> senders;
  for (int i = 0; i < 4; ++i) {
    senders.emplace_back([&] {
      ++entered;
      const auto result = producer.SendAsync(Message("orders", "y")).Await();
      CHECK(OmsCode(result.status()) == Code::kClosed);
    });
  }
  while (entered < 4) std::this_thread::yield();
  const auto begin = steady_clock::now();

  // The last of them closes the driver, which waits for the first message.
  producer.Stop(steady_clock::now() + milliseconds(50));
  CHECK(producer.Stop(Soon()) == 0);

  CHECK(steady_clock::now() - begin < kLong);
  for (std::thread& sender : senders) sender.join();
  CHECK(OmsCode(first.Await().status()) == Code::kClosed);
  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"x"});
}

TEST_CASE("OMS-PROD-030: threads that send while others stop lose no future") {
  World world;
  Producer producer = world.MakeProducer({.max_in_flight_messages = 8});
  Answers(world, Answer::kLater);
  std::atomic<int> sent{0};
  std::atomic<int> called{0};
  std::atomic<int> outcomes{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 200; ++n) {
        const auto future = producer.SendAsync(Message("orders", "x"));
        ++sent;
        future.OnDone([&](const auto&) { ++called; });
        const auto result = future.AwaitFor(kLong);
        if (result.ok() || OmsCode(result.status()) == Code::kClosed) {
          ++outcomes;
        }
      }
    });
  }
  threads.emplace_back([&] {
    while (sent < 100) std::this_thread::yield();
    producer.Stop(Soon());
  });

  for (std::thread& thread : threads) thread.join();

  CHECK(producer.Stop(Soon()) == 0);
  CHECK(sent == 800);
  CHECK(outcomes == 800);
  CHECK(called == 800);
}

}  // namespace
}  // namespace openmessaging::async_send_test
