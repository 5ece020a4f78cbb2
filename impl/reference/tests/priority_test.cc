// SPDX-License-Identifier: Apache-2.0
//
// Queues with priorities: what is stored comes highest first, in the order of
// sending where it is equal, whatever else happens to it.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::priority_test {
namespace {

using Texts = std::vector<std::string>;

constexpr std::string_view kQueue = "orders";

MessagingAccessPoint ConnectWithPriorities(const std::string& url,
                                           QueueOptions options = {}) {
  MessagingAccessPoint bus = Connect(url);
  options.priorities = true;
  Must(bus.resource_manager().CreateQueue(kQueue, options));
  return bus;
}

Message Of(int priority, std::string_view body) {
  Message message(kQueue, body);
  message.SetPriority(priority);
  return message;
}

void SendAll(const MessagingAccessPoint& bus,
             const std::vector<Message>& messages) {
  Producer producer = Must(bus.CreateProducer());
  for (const auto& sent : producer.Send(std::span<const Message>(messages))) {
    Must(sent.status());
  }
}

// Sends numbers from `first` to `last`, one priority after the other from 1 to
// 10 and again from 1. Returns: their bodies as they must come.
Texts SendMixed(const MessagingAccessPoint& bus, int first, int last) {
  std::vector<Message> batch;
  std::map<int, Texts, std::greater<>> by_priority;
  for (int n = first; n <= last; ++n) {
    const int priority = n % 10 + 1;
    batch.push_back(Of(priority, std::to_string(n)));
    by_priority[priority].push_back(std::to_string(n));
  }
  SendAll(bus, batch);
  Texts wanted;
  for (const auto& [priority, bodies] : by_priority) {
    wanted.insert(wanted.end(), bodies.begin(), bodies.end());
  }
  return wanted;
}

// What a batch of one look has. It is acknowledged.
Texts TakeBatch(PullConsumer& consumer, size_t max) {
  Texts bodies;
  for (const Delivery& delivery : Must(consumer.ReceiveBatch(max, kLong))) {
    bodies.emplace_back(delivery->body());
    Must(delivery.Ack());
  }
  return bodies;
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: a backlog comes by priority and then in order",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  const Texts wanted = SendMixed(bus, 0, 199);
  PullConsumer consumer = Consume(bus, kQueue);

  Texts bodies;
  std::map<int, int64_t> next_offset;
  while (bodies.size() < wanted.size()) {
    const Delivery delivery = Take(consumer);
    bodies.emplace_back(delivery->body());
    // Offsets count within the priority.
    CHECK(delivery->offset() == next_offset[delivery->priority()]++);
    CHECK(delivery->partition() == 0);
    Must(delivery.Ack());
  }

  CHECK(bodies == wanted);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-PRIO-002: what is not set or not a priority counts as 5",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  SendAll(bus, {Message(kQueue, "none"), Of(4, "four"), Of(0, "zero"),
                Of(11, "eleven"), Of(5, "five"), Of(-3, "negative"),
                Of(6, "six"), Of(255, "many")});
  PullConsumer consumer = Consume(bus, kQueue);

  CHECK(TakeBatch(consumer, 100) == Texts{"six", "none", "zero", "eleven",
                                          "five", "negative", "many", "four"});
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: one look takes all of a priority before lower",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  // More than is taken under one hold of a lock.
  const auto bus = ConnectWithPriorities(place.Url());
  std::vector<Message> batch;
  for (int n = 0; n < 150; ++n) batch.push_back(Of(1, "low"));
  for (int n = 0; n < 150; ++n) batch.push_back(Of(10, "high"));
  SendAll(bus, batch);
  PullConsumer consumer = Consume(bus, kQueue);

  const Texts bodies = TakeBatch(consumer, 200);

  REQUIRE(bodies.size() == 200);
  CHECK(std::count(bodies.begin(), bodies.begin() + 150, "high") == 150);
  CHECK(std::count(bodies.begin() + 150, bodies.end(), "low") == 50);
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: priorities count over all partitions", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url(), {.partitions = 3});
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0; n < 60; ++n) {
    Message message = Of(n % 4 + 7, std::to_string(n));
    message.SetPartition(n % 3);
    const SendResult sent = Must(producer.Send(message));
    CHECK(sent.partition == n % 3);
    CHECK(sent.offset == n / 12);
  }
  // Completed by another thread, where there is one.
  Message message = Of(9, "60");
  message.SetPartition(2);
  CHECK(Must(producer.SendAsync(message).Await()).partition == 2);
  message.SetPartition(3);
  CHECK(OmsCode(producer.Send(message).status()) == Code::kBadParameter);
  PullConsumer consumer = Consume(bus, kQueue);

  int last = 10;
  std::map<std::pair<int, int>, int> latest;
  for (int n = 0; n <= 60; ++n) {
    const Delivery delivery = Take(consumer);
    const int number = std::stoi(std::string(delivery->body()));
    CHECK(delivery->priority() <= last);
    last = delivery->priority();
    CHECK(delivery->partition() == (number == 60 ? 2 : number % 3));
    int& before = latest[{delivery->partition(), last}];
    CHECK(before <= number);
    before = number;
    Must(delivery.Ack());
  }
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: a key keeps its partition at each priority",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url(), {.partitions = 8});
  Producer producer = Must(bus.CreateProducer());
  for (int key = 0; key < 20; ++key) {
    std::optional<int32_t> partition;
    for (int priority = 1; priority <= 10; priority += 3) {
      Message message = Of(priority, "x");
      message.SetMessageKey("key " + std::to_string(key));
      const SendResult sent = Must(producer.Send(message));
      CHECK(sent.partition == partition.value_or(sent.partition));
      CHECK(sent.partition < 8);
      partition = sent.partition;
    }
  }
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: what comes later and higher passes what waits",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  PullConsumer consumer = Consume(bus, kQueue);
  SendAll(bus, {Of(3, "a"), Of(3, "b"), Of(3, "c")});

  CHECK(TakeBatch(consumer, 1) == Texts{"a"});
  SendAll(bus, {Of(1, "low"), Of(8, "high")});

  CHECK(TakeBatch(consumer, 1) == Texts{"high"});
  CHECK(TakeBatch(consumer, 1) == Texts{"b"});
  SendAll(bus, {Of(10, "highest")});
  CHECK(TakeBatch(consumer, 100) == Texts{"highest", "c", "low"});
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: what is out or backs off holds back nothing",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  PullConsumer consumer = Consume(bus, kQueue);
  SendAll(bus, {Of(10, "out"), Of(10, "backs off"), Of(2, "a"), Of(2, "b")});
  const Delivery out = Take(consumer);
  CHECK(out->body() == "out");
  const Delivery given_back = Take(consumer);
  Must(given_back.Nack(kLong));

  CHECK(TakeBatch(consumer, 1) == Texts{"a"});
  // Once it is due it comes before what is lower.
  Must(out.Nack(milliseconds(0)));
  const Delivery again = Take(consumer);
  CHECK(again->body() == "out");
  CHECK(again->delivery_count() == 2);
  Must(again.Ack());
  CHECK(TakeBatch(consumer, 100) == Texts{"b"});
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: a full window of one priority leaves the others",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url("?window=16"));
  std::vector<Message> batch(50, Of(9, "high"));
  batch.push_back(Of(2, "low"));
  SendAll(bus, batch);
  PullConsumer consumer = Consume(bus, kQueue);

  std::vector<Delivery> held;
  while (held.empty() || held.back()->body() == "high") {
    held.push_back(Take(consumer));
    REQUIRE(held.size() <= 51);
  }

  CHECK(held.size() > 16);
  for (const Delivery& delivery : held) Must(delivery.Ack());
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: members of a group share by priority", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url(), {.partitions = 2});
  const auto elsewhere = Connect(place.Url());
  SendMixed(bus, 0, 199);
  std::vector<PullConsumer> members;
  members.push_back(Consume(bus, kQueue));
  members.push_back(Consume(elsewhere, kQueue));

  std::vector<int> numbers;
  int last = 10;
  for (int n = 0; n < 200; ++n) {
    const Delivery delivery = Take(members[static_cast<size_t>(n % 2)]);
    numbers.push_back(std::stoi(std::string(delivery->body())));
    CHECK(delivery->priority() <= last);
    last = delivery->priority();
    Must(delivery.Ack());
  }

  std::sort(numbers.begin(), numbers.end());
  for (int n = 0; n < 200; ++n) CHECK(numbers[static_cast<size_t>(n)] == n);
  CHECK(NothingComes(members[0]));
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: what the filter leaves out holds back nothing",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  std::vector<Message> batch;
  for (int n = 0; n < 200; ++n) batch.push_back(Of(8, "not for it"));
  batch.push_back(Of(8, "high"));
  batch.push_back(Of(3, "low"));
  for (const size_t n : {200u, 201u}) {
    Must(batch[n].SetProperty("wanted", true));
  }
  SendAll(bus, batch);
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  Must(consumer.Bind(kQueue, {.filter = "wanted"}));

  Texts bodies;
  for (const Delivery& delivery : Must(consumer.ReceiveBatch(5, kLong))) {
    bodies.emplace_back(delivery->body());
  }
  if (bodies.size() == 1) bodies.emplace_back(Take(consumer)->body());

  CHECK(bodies == Texts{"high", "low"});
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: what has expired holds back nothing", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  std::vector<Message> batch;
  for (int n = 0; n < 200; ++n) {
    batch.push_back(Of(8, "old"));
    batch.back().SetExpireAt(milliseconds(1));
  }
  batch.push_back(Of(3, "low"));
  batch.push_back(Of(8, "high"));
  SendAll(bus, batch);
  PullConsumer consumer = Consume(bus, kQueue);

  CHECK(Take(consumer)->body() == "high");
  CHECK(Take(consumer)->body() == "low");
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: a delayed message is due with its priority",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url(), {.partitions = 2});
  const auto delayed = [](int priority, std::string_view body) {
    Message message = Of(priority, body);
    message.SetDelay(milliseconds(100));
    message.SetPartition(1);
    return message;
  };
  // Partition 1 has nothing but these.
  SendAll(bus, {delayed(1, "low"), delayed(9, "high")});
  PullConsumer waiting = Consume(bus, kQueue, {.group = "waiting"});
  const Delivery first = Take(waiting);
  const Delivery second = Take(waiting);
  SendAll(bus, {Message(kQueue, "plain")});

  // All of it is stored by now.
  PullConsumer consumer = Consume(bus, kQueue, {.group = "late"});

  const Delivery high = Take(consumer);
  CHECK(high->body() == "high");
  CHECK(high->priority() == 9);
  CHECK(high->partition() == 1);
  CHECK(high->offset() == 0);
  CHECK(Take(consumer)->body() == "plain");
  CHECK(Take(consumer)->body() == "low");
}

