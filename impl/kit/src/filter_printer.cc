// SPDX-License-Identifier: Apache-2.0
//
// The one form of an expression: keywords in capitals, one blank, parentheses
// around every part that has parts of its own. Where these would be more levels
// than may be read, only around what would be read otherwise without them: then
// no level is more than in the expression that it was read from.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "filter_program.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/kit/filter.h"

namespace openmessaging::inline v0::kit {
namespace {

constexpr std::string_view kComparisonSigns[] = {" = ",  " <> ", " < ",
                                                 " <= ", " > ",  " >= "};

void AppendQuoted(std::string& out, std::string_view text, char quote) {
  out.push_back(quote);
  for (const char c : text) {
    out.push_back(c);
    if (c == quote) out.push_back(c);
  }
  out.push_back(quote);
}

// How tightly an operation binds its parts.
constexpr int RankOf(Operation operation) {
  switch (operation) {
    case Operation::kOr:
      return 0;
    case Operation::kAnd:
      return 1;
    case Operation::kNot:
      return 2;
    case Operation::kSum:
      return 4;
    case Operation::kProduct:
      return 5;
    case Operation::kNegate:
      return 6;
    case Operation::kName:
    case Operation::kLiteral:
      return 7;
    default:
      return 3;  // A predicate.
  }
}

// Returns: the least rank of a part that needs no parentheses. A chain in a
// chain does, lest it become one.
constexpr int LeastOf(Operation operation) {
  const bool prefix =
      operation == Operation::kNot || operation == Operation::kNegate;
  return RankOf(operation) + (prefix ? 0 : 1);
}

// Whether a NOT may stand within it: a NOT IN (1).
constexpr bool TakesNot(Operation operation) {
  return operation == Operation::kBetween || operation == Operation::kIn ||
         operation == Operation::kLike || operation == Operation::kIsNull;
}

class Printer {
 public:
  Printer(const FilterProgram& program, bool sparse, std::string& out)
      : program_(program), sparse_(sparse), out_(out) {}

  // Returns: how deep it was.
  size_t deepest() const { return deepest_; }

  // `inverted`: with a NOT within it.
  void Print(uint32_t index, bool inverted = false) {
    const FilterNode& node = program_.nodes[index];
    switch (node.operation) {
      case Operation::kName:
        return PrintName(program_.names[node.index].key);
      case Operation::kLiteral:
        return PrintLiteral(program_.literals[node.index]);
      case Operation::kNegate:
        out_ += "- ";
        return PrintDeeper(node);
      case Operation::kSum:
        return PrintChain(node, " + ", " - ");
      case Operation::kProduct:
        return PrintChain(node, " * ", " / ");
      case Operation::kAnd:
        return PrintChain(node, " AND ", "");
      case Operation::kOr:
        return PrintChain(node, " OR ", "");
      case Operation::kCompare:
        PrintPart(node, 0);
        out_ += kComparisonSigns[static_cast<size_t>(node.comparison)];
        return PrintPart(node, 1);
      case Operation::kBetween:
        PrintPart(node, 0);
        out_ += inverted ? " NOT BETWEEN " : " BETWEEN ";
        PrintPart(node, 1);
        out_ += " AND ";
        return PrintPart(node, 2);
      case Operation::kIn:
        PrintPart(node, 0);
        if (inverted) out_ += " NOT";
        return PrintList(program_.lists[node.index]);
      case Operation::kLike:
        PrintPart(node, 0);
        if (inverted) out_ += " NOT";
        return PrintPattern(program_.patterns[node.index]);
      case Operation::kIsNull:
        PrintPart(node, 0);
        out_ += inverted ? " IS NOT NULL" : " IS NULL";
        return;
      case Operation::kNot: {
        const uint32_t part = program_.operands[node.begin].node;
        if (sparse_ && TakesNot(program_.nodes[part].operation)) {
          return Print(part, true);
        }
        out_ += "NOT ";
        return PrintDeeper(node);
      }
    }
  }

 private:
  void PrintOperand(Operation within, uint32_t index) {
    const Operation operation = program_.nodes[index].operation;
    const bool bare = operation == Operation::kName ||
                      operation == Operation::kLiteral ||
                      (sparse_ && RankOf(operation) >= LeastOf(within));
    if (bare) return Print(index);
    out_.push_back('(');
    Deepen();
    Print(index);
    --depth_;
    out_.push_back(')');
  }
  void PrintPart(const FilterNode& node, uint32_t i) {
    PrintOperand(node.operation, program_.operands[node.begin + i].node);
  }
  // The one part behind a sign or NOT.
  void PrintDeeper(const FilterNode& node) {
    Deepen();
    PrintPart(node, 0);
    --depth_;
  }
  void Deepen() { deepest_ = std::max(deepest_, ++depth_); }

  void PrintChain(const FilterNode& node, std::string_view sign,
                  std::string_view inverse) {
    for (uint32_t i = node.begin; i < node.end; ++i) {
      const FilterOperand& operand = program_.operands[i];
      if (i > node.begin) out_ += operand.inverse ? inverse : sign;
      PrintOperand(node.operation, operand.node);
    }
  }

  void PrintName(std::string_view key) {
    if (IsPlainName(key)) {
      out_ += key;
    } else {
      AppendQuoted(out_, key, '"');
    }
  }

  void PrintLiteral(const FilterValue& value) {
    switch (value.kind()) {
      case ValueKind::kBool:
        out_ += value.truth() ? "TRUE" : "FALSE";
        return;
      case ValueKind::kExact:
        internal::AppendPart(out_, value.exact());
        return;
      case ValueKind::kApproximate: {
        std::array<char, 32> text;
        const auto end = std::to_chars(text.data(), text.data() + text.size(),
                                       value.approximate());
        const std::string_view digits(text.data(), end.ptr);
        out_ += digits;
        // As it stands it would be an exact number.
        if (digits.find_first_of(".e") == std::string_view::npos) out_ += ".0";
        return;
      }
      default:
        AppendQuoted(out_, value.text(), '\'');
    }
  }

  void PrintList(const FilterList& list) {
    out_ += " IN (";
    for (size_t i = 0; i < list.values.size(); ++i) {
      if (i > 0) out_ += ", ";
      PrintLiteral(list.values[i]);
    }
    out_ += ")";
  }

  void PrintPattern(const FilterLike& like) {
    out_ += " LIKE ";
    AppendQuoted(out_, like.text, '\'');
    if (like.escape.empty()) return;
    out_ += " ESCAPE ";
    AppendQuoted(out_, like.escape, '\'');
  }

  const FilterProgram& program_;
  const bool sparse_;
  std::string& out_;
  size_t depth_ = 0;
  size_t deepest_ = 0;
};

}  // namespace

std::string PrintFilter(const FilterProgram& program) {
  // A sign of a number is a level too.
  constexpr size_t kMost = Filter::kMaxDepth - 1;
  std::string out;
  for (const bool sparse : {false, true}) {
    out.clear();
    Printer printer(program, sparse, out);
    printer.Print(program.root);
    if (printer.deepest() <= kMost) break;
  }
  return out;
}

}  // namespace openmessaging::inline v0::kit
