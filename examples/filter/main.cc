// SPDX-License-Identifier: Apache-2.0
//
// filter: an SQL condition chooses what is delivered, for one group or, set on
// the queue, for all of them.

#include <chrono>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Send(oms::MessagingAccessPoint& bus, const std::string& body,
                  int price) {
  auto producer = bus.CreateProducer();
  if (!producer.ok()) return producer.status();
  oms::Message message("orders", body);
  auto set = message.SetProperty("price", price);
  if (!set.ok()) return set;
  return producer->Send(message).status();
}

// Prints what is there for a group.
absl::Status PrintAll(oms::MessagingAccessPoint& bus, const std::string& group,
                      const std::string& filter) {
  auto consumer = bus.CreatePullConsumer({.group = group});
  if (!consumer.ok()) return consumer.status();
  auto bound = consumer->Bind("orders", {.filter = filter});
  if (!bound.ok()) return bound;
  while (true) {
    auto received = consumer->Receive(std::chrono::milliseconds(100));
    if (!received.ok()) return received.status();
    if (!received->has_value()) return absl::OkStatus();
    std::cout << group << ": " << (**received)->body() << "\n";
    if (auto acked = (*received)->Ack(); !acked.ok()) return acked;
  }
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  oms::ResourceManager manager = bus->resource_manager();
  auto created = manager.CreateQueue("orders", {.filter = "price > 0"});
  if (!created.ok()) return created;
  const auto priced = {std::pair("a gift", 0), {"apples", 42}, {"melons", 300}};
  for (const auto& [body, price] : priced) {
    if (auto sent = Send(*bus, body, price); !sent.ok()) return sent;
  }

  // The queue's filter counts for both, the other one for its group only.
  auto all = PrintAll(*bus, "billing", "");
  if (!all.ok()) return all;
  auto large = PrintAll(*bus, "risk", "price BETWEEN 100 AND 999");
  if (!large.ok()) return large;

  const auto wrong = manager.UpdateQueue("orders", {.filter = "price >"});
  std::cout << wrong.message() << "\n";

  // Without its filter the queue delivers what comes next, whatever it costs.
  auto updated = manager.UpdateQueue("orders", {.filter = ""});
  if (!updated.ok()) return updated;
  if (auto sent = Send(*bus, "a sample", 0); !sent.ok()) return sent;
  return PrintAll(*bus, "billing", "");
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
