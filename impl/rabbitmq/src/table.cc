// SPDX-License-Identifier: Apache-2.0

#include "table.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "broker_error.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

// Deeper than any properties of ours: a peer's table is not trusted.
constexpr int kMaxDepth = kMaxPropertiesDepth - 1;

void Put(KeyValue& out, std::string_view key, const Value& value) {
  // What has no name, or none that is text, cannot be a property.
  (void)out.Put(key, value);
}

void ReadText(KeyValue& out, std::string_view key, std::string_view text) {
  if (internal::IsUtf8(text)) {
    Put(out, key, text);
  } else {
    Put(out, key, Bytes{text});
  }
}

void ReadUnsigned(KeyValue& out, std::string_view key, uint64_t number) {
  if (number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    Put(out, key, static_cast<int64_t>(number));
  } else {
    Put(out, key, std::to_string(number));
  }
}

// A decimal is a number with so many digits behind its point.
std::string DecimalText(const amqp_decimal_t& decimal) {
  std::string digits = std::to_string(decimal.value);
  if (decimal.decimals == 0) return digits;
  if (digits.size() <= decimal.decimals) {
    digits.insert(0, decimal.decimals + 1 - digits.size(), '0');
  }
  digits.insert(digits.size() - decimal.decimals, 1, '.');
  return digits;
}

void ReadValue(KeyValue& out, std::string_view key,
               const amqp_field_value_t& field, int depth);

void ReadNested(KeyValue& out, std::string_view key, const KeyValue& nested) {
  Put(out, key, nested);
}

KeyValue ReadFields(const amqp_table_t& table, int depth) {
  KeyValue all;
  for (int i = 0; i < table.num_entries && depth <= kMaxDepth; ++i) {
    ReadValue(all, View(table.entries[i].key), table.entries[i].value, depth);
  }
  return all;
}

KeyValue ReadArray(const amqp_array_t& array, int depth) {
  KeyValue all;
  for (int i = 0; i < array.num_entries && depth <= kMaxDepth; ++i) {
    ReadValue(all, std::to_string(i), array.entries[i], depth);
  }
  return all;
}

void ReadValue(KeyValue& out, std::string_view key,
               const amqp_field_value_t& field, int depth) {
  const auto& value = field.value;
  switch (field.kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
      return Put(out, key, value.boolean != 0);
    case AMQP_FIELD_KIND_I8:
      return Put(out, key, int16_t{value.i8});
    case AMQP_FIELD_KIND_U8:
      return Put(out, key, int16_t{value.u8});
    case AMQP_FIELD_KIND_I16:
      return Put(out, key, value.i16);
    case AMQP_FIELD_KIND_U16:
      return Put(out, key, int32_t{value.u16});
    case AMQP_FIELD_KIND_I32:
      return Put(out, key, value.i32);
    case AMQP_FIELD_KIND_U32:
      return Put(out, key, int64_t{value.u32});
    case AMQP_FIELD_KIND_I64:
      return Put(out, key, value.i64);
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_TIMESTAMP:
      return ReadUnsigned(out, key, value.u64);
    case AMQP_FIELD_KIND_F32:
      return Put(out, key, value.f32);
    case AMQP_FIELD_KIND_F64:
      return Put(out, key, value.f64);
    case AMQP_FIELD_KIND_DECIMAL:
      return Put(out, key, DecimalText(value.decimal));
    case AMQP_FIELD_KIND_UTF8:
      return ReadText(out, key, View(value.bytes));
    case AMQP_FIELD_KIND_BYTES:
      return Put(out, key, Bytes{View(value.bytes)});
    case AMQP_FIELD_KIND_TABLE:
      return ReadNested(out, key, ReadFields(value.table, depth + 1));
    case AMQP_FIELD_KIND_ARRAY:
      return ReadNested(out, key, ReadArray(value.array, depth + 1));
    default:
      return;  // Nothing, or what nobody knows.
  }
}

}  // namespace

bool FitsTable(KeyValueView properties) {
  for (const auto& [key, value] : properties) {
    if (key.size() > kMaxShortBytes) return false;
    switch (value.type()) {
      case ValueType::kFloat:
      case ValueType::kDouble:
        if (!std::isfinite(*value.As<double>())) return false;
        break;
      case ValueType::kKeyValue:
        if (!FitsTable(*value.As<KeyValueView>())) return false;
        break;
      default:
        break;
    }
  }
  return true;
}

void WriteEntry(std::string_view key, const Value& value, Arena& arena,
                amqp_table_entry_t& entry) {
  entry.key = ToBytes(key);
  amqp_field_value_t& field = entry.value;
  switch (value.type()) {
    case ValueType::kBool:
      field.kind = AMQP_FIELD_KIND_BOOLEAN;
      field.value.boolean = *value.As<bool>() ? 1 : 0;
      break;
    case ValueType::kInt16:
      field.kind = AMQP_FIELD_KIND_I16;
      field.value.i16 = *value.As<int16_t>();
      break;
    case ValueType::kInt32:
      field.kind = AMQP_FIELD_KIND_I32;
      field.value.i32 = *value.As<int32_t>();
      break;
    case ValueType::kInt64:
      field.kind = AMQP_FIELD_KIND_I64;
      field.value.i64 = *value.As<int64_t>();
      break;
    case ValueType::kFloat:
      field.kind = AMQP_FIELD_KIND_F32;
      field.value.f32 = *value.As<float>();
      break;
    case ValueType::kDouble:
      field.kind = AMQP_FIELD_KIND_F64;
      field.value.f64 = *value.As<double>();
      break;
    case ValueType::kString:
      field.kind = AMQP_FIELD_KIND_UTF8;
      field.value.bytes = ToBytes(*value.As<std::string_view>());
      break;
    case ValueType::kBytes:
      field.kind = AMQP_FIELD_KIND_BYTES;
      field.value.bytes = ToBytes(value.As<Bytes>()->data);
      break;
    case ValueType::kKeyValue: {
      const KeyValueView nested = *value.As<KeyValueView>();
      field.kind = AMQP_FIELD_KIND_TABLE;
      amqp_table_t& table = field.value.table;
      table.num_entries = 0;
      table.entries = arena.Entries(nested.size());
      for (const auto& [name, inner] : nested) {
        WriteEntry(name, inner, arena, table.entries[table.num_entries++]);
      }
      break;
    }
  }
}

void ReadTable(const amqp_table_t& table,
               const std::function<bool(std::string_view)>& skip,
               KeyValue& out) {
  for (int i = 0; i < table.num_entries; ++i) {
    const std::string_view key = View(table.entries[i].key);
    if (!skip(key)) ReadValue(out, key, table.entries[i].value, 1);
  }
}

const amqp_field_value_t* FindEntry(const amqp_table_t& table,
                                    std::string_view key) {
  for (int i = 0; i < table.num_entries; ++i) {
    if (View(table.entries[i].key) == key) return &table.entries[i].value;
  }
  return nullptr;
}

}  // namespace openmessaging::rabbitmq
