// SPDX-License-Identifier: Apache-2.0

#include "members.h"

#include <atomic>
#include <string_view>

#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

// More than a store has slots.
constexpr uint64_t kSlotsOfGroup = 1024;

absl::Status InTheWay(const Group& group, std::string_view who) {
  return MakeStatus(Code::kConsumerExists, "bind \"",
                    std::string_view(group.queue->name), "\": group \"",
                    std::string_view(group.name), "\" has ", who,
                    "; expected to be the only one (exclusive)");
}

}  // namespace

Members::Members(ByteLocks* locks, Control* control, const Liveness* liveness,
                 Waiting* waiting)
    : locks_(locks),
      liveness_(liveness),
      catalog_lock_(&control->header().catalog.lock, liveness, waiting) {}

uint64_t Members::ByteOf(uint32_t group) const {
  return kMemberByte + group * kSlotsOfGroup + liveness_->self().slot();
}

absl::StatusOr<uint64_t> Members::JoinAlone(const Group& group, uint64_t seen) {
  static std::atomic<uint64_t> consumers{0};
  const auto others = locks_->HeldElsewhere(
      kMemberByte + group.id * kSlotsOfGroup, kSlotsOfGroup);
  if (!others.ok()) return others.status();
  const internal::MutexLock lock(mutex_);
  if ((*others || ordinary_.contains(group.id)) &&
      !OMS_PLANTED(kAloneUnasked)) {
    return InTheWay(group, "other consumers");
  }
  const uint64_t number = consumers.fetch_add(1, std::memory_order_relaxed) + 1;
  const uint64_t mine = uint64_t{liveness_->self().word()} << 34 |
                        (number & ((uint64_t{1} << 34) - 1));
  // Whoever was alone here before may leave at this moment, but nobody joins.
  Shared<uint64_t>& word = group.state->exclusive;
  while (!word.CompareExchange(seen, mine)) {
  }
  return mine;
}

absl::Status Members::JoinOthers(const Group& group) {
  const internal::MutexLock lock(mutex_);
  int& count = ordinary_[group.id];
  if (count == 0) {
    const auto held = locks_->TryLock(ByteOf(group.id));
    if (!held.ok()) {
      ordinary_.erase(group.id);
      return held.status();
    }
  }
  ++count;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Members::Join(const Group& group, bool alone,
                                       TimePoint deadline) {
  // An heir has nothing to repair: whatever a dead one began ended with it.
  if (catalog_lock_.Acquire(deadline) == SlotLock::Result::kTimeout) {
    return MakeStatus(Code::kTimeout, "bind \"",
                      std::string_view(group.queue->name),
                      "\": another process held the catalog's lock until the "
                      "deadline");
  }
  absl::StatusOr<uint64_t> claim = uint64_t{0};
  const uint64_t seen = group.state->exclusive.Load();
  if (seen != 0 && !OMS_PLANTED(kAloneUnseen) &&
      liveness_->IsAlive(Owner::FromWord(static_cast<uint32_t>(seen >> 34)))) {
    claim = InTheWay(group, "an exclusive consumer");
  } else if (alone) {
    claim = JoinAlone(group, seen);
  } else if (absl::Status joined = JoinOthers(group); !joined.ok()) {
    claim = joined;
  }
  catalog_lock_.Release();
  return claim;
}

void Members::Leave(const Group& group, uint64_t claim) {
  if (claim != 0) {
    group.state->exclusive.CompareExchange(claim, 0);
    return;
  }
  const internal::MutexLock lock(mutex_);
  const auto found = ordinary_.find(group.id);
  if (found == ordinary_.end() || --found->second > 0) return;
  ordinary_.erase(found);
  // If this fails the handle counts as a member until it is closed.
  locks_->Unlock(ByteOf(group.id)).IgnoreError();
}

}  // namespace openmessaging::reference
