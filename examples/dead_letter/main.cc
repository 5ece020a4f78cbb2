// SPDX-License-Identifier: Apache-2.0
//
// dead_letter: an order that nobody can handle moves to a queue of its own,
// says where it comes from, and goes back once somebody has mended it.

#include <chrono>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::StatusOr<oms::Delivery> Next(oms::PullConsumer& consumer) {
  auto received = consumer.Receive(std::chrono::seconds(5));
  if (!received.ok()) return received.status();
  if (!received->has_value()) return absl::NotFoundError("nothing came");
  return **received;
}

absl::StatusOr<oms::PullConsumer> Consume(const oms::MessagingAccessPoint& bus,
                                          const std::string& queue) {
  auto consumer = bus.CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind(queue); !bound.ok()) return bound;
  return consumer;
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto manager = bus->resource_manager();
  if (auto made = manager.CreateQueue("orders.dead"); !made.ok()) return made;
  auto made = manager.CreateQueue(
      "orders", {.max_deliveries = 5,
                 .dead_letter_queue = "orders.dead",
                 .redelivery_delay = std::chrono::milliseconds(10)});
  if (!made.ok()) return made;

  auto producer = bus->CreateProducer();
  auto orders = Consume(*bus, "orders");
  auto dead = Consume(*bus, "orders.dead");
  if (!producer.ok()) return producer.status();
  if (!orders.ok()) return orders.status();
  if (!dead.ok()) return dead.status();
  auto sent = producer->Send(oms::Message("orders", "minus 3 apples"));
  if (!sent.ok()) return sent.status();

  for (int attempt = 1; attempt <= 2; ++attempt) {
    auto order = Next(*orders);
    if (!order.ok()) return order.status();
    std::cout << (*order)->body() << ": attempt " << (*order)->delivery_count()
              << "\n";
    // After max_deliveries it would go by itself, with the next receive.
    const auto status = attempt == 1 ? order->Nack() : order->Reject();
    if (!status.ok()) return status;
  }

  auto letter = Next(*dead);
  if (!letter.ok()) return letter.status();
  const auto why = (*letter)->properties();
  std::cout << "dead: " << (*letter)->body() << ", from "
            << why.GetOr(oms::kDeadQueue, "?") << ", "
            << why.GetOr(oms::kDeadReason, "?") << "\n";

  // Mended, it goes back, and only then it is done with here.
  sent = producer->Send(oms::Message("orders", "3 apples"));
  if (!sent.ok()) return sent.status();
  if (auto status = letter->Ack(); !status.ok()) return status;
  auto order = Next(*orders);
  if (!order.ok()) return order.status();
  std::cout << (*order)->body() << ": billed\n";
  return order->Ack();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
