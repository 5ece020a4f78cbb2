// SPDX-License-Identifier: Apache-2.0
//
// Consumers that keep the order of keys: one unsettled message of a key at a
// time, with any number of members and processes.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::key_order_test {
namespace {

const PullConsumerOptions kOrdered{.group = "billing", .ordered = true};

Message Keyed(std::string_view key, std::string_view body) {
  Message message("orders", body);
  message.SetMessageKey(key);
  return message;
}

std::string BodyOf(const Delivery& delivery) {
  return std::string(delivery->body());
}

OMS_ROLE(ordered_member) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  role.Say("bound");
  (void)role.Hear();
}

TEST_CASE_TEMPLATE("OMS-ORDER-001: a key waits for its message and others go on",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  for (const char* const body : {"a1", "a2", "b1", "a3", "b2", "none", "c1"}) {
    SendOne(bus, body[0] == 'n' ? Message("orders", body)
                                : Keyed(std::string_view(body, 1), body));
  }
  // Of another process, where there are several.
  const auto other_bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  PullConsumer other = Consume(other_bus, "orders", kOrdered);

  auto first = Must(consumer.ReceiveBatch(10, kShort));

  REQUIRE(first.size() == 4);
  CHECK(BodyOf(first[0]) == "a1");
  CHECK(BodyOf(first[1]) == "b1");
  CHECK(BodyOf(first[2]) == "none");
  CHECK(BodyOf(first[3]) == "c1");
  CHECK(NothingComes(other));
  Must(first[1].Ack());
  const Delivery b2 = Take(other);
  CHECK(BodyOf(b2) == "b2");
  CHECK(b2->delivery_count() == 1);
  CHECK(NothingComes(consumer));
  Must(first[0].Ack());
  const Delivery a2 = Take(other);
  CHECK(BodyOf(a2) == "a2");
  CHECK(NothingComes(consumer));
  Must(a2.Ack());
  CHECK(BodyOf(Take(consumer)) == "a3");
}

TEST_CASE_TEMPLATE("OMS-ORDER-002: what was given back comes before later ones",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  for (const char* const body : {"a1", "a2", "b1"}) {
    SendOne(bus, Keyed(std::string_view(body, 1), body));
  }

  Must(Take(consumer).Nack(milliseconds(100)));
  const auto given_back = std::chrono::steady_clock::now();

  CHECK(BodyOf(Take(consumer)) == "b1");
  // Not "a2", which nobody has had.
  const Delivery again = Take(consumer);
  CHECK(BodyOf(again) == "a1");
  // It was given back before that was noted.
  CHECK(std::chrono::steady_clock::now() - given_back > milliseconds(90));
  CHECK(again->delivery_count() == 2);
  Must(again.Ack());
  CHECK(BodyOf(Take(consumer)) == "a2");
}

TEST_CASE_TEMPLATE("OMS-ORDER-002: a lease that runs out keeps the order", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumerOptions options = kOrdered;
  options.lease = milliseconds(100);
  PullConsumer consumer = Consume(bus, "orders", options);
  SendOne(bus, Keyed("a", "a1"));
  SendOne(bus, Keyed("a", "a2"));

  const Delivery late = Take(consumer);
  const Delivery again = Take(consumer);

  CHECK(BodyOf(again) == "a1");
  CHECK(again->delivery_count() == 2);
  CHECK(OmsCode(late.Ack()) == Code::kReceiptExpired);
  Must(again.Ack());
  CHECK(BodyOf(Take(consumer)) == "a2");
}

TEST_CASE_TEMPLATE("OMS-ORDER-003: a dead letter and an end set their key free",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue(
      "orders", {.max_deliveries = 1,
                 .dead_letter_queue = "dead",
                 .redelivery_delay = milliseconds(0)}));
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  for (const char* const body : {"a1", "a2", "a3", "a5"}) {
    Message message = Keyed("a", body);
    if (body[1] == '3') message.SetExpireAt(milliseconds(1));
    SendOne(bus, message);
  }

  Must(Take(consumer).Reject());
  const Delivery second = Take(consumer);
  CHECK(BodyOf(second) == "a2");
  Must(second.Nack());

  CHECK(BodyOf(Take(consumer)) == "a5");
}

TEST_CASE_TEMPLATE("OMS-ORDER-004: members of a group agree on the order", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  {
    PullConsumer ordered = Consume(bus, "orders", kOrdered);
    PullConsumer plain = Must(bus.CreatePullConsumer({.group = "billing"}));
    const absl::Status refused = plain.Bind("orders");
    CHECK(OmsCode(refused) == Code::kIllegalState);
    CHECK(Text(refused).find("(ordered)") != std::string::npos);
    Consume(bus, "orders", {.group = "audit"});
  }
  PullConsumer plain = Consume(bus, "orders", {.group = "billing"});
  PullConsumer ordered = Must(bus.CreatePullConsumer(kOrdered));
  CHECK(OmsCode(ordered.Bind("orders")) == Code::kIllegalState);
  Must(plain.Unbind("orders"));
  Must(ordered.Bind("orders"));
}

