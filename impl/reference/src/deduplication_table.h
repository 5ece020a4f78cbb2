// SPDX-License-Identifier: Apache-2.0
//
// DeduplicationTable knows which deduplication ids were stored within the window
// of their queue, and where. It is derived from the log, and lies in ctl.
// docs/design/deduplication.md.

#ifndef OPENMESSAGING_REFERENCE_DEDUPLICATION_TABLE_H_
#define OPENMESSAGING_REFERENCE_DEDUPLICATION_TABLE_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "block_table.h"
#include "control.h"
#include "control_file.h"
#include "env/environment.h"
#include "env/shared.h"
#include "format.h"
#include "sip_hash.h"

namespace openmessaging::reference {

// At most so many are remembered at a time (1502).
inline constexpr uint32_t kMaxDeduplicated = 1u << 20;

// The longest window.
inline constexpr int64_t kMaxDeduplicationMs = int64_t{7} * 24 * 3600 * 1000;

// A record's store time comes from a clock that counts in steps. So much longer
// a window lasts, lest it end early where it is computed from that.
inline constexpr int64_t kClockStepMs = 10;

// What is remembered of one id.
struct Deduplicated {
  Hash128 key{};  // Of queue and id.
  // Of the message that came first.
  uint64_t sequence = 0;
  uint64_t offset = 0;
  uint32_t epoch = 0;
  uint32_t queue_partition = 0;
  // The newest record that says so.
  uint64_t position = 0;
  uint32_t bytes = 0;  // With padding.
  // When the window ends, by the boot clock and by the wall clock.
  int64_t end_ns = 0;
  int64_t end_ms = 0;
};

// What a sender asks of the log: whether the id is there by now, and what to
// remember if it is not. The log fills in where the message went.
struct Deduplication {
  Deduplicated fact{};
  int64_t now_ns = 0;
};

// One entry of a DEDUPLICATION record's body.
struct DeduplicatedImage {
  Hash128 key{};
  uint64_t sequence = 0;
  uint64_t offset = 0;
  int64_t end_ns = 0;
  int64_t end_ms = 0;
  uint64_t boot_hash = 0;
  uint32_t epoch = 0;
  uint32_t queue_partition = 0;
};
static_assert(sizeof(DeduplicatedImage) == 64);

// Returns: what names an id of a queue in one store.
Hash128 DeduplicationKey(const StoreUuid& store, uint32_t queue,
                         std::string_view id);

// Returns: what a message says of its id, in a queue with this window. Where
// the boot clock stood when it came is not known any more.
Deduplicated DeduplicatedOf(const RecordHeader& header, const char* record,
                            const StoreUuid& store, int64_t window_ms,
                            const Clock& clock);

DeduplicatedImage ImageOf(const Deduplicated& fact, uint64_t boot_hash);
// As above; where the record is that says it, its caller knows.
Deduplicated DeduplicatedOf(const DeduplicatedImage& image, const Clock& clock);

// Calls `visit` with each entry of a DEDUPLICATION record, which is as long as
// its header says.
template <typename Visit>
void ForEachDeduplicated(const RecordHeader& header, const char* record,
                         const Visit& visit) {
  const uint64_t length = CommitWord::Length(header.commit);
  uint64_t at = sizeof(header) + uint64_t{header.fields_bytes};
  DeduplicatedImage image;
  for (; at + sizeof(image) <= length; at += sizeof(image)) {
    std::memcpy(&image, record + at, sizeof(image));
    if (image.sequence != 0) visit(image);
  }
}

// One page of ctl.
struct DeduplicationBlock {
  static constexpr uint32_t kEntries = 56;
  static constexpr uint32_t kBuckets = 1u << 16;
  static constexpr std::string_view kWhat = "deduplication ids";

  Shared<uint64_t> next;
  Shared<int64_t> earliest_ns;
  std::array<uint64_t, 6> reserved;
  std::array<Shared<uint64_t>, kEntries> sequence;
  std::array<Shared<uint64_t>, kEntries> key_low;
  std::array<Shared<uint64_t>, kEntries> key_high;
  std::array<Shared<uint64_t>, kEntries> offset;
  std::array<Shared<uint64_t>, kEntries> position;
  std::array<Shared<int64_t>, kEntries> end_ns;
  std::array<Shared<int64_t>, kEntries> end_ms;
  std::array<Shared<uint32_t>, kEntries> epoch;
  std::array<Shared<uint32_t>, kEntries> queue_partition;
  std::array<Shared<uint32_t>, kEntries> bytes;
  std::array<Shared<uint32_t>, kEntries> link;

  uint64_t BucketOf(uint32_t n) const { return key_low[n].Load(); }
  int64_t TimeOf(uint32_t n) const { return end_ns[n].Load(); }
};

// What is over is forgotten when its place is needed; until then it counts as
// not there. Invariants and threads: those of BlockTable.
class DeduplicationTable : public BlockTable<DeduplicationBlock> {
 public:
  explicit DeduplicationTable(const Control* control)
      : BlockTable(control, &control->header().deduplication) {}

  // Returns: what came within its window; nothing where none did.
  std::optional<Deduplicated> Find(const Hash128& key, int64_t now_ns) const;

  // Takes one in, in place of an older one of the same id; or says where the
  // newest record of the same message is. There is room.
  void Put(const Deduplicated& fact);
  // Says where the newest record is, if it is remembered still.
  void Move(const Deduplicated& fact);
  // Forgets what is over, where there is no room; not too often.
  void MakeRoom(int64_t now_ns);

  // Alone: makes room where it is needed, and takes one in. Errors: 1502.
  absl::Status Restore(Control& control, const Deduplicated& fact);

  // Errors: 1502 the table is as large as it may be.
  absl::Status CheckMayGrow() const;

  // Without a lock: those that are not over, and that lie below a position.
  std::vector<Deduplicated> All(int64_t now_ns, uint64_t below) const;

  // As checkpoints have it.
  std::string Image(int64_t now_ns) const;

 private:
  Place FindPlace(const Hash128& key) const;
  static bool IsOf(const Place& place, const Deduplicated& fact) {
    return place.block->sequence[place.index].Load() == fact.sequence &&
           place.block->epoch[place.index].Load() == fact.epoch;
  }
  static Deduplicated Read(const Place& place);
};

// Puts an image back into a table that nobody uses yet. Errors: 1502; 1609 the
// image makes no sense.
absl::Status RestoreDeduplications(Control& control, const Clock& clock,
                                   std::string_view image);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DEDUPLICATION_TABLE_H_
