// SPDX-License-Identifier: Apache-2.0
//
// Appending. Flushing is in flush.cc, making segments in segment_maker.cc, what
// appends change in the tables in log_tables.cc, large bodies in log_bodies.cc.

#include "log.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>

#include "env/page_guard.h"
#include "key_hash.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

// Records of one claim; bounds how long the lock is held.
constexpr size_t kMaxClaim = 256;

Shared<uint64_t>& CommitAt(char* record) { return At<Shared<uint64_t>>(record, 0); }

RecordHeader HeaderAt(const char* record) {
  RecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  return header;
}

// A chain word: checksum in the low half, the tail it belongs to in the high.
uint64_t ChainWord(uint32_t chain, uint64_t tail) {
  return chain | (tail / kRecordAlignment) << 32;
}
bool ChainIsAt(uint64_t word, uint64_t tail) {
  return word >> 32 == (tail / kRecordAlignment & 0xffffffff);
}

// Returns: how many of `entries` the first one stands or falls with.
size_t UnitOf(std::span<const Append> entries) {
  size_t records = 1;
  while (records < entries.size() &&
         (entries[records - 1].flags & kMore) != 0) {
    ++records;
  }
  return records;
}

uint64_t PaddedBytesOf(std::span<const Append> entries) {
  uint64_t bytes = 0;
  for (const Append& entry : entries) bytes += PaddedBytes(entry.bytes());
  return bytes;
}

// Whether the table of delayed messages gets one more.
bool TakesPlace(const Append& entry) {
  return entry.type == RecordType::kDelayed && entry.waiting == nullptr;
}
// Whether it gets the next offset of its partition.
bool TakesOffset(const Append& entry) {
  return entry.partition != nullptr && entry.type != RecordType::kMoved;
}
// Whether that of prepared ones does.
bool IsPrepared(const Append& entry) {
  return entry.type == RecordType::kPrepare && entry.undecided == nullptr;
}

template <typename Is>
uint32_t CountOf(std::span<const Append> unit, Is is) {
  return static_cast<uint32_t>(std::count_if(unit.begin(), unit.end(), is));
}

absl::Status LockTimeout() {
  StatusDetail detail = DefaultDetail(Code::kTimeout);
  detail.outcome = Outcome::kNotStored;
  return WithDetail(
      MakeStatus(Code::kTimeout,
                 "append: another process held the log's lock until the "
                 "deadline; nothing was stored"),
      detail);
}

}  // namespace

Log::Log(Storage* storage, const Environment* environment,
         Control* control, SegmentMap* segments, LargeBodies* bodies,
         const Liveness* liveness, LogListener* listener)
    : storage_(storage),
      environment_(environment),
      control_(control),
      segments_(segments),
      bodies_(bodies),
      liveness_(liveness),
      listener_(listener),
      big_body_bytes_(control->header().options.big_body_bytes),
      laden_bytes_(std::min(control->header().options.max_segment_bytes,
                            LimitFor(Purpose::kMessages) / 8)),
      append_lock_(&control->header().append.lock, liveness,
                   environment->waiting),
      flush_lock_(&control->header().flush.lock, liveness,
                  environment->waiting),
      prepare_lock_(&control->header().catalog.prepare, liveness,
                    environment->waiting),
      index_(control),
      delays_(control),
      deduplications_(control),
      prepared_(control),
      touch_due_bytes_(kTouchBytes) {}

absl::Status Log::PoisonedError() const {
  if (storage_->LostPages()) return LostPagesError(storage_->Describe());
  return MakeStatus(Code::kStorageError, "use store \"",
                    std::string_view(storage_->Describe()),
                    "\": a flush failed; close it in every process and open "
                    "it again");
}

void Log::AppendAround(std::span<Append> entries, int64_t store_ms,
                       TimePoint deadline, Surrounding* around) {
  assert(entries.empty() || (entries.back().flags & kMore) == 0);
  for (const Append& entry : entries) {
    if (IsLarge(entry)) return AppendApart(entries, store_ms, deadline, around);
  }
  AppendHere(entries, store_ms, deadline, around);
}

