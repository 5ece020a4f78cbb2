// SPDX-License-Identifier: Apache-2.0
//
// The rules of CloudEvents for the text of attributes.

#ifndef OPENMESSAGING_INTERNAL_CLOUD_EVENTS_TEXT_H_
#define OPENMESSAGING_INTERNAL_CLOUD_EVENTS_TEXT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

namespace internal {

inline constexpr std::string_view kCloudEventVersion = "1.0";
inline constexpr std::string_view kCloudEventPrefix = "ce_";
inline constexpr std::string_view kContentTypeProperty = "content-type";
inline constexpr std::string_view kCloudEventJson =
    "application/cloudevents+json";

template <typename What>
absl::Status BadCloudEvent(std::string_view attribute, const What& what,
                           std::string_view expected) {
  return MakeStatus(Code::kBadParameter, "check cloud event: attribute \"",
                    Printable(attribute), "\" ", what, "; expected ", expected,
                    " (OMS-CE-001)");
}

inline bool IsLowerOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Returns: whether it is UTF-8 without control characters (C0, DEL, C1).
inline bool IsCloudEventString(std::string_view text) {
  if (!IsUtf8(text)) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return false;
    if (byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return false;
    }
  }
  return true;
}

// Returns: whether every character may stand in a URI reference (RFC 3986), the
// percent signs before two hexadecimal digits.
inline bool IsUriReference(std::string_view text) {
  constexpr std::string_view kOther = "-._~:/?#[]@!$&'()*+,;=";
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3 || kHex.find(text[i + 1]) == kHex.npos ||
          kHex.find(text[i + 2]) == kHex.npos) {
        return false;
      }
    } else if (!IsLetter(c) && !IsDigit(c) && kOther.find(c) == kOther.npos) {
      return false;
    }
  }
  return !text.empty();
}

// Returns: whether it is a URI reference with a scheme.
inline bool IsAbsoluteUri(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size() ||
      !IsUriReference(text) || !IsLetter(text[0])) {
    return false;
  }
  const std::string_view scheme = text.substr(0, colon);
  return std::all_of(scheme.begin(), scheme.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || c == '+' || c == '-' || c == '.';
  });
}

