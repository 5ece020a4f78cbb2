// SPDX-License-Identifier: Apache-2.0
//
// Prepared messages, seen from an application: invisible until they are
// committed, decided once, and asked about where nobody decides.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::transaction_test {
namespace {

constexpr const char* kQueue = "orders";

// Answers as it is told, and notes what it was asked.
struct Checker {
  explicit Checker(TransactionState first) : answer(first) {}

  CheckListener Listener() {
    return [this](const Message& message) {
      const std::lock_guard lock(mutex);
      asked.emplace_back(message.body());
      ids.emplace_back(message.transaction_id());
      return answer.load();
    };
  }
  size_t count() const {
    const std::lock_guard lock(mutex);
    return asked.size();
  }
  // Waits until it was asked that often.
  bool Await(size_t times) const {
    const auto deadline = Soon();
    while (count() < times) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(2));
    }
    return true;
  }

  std::atomic<TransactionState> answer;
  mutable std::mutex mutex{};
  std::vector<std::string> asked{};
  std::vector<std::string> ids{};
};

TransactionState NeverAsked(const Message& /*message*/) {
  FAIL_CHECK("nobody was to be asked");
  return TransactionState::kUnknown;
}

ProducerOptions Options(CheckListener check,
                        milliseconds after = std::chrono::minutes(1)) {
  ProducerOptions options;
  options.group = "shop";
  options.check = std::move(check);
  options.check_after = after;
  return options;
}

Message Order(std::string_view body) {
  Message message(kQueue, body);
  message.SetMessageKey("customer-7");
  message.SetPriority(5);
  KeyValue properties;
  Must(properties.Put("total", 12));
  message.SetProperties(properties);
  return message;
}

TEST_CASE_TEMPLATE("OMS-TX-001: a prepared message is invisible until it is committed",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  PullConsumer consumer = Consume(bus, kQueue);

  PreparedMessage prepared = Must(producer.Prepare(Order("42 apples")));
  SendOne(bus, Message(kQueue, "7 pears"));
  // It holds nobody back.
  Delivery other = Take(consumer);
  CHECK(other->body() == "7 pears");
  CHECK(other->offset() == 0);
  Must(other.Ack());
  CHECK(NothingComes(consumer));
  Must(prepared.Commit());

  Delivery got = Take(consumer);
  CHECK(got->body() == "42 apples");
  CHECK(got->offset() == 1);
  CHECK(got->message_key() == "customer-7");
  CHECK(got->properties().template GetOr<int32_t>("total", 0) == 12);
  CHECK(got->message_id() == prepared.message_id());
  CHECK(got->transaction_id() == prepared.transaction_id());
  CHECK(got->delivery_count() == 1);
  Must(got.Ack());
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TX-002: the first decision counts, for a while", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  // Another producer, of no group and with no listener, may decide as well.
  Producer other = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, kQueue);
  PreparedMessage committed = Must(producer.Prepare(Order("kept")));
  PreparedMessage withdrawn = Must(producer.Prepare(Order("dropped")));
  CHECK(committed.transaction_id() != withdrawn.transaction_id());

  Must(withdrawn.Rollback());
  Must(committed.Commit());

  for (int again = 0; again < 2; ++again) {
    Must(committed.Commit());
    Must(withdrawn.Rollback());
    CHECK(OmsCode(committed.Rollback()) == Code::kTransactionConflict);
    CHECK(OmsCode(withdrawn.Commit()) == Code::kTransactionConflict);
    Must(other.Resolve(committed.transaction_id(), TransactionState::kCommit));
    CHECK(OmsCode(other.Resolve(withdrawn.transaction_id(),
                                TransactionState::kCommit)) ==
          Code::kTransactionConflict);
  }
  CHECK(DrainBodies(consumer) == std::vector<std::string>{"kept"});
}

