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
                         const RedeliveryPolicy& policy, RedeliveryLog* log)
    : control_(control),
      environment_(environment),
      liveness_(liveness),
      partition_(partition),
      cursor_(cursor),
      words_(control, cursor),
      window_(words_.window()),
      policy_(policy),
      log_(log),
      lock_(&cursor->lock, liveness, environment->waiting),
      index_(control, partition, queue_partition) {}

bool GroupWindow::MayHave(int64_t now_ns) const {
  const uint64_t next = cursor_->next.Load();
  if (cursor_->next_scan_ns.Load() <= now_ns) return true;
  if (partition_->next_offset.LoadSequential() <= next) return false;
  // A full window yields nothing until its oldest message is settled.
  const uint64_t floor = cursor_->floor.Load();
  return next - floor < window_ ||
         (Load(floor).Is(floor) &&
          Load(floor).state() == DeliveryState::kSettled);
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
}

void GroupWindow::AdvanceFloor() {
  const uint64_t next = cursor_->next.Load();
  uint64_t floor = cursor_->floor.Load();
  while (floor < next && Load(floor).Is(floor) &&
         Load(floor).state() == DeliveryState::kSettled) {
    ++floor;
  }
  cursor_->floor.Store(floor);
}

void GroupWindow::LowerNextScan(int64_t time_ns) {
  int64_t old = cursor_->next_scan_ns.Load();
  while (time_ns < old &&
         !cursor_->next_scan_ns.CompareExchange(old, time_ns)) {
  }
}

void GroupWindow::HandOutOne(uint64_t offset, DeliveryWord found,
                             uint32_t attempts, int64_t now_ns,
                             int64_t lease_ns, HandOut* out,
                             TakeResult& result) {
  const auto hit = index_.Find(offset);
  if (!hit) {
    word(offset).Store(
        DeliveryWord::Restored(offset, DeliveryState::kSettled, attempts)
            .bits());
    // Below the oldest stored message it was retired, which is no loss.
    if (offset >= partition_->first_offset.Load()) {
      if (!result.lost) result.lost = offset;
      ++result.lost_count;
    }
    return;
  }
  const uint32_t token = cursor_->token.LoadRelaxed() + 1;
  cursor_->token.StoreRelaxed(token);
  const DeliveryWord leased =
      DeliveryWord::Leased(offset, attempts, liveness_->self(), token);
  // An ack of the earlier delivery may win until here.
  uint64_t expected = found.bits();
  if (!word(offset).CompareExchange(expected, leased.bits())) return;
  // Behind the word: of an owner that died between, no due time counts.
  due(offset).Store(SaturatingAdd(now_ns, lease_ns));
  out[result.count++] = {offset, hit->position, leased};
}

int64_t GroupWindow::FindDue(size_t max, int64_t now_ns) {
  int64_t next_scan = INT64_MAX;
  // What the kernel said of each slot in this look.
  std::bitset<1024> asked;
  std::bitset<1024> alive;
  again_.clear();
  const uint64_t next = cursor_->next.Load();
  for (uint64_t offset = cursor_->floor.Load(); offset < next; ++offset) {
    const DeliveryWord found = Load(offset);
    if (found.Is(offset)) {
      if (found.state() == DeliveryState::kSettled) continue;
      int64_t due_ns = due(offset).Load();
      if (found.state() == DeliveryState::kLeased) {
        const uint32_t slot = found.slot();
        if (!asked[slot]) {
          asked[slot] = true;
          alive[slot] = liveness_->IsAlive(
              Owner(slot, control_->slots()[slot].generation.Load()));
        }
        if (!IsPresentLife(found) || !alive[slot]) due_ns = 0;
        next_scan = std::min(next_scan, now_ns + kLookForDeadNs);
      }
      if (due_ns > now_ns) {
        next_scan = std::min(next_scan, due_ns);
        continue;
      }
    }
    if (again_.size() == max) return now_ns;
    again_.push_back({offset, found});
  }
  return next_scan;
}

absl::Status GroupWindow::MoveDead(uint64_t offset, DeliveryWord found,
                                   DeadReason reason, TimePoint deadline) {
  const auto hit = index_.Find(offset);
  if (!hit) {
    return MakeStatus(Code::kDamaged, "move offset ", offset,
                      " to the dead-letter queue: the message cannot be found "
                      "in the store");
  }
  DeadLetter letter;
  letter.offset = offset;
  letter.position = hit->position;
  letter.attempts = found.attempts();
  letter.reason = reason;
  letter.floor = cursor_->floor.Load();
  letter.word = &word(offset);
  letter.expected = found.bits();
  return log_->MoveDead(letter, deadline);
}

