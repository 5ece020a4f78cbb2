// SPDX-License-Identifier: Apache-2.0
//
// UTF-8: a strict check, and a printable form of any bytes for error texts.

#ifndef OPENMESSAGING_INTERNAL_UTF8_H_
#define OPENMESSAGING_INTERNAL_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "openmessaging/internal/text.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Reads the length of the well-formed sequence that `text` starts with.
// Returns: 1 to 4; 0 for anything that Unicode calls ill-formed: overlong
// forms, surrogates, above U+10FFFF, cut off, or nothing at all.
inline size_t Utf8SequenceLength(std::string_view text) {
  const auto at = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto is_tail = [&](size_t i) { return (at(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return text.size() >= 2 && is_tail(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (text.size() < 3 || !is_tail(1) || !is_tail(2)) return 0;
    if (lead == 0xE0 && at(1) < 0xA0) return 0;   // Overlong.
    if (lead == 0xED && at(1) >= 0xA0) return 0;  // Surrogate.
    return 3;
  }
  if (lead > 0xF4 || text.size() < 4) return 0;
  if (!is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
  if (lead == 0xF0 && at(1) < 0x90) return 0;   // Overlong.
  if (lead == 0xF4 && at(1) >= 0x90) return 0;  // Above U+10FFFF.
  return 4;
}

// Returns: true when all of `text` is well-formed UTF-8. U+0000 is allowed.
inline bool IsUtf8(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080u;
  while (!text.empty()) {
    while (text.size() >= sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, text.data(), sizeof(word));
      if ((word & kHighBits) != 0) break;
      text.remove_prefix(sizeof(word));
    }
    if (text.empty()) return true;
    const size_t length = Utf8SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// Returns: `text` for one line of an error: whatever is not printable ASCII,
// the quote and the backslash become \xNN; after `max_bytes` of input comes
// "...".
inline std::string Printable(std::string_view text, size_t max_bytes = 200) {
  std::string out;
  const bool cut = text.size() > max_bytes;
  for (const char c : text.substr(0, max_bytes)) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
      out.push_back(c);
    } else {
      out.append("\\x");
      AppendHex(out, std::string_view(&c, 1));
    }
  }
  if (cut) out.append("...");
  return out;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_UTF8_H_
