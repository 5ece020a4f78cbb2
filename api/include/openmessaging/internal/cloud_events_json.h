// SPDX-License-Identifier: Apache-2.0
//
// The JSON format of CloudEvents.

#ifndef OPENMESSAGING_INTERNAL_CLOUD_EVENTS_JSON_H_
#define OPENMESSAGING_INTERNAL_CLOUD_EVENTS_JSON_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/base64.h"
#include "openmessaging/internal/cloud_events_text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Returns: whether brackets nest no deeper than the JSON library can write
// without using up the stack.
inline bool IsShallowJson(std::string_view text) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return false;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return true;
}

// Parses without exceptions. Returns: a discarded value for what is no JSON.
inline nlohmann::ordered_json ParseJson(std::string_view text) {
  if (!IsShallowJson(text)) return nlohmann::ordered_json::value_t::discarded;
  return nlohmann::ordered_json::parse(text.begin(), text.end(), nullptr,
                                       /*allow_exceptions=*/false);
}

inline std::string DumpJson(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false,
                    nlohmann::ordered_json::error_handler_t::replace);
}

// Data that a JSON value or a JSON string brings back byte by byte is written
// as one, all other as base64.
template <typename Event>
void PutCloudEventData(const Event& event, nlohmann::ordered_json& root) {
  if (event.data.empty()) return;
  const bool is_json = event.datacontenttype.empty() ||
                       IsJsonMediaType(event.datacontenttype);
  if (is_json) {
    auto value = ParseJson(event.data);
    // A null would be read as no data at all.
    if (!value.is_discarded() && !value.is_null() &&
        DumpJson(value) == event.data) {
      root["data"] = std::move(value);
      return;
    }
  } else if (IsUtf8(event.data)) {
    root["data"] = event.data;
    return;
  }
  std::string encoded;
  AppendBase64(encoded, event.data);
  root["data_base64"] = std::move(encoded);
}

template <typename Event>
std::string CloudEventToJson(const Event& event) {
  nlohmann::ordered_json root;
  root["specversion"] = std::string(kCloudEventVersion);
  for (const auto& [name, member] : CloudEventTexts<Event>::kAll) {
    if (!(event.*member).empty()) root[std::string(name)] = event.*member;
  }
  for (const auto& [name, value] : event.extensions) {
    std::visit([&, key = name](const auto& typed) { root[key] = typed; },
               value);
  }
  PutCloudEventData(event, root);
  return DumpJson(root);
}

template <typename Event>
absl::Status ReadCloudEventMember(const std::string& name,
                                  const nlohmann::ordered_json& value,
                                  Event& event) {
  if (value.is_null()) return absl::OkStatus();  // Absent, by the format.
  if (value.is_string()) {
    return SetCloudEventAttribute(event, name,
                                  value.template get<std::string>());
  }
  if (value.is_boolean()) {
    return SetCloudEventAttribute(event, name, value.template get<bool>());
  }
  constexpr int64_t kLeast = std::numeric_limits<int32_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const bool fits = value.is_number_unsigned()
                        ? value.template get<uint64_t>() <=
                              static_cast<uint64_t>(kMost)
                        : value.is_number_integer() &&
                              value.template get<int64_t>() >= kLeast;
  if (fits) {
    return SetCloudEventAttribute(event, name, value.template get<int32_t>());
  }
  return BadCloudEvent(name, "is neither text, boolean nor integer",
                       "one of these; an integer has 32 bits");
}

template <typename Event>
absl::Status ReadCloudEventData(const nlohmann::ordered_json& root,
                                Event& event) {
  const auto data = root.find("data");
  const auto encoded = root.find("data_base64");
  const bool has_data = data != root.end() && !data->is_null();
  if (encoded == root.end() || encoded->is_null()) {
    if (!has_data) return absl::OkStatus();
    const bool is_json = event.datacontenttype.empty() ||
                         IsJsonMediaType(event.datacontenttype);
    event.data = !is_json && data->is_string()
                     ? data->template get<std::string>()
                     : DumpJson(*data);
    return absl::OkStatus();
  }
  auto bytes = encoded->is_string()
                   ? DecodeBase64(encoded->template get<std::string>())
                   : std::nullopt;
  if (has_data || !bytes) {
    return BadCloudEvent("data_base64",
                         has_data ? "stands beside data" : "is no base64",
                         "one of them, good");
  }
  event.data = *std::move(bytes);
  return absl::OkStatus();
}

template <typename Event>
absl::StatusOr<Event> CloudEventFromJson(std::string_view text) {
  const auto root = ParseJson(text);
  if (!root.is_object()) {
    return MakeStatus(Code::kBadParameter,
                      "read cloud event: the body is no JSON object of at most "
                      "64 levels; expected one (OMS-CE-004)");
  }
  Event event;
  if (!root.contains("specversion")) {
    return BadCloudEvent("specversion", "is absent", kCloudEventVersion);
  }
  for (const auto& [name, value] : root.items()) {
    if (name == "data" || name == "data_base64") continue;
    absl::Status status = ReadCloudEventMember(name, value, event);
    if (!status.ok()) return status;
  }
  absl::Status status = ReadCloudEventData(root, event);
  if (!status.ok()) return status;
  return event;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CLOUD_EVENTS_JSON_H_
