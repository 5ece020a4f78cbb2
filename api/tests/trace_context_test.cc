// SPDX-License-Identifier: Apache-2.0
//
// Trace contexts: what is read as one, and how they travel with messages, over
// the fake driver.

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"
#include "openmessaging/trace_context.h"

namespace openmessaging::trace_context_test {
namespace {

using fake::World;

constexpr std::chrono::milliseconds kLong = std::chrono::seconds(10);
constexpr std::string_view kParent =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST_CASE("OMS-TRC-001: a context prints as it was read") {
  const TraceContext context = TraceContext::Parse(kParent, "a=1,b@c=2");

  REQUIRE(context.valid());
  CHECK(context.traceparent() == kParent);
  CHECK(context.trace_id()[0] == 0x4b);
  CHECK(context.span_id()[7] == 0xb7);
  CHECK(context.sampled());
  CHECK(context.tracestate() == "a=1,b@c=2");
  CHECK(TraceContext().traceparent().empty());
}

TEST_CASE("OMS-TRC-001: what is not of the form is no context") {
  std::string text(kParent);
  const auto with = [&](size_t at, char c) {
    std::string changed = text;
    changed[at] = c;
    return changed;
  };
  const std::vector<std::string> bad = {
      "",
      "garbage",
      text.substr(0, 54),
      text + "-",   // Version 00 ends here.
      text + "0",
      with(0, 'f').replace(1, 1, "f"),  // ff is no version.
      with(2, '_'),
      with(35, '0'),
      with(52, ' '),
      with(3, 'A'),  // Capitals are no digits.
      with(54, 'g'),
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
      std::string("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x"),
      std::string(55, '\0'),
  };
  for (const std::string& one : bad) {
    CAPTURE(one);
    CHECK_FALSE(TraceContext::Parse(one, "a=1").valid());
    CHECK(TraceContext::Parse(one, "a=1").tracestate().empty());
  }
}

TEST_CASE("OMS-TRC-001: a later version is read as far as it is known") {
  const auto context = TraceContext::Parse(
      "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more");

  CHECK(context.valid());
  CHECK(context.flags() == 3);
}

TEST_CASE("OMS-TRC-002: a bad state is left out, the context stays") {
  const auto state = [](std::string_view text) {
    return TraceContext::Parse(kParent, text).tracestate();
  };
  std::string many = "k0=v";
  for (int i = 1; i < 32; ++i) many += ",k" + std::to_string(i) + "=v";

  for (const std::string& good :
       {std::string("a=1"), std::string("a=1, b=2,,c=x y"), many,
        std::string("1tenant@system=!~")}) {
    CAPTURE(good);
    CHECK(state(good) == good);
  }
  for (const std::string& bad :
       {std::string("a"), std::string("=1"), std::string("a="),
        std::string("A=1"), std::string("a=1,b"), std::string("a=\x7f"),
        std::string("a=\xc3\xa4"), std::string("-a=1"), many + ",x=1",
        std::string("a=") + std::string(257, 'x')}) {
    CAPTURE(bad);
    CHECK(state(bad).empty());
  }
  CHECK(TraceContext::Parse(kParent, "a").valid());
}

TEST_CASE("OMS-TRC-004: scopes nest, one stack for each thread") {
  CHECK(TraceScope::Current() == nullptr);
  const TraceContext outer = TraceContext::Parse(kParent);
  {
    const TraceScope scope(outer);
    {
      const TraceScope inner((TraceContext()));
      CHECK_FALSE(TraceScope::Current()->valid());
    }
    CHECK(*TraceScope::Current() == outer);
    std::thread([] { CHECK(TraceScope::Current() == nullptr); }).join();
  }
  CHECK(TraceScope::Current() == nullptr);
}

TEST_CASE("OMS-TRC-003: the thread's context travels with what it sends") {
  World world;
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();
  const Message message("orders", "x");
  const TraceContext context = TraceContext::Parse(kParent, "a=1");
  {
    const TraceScope scope(context);
    SUBCASE("a send") { CHECK(producer.Send(message).ok()); }
    SUBCASE("a batch") {
      CHECK(producer.Send(std::span(&message, 1))[0].ok());
    }
    SUBCASE("a future") { CHECK(producer.SendAsync(message).Await().ok()); }
    SUBCASE("a batch of futures") {
      CHECK(producer.SendAsync(std::span(&message, 1))[0].Await().ok());
    }
    SUBCASE("nobody's") { CHECK(producer.SendOneway(message).ok()); }
  }

  const auto received = consumer.Receive(kLong);

  REQUIRE(received.ok());
  CHECK(TraceContextOf(**received.value()) == context);
  CHECK(message.traceparent().empty());
  CHECK(producer.Send(message).ok());
  const auto after = consumer.Receive(kLong);
  REQUIRE(after.ok());
  CHECK_FALSE(TraceContextOf(**after.value()).valid());
}

TEST_CASE("OMS-TRC-003: a message keeps the context that it has") {
  World world;
  Producer producer = world.MakeProducer();
  const TraceScope scope(TraceContext::Parse(
      "00-11111111111111111111111111111111-2222222222222222-00"));
  Message made("orders", "x");
  SetTraceContext(made, TraceContext::Parse(kParent, "a=1"));

  REQUIRE(producer.Send(made).ok());
  CHECK(world.broker->last_message().traceparent() == kParent);
  CHECK(world.broker->last_message().tracestate() == "a=1");

  // One that is not of the form is none, and neither is its state.
  made.SetTraceparent("garbage");
  REQUIRE(producer.Send(made).ok());
  CHECK(world.broker->last_message().traceparent() ==
        "00-11111111111111111111111111111111-2222222222222222-00");
  CHECK(world.broker->last_message().tracestate().empty());
}

}  // namespace
}  // namespace openmessaging::trace_context_test
