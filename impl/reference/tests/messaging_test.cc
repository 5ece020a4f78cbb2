// SPDX-License-Identifier: Apache-2.0
//
// Sending and receiving with the reference driver, in memory and in files:
// bytes, fields, ids, times, batches, partitions, groups, and what ends a wait.
// Settlement is in settlement_test.cc, files in store_life_test.cc.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::messaging_test {
namespace {

milliseconds WallNow() {
  return std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

std::string AllBytes() {
  std::string bytes;
  for (int value = 0; value < 256; ++value) {
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

TEST_CASE_TEMPLATE("OMS-CONS-030: bodies arrive byte by byte", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  std::string large;
  while (large.size() < (size_t{1} << 20)) large += AllBytes();
  std::vector<std::string> bodies = {
      "", "x", AllBytes(), "\xff\xfe not UTF-8", std::string(3, '\0'), large};
  // Around the sizes where records end on a boundary.
  for (size_t size = 24; size <= 104; ++size) {
    bodies.push_back(large.substr(0, size));
  }

  for (const std::string& body : bodies) SendOne(bus, Message("orders", body));

  for (const std::string& body : bodies) {
    const Delivery delivery = Take(consumer);
    CHECK(delivery->body() == body);
    Must(delivery.Ack());
  }
}

TEST_CASE_TEMPLATE("OMS-CONS-002: what a sender sets arrives", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 4);
  PullConsumer consumer = Consume(bus, "orders");
  Message message("orders", "42 apples");
  message.SetMessageKey("key \xc3\xa9")
      .SetCorrelationId("correlation")
      .SetReplyTo("replies")
      .SetCompression("zstd")
      .SetTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      .SetTracestate("vendor=1")
      .SetQos(Qos::kAtMostOnce)
      .SetPriority(Message::kDefaultPriority)
      .SetDurability(Durability::kVolatile)
      .SetPartition(3);

  const SendResult sent = SendOne(bus, message);
  const Delivery got = Take(consumer);

  CHECK(got->destination() == "orders");
  CHECK(got->body() == "42 apples");
  CHECK(got->message_key() == "key \xc3\xa9");
  CHECK(got->correlation_id() == "correlation");
  CHECK(got->reply_to() == "replies");
  CHECK(got->compression() == "zstd");
  CHECK(got->traceparent() == message.traceparent());
  CHECK(got->tracestate() == "vendor=1");
  CHECK(got->qos() == Qos::kAtMostOnce);
  CHECK(got->priority() == Message::kDefaultPriority);
  CHECK(got->durability() == Durability::kVolatile);
  CHECK(got->delay() == milliseconds(0));
  CHECK(got->expire_at() == milliseconds(0));
  CHECK(got->deduplication_id().empty());
  CHECK(got->transaction_id().empty());
  CHECK(got->partition() == 3);
  CHECK(sent.partition == 3);
  CHECK(got->offset() == sent.offset);
  CHECK(got->delivery_count() == 1);
  CHECK_FALSE(got->version().empty());
  CHECK_FALSE(got->born_host().empty());
  CHECK_FALSE(got->store_host().empty());
  CHECK_FALSE(got.receipt().empty());
}

TEST_CASE_TEMPLATE("OMS-MSG-022: properties keep their types", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  KeyValue nested;
  Must(nested.Put("deep", "value"));
  Message message("orders", "x");
  Must(message.SetProperty("bool", true));
  Must(message.SetProperty("int16", std::numeric_limits<int16_t>::min()));
  Must(message.SetProperty("int32", std::numeric_limits<int32_t>::max()));
  Must(message.SetProperty("int64", std::numeric_limits<int64_t>::min()));
  Must(message.SetProperty("float", 0.1f));
  Must(message.SetProperty("double", -0.0));
  Must(message.SetProperty("nan", std::numeric_limits<double>::quiet_NaN()));
  Must(message.SetProperty("string", "\"quoted\" \xf0\x9f\x8d\x8e"));
  Must(message.SetProperty("empty", ""));
  Must(message.SetProperty("bytes", Bytes{std::string_view("\xff\x00", 2)}));
  Must(message.SetProperty("nested", nested));
  Must(message.SetProperty("long", std::string(4096, 'p')));

  SendOne(bus, message);
  const Delivery got = Take(consumer);

  CHECK(got->properties() == message.properties());
  CHECK(got->properties().size() == 12);
  CHECK(got->properties().Find("int16")->type() == ValueType::kInt16);
  CHECK(Must(got->properties().Get<int64_t>("int64")) ==
        std::numeric_limits<int64_t>::min());
  CHECK(Must(got->properties().Get<Bytes>("bytes")).data ==
        std::string_view("\xff\x00", 2));
  CHECK(Must(got->properties().Get<KeyValueView>("nested")).GetOr("deep", "") ==
        "value");
}

TEST_CASE_TEMPLATE("OMS-PROD-001: ids are unique and equal at the receiver",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  PullConsumer consumer = Consume(bus, "orders");
  constexpr int kThreads = 4;
  constexpr int kEach = 2500;
  std::vector<std::vector<std::pair<std::string, std::string>>> sent(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto producer = bus.CreateProducer();
      for (int n = 0; n < kEach; ++n) {
        const std::string body = std::to_string(t * kEach + n);
        const auto result = producer->Send(
            Message("orders", body).SetDurability(Durability::kVolatile));
        if (!result.ok()) return;
        sent[t].emplace_back(body, result->message_id.ToString());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::map<std::string, std::string> id_of;
  std::set<std::string> ids;
  for (const auto& by_thread : sent) {
    REQUIRE(by_thread.size() == kEach);
    for (const auto& [body, id] : by_thread) {
      id_of[body] = id;
      ids.insert(id);
    }
  }

  CHECK(ids.size() == size_t{kThreads} * kEach);
  CHECK_FALSE(ids.contains(""));
  size_t equal = 0;
  for (int n = 0; n < kThreads * kEach; ++n) {
    const Delivery got = Take(consumer);
    equal += got->message_id().ToString() == id_of[std::string(got->body())];
    Must(got.Ack());
  }
  CHECK(equal == size_t{kThreads} * kEach);
}

TEST_CASE_TEMPLATE("OMS-PROD-036: a message that is sent on gets a new id",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("copies"));
  PullConsumer orders = Consume(bus, "orders");
  PullConsumer copies = Consume(bus, "copies");
  SendOne(bus, Message("orders", "x").SetMessageKey("key"));
  const Delivery original = Take(orders);
  Message copy = original.message();
  copy.SetDestination("copies");

  const SendResult sent = SendOne(bus, copy);
  const Delivery got = Take(copies);

  CHECK(got->message_id() == sent.message_id);
  CHECK(got->message_id() != original->message_id());
  CHECK(original->origin_id() == original->message_id());
  CHECK(got->destination() == "copies");
  CHECK(got->body() == "x");
  CHECK(got->message_key() == "key");
  CHECK(original->destination() == "orders");
}

TEST_CASE_TEMPLATE("OMS-PROD-015: times lie between call and return", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer = Must(bus.CreateProducer());
  // The clocks step with the kernel's tick.
  constexpr milliseconds kTick{20};

  for (int n = 0; n < 50; ++n) {
    const milliseconds before = WallNow() - kTick;
    Must(producer.Send(Message("orders", "x")));
    const milliseconds after = WallNow() + kTick;
    const Delivery got = Take(consumer);
    Must(got.Ack());

    CHECK(got->born_timestamp() >= before);
    CHECK(got->born_timestamp() <= after);
    CHECK(got->store_timestamp() >= before);
    CHECK(got->store_timestamp() <= after);
    CHECK(got->store_timestamp() + kTick >= got->born_timestamp());
  }
}

TEST_CASE_TEMPLATE("OMS-PROD-035: what is changed after Send is not sent",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  std::string bytes = "before";
  Message message = Message::Borrow(
      "orders", bytes, [](void*) {}, nullptr);

  SendOne(bus, message);
  bytes = "after!";
  message.SetBody("later");

  CHECK(Take(consumer)->body() == "before");
}

TEST_CASE_TEMPLATE("OMS-PROD-004: a batch delivers each to its own queue",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("bills", {.partitions = 2}));
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch;
  for (int n = 0; n < 100; ++n) {
    batch.emplace_back(n % 2 == 0 ? "orders" : "bills", std::to_string(n));
  }

  const auto results = producer.Send(std::span<const Message>(batch));

  REQUIRE(results.size() == batch.size());
  std::map<std::string, std::string> id_of;
  for (size_t n = 0; n < batch.size(); ++n) {
    id_of[std::to_string(n)] = Must(results[n]).message_id.ToString();
  }
  PullConsumer orders = Consume(bus, "orders");
  PullConsumer bills = Consume(bus, "bills");
  for (int n = 0; n < 50; ++n) {
    const Delivery order = Take(orders);
    const Delivery bill = Take(bills);
    CHECK(order->body() == std::to_string(2 * n));
    CHECK(order->destination() == "orders");
    CHECK(bill->destination() == "bills");
    CHECK(order->message_id().ToString() == id_of[std::string(order->body())]);
    CHECK(bill->message_id().ToString() == id_of[std::string(bill->body())]);
  }
  CHECK(NothingComes(orders));
  CHECK(NothingComes(bills));
  CHECK(producer.Send(std::span<const Message>()).empty());
}

TEST_CASE_TEMPLATE("OMS-PROD-046: what is wrong in a batch fails alone", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  Producer producer = Must(bus.CreateProducer());
  const std::vector<Message> batch = {
      Message("orders", "0"),
      Message("missing", "1"),
      Message("orders", std::string(kDefaultMaxBodyBytes + 1, 'x')),
      Message("orders", "3").SetPartition(2),
      Message("", "4"),
      Message("orders", "5"),
  };

  const auto results = producer.Send(std::span<const Message>(batch));

  REQUIRE(results.size() == batch.size());
  const std::vector<Code> codes = {Code::kOk,           Code::kQueueNotFound,
                                   Code::kBodyTooLarge, Code::kBadParameter,
                                   Code::kBadParameter, Code::kOk};
  for (size_t n = 0; n < codes.size(); ++n) {
    INFO(n);
    CHECK(OmsCode(results[n].status()) == codes[n]);
  }
  PullConsumer consumer = Consume(bus, "orders");
  std::vector<std::string> bodies = DrainBodies(consumer);
  std::sort(bodies.begin(), bodies.end());
  CHECK(bodies == std::vector<std::string>{"0", "5"});
}

TEST_CASE_TEMPLATE("OMS-ORDER-008: keys choose partitions and use them all",
                   Place, MemoryPlace, FilePlace) {
  constexpr int kPartitions = 16;
  constexpr int kKeys = 1000;
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", kPartitions);
  const auto other_bus = Connect(place.Url());
  Producer producer = Must(bus.CreateProducer());
  Producer other = Must(other_bus.CreateProducer());
  CHECK(
      Must(bus.resource_manager().DescribeQueue("orders")).options.partitions ==
      kPartitions);

  std::set<int32_t> used;
  for (int key = 0; key < kKeys; ++key) {
    const Message message = Message("orders", "x")
                                .SetMessageKey("key-" + std::to_string(key))
                                .SetDurability(Durability::kVolatile);
    const SendResult first = Must(producer.Send(message));
    const SendResult second = Must(other.Send(message));
    REQUIRE(first.partition == second.partition);
    REQUIRE(second.offset > first.offset);
    used.insert(first.partition);
  }

  CHECK(used.size() == kPartitions);
  CHECK(*used.begin() == 0);
  CHECK(*used.rbegin() == kPartitions - 1);
}

TEST_CASE_TEMPLATE("OMS-ORDER-010: an explicit partition is obeyed", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 3);
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, "orders");

  for (int32_t partition : {2, 0, 1, 2}) {
    Message message("orders", "x");
    // Stronger than a key.
    message.SetPartition(partition).SetMessageKey("key");
    CHECK(Must(producer.Send(message)).partition == partition);
    const Delivery got = Take(consumer);
    CHECK(got->partition() == partition);
    CHECK(got->requested_partition() == partition);
    Must(got.Ack());
  }
  for (int32_t partition : {3, 1000}) {
    const auto refused =
        producer.Send(Message("orders", "x").SetPartition(partition));
    CHECK(OmsCode(refused.status()) == Code::kBadParameter);
  }
}

TEST_CASE_TEMPLATE("OMS-ORDER-007: each of four senders keeps its order", Place,
                   MemoryPlace, FilePlace) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  constexpr int kPartitions = 3;
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", kPartitions);
  Producer producer = Must(bus.CreateProducer());
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < kEach; ++n) {
        Message message("orders", std::to_string(n));
        message.SetCorrelationId(std::to_string(t))
            .SetPartition(n % kPartitions)
            .SetDurability(Durability::kVolatile);
        if (!producer.Send(message).ok()) ++failures;
      }
    });
  }
  PullConsumer consumer = Consume(bus, "orders");
  std::map<std::pair<int32_t, std::string>, int> last;
  std::map<int32_t, int64_t> next_offset;
  size_t in_order = 0;
  for (int n = 0; n < kThreads * kEach; ++n) {
    const Delivery got = Take(consumer);
    const int number = std::stoi(std::string(got->body()));
    auto& before =
        last.try_emplace({got->partition(), std::string(got->correlation_id())},
                         -1)
            .first->second;
    in_order +=
        number > before && got->offset() == next_offset[got->partition()];
    before = number;
    next_offset[got->partition()] = got->offset() + 1;
    Must(got.Ack());
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(failures == 0);
  CHECK(in_order == size_t{kThreads} * kEach);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-GRP-007: each group gets all and members share", Place,
                   MemoryPlace, FilePlace) {
  constexpr int kMessages = 200;
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  PullConsumer alone = Consume(bus, "orders", {.group = "alone"});
  PullConsumer first = Consume(bus, "orders", {.group = "shared"});
  PullConsumer second = Consume(other_bus, "orders", {.group = "shared"});
  SendNumbers(bus, "orders", 1, kMessages);

  CHECK(DrainBodies(alone) == Numbers(1, kMessages));
  std::multiset<std::string> shared;
  size_t by_first = 0;
  while (shared.size() < kMessages) {
    const Delivery a = Take(first);
    shared.insert(std::string(a->body()));
    ++by_first;
    Must(a.Ack());
    const auto b = Must(second.Receive(kShort));
    if (!b) continue;
    shared.insert(std::string((*b)->body()));
    Must(b->Ack());
  }

  const auto all = Numbers(1, kMessages);
  CHECK(shared == std::multiset<std::string>(all.begin(), all.end()));
  CHECK(by_first > 0);
  CHECK(by_first < kMessages);
  CHECK(NothingComes(first));
  CHECK(NothingComes(second));
}

