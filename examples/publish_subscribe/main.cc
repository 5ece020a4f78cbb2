// SPDX-License-Identifier: Apache-2.0
//
// publish_subscribe: each group of consumers gets every message; the members of
// one group share them.

#include <chrono>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Takes what is there for one member. Returns: the bodies.
absl::StatusOr<std::vector<std::string>> TakeAll(oms::PullConsumer& member,
                                                 size_t most) {
  std::vector<std::string> bodies;
  while (bodies.size() < most) {
    auto received = member.Receive(std::chrono::seconds(5));
    if (!received.ok()) return received.status();
    if (!received->has_value()) break;
    bodies.emplace_back((**received)->body());
    if (auto acked = (*received)->Ack(); !acked.ok()) return acked;
  }
  return bodies;
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("prices");
  if (!created.ok()) return created;

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const std::string price : {"apples 42", "pears 7", "melons 300"}) {
    auto sent = producer->Send(oms::Message("prices", price));
    if (!sent.ok()) return sent.status();
  }

  // Two groups: both get all three.
  for (const std::string group : {"web", "print"}) {
    auto consumer = bus->CreatePullConsumer({.group = group});
    if (!consumer.ok()) return consumer.status();
    if (auto bound = consumer->Bind("prices"); !bound.ok()) return bound;
    const auto bodies = TakeAll(*consumer, 3);
    if (!bodies.ok()) return bodies.status();
    for (const std::string& body : *bodies) {
      std::cout << group << ": " << body << "\n";
    }
  }

  // One group with two members: each message goes to one of them.
  auto one = bus->CreatePullConsumer({.group = "billing"});
  auto two = bus->CreatePullConsumer({.group = "billing"});
  if (!one.ok() || !two.ok()) return one.status();
  if (auto bound = one->Bind("prices"); !bound.ok()) return bound;
  if (auto bound = two->Bind("prices"); !bound.ok()) return bound;
  std::set<std::string> shared;
  for (auto* const member : {&*one, &*two}) {
    const auto bodies = TakeAll(*member, member == &*one ? 1 : 2);
    if (!bodies.ok()) return bodies.status();
    std::cout << "a member got " << bodies->size() << "\n";
    shared.insert(bodies->begin(), bodies->end());
  }
  std::cout << "together " << shared.size() << " different ones\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
