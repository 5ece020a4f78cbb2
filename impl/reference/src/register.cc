// SPDX-License-Identifier: Apache-2.0
//
// Linking this object file is all that a program does to have the driver.

#include "openmessaging/driver/registry.h"
#include "openmessaging/reference/driver.h"

namespace {

[[maybe_unused]] const bool kFile = openmessaging::driver::RegisterLinked(
    openmessaging::reference::MakeFileDriver());
[[maybe_unused]] const bool kMemory = openmessaging::driver::RegisterLinked(
    openmessaging::reference::MakeMemoryDriver());

}  // namespace
