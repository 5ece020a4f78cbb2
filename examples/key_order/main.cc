// SPDX-License-Identifier: Apache-2.0
//
// key_order: two members of a group share the accounts, and what belongs to one
// account is done one after the other, whoever does it.

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Waits no longer than for what is there.
std::string Next(oms::PullConsumer& consumer,
                 std::vector<oms::Delivery>& received) {
  auto next = consumer.Receive(std::chrono::milliseconds(20));
  if (!next.ok()) return std::string(next.status().message());
  if (!next->has_value()) return "nothing";
  received.push_back(**next);
  return std::string((**next)->body());
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://bank");
  if (!bus.ok()) return bus.status();
  auto made = bus->resource_manager().CreateQueue("bookings");
  if (!made.ok()) return made;

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const char* const text :
       {"anna: open", "anna: +100", "bert: open", "anna: -30"}) {
    const std::string body(text);
    oms::Message message("bookings", body);
    message.SetMessageKey(body.substr(0, body.find(':')));
    if (auto sent = producer->Send(message); !sent.ok()) return sent.status();
  }

  const oms::PullConsumerOptions options{.group = "books", .ordered = true};
  auto one = bus->CreatePullConsumer(options);
  auto two = bus->CreatePullConsumer(options);
  if (!one.ok()) return one.status();
  if (!two.ok()) return two.status();
  if (auto bound = one->Bind("bookings"); !bound.ok()) return bound;
  if (auto bound = two->Bind("bookings"); !bound.ok()) return bound;

  std::vector<oms::Delivery> received;
  std::cout << "one: " << Next(*one, received) << "\n";
  // Not anna's next one, which waits for what "one" still has.
  std::cout << "two: " << Next(*two, received) << "\n";
  std::cout << "two: " << Next(*two, received) << "\n";
  if (received.size() != 2) return absl::InternalError("expected two bookings");
  if (auto acked = received[0].Ack(); !acked.ok()) return acked;
  std::cout << "one is done with anna\n";
  std::cout << "two: " << Next(*two, received) << "\n";
  // Given back it is still the oldest of its key.
  if (auto back = received.back().Nack(std::chrono::milliseconds(0));
      !back.ok()) {
    return back;
  }
  std::cout << "two gives it back\n";
  std::cout << "one: " << Next(*one, received) << ", delivery "
            << received.back()->delivery_count() << "\n";
  if (auto acked = received.back().Ack(); !acked.ok()) return acked;
  std::cout << "one: " << Next(*one, received) << "\n";
  return received.back().Ack();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
