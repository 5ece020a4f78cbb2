// SPDX-License-Identifier: Apache-2.0
//
// PreparedTable knows the messages that are prepared and not decided, and for a
// while what was decided of the others. It is derived from the log, and lies in
// ctl. docs/design/transactions.md.

#ifndef OPENMESSAGING_REFERENCE_PREPARED_TABLE_H_
#define OPENMESSAGING_REFERENCE_PREPARED_TABLE_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "block_table.h"
#include "checksum.h"
#include "control.h"
#include "control_file.h"
#include "env/environment.h"
#include "env/shared.h"
#include "format.h"

namespace openmessaging::reference {

// Of messages and of outcomes, at most so many are known at a time (1502).
inline constexpr uint32_t kMaxPrepared = 1u << 20;

// An outcome is remembered so long; where there is no room for more, so long at
// least.
inline constexpr int64_t kOutcomeMs = int64_t{3600} * 1000;
inline constexpr int64_t kShortOutcomeMs = int64_t{600} * 1000;

// Of a check that comes no sooner; only bounds what a damaged time may say.
inline constexpr int64_t kMaxCheckMs = int64_t{24} * 3600 * 1000;

enum class PreparedState : uint32_t { kUndecided, kCommitted, kRolledBack };

// One that was prepared.
struct Prepared {
  HeldId id{};
  PreparedState state = PreparedState::kUndecided;
  uint32_t queue_partition = 0;
  // Of the newest record that says so, with padding.
  uint32_t bytes = 0;
  uint64_t position = 0;
  // Of the next check; of a decided one: until when that is remembered. By the
  // boot clock and by the wall clock.
  int64_t time_ns = 0;
  int64_t time_ms = 0;
  // Of an undecided one.
  uint64_t group = 0;
  uint32_t check_after_ms = 0;
  uint32_t checks = 0;
  uint32_t max_checks = 0;
};

// One entry of an OUTCOMES record's body.
struct OutcomeImage {
  HeldId id{};
  PreparedState state = PreparedState::kUndecided;
  uint32_t reserved = 0;
  int64_t end_ms = 0;
  int64_t end_ns = 0;
  uint64_t boot_hash = 0;
};
static_assert(sizeof(OutcomeImage) == 48);

// Returns: what a PREPARE record says.
Prepared PreparedOf(const RecordHeader& header, const char* record,
                    const Clock& clock);
// Returns: what a COMMIT or ROLLBACK record says, which was just appended or is
// read again.
Prepared DecisionOf(const RecordHeader& header, const char* record,
                    const Clock& clock);
// Returns: what an OUTCOMES record says of one.
Prepared RememberedOf(const OutcomeImage& image, const RecordHeader& header,
                   const Clock& clock);

// Calls `visit` with each entry of an OUTCOMES record, which is as long as its
// header says.
template <typename Visit>
void ForEachOutcome(const RecordHeader& header, const char* record,
                    const Visit& visit) {
  const uint64_t length = CommitWord::Length(header.commit);
  uint64_t at = sizeof(header) + uint64_t{header.fields_bytes};
  OutcomeImage image;
  for (; at + sizeof(image) <= length; at += sizeof(image)) {
    std::memcpy(&image, record + at, sizeof(image));
    if (image.id.sequence != 0) visit(image);
  }
}

// One page of ctl.
struct PreparedBlock {
  static constexpr uint32_t kEntries = 56;
  static constexpr uint32_t kBuckets = 1u << 14;
  static constexpr std::string_view kWhat = "prepared messages";

  Shared<uint64_t> next;
  Shared<int64_t> earliest_ns;  // Of the checks.
  std::array<uint64_t, 6> reserved;
  std::array<Shared<uint64_t>, kEntries> sequence;
  std::array<Shared<uint64_t>, kEntries> position;
  std::array<Shared<uint64_t>, kEntries> group;
  std::array<Shared<int64_t>, kEntries> time_ns;
  std::array<Shared<int64_t>, kEntries> time_ms;
  std::array<Shared<uint32_t>, kEntries> epoch;
  std::array<Shared<uint32_t>, kEntries> state;
  std::array<Shared<uint32_t>, kEntries> queue_partition;
  std::array<Shared<uint32_t>, kEntries> bytes;
  std::array<Shared<uint32_t>, kEntries> check_after_ms;
  std::array<Shared<uint32_t>, kEntries> checks;
  std::array<Shared<uint32_t>, kEntries> max_checks;
  std::array<Shared<uint32_t>, kEntries> link;

  uint64_t BucketOf(uint32_t n) const { return Mix64(sequence[n].Load()); }
  bool IsDecided(uint32_t n) const {
    return state[n].Load() !=
           static_cast<uint32_t>(PreparedState::kUndecided);
  }
  int64_t TimeOf(uint32_t n) const {
    return IsDecided(n) ? INT64_MAX : time_ns[n].Load();
  }
};

// What is decided and over is forgotten now and then; until then it counts as
// not there. Invariants and threads: those of BlockTable.
class PreparedTable : public BlockTable<PreparedBlock> {
 public:
  explicit PreparedTable(const Control* control)
      : BlockTable(control, &control->header().prepared) {}

  // Returns: one that is undecided, or whose outcome is remembered still.
  std::optional<Prepared> Find(const HeldId& id, int64_t now_ns) const;
  // Whether it is undecided, and its newest record is there.
  bool IsUndecided(const Prepared& prepared) const;

  // Takes one in, or says where its newest record is and what that says. What
  // was decided stays so. There is room, unless it is known already.
  void Put(const Prepared& prepared);
  // Counts a check, and says when the next one comes. Returns: false where it
  // is not as the caller saw it any more.
  bool CountCheck(const Prepared& seen, int64_t next_ns, int64_t next_ms);
  // Forgets outcomes that are over where there is no room, not too often; where
  // the table is as large as it may be, also those that were remembered for the
  // short time.
  void MakeRoom(int64_t now_ns);
  // Whether nobody has looked for outcomes that are over for a while. Without a
  // lock.
  bool IsUntidy(int64_t now_ns) const;
  // Forgets them then.
  void ForgetOver(int64_t now_ns);

  // Alone: makes room where it is needed, and takes one in. Errors: 1502.
  absl::Status Restore(Control& control, const Prepared& prepared);
  // Errors: 1502 the table is as large as it may be.
  absl::Status CheckMayGrow() const;

  // Without a lock: what is known and lies below a position.
  std::vector<Prepared> All(int64_t now_ns, uint64_t below) const;
  // Without a lock: of those of a group that are due for a check the one that
  // has waited longest.
  std::optional<Prepared> FindDue(uint64_t group, int64_t now_ns) const;

  // As checkpoints have it.
  std::string Image(int64_t now_ns) const;

 private:
  Place FindPlace(const HeldId& id) const;
  static Prepared Read(const Place& place);
  static void Write(const Place& place, const Prepared& prepared);

  void Forget(int64_t now_ns, int64_t over_ns) const;

  bool IsFull() const { return count() + spare() >= kMaxPrepared; }
};

// Puts an image back into a table that nobody uses yet. Errors: 1502; 1609 the
// image makes no sense.
absl::Status RestorePrepared(Control& control, const Clock& clock,
                             std::string_view image);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_PREPARED_TABLE_H_
