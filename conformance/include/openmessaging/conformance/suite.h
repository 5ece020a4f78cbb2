// SPDX-License-Identifier: Apache-2.0
//
// Run() judges a driver by the requirements of spec/: each test checks one of
// them, and the report has one line for each.

#ifndef OPENMESSAGING_CONFORMANCE_SUITE_H_
#define OPENMESSAGING_CONFORMANCE_SUITE_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/capability.h"
#include "openmessaging/conformance/harness.h"

namespace openmessaging::conformance {

// What a driver is for. Core is for every driver.
enum class Level : uint8_t {
  kCore,
  kQueue,
  kStream,
  kTransaction,
  kAdmin,
  kResilience,
};
inline constexpr std::array<std::string_view, 6> kLevelNames = {
    "Core", "Queue", "Stream", "Transaction", "Admin", "Resilience"};
inline constexpr std::string_view Name(Level level) {
  return kLevelNames[static_cast<size_t>(level)];
}

enum class Result : uint8_t {
  kPass,
  kFail,           // The driver breaks the requirement.
  kNotApplicable,  // It says that it cannot, and that was seen to be so.
  kExcluded,       // The exclusion list says why it is not judged.
  kError,          // The test could not find out.
  kNotRun,         // The harness lacks what the test needs.
};
inline constexpr std::array<std::string_view, 6> kResultNames = {
    "pass", "fail", "not-applicable", "excluded", "error", "not-run"};
inline constexpr std::string_view Name(Result result) {
  return kResultNames[static_cast<size_t>(result)];
}

// A requirement that is known to be broken. A test that passes all the same is
// reported as passed, with a note that the entry can go.
struct Exclusion {
  std::string id{};
  std::string date{};  // 2026-11-30: when it was last looked at.
  std::string reason{};
};

struct TestInfo {
  std::string id{};  // The requirement.
  Level level = Level::kCore;
  std::optional<Capability> gate{};
  std::string title{};
};

struct TestReport {
  TestInfo info{};
  Result result = Result::kNotRun;
  std::string message{};
  double seconds = 0;
};

// One capability as declared for a queue made for it, and what was seen.
struct CapabilityReport {
  Capability capability = Capability::kIndividualAck;
  Support declared = Support::kUnsupported;
  size_t tests = 0;  // Of it that were run and not "not applicable".
};

struct Report {
  std::string driver{};          // The name and version of the driver.
  std::string broker{};          // SuiteOptions::broker.
  std::string url{};
  uint64_t seed = 0;
  double seconds = 0;
  std::vector<TestReport> tests{};
  std::vector<CapabilityReport> capabilities{};
  CapabilityLimits limits{};
  // Whether every test of every level was asked for.
  bool whole = true;

  size_t Count(Result result) const;
  // Returns: declared capabilities of which no test was run.
  std::vector<Capability> Untested() const;
  // Returns: nothing failed and, where the whole was asked for, nothing that is
  // declared went untested.
  bool conformant() const;
};

struct SuiteOptions {
  std::string url{};
  Attributes attributes{};
  // What the report says of the broker: its name and version.
  std::string broker{};
  std::vector<Level> levels{};      // Empty: all.
  std::vector<std::string> only{};  // Requirements; empty: all.
  std::vector<Exclusion> exclusions{};
  uint64_t seed = 1;
  int repeat = 1;
  // A test that has not returned by then has failed; its thread is left behind.
  std::chrono::milliseconds test_limit{30000};
  // Told of each test before and after it ran: it is the `number`th of `total`.
  std::function<void(const TestInfo&, size_t number, size_t total)> on_begin{};
  std::function<void(const TestReport&)> on_end{};
};

// Returns: every test that there is, in the order in which they run.
std::vector<TestInfo> ListTests();

// Runs what the options choose. A `harness` of nullptr: that of the driver.
//
// Blocks: while tests run, none longer than test_limit.
// Errors: the driver cannot be used at all: what Connect says, 1418 for an id
// that no test has.
absl::StatusOr<Report> Run(const SuiteOptions& options,
                           Harness* harness = nullptr);

// Reads an exclusion list: one a line, `<id> <date> <reason>`; # begins a
// remark. Errors: 1418 with the line's number.
absl::StatusOr<std::vector<Exclusion>> ParseExclusions(std::string_view text);

// Tests that did not return are still running: their threads use the driver.
// Returns: how many. A program with some ends with std::_Exit.
size_t AbandonedTests();

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SUITE_H_
