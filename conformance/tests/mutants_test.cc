// SPDX-License-Identifier: Apache-2.0
//
// The suite finds each mutant, by the test of the requirement that it breaks,
// and finds nothing in what wraps them.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "mutants.h"
#include "openmessaging/conformance/report.h"
#include "openmessaging/conformance/suite.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using internal::Concat;

// A mutant's test fails by waiting in vain, so it waits for less.
class ImpatientHarness final : public Harness {
 public:
  Tolerances tolerances() const override {
    return {.late = std::chrono::milliseconds(700),
            .patience = std::chrono::milliseconds(1500)};
  }
};

Report RunMutant(const MutantInfo& mutant,
                 const std::vector<std::string>& only, Harness&& harness) {
  SuiteOptions options;
  options.url = Concat("oms:mutant://", mutant.name);
  (void)options.attributes.Set("mutant", mutant.name);
  options.only = only;
  options.test_limit = std::chrono::milliseconds(8000);
  auto report = Run(options, &harness);
  if (!report.ok()) {
    std::printf("%s\n", std::string(report.status().message()).c_str());
    std::_Exit(2);
  }
  return *std::move(report);
}

// Returns: whether the requirement's own test failed.
bool Caught(const Report& report, std::string_view requirement) {
  for (const RequirementReport& one : Requirements(report)) {
    if (one.id == requirement && one.result == Result::kFail) {
      std::printf("    %s\n", one.message.c_str());
      return true;
    }
  }
  return false;
}

int Main(int argc, char** argv) {
  int wrong = 0;
  std::vector<std::string> requirements;
  for (const MutantInfo& mutant : kMutants) {
    if (mutant.requirement.empty()) continue;
    const std::string id(mutant.requirement);
    if (std::find(requirements.begin(), requirements.end(), id) ==
        requirements.end()) {
      requirements.push_back(id);
    }
    if (argc > 1 && mutant.name != argv[1]) continue;
    const auto start = std::chrono::steady_clock::now();
    const Report report = RunMutant(mutant, {id}, ImpatientHarness());
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - start);
    const bool caught = Caught(report, id);
    std::printf("%-8s %-28s %s  %lld ms\n", caught ? "caught" : "SURVIVED",
                std::string(mutant.name).c_str(), id.c_str(),
                static_cast<long long>(ms.count()));
    if (!caught) {
      ++wrong;
      std::fputs(ToText(report).c_str(), stdout);
    }
    std::fflush(stdout);
  }
  if (argc <= 1) {
    const Report sound = RunMutant(kMutants[0], requirements, Harness());
    std::fputs(ToText(sound).c_str(), stdout);
    if (!sound.conformant()) ++wrong;
  }
  std::printf("%d of %zu wrong\n", wrong, std::size(kMutants) - 1);
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace openmessaging::conformance

int main(int argc, char** argv) {
  const int code = openmessaging::conformance::Main(argc, argv);
  std::fflush(nullptr);
  // Mutants that hang have threads that use what the end would take away.
  std::_Exit(code);
}
