// SPDX-License-Identifier: Apache-2.0
//
// The encoded form of a KeyValue, the same in memory, in messages and on disk:
// entries one after another, sorted by key (bytewise), nothing else. An entry:
//
//   type    1 byte, a ValueType
//   key     varint length, then that many bytes
//   value   bool 1, int16 2, int32 4, int64 8, float 4, double 8 bytes; string,
//           bytes and keyvalue a varint length, then that many bytes
//
// Numbers are little-endian, bool is 0 or 1, a varint is LEB128 of at most 32
// bits in its shortest form. So equal collections have equal bytes.

#ifndef OPENMESSAGING_INTERNAL_KEY_VALUE_CODEC_H_
#define OPENMESSAGING_INTERNAL_KEY_VALUE_CODEC_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"
#include "openmessaging/value.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// --- Varints and numbers -----------------------------------------------------

// Writes VarintSize(number) bytes. Returns: the byte after them.
inline char* EncodeVarint(char* out, uint32_t number) {
  for (; number >= 0x80; number >>= 7) {
    *out++ = static_cast<char>(static_cast<uint8_t>(number | 0x80));
  }
  *out++ = static_cast<char>(static_cast<uint8_t>(number));
  return out;
}

// Takes a varint off the front of `bytes`. Returns: nothing when it is cut off,
// over 32 bits or not in its shortest form; `bytes` is then of no use.
inline std::optional<uint32_t> TakeVarint(std::string_view& bytes) {
  uint64_t number = 0;
  for (unsigned shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    number |= static_cast<uint64_t>(byte & 0x7Fu) << shift;
    if (byte >= 0x80) continue;
    if (byte == 0 && shift > 0) return std::nullopt;
    if (number > std::numeric_limits<uint32_t>::max()) return std::nullopt;
    return static_cast<uint32_t>(number);
  }
  return std::nullopt;
}

// Takes a varint length and that many bytes.
inline std::optional<std::string_view> TakeText(std::string_view& bytes) {
  const auto size = TakeVarint(bytes);
  if (!size || *size > bytes.size()) return std::nullopt;
  const std::string_view text = bytes.substr(0, *size);
  bytes.remove_prefix(*size);
  return text;
}

// Returns: how many bytes a value of fixed size takes; 0 for the others.
constexpr size_t ScalarSize(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return 1;
    case ValueType::kInt16:
      return 2;
    case ValueType::kInt32:
    case ValueType::kFloat:
      return 4;
    case ValueType::kInt64:
    case ValueType::kDouble:
      return 8;
    default:
      return 0;
  }
}

inline uint64_t LoadLittleEndian(std::string_view bytes) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bits |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return bits;
}

// --- Reading -----------------------------------------------------------------

struct DecodedEntry {
  std::string_view key;
  Value value;
};

// Takes one entry off the front of `bytes`. Returns: nothing at the end and
// where the bytes are damaged; `bytes` is then unchanged.
inline std::optional<DecodedEntry> TakeEntry(std::string_view& bytes) {
  std::string_view rest = bytes;
  if (rest.empty()) return std::nullopt;
  const auto type = static_cast<ValueType>(static_cast<uint8_t>(rest.front()));
  if (type < ValueType::kBool || type > ValueType::kKeyValue) {
    return std::nullopt;
  }
  rest.remove_prefix(1);
  const auto key = TakeText(rest);
  if (!key) return std::nullopt;
  const size_t scalar_size = ScalarSize(type);
  if (scalar_size == 0) {
    const auto view = TakeText(rest);
    if (!view) return std::nullopt;
    bytes = rest;
    return DecodedEntry{*key, ValueAccess::Make(type, *view)};
  }
  if (scalar_size > rest.size()) return std::nullopt;
  uint64_t bits = LoadLittleEndian(rest.substr(0, scalar_size));
  if (type == ValueType::kInt16) {
    bits = static_cast<uint64_t>(static_cast<int16_t>(bits));
  } else if (type == ValueType::kInt32) {
    bits = static_cast<uint64_t>(static_cast<int32_t>(bits));
  }
  rest.remove_prefix(scalar_size);
  bytes = rest;
  return DecodedEntry{*key, ValueAccess::Make(type, bits)};
}

// Where the entry of a key lies, or, when not found, where it belongs. In
// damaged bytes the search ends at the damage.
struct EntrySpan {
  size_t begin = 0;
  size_t end = 0;  // Equals begin when not found.
  bool found = false;
};

inline EntrySpan LocateEntry(std::string_view encoded, std::string_view key) {
  std::string_view rest = encoded;
  while (true) {
    const size_t begin = encoded.size() - rest.size();
    const auto entry = TakeEntry(rest);
    if (!entry || entry->key > key) return {begin, begin, false};
    if (entry->key == key) return {begin, encoded.size() - rest.size(), true};
  }
}

// Returns: 1 for a flat collection, and so on; at most kMaxPropertiesDepth + 1,
// where it stops looking, so hostile bytes cannot exhaust the stack.
inline int KeyValueDepth(std::string_view encoded,
                         int limit = kMaxPropertiesDepth + 1) {
  int deepest = 1;
  if (limit <= 1) return deepest;
  while (const auto entry = TakeEntry(encoded)) {
    if (entry->value.type() != ValueType::kKeyValue) continue;
    const int inner = KeyValueDepth(ValueAccess::View(entry->value), limit - 1);
    deepest = std::max(deepest, 1 + inner);
  }
  return deepest;
}

