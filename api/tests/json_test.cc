// SPDX-License-Identifier: Apache-2.0
//
// Tests of json.h: the JSON form, both directions, and hostile text.

#include "openmessaging/json.h"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"

namespace openmessaging::json_test {
namespace {

using driver::MessageAccess;
using internal::Field;
using std::chrono::milliseconds;

// Reads `json` and writes it again; "error: …" where it cannot be read.
std::string Again(std::string_view json) {
  const auto message = FromJson(json);
  if (!message.ok()) {
    return "error: " + std::string(message.status().message());
  }
  return ToJson(*message);
}

// Returns: the code that reading `json` ends with.
Code CodeOf(std::string_view json) { return OmsCode(FromJson(json).status()); }

// Returns: a message whose every field is set, as a consumer sees it.
Message Delivered() {
  Message message("orders", "caf\xC3\xA9 \"42\"\n");
  MessageAccess::SetField(message, Field::kMessageId, "id-7");
  MessageAccess::SetField(message, Field::kOriginId, "id-1");
  MessageAccess::SetField(message, Field::kVersion, "1.0.0");
  const int64_t born = 1700000000123;
  MessageAccess::SetField(message, Field::kBornTimestamp,
                          internal::NumberBytes(born));
  MessageAccess::SetField(message, Field::kBornHost, "alpha");
  MessageAccess::SetField(message, Field::kStoreHost, "beta");
  MessageAccess::SetField(message, Field::kTransactionId, "tx-9");
  message.SetPriority(7)
      .SetQos(Qos::kExactlyOnce)
      .SetDurability(Durability::kDisk)
      .SetDeduplicationId("once")
      .SetMessageKey("customer-3")
      .SetCorrelationId("c-1")
      .SetReplyTo("answers")
      .SetDelay(milliseconds(1500))
      .SetExpireAt(milliseconds(1800000000000))
      .SetCompression("zstd")
      .SetTraceparent("00-aa-bb-01")
      .SetTracestate("v=1");
  REQUIRE(message.SetProperty("tries", int64_t{2}).ok());
  MessageAccess::SetDelivery(message, {.partition = 3,
                                       .offset = 41,
                                       .store_timestamp_ms = 1700000000456,
                                       .delivery_count = 2});
  return message;
}

// Returns: properties with every type, and with numbers at their limits.
KeyValue EveryType() {
  KeyValue nested;
  REQUIRE(nested.Put("inner", int16_t{-1}).ok());
  KeyValue all;
  REQUIRE(all.Put("bool", true).ok());
  REQUIRE(all.Put("bytes", Bytes{std::string_view("\0\xFF\x10", 3)}).ok());
  REQUIRE(all.Put("double", 0.1).ok());
  REQUIRE(all.Put("double.inf", -HUGE_VAL).ok());
  REQUIRE(all.Put("double.nan", std::nan("")).ok());
  REQUIRE(all.Put("double.whole", 3.0).ok());
  REQUIRE(all.Put("double.zero", -0.0).ok());
  REQUIRE(all.Put("float", 0.1F).ok());
  REQUIRE(all.Put("float.inf", std::numeric_limits<float>::infinity()).ok());
  REQUIRE(all.Put("int16", std::numeric_limits<int16_t>::min()).ok());
  REQUIRE(all.Put("int32", std::numeric_limits<int32_t>::max()).ok());
  REQUIRE(all.Put("int64", std::numeric_limits<int64_t>::min()).ok());
  REQUIRE(all.Put("nested", nested).ok());
  REQUIRE(all.Put("string", "\x01 tab\t \xE2\x82\xAC").ok());
  REQUIRE(all.Put("type", "no clash with the typed form").ok());
  return all;
}

}  // namespace

TEST_CASE("OMS-JSON-001: a plain message is one flat object of what is set") {
  Message message("orders", "42 apples");
  message.SetPriority(7);
  REQUIRE(message.SetProperty("tries", int64_t{2}).ok());

  CHECK(ToJson(message) == R"({"destination":"orders","priority":7,)"
                           R"("properties":{"tries":2},"body":"42 apples"})");
  CHECK(ToJson(Message()) == R"({"destination":"","body":""})");
}

TEST_CASE("OMS-JSON-001: every field has the name of the specification") {
  CHECK(ToJson(Delivered()) ==
        R"({"version":"1.0.0","message_id":"id-7","origin_id":"id-1",)"
        R"("destination":"orders","born_timestamp":1700000000123,)"
        R"("born_host":"alpha","priority":7,"qos":2,"durability":"disk",)"
        R"("deduplication_id":"once","partition":3,"offset":41,)"
        R"("message_key":"customer-3","correlation_id":"c-1",)"
        R"("reply_to":"answers","transaction_id":"tx-9",)"
        R"("store_timestamp":1700000000456,"store_host":"beta","delay":1500,)"
        R"("expire_at":1800000000000,"delivery_count":2,"compression":"zstd",)"
        R"("traceparent":"00-aa-bb-01","tracestate":"v=1",)"
        "\"properties\":{\"tries\":2},"
        "\"body\":\"caf\xC3\xA9 \\\"42\\\"\\n\"}");
}

TEST_CASE("OMS-JSON-001: an independent parser reads what is written") {
  Message message = Delivered();
  message.SetProperties(EveryType());

  const auto json = nlohmann::json::parse(ToJson(message), nullptr, false);

  REQUIRE(json.is_object());
  CHECK(json["body"] == "caf\xC3\xA9 \"42\"\n");
  CHECK(json["offset"] == 41);
  CHECK(json["properties"]["int64"] == std::numeric_limits<int64_t>::min());
  CHECK(json["properties"]["string"] == "\x01 tab\t \xE2\x82\xAC");
  CHECK(json["properties"]["bytes"]["value"] == "AP8Q");
  CHECK(json["properties"]["nested"]["value"]["inner"]["value"] == -1);
}

TEST_CASE("OMS-JSON-002: bytes that are not UTF-8 are written as base64") {
  Message message("orders", std::string_view("\xFF\x00", 2));
  message.SetMessageKey("\x80");

  const std::string json = ToJson(message);

  CHECK(json == R"({"destination":"orders","message_key_base64":"gA==",)"
                R"("body_base64":"/wA="})");
  const auto read = FromJson(json);
  REQUIRE(read.ok());
  CHECK(read->body() == std::string_view("\xFF\x00", 2));
  CHECK(read->message_key() == "\x80");
}

TEST_CASE("OMS-JSON-003: each type of property comes back as itself") {
  Message message("orders", "");
  message.SetProperties(EveryType());

  const auto read = FromJson(ToJson(message));

  REQUIRE(read.ok());
  // Equal types and bytes; the sign of zero and NaN are told apart too.
  CHECK(read->properties() == EveryType().view());
}

TEST_CASE("OMS-JSON-003: plain numbers are int64 or double by their writing") {
  const auto read = FromJson(
      R"({"destination":"q","properties":{"a":1,"b":1.0,"c":1e2,"d":-0.0}})");
  REQUIRE(read.ok());
  const KeyValueView properties = read->properties();

  CHECK(properties.Find("a")->type() == ValueType::kInt64);
  CHECK(properties.Find("b")->type() == ValueType::kDouble);
  CHECK(properties.GetOr<double>("c", 0) == 100);
  CHECK(std::signbit(properties.GetOr<double>("d", 1)));
}

TEST_CASE("OMS-JSON-003: doubles and floats lose no bit") {
  std::mt19937_64 random(20240607);
  for (int i = 0; i < 5000; ++i) {
    const auto number = std::bit_cast<double>(random());
    const auto narrow = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isnan(number) || std::isnan(narrow)) continue;
    KeyValue numbers;
    REQUIRE(numbers.Put("d", number).ok());
    REQUIRE(numbers.Put("f", narrow).ok());
    Message message("q", "");
    message.SetProperties(numbers);

    const auto read = FromJson(ToJson(message));

    REQUIRE(read.ok());
    REQUIRE(read->properties() == numbers.view());
  }
}

