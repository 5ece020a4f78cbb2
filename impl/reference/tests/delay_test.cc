// SPDX-License-Identifier: Apache-2.0
//
// Delayed messages with the reference driver, in memory and in files.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::delay_test {
namespace {

// Ten times what is promised: the machine has other work.
constexpr milliseconds kLate{1000};

Message After(std::string_view body, milliseconds delay) {
  Message message("orders", body);
  message.SetDelay(delay);
  return message;
}

milliseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

TEST_CASE_TEMPLATE("OMS-TIME-001: a delayed message comes when it is due", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  std::string attributes;
  SUBCASE("a housekeeper brings it in") {}
  SUBCASE("a receiver does") { attributes = "?housekeeper=off"; }
  const auto bus = ConnectWith(place.Url(attributes), "orders", 3);
  PullConsumer consumer = Consume(bus, "orders");
  const auto start = steady_clock::now();
  Message message = After("later", milliseconds(120));
  message.SetPartition(2).SetMessageKey("k");

  const SendResult sent = SendOne(bus, message);

  CHECK(sent.partition == 2);
  CHECK(sent.offset == -1);
  const Delivery delivery = Take(consumer);
  CHECK(Since(start) >= milliseconds(120));
  CHECK(Since(start) < milliseconds(120) + kLate);
  CHECK(delivery->body() == "later");
  CHECK(delivery->message_id() == sent.message_id);
  CHECK(delivery->partition() == 2);
  CHECK(delivery->offset() == 0);
  CHECK(delivery->delivery_count() == 1);
  CHECK(delivery->message_key() == "k");
  CHECK(delivery->delay() == milliseconds(120));
  Must(delivery.Ack());
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TIME-002: a delay holds nothing back and due order counts",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch = {
      After("third", milliseconds(200)), After("second", milliseconds(120)),
      Message("orders", "first"), After("none", milliseconds(0)),
      After("fourth", milliseconds(200))};

  const auto sent = producer.Send(std::span<const Message>(batch));

  for (const auto& result : sent) Must(result.status());
  CHECK(Must(sent[3]).offset == 1);
  for (const char* const body :
       {"first", "none", "second", "third", "fourth"}) {
    const Delivery delivery = Take(consumer);
    CHECK(delivery->body() == body);
    Must(delivery.Ack());
  }
}

TEST_CASE_TEMPLATE("OMS-TIME-002: many are due in their order", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch;
  constexpr int kMany = 1000;
  // More than a block of the table, and in a scattered order.
  for (int n = 0; n < kMany; ++n) {
    const int rank = n * 7 % kMany;
    batch.push_back(After(std::to_string(rank), milliseconds(600 + rank / 10)));
    batch.back().SetDurability(Durability::kDefault);
  }
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    Must(sent.status());
  }
  PullConsumer consumer = Consume(bus, "orders");

  int last = -1;
  for (int n = 0; n < kMany; ++n) {
    const Delivery delivery = Take(consumer);
    // What is due together comes in the order of sending.
    const int rank = std::stoi(std::string(delivery->body())) / 10;
    CHECK(rank >= last);
    last = rank;
    Must(delivery.Ack());
  }
  CHECK(NothingComes(consumer));
}

