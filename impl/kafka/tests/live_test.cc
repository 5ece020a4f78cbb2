// SPDX-License-Identifier: Apache-2.0
//
// The driver and a broker: what the suite cannot ask, because it speaks of Kafka.

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <set>
#include <thread>

#include "headers.h"
#include "native.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::kafka::kafka_live_test {
namespace {

// Returns: the broker's URL; empty where there is none.
std::string BrokerUrl() {
  const char* const url = std::getenv("OMS_KAFKA_URL");
  if (url != nullptr) return url;
  std::cout << "skipped: OMS_KAFKA_URL is not set\n";
  return {};
}

constexpr milliseconds kPatience{20000};

// A queue of its own, removed in the end, and a group of its own.
class Live {
 public:
  explicit Live(int32_t partitions = 1)
      : bus(MessagingAccessPoint::Connect(BrokerUrl()).value()) {
    static int count = 0;
    queue = internal::Concat("live-", ::getpid(), '-', ++count);
    QueueOptions options;
    options.partitions = partitions;
    const absl::Status made =
        bus.resource_manager().CreateQueue(queue, options);
    REQUIRE_MESSAGE(made.ok(), std::string(made.message()));
  }
  ~Live() { (void)bus.resource_manager().DeleteQueue(queue); }
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  PullConsumer NewConsumer() {
    PullConsumerOptions options;
    options.group = queue;
    auto consumer = bus.CreatePullConsumer(options).value();
    const absl::Status bound = consumer.Bind(queue);
    REQUIRE_MESSAGE(bound.ok(), std::string(bound.message()));
    return consumer;
  }

  MessagingAccessPoint bus;
  std::string queue;
};

Delivery Take(PullConsumer& consumer) {
  auto got = consumer.Receive(kPatience);
  REQUIRE_MESSAGE(got.ok(), std::string(got.status().message()));
  REQUIRE(got->has_value());
  return **std::move(got);
}

TEST_CASE("a message is sent, received and acknowledged once") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  const auto sent = producer.Send(Message(live.queue, "hello"));
  REQUIRE(sent.ok());
  CHECK(sent->partition == 0);
  CHECK(sent->offset == 0);
  {
    PullConsumer consumer = live.NewConsumer();
    const Delivery got = Take(consumer);
    CHECK(got->body() == "hello");
    CHECK(got->message_id() == sent->message_id);
    CHECK(got->delivery_count() == 1);
    CHECK(got.Ack().ok());
  }
  REQUIRE(producer.Send(Message(live.queue, "next")).ok());
  PullConsumer next = live.NewConsumer();
  CHECK(Take(next)->body() == "next");
}

TEST_CASE("what is acknowledged out of order stays so for the next member") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  constexpr int kCount = 1000;
  for (int n = 0; n < kCount; ++n) {
    REQUIRE(producer.SendOneway(Message(live.queue, std::to_string(n))).ok());
  }
  std::multiset<std::string> kept;
  {
    PullConsumer consumer = live.NewConsumer();
    std::vector<Delivery> held;
    for (int n = 0; n < kCount; ++n) held.push_back(Take(consumer));
    for (int n = 0; n < kCount; ++n) {
      const Delivery& one = held[static_cast<size_t>(n)];
      if (n % 3 == 0) {
        kept.emplace(one->body());
      } else {
        REQUIRE(one.Ack().ok());
      }
    }
  }
  PullConsumer next = live.NewConsumer();
  std::multiset<std::string> got;
  while (got.size() < kept.size()) {
    const Delivery one = Take(next);
    got.emplace(one->body());
    CHECK(one->delivery_count() == 2);
    REQUIRE(one.Ack().ok());
  }
  CHECK(got == kept);
  CHECK_FALSE(next.Receive(milliseconds(300)).value().has_value());
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_live_test
