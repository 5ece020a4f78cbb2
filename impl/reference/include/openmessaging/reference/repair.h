// SPDX-License-Identifier: Apache-2.0
//
// RepairStore saves what can be read of a damaged file store into a new one.
// docs/design/repair.md says how.

#ifndef OPENMESSAGING_REFERENCE_REPAIR_H_
#define OPENMESSAGING_REFERENCE_REPAIR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace openmessaging::reference {

// One thing that could not be saved, or is worth saying.
struct RepairFinding {
  // Relative to the source's directory; `position` is in the log.
  std::string file{};
  uint64_t position = 0;
  std::string what{};
  // False: a note; nothing that was acknowledged is missing for it.
  bool loss = false;
  // Of messages, which are lost: the queue, empty where it is not known, and
  // the offsets of a partition, first inclusive, end exclusive.
  std::string queue{};
  uint32_t partition = 0;
  uint64_t first_offset = 0;
  uint64_t end_offset = 0;
};

struct RepairReport {
  std::vector<RepairFinding> findings{};
  uint64_t segments = 0;  // Of the source, that were of use.
  uint64_t records = 0;   // Saved, messages among them.
  uint64_t messages = 0;
  uint64_t lost_messages = 0;  // As far as their offsets tell.
  uint64_t bodies = 0;         // Large ones, saved.

  bool has_losses() const;
  // Returns: a line for each finding, then one with the counts.
  std::string ToText() const;
};

// Reads a store that nobody has open, changes nothing of it, and writes what is
// whole into `target`, a directory that is missing or empty. Messages keep
// their queues, partitions, offsets, ids and times, groups their positions. The
// target has been checked when this returns.
//
// Needs the segments in log/, and big/ where bodies are large. All else helps:
// STORE for the options, the checkpoint to know what is missing.
// Errors: 1404 no such directory; 1418 `target` is not empty; 1602 somebody has
// the source open; 1609 there is no record that could be saved; 10003 another
// format; 1403, 1501, 1502. What was written by then stays.
absl::StatusOr<RepairReport> RepairStore(const std::string& source,
                                         const std::string& target);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_REPAIR_H_