// What is wrong with encoded bytes: a phrase, or nullptr when all is well, and
// where the wrong entry starts.
struct KeyValueFlaw {
  const char* what = nullptr;
  size_t offset = 0;
  bool too_deep = false;
};

// Checks everything that a reader may rely on, nested collections included;
// `levels` are allowed, a flat one being one level.
inline KeyValueFlaw FindFlaw(std::string_view encoded,
                             int levels = kMaxPropertiesDepth) {
  if (levels < 1) return {"nesting is too deep", 0, true};
  std::string_view rest = encoded;
  std::string_view previous;
  while (!rest.empty()) {
    const size_t offset = encoded.size() - rest.size();
    const std::string_view before = rest;
    const auto entry = TakeEntry(rest);
    if (!entry) return {"an entry is malformed or cut off", offset};
    if (entry->key.empty()) return {"a key is empty", offset};
    if (!IsUtf8(entry->key)) return {"a key is not UTF-8", offset};
    if (entry->key <= previous) return {"keys are not in order", offset};
    previous = entry->key;
    const std::string_view view = ValueAccess::View(entry->value);
    switch (entry->value.type()) {
      case ValueType::kBool:
        if (static_cast<uint8_t>(before[before.size() - rest.size() - 1]) > 1) {
          return {"a bool is neither 0 nor 1", offset};
        }
        break;
      case ValueType::kString:
        if (!IsUtf8(view)) return {"a string is not UTF-8", offset};
        break;
      case ValueType::kKeyValue: {
        KeyValueFlaw flaw = FindFlaw(view, levels - 1);
        if (flaw.what != nullptr) {
          flaw.offset += static_cast<size_t>(view.data() - encoded.data());
          return flaw;
        }
        break;
      }
      default:
        break;
    }
  }
  return {};
}

// --- Writing -----------------------------------------------------------------

// Checks what Put would store at the top level of a collection.
// Errors:
//   kInvalidArgument  1418: the key is empty; key or string is not UTF-8
//   kInvalidArgument  1411: nested too deep, or longer than the format allows
inline absl::Status CheckEntry(std::string_view key, const Value& value) {
  constexpr size_t kMaxBytes = std::numeric_limits<uint32_t>::max();
  const auto fail = [key](Code code, const auto&... parts) {
    return MakeStatus(code, "put \"", Printable(key), "\": ", parts...);
  };
  if (key.empty()) {
    return fail(Code::kBadParameter,
                "key is empty; expected at least one character (OMS-KV-005)");
  }
  if (key.size() > kMaxBytes) {
    return fail(Code::kAttributesTooLarge, "key is ", key.size(),
                " bytes; limit is ", kMaxBytes);
  }
  if (!IsUtf8(key)) {
    return fail(Code::kBadParameter,
                "key is not UTF-8; expected UTF-8 text (OMS-KV-006)");
  }
  if (!ValueAccess::IsView(value)) return absl::OkStatus();
  const std::string_view view = ValueAccess::View(value);
  if (view.size() > kMaxBytes) {
    return fail(Code::kAttributesTooLarge, "value is ", view.size(),
                " bytes; limit is ", kMaxBytes);
  }
  if (value.type() == ValueType::kString && !IsUtf8(view)) {
    return fail(Code::kBadParameter,
                "value is not UTF-8; expected UTF-8 text, or Bytes for any "
                "other content (OMS-KV-006)");
  }
  if (value.type() == ValueType::kKeyValue) {
    const KeyValueFlaw flaw = FindFlaw(view, kMaxPropertiesDepth - 1);
    if (flaw.too_deep) {
      return fail(Code::kAttributesTooLarge, "nesting is too deep; limit is ",
                  kMaxPropertiesDepth, " levels (OMS-KV-007)");
    }
    if (flaw.what != nullptr) {
      return fail(Code::kBadParameter, "nested value is damaged: ", flaw.what,
                  " at byte ", flaw.offset, "; expected a valid KeyValue");
    }
  }
  return absl::OkStatus();
}

// Returns: how many bytes EncodeEntry writes. CheckEntry must have passed.
inline size_t EncodedEntrySize(std::string_view key, const Value& value) {
  const auto text_size = [](size_t size) {
    return VarintSize(static_cast<uint32_t>(size)) + size;
  };
  return 1 + text_size(key.size()) +
         (ValueAccess::IsView(value)
              ? text_size(ValueAccess::View(value).size())
              : ScalarSize(value.type()));
}

// Writes an entry of EncodedEntrySize bytes, which must not overlap with the
// key or the value.
inline void EncodeEntry(char* out, std::string_view key, const Value& value) {
  const auto put_text = [&out](std::string_view text) {
    out = EncodeVarint(out, static_cast<uint32_t>(text.size()));
    out = std::copy(text.begin(), text.end(), out);
  };
  *out++ = static_cast<char>(value.type());
  put_text(key);
  if (ValueAccess::IsView(value)) return put_text(ValueAccess::View(value));
  uint64_t bits = ValueAccess::Bits(value);
  for (size_t i = ScalarSize(value.type()); i > 0; --i, bits >>= 8) {
    *out++ = static_cast<char>(static_cast<uint8_t>(bits));
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_KEY_VALUE_CODEC_H_
