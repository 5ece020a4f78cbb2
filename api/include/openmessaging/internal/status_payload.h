// SPDX-License-Identifier: Apache-2.0
//
// The payload that carries an OpenMessaging code inside an absl::Status. Its
// text, "1413 0 0 <native words>", is stable within one major version.

#ifndef OPENMESSAGING_INTERNAL_STATUS_PAYLOAD_H_
#define OPENMESSAGING_INTERNAL_STATUS_PAYLOAD_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "openmessaging/internal/text.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline constexpr char kStatusPayloadUrl[] = "type.openmessaging.io/status";

struct StatusPayload {
  int code = 0;
  bool retriable = false;
  int outcome = 0;
  std::string native;
};

inline void SetStatusPayload(absl::Status& status,
                             const StatusPayload& payload) {
  status.SetPayload(
      kStatusPayloadUrl,
      absl::Cord(Concat(payload.code, ' ', payload.retriable ? 1 : 0, ' ',
                        payload.outcome, ' ',
                        std::string_view(payload.native))));
}

inline std::optional<StatusPayload> GetStatusPayload(
    const absl::Status& status) {
  const auto cord = status.GetPayload(kStatusPayloadUrl);
  if (!cord) return std::nullopt;
  const std::string text(*cord);
  StatusPayload payload;
  std::string_view rest = text;
  int retriable = 0;
  for (int* const number : {&payload.code, &retriable, &payload.outcome}) {
    const size_t blank = rest.find(' ');
    if (blank == std::string_view::npos ||
        !ParseInteger(rest.substr(0, blank), *number)) {
      return std::nullopt;
    }
    rest.remove_prefix(blank + 1);
  }
  payload.retriable = retriable != 0;
  payload.native = std::string(rest);
  return payload;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_STATUS_PAYLOAD_H_