TEST_CASE_TEMPLATE("OMS-GRP-011: members come and go and nothing is lost",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  constexpr int kMessages = 5000;
  constexpr int kGuests = 10;
  std::atomic<int> looks{0};  // Of guests.
  std::thread sender([&] {
    auto producer = bus.CreateProducer();
    const auto limit = Soon();
    for (int n = 0; n < kMessages; ++n) {
      // Does not get ahead of them, so that there is something for each.
      while (looks < n * kGuests / kMessages && steady_clock::now() < limit) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      const auto sent =
          producer->Send(Message("orders", std::to_string(n))
                             .SetDurability(Durability::kVolatile));
      if (!sent.ok()) return;
    }
  });
  // Of each message how often it came to somebody; what was acknowledged.
  std::vector<std::atomic<int>> seen(kMessages);
  std::atomic<int> acknowledged{0};
  const auto acknowledge = [&](const Delivery& delivery) {
    if (delivery.Ack().ok()) ++acknowledged;
  };
  const auto number_of = [&](const Delivery& delivery) {
    return std::stoul(std::string(delivery->body()));
  };
  PullConsumer constant = Consume(bus, "orders");
  std::thread member([&] {
    const auto limit = steady_clock::now() + 2 * kLong;
    while (acknowledged < kMessages && steady_clock::now() < limit) {
      const auto batch = constant.ReceiveBatch(8, kShort);
      if (!batch.ok()) return;
      for (const Delivery& delivery : *batch) {
        ++seen[number_of(delivery)];
        acknowledge(delivery);
      }
    }
  });

  std::set<size_t> held;
  for (int n = 0; n < kGuests; ++n) {
    PullConsumer guest = Consume(bus, "orders");
    std::vector<Delivery> batch;
    while (batch.empty() && acknowledged < kMessages) {
      batch = Must(guest.ReceiveBatch(4, kShort));
      ++looks;
    }
    for (size_t k = 0; k < batch.size(); ++k) {
      ++seen[number_of(batch[k])];
      // One of them it never settles.
      if (k + 1 == batch.size()) {
        held.insert(number_of(batch[k]));
      } else {
        acknowledge(batch[k]);
      }
    }
    CHECK(guest.Stop(Soon()) == 0);
  }
  looks = kMessages;
  sender.join();
  member.join();

  CHECK(acknowledged == kMessages);
  CHECK_FALSE(held.empty());
  for (size_t n = 0; n < kMessages; ++n) {
    CAPTURE(n);
    // A second guest may have held it too.
    const int times = seen[n];
    REQUIRE((times == 1 || held.contains(n)));
    REQUIRE((times >= 2 || !held.contains(n)));
    REQUIRE(times >= 1);
  }
  CHECK(NothingComes(constant));
}