TEST_CASE("OMS-TX-003: of many who decide at once all learn the same") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  PullConsumer consumer = Consume(bus, kQueue);
  size_t committed = 0;
  constexpr int kRounds = 50;
  for (int round = 0; round < kRounds; ++round) {
    PreparedMessage prepared = Must(producer.Prepare(Order("one")));
    std::atomic<int> commits{0};
    std::atomic<int> rollbacks{0};
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; ++n) {
      threads.emplace_back([&, n] {
        const absl::Status status =
            n % 2 == 0 ? prepared.Commit() : prepared.Rollback();
        if (status.ok()) {
          ++(n % 2 == 0 ? commits : rollbacks);
        } else {
          CHECK(OmsCode(status) == Code::kTransactionConflict);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(commits + rollbacks == 2);
    CHECK(commits * rollbacks == 0);
    if (commits != 0) ++committed;
  }
  CHECK(DrainBodies(consumer).size() == committed);
}

TEST_CASE_TEMPLATE("OMS-TX-004: who is asked decides, unknown asks again",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Checker checker(TransactionState::kUnknown);
  Producer producer =
      Must(bus.CreateProducer(Options(checker.Listener(), milliseconds(5))));
  PullConsumer consumer = Consume(bus, kQueue);
  PreparedMessage kept = Must(producer.Prepare(Order("kept")));
  REQUIRE(checker.Await(2));
  CHECK(NothingComes(consumer));

  checker.answer = TransactionState::kCommit;

  Delivery got = Take(consumer);
  CHECK(got->body() == "kept");
  CHECK(got->transaction_id() == kept.transaction_id());
  Must(got.Ack());
  {
    const std::lock_guard lock(checker.mutex);
    for (const std::string& id : checker.ids) {
      CHECK(id == kept.transaction_id());
    }
    CHECK(checker.asked.front() == "kept");
    checker.asked.clear();
  }
  checker.answer = TransactionState::kRollback;
  PreparedMessage dropped = Must(producer.Prepare(Order("dropped")));
  REQUIRE(checker.Await(1));
  // Its answer is carried out before it is asked about the next one.
  checker.answer = TransactionState::kUnknown;
  PreparedMessage next = Must(producer.Prepare(Order("next")));
  REQUIRE(checker.Await(2));
  CHECK(OmsCode(dropped.Commit()) == Code::kTransactionConflict);
  Must(next.Rollback());
  CHECK(NothingComes(consumer));
}

TEST_CASE("OMS-TX-005: an exception counts as unknown") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  std::atomic<int> calls{0};
  Producer producer = Must(bus.CreateProducer(Options(
      [&](const Message&) -> TransactionState {
        if (++calls == 1) throw std::runtime_error("no idea");
        return TransactionState::kCommit;
      },
      milliseconds(5))));
  PullConsumer consumer = Consume(bus, kQueue);

  PreparedMessage prepared = Must(producer.Prepare(Order("one")));

  CHECK(Take(consumer)->body() == "one");
  CHECK(calls == 2);
}

TEST_CASE_TEMPLATE("OMS-TX-006: another member of the group is asked, no other group",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Checker checker(TransactionState::kCommit);
  PullConsumer consumer = Consume(bus, kQueue);
  ProducerOptions stranger = Options(NeverAsked, milliseconds(5));
  stranger.group = "bank";
  Producer other_group = Must(bus.CreateProducer(stranger));
  Must(other_group.Start());
  {
    Producer producer =
        Must(bus.CreateProducer(Options(NeverAsked, milliseconds(50))));
    const PreparedMessage left = Must(producer.Prepare(Order("left behind")));
  }
  CHECK(NothingComes(consumer));

  Producer heir = Must(bus.CreateProducer(Options(checker.Listener())));
  Must(heir.Start());

  CHECK(Take(consumer)->body() == "left behind");
  CHECK(checker.count() == 1);
}

TEST_CASE_TEMPLATE("OMS-TX-007: after the last check it is rolled back", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Checker checker(TransactionState::kUnknown);
  ProducerOptions options = Options(checker.Listener(), milliseconds(1));
  options.max_checks = 3;
  Producer producer = Must(bus.CreateProducer(options));
  PullConsumer consumer = Consume(bus, kQueue);

  PreparedMessage prepared = Must(producer.Prepare(Order("undecided")));
  REQUIRE(checker.Await(3));
  // Those that come behind it are asked about later than it ends.
  for (size_t n = 2; n <= 3; ++n) {
    const PreparedMessage behind = Must(producer.Prepare(Order("behind")));
    REQUIRE(checker.Await(3 * n));
  }

  CHECK(OmsCode(prepared.Commit()) == Code::kTransactionConflict);
  Must(prepared.Rollback());
  CHECK(NothingComes(consumer));
  const std::lock_guard lock(checker.mutex);
  CHECK(std::count(checker.asked.begin(), checker.asked.end(), "undecided") ==
        3);
}

TEST_CASE("OMS-TX-011: what cannot be prepared says why") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Must(bus.resource_manager().CreateQueue(
      "ids", {.deduplication_window = std::chrono::minutes(1)}));
  Producer plain = Must(bus.CreateProducer());
  CHECK(OmsCode(plain.Prepare(Order("no listener")).status()) ==
        Code::kBadParameter);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  Message delayed = Order("later");
  delayed.SetDelay(milliseconds(10));
  CHECK(OmsCode(producer.Prepare(delayed).status()) == Code::kBadParameter);
  Message with_id("ids", "twice");
  with_id.SetDeduplicationId("x");
  CHECK(OmsCode(producer.Prepare(with_id).status()) == Code::kBadParameter);
  CHECK(OmsCode(producer.Prepare(Message("nowhere", "x")).status()) ==
        Code::kQueueNotFound);

  // What no store gave out, or gave to a message that was not prepared.
  const SendResult sent = SendOne(bus, Message(kQueue, "plain"));
  for (const std::string& id :
       {std::string("nonsense"), std::string("00-1-1"),
        std::string(sent.message_id.ToString())}) {
    CAPTURE(id);
    CHECK(OmsCode(producer.Resolve(id, TransactionState::kCommit)) ==
          Code::kQueueNotFound);
  }
  CHECK(OmsCode(producer.Resolve("", TransactionState::kCommit)) ==
        Code::kBadParameter);
  PreparedMessage prepared = Must(producer.Prepare(Order("one")));
  CHECK(OmsCode(producer.Resolve(prepared.transaction_id(),
                                 TransactionState::kUnknown)) ==
        Code::kBadParameter);
  Must(prepared.Rollback());
}

