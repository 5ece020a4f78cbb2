// SPDX-License-Identifier: Apache-2.0

#include "position.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <optional>

#include "CLI/CLI.hpp"
#include "openmessaging/attributes.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging::tools {
namespace {

using std::chrono::milliseconds;

// Reads "2026-11-24T21:58:00Z". Returns: nothing for any other form.
std::optional<milliseconds> ParseDate(const std::string& text) {
  std::tm date{};
  const char* const end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &date);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::chrono::seconds(timegm(&date));
}

// Reads "10m" as ten minutes ago.
std::optional<milliseconds> ParseAgo(const std::string& text) {
  Attributes attributes;
  if (!attributes.Set("ago", text).ok()) return std::nullopt;
  const auto ago = attributes.GetDuration("ago");
  if (!ago.ok()) return std::nullopt;
  const auto now = std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return std::max(now - *ago, milliseconds(0));
}

}  // namespace

StreamPosition ParsePosition(const std::string& option,
                             const std::string& text) {
  if (text == "earliest") return StreamPosition::Earliest();
  if (text == "latest") return StreamPosition::Latest();
  int64_t offset = 0;
  if (internal::ParseInteger(text, offset) && offset >= 0) {
    return StreamPosition::Offset(offset);
  }
  if (const auto time = ParseAgo(text)) return StreamPosition::Time(*time);
  if (const auto time = ParseDate(text)) return StreamPosition::Time(*time);
  throw CLI::ValidationError(
      option,
      internal::Concat("value is \"", internal::Printable(text),
                       "\"; expected earliest, latest, an offset, a time such "
                       "as 2026-11-24T21:58:00Z, or how long ago, such as "
                       "10m"));
}

}  // namespace openmessaging::tools
