// SPDX-License-Identifier: Apache-2.0
//
// Settlement with the reference driver, in memory and in files: ack, nack,
// back-off, leases, receipts, and what a consumer gives back at its end.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::settlement_test {
namespace {

// Receives one message that a test has seen before, with its count.
void CheckComesAgain(PullConsumer& consumer, std::string_view body,
                     int32_t delivery_count) {
  const Delivery delivery = Take(consumer);
  CHECK(delivery->body() == body);
  CHECK(delivery->delivery_count() == delivery_count);
  Must(delivery.Ack());
}

TEST_CASE_TEMPLATE("OMS-CONS-008: what is acknowledged does not come again",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.lease = milliseconds(500)});
  SendNumbers(bus, "orders", 1, 3);
  const Delivery first = Take(consumer);
  const Delivery second = Take(consumer);
  const Delivery third = Take(consumer);

  Must(third.Ack());
  Must(third.Ack());
  Must(consumer.Ack(first));

  // The lease of the second one ends, and only it comes again.
  CheckComesAgain(consumer, "2", 2);
  CHECK(NothingComes(consumer));
  CHECK(consumer.Stop(Soon()) == 0);
  PullConsumer next = Consume(bus, "orders");
  CHECK(NothingComes(next));
}

TEST_CASE_TEMPLATE("OMS-SET-003: a nack with a delay is obeyed", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "x"));
  constexpr milliseconds kDelay{200};

  Delivery delivery = Take(consumer);
  for (int32_t count = 2; count <= 4; ++count) {
    const auto begin = steady_clock::now();
    Must(delivery.Nack(kDelay));
    // Waits inside Receive, which knows when it is due.
    delivery = Take(consumer);
    const auto waited = steady_clock::now() - begin;

    CHECK(delivery->delivery_count() == count);
    CHECK(waited >= kDelay - milliseconds(1));
    CHECK(waited < kDelay + std::chrono::seconds(2));
  }
}

TEST_CASE_TEMPLATE("OMS-SET-004: a nack of no delay returns at once", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer other = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 2);

  for (int32_t count = 1; count <= 20; ++count) {
    const Delivery delivery = Take(count % 2 == 0 ? consumer : other);
    // What comes again comes before what is new.
    CHECK(delivery->body() == "1");
    CHECK(delivery->delivery_count() == count);
    Must(delivery.Nack(milliseconds(0)));
  }
  CheckComesAgain(consumer, "1", 21);
  CheckComesAgain(consumer, "2", 1);
}

TEST_CASE_TEMPLATE("OMS-SET-017: a plain nack backs off for a second", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendNumbers(bus, "orders", 1, 2);

  const auto begin = steady_clock::now();
  Must(Take(consumer).Nack());
  // It holds nobody back.
  CheckComesAgain(consumer, "2", 1);
  CheckComesAgain(consumer, "1", 2);

  const auto waited = steady_clock::now() - begin;
  CHECK(waited >= milliseconds(999));
  CHECK(waited < std::chrono::seconds(5));
}

TEST_CASE_TEMPLATE("OMS-SET-016: a negative delay is refused", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "x"));
  const Delivery delivery = Take(consumer);

  CHECK(OmsCode(delivery.Nack(milliseconds(-1))) == Code::kBadParameter);
  // Longer than any clock counts: it stays away.
  Must(delivery.Nack(milliseconds::max()));
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-018: a stale receipt is 1604 and settles nothing",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.lease = milliseconds(50)});
  SendOne(bus, Message("orders", "x"));
  const Delivery late = Take(consumer);

  const auto begin = steady_clock::now();
  const Delivery newer = Take(consumer);

  CHECK(steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(newer->delivery_count() == 2);
  CHECK(newer->message_id() == late->message_id());
  for (const absl::Status& status :
       {late.Ack(), late.Nack(), late.Nack(milliseconds(1))}) {
    CHECK(OmsCode(status) == Code::kReceiptExpired);
    CHECK(status.code() == absl::StatusCode::kNotFound);
  }
  Must(newer.Ack());
  // Settled is settled, whoever says it.
  CHECK(late.Ack().ok());
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-018: a receipt is stale after a nack", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "x"));
  const Delivery delivery = Take(consumer);
  Must(delivery.Nack(milliseconds(0)));

  CHECK(OmsCode(delivery.Ack()) == Code::kReceiptExpired);
  CHECK(OmsCode(delivery.Nack()) == Code::kReceiptExpired);

  CheckComesAgain(consumer, "x", 2);
}

