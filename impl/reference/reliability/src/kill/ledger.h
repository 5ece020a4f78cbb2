// SPDX-License-Identifier: Apache-2.0
//
// Ledger is what the processes of a storm did, in memory that outlives each of
// them, and what follows from it.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_KILL_LEDGER_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_KILL_LEDGER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kill/waits.h"
#include "openmessaging/message.h"

namespace openmessaging::reference::kill {

// So many messages one process sends, at most.
inline constexpr uint32_t kMostOfLife = 48;
inline constexpr uint32_t kOrderPartitions = 2;

// One message is named by the life of the process that sent it and its number
// there. Everything but the numbers is made of them and the seed of the run, so
// that each received byte can be checked.
struct Name {
  uint32_t life = 0;
  uint32_t number = 0;
};
std::string BodyOf(uint64_t seed, Name name);
// Returns: nothing where it is not what was sent.
std::optional<Name> NameIn(uint64_t seed, std::string_view body);

// What is written into it is written before the call that it is about, or
// behind it, as each says; so a kill leaves it right.
//
// Threads: all processes at once, but Check.
class Ledger {
 public:
  // `lives`: how many processes there will be.
  static Ledger* Make(uint64_t seed, uint32_t lives);

  uint64_t seed() const { return seed_; }

  // Takes a number for a life, which lives from now on.
  uint32_t BeginLife();
  // Before it is killed.
  void EndLife(uint32_t life);

  // Before sending so many, and behind it.
  uint32_t Begin(uint32_t life, uint32_t count);
  void Sent(Name name, const Message& message, int64_t offset);

  // Of the queue "orders": what it says of a delivery that came to a life, and
  // before and behind its settlement.
  void Came(uint32_t life, const Message& message);
  void Settling(const Message& message);
  void Acknowledged(const Message& message);
  // Behind a transaction that acknowledged it and sent it to "bills".
  void Moved(const Message& message);
  // Of the queues "dead" and "bills".
  void CameDead(const Message& message);
  void CameMoved(const Message& message);

  // Something that must not be; the first ones are kept.
  void Complain(std::string_view text);

  // With nobody alive and everything received. Complains.
  void Check();
  uint64_t complaints() const { return complaints_.load(); }
  std::string Complaints() const;

  struct Sums {
    uint64_t lives = 0;
    uint64_t acknowledged_sends = 0;
    uint64_t received = 0;
    uint64_t settled = 0;
    uint64_t moved = 0;
    uint64_t dead = 0;
  };
  Sums Count() const;

  // What calls took, without the time in which the machine let the caller
  // wait; those that took very long; and from a kill to the next delivery of
  // what the dead one had.
  Histogram calls{};
  GapList slow{};
  Histogram returned{};
  Histogram openings{};
  // Of the machine.
  std::atomic<bool> stop{false};
  Histogram stalls{};
  GapList gaps{};

 private:
  struct Life {
    std::atomic<uint32_t> begun;
    std::atomic<uint32_t> sent;
    std::atomic<uint32_t> alive;
    std::atomic<int64_t> killed_ns;
  };
  enum Flag : uint32_t {
    kCame = 1,
    kAcknowledged = 2,
    kMoved = 4,
    kCameMoved = 8,
    kDead = 16,
  };
  struct Entry {
    std::atomic<uint32_t> holder;  // The life that has it.
    std::atomic<uint32_t> flags;
    // Offset + 1 in each of the three queues.
    std::atomic<uint32_t> offset;
    std::atomic<uint32_t> moved_offset;
    std::atomic<uint32_t> dead_offset;
  };

  Ledger() = default;
  Entry* Find(const Message& message);
  Entry& At(Name name) const {
    return entries_[size_t{name.life} * kMostOfLife + name.number];
  }
  // Notes where a message is, which must be one place.
  void Place(std::atomic<uint32_t>& at, const Message& message,
             std::string_view queue);
  void CheckOrder();
  void CheckLife(uint32_t life);

  uint64_t seed_ = 0;
  uint32_t most_lives_ = 0;
  std::atomic<uint32_t> lives_{0};
  Life* lives_at_ = nullptr;
  Entry* entries_ = nullptr;
  std::atomic<uint64_t> complaints_{0};
  std::array<std::array<char, 200>, 8> texts_{};
};

}  // namespace openmessaging::reference::kill
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_KILL_LEDGER_H_
