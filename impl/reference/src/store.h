// SPDX-License-Identifier: Apache-2.0
//
// Store is one open handle on one store: a process among those that share a
// directory, or one access point among those that share a memory store.

#ifndef OPENMESSAGING_REFERENCE_STORE_H_
#define OPENMESSAGING_REFERENCE_STORE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "checkpoint.h"
#include "control_file.h"
#include "delays.h"
#include "env/environment.h"
#include "env/storage.h"
#include "format.h"
#include "group_terms.h"
#include "housekeeper.h"
#include "large_bodies.h"
#include "log.h"
#include "members.h"
#include "openmessaging/internal/mutex.h"
#include "segment_map.h"
#include "slot_lock.h"
#include "transactions.h"

namespace openmessaging::reference {

// How a store was opened.
enum class OpenPath { kCreated, kJoined, kWarm, kClean, kCold };

struct StoreOpenOptions {
  // Of a store that does not exist yet.
  StoreOptions create{};
  // Whether this handle has a housekeeper.
  bool housekeeper = false;
};

// Threads: every method may be called from any thread at any time. Close once,
// after every consumer has closed.
// Lifetime: after a fork the child's handles answer 1601 and let go of the
// parent's life.
class Store final : public LogListener {
 public:
  // Errors: 1418 not a store, 1403 trust, 10003 another format, 1410 others
  // were opening it, 1501, 1502.
  static absl::StatusOr<std::shared_ptr<Store>> Open(
      std::shared_ptr<Storage> storage, const Environment* environment,
      const StoreOpenOptions& options, TimePoint deadline);

  ~Store();

  // Frees the slot; the last one to leave flushes and writes the checkpoint.
  absl::Status Close(TimePoint deadline);

  OpenPath open_path() const { return open_path_; }
  bool volatile_storage() const { return storage_->IsVolatile(); }
  // Whether what is read must be copied, and CheckPages asked behind it.
  bool guards_pages() const { return storage_->GuardsPages(); }
  std::string Describe() const { return storage_->Describe(); }
  const StoreUuid& uuid() const { return store_file_.uuid; }
  // Where the log ended when this handle was opened: what lies below has not
  // been seen by this process and is verified when it is first read.
  uint64_t opened_end() const { return opened_end_; }
  // What lay below was on the disk then, and so had its checksum.
  uint64_t opened_durable() const { return opened_durable_; }

  const Environment& environment() const { return *environment_; }
  Control& control() { return *control_; }
  Catalog& catalog() { return *catalog_; }
  Members& members() { return *members_; }
  GroupTerms& terms() { return *terms_; }
  Log& log() { return *log_; }
  Delays& delays() { return *delays_; }
  Transactions& transactions() { return *transactions_; }
  LargeBodies& bodies() { return *bodies_; }
  SegmentMap& segments() { return *segments_; }
  const Liveness& liveness() const { return *liveness_; }
  // Nothing where there is none.
  Housekeeper* housekeeper() const { return housekeeper_.get(); }

  // Returns: 1601 after Close or in the child of a fork; 1501 as CheckPages.
  absl::Status CheckUsable() const;
  // Returns: 1501 where a page was not there that somebody touched.
  absl::Status CheckPages() const;

  // Appends the state of every cursor that changed since the last time.
  // `all`: of every cursor.
  absl::Status LogCursors(bool all, TimePoint deadline);
  // Appends the state of one cursor.
  absl::Status LogCursor(GroupState& group, uint32_t partition,
                         TimePoint deadline);
  // Removes the segments that nothing needs, if nobody else is doing it.
  void Retire() { RetireOldest(false); }
  // As above; where something needs the oldest, and little, appends that again
  // first, or a part of it. Returns: whether it should be called again at once.
  bool RetireOldest(bool evacuate);
  // What the housekeepers do once in each second, one process of all: as above
  // where nobody sends, takes the reserve back, and moves what had its last
  // delivery. Lets go of what others removed. Returns: whether there is more to
  // do at once.
  bool LookAround();
  // Returns: up to where the segments [first, keep) may be retired, as long as
  // three quarters of each need not be appended again, and all of it has room.
  uint32_t Retirable(uint32_t first, uint32_t keep);

