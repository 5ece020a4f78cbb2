// SPDX-License-Identifier: Apache-2.0
//
// routing: publish and subscribe by routes. What enters one queue enters others
// too, which have readers, groups and a life of their own.

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Prints what is in a queue.
absl::Status PrintAll(oms::MessagingAccessPoint& bus,
                      const std::string& queue) {
  auto consumer = bus.CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind(queue); !bound.ok()) return bound;
  while (true) {
    auto received = consumer->Receive(std::chrono::milliseconds(100));
    if (!received.ok()) return received.status();
    if (!received->has_value()) return absl::OkStatus();
    std::cout << queue << ": " << (**received)->body() << "\n";
    if (auto acked = (*received)->Ack(); !acked.ok()) return acked;
  }
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  oms::ResourceManager manager = bus->resource_manager();
  const std::vector<std::string> queues{"orders", "europe", "risk", "audit"};
  for (const std::string& queue : queues) {
    if (auto made = manager.CreateQueue(queue); !made.ok()) return made;
  }

  // Subscriptions: who sends knows of none of them. Routes go on.
  const std::vector<oms::Route> routes{
      {"orders", "europe", "land IN ('de', 'fr')"},
      {"orders", "risk", "price > 100"},
      {"risk", "audit"}};
  for (const oms::Route& route : routes) {
    if (auto made = manager.CreateRoute(route); !made.ok()) return made;
  }
  // A ring is refused.
  const auto ring = manager.CreateRoute({"audit", "orders"});
  std::cout << "audit to orders: " << (ring.ok() ? "yes" : "no") << "\n";

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  struct Order {
    const char* body;
    const char* land;
    int price;
  };
  for (const Order& order : {Order{"apples", "de", 42}, {"a car", "us", 9000},
                             {"a ship", "fr", 70000}}) {
    oms::Message message("orders", order.body);
    auto set = message.SetProperty("land", order.land);
    if (set.ok()) set = message.SetProperty("price", order.price);
    if (!set.ok()) return set;
    // All copies are stored with it, or the send fails and none is.
    auto sent = producer->Send(message);
    if (!sent.ok()) return sent.status();
  }
  for (const std::string& queue : queues) {
    if (auto printed = PrintAll(*bus, queue); !printed.ok()) return printed;
  }
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
