// SPDX-License-Identifier: Apache-2.0
//
// One word of a group's window: what became of one message.

#ifndef OPENMESSAGING_REFERENCE_DELIVERY_WORD_H_
#define OPENMESSAGING_REFERENCE_DELIVERY_WORD_H_

#include <algorithm>
#include <cstdint>

#include "checksum.h"
#include "slot_lock.h"

namespace openmessaging::reference {

enum class DeliveryState : uint8_t {
  // A word of zero was never handed out; any other moved to the exceptions.
  kMoved = 0,
  kLeased = 1,    // With its owner until the due time.
  kSettled = 2,
  kReturned = 3,  // Available again from the due time on.
};

// Bits, from the low end: state 2, attempts 14, owner's slot 10, low bits of
// the owner's generation 10, token 4, offset 16, check 8. The whole word is
// also the receipt: a settlement changes exactly the word that was handed out,
// so a late one can never touch a newer delivery. Half of the token counts how
// often the group was moved: then a message is new, and its attempts begin again.
class DeliveryWord {
 public:
  static constexpr uint32_t kMaxAttempts = (1u << 14) - 1;

  DeliveryWord() = default;
  explicit DeliveryWord(uint64_t bits) : bits_(bits) {}

  static DeliveryWord Leased(uint64_t offset, uint32_t attempts, Owner owner,
                             uint32_t token) {
    return DeliveryWord(uint64_t{1} |
                        uint64_t{std::min(attempts, kMaxAttempts)} << 2 |
                        uint64_t{owner.slot()} << 16 |
                        uint64_t{owner.generation() & 1023} << 26 |
                        uint64_t{token & 15} << 36 | (offset & 0xffff) << 40)
        .Sealed(offset);
  }
  // A message of an earlier life of the group.
  static DeliveryWord Restored(uint64_t offset, DeliveryState state,
                               uint32_t attempts) {
    return DeliveryWord(static_cast<uint64_t>(state) |
                        uint64_t{std::min(attempts, kMaxAttempts)} << 2 |
                        (offset & 0xffff) << 40)
        .Sealed(offset);
  }
  DeliveryWord WithState(DeliveryState state, uint64_t offset) const {
    return DeliveryWord((bits_ & ~uint64_t{3}) | static_cast<uint64_t>(state))
        .Sealed(offset);
  }

  uint64_t bits() const { return bits_; }
  // Returns: whether the word speaks of `offset` and was not damaged. A word
  // that does not counts as not handed out: a repeat, never a loss.
  bool Is(uint64_t offset) const {
    return bits_ != 0 && ((bits_ >> 40) & 0xffff) == (offset & 0xffff) &&
           Sealed(offset).bits_ == bits_;
  }
  DeliveryState state() const { return static_cast<DeliveryState>(bits_ & 3); }
  uint32_t attempts() const {
    return static_cast<uint32_t>(bits_ >> 2) & kMaxAttempts;
  }
  uint32_t slot() const { return static_cast<uint32_t>(bits_ >> 16) & 1023; }
  uint32_t generation_bits() const {
    return static_cast<uint32_t>(bits_ >> 26) & 1023;
  }
  friend bool operator==(DeliveryWord, DeliveryWord) = default;

 private:
  DeliveryWord Sealed(uint64_t offset) const {
    const uint64_t rest = bits_ & ((uint64_t{1} << 56) - 1);
    return DeliveryWord(rest | (Mix64(rest ^ Mix64(offset)) & 0xff) << 56);
  }

  uint64_t bits_ = 0;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_DELIVERY_WORD_H_
