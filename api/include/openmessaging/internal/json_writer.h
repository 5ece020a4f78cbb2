// SPDX-License-Identifier: Apache-2.0
//
// Writes the JSON form of a message, field by field. Include json.h instead.

#ifndef OPENMESSAGING_INTERNAL_JSON_WRITER_H_
#define OPENMESSAGING_INTERNAL_JSON_WRITER_H_

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/base64.h"
#include "openmessaging/internal/json_text.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline constexpr std::array<std::string_view, 4> kDurabilityNames = {
    "default", "volatile", "process", "disk"};

inline void AppendJsonProperties(std::string& out, KeyValueView properties);

// Writes {"type":…,"value":…}, for what JSON has no type of its own for.
inline void AppendJsonTyped(std::string& out, const Value& value) {
  JsonObjectWriter object(out);
  AppendJsonString(object.Key("type"), ValueTypeName(value.type()));
  object.Key("value");
  switch (value.type()) {
    case ValueType::kFloat:
      AppendJsonReal(out, value.As<float>().value_or(0));
      return;
    case ValueType::kDouble:
      AppendJsonReal(out, value.As<double>().value_or(0));
      return;
    case ValueType::kBytes:
      out.push_back('"');
      AppendBase64(out, value.As<Bytes>().value_or(Bytes{}).data);
      out.push_back('"');
      return;
    case ValueType::kKeyValue:
      AppendJsonProperties(out,
                           value.As<KeyValueView>().value_or(KeyValueView()));
      return;
    default:
      AppendPart(out, value.As<int64_t>().value_or(0));
  }
}

inline void AppendJsonValue(std::string& out, const Value& value) {
  switch (value.type()) {
    case ValueType::kBool:
      AppendPart(out, value.As<bool>().value_or(false));
      return;
    case ValueType::kInt64:
      AppendPart(out, value.As<int64_t>().value_or(0));
      return;
    case ValueType::kString:
      AppendJsonString(out, value.As<std::string_view>().value_or(""));
      return;
    case ValueType::kDouble:
      if (const double number = value.As<double>().value_or(0);
          std::isfinite(number)) {
        AppendJsonReal(out, number);
        return;
      }
      break;
    default:
      break;
  }
  AppendJsonTyped(out, value);
}

// A damaged collection is written up to the damage.
inline void AppendJsonProperties(std::string& out, KeyValueView properties) {
  JsonObjectWriter object(out);
  for (const auto& [key, value] : properties) {
    AppendJsonValue(object.Key(key), value);
  }
}

// Writes the header in the order of spec/message.md. What a message that was
// delivered does not store because it is implied is written nevertheless.
class JsonMessageWriter {
 public:
  JsonMessageWriter(std::string& out, const Message& message)
      : object_(out),
        message_(message),
        fields_(driver::MessageAccess::Fields(message)),
        delivered_(message.delivery_count() > 0) {}

  void Write() {
    Text("version", Implied(Field::kVersion, message_.version()));
    Text("message_id", message_.message_id().ToString());
    if (Has(Field::kOriginId)) {
      Text("origin_id", message_.origin_id().ToString());
    }
    object_.Text("destination", message_.destination());
    if (const int64_t born = message_.born_timestamp().count();
        Has(Field::kBornTimestamp) || (delivered_ && born != 0)) {
      object_.Integer("born_timestamp", born);
    }
    Text("born_host", Implied(Field::kBornHost, message_.born_host()));
    if (Has(Field::kPriority)) object_.Integer("priority", message_.priority());
    if (const auto qos = static_cast<int>(message_.qos());
        Has(Field::kQos) && qos <= static_cast<int>(Qos::kExactlyOnce)) {
      object_.Integer("qos", qos);
    }
    const auto durability = static_cast<size_t>(message_.durability());
    if (durability > 0 && durability < kDurabilityNames.size()) {
      Text("durability", kDurabilityNames[durability]);
    }
    Text("deduplication_id", message_.deduplication_id());
    WritePlace();
    Text("message_key", message_.message_key());
    Text("correlation_id", message_.correlation_id());
    Text("reply_to", message_.reply_to());
    Text("transaction_id", message_.transaction_id());
    if (const int64_t stored = message_.store_timestamp().count();
        stored != 0) {
      object_.Integer("store_timestamp", stored);
    }
    Text("store_host", message_.store_host());
    if (Has(Field::kDelay)) object_.Integer("delay", message_.delay().count());
    if (Has(Field::kExpireAt)) {
      object_.Integer("expire_at", message_.expire_at().count());
    }
    if (delivered_) {
      object_.Integer("delivery_count", message_.delivery_count());
    }
    Text("compression", message_.compression());
    Text("traceparent", message_.traceparent());
    Text("tracestate", message_.tracestate());
    if (const KeyValueView properties = message_.properties();
        !properties.empty()) {
      AppendJsonProperties(object_.Key("properties"), properties);
    }
    object_.Text("body", message_.body());
  }

 private:
  bool Has(Field field) const { return FindField(fields_, field).has_value(); }
  std::string_view Implied(Field field, std::string_view value) const {
    return delivered_ || Has(field) ? value : std::string_view();
  }
  void Text(std::string_view name, std::string_view text) {
    if (!text.empty()) object_.Text(name, text);
  }
  void WritePlace() {
    const int32_t partition =
        delivered_ ? message_.partition() : message_.requested_partition();
    if (delivered_ ? partition >= 0 : Has(Field::kPartition)) {
      object_.Integer("partition", partition);
    }
    if (message_.offset() >= 0) object_.Integer("offset", message_.offset());
  }

  JsonObjectWriter object_;
  const Message& message_;
  const std::string_view fields_;
  const bool delivered_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_JSON_WRITER_H_
