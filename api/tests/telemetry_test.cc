// SPDX-License-Identifier: Apache-2.0
//
// What clients tell their access point's sinks, over the fake driver: counters
// that equal what was done, and spans that hang together.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/messaging_access_point.h"
#include "openmessaging/telemetry.h"

namespace openmessaging::telemetry_test {
namespace {

using fake::Answer;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;

constexpr milliseconds kLong = std::chrono::seconds(10);

// Adds up, by `<name> <operation> <destination> <group> <error>`.
class Sums final : public MetricSink {
 public:
  void Add(std::string_view counter, uint64_t count,
           const TelemetryAttributes& attributes) override {
    CHECK(attributes.system == "fake");
    const std::lock_guard lock(mutex_);
    sums_[Key(counter, attributes)] += count;
  }
  void Record(std::string_view histogram, double seconds,
              const TelemetryAttributes& attributes) override {
    CHECK(seconds >= 0);
    CHECK(seconds < 60);
    const std::lock_guard lock(mutex_);
    ++sums_[Key(histogram, attributes)];
  }
  std::map<std::string, uint64_t> sums() const {
    const std::lock_guard lock(mutex_);
    return sums_;
  }

 private:
  static std::string Key(std::string_view name,
                         const TelemetryAttributes& attributes) {
    std::string key(name.substr(name.find('.') + 1));
    attributes.ForEach([&](std::string_view what, std::string_view value) {
      if (what == "messaging.system" || what == "messaging.operation.type") {
        return;
      }
      key += ' ';
      key += value;
    });
    return key;
  }

  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> sums_;
};

// A span with its own texts.
struct Kept {
  Span span;
  std::vector<TraceContext> links;
  std::string name;
};

class Spans final : public SpanSink {
 public:
  void End(const Span& span) override {
    const std::lock_guard lock(mutex_);
    spans_.push_back({span,
                      {span.links.begin(), span.links.end()},
                      std::string(span.attributes.operation_name)});
  }
  // Returns: those of one operation.
  std::vector<Kept> Of(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    std::vector<Kept> found;
    for (const Kept& one : spans_) {
      if (one.name == name) found.push_back(one);
    }
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Kept> spans_;
};

using Counts = std::map<std::string, uint64_t>;

TEST_CASE("OMS-TEL-002: sent and failed equal the outcomes of sends") {
  World world;
  const auto sums = std::make_shared<Sums>();
  world.bus->SetTelemetry({.metrics = sums});
  Producer producer = world.MakeProducer();
  const std::vector<Message> batch = {Message("orders", "a"),
                                      Message("nowhere", "b"),
                                      Message("orders", "c")};
  world.broker->Set(
      [](Script& script) { script.send_failures = {fake::Busy()}; });

  // The first is sent again: one message, one outcome.
  CHECK(producer.Send(Message("orders", "x")).ok());
  (void)producer.Send(batch);
  (void)producer.SendAsync(batch);
  world.broker->Set(
      [](Script& script) { script.send_answer = Answer::kLater; });
  (void)producer.SendAsync(Message("orders", "x"));
  CHECK(producer.SendOneway(Message("orders", "x")).ok());
  CHECK_FALSE(producer.SendOneway(Message("", "x")).ok());
  producer.Stop(Soon());
  CHECK_FALSE(producer.Send(Message("orders", "x")).ok());

  CHECK(sums->sums() ==
        Counts{{"client.sent.messages orders send", 7},
               {"client.sent.messages nowhere send 1404", 2},
               {"client.sent.messages send 1418", 1},
               {"client.sent.messages orders send 1601", 1},
               {"client.operation.duration orders send", 7},
               {"client.operation.duration nowhere send 1404", 2},
               {"client.operation.duration send 1418", 1},
               {"client.operation.duration orders send 1601", 1}});
}

// Refuses every message "bad".
class NoBad final : public ConsumerInterceptor {
 public:
  absl::Status BeforeReceive(Message& message) override {
    return message.body() == "bad"
               ? MakeStatus(Code::kDamaged, "receive: it is bad")
               : absl::OkStatus();
  }
};

TEST_CASE("OMS-TEL-003: consumed and settled equal what was done") {
  World world;
  Producer producer = world.MakeProducer();
  for (const char* body : {"a", "bad", "c", "d"}) {
    REQUIRE(producer.Send(Message("orders", body)).ok());
  }
  const auto sums = std::make_shared<Sums>();
  world.bus->SetTelemetry({.metrics = sums});
  PullConsumer consumer = world.MakeConsumer({.group = "billing"});
  REQUIRE(consumer.AddInterceptor(std::make_shared<NoBad>()).ok());

  const auto batch = consumer.ReceiveBatch(3, kLong);
  REQUIRE(batch.ok());
  REQUIRE(batch->size() == 2);
  CHECK(consumer.Ack(*batch)[0].ok());
  CHECK_FALSE(consumer.Ack(Receipt()).ok());
  CHECK((*batch)[0].NackAsync().Ready());
  consumer.Stop(Soon());
  CHECK_FALSE(consumer.Receive(kLong).ok());  // What "bad" left behind.
  CHECK_FALSE(consumer.Receive(kLong).ok());

  Counts found = sums->sums();
  CHECK(found["client.consumed.messages orders billing receive"] == 2);
  CHECK(found["client.consumed.messages orders billing receive 1609"] == 1);
  CHECK(found["client.operation.duration orders billing receive"] == 1);
  CHECK(found["client.operation.duration billing receive 1601"] == 1);
  CHECK(found["client.settled.messages orders billing ack"] == 2);
  CHECK(found["client.settled.messages billing ack 1603"] == 1);
  // That of the interceptor, and one for a message that is acked already.
  uint64_t nacks = 0;
  for (const auto& [key, count] : found) {
    if (key.starts_with("client.settled.messages orders billing nack")) {
      nacks += count;
    }
  }
  CHECK(nacks == 2);
}

TEST_CASE("OMS-TEL-003: an empty receive is no operation") {
  World world;
  const auto sums = std::make_shared<Sums>();
  world.bus->SetTelemetry({.metrics = sums});
  PullConsumer consumer = world.MakeConsumer();

  CHECK(consumer.Receive(milliseconds(0)).ok());

  CHECK(sums->sums().empty());
}

TEST_CASE("OMS-TEL-004: listeners and their verdicts are counted") {
  World world;
  const auto sums = std::make_shared<Sums>();
  world.bus->SetTelemetry({.metrics = sums});
  PushConsumer consumer = world.MakePushConsumer({.group = "billing"});
  std::atomic<int> calls{0};
  REQUIRE(consumer
              .Bind("orders",
                    [&](const Message&) {
                      const int call = ++calls;
                      if (call == 1) return Nack();
                      if (call == 2) throw std::runtime_error("no");
                      return Ack();
                    })
              .ok());
  REQUIRE(consumer.Start().ok());
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());
  CHECK(world.broker->AwaitSettled("orders"));
  consumer.Stop(Soon());

