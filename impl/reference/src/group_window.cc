// SPDX-License-Identifier: Apache-2.0
//
// What is due again is in group_redelivery.cc, what transactions do in
// group_unit.cc.

#include "group_window.h"

#include <algorithm>
#include <chrono>

#include "openmessaging/status.h"
#include "planted.h"
#include "waiting.h"

namespace openmessaging::reference {

GroupWindow::GroupWindow(const Control* control, const Environment* environment,
                         const Liveness* liveness, PartitionState* partition,
                         uint32_t queue_partition, Cursor* cursor,
                         const RedeliveryPolicy& policy, RedeliveryLog* log,
                         bool ordered)
    : control_(control),
      environment_(environment),
      liveness_(liveness),
      partition_(partition),
      cursor_(cursor),
      words_(control, cursor),
      window_(words_.window()),
      first_policy_(policy),
      log_(log),
      ordered_(ordered),
      lock_(&cursor->lock, liveness, environment->waiting),
      index_(control, partition, queue_partition),
      oldest_(control, partition, queue_partition) {}

bool GroupWindow::MayHave(int64_t now_ns) const {
  const uint64_t next = cursor_->next.Load();
  if (cursor_->next_scan_ns.Load() <= now_ns) return true;
  if (ordered_) {
    if (MayBeFree()) return true;
    if (cursor_->held_back.Load() == static_cast<uint32_t>(HoldBack::kFull)) {
      return false;
    }
  }
  if (partition_->next_offset.LoadSequential() <= next) return false;
  // A full window yields nothing until its oldest message is settled, or finds
  // room among the exceptions.
  const uint64_t floor = cursor_->floor.Load();
  return next - floor < window_ || cursor_->stalled.Load() == 0 ||
         (Load(floor).Is(floor) &&
          Load(floor).state() == DeliveryState::kSettled);
}

bool GroupWindow::HasUnsettled() const {
  for (uint32_t n = 0; n < words_.UsedExceptions(); ++n) {
    ExceptionEntry& entry = words_.exceptions()->entry(n);
    const uint64_t name = entry.name.Load();
    const DeliveryWord found(entry.word.Load());
    if (name != 0 && !(found.Is(name - 1) &&
                       found.state() == DeliveryState::kSettled)) {
      return true;
    }
  }
  return cursor_->next.Load() != cursor_->floor.Load();
}

bool GroupWindow::IsPresentLife(DeliveryWord word) const {
  const uint32_t generation =
      word.slot() == liveness_->self().slot()
          ? liveness_->self().generation()
          : liveness_->GenerationOf(word.slot());
  return (generation & 1023) == word.generation_bits();
}

bool GroupWindow::HasOwner(DeliveryWord word) const {
  const uint32_t slot = word.slot();
  return IsPresentLife(word) &&
         liveness_->IsAlive(Owner(slot, liveness_->GenerationOf(slot)));
}

void GroupWindow::Repair() {
  const uint64_t end = partition_->next_offset.Load();
  uint64_t next = cursor_->next.Load();
  while (next < end && next - cursor_->floor.Load() < window_ &&
         Load(next).Is(next)) {
    ++next;
  }
  cursor_->next.Store(next);
  cursor_->next_scan_ns.Store(0);
  // A move to the exceptions that was cut: the window still has it, or else
  // says that it moved.
  for (uint32_t n = 0; n < words_.UsedExceptions(); ++n) {
    ExceptionEntry& entry = words_.exceptions()->entry(n);
    const uint64_t name = entry.name.Load();
    if (name == 0 || name - 1 < cursor_->floor.Load()) continue;
    const DeliveryWord in_window = Load(name - 1);
    if (!in_window.Is(name - 1) || in_window.state() != DeliveryState::kMoved) {
      entry.name.Store(0);
    }
  }
}

void GroupWindow::AdvanceFloor() {
  const uint64_t next = cursor_->next.Load();
  uint64_t floor = cursor_->floor.Load();
  while (floor < next && Load(floor).Is(floor) &&
         (Load(floor).state() == DeliveryState::kSettled ||
          OMS_PLANTED(kFloorPastLeased) ||
          Load(floor).state() == DeliveryState::kMoved)) {
    ++floor;
  }
  cursor_->floor.Store(floor);
}

uint32_t GroupWindow::FreeExceptions() {
  const uint32_t used = words_.UsedExceptions();
  if (used == 0) return 0;
  ExceptionTable& table = *words_.exceptions();
  uint32_t needed = 0;
  uint32_t taken = 0;
  for (uint32_t n = 0; n < used; ++n) {
    ExceptionEntry& entry = table.entry(n);
    const uint64_t name = entry.name.Load();
    if (name == 0) continue;
    const DeliveryWord found(entry.word.Load());
    if (found.Is(name - 1) && found.state() == DeliveryState::kSettled) {
      entry.name.Store(0);
      continue;
    }
    needed = n + 1;
    ++taken;
  }
  table.used.Store(needed);
  if (taken < window_) cursor_->stalled.Store(0);
  return taken;
}

bool GroupWindow::MoveToExceptions(uint64_t offset) {
  ExceptionTable& table = *words_.exceptions();
  uint32_t place = 0;
  while (place < window_ && place < table.used.Load() &&
         table.entry(place).name.Load() != 0) {
    ++place;
  }
  if (place == window_) return false;
  const DeliveryPlace old = words_.InWindow(offset);
  const DeliveryWord found = old.Load();
  if (found.Is(offset) && found.state() == DeliveryState::kSettled) return true;
  ExceptionEntry& entry = table.entry(place);
  // Settlements find it in the window until its word says that it moved, and
  // here from then on; whoever dies between leaves two, and the heir believes
  // the window.
  if (found.Is(offset)) {
    entry.word.Store(found.bits());
    entry.due.Store(old.due->Load());
  } else {
    entry.word.Store(
        DeliveryWord::Restored(offset, DeliveryState::kReturned, 0).bits());
    entry.due.Store(0);
  }
  entry.name.Store(offset + 1);
  if (table.used.Load() <= place && !OMS_PLANTED(kExceptionUncounted)) {
    table.used.Store(place + 1);
  }
  uint64_t expected = found.bits();
  if (!old.word->CompareExchange(
          expected, DeliveryWord::Restored(offset, DeliveryState::kMoved,
                                           found.attempts())
                        .bits())) {
    entry.name.Store(0);  // Settled in the last moment.
  }
  return true;
}

void GroupWindow::MoveOldest(TimePoint deadline) {
  const uint64_t next = cursor_->next.Load();
  if (next - cursor_->floor.Load() <= window_ - window_ / 4) return;
  deadline = std::max(deadline,
                      std::chrono::steady_clock::now() + kAppendPatience);
  if (!log_->EnsureExceptions(deadline).ok() || FreeExceptions() == window_) {
    // Nobody looks for that reason until there may be room.
    cursor_->stalled.Store(1);
    return;
  }
  // Until an image has them, no count of a delivery may say that what is below
  // the floor is settled.
  cursor_->unlogged.Store(1);
  bool room = true;
  while (room && next - cursor_->floor.Load() > window_ / 2) {
    room = MoveToExceptions(cursor_->floor.Load());
    AdvanceFloor();
  }
  cursor_->stalled.Store(room ? 0 : 1);
  // If this fails, the next flush has an image all the same.
  if (log_->LogCursor(deadline).ok()) cursor_->unlogged.Store(0);
}

void GroupWindow::LowerNextScan(int64_t time_ns) {
  int64_t old = cursor_->next_scan_ns.Load();
  while (time_ns < old &&
         !cursor_->next_scan_ns.CompareExchange(old, time_ns)) {
  }
}

void GroupWindow::HandOutOne(const Candidate& candidate,
                             const std::optional<IndexHit>& hit,
                             uint32_t attempts, int64_t now_ns,
                             int64_t lease_ns, HandOut* out,
                             TakeResult& result) {
  const uint64_t offset = candidate.offset;
  if (!hit) {
    candidate.place.word->Store(
        DeliveryWord::Restored(offset, DeliveryState::kSettled, attempts)
            .bits());
    // What was retired is no loss.
    if (offset >= partition_->whole_from.Load()) {
      if (!result.lost) result.lost = offset;
      ++result.lost_count;
    }
    return;
  }
  const bool once = (hit->flags & kIndexOnce) != 0;
  if (once) {
    result.settled_once = true;
    // Its key has nothing to wait for.
    FreeKey();
    if (offset < cursor_->once_from.Load()) {
      candidate.place.word->Store(
          DeliveryWord::Restored(offset, DeliveryState::kSettled, attempts)
              .bits());
      return;
    }
  }
  uint32_t token = cursor_->token.LoadRelaxed() + 1;
  cursor_->token.StoreRelaxed(token);
  token = SeeksOf(cursor_->images.LoadRelaxed()) << 2 | (token & 3);
  DeliveryWord leased =
      DeliveryWord::Leased(offset, attempts, liveness_->self(), token);
  if (once) leased = leased.WithState(DeliveryState::kSettled, offset);
  // An ack of the earlier delivery may win until here.
  uint64_t expected = candidate.found.bits();
  if (OMS_PLANTED(kLeaseStored)) expected = candidate.place.word->Load();
  if (!candidate.place.word->CompareExchange(expected, leased.bits())) return;
  // Behind the word: of an owner that died between, no due time counts.
  candidate.place.due->Store(SaturatingAdd(now_ns, lease_ns));
  out[result.count++] = {offset, hit->position, leased};
}

void GroupWindow::TakeNew(size_t max, int64_t now_ns, int64_t lease_ns,
                          uint64_t durable, HandOut* out, TimePoint deadline,
                          TakeResult& result) {
  SkipRetired();
  const uint64_t end = partition_->next_offset.LoadSequential();
  const uint64_t limit =
      std::min(end, cursor_->floor.Load() + uint64_t{window_});
  const uint64_t first = cursor_->next.Load();
  uint64_t next = first;
  for (; next < limit && result.count < max; ++next) {
    const auto hit = index_.Find(next);
    // A run of lost messages is told as one.
    if (hit && result.lost) break;
    if (hit && (hit->flags & kIndexDisk) != 0 && hit->position >= durable &&
        !OMS_PLANTED(kUndurableHandedOut)) {
      // Durable ends a record, so one that begins below it is durable.
      result.flush_to = hit->position + 1;
      break;
    }
    const Candidate candidate{next, words_.InWindow(next), Load(next)};
    if (hit && (hit->flags & kIndexExpires) != 0 &&
        Expire(candidate, *hit, now_ns, deadline, result)) {
      continue;
    }
    if (ordered_ && hit) {
      if (keys_.IsTaken(hit->key_hash) && !keys_.HasRoom()) {
        keys_.SetFull();
        break;
      }
      if (!keys_.Take(hit->key_hash)) {
        HoldOne(next);
        continue;
      }
    }
    HandOutOne(candidate, hit, 1, now_ns, lease_ns, out, result);
  }
  if (next == first) return;
  // First the reason to look again, lest a death between leave leases that
  // nobody ever sees.
  if (!OMS_PLANTED(kLeaseNotWatched)) LowerNextScan(now_ns + kLookForDeadNs);
  cursor_->next.Store(next);
}

void GroupWindow::SkipRetired() {
  uint64_t at = cursor_->next.Load();
  const uint64_t whole = partition_->whole_from.Load();
  if (at >= whole || at != cursor_->floor.Load() || index_.Find(at)) return;
  const uint64_t to = index_.Next(at, whole);
  // Words of a while ago must not be taken for those of what comes.
  for (uint64_t n = at; n < to && n - at < window_; ++n) word(n).Store(0);
  // Whoever looks meanwhile never sees them further apart than a window; what he
  // takes for unsettled is found to be retired.
  while (at < to) {
    at = std::min(to, at + window_);
    cursor_->next.Store(at);
    cursor_->floor.Store(at);
  }
}

void GroupWindow::HoldOne(uint64_t offset) {
  const DeliveryPlace place = words_.InWindow(offset);
  place.due->Store(0);
  place.word->Store(
      DeliveryWord::Restored(offset, DeliveryState::kReturned, 0).bits());
}

inline void GroupWindow::TakeAll(size_t max, int64_t now_ns, int64_t lease_ns,
                          uint64_t durable, HandOut* out, TimePoint deadline,
                          TakeResult& result) {
  if (ordered_ || cursor_->next_scan_ns.Load() <= now_ns) {
    TakeDue(max, now_ns, lease_ns, out, deadline, result);
  }
  if (result.count == max || result.lost) return;
  // New ones may have to wait for what was not looked at.
  if (ordered_ && !scanned_all_) return;
  MoveOldest(deadline);
  TakeNew(max, now_ns, lease_ns, durable, out, deadline, result);
}

TakeResult GroupWindow::Take(size_t max, int64_t now_ns, int64_t lease_ns,
                             uint64_t durable, HandOut* out,
                             TimePoint deadline) {
  TakeResult result;
  // Whoever only looks may find it held often: no text is made for that.
  const SlotLock::Result lock = lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) return result;
  result.failure = Enter(lock, deadline);
  if (!result.failure.ok()) return result;
  result.seeks = SeeksOf(cursor_->images.LoadRelaxed());
  AdvanceFloor();
  if (!ordered_) {
    TakeAll(max, now_ns, lease_ns, durable, out, deadline, result);
  } else {
    // Who settles changes a word and then looks at held_back; here it is the
    // other way round.
    const uint32_t freed = cursor_->freed.LoadSequential();
    if (cursor_->held_back.Load() == static_cast<uint32_t>(HoldBack::kNothing)) {
      cursor_->held_back.Exchange(static_cast<uint32_t>(HoldBack::kSome));
    }
    keys_.Begin(window_ / 4);
    TakeAll(max, now_ns, lease_ns, durable, out, deadline, result);
    // What this look did not come to may be held back as well.
    const HoldBack held = keys_.full()             ? HoldBack::kFull
                          : keys_.held_back() > 0 || !scanned_all_
                              ? HoldBack::kSome
                              : HoldBack::kNothing;
    cursor_->held_back.Store(static_cast<uint32_t>(held));
    cursor_->freed_seen.Store(freed);
  }
  lock_.Release();
  return result;
}