TEST_CASE_TEMPLATE("OMS-CONS-005: four threads on one consumer share", Place,
                   MemoryPlace, FilePlace) {
  constexpr int kMessages = 1000;
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  PullConsumer consumer = Consume(bus, "orders");
  std::vector<std::vector<std::string>> got(4);
  std::atomic<int> count{0};
  std::vector<std::thread> threads;
  for (auto& bodies : got) {
    threads.emplace_back([&] {
      const auto deadline = Soon();
      while (count < kMessages && steady_clock::now() < deadline) {
        const auto received = consumer.Receive(kShort);
        if (!received.ok() || !received->has_value()) continue;
        if (!(**received).Ack().ok()) return;
        bodies.emplace_back((**received)->body());
        ++count;
      }
    });
  }
  SendNumbers(bus, "orders", 1, kMessages);
  for (std::thread& thread : threads) thread.join();

  std::multiset<std::string> all;
  for (const auto& bodies : got) all.insert(bodies.begin(), bodies.end());
  const auto expected = Numbers(1, kMessages);
  CHECK(all == std::multiset<std::string>(expected.begin(), expected.end()));
}

TEST_CASE_TEMPLATE("OMS-GRP-014: a group starts where it says", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 2);
  SendNumbers(bus, "orders", 1, 10);

  PullConsumer earliest = Consume(bus, "orders", {.group = "earliest"});
  PullConsumer latest = Consume(
      bus, "orders", {.group = "latest", .start = StartPosition::kLatest});
  CHECK(NothingComes(latest));
  SendNumbers(bus, "orders", 11, 12);

  CHECK(DrainBodies(earliest).size() == 12);
  auto later = DrainBodies(latest);
  std::sort(later.begin(), later.end());
  CHECK(later == Numbers(11, 12));
  // The group exists by now: its start does not count again.
  CHECK(latest.Stop(Soon()) == 0);
  SendNumbers(bus, "orders", 13, 13);
  PullConsumer again = Consume(
      bus, "orders", {.group = "latest", .start = StartPosition::kLatest});
  CHECK(DrainBodies(again) == Numbers(13, 13));
}

