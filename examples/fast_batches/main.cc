// SPDX-License-Identifier: Apache-2.0
//
// fast_batches: many messages in one call each way, with one result for each.

#include <chrono>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  constexpr size_t kMessages = 10'000;
  constexpr size_t kBatch = 500;
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("clicks");
  if (!created.ok()) return created;

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  std::vector<oms::Message> batch;
  size_t sent = 0;
  for (size_t n = 0; n < kMessages; n += kBatch) {
    batch.clear();
    for (size_t i = n; i < n + kBatch; ++i) {
      batch.emplace_back("clicks", std::to_string(i));
    }
    // A message that fails its checks does not keep the others back.
    const std::span<const oms::Message> all(batch);
    for (const auto& result : producer->Send(all)) {
      if (!result.ok()) return result.status();
      ++sent;
    }
  }
  std::cout << "sent " << sent << "\n";

  auto consumer = bus->CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("clicks"); !bound.ok()) return bound;
  size_t received = 0;
  bool in_order = true;
  while (received < kMessages) {
    auto deliveries = consumer->ReceiveBatch(kBatch, std::chrono::seconds(5));
    if (!deliveries.ok()) return deliveries.status();
    if (deliveries->empty()) return absl::NotFoundError("nothing came");
    for (const oms::Delivery& delivery : *deliveries) {
      in_order = in_order && delivery->body() == std::to_string(received);
      ++received;
    }
    for (const auto& status : consumer->Ack(*deliveries)) {
      if (!status.ok()) return status;
    }
  }
  std::cout << "received " << received << (in_order ? " in order\n" : "\n");
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
