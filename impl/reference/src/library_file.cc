// SPDX-License-Identifier: Apache-2.0
//
// liboms_file.so: the driver for programs that do not link it.

#include "openmessaging/driver/registry.h"
#include "openmessaging/reference/driver.h"

OPENMESSAGING_DRIVER_LIBRARY(openmessaging::reference::MakeFileDriver())
