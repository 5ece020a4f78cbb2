// SPDX-License-Identifier: Apache-2.0
//
// What every program can load: liboms_sqlite.so.

#include "openmessaging/driver/registry.h"
#include "sqlite_driver.h"

OPENMESSAGING_DRIVER_LIBRARY(std::make_shared<sqlite::SqliteDriver>())