TEST_CASE_TEMPLATE("OMS-CONS-031: several queues are received from in turn",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "a");
  Must(bus.resource_manager().CreateQueue("b"));
  PullConsumer consumer = Consume(bus, "a");
  Must(consumer.Bind("b"));
  Must(consumer.Bind("a"));
  SendNumbers(bus, "a", 1, 100);
  SendNumbers(bus, "b", 1, 100);

  CHECK(consumer.bound_queues() == std::vector<std::string>{"a", "b"});
  std::map<std::string, int> count;
  for (int n = 0; n < 50; ++n) {
    const Delivery got = Take(consumer);
    ++count[std::string(got->destination())];
    Must(got.Ack());
  }
  CHECK(count["a"] > 10);
  CHECK(count["b"] > 10);
  CHECK(DrainBodies(consumer).size() == 150);
}

TEST_CASE_TEMPLATE("OMS-CONS-003: receive waits its timeout and no longer",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");

  auto begin = steady_clock::now();
  CHECK_FALSE(Must(consumer.Receive(milliseconds(0))).has_value());
  CHECK(steady_clock::now() - begin < std::chrono::seconds(1));
  for (const milliseconds timeout : {milliseconds(1), milliseconds(120)}) {
    begin = steady_clock::now();
    CHECK_FALSE(Must(consumer.Receive(timeout)).has_value());
    const auto waited = steady_clock::now() - begin;
    CHECK(waited >= timeout);
    CHECK(waited < timeout + std::chrono::seconds(1));
  }
}