absl::Status GroupWindow::Refusal(uint64_t offset, DeliveryWord receipt) const {
  // The floor first: what is below it by then and no exception is settled.
  const uint64_t floor = cursor_->floor.Load();
  const DeliveryPlace place = words_.Find(offset);
  if (offset < floor && !place) return absl::OkStatus();
  if (offset >= cursor_->next.Load() || !receipt.Is(offset)) {
    return MakeStatus(Code::kReceiptInvalid, "settle offset ", offset,
                      ": the receipt was never given out");
  }
  if (place && place.Load().Is(offset) &&
      place.Load().state() == DeliveryState::kSettled) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kReceiptExpired, "settle offset ", offset,
                    ": the receipt is of an earlier delivery; the message was "
                    "given back or handed out again since");
}

absl::Status GroupWindow::Ack(uint64_t offset, DeliveryWord receipt) {
  const uint64_t settled =
      receipt.WithState(DeliveryState::kSettled, offset).bits();
  if (receipt.Is(offset) && receipt.state() == DeliveryState::kLeased &&
      offset < cursor_->next.Load()) {
    if (OMS_PLANTED(kAckStored)) {
      word(offset).Store(settled);
      return absl::OkStatus();
    }
    uint64_t expected = receipt.bits();
    if (OMS_PLANTED(kStaleAckTaken)) expected = word(offset).Load();
    if (word(offset).CompareExchange(expected, settled)) {
      FreeKey();
      return absl::OkStatus();
    }
    expected = receipt.bits();
    if (const DeliveryPlace place = words_.FindException(offset);
        place && place.word->CompareExchange(expected, settled)) {
      FreeKey();
      return absl::OkStatus();
    }
  }
  return Refusal(offset, receipt);
}

