// SPDX-License-Identifier: Apache-2.0
//
// Prepared messages over the fake driver: what may be prepared, who is asked, on
// which thread, and until when.

#include "openmessaging/transaction.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/prepared_message.h"
#include "openmessaging/producer.h"

namespace openmessaging::transaction_test {
namespace {

using fake::AllBut;
using fake::Busy;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using Decision = driver::TransactionSource::Decision;

TransactionState Unknown(const Message& /*message*/) {
  return TransactionState::kUnknown;
}

ProducerOptions WithCheck(CheckListener check) {
  ProducerOptions options;
  options.group = "shop";
  options.check = std::move(check);
  return options;
}

PreparedMessage Prepared(Producer& producer, std::string_view body = "one") {
  auto prepared = producer.Prepare(Message("orders", body));
  if (!prepared.ok()) FAIL(std::string(prepared.status().message()));
  return *std::move(prepared);
}

TEST_CASE("OMS-TX-008: a message is prepared as the options say") {
  World world;
  ProducerOptions options = WithCheck(Unknown);
  options.check_after = milliseconds(1234);
  options.max_checks = 7;
  Producer producer = world.MakeProducer(options);

  PreparedMessage prepared = Prepared(producer);

  CHECK(prepared.transaction_id() == "tx-1");
  CHECK(std::string_view(prepared.message_id().ToString()) == "id-of-tx-1");
  CHECK(world.broker->transactions.last_group() == "shop");
  CHECK(world.broker->transactions.last_options().check_after ==
        milliseconds(1234));
  CHECK(world.broker->transactions.last_options().max_checks == 7);
  // Nothing was sent.
  CHECK(world.broker->bodies("orders").empty());
}

TEST_CASE("OMS-TX-011: what cannot be prepared is refused before the driver sees it") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kTransactionCheck}));
  Producer without = world.MakeProducer();
  CHECK(OmsCode(without.Prepare(Message("orders", "x")).status()) ==
        Code::kBadParameter);
  Producer producer = world.MakeProducer(WithCheck(Unknown));
  Message delayed("orders", "x");
  delayed.SetDelay(milliseconds(1));
  CHECK(OmsCode(producer.Prepare(delayed).status()) == Code::kBadParameter);
  Message with_id("orders", "x");
  with_id.SetDeduplicationId("x");
  CHECK(OmsCode(producer.Prepare(with_id).status()) == Code::kBadParameter);
  CHECK(OmsCode(producer.Prepare(Message("", "x")).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(producer.Prepare(Message("plain", "x")).status()) ==
        Code::kUnsupported);
  CHECK(OmsCode(producer.Resolve("", TransactionState::kCommit)) ==
        Code::kBadParameter);
  CHECK(OmsCode(producer.Resolve("tx-1", TransactionState::kUnknown)) ==
        Code::kBadParameter);

  CHECK(world.broker->transactions.prepares() == 0);
}

TEST_CASE("options of checks that make no sense are 1418") {
  World world;
  ProducerOptions no_group = WithCheck(Unknown);
  no_group.group.clear();
  ProducerOptions no_wait = WithCheck(Unknown);
  no_wait.check_after = milliseconds(0);
  ProducerOptions long_wait = WithCheck(Unknown);
  long_wait.check_after = std::chrono::hours(25);
  ProducerOptions no_checks = WithCheck(Unknown);
  no_checks.max_checks = 0;
  ProducerOptions many_checks = WithCheck(Unknown);
  many_checks.max_checks = 10'001;
  for (const ProducerOptions& bad :
       {no_group, no_wait, long_wait, no_checks, many_checks}) {
    CHECK(OmsCode(world.bus->CreateProducer(bad).status()) ==
          Code::kBadParameter);
  }
  // Nobody is asked, so nobody cares.
  no_checks.check = nullptr;
  CHECK(world.bus->CreateProducer(no_checks).ok());
}

TEST_CASE("a driver without prepared messages says so at the start") {
  World world;
  world.broker->transactions.supported = false;
  Producer producer = world.MakeProducer(WithCheck(Unknown));
  CHECK(OmsCode(producer.Start()) == Code::kUnsupported);
  Producer plain = world.MakeProducer();
  CHECK(OmsCode(plain.Resolve("tx-1", TransactionState::kCommit)) ==
        Code::kUnsupported);
}

