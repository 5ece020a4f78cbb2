// SPDX-License-Identifier: Apache-2.0
//
// Producer over the fake driver: checks, results, deadlines, retries, batches
// and the lifecycle.

#include "openmessaging/producer.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::producer_test {
namespace {

using fake::AllBut;
using fake::Answer;
using fake::Busy;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

Message WithProperty(std::string_view key, const Value& value) {
  Message message("orders", "x");
  REQUIRE(message.SetProperty(key, value).ok());
  return message;
}

TEST_CASE("OMS-TIME-005: what the driver cannot cancel is 1600") {
  World world;
  Producer producer = world.MakeProducer();
  const auto sent = producer.Send(Message("orders", "42 apples"));
  REQUIRE(sent.ok());

  CHECK(OmsCode(producer.CancelDelayed("orders", sent->message_id)) ==
        Code::kUnsupported);
  CHECK(OmsCode(producer.CancelDelayed("a b", sent->message_id)) ==
        Code::kBadParameter);
  CHECK(OmsCode(producer.CancelDelayed("orders", MessageId())) ==
        Code::kBadParameter);
  producer.Stop(Soon());
  CHECK(OmsCode(producer.CancelDelayed("orders", sent->message_id)) ==
        Code::kClosed);
}

TEST_CASE("OMS-PROD-001: send returns what the driver said") {
  World world;
  Producer producer = world.MakeProducer();

  const auto first = producer.Send(Message("orders", "42 apples"));
  const auto second = producer.Send(Message("orders", ""));

  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK_FALSE(first->message_id.empty());
  CHECK(first->message_id != second->message_id);
  CHECK(first->partition == 0);
  CHECK(second->offset == 1);
  CHECK(first->ignored.empty());
  CHECK(world.broker->bodies("orders") ==
        std::vector<std::string>{"42 apples", ""});
}

TEST_CASE("OMS-PROD-001: send waits for a driver that answers later") {
  World world;
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(20);
  });
  Producer producer = world.MakeProducer();
  const auto before = steady_clock::now();

  const auto result = producer.Send(Message("orders", "x"));

  CHECK(result.ok());
  CHECK(steady_clock::now() - before >= milliseconds(20));
}

TEST_CASE("OMS-PROD-002: a message needs the name of a queue") {
  World world;
  Producer producer = world.MakeProducer();

  const auto none = producer.Send(Message("", "x"));
  const auto empty = producer.Send(Message());
  const auto bad = producer.Send(Message("no blanks", "x"));
  const auto reserved = producer.Send(Message("oms.internal", "x"));

  for (const auto* result : {&none, &empty, &bad, &reserved}) {
    CHECK(OmsCode(result->status()) == Code::kBadParameter);
    CHECK(OutcomeOf(result->status()) == Outcome::kNotStored);
  }
  CHECK(Text(none.status()) ==
        "send: the message has no destination; expected the name of a queue "
        "(OMS-PROD-002)");
  CHECK(world.broker->counts().sends == 0);
}

TEST_CASE("OMS-PROD-032: a missing queue is the driver's answer") {
  World world;
  Producer producer = world.MakeProducer();

  const auto result = producer.Send(Message("nowhere", "x"));

  CHECK(OmsCode(result.status()) == Code::kQueueNotFound);
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-003: a batch has a result for each message in its order") {
  World world;
  Producer producer = world.MakeProducer();
  const std::vector<Message> batch = {
      Message("orders", "a"), Message("", "no destination"),
      Message("nowhere", "c"), Message("orders", "d")};

  const auto results = producer.Send(batch);

  REQUIRE(results.size() == 4);
  CHECK(results[0].ok());
  CHECK(OmsCode(results[1].status()) == Code::kBadParameter);
  CHECK(OmsCode(results[2].status()) == Code::kQueueNotFound);
  CHECK(results[3].ok());
  CHECK(results[3]->offset == 1);
  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"a", "d"});
  CHECK(world.broker->batch_sizes() == std::vector<size_t>{3});
}

TEST_CASE("OMS-PROD-033: an empty batch does nothing") {
  World world;
  Producer producer = world.MakeProducer();

  CHECK(producer.Send(std::span<const Message>()).empty());
  CHECK(world.broker->counts().sends == 0);
}

