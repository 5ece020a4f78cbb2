// SPDX-License-Identifier: Apache-2.0
//
// Transactions of a store that misbehaves on request: what it says it did, it did,
// and what it does not say is half and half.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::faulty_transaction_test {
namespace {

constexpr std::string_view kQueue = "orders";

// A store with the queue "orders", seen with its faults and without.
struct World {
  explicit World(std::string_view fault, int seed = 7)
      : truth(ConnectWith(place.Url(), kQueue)),
        faulty(Connect(place.Url("?fault=" + std::string(fault) +
                                 "&fault.seed=" + std::to_string(seed)))) {}

  // A producer of either connection, of one group; it is asked nothing soon.
  static Producer ProducerOf(const MessagingAccessPoint& bus,
                             milliseconds send_timeout = milliseconds(0)) {
    ProducerOptions options;
    options.group = "shop";
    options.check = [](const Message&) { return TransactionState::kUnknown; };
    options.check_after = std::chrono::minutes(1);
    options.send_timeout = send_timeout;
    return Must(bus.CreateProducer(options));
  }
  int64_t Undecided() const {
    return Must(truth.resource_manager().Stats(kQueue)).prepared.value_or(-1);
  }
  std::vector<std::string> Stored() const {
    PullConsumer consumer = Consume(truth, kQueue, {.group = "truth"});
    return DrainBodies(consumer);
  }

