// SPDX-License-Identifier: Apache-2.0
//
// GroupWindow hands out the messages of one partition to the members of one
// group and takes their settlements.

#ifndef OPENMESSAGING_REFERENCE_GROUP_WINDOW_H_
#define OPENMESSAGING_REFERENCE_GROUP_WINDOW_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control_file.h"
#include "cursor_words.h"
#include "delivery_word.h"
#include "env/environment.h"
#include "index.h"
#include "key_locks.h"
#include "redelivery.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// One message that was handed out.
struct HandOut {
  uint64_t offset = 0;
  uint64_t position = 0;
  DeliveryWord word{};
};

// What one look at a partition found.
struct TakeResult {
  size_t count = 0;
  // How often the group had been moved when it looked.
  uint32_t seeks = 0;
  // The next message is at durability disk and not durable yet: flush up to
  // here and look again. 0 = none.
  uint64_t flush_to = 0;
  // Messages that the index does not have any more; they were skipped. The
  // offset of the first, and how many.
  std::optional<uint64_t> lost{};
  uint64_t lost_count = 0;
  // Messages whose time had passed: settled, or in the dead-letter queue.
  size_t expired = 0;
  size_t moved = 0;  // Had their last delivery, and are dead letters now.
  // Some of those handed out are settled by that, or were skipped because they
  // may have been handed out before.
  bool settled_once = false;
  // Why messages that are due again were not handed out, if they were not.
  absl::Status failure{};
};

// Invariants:
//   (1) floor <= next <= floor + window; every offset below floor is settled,
//       or in the table of exceptions: what is oldest moves there when the
//       window is nearly full, and behaves there as in the window;
//   (2) a word is changed to leased under the cursor's lock only; from leased
//       by a compare-and-swap of exactly the word that was handed out, so one
//       delivery is settled at most once and a stale one never;
//   (3) whoever dies inside the lock leaves words that are whole; the heir
//       moves `next` over those that were handed out;
//   (4) in a group that keeps the order of keys no message is handed out while an
//       earlier one of its key is unsettled: each look begins at the oldest and
//       takes the keys of what is not settled. What is held back so lies in the
//       window as if it had been given back, delivered no time;
//   (5) a message is handed out again only after the log has its count, and
//       what a dead process appended is finished;
//   (6) the group is moved under the cursor's lock and the append lock: nobody
//       takes or gives back in a window that somebody still has to move; the
//       same holds of one in which a transaction still has to settle;
//   (7) who holds the locks of several cursors took them in the order of the
//       groups' numbers and the partitions.
//
// Threads: Take by one thread of a consumer at a time; the rest from any.
class GroupWindow {
 public:
  GroupWindow(const Control* control, const Environment* environment,
              const Liveness* liveness, PartitionState* partition,
              uint32_t queue_partition, Cursor* cursor,
              const RedeliveryPolicy& policy, RedeliveryLog* log,
              bool ordered = false);

  // What the queue says from now on. `policy` stays until the window ends. From
  // any thread.
  void set_policy(const RedeliveryPolicy* policy) {
    policy_.store(policy, std::memory_order_release);
  }

  // Returns: whether a look could find something; a few loads.
  bool MayHave(int64_t now_ns) const;
  // Returns: whether anything is handed out and unsettled.
  bool HasUnsettled() const;
  // Returns: whether a delivery is still the one that the word names.
  bool IsHeld(uint64_t offset, DeliveryWord word) const {
    const DeliveryPlace place = words_.Find(offset);
    return place && IsHeldAt(place, offset, word);
  }

  // Returns: whether a settlement may have set free what was held back; then
  // those who sleep should look.
  bool MayBeFree() const {
    return ordered_ &&
           cursor_->freed.Load() != cursor_->freed_seen.Load();
  }

  // Hands out up to `max` messages, those that are due again first; moves those
  // that had their last delivery. `durable`: what may be handed out of messages
  // at durability disk.
  TakeResult Take(size_t max, int64_t now_ns, int64_t lease_ns,
                  uint64_t durable, HandOut* out, TimePoint deadline);

  // Moves those that had their last delivery and are due again, up to `max`, as
  // Take would; hands nothing out. Returns: how many moved. From any thread.
  size_t MoveLast(size_t max, int64_t now_ns, TimePoint deadline);

  // Settles a delivery. OK also where the message is settled already.
  // Errors: 1604 the message is out again under another delivery, or back;
  // 1603 it never was handed out.
  absl::Status Ack(uint64_t offset, DeliveryWord word);

