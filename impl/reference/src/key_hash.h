// SPDX-License-Identifier: Apache-2.0
//
// The hash that sends a key to its partition. It is part of the format: every
// process, version and language must agree.

#ifndef OPENMESSAGING_REFERENCE_KEY_HASH_H_
#define OPENMESSAGING_REFERENCE_KEY_HASH_H_

#include <cstdint>
#include <string_view>

#include "checksum.h"

namespace openmessaging::reference {

// FNV-1a (64 bits), mixed and folded. 0 for the empty key.
inline uint32_t KeyHash(std::string_view key) {
  if (key.empty()) return 0;
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : key) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return static_cast<uint32_t>(Mix64(hash));
}

// Spreads the hash over `partitions`.
inline uint32_t PartitionOfKey(uint32_t key_hash, uint32_t partitions) {
  return static_cast<uint32_t>((uint64_t{key_hash} * partitions) >> 32);
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_KEY_HASH_H_