void Log::AppendHere(std::span<Append> entries, int64_t store_ms,
                     TimePoint deadline, Surrounding* around) {
  if (entries.empty()) return;
  absl::Status failure;
  if (around != nullptr) failure = around->Enter();
  if (checksums() && failure.ok()) {
    for (Append& entry : entries) {
      if ((entry.flags & kPayloadPending) != 0) continue;
      uint32_t crc = 0;
      for (const std::string_view piece : entry.pieces) {
        crc = Crc32c(crc, piece.data(), piece.size());
      }
      if (OMS_PLANTED(kPayloadUnsummed)) crc = 0;
      entry.payload_checksum = crc;
    }
  }
  const std::span<Append> all = entries;
  if (failure.ok()) failure = AppendLoop(entries, store_ms, deadline);
  for (Append& entry : entries) entry.status = failure;
  // A unit has one status.
  if (around != nullptr) around->Leave(all.back().status);
  LookAhead();
}

absl::Status Log::AppendLoop(std::span<Append>& entries, int64_t store_ms,
                             TimePoint deadline) {
  absl::Status failure;
  while (!entries.empty() && failure.ok()) {
    const SlotLock::Result lock = append_lock_.Acquire(deadline);
    if (lock == SlotLock::Result::kTimeout) return LockTimeout();
    size_t count = 0;
    Step step = Step::kDone;
    if (lock == SlotLock::Result::kInherited || NeedsRepair()) {
      failure = Repair();
    }
    if (failure.ok()) {
      step = AppendLocked(entries, PurposeOf(entries[0]), store_ms, count);
    }
    append_lock_.Release();
    if (storage_->LostPages()) {
      // For all: whatever was stored there is in this process alone.
      control_->header().poisoned.Store(1);
      for (Append& entry : entries.first(count)) {
        entry.status = PoisonedError();
      }
    }
    entries = entries.subspan(count);
    if (step != Step::kDone) {
      failure = Provide(step, entries, deadline);
    }
  }
  return failure;
}

Purpose Log::PurposeOf(const Append& entry) const {
  const bool due = WasHeld(entry.type);
  if (!due && (TakesOffset(entry) || entry.takes_room)) {
    return Purpose::kMessages;
  }
  const uint32_t owner = control_->header().catalog.retire.owner.Load();
  if (owner != 0 && Owner::FromWord(owner) == liveness_->self()) {
    return Purpose::kRetirement;
  }
  return due ? Purpose::kDue : Purpose::kFacts;
}

uint64_t Log::Room(Purpose purpose) const {
  const ControlHeader& header = control_->header();
  // One unit less than the capacity: a full segment's end would be its
  // successor's base.
  const uint64_t room =
      current_->end() - kRecordAlignment - header.append.tail.Load();
  if (header.catalog.reserved_segment.Load() != current_ordinal_ + 1) {
    return room;
  }
  if (purpose == Purpose::kMessages && !OMS_PLANTED(kReserveForMessages)) {
    return 0;
  }
  // The rest is for retirement, which gives room back.
  const uint64_t kept = (current_->end() - current_->base()) / 2;
  return purpose == Purpose::kRetirement ? room
                                         : room - std::min(room, kept);
}

absl::Status Log::CheckEntry(const Append& entry) const {
  if (entry.alive != nullptr && entry.alive->live.Load() == 0) {
    return MakeStatus(Code::kQueueNotFound,
                      "append: the queue was deleted meanwhile");
  }
  if (entry.guard != nullptr && entry.guard->Load() != entry.guarded) {
    return MakeStatus(
        Code::kReceiptExpired,
        "append: the message was settled or handed out again meanwhile");
  }
  if (!Waits(entry) && !OMS_PLANTED(kDecidedTwice)) {
    return MakeStatus(
        Code::kReceiptExpired,
        "append: the message was brought in, decided or withdrawn meanwhile");
  }
  // A new group may have been handed a message that goes at this moment.
  if ((entry.flags & kBodyApart) != 0 && entry.guard != nullptr &&
      entry.source_position < control_->header().catalog.bodies_from.Load()) {
    return MakeStatus(Code::kDamaged,
                      "append: the message was retired meanwhile");
  }
  return absl::OkStatus();
}

