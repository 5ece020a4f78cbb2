// SPDX-License-Identifier: Apache-2.0
//
// Formatters for fmt: fmt::format("{}", message). Opt-in, because it brings
// fmt; link openmessaging::format. Width and alignment work as for text. No
// formatter prints a secret or the body of a message.

#ifndef OPENMESSAGING_FORMAT_H_
#define OPENMESSAGING_FORMAT_H_

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "openmessaging/attributes.h"
#include "openmessaging/capability.h"
#include "openmessaging/internal/json_writer.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/url_text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/key_value.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"
#include "openmessaging/url.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline std::string TextOf(Code code) {
  return Concat(static_cast<int>(code));
}
inline std::string_view TextOf(Capability capability) {
  return Name(capability);
}
inline std::string_view TextOf(Support support) { return Name(support); }
inline std::string_view TextOf(LifecycleState state) { return Name(state); }
inline std::string TextOf(const MessageId& id) { return id.ToString(); }
inline std::string TextOf(const Receipt& receipt) { return receipt.ToString(); }
inline std::string TextOf(const Attributes& attributes) {
  return attributes.ToString();
}
inline std::string TextOf(const Url& url) {
  return PrintableUrl(url.ToString());
}
inline std::string TextOf(KeyValueView properties) {
  std::string out;
  AppendJsonProperties(out, properties);
  return out;
}
inline std::string TextOf(const Message& message) {
  std::string out = Concat("message to \"", Printable(message.destination()),
                           "\": ", message.body().size(), " bytes");
  if (!message.message_key().empty()) {
    AppendPart(out, ", key \"");
    AppendPart(out, Printable(message.message_key()));
    AppendPart(out, "\"");
  }
  if (const MessageId id = message.message_id(); !id.empty()) {
    AppendPart(out, ", id ");
    AppendPart(out, id.ToString());
  }
  if (message.delivery_count() > 0) {
    out += Concat(", partition ", message.partition(), ", offset ",
                  message.offset(), ", delivery ", message.delivery_count());
  }
  return out;
}

// Formats what TextOf(value) returns.
template <typename T>
struct TextFormatter : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const T& value, Context& context) const {
    const auto text = TextOf(value);
    return fmt::formatter<std::string_view>::format(std::string_view(text),
                                                    context);
  }
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging

// Of Code: its number. Of capabilities, supports and states: the
// specification's words. Of ids, receipts and attributes: ToString(). Of a URL:
// its text with "***" for what could be a secret. Of a KeyValue: the JSON form.
// Of a message: one line of what it is and where it lay.
// Implements: OMS-FMT-001 to 003.
template <>
struct fmt::formatter<openmessaging::Code>
    : openmessaging::internal::TextFormatter<openmessaging::Code> {};
template <>
struct fmt::formatter<openmessaging::Capability>
    : openmessaging::internal::TextFormatter<openmessaging::Capability> {};
template <>
struct fmt::formatter<openmessaging::Support>
    : openmessaging::internal::TextFormatter<openmessaging::Support> {};
template <>
struct fmt::formatter<openmessaging::LifecycleState>
    : openmessaging::internal::TextFormatter<openmessaging::LifecycleState> {};
template <>
struct fmt::formatter<openmessaging::MessageId>
    : openmessaging::internal::TextFormatter<openmessaging::MessageId> {};
template <>
struct fmt::formatter<openmessaging::Receipt>
    : openmessaging::internal::TextFormatter<openmessaging::Receipt> {};
template <>
struct fmt::formatter<openmessaging::Attributes>
    : openmessaging::internal::TextFormatter<openmessaging::Attributes> {};
template <>
struct fmt::formatter<openmessaging::Url>
    : openmessaging::internal::TextFormatter<openmessaging::Url> {};
template <>
struct fmt::formatter<openmessaging::KeyValueView>
    : openmessaging::internal::TextFormatter<openmessaging::KeyValueView> {};
template <>
struct fmt::formatter<openmessaging::KeyValue>
    : openmessaging::internal::TextFormatter<openmessaging::KeyValue> {};
template <>
struct fmt::formatter<openmessaging::Message>
    : openmessaging::internal::TextFormatter<openmessaging::Message> {};

#endif  // OPENMESSAGING_FORMAT_H_