TEST_CASE("OMS-JSON-004: reading restores every field") {
  const Message message = Delivered();
  const std::string json = ToJson(message);

  const auto read = FromJson(json);

  REQUIRE(read.ok());
  CHECK(ToJson(*read) == json);
  CHECK(read->body() == message.body());
  CHECK(read->message_id() == message.message_id());
  CHECK(read->origin_id() == message.origin_id());
  CHECK(read->born_timestamp() == message.born_timestamp());
  CHECK(read->store_timestamp() == message.store_timestamp());
  CHECK(read->partition() == 3);
  CHECK(read->requested_partition() == -1);
  CHECK(read->offset() == 41);
  CHECK(read->delivery_count() == 2);
  CHECK(read->qos() == Qos::kExactlyOnce);
  CHECK(read->durability() == Durability::kDisk);
  CHECK(read->delay() == milliseconds(1500));
}

TEST_CASE("OMS-JSON-004: before a delivery partition is what is asked for") {
  const auto read = FromJson(R"({"body":"x","partition":5,"destination":"q"})");

  REQUIRE(read.ok());
  CHECK(read->requested_partition() == 5);
  CHECK(read->partition() == -1);
  CHECK(ToJson(*read) == R"({"destination":"q","partition":5,"body":"x"})");
}

TEST_CASE("OMS-JSON-004: what a store implies of a delivery is written") {
  Message message("q", "x");
  MessageAccess::SetDelivery(message, {.partition = 0,
                                       .offset = 0,
                                       .store_timestamp_ms = 12,
                                       .delivery_count = 1});

  CHECK(ToJson(message) ==
        R"({"version":"1.0.0","destination":"q","born_timestamp":12,)"
        R"("partition":0,"offset":0,"store_timestamp":12,)"
        R"("delivery_count":1,"body":"x"})");
  CHECK(Again(ToJson(message)) == ToJson(message));
}