TEST_CASE("OMS-PROD-004: a batch delivers each message to its own queue") {
  World world;
  world.broker->AddQueue("other");
  Producer producer = world.MakeProducer();
  const std::vector<Message> batch = {
      Message("orders", "1"), Message("other", "2"), Message("orders", "3")};

  for (const auto& result : producer.Send(batch)) CHECK(result.ok());

  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"1", "3"});
  CHECK(world.broker->bodies("other") == std::vector<std::string>{"2"});
  CHECK(world.broker->batch_sizes() == std::vector<size_t>{3});
}

TEST_CASE("OMS-PROD-005: a body of the limit goes and one byte more does not") {
  World world;
  Producer producer = world.MakeProducer({.max_body_bytes = 100});

  CHECK(producer.Send(Message("orders", std::string(100, 'x'))).ok());
  const auto refused = producer.Send(Message("orders", std::string(101, 'x')));

  CHECK(OmsCode(refused.status()) == Code::kBodyTooLarge);
  CHECK(Text(refused.status()) ==
        "send to \"orders\": body is 101 bytes; limit is 100 (max_body_bytes, "
        "OMS-PROD-005)");
  CHECK(world.broker->counts().sends == 1);
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-005: a queue may have a lower limit") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().max_body_bytes = 10;
  world.broker->AddQueue("small", capabilities);
  Producer producer = world.MakeProducer();

  CHECK(producer.Send(Message("small", std::string(10, 'x'))).ok());
  const auto refused = producer.Send(Message("small", std::string(11, 'x')));

  CHECK(OmsCode(refused.status()) == Code::kBodyTooLarge);
  CHECK(producer.Send(Message("orders", std::string(11, 'x'))).ok());
}

TEST_CASE("OMS-PROD-006: header fields have a limit") {
  World world;
  Producer producer = world.MakeProducer();
  Message message("orders", "x");
  // Type, two bytes of length, and the destination field of eight bytes.
  message.SetMessageKey(std::string(kMaxHeaderBytes - 3 - 8, 'k'));
  Message larger(message);
  larger.SetMessageKey(std::string(kMaxHeaderBytes - 3 - 8 + 1, 'k'));

  CHECK(producer.Send(message).ok());
  CHECK(OmsCode(producer.Send(larger).status()) == Code::kHeaderTooLarge);
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-006: properties have limits of bytes and number") {
  World world;
  Producer producer = world.MakeProducer();
  // An entry: type, length and key, length and value.
  constexpr size_t kOverhead = 1 + 1 + 1 + 3;
  const std::string fits(kMaxPropertiesBytes - kOverhead, 'v');
  KeyValue many;
  for (size_t i = 0; i < kMaxProperties; ++i) {
    REQUIRE(many.Put(std::to_string(i), true).ok());
  }
  Message most("orders", "x");
  most.SetProperties(many);
  REQUIRE(many.Put("one too many", true).ok());
  Message too_many("orders", "x");
  too_many.SetProperties(many);

  CHECK(producer.Send(WithProperty("k", fits)).ok());
  const auto too_large = producer.Send(WithProperty("k", fits + "v"));
  CHECK(OmsCode(too_large.status()) == Code::kAttributesTooLarge);
  CHECK(producer.Send(most).ok());
  const auto refused = producer.Send(too_many);
  CHECK(OmsCode(refused.status()) == Code::kAttributesTooLarge);
  CHECK(Text(refused.status()) ==
        "send to \"orders\": there are 1025 properties; limit is 1024 "
        "(OMS-PROD-006)");
}

TEST_CASE("OMS-PROD-006: a queue may have lower limits for properties") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().max_properties = 1;
  world.broker->AddQueue("one", capabilities);
  capabilities.mutable_limits().max_properties_bytes = 11;
  world.broker->AddQueue("eleven", capabilities);
  Producer producer = world.MakeProducer();
  Message message("one", "x");
  REQUIRE(message.SetProperty("k", "1234567").ok());
  Message two(message);
  REQUIRE(two.SetProperty("l", 1).ok());

  CHECK(producer.Send(message).ok());
  CHECK(OmsCode(producer.Send(two).status()) == Code::kAttributesTooLarge);
  message.SetDestination("eleven");
  CHECK(producer.Send(message).ok());
  REQUIRE(message.SetProperty("k", "12345678").ok());
  CHECK(OmsCode(producer.Send(message).status()) == Code::kAttributesTooLarge);
  CHECK(world.broker->counts().sends == 2);
}