TEST_CASE("OMS-TIME-003: what waits survives that the store is closed") {
  FilePlace place;
  bool lose_derived = false;
  SUBCASE("with its checkpoint") {}
  SUBCASE("with its log alone") { lose_derived = true; }
  MessageId id;
  const auto start = steady_clock::now();
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    id = SendOne(bus, After("later", milliseconds(300))).message_id;
    SendOne(bus, After("much later", std::chrono::hours(1)));
    SendOne(bus, Message("orders", "now"));
  }
  if (lose_derived) {
    for (const char* const name : {"ctl", "idx", "ckpt/A", "ckpt/B"}) {
      std::filesystem::remove(place.path() + "/" + name);
    }
  }
  CheckSound(place.path());

  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");

  CHECK(Take(consumer)->body() == "now");
  const Delivery delivery = Take(consumer);
  CHECK(Since(start) >= milliseconds(300));
  CHECK(delivery->body() == "later");
  CHECK(delivery->message_id() == id);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TIME-004: a delay too long or negative is refused", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  const auto longest = Must(bus.capabilities("orders")).limits().max_delay;
  REQUIRE(longest.has_value());

  for (const milliseconds wrong :
       {milliseconds(-1), *longest + milliseconds(1), milliseconds::max()}) {
    const auto sent = producer.Send(After("x", wrong));
    CHECK(OmsCode(sent.status()) == Code::kBadParameter);
  }
  Must(producer.Send(After("x", *longest)));
}

TEST_CASE_TEMPLATE("OMS-TIME-007: what expires while it waits is not delivered",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue("orders",
                                          {.dead_letter_queue = "dead"}));
  PullConsumer consumer = Consume(bus, "orders");
  PullConsumer undertaker = Consume(bus, "dead");
  Message message = After("too late", milliseconds(100));
  ExpireAfter(message, milliseconds(20));
  SendOne(bus, message);
  SendOne(bus, After("in time", milliseconds(100)));

  const Delivery delivery = Take(consumer);

  CHECK(delivery->body() == "in time");
  Must(delivery.Ack());
  CHECK(NothingComes(consumer));
  const Delivery dead = Take(undertaker);
  CHECK(dead->body() == "too late");
  CHECK(dead->properties().GetOr<std::string>(kDeadReason, "") == kDeadExpired);
  CHECK(dead->delay() == milliseconds(0));
}

TEST_CASE_TEMPLATE("OMS-TIME-001: a stream shows a delayed message when it is due",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url("?housekeeper=off"), "orders");
  auto reader = Must(
      bus.CreateStreamReader("orders", 0, StreamPosition::Earliest()));
  const auto start = steady_clock::now();
  SendOne(bus, After("later", milliseconds(100)));

  const auto messages = Must(reader.Read(1, kLong));

  REQUIRE(messages.size() == 1);
  CHECK(Since(start) >= milliseconds(100));
  CHECK(messages[0].body() == "later");
  CHECK(messages[0].offset() == 0);
}

TEST_CASE("OMS-TIME-001: a send that nobody waits for can be delayed") {
  FilePlace place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer = Must(bus.CreateProducer());

  auto future = producer.SendAsync(After("later", milliseconds(50)));

  const SendResult sent = Must(future.Await());
  CHECK(sent.offset == -1);
  CHECK(Take(consumer)->message_id() == sent.message_id);
}

TEST_CASE_TEMPLATE("OMS-TIME-001: the delayed messages of a deleted queue end",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendOne(bus, After("later", milliseconds(100)));
  Must(bus.resource_manager().DeleteQueue("orders"));
  Must(bus.resource_manager().CreateQueue("orders"));
  PullConsumer consumer = Consume(bus, "orders");

  CHECK_FALSE(Must(consumer.Receive(milliseconds(300))).has_value());
}

