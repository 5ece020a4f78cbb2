// SPDX-License-Identifier: Apache-2.0
//
// hello: sends one message through a directory and receives it again. Another
// URL, another broker: nothing else would change.

#include <chrono>
#include <iostream>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:file:shop");
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
  std::cout << "received " << delivery->body() << "\n";
  return delivery.Ack();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