TEST_CASE("OMS-PROD-006: properties must be sound and not reserved") {
  World world;
  Producer producer = world.MakeProducer();
  Message damaged("orders", "x");
  damaged.SetProperties(KeyValueView("\x07\x02k"));
  std::string nested;
  for (int i = 0; i < kMaxPropertiesDepth; ++i) {
    std::string outer("\x09\x01k", 3);
    outer.push_back(static_cast<char>(nested.size()));
    nested = outer + nested;
  }
  Message deep("orders", "x");
  deep.SetProperties(KeyValueView(nested));

  const auto reserved = producer.Send(WithProperty("oms.mine", 1));

  CHECK(OmsCode(reserved.status()) == Code::kBadParameter);
  CHECK(Text(reserved.status()) ==
        "send to \"orders\": property \"oms.mine\" is reserved; expected a key "
        "that does not start with oms. (OMS-PROD-006)");
  CHECK(OmsCode(producer.Send(damaged).status()) == Code::kBadParameter);
  CHECK(OmsCode(producer.Send(deep).status()) == Code::kAttributesTooLarge);
  CHECK(producer.Send(WithProperty("omsx", 1)).ok());
  // What a dead letter says of itself may be sent on.
  CHECK(producer.Send(WithProperty(kDeadPartition, 1)).ok());
  CHECK(world.broker->counts().sends == 2);
}

TEST_CASE("OMS-PROD-007: a stopped producer refuses to send") {
  World world;
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());

  REQUIRE(producer.Stop(Soon()) == 0);

  const auto result = producer.Send(Message("orders", "late"));
  CHECK(OmsCode(result.status()) == Code::kClosed);
  const std::vector<Message> batch(2, Message("orders", "late"));
  for (const auto& one : producer.Send(batch)) {
    CHECK(OmsCode(one.status()) == Code::kClosed);
  }
  CHECK(OmsCode(producer.Start()) == Code::kClosed);
  CHECK(world.broker->bodies("orders").size() == 1);
  CHECK(producer.state() == LifecycleState::kStopped);
}

TEST_CASE("OMS-PROD-007: a producer that never sent can be stopped") {
  World world;
  Producer producer = world.MakeProducer();

  CHECK(producer.Stop(Soon()) == 0);

  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kClosed);
  CHECK(world.broker->counts().producers_opened == 0);
}

TEST_CASE("OMS-PROD-008: stop waits for sends in progress") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer();
  absl::StatusOr<SendResult> result;
  std::thread sender(
      [&] { result = producer.Send(Message("orders", "slow")); });
  REQUIRE(world.broker->Await([](auto counts) { return counts.sends == 1; }));
  while (world.broker->held() == 0) std::this_thread::yield();

  CHECK(producer.Stop(steady_clock::now() + milliseconds(20)) == 1);
  CHECK(producer.state() == LifecycleState::kStopping);
  CHECK(world.broker->counts().producers_closed == 0);
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kClosed);
  world.broker->AnswerHeld();

  CHECK(producer.Stop(Soon()) == 0);
  sender.join();
  CHECK(result.ok());
  CHECK(producer.state() == LifecycleState::kStopped);
  CHECK(world.broker->counts().producers_closed == 1);
}

TEST_CASE("OMS-PROD-008: the last send closes what stop did not wait for") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer();
  std::thread sender([&] {
    const auto result = producer.Send(Message("orders", "slow"));
    CHECK(result.ok());
  });
  while (world.broker->held() == 0) std::this_thread::yield();
  REQUIRE(producer.Stop(steady_clock::now()) == 1);

  world.broker->AnswerHeld();
  sender.join();

  CHECK(producer.state() == LifecycleState::kStopped);
  CHECK(world.broker->counts().producers_closed == 1);
}

