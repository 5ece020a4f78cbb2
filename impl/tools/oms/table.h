// SPDX-License-Identifier: Apache-2.0
//
// What oms prints for people: columns that line up, times and sizes as the
// command line takes them.

#ifndef OPENMESSAGING_TOOLS_OMS_TABLE_H_
#define OPENMESSAGING_TOOLS_OMS_TABLE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace openmessaging::tools {

// Rows of cells; each column is as wide as its widest cell.
class Table {
 public:
  using Row = std::vector<std::string>;

  void Add(Row row) { rows_.push_back(std::move(row)); }
  size_t size() const { return rows_.size(); }
  // Returns: a line for each row, two blanks between columns, none at the end
  // of a line.
  std::string ToText() const;

 private:
  std::vector<Row> rows_;
};

// Returns: "0", "500ms", "90s", "7d": the largest unit that is exact.
std::string FormatTime(std::chrono::milliseconds time);

// Returns: "512", "64KiB", "1GiB": the largest unit that is exact.
std::string FormatBytes(uint64_t bytes);

// Returns: "1 message", "2 messages".
std::string FormatCount(uint64_t count, const std::string& noun);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_TABLE_H_
