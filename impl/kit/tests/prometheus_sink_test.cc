// SPDX-License-Identifier: Apache-2.0
//
// PrometheusSink: the text that it makes of what clients of the memory store
// tell.

#include "openmessaging/kit/prometheus_sink.h"

#include <prometheus/registry.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::prometheus_sink_test {
namespace {

using kit::PrometheusSink;

// Returns: the value of that line; "" where there is none.
std::string ValueOf(const std::string& text, const std::string& series) {
  const size_t at = text.find("\n" + series + " ");
  if (at == std::string::npos) return {};
  const size_t begin = at + series.size() + 2;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST_CASE("OMS-TEL-009: a scrape shows what clients did") {
  auto bus = MessagingAccessPoint::Connect("oms:memory://prometheus");
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
  const auto registry = std::make_shared<prometheus::Registry>();
  const auto sink = std::make_shared<PrometheusSink>(registry);
  bus->SetTelemetry({.metrics = sink});
  auto producer = bus->CreateProducer();
  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  REQUIRE(producer.ok());
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("orders").ok());

  for (int i = 0; i < 3; ++i) {
    REQUIRE(producer->Send(Message("orders", "x")).ok());
  }
  CHECK_FALSE(producer->Send(Message("nowhere", "x")).ok());
  const auto batch = consumer->ReceiveBatch(3, std::chrono::seconds(10));
  REQUIRE(batch.ok());
  CHECK((*batch)[0].Ack().ok());

  const std::string text = "\n" + sink->Text();
  const std::string send =
      R"({messaging_destination_name="orders",messaging_operation_name="send",)"
      R"(messaging_operation_type="send",messaging_system="memory"})";
  CHECK(ValueOf(text, "messaging_client_sent_messages_total" + send) == "3");
  CHECK(ValueOf(text, "messaging_client_operation_duration_seconds_count" +
                          send) == "3");
  CHECK(ValueOf(
            text,
            R"(messaging_client_sent_messages_total{error_type="1404",)"
            R"(messaging_destination_name="nowhere",)"
            R"(messaging_operation_name="send",)"
            R"(messaging_operation_type="send",messaging_system="memory"})") ==
        "1");
  CHECK(ValueOf(
            text,
            R"(messaging_client_consumed_messages_total{)"
            R"(messaging_consumer_group_name="billing",)"
            R"(messaging_destination_name="orders",)"
            R"(messaging_operation_name="receive",)"
            R"(messaging_operation_type="receive",messaging_system="memory"})") ==
        std::to_string(batch->size()));
  CHECK(ValueOf(
            text,
            R"(openmessaging_client_settled_messages_total{)"
            R"(messaging_consumer_group_name="billing",)"
            R"(messaging_destination_name="orders",)"
            R"(messaging_operation_name="ack",)"
            R"(messaging_operation_type="settle",messaging_system="memory"})") ==
        "1");
  CHECK(text.find("# TYPE messaging_client_operation_duration_seconds "
                  "histogram") != std::string::npos);
  CHECK(registry->Collect().size() >= 4);
}

TEST_CASE("OMS-TEL-009: queues for answers are one series") {
  auto bus = MessagingAccessPoint::Connect("oms:memory://prometheus-reply");
  REQUIRE(bus.ok());
  const auto sink = std::make_shared<PrometheusSink>();
  bus->SetTelemetry({.metrics = sink});
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  for (int n = 0; n < 3; ++n) {
    const std::string queue = "oms-reply.host.1." + std::to_string(n);
    REQUIRE(bus->resource_manager().CreateQueue(queue).ok());
    REQUIRE(producer->Send(Message(queue, "x")).ok());
  }

  const std::string text = "\n" + sink->Text();
  CHECK(text.find("oms-reply.") == std::string::npos);
  CHECK(ValueOf(text,
                R"(messaging_client_sent_messages_total{)"
                R"(messaging_destination_name="oms-reply",)"
                R"(messaging_operation_name="send",)"
                R"(messaging_operation_type="send",messaging_system="memory"})") ==
        "3");
}

TEST_CASE("OMS-TEL-009: threads count together") {
  PrometheusSink sink;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        sink.Add(kSentMessages, 2, {.system = "fake"});
        sink.Record(kProcessDuration, 0.5, {.system = "fake"});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  const std::string text = "\n" + sink.Text();
  CHECK(ValueOf(text, R"(messaging_client_sent_messages_total)"
                      R"({messaging_system="fake"})") == "8000");
  CHECK(ValueOf(text, R"(messaging_process_duration_seconds_bucket)"
                      R"({messaging_system="fake",le="0.25"})") == "0");
  CHECK(ValueOf(text, R"(messaging_process_duration_seconds_bucket)"
                      R"({messaging_system="fake",le="0.5"})") == "4000");
}

}  // namespace
}  // namespace openmessaging::prometheus_sink_test
