// SPDX-License-Identifier: Apache-2.0

#include "filter_builder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/cord.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging::inline v0::kit {
namespace {

using internal::Concat;

constexpr std::string_view kColumnPayload = "openmessaging/filter-column";
constexpr std::string_view kSigns = "<>=!";
constexpr uint64_t kTooLarge = uint64_t{1} << 63;

// In the order of Expected.
constexpr std::array<std::string_view, 13> kExpectedNames = {
    "a value",
    "an operator",
    "AND",
    "OR",
    "the end",
    "\")\"",
    "\"(\"",
    "\",\"",
    "a string",
    "a literal",
    "ESCAPE",
    "NULL or NOT NULL",
    "BETWEEN, IN or LIKE"};

size_t ColumnAt(std::string_view expression, size_t at) {
  const std::string_view before = expression.substr(0, at);
  // Every byte but those that continue a character.
  return 1 + static_cast<size_t>(
                 std::count_if(before.begin(), before.end(), [](char c) {
                   return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
                 }));
}

std::string JoinExpected(uint32_t bits) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < kExpectedNames.size(); ++i) {
    if ((bits & (uint32_t{1} << i)) != 0) names.push_back(kExpectedNames[i]);
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_' || c == '$' || c == '.';
}

// Returns: the first thing of `rest`, which is not empty, as a person sees it.
std::string_view FirstThing(std::string_view rest) {
  const auto run = [rest](auto belongs) {
    return rest.substr(0,
                       static_cast<size_t>(
                           std::find_if_not(rest.begin(), rest.end(), belongs) -
                           rest.begin()));
  };
  if (IsWordByte(rest.front())) return run(IsWordByte);
  if (kSigns.find(rest.front()) != std::string_view::npos) {
    return run([](char c) { return kSigns.find(c) != std::string_view::npos; });
  }
  return rest.substr(0,
                     std::max<size_t>(1, internal::Utf8SequenceLength(rest)));
}

// Whether `rest` begins with a quote that nothing closes.
bool BeginsUnclosed(std::string_view rest) {
  if (rest.empty() || (rest.front() != '\'' && rest.front() != '"')) {
    return false;
  }
  return std::count(rest.begin(), rest.end(), rest.front()) % 2 != 0;
}

bool SameWord(std::string_view word, std::string_view upper_case) {
  return std::equal(word.begin(), word.end(), upper_case.begin(),
                    upper_case.end(), [](char a, char b) {
                      return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b;
                    });
}

}  // namespace

std::optional<size_t> FilterErrorColumn(const absl::Status& status) {
  const auto payload = status.GetPayload(
      absl::string_view(kColumnPayload.data(), kColumnPayload.size()));
  size_t column = 0;
  if (!payload || !internal::ParseInteger(std::string(*payload), column)) {
    return std::nullopt;
  }
  return column;
}

bool FilterBuilder::Fail(size_t at, std::string_view what,
                         std::string_view expected,
                         std::string_view requirement) {
  if (failed()) return false;
  const size_t column = ColumnAt(expression_, at);
  error_ =
      MakeStatus(Code::kBadParameter, "compile filter \"",
                 internal::Printable(expression_), "\": ", what, " at column ",
                 column, "; expected ", expected, " (", requirement, ")");
  error_.SetPayload(
      absl::string_view(kColumnPayload.data(), kColumnPayload.size()),
      absl::Cord(Concat(column)));
  return false;
}

bool FilterBuilder::CheckUtf8() {
  if (internal::IsUtf8(expression_)) return true;
  size_t at = 0;
  while (const size_t length =
             internal::Utf8SequenceLength(expression_.substr(at))) {
    at += length;
  }
  return Fail(at, "bytes that are not UTF-8", "UTF-8 text", "OMS-FILTER-001");
}

void FilterBuilder::Missed(const char* place, Expected expected) {
  const auto at = static_cast<size_t>(place - expression_.data());
  if (at < missed_at_) return;
  if (at > missed_at_) missed_ = 0;
  missed_at_ = at;
  missed_ |= uint32_t{1} << static_cast<unsigned>(expected);
}

bool FilterBuilder::Enter(const char* place) {
  if (depth_ == Filter::kMaxDepth) {
    return Fail(static_cast<size_t>(place - expression_.data()),
                Concat("more than ", Filter::kMaxDepth, " levels of nesting"),
                "fewer", "OMS-FILTER-008");
  }
  ++depth_;
  return true;
}