TEST_CASE_TEMPLATE("OMS-CONS-037: a message from elsewhere ends the wait",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 4);
  const auto other_bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer = Must(other_bus.CreateProducer());
  std::atomic<bool> waiting{false};
  std::thread sender([&] {
    while (!waiting) std::this_thread::yield();
    std::this_thread::sleep_for(milliseconds(100));
    producer.Send(Message("orders", "wake up")).status().IgnoreError();
  });

  waiting = true;
  const auto begin = steady_clock::now();
  const Delivery got = Take(consumer);
  sender.join();

  CHECK(got->body() == "wake up");
  CHECK(steady_clock::now() - begin < std::chrono::seconds(2));
}

TEST_CASE_TEMPLATE("OMS-CONS-006: a batch has what is there and at most that",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  SendNumbers(bus, "orders", 1, 150);

  const auto few = Must(consumer.ReceiveBatch(7, kLong));
  CHECK(few.size() == 7);
  size_t count = few.size();
  const auto begin = steady_clock::now();
  while (count < 150) {
    const auto more = Must(consumer.ReceiveBatch(1000, kLong));
    REQUIRE_FALSE(more.empty());
    count += more.size();
  }
  CHECK(count == 150);
  CHECK(steady_clock::now() - begin < kLong);
  CHECK(Must(consumer.ReceiveBatch(1000, kShort)).empty());
}

