// SPDX-License-Identifier: Apache-2.0
//
// Linking this object file is all that a program does to have the driver.

#include "openmessaging/driver/registry.h"
#include "openmessaging/rabbitmq/driver.h"

namespace {

[[maybe_unused]] const bool kRabbitMq = openmessaging::driver::RegisterLinked(
    openmessaging::rabbitmq::MakeDriver());

}  // namespace