TEST_CASE_TEMPLATE("OMS-PRIO-001: dead letters say where and keep priorities",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  const bool priorities = Place::kIsFile;
  Must(manager.CreateQueue("dead",
                           {.partitions = 2, .priorities = priorities}));
  Must(manager.CreateQueue(kQueue, {.partitions = 3,
                                    .max_deliveries = 2,
                                    .dead_letter_queue = "dead",
                                    .redelivery_delay = milliseconds(0),
                                    .priorities = true}));
  for (const int priority : {2, 9}) {
    Message message = Of(priority, std::to_string(priority));
    message.SetPartition(2);
    SendOne(bus, message);
  }
  PullConsumer consumer = Consume(bus, kQueue);

  Must(Take(consumer).Reject());
  for (int count = 1; count <= 2; ++count) {
    const Delivery low = Take(consumer);
    CHECK(low->body() == "2");
    CHECK(low->delivery_count() == count);
    Must(low.Nack());
  }
  CHECK(NothingComes(consumer));
  Message high = Of(10, "10");
  high.SetExpireAt(milliseconds(1));
  SendOne(bus, high);
  CHECK(NothingComes(consumer));

  PullConsumer undertaker = Consume(bus, "dead");
  const Texts wanted =
      priorities ? Texts{"10", "9", "2"} : Texts{"9", "2", "10"};
  for (const std::string& body : wanted) {
    const Delivery dead = Take(undertaker);
    CHECK(dead->body() == body);
    CHECK(dead->priority() == std::stoi(body));
    CHECK(dead->partition() < 2);
    if (body != "10") {
      CHECK(dead->properties().GetOr<int32_t>(kDeadPartition, -1) == 2);
      CHECK(dead->properties().GetOr<int64_t>(kDeadOffset, -1) == 0);
    }
    Must(dead.Ack());
  }
}

