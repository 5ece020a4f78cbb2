// SPDX-License-Identifier: Apache-2.0
//
// Reads the JSON form of a message, field by field. Include json.h instead.

#ifndef OPENMESSAGING_INTERNAL_JSON_READER_H_
#define OPENMESSAGING_INTERNAL_JSON_READER_H_

#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/base64.h"
#include "openmessaging/internal/json_tree.h"
#include "openmessaging/internal/json_writer.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/key_value.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// A header field that is text, by its name in the JSON form.
struct JsonTextField {
  std::string_view name;
  Field field;
};

inline constexpr std::array<JsonTextField, 14> kJsonTextFields = {{
    {"version", Field::kVersion},
    {"message_id", Field::kMessageId},
    {"origin_id", Field::kOriginId},
    {"destination", Field::kDestination},
    {"born_host", Field::kBornHost},
    {"deduplication_id", Field::kDeduplicationId},
    {"message_key", Field::kMessageKey},
    {"correlation_id", Field::kCorrelationId},
    {"reply_to", Field::kReplyTo},
    {"transaction_id", Field::kTransactionId},
    {"store_host", Field::kStoreHost},
    {"compression", Field::kCompression},
    {"traceparent", Field::kTraceParent},
    {"tracestate", Field::kTraceState},
}};

inline absl::Status JsonError(std::string_view where, std::string_view what) {
  return MakeStatus(Code::kBadParameter, "parse message \"", Printable(where),
                    "\": ", what, " (OMS-JSON-005)");
}

inline absl::Status JsonKindError(std::string_view where, const JsonNode& node,
                                  std::string_view expected) {
  return JsonError(where, Concat("the value is ", JsonKindName(node.kind),
                                 "; expected ", expected));
}

template <std::integral T>
absl::StatusOr<T> ReadJsonInteger(std::string_view where, const JsonNode& node,
                                  T lowest = std::numeric_limits<T>::min(),
                                  T highest = std::numeric_limits<T>::max()) {
  if (node.kind != JsonKind::kInteger) {
    return JsonKindError(where, node, "an integer");
  }
  if (node.integer < lowest || node.integer > highest) {
    return JsonError(where, Concat("the value is ", node.integer, "; expected ",
                                   lowest, " to ", highest));
  }
  return static_cast<T>(node.integer);
}

