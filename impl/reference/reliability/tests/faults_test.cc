// SPDX-License-Identifier: Apache-2.0
//
// Every system call of every operation fails, in every way, once and for good:
// nothing acknowledged is lost, nothing leaks, and what fails says so.
// OMS_FAULT_ONLY=<operation> is for one of them.

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "faults/allocations.h"
#include "faults/call_faults.h"
#include "goals.h"
#include "shared_place.h"
#include "store_fixture.h"

namespace openmessaging::reference::faults_test {
namespace {

using faults::AllErrors;
using faults::AllocationFault;
using faults::AllocationResult;
using faults::AllOperations;
using faults::CallFault;
using faults::CaseResult;
using faults::Operation;
using faults::Replay;
using faults::RunAllocationCase;
using faults::RunCase;

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

const char* EndOf(const AllocationResult& result) {
  switch (result.end) {
    case AllocationResult::End::kReturned:
      return "returned";
    case AllocationResult::End::kCaught:
      return "threw";
    case AllocationResult::End::kDied:
      break;
  }
  return "died";
}

TEST_CASE("no failing system call loses, leaks or lies") {
  const SharedPlace place;
  if (const char* const text = std::getenv("OMS_FAULT_REPLAY")) {
    const auto replay = Replay::Parse(text);
    REQUIRE(replay);
    const Operation* const operation = Find(replay->operation);
    REQUIRE(operation != nullptr);
    const CaseResult result = RunCase(*operation, replay->fault, place.path());
    if (!result.wrong.empty()) Blame(*replay, result);
    return;
  }
  struct Case {
    const Operation* operation = nullptr;
    CallFault fault{};
  };
  std::vector<Case> cases;
  uint64_t sites = 0;
  const char* const only = std::getenv("OMS_FAULT_ONLY");
  for (const Operation& operation : AllOperations()) {
    if (only != nullptr && operation.name != only) continue;
    const CaseResult sound = RunCase(operation, {}, place.path());
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
  CHECK(!cases.empty());
  uint64_t wrong = 0;
  uint64_t failed = 0;
  for (const Case& one : cases) {
    const CaseResult result = RunCase(*one.operation, one.fault, place.path());
    if (result.report.failed > 0) ++failed;
    if (result.wrong.empty()) continue;
    if (++wrong <= 40) {
      Blame({std::string(one.operation->name), one.fault}, result);
    }
  }
  if (only != nullptr) return;
  Report({"faults", "system calls that fail, of each operation",
          IsLongRun() ? "all" : "2,000",
          WithCommas(cases.size()) + " of " + WithCommas(sites) + " calls, " +
              WithCommas(failed) + " failed, " + WithCommas(wrong) + " wrong",
          wrong == 0});
}

// Says what failed and how to repeat it.
void Blame(const Operation& operation, const AllocationFault& fault,
           const AllocationResult& result) {
  FAIL_CHECK("OMS_ALLOCATION_REPLAY='", std::string(operation.name), ":",
             fault.allocation, ":", fault.for_good ? "good" : "once", "': it ",
             EndOf(result), "; ", result.wrong);
}

TEST_CASE("no failing allocation leaves a lock or half a store") {
  const SharedPlace place;
  if (const char* const text = std::getenv("OMS_ALLOCATION_REPLAY")) {
    const std::string replay = text;
    const size_t colon = replay.find(':');
    const Operation* const operation = Find(replay.substr(0, colon));
    REQUIRE(operation != nullptr);
    const AllocationFault fault{std::stoll(replay.substr(colon + 1)),
                                replay.ends_with("good")};
    const AllocationResult result =
        RunAllocationCase(*operation, fault, place.path());
    std::printf("it %s\n", EndOf(result));
    if (!result.wrong.empty()) Blame(*operation, fault, result);
    return;
  }
  struct Case {
    const Operation* operation = nullptr;
    AllocationFault fault{};
  };
  std::vector<Case> cases;
  uint64_t sites = 0;
  for (const Operation& operation : AllOperations()) {
    const AllocationResult sound = RunAllocationCase(operation, {}, place.path());
    if (!sound.wrong.empty()) Blame(operation, {}, sound);
    std::printf("%-26s %4lld allocations\n",
                std::string(operation.name).c_str(),
                static_cast<long long>(sound.allocations));
    sites += static_cast<uint64_t>(sound.allocations);
    for (int64_t n = 0; n < sound.allocations; ++n) {
      cases.push_back({&operation, {n, false}});
      cases.push_back({&operation, {n, true}});
    }
  }
  auto random = RandomOfRun(0xa110c);
  std::shuffle(cases.begin(), cases.end(), random);
  cases.resize(std::min<size_t>(cases.size(), For({400, 1'000'000})));
  uint64_t wrong = 0;
  std::array<uint64_t, 3> ends{};
  for (const Case& one : cases) {
    const AllocationResult result =
        RunAllocationCase(*one.operation, one.fault, place.path());
    ++ends.at(static_cast<size_t>(result.end));
    if (result.wrong.empty()) continue;
    if (++wrong <= 20) Blame(*one.operation, one.fault, result);
  }
  Report({"faults", "allocations that fail, of each operation",
          IsLongRun() ? "all" : "400",
          WithCommas(cases.size()) + " cases of " + WithCommas(sites) +
              " allocations: " + WithCommas(ends[0]) + " returned, " +
              WithCommas(ends[1]) + " threw before the driver, " +
              WithCommas(ends[2]) + " ended the process; " + WithCommas(wrong) +
              " wrong",
          wrong == 0});
}

}  // namespace
}  // namespace openmessaging::reference::faults_test
