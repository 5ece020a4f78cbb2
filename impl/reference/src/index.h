// SPDX-License-Identifier: Apache-2.0
//
// The index finds a message's record by queue, partition and offset. It is
// derived from the log.

#ifndef OPENMESSAGING_REFERENCE_INDEX_H_
#define OPENMESSAGING_REFERENCE_INDEX_H_

#include <cstdint>
#include <optional>

#include "control.h"
#include "control_file.h"
#include "format.h"

namespace openmessaging::reference {

inline constexpr uint16_t kIndexDisk = 1;  // Not handed out before durable.
inline constexpr uint16_t kIndexExpires = 2;  // The record says when.
// Of one that expires: it is in the dead-letter queue already. Set while others
// read the entry, so its check does not cover it.
inline constexpr uint16_t kIndexBuried = 4;

inline constexpr uint16_t kIndexOnce = 8;  // Settled when it is handed out.

// The entry is being pointed elsewhere: its position is still good, and its check
// may be that of the new one.
inline constexpr uint16_t kIndexMoving = 16;
// Its record is a MOVED one: behind those of later offsets.
inline constexpr uint16_t kIndexMoved = 32;

inline constexpr uint64_t kBuriedBit = uint64_t{kIndexBuried} << 48;
inline constexpr uint64_t kMovingBit = uint64_t{kIndexMoving} << 48;

// Returns: what the index says of a record with such flags.
inline uint16_t IndexFlagsOf(uint8_t record_flags) {
  return static_cast<uint16_t>(
      ((record_flags & kDisk) != 0 ? kIndexDisk : 0) |
      ((record_flags & kExpires) != 0 ? kIndexExpires : 0) |
      ((record_flags & kOnce) != 0 ? kIndexOnce : 0));
}

// Returns: what binds an entry to where it stands and what it says.
uint32_t IndexCheckOf(uint32_t queue_partition, uint64_t offset,
                      uint64_t place);

// What the index knows of one message without touching its record.
struct IndexHit {
  uint64_t position = 0;
  uint16_t flags = 0;
  uint32_t key_hash = 0;  // 0: it has no key.
};

// Writes entries. Each is idempotent, so that the heir of a dead appender can
// repeat them.
//
// Threads: under the append lock.
class IndexWriter {
 public:
  explicit IndexWriter(const Control* control) : control_(control) {}

  // Returns: how many more extents can be taken without growing idx.
  uint64_t Spare() const;

  // Records that `offset` of a partition lies at `position`. The offset is the
  // partition's next one, or one that is there already.
  // Returns: false where no extent is left.
  bool Put(PartitionState& partition, uint32_t queue_partition,
           uint64_t offset, uint64_t position, uint16_t flags,
           uint32_t key_hash);

  // As Put, of a MOVED record. Readers find the old place or the new one.
  bool Move(PartitionState& partition, uint32_t queue_partition,
            uint64_t offset, uint64_t position, uint16_t flags,
            uint32_t key_hash);

  // Marks a message as buried. Nothing happens where it is retired.
  void Bury(PartitionState& partition, uint32_t queue_partition,
            uint64_t offset);

  // Gives back the extents of which every entry is below `offset`.
  void FreeBelow(PartitionState& partition, uint64_t offset);

  // Clears entries below `offset` whose records lie below `position`, and gives
  // back the extents of which none is left. Looks at some extents only, behind
  // the one that `at` says; 0 = from the first. Returns: false once all are done.
  bool FreeRetired(PartitionState& partition, uint64_t offset,
                   uint64_t position, uint32_t& at);

 private:
  uint32_t Take();
  // Makes an extent for `offset`, linked to nothing yet. Returns: 0 where none
  // is left.
  uint32_t Make(uint32_t queue_partition, uint64_t offset);
  void Free(PartitionState& partition, uint32_t number);
  // Returns: the extent before the last one that has `offset`, made where there
  // is none; 0 where none is left.
  uint32_t Earlier(PartitionState& partition, uint32_t queue_partition,
                   uint64_t offset);
  uint32_t ExtentFor(PartitionState& partition, uint32_t queue_partition,
                     uint64_t offset);

  const Control* const control_;
};

// Reads entries of one partition; remembers where it was, so that reading on is
// one load. Extents ascend along their chain and do not overlap, but where they
// were retired they need not follow one another.
//
// Threads: one at a time.
class IndexReader {
 public:
  IndexReader(const Control* control, PartitionState* partition,
              uint32_t queue_partition)
      : control_(control),
        partition_(partition),
        queue_partition_(queue_partition) {}

  // Returns: nothing where no entry is, or one that does not belong there.
  std::optional<IndexHit> Find(uint64_t offset);

  // Returns: the first offset of [offset, end) that Find finds; `end` for none.
  uint64_t Next(uint64_t offset, uint64_t end);

  // Whether nothing is at `offset` because it was retired.
  bool IsRetired(uint64_t offset) {
    return offset < partition_->whole_from.Load() && !Find(offset);
  }

  // Returns: the word that changes when the message that Find has just found is
  // buried; nullptr where it is retired meanwhile.
  Shared<uint64_t>* Place(uint64_t offset);

 private:
  bool Fits(uint32_t extent, uint64_t offset) const;
  // Returns: the extent that has `offset`, looked for from `extent` on; 0 for
  // none.
  uint32_t Walk(uint32_t extent, uint64_t offset);
  // Reads an entry whose check is not that of its place. Returns: nothing if it
  // is wrong; otherwise what it says, `check` included.
  std::optional<uint64_t> ReadAgain(const IndexEntry& entry, uint64_t offset,
                                    uint64_t& check) const;

  const Control* const control_;
  PartitionState* const partition_;
  const uint32_t queue_partition_;
  // Where no extent had what Find was asked for: where the next one begins.
  uint64_t beyond_ = 0;
  uint32_t extent_ = 0;
  uint64_t first_offset_ = 0;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_INDEX_H_
