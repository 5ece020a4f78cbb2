// SPDX-License-Identifier: Apache-2.0
//
// What may happen to the files of a store while nobody looks. Each damage can
// be written down and read again, so that one case can be repeated.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_DAMAGE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_DAMAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "damage/image.h"
#include "damage/sample_store.h"
#include "format.h"

namespace openmessaging::reference::damage {

enum class Kind {
  kFlip,         // Bit `value` of byte `at`.
  kCut,          // The file ends at `at`.
  kZeros,        // The page at `at` is zero,
  kOnes,         // 0xFF,
  kNoise,        // random bytes of seed `value`,
  kStale,        // or what it was in earlier[value].
  kSwapPages,    // The page at `at` and the one at `value`, of `other`.
  kSwapRecords,  // The records at `at` and `value`, of one file.
  kSwapFiles,    // `file` and `other`.
  kDuplicate,    // `other` becomes what `file` is.
  kForeign,      // `file` becomes `other` of another store.
  kDelete,       // `file` is gone.
  kLength,       // Of the record at `at`, its checksum right.
  kFields,       // As above, what its fields take.
  kVersion,      // The header of `file` is of format `value`, and whole.
};

struct Damage {
  Kind kind = Kind::kFlip;
  std::string file{};
  std::string other{};
  uint64_t at = 0;
  uint64_t value = 0;

  // In words without blanks inside: "flip log/... 120 3 -".
  std::string ToText() const;
  static std::optional<Damage> Parse(std::string_view text);
};

// Bytes of a file: first inclusive, end exclusive.
struct Range {
  std::string file{};
  uint64_t first = 0;
  uint64_t end = 0;

  bool Meets(const Range& other) const {
    return file == other.file && first < other.end && other.first < end;
  }
};

struct Damaged {
  Image image{};
  // What it hit. Empty: it changed nothing.
  std::vector<Range> hit{};
};

Damaged Apply(const Damage& damage, const SampleStore& sample,
              const Image& image);

// A record of an image that is whole.
struct Record {
  std::string file{};
  uint64_t at = 0;
  RecordHeader header{};
  uint64_t salt = 0;

  uint64_t bytes() const { return PaddedBytes(header); }
  RecordType type() const { return CommitWord::Type(header.commit); }
};

// Walks the files by itself, so that the engine is not judged by itself.
std::vector<Record> RecordsOf(const Image& image);

// Returns: the names of the segments, in order.
std::vector<std::string> SegmentsOf(const Image& image);

}  // namespace openmessaging::reference::damage
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_DAMAGE_H_