  // Gives a delivery back, to be handed out again from `due_ns` on (0: after
  // the back-off that its attempts ask for). Errors: as Ack; 1410.
  absl::Status Nack(uint64_t offset, DeliveryWord word, int64_t due_ns,
                    TimePoint deadline);

  // Gives a delivery back as if it had not been made: due at once, and not
  // counted. Errors: as Nack.
  absl::Status Release(uint64_t offset, DeliveryWord word, TimePoint deadline);

  // Makes the lease end at `due_ns`. The word stays as it is, and so the
  // receipt. Errors: as Ack, and 1604 where it is settled; 1410.
  absl::Status Extend(uint64_t offset, DeliveryWord word, int64_t due_ns,
                      TimePoint deadline);

  // Moves a delivery to the dead-letter queue. Errors: as Ack; 1410; as
  // RedeliveryLog::MoveDead.
  absl::Status Reject(uint64_t offset, DeliveryWord word, TimePoint deadline);

  // Moves the group to `offset`, within what is stored: everything below counts
  // as settled, all else as new. No settlement of an earlier delivery counts
  // from then on. Returns: the position that must be durable. Errors: 1410; as
  // RedeliveryLog::LogSeek; nothing was done then.
  absl::StatusOr<uint64_t> Seek(uint64_t offset, TimePoint deadline);

  // Settles deliveries by a record of one unit with others (group_unit.cc). From
  // BeginUnit on, whose errors are 1410, 1501, 1502, until EndUnit nobody else
  // takes or gives back here, and whoever comes after a death in between waits
  // until it is known what became of the record.
  absl::Status BeginUnit(TimePoint deadline);
  void EndUnit();
  // One delivery that is with nobody and not settled: returned, and due, so that
  // a death makes it come again unless the record is there.
  struct Aside {
    uint64_t offset = 0;
    DeliveryPlace place{};
    DeliveryWord receipt{};
    int64_t lease_end_ns = 0;
  };
  // Sets a delivery aside. Returns: nothing for one that was settled by being
  // handed out. Errors: 1603; 1604 as Ack; 1605 it is settled.
  absl::StatusOr<std::optional<Aside>> SetAside(uint64_t offset,
                                                DeliveryWord word);
  // Undoes that: its receiver has it as before.
  void PutBack(const Aside& aside);
  // Below what all is settled, as far as records may say so.
  uint64_t FloorForRecord() const { return LoggedFloor(); }
  // The record is there.
  void NoteSettled() { FreeKey(); }

  // Gives back what one consumer of this process still holds.
  void Return(uint64_t offset, DeliveryWord word);

  Cursor& cursor() const { return *cursor_; }

 private:
  // One message that is due again.
  struct Candidate {
    uint64_t offset = 0;
    DeliveryPlace place{};
    DeliveryWord found{};
  };
  // What the kernel said of the owners of leases in one look.
  class Owners;

  const RedeliveryPolicy& policy() const {
    return *policy_.load(std::memory_order_acquire);
  }
  // Of the window.
  Shared<uint64_t>& word(uint64_t offset) const {
    return *words_.InWindow(offset).word;
  }
  DeliveryWord Load(uint64_t offset) const {
    return words_.InWindow(offset).Load();
  }

