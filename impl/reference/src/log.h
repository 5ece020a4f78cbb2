// SPDX-License-Identifier: Apache-2.0
//
// Log is the one sequence of records that holds every durable fact of a store:
// appending to it, rolling to new segments, flushing it.

#ifndef OPENMESSAGING_REFERENCE_LOG_H_
#define OPENMESSAGING_REFERENCE_LOG_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "control_file.h"
#include "deduplication_table.h"
#include "delay_table.h"
#include "env/environment.h"
#include "format.h"
#include "index.h"
#include "large_bodies.h"
#include "prepared_table.h"
#include "segment_map.h"
#include "slot_lock.h"

namespace openmessaging::reference {

// One record to append, and where it went. With kMore it belongs to one unit with
// the next one: all of them are appended, or none.
struct Append {
  RecordType type = RecordType::kMessage;
  uint8_t flags = 0;
  uint32_t queue_partition = 0;
  uint32_t key_hash = 0;
  // Of a message: where its offset comes from, or, of a MOVED one, is. Otherwise
  // `offset` is written as given, as it is of that one.
  PartitionState* partition = nullptr;
  // Checked under the lock: nothing is appended to a deleted queue. May be
  // null.
  const CatalogEntry* alive = nullptr;
  // Of a DEAD record: the cursor in which it settles its source, and what the
  // source's word must say under the lock. Of a SEEK record: the cursor that it
  // moves. Of a SETTLED record: the one in which it settles. A MOVED record guards
  // the place in the index that it changes.
  Cursor* source = nullptr;
  const Shared<uint64_t>* guard = nullptr;
  uint64_t guarded = 0;
  // Of what ends a delay, or appends what waits again: nothing is appended unless
  // the message waits still, in that record.
  const Delayed* waiting = nullptr;
  // The same of a prepared message: of its decision, or where it is appended
  // again.
  const Prepared* undecided = nullptr;
  // Takes room as a message does, though it has no offset.
  bool takes_room = false;
  // Of a message whose id counts, which has the flag kDeduplicated: it is not
  // appended where one with that id came within the window. Then the results
  // are that one's. It begins its unit, of which nothing is appended then.
  const Deduplication* deduplication = nullptr;
  // Such a message may be anywhere in its unit, of which nothing is appended
  // either, but with an error: whoever appends tries again without it.
  bool drops_out = false;
  // Of a copy whose body is another one's of its unit, before it: that one. A
  // large body is in one file then.
  const Append* body_of = nullptr;
  // Of a DEAD or MOVED record that names its source's large body: where the
  // source is.
  uint64_t source_position = 0;
  // Of a MOVED record: when the message entered its queue. 0: as all of the call.
  int64_t store_ms = 0;
  // Fields, in two parts, then the body; or, with kBodyApart, a LargeBody.
  std::array<std::string_view, 3> pieces{};

  // Results.
  uint64_t offset = 0;
  uint64_t position = 0;
  uint64_t end = 0;
  uint64_t sequence = 0;
  absl::Status status{};
  // Of another message that came before with the same deduplication id, and of
  // its life of the store.
  bool duplicate = false;
  uint32_t epoch = 0;

  // Filled in by the log unless it is pending.
  uint32_t payload_checksum = 0;

  uint64_t bytes() const {
    return sizeof(RecordHeader) + pieces[0].size() + pieces[1].size() +
           pieces[2].size();
  }
};

// What must be of one piece with an append: somebody else's locks, and what is
// written only once they are held.
class Surrounding {
 public:
  // Right before the append lock is taken, with what takes long done: bodies are
  // in their files. It may still fill what the pieces of the entries view.
  // Errors: nothing is appended, and the entries have this status.
  virtual absl::Status Enter() = 0;
  // Behind the append, if Enter was called: how it ended.
  virtual void Leave(const absl::Status& status) = 0;

 protected:
  ~Surrounding() = default;
};

// What the log asks of those above it.
class LogListener {
 public:
  // Publishes a QUEUE, GROUP or ROUTE record in ctl. Under the append lock; an heir
  // repeats it, so it must be idempotent.
  virtual void Publish(const RecordHeader& header) = 0;

