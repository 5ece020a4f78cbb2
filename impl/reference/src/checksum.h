// SPDX-License-Identifier: Apache-2.0
//
// CRC32C, the checksum of everything on disk.

#ifndef OPENMESSAGING_REFERENCE_CHECKSUM_H_
#define OPENMESSAGING_REFERENCE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace openmessaging::reference {

// Continues a checksum; start with `seed` 0.
uint32_t Crc32c(uint32_t seed, const void* data, size_t size);

inline uint32_t Crc32c(std::string_view bytes) {
  return Crc32c(0, bytes.data(), bytes.size());
}

// The finalizer of MurmurHash3 (Austin Appleby, public domain): every input bit
// changes about half of the output bits.
inline uint64_t Mix64(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53;
  x ^= x >> 33;
  return x;
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CHECKSUM_H_