TEST_CASE("OMS-PRIO-001: priorities outlive every reopening") {
  FilePlace place;
  const std::string url =
      place.Url("?first-segment=16KiB&max-segment=16KiB&window=16");
  Texts wanted;
  {
    const auto bus = ConnectWithPriorities(url, {.partitions = 2});
    PullConsumer consumer = Consume(bus, kQueue);
    wanted = SendMixed(bus, 0, 199);
    // Settled are the highest, and one given back is counted.
    for (int n = 0; n < 45; ++n) {
      const Delivery delivery = Take(consumer);
      const auto found = std::find(wanted.begin(), wanted.end(),
                                   std::string(delivery->body()));
      REQUIRE(found != wanted.end());
      wanted.erase(found);
      Must(delivery.Ack());
    }
    Must(Take(consumer).Nack(milliseconds(0)));
  }
  for (const bool without_derived : {false, true, false}) {
    if (without_derived) {
      for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
        std::filesystem::remove_all(place.path() + derived);
      }
    }
    const auto bus = Connect(url);
    CHECK(Must(bus.resource_manager().DescribeQueue(kQueue))
              .options.priorities);
    PullConsumer consumer = Consume(bus, kQueue);
    int last = 10;
    for (int n = 0; n < 20; ++n) {
      const Delivery delivery = Take(consumer);
      CHECK(delivery->priority() <= last);
      last = delivery->priority();
      const auto found = std::find(wanted.begin(), wanted.end(),
                                   std::string(delivery->body()));
      REQUIRE(found != wanted.end());
      wanted.erase(found);
      Must(delivery.Ack());
    }
  }
  const auto bus = Connect(url);
  PullConsumer consumer = Consume(bus, kQueue);
  Texts rest = DrainBodies(consumer);
  std::sort(rest.begin(), rest.end());
  std::sort(wanted.begin(), wanted.end());
  CHECK(rest == wanted);
  CheckSound(place.path());
}