bool Log::IsDuplicate(Append& entry) const {
  if (entry.deduplication == nullptr) return false;
  if (OMS_PLANTED(kDuplicateStored)) return false;
  const Deduplication& asked = *entry.deduplication;
  const auto first = deduplications_.Find(asked.fact.key, asked.now_ns);
  if (!first) return false;
  entry.duplicate = true;
  entry.sequence = first->sequence;
  entry.epoch = first->epoch;
  entry.queue_partition = first->queue_partition;
  entry.offset = first->offset;
  entry.position = first->position;
  // Whoever asks for durability waits for that record's.
  entry.end = first->position + first->bytes;
  return true;
}

void Log::MakeRoomFor(const Append& entry) {
  if (entry.deduplication != nullptr) {
    deduplications_.MakeRoom(entry.deduplication->now_ns);
  }
  if (IsPrepared(entry) && prepared_.spare() == 0) {
    prepared_.MakeRoom(environment_->clock->BootNs());
  }
}

absl::Status Log::FindDroppingOut(std::span<Append> unit) const {
  bool found = false;
  for (Append& entry : unit) {
    if (entry.drops_out && IsDuplicate(entry)) found = true;
  }
  if (!found) return absl::OkStatus();
  return MakeStatus(Code::kTransactionConflict,
                    "append: a message of the unit came before");
}

bool Log::NeedsRepair() const {
  const ControlHeader::Append& append = control_->header().append;
  const SegmentEntry& entry = segments_->entry(append.current.Load());
  const uint64_t base = entry.base.Load();
  const uint64_t tail = append.tail.Load();
  return append.intent_end.Load() != 0 || tail < base ||
         tail - base > entry.capacity.Load();
}

Log::Step Log::AppendLocked(std::span<Append> entries, Purpose purpose,
                            int64_t store_ms, size_t& count) {
  if (poisoned()) {
    for (Append& entry : entries) entry.status = PoisonedError();
    count = entries.size();
    return Step::kDone;
  }
  // One that is not to be appended keeps what it belongs to from it.
  bool drops_out = false;
  absl::Status status;
  for (size_t n = 0; status.ok(); ++n) {
    status = CheckEntry(entries[n]);
    drops_out = drops_out || entries[n].drops_out;
    if ((entries[n].flags & kMore) == 0 || n + 1 == entries.size()) break;
  }
  if (status.ok() && drops_out) {
    status = FindDroppingOut(entries.first(UnitOf(entries)));
  }
  if (!status.ok()) {
    count = UnitOf(entries);
    for (Append& entry : entries.first(count)) entry.status = status;
    return Step::kDone;
  }
  if (!drops_out && IsDuplicate(entries[0])) {
    // What was to be stored with it was stored with the other one.
    count = UnitOf(entries);
    for (Append& entry : entries.subspan(1, count - 1)) entry.duplicate = true;
    return Step::kDone;
  }
  if (const Step step = UseCurrent(); step != Step::kDone) return step;
  if (IsLaden(1)) {
    const ControlHeader& header = control_->header();
    const uint32_t end = header.catalog.end_segment.Load();
    if (current_ordinal_ + 1 != end &&
        header.catalog.reserved_segment.Load() != end) {
      return Roll(purpose);
    }
  }
  for (const Append& entry : entries.first(drops_out ? UnitOf(entries) : 1)) {
    MakeRoomFor(entry);
  }
  const Claim claim = Fit(entries, Room(purpose));
  if (claim.count == 0) {
    return claim.lacking == Step::kNeedSegment ? Roll(purpose) : claim.lacking;
  }
  count = claim.count;
  if (OMS_PLANTED(kAppendLockLeftEarly)) append_lock_.Release();
  WriteClaim(entries.first(count), claim.bytes, store_ms);
  return Step::kDone;
}

