// SPDX-License-Identifier: Apache-2.0
//
// A compiled filter: a tree in a few arrays, made once and only read from then.

#ifndef OPENMESSAGING_KIT_FILTER_PROGRAM_H_
#define OPENMESSAGING_KIT_FILTER_PROGRAM_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "filter_value.h"
#include "header_name.h"
#include "like_pattern.h"

namespace openmessaging::inline v0::kit {

// What a node does with its operands, and what `index` of it counts in.
enum class Operation : uint8_t {
  kName,     // names
  kLiteral,  // literals
  kNegate,
  kSum,      // a + b - c; the operands say which
  kProduct,  // a * b / c
  kCompare,  // `comparison`
  kBetween,  // a BETWEEN b AND c
  kIn,       // lists
  kLike,     // patterns
  kIsNull,
  kNot,
  kAnd,
  kOr
};

// Operand of a node. `inverse` where a sum subtracts it, a product divides.
struct FilterOperand {
  uint32_t node = 0;
  bool inverse = false;
};

struct FilterNode {
  Operation operation = Operation::kLiteral;
  Comparison comparison = Comparison::kEqual;
  uint32_t index = 0;
  // Operands [begin, end) of the program.
  uint32_t begin = 0;
  uint32_t end = 0;
};

// What a name may stand for.
struct FilterName {
  std::string key{};
  std::optional<HeaderName> header{};
};

// The literals of an IN.
struct FilterList {
  std::vector<FilterValue> values{};  // In the order of ListedBefore().
  bool has_number = false;
  bool has_text = false;
  bool has_bool = false;
};

struct FilterLike {
  LikePattern pattern{};
  std::string text{};
  std::string escape{};
};

// Invariants: (1) names are sorted and different; (2) the tree is at most
// Filter::kMaxDepth levels of nesting deep, each a few nodes.
struct FilterProgram {
  FilterProgram() = default;
  // Literals are views of its texts.
  FilterProgram(const FilterProgram&) = delete;
  FilterProgram& operator=(const FilterProgram&) = delete;

  std::string text{};  // See Filter::text().
  std::vector<FilterNode> nodes{};
  std::vector<FilterOperand> operands{};
  std::vector<FilterName> names{};
  std::vector<FilterValue> literals{};
  std::vector<FilterList> lists{};
  std::vector<FilterLike> patterns{};
  std::deque<std::string> texts{};  // What text literals are views of.
  uint32_t root = 0;
};

// Returns: the expression in its one form.
std::string PrintFilter(const FilterProgram& program);

Truth EvaluateFilter(const FilterProgram& program, const Message& message);

// Whether a word may stand for a name without quotes; keywords may not.
bool IsPlainName(std::string_view word);

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_FILTER_PROGRAM_H_
