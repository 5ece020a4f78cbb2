// SPDX-License-Identifier: Apache-2.0
//
// A store that misbehaves on request: what it says it did, it did.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::faulty_connection_test {
namespace {

constexpr std::string_view kQueue = "orders";

// A store with the queue "orders", seen with its faults and without.
struct World {
  explicit World(std::string_view fault, int seed = 7)
      : truth(ConnectWith(place.Url(), kQueue)),
        faulty(Connect(place.Url("?fault=" + std::string(fault) +
                                 "&fault.seed=" + std::to_string(seed)))) {}

  // Sends the bodies "1" to `count` without trying any again.
  std::vector<absl::StatusOr<SendResult>> SendEach(int count) {
    Producer producer = Must(faulty.CreateProducer({.send_timeout = kLong}));
    std::vector<Future<SendResult>> futures;
    for (int n = 1; n <= count; ++n) {
      futures.push_back(
          producer.SendAsync(Message(kQueue, std::to_string(n))));
    }
    std::vector<absl::StatusOr<SendResult>> results;
    for (const auto& future : futures) results.push_back(future.Await());
    return results;
  }
  std::vector<std::string> Stored() {
    PullConsumer consumer = Consume(truth, kQueue, {.group = "truth"});
    return DrainBodies(consumer);
  }

  MemoryPlace place;
  MessagingAccessPoint truth;
  MessagingAccessPoint faulty;
};

size_t Failed(const std::vector<absl::StatusOr<SendResult>>& results) {
  return static_cast<size_t>(std::count_if(
      results.begin(), results.end(), [](const auto& r) { return !r.ok(); }));
}

TEST_CASE("an error says not stored and nothing is stored") {
  World world("error:0.3");
  const auto results = world.SendEach(200);

  std::vector<std::string> expected;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].ok()) {
      expected.push_back(std::to_string(i + 1));
      continue;
    }
    CHECK(OmsCode(results[i].status()) == Code::kUnavailable);
    CHECK(OutcomeOf(results[i].status()) == Outcome::kNotStored);
    CHECK(IsRetriable(results[i].status()));
  }
  CHECK(Failed(results) > 20);
  CHECK(Failed(results) < 120);
  CHECK(world.Stored() == expected);
}

TEST_CASE("a synchronous send gets over errors by itself") {
  World world("error:0.3");
  Producer producer =
      Must(world.faulty.CreateProducer({.send_timeout = kLong}));
  for (int n = 1; n <= 20; ++n) {
    Must(producer.Send(Message(kQueue, std::to_string(n))));
  }
  CHECK(world.Stored() == Numbers(1, 20));
}

TEST_CASE("behind a refused message those of its key are refused too") {
  World world("error:0.2");
  Producer producer =
      Must(world.faulty.CreateProducer({.send_timeout = milliseconds(0)}));
  std::vector<Message> batch;
  for (int n = 0; n < 64; ++n) {
    batch.emplace_back(kQueue, std::to_string(n));
    batch.back().SetMessageKey(std::to_string(n % 4));
  }
  const auto results = producer.Send(std::span<const Message>(batch));

  std::set<size_t> refused;
  for (size_t i = 0; i < results.size(); ++i) {
    if (refused.contains(i % 4)) CHECK_FALSE(results[i].ok());
    if (!results[i].ok()) refused.insert(i % 4);
  }
  CHECK(!refused.empty());
}

TEST_CASE("of an unknown outcome a part is stored and a part is not") {
  for (const std::string_view fault : {"unknown", "disconnect"}) {
    World world(std::string(fault) + ":0.5");
    const auto results = world.SendEach(200);
    const auto stored = world.Stored();
    const std::set<std::string> bodies(stored.begin(), stored.end());

    CHECK(stored.size() == bodies.size());
    size_t unknown_stored = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      const bool there = bodies.contains(std::to_string(i + 1));
      if (results[i].ok()) {
        CHECK(there);
        continue;
      }
      CHECK(OutcomeOf(results[i].status()) == Outcome::kUnknown);
      CHECK(OmsCode(results[i].status()) ==
            (fault == "unknown" ? Code::kTimeout : Code::kUnavailable));
      unknown_stored += there ? 1 : 0;
    }
    CHECK(unknown_stored > 0);
    CHECK(unknown_stored < Failed(results));
  }
}

