// SPDX-License-Identifier: Apache-2.0
//
// TagTable knows the deliveries of one channel: which are with the application,
// and which are settled. A broker that is told of one twice closes the channel.

#ifndef OPENMESSAGING_RABBITMQ_TAG_TABLE_H_
#define OPENMESSAGING_RABBITMQ_TAG_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace openmessaging::rabbitmq {

// Threads: the owner's lock.
// Invariants:
//   (1) tags are counted from 1, and added in their order;
//   (2) the first entry is not settled: what is below it is.
class TagTable {
 public:
  enum class State : uint8_t {
    kNone,      // There is no such delivery.
    kHeld,      // It came, and was not shown yet.
    kShown,     // The application has it.
    kDying,     // It is being moved to the dead letters.
    kLeaving,   // It was given back for later, and is being sent there.
    kAcked,     // Acknowledged, the broker does not know it yet.
    kSettled,   // Acknowledged.
    kReturned,  // Given back, or rejected.
  };

  // What the broker is to be told.
  struct Ack {
    uint64_t tag = 0;
    bool multiple = false;

    friend bool operator==(const Ack&, const Ack&) = default;
  };

  State Of(uint64_t tag) const;

  // A delivery came: it is the next tag.
  void Add(uint64_t tag);
  void Show(uint64_t tag) { Set(tag, State::kShown); }
  // Neither shown nor settled until it is acknowledged or returned.
  void Hold(uint64_t tag) { Set(tag, State::kDying); }
  void Leave(uint64_t tag) { Set(tag, State::kLeaving); }
  void Return(uint64_t tag);
  void Acknowledge(uint64_t tag) { Set(tag, State::kAcked); }
  // Acknowledges all that is shown, up to `tag`.
  void AcknowledgeUpTo(uint64_t tag);

  // Takes what the broker does not know yet of acknowledgements: as many at
  // once as have none before them that is not settled. What was returned must
  // be told to the broker first.
  std::vector<Ack> TakeAcks();

  // Returns: how many deliveries TakeAcks would tell of.
  size_t untold() const { return acked_.size(); }

  // Forgets everything: the channel is new.
  void Reset();

 private:
  void Set(uint64_t tag, State state);
  void Trim();

  uint64_t first_ = 1;
  std::deque<State> states_;
  std::vector<uint64_t> acked_;
  // The latest of those below first_ that were not acknowledged but given back.
  std::deque<uint64_t> returned_;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_TAG_TABLE_H_
