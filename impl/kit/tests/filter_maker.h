// SPDX-License-Identifier: Apache-2.0
//
// Expressions of filters made by somebody's choices, each with its value, by
// another evaluation than the filter's: as the text is made, so is what it must
// be for the maker's message.

#ifndef OPENMESSAGING_KIT_TESTS_FILTER_MAKER_H_
#define OPENMESSAGING_KIT_TESTS_FILTER_MAKER_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "openmessaging/kit/filter.h"
#include "openmessaging/message.h"

namespace openmessaging::inline v0::kit::filter_maker {

// Null, bool, exact, approximate, string.
using Plain = std::variant<std::monostate, bool, int64_t, double, std::string>;

// Three values as SQL's standard has them in its tables; nothing is unknown.
using Logic = std::optional<bool>;

inline Logic And(Logic a, Logic b) {
  if (a == false || b == false) return false;
  if (a == true && b == true) return true;
  return std::nullopt;
}
inline Logic Or(Logic a, Logic b) {
  if (a == true || b == true) return true;
  if (a == false && b == false) return false;
  return std::nullopt;
}
inline Logic NotOf(Logic a) { return a ? Logic(!*a) : a; }

// Wide enough to compare an int64 with a double exactly.
inline std::optional<long double> NumberOf(const Plain& value) {
  if (const auto* exact = std::get_if<int64_t>(&value)) return *exact;
  if (const auto* approximate = std::get_if<double>(&value)) {
    if (!std::isnan(*approximate)) return *approximate;
  }
  return std::nullopt;
}

inline Logic CompareBy(const std::string& sign, const Plain& a,
                       const Plain& b) {
  int order = 0;
  if (NumberOf(a) && NumberOf(b)) {
    order = *NumberOf(a) < *NumberOf(b) ? -1 : *NumberOf(a) > *NumberOf(b);
  } else if (a.index() == b.index() &&
             (a.index() == 4 ||
              (a.index() == 1 && (sign == "=" || sign == "<>")))) {
    order = a < b ? -1 : b < a;
  } else {
    return std::nullopt;
  }
  if (sign == "=") return order == 0;
  if (sign == "<>") return order != 0;
  if (sign == "<") return order < 0;
  if (sign == "<=") return order <= 0;
  if (sign == ">") return order > 0;
  return order >= 0;
}

inline Plain CalculateBy(char sign, const Plain& a, const Plain& b) {
  if (!NumberOf(a) || !NumberOf(b)) return {};
  if (a.index() == 2 && b.index() == 2) {
    const __int128 x = std::get<int64_t>(a);
    const __int128 y = std::get<int64_t>(b);
    if (sign == '/' && y == 0) return {};
    const __int128 result = sign == '+'   ? x + y
                            : sign == '-' ? x - y
                            : sign == '*' ? x * y
                                          : x / y;
    if (result > std::numeric_limits<int64_t>::max() ||
        result < std::numeric_limits<int64_t>::min()) {
      return {};
    }
    return static_cast<int64_t>(result);
  }
  const auto x = static_cast<double>(*NumberOf(a));
  const auto y = static_cast<double>(*NumberOf(b));
  if (sign == '/' && y == 0) return {};
  const double result = sign == '+'   ? x + y
                        : sign == '-' ? x - y
                        : sign == '*' ? x * y
                                      : x / y;
  if (!std::isfinite(result)) return {};
  return result;
}

// Makes an expression and its value at once: the text is for the filter, the
// value is what it must find.
class FilterMaker {
 public:
  struct Value {
    std::string text{};
    Plain plain{};
  };
  struct Condition {
    std::string text{};
    Logic logic{};
  };

  // `pick(n)` chooses one of [0, n).
  explicit FilterMaker(std::function<size_t(size_t)> pick)
      : pick_(std::move(pick)) {
    for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) {
      if (Pick(5) == 0) continue;  // Absent.
      Plain plain = MakePlain();
      if (!SetProperty(name, plain)) std::abort();
      properties_.emplace_back(name, std::move(plain));
    }
  }

  const Message& message() const { return message_; }
  size_t Pick(size_t count) { return pick_(count); }

  Condition MakeCondition(int depth) {
    if (depth == 0 || Pick(3) == 0) return MakePredicate(depth);
    if (Pick(4) == 0) {
      const Condition inner = MakeCondition(depth - 1);
      return {Blank("NOT") + "(" + inner.text + ")", NotOf(inner.logic)};
    }
    Condition left = MakeCondition(depth - 1);
    const Condition right = MakeCondition(depth - 1);
    const bool is_and = Pick(2) == 0;
    return {
        "(" + left.text + ")" + Blank(is_and ? "AND" : "or") + "(" +
            right.text + ")",
        is_and ? And(left.logic, right.logic) : Or(left.logic, right.logic)};
  }

  // A value of any kind, or only one that arithmetic takes.
  Value MakeValue(int depth, bool number) {
    if (depth == 0 || Pick(3) != 0) return MakeLeaf(number);
    if (Pick(6) == 0) {
      const Value inner = MakeValue(depth - 1, true);
      Plain plain = CalculateBy('-', int64_t{0}, inner.plain);
      // 0 - 0.0 is 0.0 and - 0.0 is -0.0, which is equal.
      return {"- (" + inner.text + ")", plain};
    }
    const Value left = MakeValue(depth - 1, true);
    const Value right = MakeValue(depth - 1, true);
    const char sign = "+-*/"[Pick(4)];
    return {"(" + left.text + ")" + sign + "(" + right.text + ")",
            CalculateBy(sign, left.plain, right.plain)};
  }