TEST_CASE("OMS-PRIO-001: each priority frees its segments and keeps its offsets") {
  FilePlace place;
  const std::string url = place.Url("?first-segment=16KiB&max-segment=16KiB");
  const std::string first =
      place.path() + "/log/0000000000000000-00000001.seg";
  const std::string padding(1000, '.');
  {
    const auto bus = ConnectWithPriorities(url);
    PullConsumer consumer = Consume(bus, kQueue);
    SendAll(bus, {Of(1, "lowest")});
    for (int round = 0; round < 10; ++round) {
      SendAll(bus, std::vector<Message>(10, Of(10, padding)));
      for (int n = 0; n < 10; ++n) Must(Take(consumer).Ack());
    }
    // One message of another lane keeps it.
    CHECK(std::filesystem::exists(first));
    CHECK(TakeBatch(consumer, 1) == Texts{"lowest"});
    for (int round = 0; round < 10; ++round) {
      SendAll(bus, std::vector<Message>(10, Of(10, padding)));
      for (int n = 0; n < 10; ++n) Must(Take(consumer).Ack());
    }
    CHECK_FALSE(std::filesystem::exists(first));
  }
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }
  const auto bus = Connect(url);
  CHECK(SendOne(bus, Of(10, "x")).offset == 200);
  CHECK(SendOne(bus, Of(1, "x")).offset == 1);
  CHECK(SendOne(bus, Of(7, "x")).offset == 0);
}

TEST_CASE_TEMPLATE("OMS-STAT-002: depth and lag count every priority", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url(), {.partitions = 2});
  SendMixed(bus, 0, 39);
  PullConsumer consumer = Consume(bus, kQueue, {.group = "billing"});
  for (int n = 0; n < 10; ++n) Must(Take(consumer).Ack());
  const Delivery held = Take(consumer);

  const QueueStats stats = Must(bus.resource_manager().Stats(kQueue));

  CHECK(stats.depth == 30);
  REQUIRE(stats.groups.size() == 1);
  CHECK(stats.groups[0].lag == 30);
  CHECK(stats.groups[0].leased == 1);
}

TEST_CASE_TEMPLATE("OMS-MAP-005: a queue declares what its priorities give and cost",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithPriorities(place.Url());
  Must(bus.resource_manager().CreateQueue("plain"));

  const Capabilities with = Must(bus.capabilities(kQueue));
  const Capabilities without = Must(bus.capabilities("plain"));

  CHECK(with.Of(Capability::kPriority) == Support::kNative);
  CHECK(with.limits().priority_levels == 10);
  CHECK(with.limits().max_partitions == 102);
  CHECK_FALSE(without.Has(Capability::kPriority));
  CHECK_FALSE(without.limits().priority_levels.has_value());
  for (const Capability lost :
       {Capability::kStream, Capability::kSeek, Capability::kKeyOrder,
        Capability::kCumulativeAck}) {
    INFO(Name(lost));
    CHECK_FALSE(with.Has(lost));
    CHECK(without.Has(lost));
  }
  const auto reader =
      bus.CreateStreamReader(kQueue, 0, StreamPosition::Earliest());
  CHECK(OmsCode(reader.status()) == Code::kUnsupported);
  PullConsumer consumer = Consume(bus, kQueue, {.group = "billing"});
  CHECK(OmsCode(bus.resource_manager().SeekGroup(
            kQueue, "billing", StreamPosition::Earliest())) ==
        Code::kUnsupported);
  PullConsumer ordered =
      Must(bus.CreatePullConsumer({.group = "audit", .ordered = true}));
  CHECK(OmsCode(ordered.Bind(kQueue)) == Code::kUnsupported);
  SendAll(bus, {Of(5, "a"), Of(5, "b")});
  CHECK(OmsCode(Take(consumer).AckUpTo()) == Code::kUnsupported);
  // As it is for a consumer that can do it elsewhere.
  Must(consumer.Bind("plain"));
  const absl::Status refused = Take(consumer).AckUpTo();
  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused).find("(cumulative-ack)") != std::string::npos);
}