Log::Claim Log::Fit(std::span<const Append> entries, uint64_t room) const {
  Claim whole;  // Up to the end of a unit.
  uint64_t spare = index_.Spare();
  uint32_t delayed = 0;
  uint32_t remembered = 0;
  uint32_t prepared = 0;
  uint64_t total = 0;
  for (size_t n = 0; n < entries.size(); ++n) {
    const Append& entry = entries[n];
    if (n >= kMaxClaim && n == whole.count) break;
    const uint64_t bytes = PaddedBytes(entry.bytes());
    if (bytes > room - total) {
      whole.lacking = Step::kNeedSegment;
      break;
    }
    // Those of the first unit are looked at already.
    if (entry.alive != nullptr && entry.alive->live.Load() == 0) break;
    if (!Waits(entry)) break;
    if (entry.guard != nullptr && entry.guard->Load() != entry.guarded) break;
    if (TakesPlace(entry) && delayed++ == delays_.spare()) {
      whole.lacking = Step::kNeedDelayRoom;
      break;
    }
    if (IsPrepared(entry) && prepared++ == prepared_.spare()) {
      whole.lacking = Step::kNeedPreparedRoom;
      break;
    }
    if (entry.deduplication != nullptr) {
      assert(entry.drops_out || n == 0 ||
             (entries[n - 1].flags & kMore) == 0);
      if (remembered++ == deduplications_.spare()) {
        whole.lacking = Step::kNeedDeduplicationRoom;
        break;
      }
      if (IsKnown(*entry.deduplication, entries.first(n))) break;
    }
    if (TakesOffset(entry)) {
      // A new extent may be needed where the partition changes; and one more
      // in each run, which is shorter than an extent and a bit.
      const bool same =
          n > 0 && entries[n - 1].partition == entry.partition;
      const uint64_t needed = same ? 0 : 2;
      if (needed > spare) {
        whole.lacking = Step::kNeedIndex;
        break;
      }
      spare -= needed;
    }
    total += bytes;
    if ((entry.flags & kMore) == 0 || n + 1 == entries.size() ||
        OMS_PLANTED(kUnitSplit)) {
      whole.count = n + 1;
      whole.bytes = total;
    }
  }
  return whole;
}

Log::Step Log::UseCurrent() {
  const uint32_t ordinal = control_->header().append.current.Load();
  if (ordinal == current_ordinal_) return Step::kDone;
  std::shared_ptr<Segment> segment = segments_->IfMapped(ordinal);
  if (segment == nullptr) return Step::kNeedMapping;
  current_ = std::move(segment);
  current_ordinal_ = ordinal;
  return Step::kDone;
}

Log::Step Log::Roll(Purpose purpose) {
  ControlHeader& header = control_->header();
  const uint32_t next = header.append.current.Load() + 1;
  const uint32_t end = header.catalog.end_segment.Load();
  if (next == end) return Step::kNeedSegment;
  // Nothing is there that messages may use.
  if (purpose == Purpose::kMessages && next + 1 == end &&
      header.catalog.reserved_segment.Load() == end) {
    return Step::kNeedSegment;
  }
  const std::shared_ptr<Segment> segment = segments_->IfMapped(next);
  if (segment == nullptr) return Step::kNeedMapping;
  SegmentHeader::Roll roll;
  roll.previous_end = header.append.tail.Load();
  roll.previous_sequence = header.append.sequence.Load();
  roll.durable = durable();
  roll.previous_chain = static_cast<uint32_t>(header.append.chain.Load());
  roll.checksum = SealOf(roll, segment->salt());
  if (!OMS_PLANTED(kRollUnsaid)) segment->header()->roll = roll;
  if (OMS_PLANTED(kRollTailFirst)) header.append.tail.Store(segment->base());
  // An heir finds a tail outside the current segment and takes the last step.
  header.append.current.Store(next);
  header.append.large_bytes.Store(0);
  header.append.chain.Store(ChainWord(0, segment->base()));
  header.append.tail.Store(segment->base());
  return Step::kNeedMapping;  // Nothing is missing; the caller looks again.
}

