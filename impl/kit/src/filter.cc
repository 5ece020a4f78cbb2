// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/filter.h"

#include <utility>

#include "filter_parser.h"
#include "filter_program.h"

namespace openmessaging::inline v0::kit {

std::string_view TruthName(Truth truth) {
  switch (truth) {
    case Truth::kFalse:
      return "false";
    case Truth::kUnknown:
      return "unknown";
    case Truth::kTrue:
      return "true";
  }
  return "unknown";
}

absl::StatusOr<Filter> Filter::Compile(std::string_view expression) {
  auto program = ParseFilter(expression);
  if (!program.ok()) return program.status();
  return Filter(*std::move(program));
}

Truth Filter::Evaluate(const Message& message) const {
  return EvaluateFilter(*program_, message);
}

const std::string& Filter::text() const { return program_->text; }

}  // namespace openmessaging::inline v0::kit