bool FilterBuilder::FailType(const Node& node, std::string_view expected) {
  constexpr std::string_view kTypeNames[] = {"a name", "a condition",
                                             "a number", "a string"};
  return Fail(node.at, kTypeNames[static_cast<size_t>(node.type)], expected,
              "OMS-FILTER-002");
}

bool FilterBuilder::Require(const Node& node, Type type) {
  if (node.type == Type::kAny || node.type == type) return true;
  constexpr std::string_view kTypeNames[] = {"a name", "a condition",
                                             "a number", "a string"};
  return FailType(node, kTypeNames[static_cast<size_t>(type)]);
}

bool FilterBuilder::RequireLike(const Node& a, const Node& b) {
  return a.type == Type::kAny || Require(b, a.type);
}

bool FilterBuilder::Push(Node node) {
  if (failed()) return false;
  if (nodes_.size() == Filter::kMaxNodes) {
    return Fail(node.at,
                Concat("more than ", Filter::kMaxNodes,
                       " names, literals and operators"),
                "fewer", "OMS-FILTER-008");
  }
  stack_.push_back(static_cast<uint32_t>(nodes_.size()));
  nodes_.push_back(std::move(node));
  return true;
}

bool FilterBuilder::PushName(size_t at, std::string key) {
  if (failed()) return false;
  const auto [found, is_new] =
      names_.try_emplace(std::move(key), static_cast<uint32_t>(names_.size()));
  if (is_new && names_.size() > Filter::kMaxNames) {
    return Fail(at, Concat("more than ", Filter::kMaxNames, " different names"),
                "fewer", "OMS-FILTER-008");
  }
  return Push({.node = {.operation = Operation::kName, .index = found->second},
               .at = at});
}

bool FilterBuilder::Name(std::string_view word) {
  return PushName(OffsetOf(word), std::string(word));
}

bool FilterBuilder::QuotedName(std::string_view quoted) {
  const size_t at = OffsetOf(quoted);
  if (quoted.size() == 2) {
    return Fail(at, "an empty name", "at least one character in it",
                "OMS-FILTER-001");
  }
  return PushName(at, Unquote(quoted));
}

// Removes the quotes around a literal or a name, and one of each two within.
std::string FilterBuilder::Unquote(std::string_view quoted) {
  const char quote = quoted.front();
  std::string text;
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    text.push_back(quoted[i]);
    if (quoted[i] == quote) ++i;
  }
  return text;
}

bool FilterBuilder::PushLiteral(size_t at, Type type, FilterValue value) {
  const auto index = static_cast<uint32_t>(program_->literals.size());
  if (!Push({.node = {.operation = Operation::kLiteral, .index = index},
             .at = at,
             .type = type})) {
    return false;
  }
  program_->literals.push_back(value);
  return true;
}

bool FilterBuilder::Text(std::string_view quoted) {
  program_->texts.push_back(Unquote(quoted));
  return PushLiteral(OffsetOf(quoted), Type::kText,
                     FilterValue::OfText(program_->texts.back()));
}

bool FilterBuilder::Bool(std::string_view word, bool value) {
  return PushLiteral(OffsetOf(word), Type::kCondition,
                     FilterValue::OfBool(value));
}

bool FilterBuilder::Exact(std::string_view digits) {
  const size_t at = OffsetOf(digits);
  if (digits.back() == 'l' || digits.back() == 'L') digits.remove_suffix(1);
  if (digits.size() > 1 && digits.front() == '0') {
    return Fail(at, "a number that begins with 0",
                "a decimal number without it", "OMS-FILTER-001");
  }
  uint64_t value = 0;
  if (!internal::ParseInteger(digits, value) || value > kTooLarge ||
      (value == kTooLarge && too_large_)) {
    return Fail(at, "a number that is too large", "at most 9223372036854775807",
                "OMS-FILTER-001");
  }
  if (value == kTooLarge) {
    too_large_ = at;
    return PushLiteral(
        at, Type::kNumber,
        FilterValue::OfExact(std::numeric_limits<int64_t>::min()));
  }
  return PushLiteral(at, Type::kNumber,
                     FilterValue::OfExact(static_cast<int64_t>(value)));
}