TEST_CASE("OMS-PROD-008: eight threads may stop while eight send") {
  for (int round = 0; round < 20; ++round) {
    World world;
    Producer producer = world.MakeProducer();
    std::atomic<size_t> sent{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        while (true) {
          const auto result = producer.Send(Message("orders", "x"));
          if (!result.ok()) {
            CHECK(OmsCode(result.status()) == Code::kClosed);
            return;
          }
          sent.fetch_add(1);
        }
      });
    }
    while (sent.load() < 8) std::this_thread::yield();
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] { CHECK(producer.Stop(Soon()) == 0); });
    }

    for (std::thread& thread : threads) thread.join();

    CHECK(world.broker->counts().producers_closed == 1);
    CHECK(world.broker->bodies("orders").size() == sent.load());
  }
}

TEST_CASE("OMS-PROD-009: no answer in time is 1410 with unknown outcome") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(50)});
  const auto before = steady_clock::now();

  const auto result = producer.Send(Message("orders", "x"));

  CHECK(OmsCode(result.status()) == Code::kTimeout);
  CHECK(OutcomeOf(result.status()) == Outcome::kUnknown);
  CHECK(steady_clock::now() - before >= milliseconds(50));
  CHECK(Text(result.status()) ==
        "send to \"orders\": no answer within 50 ms, the message may have been "
        "stored; expected an answer in time (send_timeout, OMS-PROD-009)");
  CHECK(world.broker->counts().sends == 1);

  // The late answer belongs to nobody and disturbs no later send.
  world.broker->AnswerHeld();
  world.broker->Set(
      [](Script& script) { script.send_answer = Answer::kInline; });
  CHECK(producer.Send(Message("orders", "y")).ok());
}

TEST_CASE("OMS-PROD-009: what was given up may be answered by the close") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(5)});
  const std::vector<Message> batch(3, Message("orders", "x"));

  for (const auto& result : producer.Send(batch)) {
    CHECK(OmsCode(result.status()) == Code::kTimeout);
  }

  CHECK(world.broker->held() == 3);
  CHECK(producer.Stop(Soon()) == 0);
  CHECK(world.broker->held() == 0);
}

TEST_CASE("OMS-PROD-009: answers and deadlines may cross") {
  World world;
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(2);
  });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(2)});
  const std::vector<Message> batch(2, Message("orders", "x"));

  size_t sent = 0;
  for (int i = 0; i < 200; ++i) {
    const auto one = producer.Send(batch[0]);
    if (!one.ok()) CHECK(OmsCode(one.status()) == Code::kTimeout);
    for (const auto& result : producer.Send(batch)) {
      if (!result.ok()) CHECK(OmsCode(result.status()) == Code::kTimeout);
      sent += result.ok() ? 1 : 0;
    }
  }

  MESSAGE("of 400 in batches, ", sent, " were answered in time");
  CHECK(world.broker->bodies("orders").size() == 600);
}

TEST_CASE("OMS-PROD-009: a timeout of zero sends once and waits for nothing") {
  World world;
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(0)});
  CHECK(producer.Send(Message("orders", "inline")).ok());

  world.broker->Set([](Script& script) { script.send_failures = {Busy()}; });
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kStorageBusy);
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kTimeout);
  CHECK(world.broker->counts().sends == 3);
}

TEST_CASE("OMS-PROD-010: what was certainly not stored is sent again") {
  World world;
  world.broker->Set([](Script& script) {
    script.send_failures = {Busy(), Busy(), Busy()};
  });
  Producer producer = world.MakeProducer();

  const auto result = producer.Send(Message("orders", "x"));

  CHECK(result.ok());
  CHECK(world.broker->counts().sends == 4);
  CHECK(world.broker->bodies("orders").size() == 1);
}