  // Returns: the offsets of a partition; nullptr for an unknown queue. Under
  // the append lock, by an heir only.
  virtual PartitionState* FindPartition(uint32_t queue_partition) = 0;

  // Settles the source of a DEAD record, or a message that a SETTLED record
  // names. Under the append lock; idempotent. `cursor`: the source's, where the
  // appender knows it; an heir does not.
  virtual void SettleDead(const DeadSource& source, Cursor* cursor) = 0;

  // Moves a cursor to where a SEEK record says. Under the append lock;
  // idempotent. `cursor`: as in SettleDead.
  virtual void MoveCursor(const SeekTarget& target, uint32_t queue_partition,
                          Cursor* cursor) = 0;

  // Appends what is acknowledged but not logged yet. By the flush leader,
  // before it looks how far the log goes.
  virtual void BeforeFlush() = 0;

  // Retires segments that nothing needs, if it can. Before a new one is made,
  // with no lock held but perhaps the flush lock.
  virtual void BeforePrepare() = 0;

  // Gives the table of delayed messages blocks until so many more have room. With
  // no lock held.
  virtual absl::Status MakeDelayRoom(uint32_t needed, TimePoint deadline) = 0;
  // As above with the table of deduplication ids.
  virtual absl::Status MakeDeduplicationRoom(uint32_t needed,
                                             TimePoint deadline) = 0;
  // As above with the table of prepared messages, for one.
  virtual absl::Status MakePreparedRoom(TimePoint deadline) = 0;

  // Returns: how long the deduplication ids of a queue count; 0: not at all.
  // Under the append lock, by an heir only.
  virtual int64_t DeduplicationMs(uint32_t queue) = 0;

  // As above where there is no room for a large body or for messages: gives back
  // what nothing needs, and moves what is in its way. Cursors' locks may be held.
  virtual void MakeRoom(TimePoint deadline) = 0;

  // Somebody should call Log::WorkAhead. Returns: false if nobody will.
  virtual bool WorkIsAhead() = 0;

 protected:
  ~LogListener() = default;
};

// How far ahead of the tail pages are touched.
inline constexpr uint64_t kTouchBytes = uint64_t{1} << 20;

// Records of one unit, at most, and their bytes without large bodies.
inline constexpr size_t kMaxUnit = 1024;
inline constexpr uint64_t kMaxUnitBytes = uint64_t{64} << 20;

// Who asks for room. When it ends, messages are refused first (1502); what
// settles them may go on into a segment made from the reserve, and what gives
// segments back always finds its place there. A delayed message that is due, and
// a prepared one that is committed, has its room already: it leaves its old place
// as soon as it has the new one, and so goes on as what settles does, past the
// limit.
enum class Purpose { kMessages, kFacts, kDue, kRetirement };

// Invariants:
//   (1) bytes below committed never change while their segment exists, except
//       a payload checksum, that of a large body and the pending flag, which
//       the flush leader sets;
//   (2) committed only grows and ends a record; durable <= committed;
//   (3) an append is invisible until its commit word is stored, and a dead
//       appender's heir either finishes it or erases it;
//   (4) sequences are dense along the log.
//
// Threads: every method may be called from any thread at any time.
class Log {
 public:
  Log(Storage* storage, const Environment* environment, Control* control,
      SegmentMap* segments, LargeBodies* bodies, const Liveness* liveness,
      LogListener* listener);

  // Appends in order, each result in its entry's status. Records of one call
  // are claimed together as far as a segment has room; a crash may cut between
  // claims, and a power loss anywhere but within a unit. The last entry ends a
  // unit; one has at most kMaxUnit records. Makes no system call with the append lock held: the large bodies of
  // messages are written to files of their own before it is taken.
  // Errors in the entries: 1410 (not stored) the lock was not free in time;
  // 1502 no room; 1404 the queue is gone; 1501 poisoned; 1413 over a segment;
  // 1604 the guard's word has changed, or the message is not held back any more.
  void AppendAll(std::span<Append> entries, int64_t store_ms,
                 TimePoint deadline) {
    AppendAround(entries, store_ms, deadline, nullptr);
  }
  // As above, of one unit, between the two calls of `around`.
  void AppendUnit(std::span<Append> unit, int64_t store_ms, TimePoint deadline,
                  Surrounding& around) {
    AppendAround(unit, store_ms, deadline, &around);
  }

