// SPDX-License-Identifier: Apache-2.0
//
// The one form of an expression: keywords in capitals, one blank, parentheses
// around every part that has parts of its own.

#include <array>
#include <charconv>
#include <cmath>

#include "filter_program.h"
#include "openmessaging/internal/text.h"

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

class Printer {
 public:
  Printer(const FilterProgram& program, std::string& out)
      : program_(program), out_(out) {}

  void Print(uint32_t index) {
    const FilterNode& node = program_.nodes[index];
    switch (node.operation) {
      case Operation::kName:
        return PrintName(program_.names[node.index].key);
      case Operation::kLiteral:
        return PrintLiteral(program_.literals[node.index]);
      case Operation::kNegate:
        out_ += "- ";
        return PrintPart(node, 0);
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
        out_ += " BETWEEN ";
        PrintPart(node, 1);
        out_ += " AND ";
        return PrintPart(node, 2);
      case Operation::kIn:
        PrintPart(node, 0);
        return PrintList(program_.lists[node.index]);
      case Operation::kLike:
        PrintPart(node, 0);
        return PrintPattern(program_.patterns[node.index]);
      case Operation::kIsNull:
        PrintPart(node, 0);
        out_ += " IS NULL";
        return;
      case Operation::kNot:
        out_ += "NOT ";
        return PrintPart(node, 0);
    }
  }

 private:
  void PrintOperand(uint32_t index) {
    const Operation operation = program_.nodes[index].operation;
    const bool whole =
        operation == Operation::kName || operation == Operation::kLiteral;
    if (!whole) out_.push_back('(');
    Print(index);
    if (!whole) out_.push_back(')');
  }
  void PrintPart(const FilterNode& node, uint32_t i) {
    PrintOperand(program_.operands[node.begin + i].node);
  }

  void PrintChain(const FilterNode& node, std::string_view sign,
                  std::string_view inverse) {
    for (uint32_t i = node.begin; i < node.end; ++i) {
      const FilterOperand& operand = program_.operands[i];
      if (i > node.begin) out_ += operand.inverse ? inverse : sign;
      PrintOperand(operand.node);
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
  std::string& out_;
};

}  // namespace

std::string PrintFilter(const FilterProgram& program) {
  std::string out;
  Printer(program, out).Print(program.root);
  return out;
}

}  // namespace openmessaging::inline v0::kit
