// SPDX-License-Identifier: Apache-2.0
//
// The text forms of W3C Trace Context (level 1, sections 3.2 and 3.3).

#ifndef OPENMESSAGING_INTERNAL_TRACE_TEXT_H_
#define OPENMESSAGING_INTERNAL_TRACE_TEXT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Returns: 0 to 15; -1 for what is not a digit. Capitals are none: the standard
// knows lower case only.
inline int LowerHexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

// Reads as many digits as fill `bytes`. Returns: false where one is none.
template <size_t kSize>
bool ReadLowerHex(std::string_view digits, std::array<uint8_t, kSize>& bytes) {
  if (digits.size() != 2 * kSize) return false;
  for (size_t i = 0; i < kSize; ++i) {
    const int high = LowerHexDigit(digits[2 * i]);
    const int low = LowerHexDigit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

template <size_t kSize>
void AppendLowerHex(std::string& text,
                    const std::array<uint8_t, kSize>& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const uint8_t byte : bytes) {
    text += kDigits[byte / 16];
    text += kDigits[byte % 16];
  }
}

// Returns: whether the dashes are in their places and the version may be read:
// 00 has this length; a later one may go on behind a dash; ff is none.
inline bool IsTraceparent(std::string_view text) {
  constexpr size_t kSize = 55;
  std::array<uint8_t, 1> version{};
  if (text.size() < kSize || text[2] != '-' || text[35] != '-' ||
      text[52] != '-' || !ReadLowerHex(text.substr(0, 2), version) ||
      version[0] == 0xff) {
    return false;
  }
  if (text.size() == kSize) return true;
  return version[0] != 0 && text[kSize] == '-';
}

// One `key=value` of a state.
inline bool IsStateMember(std::string_view member) {
  const size_t equals = member.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view key = member.substr(0, equals);
  const std::string_view value = member.substr(equals + 1);
  constexpr size_t kMostBytes = 256;
  const auto is_key_byte = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '*' || c == '/' || c == '@';
  };
  const auto is_value_byte = [](char c) {
    return c >= 0x20 && c <= 0x7e && c != ',' && c != '=';
  };
  return !key.empty() && key.size() <= kMostBytes && key[0] != '_' &&
         key[0] != '-' && key[0] != '*' && key[0] != '/' && key[0] != '@' &&
         std::all_of(key.begin(), key.end(), is_key_byte) && !value.empty() &&
         value.size() <= kMostBytes && value.back() != ' ' &&
         std::all_of(value.begin(), value.end(), is_value_byte);
}

// Returns: whether it is a list of at most 32 members with commas between,
// where blanks around a member and empty members are allowed, and short enough
// to leave room for other header fields (the standard asks for 512 bytes).
inline bool IsTracestate(std::string_view text) {
  constexpr size_t kMostMembers = 32;
  constexpr size_t kMostBytes = 4096;
  if (text.size() > kMostBytes) return false;
  size_t members = 0;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view member = text.substr(0, comma);
    const size_t first = member.find_first_not_of(" \t");
    if (first != std::string_view::npos) {
      const size_t last = member.find_last_not_of(" \t");
      member = member.substr(first, last - first + 1);
      if (++members > kMostMembers || !IsStateMember(member)) return false;
    }
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_TRACE_TEXT_H_