TEST_CASE("a dropped message was accepted and never comes") {
  World world("drop:0.5");
  const auto results = world.SendEach(100);

  CHECK(Failed(results) == 0);
  std::set<std::string> ids;
  std::vector<std::string> expected;
  for (size_t i = 0; i < results.size(); ++i) {
    ids.insert(results[i]->message_id.ToString());
    if (results[i]->offset >= 0) expected.push_back(std::to_string(i + 1));
  }
  CHECK(ids.size() == 100);
  CHECK(expected.size() > 20);
  CHECK(expected.size() < 80);
  CHECK(world.Stored() == expected);

  Producer producer = Must(world.faulty.CreateProducer());
  for (int i = 0; i < 20; ++i) {
    CHECK(OmsCode(producer.Send(Message("nowhere", "x")).status()) ==
          Code::kQueueNotFound);
  }
}

TEST_CASE("a duplicate comes twice") {
  World world("duplicate:0.5");
  CHECK(Failed(world.SendEach(100)) == 0);

  std::map<std::string, int> times;
  for (const std::string& body : world.Stored()) ++times[body];
  CHECK(times.size() == 100);
  const auto twice = std::count_if(times.begin(), times.end(),
                                   [](const auto& t) { return t.second == 2; });
  CHECK(twice > 20);
  CHECK(twice < 80);
}

TEST_CASE("a delayed message keeps its place") {
  World world("delay:20ms");
  const auto begin = steady_clock::now();
  const auto results = world.SendEach(30);

  CHECK(Failed(results) == 0);
  CHECK(steady_clock::now() - begin >= milliseconds(10));
  CHECK(world.Stored() == Numbers(1, 30));
}

TEST_CASE("who cannot wait for a delayed message learns that it may come") {
  World world("delay:10s");
  Producer producer =
      Must(world.faulty.CreateProducer({.send_timeout = milliseconds(5)}));
  const auto sent = producer.Send(Message(kQueue, "1"));
  CHECK(OmsCode(sent.status()) == Code::kTimeout);
  CHECK(OutcomeOf(sent.status()) == Outcome::kUnknown);
  CHECK(OmsCode(producer.Flush(milliseconds(5))) == Code::kTimeout);

  // The end of the connection carries what is left.
  producer.Stop(Soon());
  CHECK(world.Stored() == Numbers(1, 1));
}

TEST_CASE("a reordered message is overtaken and comes all the same") {
  World world("reorder:0.3");
  CHECK(Failed(world.SendEach(50)) == 0);

  auto stored = world.Stored();
  CHECK(stored != Numbers(1, 50));
  std::sort(stored.begin(), stored.end());
  auto expected = Numbers(1, 50);
  std::sort(expected.begin(), expected.end());
  CHECK(stored == expected);
}

TEST_CASE("a broken connection brings what was out again") {
  World world("disconnect:0.2");
  SendNumbers(world.truth, kQueue, 1, 60);
  PullConsumer consumer =
      Consume(world.faulty, kQueue, {.group = "g", .lease = kLong * 100});
  std::vector<Delivery> held;
  const auto deadline = Soon();
  absl::StatusOr<std::optional<Delivery>> received;
  while (steady_clock::now() < deadline) {
    received = consumer.Receive(kLong);
    if (!received.ok() && !held.empty()) break;
    if (received.ok() && received->has_value()) held.push_back(**received);
  }
  REQUIRE(!held.empty());
  CHECK(OmsCode(received.status()) == Code::kUnavailable);
  for (const Delivery& delivery : held) {
    CHECK(OmsCode(delivery.Ack()) == Code::kReceiptExpired);
  }

  std::set<std::string> seen;
  size_t again = 0;
  while (seen.size() < 60 && steady_clock::now() < deadline) {
    received = consumer.Receive(kLong);
    if (!received.ok() || !received->has_value()) continue;
    seen.emplace((**received)->body());
    again += (**received)->delivery_count() > 1 ? 1 : 0;
    (*received)->Ack().IgnoreError();
  }
  CHECK(seen.size() == 60);
  CHECK(again >= held.size());
}

