// SPDX-License-Identifier: Apache-2.0
//
// The suite finds each mutant, by the test of the requirement that it breaks,
// and finds nothing in what wraps them. They run side by side, because most of
// a run is waiting.
//
//   conformance_mutants_test [NAME]

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "mutants.h"
#include "openmessaging/conformance/report.h"
#include "openmessaging/conformance/suite.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace mutants_test {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class PatientHarness : public Harness {
 public:
  std::string UnreachableUrl() const override { return "oms:mutant://nowhere"; }
};

// A mutant's test fails by waiting in vain, so it waits for less.
class ImpatientHarness final : public PatientHarness {
 public:
  Tolerances tolerances() const override {
    return {.late = milliseconds(700), .patience = milliseconds(1500)};
  }
};

// What became of one mutant.
struct Verdict {
  bool caught = false;
  std::string message{};  // Of the test that found it, or why it did not.
  milliseconds took{0};
};

// A claim is judged by the run as a whole.
bool NeedsWholeRun(const MutantInfo& mutant) {
  return mutant.mutant == Mutant::kClaimsTls ||
         mutant.mutant == Mutant::kClaimsDurable ||
         mutant.mutant == Mutant::kClaimsStream;
}

Report RunMutant(const MutantInfo& mutant) {
  ImpatientHarness impatient;
  PatientHarness patient;
  SuiteOptions options;
  options.url = Concat("oms:mutant://", mutant.name);
  (void)options.attributes.Set("mutant", mutant.name);
  const bool whole = NeedsWholeRun(mutant);
  // What fills limits takes long under a sanitizer; what hangs is to fail soon.
  options.test_limit = milliseconds(whole ? 120000 : 8000);
  if (!whole) options.only = {std::string(mutant.requirement)};
  auto report = Run(options, whole ? &patient : &impatient);
  if (!report.ok()) {
    std::printf("%s\n", std::string(report.status().message()).c_str());
    std::fflush(nullptr);
    std::_Exit(2);
  }
  return *std::move(report);
}

// Returns: whether the requirement's own test failed.
Verdict Judge(const Report& report, std::string_view requirement) {
  for (const RequirementReport& one : Requirements(report)) {
    if (one.id == requirement && one.result == Result::kFail) {
      return {.caught = true, .message = one.message};
    }
  }
  return {.caught = false, .message = ToText(report)};
}

// Everything passes, and yet the run is incomplete: nothing showed the claim.
// `told`: the line that says so.
Verdict JudgeUntested(const Report& report, Capability claim,
                      std::string_view told) {
  const std::string text = ToText(report);
  Verdict verdict;
  verdict.caught = report.Count(Result::kFail) == 0 &&
                   report.Count(Result::kError) == 0 &&
                   report.Untested() == std::vector{claim} &&
                   text.find(told) != std::string::npos && !report.conformant();
  verdict.message = verdict.caught ? std::string(told) : text;
  return verdict;
}

Verdict JudgeRun(const Report& report, const MutantInfo& mutant) {
  switch (mutant.mutant) {
    case Mutant::kClaimsTls:
      return JudgeUntested(report, Capability::kTls,
                           "untested  tls is declared");
    case Mutant::kClaimsDurable:
      return JudgeUntested(report, Capability::kDurable,
                           "untested  durable is declared: the harness cannot "
                           "restart the broker");
    default:
      return Judge(report, mutant.requirement);
  }
}

Verdict Try(const MutantInfo& mutant) {
  const auto start = steady_clock::now();
  const Report report = RunMutant(mutant);
  Verdict verdict = JudgeRun(report, mutant);
  verdict.took = std::chrono::duration_cast<milliseconds>(
      steady_clock::now() - start);
  return verdict;
}

int Main(int argc, char** argv) {
  constexpr size_t kThreads = 8;
  std::vector<const MutantInfo*> mutants;
  for (const MutantInfo& mutant : kMutants) {
    if (mutant.mutant == Mutant::kNone) continue;
    if (argc <= 1 || mutant.name == argv[1]) mutants.push_back(&mutant);
  }
  // The longest first.
  std::stable_partition(mutants.begin(), mutants.end(), [](const auto* one) {
    return NeedsWholeRun(*one);
  });
  std::vector<Verdict> verdicts(mutants.size());
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (size_t n = next++; n < mutants.size(); n = next++) {
        verdicts[n] = Try(*mutants[n]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  size_t survived = 0;
  for (size_t n = 0; n < mutants.size(); ++n) {
    const Verdict& verdict = verdicts[n];
    std::printf("%-8s %-26s %-14s %5lld ms\n    %s\n",
                verdict.caught ? "caught" : "SURVIVED",
                std::string(mutants[n]->name).c_str(),
                std::string(mutants[n]->requirement).c_str(),
                static_cast<long long>(verdict.took.count()),
                verdict.message.c_str());
    if (!verdict.caught) ++survived;
  }
  std::printf("%zu mutants, %zu survived\n", mutants.size(), survived);
  return survived == 0 && !mutants.empty() ? 0 : 1;
}

}  // namespace
}  // namespace mutants_test
}  // namespace openmessaging::conformance

int main(int argc, char** argv) {
  const int code = openmessaging::conformance::mutants_test::Main(argc, argv);
  std::fflush(nullptr);
  // Mutants that hang have threads that use what the end would take away.
  std::_Exit(code);
}
