// SPDX-License-Identifier: Apache-2.0
//
// Value is one typed value of a KeyValue: what Put takes and Find gives. The
// collection is in key_value.h.

#ifndef OPENMESSAGING_VALUE_H_
#define OPENMESSAGING_VALUE_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace openmessaging {
inline namespace v0 {

class KeyValue;
class KeyValueView;

// The types of OpenMessaging. The numbers are stored in files: never change.
enum class ValueType : uint8_t {
  kBool = 1,
  kInt16 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kFloat = 5,
  kDouble = 6,
  kString = 7,
  kBytes = 8,
  kKeyValue = 9,
};

// Returns: "bool", "int16", and so on, as the JSON form and the error texts
// name them. Implements: OMS-JSON-003.
constexpr std::string_view ValueTypeName(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "bool";
    case ValueType::kInt16:
      return "int16";
    case ValueType::kInt32:
      return "int32";
    case ValueType::kInt64:
      return "int64";
    case ValueType::kFloat:
      return "float";
    case ValueType::kDouble:
      return "double";
    case ValueType::kString:
      return "string";
    case ValueType::kBytes:
      return "bytes";
    case ValueType::kKeyValue:
      return "keyvalue";
  }
  return "unknown";
}

// Bytes of any content, where a bare std::string_view would mean UTF-8 text.
struct Bytes {
  std::string_view data;

  friend bool operator==(const Bytes&, const Bytes&) = default;
};

namespace internal {

// Signed integers of 16, 32 or 64 bits, whatever the platform calls them.
template <typename T>
concept ValueInteger = std::signed_integral<T> && !std::same_as<T, wchar_t> &&
                       (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

template <typename T>
concept ValueScalar = std::same_as<T, bool> || ValueInteger<T> ||
    std::same_as<T, float> || std::same_as<T, double>;

template <typename T, typename... Choices>
concept OneOf = (std::same_as<T, Choices> || ...);

// The parts of a Value, for the codec only.
struct ValueAccess;

}  // namespace internal

// What a Value can be read as.
template <typename T>
concept ValueReadable =
    internal::OneOf<T, bool, int16_t, int32_t, int64_t, float, double,
                    std::string_view, std::string, Bytes, KeyValueView,
                    KeyValue>;

// Returns: the type that is exactly T. Implements: OMS-KV-003.
template <ValueReadable T>
constexpr ValueType ValueTypeOf() {
  if constexpr (std::same_as<T, bool>) return ValueType::kBool;
  if constexpr (std::same_as<T, int16_t>) return ValueType::kInt16;
  if constexpr (std::same_as<T, int32_t>) return ValueType::kInt32;
  if constexpr (std::same_as<T, int64_t>) return ValueType::kInt64;
  if constexpr (std::same_as<T, float>) return ValueType::kFloat;
  if constexpr (std::same_as<T, double>) return ValueType::kDouble;
  if constexpr (std::same_as<T, Bytes>) return ValueType::kBytes;
  if constexpr (internal::OneOf<T, std::string_view, std::string>) {
    return ValueType::kString;
  }
  return ValueType::kKeyValue;
}

// Returns: whether a value stored as `from` can be read as T. A read never
// depends on the number stored, only on the two types:
//
//   stored as   can be read as
//   bool        bool
//   int16       int16, int32, int64, float, double
//   int32       int32, int64, double
//   int64       int64
//   float       float, double
//   double      double
//   string      std::string_view, std::string
//   bytes       Bytes
//   keyvalue    KeyValueView, KeyValue
//
// Implements: OMS-KV-003.
template <ValueReadable T>
constexpr bool IsConvertible(ValueType from) {
  if (from == ValueTypeOf<T>()) return true;
  switch (from) {
    case ValueType::kInt16:
      return internal::OneOf<T, int32_t, int64_t, float, double>;
    case ValueType::kInt32:
      return internal::OneOf<T, int64_t, double>;
    case ValueType::kFloat:
      return std::same_as<T, double>;
    default:
      return false;
  }
}

// A number, or a view of text, bytes or a nested KeyValue. A KeyValueView and
// a KeyValue become one by themselves; unsigned and 8-bit integers do not,
// because OpenMessaging has no such type.
//
// Threads: a value; as safe as an int.
// Lifetime: what it was made from must outlive it. As an argument that is
// never a concern; a named Value of a temporary string dangles.
class Value {
 public:
  template <typename T>
  requires internal::ValueScalar<T> Value(
      T number)  // NOLINT(google-explicit-constructor): Put("n", 42).
      : type_(ScalarType<T>()), bits_(ScalarBits(number)) {}
  Value(std::string_view text)  // NOLINT(google-explicit-constructor)
      : Value(ValueType::kString, text) {}
  Value(const std::string& text)  // NOLINT(google-explicit-constructor)
      : Value(ValueType::kString, text) {}
  // Stated, because a pointer would otherwise become a bool.
  Value(const char* text)  // NOLINT(google-explicit-constructor)
      : Value(ValueType::kString, text) {}
  Value(Bytes bytes)  // NOLINT(google-explicit-constructor)
      : Value(ValueType::kBytes, bytes.data) {}
  Value(std::nullptr_t) = delete;

