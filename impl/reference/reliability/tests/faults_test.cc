// SPDX-License-Identifier: Apache-2.0
//
// Every system call of every operation fails, in every way, once and for good:
// nothing acknowledged is lost, nothing leaks, and what fails says so.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "faults/call_faults.h"
#include "goals.h"
#include "store_fixture.h"

namespace openmessaging::reference::faults_test {
namespace {

using faults::AllErrors;
using faults::AllOperations;
using faults::CallFault;
using faults::CaseResult;
using faults::Operation;
using faults::Replay;
using faults::RunCase;

// A disk in memory is as good here, and quick: no flush reaches it.
struct Place {
  Place() {
    std::string name = "/dev/shm/oms-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) {
      path = name;
    } else {
      path = fallback.emplace().path();
    }
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::optional<TemporaryDirectory> fallback{};
  std::string path{};
};

const Operation* Find(std::string_view name) {
  for (const Operation& operation : AllOperations()) {
    if (operation.name == name) return &operation;
  }
  return nullptr;
}

// Says what failed and how to repeat it.
void Blame(const Replay& replay, const CaseResult& result) {
  FAIL_CHECK("OMS_FAULT_REPLAY='", replay.ToText(), "': ", result.report.name,
             " of \"", result.report.file, "\": ", result.wrong);
}

TEST_CASE("no failing system call loses, leaks or lies") {
  const Place place;
  if (const char* const text = std::getenv("OMS_FAULT_REPLAY")) {
    const auto replay = Replay::Parse(text);
    REQUIRE(replay);
    const Operation* const operation = Find(replay->operation);
    REQUIRE(operation != nullptr);
    const CaseResult result = RunCase(*operation, replay->fault, place.path);
    if (!result.wrong.empty()) Blame(*replay, result);
    return;
  }
  struct Case {
    const Operation* operation = nullptr;
    CallFault fault{};
  };
  std::vector<Case> cases;
  uint64_t sites = 0;
  for (const Operation& operation : AllOperations()) {
    const CaseResult sound = RunCase(operation, {}, place.path);
    if (!sound.wrong.empty()) Blame({std::string(operation.name), {}}, sound);
    std::printf("%-26s %4lld calls\n", std::string(operation.name).c_str(),
                static_cast<long long>(sound.report.calls));
    sites += static_cast<uint64_t>(sound.report.calls);
    for (int64_t n = 0; n < sound.report.calls; ++n) {
      const bool transfers =
          faults::Transfers(sound.report.names[static_cast<size_t>(n)]);
      for (const int error : AllErrors()) {
        if (error == CallFault::kShort && !transfers) continue;
        for (const bool for_good : {false, true}) {
          cases.push_back({&operation, {n, error, for_good}});
        }
      }
    }
  }
  auto random = RandomOfRun(0xfa);
  std::shuffle(cases.begin(), cases.end(), random);
  cases.resize(std::min<size_t>(cases.size(), For({2'000, 1'000'000})));
  uint64_t wrong = 0;
  uint64_t failed = 0;
  for (const Case& one : cases) {
    const CaseResult result = RunCase(*one.operation, one.fault, place.path);
    if (result.report.failed > 0) ++failed;
    if (result.wrong.empty()) continue;
    if (++wrong <= 40) {
      Blame({std::string(one.operation->name), one.fault}, result);
    }
  }
  Report({"faults", "system calls that fail, of each operation",
          IsLongRun() ? "all" : "2,000",
          WithCommas(cases.size()) + " of " + WithCommas(sites) +
              " calls, " + WithCommas(failed) + " failed, " +
              WithCommas(wrong) + " wrong",
          wrong == 0});
}

}  // namespace
}  // namespace openmessaging::reference::faults_test
