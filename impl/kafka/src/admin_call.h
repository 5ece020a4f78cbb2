// SPDX-License-Identifier: Apache-2.0
//
// One administrative request: begun, and waited for.

#ifndef OPENMESSAGING_KAFKA_ADMIN_CALL_H_
#define OPENMESSAGING_KAFKA_ADMIN_CALL_H_

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/status/statusor.h"
#include "errors.h"
#include "native.h"

namespace openmessaging::kafka {

// Calls `begin(options, queue)` and waits for the answer.
// Errors: 1401, 1403, 1503: what the request as a whole was answered.
template <typename Begin>
absl::StatusOr<OwnedEvent> AdminCall(rd_kafka_t* rk, rd_kafka_admin_op_t op,
                                     std::string_view what, TimePoint deadline,
                                     const Begin& begin) {
  const OwnedQueue answers(rd_kafka_queue_new(rk));
  const OwnedAdminOptions options(rd_kafka_AdminOptions_new(rk, op));
  const int timeout_ms = std::max(1, TimeoutMs(deadline));
  std::array<char, 256> why{};
  (void)rd_kafka_AdminOptions_set_request_timeout(
      options.get(), timeout_ms, why.data(), why.size());
  begin(options.get(), answers.get());
  OwnedEvent event(rd_kafka_queue_poll(answers.get(), timeout_ms + 100));
  if (event == nullptr) {
    return LookupStatus(RD_KAFKA_RESP_ERR__TIMED_OUT, what);
  }
  const rd_kafka_resp_err_t error = rd_kafka_event_error(event.get());
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return LookupStatus(error, what, rd_kafka_event_error_string(event.get()));
  }
  return event;
}

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_ADMIN_CALL_H_
