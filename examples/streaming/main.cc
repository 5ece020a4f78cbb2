// SPDX-License-Identifier: Apache-2.0
//
// streaming: reads a queue by position, again and from wherever one likes. No
// group knows of it, and nothing is settled.

#include <chrono>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Reads on until nothing more is there.
absl::Status PrintRest(const std::string& what, oms::StreamReader& reader) {
  std::cout << what << ":";
  while (true) {
    const auto messages = reader.Read(10, std::chrono::milliseconds(0));
    if (!messages.ok()) return messages.status();
    if (messages->empty()) break;
    for (const oms::Message& message : *messages) {
      std::cout << " " << message.offset() << "=" << message.body();
    }
  }
  std::cout << "\n";
  return absl::OkStatus();
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("prices");
  if (!created.ok()) return created;
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  const auto send = [&](const std::string& price) {
    return producer->Send(oms::Message("prices", price)).status();
  };
  for (const std::string price : {"42", "43", "41"}) {
    if (auto status = send(price); !status.ok()) return status;
  }

  auto reader = bus->CreateStreamReader("prices", /*partition=*/0);
  if (!reader.ok()) return reader.status();
  if (auto s = PrintRest("from the start", *reader); !s.ok()) return s;

  if (auto status = send("44"); !status.ok()) return status;
  if (auto s = PrintRest("what came since", *reader); !s.ok()) return s;

  auto moved = reader->Seek(oms::StreamPosition::Offset(2));
  if (!moved.ok()) return moved;
  if (auto s = PrintRest("again from 2", *reader); !s.ok()) return s;

  moved = reader->Seek(oms::StreamPosition::Latest());
  if (!moved.ok()) return moved;
  return PrintRest("from the end", *reader);
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
