// SPDX-License-Identifier: Apache-2.0

#include "group_window.h"

#include <algorithm>
#include <bitset>
#include <chrono>

#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

// How often somebody asks whether the owners of leases live.
constexpr int64_t kLookForDeadNs = 50'000'000;

// Waited for the append lock even by those who wait for nothing: its owner
// holds it for microseconds, unless it is stopped.
constexpr std::chrono::milliseconds kAppendPatience{10};

// A message that could not be moved is tried again after so long.
constexpr int64_t kMoveAgainNs = 1'000'000'000;

int64_t SaturatingAdd(int64_t a, int64_t b) {
  return b > INT64_MAX - a ? INT64_MAX : a + b;
}

}  // namespace

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
          : control_->slots()[word.slot()].generation.Load();
  return (generation & 1023) == word.generation_bits();
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
  if (table.used.Load() <= place) table.used.Store(place + 1);
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
    // Below the oldest stored message it was retired, which is no loss.
    if (offset >= partition_->first_offset.Load()) {
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
  if (!candidate.place.word->CompareExchange(expected, leased.bits())) return;
  // Behind the word: of an owner that died between, no due time counts.
  candidate.place.due->Store(SaturatingAdd(now_ns, lease_ns));
  out[result.count++] = {offset, hit->position, leased};
}

class GroupWindow::Owners {
 public:
  explicit Owners(const GroupWindow* window) : window_(window) {}

  // Returns: false only if the owner of a lease is certainly gone.
  bool IsAlive(DeliveryWord leased) {
    const uint32_t slot = leased.slot();
    if (!asked_[slot]) {
      asked_[slot] = true;
      alive_[slot] = window_->liveness_->IsAlive(Owner(
          slot, window_->control_->slots()[slot].generation.Load()));
    }
    return window_->IsPresentLife(leased) && alive_[slot];
  }

 private:
  const GroupWindow* const window_;
  std::bitset<1024> asked_;
  std::bitset<1024> alive_;
};

struct GroupWindow::Scan {
  explicit Scan(const GroupWindow* window, size_t max_in, int64_t now)
      : max(max_in), now_ns(now), owners(window) {}

  const size_t max;
  const int64_t now_ns;
  Owners owners;
  int64_t next_ns = INT64_MAX;
};

bool GroupWindow::LookAt(uint64_t offset, const DeliveryPlace& place,
                         IndexReader& index, Scan& scan) {
  const DeliveryWord found = place.Load();
  const bool known = found.Is(offset);
  int64_t due_ns = 0;
  if (known) {
    if (found.state() == DeliveryState::kSettled ||
        found.state() == DeliveryState::kMoved) {
      return true;
    }
    due_ns = place.due->Load();
    if (found.state() == DeliveryState::kLeased) {
      if (!scan.owners.IsAlive(found)) due_ns = 0;
      scan.next_ns = std::min(scan.next_ns, scan.now_ns + kLookForDeadNs);
    }
  }
  if (ordered_) {
    const auto hit = index.Find(offset);
    if (!keys_.Take(hit ? hit->key_hash : 0)) return true;
  }
  if (due_ns > scan.now_ns) {
    scan.next_ns = std::min(scan.next_ns, due_ns);
    return true;
  }
  if (again_.size() == scan.max) return false;
  again_.push_back({offset, place, found});
  return true;
}

bool GroupWindow::LookAtExceptions(Scan& scan) {
  const auto look_at = [&](uint64_t offset, uint32_t n) {
    ExceptionEntry& entry = words_.exceptions()->entry(n);
    return LookAt(offset, {&entry.word, &entry.due}, index_, scan);
  };
  sorted_.clear();
  for (uint32_t n = 0; n < words_.UsedExceptions(); ++n) {
    const uint64_t name = words_.exceptions()->entry(n).name.Load();
    if (name == 0) continue;
    if (ordered_) {
      sorted_.emplace_back(name - 1, n);
    } else if (!look_at(name - 1, n)) {
      return false;
    }
  }
  std::sort(sorted_.begin(), sorted_.end());
  return std::all_of(sorted_.begin(), sorted_.end(), [&](const auto& entry) {
    return look_at(entry.first, entry.second);
  });
}

int64_t GroupWindow::FindDue(size_t max, int64_t now_ns) {
  Scan scan(this, max, now_ns);
  again_.clear();
  scanned_all_ = false;
  FreeExceptions();
  // They are the oldest.
  if (!LookAtExceptions(scan)) return now_ns;
  const uint64_t next = cursor_->next.Load();
  uint64_t offset = cursor_->floor.Load();
  if (ordered_ && offset < next) oldest_.Find(offset);
  // On from there, while the other stays for the next look.
  IndexReader index(oldest_);
  for (; offset < next; ++offset) {
    if (!LookAt(offset, words_.InWindow(offset), index, scan)) return now_ns;
  }
  scanned_all_ = true;
  return scan.next_ns;
}

