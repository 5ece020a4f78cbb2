// SPDX-License-Identifier: Apache-2.0
//
// priority: what is urgent is delivered first, and what is equally urgent in
// the order of sending; the backlog of everything else waits.

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://hospital");
  if (!bus.ok()) return bus.status();
  auto made = bus->resource_manager().CreateQueue("patients",
                                                  {.priorities = true});
  if (!made.ok()) return made;

  // 1 to 10; 10 comes first, and 5 is what a message has that says nothing.
  const std::vector<std::pair<int, std::string>> waiting = {
      {2, "a cough"},        {5, "a broken arm"}, {10, "a heart attack"},
      {5, "a broken finger"}, {2, "a prescription"}};
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const auto& [priority, name] : waiting) {
    oms::Message message("patients", name);
    message.SetPriority(priority);
    if (auto sent = producer->Send(message); !sent.ok()) return sent.status();
  }

  auto doctor = bus->CreatePullConsumer();
  if (!doctor.ok()) return doctor.status();
  if (auto bound = doctor->Bind("patients"); !bound.ok()) return bound;
  for (size_t seen = 0; seen <= waiting.size(); ++seen) {
    auto next = doctor->Receive(std::chrono::seconds(5));
    if (!next.ok()) return next.status();
    if (!next->has_value()) return absl::NotFoundError("nobody came");
    const oms::Delivery& patient = **next;
    std::cout << patient->priority() << " " << patient->body() << "\n";
    if (auto acked = patient.Ack(); !acked.ok()) return acked;
    if (seen == 1) {
      // Passes all who wait still.
      oms::Message message("patients", "a snake bite");
      message.SetPriority(9);
      if (auto sent = producer->Send(message); !sent.ok()) return sent.status();
    }
  }

  // A queue that was made without has one order only, and says so.
  if (made = bus->resource_manager().CreateQueue("visitors"); !made.ok()) {
    return made;
  }
  oms::Message message("visitors", "the mayor");
  message.SetPriority(10);
  const auto refused = producer->Send(message).status();
  std::cout << "visitors: " << static_cast<int>(oms::OmsCode(refused)) << "\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
