// SPDX-License-Identifier: Apache-2.0
//
// The reference driver: a complete messaging system in memory
// (oms:memory://name) or in a directory that many processes share
// (oms:file:///path). Linking openmessaging::reference registers both; these
// functions are for registries of your own.

#ifndef OPENMESSAGING_REFERENCE_DRIVER_H_
#define OPENMESSAGING_REFERENCE_DRIVER_H_

#include <memory>

#include "openmessaging/driver/connection.h"

namespace openmessaging::reference {

// Returns: the driver "file".
std::shared_ptr<driver::Driver> MakeFileDriver();

// Returns: the driver "memory". Stores of one name are one store within the
// process, whichever driver object opened them.
std::shared_ptr<driver::Driver> MakeMemoryDriver();

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DRIVER_H_