void Log::WriteClaim(std::span<Append> entries, uint64_t total,
                     int64_t store_ms) {
  ControlHeader::Append& append = control_->header().append;
  const uint64_t begin = append.tail.Load();
  uint64_t sequence = append.sequence.Load();
  append.intent_begin.Store(begin);
  if (!OMS_PLANTED(kIntentUnsaid)) append.intent_end.Store(begin + total);
  for (const Append& entry : entries) {
    if ((entry.flags & kBodyApart) == 0 || entry.body_of != nullptr) continue;
    // Said before a record is visible. An heir need not repeat it.
    LargeBody body;
    std::memcpy(&body, entry.pieces[2].data(), sizeof(body));
    append.large_bytes.Store(append.large_bytes.Load() + body.bytes);
    segments_->entry(current_ordinal_)
        .used.FetchOr(kNamesBodies |
                      (SharesBody(entry.type) ? kSharesBodies : 0));
  }
  appended_bytes_.store(
      appended_bytes_.load(std::memory_order_relaxed) + total,
      std::memory_order_relaxed);
  uint64_t position = begin;
  for (size_t i = 0; i < entries.size(); ++i) {
    Append& entry = entries[i];
    entry.position = position;
    if (OMS_PLANTED(kSequenceReused)) --sequence;
    entry.sequence = ++sequence;
    position += PaddedBytes(entry.bytes());
    entry.end = position;
    if (!TakesOffset(entry)) continue;
    // Batches go to one partition or round them, so the search is short.
    entry.offset = entry.partition->next_offset.Load();
    for (size_t k = i; k-- > 0;) {
      if (entries[k].partition == entry.partition) {
        entry.offset = entries[k].offset + 1;
        break;
      }
    }
  }
  // The first record last: with its commit word the whole claim is valid.
  if (OMS_PLANTED(kClaimFromFront)) {
    WriteRecord(entries[0], entries[0].position, store_ms);
  }
  for (size_t i = entries.size(); i-- > 0;) {
    WriteRecord(entries[i], entries[i].position, store_ms);
  }
  Finish(begin, begin + total, entries);
}

void Log::WriteRecord(Append& entry, uint64_t position, int64_t store_ms) {
  const uint64_t salt = current_->salt();
  RecordHeader header;
  header.commit =
      CommitWord::Make(static_cast<uint32_t>(entry.bytes()), entry.type,
                       entry.flags, entry.sequence, salt);
  header.payload_checksum = entry.payload_checksum;
  header.sequence = entry.sequence;
  header.position = position;
  header.queue_partition = entry.queue_partition;
  header.epoch = control_->header().epoch;
  header.offset = entry.offset;
  header.store_ms = entry.store_ms != 0 ? entry.store_ms : store_ms;
  const uint64_t undurable = (position - durable()) / kRecordAlignment;
  header.durable_floor =
      undurable < kNoFloor ? static_cast<uint32_t>(undurable) : kNoFloor;
  if (OMS_PLANTED(kFloorUnsaid)) header.durable_floor = kNoFloor;
  header.fields_bytes = static_cast<uint32_t>(entry.pieces[0].size() +
                                              entry.pieces[1].size());
  if (checksums()) header.header_checksum = SealOf(header, salt);

  char* const out = current_->Write(position);
  if (OMS_PLANTED(kCommitWordFirst)) CommitAt(out).Store(header.commit);
  std::memcpy(out + sizeof(uint64_t),
              reinterpret_cast<const char*>(&header) + sizeof(uint64_t),
              sizeof(header) - sizeof(uint64_t));
  char* payload = out + sizeof(header);
  for (const std::string_view piece : entry.pieces) {
    if (!piece.empty()) std::memcpy(payload, piece.data(), piece.size());
    payload += piece.size();
  }
  CommitAt(out).Store(header.commit);
}