TEST_CASE_TEMPLATE("OMS-CONS-010: stop wakes a receive that waits", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer sibling = Consume(bus, "orders", {.group = "sibling"});
  std::atomic<bool> waiting{false};
  absl::Status status;
  std::thread receiver([&] {
    waiting = true;
    status = consumer.Receive(kLong).status();
  });
  while (!waiting) std::this_thread::yield();
  std::this_thread::sleep_for(kShort);

  const auto begin = steady_clock::now();
  CHECK(consumer.Stop(Soon()) == 0);
  receiver.join();

  CHECK(steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(OmsCode(status) == Code::kClosed);
  CHECK(OmsCode(consumer.Receive(kShort).status()) == Code::kClosed);
  CHECK(OmsCode(consumer.Bind("orders")) == Code::kClosed);
  SendOne(bus, Message("orders", "x"));
  CHECK(Take(sibling)->body() == "x");
}

TEST_CASE_TEMPLATE("OMS-PROD-007: a stopped producer refuses alone", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  Producer sibling = Must(bus.CreateProducer());
  Must(producer.Send(Message("orders", "1")));

  CHECK(producer.Stop(Soon()) == 0);

  const auto refused = producer.Send(Message("orders", "2"));
  CHECK(OmsCode(refused.status()) == Code::kClosed);
  Must(sibling.Send(Message("orders", "3")));
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(DrainBodies(consumer) == std::vector<std::string>{"1", "3"});
}

TEST_CASE_TEMPLATE("OMS-MAP-012: queues are created and listed and deleted",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  const auto other_bus = Connect(place.Url());
  ResourceManager resources = bus.resource_manager();
  CHECK(Must(resources.ListQueues()).empty());

  Must(resources.CreateQueue("b", {.partitions = 1024}));
  Must(resources.CreateQueue("a"));

  CHECK(OmsCode(resources.CreateQueue("a")) == Code::kQueueExists);
  CHECK(OmsCode(other_bus.resource_manager().CreateQueue(
            "b", {.partitions = 2})) == Code::kQueueExists);
  CHECK(OmsCode(resources.CreateQueue("c", {.partitions = 1025})) ==
        Code::kTooManyPartitions);
  CHECK(OmsCode(resources.CreateQueue("c", {.partitions = 0})) ==
        Code::kBadParameter);
  CHECK(OmsCode(resources.CreateQueue("not a name")) == Code::kBadParameter);
  const auto queues = Must(other_bus.resource_manager().ListQueues());
  std::map<std::string, int32_t> listed;
  for (const QueueInfo& queue : queues) {
    listed[queue.name] = queue.options.partitions;
  }
  CHECK(listed == std::map<std::string, int32_t>{{"a", 1}, {"b", 1024}});
  Must(other_bus.resource_manager().DeleteQueue("b"));
  CHECK(Must(resources.ListQueues()).size() == 1);
  CHECK(OmsCode(resources.DeleteQueue("b")) == Code::kQueueNotFound);
}

TEST_CASE_TEMPLATE("OMS-MAP-012: of eight that create one queue one succeeds",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  const auto other_bus = Connect(place.Url());
  std::atomic<int> made{0};
  std::atomic<int> there{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const auto status =
          (t % 2 == 0 ? bus : other_bus).resource_manager().CreateQueue("q");
      made += status.ok();
      there += OmsCode(status) == Code::kQueueExists;
    });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(made == 1);
  CHECK(there == 7);
}