  // LogListener
  void Publish(const RecordHeader& header) override;
  PartitionState* FindPartition(uint32_t queue_partition) override;
  void SettleDead(const DeadSource& source, Cursor* cursor) override;
  void MoveCursor(const SeekTarget& target, uint32_t queue_partition,
                  Cursor* cursor) override;
  void BeforeFlush() override;
  void BeforePrepare() override;
  absl::Status MakeDelayRoom(uint32_t needed, TimePoint deadline) override;
  absl::Status MakeDeduplicationRoom(uint32_t needed,
                                     TimePoint deadline) override;
  absl::Status MakePreparedRoom(TimePoint deadline) override;
  int64_t DeduplicationMs(uint32_t queue) override;

  void MakeRoom(TimePoint deadline) override;
  bool WorkIsAhead() override;

  // For pthread_atfork.
  void AbandonAfterFork();

 private:
  Store(std::shared_ptr<Storage> storage, const Environment* environment)
      : storage_(std::move(storage)), environment_(environment) {}

  // What a slot's last life had under way in big/ when it ended.
  struct LeftBodies {
    uint32_t generation = 0;
    uint64_t number = 0;  // + 1 of the oldest; 0 = none.
    uint64_t from = 0;
    static LeftBodies Of(const Slot& slot) {
      return {slot.generation.Load(), slot.body_number.Load(),
              slot.body_from.Load()};
    }
  };

