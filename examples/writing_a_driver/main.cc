// SPDX-License-Identifier: Apache-2.0
//
// writing_a_driver: a program that uses the driver of shelf_driver.h by its
// URL.

#include <chrono>
#include <iostream>
#include <memory>

#include "openmessaging/driver/registry.h"
#include "openmessaging/openmessaging.h"
#include "shelf_driver.h"

namespace oms = openmessaging;

// A program that links this file can use the URL.
static const bool kRegistered =
    oms::driver::RegisterLinked(std::make_shared<shelf::ShelfDriver>());

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:shelf://kitchen");
  if (!bus.ok()) return bus.status();
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const char* const jar : {"salt", "rice", "tea"}) {
    auto sent = producer->Send(oms::Message("jars", jar));
    if (!sent.ok()) return sent.status();
    std::cout << "sent " << jar << ": " << sent->message_id.ToString() << "\n";
  }
  oms::Message later("jars", "sugar");
  later.SetDelay(std::chrono::seconds(1));
  std::cout << "sugar, later: OMS "
            << static_cast<int>(oms::OmsCode(producer->Send(later).status()))
            << "\n";

  auto consumer = bus->CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("jars"); !bound.ok()) return bound;
  for (int left = 3; left > 0;) {
    auto received = consumer->Receive(std::chrono::seconds(5));
    if (!received.ok()) return received.status();
    if (!received->has_value()) return absl::NotFoundError("nothing came");
    oms::Delivery& jar = **received;
    std::cout << "received " << jar->body() << ", delivery "
              << jar->delivery_count() << "\n";
    // The rice is given back once.
    const bool keep = jar->body() != "rice" || jar->delivery_count() > 1;
    if (auto s = keep ? jar.Ack() : jar.Nack(); !s.ok()) return s;
    left -= keep ? 1 : 0;
  }
  return kRegistered ? absl::OkStatus() : absl::InternalError("name is taken");
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