int64_t GroupWindow::MoveExhausted(int64_t now_ns, TimePoint deadline,
                                   TakeResult& result) {
  int64_t again_ns = INT64_MAX;
  if (policy_.max_deliveries == 0) return again_ns;
  size_t kept = 0;
  for (const Candidate& candidate : again_) {
    const auto [offset, found] = candidate;
    if (!found.Is(offset) || found.attempts() < policy_.max_deliveries) {
      again_[kept++] = candidate;
      continue;
    }
    DeliveryWord word_now = found;
    if (found.state() == DeliveryState::kLeased) {
      // From here on no late ack counts.
      word_now = found.WithState(DeliveryState::kReturned, offset);
      due(offset).Store(now_ns);
      uint64_t expected = found.bits();
      if (!word(offset).CompareExchange(expected, word_now.bits())) continue;
    }
    const absl::Status moved =
        MoveDead(offset, word_now, DeadReason::kMaxDeliveries, deadline);
    const Code code = OmsCode(moved);
    if (moved.ok() || code == Code::kReceiptExpired) continue;
    if (code == Code::kDamaged) {
      // It cannot be kept anywhere: told and skipped as any damaged message.
      again_[kept++] = {offset, word_now};
      continue;
    }
    due(offset).Store(SaturatingAdd(now_ns, kMoveAgainNs));
    again_ns = SaturatingAdd(now_ns, kMoveAgainNs);
    result.failure = moved;
  }
  again_.resize(kept);
  return again_ns;
}

absl::Status GroupWindow::LogAttempts(TimePoint deadline) {
  attempts_.clear();
  for (const auto& [offset, found] : again_) {
    if (found.Is(offset) && found.attempts() > 0) {
      attempts_.push_back({offset, found.attempts() + 1});
    }
  }
  if (attempts_.empty()) return absl::OkStatus();
  absl::Status logged =
      log_->LogAttempts(cursor_->floor.Load(), attempts_, deadline);
  // On a full disk receiving goes on: the words in ctl still count, and only
  // with them would these deliveries be forgotten.
  if (OmsCode(logged) == Code::kStorageBusy) return absl::OkStatus();
  return logged;
}

void GroupWindow::TakeDue(size_t max, int64_t now_ns, int64_t lease_ns,
                          HandOut* out, TimePoint deadline,
                          TakeResult& result) {
  if (cursor_->next_scan_ns.Load() > now_ns) return;
  // It changes at the end only: if this process dies in here, the others must
  // still have a reason to look, and so to inherit the lock.
  int64_t next_scan = FindDue(max, now_ns);
  if (!again_.empty()) {
    deadline = std::max(deadline,
                        std::chrono::steady_clock::now() + kAppendPatience);
    next_scan =
        std::min(next_scan, MoveExhausted(now_ns, deadline, result));
    if (auto logged = LogAttempts(deadline); !logged.ok()) {
      result.failure = std::move(logged);
      again_.clear();
      next_scan = std::min(next_scan, now_ns + kLookForDeadNs);
    }
  }
  for (const auto& [offset, found] : again_) {
    // A loss is told before what comes behind it.
    if (result.lost) {
      next_scan = now_ns;
      break;
    }
    const uint32_t attempts = found.Is(offset) ? found.attempts() : 0;
    HandOutOne(offset, found, attempts + 1, now_ns, lease_ns, out, result);
    next_scan = std::min(next_scan, now_ns + kLookForDeadNs);
  }
  cursor_->next_scan_ns.Store(next_scan);
}

void GroupWindow::TakeNew(size_t max, int64_t now_ns, int64_t lease_ns,
                          uint64_t durable, HandOut* out, TakeResult& result) {
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
    HandOutOne(next, Load(next), 1, now_ns, lease_ns, out, result);
  }
  if (next == first) return;
  // First the reason to look again, lest a death between leave leases that
  // nobody ever sees.
  LowerNextScan(now_ns + kLookForDeadNs);
  cursor_->next.Store(next);
}