TEST_CASE("a producer whose checks cannot be opened does not start") {
  World world;
  world.broker->transactions.FailOpen(true);
  Producer producer = world.MakeProducer(WithCheck(Unknown));
  CHECK(OmsCode(producer.Start()) == Code::kUnavailable);
  CHECK(world.broker->counts().producers_closed == 1);
  world.broker->transactions.FailOpen(false);
  CHECK(producer.Start().ok());
}

TEST_CASE("OMS-TX-003: the first decision counts") {
  World world;
  Producer producer = world.MakeProducer(WithCheck(Unknown));
  PreparedMessage kept = Prepared(producer);
  PreparedMessage dropped = Prepared(producer);

  CHECK(kept.Commit().ok());
  CHECK(kept.Commit().ok());
  CHECK(OmsCode(kept.Rollback()) == Code::kTransactionConflict);
  CHECK(dropped.Rollback().ok());
  // From a producer with no listener and of no group.
  Producer other = world.MakeProducer();
  CHECK(other.Resolve(dropped.transaction_id(), TransactionState::kRollback)
            .ok());
  CHECK(OmsCode(other.Resolve(dropped.transaction_id(),
                              TransactionState::kCommit)) ==
        Code::kTransactionConflict);
  CHECK(world.broker->transactions.DecisionOf("tx-1") == Decision::kCommit);
  CHECK(world.broker->transactions.DecisionOf("tx-2") == Decision::kRollback);
}

TEST_CASE("what was certainly not stored is prepared again, nothing else") {
  World world;
  Producer producer = world.MakeProducer(WithCheck(Unknown));
  world.broker->transactions.FailNextPrepare(Busy());
  world.broker->transactions.FailNextPrepare(Busy());
  CHECK(producer.Prepare(Message("orders", "x")).ok());
  CHECK(world.broker->transactions.prepares() == 3);

  world.broker->transactions.FailNextPrepare(
      MakeStatus(Code::kTimeout, "prepare: no answer"));
  CHECK(OmsCode(producer.Prepare(Message("orders", "x")).status()) ==
        Code::kTimeout);
  CHECK(world.broker->transactions.prepares() == 4);
}

TEST_CASE("OMS-TX-004: the listener's answer is carried out") {
  World world;
  std::atomic<TransactionState> answer{TransactionState::kUnknown};
  std::atomic<int> calls{0};
  std::mutex mutex;
  std::string seen;
  std::thread::id thread;
  Producer producer = world.MakeProducer(WithCheck([&](const Message& message) {
    const std::lock_guard lock(mutex);
    seen = std::string(message.body()) + " " +
           std::string(message.transaction_id());
    thread = std::this_thread::get_id();
    if (++calls == 1) throw std::runtime_error("no idea");
    return answer.load();
  }));
  fake::Transactions& transactions = world.broker->transactions;
  PreparedMessage one = Prepared(producer, "one");
  PreparedMessage two = Prepared(producer, "two");

  const auto ask = [&](const std::string& id) {
    const int before = calls;
    transactions.MakeDue(id);
    for (const auto deadline = Soon(); calls == before;) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::sleep_for(milliseconds(1));
    }
  };
  ask("tx-1");  // Throws.
  ask("tx-1");  // Does not know.
  CHECK_FALSE(transactions.DecisionOf("tx-1").has_value());
  answer = TransactionState::kCommit;
  ask("tx-1");
  CHECK(transactions.AwaitDecision("tx-1") == Decision::kCommit);
  answer = TransactionState::kRollback;
  ask("tx-2");
  CHECK(transactions.AwaitDecision("tx-2") == Decision::kRollback);

  const std::lock_guard lock(mutex);
  CHECK(seen == "two tx-2");
  CHECK(thread != std::this_thread::get_id());
}

TEST_CASE("a failure to take checks is survived") {
  World world;
  Producer producer = world.MakeProducer(WithCheck(
      [](const Message&) { return TransactionState::kCommit; }));
  PreparedMessage prepared = Prepared(producer);
  for (int n = 0; n < 3; ++n) {
    world.broker->transactions.FailNextTake(
        MakeStatus(Code::kUnavailable, "take: no broker"));
  }

  world.broker->transactions.MakeDue("tx-1");

  CHECK(world.broker->transactions.AwaitDecision("tx-1") == Decision::kCommit);
}

