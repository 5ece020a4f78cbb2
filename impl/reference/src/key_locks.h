// SPDX-License-Identifier: Apache-2.0
//
// KeyLocks says which keys wait in one look at a partition: those of which an
// earlier message is unsettled.

#ifndef OPENMESSAGING_REFERENCE_KEY_LOCKS_H_
#define OPENMESSAGING_REFERENCE_KEY_LOCKS_H_

#include <bitset>
#include <cstddef>
#include <cstdint>

namespace openmessaging::reference {

// Made anew by each look, from the oldest unsettled message on: so nothing has to
// be given back, by the living or for the dead. Keys that share a lock only wait
// longer.
//
// Threads: one.
class KeyLocks {
 public:
  // Begins a look at which `most` messages may be held back.
  void Begin(size_t most) {
    taken_.reset();
    held_back_ = 0;
    most_ = most;
    full_ = false;
  }

  // Takes the lock of a message's key, by its hash; 0: it has none. Returns:
  // false where an earlier message has it; then this one is held back.
  bool Take(uint32_t key_hash) {
    if (key_hash == 0) return true;
    const size_t lock = key_hash % kLocks;
    if (taken_[lock]) {
      ++held_back_;
      return false;
    }
    taken_[lock] = true;
    return true;
  }
  bool IsTaken(uint32_t key_hash) const {
    return key_hash != 0 && taken_[key_hash % kLocks];
  }

  bool HasRoom() const { return held_back_ < most_; }
  // Something else was not looked at for lack of that room.
  void SetFull() { full_ = true; }

  size_t held_back() const { return held_back_; }
  bool full() const { return full_; }

 private:
  static constexpr size_t kLocks = 1024;

  std::bitset<kLocks> taken_;
  size_t held_back_ = 0;
  size_t most_ = 0;
  bool full_ = false;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_KEY_LOCKS_H_
