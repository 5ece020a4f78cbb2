// SPDX-License-Identifier: Apache-2.0
//
// consume_transform_produce: each order becomes a bill and a parcel, once,
// however often somebody begins with it: what was received and what follows from
// it take effect together, or not at all.

#include <chrono>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Handles one order. `dies`: somebody fails between its bill and its parcel.
absl::Status HandleOne(oms::Producer& producer, oms::PullConsumer& orders,
                       bool dies) {
  auto order = orders.Receive(std::chrono::seconds(5));
  if (!order.ok()) return order.status();
  if (!order->has_value()) return absl::NotFoundError("no order came");
  const oms::Delivery& delivery = **order;
  const std::string body(delivery->body());
  const auto sent = producer.Transact([&](oms::LocalTransaction& tx) {
    absl::Status status = tx.Ack(delivery);
    status.Update(tx.Send(oms::Message("bills", "bill for " + body)));
    if (dies) return absl::InternalError("out of paper");
    status.Update(tx.Send(oms::Message("parcels", "parcel of " + body)));
    return status;
  });
  std::cout << body << ", delivery " << delivery->delivery_count() << ": ";
  if (sent.ok()) {
    std::cout << sent->size() << " messages\n";
    return absl::OkStatus();
  }
  std::cout << sent.status().message() << "\n";
  return delivery.Nack(std::chrono::milliseconds(0));
}

absl::Status Print(oms::MessagingAccessPoint& bus, const std::string& queue) {
  auto consumer = bus.CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind(queue); !bound.ok()) return bound;
  auto all = consumer->ReceiveBatch(10, std::chrono::milliseconds(20));
  if (!all.ok()) return all.status();
  std::cout << queue << ":";
  for (const oms::Delivery& one : *all) std::cout << " [" << one->body() << "]";
  std::cout << "\n";
  return absl::OkStatus();
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:file:shop");
  if (!bus.ok()) return bus.status();
  for (const char* const queue : {"orders", "bills", "parcels"}) {
    auto made = bus->resource_manager().CreateQueue(queue);
    if (!made.ok()) return made;
  }
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const char* const body : {"3 pears", "42 apples"}) {
    auto sent = producer->Send(oms::Message("orders", body));
    if (!sent.ok()) return sent.status();
  }

  auto orders = bus->CreatePullConsumer({.group = "billing"});
  if (!orders.ok()) return orders.status();
  if (auto bound = orders->Bind("orders"); !bound.ok()) return bound;
  for (const bool dies : {true, false, false}) {
    auto handled = HandleOne(*producer, *orders, dies);
    if (!handled.ok()) return handled;
  }
  if (auto printed = Print(*bus, "bills"); !printed.ok()) return printed;
  return Print(*bus, "parcels");
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