bool FilterBuilder::Approximate(std::string_view number) {
  const size_t at = OffsetOf(number);
  constexpr std::string_view kSuffixes = "dDfF";
  if (kSuffixes.find(number.back()) != std::string_view::npos) {
    number.remove_suffix(1);
  }
  double value = 0;
  const auto result =
      std::from_chars(number.data(), number.data() + number.size(), value);
  if (result.ec != std::errc()) {
    return Fail(at, "a number that is out of range", "one that a double holds",
                "OMS-FILTER-001");
  }
  return PushLiteral(at, Type::kNumber, FilterValue::OfApproximate(value));
}

bool FilterBuilder::CheckNumber() {
  return !failed() && Require(Top(), Type::kNumber);
}

bool FilterBuilder::Negative(std::string_view whole) {
  if (!CheckNumber()) return false;
  const bool is_literal = Top().node.operation == Operation::kLiteral;
  bool folded = false;
  if (is_literal && too_large_ == Top().at) {
    too_large_.reset();
    folded = true;  // Held as the negative already.
  } else if (is_literal) {
    FilterValue& literal = program_->literals[Top().node.index];
    const FilterValue negative = kit::Negate(literal);
    folded = negative.kind() != ValueKind::kNull;
    if (folded) literal = negative;
  }
  if (!folded && !Reduce({.operation = Operation::kNegate}, 1, Type::kNumber)) {
    return false;
  }
  Top().at = OffsetOf(whole);
  return true;
}

bool FilterBuilder::Reduce(FilterNode node, size_t count, Type type) {
  Node made{.node = node, .type = type};
  made.at = Top(count - 1).at;
  for (size_t i = count; i > 0; --i) {
    made.operands.push_back({stack_[stack_.size() - i], false});
  }
  stack_.resize(stack_.size() - count);
  return Push(std::move(made));
}

bool FilterBuilder::Invert(bool wanted) {
  if (!wanted) return !failed();
  return !failed() &&
         Reduce({.operation = Operation::kNot}, 1, Type::kCondition);
}

bool FilterBuilder::Chain(Operation operation, bool inverse) {
  if (failed()) return false;
  const bool is_logic =
      operation == Operation::kAnd || operation == Operation::kOr;
  const Type type = is_logic ? Type::kCondition : Type::kNumber;
  if (!Require(Top(1), type) || !Require(Top(0), type)) return false;
  // A chain is one node, so that its length is no depth.
  if (Top(1).node.operation != operation) {
    if (!Reduce({.operation = operation}, 2, type)) return false;
  } else {
    Top(1).operands.push_back({stack_.back(), false});
    stack_.pop_back();
  }
  Top().operands.back().inverse = inverse;
  return true;
}

bool FilterBuilder::Compared() {
  if (failed()) return false;
  const Comparison comparison = comparisons_.back();
  comparisons_.pop_back();
  if (!RequireLike(Top(1), Top(0)) || !RequireLike(Top(0), Top(1))) {
    return false;
  }
  if (comparison != Comparison::kEqual && comparison != Comparison::kUnequal) {
    for (const Node* node : {&Top(1), &Top(0)}) {
      if (node->type == Type::kCondition) {
        return FailType(*node, "a number or a string, or = or <>");
      }
    }
  }
  return Reduce({.operation = Operation::kCompare, .comparison = comparison}, 2,
                Type::kCondition);
}

bool FilterBuilder::Between(bool negated) {
  if (failed()) return false;
  for (size_t i = 3; i-- > 0;) {
    if (Top(i).type == Type::kCondition) {
      return FailType(Top(i), "a number or a string");
    }
    for (size_t j = 3; j-- > 0;) {
      if (!RequireLike(Top(i), Top(j))) return false;
    }
  }
  return Reduce({.operation = Operation::kBetween}, 3, Type::kCondition) &&
         Invert(negated);
}

bool FilterBuilder::In(bool negated) {
  if (failed()) return false;
  const size_t begin = list_begins_.back();
  list_begins_.pop_back();
  FilterList list;
  for (size_t i = begin; i < stack_.size(); ++i) {
    const Node& item = nodes_[stack_[i]];
    if (!RequireLike(nodes_[stack_[begin - 1]], item)) return false;
    list.values.push_back(program_->literals[item.node.index]);
    list.has_number |= item.type == Type::kNumber;
    list.has_text |= item.type == Type::kText;
    list.has_bool |= item.type == Type::kCondition;
  }
  stack_.resize(begin);
  std::sort(list.values.begin(), list.values.end(), ListedBefore);
  const auto index = static_cast<uint32_t>(program_->lists.size());
  program_->lists.push_back(std::move(list));
  return Reduce({.operation = Operation::kIn, .index = index}, 1,
                Type::kCondition) &&
         Invert(negated);
}

