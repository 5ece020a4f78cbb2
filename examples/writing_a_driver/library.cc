// SPDX-License-Identifier: Apache-2.0
//
// liboms_shelf.so: the driver for programs that do not link it.

#include <memory>

#include "openmessaging/driver/registry.h"
#include "shelf_driver.h"

OPENMESSAGING_DRIVER_LIBRARY(std::make_shared<shelf::ShelfDriver>())