  ValueType type() const { return type_; }

  // Reads the value as T, by the table at IsConvertible().
  // Returns: nothing when the stored type does not convert.
  // Implements: OMS-KV-003.
  // Lifetime: a view is good as long as what the Value was made from.
  template <ValueReadable T>
  std::optional<T> As() const;

  // Equal type and equal bytes: NaN equals the same NaN, 0.0 is not -0.0.
  friend bool operator==(const Value& a, const Value& b) {
    if (a.type_ != b.type_) return false;
    return a.IsView() ? a.view() == b.view() : a.bits_ == b.bits_;
  }

 private:
  friend struct internal::ValueAccess;

  Value(ValueType type, uint64_t bits) : type_(type), bits_(bits) {}
  Value(ValueType type, std::string_view view)
      : type_(type), bits_(view.size()), data_(view.data()) {}

  template <typename T>
  static constexpr ValueType ScalarType() {
    if constexpr (std::same_as<T, bool>) return ValueType::kBool;
    if constexpr (std::same_as<T, float>) return ValueType::kFloat;
    if constexpr (std::same_as<T, double>) return ValueType::kDouble;
    if constexpr (sizeof(T) == 2) return ValueType::kInt16;
    if constexpr (sizeof(T) == 4) return ValueType::kInt32;
    return ValueType::kInt64;
  }
  template <typename T>
  static uint64_t ScalarBits(T number) {
    if constexpr (std::same_as<T, float>) {
      return std::bit_cast<uint32_t>(number);
    } else if constexpr (std::same_as<T, double>) {
      return std::bit_cast<uint64_t>(number);
    } else {
      return static_cast<uint64_t>(static_cast<int64_t>(number));
    }
  }

  bool IsView() const { return type_ >= ValueType::kString; }
  std::string_view view() const { return {data_, static_cast<size_t>(bits_)}; }

  ValueType type_;
  // The number, integers sign-extended; or how many bytes data_ points to.
  uint64_t bits_;
  const char* data_ = nullptr;
};

namespace internal {

struct ValueAccess {
  static Value Make(ValueType type, uint64_t bits) { return {type, bits}; }
  static Value Make(ValueType type, std::string_view view) {
    return {type, view};
  }
  static bool IsView(const Value& value) { return value.IsView(); }
  static uint64_t Bits(const Value& value) { return value.bits_; }
  static std::string_view View(const Value& value) { return value.view(); }
};

}  // namespace internal

template <ValueReadable T>
std::optional<T> Value::As() const {
  if (!IsConvertible<T>(type_)) return std::nullopt;
  if constexpr (std::same_as<T, bool>) {
    return bits_ != 0;
  } else if constexpr (std::integral<T>) {
    return static_cast<T>(bits_);
  } else if constexpr (std::floating_point<T>) {
    if (type_ == ValueType::kFloat) {
      return std::bit_cast<float>(static_cast<uint32_t>(bits_));
    }
    if (type_ == ValueType::kDouble) {
      // Never narrows: a stored double is not convertible to float.
      return static_cast<T>(std::bit_cast<double>(bits_));
    }
    return static_cast<T>(static_cast<int64_t>(bits_));
  } else if constexpr (std::same_as<T, Bytes>) {
    return Bytes{view()};
  } else if constexpr (internal::OneOf<T, std::string_view, std::string>) {
    return T(view());
  } else {
    return T(typename T::View(view()));
  }
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_VALUE_H_
