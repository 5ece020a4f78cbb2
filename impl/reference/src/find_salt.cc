// SPDX-License-Identifier: Apache-2.0
//
// The salt of a segment whose header is gone, from the checksums of its
// records.

#include <array>
#include <cstring>
#include <map>

#include "salvage.h"

namespace openmessaging::reference {
namespace {

// A checksum is a sum, without carries, of what its seed adds and what its
// bytes add. So from the bytes and the checksum follows the seed.
class SeedFinder {
 public:
  SeedFinder() {
    const RecordHeader zero;
    none_ = SealOf(zero, 0);
    // Rows of the equation: what each bit of the seed adds, and the bit itself.
    for (int bit = 0; bit < 32; ++bit) {
      uint32_t sum = SealOf(zero, uint64_t{1} << bit) ^ none_;
      uint32_t seed = uint32_t{1} << bit;
      for (int high = 31; high >= 0; --high) {
        if ((sum >> high & 1) == 0) continue;
        if (rows_[static_cast<size_t>(high)].sum == 0) {
          rows_[static_cast<size_t>(high)] = {sum, seed};
          break;
        }
        sum ^= rows_[static_cast<size_t>(high)].sum;
        seed ^= rows_[static_cast<size_t>(high)].seed;
      }
    }
  }

  uint32_t Find(const RecordHeader& header) const {
    uint32_t sum = SealOf(header, 0) ^ header.header_checksum;
    uint32_t seed = 0;
    for (size_t high = 32; high-- > 0;) {
      if ((sum >> high & 1) == 0) continue;
      sum ^= rows_[high].sum;
      seed ^= rows_[high].seed;
    }
    return seed;
  }

 private:
  struct Row {
    uint32_t sum = 0;
    uint32_t seed = 0;
  };
  uint32_t none_ = 0;
  std::array<Row, 32> rows_{};
};

}  // namespace

std::optional<uint64_t> FindSalt(const char* begin, const char* end,
                                 uint64_t base) {
  static const SeedFinder finder;
  struct Votes {
    uint32_t headers = 0;
    uint32_t payloads = 0;
  };
  std::map<uint32_t, Votes> votes;
  const auto size = static_cast<uint64_t>(end - begin);
  for (uint64_t at = 0; at + sizeof(RecordHeader) <= size;
       at += kRecordAlignment) {
    RecordHeader header;
    std::memcpy(&header, begin + at, sizeof(header));
    const uint64_t length = CommitWord::Length(header.commit);
    if (header.commit == 0 || header.position != base + at ||
        length < sizeof(header) || length > size - at ||
        header.fields_bytes > length - sizeof(header)) {
      continue;
    }
    Votes& of = votes[finder.Find(header)];
    ++of.headers;
    if (length > sizeof(header) &&
        Crc32c(0, begin + at + sizeof(header), length - sizeof(header)) ==
            header.payload_checksum) {
      ++of.payloads;
    }
  }
  std::optional<uint64_t> best;
  uint32_t most = 0;
  for (const auto& [seed, of] : votes) {
    // One header alone fits any seed; its payload speaks for it.
    if (of.headers < 2 && of.payloads == 0) continue;
    if (of.headers + of.payloads <= most) continue;
    most = of.headers + of.payloads;
    best = seed;
  }
  return best;
}

}  // namespace openmessaging::reference
