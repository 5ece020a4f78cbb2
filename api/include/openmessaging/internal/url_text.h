// SPDX-License-Identifier: Apache-2.0
//
// Pieces of URLs: percent coding, host names, and a form of any text that is
// safe to print.

#ifndef OPENMESSAGING_INTERNAL_URL_TEXT_H_
#define OPENMESSAGING_INTERNAL_URL_TEXT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

inline constexpr std::string_view kSchemeSeparator = "://";

constexpr bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsAsciiAlnum(char c) {
  return IsAsciiDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool IsHexDigit(char c) {
  return IsAsciiDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Replaces each %XX by its byte. Returns: nothing when a percent sign is not
// followed by two digits.
inline std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text.front() != '%') {
      out.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    if (text.size() < 3 || !ParseHex(text.substr(1, 2), out)) {
      return std::nullopt;
    }
    text.remove_prefix(3);
  }
  return out;
}

// Appends `text` with every byte as %XX but letters, digits, "-._~" and `keep`.
inline void AppendPercentEncoded(std::string& out, std::string_view text,
                                 std::string_view keep) {
  constexpr std::string_view kUpperHex = "0123456789ABCDEF";
  for (const char c : text) {
    if (IsAsciiAlnum(c) || std::string_view("-._~").find(c) != keep.npos ||
        keep.find(c) != keep.npos) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    out.push_back('%');
    out.push_back(kUpperHex[byte >> 4]);
    out.push_back(kUpperHex[byte & 15]);
  }
}

// Returns: what is wrong with a decoded part, or nullptr.
inline const char* FindTextFlaw(std::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
      return "contains a control character";
    }
  }
  return IsUtf8(text) ? nullptr : "is not UTF-8";
}

inline bool IsIpv4(std::string_view text) {
  for (int part = 0; part < 4; ++part) {
    const size_t dot = text.find('.');
    if ((dot == text.npos) != (part == 3)) return false;
    const std::string_view digits = text.substr(0, dot);
    uint8_t number = 0;
    if (digits.size() > 1 && digits.front() == '0') return false;
    if (!ParseInteger(digits, number)) return false;
    text.remove_prefix(std::min(digits.size() + 1, text.size()));
  }
  return true;
}

// Returns: whether `text` is an address of RFC 4291, no brackets, no zone.
inline bool IsIpv6(std::string_view text) {
  const size_t gap = text.find("::");
  const bool has_gap = gap != text.npos;
  size_t groups = 0;
  // Counts the groups of one side of the gap; an IPv4 tail counts as two.
  const auto count = [&groups](std::string_view side, bool may_end_in_ipv4) {
    while (!side.empty()) {
      const size_t colon = side.find(':');
      const std::string_view group = side.substr(0, colon);
      if (colon == side.npos && may_end_in_ipv4 && IsIpv4(group)) {
        groups += 2;
        return true;
      }
      if (group.empty() || group.size() > 4 ||
          !std::all_of(group.begin(), group.end(), IsHexDigit)) {
        return false;
      }
      ++groups;
      if (colon == side.npos) return true;
      side.remove_prefix(colon + 1);
      if (side.empty()) return false;
    }
    return true;
  };
  if (!has_gap) return count(text, true) && groups == 8;
  return count(text.substr(0, gap), false) &&
         count(text.substr(gap + 2), true) && groups <= 7;
}

// A name that DNS, a hosts file or a container network can hold, or IPv4.
inline bool IsHostName(std::string_view text) {
  return !text.empty() && text.size() <= 255 &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return IsAsciiAlnum(c) || c == '.' || c == '-' || c == '_';
         });
}

// Returns: `text`, which may be any bytes, for one line of an error: escaped,
// at most 200 bytes of it. Whatever could be a password is "***": what lies
// between a colon after "://" and the last "@", and a query with a word in it
// that names secrets. It may hide more than needed.
inline std::string PrintableUrl(std::string_view text) {
  std::string shown(text);
  std::string folded = shown;
  const auto fold = [](std::string& out) {
    std::transform(out.begin(), out.end(), out.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
  };
  fold(folded);
  // Only a "://" behind a driver ends what cannot be secret.
  const size_t driver_end = folded.starts_with("oms:")
                                ? std::min(folded.find(':', 4), folded.size())
                                : folded.size();
  const bool has_driver =
      driver_end < folded.size() &&
      std::all_of(folded.begin() + 4,
                  folded.begin() + static_cast<ptrdiff_t>(driver_end),
                  [](char c) { return IsAsciiAlnum(c) || c == '-'; });
  const size_t start =
      has_driver && folded.compare(driver_end, kSchemeSeparator.size(),
                                   kSchemeSeparator) == 0
          ? driver_end + kSchemeSeparator.size()
          : 0;
  const size_t colon = folded.find_first_of(":%", start);
  const auto last = [&folded](std::string_view what) {
    const size_t at = folded.rfind(what);
    return at == folded.npos ? 0 : at;
  };
  // A percent sign may stand for a colon; which one does not matter here.
  const size_t end = std::max(last("@"), last("%40"));
  if (colon < end) shown.replace(colon + 1, end - colon - 1, "***");

  const size_t query = std::min(shown.find_first_of("?&;#"), shown.size());
  const std::string_view rest = std::string_view(shown).substr(query);
  // What cannot be decoded cannot be searched: hidden, like a secret.
  std::string words = PercentDecode(rest).value_or("secret");
  fold(words);
  for (const char* const word : {"pass", "secret", "token", "key"}) {
    if (words.find(word) == words.npos) continue;
    shown.replace(query, shown.size() - query, "?***");
    break;
  }
  return Printable(shown);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_URL_TEXT_H_
