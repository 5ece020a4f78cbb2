// SPDX-License-Identifier: Apache-2.0

#include "format.h"

#include <charconv>

namespace openmessaging::reference {
namespace {

template <typename T>
void AppendFixedHex(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 4; shift >= 0;
       shift -= 4) {
    out.push_back("0123456789abcdef"[(value >> shift) & 15]);
  }
}

template <typename T>
bool ReadFixedHex(std::string_view text, T& value) {
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value, 16);
  return text.size() == sizeof(T) * 2 && result.ec == std::errc() &&
         result.ptr == end;
}

}  // namespace

std::string SegmentName(uint64_t base, uint32_t epoch) {
  std::string name = "log/";
  AppendFixedHex(name, base);
  name.push_back('-');
  AppendFixedHex(name, epoch);
  name += ".seg";
  return name;
}

bool ParseSegmentName(std::string_view name, uint64_t& base, uint32_t& epoch) {
  return name.size() == 29 && name[16] == '-' && name.substr(25) == ".seg" &&
         ReadFixedHex(name.substr(0, 16), base) &&
         ReadFixedHex(name.substr(17, 8), epoch);
}

std::string BodyName(const LargeBody& body) {
  std::string name = "big/";
  AppendFixedHex(name, body.epoch);
  name.push_back('-');
  AppendFixedHex(name, body.owner);
  name.push_back('-');
  AppendFixedHex(name, body.number);
  name.push_back('-');
  AppendFixedHex(name, body.bytes);
  name += ".body";
  return name;
}

std::optional<LargeBody> ParseBodyName(std::string_view name) {
  LargeBody body;
  if (name.size() != 56 || name[8] != '-' || name[17] != '-' ||
      name[34] != '-' || name.substr(51) != ".body" ||
      !ReadFixedHex(name.substr(0, 8), body.epoch) ||
      !ReadFixedHex(name.substr(9, 8), body.owner) ||
      !ReadFixedHex(name.substr(18, 16), body.number) ||
      !ReadFixedHex(name.substr(35, 16), body.bytes)) {
    return std::nullopt;
  }
  return body;
}

}  // namespace openmessaging::reference