  Counts found = sums->sums();
  CHECK(found["client.consumed.messages orders billing process"] == 3);
  CHECK(found["process.duration orders billing process"] == 1);
  CHECK(found["process.duration orders billing process nack"] == 2);
  CHECK(found["client.settled.messages orders billing nack"] == 2);
  CHECK(found["client.settled.messages orders billing ack"] == 1);
}

TEST_CASE("OMS-TEL-005: a stream counts what was read") {
  World world;
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());
  const auto sums = std::make_shared<Sums>();
  world.bus->SetTelemetry({.metrics = sums});
  auto reader = world.bus->CreateStreamReader("orders", 0);
  REQUIRE(reader.ok());

  CHECK(reader->Read(5, kLong)->size() == 1);

  CHECK(sums->sums() ==
        Counts{{"client.consumed.messages orders receive", 1},
               {"client.operation.duration orders receive", 1}});
}

TEST_CASE("OMS-TEL-006: spans go from sender to receiver and on") {
  World world;
  world.broker->AddQueue("bills");
  const auto spans = std::make_shared<Spans>();
  world.bus->SetTelemetry({.spans = spans});
  const TraceContext root = TraceContext::Parse(
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1");
  Producer producer = world.MakeProducer();
  PushConsumer consumer = world.MakePushConsumer();
  REQUIRE(consumer
              .Bind("orders",
                    [&](const Message&) {
                      CHECK(producer.Send(Message("bills", "y")).ok());
                      return Ack();
                    })
              .ok());
  {
    const TraceScope scope(root);
    REQUIRE(producer.Send(Message("orders", "x")).ok());
  }
  REQUIRE(consumer.Start().ok());
  CHECK(world.broker->AwaitSettled("orders"));
  consumer.Stop(Soon());

  const auto sends = spans->Of("send");
  const auto processes = spans->Of("process");
  const auto acks = spans->Of("ack");
  REQUIRE(sends.size() == 2);
  REQUIRE(processes.size() == 1);
  REQUIRE(acks.size() == 1);
  const Span& send = sends[0].span;
  const Span& process = processes[0].span;
  CHECK(send.kind == SpanKind::kProducer);
  CHECK(send.parent == root.span_id());
  CHECK(send.context.trace_id() == root.trace_id());
  CHECK(send.context.span_id() != root.span_id());
  CHECK(send.context.tracestate() == "a=1");
  CHECK(send.message_id != MessageId());
  CHECK(send.end >= send.start);
  CHECK(process.kind == SpanKind::kConsumer);
  CHECK(process.parent == send.context.span_id());
  CHECK(process.context.trace_id() == root.trace_id());
  CHECK(processes[0].links == std::vector<TraceContext>{send.context});
  CHECK(sends[1].span.parent == process.context.span_id());
  CHECK(sends[1].span.context.trace_id() == root.trace_id());
  CHECK(acks[0].span.kind == SpanKind::kClient);
  CHECK(acks[0].links == std::vector<TraceContext>{send.context});
}

TEST_CASE("OMS-TEL-006: a batch is linked to the sends of its messages") {
  World world;
  const auto spans = std::make_shared<Spans>();
  world.bus->SetTelemetry({.spans = spans});
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();
  const std::vector<Message> messages(2, Message("orders", "x"));
  (void)producer.Send(messages);

  const auto batch = consumer.ReceiveBatch(2, kLong);
  REQUIRE(batch.ok());
  CHECK((*batch)[1].Ack().ok());

  const auto sends = spans->Of("send");
  const auto receives = spans->Of("receive");
  REQUIRE(sends.size() == 2);
  REQUIRE(receives.size() == 1);
  // Without a current span, each send begins a trace.
  CHECK(sends[0].span.context.trace_id() != sends[1].span.context.trace_id());
  CHECK(sends[0].span.parent == TraceContext::SpanId());
  CHECK(receives[0].links ==
        std::vector<TraceContext>{sends[0].span.context,
                                  sends[1].span.context});
  CHECK(receives[0].span.message_count == 2);
  CHECK(spans->Of("ack")[0].links ==
        std::vector<TraceContext>{sends[1].span.context});
}

TEST_CASE("OMS-TEL-006: what was made under another span is linked to it") {
  World world;
  const auto spans = std::make_shared<Spans>();
  world.bus->SetTelemetry({.spans = spans});
  Producer producer = world.MakeProducer();
  Message made("orders", "x");
  const TraceContext maker = TraceContext::Parse(
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  SetTraceContext(made, maker);

  REQUIRE(producer.Send(made).ok());

  CHECK(TraceContextOf(world.broker->last_message()) == maker);
  CHECK(spans->Of("send")[0].links == std::vector<TraceContext>{maker});
}

// A sink with a bug.
class Thrower final : public MetricSink, public SpanSink {
 public:
  void Add(std::string_view, uint64_t, const TelemetryAttributes&) override {
    throw std::runtime_error("no");
  }
  void Record(std::string_view, double, const TelemetryAttributes&) override {
    throw std::runtime_error("no");
  }
  void End(const Span&) override { throw std::runtime_error("no"); }
  TraceContext Current() const override { throw std::runtime_error("no"); }
};

TEST_CASE("OMS-TEL-007: a sink that throws harms nothing") {
  World world;
  const auto thrower = std::make_shared<Thrower>();
  world.bus->SetTelemetry({.metrics = thrower, .spans = thrower});
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();

  CHECK(producer.Send(Message("orders", "x")).ok());
  const auto received = consumer.Receive(kLong);
  REQUIRE(received.ok());
  CHECK((*received)->Ack().ok());
}

TEST_CASE("OMS-TEL-001: clients keep the sinks of the time they were made") {
  World world;
  const auto first = std::make_shared<Sums>();
  const auto second = std::make_shared<Sums>();
  Producer before = world.MakeProducer();
  world.bus->SetTelemetry({.metrics = first});
  Producer between = world.MakeProducer();
  world.bus->SetTelemetry({.metrics = second});
  Producer after = world.MakeProducer();
  world.bus->SetTelemetry({});

  CHECK(before.Send(Message("orders", "x")).ok());
  CHECK(between.Send(Message("orders", "x")).ok());
  CHECK(after.Send(Message("orders", "x")).ok());

  CHECK(first->sums().at("client.sent.messages orders send") == 1);
  CHECK(second->sums().at("client.sent.messages orders send") == 1);
}

}  // namespace
}  // namespace openmessaging::telemetry_test
