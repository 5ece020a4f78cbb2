// SPDX-License-Identifier: Apache-2.0
//
// oms-bench: how fast a driver is, beside what the machine could do.

#include <fnmatch.h>
#include <stdlib.h>

#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "case.h"
#include "interrupt.h"
#include "oms/arguments.h"
#include "oms/command.h"
#include "oms/output.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "partner.h"
#include "report.h"
#include "runner.h"
#include "yardstick.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using std::chrono::milliseconds;

constexpr const char* kExamples =
    R"(Makes queues of its own at the URL and removes them. Each row of its
table stands beside what this machine could do at best, measured in the same
run: memcpy, the first touch of a page, a bare append + fdatasync, two processes
that pass a word to and fro. Ratios compare between machines, figures do not.

A PATTERN is a part of a name, with * and ? as in a shell; --list has the names.
Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n ended by signal n.

Examples:
  oms-bench oms:memory://bench --quick
  oms-bench oms:file:/tmp/bench --json figures.json
  oms-bench oms:file:/tmp/bench --only round-trip/processes
  oms-bench oms:file:/tmp/bench --only '*/256B/1/disk')";

struct Arguments {
  std::string url;
  bool quick = false;
  std::string json;
  std::string only;
  bool list = false;
};

void PrintBenchError(const absl::Status& status, std::string_view where = {}) {
  const absl::string_view text = status.message();
  std::string line =
      Concat("oms-bench: ", where, std::string_view(text.data(), text.size()),
             " (OMS ", static_cast<int>(OmsCode(status)), ")");
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

int FailBench(const absl::Status& status) {
  PrintBenchError(status);
  return kFailed;
}

int64_t WallMs() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double Load() {
  double load = -1;
  return ::getloadavg(&load, 1) == 1 ? load : -1;
}

// A pattern means every name that it is a part of.
bool Matches(const std::string& pattern, const std::string& name) {
  return ::fnmatch(Concat('*', pattern, '*').c_str(), name.c_str(), 0) == 0;
}

// Makes the directory of a store, parents too. Returns: where files may be
// measured that lie on the same disk.
absl::StatusOr<std::string> MakeDirectory(const Url& url) {
  if (url.driver() != "file") {
    std::error_code ignored;
    return std::filesystem::temp_directory_path(ignored).string();
  }
  if (auto status = url.CheckHasPath(); !status.ok()) return status;
  std::error_code error;
  std::filesystem::create_directories(url.path(), error);
  if (error) {
    return MakeStatus(Code::kStorageError, "make directory \"",
                      std::string_view(url.path()),
                      "\": ", std::string_view(error.message()),
                      "; expected a place for a store");
  }
  return url.path();
}

// One run: from the URL to the report.
class Bench {
 public:
  explicit Bench(const Arguments& arguments) : arguments_(arguments) {}

  int Run() {
    const auto url = Url::Parse(arguments_.url);
    if (!url.ok()) return FailBench(url.status());
    const auto directory = MakeDirectory(*url);
    if (!directory.ok()) return FailBench(directory.status());
    auto bus = MessagingAccessPoint::Connect(arguments_.url);
    if (!bus.ok()) return FailBench(bus.status());
    const auto capabilities = bus->capabilities("oms-bench");
    if (!capabilities.ok()) return FailBench(capabilities.status());

    findings_.url = arguments_.url;
    findings_.driver = url->driver();
    findings_.quick = arguments_.quick;
    findings_.started_ms = WallMs();
    findings_.load_before = Load();
    std::vector<Case> plan;
    for (const Case& one :
         MakePlan({.quick = arguments_.quick,
         .durable = capabilities->Has(Capability::kDurable)})) {
      if (Matches(arguments_.only, one.Name())) plan.push_back(one);
    }
    if (plan.empty()) {
      PrintBenchError(MakeStatus(Code::kBadParameter, "select \"",
                                 std::string_view(arguments_.only),
                                 "\": no case has such a name; see: oms-bench ",
                                 std::string_view(arguments_.url), " --list"));
      return kWrongUsage;
    }
    if (arguments_.list) return List(plan);
    if (!capabilities->Has(Capability::kAdmin)) {
      return FailBench(MakeStatus(
          Code::kUnsupported, "measure \"", std::string_view(arguments_.url),
          "\": the driver cannot make queues; expected one with the "
          "capability admin"));
    }
    return Measure(plan, *std::move(bus), *directory, url->driver());
  }

 private:
  static int List(const std::vector<Case>& plan) {
    std::string names;
    for (const Case& one : plan) names += one.Name() + "\n";
    const absl::Status printed = Print(names);
    return printed.ok() ? static_cast<int>(kDone) : FailBench(printed);
  }

  int Measure(const std::vector<Case>& plan, MessagingAccessPoint bus,
              const std::string& directory, std::string_view driver) {
    // Opened before anything is measured: the time would be lost.
    if (!arguments_.json.empty()) json_.open(arguments_.json);
    if (!json_) {
      return FailBench(
          MakeStatus(Code::kBadParameter, "open file \"",
                     std::string_view(arguments_.json),
                     "\": ", std::string_view(std::strerror(errno)),
                     "; expected a file that can be written (--json)"));
    }
    WatchSignals();
    const milliseconds time(arguments_.quick ? 150 : 500);
    Yardstick yardstick(directory, time);
    Runner runner({.url = arguments_.url,
                   .time = time,
                   .max_bytes = size_t{arguments_.quick ? 64u : 256u} << 20},
                  std::move(bus), &yardstick);
    if (auto printed = Print(HeadText(findings_)); !printed.ok()) {
      return FailBench(printed);
    }
    std::string title;
    for (const Case& one : plan) {
      if (const std::string reason = runner.ReasonToSkip(one);
          !reason.empty()) {
        findings_.skipped.push_back({one.Name(), reason});
        continue;
      }
      auto result = runner.Run(one);
      if (InterruptedBy() != 0) {
        PrintBenchError(CheckInterrupted());
        WriteJson(yardstick).IgnoreError();
        return kSignalled + InterruptedBy();
      }
      if (!result.ok()) {
        PrintBenchError(result.status(), Concat(one.Name(), ": "));
        findings_.failed.push_back({one.Name(), result.status()});
        continue;
      }
      std::string text;
      if (one.GroupTitle() != title) {
        title = one.GroupTitle();
        text = GroupText(title);
      }
      text += RowText(*result, driver);
      if (auto printed = Print(text); !printed.ok()) return FailBench(printed);
      findings_.results.push_back(*std::move(result));
    }
    return Finish(yardstick);
  }

  int Finish(const Yardstick& yardstick) {
    findings_.load_after = Load();
    findings_.complete = true;
    if (auto printed = Print(Concat(YardstickText(yardstick.measured()),
                                    SummaryText(findings_)));
        !printed.ok()) {
      return FailBench(printed);
    }
    if (auto written = WriteJson(yardstick); !written.ok()) {
      return FailBench(written);
    }
    return findings_.failed.empty() ? kDone : kFailed;
  }

  // Does nothing where no file was asked for.
  absl::Status WriteJson(const Yardstick& yardstick) {
    if (arguments_.json.empty()) return absl::OkStatus();
    json_ << JsonText(findings_, yardstick.measured());
    json_.close();
    if (json_) return absl::OkStatus();
    return MakeStatus(Code::kBadParameter, "write file \"",
                      std::string_view(arguments_.json),
                      "\": not all could be written; expected room there "
                      "(--json)");
  }

  const Arguments& arguments_;
  Findings findings_;
  std::ofstream json_;
};

int FailUsage(const CLI::ParseError& error) {
  std::string text = error.what();
  if (text.size() > 1 &&
      std::islower(static_cast<unsigned char>(text[1])) != 0) {
    text[0] =
        static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  PrintBenchError(MakeStatus(Code::kBadParameter, std::string_view(text),
                             "; see: oms-bench --help"));
  return kWrongUsage;
}

int Main(int argc, char** argv) {
  // A reader that went away is an error of the write, not the end of us.
  std::signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && std::string_view(argv[1]) == kSecondProcess) {
    return RunSecondProcess(argc, argv);
  }
  CLI::App app("Measure a driver of OpenMessaging beside the machine's limits",
               "oms-bench");
  app.set_version_flag(
      "--version",
      Concat("oms-bench " OMS_VERSION ", OpenMessaging specification ",
             kSpecificationVersion),
      "print the version and end");
  Arguments arguments;
  AddUrl(app, arguments.url);
  app.add_flag("--quick", arguments.quick,
               "fewer cases and shorter ones: below 40 s");
  app.add_option("--json", arguments.json, "write all figures to a file too")
      ->type_name("FILE");
  app.add_option("--only", arguments.only,
                 "measure cases with this in their name (all)")
      ->type_name("PATTERN");
  app.add_flag("--list", arguments.list,
               "print the names of the cases, measure nothing");
  app.footer(kExamples);
  UsePlainHelp(app);
  if (argc <= 1) {
    std::fputs(app.help().c_str(), stderr);
    return kWrongUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and the version end the parsing too, and are no failure.
    if (error.get_exit_code() != 0) return FailUsage(error);
    app.exit(error);
    return kDone;
  }
  return Bench(arguments).Run();
}

}  // namespace
}  // namespace openmessaging::tools

int main(int argc, char** argv) {
  return openmessaging::tools::Main(argc, argv);
}
