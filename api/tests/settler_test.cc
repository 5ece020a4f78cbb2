// SPDX-License-Identifier: Apache-2.0
//
// Every verb that settles, with and without waiting, for one delivery, for a
// receipt and for many, over the fake driver.

#include "openmessaging/settler.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::settler_test {
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

void SendSome(World& world, int count, std::string_view queue = "orders") {
  Producer producer = world.MakeProducer();
  for (int i = 0; i < count; ++i) {
    REQUIRE(producer.Send(Message(queue, std::to_string(i))).ok());
  }
}

std::vector<Delivery> Take(PullConsumer& consumer, size_t count) {
  auto received = consumer.ReceiveBatch(count, kLong);
  REQUIRE(received.ok());
  REQUIRE(received->size() == count);
  return *std::move(received);
}

// The verb that the driver got last, and its duration.
std::pair<Verb, milliseconds> Last(World& world) {
  const auto settlement = world.broker->settlements().back();
  return {settlement.verb, settlement.duration};
}

TEST_CASE("OMS-CONS-023: a delivery settles with every verb and no waiting") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 6);
  const std::vector<Delivery> batch = Take(consumer, 6);
  const milliseconds ms(7);

  CHECK(batch[0].AckAsync().Await().ok());
  CHECK(Last(world) == std::pair(Verb::kAck, milliseconds(0)));
  CHECK(batch[1].ExtendAsync(ms).Await().ok());
  CHECK(Last(world) == std::pair(Verb::kExtend, ms));
  CHECK(batch[2].AckUpToAsync().Await().ok());
  CHECK(Last(world) == std::pair(Verb::kAckUpTo, milliseconds(0)));
  CHECK(batch[3].NackAsync().Await().ok());
  CHECK(Last(world) == std::pair(Verb::kNack, milliseconds(0)));
  CHECK(batch[4].NackAsync(ms).Await().ok());
  CHECK(Last(world) == std::pair(Verb::kNackDelay, ms));
  CHECK(batch[5].RejectAsync().Await().ok());
  CHECK(Last(world) == std::pair(Verb::kReject, milliseconds(0)));
  CHECK_FALSE(world.broker->last_context().caller_waits);
  CHECK(world.broker->unsettled("orders") == 2);
}

TEST_CASE("OMS-CONS-023: a consumer settles deliveries and receipts") {
  const milliseconds ms(7);
  using Act = std::function<absl::Status(PullConsumer&, const Delivery&)>;
  const std::vector<std::pair<Verb, std::vector<Act>>> acts = {
      {Verb::kAck,
       {[](auto& c, auto& d) { return c.Ack(d); },
        [](auto& c, auto& d) { return c.Ack(d.receipt()); },
        [](auto& c, auto& d) { return c.AckAsync(d).Await(); },
        [](auto& c, auto& d) { return c.AckAsync(d.receipt()).Await(); }}},
      {Verb::kAckUpTo,
       {[](auto& c, auto& d) { return c.AckUpTo(d); },
        [](auto& c, auto& d) { return c.AckUpTo(d.receipt()); },
        [](auto& c, auto& d) { return c.AckUpToAsync(d).Await(); },
        [](auto& c, auto& d) { return c.AckUpToAsync(d.receipt()).Await(); }}},
      {Verb::kNack,
       {[](auto& c, auto& d) { return c.Nack(d); },
        [](auto& c, auto& d) { return c.Nack(d.receipt()); },
        [](auto& c, auto& d) { return c.NackAsync(d).Await(); },
        [](auto& c, auto& d) { return c.NackAsync(d.receipt()).Await(); }}},
      {Verb::kNackDelay,
       {[&](auto& c, auto& d) { return c.Nack(d, ms); },
        [&](auto& c, auto& d) { return c.Nack(d.receipt(), ms); },
        [&](auto& c, auto& d) { return c.NackAsync(d, ms).Await(); },
        [&](auto& c, auto& d) { return c.NackAsync(d.receipt(), ms).Await(); }}},
      {Verb::kReject,
       {[](auto& c, auto& d) { return c.Reject(d); },
        [](auto& c, auto& d) { return c.Reject(d.receipt()); },
        [](auto& c, auto& d) { return c.RejectAsync(d).Await(); },
        [](auto& c, auto& d) { return c.RejectAsync(d.receipt()).Await(); }}},
      {Verb::kExtend,
       {[&](auto& c, auto& d) { return c.Extend(d, ms); },
        [&](auto& c, auto& d) { return c.Extend(d.receipt(), ms); },
        [&](auto& c, auto& d) { return c.ExtendAsync(d, ms).Await(); },
        [&](auto& c, auto& d) {
          return c.ExtendAsync(d.receipt(), ms).Await();
        }}}};
  for (const auto& [verb, ways] : acts) {
    for (const Act& act : ways) {
      World world;
      PullConsumer consumer = world.MakeConsumer();
      SendSome(world, 1);
      const std::vector<Delivery> batch = Take(consumer, 1);

      CHECK(act(consumer, batch[0]).ok());

      CHECK(Last(world).first == verb);
      const bool timed = verb == Verb::kNackDelay || verb == Verb::kExtend;
      CHECK(Last(world).second == (timed ? ms : milliseconds(0)));
      CHECK(OmsCode(act(consumer, Delivery())) == Code::kReceiptInvalid);
    }
  }
}

