// SPDX-License-Identifier: Apache-2.0
//
// Future over the fake driver: waiting, callbacks, coroutines, and what is
// promised when a client stops.

#include "openmessaging/future.h"

#if defined(__cpp_impl_coroutine)
#include <coroutine>
#endif

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::future_test {
namespace {

using fake::Answer;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

const Message& Apples() {
  static const Message message("orders", "42 apples");
  return message;
}

void Hold(World& world) {
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
}

// Waits until `condition()` holds. Returns: false after ten seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = Soon();
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("OMS-FUT-001: a future gives what the call answers") {
  World world;
  Producer producer = world.MakeProducer();

  const auto inline_answer = producer.SendAsync(Apples());
  Hold(world);
  const auto late = producer.SendAsync(Apples());

  CHECK(inline_answer.Ready());
  CHECK(inline_answer.Await()->offset == 0);
  CHECK_FALSE(late.Ready());
  std::thread answers([&] { world.broker->AnswerHeld(); });
  CHECK(late.Await()->offset == 1);
  CHECK(late.Ready());
  CHECK(late.Await()->offset == 1);
  answers.join();
}

TEST_CASE("OMS-FUT-001: an empty future answers illegal state") {
  const Future<SendResult> empty;
  int calls = 0;

  empty.OnDone([&](const auto& result) {
    ++calls;
    CHECK(OmsCode(result.status()) == Code::kIllegalState);
  });

  CHECK(empty.Ready());
  CHECK(OmsCode(empty.Await().status()) == Code::kIllegalState);
  CHECK(OmsCode(empty.AwaitFor(kLong).status()) == Code::kIllegalState);
  CHECK(OmsCode(Future<void>().Await()) == Code::kIllegalState);
  CHECK(calls == 1);
}

TEST_CASE("OMS-FUT-001: copies share one outcome") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  Future<SendResult> first = producer.SendAsync(Apples());
  Future<SendResult> second = first;
  Future<SendResult> third = std::move(first);

  world.broker->AnswerHeld();

  CHECK(second.Await()->message_id == third.Await()->message_id);
  second = third;
  CHECK(second.Await().ok());
}

TEST_CASE("OMS-FUT-002: waiting ends at its timeout and can be repeated") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  const auto future = producer.SendAsync(Apples());
  const auto begin = steady_clock::now();

  const auto early = future.AwaitFor(milliseconds(20));

  CHECK(steady_clock::now() - begin >= milliseconds(20));
  CHECK(OmsCode(early.status()) == Code::kTimeout);
  CHECK(early.status().message() ==
        "await: no outcome within 20 ms, the call goes on; expected a longer "
        "timeout or another look (OMS-FUT-002)");
  CHECK(OmsCode(future.AwaitFor(milliseconds(0)).status()) == Code::kTimeout);
  world.broker->AnswerHeld();
  CHECK(future.AwaitFor(milliseconds(0)).ok());
  CHECK(future.AwaitFor(kLong).ok());
}

TEST_CASE("OMS-FUT-003: a callback runs once whenever it is added") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  const auto future = producer.SendAsync(Apples());
  std::atomic<int> before{0};
  std::atomic<int> after{0};
  std::optional<MessageId> seen;

  future.OnDone([&](const absl::StatusOr<SendResult>& result) {
    seen = result->message_id;
    ++before;
  });
  CHECK(before == 0);
  world.broker->AnswerHeld();
  REQUIRE(Eventually([&] { return before == 1; }));
  future.OnDone([&](const absl::StatusOr<SendResult>&) { ++after; });

  CHECK(after == 1);
  CHECK(seen == future.Await()->message_id);
  CHECK(producer.Stop(Soon()) == 0);
  CHECK(before == 1);
}

TEST_CASE("OMS-FUT-003: callbacks and completions may cross") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kLater; });
  Producer producer = world.MakeProducer();
  std::atomic<int> calls{0};
  constexpr int kSends = 500;

  for (int i = 0; i < kSends; ++i) {
    const auto future = producer.SendAsync(Apples());
    future.OnDone([&](const auto& result) { calls += result.ok() ? 1 : 1000; });
    if (i % 2 == 0) CHECK(future.Await().ok());
    future.OnDone([&](const auto& result) { calls += result.ok() ? 1 : 1000; });
  }

  CHECK(producer.Stop(Soon()) == 0);
  CHECK(calls == 2 * kSends);
}

TEST_CASE("OMS-FUT-003: a callback may be movable only") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  std::atomic<int> sum{0};
  const auto future = producer.SendAsync(Apples());
  future.OnDone([&sum, add = std::make_unique<int>(7)](const auto&) {
    sum += *add;
  });

  world.broker->AnswerHeld();

  CHECK(Eventually([&] { return sum == 7; }));
}

TEST_CASE("OMS-FUT-004: what a callback throws stops no other") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  const auto future = producer.SendAsync(Apples());
  std::atomic<int> calls{0};
  const auto bad = [&](const auto&) {
    ++calls;
    throw std::runtime_error("a mistake of the application");
  };
  future.OnDone(bad);
  future.OnDone([&](const auto&) { ++calls; });

  world.broker->AnswerHeld();

  REQUIRE(Eventually([&] { return calls == 2; }));
  future.OnDone(bad);
  CHECK(calls == 3);
  Future<SendResult>().OnDone(bad);
  CHECK(calls == 4);
}