TEST_CASE_TEMPLATE("OMS-PROD-011: a plain queue refuses a priority", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer());

  const absl::Status refused = producer.Send(Of(9, "x")).status();

  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused).find("priority") != std::string::npos);
  // These say no more than what is not set.
  for (const int priority : {5, 0, 11}) {
    CHECK(producer.Send(Of(priority, "x")).ok());
  }
  // Made anew by somebody else, of whom this connection is not told.
  const auto other = Connect(place.Url());
  ResourceManager manager = other.resource_manager();
  Must(manager.DeleteQueue(kQueue));
  Must(manager.CreateQueue(kQueue, {.priorities = true}));
  CHECK(producer.Send(Of(9, "x")).ok());
  Must(manager.DeleteQueue(kQueue));
  Must(manager.CreateQueue(kQueue));
  CHECK(OmsCode(producer.Send(Of(9, "x")).status()) == Code::kUnsupported);
  CHECK(producer.Send(Of(5, "x")).ok());
}

TEST_CASE_TEMPLATE("OMS-MAP-011: a queue with priorities has 102 partitions at most",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();

  const absl::Status refused =
      manager.CreateQueue(kQueue, {.partitions = 103, .priorities = true});

  CHECK(OmsCode(refused) == Code::kTooManyPartitions);
  CHECK(Text(refused).find("1 to 102") != std::string::npos);
  Must(manager.CreateQueue(kQueue, {.partitions = 102, .priorities = true}));
  for (const int priority : {1, 10}) {
    Message message = Of(priority, std::to_string(priority));
    message.SetPartition(101);
    CHECK(SendOne(bus, message).partition == 101);
  }
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(TakeBatch(consumer, 10) == Texts{"10", "1"});
}

// Arguments: URL. Sends numbers with priorities until it is killed; says each
// that was acknowledged.
OMS_ROLE(priority_sender) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  for (int n = 0;; ++n) {
    Message message = Of(n % 10 + 1, std::to_string(n));
    message.SetDurability(Durability::kProcess);
    Must(producer.Send(message));
    role.Say(std::to_string(n));
  }
}

// Arguments: URL. Takes five messages, says them, and waits to be killed.
OMS_ROLE(priority_holder) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue);
  for (int n = 0; n < 5; ++n) role.Say(std::string(Take(consumer)->body()));
  (void)role.Hear();
}

TEST_CASE("OMS-PRIO-001: who is killed takes no priority along") {
  FilePlace place;
  const auto bus = ConnectWithPriorities(place.Url());
  Child sender("priority_sender", {place.Url()});
  int acknowledged = -1;
  while (acknowledged < 300) {
    const auto line = sender.Hear();
    REQUIRE(line.has_value());
    acknowledged = std::stoi(*line);
  }
  CHECK(sender.Kill());
  while (const auto line = sender.Hear(milliseconds(0))) {
    acknowledged = std::stoi(*line);
  }
  Child holder("priority_holder", {place.Url()});
  Texts held;
  for (int n = 0; n < 5; ++n) held.push_back(holder.Hear().value_or(""));
  CHECK(held == Texts{"9", "19", "29", "39", "49"});
  CHECK(holder.Kill());

  // What it held is back within 200 ms; by then lower ones may have come.
  PullConsumer consumer = Consume(bus, kQueue);
  std::map<int, int> delivered;
  std::map<int, int> latest;
  while (true) {
    const auto received = Must(consumer.Receive(milliseconds(500)));
    if (!received.has_value()) break;
    const int number = std::stoi(std::string((*received)->body()));
    CHECK((*received)->priority() == number % 10 + 1);
    if ((*received)->delivery_count() == 1) {
      CHECK(delivered[number] == 0);
      int& before = latest[(*received)->priority()];
      CHECK(before <= number);
      before = number;
    } else {
      CHECK(number <= 49);
    }
    ++delivered[number];
    Must(received->Ack());
  }
  for (int n = 0; n <= acknowledged; ++n) {
    CAPTURE(n);
    CHECK(delivered[n] == 1);
  }
  CheckSound(place.path());
}

}  // namespace
}  // namespace openmessaging::reference::priority_test