void Log::Finish(uint64_t begin, uint64_t end,
                 std::span<const Append> entries) {
  ControlHeader& control = control_->header();
  uint64_t chain_word = control.append.chain.Load();
  const bool chain_here = checksums() && ChainIsAt(chain_word, begin);
  auto chain = static_cast<uint32_t>(chain_word);
  uint64_t sequence = control.append.sequence.Load();
  size_t n = 0;
  for (uint64_t position = begin; position < end; ++n) {
    const char* const record = current_->Read(position);
    const RecordHeader header = HeaderAt(record);
    const uint32_t length = CommitWord::Length(header.commit);
    const RecordType type = CommitWord::Type(header.commit);
    // Of a claim whose first record is whole all are, unless somebody damaged
    // them; an heir must end all the same.
    if (length < sizeof(RecordHeader) || length > end - position) break;
    if (HoldsMessage(type)) {
      PartitionState* const partition =
          entries.empty() ? listener_->FindPartition(header.queue_partition)
                          : entries[n].partition;
      if (partition != nullptr) {
        if (OMS_PLANTED(kOffsetBeforeIndex)) {
          partition->next_offset.StoreSequential(header.offset + 1);
        }
        const uint32_t key_hash =
            entries.empty()
                ? KeyHash(internal::FindField(MessageFields(header, record),
                                              internal::Field::kMessageKey)
                              .value_or(std::string_view()))
                : entries[n].key_hash;
        const uint16_t flags = IndexFlagsOf(CommitWord::Flags(header.commit));
        if (type == RecordType::kMoved) {
          index_.Move(*partition, header.queue_partition, header.offset,
                      position, flags, key_hash);
        } else {
          index_.Put(*partition, header.queue_partition, header.offset,
                     position, flags, key_hash);
        }
        if (partition->next_offset.Load() <= header.offset) {
          partition->next_offset.StoreSequential(header.offset + 1);
        }
      }
    }
    if (type != RecordType::kMessage ||
        (CommitWord::Flags(header.commit) & kDeduplicated) != 0) {
      FinishOther(header, record, entries.empty() ? nullptr : &entries[n]);
    }
    if (chain_here) {
      chain = Crc32c(chain, &header.header_checksum,
                     sizeof(header.header_checksum));
    }
    sequence = std::max(sequence, header.sequence);
    position += PaddedBytes(length);
  }
  if (chain_here) control.append.chain.Store(ChainWord(chain, end));
  if (OMS_PLANTED(kIntentClearedFirst)) control.append.intent_end.Store(0);
  control.append.sequence.Store(sequence);
  control.append.tail.Store(end);
  control.committed.end.Store(end);
  control.append.intent_end.Store(0);
}

absl::Status Log::Repair() {
  // They cannot fail, so they come first: nobody would see that they are left to
  // do.
  if (!OMS_PLANTED(kDelaysUnmended)) delays_.Mend();
  deduplications_.Mend();
  prepared_.Mend();
  ControlHeader& control = control_->header();
  ControlHeader::Append& append = control.append;
  auto mapped = segments_->ByOrdinal(append.current.Load());
  if (!mapped.ok()) return mapped.status();
  current_ = *mapped;
  current_ordinal_ = append.current.Load();
  if (!current_->Contains(append.tail.Load()) && !OMS_PLANTED(kCutRollStays)) {
    // A roll that was cut.
    append.chain.Store(ChainWord(0, current_->base()));
    append.tail.Store(current_->base());
  }
  if (OMS_PLANTED(kHeirFinishesNothing)) append.intent_end.Store(0);
  const uint64_t end = append.intent_end.Load();
  if (end == 0) return absl::OkStatus();
  const uint64_t begin = append.intent_begin.Load();
  if (begin != append.tail.Load() && end == append.tail.Load()) {
    // All was done but the last two stores.
    control.committed.end.Store(end);
    append.intent_end.Store(0);
    return absl::OkStatus();
  }
  if (begin < current_->base() || end > current_->end() || begin >= end) {
    append.intent_end.Store(0);
    return absl::OkStatus();
  }
  const RecordHeader header = HeaderAt(current_->Read(begin));
  const bool valid = header.commit != 0 && header.position == begin &&
                     !OMS_PLANTED(kHeirErasesWhole) &&
                     SealOf(header, current_->salt()) == header.header_checksum;
  if (valid) {
    Finish(begin, end, {});
  } else {
    std::memset(current_->Write(begin), 0, end - begin);
    append.tail.Store(begin);
    append.intent_end.Store(0);
  }
  return absl::OkStatus();
}