  MemoryPlace place;
  MessagingAccessPoint truth;
  MessagingAccessPoint faulty;
};

TEST_CASE("OMS-REF-021: what is prepared with faults is there as they say") {
  World world("error:0.2,unknown:0.2,disconnect:0.2,drop:0.1");
  Producer producer = World::ProducerOf(world.faulty);
  size_t prepared = 0;
  size_t dropped = 0;
  size_t unknown = 0;
  for (int n = 0; n < 200; ++n) {
    const auto one = producer.Prepare(Message(kQueue, std::to_string(n)));
    if (one.ok()) {
      ++(one->transaction_id().starts_with("dropped-") ? dropped : prepared);
    } else if (OutcomeOf(one.status()) == Outcome::kUnknown) {
      ++unknown;
    } else {
      CHECK(OutcomeOf(one.status()) == Outcome::kNotStored);
      CHECK(OmsCode(one.status()) == Code::kUnavailable);
    }
  }
  CHECK(prepared > 40);
  CHECK(dropped > 2);
  CHECK(unknown > 30);
  const auto there = static_cast<size_t>(world.Undecided());
  CHECK(there > prepared);
  CHECK(there < prepared + unknown);
  CHECK(producer.Prepare(Message("nowhere", "x")).ok() == false);
}

TEST_CASE("OMS-REF-021: a decision without an answer can be repeated until there is one") {
  World world("error:0.2,unknown:0.2,disconnect:0.2");
  Producer sound = World::ProducerOf(world.truth, kLong);
  Producer producer = World::ProducerOf(world.faulty, kLong);
  std::vector<std::string> expected;
  size_t repeated = 0;
  size_t done = 0;
  for (int n = 0; n < 100; ++n) {
    const PreparedMessage prepared =
        Must(sound.Prepare(Message(kQueue, std::to_string(n))));
    const bool commit = n % 2 == 0;
    if (commit) expected.push_back(std::to_string(n));
    const auto state = commit ? TransactionState::kCommit
                              : TransactionState::kRollback;
    absl::Status status = producer.Resolve(prepared.transaction_id(), state);
    if (!status.ok() && OutcomeOf(status) == Outcome::kUnknown) {
      // The opposite tells which of the two it was.
      const absl::Status opposite = sound.Resolve(
          prepared.transaction_id(), commit ? TransactionState::kRollback
                                            : TransactionState::kCommit);
      if (opposite.ok()) {
        if (commit) {
          expected.pop_back();
        } else {
          expected.push_back(std::to_string(n));
        }
        continue;
      }
      CHECK(OmsCode(opposite) == Code::kTransactionConflict);
      ++done;
    }
    while (!status.ok()) {
      ++repeated;
      CHECK(IsRetriable(status));
      status = producer.Resolve(prepared.transaction_id(), state);
    }
  }
  CHECK(repeated > 10);
  CHECK(done > 5);
  CHECK(world.Undecided() == 0);
  std::vector<std::string> stored = world.Stored();
  std::sort(stored.begin(), stored.end());
  std::sort(expected.begin(), expected.end());
  CHECK(stored == expected);
}

TEST_CASE("OMS-REF-021: a local transaction is done in full or not at all") {
  World world("error:0.1,unknown:0.4");
  Must(world.truth.resource_manager().CreateQueue("bills", {}));
  SendNumbers(world.truth, kQueue, 1, 100);
  PullConsumer consumer =
      Consume(world.faulty, kQueue, {.group = "g", .lease = kLong * 100});
  Producer producer =
      Must(world.faulty.CreateProducer({.send_timeout = milliseconds(0)}));
  std::set<std::string> done;
  std::set<std::string> undone;
  std::set<std::string> unknown;
  const auto deadline = Soon();
  while (done.size() + undone.size() + unknown.size() < 60 &&
         steady_clock::now() < deadline) {
    const auto received = consumer.Receive(kLong);
    if (!received.ok() || !received->has_value()) continue;
    const Delivery& order = **received;
    const std::string body(order->body());
    const auto sent = producer.Transact([&](LocalTransaction& tx) {
      if (auto s = tx.Ack(order); !s.ok()) return s;
      return tx.Send(Message("bills", body));
    });
    if (sent.ok()) {
      CHECK(done.insert(body).second);
    } else if (OutcomeOf(sent.status()) == Outcome::kUnknown) {
      unknown.insert(body);
    } else {
      undone.insert(body);
    }
  }
  CHECK(!done.empty());
  CHECK(unknown.size() > 5);

  PullConsumer bills = Consume(world.truth, "bills");
  const std::vector<std::string> all = DrainBodies(bills);
  const std::set<std::string> billed(all.begin(), all.end());
  CHECK(billed.size() == all.size());
  for (const std::string& body : done) CHECK(billed.contains(body));
  size_t unknown_done = 0;
  for (const std::string& body : unknown) unknown_done += billed.count(body);
  CHECK(unknown_done > 0);
  CHECK(unknown_done < unknown.size());
  // What was acknowledged was billed, and nothing else.
  const auto stats = Must(world.truth.resource_manager().Stats(kQueue));
  REQUIRE(stats.groups.size() == 1);
  CHECK(stats.groups[0].lag == 100 - static_cast<int64_t>(billed.size()));
}

TEST_CASE("OMS-REF-021: who cannot wait for a transaction learns that it may be done") {
  World world("delay:10s");
  Producer producer = World::ProducerOf(world.faulty, milliseconds(5));
  const auto prepared = producer.Prepare(Message(kQueue, "late"));
  CHECK(OmsCode(prepared.status()) == Code::kTimeout);
  CHECK(OutcomeOf(prepared.status()) == Outcome::kUnknown);
  CHECK(world.Undecided() == 1);

  const auto sent = producer.Transact(
      [](LocalTransaction& tx) { return tx.Send(Message(kQueue, "later")); },
      {.timeout = milliseconds(5)});
  CHECK(OutcomeOf(sent.status()) == Outcome::kUnknown);
  CHECK(world.Stored() == std::vector<std::string>{"later"});
}

TEST_CASE("OMS-REF-021: a check that is lost is asked again") {
  World world("drop:0.4,error:0.2");
  std::atomic<int> asked{0};
  ProducerOptions options;
  options.group = "shop";
  options.check = [&](const Message&) {
    ++asked;
    return TransactionState::kCommit;
  };
  options.check_after = milliseconds(20);
  options.max_checks = 1000;
  {
    Producer dying = Must(world.truth.CreateProducer(options));
    for (int n = 0; n < 10; ++n) {
      PreparedMessage left =
          Must(dying.Prepare(Message(kQueue, std::to_string(n))));
      (void)left;
    }
    asked = 0;
  }
  Producer heir = Must(world.faulty.CreateProducer(options));
  Must(heir.Start());
  const auto deadline = Soon();
  while (world.Undecided() > 0 && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  CHECK(world.Undecided() == 0);
  CHECK(world.Stored().size() == 10);
}

TEST_CASE("OMS-REF-021: the same seed has the same faults in transactions") {
  const auto outcomes = [](int seed) {
    World world("error:0.3,unknown:0.3", seed);
    Producer producer = World::ProducerOf(world.faulty);
    std::string all;
    for (int n = 0; n < 60; ++n) {
      const auto one = producer.Prepare(Message(kQueue, "x"));
      all.push_back(one.ok() ? 'o'
                    : OutcomeOf(one.status()) == Outcome::kUnknown ? 'u'
                                                                   : 'e');
    }
    return all + std::to_string(world.Undecided());
  };
  CHECK(outcomes(1) == outcomes(1));
  CHECK(outcomes(1) != outcomes(2));
}

}  // namespace
}  // namespace openmessaging::reference::faulty_transaction_test
