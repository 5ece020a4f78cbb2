// SPDX-License-Identifier: Apache-2.0
//
// The text forms of attributes: names, durations, sizes, switches, numbers.

#ifndef OPENMESSAGING_INTERNAL_ATTRIBUTE_TEXT_H_
#define OPENMESSAGING_INTERNAL_ATTRIBUTE_TEXT_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline constexpr std::string_view kDurationForm =
    "a whole number with a unit, such as 100ms, 5s, 2m, 3h or 1d";
inline constexpr std::string_view kSizeForm =
    "a number of bytes, such as 512, 64KiB, 1MiB or 10MB";
inline constexpr std::string_view kSwitchForm = "on, off, true or false";
inline constexpr std::string_view kWholeForm = "a whole number of 64 bits";

inline bool IsAttributeName(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// Reads digits and a unit, no blank between, no sign. Returns: nothing for any
// other form and for a product over `limit`.
inline std::optional<uint64_t> ParseWithUnit(std::string_view text,
                                             std::span<const Unit> units,
                                             uint64_t limit) {
  const size_t digits =
      std::min(text.find_first_not_of("0123456789"), text.size());
  uint64_t number = 0;
  if (!ParseInteger(text.substr(0, digits), number)) return std::nullopt;
  for (const Unit& unit : units) {
    if (text.substr(digits) != unit.name) continue;
    if (number > limit / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

inline std::optional<std::chrono::milliseconds> ParseDuration(
    std::string_view text) {
  static constexpr Unit kUnits[] = {
      {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  // A hundred years: larger ones overflow when added to a point in time.
  constexpr uint64_t kLimit = uint64_t{36500} * 86400000;
  const auto number = ParseWithUnit(text, kUnits, kLimit);
  if (!number) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(*number));
}

inline std::optional<size_t> ParseSize(std::string_view text) {
  static constexpr Unit kUnits[] = {
      {"", 1},
      {"B", 1},
      {"KiB", uint64_t{1} << 10},
      {"MiB", uint64_t{1} << 20},
      {"GiB", uint64_t{1} << 30},
      {"TiB", uint64_t{1} << 40},
      {"KB", 1000},
      {"MB", 1000 * 1000},
      {"GB", 1000 * 1000 * 1000},
      {"TB", uint64_t{1000} * 1000 * 1000 * 1000}};
  return ParseWithUnit(text, kUnits, std::numeric_limits<size_t>::max());
}

inline std::optional<bool> ParseSwitch(std::string_view text) {
  if (text == "on" || text == "true") return true;
  if (text == "off" || text == "false") return false;
  return std::nullopt;
}

inline std::optional<int64_t> ParseWhole(std::string_view text) {
  int64_t number = 0;
  if (!ParseInteger(text, number)) return std::nullopt;
  return number;
}

// Returns: how many characters must be inserted, removed or replaced to make
// one of the other (Levenshtein).
inline size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0u : 1u);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// Returns: the name that `name` is most likely a slip of; empty when none is
// near enough.
inline std::string_view NearestName(std::string_view name,
                                    std::span<const std::string_view> known) {
  std::string_view nearest;
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string_view choice : known) {
    const size_t distance = EditDistance(name, choice);
    if (distance >= std::min(least, choice.size())) continue;
    nearest = choice;
    least = distance;
  }
  return nearest;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_ATTRIBUTE_TEXT_H_
