// SPDX-License-Identifier: Apache-2.0
//
// What is due again in one partition of a group: found, moved to the dead-letter
// queue where it had its last delivery or has expired, handed out otherwise.

#include <algorithm>
#include <bitset>
#include <chrono>

#include "group_window.h"
#include "openmessaging/status.h"
#include "planted.h"
#include "waiting.h"

namespace openmessaging::reference {
namespace {

// A message that could not be moved is tried again after so long.
constexpr int64_t kMoveAgainNs = 1'000'000'000;

// Whether a move met a queue whose dead-letter queue was changed a moment ago:
// the next look knows better.
bool IsOfOldTerms(const absl::Status& moved) {
  const Code code = OmsCode(moved);
  return code == Code::kUnsupported || code == Code::kQueueNotFound;
}

}  // namespace

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
    return (window_->IsPresentLife(leased) || OMS_PLANTED(kLifeIgnored)) &&
           alive_[slot];
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
      if (!scan.owners.IsAlive(found) && !OMS_PLANTED(kLeaseOutlivesOwner)) {
        due_ns = 0;
      }
      scan.next_ns = std::min(scan.next_ns, scan.now_ns + kLookForDeadNs);
    }
  }
  if (ordered_) {
    const auto hit = index.Find(offset);
    if (!keys_.Take(hit && !OMS_PLANTED(kKeyNotHeld) ? hit->key_hash : 0)) {
      return true;
    }
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
  auto hit = index_.Find(candidate.offset);
  while (hit) {
    absl::Status moved = MoveDeadAt(candidate, *hit, reason, deadline);
    if (moved.ok()) return moved;
    // Its record may lie elsewhere since it was found.
    const auto now = index_.Find(candidate.offset);
    if (now && now->position == hit->position) return moved;
    hit = now;
  }
  return MakeStatus(Code::kDamaged, "move offset ", candidate.offset,
                    " to the dead-letter queue: the message cannot be found "
                    "in the store");
}

absl::Status GroupWindow::MoveDeadAt(const Candidate& candidate,
                                     const IndexHit& hit, DeadReason reason,
                                     TimePoint deadline) {
  const uint64_t offset = candidate.offset;
  DeadLetter letter;
  letter.offset = offset;
  letter.position = hit.position;
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

bool GroupWindow::HasExpired(uint64_t offset, IndexHit hit) {
  while (!log_->IsExpired(offset, hit.position)) {
    const auto now = index_.Find(offset);
    // Otherwise it moved, and could not be read where it lay.
    if (!now || now->position == hit.position) return false;
    hit = *now;
  }
  return true;
}

bool GroupWindow::Expire(const Candidate& candidate, const IndexHit& hit,
                         int64_t now_ns, TimePoint deadline,
                         TakeResult& result) {
  const uint64_t offset = candidate.offset;
  if (!HasExpired(offset, hit) || OMS_PLANTED(kExpiredDelivered)) return false;
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
    if (code == Code::kDamaged && !index_.IsRetired(offset)) {
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
    if (moved.ok() || code == Code::kReceiptExpired) {
      ++result.moved;
      continue;
    }
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

size_t GroupWindow::MoveLast(size_t max, int64_t now_ns, TimePoint deadline) {
  const SlotLock::Result lock = lock_.Acquire(deadline);
  if (lock == SlotLock::Result::kTimeout || !Enter(lock, deadline).ok()) {
    return 0;
  }
  AdvanceFloor();
  int64_t next_scan = FindDue(SIZE_MAX, now_ns);
  const size_t due = again_.size();
  std::erase_if(again_, [&](const Candidate& candidate) {
    return !candidate.found.Is(candidate.offset) ||
           candidate.found.attempts() < policy().max_deliveries;
  });
  const bool all = again_.size() == due && due <= max;
  again_.resize(std::min(again_.size(), max));
  const size_t found = again_.size();
  TakeResult result;
  next_scan =
      std::min(next_scan, MoveExhausted(now_ns, deadline, result));
  // What is due still is for the members, who look at this.
  if (all && again_.empty()) cursor_->next_scan_ns.Store(next_scan);
  const size_t moved = found - again_.size();
  // Others of their keys may be free; who keeps the order of keys knows.
  if (moved > 0 && cursor_->held_back.LoadSequential() !=
                       static_cast<uint32_t>(HoldBack::kNothing)) {
    cursor_->freed.FetchAdd(1);
  }
  lock_.Release();
  return moved;
}

absl::Status GroupWindow::LogAttempts(TimePoint deadline) {
  attempts_.clear();
  for (const auto& [offset, place, found] : again_) {
    if (found.Is(offset) && found.attempts() > 0) {
      attempts_.push_back({offset, found.attempts() + 1});
    }
  }
  if (attempts_.empty() || OMS_PLANTED(kAttemptsUnlogged)) {
    return absl::OkStatus();
  }
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
  if (OMS_PLANTED(kNoLookAgain)) next_scan = INT64_MAX;
  cursor_->next_scan_ns.Store(next_scan);
}

}  // namespace openmessaging::reference
