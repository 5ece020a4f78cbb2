// SPDX-License-Identifier: Apache-2.0
//
// Kafka's error codes in the words of this project.

#ifndef OPENMESSAGING_KAFKA_ERRORS_H_
#define OPENMESSAGING_KAFKA_ERRORS_H_

#include <librdkafka/rdkafka.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {

// Returns: the code that tells the caller what to do.
Code CodeOf(rd_kafka_resp_err_t error);

// Returns: "UNKNOWN_TOPIC_OR_PART: Broker: Unknown topic or partition".
std::string NativeText(rd_kafka_resp_err_t error, std::string_view text = {});

// Builds `<what>: <Kafka's text>` with Kafka's code and text as its native part.
absl::Status KafkaStatus(rd_kafka_resp_err_t error, std::string_view what,
                         std::string_view text = {});

// The same, for what became of a message.
absl::Status KafkaStatus(rd_kafka_resp_err_t error, std::string_view what,
                         Outcome outcome);

// For calls that only ask: no answer in time means that nobody is there.
absl::Status LookupStatus(rd_kafka_resp_err_t error, std::string_view what,
                          std::string_view text = {});

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_ERRORS_H_
