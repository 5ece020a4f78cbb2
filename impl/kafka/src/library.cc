// SPDX-License-Identifier: Apache-2.0
//
// liboms_kafka.so: the driver for programs that do not link it.

#include "openmessaging/driver/registry.h"
#include "openmessaging/kafka/driver.h"

OPENMESSAGING_DRIVER_LIBRARY(openmessaging::kafka::MakeDriver())
