// SPDX-License-Identifier: Apache-2.0

#include "arguments.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "openmessaging/attributes.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

constexpr size_t kNameColumns = 26;

// Throws what CLI11 throws for a value that it cannot read itself.
[[noreturn]] void Refuse(const std::string& name, const std::string& text,
                         const std::string& expected) {
  throw CLI::ValidationError(
      name, Concat("value is \"", internal::Printable(text), "\"; expected ",
                   expected));
}

// An option of CLI11 has no room for more than its text.
std::map<const CLI::Option*, std::vector<std::string>>& AllChoices() {
  static std::map<const CLI::Option*, std::vector<std::string>> all;
  return all;
}

// CLI11's own help repeats defaults, types and REQUIRED; this one keeps the
// name and the kind of value and leaves the words to the description.
class PlainFormatter : public CLI::Formatter {
 public:
  PlainFormatter() {
    column_width(kNameColumns);
    label("Usage", "usage");
    label("OPTIONS", "options");
    label("SUBCOMMAND", "command");
    label("Positionals", "Arguments");
  }

  std::string make_usage(const CLI::App* app, std::string name) const override {
    return "\n" + CLI::Formatter::make_usage(app, std::move(name));
  }

  std::string make_option_name(const CLI::Option* option,
                               bool positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, positional);
    if (const size_t comma = name.find(','); comma != std::string::npos) {
      name.insert(comma + 1, " ");
    }
    return name;
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_name().empty()) return "";
    return " " + option->get_type_name();
  }
};

}  // namespace

void AddUrl(CLI::App& command, std::string& url) {
  command
      .add_option("URL", url, "where the queues are, for example oms:file:/dir")
      ->required();
}

CLI::Option* AddQueue(CLI::App& command, std::string& queue) {
  return command.add_option("QUEUE", queue, "the name of the queue");
}

void AddNumber(CLI::App& command, const std::string& name, int64_t& value,
               int64_t lowest, int64_t highest, const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&value, name, lowest, highest](const std::string& text) {
            if (!internal::ParseInteger(text, value) || value < lowest ||
                value > highest) {
              std::string expected = Concat("a whole number from ", lowest);
              if (highest < std::numeric_limits<int64_t>::max()) {
                expected += Concat(" to ", highest);
              }
              Refuse(name, text, expected);
            }
          },
          help)
      ->type_name("N");
}

void AddSize(CLI::App& command, const std::string& name, size_t& value,
             size_t highest, const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&value, name, highest](const std::string& text) {
            Attributes attributes;
            const bool fits = attributes.Set("size", text).ok();
            const auto size = attributes.GetSize("size");
            if (!fits || !size.ok() || *size > highest) {
              Refuse(name, text,
                     Concat("a number of bytes up to ", highest,
                            ", such as 512, 64KiB or 1MB"));
            }
            value = *size;
          },
          help)
      ->type_name("BYTES");
}

void AddTime(CLI::App& command, const std::string& name,
             std::chrono::milliseconds& value, const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&value, name](const std::string& text) {
            Attributes attributes;
            const bool fits =
                attributes.Set("time", text == "0" ? "0s" : text).ok();
            const auto time = attributes.GetDuration("time");
            if (!fits || !time.ok()) {
              Refuse(name, text,
                     "0, or a whole number with ms, s, m, h or d, such as "
                     "500ms or 5s");
            }
            value = *time;
          },
          help)
      ->type_name("TIME");
}

CLI::Option* AddChoice(CLI::App& command, const std::string& name,
                       const std::string& unit, size_t& value,
                       const std::vector<std::string>& choices,
                       const std::string& help) {
  CLI::Option* const option =
      command
          .add_option_function<std::string>(
              name,
              [&value, name, choices](const std::string& text) {
                const auto found =
                    std::find(choices.begin(), choices.end(), text);
                if (found == choices.end()) {
                  Refuse(name, text, JoinChoices(choices));
                }
                value = static_cast<size_t>(found - choices.begin());
              },
              help)
          ->type_name(unit);
  AllChoices()[option] = choices;
  return option;
}

std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const auto found = AllChoices().find(&option);
  return found == AllChoices().end() ? std::vector<std::string>()
                                     : found->second;
}

std::string JoinChoices(const std::vector<std::string>& choices) {
  std::string joined;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) joined += i + 1 < choices.size() ? ", " : " or ";
    joined += choices[i];
  }
  return joined;
}

void UsePlainHelp(CLI::App& app) {
  app.formatter(std::make_shared<PlainFormatter>());
  app.set_help_flag("-h,--help", "print this help and end");
  for (CLI::App* const command :
       app.get_subcommands([](const CLI::App*) { return true; })) {
    command->group("Commands");
    UsePlainHelp(*command);
  }
}

}  // namespace openmessaging::tools