TEST_CASE("OMS-JSON-004: random messages survive the round trip") {
  std::mt19937_64 random(7);
  const auto bytes = [&random](size_t limit) {
    std::string text(random() % limit, '\0');
    const bool ascii = random() % 2 == 0;
    for (char& c : text) {
      c = static_cast<char>(ascii ? 32 + random() % 95 : random());
    }
    return text;
  };
  for (int i = 0; i < 3000; ++i) {
    Message message(bytes(20), bytes(60));
    if (random() % 2 == 0) message.SetMessageKey(bytes(9));
    if (random() % 2 == 0) message.SetReplyTo(bytes(9));
    if (random() % 3 == 0) message.SetPriority(static_cast<int>(random() % 20));
    if (random() % 3 == 0) message.SetPartition(static_cast<int32_t>(random()));
    if (random() % 3 == 0) {
      message.SetDelay(milliseconds(static_cast<int64_t>(random())));
    }
    if (random() % 3 == 0)
      MessageAccess::SetField(message, Field::kBornHost, bytes(9));
    if (random() % 2 == 0) {
      MessageAccess::SetDelivery(
          message, {.partition = static_cast<int32_t>(random() % 8) - 1,
                    .offset = static_cast<int64_t>(random() % 99) - 1,
                    .store_timestamp_ms = static_cast<int64_t>(random()),
                    .delivery_count = static_cast<int32_t>(random() % 3)});
    }
    KeyValue properties;
    for (size_t n = random() % 4; n > 0; --n) {
      const std::string value = bytes(12);
      // A key that is not UTF-8 is refused and left out.
      properties.Put(bytes(6), Bytes{value}).IgnoreError();
      properties.Put(bytes(6), static_cast<int32_t>(random())).IgnoreError();
    }
    message.SetProperties(properties);

    const std::string json = ToJson(message);
    const auto read = FromJson(json);

    REQUIRE_MESSAGE(read.ok(), json);
    REQUIRE(ToJson(*read) == json);
    REQUIRE(read->destination() == message.destination());
    REQUIRE(read->body() == message.body());
    REQUIRE(read->properties() == message.properties());
  }
}

TEST_CASE("OMS-JSON-005: text that is not one object is refused") {
  for (const std::string_view json :
       {"", " ", "null", "[]", "5", "\"x\"", "{", "{}x", "{]", "nul",
        R"({"destination":"q"}{})", R"({"destination":"q",})",
        R"({destination:"q"})", "{\"destination\":\"\xFF\"}",
        R"({"destination":"\ud800"})", "{\"destination\":\"a\nb\"}"}) {
    CAPTURE(json);
    CHECK(CodeOf(json) == Code::kBadParameter);
  }
}

TEST_CASE("OMS-JSON-005: a missing, doubled or unknown key is refused") {
  CHECK(Again(R"({"body":"x"})") ==
        "error: parse message \"destination\": the key is absent; expected "
        "the name of a queue (OMS-JSON-005)");
  CHECK(Again(R"({"destination":"q","destination":"q"})") ==
        "error: parse message \"destination\": the key stands twice; expected "
        "it once (OMS-JSON-005)");
  CHECK(Again(R"({"destination":"q","colour":1})") ==
        "error: parse message \"colour\": no such field; expected a field of "
        "a message (OMS-JSON-005)");
  for (const std::string_view json :
       {R"({"destination":"q","body":"","body_base64":""})",
        R"({"destination":"q","message_key":"a","message_key_base64":"YQ=="})",
        R"({"destination":"q","properties":{"a":1,"a":2}})",
        R"({"destination":"q","priority_base64":"YQ=="})",
        R"({"destination":"q","BODY":"x"})"}) {
    CAPTURE(json);
    CHECK(CodeOf(json) == Code::kBadParameter);
  }
}

