// SPDX-License-Identifier: Apache-2.0
//
// oms completion: prints what makes a shell complete the command lines of oms.
// The scripts only ask oms itself (--line), which knows its commands, so that
// they need no change when a command gets an option.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "arguments.h"
#include "command.h"
#include "openmessaging/reference/inspect.h"
#include "openmessaging/url.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr const char* kBash = R"script(# bash completion of oms; in ~/.bashrc:
#   eval "$(oms completion bash)"
_oms() {
  local line=${COMP_LINE:0:COMP_POINT} word cut found
  word=${line##*[[:space:]]}
  # bash takes the colons of a URL for ends of words.
  cut=${word%"${word##*:}"}
  COMPREPLY=()
  while IFS= read -r found; do
    COMPREPLY+=("${found#"$cut"}")
  done < <("$1" completion --line "$line" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/:] ]]; then
    compopt -o nospace 2>/dev/null || true
  fi
  return 0
}
complete -F _oms oms
)script";

constexpr const char* kZsh = R"script(#compdef oms
# zsh completion of oms; in ~/.zshrc, behind compinit:
#   eval "$(oms completion zsh)"
_oms() {
  local found
  for found in "${(@f)$("${words[1]}" completion \
      --line "${(j: :)words[1,CURRENT]}" 2>/dev/null)}"; do
    if [[ $found == *[/:] ]]; then
      compadd -S '' -- "$found"
    elif [[ -n $found ]]; then
      compadd -- "$found"
    fi
  done
}
compdef _oms oms
)script";

constexpr const char* kFish = R"script(# fish completion of oms; in config.fish:
#   oms completion fish | source
complete -c oms -f -a '(oms completion --line (commandline -cp) 2>/dev/null)'
)script";

struct CompletionOptions {
  size_t shell = 0;
  std::optional<std::string> line{};
};

// Splits a command line as a shell would, roughly: quotes and backslashes keep
// blanks. The last word is the one that is being typed; it may be empty.
Words SplitWords(std::string_view line) {
  Words words(1);
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      words.back().push_back(line[++i]);
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back().push_back(c);
    }
  }
  return words;
}

// Where a command line is when its last word begins.
struct Place {
  const CLI::App* command = nullptr;
  const CLI::Option* option = nullptr;  // It wants this word as its value.
  Words positionals{};
  bool options_ended = false;
};

bool TakesValue(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

Place FindPlace(const CLI::App& app, const Words& words) {
  Place place;
  place.command = &app;
  // Neither the program nor the word that is being typed.
  for (size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (place.option != nullptr) {
      place.option = nullptr;
      continue;
    }
    if (!place.options_ended && word.starts_with("-")) {
      place.options_ended = word == "--";
      const CLI::Option* const option =
          place.command->get_option_no_throw(word);
      if (option != nullptr && TakesValue(*option)) place.option = option;
      continue;
    }
    const CLI::App* next = nullptr;
    for (const CLI::App* const one : place.command->get_subcommands({})) {
      if (one->check_name(word)) next = one;
    }
    if (next != nullptr && place.positionals.empty()) {
      place.command = next;
    } else {
      place.positionals.push_back(word);
    }
  }
  return place;
}

// Adds the paths that begin with `typed`, directories with a slash at the end,
// each behind `before`.
void AddPaths(const std::string& before, const std::string& typed,
              bool files_too, Words& found) {
  const size_t slash = typed.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "" : typed.substr(0, slash + 1);
  const std::string begin = typed.substr(folder.size());
  std::error_code error;
  fs::directory_iterator entries(folder.empty() ? "." : folder, error);
  for (; !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    // Hidden ones only for who asks for them.
    if (!name.starts_with(begin) || (begin.empty() && name[0] == '.')) continue;
    std::error_code ignored;
    const bool is_directory = entries->is_directory(ignored);
    if (is_directory || files_too) {
      found.push_back(before + folder + name + (is_directory ? "/" : ""));
    }
  }
}

void AddUrls(const std::string& typed, Words& found) {
  for (const std::string before : {"oms:file://", "oms:file:"}) {
    if (!typed.starts_with(before)) continue;
    AddPaths(before, typed.substr(before.size()), false, found);
    return;
  }
  found.emplace_back("oms:file:");
  found.emplace_back("oms:memory://");
}

// Adds the names of what `kind` asks for, of a file store. Looks from outside:
// nothing is made or opened because somebody pressed a key.
void AddNames(const Place& place, std::string_view kind, Words& found) {
  if (place.positionals.empty()) return;
  const auto url = Url::Parse(place.positionals.front());
  if (!url.ok() || url->driver() != "file") return;
  const auto report = reference::InspectStore(url->path());
  if (!report.ok()) return;
  if (kind == "NAMESPACE") {
    for (const std::string& name : report->namespaces) found.push_back(name);
  } else if (kind == "GROUP") {
    for (const auto& group : report->groups) found.push_back(group.group);
  } else {
    for (const auto& one : report->partitions) found.push_back(one.queue);
  }
}

// Adds what an argument or the value of an option can be.
void AddValues(const CLI::Option& option, const Place& place,
               const std::string& typed, Words& found) {
  for (const std::string& choice : ChoicesOf(option)) found.push_back(choice);
  const std::string kind =
      option.get_positional() ? option.get_name() : option.get_type_name();
  if (kind == "URL") AddUrls(typed, found);
  if (kind == "DIR" || kind == "FILE") {
    AddPaths("", typed, kind == "FILE", found);
  }
  if (kind == "QUEUE" || kind == "SOURCE" || kind == "TARGET" ||
      kind == "GROUP" || kind == "NAMESPACE") {
    AddNames(place, kind, found);
  }
}

void AddOptions(const CLI::App& command, Words& found) {
  for (const CLI::Option* const option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      found.push_back("--" + name);
    }
  }
}

