// SPDX-License-Identifier: Apache-2.0
//
// What tests with a broker begin with: its URL, and a queue of their own.

#ifndef OPENMESSAGING_RABBITMQ_TESTS_LIVE_BROKER_H_
#define OPENMESSAGING_RABBITMQ_TESTS_LIVE_BROKER_H_

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace openmessaging::rabbitmq::rabbitmq_live_test {

using std::chrono::milliseconds;

inline constexpr milliseconds kPatience{20000};

// Returns: the broker's URL; empty where there is none.
inline std::string BrokerUrl() {
  const char* const url = std::getenv("OMS_RABBITMQ_URL");
  if (url != nullptr) return url;
  std::cout << "skipped: OMS_RABBITMQ_URL is not set\n";
  return {};
}

// A queue of its own, removed in the end.
class Live {
 public:
  explicit Live(const std::string& url, const QueueOptions& options = {})
      : bus(MessagingAccessPoint::Connect(url).value()) {
    static int count = 0;
    queue = internal::Concat("live-", ::getpid(), '-', ++count);
    const absl::Status made =
        bus.resource_manager().CreateQueue(queue, options);
    REQUIRE_MESSAGE(made.ok(), std::string(made.message()));
  }
  ~Live() { (void)bus.resource_manager().DeleteQueue(queue); }
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  PullConsumer NewConsumer(const PullConsumerOptions& options = {}) {
    auto consumer = bus.CreatePullConsumer(options).value();
    const absl::Status bound = consumer.Bind(queue);
    REQUIRE_MESSAGE(bound.ok(), std::string(bound.message()));
    return consumer;
  }
  void Send(int count) {
    auto producer = bus.CreateProducer().value();
    std::vector<Message> batch;
    for (int n = 1; n <= count; ++n)
      batch.emplace_back(queue, std::to_string(n));
    for (const auto& sent : producer.Send(batch)) REQUIRE(sent.ok());
  }

  MessagingAccessPoint bus;
  std::string queue;
};

inline Delivery Take(PullConsumer& consumer) {
  auto got = consumer.Receive(kPatience);
  REQUIRE_MESSAGE(got.ok(), std::string(got.status().message()));
  REQUIRE(got->has_value());
  return **std::move(got);
}

}  // namespace openmessaging::rabbitmq::rabbitmq_live_test
#endif  // OPENMESSAGING_RABBITMQ_TESTS_LIVE_BROKER_H_
