// SPDX-License-Identifier: Apache-2.0
//
// From the text of a filter to its program.

#ifndef OPENMESSAGING_KIT_FILTER_PARSER_H_
#define OPENMESSAGING_KIT_FILTER_PARSER_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "filter_program.h"

namespace openmessaging::inline v0::kit {

// Errors: as Filter::Compile().
absl::StatusOr<std::shared_ptr<const FilterProgram>> ParseFilter(
    std::string_view expression);

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_FILTER_PARSER_H_
