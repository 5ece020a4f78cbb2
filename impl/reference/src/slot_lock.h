// SPDX-License-Identifier: Apache-2.0
//
// Who is alive, and the lock that a dead owner cannot keep.

#ifndef OPENMESSAGING_REFERENCE_SLOT_LOCK_H_
#define OPENMESSAGING_REFERENCE_SLOT_LOCK_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "control.h"
#include "env/environment.h"

namespace openmessaging::reference {

// Names one life of one slot, as lock words and leases hold it: slot 10 bits,
// generation 20 bits. 0 is nobody, since generations begin with 1.
class Owner {
 public:
  static constexpr uint32_t kMask = (1u << 30) - 1;

  Owner() = default;
  Owner(uint32_t slot, uint32_t generation) : word_(slot | generation << 10) {}
  static Owner FromWord(uint32_t word) {
    Owner owner;
    owner.word_ = word & kMask;
    return owner;
  }

  uint32_t word() const { return word_; }
  uint32_t slot() const { return word_ & 1023; }
  uint32_t generation() const { return word_ >> 10; }
  friend bool operator==(Owner, Owner) = default;

 private:
  uint32_t word_ = 0;
};

// Asks the kernel who lives: a process holds the byte lock of its slot until
// it dies, however it dies. A stopped process is alive.
//
// Threads: every method may be called from any thread at any time.
class Liveness {
 public:
  // `count`: of `slots`.
  Liveness(const ByteLocks* locks, const Slot* slots, uint32_t count,
           Owner self)
      : locks_(locks), slots_(slots), count_(count), self_(self) {}

  Owner self() const { return self_; }

  // Returns: false only if the owner is certainly gone.
  bool IsAlive(Owner owner) const;

  // Returns: that of a slot, whatever is said to be one.
  uint32_t GenerationOf(uint32_t slot) const {
    return slot < count_ ? slots_[slot].generation.Load() : 0;
  }

 private:
  const ByteLocks* const locks_;
  const Slot* const slots_;
  const uint32_t count_;
  const Owner self_;
};

// A mutual exclusion between threads of any processes.
//
// The word is {owner 30 bits, waiters 1}. A waiter that sees one owner for a
// whole sleep asks whether it lives; of a dead one it takes exactly the word
// that it saw, and repairs what the lock protects.
// Invariants:
//   (1) a word other than 0 names a life that held the lock and has not
//       released it; (2) only its owner, or an heir after its death, changes
//       it; (3) whoever waits in the kernel set the waiters bit before.
// Rejected: robust pthread mutexes (they tie the file to one libc and follow
// pointers that a damaged peer wrote), timeouts (a stopped owner is not dead).
class SlotLock {
 public:
  enum class Result { kAcquired, kInherited, kTimeout };

  SlotLock(LockWord* word, const Liveness* liveness, Waiting* waiting)
      : word_(word), liveness_(liveness), waiting_(waiting) {}

  // Returns: kInherited when the owner died inside: the caller must repair.
  Result Acquire(TimePoint deadline);

  // Does not wait for a living owner. Returns: kTimeout if there is one.
  Result TryAcquire();

  void Release();

 private:
  static constexpr uint32_t kWaiters = 1u << 30;

  bool TakeFree() {
    uint32_t expected = 0;
    return word_->owner.CompareExchange(expected, liveness_->self().word());
  }
  bool TakeFromDead(uint32_t word);

  LockWord* const word_;
  const Liveness* const liveness_;
  Waiting* const waiting_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SLOT_LOCK_H_