TEST_CASE("a listener may stop or end the producer that asks it") {
  World world;
  std::optional<Producer> producer;
  std::atomic<bool> done{false};
  bool end = false;
  SUBCASE("stop") {}
  SUBCASE("end") { end = true; }
  producer.emplace(world.MakeProducer(WithCheck([&](const Message&) {
    if (end) {
      producer.reset();
    } else {
      CHECK(producer->Stop(Soon()) == 0);
    }
    done = true;
    return TransactionState::kCommit;
  })));
  {
    PreparedMessage prepared = Prepared(*producer);
    world.broker->transactions.MakeDue("tx-1");

    // Its answer counts.
    CHECK(world.broker->transactions.AwaitDecision("tx-1") ==
          Decision::kCommit);
    CHECK(done);
    CHECK(OmsCode(prepared.Commit()) == Code::kClosed);
  }
  producer.reset();
  for (const auto deadline = Soon(); world.broker->transactions.open != 0;) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(milliseconds(1));
  }
}

TEST_CASE("stop waits for the listener that runs, and asks no other") {
  World world;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  std::atomic<bool> go_on{false};
  Producer producer = world.MakeProducer(WithCheck([&](const Message&) {
    ++begun;
    while (!go_on) std::this_thread::sleep_for(milliseconds(1));
    ++ended;
    return TransactionState::kUnknown;
  }));
  PreparedMessage prepared = Prepared(producer);
  world.broker->transactions.MakeDue("tx-1");
  world.broker->transactions.MakeDue("tx-1");
  while (begun == 0) std::this_thread::sleep_for(milliseconds(1));
  std::thread helper([&] {
    std::this_thread::sleep_for(milliseconds(20));
    go_on = true;
  });

  producer.Stop(Soon());

  CHECK(ended == 1);
  CHECK(begun == 1);
  CHECK(world.broker->transactions.open == 0);
  helper.join();
}

TEST_CASE("a listener that does not return is left behind") {
  std::atomic<bool> go_on{false};
  std::atomic<bool> ended{false};
  {
    World world;
    std::atomic<bool> begun{false};
    {
      Producer producer = world.MakeProducer(WithCheck([&](const Message&) {
        begun = true;
        while (!go_on) std::this_thread::sleep_for(milliseconds(1));
        ended = true;
        return TransactionState::kUnknown;
      }));
      PreparedMessage prepared = Prepared(producer);
      world.broker->transactions.MakeDue("tx-1");
      while (!begun) std::this_thread::sleep_for(milliseconds(1));
      producer.Stop(std::chrono::steady_clock::now() + milliseconds(10));
      CHECK(producer.state() == LifecycleState::kStopped);
    }
    CHECK_FALSE(ended);
    go_on = true;
    for (const auto deadline = Soon(); world.broker->transactions.open != 0;) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  CHECK(ended);
}

TEST_CASE("interceptors see what is prepared, and may refuse it") {
  struct Stamp final : ProducerInterceptor {
    absl::Status BeforeSend(Message& message) override {
      if (message.body() == "bad") {
        return MakeStatus(Code::kBadParameter, "stamp: no");
      }
      message.SetCorrelationId("stamped");
      return absl::OkStatus();
    }
    void AfterSend(const Message& /*message*/,
                   const absl::StatusOr<SendResult>& result) override {
      outcomes.push_back(
          result.ok() ? std::string(std::string_view(
                            result->message_id.ToString()))
                      : "failed");
    }
    std::vector<std::string> outcomes{};
  };
  World world;
  std::atomic<bool> stamped{false};
  Producer producer = world.MakeProducer(WithCheck([&](const Message& message) {
    stamped = message.correlation_id() == "stamped";
    return TransactionState::kCommit;
  }));
  const auto stamp = std::make_shared<Stamp>();
  REQUIRE(producer.AddInterceptor(stamp).ok());

  PreparedMessage prepared = Prepared(producer);
  CHECK(OmsCode(producer.Prepare(Message("orders", "bad")).status()) ==
        Code::kBadParameter);

  world.broker->transactions.MakeDue("tx-1");
  CHECK(world.broker->transactions.AwaitDecision("tx-1") == Decision::kCommit);
  CHECK(stamped);
  CHECK(stamp->outcomes == std::vector<std::string>{"id-of-tx-1"});
}

}  // namespace
}  // namespace openmessaging::transaction_test
