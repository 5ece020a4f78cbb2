// SPDX-License-Identifier: Apache-2.0
//
// What oms-bench tells: a table for people, row by row as it goes, and one JSON
// object for scripts.

#ifndef OPENMESSAGING_TOOLS_BENCH_REPORT_H_
#define OPENMESSAGING_TOOLS_BENCH_REPORT_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "runner.h"
#include "yardstick.h"

namespace openmessaging::tools {

// All that one run found.
struct Findings {
  std::string url{};
  std::string driver{};
  bool quick = false;
  int64_t started_ms = 0;  // Since 1970 UTC.
  double load_before = 0;  // Processes that wanted to run, on average.
  double load_after = 0;
  bool complete = false;  // No signal ended the run.
  std::vector<Result> results{};
  struct Skipped {
    std::string name{};
    std::string reason{};
  };
  std::vector<Skipped> skipped{};
  struct Failed {
    std::string name{};
    absl::Status status{};
  };
  std::vector<Failed> failed{};
};

// How a goal was met.
struct Judged {
  Goal goal{};
  double ratio = 0;  // Of the goal; more is better, 1 is enough.
  bool met() const { return ratio >= 1; }
};
std::optional<Judged> Judge(const Result& result, std::string_view driver);

// Return: whole lines of at most 100 columns.
std::string HeadText(const Findings& findings);
std::string GroupText(std::string_view title);
std::string RowText(const Result& result, std::string_view driver);
std::string YardstickText(const std::deque<Measured>& measured);
std::string SummaryText(const Findings& findings);

// Returns: the object, whose keys are always the same; docs/design/benchmark.md
// says what they mean.
std::string JsonText(const Findings& findings,
                     const std::deque<Measured>& measured);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_REPORT_H_
