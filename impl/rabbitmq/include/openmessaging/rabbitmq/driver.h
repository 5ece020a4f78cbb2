// SPDX-License-Identifier: Apache-2.0
//
// The driver for RabbitMQ, over AMQP 0-9-1: oms:rabbitmq://host:port/vhost.
// Linking openmessaging::rabbitmq registers it; this function is for registries
// of your own. docs/rabbitmq.md says what it does with a broker.

#ifndef OPENMESSAGING_RABBITMQ_DRIVER_H_
#define OPENMESSAGING_RABBITMQ_DRIVER_H_

#include <memory>

#include "openmessaging/driver/connection.h"

namespace openmessaging::rabbitmq {

// Returns: the driver "rabbitmq".
std::shared_ptr<driver::Driver> MakeDriver();

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_DRIVER_H_