TEST_CASE_TEMPLATE(
    "OMS-MAP-012: a deleted queue answers 1404 and its heir is "
    "empty",
    Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto other_bus = Connect(place.Url());
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, "orders");
  Must(producer.Send(Message("orders", "1")));
  Must(producer.Send(Message("orders", "2")));
  const Delivery held = Take(consumer);

  Must(other_bus.resource_manager().DeleteQueue("orders"));

  CHECK(OmsCode(producer.Send(Message("orders", "3")).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(consumer.Receive(kShort).status()) == Code::kQueueNotFound);
  CHECK(held->body() == "1");
  Must(other_bus.resource_manager().CreateQueue("orders", {.partitions = 2}));
  PullConsumer fresh = Consume(other_bus, "orders");
  CHECK(NothingComes(fresh));
  const SendResult sent =
      Must(producer.Send(Message("orders", "4").SetPartition(1)));
  CHECK(sent.partition == 1);
  CHECK(sent.offset == 0);
  CHECK(OmsCode(fresh.Ack(held.receipt())) == Code::kReceiptInvalid);
  CHECK(DrainBodies(fresh) == std::vector<std::string>{"4"});
  Must(consumer.Unbind("orders"));
  Must(consumer.Bind("orders"));
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-CONS-003: deleting a queue ends the wait for it", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  absl::Status status;
  std::atomic<bool> waiting{false};
  const auto begin = steady_clock::now();
  std::thread receiver([&] {
    waiting = true;
    status = consumer.Receive(kLong).status();
  });
  while (!waiting) std::this_thread::yield();
  std::this_thread::sleep_for(kShort);

  Must(bus.resource_manager().DeleteQueue("orders"));
  receiver.join();

  CHECK(OmsCode(status) == Code::kQueueNotFound);
  CHECK(steady_clock::now() - begin < kLong / 2);
}

