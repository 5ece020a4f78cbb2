// SPDX-License-Identifier: Apache-2.0

#include "slot_lock.h"

#include <algorithm>
#include <chrono>

#include "planted.h"
#include "waiting.h"

namespace openmessaging::reference {
namespace {

// How long one owner may be seen before somebody asks whether it lives.
constexpr std::chrono::milliseconds kSleep{2};

}  // namespace

bool Liveness::IsAlive(Owner owner) const {
  if (owner == self_) return true;
  const uint32_t slot = owner.slot();
  // A later life of the slot was given out only after this one's byte was free.
  if (GenerationOf(slot) != owner.generation() &&
      !OMS_PLANTED(kGenerationIgnored)) {
    return false;
  }
  // Our own slot under our own generation was answered above; this object's
  // locks do not conflict with themselves.
  if (slot == self_.slot()) return false;
  const auto held = locks_->HeldElsewhere(kSlotByte + slot, 1);
  return !held.ok() || *held || OMS_PLANTED(kDeadTakenForAlive);
}

bool SlotLock::TakeFromDead(uint32_t word) {
  if (word == 0 || (liveness_->IsAlive(Owner::FromWord(word)) &&
                    !OMS_PLANTED(kLivingRobbed))) {
    return false;
  }
  // Keeps the waiters bit: those who sleep must still be woken.
  const uint32_t mine = liveness_->self().word() | (word & kWaiters);
  if (OMS_PLANTED(kDeadLockStored)) {
    word_->owner.Store(mine);
    return true;
  }
  return word_->owner.CompareExchange(word, mine);
}

SlotLock::Result SlotLock::TryAcquire() {
  if (TakeFree()) return Result::kAcquired;
  if (TakeFromDead(word_->owner.Load())) return Result::kInherited;
  return TakeFree() ? Result::kAcquired : Result::kTimeout;
}

SlotLock::Result SlotLock::Acquire(TimePoint deadline) {
  for (int spin = 0; spin < kLockSpins; ++spin) {
    if (word_->owner.LoadRelaxed() == 0 && TakeFree()) {
      return Result::kAcquired;
    }
    Relax();
  }
  // From here on the word is taken with the waiters bit, because others may
  // sleep beside us.
  const uint32_t mine = liveness_->self().word() | kWaiters;
  while (true) {
    uint32_t word = word_->owner.Load();
    if (word == 0) {
      if (word_->owner.CompareExchange(word, mine)) return Result::kAcquired;
      continue;
    }
    if ((word & kWaiters) == 0 && !OMS_PLANTED(kWaiterSaysNothing)) {
      if (!word_->owner.CompareExchange(word, word | kWaiters)) continue;
      word |= kWaiters;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) {
      // Whoever cannot wait asks all the same: of the dead there is nothing to
      // wait for.
      return TakeFromDead(word) ? Result::kInherited : Result::kTimeout;
    }
    const std::chrono::nanoseconds sleep =
        deadline - now < kSleep ? deadline - now
                                : std::chrono::nanoseconds(kSleep);
    waiting_->Wait(word_->owner.word(), word, sleep);
    if (word_->owner.Load() == word && TakeFromDead(word)) {
      return Result::kInherited;
    }
  }
}

void SlotLock::Release() {
  if ((word_->owner.Exchange(0) & kWaiters) != 0 &&
      !OMS_PLANTED(kReleaseWakesNobody)) {
    waiting_->WakeAll(word_->owner.word());
  }
}

}  // namespace openmessaging::reference
