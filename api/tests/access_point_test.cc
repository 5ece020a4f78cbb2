// SPDX-License-Identifier: Apache-2.0
//
// MessagingAccessPoint over the fake driver: connecting, attributes,
// capabilities, and who closes what when.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::access_point_test {
namespace {

using fake::AllBut;
using fake::Answer;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

Attributes Make(
    std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
  Attributes attributes;
  for (const auto& [name, value] : list) {
    REQUIRE(attributes.Set(name, value).ok());
  }
  return attributes;
}

TEST_CASE("OMS-MAP-001: connecting finds the driver and calls no broker") {
  World world;

  CHECK(world.bus->url().driver() == "fake");
  CHECK(world.bus->url().hosts().at(0).host == "host");
  CHECK(world.broker->counts().connects == 1);
  CHECK(world.broker->counts().producers_opened == 0);
  CHECK(world.broker->counts().capability_calls == 0);
}

TEST_CASE("OMS-MAP-016: what is not a URL or has no driver is refused") {
  World world;

  const auto bad =
      MessagingAccessPoint::Connect("fake://host", {}, &world.registry);
  const auto unknown =
      MessagingAccessPoint::Connect("oms:nosuch://host", {}, &world.registry);
  driver::Registry none;
  const auto empty =
      MessagingAccessPoint::Connect("oms:fake://host", {}, &none);

  CHECK(OmsCode(bad.status()) == Code::kIllegalUrl);
  CHECK(OmsCode(unknown.status()) == Code::kCannotConstruct);
  CHECK(Text(unknown.status()) ==
        "connect \"oms:nosuch\": no such driver is linked; there are: fake");
  CHECK(OmsCode(empty.status()) == Code::kCannotConstruct);
  CHECK(OmsCode(MessagingAccessPoint::Connect("oms:nosuch://host").status()) ==
        Code::kCannotConstruct);
}

TEST_CASE("OMS-MAP-002: a driver of another specification is refused") {
  const auto connect = [](std::string specification) {
    driver::Registry registry;
    REQUIRE(registry
                .Register(std::make_shared<fake::Driver>(
                    std::make_shared<fake::Broker>(), std::move(specification)))
                .ok());
    return MessagingAccessPoint::Connect("oms:fake://host", {}, &registry)
        .status();
  };

  CHECK(connect("1.0.0").ok());
  CHECK(connect("1.7.3").ok());
  CHECK(OmsCode(connect("2.0.0")) == Code::kIncompatibleVersion);
  CHECK(OmsCode(connect("0.9.0")) == Code::kIncompatibleVersion);
  for (const char* malformed :
       {"", "1", "1.0", "1.0.0.0", "one.0.0", "1..0", "-1.0.0", "1.0.0-a"}) {
    CHECK(OmsCode(connect(malformed)) == Code::kIllegalVersion);
  }
}

TEST_CASE("OMS-MAP-003: attributes of the call override those of the URL") {
  World world;

  const auto bus = MessagingAccessPoint::Connect(
      "oms:fake://host?color=red&operation.timeout=1s",
      Make({{"color", "blue"}, {"lenient", "off"}}), &world.registry);

  REQUIRE(bus.ok());
  CHECK(bus->attributes().Find("color") == "blue");
  CHECK(bus->attributes().Find("operation.timeout") == "1s");
  // The portable ones are not the driver's business.
  CHECK(world.broker->last_attributes() == Make({{"color", "blue"}}));
}

TEST_CASE("OMS-MAP-003: bad attributes are refused") {
  World world;
  const auto connect = [&](std::string_view name, std::string_view value) {
    return OmsCode(MessagingAccessPoint::Connect("oms:fake://host",
                                                 Make({{name, value}}),
                                                 &world.registry)
                       .status());
  };

  CHECK(connect("operation.timeout", "soon") == Code::kBadParameter);
  CHECK(connect("operation.timeout", "0ms") == Code::kBadParameter);
  CHECK(connect("lenient", "maybe") == Code::kBadParameter);
  CHECK(connect("colour", "red") == Code::kBadParameter);
  CHECK(connect("color", "red") == Code::kOk);
}

TEST_CASE(
    "OMS-MAP-013: a client is as the attributes say unless its options do") {
  World world(Make({{"producer.max-body", "10B"},
                    {"producer.max-in-flight-messages", "1"},
                    {"consumer.lease", "7s"}}));
  Producer producer = world.MakeProducer();
  Producer larger = world.MakeProducer({.max_body_bytes = 11});

  const std::string eleven(11, 'x');
  CHECK(OmsCode(producer.Send(Message("orders", eleven)).status()) ==
        Code::kBodyTooLarge);
  CHECK(larger.Send(Message("orders", eleven)).ok());

  PullConsumer consumer = world.MakeConsumer();
  CHECK(world.broker->last_options().lease == milliseconds(7000));
  PullConsumer quick = world.MakeConsumer({.lease = milliseconds(50)});
  CHECK(world.broker->last_options().lease == milliseconds(50));
}

TEST_CASE(
    "OMS-MAP-013: a client without a timeout has that of the access point") {
  World world(Make({{"operation.timeout", "20s"}}));
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(3200);
  });
  Producer producer = world.MakeProducer();

  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-MAP-013: attributes of clients are checked at once") {
  World world;
  const auto connect = [&](std::string_view name, std::string_view value) {
    const auto bus = MessagingAccessPoint::Connect(
        "oms:fake://host", Make({{name, value}}), &world.registry);
    return std::string(Text(bus.status()));
  };

  for (const auto& attribute :
       {std::pair("producer.send-timeout", "soon"),
        std::pair("producer.max-body", "65MiB"),
        std::pair("producer.max-in-flight-messages", "-1"),
        std::pair("producer.max-in-flight-bytes", "0"),
        std::pair("consumer.lease", "0ms"),
        std::pair("consumer.concurrency", "1025"),
        std::pair("consumer.prefetch-messages", "many"),
        std::pair("consumer.prefetch-bytes", "0B"),
        std::pair("consumer.max-batch-messages", "0")}) {
    const std::string name = attribute.first;
    CAPTURE(name);
    CHECK(connect(name, attribute.second).find(name) != std::string::npos);
  }
  CHECK(connect("producer.send-timout", "1s") ==
        "check attribute \"producer.send-timout\": unknown; did you mean "
        "\"producer.send-timeout\" (OMS-ATTR-004)");
  CHECK(connect("consumer.concurrency", "1025") ==
        "connect: consumer.concurrency is 1025; expected 1 to 1024 "
        "(OMS-MAP-009)");
}