  // Takes the lock. Errors: 1410; as Enter.
  absl::Status Lock(std::string_view operation, uint64_t offset,
                    TimePoint deadline);
  // Finishes what the last owner left if it died. Errors: 1410, 1501; the lock
  // is free then.
  absl::Status Enter(SlotLock::Result lock, TimePoint deadline) {
    const bool seeking = cursor_->seeking.LoadRelaxed() != 0;
    if (!seeking && lock != SlotLock::Result::kInherited) {
      return absl::OkStatus();
    }
    return EnterSlow(seeking, deadline);
  }
  absl::Status EnterSlow(bool seeking, TimePoint deadline);
  static bool IsHeldAt(const DeliveryPlace& place, uint64_t offset,
                       DeliveryWord receipt) {
    return receipt.Is(offset) &&
           receipt.state() == DeliveryState::kLeased &&
           place.Load() == receipt;
  }
  // Returns: where a delivery is that is held still; nothing otherwise.
  DeliveryPlace FindHeld(uint64_t offset, DeliveryWord receipt) const {
    const DeliveryPlace place = words_.Find(offset);
    return place && IsHeldAt(place, offset, receipt) ? place : DeliveryPlace{};
  }
  // Whether the slot's present life is the one that the word names.
  bool IsPresentLife(DeliveryWord word) const;
  // Returns: false only if the owner of a lease is certainly gone.
  bool HasOwner(DeliveryWord word) const;
  void Repair();
  void AdvanceFloor();
  // Moves the oldest to the exceptions while the window is nearly full.
  void MoveOldest(TimePoint deadline);
  // Returns: whether it is there now, or was settled meanwhile.
  bool MoveToExceptions(uint64_t offset);
  // Frees the entries of what is settled. Returns: how many are left.
  uint32_t FreeExceptions();
  // Returns: below what all is settled or told by an image in the log.
  uint64_t LoggedFloor() const {
    return cursor_->unlogged.Load() != 0 ? 0 : cursor_->floor.Load();
  }
  void LowerNextScan(int64_t time_ns);
  // Takes what is due again, in these steps.
  void TakeDue(size_t max, int64_t now_ns, int64_t lease_ns, HandOut* out,
               TimePoint deadline, TakeResult& result);
  // Fills again_. Returns: when to look next, if nothing of it is taken.
  int64_t FindDue(size_t max, int64_t now_ns);
  // What one look at unsettled messages goes by.
  struct Scan;
  // Looks at one message. Returns: false if again_ has no room for it.
  bool LookAt(uint64_t offset, const DeliveryPlace& place, IndexReader& index,
              Scan& scan);
  // As above with all exceptions, the oldest first where that matters.
  bool LookAtExceptions(Scan& scan);
  // A message was settled: another one of its key may be free.
  void FreeKey() {
    if (ordered_ && cursor_->held_back.LoadSequential() !=
                        static_cast<uint32_t>(HoldBack::kNothing)) {
      cursor_->freed.FetchAdd(1);
    }
  }
  // Goes on behind what was retired, where nothing before it is unsettled.
  void SkipRetired();
  // Leaves a message in the window that its key holds back.
  void HoldOne(uint64_t offset);
  void TakeAll(size_t max, int64_t now_ns, int64_t lease_ns, uint64_t durable,
               HandOut* out, TimePoint deadline, TakeResult& result);
  // Sees what becomes of a message whose time may have passed. Returns: whether
  // it has; then nobody else has to care.
  bool Expire(const Candidate& candidate, const IndexHit& hit, int64_t now_ns,
              TimePoint deadline, TakeResult& result);
  // As above with all of again_, which keeps the others. Returns: when to look
  // again.
  int64_t ExpireDue(int64_t now_ns, TimePoint deadline, TakeResult& result);
  // Moves what had its last delivery, and leaves the others in again_.
  // Returns: when to look again at what could not be moved.
  int64_t MoveExhausted(int64_t now_ns, TimePoint deadline,
                        TakeResult& result);
  absl::Status LogAttempts(TimePoint deadline);
  absl::Status MoveDead(const Candidate& candidate, DeadReason reason,
                        TimePoint deadline);
  absl::Status MoveDeadAt(const Candidate& candidate, const IndexHit& hit,
                          DeadReason reason, TimePoint deadline);
  // Whether the time of a message has come; `hit`: where it was found.
  bool HasExpired(uint64_t offset, IndexHit hit);
  void TakeNew(size_t max, int64_t now_ns, int64_t lease_ns, uint64_t durable,
               HandOut* out, TimePoint deadline, TakeResult& result);
  // Leases a message unless its word is no longer as it was found. One that is
  // for at most one delivery is settled instead. `hit`: what the index has.
  void HandOutOne(const Candidate& candidate,
                  const std::optional<IndexHit>& hit, uint32_t attempts,
                  int64_t now_ns, int64_t lease_ns, HandOut* out,
                  TakeResult& result);
  // Puts `returned` in the place of a delivery, under the lock.
  absl::Status GiveBack(uint64_t offset, DeliveryWord receipt,
                        DeliveryWord returned, int64_t due_ns);
  absl::Status Refusal(uint64_t offset, DeliveryWord receipt) const;

  const Control* const control_;
  const Environment* const environment_;
  const Liveness* const liveness_;
  PartitionState* const partition_;
  Cursor* const cursor_;
  const CursorWords words_;
  const uint32_t window_;
  const RedeliveryPolicy first_policy_;
  std::atomic<const RedeliveryPolicy*> policy_{&first_policy_};
  RedeliveryLog* const log_;
  const bool ordered_;
  SlotLock lock_;

  // Under lock_. The vectors are kept for their room.
  IndexReader index_;
  std::vector<Candidate> again_;
  // Where the order of keys is kept: what is taken in this look; where the
  // oldest message is; exceptions in their order.
  KeyLocks keys_;
  IndexReader oldest_;
  std::vector<std::pair<uint64_t, uint32_t>> sorted_;
  bool scanned_all_ = false;
  std::vector<Attempt> attempts_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_GROUP_WINDOW_H_