  // Returns once everything below `position` is on disk. Whoever finds the
  // flush lock free leads the flush for all; the others wait.
  // Errors: 1504 not in time, 1501 a flush failed: the store is poisoned.
  absl::Status WaitDurable(uint64_t position, TimePoint deadline);

  // As above, but does not wait for another's flush. Returns: false if one
  // is in progress.
  absl::StatusOr<bool> TryFlush();

  // Finishes or erases what a dead appender left. Call it with nobody else
  // alive, or as heir of the append lock.
  absl::Status Repair();

  // Finishes or erases an append that a dead process began, if there is one and
  // nobody alive is appending. Makes system calls only then.
  void Heal();

  // As Heal, but waits where somebody appends or repairs: when it returns,
  // nothing that a dead process began before the call is unfinished.
  // Errors: 1410; 1501 it cannot be repaired now.
  absl::Status FinishDead(TimePoint deadline);

  // Prepares the next segment if there is none. `bytes`: what must fit in.
  // Errors: 1502 no room, nothing was stored; 1410 not in time.
  absl::Status PrepareSegment(uint64_t bytes, Purpose purpose,
                              TimePoint deadline);

  // Prepares the next segment, and touches the pages that appends of this
  // process use next, where that is due.
  void WorkAhead();

  // Makes the file `reserve` again where it is missing and there is room, and
  // forgets the segment that a dead process was preparing.
  // Errors: as EnsureReserve; 1502 somebody else is preparing.
  absl::Status RestoreReserve();
  // Returns: how much retirement may append again. Where nothing but the
  // reserve is left, a part of it: the rest is for what must be said.
  uint64_t SpareForRenewal() const;
  // As above while a store is opened. Without a reserve messages stay out of
  // the current segment, because it is all that is left.
  void OpenReserve();

  // Returns: a message if it waits; what a dead process began is finished.
  // Errors: 1410; 1501.
  absl::StatusOr<std::optional<Delayed>> FindDelayed(const HeldId& id,
                                                     TimePoint deadline);
  // Adds a block to the table of delayed messages; takes the append lock.
  absl::Status AddDelayBlock(uint64_t block, TimePoint deadline);
  // Adds a block to the table of deduplication ids; takes the append lock.
  absl::Status AddDeduplicationBlock(uint64_t block, TimePoint deadline);

  // The same of prepared messages.
  absl::StatusOr<std::optional<Prepared>> FindPrepared(const HeldId& id,
                                                       TimePoint deadline);
  absl::Status AddPreparedBlock(uint64_t block, TimePoint deadline);
  // As PreparedTable::CountCheck, under the append lock. Errors: 1410; 1501.
  absl::StatusOr<bool> CountCheck(const Prepared& seen, int64_t next_ns,
                                  int64_t next_ms, TimePoint deadline);
  // Forgets outcomes that are over.
  void ForgetOutcomes(TimePoint deadline);

  // Begins the next segment where records of the current one name large bodies,
  // which only a segment that is complete gives back.
  void RollForRoom(TimePoint deadline);

  // Returns: true once every append that began before the call has ended; false
  // if one cannot be finished now.
  bool AwaitAppends(TimePoint deadline);

  // Takes what was retired, whose records lie below `position`, out of the index
  // of a partition; takes the append lock.
  void FreeIndex(PartitionState& partition, uint64_t position);

