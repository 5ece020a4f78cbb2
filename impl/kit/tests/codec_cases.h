// SPDX-License-Identifier: Apache-2.0
//
// What every codec must do, for the tests of each.

#ifndef OPENMESSAGING_KIT_TESTS_CODEC_CASES_H_
#define OPENMESSAGING_KIT_TESTS_CODEC_CASES_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging {
namespace codec_cases {

inline constexpr std::chrono::milliseconds kLong = std::chrono::seconds(10);

// A body that shrinks, of 256 bytes and more.
inline std::string Compressible(size_t bytes = 4000) {
  std::string body;
  while (body.size() < bytes) body += "42 apples and " + std::to_string(bytes);
  body.resize(bytes);
  return body;
}

// A body that does not: xorshift has no pattern that a codec would find.
inline std::string Incompressible(size_t bytes = 4000) {
  uint64_t state = 88172645463325252;
  std::string body;
  while (body.size() < bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    body += static_cast<char>(state >> 32);
  }
  return body;
}

// A message with that field, as somebody could send it.
inline Message Sent(std::string_view codec, std::string_view bytes) {
  Message message("orders", bytes);
  message.SetCompression(codec);
  return message;
}

template <typename Codec>
void BodiesThatDoNotShrinkStay() {
  Codec codec;
  for (const std::string& body :
       {std::string(), std::string("x"), std::string(127, 'x'),
        Incompressible()}) {
    Message message("orders", body);
    CHECK(codec.BeforeSend(message).ok());
    CHECK(message.body() == body);
    CHECK(message.compression().empty());
    CHECK(codec.BeforeReceive(message).ok());
    CHECK(message.body() == body);
  }
}

template <typename Codec>
void EveryLengthComesBack() {
  Codec codec({.min_body_bytes = 1});
  for (size_t bytes = 1; bytes < 700'000; bytes = bytes * 3 + 1) {
    for (const std::string& body :
         {Compressible(bytes), std::string(bytes, '\0')}) {
      Message message("orders", body);
      REQUIRE(codec.BeforeSend(message).ok());
      REQUIRE(message.body().size() <= body.size());
      REQUIRE(codec.BeforeReceive(message).ok());
      CHECK(message.body() == body);
      CHECK(message.compression().empty());
    }
  }
}

// Of other codecs, and of the sender himself.
template <typename Codec>
void OthersPassUntouched() {
  Codec codec;
  Message message = Sent("snappy", Compressible());
  CHECK(codec.BeforeSend(message).ok());
  CHECK(codec.BeforeReceive(message).ok());
  CHECK(message.body() == Compressible());
  CHECK(message.compression() == "snappy");
}

// No byte may change, and none be missing or added, without notice.
template <typename Codec>
void DamageIsNoticed() {
  Codec codec;
  const std::string body = Compressible(500);
  Message sent("orders", body);
  REQUIRE(codec.BeforeSend(sent).ok());
  const std::string bytes(sent.body());
  size_t noticed = 0;
  const auto try_one = [&](const std::string& changed) {
    Message message = Sent(Codec::kName, changed);
    const absl::Status status = codec.BeforeReceive(message);
    if (status.ok()) return message.body() == body;
    noticed += OmsCode(status) == Code::kDamaged ? 1 : 0;
    return message.body() == changed &&
           (OmsCode(status) == Code::kDamaged ||
            OmsCode(status) == Code::kBodyTooLarge);
  };

  for (size_t i = 0; i < bytes.size(); ++i) {
    CAPTURE(i);
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    CHECK(try_one(changed));
    CHECK(try_one(bytes.substr(0, i)));
  }
  CHECK(try_one(bytes + "x"));
  CHECK(try_one(bytes + bytes));
  CHECK(try_one("no frame at all"));
  CHECK(noticed > bytes.size());
}

// `bomb`: a frame of more than 1,000 bytes.
template <typename Codec>
void BombsAreRefused(const std::string& bomb) {
  Codec codec({.max_body_bytes = 1000});
  Message message = Sent(Codec::kName, bomb);
  CHECK(OmsCode(codec.BeforeReceive(message)) == Code::kBodyTooLarge);
  CHECK(message.body() == bomb);
}

// A bound that no message can reach is none.
template <typename Codec>
void WhatHasNoBoundComesBack() {
  Codec codec({.max_body_bytes = SIZE_MAX});
  Message message("orders", Compressible());
  CHECK(codec.BeforeSend(message).ok());
  CHECK(message.compression() == Codec::kName);
  CHECK(codec.BeforeReceive(message).ok());
  CHECK(message.body() == Compressible());
}

template <typename Codec>
void TheLimitIsExact() {
  Codec codec({.max_body_bytes = 1000});
  Message fits("orders", std::string(1000, 'x'));
  Message large("orders", std::string(1001, 'x'));
  CHECK(codec.BeforeSend(fits).ok());
  CHECK(fits.body().size() < 1000);
  CHECK(codec.BeforeReceive(fits).ok());
  CHECK(fits.body().size() == 1000);
  CHECK(OmsCode(codec.BeforeSend(large)) == Code::kBodyTooLarge);
}

// Through the store: nobody but the disk sees the difference.
template <typename Codec>
void NobodySeesIt() {
  auto bus = MessagingAccessPoint::Connect(
      "oms:memory://codec-" + std::string(Codec::kName));
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
  const auto codec = std::make_shared<Codec>();
  auto producer = bus->CreateProducer();
  auto plain = bus->CreateProducer();
  REQUIRE(producer.ok());
  REQUIRE(plain.ok());
  REQUIRE(producer->AddInterceptor(codec).ok());
  Message message("orders", Compressible());
  message.SetMessageKey("key");
  REQUIRE(message.SetProperty("tries", 3).ok());
  const auto sent = producer->Send(message);
  REQUIRE(sent.ok());
  REQUIRE(plain->Send(message).ok());
  CHECK(message.body() == Compressible());

  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  auto raw = bus->CreatePullConsumer({.group = "audit"});
  REQUIRE(consumer.ok());
  REQUIRE(raw.ok());
  REQUIRE(consumer->Bind("orders").ok());
  REQUIRE(raw->Bind("orders").ok());
  REQUIRE(consumer->AddInterceptor(codec).ok());
  const auto compressed = raw->Receive(kLong);
  REQUIRE(compressed.ok());
  CHECK((**compressed)->compression() == Codec::kName);
  CHECK((**compressed)->body().size() < 400);

  const auto first = consumer->Receive(kLong);
  const auto second = consumer->Receive(kLong);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  const Message& with = (*first)->message();
  const Message& without = (*second)->message();
  CHECK(with.message_id() == sent->message_id);
  CHECK(with.offset() + 1 == without.offset());
  CHECK(with.body() == without.body());
  CHECK(with.body() == Compressible());
  CHECK(with.compression().empty());
  CHECK(with.destination() == without.destination());
  CHECK(with.message_key() == "key");
  CHECK(*with.properties().Get<int32_t>("tries") == 3);
  CHECK(with.store_host() == without.store_host());
  CHECK(with.born_host() == without.born_host());
  CHECK(with.delivery_count() == 1);
  CHECK(consumer->Ack(**first).ok());
}

}  // namespace codec_cases
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_TESTS_CODEC_CASES_H_