TEST_CASE("OMS-JSON-005: a value of a wrong type or range is refused") {
  for (const std::string_view member :
       {R"("body":1)",
        R"("body":null)",
        R"("body":["x"])",
        R"("qos":"1")",
        R"("qos":3)",
        R"("qos":1.0)",
        R"("priority":0)",
        R"("priority":11)",
        R"("durability":"DISK")",
        R"("durability":3)",
        R"("partition":true)",
        R"("partition":2147483648)",
        R"("offset":-1)",
        R"("delay":"5s")",
        R"("delay":9223372036854775808)",
        R"("delivery_count":-1)",
        R"("expire_at":{})",
        R"("properties":1)",
        R"("properties":{"":1})",
        R"("properties":{"a":null})",
        R"("properties":{"a":[1]})",
        R"("properties":{"a":{"b":1}})",
        R"("properties":{"a":{"type":"int32","value":2147483648}})",
        R"("properties":{"a":{"type":"int32","value":1.5}})",
        R"("properties":{"a":{"type":"int128","value":1}})",
        R"("properties":{"a":{"type":"bytes","value":"YQ="}})",
        R"("properties":{"a":{"type":"double","value":"nan"}})",
        R"("properties":{"a":{"type":"float","value":1e39}})",
        R"("properties":{"a":{"type":"int16","value":1,"x":1}})",
        R"("properties":{"a":1e999})",
        R"("properties":{"a":18446744073709551616})",
        R"("body_base64":"YR==")",
        R"("body_base64":"Y Q=")",
        R"("body_base64":"====")",
        R"("body_base64":"YQ")"}) {
    CAPTURE(member);
    const std::string json =
        R"({"destination":"q",)" + std::string(member) + "}";
    CHECK(CodeOf(json) == Code::kBadParameter);
    CHECK(FromJson(json).status().message().find('\n') ==
          absl::string_view::npos);
  }
  CHECK(Again(R"({"destination":"q","qos":3})") ==
        "error: parse message \"qos\": the value is 3; expected 0 to 2 "
        "(OMS-JSON-005)");
}

TEST_CASE("OMS-JSON-005: an id over the limit is refused") {
  const std::string longest(MessageId::kMaxTextBytes, 'i');
  const auto json = [](const std::string& id) {
    return R"({"destination":"q","message_id":")" + id + "\"}";
  };

  CHECK(FromJson(json(longest)).ok());
  CHECK(CodeOf(json(longest + "i")) == Code::kBadParameter);
}

TEST_CASE("OMS-JSON-005: a body over the largest one is refused") {
  std::string json = R"({"destination":"q","body":")";
  json.append(kMaxBodyBytes + 1, 'x');
  json += "\"}";

  CHECK(CodeOf(json) == Code::kBodyTooLarge);
}

TEST_CASE("OMS-JSON-005: nesting is bounded and deep text costs no stack") {
  const auto nested = [](int depth) {
    std::string json = R"({"destination":"q","properties":)";
    for (int i = 1; i < depth; ++i) {
      json += R"({"n":{"type":"keyvalue","value":)";
    }
    json += "{\"leaf\":true}";
    for (int i = 1; i < depth; ++i) json += "}}";
    return json + "}";
  };

  CHECK(FromJson(nested(kMaxPropertiesDepth)).ok());
  CHECK(CodeOf(nested(kMaxPropertiesDepth + 1)) == Code::kAttributesTooLarge);
  CHECK(CodeOf(nested(100000)) == Code::kAttributesTooLarge);
  CHECK(CodeOf(std::string(1000000, '[')) == Code::kBadParameter);
}

TEST_CASE(
    "OMS-JSON-005: more properties than a message may carry are refused") {
  const auto json = [](size_t count) {
    std::string text = R"({"destination":"q","properties":{"k":0)";
    for (size_t i = 1; i < count; ++i)
      text += internal::Concat(",\"", i, "\":1");
    return text + "}}";
  };

  CHECK(FromJson(json(kMaxProperties)).ok());
  CHECK(CodeOf(json(kMaxProperties + 1)) == Code::kAttributesTooLarge);
}

TEST_CASE("OMS-JSON-005: damaged text is refused or reads as a message") {
  Message message = Delivered();
  message.SetProperties(EveryType());
  const std::string json = ToJson(message);

  for (size_t i = 0; i < json.size(); ++i) {
    REQUIRE(!FromJson(std::string_view(json).substr(0, i)).ok());
    for (const char c : {'"', '{', '}', ':', ',', '0', '-', '\\', '\xFF'}) {
      std::string changed = json;
      changed[i] = c;
      const auto read = FromJson(changed);
      // What is accepted has a form of its own that reads back.
      if (read.ok()) REQUIRE(Again(ToJson(*read)) == ToJson(*read));
    }
  }
}

TEST_CASE("OMS-JSON-005: base64 of all lengths reads back") {
  std::mt19937 random(3);
  for (size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    std::string text;
    internal::AppendBase64(text, bytes);

    CHECK(internal::DecodeBase64(text) == bytes);
  }
  CHECK(internal::DecodeBase64("Zm9v") == "foo");
  CHECK(!internal::DecodeBase64("Zm9").has_value());
}

}  // namespace openmessaging::json_test
