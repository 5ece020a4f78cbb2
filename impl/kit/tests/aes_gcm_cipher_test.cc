// SPDX-License-Identifier: Apache-2.0
//
// AesGcmCipher: what is protected, who is refused, and encrypted messages on
// their way through the memory store.

#include "openmessaging/kit/aes_gcm_cipher.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::aes_gcm_cipher_test {
namespace {

using kit::AesGcmCipher;
using kit::AesGcmOptions;

using std::chrono::milliseconds;

constexpr milliseconds kLong = std::chrono::seconds(10);

std::string Key(char c) { return std::string(AesGcmCipher::kKeyBytes, c); }

std::shared_ptr<AesGcmCipher> Make(AesGcmOptions options) {
  auto cipher = AesGcmCipher::Create(std::move(options));
  REQUIRE(cipher.ok());
  return *std::move(cipher);
}

// Sends and receives with one key.
std::shared_ptr<AesGcmCipher> MakeOne() {
  return Make({.keys = {{"k1", Key('a')}}, .key_id = "k1"});
}

Message Encrypted(AesGcmCipher& cipher, std::string_view body = "42 apples") {
  Message message("orders", body);
  message.SetMessageKey("key").SetCorrelationId("17").SetCompression("zstd");
  REQUIRE(message.SetProperty("tries", 3).ok());
  REQUIRE(cipher.BeforeSend(message).ok());
  return message;
}

TEST_CASE("OMS-CRYPT-001: keys are checked when a cipher is made") {
  const auto code = [](AesGcmOptions options) {
    return OmsCode(AesGcmCipher::Create(std::move(options)).status());
  };
  CHECK(code({.keys = {{"k1", "short"}}}) == Code::kBadParameter);
  CHECK(code({.keys = {{"", Key('a')}}}) == Code::kBadParameter);
  CHECK(code({.keys = {{"k1", Key('a')}}, .key_id = "k2"}) ==
        Code::kBadParameter);
  CHECK(code({.keys = {{"k1", Key('a')}}, .key_id = "k1"}) == Code::kOk);
}

TEST_CASE("OMS-CRYPT-002: what is encrypted comes back, and nothing else") {
  const auto cipher = MakeOne();
  for (const std::string& body :
       {std::string(), std::string("x"), std::string(100'000, '\0'),
        std::string("42 apples \xff")}) {
    Message message = Encrypted(*cipher, body);
    CHECK(message.body().size() == body.size() + 1 + AesGcmCipher::kNonceBytes +
                                       AesGcmCipher::kTagBytes);
    if (body.size() > 1) {
      CHECK(message.body().find(body) == std::string_view::npos);
    }
    CHECK(*message.properties().Get<std::string_view>(
              AesGcmCipher::kKeyProperty) == "k1");
    CHECK(cipher->BeforeReceive(message).ok());
    CHECK(message.body() == body);
    CHECK_FALSE(message.properties().Contains(AesGcmCipher::kKeyProperty));
    CHECK(*message.properties().Get<int32_t>("tries") == 3);
  }
}

TEST_CASE("OMS-CRYPT-002: a body is never encrypted to the same bytes") {
  const auto cipher = MakeOne();
  const Message one = Encrypted(*cipher);
  const Message two = Encrypted(*cipher);

  CHECK(one.body() != two.body());
  CHECK(one.body().substr(1, AesGcmCipher::kNonceBytes) !=
        two.body().substr(1, AesGcmCipher::kNonceBytes));
}

TEST_CASE("OMS-CRYPT-002: without a key, or twice, nothing is sent") {
  const auto reader = Make({.keys = {{"k1", Key('a')}}});
  Message message("orders", "x");
  CHECK(OmsCode(reader->BeforeSend(message)) == Code::kIllegalState);
  Message twice = Encrypted(*MakeOne());
  CHECK(OmsCode(MakeOne()->BeforeSend(twice)) == Code::kBadParameter);
}

TEST_CASE("OMS-CRYPT-003: old keys decrypt while they are known") {
  const auto before = MakeOne();
  const auto after = Make(
      {.keys = {{"k1", Key('a')}, {"k2", Key('b')}}, .key_id = "k2"});
  const auto much_later = Make({.keys = {{"k2", Key('b')}}, .key_id = "k2"});
  Message old = Encrypted(*before);
  Message older = old;
  Message fresh = Encrypted(*after);

  CHECK(after->BeforeReceive(old).ok());
  CHECK(old.body() == "42 apples");
  CHECK(much_later->BeforeReceive(fresh).ok());
  CHECK(OmsCode(much_later->BeforeReceive(older)) == Code::kForbidden);
}

TEST_CASE("OMS-CRYPT-004: a wrong key shows nothing") {
  const auto cipher = MakeOne();
  const auto other = Make({.keys = {{"k1", Key('b')}}, .key_id = "k1"});
  Message message = Encrypted(*cipher);
  const std::string bytes(message.body());

  const absl::Status status = other->BeforeReceive(message);

  CHECK(OmsCode(status) == Code::kDamaged);
  CHECK(message.body() == bytes);
  CHECK(status.message().find("k1") != absl::string_view::npos);
  CHECK(status.message().find(Key('b')) == absl::string_view::npos);
}

TEST_CASE("OMS-CRYPT-004: no altered byte passes, nor a missing one") {
  const auto cipher = MakeOne();
  const Message sent = Encrypted(*cipher);
  const std::string bytes(sent.body());
  const auto refused = [&](const std::string& changed) {
    Message message = sent;
    message.SetBody(changed);
    return OmsCode(cipher->BeforeReceive(message)) == Code::kDamaged &&
           message.body() == changed;
  };

  for (size_t i = 0; i < bytes.size(); ++i) {
    CAPTURE(i);
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK(refused(changed));
    CHECK(refused(bytes.substr(0, i)));
  }
  CHECK(refused(bytes + '\0'));
}

TEST_CASE("OMS-CRYPT-004: a body does not pass with another's fields") {
  const auto cipher = Make(
      {.keys = {{"k1", Key('a')}, {"k2", Key('a')}}, .key_id = "k1"});
  const Message sent = Encrypted(*cipher);
  const auto code = [&](auto change) {
    Message message = sent;
    change(message);
    return OmsCode(cipher->BeforeReceive(message));
  };

  CHECK(code([](Message&) {}) == Code::kOk);
  CHECK(code([](Message& m) { m.SetDestination("refunds"); }) ==
        Code::kDamaged);
  CHECK(code([](Message& m) { m.SetMessageKey("other"); }) == Code::kDamaged);
  CHECK(code([](Message& m) { m.SetCorrelationId("18"); }) == Code::kDamaged);
  CHECK(code([](Message& m) { m.SetReplyTo("mine"); }) == Code::kDamaged);
  CHECK(code([](Message& m) { m.SetCompression({}); }) == Code::kDamaged);
  // The same bytes in the other order, and the same key by another name.
  CHECK(code([](Message& m) {
          m.SetMessageKey("17").SetCorrelationId("key");
        }) == Code::kDamaged);
  CHECK(code([](Message& m) {
          CHECK(m.SetProperty(AesGcmCipher::kKeyProperty, "k2").ok());
        }) == Code::kDamaged);
}

TEST_CASE("OMS-CRYPT-005: what is not encrypted is refused, unless allowed") {
  const auto strict = MakeOne();
  const auto lax = Make({.keys = {{"k1", Key('a')}},
                         .key_id = "k1",
                         .require_encryption = false});
  Message plain("orders", "x");
  Message odd("orders", "x");
  REQUIRE(odd.SetProperty(AesGcmCipher::kKeyProperty, 1).ok());

  CHECK(OmsCode(strict->BeforeReceive(plain)) == Code::kForbidden);
  CHECK(lax->BeforeReceive(plain).ok());
  CHECK(plain.body() == "x");
  CHECK(OmsCode(strict->BeforeReceive(odd)) == Code::kForbidden);
  CHECK(OmsCode(lax->BeforeReceive(odd)) == Code::kForbidden);
}

TEST_CASE("OMS-CRYPT-006: a store sees nothing, and its dead letters open") {
  auto bus = MessagingAccessPoint::Connect("oms:memory://cipher");
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("dead").ok());
  REQUIRE(bus->resource_manager()
              .CreateQueue("orders", {.max_deliveries = 1,
                                      .dead_letter_queue = "dead",
                                      .redelivery_delay = milliseconds(0)})
              .ok());
  const auto cipher = MakeOne();
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  REQUIRE(producer->AddInterceptor(cipher).ok());
  REQUIRE(producer->Send(Message("orders", "42 apples")).ok());

  // Who has another key dead-letters it, and has seen nothing.
  auto stranger = bus->CreatePullConsumer({.group = "billing"});
  REQUIRE(stranger.ok());
  REQUIRE(stranger->Bind("orders").ok());
  REQUIRE(stranger
              ->AddInterceptor(Make(
                  {.keys = {{"k1", Key('b')}}, .key_id = "k1"}))
              .ok());
  CHECK(OmsCode(stranger->Receive(kLong).status()) == Code::kDamaged);

  auto owner = bus->CreatePullConsumer({.group = "billing"});
  REQUIRE(owner.ok());
  REQUIRE(owner->Bind("dead").ok());
  REQUIRE(owner
              ->AddInterceptor(Make({.keys = {{"k1", Key('a')}},
                                     .sent_to = "orders"}))
              .ok());
  auto received = owner->Receive(milliseconds(0));
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (received.ok() && !received->has_value() &&
         std::chrono::steady_clock::now() < deadline) {
    (void)stranger->Receive(milliseconds(1));  // Buries what it gave up.
    received = owner->Receive(milliseconds(10));
  }
  REQUIRE(received.ok());
  REQUIRE(received->has_value());
  CHECK((**received)->body() == "42 apples");
  CHECK(*(**received)->properties().Get<std::string_view>(kDeadQueue) ==
        "orders");
  CHECK((*received)->Ack().ok());
}

}  // namespace
}  // namespace openmessaging::aes_gcm_cipher_test
