// SPDX-License-Identifier: Apache-2.0
//
// One operation with one failing system call, judged.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_CALL_FAULTS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_CALL_FAULTS_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "faults/operations.h"
#include "faults/system_calls.h"

namespace openmessaging::reference::faults {

struct CaseResult {
  CallReport report{};
  // What is wrong; empty: nothing.
  std::string wrong{};
};

// Every error that a call is given.
std::span<const int> AllErrors();

// `parent`: an existing directory.
CaseResult RunCase(const Operation& operation, const CallFault& fault,
                   std::string_view parent);

// One case as OMS_FAULT_REPLAY has it: `operation:call:error:once`, or
// `...:good`.
struct Replay {
  std::string operation{};
  CallFault fault{};

  std::string ToText() const;
  static std::optional<Replay> Parse(std::string_view text);
};

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_CALL_FAULTS_H_