TEST_CASE("OMS-FUT-005: a callback may call everything") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  const auto future = producer.SendAsync(Apples());
  std::atomic<bool> done{false};
  future.OnDone([&](const auto&) {
    CHECK(producer.Send(Apples()).ok());
    CHECK(producer.SendAsync(Apples()).Await().ok());
    CHECK(producer.Flush(kLong).ok());
    CHECK(producer.Stop(Soon()) == 0);
    CHECK(OmsCode(producer.Send(Apples()).status()) == Code::kClosed);
    done = true;
  });
  world.broker->Set(
      [](Script& script) { script.send_answer = Answer::kInline; });

  world.broker->AnswerHeld();

  CHECK(Eventually([&] { return done.load(); }));
}

TEST_CASE("OMS-FUT-005: a callback may drop the last handles") {
  World world;
  auto producer =
      std::make_unique<Producer>(world.MakeProducer());
  Hold(world);
  std::atomic<bool> done{false};
  producer->SendAsync(Apples()).OnDone([&](const auto& result) {
    CHECK(result.ok());
    producer.reset();
    world.bus.reset();
    done = true;
  });

  world.broker->AnswerHeld();

  REQUIRE(Eventually([&] { return done.load(); }));
  CHECK(world.broker->Await(
      [](const auto& counts) { return counts.connections_closed == 1; }));
}

TEST_CASE("OMS-FUT-005: a callback that is slow holds up no driver") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  std::atomic<bool> go_on{false};
  std::atomic<bool> waits{false};
  producer.SendAsync(Apples()).OnDone([&](const auto&) {
    waits = true;
    while (!go_on) std::this_thread::yield();
  });

  world.broker->AnswerHeld();

  REQUIRE(Eventually([&] { return waits.load(); }));
  world.broker->Set([](Script& script) { script.send_answer = Answer::kLater; });
  CHECK(producer.Send(Apples()).ok());
  CHECK(producer.SendAsync(Apples()).Await().ok());
  CHECK(producer.Flush(kLong).ok());
  go_on = true;
}

TEST_CASE("OMS-FUT-006: cancel says truthfully that it did not withdraw") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  const auto future = producer.SendAsync(Apples());

  CHECK_FALSE(future.Cancel());

  world.broker->AnswerHeld();
  CHECK(future.Await().ok());
  CHECK(world.broker->bodies("orders").size() == 1);
}

#if defined(__cpp_impl_coroutine)

// A coroutine that starts at once and that its owner destroys.
class Task {
 public:
  struct promise_type {
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept {
      ended = true;
      return {};
    }
    void return_void() {}
    void unhandled_exception() {}
    std::atomic<bool> ended{false};
  };

  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }
  bool ended() const { return handle_.promise().ended; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

Task SendTwo(Producer& producer, std::vector<int64_t>& offsets,
             std::atomic<int>& steps) {
  ++steps;
  const auto first = co_await producer.SendAsync(Apples());
  offsets.push_back(first.ok() ? first->offset : -1);
  ++steps;
  const auto second = co_await producer.SendAsync(Message("nowhere", "x"));
  offsets.push_back(static_cast<int64_t>(OmsCode(second.status())));
  ++steps;
}

TEST_CASE("OMS-FUT-007: a coroutine gets the same results") {
  for (const Answer answer : {Answer::kInline, Answer::kLater}) {
    World world;
    world.broker->Set([&](Script& script) { script.send_answer = answer; });
    Producer producer = world.MakeProducer();
    std::vector<int64_t> offsets;
    std::atomic<int> steps{0};

    const Task task = SendTwo(producer, offsets, steps);

    REQUIRE(Eventually([&] { return task.ended(); }));
    CHECK(steps == 3);
    CHECK(offsets == std::vector<int64_t>{0, 1404});
    CHECK(producer.Stop(Soon()) == 0);
  }
}

TEST_CASE("OMS-FUT-008: a suspended coroutine may be destroyed") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  std::vector<int64_t> offsets;
  std::atomic<int> steps{0};
  {
    const Task task = SendTwo(producer, offsets, steps);
    CHECK_FALSE(task.ended());
  }

  world.broker->AnswerHeld();

  CHECK(producer.Stop(Soon()) == 0);
  CHECK(steps == 1);
  CHECK(offsets.empty());
  CHECK(world.broker->bodies("orders").size() == 1);
}

TEST_CASE("OMS-FUT-008: a coroutine may be destroyed before its turn comes") {
  World world;
  Producer producer = world.MakeProducer();
  Hold(world);
  std::atomic<bool> blocked{false};
  std::atomic<bool> go_on{false};
  producer.SendAsync(Apples()).OnDone([&](const auto&) {
    blocked = true;
    while (!go_on) std::this_thread::yield();
  });
  std::vector<int64_t> offsets;
  std::atomic<int> steps{0};
  {
    const Task task = SendTwo(producer, offsets, steps);
    world.broker->AnswerHeld();
    REQUIRE(Eventually([&] { return blocked.load(); }));
  }
  go_on = true;

  CHECK(producer.Stop(Soon()) == 0);
  CHECK(steps == 1);
}

#endif  // defined(__cpp_impl_coroutine)

TEST_CASE("OMS-FUT-009: a future outlives its producer") {
  World world;
  Future<SendResult> future;
  {
    Producer producer = world.MakeProducer({.send_timeout = milliseconds(20)});
    Hold(world);
    future = producer.SendAsync(Apples());
    CHECK(producer.Stop(steady_clock::now() + milliseconds(20)) == 0);
  }
  world.bus.reset();

  CHECK(future.Ready());
  CHECK(OmsCode(future.Await().status()) == Code::kClosed);
}

}  // namespace
}  // namespace openmessaging::future_test
