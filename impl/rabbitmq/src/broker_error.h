// SPDX-License-Identifier: Apache-2.0
//
// What the broker and its client library say, as statuses.

#ifndef OPENMESSAGING_RABBITMQ_BROKER_ERROR_H_
#define OPENMESSAGING_RABBITMQ_BROKER_ERROR_H_

#include <amqp.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/status.h"

namespace openmessaging::rabbitmq {

inline std::string_view View(amqp_bytes_t bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// Lifetime: borrows `text`.
inline amqp_bytes_t ToBytes(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}

// Returns: the code of one of AMQP's reply codes.
Code CodeOf(int reply_code);

// Builds the status of a refusal, with the broker's words as its native text.
absl::Status RefusedBy(std::string_view operation, std::string_view object,
                       int reply_code, std::string_view reply_text);

// Builds the status of a connection that broke or could not be made.
// `outcome`: of what was under way.
absl::Status BrokenLink(std::string_view operation, std::string_view object,
                        std::string_view why,
                        Outcome outcome = Outcome::kNotStored);

// Returns: `status` of a connection, told of one operation on one object; the
// broker's own words and the code are kept.
absl::Status About(std::string_view operation, std::string_view object,
                   const absl::Status& status,
                   Outcome outcome = Outcome::kNotStored);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_BROKER_ERROR_H_