TEST_CASE_TEMPLATE("OMS-SET-018: an ack before the redelivery counts", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.lease = milliseconds(1)});
  SendOne(bus, Message("orders", "x"));
  const Delivery delivery = Take(consumer);
  const auto until = steady_clock::now() + milliseconds(20);
  while (steady_clock::now() < until) continue;

  // The lease is over, but nobody else has the message yet.
  CHECK(delivery.Ack().ok());

  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-019: receipts are shared within a group", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  const auto other_bus = Connect(place.Url());
  PullConsumer receiver = Consume(bus, "orders");
  // It has received nothing itself.
  PullConsumer settler = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 3);
  const Delivery first = Take(receiver);
  const Delivery second = Take(receiver);
  const Delivery third = Take(receiver);
  const std::string body(second->body());

  // As text, as another process would get it.
  Must(settler.Ack(Must(Receipt::Parse(first.receipt().ToString()))));
  Must(settler.Nack(second.receipt(), milliseconds(0)));
  Must(settler.Ack(third));

  CHECK(first.Ack().ok());
  CHECK(OmsCode(second.Ack()) == Code::kReceiptExpired);
  CheckComesAgain(settler, body, 2);
  CHECK(NothingComes(receiver));
}

TEST_CASE_TEMPLATE("OMS-CONS-015: settling many reports on each", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendNumbers(bus, "orders", 1, 4);
  auto deliveries = Must(consumer.ReceiveBatch(4, kLong));
  REQUIRE(deliveries.size() == 4);
  Must(deliveries[1].Nack(milliseconds(0)));
  deliveries[2] = Delivery();

  const auto results = consumer.Ack(std::span<const Delivery>(deliveries));

  REQUIRE(results.size() == 4);
  CHECK(results[0].ok());
  CHECK(OmsCode(results[1]) == Code::kReceiptExpired);
  CHECK(OmsCode(results[2]) == Code::kReceiptInvalid);
  CHECK(results[3].ok());
  CheckComesAgain(consumer, "2", 2);
}

TEST_CASE_TEMPLATE("OMS-SET-001: a lease that ends gives to another", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer slow = Consume(bus, "orders", {.lease = milliseconds(100)});
  PullConsumer other = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 10);
  const auto held = Must(slow.ReceiveBatch(10, kLong));
  REQUIRE(held.size() == 10);

  const auto begin = steady_clock::now();
  for (int n = 1; n <= 10; ++n) CheckComesAgain(other, std::to_string(n), 2);

  CHECK(steady_clock::now() - begin < std::chrono::seconds(3));
  CHECK(NothingComes(slow));
}

