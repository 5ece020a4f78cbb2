// SPDX-License-Identifier: Apache-2.0

#include "topology.h"

#include <array>
#include <cstdint>

#include "openmessaging/internal/text.h"

namespace openmessaging::rabbitmq {
namespace {

// No name of OpenMessaging has it.
constexpr char kSeparator = '@';

// No name of a group has a second one.
constexpr std::string_view kMembers = "@members";

uint64_t Fnv(std::string_view text, uint64_t hash) {
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash;
}

}  // namespace

std::string Digest(std::string_view text) {
  const uint64_t first = Fnv(text, 0xcbf29ce484222325);
  const std::array<uint64_t, 2> halves = {first, Fnv(text, first * 31 + 7)};
  std::string digits;
  internal::AppendHex(
      digits, {reinterpret_cast<const char*>(halves.data()), sizeof(halves)});
  return digits;
}

std::string MembersQueueName(std::string_view broker_queue) {
  return GroupQueueName(broker_queue, kMembers);
}

std::string GroupQueueName(std::string_view queue, std::string_view group) {
  std::string name = internal::Concat(queue, kSeparator, group);
  if (name.size() <= kMaxShortBytes) return name;
  const std::string digest = Digest(name);
  name.resize(kMaxShortBytes - digest.size() - 1);
  return internal::Concat(std::string_view(name), kSeparator,
                          std::string_view(digest));
}

QueueAndGroup SplitGroupQueueName(std::string_view name) {
  const size_t at = name.find(kSeparator);
  if (at == std::string_view::npos) return {name, {}};
  return {name.substr(0, at), name.substr(at + 1)};
}

}  // namespace openmessaging::rabbitmq
