// SPDX-License-Identifier: Apache-2.0
//
// project_reference: the same code with two drivers, which the program has by
// linking openmessaging::reference: in memory, and in a directory.

#include <chrono>
#include <iostream>
#include <string_view>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status SendAndReceive(std::string_view url) {
  auto bus = oms::MessagingAccessPoint::Connect(url);
  if (!bus.ok()) return bus.status();
  if (auto created = bus->resource_manager().CreateQueue("orders");
      !created.ok() && oms::OmsCode(created) != oms::Code::kQueueExists) {
    return created;
  }
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  auto sent = producer->Send(oms::Message("orders", "42 apples"));
  if (!sent.ok()) return sent.status();

  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("orders"); !bound.ok()) return bound;
  auto received = consumer->Receive(std::chrono::seconds(5));
  if (!received.ok()) return received.status();
  if (!received->has_value()) return absl::NotFoundError("nothing came");
  oms::Delivery& delivery = **received;
  std::cout << url << ": " << delivery->body() << "\n";
  return delivery.Ack();
}

int main() {
  for (const char* const url : {"oms:memory://shop", "oms:file:shop"}) {
    if (const absl::Status status = SendAndReceive(url); !status.ok()) {
      std::cerr << status << "\n";
      return 1;
    }
  }
  return 0;
}
