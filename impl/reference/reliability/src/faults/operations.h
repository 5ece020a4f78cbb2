// SPDX-License-Identifier: Apache-2.0
//
// What an application does with a store, one thing each, to be tried while
// something fails.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_OPERATIONS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_OPERATIONS_H_

#include <span>
#include <string_view>

#include "faults/world.h"

namespace openmessaging::reference::faults {

struct Operation {
  std::string_view name{};
  // Makes what it needs; nothing fails yet.
  void (*set_up)(World& world) = nullptr;
  void (*run)(World& world) = nullptr;
  // Of the store, beside those of every one.
  std::string_view attributes{};
  // An opening that rebuilds ctl from the log may forget acknowledgements that
  // no flush followed.
  bool forgetful = false;
  // It acknowledges, rejects or deletes what the set-up stored.
  bool settles = false;
};

std::span<const Operation> AllOperations();

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_OPERATIONS_H_
