// SPDX-License-Identifier: Apache-2.0
//
// Filter decides about messages by an SQL condition, for drivers whose broker
// has no filter of its own, or another one. The language is that of JMS
// selectors; docs/design/filter.md has its grammar and where it differs.

#ifndef OPENMESSAGING_KIT_FILTER_H_
#define OPENMESSAGING_KIT_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/message.h"

namespace openmessaging::inline v0::kit {

// SQL's three truth values. Their order is that of the logic: AND is the lesser
// of two, OR the greater, NOT turns the order around.
enum class Truth : uint8_t { kFalse = 0, kUnknown = 1, kTrue = 2 };

// Returns: "false", "unknown" or "true".
std::string_view TruthName(Truth truth);

struct FilterProgram;

// One compiled condition, such as
//
//   kind = 'order' AND (price * 2 > 100 OR urgent) AND city NOT LIKE 'B%'
//
// A name is the message's property of that name, else its header field of that
// name, else null. A comparison with null or of different kinds is unknown.
//
// Threads: an immutable value; every method may run together with any.
// Lifetime: copies share what was compiled.
// Implements: OMS-FILTER-001 to OMS-FILTER-009.
class Filter {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 10;
  static constexpr size_t kMaxDepth = 64;
  // Names, literals and operators.
  static constexpr size_t kMaxNodes = 4096;
  // Different names.
  static constexpr size_t kMaxNames = 256;

  // Compiles a condition.
  // Errors: kInvalidArgument 1418: it is none, or over a limit. The text says
  // at which column, and what was expected there.
  [[nodiscard]] static absl::StatusOr<Filter> Compile(
      std::string_view expression);

  // Evaluates it on a message that is being built or was received. Takes no
  // lock and allocates nothing.
  Truth Evaluate(const Message& message) const;

  // Returns: whether it is true; what is unknown does not match.
  bool Matches(const Message& message) const {
    return Evaluate(message) == Truth::kTrue;
  }

  // Returns: the expression in one form of all that differ in blanks, case of
  // keywords, form of numbers and needless parentheses only.
  const std::string& text() const;

 private:
  explicit Filter(std::shared_ptr<const FilterProgram> program)
      : program_(std::move(program)) {}

  std::shared_ptr<const FilterProgram> program_;
};

// Returns: the column, 1 or more, that an error of Filter::Compile() is about;
// nothing for any other status. A column is one character, whatever its bytes;
// a line break is one too.
std::optional<size_t> FilterErrorColumn(const absl::Status& status);

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_FILTER_H_