template <std::floating_point T>
absl::StatusOr<T> ReadJsonReal(std::string_view where, const JsonNode& node) {
  using Limits = std::numeric_limits<T>;
  if (node.kind == JsonKind::kString) {
    if (node.text == "NaN") return Limits::quiet_NaN();
    if (node.text == "Infinity") return Limits::infinity();
    if (node.text == "-Infinity") return -Limits::infinity();
  }
  if (node.kind != JsonKind::kReal && node.kind != JsonKind::kInteger) {
    return JsonKindError(where, node,
                         "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
  }
  const std::string digits =
      node.kind == JsonKind::kReal ? node.text : Concat(node.integer);
  T number = 0;
  const auto result =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (result.ec != std::errc()) {
    return JsonError(where,
                     "the number is out of range; expected a float or "
                     "a double");
  }
  return number;
}

inline absl::StatusOr<std::string> ReadJsonBase64(std::string_view where,
                                                  const JsonNode& node) {
  if (node.kind != JsonKind::kString) {
    return JsonKindError(where, node, "base64 in a string");
  }
  std::optional<std::string> bytes = DecodeBase64(node.text);
  if (!bytes) {
    return JsonError(where,
                     "the text is not base64; expected digits of RFC "
                     "4648 with padding");
  }
  return *std::move(bytes);
}

inline absl::StatusOr<KeyValue> ReadJsonProperties(const std::string& where,
                                                   const JsonNode& node,
                                                   int depth);

template <typename T>
absl::Status PutRead(KeyValue& into, std::string_view key,
                     const absl::StatusOr<T>& value) {
  return value.ok() ? into.Put(key, *value) : value.status();
}

// Reads the {"type":…,"value":…} that AppendJsonTyped() writes.
inline absl::Status ReadJsonTyped(KeyValue& into, std::string_view key,
                                  const std::string& where,
                                  const JsonNode& node, int depth) {
  const JsonNode* const type = node.Find("type");
  const JsonNode* const value = node.Find("value");
  if (type == nullptr || value == nullptr || node.members.size() != 2 ||
      type->kind != JsonKind::kString) {
    return JsonError(where,
                     "the value is another object; expected "
                     "{\"type\":...,\"value\":...}");
  }
  const std::string& name = type->text;
  const auto is = [&name](ValueType wanted) {
    return name == ValueTypeName(wanted);
  };
  if (is(ValueType::kInt16)) {
    return PutRead(into, key, ReadJsonInteger<int16_t>(where, *value));
  }
  if (is(ValueType::kInt32)) {
    return PutRead(into, key, ReadJsonInteger<int32_t>(where, *value));
  }
  if (is(ValueType::kInt64)) {
    return PutRead(into, key, ReadJsonInteger<int64_t>(where, *value));
  }
  if (is(ValueType::kFloat)) {
    return PutRead(into, key, ReadJsonReal<float>(where, *value));
  }
  if (is(ValueType::kDouble)) {
    return PutRead(into, key, ReadJsonReal<double>(where, *value));
  }
  if (is(ValueType::kBool)) {
    if (value->kind == JsonKind::kBool) return into.Put(key, value->boolean);
    return JsonKindError(where, *value, "true or false");
  }
  if (is(ValueType::kString)) {
    if (value->kind == JsonKind::kString) return into.Put(key, value->text);
    return JsonKindError(where, *value, "a string");
  }
  if (is(ValueType::kBytes)) {
    const auto bytes = ReadJsonBase64(where, *value);
    return bytes.ok() ? into.Put(key, Bytes{*bytes}) : bytes.status();
  }
  if (is(ValueType::kKeyValue)) {
    return PutRead(into, key, ReadJsonProperties(where, *value, depth + 1));
  }
  return JsonError(where, Concat("the type is \"", Printable(name),
                                 "\"; expected bool, int16, int32, int64, "
                                 "float, double, string, bytes or keyvalue"));
}

inline absl::StatusOr<KeyValue> ReadJsonProperties(const std::string& where,
                                                   const JsonNode& node,
                                                   int depth) {
  if (node.kind != JsonKind::kObject) {
    return JsonKindError(where, node, "an object");
  }
  if (depth > kMaxPropertiesDepth) {
    return MakeStatus(Code::kAttributesTooLarge, "parse message \"",
                      Printable(where),
                      "\": properties nest too deep; limit "
                      "is ",
                      kMaxPropertiesDepth, " levels (OMS-JSON-005)");
  }
  KeyValue properties;
  for (const auto& [key, value] : node.members) {
    const std::string path = Concat(where, '.', key);
    absl::Status status;
    switch (value.kind) {
      case JsonKind::kBool:
        status = properties.Put(key, value.boolean);
        break;
      case JsonKind::kInteger:
        status = properties.Put(key, value.integer);
        break;
      case JsonKind::kReal:
        status = PutRead(properties, key, ReadJsonReal<double>(path, value));
        break;
      case JsonKind::kString:
        status = properties.Put(key, value.text);
        break;
      case JsonKind::kObject:
        status = ReadJsonTyped(properties, key, path, value, depth);
        break;
    }
    if (!status.ok()) return status;
  }
  return properties;
}

// Reads the members of one object into one message.
class JsonMessageReader {
 public:
  explicit JsonMessageReader(const JsonNode& root) : root_(root) {}

  absl::StatusOr<Message> Read() {
    for (const auto& [key, node] : root_.members) {
      if (absl::Status status = ReadMember(key, node); !status.ok()) {
        return status;
      }
    }
    if (!has_destination_) {
      return JsonError("destination",
                       "the key is absent; expected the name of a queue");
    }
    // Of a delivered message it is where it lay, else where it shall go.
    if (partition_ && header_.delivery_count > 0) {
      header_.partition = *partition_;
    } else if (partition_) {
      message_.SetPartition(*partition_);
    }
    driver::MessageAccess::SetDelivery(message_, header_);
    return std::move(message_);
  }

 private:
  absl::Status ReadMember(std::string_view key, const JsonNode& node) {
    constexpr std::string_view kSuffix = "_base64";
    const bool base64 = key.ends_with(kSuffix);
    std::string_view name = key;
    if (base64) name.remove_suffix(kSuffix.size());
    if (name == "body") return ReadBody(key, node, base64);
    for (const JsonTextField& field : kJsonTextFields) {
      if (field.name == name) return ReadText(field, key, node, base64);
    }
    if (key == "properties") {
      auto properties = ReadJsonProperties("properties", node, 1);
      if (properties.ok()) message_.SetProperties(*properties);
      return properties.status();
    }
    if (key == "durability") return ReadDurability(node);
    return ReadNumber(key, node);
  }

  absl::Status ReadBody(std::string_view key, const JsonNode& node,
                        bool base64) {
    auto body = ReadBytes(key, node, base64);
    if (!body.ok()) return body.status();
    if (std::exchange(has_body_, true)) {
      return JsonError(key,
                       "the body stands twice; expected \"body\" or "
                       "\"body_base64\"");
    }
    if (body->size() > kMaxBodyBytes) {
      return MakeStatus(Code::kBodyTooLarge, "parse message \"", key,
                        "\": body is ", body->size(), " bytes; limit is ",
                        kMaxBodyBytes, " (OMS-JSON-005)");
    }
    message_.SetBody(*body);
    return absl::OkStatus();
  }

  absl::Status ReadText(const JsonTextField& field, std::string_view key,
                        const JsonNode& node, bool base64) {
    auto text = ReadBytes(key, node, base64);
    if (!text.ok()) return text.status();
    if (FindField(driver::MessageAccess::Fields(message_), field.field)) {
      return JsonError(key,
                       "the field stands twice; expected it as text or "
                       "as base64");
    }
    if (field.field == Field::kDestination) has_destination_ = true;
    if ((field.field == Field::kMessageId || field.field == Field::kOriginId) &&
        text->size() > MessageId::kMaxTextBytes) {
      return JsonError(key,
                       Concat("the id is ", text->size(), " bytes; limit is ",
                              MessageId::kMaxTextBytes));
    }
    driver::MessageAccess::SetField(message_, field.field, *text);
    return absl::OkStatus();
  }

  static absl::StatusOr<std::string> ReadBytes(std::string_view key,
                                               const JsonNode& node,
                                               bool base64) {
    if (base64) return ReadJsonBase64(key, node);
    if (node.kind == JsonKind::kString) return node.text;
    return JsonKindError(key, node, "a string");
  }

  absl::Status ReadDurability(const JsonNode& node) {
    for (size_t i = 1; i < kDurabilityNames.size(); ++i) {
      if (node.kind == JsonKind::kString && node.text == kDurabilityNames[i]) {
        message_.SetDurability(static_cast<Durability>(i));
        return absl::OkStatus();
      }
    }
    return JsonError("durability",
                     "the value is another one; expected "
                     "\"volatile\", \"process\" or \"disk\"");
  }

  template <typename T>
  static absl::Status Take(std::string_view key, const JsonNode& node, T lowest,
                           T highest, T& into) {
    const auto number = ReadJsonInteger<T>(key, node, lowest, highest);
    if (number.ok()) into = *number;
    return number.status();
  }
  template <typename T>
  static absl::Status Take(std::string_view key, const JsonNode& node,
                           T& into) {
    return Take(key, node, std::numeric_limits<T>::min(),
                std::numeric_limits<T>::max(), into);
  }

  absl::Status ReadNumber(std::string_view key, const JsonNode& node) {
    constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
    constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
    int64_t number = 0;
    absl::Status status;
    if (key == "priority") {
      status = Take<int64_t>(key, node, 1, 10, number);
      if (status.ok()) message_.SetPriority(static_cast<int>(number));
    } else if (key == "qos") {
      status = Take<int64_t>(key, node, 0, 2, number);
      if (status.ok()) message_.SetQos(static_cast<Qos>(number));
    } else if (key == "partition") {
      status = Take(key, node, partition_.emplace(0));
    } else if (key == "offset") {
      status = Take<int64_t>(key, node, 0, kMax64, header_.offset);
    } else if (key == "store_timestamp") {
      status = Take(key, node, header_.store_timestamp_ms);
    } else if (key == "delivery_count") {
      status = Take<int32_t>(key, node, 0, kMax32, header_.delivery_count);
    } else if (key == "delay") {
      status = Take(key, node, number);
      if (status.ok()) message_.SetDelay(Message::Milliseconds(number));
    } else if (key == "expire_at") {
      status = Take(key, node, number);
      if (status.ok()) message_.SetExpireAt(Message::Milliseconds(number));
    } else if (key == "born_timestamp") {
      status = Take(key, node, number);
      if (status.ok()) {
        driver::MessageAccess::SetField(message_, Field::kBornTimestamp,
                                        NumberBytes(number));
      }
    } else {
      return JsonError(key, "no such field; expected a field of a message");
    }
    return status;
  }

  const JsonNode& root_;
  Message message_;
  driver::DeliveryHeader header_{.delivery_count = 0};
  std::optional<int32_t> partition_;
  bool has_destination_ = false;
  bool has_body_ = false;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_JSON_READER_H_