 private:
  // Some blanks around a word.
  std::string Blank(const std::string& word) {
    constexpr std::string_view kBlanks[] = {" ", "\n", "\t ", "  "};
    return std::string(kBlanks[Pick(4)]) + word + std::string(kBlanks[Pick(4)]);
  }

  Plain MakePlain() {
    constexpr int64_t kExact[] = {0,
                                  1,
                                  2,
                                  -3,
                                  100,
                                  9007199254740993,
                                  std::numeric_limits<int64_t>::max(),
                                  std::numeric_limits<int64_t>::min()};
    constexpr double kApproximate[] = {
        0.0, 0.5, 1.0, -3.0, 9007199254740992.0, 2.25, 1e300, -1e300};
    constexpr const char* kText[] = {"",  "a",    "b",       "ab",
                                     "1", "it's", "\xC3\xA4"};
    switch (Pick(4)) {
      case 0:
        return Pick(2) == 0;
      case 1:
        return kExact[Pick(std::size(kExact))];
      case 2:
        return kApproximate[Pick(std::size(kApproximate))];
      default:
        return std::string(kText[Pick(std::size(kText))]);
    }
  }

  bool SetProperty(std::string_view name, const Plain& plain) {
    if (const auto* truth = std::get_if<bool>(&plain)) {
      return message_.SetProperty(name, *truth).ok();
    }
    if (const auto* exact = std::get_if<int64_t>(&plain)) {
      // The narrowest type that holds it, so that all are read.
      if (*exact == static_cast<int16_t>(*exact)) {
        return message_.SetProperty(name, static_cast<int16_t>(*exact)).ok();
      }
      return message_.SetProperty(name, *exact).ok();
    }
    if (const auto* approximate = std::get_if<double>(&plain)) {
      return message_.SetProperty(name, *approximate).ok();
    }
    return message_.SetProperty(name, std::get<std::string>(plain)).ok();
  }

  static std::string LiteralText(const Plain& plain) {
    if (const auto* truth = std::get_if<bool>(&plain)) {
      return *truth ? "TRUE" : "false";
    }
    if (const auto* exact = std::get_if<int64_t>(&plain)) {
      return std::to_string(*exact);
    }
    if (const auto* approximate = std::get_if<double>(&plain)) {
      char text[40];
      std::snprintf(text, sizeof(text), "%.17e", *approximate);
      return text;
    }
    std::string quoted = "'";
    for (const char c : std::get<std::string>(plain)) {
      quoted += c;
      if (c == '\'') quoted += c;
    }
    return quoted + "'";
  }

  // Two in three are names: what literals cannot be is known when compiling.
  Value MakeLeaf(bool number) {
    if (Pick(3) != 0) {
      const std::string name(1, static_cast<char>('a' + Pick(8)));
      for (const auto& [key, plain] : properties_) {
        if (key == name) return {name, plain};
      }
      return {name, {}};
    }
    Plain plain = MakePlain();
    while (number && plain.index() != 2 && plain.index() != 3) {
      plain = MakePlain();
    }
    return {LiteralText(plain), plain};
  }

  Condition MakePredicate(int depth) {
    switch (Pick(5)) {
      case 0: {
        const Value value = MakeLeaf(false);
        if (value.text.size() != 1 || value.text[0] < 'a') break;
        const bool is_null = value.plain.index() == 0;
        if (Pick(2) == 0) return {value.text + " is null", is_null};
        return {value.text + " IS NOT NULL", !is_null};
      }
      case 1:
        return MakeBetween(depth);
      case 2:
        return MakeIn();
      default:
        break;
    }
    constexpr const char* kSigns[] = {"=", "<>", "<", "<=", ">", ">="};
    const std::string sign = kSigns[Pick(6)];
    const Value left = MakeValue(depth, false);
    const Value right = MakeValue(depth, false);
    return {left.text + sign + right.text,
            CompareBy(sign, left.plain, right.plain)};
  }

  Condition MakeBetween(int depth) {
    const Value value = MakeValue(depth, false);
    const Value low = MakeValue(0, false);
    const Value high = MakeValue(0, false);
    const Logic inside = And(CompareBy(">=", value.plain, low.plain),
                             CompareBy("<=", value.plain, high.plain));
    const bool negated = Pick(2) == 0;
    return {value.text + Blank(negated ? "not between" : "BETWEEN") + low.text +
                " AND " + high.text,
            negated ? NotOf(inside) : inside};
  }

  Condition MakeIn() {
    const Value value = MakeValue(1, false);
    std::string list;
    Logic found = false;
    for (size_t i = 1 + Pick(4); i > 0; --i) {
      const Plain item = MakePlain();
      list += (list.empty() ? "" : ",") + LiteralText(item);
      found = Or(found, CompareBy("=", value.plain, item));
    }
    const bool negated = Pick(2) == 0;
    return {value.text + Blank(negated ? "NOT IN" : "in") + "(" + list + ")",
            negated ? NotOf(found) : found};
  }

  const std::function<size_t(size_t)> pick_;
  Message message_{"orders", "body"};
  std::vector<std::pair<std::string, Plain>> properties_;
};

inline Truth TruthOfLogic(Logic logic) {
  if (!logic) return Truth::kUnknown;
  return *logic ? Truth::kTrue : Truth::kFalse;
}

}  // namespace openmessaging::inline v0::kit::filter_maker
#endif  // OPENMESSAGING_KIT_TESTS_FILTER_MAKER_H_
