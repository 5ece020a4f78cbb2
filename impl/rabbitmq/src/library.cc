// SPDX-License-Identifier: Apache-2.0
//
// liboms_rabbitmq.so: the driver for programs that do not link it.

#include "openmessaging/driver/registry.h"
#include "openmessaging/rabbitmq/driver.h"

OPENMESSAGING_DRIVER_LIBRARY(openmessaging::rabbitmq::MakeDriver())