  uint64_t committed() const {
    return control_->header().committed.end.Load();
  }
  uint64_t durable() const { return control_->header().flush.durable.Load(); }
  bool poisoned() const {
    return control_->header().poisoned.Load() != 0 || storage_->LostPages();
  }
  // Whether a message's body goes to a file of its own.
  bool HasOwnFile(std::string_view body) const {
    return body.size() > big_body_bytes_;
  }
  bool checksums() const { return !storage_->IsVolatile(); }
  absl::Status PoisonedError() const;

  // The table entry and file of a fresh segment; used by recovery too.
  absl::Status MakeSegment(uint64_t base, uint64_t capacity, uint32_t epoch,
                           const SegmentHeader::Roll* roll);
  // As above where the disk is full: gives up the reserve for it.
  absl::Status MakeSegmentFromReserve(uint64_t base, uint64_t bytes,
                                      uint32_t epoch,
                                      const SegmentHeader::Roll* roll);
  uint64_t NextCapacity(uint64_t last_capacity, uint64_t bytes) const;

 private:
  bool IsLarge(const Append& entry) const {
    return HasOwnFile(entry.pieces[2]) && entry.body_of == nullptr &&
           (entry.type == RecordType::kMessage ||
            entry.type == RecordType::kRouted);
  }

  // What happens under the append lock decides what to do without it.
  enum class Step {
    kDone,
    kNeedSegment,
    kNeedIndex,
    kNeedMapping,
    kNeedDelayRoom,
    kNeedDeduplicationRoom,
    kNeedPreparedRoom
  };

  // A body that went to a file, and the entry that names it.
  struct Apart {
    LargeBody body{};
    Append* entry = nullptr;
  };

  // `around`: nullptr where there is none.
  void AppendAround(std::span<Append> entries, int64_t store_ms,
                    TimePoint deadline, Surrounding* around);
  // As AppendAround, of entries with a large body among them.
  void AppendApart(std::span<Append> entries, int64_t store_ms,
                   TimePoint deadline, Surrounding* around);
  // As AppendAround, of entries whose large bodies are written.
  void AppendHere(std::span<Append> entries, int64_t store_ms,
                  TimePoint deadline, Surrounding* around);
  // Returns: why those that are left were not appended.
  absl::Status AppendLoop(std::span<Append>& entries, int64_t store_ms,
                          TimePoint deadline);
  // Writes the large bodies of `entries` to files and lets the entries name
  // them. Where that fails, `entries` ends before the one that failed.
  absl::Status WriteBodies(std::span<Append>& entries,
                           std::vector<Apart>& apart, TimePoint deadline);
  absl::StatusOr<LargeBody> WriteBody(const Append& entry, TimePoint deadline);
  // Whether there is a reserve, or none is wanted.
  bool HasReserve() const;
  // Whether messages may take what room there is.
  absl::Status CheckReserve();