  absl::Status OpenGated(const StoreOpenOptions& options);
  // Checks that here is a store, or room for one, and writes nothing: not even
  // LOCK where it does not belong.
  absl::Status CheckPlace();
  // Errors: as CheckPlace.
  absl::Status ReadStoreFile(File& file);
  absl::Status CheckEmpty() const;
  absl::Status ReadOrCreateStoreFile(const StoreOpenOptions& options);
  absl::Status MakeDirectories();
  // Believes ctl as it is: a living process uses it, or, where this one is
  // `alone`, one of this boot left it. Errors: it cannot be believed.
  absl::Status Attach(bool alone);
  // Attach with nobody else alive: goes on where the dead stopped. Errors: as
  // Attach, where control_refused_ says whether ctl is to blame; what is asked
  // of the machine may fail as well.
  absl::Status TakeOver();
  absl::Status CheckControl(bool alone);
  // Whether what a crash left in ctl can be so (ControlCheck). Errors: as Attach.
  absl::Status CheckLeftControl();
  // Makes ctl anew, from the checkpoint or from the log.
  absl::Status Rebuild();
  bool WasClosedCleanly() const;
  absl::Status RebuildFromCheckpoint(const Checkpoint& checkpoint,
                                     std::unique_ptr<GrowingFile> idx,
                                     bool same_life);
  // `failed_flush`: as FailedFlushFrom.
  absl::Status RebuildFromLog(const Checkpoint* checkpoint,
                              std::optional<uint64_t> failed_flush);
  // Returns: from where on a flush that failed in this boot left the log in
  // doubt; nothing where none did.
  std::optional<uint64_t> FailedFlushFrom() const;
  // Writes what the log has from there on into new files, so that it does not
  // depend on what the machine takes for written. May be repeated.
  absl::Status RewriteFrom(class LogScan& scan, uint64_t from);
  // `idx`: nullptr makes an empty one.
  // `segments`: how many the log has; there is room for one more at least.
  absl::Status CreateControl(std::unique_ptr<GrowingFile> idx,
                             size_t segments);
  absl::Status Replay(class LogScan& scan);
  // `next_offsets`: by queue, what its newest record says of each partition.
  // `retired_to`: the position from which messages remain.
  absl::Status ReplayCatalog(
      class LogScan& scan,
      absl::flat_hash_map<uint32_t, std::vector<uint64_t>>& next_offsets,
      uint64_t& retired_to);
  // Completes a record at level process that recovery believes.
  absl::Status FillChecksum(const RecordHeader& header);
  // Where a recovery lets the log end, and the segment files on either side.
  struct LogEnd {
    uint64_t end = 0;
    uint64_t sequence = 0;
    std::vector<std::string> within{};
    std::vector<std::string> beyond{};
  };
  absl::Status StartSegment(const LogEnd& log);
  void AddSegment(uint64_t base, uint64_t capacity, uint64_t salt,
                  uint32_t epoch, uint32_t used);
  // What lies behind the end of a segment that a recovery closed belongs to its
  // successor: no position is in two segments.
  void ShortenLastSegment(uint64_t end);
  absl::Status TakeSlot();
  // Returns: whether it was free and is this handle's now.
  absl::StatusOr<bool> TryTakeSlot(uint32_t n);
  void Assemble();
  // Appends the deduplication ids that are remembered from below `position`
  // again.
  absl::Status RenewDeduplications(uint64_t position, TimePoint deadline);
  // Returns: the lowest position below `end` that something needs; `end` if
  // nothing does.
  uint64_t LowestNeeded(uint64_t end);
  // Calls `visit` with each large body that records of a segment name. Returns:
  // whether all of it could be read. `shared`: only those of records that may
  // share theirs.
  bool ForEachBody(uint32_t ordinal, bool shared,
                   const std::function<void(const LargeBody&)>& visit);
  // Removes the bodies that only records of segments [first, keep) name.
  // Returns: false if it must be tried again before the segments go.
  bool RetireBodies(uint32_t first, uint32_t keep, TimePoint deadline);
  // Removes what dead processes wrote and no record names. Under the gate.
  void RemoveLeftovers();
  void RemoveLeftoversOf(uint32_t slot, const LeftBodies& left);
  // As above where no process lives and the whole log was read.
  absl::Status RemoveUnnamed();
  // What is left of one partition once everything below a position is gone.
  struct Remainder {
    uint32_t queue_partition = 0;
    PartitionState* partition = nullptr;
    uint64_t first_offset = 0;
    uint64_t whole_from = 0;
  };
  std::vector<Remainder> RemaindersFrom(uint64_t boundary);
  // Appends everything but messages that lives below `boundary` again, and that
  // the log begins there. Errors: nothing is retired.
  absl::Status RenewBelow(uint64_t boundary,
                          const std::vector<Remainder>& remainders,
                          TimePoint deadline);
  // Removes the segments [first, keep), of which nothing is needed any more.
  void RemoveSegments(uint32_t first, uint32_t keep,
                      const std::vector<Remainder>& remainders,
                      TimePoint deadline);

  const std::shared_ptr<Storage> storage_;
  const Environment* const environment_;
  StoreFile store_file_;
  bool same_place_ = false;
  // What ctl says cannot be believed, or there is none.
  bool control_refused_ = false;
  OpenPath open_path_ = OpenPath::kCold;
  uint64_t opened_end_ = 0;
  uint64_t opened_durable_ = 0;

  std::unique_ptr<ByteLocks> locks_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<Liveness> liveness_;
  std::unique_ptr<SegmentMap> segments_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Members> members_;
  std::unique_ptr<GroupTerms> terms_;
  std::unique_ptr<LargeBodies> bodies_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<Delays> delays_;
  std::unique_ptr<Transactions> transactions_;
  // Of the life before this one in its slot.
  LeftBodies predecessor_{};
  // The large bodies that a recovery found named, where it could read all.
  std::optional<absl::flat_hash_set<std::string>> named_bodies_{};
  // Whoever goes through the gate with locks_ after the opening.
  internal::Mutex gate_mutex_;
  // Set before anybody else has this handle.
  std::shared_ptr<Housekeeper> housekeeper_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> forked_{false};
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_STORE_H_