TEST_CASE("OMS-MAP-004: version and attributes are there and hide secrets") {
  World world;

  const auto bus = MessagingAccessPoint::Connect(
      "oms:fake://me@host", Make({{"account.key", "hunter2"}}),
      &world.registry);

  REQUIRE(bus.ok());
  CHECK(bus->version() == kSpecificationVersion);
  CHECK(bus->attributes().ToString().find("hunter2") == std::string::npos);
  CHECK(bus->url().ToString().find("hunter2") == std::string::npos);
  CHECK(world.broker->last_attributes().Find("account.key") == "hunter2");
}

TEST_CASE("OMS-MAP-005: capabilities are asked once and do not change") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kDelay}));

  const auto first = world.bus->capabilities("plain");
  world.broker->AddQueue("plain", AllBut({}));
  const auto second = world.bus->capabilities("plain");
  const auto orders = world.bus->capabilities("orders");

  REQUIRE(first.ok());
  REQUIRE(second.ok());
  REQUIRE(orders.ok());
  CHECK_FALSE(first->Has(Capability::kDelay));
  CHECK_FALSE(second->Has(Capability::kDelay));
  CHECK(orders->Of(Capability::kDelay) == Support::kNative);
  CHECK(world.broker->counts().capability_calls == 2);
  // Another connection asks anew.
  const auto other =
      MessagingAccessPoint::Connect("oms:fake://host", {}, &world.registry);
  CHECK(other->capabilities("plain")->Has(Capability::kDelay));
}

TEST_CASE("OMS-MAP-005: an answer that failed is asked for again") {
  World world;
  world.broker->Set([](Script& script) {
    script.capability_failures = {MakeStatus(Code::kUnavailable, "no broker")};
  });

  CHECK(OmsCode(world.bus->capabilities("orders").status()) ==
        Code::kUnavailable);
  CHECK(world.bus->capabilities("orders").ok());
  CHECK(OmsCode(world.bus->capabilities("a b").status()) ==
        Code::kBadParameter);
}

TEST_CASE("OMS-MAP-005: names without end cost no memory without end") {
  World world;
  Producer producer = world.MakeProducer();

  for (int i = 0; i < kMaxQueues + 10; ++i) {
    REQUIRE(world.bus->capabilities(internal::Concat("q", i)).ok());
  }

  // Those that came late are still answered and judged rightly.
  Capabilities small = AllBut({});
  small.mutable_limits().max_body_bytes = 1;
  world.broker->AddQueue("late", small);
  world.broker->AddQueue("later");
  CHECK(producer.Send(Message("late", "x")).ok());
  CHECK(producer.Send(Message("later", "xx")).ok());
  CHECK(OmsCode(producer.Send(Message("late", "xx")).status()) ==
        Code::kBodyTooLarge);
  const size_t calls = world.broker->counts().capability_calls;
  CHECK(world.bus->capabilities("q0").ok());
  CHECK(world.broker->counts().capability_calls == calls);
}