absl::Status GroupWindow::MoveDead(const Candidate& candidate,
                                   DeadReason reason, TimePoint deadline) {
  const uint64_t offset = candidate.offset;
  const auto hit = index_.Find(offset);
  if (!hit) {
    return MakeStatus(Code::kDamaged, "move offset ", offset,
                      " to the dead-letter queue: the message cannot be found "
                      "in the store");
  }
  DeadLetter letter;
  letter.offset = offset;
  letter.position = hit->position;
  letter.attempts = candidate.found.attempts();
  letter.reason = reason;
  letter.floor = LoggedFloor();
  letter.word = candidate.place.word;
  letter.expected = candidate.found.bits();
  if (reason == DeadReason::kExpired) {
    letter.place = index_.Place(offset);
    if (letter.place == nullptr) {
      return MakeStatus(Code::kQueueNotFound, "move offset ", offset,
                        ": it is retired");
    }
    letter.unburied = letter.place->Load() & ~kBuriedBit;
  }
  return log_->MoveDead(letter, deadline);
}

namespace {

// Whether a move met a queue whose dead-letter queue was changed a moment ago:
// the next look knows better.
bool IsOfOldTerms(const absl::Status& moved) {
  const Code code = OmsCode(moved);
  return code == Code::kUnsupported || code == Code::kQueueNotFound;
}

}  // namespace

bool GroupWindow::Expire(const Candidate& candidate, const IndexHit& hit,
                         int64_t now_ns, TimePoint deadline,
                         TakeResult& result) {
  const uint64_t offset = candidate.offset;
  if (!log_->IsExpired(offset, hit.position)) return false;
  const bool buried = (hit.flags & kIndexBuried) != 0;
  ++result.expired;
  const uint32_t attempts =
      candidate.found.Is(offset) ? candidate.found.attempts() : 0;
  const auto settled =
      DeliveryWord::Restored(offset, DeliveryState::kSettled, attempts);
  uint64_t expected = candidate.found.bits();
  if (buried || !policy().dead_letters) {
    candidate.place.word->CompareExchange(expected, settled.bits());
    FreeKey();
    return true;
  }
  // Returned and due while it moves, as where a message is rejected.
  Candidate moving = candidate;
  moving.found =
      DeliveryWord::Restored(offset, DeliveryState::kReturned, attempts);
  moving.place.due->Store(now_ns);
  if (!moving.place.word->CompareExchange(expected, moving.found.bits())) {
    return true;  // Acknowledged meanwhile.
  }
  // What hindered one hinders the others, each of which would wait for it.
  absl::Status moved = result.failure;
  if (moved.ok() || OmsCode(moved) == Code::kDamaged) {
    deadline = std::max(deadline,
                        std::chrono::steady_clock::now() + kAppendPatience);
    moved = MoveDead(moving, DeadReason::kExpired, deadline);
  }
  FreeKey();
  if (moved.ok()) return true;
  if (const Code code = OmsCode(moved);
      code == Code::kReceiptExpired || code == Code::kQueueNotFound ||
      code == Code::kDamaged) {
    // Another group has moved it or will, its segment is gone, or nobody can
    // read it, which is told.
    expected = moving.found.bits();
    moving.place.word->CompareExchange(expected, settled.bits());
    if (code == Code::kDamaged && offset >= partition_->first_offset.Load()) {
      result.failure = std::move(moved);
    }
    return true;
  }
  moving.place.due->Store(SaturatingAdd(now_ns, kMoveAgainNs));
  LowerNextScan(SaturatingAdd(now_ns, kMoveAgainNs));
  if (!IsOfOldTerms(moved)) result.failure = std::move(moved);
  return true;
}

int64_t GroupWindow::ExpireDue(int64_t now_ns, TimePoint deadline,
                               TakeResult& result) {
  size_t kept = 0;
  for (const Candidate& candidate : again_) {
    const auto hit = index_.Find(candidate.offset);
    if (!hit || (hit->flags & kIndexExpires) == 0 ||
        !Expire(candidate, *hit, now_ns, deadline, result)) {
      again_[kept++] = candidate;
    }
  }
  again_.resize(kept);
  return result.failure.ok() ? INT64_MAX : SaturatingAdd(now_ns, kMoveAgainNs);
}