bool FilterBuilder::Like(bool negated, bool escape) {
  if (failed()) return false;
  FilterLike like;
  if (escape) {
    const Node& node = Top();
    like.escape = program_->literals[node.node.index].text();
    if (like.escape.empty() ||
        internal::Utf8SequenceLength(like.escape) != like.escape.size()) {
      return Fail(node.at, "an escape that is not one character",
                  "a string of one", "OMS-FILTER-003");
    }
    stack_.pop_back();
  }
  const size_t at = Top().at;
  like.text = program_->literals[Top().node.index].text();
  if (const auto flaw = like.pattern.Compile(like.text, like.escape)) {
    // A quote in a pattern is two in the expression.
    const auto quotes =
        std::count(like.text.begin(), like.text.begin() + flaw->offset, '\'');
    return Fail(at + 1 + flaw->offset + static_cast<size_t>(quotes), flaw->what,
                flaw->expected, "OMS-FILTER-003");
  }
  stack_.pop_back();
  if (!Require(Top(), Type::kText)) return false;
  const auto index = static_cast<uint32_t>(program_->patterns.size());
  program_->patterns.push_back(std::move(like));
  return Reduce({.operation = Operation::kLike, .index = index}, 1,
                Type::kCondition) &&
         Invert(negated);
}

bool FilterBuilder::IsNull(bool negated) {
  if (failed()) return false;
  if (Top().node.operation != Operation::kName) {
    return FailType(Top(), "a name before IS");
  }
  return Reduce({.operation = Operation::kIsNull}, 1, Type::kCondition) &&
         Invert(negated);
}

bool FilterBuilder::Inverted(std::string_view whole) {
  if (failed() || !Require(Top(), Type::kCondition) || !Invert(true)) {
    return false;
  }
  Top().at = OffsetOf(whole);
  return true;
}

absl::Status FilterBuilder::SyntaxError() const {
  FilterBuilder copy(expression_);
  const std::string_view rest = expression_.substr(missed_at_);
  std::string what = "unexpected end";
  std::string expected = JoinExpected(missed_);
  if (BeginsUnclosed(rest)) {
    what = "a quote that is not closed";
    expected = "one more of its kind behind it";
  } else if (!rest.empty()) {
    const std::string_view found = FirstThing(rest);
    what = Concat("unexpected \"", internal::Printable(found), "\"");
    // What users of other languages write.
    if (SameWord(found, "NULL")) expected += "; the test for null is IS NULL";
    if (found == "!=") expected = "<>, which is the sign for unequal";
    if (found == "==") expected = "=, which is the sign for equal";
  }
  copy.Fail(missed_at_, what, expected, "OMS-FILTER-001");
  return copy.error_;
}

absl::StatusOr<std::shared_ptr<const FilterProgram>> FilterBuilder::Finish(
    bool parsed) {
  if (parsed && !failed()) Require(Top(), Type::kCondition);
  if (too_large_) {
    Fail(*too_large_, "a number that is too large",
         "at most 9223372036854775807", "OMS-FILTER-001");
  }
  if (failed()) return error_;
  if (!parsed) return SyntaxError();

  std::vector<uint32_t> places(names_.size());
  for (const auto& [key, number] : names_) {
    places[number] = static_cast<uint32_t>(program_->names.size());
    program_->names.push_back({key, FindHeaderName(key)});
  }
  for (Node& node : nodes_) {
    if (node.node.operation == Operation::kName) {
      node.node.index = places[node.node.index];
    }
    node.node.begin = static_cast<uint32_t>(program_->operands.size());
    program_->operands.insert(program_->operands.end(), node.operands.begin(),
                              node.operands.end());
    node.node.end = static_cast<uint32_t>(program_->operands.size());
    program_->nodes.push_back(node.node);
  }
  program_->root = stack_.back();
  program_->text = PrintFilter(*program_);
  return program_;
}

}  // namespace openmessaging::inline v0::kit
