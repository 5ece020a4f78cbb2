// SPDX-License-Identifier: Apache-2.0
//
// Walks over a compiled filter. The names are looked up first, all of them in
// one pass over the properties, since both are sorted.

#include <algorithm>
#include <array>

#include "filter_program.h"
#include "openmessaging/internal/key_value_codec.h"

namespace openmessaging::inline v0::kit {
namespace {

class Evaluation {
 public:
  Evaluation(const FilterProgram& program, const Message& message)
      : program_(program) {
    LookUpNames(message);
  }

  Truth Run() const { return Decide(program_.root); }

 private:
  void LookUpNames(const Message& message) {
    const auto& names = program_.names;
    std::string_view rest;
    if (!names.empty()) rest = message.properties().encoded();
    size_t next = 0;
    while (next < names.size()) {
      const auto entry = internal::TakeEntry(rest);
      if (!entry) break;
      int order = -1;
      while (next < names.size() &&
             (order = names[next].key.compare(entry->key)) < 0) {
        LookUpHeader(message, next++);
      }
      if (next < names.size() && order == 0) {
        values_[next++] = FilterValue::OfProperty(entry->value);
      }
    }
    while (next < names.size()) LookUpHeader(message, next++);
  }

  void LookUpHeader(const Message& message, size_t name) {
    const auto header = program_.names[name].header;
    values_[name] = header ? ReadHeader(message, *header, ids_) : FilterValue();
  }

  const FilterNode& node(uint32_t index) const { return program_.nodes[index]; }
  uint32_t Child(const FilterNode& of, uint32_t i) const {
    return program_.operands[of.begin + i].node;
  }

  FilterValue Calculate(uint32_t index) const {
    const FilterNode& here = node(index);
    switch (here.operation) {
      case Operation::kName:
        return values_[here.index];
      case Operation::kLiteral:
        return program_.literals[here.index];
      case Operation::kNegate:
        return Negate(Calculate(Child(here, 0)));
      case Operation::kSum:
      case Operation::kProduct:
        return Fold(here);
      default:
        return FilterValue::OfTruth(Decide(index));
    }
  }

  FilterValue Fold(const FilterNode& here) const {
    FilterValue result = Calculate(Child(here, 0));
    for (uint32_t i = here.begin + 1; i < here.end; ++i) {
      const FilterOperand& operand = program_.operands[i];
      const FilterValue value = Calculate(operand.node);
      if (here.operation == Operation::kSum) {
        result = operand.inverse ? Subtract(result, value) : Add(result, value);
      } else {
        result =
            operand.inverse ? Divide(result, value) : Multiply(result, value);
      }
    }
    return result;
  }

  Truth Decide(uint32_t index) const {
    const FilterNode& here = node(index);
    switch (here.operation) {
      case Operation::kCompare:
        return Compare(here.comparison, Calculate(Child(here, 0)),
                       Calculate(Child(here, 1)));
      case Operation::kBetween:
        return IsBetween(here);
      case Operation::kIn:
        return IsListed(program_.lists[here.index], Calculate(Child(here, 0)));
      case Operation::kLike: {
        const FilterValue value = Calculate(Child(here, 0));
        if (value.kind() != ValueKind::kText) return Truth::kUnknown;
        return TruthOf(
            program_.patterns[here.index].pattern.Matches(value.text()));
      }
      case Operation::kIsNull:
        return TruthOf(Calculate(Child(here, 0)).kind() == ValueKind::kNull);
      case Operation::kNot:
        return Not(Decide(Child(here, 0)));
      case Operation::kAnd:
      case Operation::kOr:
        return Join(here);
      default:
        return Calculate(index).AsCondition();
    }
  }

  // Ends at the first operand that decides.
  Truth Join(const FilterNode& here) const {
    const bool is_and = here.operation == Operation::kAnd;
    const Truth decisive = is_and ? Truth::kFalse : Truth::kTrue;
    Truth result = Not(decisive);
    for (uint32_t i = here.begin; i < here.end && result != decisive; ++i) {
      const Truth truth = Decide(program_.operands[i].node);
      result = is_and ? std::min(result, truth) : std::max(result, truth);
    }
    return result;
  }

  Truth IsBetween(const FilterNode& here) const {
    const FilterValue value = Calculate(Child(here, 0));
    const Truth above =
        Compare(Comparison::kGreaterOrEqual, value, Calculate(Child(here, 1)));
    const Truth below =
        Compare(Comparison::kLessOrEqual, value, Calculate(Child(here, 2)));
    return std::min(above, below);
  }

  // As the OR of as many comparisons would be.
  static Truth IsListed(const FilterList& list, const FilterValue& value) {
    const bool is_nan = value.kind() == ValueKind::kApproximate &&
                        value.approximate() != value.approximate();
    if (value.kind() == ValueKind::kNull || is_nan ||
        value.kind() == ValueKind::kOther) {
      return Truth::kUnknown;
    }
    const auto found = std::lower_bound(list.values.begin(), list.values.end(),
                                        value, ListedBefore);
    if (found != list.values.end() && !ListedBefore(value, *found)) {
      return Truth::kTrue;
    }
    const bool has_other =
        (list.has_number && !value.IsNumber()) ||
        (list.has_text && value.kind() != ValueKind::kText) ||
        (list.has_bool && value.kind() != ValueKind::kBool);
    return has_other ? Truth::kUnknown : Truth::kFalse;
  }

  const FilterProgram& program_;
  IdTexts ids_;
  // One for each name; the others are never written.
  std::array<FilterValue, Filter::kMaxNames> values_;
};

}  // namespace

Truth EvaluateFilter(const FilterProgram& program, const Message& message) {
  return Evaluation(program, message).Run();
}

}  // namespace openmessaging::inline v0::kit