TEST_CASE("OMS-MAP-005: threads that ask at once get one answer") {
  World world;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const auto answer =
            world.bus->capabilities(internal::Concat("q", i % 50));
        CHECK(answer.ok());
      }
    });
  }

  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("OMS-MAP-006: native interfaces are found by name only") {
  World world;

  auto* const native = world.bus->native<fake::Native>();

  REQUIRE(native != nullptr);
  CHECK(native->answer == 42);
  CHECK(world.bus->native<fake::Unknown>() == nullptr);
}

TEST_CASE("OMS-MAP-007: the connection ends with the last that uses it") {
  World world;
  std::optional<Producer> producer(world.MakeProducer());
  std::optional<PullConsumer> consumer(world.MakeConsumer());
  REQUIRE(producer->Send(Message("orders", "x")).ok());
  std::optional<ResourceManager> manager(world.bus->resource_manager());

  world.bus.reset();
  CHECK(producer->Send(Message("orders", "y")).ok());
  producer.reset();
  CHECK(consumer->Receive(std::chrono::seconds(10)).ok());
  consumer.reset();
  CHECK(world.broker->counts().connections_closed == 0);
  CHECK(manager->ListQueues().ok());
  manager.reset();

  CHECK(world.broker->counts().connections_closed == 1);
}

TEST_CASE("OMS-MAP-007: copies share one connection and others do not") {
  World world;
  const MessagingAccessPoint copy(*world.bus);
  // On the heap: GCC 12 takes an optional for uninitialised here.
  auto other = std::make_unique<MessagingAccessPoint>(
      *MessagingAccessPoint::Connect("oms:fake://host", {}, &world.registry));
  auto producer = other->CreateProducer();
  REQUIRE(producer.ok());
  REQUIRE(producer->Start().ok());

  world.bus.reset();
  CHECK(world.broker->counts().connections_closed == 0);
  CHECK(copy.capabilities("orders").ok());
  *producer = *copy.CreateProducer();
  other.reset();

  CHECK(world.broker->counts().connections_closed == 1);
  CHECK(producer->Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-MAP-008: operation.timeout bounds every call") {
  World world(Make({{"operation.timeout", "40ms"}}));
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kHeld;
    script.settle_answer = Answer::kHeld;
  });
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();
  const auto before = steady_clock::now();

  CHECK(OmsCode(producer.Send(Message("orders", "x")).status()) ==
        Code::kTimeout);
  CHECK(steady_clock::now() - before >= milliseconds(40));
  CHECK(steady_clock::now() - before < milliseconds(2900));
  const auto delivery = consumer.Receive(std::chrono::seconds(10));
  REQUIRE(delivery->has_value());
  const auto between = steady_clock::now();
  CHECK(OmsCode((*delivery)->Ack()) == Code::kTimeout);
  CHECK(steady_clock::now() - between < milliseconds(2900));
}

TEST_CASE("OMS-MAP-008: without it a client's own timeout stands") {
  World world;
  world.broker->Set([](Script& script) {
    script.send_answer = Answer::kLater;
    script.answer_delay = milliseconds(3200);
  });
  Producer producer = world.MakeProducer({.send_timeout = milliseconds(20000)});

  CHECK(producer.Send(Message("orders", "x")).ok());
}

TEST_CASE("OMS-MAP-009: options that mean nothing are refused") {
  World world;
  const auto producer = [&](const ProducerOptions& options) {
    return OmsCode(world.bus->CreateProducer(options).status());
  };
  const auto consumer = [&](const PullConsumerOptions& options) {
    return OmsCode(world.bus->CreatePullConsumer(options).status());
  };

  CHECK(producer({.send_timeout = milliseconds(-1)}) == Code::kBadParameter);
  CHECK(producer({.max_body_bytes = kMaxBodyBytes + 1}) == Code::kBadParameter);
  CHECK(producer({.group = "a b"}) == Code::kBadParameter);
  CHECK(producer({.max_body_bytes = kMaxBodyBytes, .group = "a"}) == Code::kOk);
  CHECK(consumer({.group = ""}) == Code::kBadParameter);
  CHECK(consumer({.group = "oms.mine"}) == Code::kBadParameter);
  CHECK(consumer({.lease = milliseconds(0)}) == Code::kBadParameter);
  CHECK(consumer({.operation_timeout = milliseconds(0)}) ==
        Code::kBadParameter);
  CHECK(Text(world.bus->CreatePullConsumer({.lease = milliseconds(-5)})
                 .status()) ==
        "create pull consumer: lease is -5 ms; expected 1 or more "
        "(OMS-MAP-009)");
}

}  // namespace
}  // namespace openmessaging::access_point_test
