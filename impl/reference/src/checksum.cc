// SPDX-License-Identifier: Apache-2.0

#include "checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace openmessaging::reference {

uint32_t Crc32c(uint32_t seed, const void* data, size_t size) {
  // ISA-L takes an int length and a pointer that it only reads.
  constexpr size_t kStep = size_t{1} << 30;
  auto* at = static_cast<unsigned char*>(const_cast<void*>(data));
  uint32_t crc = ~seed;
  while (size > 0) {
    const size_t count = std::min(size, kStep);
    crc = crc32_iscsi(at, static_cast<int>(count), crc);
    at += count;
    size -= count;
  }
  return ~crc;
}

}  // namespace openmessaging::reference
