// SPDX-License-Identifier: Apache-2.0
//
// sqlite_driver: a program that uses the driver of sqlite_driver.h by its URL.
// What one connection stored another finds, in this process or the next.

#include <chrono>
#include <iostream>
#include <memory>

#include "openmessaging/driver/registry.h"
#include "openmessaging/openmessaging.h"
#include "sqlite_driver.h"

namespace oms = openmessaging;

// A program that links this file can use the URL.
static const bool kRegistered =
    oms::driver::RegisterLinked(std::make_shared<sqlite::SqliteDriver>());

absl::Status Send() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:sqlite:shop.db");
  if (!bus.ok()) return bus.status();
  // Kept for a while, for groups that come later.
  auto created = bus->resource_manager().CreateQueue(
      "orders", {.retention = std::chrono::hours(1)});
  if (!created.ok()) return created;
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const char* const order : {"apples", "pears", "plums"}) {
    auto sent = producer->Send(oms::Message("orders", order));
    if (!sent.ok()) return sent.status();
    std::cout << "sent " << order << "\n";
  }
  return absl::OkStatus();
}

absl::Status Receive() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:sqlite:shop.db");
  if (!bus.ok()) return bus.status();
  for (const char* const group : {"billing", "packing"}) {
    auto consumer = bus->CreatePullConsumer({.group = group});
    if (!consumer.ok()) return consumer.status();
    if (auto bound = consumer->Bind("orders"); !bound.ok()) return bound;
    for (int left = 3; left > 0;) {
      auto received = consumer->Receive(std::chrono::seconds(5));
      if (!received.ok()) return received.status();
      if (!received->has_value()) return absl::NotFoundError("nothing came");
      oms::Delivery& order = **received;
      std::cout << group << " received " << order->body() << ", delivery "
                << order->delivery_count() << "\n";
      // The pears are given back once.
      const bool keep = order->body() != "pears" || order->delivery_count() > 1;
      auto settled = keep ? order.Ack() : order.Nack(std::chrono::seconds(0));
      if (!settled.ok()) return settled;
      left -= keep ? 1 : 0;
    }
  }
  return absl::OkStatus();
}

int main() {
  absl::Status status = kRegistered ? Send() : absl::InternalError("no driver");
  if (status.ok()) status = Receive();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
