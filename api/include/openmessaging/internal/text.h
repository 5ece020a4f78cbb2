// SPDX-License-Identifier: Apache-2.0
//
// Text helpers over std::string_view. absl::StrCat is not used in headers: in
// some Abseil releases it does not take a std::string_view.

#ifndef OPENMESSAGING_INTERNAL_TEXT_H_
#define OPENMESSAGING_INTERNAL_TEXT_H_

#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline void AppendPart(std::string& out, std::string_view part) {
  out.append(part);
}
inline void AppendPart(std::string& out, char part) { out.push_back(part); }
template <std::integral T>
void AppendPart(std::string& out, T part) {
  if constexpr (std::same_as<T, bool>) {
    out.append(part ? "true" : "false");
  } else {
    std::array<char, 24> digits;
    const auto end =
        std::to_chars(digits.data(), digits.data() + digits.size(), part);
    out.append(digits.data(), end.ptr);
  }
}

// Joins text, characters and integers.
template <typename... Parts>
std::string Concat(const Parts&... parts) {
  std::string out;
  (AppendPart(out, parts), ...);
  return out;
}

// Reads a whole decimal integer. Returns: false for anything else, overflow
// included.
template <std::integral T>
bool ParseInteger(std::string_view text, T& value) {
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return !text.empty() && result.ec == std::errc() && result.ptr == end;
}

inline constexpr std::string_view kHexDigits = "0123456789abcdef";

inline void AppendHex(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    out.push_back(kHexDigits[byte >> 4]);
    out.push_back(kHexDigits[byte & 15]);
  }
}

// Reads lower-case or upper-case pairs of digits. Returns: false otherwise.
inline bool ParseHex(std::string_view text, std::string& bytes) {
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    uint8_t byte = 0;
    const auto result =
        std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (result.ec != std::errc() || result.ptr != text.data() + i + 2) {
      return false;
    }
    bytes.push_back(static_cast<char>(byte));
  }
  return true;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_TEXT_H_
