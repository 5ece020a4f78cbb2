// SPDX-License-Identifier: Apache-2.0
//
// What an expression of a filter yields, and how two of them compare.

#ifndef OPENMESSAGING_KIT_FILTER_VALUE_H_
#define OPENMESSAGING_KIT_FILTER_VALUE_H_

#include <cstdint>
#include <string_view>

#include "openmessaging/kit/filter.h"
#include "openmessaging/value.h"

namespace openmessaging::inline v0::kit {

enum class ValueKind : uint8_t {
  kNull,
  kBool,
  kExact,        // int64
  kApproximate,  // double
  kText,
  kOther,  // There, but nothing that a filter can look into.
};

// A value of a property, a field, a literal, or of arithmetic.
//
// Lifetime: text is a view of the message or of the program.
class FilterValue {
 public:
  FilterValue() = default;  // Null, written as FilterValue().
  static FilterValue OfBool(bool value) {
    FilterValue result(ValueKind::kBool);
    result.exact_ = value ? 1 : 0;
    return result;
  }
  static FilterValue OfExact(int64_t value) {
    FilterValue result(ValueKind::kExact);
    result.exact_ = value;
    return result;
  }
  static FilterValue OfApproximate(double value) {
    FilterValue result(ValueKind::kApproximate);
    result.approximate_ = value;
    return result;
  }
  static FilterValue OfText(std::string_view value) {
    FilterValue result(ValueKind::kText);
    result.text_ = value.data();
    result.size_ = static_cast<uint32_t>(value.size());
    return result;
  }
  static FilterValue OfTruth(Truth truth) {
    if (truth == Truth::kUnknown) return FilterValue();
    return OfBool(truth == Truth::kTrue);
  }
  static FilterValue OfProperty(const Value& value);

  ValueKind kind() const { return kind_; }
  bool IsNumber() const {
    return kind_ == ValueKind::kExact || kind_ == ValueKind::kApproximate;
  }
  bool truth() const { return exact_ != 0; }
  int64_t exact() const { return exact_; }
  double approximate() const { return approximate_; }
  std::string_view text() const { return {text_, size_}; }
  // Of a number: the nearest double.
  double AsDouble() const {
    return kind_ == ValueKind::kExact ? static_cast<double>(exact_)
                                      : approximate_;
  }
  Truth AsCondition() const {
    if (kind_ != ValueKind::kBool) return Truth::kUnknown;
    return truth() ? Truth::kTrue : Truth::kFalse;
  }

 private:
  explicit FilterValue(ValueKind kind) : kind_(kind), size_(0), exact_(0) {}

  // Without initialisers, so that a place for many costs nothing; FilterValue()
  // makes them zero, which is null.
  ValueKind kind_;
  uint32_t size_;  // Of the text.
  union {
    int64_t exact_;
    double approximate_;
    const char* text_;
  };
};

enum class Comparison : uint8_t {
  kEqual,
  kUnequal,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual
};

constexpr Truth TruthOf(bool value) {
  return value ? Truth::kTrue : Truth::kFalse;
}
constexpr Truth Not(Truth truth) {
  return static_cast<Truth>(2 - static_cast<int>(truth));
}

// Compares numbers exactly, text by its code points. Returns: unknown for
// different kinds, for what is null or NaN, and for the order of two bools.
Truth Compare(Comparison comparison, const FilterValue& a,
              const FilterValue& b);

// The order of the values that a list may hold, for a search in it: kinds, both
// kinds of numbers being one, then values. None of them is NaN.
bool ListedBefore(const FilterValue& a, const FilterValue& b);

// Arithmetic on numbers. Returns: null where a value is no number, and where
// there is no result: overflow, a division by zero, NaN.
FilterValue Add(const FilterValue& a, const FilterValue& b);
FilterValue Subtract(const FilterValue& a, const FilterValue& b);
FilterValue Multiply(const FilterValue& a, const FilterValue& b);
FilterValue Divide(const FilterValue& a, const FilterValue& b);
FilterValue Negate(const FilterValue& a);

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_FILTER_VALUE_H_
