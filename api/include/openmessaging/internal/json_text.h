// SPDX-License-Identifier: Apache-2.0
//
// JSON text, written: an object on one line, member after member, in the order
// of the calls.

#ifndef OPENMESSAGING_INTERNAL_JSON_TEXT_H_
#define OPENMESSAGING_INTERNAL_JSON_TEXT_H_

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "openmessaging/internal/base64.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline void AppendJsonEscape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      AppendHex(out, std::string_view(&c, 1));
  }
}

// Writes `text` in quotes; a byte that is not UTF-8 becomes U+FFFD.
inline void AppendJsonString(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    const auto first = static_cast<uint8_t>(text.front());
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    if (first < 0x20 || first == '"' || first == '\\') {
      AppendJsonEscape(out, text.front());
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out.push_back('"');
}

// Writes the shortest number that reads back as the same one, with a fraction
// or an exponent, so that it is never taken for an integer. What JSON has no
// number for becomes "NaN", "Infinity" or "-Infinity".
template <std::floating_point T>
void AppendJsonReal(std::string& out, T number) {
  if (std::isnan(number)) {
    out += "\"NaN\"";
    return;
  }
  if (std::isinf(number)) {
    out += number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return;
  }
  std::array<char, 40> digits;
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), number);
  const std::string_view text(digits.data(),
                              static_cast<size_t>(end.ptr - digits.data()));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

// Writes one object. Members come in the order of the calls.
class JsonObjectWriter {
 public:
  explicit JsonObjectWriter(std::string& out) : out_(out) {
    out_.push_back('{');
  }
  JsonObjectWriter(const JsonObjectWriter&) = delete;
  JsonObjectWriter& operator=(const JsonObjectWriter&) = delete;
  ~JsonObjectWriter() { out_.push_back('}'); }

  // Writes a key; the caller appends its value to the returned text.
  std::string& Key(std::string_view name, std::string_view suffix = {}) {
    if (!first_) out_.push_back(',');
    first_ = false;
    if (suffix.empty()) {
      AppendJsonString(out_, name);
    } else {
      AppendJsonString(out_, Concat(name, suffix));
    }
    out_.push_back(':');
    return out_;
  }

  void Integer(std::string_view name, int64_t value) {
    AppendPart(Key(name), value);
  }

  // Writes text under `name`; what is not UTF-8 as base64 under `name`_base64.
  void Text(std::string_view name, std::string_view text) {
    if (IsUtf8(text)) {
      AppendJsonString(Key(name), text);
      return;
    }
    std::string& out = Key(name, "_base64");
    out.push_back('"');
    AppendBase64(out, text);
    out.push_back('"');
  }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_JSON_TEXT_H_