TEST_CASE("a listener may decide by itself and stop its producer") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PullConsumer consumer = Consume(bus, kQueue);
  std::optional<Producer> producer;
  std::atomic<bool> stopped{false};
  producer.emplace(Must(bus.CreateProducer(Options(
      [&](const Message& message) {
        Must(producer->Resolve(message.transaction_id(),
                               TransactionState::kCommit));
        producer->Stop(Soon());
        stopped = true;
        // It is decided already, and this is the first decision again.
        return TransactionState::kCommit;
      },
      milliseconds(5)))));

  PreparedMessage prepared = Must(producer->Prepare(Order("one")));

  CHECK(Take(consumer)->body() == "one");
  for (const auto deadline = Soon(); !stopped;) {
    REQUIRE(steady_clock::now() < deadline);
    std::this_thread::sleep_for(milliseconds(1));
  }
  CHECK(OmsCode(prepared.Commit()) == Code::kClosed);
  producer.reset();
}

TEST_CASE_TEMPLATE("what is prepared keeps what it asked for", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(
      "urgent", {.partitions = 2, .priorities = true}));
  Must(bus.resource_manager().CreateQueue("dead"));
  Must(bus.resource_manager().CreateQueue(
      kQueue, {.dead_letter_queue = "dead"}));
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));

  // A priority, and a partition.
  Message low("urgent", "low");
  low.SetPartition(1);
  Message high("urgent", "high");
  high.SetPriority(9);
  high.SetPartition(1);
  PreparedMessage first = Must(producer.Prepare(low));
  PreparedMessage second = Must(producer.Prepare(high));
  Must(first.Commit());
  Must(second.Commit());
  PullConsumer urgent = Consume(bus, "urgent");
  Delivery got = Take(urgent);
  CHECK(got->body() == "high");
  CHECK(got->partition() == 1);
  CHECK(Take(urgent)->body() == "low");

  // A time after which nobody wants it, which passes while it is prepared.
  Message brief = Order("brief");
  ExpireAfter(brief, milliseconds(1));
  PreparedMessage late = Must(producer.Prepare(brief));
  std::this_thread::sleep_for(milliseconds(5));
  Must(late.Commit());
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(NothingComes(consumer));
  PullConsumer dead = Consume(bus, "dead");
  CHECK(Take(dead)->body() == "brief");

  // A rejected one is no transaction any more.
  PreparedMessage wanted = Must(producer.Prepare(Order("bad")));
  Must(wanted.Commit());
  Delivery bad = Take(consumer);
  Must(bad.Reject());
  Delivery moved = Take(dead);
  CHECK(moved->body() == "bad");
  CHECK(moved->transaction_id().empty());
}

TEST_CASE("a large body is prepared as any other") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  PullConsumer consumer = Consume(bus, kQueue);
  const std::string body(1'000'000, 'x');

  PreparedMessage prepared = Must(producer.Prepare(Message(kQueue, body)));
  Must(prepared.Commit());

  CHECK(Take(consumer)->body() == body);
}

TEST_CASE("a queue that is deleted takes what is prepared along") {
  MemoryPlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer(Options(NeverAsked)));
  PreparedMessage prepared = Must(producer.Prepare(Order("one")));
  Must(bus.resource_manager().DeleteQueue(kQueue));
  Must(bus.resource_manager().CreateQueue(kQueue));

  CHECK(OmsCode(prepared.Commit()) == Code::kQueueNotFound);

  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(NothingComes(consumer));
}

}  // namespace
}  // namespace openmessaging::reference::transaction_test
