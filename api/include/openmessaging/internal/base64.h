// SPDX-License-Identifier: Apache-2.0
//
// Base64 of RFC 4648 section 4. Strict: one text for each sequence of bytes.

#ifndef OPENMESSAGING_INTERNAL_BASE64_H_
#define OPENMESSAGING_INTERNAL_BASE64_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline void AppendBase64(std::string& out, std::string_view bytes) {
  const auto digit = [](uint32_t group, int shift) {
    return kBase64Digits[(group >> shift) & 63];
  };
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group <<= 8;
      if (i + k < bytes.size()) group |= static_cast<uint8_t>(bytes[i + k]);
    }
    out.push_back(digit(group, 18));
    out.push_back(digit(group, 12));
    out.push_back(i + 1 < bytes.size() ? digit(group, 6) : '=');
    out.push_back(i + 2 < bytes.size() ? digit(group, 0) : '=');
  }
}

// Returns: the value of each digit; 64 for what is none.
constexpr std::array<uint8_t, 256> MakeBase64Values() {
  std::array<uint8_t, 256> values{};
  values.fill(64);
  for (size_t i = 0; i < kBase64Digits.size(); ++i) {
    values[static_cast<uint8_t>(kBase64Digits[i])] = static_cast<uint8_t>(i);
  }
  return values;
}

// Returns: nothing for a foreign character, missing padding, or bits behind the
// last byte that are not zero.
inline std::optional<std::string> DecodeBase64(std::string_view text) {
  static constexpr std::array<uint8_t, 256> kValues = MakeBase64Values();
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    size_t digits = 4;
    if (i + 4 == text.size()) {
      while (digits > 2 && text[i + digits - 1] == '=') --digits;
    }
    uint32_t group = 0;
    for (size_t k = 0; k < 4; ++k) {
      uint32_t value = 0;
      if (k < digits) value = kValues[static_cast<uint8_t>(text[i + k])];
      if (value > 63) return std::nullopt;
      group = group << 6 | value;
    }
    const size_t count = digits - 1;
    if ((group & ((uint32_t{1} << (8 * (3 - count))) - 1)) != 0) {
      return std::nullopt;
    }
    for (size_t k = 0; k < count; ++k) {
      bytes.push_back(static_cast<char>(group >> (16 - 8 * k) & 0xFF));
    }
  }
  return bytes;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_BASE64_H_
