// SPDX-License-Identifier: Apache-2.0
//
// interceptor: bodies are compressed, then encrypted, on their way out, and
// decrypted, then decompressed, on their way in. Who has no key sees nothing.

#include <chrono>
#include <iostream>
#include <memory>
#include <string>

#include "openmessaging/kit/aes_gcm_cipher.h"
#include "openmessaging/kit/zstd_codec.h"
#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Receives one message and says what there is to see of it.
absl::Status Show(oms::PullConsumer& consumer, const std::string& who) {
  if (auto bound = consumer.Bind("orders"); !bound.ok()) return bound;
  auto received = consumer.Receive(std::chrono::seconds(5));
  if (!received.ok()) {
    std::cout << who << ": code "
              << static_cast<int>(oms::OmsCode(received.status())) << "\n";
    return absl::OkStatus();
  }
  if (!received->has_value()) return absl::NotFoundError("nothing came");
  const oms::Message& message = (*received)->message();
  const bool readable = message.body().starts_with("42 apples");
  std::cout << who << ": " << (readable ? message.body().substr(0, 9) : "?")
            << (message.body().size() > 1000 ? ", long" : ", short")
            << ", compression \"" << message.compression() << "\"\n";
  return (*received)->Ack();
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("orders");
  if (!created.ok()) return created;

  const auto codec = std::make_shared<oms::kit::ZstdCodec>();
  // In earnest the key comes from a key store.
  const auto cipher = oms::kit::AesGcmCipher::Create(
      {.keys = {{"2026", std::string(32, 'k')}}, .key_id = "2026"});
  if (!cipher.ok()) return cipher.status();

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (auto added : {producer->AddInterceptor(codec),
                     producer->AddInterceptor(*cipher)}) {
    if (!added.ok()) return added;
  }
  std::string order = "42 apples";
  while (order.size() < 4000) order += " and one more";
  auto sent = producer->Send(oms::Message("orders", order));
  if (!sent.ok()) return sent.status();

  auto billing = bus->CreatePullConsumer({.group = "billing"});
  if (!billing.ok()) return billing.status();
  // The last that touched it is the first to undo it.
  for (auto added :
       {billing->AddInterceptor(*cipher), billing->AddInterceptor(codec)}) {
    if (!added.ok()) return added;
  }
  if (auto shown = Show(*billing, "billing"); !shown.ok()) return shown;

  auto spy = bus->CreatePullConsumer({.group = "spy"});
  if (!spy.ok()) return spy.status();
  if (auto shown = Show(*spy, "spy"); !shown.ok()) return shown;

  auto stranger = bus->CreatePullConsumer({.group = "stranger"});
  if (!stranger.ok()) return stranger.status();
  const auto other = oms::kit::AesGcmCipher::Create(
      {.keys = {{"2026", std::string(32, 'x')}}});
  if (!other.ok()) return other.status();
  if (auto added = stranger->AddInterceptor(*other); !added.ok()) return added;
  return Show(*stranger, "stranger");
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
