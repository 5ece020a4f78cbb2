// SPDX-License-Identifier: Apache-2.0

#include "table.h"

#include <algorithm>

#include "openmessaging/internal/text.h"

namespace openmessaging::tools {

using internal::Concat;

std::string Table::ToText() const {
  std::vector<size_t> widths;
  for (const Row& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows_) {
    size_t missing = 0;  // Blanks owed before the next cell that has text.
    for (size_t i = 0; i < row.size(); ++i) {
      if (!row[i].empty()) text.append(missing, ' ');
      if (!row[i].empty()) missing = 0;
      text += row[i];
      missing += widths[i] - row[i].size() + 2;
    }
    text.push_back('\n');
  }
  return text;
}

std::string FormatTime(std::chrono::milliseconds time) {
  struct Unit {
    int64_t ms;
    const char* name;
  };
  constexpr Unit kUnits[] = {
      {86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
  for (const Unit& unit : kUnits) {
    if (time.count() != 0 && time.count() % unit.ms == 0) {
      return Concat(time.count() / unit.ms, unit.name);
    }
  }
  return "0";
}

std::string FormatBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return Concat(bytes, kUnits[unit]);
}

std::string FormatCount(uint64_t count, const std::string& noun) {
  return Concat(count, ' ', noun, count == 1 ? "" : "s");
}

}  // namespace openmessaging::tools