void Log::Heal() {
  if (control_->header().append.intent_end.Load() == 0) return;
  if (append_lock_.TryAcquire() == SlotLock::Result::kTimeout) return;
  // A failure leaves the intent, and so the next append repairs.
  Repair().IgnoreError();
  append_lock_.Release();
}

absl::Status Log::FinishDead(TimePoint deadline) {
  if (control_->header().append.intent_end.Load() == 0 ||
      OMS_PLANTED(kDeadUnfinished)) {
    return absl::OkStatus();
  }
  auto locked = LockWhole(deadline);
  if (locked.ok()) append_lock_.Release();
  return locked;
}

absl::Status Log::LockWhole(TimePoint deadline) {
  const SlotLock::Result lock = append_lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) return LockTimeout();
  absl::Status status;
  if (lock == SlotLock::Result::kInherited || NeedsRepair()) status = Repair();
  if (!status.ok()) append_lock_.Release();
  return status;
}

bool Log::AwaitAppends(TimePoint deadline) {
  const SlotLock::Result lock = append_lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) return false;
  const bool whole = lock != SlotLock::Result::kInherited && !NeedsRepair();
  const bool ended = whole || Repair().ok();
  append_lock_.Release();
  return ended;
}

void Log::RollForRoom(TimePoint deadline) {
  const ControlHeader::Append& append = control_->header().append;
  const uint32_t before = append.current.Load();
  if (append.large_bytes.Load() == 0 ||
      !PrepareSegment(0, Purpose::kRetirement, deadline).ok() ||
      !segments_->ByOrdinal(before).ok() ||
      !segments_->ByOrdinal(before + 1).ok()) {
    return;
  }
  const SlotLock::Result lock = append_lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) return;
  const bool whole = lock != SlotLock::Result::kInherited && !NeedsRepair();
  if ((whole || Repair().ok()) && append.current.Load() == before &&
      UseCurrent() == Step::kDone) {
    Roll(Purpose::kRetirement);
  }
  append_lock_.Release();
}

absl::Status Log::Provide(Step step, std::span<const Append> entries,
                          TimePoint deadline) {
  const std::span<const Append> unit = entries.first(UnitOf(entries));
  switch (step) {
    case Step::kDone:
      break;
    case Step::kNeedSegment:
      return PrepareSegment(PaddedBytesOf(unit), PurposeOf(entries.front()),
                            deadline);
    case Step::kNeedDelayRoom:
      return listener_->MakeDelayRoom(CountOf(unit, TakesPlace), deadline);
    case Step::kNeedDeduplicationRoom:
      return listener_->MakeDeduplicationRoom(
          CountOf(unit,
                  [](const Append& one) {
                    return one.deduplication != nullptr;
                  }),
          deadline);
    case Step::kNeedPreparedRoom:
      return listener_->MakePreparedRoom(deadline);
    case Step::kNeedIndex:
      return GrowIndex(
          2 * std::max(unit.size(), std::min(entries.size(), kMaxClaim)),
          deadline);
    case Step::kNeedMapping: {
      const ControlHeader& header = control_->header();
      const uint32_t current = header.append.current.Load();
      auto segment = segments_->ByOrdinal(current);
      if (segment.ok() && current + 1 != header.catalog.end_segment.Load()) {
        segment = segments_->ByOrdinal(current + 1);
      }
      return segment.status();
    }
  }
  return absl::OkStatus();
}

absl::Status Log::GrowIndex(uint64_t spare, TimePoint deadline) {
  if (prepare_lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
    return LockTimeout();
  }
  absl::Status status;
  if (index_.Spare() < spare) {
    const uint64_t room = control_->header().catalog.index_extents.Load();
    // An eighth more: few growths, little waste.
    status = control_->GrowIndex(
        room + spare + std::min<uint64_t>(room / 8, 4096));
  }
  prepare_lock_.Release();
  return status;
}

}  // namespace openmessaging::reference
