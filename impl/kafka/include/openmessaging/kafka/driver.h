// SPDX-License-Identifier: Apache-2.0
//
// The driver for Apache Kafka, "oms:kafka://host:port[,host:port...]".
// docs/kafka.md says what becomes of a message there, and of a setting.

#ifndef OPENMESSAGING_KAFKA_DRIVER_H_
#define OPENMESSAGING_KAFKA_DRIVER_H_

#include <memory>

#include "openmessaging/driver/connection.h"

namespace openmessaging::kafka {

// Linking openmessaging::kafka registers one.
std::shared_ptr<driver::Driver> MakeDriver();

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_DRIVER_H_