int64_t GroupWindow::MoveExhausted(int64_t now_ns, TimePoint deadline,
                                   TakeResult& result) {
  int64_t again_ns = INT64_MAX;
  if (policy().max_deliveries == 0) return again_ns;
  size_t kept = 0;
  for (Candidate candidate : again_) {
    const DeliveryWord found = candidate.found;
    if (!found.Is(candidate.offset) ||
        found.attempts() < policy().max_deliveries) {
      again_[kept++] = candidate;
      continue;
    }
    if (found.state() == DeliveryState::kLeased) {
      // From here on no late ack counts.
      candidate.found =
          found.WithState(DeliveryState::kReturned, candidate.offset);
      candidate.place.due->Store(now_ns);
      uint64_t expected = found.bits();
      if (!candidate.place.word->CompareExchange(expected,
                                                 candidate.found.bits())) {
        continue;
      }
    }
    const absl::Status moved =
        MoveDead(candidate, DeadReason::kMaxDeliveries, deadline);
    const Code code = OmsCode(moved);
    FreeKey();
    if (moved.ok() || code == Code::kReceiptExpired) continue;
    if (code == Code::kDamaged) {
      // It cannot be kept anywhere: told and skipped as any damaged message.
      again_[kept++] = candidate;
      continue;
    }
    candidate.place.due->Store(SaturatingAdd(now_ns, kMoveAgainNs));
    again_ns = SaturatingAdd(now_ns, kMoveAgainNs);
    if (!IsOfOldTerms(moved)) result.failure = moved;
  }
  again_.resize(kept);
  return again_ns;
}

absl::Status GroupWindow::LogAttempts(TimePoint deadline) {
  attempts_.clear();
  for (const auto& [offset, place, found] : again_) {
    if (found.Is(offset) && found.attempts() > 0) {
      attempts_.push_back({offset, found.attempts() + 1});
    }
  }
  if (attempts_.empty()) return absl::OkStatus();
  absl::Status logged =
      log_->LogAttempts(LoggedFloor(), attempts_, deadline);
  // On a full disk receiving goes on: the words in ctl still count, and only
  // with them would these deliveries be forgotten.
  if (OmsCode(logged) == Code::kStorageBusy) return absl::OkStatus();
  return logged;
}

void GroupWindow::TakeDue(size_t max, int64_t now_ns, int64_t lease_ns,
                          HandOut* out, TimePoint deadline,
                          TakeResult& result) {
  if (!ordered_ && cursor_->next_scan_ns.Load() > now_ns) return;
  // It changes at the end only: if this process dies in here, the others must
  // still have a reason to look, and so to inherit the lock.
  int64_t next_scan = FindDue(max, now_ns);
  if (!again_.empty()) {
    deadline = std::max(deadline,
                        std::chrono::steady_clock::now() + kAppendPatience);
    next_scan = std::min(next_scan, ExpireDue(now_ns, deadline, result));
    next_scan =
        std::min(next_scan, MoveExhausted(now_ns, deadline, result));
    if (auto logged = LogAttempts(deadline); !logged.ok()) {
      result.failure = std::move(logged);
      again_.clear();
      next_scan = std::min(next_scan, now_ns + kLookForDeadNs);
    }
  }
  for (const Candidate& candidate : again_) {
    // A loss is told before what comes behind it.
    if (result.lost) {
      next_scan = now_ns;
      break;
    }
    const DeliveryWord found = candidate.found;
    const uint32_t attempts =
        found.Is(candidate.offset) ? found.attempts() : 0;
    HandOutOne(candidate, index_.Find(candidate.offset), attempts + 1, now_ns,
               lease_ns, out, result);
    next_scan = std::min(next_scan, now_ns + kLookForDeadNs);
  }
  cursor_->next_scan_ns.Store(next_scan);
}

void GroupWindow::TakeNew(size_t max, int64_t now_ns, int64_t lease_ns,
                          uint64_t durable, HandOut* out, TimePoint deadline,
                          TakeResult& result) {
  const uint64_t end = partition_->next_offset.LoadSequential();
  const uint64_t limit =
      std::min(end, cursor_->floor.Load() + uint64_t{window_});
  const uint64_t first = cursor_->next.Load();
  uint64_t next = first;
  for (; next < limit && result.count < max; ++next) {
    const auto hit = index_.Find(next);
    // A run of lost messages is told as one.
    if (hit && result.lost) break;
    if (hit && (hit->flags & kIndexDisk) != 0 && hit->position >= durable) {
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
  LowerNextScan(now_ns + kLookForDeadNs);
  cursor_->next.Store(next);
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
  TakeDue(max, now_ns, lease_ns, out, deadline, result);
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
    uint64_t expected = receipt.bits();
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
  cursor_->seeking.Store(1);
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
  if (const DeliveryPlace place = FindHeld(offset, receipt)) {
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