TEST_CASE_TEMPLATE("OMS-TIME-005: a cancelled message is never delivered", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("bills"));
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer = Must(bus.CreateProducer());
  const auto send = [&](std::string_view body, milliseconds delay) {
    return Must(producer.Send(After(body, delay))).message_id;
  };
  const MessageId withdrawn = send("withdrawn", milliseconds(600));
  const MessageId kept = send("kept", milliseconds(600));
  const MessageId far = send("far", std::chrono::hours(1));
  const MessageId plain =
      Must(producer.Send(Message("orders", "plain"))).message_id;

  CHECK(OmsCode(producer.CancelDelayed("bills", withdrawn)) ==
        Code::kQueueNotFound);
  Must(producer.CancelDelayed("orders", withdrawn));
  // By another producer, which knows it as text.
  Producer other = Must(Connect(place.Url()).CreateProducer());
  Must(other.CancelDelayed("orders", *MessageId::FromText(far.ToString())));

  CHECK(DrainBodies(consumer) == std::vector<std::string>{"plain"});
  const Delivery delivery = Take(consumer);
  CHECK(delivery->body() == "kept");
  for (const MessageId& id : {withdrawn, far, plain, kept}) {
    const absl::Status again = producer.CancelDelayed("orders", id);
    CHECK(OmsCode(again) == Code::kIllegalState);
    CHECK(Text(again).find(id.ToString()) != std::string::npos);
  }
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TIME-005: what was never given out is not cancelled",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Producer producer = Must(bus.CreateProducer());
  const MessageId id =
      Must(producer.Send(After("x", std::chrono::hours(1)))).message_id;
  const std::string text = id.ToString();

  for (const std::string& wrong :
       {std::string("nonsense"), text + "0", text + "x", text + "-1",
        text.substr(0, 33) + "9" + text.substr(33), text.substr(0, 32),
        "0" + text.substr(0, 62)}) {
    CAPTURE(wrong);
    CHECK(OmsCode(producer.CancelDelayed("orders",
                                         *MessageId::FromText(wrong))) ==
          Code::kQueueNotFound);
  }
  CHECK(OmsCode(producer.CancelDelayed("nowhere", id)) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(producer.CancelDelayed("orders", MessageId())) ==
        Code::kBadParameter);
  CHECK(OmsCode(producer.CancelDelayed("a b", id)) == Code::kBadParameter);
  Must(producer.CancelDelayed("orders", id));
  producer.Stop(Soon());
  CHECK(OmsCode(producer.CancelDelayed("orders", id)) == Code::kClosed);
}

TEST_CASE("OMS-TIME-005: a cancelled message does not come back with the log") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    Producer producer = Must(bus.CreateProducer());
    const auto sent = producer.Send(After("withdrawn", milliseconds(600)));
    Must(producer.Send(After("kept", milliseconds(600))).status());
    Must(producer.CancelDelayed("orders", Must(sent).message_id));
  }
  for (const char* const name : {"ctl", "idx", "ckpt/A", "ckpt/B"}) {
    std::filesystem::remove(place.path() + "/" + name);
  }

  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");

  CHECK(Take(consumer)->body() == "kept");
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-TIME-005: due or cancelled but never both", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders");
  constexpr int kMany = 200;
  Producer producer = Must(bus.CreateProducer());
  std::vector<MessageId> ids;
  for (int n = 0; n < kMany; ++n) {
    Message message = After(std::to_string(n), milliseconds(60 + n / 10));
    if (Place::kIsFile) message.SetDurability(Durability::kProcess);
    ids.push_back(Must(producer.Send(message)).message_id);
  }

  // While they come due one after another.
  std::set<std::string> cancelled;
  std::thread canceller([&] {
    std::this_thread::sleep_for(milliseconds(60));
    for (int n = 0; n < kMany; ++n) {
      const absl::Status status = producer.CancelDelayed(
          "orders", ids[static_cast<size_t>(n)]);
      if (status.ok()) cancelled.insert(std::to_string(n));
      CHECK((status.ok() || OmsCode(status) == Code::kIllegalState));
    }
  });
  std::set<std::string> received;
  const auto end = steady_clock::now() + milliseconds(500);
  while (steady_clock::now() < end) {
    const auto got = Must(consumer.Receive(milliseconds(20)));
    if (!got.has_value()) continue;
    CHECK(received.emplace((*got)->body()).second);
    Must(got->Ack());
  }
  canceller.join();
  for (const std::string& body : DrainBodies(consumer)) received.insert(body);

  CHECK(received.size() + cancelled.size() == kMany);
  for (const std::string& body : cancelled) CHECK_FALSE(received.contains(body));
}

}  // namespace
}  // namespace openmessaging::reference::delay_test
