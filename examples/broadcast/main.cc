// SPDX-License-Identifier: Apache-2.0
//
// broadcast: every consumer gets everything that is sent while it listens. Its
// place ends with it, so nothing is kept for those that are gone.

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::StatusOr<oms::PullConsumer> Listen(const oms::MessagingAccessPoint& bus) {
  auto consumer = bus.CreatePullConsumer(
      {.start = oms::StartPosition::kLatest, .broadcast = true});
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("alarms"); !bound.ok()) return bound;
  return consumer;
}

absl::Status PrintNext(const std::string& who, oms::PullConsumer& consumer) {
  auto received = consumer.Receive(std::chrono::seconds(5));
  if (!received.ok()) return received.status();
  if (!received->has_value()) return absl::NotFoundError("nothing came");
  std::cout << who << " hears " << (**received)->body() << "\n";
  return (*received)->Ack();
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("alarms");
  if (!created.ok()) return created;
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();

  auto cellar = Listen(*bus);
  if (!cellar.ok()) return cellar.status();
  auto sent = producer->Send(oms::Message("alarms", "water"));
  if (!sent.ok()) return sent.status();

  auto attic = Listen(*bus);  // Too late for the water.
  if (!attic.ok()) return attic.status();
  sent = producer->Send(oms::Message("alarms", "fire"));
  if (!sent.ok()) return sent.status();

  if (auto status = PrintNext("cellar", *cellar); !status.ok()) return status;
  if (auto status = PrintNext("cellar", *cellar); !status.ok()) return status;
  return PrintNext("attic", *attic);
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