TEST_CASE_TEMPLATE("OMS-CONS-007: unbinding gives back at once", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  const auto other_bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer other = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 10);
  const auto held = Must(consumer.ReceiveBatch(10, kLong));
  REQUIRE(held.size() == 10);
  Must(held[0].Ack());
  CHECK(NothingComes(other));

  const auto begin = steady_clock::now();
  Must(consumer.Unbind("orders"));

  for (int n = 0; n < 9; ++n) {
    const Delivery again = Take(other);
    CHECK(again->delivery_count() == 2);
    Must(again.Ack());
  }
  CHECK(steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(NothingComes(other));
  CHECK(OmsCode(consumer.Receive(kShort).status()) == Code::kIllegalState);
  Must(consumer.Bind("orders"));
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-CONS-010: the end of a consumer gives back at once",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer other = Consume(other_bus, "orders");
  SendOne(bus, Message("orders", "x"));
  const auto begin = steady_clock::now();
  for (int32_t count = 1; count <= 10; ++count) {
    PullConsumer consumer = Consume(bus, "orders");
    const Delivery delivery = Take(consumer);
    CHECK(delivery->delivery_count() == count);
    if (count % 2 == 0) CHECK(consumer.Stop(Soon()) == 0);
    if (count % 2 == 0) CHECK(OmsCode(delivery.Ack()) == Code::kClosed);
  }

  CheckComesAgain(other, "x", 11);
  CHECK(steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE_TEMPLATE("OMS-SET-014: what one holds does not stall the others",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?window=16"), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer slow = Consume(bus, "orders");
  PullConsumer consumer = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 300);
  std::vector<Delivery> held;
  for (int n = 0; n < 10; ++n) held.push_back(Take(slow));

  // Far more than a window passes by.
  CHECK(DrainBodies(consumer) == Numbers(11, 300));

  // And each verb still finds what was left behind.
  Must(held[0].Ack());
  Must(held[0].Ack());
  Must(held[1].Nack(milliseconds(0)));
  Must(held[2].Extend(milliseconds(1)));
  CheckComesAgain(consumer, "2", 2);
  CheckComesAgain(consumer, "3", 2);
  CHECK(held[2].Ack().ok());
  Must(held[5].AckUpTo());
  CHECK(slow.Stop(Soon()) == 0);
  for (int n = 7; n <= 10; ++n) CheckComesAgain(consumer, std::to_string(n), 2);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-014: too much unsettled stalls and goes on", Place,
                   MemoryPlace, FilePlace) {
  constexpr size_t kWindow = 16;
  constexpr int kMessages = 200;
  Place place;
  const auto bus = ConnectWith(place.Url("?window=16"), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendNumbers(bus, "orders", 1, kMessages);
  std::vector<Delivery> held;
  while (true) {
    auto received = Must(consumer.Receive(kShort));
    if (!received) break;
    held.push_back(*std::move(received));
  }
  // A window, and as many exceptions.
  REQUIRE(held.size() == 2 * kWindow);

  // Whichever is settled makes room, if not always at once.
  Must(held[7].Ack());
  held.push_back(Take(consumer));
  CHECK(held.back()->body() == std::to_string(2 * kWindow + 1));
  CHECK(NothingComes(consumer));
  for (const Delivery& delivery : held) Must(delivery.Ack());

  CHECK(DrainBodies(consumer) == Numbers(2 * kWindow + 2, kMessages));
}

TEST_CASE_TEMPLATE("OMS-SET-014: a window may hold one message back and go on",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?window=16"), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendNumbers(bus, "orders", 1, 100);
  int32_t count = 0;
  std::vector<std::string> bodies;

  // One message is given back again and again; the others pass.
  while (bodies.size() < 99) {
    const Delivery delivery = Take(consumer);
    if (delivery->body() == "7" && ++count < 20) {
      Must(delivery.Nack(milliseconds(0)));
      continue;
    }
    bodies.emplace_back(delivery->body());
    Must(delivery.Ack());
  }

  CHECK(count >= 20);
  CHECK(Take(consumer).Ack().ok());
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-009: a cumulative ack settles what came before",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  PullConsumer consumer =
      Consume(bus, "orders", {.lease = milliseconds(300)});
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0; n < 20; ++n) {
    Message message("orders", std::to_string(n));
    message.SetPartition(n % 2);
    Must(producer.Send(message));
  }
  auto deliveries = Must(consumer.ReceiveBatch(20, kLong));
  while (deliveries.size() < 20) deliveries.push_back(Take(consumer));
  const auto find = [&](std::string_view body) -> const Delivery& {
    for (const Delivery& delivery : deliveries) {
      if (delivery->body() == body) return delivery;
    }
    FAIL("not received");
    return deliveries.front();
  };
  // One of those before was given back, and is not this delivery's any more.
  Must(find("4").Nack(milliseconds(0)));
  CHECK(OmsCode(find("4").AckUpTo()) == Code::kReceiptExpired);

  Must(find("10").AckUpTo());
  Must(find("10").AckUpTo());

  std::vector<std::string> back;
  while (back.size() < 15) {
    const Delivery delivery = Take(consumer);
    back.emplace_back(delivery->body());
    Must(delivery.Ack());
  }
  std::sort(back.begin(), back.end());
  std::vector<std::string> expected = {"4", "12", "14", "16", "18"};
  for (int n = 1; n < 20; n += 2) expected.push_back(std::to_string(n));
  std::sort(expected.begin(), expected.end());
  CHECK(back == expected);
}

TEST_CASE_TEMPLATE("OMS-SET-010: a cumulative ack leaves others' alone", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer other = Consume(other_bus, "orders");
  SendNumbers(bus, "orders", 1, 4);
  const Delivery first = Take(consumer);
  const Delivery theirs = Take(other);
  const Delivery third = Take(consumer);
  const Delivery fourth = Take(other);

  Must(third.AckUpTo());
  Must(fourth.Ack());
  CHECK(other.Stop(Soon()) == 0);

  CheckComesAgain(consumer, "2", 2);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-SET-012: an extended lease ends when it says", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.lease = milliseconds(100)});
  SendNumbers(bus, "orders", 1, 2);
  const Delivery longer = Take(consumer);
  const Delivery plain = Take(consumer);
  CHECK(OmsCode(longer.Extend(milliseconds(0))) == Code::kBadParameter);

  Must(longer.Extend(std::chrono::seconds(30)));
  const Delivery again = Take(consumer);

  CHECK(again->body() == "2");
  CHECK(OmsCode(plain.Extend(kLong)) == Code::kReceiptExpired);
  Must(again.Ack());
  CHECK(NothingComes(consumer));
  // A shorter one ends sooner, and its receipt is good until then.
  const auto begin = steady_clock::now();
  Must(longer.Extend(milliseconds(50)));
  const Delivery third = Take(consumer);
  CHECK(third->body() == "1");
  CHECK(third->delivery_count() == 2);
  CHECK(steady_clock::now() - begin < std::chrono::seconds(3));
  CHECK(OmsCode(longer.Extend(kLong)) == Code::kReceiptExpired);
  Must(third.Extend(kLong));
  Must(third.Ack());
  CHECK(OmsCode(third.Extend(kLong)) == Code::kReceiptExpired);
}

// A push consumer that has five messages; its listener is at the first.
struct Prefetched {
  explicit Prefetched(const MessagingAccessPoint& bus)
      : consumer(Must(bus.CreatePushConsumer(
            {.concurrency = 1, .prefetch_messages = 5}))) {
    SendNumbers(bus, "orders", 1, 5);
    Must(consumer.Bind("orders", [this](const Message&) {
      running = true;
      while (!open) std::this_thread::sleep_for(milliseconds(1));
      return Ack();
    }));
    Must(consumer.Start());
    const auto limit = Soon();
    while (!running && steady_clock::now() < limit) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    REQUIRE(running);
  }
  ~Prefetched() { open = true; }

  std::atomic<bool> running{false};
  std::atomic<bool> open{false};
  PushConsumer consumer;
};

TEST_CASE_TEMPLATE("OMS-SET-015: stop gives back uncounted what nobody saw",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Prefetched prefetched(bus);
  PullConsumer other = Consume(bus, "orders");

  const auto begin = steady_clock::now();
  CHECK(prefetched.consumer.Stop(begin + milliseconds(20)) == 1);

  // Its listener had the first one, which counts.
  CheckComesAgain(other, "1", 2);
  for (int n = 2; n <= 5; ++n) CheckComesAgain(other, std::to_string(n), 1);
  // No lease was waited for.
  CHECK(steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE_TEMPLATE("OMS-SET-015: unbind gives back uncounted what nobody saw",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Prefetched prefetched(bus);

  Must(prefetched.consumer.Unbind("orders"));

  PullConsumer other = Consume(bus, "orders");
  CheckComesAgain(other, "1", 2);
  for (int n = 2; n <= 5; ++n) CheckComesAgain(other, std::to_string(n), 1);
}

}  // namespace
}  // namespace openmessaging::reference::settlement_test