  // Whether a dead owner's work stands unfinished, perhaps because its heir
  // could not repair it. Under the append lock.
  bool NeedsRepair() const;
  // Takes the append lock with nothing left unfinished. Errors: 1410; 1501.
  absl::Status LockWhole(TimePoint deadline);
  // Whether a message is held back, or none is asked for.
  bool Waits(const Append& entry) const {
    return (entry.waiting == nullptr || WaitsStill(entry)) &&
           (entry.undecided == nullptr ||
            prepared_.IsUndecided(*entry.undecided));
  }
  bool WaitsStill(const Append& entry) const;
  // Takes over the results of a message that came before with the same id.
  // Returns: whether there is one.
  bool IsDuplicate(Append& entry) const;
  // As above of each message of a unit that drops out of it. Errors: 1605 there
  // are some.
  absl::Status FindDroppingOut(std::span<Append> unit) const;
  // Whether an id came before within the window, or in `earlier`.
  bool IsKnown(const Deduplication& asked,
               std::span<const Append> earlier) const;
  // Remembers the id of a message.
  void Remember(const RecordHeader& header, const char* record,
                const Append* entry);
  // Forgets what is over where the tables have no room for an entry.
  void MakeRoomFor(const Append& entry);
  // Publishes what is no plain message.
  void FinishOther(const RecordHeader& header, const char* record,
                   const Append* entry);
  Purpose PurposeOf(const Append& entry) const;
  Step AppendLocked(std::span<Append> entries, Purpose purpose,
                    int64_t store_ms, size_t& count);
  // Looks at what an entry depends on. Errors: 1404; 1604; 1609.
  absl::Status CheckEntry(const Append& entry) const;
  // How many bytes of the current segment may be used.
  uint64_t Room(Purpose purpose) const;
  // What one claim can take: whole units only.
  struct Claim {
    size_t count = 0;
    uint64_t bytes = 0;
    // What the next one lacks.
    Step lacking = Step::kDone;
  };
  Claim Fit(std::span<const Append> entries, uint64_t room) const;
  void WriteClaim(std::span<Append> entries, uint64_t total, int64_t store_ms);
  void WriteRecord(Append& entry, uint64_t position, int64_t store_ms);
  // Makes the records in [begin, end) visible; idempotent. `entries`: the ones
  // just written; empty for an heir.
  void Finish(uint64_t begin, uint64_t end, std::span<const Append> entries);
  Step Roll(Purpose purpose);
  Step UseCurrent();
  absl::Status Provide(Step step, std::span<const Append> entries,
                       TimePoint deadline);
  absl::Status GrowIndex(uint64_t spare, TimePoint deadline);
  // After an append: sees that somebody does what the next ones need.
  void LookAhead();
  bool SegmentIsDue() const;
  // Whether the current segment has enough in large bodies to be complete.
  // `parts`: so many of them would be.
  bool IsLaden(uint64_t parts) const {
    return control_->header().append.large_bytes.Load() * parts >= laden_bytes_;
  }
  void PrepareAhead();
  void TouchAhead();
  // How many bytes the segments may have; UINT64_MAX: any number.
  uint64_t LimitFor(Purpose purpose) const;
  // Under the prepare lock.
  absl::Status PrepareLocked(uint64_t bytes, Purpose purpose);
  absl::Status MakeLargestSegment(uint64_t base, uint64_t capacity,
                                  uint64_t least);
  // Makes the reserve whole. Under the prepare lock. Errors: 1502 the disk is
  // full; 1501, 1403.
  absl::Status EnsureReserve();
  absl::Status Lead();
  absl::Status FillChecksums(const Segment& segment, uint64_t from,
                             uint64_t to);
  // Flushes the bodies that pending records name, and fills in the checksums of
  // these. What cannot be found goes to lost_bodies_.
  absl::Status FlushBodies(const Segment& segment, uint64_t from, uint64_t to);

  Storage* const storage_;
  const Environment* const environment_;
  Control* const control_;
  SegmentMap* const segments_;
  LargeBodies* const bodies_;
  const Liveness* const liveness_;
  LogListener* const listener_;
  // Longer bodies are large.
  const uint64_t big_body_bytes_;
  // A segment whose records name as much in large bodies is complete.
  const uint64_t laden_bytes_;
  SlotLock append_lock_;
  SlotLock flush_lock_;
  SlotLock prepare_lock_;
  IndexWriter index_;
  DelayTable delays_;
  DeduplicationTable deduplications_;
  PreparedTable prepared_;

  // The segment at the tail as of the last append here; under the append lock.
  std::shared_ptr<Segment> current_;
  uint32_t current_ordinal_ = ~uint32_t{0};

  // What was appended here; changed under the append lock.
  std::atomic<uint64_t> appended_bytes_{0};
  // When it is as much, pages are touched again.
  std::atomic<uint64_t> touch_due_bytes_;
  std::atomic<uint64_t> touched_to_{0};
  std::atomic<uint64_t> touched_at_flushes_{0};
  // Until then preparing ahead has no purpose: it failed; steady clock.
  std::atomic<int64_t> prepare_not_before_ns_{0};

  // What a flush works on; under the flush lock. Kept for its room.
  std::vector<std::shared_ptr<Segment>> flushing_;
  // Positions of records whose body is not there: they stay pending, which
  // below the durable mark is damage.
  std::vector<uint64_t> lost_bodies_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_LOG_H_