absl::Status GroupWindow::Lock(std::string_view operation, uint64_t offset,
                               TimePoint deadline) {
  const SlotLock::Result lock = lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kTimeout, operation, " offset ", offset,
                      ": another process held the group's lock until the "
                      "deadline");
  }
  return Enter(lock, deadline);
}

absl::Status GroupWindow::EnterSlow(bool seeking, TimePoint deadline) {
  if (seeking) {
    // Whoever appended a SEEK record died at it. An heir of the append lock may
    // move the cursor at any time until it is known what became of the record.
    if (auto finished = log_->FinishDead(deadline); !finished.ok()) {
      lock_.Release();
      return finished;
    }
  }
  Repair();
  if (seeking) cursor_->seeking.Store(0);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> GroupWindow::Seek(uint64_t offset,
                                           TimePoint deadline) {
  if (auto locked = Lock("seek", offset, deadline); !locked.ok()) return locked;
  // Under the lock, because retirement and senders go on meanwhile.
  offset = std::clamp(offset, partition_->first_offset.Load(),
                      std::max(partition_->first_offset.Load(),
                               partition_->next_offset.Load()));
  const uint64_t seeks = SeeksOf(cursor_->images.Load()) + uint64_t{1};
  if (!OMS_PLANTED(kSeekUnsaid)) cursor_->seeking.Store(1);
  auto position = log_->LogSeek(offset, seeks << kSeekShift, deadline);
  cursor_->seeking.Store(0);
  lock_.Release();
  return position;
}

absl::Status GroupWindow::Nack(uint64_t offset, DeliveryWord receipt,
                               int64_t due_ns, TimePoint deadline) {
  // Under the lock, because word and due time change together.
  if (auto locked = Lock("settle", offset, deadline); !locked.ok()) return locked;
  if (due_ns == 0) {
    due_ns = SaturatingAdd(environment_->clock->BootNs(),
                           policy().BackoffNs(receipt.attempts()));
  }
  absl::Status status =
      GiveBack(offset, receipt,
               receipt.WithState(DeliveryState::kReturned, offset), due_ns);
  lock_.Release();
  return status;
}

absl::Status GroupWindow::Release(uint64_t offset, DeliveryWord receipt,
                                  TimePoint deadline) {
  if (auto locked = Lock("release", offset, deadline); !locked.ok()) {
    return locked;
  }
  // One less than it was counted; one that was new lies there as what a key
  // holds back does, delivered no time.
  const uint32_t before = std::max(receipt.attempts(), 1u) - 1;
  absl::Status status = GiveBack(
      offset, receipt,
      DeliveryWord::Restored(offset, DeliveryState::kReturned, before), 0);
  lock_.Release();
  return status;
}

absl::Status GroupWindow::GiveBack(uint64_t offset, DeliveryWord receipt,
                                   DeliveryWord returned, int64_t due_ns) {
  const DeliveryPlace place = FindHeld(offset, receipt);
  if (!place) return Refusal(offset, receipt);
  const int64_t lease_end = place.due->Load();
  place.due->Store(due_ns);
  uint64_t expected = receipt.bits();
  if (!place.word->CompareExchange(expected, returned.bits())) {
    place.due->Store(lease_end);
  }
  LowerNextScan(due_ns);
  return absl::OkStatus();
}

absl::Status GroupWindow::Extend(uint64_t offset, DeliveryWord receipt,
                                 int64_t due_ns, TimePoint deadline) {
  if (auto locked = Lock("settle", offset, deadline); !locked.ok()) return locked;
  absl::Status status;
  const DeliveryPlace place = FindHeld(offset, receipt);
  if (place && !HasOwner(receipt)) {
    // The next look gives it to somebody else, whatever its due time says.
    status = MakeStatus(Code::kReceiptExpired, "extend offset ", offset,
                        ": the process that received the message has ended, "
                        "and its lease with it");
  } else if (place) {
    place.due->Store(due_ns);
    LowerNextScan(due_ns);
  } else if (status = Refusal(offset, receipt); status.ok()) {
    status = MakeStatus(Code::kReceiptExpired, "extend offset ", offset,
                        ": the message is settled; expected one that is still "
                        "with its receiver");
  }
  lock_.Release();
  return status;
}

absl::Status GroupWindow::Reject(uint64_t offset, DeliveryWord receipt,
                                 TimePoint deadline) {
  if (auto locked = Lock("settle", offset, deadline); !locked.ok()) return locked;
  absl::Status status = Refusal(offset, receipt);
  if (const DeliveryPlace place = FindHeld(offset, receipt)) {
    // Returned and due while it moves: no ack counts from here on, and whoever
    // comes after a death in here finds it.
    const int64_t lease_end = place.due->Load();
    const int64_t now_ns = environment_->clock->BootNs();
    const DeliveryWord moving =
        receipt.WithState(DeliveryState::kReturned, offset);
    place.due->Store(now_ns);
    LowerNextScan(now_ns);
    uint64_t expected = receipt.bits();
    if (place.word->CompareExchange(expected, moving.bits())) {
      status = MoveDead({offset, place, moving}, DeadReason::kRejected,
                        deadline);
      FreeKey();
    } else {
      status = absl::OkStatus();  // Acknowledged meanwhile.
    }
    if (!status.ok()) {
      // Nothing was done: its receiver still has it.
      place.due->Store(lease_end);
      expected = moving.bits();
      place.word->CompareExchange(expected, receipt.bits());
    }
  }
  lock_.Release();
  return status;
}

void GroupWindow::Return(uint64_t offset, DeliveryWord held) {
  if (!IsHeld(offset, held)) return;
  Nack(offset, held, 1, TimePoint::max()).IgnoreError();
}

}  // namespace openmessaging::reference