TakeResult GroupWindow::Take(size_t max, int64_t now_ns, int64_t lease_ns,
                             uint64_t durable, HandOut* out,
                             TimePoint deadline) {
  TakeResult result;
  const SlotLock::Result lock = lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) return result;
  if (lock == SlotLock::Result::kInherited) Repair();
  AdvanceFloor();
  TakeDue(max, now_ns, lease_ns, out, deadline, result);
  if (result.count < max && !result.lost) {
    TakeNew(max, now_ns, lease_ns, durable, out, result);
  }
  lock_.Release();
  return result;
}

absl::Status GroupWindow::Refusal(uint64_t offset, DeliveryWord receipt) const {
  if (offset < cursor_->floor.Load()) return absl::OkStatus();
  if (offset >= cursor_->next.Load() || !receipt.Is(offset)) {
    return MakeStatus(Code::kReceiptInvalid, "settle offset ", offset,
                      ": the receipt was never given out");
  }
  const DeliveryWord now = Load(offset);
  if (now.Is(offset) && now.state() == DeliveryState::kSettled) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kReceiptExpired, "settle offset ", offset,
                    ": the receipt is of an earlier delivery; the message was "
                    "given back or handed out again since");
}

absl::Status GroupWindow::Ack(uint64_t offset, DeliveryWord receipt) {
  uint64_t expected = receipt.bits();
  if (receipt.Is(offset) && receipt.state() == DeliveryState::kLeased &&
      offset < cursor_->next.Load() &&
      word(offset).CompareExchange(
          expected, receipt.WithState(DeliveryState::kSettled, offset).bits())) {
    return absl::OkStatus();
  }
  return Refusal(offset, receipt);
}

absl::Status GroupWindow::Lock(uint64_t offset, TimePoint deadline) {
  const SlotLock::Result lock = lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kTimeout, "settle offset ", offset,
                      ": another process held the group's lock until the "
                      "deadline");
  }
  if (lock == SlotLock::Result::kInherited) Repair();
  return absl::OkStatus();
}

absl::Status GroupWindow::Nack(uint64_t offset, DeliveryWord receipt,
                               int64_t due_ns, TimePoint deadline) {
  // Under the lock, because word and due time change together.
  if (auto locked = Lock(offset, deadline); !locked.ok()) return locked;
  if (due_ns == 0) {
    due_ns = SaturatingAdd(environment_->clock->BootNs(),
                           policy_.BackoffNs(receipt.attempts()));
  }
  absl::Status status;
  if (IsHeld(offset, receipt)) {
    const int64_t lease_end = due(offset).Load();
    due(offset).Store(due_ns);
    uint64_t expected = receipt.bits();
    if (!word(offset).CompareExchange(
            expected,
            receipt.WithState(DeliveryState::kReturned, offset).bits())) {
      due(offset).Store(lease_end);
    }
    LowerNextScan(due_ns);
  } else {
    status = Refusal(offset, receipt);
  }
  lock_.Release();
  return status;
}

absl::Status GroupWindow::Extend(uint64_t offset, DeliveryWord receipt,
                                 int64_t due_ns, TimePoint deadline) {
  if (auto locked = Lock(offset, deadline); !locked.ok()) return locked;
  absl::Status status;
  if (IsHeld(offset, receipt)) {
    due(offset).Store(due_ns);
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
  if (auto locked = Lock(offset, deadline); !locked.ok()) return locked;
  absl::Status status = Refusal(offset, receipt);
  if (IsHeld(offset, receipt)) {
    // Returned and due while it moves: no ack counts from here on, and whoever
    // comes after a death in here finds it.
    const int64_t lease_end = due(offset).Load();
    const int64_t now_ns = environment_->clock->BootNs();
    const DeliveryWord moving =
        receipt.WithState(DeliveryState::kReturned, offset);
    due(offset).Store(now_ns);
    LowerNextScan(now_ns);
    uint64_t expected = receipt.bits();
    if (word(offset).CompareExchange(expected, moving.bits())) {
      status = MoveDead(offset, moving, DeadReason::kRejected, deadline);
    } else {
      status = absl::OkStatus();  // Acknowledged meanwhile.
    }
    if (!status.ok()) {
      // Nothing was done: its receiver still has it.
      due(offset).Store(lease_end);
      expected = moving.bits();
      word(offset).CompareExchange(expected, receipt.bits());
    }
  }
  lock_.Release();
  return status;
}

void GroupWindow::Return(uint64_t offset, DeliveryWord held) {
  if (offset < cursor_->floor.Load()) return;
  if (Load(offset) != held) return;
  Nack(offset, held, 1, TimePoint::max()).IgnoreError();
}

}  // namespace openmessaging::reference