TEST_CASE("OMS-CONS-015: many deliveries settle with every verb") {
  const milliseconds ms(7);
  using Batch = std::span<const Delivery>;
  using Act = std::function<std::vector<absl::Status>(PullConsumer&, Batch)>;
  const auto await = [](const std::vector<Future<void>>& futures) {
    std::vector<absl::Status> results;
    for (const auto& future : futures) results.push_back(future.Await());
    return results;
  };
  const std::vector<std::pair<Verb, Act>> acts = {
      {Verb::kAck, [](auto& c, Batch b) { return c.Ack(b); }},
      {Verb::kAck, [&](auto& c, Batch b) { return await(c.AckAsync(b)); }},
      {Verb::kAckUpTo, [](auto& c, Batch b) { return c.AckUpTo(b); }},
      {Verb::kAckUpTo,
       [&](auto& c, Batch b) { return await(c.AckUpToAsync(b)); }},
      {Verb::kNack, [](auto& c, Batch b) { return c.Nack(b); }},
      {Verb::kNack, [&](auto& c, Batch b) { return await(c.NackAsync(b)); }},
      {Verb::kNackDelay, [&](auto& c, Batch b) { return c.Nack(b, ms); }},
      {Verb::kNackDelay,
       [&](auto& c, Batch b) { return await(c.NackAsync(b, ms)); }},
      {Verb::kReject, [](auto& c, Batch b) { return c.Reject(b); }},
      {Verb::kReject, [&](auto& c, Batch b) { return await(c.RejectAsync(b)); }},
      {Verb::kExtend, [&](auto& c, Batch b) { return c.Extend(b, ms); }},
      {Verb::kExtend,
       [&](auto& c, Batch b) { return await(c.ExtendAsync(b, ms)); }}};
  for (const auto& [verb, act] : acts) {
    World world;
    World elsewhere;
    PullConsumer consumer = world.MakeConsumer();
    PullConsumer other = elsewhere.MakeConsumer();
    SendSome(world, 3);
    SendSome(elsewhere, 1);
    std::vector<Delivery> batch = Take(consumer, 3);
    batch.insert(batch.begin() + 1, Delivery());
    batch.push_back(Take(other, 1)[0]);

    const auto results = act(consumer, batch);

    REQUIRE(results.size() == 5);
    CHECK(results[0].ok());
    CHECK(OmsCode(results[1]) == Code::kReceiptInvalid);
    CHECK(results[2].ok());
    CHECK(results[3].ok());
    CHECK(OmsCode(results[4]) == Code::kReceiptInvalid);
    CHECK(world.broker->counts().settles == 1);
    CHECK(world.broker->settlements().size() == 3);
    CHECK(Last(world).first == verb);
    CHECK(act(consumer, {}).empty());
  }
}

TEST_CASE("OMS-CONS-023: what a driver answers later is the future's outcome") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 3);
  const std::vector<Delivery> batch = Take(consumer, 3);
  world.broker->Set([](Script& script) {
    script.settle_answer = Answer::kHeld;
    script.settle_failures = {absl::OkStatus(),
                              MakeStatus(Code::kUnavailable, "gone")};
  });

  const Future<void> first = batch[0].AckAsync();
  const auto rest = consumer.AckAsync(std::span(&batch[1], 2));
  std::atomic<int> calls{0};
  rest[0].OnDone([&](const absl::Status& status) {
    calls += OmsCode(status) == Code::kUnavailable ? 1 : 100;
  });

  CHECK_FALSE(first.Ready());
  world.broker->AnswerHeldBackwards();
  CHECK(first.Await().ok());
  CHECK(OmsCode(rest[0].Await()) == Code::kUnavailable);
  CHECK(rest[1].Await().ok());
  CHECK(consumer.Stop(Soon()) == 0);
  CHECK(calls == 1);
}

TEST_CASE("OMS-CONS-023: stop completes settlements that are not answered") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 3);
  const std::vector<Delivery> batch = Take(consumer, 3);
  world.broker->Set(
      [](Script& script) { script.settle_answer = Answer::kHeld; });
  const auto futures = consumer.AckAsync(batch);

  CHECK(consumer.Stop(Soon()) == 0);

  for (const auto& future : futures) {
    CHECK(future.Ready());
    CHECK(OmsCode(future.Await()) == Code::kClosed);
  }
  CHECK(OmsCode(batch[0].AckAsync().Await()) == Code::kClosed);
  for (const auto& future : consumer.NackAsync(batch)) {
    CHECK(OmsCode(future.Await()) == Code::kClosed);
  }
}

