// SPDX-License-Identifier: Apache-2.0
//
// DelayTable knows the messages that wait until they are due. It is derived from
// the log, and lies in ctl. docs/design/delay.md.

#ifndef OPENMESSAGING_REFERENCE_DELAY_TABLE_H_
#define OPENMESSAGING_REFERENCE_DELAY_TABLE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "block_table.h"
#include "checksum.h"
#include "control.h"
#include "control_file.h"
#include "env/environment.h"
#include "env/shared.h"
#include "format.h"

namespace openmessaging::reference {

// At most so many wait at a time (1502).
inline constexpr uint32_t kMaxDelayed = 1u << 20;

// The longest delay. Retirement copies what waits, so nothing else bounds it.
inline constexpr int64_t kMaxDelayMs = int64_t{366} * 24 * 3600 * 1000;

// One message that waits.
struct Delayed {
  HeldId id{};
  uint32_t queue_partition = 0;
  uint32_t bytes = 0;     // Of its record, with padding.
  uint64_t position = 0;  // Of its newest record.
  int64_t due_ns = 0;     // By the boot clock.
  int64_t due_ms = 0;     // By the wall clock.
};

// Returns: what a DELAYED record says.
Delayed DelayedOf(const RecordHeader& header, const char* record);

// Returns: the boot time at which a message is due: what was written in this
// boot, else by the wall clock.
int64_t DueNsOf(const HeldHead& head, const Clock& clock);

// One page of ctl.
struct DelayBlock {
  static constexpr uint32_t kEntries = 84;
  static constexpr uint32_t kBuckets = 1u << 14;
  static constexpr std::string_view kWhat = "delayed messages";

  Shared<uint64_t> next;
  Shared<int64_t> earliest_ns;
  std::array<uint64_t, 6> reserved;
  std::array<Shared<uint64_t>, kEntries> sequence;
  std::array<Shared<uint64_t>, kEntries> position;
  std::array<Shared<int64_t>, kEntries> due_ns;
  std::array<Shared<int64_t>, kEntries> due_ms;
  std::array<Shared<uint32_t>, kEntries> epoch;
  std::array<Shared<uint32_t>, kEntries> queue_partition;
  std::array<Shared<uint32_t>, kEntries> bytes;
  std::array<Shared<uint32_t>, kEntries> link;

  uint64_t BucketOf(uint32_t n) const { return Mix64(sequence[n].Load()); }
  int64_t TimeOf(uint32_t n) const { return due_ns[n].Load(); }
};

// Invariants: those of BlockTable, and
//   (3) next_due_ns is not later than any entry's due time, but for what
//       somebody has claimed and for how long (Delays).
//
// Threads: a value. Everything under the append lock, or alone, but what is said
// to need none.
class DelayTable : public BlockTable<DelayBlock> {
 public:
  explicit DelayTable(const Control* control)
      : BlockTable(control, &control->header().delay) {}

  std::optional<Delayed> Find(const HeldId& id) const;

  // Takes one in, or says where its newest record is. There is room.
  void Put(const Delayed& delayed);
  // Forgets one that may be there.
  void Remove(const HeldId& id);
  // Finishes what a dead process was changing.
  void Mend();

  // Alone: makes room where it is needed, and takes one in. Errors: 1502.
  absl::Status Restore(Control& control, const Delayed& delayed);

  // Makes room for another block's worth, outside of the append lock, under the
  // catalog's or alone. Returns: where the block lies. Errors: 1502.
  absl::StatusOr<uint64_t> Allocate(Control& control) const;

  // Without a lock: those that are due by then, and that lie below a position.
  std::vector<Delayed> All(int64_t due_ns, uint64_t below) const;

  // As checkpoints have it.
  std::string Image() const;

 private:
  Place FindPlace(const HeldId& id) const;
  static Delayed Read(const Place& place);
  // Says that nothing is later than this.
  void LowerNextDue(int64_t due_ns) const;
};

// Puts an image back into a table that nobody uses yet. Errors: 1502; 1609 the
// image makes no sense.
absl::Status RestoreDelays(Control& control, const Clock& clock,
                           std::string_view image);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DELAY_TABLE_H_
