// SPDX-License-Identifier: Apache-2.0
//
// delayed: a reminder comes when it is due and not before, and one that is not
// wanted any more is withdrawn.

#include <chrono>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

absl::StatusOr<oms::SendResult> Remind(oms::Producer& producer,
                                       const std::string& text,
                                       milliseconds delay) {
  oms::Message message("reminders", text);
  message.SetDelay(delay);
  return producer.Send(message);
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://desk");
  if (!bus.ok()) return bus.status();
  auto made = bus->resource_manager().CreateQueue("reminders");
  if (!made.ok()) return made;
  auto producer = bus->CreateProducer();
  auto consumer = bus->CreatePullConsumer();
  if (!producer.ok()) return producer.status();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("reminders"); !bound.ok()) return bound;

  const auto begin = steady_clock::now();
  auto tea = Remind(*producer, "the tea is ready", milliseconds(200));
  auto egg = Remind(*producer, "the egg is done", milliseconds(100));
  auto call = Remind(*producer, "call grandmother", std::chrono::hours(24));
  for (const auto* const sent : {&tea, &egg, &call}) {
    if (!sent->ok()) return sent->status();
  }
  // It holds back nothing that comes later.
  auto now = producer->Send(oms::Message("reminders", "water is on"));
  if (!now.ok()) return now.status();

  // She called herself.
  auto cancelled = producer->CancelDelayed("reminders", call->message_id);
  if (!cancelled.ok()) return cancelled;
  std::cout << "withdrawn: call grandmother\n";

  for (int n = 0; n < 3; ++n) {
    auto next = consumer->Receive(std::chrono::seconds(5));
    if (!next.ok()) return next.status();
    if (!next->has_value()) return absl::NotFoundError("no reminder came");
    const bool early = (**next)->body() == "the tea is ready" &&
                       steady_clock::now() - begin < milliseconds(200);
    std::cout << (**next)->body() << (early ? ", too early" : "") << "\n";
    if (auto acked = (*next)->Ack(); !acked.ok()) return acked;
  }

  // What is due cannot be withdrawn any more.
  cancelled = producer->CancelDelayed("reminders", tea->message_id);
  std::cout << "the tea: " << static_cast<int>(oms::OmsCode(cancelled)) << "\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
