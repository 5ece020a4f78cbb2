// SPDX-License-Identifier: Apache-2.0
//
// oms filter: says what an SQL filter thinks of a message.

#include "openmessaging/kit/filter.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/json.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"
#include "output.h"
#include "read_file.h"

namespace openmessaging::tools {
namespace {

// Larger than the JSON form of any message: a body that is no text takes four
// bytes for three, one of control characters six for each.
constexpr size_t kMaxJsonBytes = 6 * kMaxBodyBytes + (size_t{1} << 20);
// Of the expression, on each side of the column.
constexpr size_t kShownCharacters = 60;

struct FilterOptions {
  std::string expression{};
  std::string message{};
};

// Returns: the characters of the line around `column`, and a line with a caret
// below that one.
std::string PointAt(std::string_view expression, size_t column) {
  std::string shown;
  std::string before;  // As many blanks as there are characters before it.
  for (size_t at = 1; !expression.empty(); ++at) {
    const size_t length =
        std::max<size_t>(1, internal::Utf8SequenceLength(expression));
    const std::string_view character = expression.substr(0, length);
    expression.remove_prefix(length);
    if (character == "\n") {
      if (at >= column) break;
      shown.clear();
      before.clear();
    } else if (at + kShownCharacters > column &&
               at < column + kShownCharacters) {
      const auto byte = static_cast<unsigned char>(character[0]);
      shown += byte < ' ' || byte == 0x7f ? " " : character;
      if (at < column) before += ' ';
    }
  }
  return internal::Concat("  ", shown, "\n  ", before, "^\n");
}

// Returns: kWrongUsage, also where the file is to blame: 1 is an answer here.
int Refuse(const absl::Status& status) {
  PrintError(status);
  return kWrongUsage;
}

int Decide(const FilterOptions& options) {
  const auto filter = kit::Filter::Compile(options.expression);
  if (!filter.ok()) {
    PrintError(filter.status());
    if (const auto column = kit::FilterErrorColumn(filter.status())) {
      PrintToError(PointAt(options.expression, *column));
    }
    return kWrongUsage;
  }
  const auto text = ReadFile(options.message, kMaxJsonBytes, "FILE");
  if (!text.ok()) return Refuse(text.status());
  const auto message = FromJson(*text);
  if (!message.ok()) return Refuse(message.status());
  const kit::Truth truth = filter->Evaluate(*message);
  const absl::Status printed =
      Print(internal::Concat(kit::TruthName(truth), "\n"));
  if (!printed.ok()) return Refuse(printed);
  return truth == kit::Truth::kTrue ? kDone : kFailed;
}

}  // namespace

void AddFilterCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<FilterOptions>();
  CLI::App* const command = app.add_subcommand(
      "filter", "Say whether an SQL filter matches a message");
  command
      ->add_option("EXPRESSION", options->expression,
                   "a condition over properties and header fields")
      ->required();
  command
      ->add_option("FILE", options->message,
                   "a message in its JSON form; - is the standard input")
      ->required();
  command->footer(
      R"(Prints true, false or unknown. Ends with 0 when it is true, 1 when it is
not, 2 when the expression is wrong or there is no message.

A name is the property of that name, else the header field of that name,
else null. What is compared with null, or is of another kind, is unknown.

Examples:
  oms filter "kind = 'order' AND price * 2 > 100" message.json
  oms receive oms:file:/tmp/shop orders --json |
    oms filter "city NOT LIKE 'B%' OR priority >= 8" -
  oms filter -- '-x IN (1, 2)' message.json   # it begins with a dash)");
  command->callback(
      [options, &work] { work = [options] { return Decide(*options); }; });
}

}  // namespace openmessaging::tools