// Returns: the number that the digits [at, at + size) are; -1 for others.
inline int DigitsAt(std::string_view text, size_t at, size_t size) {
  int number = 0;
  if (text.size() < at + size) return -1;
  for (const char c : text.substr(at, size)) {
    if (!IsDigit(c)) return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

// Reads "Z" or "+01:00".
inline bool IsZone(std::string_view text) {
  if (text == "Z" || text == "z") return true;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-')) return false;
  const int hours = DigitsAt(text, 1, 2);
  const int minutes = DigitsAt(text, 4, 2);
  return text[3] == ':' && hours >= 0 && hours < 24 && minutes >= 0 &&
         minutes < 60;
}

// Returns: whether it is a date and a time of RFC 3339.
inline bool IsTimestamp(std::string_view text) {
  constexpr std::array<int, 12> kDays = {31, 29, 31, 30, 31, 30,
                                         31, 31, 30, 31, 30, 31};
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' ||
      (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':') {
    return false;
  }
  const int year = DigitsAt(text, 0, 4);
  const int month = DigitsAt(text, 5, 2);
  const int day = DigitsAt(text, 8, 2);
  const int hour = DigitsAt(text, 11, 2);
  const int minute = DigitsAt(text, 14, 2);
  const int second = DigitsAt(text, 17, 2);
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (year < 0 || month < 1 || month > 12 || day < 1 ||
      day > kDays[static_cast<size_t>(month - 1)] ||
      (month == 2 && day == 29 && !leap) || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || second < 0 || second > 60) {
    return false;
  }
  text.remove_prefix(19);
  if (text[0] == '.') {
    const size_t end = text.find_first_not_of("0123456789", 1);
    if (end == std::string_view::npos || end == 1) return false;
    text.remove_prefix(end);
  }
  return IsZone(text);
}

// Returns: `type/subtype` in small letters, without parameters.
inline std::string MediaTypeOf(std::string_view text) {
  text = text.substr(0, text.find(';'));
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  std::string media(text);
  for (char& c : media) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return media;
}

inline bool IsMediaType(std::string_view text) {
  constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
  const std::string media = MediaTypeOf(text);
  const size_t slash = media.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == media.size()) {
    return false;
  }
  return std::count(media.begin(), media.end(), '/') == 1 &&
         std::all_of(media.begin(), media.end(), [&](char c) {
           return c == '/' || IsLetter(c) || IsDigit(c) ||
                  kOther.find(c) != std::string_view::npos;
         });
}

inline bool IsJsonMediaType(std::string_view text) {
  const std::string media = MediaTypeOf(text);
  return media == "application/json" || media == "text/json" ||
         media.ends_with("+json");
}

// The attributes that have a member of their own.
template <typename Event>
struct CloudEventTexts {
  static constexpr std::array<std::pair<std::string_view, std::string Event::*>,
                              7>
      kAll = {{{"id", &Event::id},
               {"source", &Event::source},
               {"type", &Event::type},
               {"datacontenttype", &Event::datacontenttype},
               {"dataschema", &Event::dataschema},
               {"subject", &Event::subject},
               {"time", &Event::time}}};
};

template <typename Event>
absl::Status CheckCloudEventAttributes(const Event& event) {
  for (const auto& [name, member] : CloudEventTexts<Event>::kAll) {
    const std::string& text = event.*member;
    const bool required = name == "id" || name == "source" || name == "type";
    if (text.empty()) {
      if (!required) continue;
      return BadCloudEvent(name, "is absent", "text that is not empty");
    }
    if (!IsCloudEventString(text)) {
      return BadCloudEvent(name, "is no text",
                           "UTF-8 without control characters");
    }
  }
  if (!IsUriReference(event.source)) {
    return BadCloudEvent("source", "is no URI reference", "one (RFC 3986)");
  }
  if (!event.dataschema.empty() && !IsAbsoluteUri(event.dataschema)) {
    return BadCloudEvent("dataschema", "is no absolute URI", "one (RFC 3986)");
  }
  if (!event.time.empty() && !IsTimestamp(event.time)) {
    return BadCloudEvent("time", "is no time",
                         "one such as 2026-11-25T01:02:03Z (RFC 3339)");
  }
  if (!event.datacontenttype.empty() && !IsMediaType(event.datacontenttype)) {
    return BadCloudEvent("datacontenttype", "is no media type",
                         "one such as application/json (RFC 2046)");
  }
  // Its message would be taken for an event in structured mode.
  if (MediaTypeOf(event.datacontenttype)
          .starts_with("application/cloudevents")) {
    return BadCloudEvent("datacontenttype", "is that of an event",
                         "the media type of the data");
  }
  for (const auto& [name, value] : event.extensions) {
    const bool known =
        name == "specversion" || name == "data" ||
        std::any_of(CloudEventTexts<Event>::kAll.begin(),
                    CloudEventTexts<Event>::kAll.end(),
                    [&extension_name = name](const auto& entry) {
                      return entry.first == extension_name;
                    });
    if (known || name.empty() ||
        !std::all_of(name.begin(), name.end(), IsLowerOrDigit)) {
      return BadCloudEvent(name, "is no name of an extension",
                           "[a-z0-9], and none that CloudEvents itself has");
    }
    const auto* const text = std::get_if<std::string>(&value);
    if (text != nullptr && !IsCloudEventString(*text)) {
      return BadCloudEvent(name, "is no text",
                           "UTF-8 without control characters");
    }
  }
  return absl::OkStatus();
}

// Sets what was read. `value`: a std::string, a bool or an int32_t.
template <typename Event, typename Typed>
absl::Status SetCloudEventAttribute(Event& event, std::string_view name,
                                    const Typed& value) {
  constexpr bool kIsText = std::is_same_v<Typed, std::string>;
  if (name == "specversion") {
    if constexpr (kIsText) {
      if (value == kCloudEventVersion) return absl::OkStatus();
    }
    return BadCloudEvent(name, "is another one", kCloudEventVersion);
  }
  for (const auto& [known, member] : CloudEventTexts<Event>::kAll) {
    if (known != name) continue;
    if constexpr (kIsText) {
      if (value.empty()) return BadCloudEvent(name, "is empty", "some text");
      event.*member = value;
      return absl::OkStatus();
    }
    return BadCloudEvent(name, "is no text", "text");
  }
  event.extensions.insert_or_assign(std::string(name), value);
  return absl::OkStatus();
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CLOUD_EVENTS_TEXT_H_
