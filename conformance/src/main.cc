// SPDX-License-Identifier: Apache-2.0
//
// oms-conformance: judges a driver by its URL.

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "command_harness.h"
#include "openmessaging/conformance/report.h"
#include "openmessaging/conformance/suite.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using internal::Concat;

constexpr int kConformant = 0;
constexpr int kNotConformant = 1;
constexpr int kUnusable = 2;

constexpr const char* kFooter =
    R"(Exit codes: 0 conformant, 1 not, 2 nothing could be judged.

Examples:
  oms-conformance oms:memory://any
  oms-conformance oms:file:/tmp/store --level Core --html report.html
  oms-conformance oms:memory://any --only OMS-PROD-003 --repeat 20)";

struct CommandLine {
  SuiteOptions suite{};
  HarnessOptions harness{};
  std::vector<std::string> attributes{};
  std::vector<std::string> levels{};
  std::vector<std::string> libraries{};
  std::string exclusions{};
  std::string html{};
  std::string json{};
  std::string junit{};
  std::optional<uint64_t> seed{};
  int test_limit_s = 30;
  bool list = false;
};

// As the help of oms: names and units, without CLI11's own remarks.
class PlainFormatter : public CLI::Formatter {
 public:
  PlainFormatter() {
    column_width(26);
    label("Usage", "usage");
    label("OPTIONS", "options");
    label("Positionals", "Arguments");
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_name().empty()) return "";
    return " " + option->get_type_name();
  }
};

int Complain(const absl::Status& status) {
  const absl::string_view text = status.message();
  std::fprintf(stderr, "oms-conformance: %.*s (OMS %d)\n",
               static_cast<int>(text.size()), text.data(),
               static_cast<int>(OmsCode(status)));
  return kUnusable;
}

void AddOptions(CLI::App& app, CommandLine& line) {
  app.add_option("URL", line.suite.url, "the driver and broker to judge");
  app.add_option("--attribute", line.attributes,
                 "an attribute of the access point")
      ->type_name("K=V")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--driver-library", line.libraries,
                 "a shared library with the driver")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--broker", line.suite.broker,
                 "what the report says of the broker: name and version")
      ->type_name("TEXT");
  app.add_option("--level", line.levels,
                 "only Core, Queue, Stream, ...; may be repeated")
      ->type_name("LEVEL")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--only", line.suite.only,
                 "only that requirement; may be repeated")
      ->type_name("ID")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--exclude-list", line.exclusions,
                 "known failures: lines of <id> <date> <reason>")
      ->type_name("FILE");
  app.add_option("--seed", line.seed, "of whatever is random")->type_name("N");
  app.add_option("--repeat", line.suite.repeat, "run each test so often")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--test-limit", line.test_limit_s,
                 "seconds after which a test hangs; 30")
      ->type_name("N")
      ->check(CLI::Range(1, 86400));
  app.add_option("--html", line.html, "write a page for people")
      ->type_name("FILE");
  app.add_option("--json", line.json, "write the report as JSON")
      ->type_name("FILE");
  app.add_option("--junit", line.junit, "write JUnit's XML")->type_name("FILE");
  app.add_flag("--list", line.list, "list the tests and end");
}

// What it must know of the broker.
void AddHarnessOptions(CLI::App& app, HarnessOptions& harness) {
  app.set_config("--config", "", "a file of options, lines of <name>=<value>")
      ->type_name("FILE")
      ->group("the broker");
  const auto add = [&](const std::string& name, auto& value,
                       const std::string& help, const std::string& type) {
    return app.add_option(name, value, help)
        ->type_name(type)
        ->group("the broker");
  };
  add("--restart-command", harness.restart_command,
      "stops the broker and starts it with what it stored", "COMMAND");
  add("--foreign-command", harness.foreign_command,
      "sends with another client; gets a queue and a body", "COMMAND");
  add("--unreachable", harness.unreachable, "a URL at which no broker is",
      "URL");
  add("--proxy", harness.proxies,
      "where a proxy listens = the broker; one for each host", "H:P=H:P")
      ->expected(1, 64)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  constexpr std::array<const char*, kAccessNames.size()> kAccessHelp = {
      "... with credentials that the broker refuses",
      "... as somebody who may connect, and nothing else", "... over TLS",
      "... with trust in nobody who signed its certificate",
      "... by a name that is not in its certificate"};
  for (size_t i = 0; i < kAccessNames.size(); ++i) {
    add("--" + std::string(kAccessNames[i]), harness.access[i], kAccessHelp[i],
        "'URL K=V...'");
  }
  add("--late", harness.late_ms, "how late things may come; 1000", "MS")
      ->check(CLI::PositiveNumber);
  add("--patience", harness.patience_ms,
      "when what must come counts as lost; 10000", "MS")
      ->check(CLI::PositiveNumber);
  add("--half-open", harness.half_open_ms,
      "how long a connection may be dead unnoticed; 30000", "MS")
      ->check(CLI::PositiveNumber);
}

