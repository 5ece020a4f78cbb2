// SPDX-License-Identifier: Apache-2.0
//
// RepairTarget writes the log of a repaired store: what was saved stays at its
// position, and where something is missing a segment ends and another begins.

#ifndef OPENMESSAGING_REFERENCE_REPAIR_TARGET_H_
#define OPENMESSAGING_REFERENCE_REPAIR_TARGET_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "env/environment.h"
#include "format.h"

namespace openmessaging::reference {

// Threads: one.
class RepairTarget {
 public:
  // `storage`: empty. `store`: who it is; where it lies is found out.
  RepairTarget(Storage* storage, const Environment* environment,
               const StoreFile& store);

  // Makes directories and STORE. Errors: 1501, 1502.
  absl::Status Begin();

  // Lets the log begin in front of the first record, which is missing there.
  // Before Add. Errors: as Begin.
  absl::Status BeginLog(uint64_t base, const RecordHeader& first);

  // Adds a record at its header's position, which is behind the one before. Its
  // payload is complete: nothing is pending. Errors: as Begin.
  absl::Status Add(RecordHeader header, std::string_view payload);

  // Adds a record behind all others, in a segment of an epoch of its own.
  // Errors: as Begin.
  absl::Status Append(RecordType type, uint32_t queue_partition,
                      uint64_t offset, std::string_view payload);

  // Ends the log. Nothing can be added any more. Errors: as Begin.
  absl::Status End();

  // Where the next record could be.
  uint64_t end() const { return end_; }

 private:
  // Ends the segment that is being filled where the next one begins, and begins
  // that.
  absl::Status StartSegment(uint64_t base, uint64_t sequence, uint32_t epoch);
  absl::Status WriteSegment(uint64_t capacity);

  Storage* const storage_;
  const Environment* const environment_;
  StoreFile store_;
  // The segment that is being filled.
  SegmentHeader header_{};
  std::string bytes_{};
  bool open_ = false;
  uint64_t end_ = 0;
  uint64_t sequence_ = 0;
  uint32_t epoch_ = 0;
  uint32_t chain_ = 0;
  bool appending_ = false;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_REPAIR_TARGET_H_