TEST_CASE_TEMPLATE("OMS-ORDER-005: one busy key does not stop the others", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?window=64"), "orders");
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch = {Keyed("busy", "held")};
  // Several windows of other keys, and a little of the busy one.
  for (int n = 0; n < 300; ++n) {
    const std::string number = std::to_string(n);
    batch.push_back(Keyed("k" + number, number));
    if (n % 50 == 0) batch.push_back(Keyed("busy", "later"));
  }
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    Must(sent.status());
  }
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  const Delivery held = Take(consumer);
  REQUIRE(BodyOf(held) == "held");

  // Keys that share a lock with the busy one wait as well, but few do.
  const auto others = DrainBodies(consumer);

  CHECK(others.size() > 280);
  Must(held.Ack());
  const auto rest = DrainBodies(consumer);
  CHECK(std::count(rest.begin(), rest.end(), "later") == 6);
  CHECK(others.size() + rest.size() == 306);
}

TEST_CASE_TEMPLATE("OMS-ORDER-005: a long queue of one key is worked off", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?window=64"), "orders");
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch;
  for (int n = 0; n < 500; ++n) batch.push_back(Keyed("a", std::to_string(n)));
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    Must(sent.status());
  }
  PullConsumer consumer = Consume(bus, "orders", kOrdered);

  CHECK(DrainBodies(consumer) == Numbers(0, 499));
}

TEST_CASE_TEMPLATE("OMS-ORDER-001: a group that is moved holds nothing back", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?window=64"), "orders");
  for (int n = 0; n < 40; ++n) SendOne(bus, Keyed("a", std::to_string(n)));
  PullConsumer consumer = Consume(bus, "orders", kOrdered);
  const Delivery held = Take(consumer);
  // As many are held back as may be: nobody looks for more.
  CHECK(NothingComes(consumer));

  Must(bus.resource_manager().SeekGroup("orders", "billing",
                                        StreamPosition::Offset(30)));

  CHECK(DrainBodies(consumer) == Numbers(30, 39));
  CHECK(OmsCode(held.Ack()) == Code::kReceiptExpired);
}

TEST_CASE("OMS-ORDER-001: who was killed does not decide how keys are kept") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Child child("ordered_member", {place.Url()});
  REQUIRE(child.Hear() == "bound");
  PullConsumer other = Must(bus.CreatePullConsumer({.group = "billing"}));
  CHECK(OmsCode(other.Bind("orders")) == Code::kIllegalState);

  child.Kill();

  Must(other.Bind("orders"));
}

TEST_CASE("OMS-ORDER-001: the order of keys outlives the store's closing") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    for (const char* const body : {"a1", "b1", "a2", "a3"}) {
      SendOne(bus, Keyed(std::string_view(body, 1), body));
    }
    PullConsumer consumer = Consume(bus, "orders", kOrdered);
    const auto got = Must(consumer.ReceiveBatch(10, kShort));
    REQUIRE(got.size() == 2);
    Must(got[0].Nack(milliseconds(0)));
  }
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders", kOrdered);

  auto got = Must(consumer.ReceiveBatch(10, kShort));

  REQUIRE(got.size() == 2);
  CHECK(BodyOf(got[0]) == "a1");
  CHECK(BodyOf(got[1]) == "b1");
  Must(got[0].Ack());
  CHECK(BodyOf(Take(consumer)) == "a2");
}

TEST_CASE_TEMPLATE("OMS-ORDER-006: four members keep the order of each key", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  constexpr int kKeys = 8;
  constexpr int kEach = 40;
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0; n < kEach; ++n) {
    std::vector<Message> batch;
    for (int k = 0; k < kKeys; ++k) {
      batch.push_back(Keyed("key" + std::to_string(k), std::to_string(n)));
    }
    for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
      Must(sent.status());
    }
  }
  std::mutex mutex;
  std::map<std::string, std::vector<int>> settled;
  std::map<std::string, int> out;
  std::atomic<int> left{kKeys * kEach};
  std::atomic<int> nacks{0};
  PullConsumerOptions patient = kOrdered;
  patient.operation_timeout = 10 * kLong;
  std::vector<PullConsumer> consumers;
  for (int n = 0; n < 4; ++n) {
    consumers.push_back(Consume(Connect(place.Url()), "orders", patient));
  }
  const auto work = [&](PullConsumer& consumer, unsigned seed) {
    while (left.load() > 0) {
      for (const Delivery& delivery :
           Must(consumer.ReceiveBatch(4, milliseconds(100)))) {
        const std::string key(delivery->message_key());
        {
          const std::lock_guard lock(mutex);
          CHECK(++out[key] == 1);
        }
        std::this_thread::yield();
        seed = seed * 1103515245 + 12345;
        const bool settle = (seed >> 16) % 4 != 0;
        const int number = std::stoi(BodyOf(delivery));
        {
          const std::lock_guard lock(mutex);
          --out[key];
          if (settle) settled[key].push_back(number);
        }
        if (settle) {
          Must(delivery.Ack());
          left.fetch_sub(1);
        } else {
          Must(delivery.Nack(milliseconds(0)));
          nacks.fetch_add(1);
        }
      }
    }
  };

  std::vector<std::thread> members;
  for (unsigned n = 0; n < 4; ++n) {
    members.emplace_back([&work, &consumer = consumers[n], n] {
      work(consumer, n + 1);
    });
  }
  for (std::thread& member : members) member.join();

  CHECK(nacks.load() > 0);
  std::vector<int> all(kEach);
  for (int n = 0; n < kEach; ++n) all[static_cast<size_t>(n)] = n;
  CHECK(settled.size() == kKeys);
  for (const auto& [key, numbers] : settled) CHECK(numbers == all);
}

}  // namespace
}  // namespace openmessaging::reference::key_order_test