TEST_CASE("OMS-SET-016: durations that mean nothing are refused") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 1);
  const Delivery delivery = Take(consumer, 1)[0];

  const absl::Status zero = delivery.Extend(milliseconds(0));

  CHECK(OmsCode(zero) == Code::kBadParameter);
  CHECK(Text(zero) ==
        "settle: duration is 0 ms; expected 1 or more (OMS-SET-016)");
  CHECK(OmsCode(delivery.Extend(milliseconds(-1))) == Code::kBadParameter);
  CHECK(OmsCode(delivery.ExtendAsync(milliseconds(0)).Await()) ==
        Code::kBadParameter);
  CHECK(OmsCode(consumer.Extend(delivery.receipt(), milliseconds(0))) ==
        Code::kBadParameter);
  CHECK(OmsCode(delivery.NackAsync(milliseconds(-1)).Await()) ==
        Code::kBadParameter);
  CHECK(world.broker->counts().settles == 0);
  CHECK(delivery.Nack(milliseconds(0)).ok());
}

TEST_CASE("OMS-SET-009: acknowledging the third may settle all three") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 4);
  const std::vector<Delivery> batch = Take(consumer, 4);

  CHECK(batch[2].AckUpTo().ok());

  CHECK(world.broker->unsettled("orders") == 1);
  CHECK(batch[3].Nack().ok());
  CHECK(Take(consumer, 1)[0]->body() == "3");
}

TEST_CASE("OMS-CONS-014: verbs without support are refused in a batch too") {
  World world;
  world.broker->AddQueue(
      "plain", AllBut({Capability::kReject, Capability::kExtend,
                       Capability::kCumulativeAck}));
  auto consumer = world.bus->CreatePullConsumer();
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("plain").ok());
  SendSome(world, 2, "plain");
  const auto batch = Take(*consumer, 2);

  for (const auto& status : consumer->Reject(batch)) {
    CHECK(OmsCode(status) == Code::kUnsupported);
  }
  for (const auto& future : consumer->ExtendAsync(batch, milliseconds(5))) {
    CHECK(OmsCode(future.Await()) == Code::kUnsupported);
  }
  CHECK(OmsCode(batch[0].AckUpTo()) == Code::kUnsupported);
  CHECK(OmsCode(batch[0].RejectAsync().Await()) == Code::kUnsupported);
  CHECK(world.broker->counts().settles == 0);
}

TEST_CASE("OMS-SET-020: a receipt that extend replaced stays good") {
  World world;
  world.broker->Set([](Script& script) { script.new_receipts = true; });
  PullConsumer consumer = world.MakeConsumer();
  SendSome(world, 4);
  const std::vector<Delivery> batch = Take(consumer, 4);
  const Receipt printed = batch[0].receipt();
  const Delivery copy = batch[0];

  CHECK(batch[0].Extend(milliseconds(5)).ok());
  CHECK_FALSE(batch[0].receipt() == printed);
  CHECK(copy.receipt() == batch[0].receipt());
  CHECK(copy.Extend(milliseconds(5)).ok());
  CHECK(consumer.Extend(printed, milliseconds(5)).ok());
  CHECK(consumer.ExtendAsync(batch[0].receipt(), milliseconds(5)).Await().ok());
  for (const auto& status : consumer.Extend(batch, milliseconds(5))) {
    CHECK(status.ok());
  }

  CHECK(consumer.Ack(printed).ok());
  CHECK(batch[1].Ack().ok());
  CHECK(batch[2].AckAsync().Await().ok());
  for (const auto& status : consumer.Ack(batch)) CHECK(status.ok());
  CHECK(world.broker->unsettled("orders") == 0);
}

TEST_CASE("OMS-SET-020: the list of replaced receipts does not grow for ever") {
  internal::RenewedReceipts renewed;
  for (uint64_t i = 0; i < 20000; ++i) {
    renewed.Add(Receipt(i, "old"), Receipt(i, "new"));
  }
  renewed.Add(Receipt(7, "same"), Receipt(7, "same"));
  renewed.Add(Receipt(8, "a"), Receipt(8, "b"));
  renewed.Add(Receipt(8, "b"), Receipt(8, "a"));

  CHECK(renewed.Latest(Receipt(19999, "old")) == Receipt(19999, "new"));
  CHECK(renewed.Latest(Receipt(0, "old")) == Receipt(0, "old"));
  CHECK(renewed.Latest(Receipt(7, "same")) == Receipt(7, "same"));
  CHECK(renewed.Latest(Receipt(8, "a")).source() == 8);
}

TEST_CASE("OMS-SET-024: threads may settle without waiting while one stops") {
  World world;
  PullConsumer consumer = world.MakeConsumer();
  world.broker->Set(
      [](Script& script) { script.settle_answer = Answer::kLater; });
  SendSome(world, 400);
  const std::vector<Delivery> batch = Take(consumer, 400);
  std::atomic<int> outcomes{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < batch.size(); i += 4) {
        const absl::Status status = batch[i].AckAsync().AwaitFor(kLong);
        if (status.ok() || OmsCode(status) == Code::kClosed) ++outcomes;
      }
    });
  }
  threads.emplace_back([&] {
    while (outcomes < 50) std::this_thread::yield();
    consumer.Stop(Soon());
  });
  for (std::thread& thread : threads) thread.join();

  CHECK(outcomes == 400);
}

}  // namespace
}  // namespace openmessaging::settler_test
