// SPDX-License-Identifier: Apache-2.0
//
// The JSON form of a message: one flat object on one line, for logs, pipes and
// other languages. Needs nlohmann/json; openmessaging.h does not include it.
// The form is in spec/json.md.

#ifndef OPENMESSAGING_JSON_H_
#define OPENMESSAGING_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "openmessaging/internal/json_reader.h"
#include "openmessaging/internal/json_tree.h"
#include "openmessaging/internal/json_writer.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {

// Writes `message` without a line break. The keys are the names of the fields;
// a field that is not set is absent. For example:
//
//   {"destination":"orders","priority":7,"properties":{"tries":2},"body":"42"}
//
//   text             under its name; what is not UTF-8, a body for example, as
//                    base64 under "<name>_base64"
//   times, delays    integers, milliseconds; times since 1970 UTC
//   qos              0, 1 or 2
//   durability       "volatile", "process" or "disk"
//   partition        of a delivered message where it lay, else where it shall
//                    go
//   properties       an object: true and false, strings, integers (int64) and
//                    numbers with a fraction or an exponent (double); every
//                    other type, and a double that is no finite number, as
//                    {"type":"int32","value":7}: int16, int32, float, double,
//                    bytes (base64), keyvalue (an object like properties); a
//                    float or double value may be "NaN", "Infinity",
//                    "-Infinity"
//
// A delivered message shows what its store implies (version, born_host) too.
// Implements: OMS-JSON-001, OMS-JSON-002, OMS-JSON-003.
[[nodiscard]] inline std::string ToJson(const Message& message) {
  std::string out;
  internal::JsonMessageWriter(out, message).Write();
  return out;
}

// Reads what ToJson() writes; keys may come in any order and all but
// "destination" may be absent. What a driver sets (message_id, offset, …) is
// read too, so that ToJson(*FromJson(x)) == x for every x that ToJson() made;
// a send gives the message an id and a place of its own.
//
// What Send checks is not checked here: names, sizes of header and properties.
// Errors:
//   kInvalidArgument  1418: not one JSON object, an unknown key, a key twice, a
//                     value of another type or out of range, null, a list
//   kInvalidArgument  1411: properties nest too deep or have too many keys
//   kInvalidArgument  1413: the body is over kMaxBodyBytes
// Implements: OMS-JSON-004, OMS-JSON-005.
[[nodiscard]] inline absl::StatusOr<Message> FromJson(std::string_view text) {
  const auto root = internal::ParseJsonTree(text);
  if (!root.ok()) return root.status();
  return internal::JsonMessageReader(*root).Read();
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_JSON_H_
