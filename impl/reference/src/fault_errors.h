// SPDX-License-Identifier: Apache-2.0
//
// What a faulty connection answers instead of the truth.

#ifndef OPENMESSAGING_REFERENCE_FAULT_ERRORS_H_
#define OPENMESSAGING_REFERENCE_FAULT_ERRORS_H_

#include <string_view>

#include "absl/status/status.h"
#include "fault_plan.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

// Returns: nothing was done, and the same call may succeed.
inline absl::Status FaultRefusal(std::string_view operation) {
  return MakeStatus(Code::kUnavailable, operation,
                    ": the broker answers with an error, nothing was done; "
                    "expected by a test (fault=error)");
}

// Returns: whether something was done only the broker knows. `fault`: the name
// of what the plan asked for.
inline absl::Status FaultLoss(std::string_view operation,
                              std::string_view fault) {
  const bool broke =
      fault == kFaultNames[static_cast<size_t>(Fault::kDisconnect)];
  const Code code = broke ? Code::kUnavailable : Code::kTimeout;
  return WithDetail(
      MakeStatus(code, operation, ": ",
                 broke ? "the connection broke before the answer came"
                       : "no answer came",
                 ", it may have been done; expected by a test (fault=", fault,
                 ")"),
      {.code = code,
       .retriable = true,
       .outcome = Outcome::kUnknown,
       .native = {}});
}
inline absl::Status FaultLoss(std::string_view operation, Fault fault) {
  return FaultLoss(operation, kFaultNames[static_cast<size_t>(fault)]);
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_FAULT_ERRORS_H_
