// SPDX-License-Identifier: Apache-2.0
//
// A checkpoint is what a clean close leaves, so that the next open need not read
// the log. Two files alternate; both are derived.

#ifndef OPENMESSAGING_REFERENCE_CHECKPOINT_H_
#define OPENMESSAGING_REFERENCE_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "catalog.h"
#include "control_file.h"
#include "env/environment.h"
#include "segment_map.h"

namespace openmessaging::reference {

// A checkpoint as it was read.
struct Checkpoint {
  uint64_t generation = 0;
  uint64_t end = 0;  // Everything below is on disk: a witness.
  uint64_t sequence = 0;
  uint64_t chain = 0;
  uint32_t epoch = 0;
  uint32_t next_queue = 1;
  uint32_t next_group = 1;
  uint32_t index_bump = 1;
  uint32_t index_free = 0;
  uint32_t index_checksum = 0;
  uint32_t current = 0;  // Which of `segments` the end lies in.
  uint64_t large_bytes = 0;  // What that one names in large bodies.

  struct SegmentPart {
    uint64_t base = 0;
    uint64_t capacity = 0;
    uint64_t salt = 0;
    uint32_t epoch = 0;
    uint32_t used = 0;  // As the segment's entry in ctl says.
  };
  std::vector<SegmentPart> segments{};
  // The catalog's part, read by RestoreCheckpoint.
  std::string catalog{};
  // What waits, read by RestoreDelays.
  std::string delays{};
  // Which deduplication ids count, read by RestoreDeduplications.
  std::string deduplications{};
  // What is prepared and what was decided, read by RestorePrepared.
  std::string prepared{};
};

// Reads the newer valid one of the two. Returns: nothing where none is.
std::optional<Checkpoint> ReadCheckpoint(Storage& storage,
                                         const StoreUuid& uuid);

// Writes ctl's state over the older of the two. Everything it names is durable
// already.
absl::Status WriteCheckpoint(Storage& storage, const Clock& clock,
                             const Control& control,
                             SegmentMap& segments, const Catalog& catalog);

// Whether idx is the one that the checkpoint was written beside.
bool IndexMatches(const GrowingFile& idx, const Checkpoint& checkpoint);

// Fills a fresh ctl with the checkpoint's state, segments excluded.
absl::Status RestoreCheckpoint(Control& control, Catalog& catalog,
                               const Checkpoint& checkpoint);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CHECKPOINT_H_