TEST_CASE("OMS-PROD-010: nothing else is sent again") {
  World world;
  Producer producer = world.MakeProducer();
  StatusDetail unknown = DefaultDetail(Code::kUnavailable);
  unknown.outcome = Outcome::kUnknown;
  const std::vector<absl::Status> failures = {
      MakeStatus(Code::kForbidden, "not retriable"),
      MakeStatus(Code::kStorageError, "outcome unknown"),
      MakeStatus(Code::kFlushTimeout, "stored"),
      MakeStatus(Code::kTimeout, "unknown"),
      WithDetail(absl::UnavailableError("unknown"), unknown)};

  for (const absl::Status& failure : failures) {
    world.broker->Set(
        [&](Script& script) { script.send_failures = {failure}; });
    const size_t before = world.broker->counts().sends;

    const auto result = producer.Send(Message("orders", "x"));

    CHECK(result.status() == failure);
    CHECK(world.broker->counts().sends == before + 1);
  }
}

TEST_CASE("OMS-PROD-010: sending again ends at the deadline with the reason") {
  World world;
  world.broker->Set(
      [](Script& script) { script.send_failures.assign(10000, Busy()); });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(60)});
  const auto before = steady_clock::now();

  const auto result = producer.Send(Message("orders", "x"));

  CHECK(OmsCode(result.status()) == Code::kStorageBusy);
  CHECK(steady_clock::now() - before < std::chrono::seconds(5));
  CHECK(world.broker->counts().sends >= 2);
  CHECK(world.broker->counts().sends < 60);
}

TEST_CASE("OMS-PROD-010: stop ends the wait before the next attempt") {
  World world;
  world.broker->Set(
      [](Script& script) { script.send_failures.assign(10000, Busy()); });
  Producer producer =
      world.MakeProducer({.send_timeout = std::chrono::minutes(10)});
  absl::StatusOr<SendResult> result;
  std::thread sender([&] { result = producer.Send(Message("orders", "x")); });
  REQUIRE(world.broker->Await([](auto counts) { return counts.sends >= 8; }));

  CHECK(producer.Stop(Soon()) == 0);
  sender.join();

  CHECK(OmsCode(result.status()) == Code::kClosed);
  CHECK(OutcomeOf(result.status()) == Outcome::kNotStored);
}

TEST_CASE("OMS-PROD-011: what a queue cannot give is refused") {
  struct Case {
    Capability capability;
    Message message{"plain", "x"};
  };
  std::vector<Case> cases = {
      {Capability::kPriority},      {Capability::kExactlyOnce},
      {Capability::kDurable},       {Capability::kDurable},
      {Capability::kDeduplication}, {Capability::kExplicitPartition},
      {Capability::kDelay},         {Capability::kExpiry}};
  cases[0].message.SetPriority(9);
  cases[1].message.SetQos(Qos::kExactlyOnce);
  cases[2].message.SetDurability(Durability::kDisk);
  cases[3].message.SetDurability(Durability::kProcess);
  cases[4].message.SetDeduplicationId("once");
  cases[5].message.SetPartition(0);
  cases[6].message.SetDelay(milliseconds(1));
  ExpireAfter(cases[7].message, milliseconds(1000));

  for (Case& one : cases) {
    World world;
    world.broker->AddQueue("plain", AllBut({one.capability}));
    Producer producer = world.MakeProducer();

    const auto refused = producer.Send(one.message);

    CHECK(OmsCode(refused.status()) == Code::kUnsupported);
    CHECK(Text(refused.status()) ==
          internal::Concat("send to \"plain\": the queue does not support ",
                           Name(one.capability),
                           "; expected a message that does not ask for it, or "
                           "a lenient access point (OMS-PROD-011)"));
    CHECK(world.broker->counts().sends == 0);
    one.message.SetDestination("orders");
    CHECK(producer.Send(one.message).ok());
  }
}

TEST_CASE("OMS-PROD-011: fields that ask for nothing are never judged") {
  World world;
  world.broker->AddQueue("plain", Capabilities());
  Producer producer = world.MakeProducer();
  Message message("plain", "x");
  message.SetPriority(Message::kDefaultPriority)
      .SetQos(Qos::kAtMostOnce)
      .SetDurability(Durability::kVolatile)
      .SetDelay(milliseconds(0))
      .SetExpireAt(milliseconds(0))
      .SetPartition(-1)
      .SetMessageKey("key")
      .SetCorrelationId("42")
      .SetReplyTo("answers");

  CHECK(producer.Send(Message("plain", "x")).ok());
  CHECK(producer.Send(message).ok());
  // Out of range counts as the default.
  CHECK(producer.Send(Message("plain", "x").SetPriority(11)).ok());
}

