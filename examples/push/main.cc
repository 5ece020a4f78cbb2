// SPDX-License-Identifier: Apache-2.0
//
// push: a listener settles by what it returns. The second order cannot be
// billed at first and comes again, behind the third.

#include <chrono>
#include <future>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("orders");
  if (!created.ok()) return created;

  auto consumer = bus->CreatePushConsumer({.group = "billing"});
  if (!consumer.ok()) return consumer.status();
  std::promise<void> last;
  auto bound = consumer->Bind("orders", [&](const oms::Message& order) {
    std::cout << order.body() << ", delivery " << order.delivery_count();
    const bool again = order.body() == "7 pears" && order.delivery_count() == 1;
    std::cout << (again ? ": not now\n" : ": billed\n");
    if (order.delivery_count() == 2) last.set_value();
    return again ? oms::Nack(std::chrono::milliseconds(50)) : oms::Ack();
  });
  if (!bound.ok()) return bound;
  if (auto started = consumer->Start(); !started.ok()) return started;

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const std::string order : {"42 apples", "7 pears", "1 melon"}) {
    auto sent = producer->SendAsync(oms::Message("orders", order));
    sent.OnDone([order](const absl::StatusOr<oms::SendResult>& result) {
      if (!result.ok()) std::cerr << order << ": " << result.status() << "\n";
    });
  }
  last.get_future().wait();
  const auto deadline = std::chrono::steady_clock::now();
  consumer->Stop(deadline + std::chrono::seconds(5));
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