TEST_CASE_TEMPLATE("OMS-MAP-003: auto-create makes queues that are asked for",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url("?auto-create=queue"));
  const auto strict_bus = Connect(place.Url());
  Producer producer = Must(bus.CreateProducer());
  Producer strict = Must(strict_bus.CreateProducer());
  PullConsumer consumer = Must(bus.CreatePullConsumer());

  CHECK(OmsCode(strict.Send(Message("sent", "x")).status()) ==
        Code::kQueueNotFound);
  Must(producer.Send(Message("sent", "x")));
  Must(strict.Send(Message("sent", "y")));
  Must(consumer.Bind("bound"));
  Must(strict.Send(Message("bound", "z")));

  CHECK(Take(consumer)->body() == "z");
  CHECK(Must(bus.resource_manager().ListQueues()).size() == 2);
}

TEST_CASE_TEMPLATE("OMS-MAP-005: the driver declares what it can do", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const Capabilities capabilities = Must(bus.capabilities("orders"));

  for (const Capability native :
       {Capability::kIndividualAck, Capability::kNack, Capability::kNackDelay,
        Capability::kCumulativeAck, Capability::kExtend,
        Capability::kDeliveryCount, Capability::kPromptRelease,
        Capability::kGroups, Capability::kExclusive, Capability::kBroadcast,
        Capability::kPartitions, Capability::kExplicitPartition,
        Capability::kDelay, Capability::kDelayCancel, Capability::kExpiry,
        Capability::kKeyOrder, Capability::kAdmin, Capability::kNamespaces,
        Capability::kFilter,
        Capability::kTypedProperties, Capability::kLease,
        Capability::kSharedReceipt, Capability::kStartEarliest,
        Capability::kSharedPartition,
        Capability::kTransactionLocal, Capability::kExactlyOnce}) {
    INFO(Name(native));
    CHECK(capabilities.Of(native) == Support::kNative);
  }
  for (const Capability absent :
       {Capability::kPriority, Capability::kReject, Capability::kDeadLetter,
        Capability::kDeduplication}) {
    INFO(Name(absent));
    CHECK_FALSE(capabilities.Has(absent));
  }
  CHECK(capabilities.Has(Capability::kDurable) == Place::kIsFile);
  CHECK(capabilities.limits().max_partitions == kMaxPartitions);
  CHECK(capabilities.limits().max_queues == kMaxQueues);
  CHECK(capabilities.limits().max_namespaces == kMaxNamespaces);
}

TEST_CASE_TEMPLATE("OMS-PROD-012: a lenient access point says what it left out",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?lenient=on"), "orders");
  PullConsumer consumer = Consume(bus, "orders");

  const SendResult sent = SendOne(
      bus,
      Message("orders", "x").SetPriority(9).SetDeduplicationId("once"));

  CHECK(sent.ignored.Contains(Capability::kPriority));
  CHECK(sent.ignored.Contains(Capability::kDeduplication));
  const Delivery got = Take(consumer);
  CHECK(got->body() == "x");
  CHECK(got->deduplication_id().empty());
}

TEST_CASE("OMS-MAP-007: a memory store is its name") {
  const MemoryPlace place;
  const MemoryPlace other_place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto same = Connect(place.Url());
  const auto other = Connect(other_place.Url());

  CHECK(Must(same.resource_manager().ListQueues()).size() == 1);
  CHECK(Must(other.resource_manager().ListQueues()).empty());
}

}  // namespace
}  // namespace openmessaging::reference::messaging_test