TEST_CASE("OMS-PROD-012: a lenient access point leaves out and says so") {
  Attributes attributes;
  REQUIRE(attributes.Set("lenient", "on").ok());
  World world(attributes);
  world.broker->AddQueue("plain",
                         AllBut({Capability::kDelay, Capability::kPriority}));
  Producer producer = world.MakeProducer();
  Message message("plain", "x");
  message.SetDelay(milliseconds(5)).SetPriority(9).SetDeduplicationId("once");

  const auto result = producer.Send(message);

  REQUIRE(result.ok());
  CHECK(result->ignored.Contains(Capability::kDelay));
  CHECK(result->ignored.Contains(Capability::kPriority));
  CHECK_FALSE(result->ignored.Contains(Capability::kDeduplication));
  const Message got = world.broker->last_message();
  CHECK(got.delay() == milliseconds(0));
  CHECK(got.priority() == Message::kDefaultPriority);
  CHECK(got.deduplication_id() == "once");
  CHECK(got.body() == "x");
  CHECK(message.delay() == milliseconds(5));

  const std::vector<Message> batch = {Message("plain", "a"), message};
  const auto results = producer.Send(batch);
  REQUIRE(results[0].ok());
  REQUIRE(results[1].ok());
  CHECK(results[0]->ignored.empty());
  CHECK(results[1]->ignored == result->ignored);
}

TEST_CASE("OMS-PROD-013: values that mean nothing are refused") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().max_delay = milliseconds(1000);
  world.broker->AddQueue("hours", capabilities);
  Producer producer = world.MakeProducer();
  Message damaged("orders", "x");
  damaged.SetDelay(milliseconds(1));
  driver::MessageAccess::SetField(damaged, internal::Field::kDelay, "short");

  const std::vector<Message> wrong = {
      Message("orders", "x").SetDelay(milliseconds(-1)),
      Message("orders", "x").SetExpireAt(milliseconds(-1)),
      Message("orders", "x").SetPartition(-2),
      Message("orders", "x").SetQos(static_cast<Qos>(3)),
      Message("orders", "x").SetDurability(static_cast<Durability>(4)),
      Message("orders", "x").SetMessageKey("\xFF"),
      Message("hours", "x").SetDelay(milliseconds(1001)),
      damaged};

  for (const Message& message : wrong) {
    const auto result = producer.Send(message);
    CHECK(OmsCode(result.status()) == Code::kBadParameter);
  }
  CHECK(world.broker->counts().sends == 0);
  CHECK(producer.Send(Message("hours", "x").SetDelay(milliseconds(1000))).ok());
}

TEST_CASE("OMS-PROD-014: a producer starts with its first send") {
  World world;
  Producer producer = world.MakeProducer();
  CHECK(producer.state() == LifecycleState::kInitialized);
  CHECK(world.broker->counts().producers_opened == 0);

  CHECK(producer.Send(Message("orders", "x")).ok());

  CHECK(producer.state() == LifecycleState::kStarted);
  CHECK(producer.Start().ok());
  CHECK(world.broker->counts().producers_opened == 1);
}

TEST_CASE("OMS-PROD-014: without autostart a send before start is refused") {
  World world;
  Producer producer = world.MakeProducer({.autostart = false});

  const auto early = producer.Send(Message("orders", "x"));

  CHECK(OmsCode(early.status()) == Code::kIllegalState);
  CHECK(producer.state() == LifecycleState::kInitialized);
  REQUIRE(producer.Start().ok());
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-014: a start that failed can be tried again") {
  World world;
  world.broker->Set([](Script& script) {
    script.open_failures = {MakeStatus(Code::kUnavailable, "no broker"),
                            MakeStatus(Code::kUnavailable, "no broker")};
  });
  Producer producer = world.MakeProducer();

  CHECK(OmsCode(producer.Start()) == Code::kUnavailable);
  CHECK(producer.state() == LifecycleState::kInitialized);
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kUnavailable);
  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-014: threads that send first share one start") {
  World world;
  world.broker->Set([](Script& script) { script.stuck_open = true; });
  Producer producer = world.MakeProducer();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&] { CHECK(producer.Send(Message("orders", "x")).ok()); });
  }
  REQUIRE(world.broker->Await(
      [](auto counts) { return counts.producers_opened == 1; }));
  CHECK(producer.state() == LifecycleState::kStarting);

  world.broker->Set([](Script& script) { script.stuck_open = false; });
  for (std::thread& thread : threads) thread.join();

  CHECK(world.broker->counts().producers_opened == 1);
  CHECK(world.broker->bodies("orders").size() == 4);
}

