// SPDX-License-Identifier: Apache-2.0
//
// The tests have teeth: a bug is planted in the engine, and the run that the
// table names (planted/table.h) must fail, which passes without it. The quick
// form tries those whose runs take a moment, the long one all.
//
// OMS_PLANTED_ONLY=<bug>[,<bug>...] tries these alone and shows what their runs
// said. OMS_PLANTED_TABLE=<file> writes the rows of the table that is in
// docs/reliability.md.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "goals.h"
#include "openmessaging/internal/text.h"
#include "planted/bugs.h"
#include "planted/run.h"
#include "planted/table.h"

namespace openmessaging::reference::planted_test {
namespace {

using internal::Concat;
using planted::Execute;
using planted::Outcome;
using planted::Row;
using planted::Run;
using std::chrono::milliseconds;
using std::chrono::seconds;
using End = planted::Outcome::End;

// As many as there are to be in all.
constexpr size_t kWanted = 60;
// For a run without a bug. With one it has as long as that took, several times
// over, and a while.
constexpr seconds kLimit{180};
constexpr seconds kWhile{20};
constexpr int kTimesLonger = 4;

std::string_view Asked(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? std::string_view() : text;
}

bool IsAsked(std::string_view bug) {
  return Concat(',', Asked("OMS_PLANTED_ONLY"), ',')
             .find(Concat(',', bug, ',')) != std::string::npos;
}

// Returns: whether its program is here: that of the engine's own tests is built
// where the tests of a folder are one program.
bool IsBuilt(const Run& run) {
  return std::filesystem::exists(planted::ProgramFolder() + run.program);
}

std::vector<Row> Chosen() {
  std::vector<Row> chosen;
  for (const Row& row : planted::Table()) {
    const bool wanted = Asked("OMS_PLANTED_ONLY").empty()
                            ? row.quick || IsLongRun()
                            : IsAsked(row.bug);
    if (wanted && IsBuilt(row.run)) chosen.push_back(row);
  }
  return chosen;
}

// Runs without a bug, each once: only a run that passes can find any.
class SoundRuns {
 public:
  // Returns: how long a run with a bug may take; zero if this one is no use.
  milliseconds LimitOf(const Run& run) {
    const auto [found, fresh] = limits_.try_emplace(run.name);
    if (!fresh) return found->second;
    Outcome sound = Execute(run, "", kLimit);
    // Some measure time, for which a machine may be too busy.
    if (sound.end != End::kPassed) sound = Execute(run, "", kLimit);
    const bool passed = sound.end == End::kPassed && sound.cases > 0;
    CHECK_MESSAGE(passed, run.name, " without a bug: ", sound.Text(), ", ",
                  sound.cases, " cases\n", sound.output);
    if (passed) found->second = kWhile + kTimesLonger * sound.took;
    return found->second;
  }

 private:
  std::map<std::string, milliseconds> limits_{};
};

bool IsFound(const Outcome& outcome) {
  return outcome.end == End::kFailed || outcome.end == End::kDied ||
         outcome.end == End::kHung;
}

// Returns: whether the run finds the bug.
bool Try(const Row& row, milliseconds limit, std::ofstream& table) {
  const Outcome outcome = Execute(row.run, row.bug, limit);
  const bool found = IsFound(outcome);
  const double took = static_cast<double>(outcome.took.count()) / 1000;
  std::printf("%-24s %-8s %-44s %-10s %5.1f s\n", std::string(row.bug).c_str(),
              found ? "found" : "NOT FOUND", row.run.name.c_str(),
              outcome.Text().c_str(), took);
  std::fflush(stdout);
  if (!Asked("OMS_PLANTED_ONLY").empty()) std::puts(outcome.output.c_str());
  CHECK_MESSAGE(found, row.bug, " is not found by ", row.run.name, ": ",
                outcome.Text());
  table << Concat("| ", row.bug, " | ", row.what, " | ", row.run.name, " | ",
                  outcome.Text(), " |\n");
  return found;
}

TEST_CASE("each planted bug is found by the run that the table names") {
  std::ofstream table;
  if (const auto path = Asked("OMS_PLANTED_TABLE"); !path.empty()) {
    table.open(std::string(path));
  }
  SoundRuns sound;
  const std::vector<Row> chosen = Chosen();
  size_t found = 0;
  std::map<std::string, size_t> by_program;
  for (const Row& row : chosen) {
    const milliseconds limit = sound.LimitOf(row.run);
    if (limit.count() == 0 || !Try(row, limit, table)) continue;
    ++found;
    ++by_program[row.run.program];
  }
  for (const auto& [program, count] : by_program) {
    std::printf("%s: %zu\n", program.c_str(), count);
  }
  std::printf("found: %zu of %zu, planted: %zu\n", found, chosen.size(),
              planted::Table().size());
  REQUIRE_FALSE(chosen.empty());
  if (!Asked("OMS_PLANTED_ONLY").empty()) return;
  const size_t wanted = IsLongRun() ? kWanted : chosen.size();
  Report({"planted", "planted bugs, all found by some run", WithCommas(wanted),
          Concat(WithCommas(found), " of ", WithCommas(chosen.size())),
          found == chosen.size() && found >= wanted});
}

TEST_CASE("each planted bug has its row") {
  std::vector<std::string_view> rows;
  for (const Row& row : planted::Table()) rows.push_back(row.bug);
  std::vector<std::string_view> bugs;
#define OMS_PLANTED_ADD(bug) bugs.push_back(std::string_view(#bug).substr(1));
  OMS_PLANTED_BUGS(OMS_PLANTED_ADD)
#undef OMS_PLANTED_ADD
  CHECK(rows == bugs);
}

TEST_CASE("there are enough planted bugs and a third is for the machines") {
  std::set<std::string_view> names;
  size_t of_machines = 0;
  size_t quick = 0;
  for (const Row& row : planted::Table()) {
    CHECK(names.insert(row.bug).second);
    CHECK_FALSE(row.what.empty());
    CHECK_FALSE(row.run.program.empty());
    if (row.run.program.starts_with("reliability_")) ++of_machines;
    if (row.quick) ++quick;
  }
  CHECK(names.size() >= kWanted);
  CHECK(of_machines * 3 >= names.size());
  CHECK(quick >= 20);
}

TEST_CASE("a program that has no such bug says so and finds nothing") {
  std::set<std::string> programs;
  for (const Row& row : planted::Table()) {
    if (IsBuilt(row.run)) programs.insert(row.run.program);
  }
  for (const std::string& program : programs) {
    const Outcome outcome =
        Execute({program, program, {"--count"}, {}}, "NoSuchBug", kLimit);
    CAPTURE(program);
    CHECK(outcome.end == End::kRefused);
    CHECK_FALSE(IsFound(outcome));
    CHECK(outcome.output.find("OMS_PLANTED is \"NoSuchBug\"") !=
          std::string::npos);
  }
}

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("nothing of the planted bugs is in the engine that ships") {
  const std::string folder = planted::ProgramFolder();
  for (const std::string_view trace : {"planted_bug", "FlushDropped"}) {
    CAPTURE(trace);
    // The same sources, with the bugs and without.
    CHECK(BytesOf(folder + "reliability_step_test_planted").find(trace) !=
          std::string::npos);
    CHECK(BytesOf(folder + "reliability_step_test").find(trace) ==
          std::string::npos);
  }
}

}  // namespace
}  // namespace openmessaging::reference::planted_test
