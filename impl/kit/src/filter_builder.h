// SPDX-License-Identifier: Apache-2.0
//
// FilterBuilder turns what a parser recognises into a program, and refuses what
// can never be true for its types.

#ifndef OPENMESSAGING_KIT_FILTER_BUILDER_H_
#define OPENMESSAGING_KIT_FILTER_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "filter_program.h"

namespace openmessaging::inline v0::kit {

// What a parser may expect at a place, a bit for each.
enum class Expected : uint8_t {
  kValue,
  kOperator,
  kAnd,
  kOr,
  kEnd,
  kClose,
  kOpen,
  kComma,
  kText,
  kLiteral,
  kEscape,
  kNull,
  kNegatable
};

// The parser calls, for each thing that it has recognised, in the order in
// which operands come before operators. Every call of type bool returns false
// once something is wrong; the parser then gives up, whatever else it could
// try.
//
// Threads: one. Lifetime: of one expression, which it views.
class FilterBuilder {
 public:
  explicit FilterBuilder(std::string_view expression)
      : expression_(expression) {}

  bool CheckUtf8();

  // --- what the parser reports ---
  bool Name(std::string_view word);
  bool QuotedName(std::string_view quoted);
  bool Text(std::string_view quoted);
  bool Exact(std::string_view digits);
  bool Approximate(std::string_view number);
  bool True(std::string_view word) { return Bool(word, true); }
  bool False(std::string_view word) { return Bool(word, false); }
  bool CheckNumber();  // The sign +.
  bool Negative(std::string_view whole);
  bool Chain(Operation operation, bool inverse);
  void Remember(Comparison comparison) { comparisons_.push_back(comparison); }
  bool Compared();
  bool Between(bool negated);
  void BeginList() { list_begins_.push_back(stack_.size()); }
  bool In(bool negated);
  // `escape`: one was given.
  bool Like(bool negated, bool escape);
  bool IsNull(bool negated);
  bool Inverted(std::string_view whole);

  // One level of nesting more, at `place`; and one less.
  bool Enter(const char* place);
  void Leave() { --depth_; }

  // Nothing of `expected` was there. What is farthest to the right counts.
  void Missed(const char* place, Expected expected);

  // --- the end ---
  // `parsed`: all of it was recognised.
  absl::StatusOr<std::shared_ptr<const FilterProgram>> Finish(bool parsed);

 private:
  // What the value of a node is known to be.
  enum class Type : uint8_t { kAny, kCondition, kNumber, kText };

  struct Node {
    FilterNode node{};
    std::vector<FilterOperand> operands{};
    size_t at = 0;  // Where it begins, in bytes.
    Type type = Type::kAny;
  };

  size_t OffsetOf(std::string_view part) const {
    return static_cast<size_t>(part.data() - expression_.data());
  }
  bool failed() const { return !error_.ok(); }
  // Returns: false, for the caller to return.
  bool Fail(size_t at, std::string_view what, std::string_view expected,
            std::string_view requirement);
  bool FailType(const Node& node, std::string_view expected);
  absl::Status SyntaxError() const;

  bool Bool(std::string_view word, bool value);
  bool Push(Node node);
  bool PushName(size_t at, std::string key);
  bool PushLiteral(size_t at, Type type, FilterValue value);
  // Puts `operation` on the top of the stack in place of the last `count`.
  bool Reduce(FilterNode node, size_t count, Type type);
  bool Invert(bool wanted);
  Node& Top(size_t below = 0) {
    return nodes_[stack_[stack_.size() - 1 - below]];
  }
  bool Require(const Node& node, Type type);
  bool RequireLike(const Node& a, const Node& b);
  static std::string Unquote(std::string_view quoted);

  const std::string_view expression_;
  absl::Status error_;
  size_t missed_at_ = 0;
  uint32_t missed_ = 0;  // Bits of Expected.
  size_t depth_ = 0;

  std::vector<Node> nodes_;
  std::vector<uint32_t> stack_;
  std::vector<Comparison> comparisons_;
  std::vector<size_t> list_begins_;
  std::map<std::string, uint32_t, std::less<>> names_;  // By first use.
  // Where a literal of 2^63 stands, which is good only behind a minus.
  std::optional<size_t> too_large_;
  std::shared_ptr<FilterProgram> program_ = std::make_shared<FilterProgram>();
};

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_FILTER_BUILDER_H_
