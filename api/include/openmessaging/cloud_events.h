// SPDX-License-Identifier: Apache-2.0
//
// CloudEvents 1.0 in messages, in binary and in structured mode. Needs
// nlohmann/json; openmessaging.h does not include it.
//
// The names of properties are those of the Kafka protocol binding: `ce_` and
// the attribute's name, and `content-type`. Booleans and integers stay what
// they are, as in the AMQP binding; a broker that keeps only text brings their
// canonical text back, as its binding says.

#ifndef OPENMESSAGING_CLOUD_EVENTS_H_
#define OPENMESSAGING_CLOUD_EVENTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/cloud_events_json.h"
#include "openmessaging/internal/cloud_events_text.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"
#include "openmessaging/value.h"

namespace openmessaging {
inline namespace v0 {

// One event. Text that is empty is an attribute that is absent.
//
// Threads: a value.
struct CloudEvent {
  // Required. `source` and `id` together are unique.
  std::string id{};
  std::string source{};  // A URI reference: "/shop/orders".
  std::string type{};    // "com.example.order.created".

  std::string datacontenttype{};  // A media type: "application/json".
  std::string dataschema{};       // An absolute URI.
  std::string subject{};
  std::string time{};  // RFC 3339: "2026-11-25T01:02:03.5Z".

  // Whatever else there is, known to anybody or not. Names are of [a-z0-9].
  // Times, URIs and binary values are text, as CloudEvents writes them.
  using Extension = std::variant<bool, int32_t, std::string>;
  std::map<std::string, Extension, std::less<>> extensions{};

  // Any bytes. Empty: no data; the two are not told apart.
  std::string data{};

  friend bool operator==(const CloudEvent&, const CloudEvent&) = default;
};

// Checks what the specification asks of attributes.
// Errors: kInvalidArgument 1418: names the attribute and what was expected.
// Implements: OMS-CE-001.
[[nodiscard]] inline absl::Status CheckCloudEvent(const CloudEvent& event) {
  return internal::CheckCloudEventAttributes(event);
}

// Make a message of an event: its attributes as properties and the data as the
// body, or all of it as JSON in the body. A key, if there shall be one, is the
// application's to set.
// Errors: those of CheckCloudEvent().
// Implements: OMS-CE-002, OMS-CE-003.
[[nodiscard]] absl::StatusOr<Message> ToBinaryMessage(
    const CloudEvent& event, std::string_view destination);
[[nodiscard]] absl::StatusOr<Message> ToStructuredMessage(
    const CloudEvent& event, std::string_view destination);

// Reads an event in whichever mode it is. What the two above made comes back
// exactly. Data that others wrote as a JSON value is its text without spaces.
// Errors: kInvalidArgument 1418: no event, an event of another version, a batch
// of events, or what CheckCloudEvent() says.
// Implements: OMS-CE-004.
[[nodiscard]] absl::StatusOr<CloudEvent> CloudEventOf(const Message& message);

inline absl::StatusOr<Message> ToBinaryMessage(const CloudEvent& event,
                                               std::string_view destination) {
  absl::Status status = CheckCloudEvent(event);
  if (!status.ok()) return status;
  Message message(destination, event.data);
  const auto set = [&](std::string_view name, const Value& value) {
    if (status.ok()) {
      status = message.SetProperty(
          internal::Concat(internal::kCloudEventPrefix, name), value);
    }
  };
  set("specversion", internal::kCloudEventVersion);
  using Texts = internal::CloudEventTexts<CloudEvent>;
  for (const auto& [name, member] : Texts::kAll) {
    const std::string& text = event.*member;
    if (text.empty()) continue;
    if (name == "datacontenttype") {
      status = message.SetProperty(internal::kContentTypeProperty, text);
    } else {
      set(name, text);
    }
  }
  for (const auto& [name, value] : event.extensions) {
    std::visit([&, key = std::string_view(name)](
                   const auto& typed) { set(key, Value(typed)); },
               value);
  }
  if (!status.ok()) return status;
  return message;
}

inline absl::StatusOr<Message> ToStructuredMessage(
    const CloudEvent& event, std::string_view destination) {
  absl::Status status = CheckCloudEvent(event);
  if (!status.ok()) return status;
  Message message(destination, internal::CloudEventToJson(event));
  status = message.SetProperty(
      internal::kContentTypeProperty,
      internal::Concat(internal::kCloudEventJson, "; charset=UTF-8"));
  if (!status.ok()) return status;
  return message;
}

namespace internal {

inline absl::StatusOr<CloudEvent> BinaryCloudEventOf(const Message& message) {
  CloudEvent event;
  for (const auto& [key, value] : message.properties()) {
    absl::Status status;
    if (key == kContentTypeProperty) {
      const auto text = value.template As<std::string_view>();
      status = SetCloudEventAttribute(event, "datacontenttype",
                                      std::string(text.value_or("")));
    } else if (key.starts_with(kCloudEventPrefix)) {
      const std::string_view name = key.substr(kCloudEventPrefix.size());
      if (const auto text = value.template As<std::string_view>()) {
        status = SetCloudEventAttribute(event, name, std::string(*text));
      } else if (const auto flag = value.template As<bool>()) {
        status = SetCloudEventAttribute(event, name, *flag);
      } else if (const auto number = value.template As<int32_t>()) {
        status = SetCloudEventAttribute(event, name, *number);
      } else {
        status = BadCloudEvent(name, "is neither text, boolean nor integer",
                               "one of these");
      }
    }
    if (!status.ok()) return status;
  }
  event.data = message.body();
  return event;
}

}  // namespace internal

inline absl::StatusOr<CloudEvent> CloudEventOf(const Message& message) {
  const std::string_view content_type =
      message.properties().GetOr(internal::kContentTypeProperty, "");
  const std::string media = internal::MediaTypeOf(content_type);
  absl::StatusOr<CloudEvent> event;
  if (media == internal::kCloudEventJson) {
    event = internal::CloudEventFromJson<CloudEvent>(message.body());
  } else if (media.starts_with("application/cloudevents")) {
    return MakeStatus(Code::kBadParameter, "read cloud event: content type \"",
                      internal::Printable(content_type),
                      "\" is not supported; expected ",
                      internal::kCloudEventJson, " (OMS-CE-004)");
  } else if (message.properties().Contains("ce_specversion")) {
    event = internal::BinaryCloudEventOf(message);
  } else {
    return MakeStatus(Code::kBadParameter,
                      "read cloud event: the message is none; expected the "
                      "property ce_specversion, or a content-type of ",
                      internal::kCloudEventJson, " (OMS-CE-004)");
  }
  if (!event.ok()) return event.status();
  absl::Status status = CheckCloudEvent(*event);
  if (!status.ok()) return status;
  return event;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_CLOUD_EVENTS_H_