absl::Status BadValue(std::string_view option, std::string_view value,
                      std::string_view expected) {
  return MakeStatus(Code::kBadParameter, option, ": value is \"", value,
                    "\"; expected ", expected);
}

// Reads what CLI11 took as text.
absl::Status Interpret(CommandLine& line) {
  for (const std::string& library : line.libraries) {
    absl::Status loaded = driver::Registry::Default().Load(
        std::filesystem::absolute(library).string());
    if (!loaded.ok()) return loaded;
  }
  for (const std::string& text : line.attributes) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return BadValue("--attribute", text, "<name>=<value>");
    }
    absl::Status set = line.suite.attributes.Set(text.substr(0, equals),
                                                 text.substr(equals + 1));
    if (!set.ok()) return set;
  }
  for (const std::string& text : line.levels) {
    bool known = false;
    for (size_t i = 0; i < kLevelNames.size(); ++i) {
      if (kLevelNames[i] != text) continue;
      known = true;
      line.suite.levels.push_back(static_cast<Level>(i));
    }
    if (!known) {
      return BadValue("--level", text,
                      "Core, Queue, Stream, Transaction, Admin or Resilience");
    }
  }
  if (!line.exclusions.empty()) {
    std::ifstream file(line.exclusions);
    if (!file) return BadValue("--exclude-list", line.exclusions, "a file");
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    auto read = ParseExclusions(text);
    if (!read.ok()) return read.status();
    line.suite.exclusions = *std::move(read);
  }
  line.suite.seed = line.seed.value_or(std::random_device()());
  line.suite.test_limit = std::chrono::seconds(line.test_limit_s);
  return absl::OkStatus();
}

void ShowProgress(SuiteOptions& options) {
  if (isatty(STDERR_FILENO) == 0) return;
  options.on_begin = [](const TestInfo& info, size_t number, size_t total) {
    std::fprintf(stderr, "\r\033[K%zu/%zu  %s  %.50s", number, total,
                 info.id.c_str(), info.title.c_str());
  };
  options.on_end = [](const TestReport& test) {
    std::fprintf(stderr, "\r\033[K");
    if (test.result != Result::kFail && test.result != Result::kError) return;
    std::fprintf(stderr, "%s  %s  %.55s\n",
                 std::string(Name(test.result)).c_str(), test.info.id.c_str(),
                 test.info.title.c_str());
  };
}

absl::Status Write(const std::string& path, const std::string& text) {
  if (path.empty()) return absl::OkStatus();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return BadValue("write", path, "a file that can be written");
  return absl::OkStatus();
}

int List() {
  for (const TestInfo& info : ListTests()) {
    const std::string_view gate = info.gate ? Name(*info.gate) : "";
    std::printf("%-13s %-11s %-18s %s\n", info.id.c_str(),
                std::string(Name(info.level)).c_str(),
                std::string(gate).c_str(), info.title.c_str());
  }
  return kConformant;
}

int Judge(CommandLine& line) {
  if (absl::Status status = Interpret(line); !status.ok()) {
    return Complain(status);
  }
  const auto url = Url::Parse(line.suite.url);
  if (!url.ok()) return Complain(url.status());
  auto harness = MakeCommandHarness(MakeHarness(*url), line.harness);
  if (!harness.ok()) return Complain(harness.status());
  ShowProgress(line.suite);
  const auto report = Run(line.suite, harness->get());
  if (AbandonedTests() > 0) (void)harness->release();  // They still use it.
  if (!report.ok()) return Complain(report.status());
  std::fputs(ToText(*report).c_str(), stdout);
  absl::Status written = Write(line.html, ToHtml(*report));
  written.Update(Write(line.json, ToJson(*report)));
  written.Update(Write(line.junit, ToJUnit(*report)));
  if (!written.ok()) return Complain(written);
  return report->conformant() ? kConformant : kNotConformant;
}

int Main(int argc, char** argv) {
  CLI::App app("Judge a driver by the requirements of OpenMessaging",
               "oms-conformance");
  app.formatter(std::make_shared<PlainFormatter>());
  app.footer(kFooter);
  CommandLine line;
  AddOptions(app, line);
  AddHarnessOptions(app, line.harness);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      std::fprintf(stderr, "oms-conformance: %s; see: oms-conformance --help\n",
                   error.what());
      return kUnusable;
    }
    app.exit(error);
    return kConformant;
  }
  if (line.list) return List();
  if (line.suite.url.empty()) {
    std::fputs(
        "oms-conformance: there is no URL; see: oms-conformance --help\n",
        stderr);
    return kUnusable;
  }
  return Judge(line);
}

}  // namespace
}  // namespace openmessaging::conformance

int main(int argc, char** argv) {
  const int code = openmessaging::conformance::Main(argc, argv);
  if (openmessaging::conformance::AbandonedTests() > 0) {
    // Their threads still use what the end of the program would take away.
    std::fflush(nullptr);
    std::_Exit(code);
  }
  return code;
}
