// SPDX-License-Identifier: Apache-2.0
//
// The field form: the header fields of a message as a sequence of
// {type u8, length varint, payload}, ascending by type, each type at most once.
// It is the form in memory and on disk (spec/file-store.md), so that a send
// copies it as it stands. Readers trust no length: a damaged tail ends the list.

#ifndef OPENMESSAGING_INTERNAL_FIELDS_H_
#define OPENMESSAGING_INTERNAL_FIELDS_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace openmessaging {
inline namespace v0 {
namespace internal {

static_assert(std::endian::native == std::endian::little,
              "the field form is little-endian and read in place");

// Numbers are never reused. kProperties stays the highest, so that properties
// grow at the end.
enum class Field : uint8_t {
  kDestination = 1,  // Only while building; stored where no queue implies it.
  kVersion = 2,
  kMessageId = 3,  // Text of a broker's own id.
  kOriginId = 4,
  kBornTimestamp = 5,  // i64 ms UTC; absent = the store timestamp.
  kBornHost = 6,       // Absent = the store host.
  kStoreHost = 7,
  kPriority = 8,    // u8
  kQos = 9,         // u8
  kDurability = 10,  // u8
  kDeduplicationId = 11,
  kPartition = 12,  // i32, asked for by the sender
  kMessageKey = 13,
  kCorrelationId = 14,
  kReplyTo = 15,
  kTransactionId = 16,
  kDelay = 17,     // i64 ms
  kExpireAt = 18,  // i64 ms UTC
  kCompression = 19,
  kTraceParent = 20,
  kTraceState = 21,
  kProperties = 127,
};

inline constexpr size_t kMaxVarintBytes = 5;

// Writes `value` in 7-bit groups, low first. Returns: bytes written.
inline size_t PutVarint(char* out, uint32_t value) {
  size_t n = 0;
  while (value >= 0x80) {
    out[n++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out[n++] = static_cast<char>(value);
  return n;
}

inline size_t VarintSize(uint32_t value) {
  size_t n = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++n;
  }
  return n;
}

// Reads a varint at `at`. Returns: bytes read; 0 when it is cut or too long.
inline size_t GetVarint(std::string_view bytes, size_t at, uint32_t& value) {
  value = 0;
  for (size_t n = 0; n < kMaxVarintBytes && at + n < bytes.size(); ++n) {
    const auto byte = static_cast<uint8_t>(bytes[at + n]);
    value |= static_cast<uint32_t>(byte & 0x7f) << (7 * n);
    if ((byte & 0x80) == 0) {
      return n == kMaxVarintBytes - 1 && byte > 0x0f ? 0 : n + 1;
    }
  }
  return 0;
}

// One field inside a list: bytes [begin, end) hold it, payload included.
struct FieldSpan {
  Field type{};
  size_t begin = 0;
  size_t end = 0;
  std::string_view payload{};
};

// Reads the field at `at`. Returns: nothing at the end or at damage.
inline std::optional<FieldSpan> FieldAt(std::string_view fields, size_t at) {
  if (at >= fields.size()) return std::nullopt;
  uint32_t length = 0;
  const size_t varint = GetVarint(fields, at + 1, length);
  const size_t payload = at + 1 + varint;
  if (varint == 0 || length > fields.size() - payload) return std::nullopt;
  return FieldSpan{static_cast<Field>(fields[at]), at, payload + length,
                   fields.substr(payload, length)};
}

// Finds the field of `type`. Returns: nothing where it is absent.
inline std::optional<std::string_view> FindField(std::string_view fields,
                                                 Field type) {
  size_t at = 0;
  while (const auto field = FieldAt(fields, at)) {
    if (field->type == type) return field->payload;
    if (field->type > type) break;
    at = field->end;
  }
  return std::nullopt;
}

// Finds where the field of `type` is, or would be inserted (begin == end).
inline FieldSpan LocateField(std::string_view fields, Field type) {
  size_t at = 0;
  while (const auto field = FieldAt(fields, at)) {
    if (field->type == type) return *field;
    if (field->type > type) break;
    at = field->end;
  }
  return {type, at, at, {}};
}

inline size_t FieldSize(size_t payload) {
  return 1 + VarintSize(static_cast<uint32_t>(payload)) + payload;
}

// Writes type and length. Returns: bytes written; the payload follows.
inline size_t PutFieldHead(char* out, Field type, size_t payload) {
  out[0] = static_cast<char>(type);
  return 1 + PutVarint(out + 1, static_cast<uint32_t>(payload));
}

inline size_t PutField(char* out, Field type, std::string_view payload) {
  const size_t head = PutFieldHead(out, type, payload.size());
  if (!payload.empty()) std::memcpy(out + head, payload.data(), payload.size());
  return head + payload.size();
}

template <typename T>
std::optional<T> FindNumber(std::string_view fields, Field type) {
  const auto payload = FindField(fields, type);
  if (!payload || payload->size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, payload->data(), sizeof(T));
  return value;
}

template <typename T>
std::string_view NumberBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_FIELDS_H_
