// SPDX-License-Identifier: Apache-2.0
//
// The formatters for fmt.

#include "openmessaging/format.h"

#include <chrono>
#include <string>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::format_test {
namespace {

TEST_CASE("OMS-FMT-001: values print as the specification calls them") {
  CHECK(fmt::format("{}", Code::kTimeout) == "1410");
  CHECK(fmt::format("{}", Capability::kNackDelay) == "nack-delay");
  CHECK(fmt::format("{}", Support::kEmulated) == "emulated");
  CHECK(fmt::format("{}", LifecycleState::kStopping) == "stopping");
  CHECK(fmt::format("{}", Receipt(7, "\x01\xFE")) == "7.01fe");
  CHECK(fmt::format("[{:>9}]", Support::kNative) == "[   native]");

  KeyValue properties;
  REQUIRE(properties.Put("tries", int64_t{3}).ok());
  REQUIRE(properties.Put("who", "a\"b").ok());
  CHECK(fmt::format("{}", properties) == R"({"tries":3,"who":"a\"b"})");
  CHECK(fmt::format("{}", KeyValueView()) == "{}");
}

TEST_CASE("OMS-FMT-002: a message prints as one line without its body") {
  fake::World world;
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();
  Message message("orders", "secret");
  message.SetMessageKey("a\nb");

  CHECK(fmt::format("{}", message) ==
        R"(message to "orders": 6 bytes, key "a\x0ab")");
  CHECK(fmt::format("{}", Message()) == R"(message to "": 0 bytes)");
  const auto sent = producer.Send(message);
  REQUIRE(sent.ok());
  const auto received = consumer.Receive(std::chrono::seconds(10));
  REQUIRE(received.ok());
  REQUIRE(received->has_value());
  CHECK(fmt::format("{}", (*received)->message()) ==
        fmt::format("message to \"orders\": 6 bytes, key \"a\\x0ab\", id {}, "
                    "partition 0, offset 0, delivery 1",
                    sent->message_id));
}

TEST_CASE("OMS-FMT-003: no secret is printed") {
  const auto url = Url::Parse("oms:kafka://me@host:1/eu?color=red");
  REQUIRE(url.ok());
  Attributes attributes;
  REQUIRE(attributes.Set("account.key", "hush").ok());
  REQUIRE(attributes.Set("color", "red").ok());

  CHECK(fmt::format("{}", *url) == "oms:kafka://me@host:1/eu?color=red");
  CHECK(fmt::format("{}", attributes).find("hush") == std::string::npos);
  CHECK(fmt::format("{}", attributes).find("color=red") != std::string::npos);
}

}  // namespace
}  // namespace openmessaging::format_test
