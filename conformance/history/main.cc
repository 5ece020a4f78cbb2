// SPDX-License-Identifier: Apache-2.0
//
// oms-history: lets workers send and receive, kills some of them, and judges
// what they saw.

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "checker.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "workload.h"

namespace openmessaging::conformance::history {
namespace {

constexpr int kSound = 0;
constexpr int kFlawed = 1;
constexpr int kUnusable = 2;
// So many of one kind are printed.
constexpr int kMostPrinted = 5;

constexpr const char* kFooter =
    R"(Exit codes: 0 nothing was found, 1 something was, 2 nothing could be judged.

Found may be: lost, invented, altered, reordered, early (before its delay was
over), again (after a confirmed ack), torn (a part of a transaction), undecided
(committed and rolled back).

Examples:
  oms-history oms:file:/tmp/store --seconds 60 --history history.jsonl
  oms-history 'oms:memory://x?fault=duplicate:0.01' --seconds 5)";

int Complain(const absl::Status& status) {
  const absl::string_view text = status.message();
  std::fprintf(stderr, "oms-history: %.*s (OMS %d)\n",
               static_cast<int>(text.size()), text.data(),
               static_cast<int>(OmsCode(status)));
  return kUnusable;
}

void PrintCounts(const Workload& workload) {
  std::map<Kind, int64_t> counts;
  for (const Operation& one : workload.history) ++counts[one.kind];
  std::printf("seed %llu, workers in %s\n",
              static_cast<unsigned long long>(workload.terms.seed),
              workload.in_processes ? "processes, killed at random"
                                    : "threads, none killed");
  for (const auto& [kind, count] : counts) {
    std::printf("  %-9s %8lld\n", std::string(NameOf(kind)).c_str(),
                static_cast<long long>(count));
  }
}

int PrintFindings(const std::vector<Finding>& findings) {
  std::map<Flaw, int> printed;
  for (const Finding& one : findings) {
    if (++printed[one.flaw] > kMostPrinted) continue;
    std::printf("%s: %s%s%s: %s\n", NameOf(one.flaw), one.id.c_str(),
                one.group.empty() ? "" : " in group ", one.group.c_str(),
                one.text.c_str());
  }
  for (const auto& [flaw, count] : printed) {
    if (count > kMostPrinted) {
      std::printf("%s: %d more\n", NameOf(flaw), count - kMostPrinted);
    }
  }
  std::printf("%s\n", findings.empty() ? "sound" : "not sound");
  return findings.empty() ? kSound : kFlawed;
}

int Main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--worker") {
    return WorkerMain({argv + 2, argv + argc});
  }
  CLI::App app(
      "Lets workers send and receive, kills some, judges what they saw",
      "oms-history");
  WorkloadOptions options;
  std::optional<uint64_t> seed;
  int64_t seconds = 10;
  std::optional<int64_t> patience;
  bool no_kills = false;
  bool no_delays = false;
  app.add_option("URL", options.url, "the driver and broker to judge")
      ->required();
  app.add_option("--seconds", seconds, "how long is sent; 10")
      ->type_name("N")
      ->check(CLI::Range(1, 86400));
  app.add_option("--seed", seed, "of whatever is random")->type_name("N");
  app.add_option("--senders", options.senders, "so many of them; 3")
      ->type_name("N")
      ->check(CLI::Range(1, 100));
  app.add_option("--consumers", options.consumers, "so many in each group; 2")
      ->type_name("N")
      ->check(CLI::Range(1, 100));
  app.add_option("--driver-library", options.library,
                 "a shared library with the driver")
      ->type_name("FILE");
  app.add_option("--patience", patience,
                 "seconds without a message after which none will come; 6")
      ->type_name("N")
      ->check(CLI::Range(1, 3600));
  app.add_flag("--no-kills", no_kills, "let all workers live, as threads");
  app.add_flag("--no-delays", no_delays, "send nothing with a delay");
  app.add_option("--history", options.file,
                 "write a line for each operation, as JSON")
      ->type_name("FILE");
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUnusable;
  }
  options.duration = std::chrono::seconds(seconds);
  if (patience) options.patience = std::chrono::seconds(*patience);
  options.kills = !no_kills;
  options.delays = !no_delays;
  options.seed = seed ? *seed : std::random_device()();
  if (!options.library.empty()) {
    options.library = std::filesystem::absolute(options.library).string();
  }
  const auto workload = Run(options);
  if (!workload.ok()) return Complain(workload.status());
  PrintCounts(*workload);
  return PrintFindings(Check(workload->history, workload->terms));
}

}  // namespace
}  // namespace openmessaging::conformance::history

int main(int argc, char** argv) {
  return openmessaging::conformance::history::Main(argc, argv);
}
