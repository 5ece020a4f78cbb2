// SPDX-License-Identifier: Apache-2.0

#include "filter_value.h"

#include <cmath>
#include <compare>
#include <limits>

namespace openmessaging::inline v0::kit {
namespace {

// Compares an integer with a double as the numbers that they are: as a double
// the integer might be another one.
std::partial_ordering Order(int64_t a, double b) {
  constexpr double kEnd = 9223372036854775808.0;  // 2^63
  if (std::isnan(b)) return std::partial_ordering::unordered;
  if (b >= kEnd) return std::partial_ordering::less;
  if (b < -kEnd) return std::partial_ordering::greater;
  const auto whole = static_cast<int64_t>(b);
  if (a != whole) return a <=> whole;
  return static_cast<double>(whole) <=> b;
}

std::partial_ordering Order(const FilterValue& a, const FilterValue& b) {
  if (a.kind() == ValueKind::kExact) {
    if (b.kind() == ValueKind::kExact) return a.exact() <=> b.exact();
    return Order(a.exact(), b.approximate());
  }
  if (b.kind() == ValueKind::kExact) {
    const auto turned = Order(b.exact(), a.approximate());
    if (turned == std::partial_ordering::unordered) return turned;
    return 0 <=> turned;
  }
  return a.approximate() <=> b.approximate();
}

Truth Decide(Comparison comparison, std::partial_ordering order) {
  if (order == std::partial_ordering::unordered) return Truth::kUnknown;
  switch (comparison) {
    case Comparison::kEqual:
      return TruthOf(order == 0);
    case Comparison::kUnequal:
      return TruthOf(order != 0);
    case Comparison::kLess:
      return TruthOf(order < 0);
    case Comparison::kLessOrEqual:
      return TruthOf(order <= 0);
    case Comparison::kGreater:
      return TruthOf(order > 0);
    case Comparison::kGreaterOrEqual:
      return TruthOf(order >= 0);
  }
  return Truth::kUnknown;
}

FilterValue Finite(double value) {
  return std::isfinite(value) ? FilterValue::OfApproximate(value)
                              : FilterValue();
}

bool AreExact(const FilterValue& a, const FilterValue& b) {
  return a.kind() == ValueKind::kExact && b.kind() == ValueKind::kExact;
}
bool AreNumbers(const FilterValue& a, const FilterValue& b) {
  return a.IsNumber() && b.IsNumber();
}

}  // namespace

FilterValue FilterValue::OfProperty(const Value& value) {
  switch (value.type()) {
    case ValueType::kBool:
      return OfBool(*value.As<bool>());
    case ValueType::kInt16:
    case ValueType::kInt32:
    case ValueType::kInt64:
      return OfExact(*value.As<int64_t>());
    case ValueType::kFloat:
    case ValueType::kDouble:
      return OfApproximate(*value.As<double>());
    case ValueType::kString:
      return OfText(*value.As<std::string_view>());
    default:
      return FilterValue(ValueKind::kOther);
  }
}

Truth Compare(Comparison comparison, const FilterValue& a,
              const FilterValue& b) {
  if (a.kind() == ValueKind::kText && b.kind() == ValueKind::kText) {
    // The order of the bytes of UTF-8 is that of the code points.
    return Decide(comparison, a.text() <=> b.text());
  }
  if (AreNumbers(a, b)) return Decide(comparison, Order(a, b));
  if (a.kind() == ValueKind::kBool && b.kind() == ValueKind::kBool) {
    if (comparison == Comparison::kEqual) {
      return TruthOf(a.truth() == b.truth());
    }
    if (comparison == Comparison::kUnequal) {
      return TruthOf(a.truth() != b.truth());
    }
  }
  return Truth::kUnknown;
}

bool ListedBefore(const FilterValue& a, const FilterValue& b) {
  if (AreNumbers(a, b)) return Order(a, b) < 0;
  if (a.kind() != b.kind()) return a.kind() < b.kind();
  if (a.kind() == ValueKind::kText) return a.text() < b.text();
  return a.truth() < b.truth();
}

FilterValue Add(const FilterValue& a, const FilterValue& b) {
  if (AreExact(a, b)) {
    int64_t result = 0;
    if (__builtin_add_overflow(a.exact(), b.exact(), &result))
      return FilterValue();
    return FilterValue::OfExact(result);
  }
  if (!AreNumbers(a, b)) return FilterValue();
  return Finite(a.AsDouble() + b.AsDouble());
}

FilterValue Subtract(const FilterValue& a, const FilterValue& b) {
  if (AreExact(a, b)) {
    int64_t result = 0;
    if (__builtin_sub_overflow(a.exact(), b.exact(), &result))
      return FilterValue();
    return FilterValue::OfExact(result);
  }
  if (!AreNumbers(a, b)) return FilterValue();
  return Finite(a.AsDouble() - b.AsDouble());
}

FilterValue Multiply(const FilterValue& a, const FilterValue& b) {
  if (AreExact(a, b)) {
    int64_t result = 0;
    if (__builtin_mul_overflow(a.exact(), b.exact(), &result))
      return FilterValue();
    return FilterValue::OfExact(result);
  }
  if (!AreNumbers(a, b)) return FilterValue();
  return Finite(a.AsDouble() * b.AsDouble());
}

FilterValue Divide(const FilterValue& a, const FilterValue& b) {
  if (!AreNumbers(a, b)) return FilterValue();
  if (AreExact(a, b)) {
    constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
    if (b.exact() == 0 || (a.exact() == kLowest && b.exact() == -1))
      return FilterValue();
    return FilterValue::OfExact(a.exact() / b.exact());
  }
  const double divisor = b.AsDouble();
  if (divisor == 0) return FilterValue();
  return Finite(a.AsDouble() / divisor);
}

FilterValue Negate(const FilterValue& a) {
  if (a.kind() == ValueKind::kApproximate) return Finite(-a.approximate());
  return Subtract(FilterValue::OfExact(0), a);
}

}  // namespace openmessaging::inline v0::kit