TEST_CASE("OMS-PROD-014: a stop during a start is obeyed") {
  World world;
  world.broker->Set([](Script& script) { script.stuck_open = true; });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(10)});
  absl::Status started;
  std::thread starter([&] { started = producer.Start(); });
  REQUIRE(world.broker->Await(
      [](auto counts) { return counts.producers_opened == 1; }));
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kTimeout);

  CHECK(producer.Stop(steady_clock::now() + milliseconds(10)) == 1);
  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kClosed);
  world.broker->Set([](Script& script) { script.stuck_open = false; });
  CHECK(producer.Stop(Soon()) == 0);
  starter.join();

  CHECK(OmsCode(started) == Code::kClosed);
  CHECK(world.broker->counts().producers_closed == 1);
}

TEST_CASE("OMS-PROD-015: the driver learns when a message was born") {
  World world;
  Producer producer = world.MakeProducer();
  const auto now = [] {
    return std::chrono::duration_cast<milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  const int64_t before = now();

  REQUIRE(producer.Send(Message("orders", "x")).ok());

  const driver::CallContext context = world.broker->last_context();
  // The clock steps with the kernel's tick, 10 ms at most.
  CHECK(context.born_timestamp_ms >= before - 11);
  CHECK(context.born_timestamp_ms <= now());
  CHECK(context.caller_waits);
  CHECK(context.deadline > steady_clock::now());
  CHECK(context.deadline < steady_clock::now() + milliseconds(3100));
}

TEST_CASE("OMS-PROD-036: fields that only drivers set do not reach them") {
  using internal::Field;
  World world;
  Producer producer = world.MakeProducer();
  Message message("orders", "x");
  message.SetMessageKey("k");
  const int64_t born = 7;
  driver::MessageAccess::SetField(message, Field::kMessageId, "mine");
  driver::MessageAccess::SetField(message, Field::kBornTimestamp,
                                  internal::NumberBytes(born));
  driver::MessageAccess::SetField(message, Field::kTransactionId, "t");
  driver::MessageAccess::SetField(message, Field::kStoreHost, "h");
  driver::MessageAccess::SetField(message, Field::kOriginId, "origin");

  const auto result = producer.Send(message);

  REQUIRE(result.ok());
  const Message got = world.broker->last_message();
  CHECK(got.message_id().empty());
  CHECK(got.born_timestamp() == milliseconds(0));
  CHECK(got.transaction_id().empty());
  CHECK(got.store_host().empty());
  CHECK(got.message_key() == "k");
  CHECK(got.origin_id().ToString() == "origin");
  CHECK(message.message_id().ToString() == "mine");
}

TEST_CASE("OMS-PROD-017: a batch is sent again as a whole or not at all") {
  World world;
  Producer producer = world.MakeProducer();
  const std::vector<Message> batch = {Message("orders", "1"),
                                      Message("orders", "2")};

  world.broker->Set([](Script& script) {
    script.send_failures = {Busy(), Busy()};
  });
  for (const auto& result : producer.Send(batch)) CHECK(result.ok());
  CHECK(world.broker->counts().sends == 2);
  CHECK(world.broker->bodies("orders") == std::vector<std::string>{"1", "2"});

  world.broker->Set([](Script& script) { script.send_failures = {Busy()}; });
  const auto results = producer.Send(batch);
  CHECK(OmsCode(results[0].status()) == Code::kStorageBusy);
  CHECK(results[1].ok());
  CHECK(world.broker->counts().sends == 3);

  world.broker->Set([](Script& script) {
    script.send_failures = {Busy(), MakeStatus(Code::kForbidden, "no")};
  });
  CHECK(OmsCode(producer.Send(batch)[0].status()) == Code::kStorageBusy);
  CHECK(world.broker->counts().sends == 4);
}

TEST_CASE("OMS-PROD-017: a batch over the limit of its queue is split") {
  World world;
  Capabilities capabilities = AllBut({});
  capabilities.mutable_limits().max_batch_messages = 3;
  world.broker->AddQueue("threes", capabilities);
  Producer producer = world.MakeProducer();
  std::vector<Message> batch;
  for (int i = 0; i < 7; ++i) batch.emplace_back("threes", std::to_string(i));

  const auto results = producer.Send(batch);

  for (size_t i = 0; i < results.size(); ++i) {
    REQUIRE(results[i].ok());
    CHECK(results[i]->offset == static_cast<int64_t>(i));
  }
  CHECK(world.broker->batch_sizes() == std::vector<size_t>{3, 3, 1});
}

TEST_CASE("OMS-PROD-017: a batch that was answered in part says which part") {
  World world;
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(100)});
  std::vector<Message> batch;
  for (int i = 0; i < 4; ++i) batch.emplace_back("orders", std::to_string(i));
  std::vector<absl::StatusOr<SendResult>> results;
  std::thread sender([&] { results = producer.Send(batch); });
  while (world.broker->held() != 4) std::this_thread::yield();

  world.broker->AnswerHeld(2);
  sender.join();

  REQUIRE(results.size() == 4);
  CHECK(results[0].ok());
  CHECK(results[1].ok());
  CHECK(OmsCode(results[2].status()) == Code::kTimeout);
  CHECK(OmsCode(results[3].status()) == Code::kTimeout);
}