void AddArguments(const Place& place, const std::string& typed, Words& found) {
  if (place.positionals.empty()) {
    for (const CLI::App* const one : place.command->get_subcommands({})) {
      found.push_back(one->get_name());
    }
  }
  size_t position = 0;
  for (const CLI::Option* const option : place.command->get_options()) {
    if (!option->get_positional()) continue;
    if (position++ == place.positionals.size()) {
      AddValues(*option, place, typed, found);
    }
  }
}

// Returns: what the last word of `line` can become, sorted, each once.
std::set<std::string> Complete(const CLI::App& app, std::string_view line) {
  const Words words = SplitWords(line);
  const std::string& typed = words.back();
  Words found;
  if (words.size() > 1) {
    const Place place = FindPlace(app, words);
    if (place.option != nullptr) {
      AddValues(*place.option, place, typed, found);
    } else if (!place.options_ended && typed.starts_with("-")) {
      AddOptions(*place.command, found);
    } else {
      AddArguments(place, typed, found);
    }
  }
  std::set<std::string> candidates;
  for (const std::string& one : found) {
    // One that is two lines would be taken for two.
    if (one.starts_with(typed) && one.find('\n') == std::string::npos) {
      candidates.insert(one);
    }
  }
  return candidates;
}

int PrintCandidates(const CLI::App& app, const std::string& line) {
  std::string text;
  for (const std::string& one : Complete(app, line)) text += one + "\n";
  return PrintResult(text);
}

int PrintScript(const CompletionOptions& options) {
  constexpr const char* kScripts[] = {kBash, kZsh, kFish};
  return PrintResult(kScripts[options.shell]);
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<CompletionOptions>();
  CLI::App* const command = app.add_subcommand(
      "completion", "Print a script that makes a shell complete oms");
  CLI::Option* const shell =
      AddChoice(*command, "SHELL", "", options->shell, {"bash", "zsh", "fish"},
                "bash, zsh or fish");
  command
      ->add_option("--line", options->line,
                   "print what the last word of this line can become")
      ->type_name("TEXT");
  command->footer(
      R"script(It completes commands, options, directories, and the queues, groups and
namespaces of a file store. Any other shell can do as these scripts do: ask with
--line.

Examples:
  eval "$(oms completion bash)"         # in ~/.bashrc
  eval "$(oms completion zsh)"          # in ~/.zshrc, behind compinit
  oms completion fish | source          # in ~/.config/fish/config.fish)script");
  command->callback([&app, shell, options, &work] {
    if (options->line) {
      work = [&app, options] { return PrintCandidates(app, *options->line); };
      return;
    }
    if (shell->empty()) throw CLI::RequiredError("SHELL");
    work = [options] { return PrintScript(*options); };
  });
}

}  // namespace openmessaging::tools