TEST_CASE("everything at once loses nothing that a listener insists on") {
  World world(
      "error:0.1,unknown:0.1,disconnect:0.05,duplicate:0.1,reorder:0.1,"
      "delay:1ms");
  std::atomic<size_t> handled{0};
  internal::Mutex mutex;
  std::set<std::string> bodies;
  {
    PushConsumer consumer =
        Must(world.faulty.CreatePushConsumer({.group = "g", .concurrency = 2}));
    Must(consumer.Bind(kQueue, [&](const Message& message) {
      const internal::MutexLock lock(mutex);
      if (bodies.emplace(message.body()).second) handled.fetch_add(1);
      return Ack();
    }));
    Must(consumer.Start());
    Producer producer =
        Must(world.faulty.CreateProducer({.send_timeout = kLong}));
    for (int n = 1; n <= 50; ++n) {
      const Message message(kQueue, std::to_string(n));
      while (!producer.Send(message).ok()) {
      }
    }
    const auto deadline = Soon();
    while (handled < 50 && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  CHECK(handled == 50);
}

TEST_CASE("settlements fail as they say") {
  World world("error:0.3,unknown:0.3");
  SendNumbers(world.truth, kQueue, 1, 60);
  size_t acked = 0;
  size_t unknown = 0;
  {
    PullConsumer consumer =
        Consume(world.faulty, kQueue, {.group = "g", .lease = kLong * 100});
    for (int n = 0; n < 60;) {
      const auto received = consumer.Receive(kLong);
      if (!received.ok()) continue;
      REQUIRE(received->has_value());
      ++n;
      const absl::Status status = (*received)->Ack();
      acked += status.ok() ? 1 : 0;
      unknown += OutcomeOf(status) == Outcome::kUnknown ? 1 : 0;
    }
  }
  PullConsumer consumer = Consume(world.truth, kQueue, {.group = "g"});
  const size_t left = DrainBodies(consumer).size();

  CHECK(unknown > 0);
  CHECK(left <= 60 - acked);
  CHECK(left >= 60 - acked - unknown);
  CHECK(left > 60 - acked - unknown);
  CHECK(left < 60 - acked);
}

TEST_CASE("OMS-REF-021: the same seed and calls have the same faults") {
  const auto failures = [](int seed) {
    World world("error:0.2,drop:0.2", seed);
    std::string out;
    for (const auto& result : world.SendEach(100)) {
      out.push_back(!result.ok() ? 'e' : result->offset < 0 ? 'd' : '.');
    }
    return out;
  };
  CHECK(failures(3) == failures(3));
  CHECK(failures(3) != failures(4));
}

TEST_CASE("faults that cannot be are refused where they are asked for") {
  const auto bad = MessagingAccessPoint::Connect("oms:memory://x?fault=loss:1");
  CHECK(OmsCode(bad.status()) == Code::kBadParameter);
  CHECK(Text(bad.status()).find("expected one of error, unknown") !=
        std::string::npos);

  const FilePlace place;
  const auto file =
      MessagingAccessPoint::Connect(place.Url("?fault=drop:0.1"));
  CHECK(OmsCode(file.status()) == Code::kBadParameter);
  CHECK(Text(file.status()) ==
        "set attribute \"fault\": a store of files has no faults to order; "
        "expected oms:memory");
}

}  // namespace
}  // namespace openmessaging::reference::faulty_connection_test