TEST_CASE("OMS-PROD-018: eight threads share one producer") {
  World world;
  Producer producer = world.MakeProducer();
  constexpr int kEach = 500;
  std::vector<std::thread> threads;
  std::vector<std::vector<std::string>> ids(8);
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto result =
            producer.Send(Message("orders", internal::Concat(t, '/', i)));
        if (result.ok()) ids[t].push_back(result->message_id.ToString());
      }
    });
  }

  for (std::thread& thread : threads) thread.join();

  std::set<std::string> distinct;
  for (const auto& list : ids) distinct.insert(list.begin(), list.end());
  CHECK(distinct.size() == 8 * kEach);
  const auto bodies = world.broker->bodies("orders");
  CHECK(std::set<std::string>(bodies.begin(), bodies.end()).size() ==
        8 * kEach);
}

TEST_CASE("OMS-PROD-019: the end of a producer stops it") {
  World world;
  for (int i = 0; i < 100; ++i) {
    Producer producer = world.MakeProducer();
    REQUIRE(producer.Send(Message("orders", "x")).ok());
  }

  CHECK(world.broker->counts().producers_opened == 100);
  CHECK(world.broker->counts().producers_closed == 100);
}

TEST_CASE("OMS-PROD-019: moving a producer stops the one it replaces") {
  World world;
  Producer first = world.MakeProducer();
  Producer second = world.MakeProducer();
  REQUIRE(first.Start().ok());
  REQUIRE(second.Start().ok());

  first = std::move(second);

  CHECK(world.broker->counts().producers_closed == 1);
  CHECK(first.Send(Message("orders", "x")).ok());
  Producer third(std::move(first));
  CHECK(third.Send(Message("orders", "x")).ok());
  CHECK(world.broker->counts().producers_closed == 1);
}

TEST_CASE("OMS-PROD-019: stopping a producer leaves its siblings working") {
  World world;
  Producer one = world.MakeProducer();
  Producer other = world.MakeProducer();
  REQUIRE(one.Send(Message("orders", "x")).ok());

  REQUIRE(one.Stop(Soon()) == 0);

  CHECK(other.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-PROD-020: a driver that fails with OK is not believed") {
  internal::SyncCallHandle<internal::SyncSend> call(1);

  (*call).Failed(0, absl::OkStatus());

  REQUIRE(call->Wait(internal::kNoWait));
  CHECK(OmsCode(call->result(0).status()) == Code::kBrokerError);
}

}  // namespace
}  // namespace openmessaging::producer_test
