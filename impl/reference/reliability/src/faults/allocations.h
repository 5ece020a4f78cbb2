// SPDX-License-Identifier: Apache-2.0
//
// The allocations of this program, the n-th of which fails.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_ALLOCATIONS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_ALLOCATIONS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "faults/operations.h"

namespace openmessaging::reference::faults {

struct AllocationFault {
  int64_t allocation = -1;  // From 0 on; -1: none.
  bool for_good = false;
};

struct AllocationResult {
  int64_t allocations = 0;  // That the operation made, where none failed.
  // How it ended: a status or success, an exception that the application
  // caught, or the end of the process.
  enum class End { kReturned, kCaught, kDied } end = End::kReturned;
  std::string wrong{};
};

// Runs an operation in a fork of this process, with that fault. Then another
// process uses the store at once, and nothing that was acknowledged is lost.
AllocationResult RunAllocationCase(const Operation& operation,
                                   const AllocationFault& fault,
                                   std::string_view parent);

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_ALLOCATIONS_H_
