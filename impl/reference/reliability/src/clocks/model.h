// SPDX-License-Identifier: Apache-2.0
//
// What the applications of a simulated world did and were told, and what must
// and what may become of each message. Times are of the boot clock of the
// present boot, unless they say otherwise.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_MODEL_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_MODEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/message_id.h"
#include "openmessaging/receipt.h"

namespace openmessaging::reference::clocks {

inline constexpr int64_t kMsNs = 1'000'000;
inline constexpr int64_t kHourMs = 3'600'000;
inline constexpr int64_t kDayMs = 24 * kHourMs;

// What is promised.
inline constexpr int64_t kLateNs = 100 * kMsNs;        // A delay.
inline constexpr int64_t kDeadOwnerNs = 200 * kMsNs;   // A dead one's lease.
inline constexpr int64_t kLeaseOverNs = 1000 * kMsNs;  // A lease.

// The queues of every world, and their groups.
inline constexpr int kOrders = 0;  // Moves what fails to the dead letters.
inline constexpr int kBills = 1;   // Keeps what is settled for a while.
inline constexpr int kDead = 2;
inline constexpr std::array<std::string_view, 3> kQueueNames = {
    "orders", "bills", "dead"};
inline constexpr size_t kMostBodyBytes = 1200;
inline constexpr int kPartitions = 2;  // Of each but the last.

struct GroupFact {
  std::string_view name{};
  int queue = 0;
  size_t share = 0;  // Which one of a message it has.
};
inline constexpr std::array<GroupFact, 3> kGroups = {
    {{"shop", kOrders, 0}, {"audit", kOrders, 1}, {"shop", kBills, 0}}};

enum class Kind : uint8_t { kPlain, kDelayed, kPrepared };

enum class Stage : uint8_t {
  kWaiting,    // Delayed, and not seen yet.
  kUndecided,  // Prepared.
  kStored,
  kGone  // Cancelled, rolled back, or not stored at all.
};

enum class Hold : uint8_t {
  kNew,   // Never handed out.
  kOut,   // With its receiver.
  kBack,  // Given back, or its receiver is gone.
  kDone   // Settled, or a dead letter.
};

// Whether a group has made a dead letter of a message.
enum class Letter : uint8_t { kNot, kMay, kMust, kSeen };

// What one group has of one message.
struct Share {
  Hold hold = Hold::kNew;
  Letter letter = Letter::kNot;
  bool rejected = false;
  // Settled, and no flush came behind it.
  bool shaky = false;
  // Settled once, and perhaps forgotten with the last process.
  bool may_return = false;
  int owner = -1;
  int64_t from_ns = 0;  // Not handed out again before.
  int64_t by_ns = 0;    // From then on whoever looks gets it.
  // How often it was delivered, as the store may count it.
  int32_t least = 0;
  int32_t most = 0;
  Receipt receipt{};
};

struct Item {
  int number = 0;
  Kind kind = Kind::kPlain;
  Stage stage = Stage::kStored;
  int queue = 0;
  int32_t partition = 0;
  size_t body_bytes = 0;
  bool disk = true;
  bool durable = true;  // No power loss takes it.
  // Lost, or rolled back by the store; or not.
  bool may_be_gone = false;
  MessageId id{};
  int64_t offset = -1;  // -1: not known yet.
  int boot = 0;         // In which it was sent.
  int by_boot = 0;      // Of which boot the next two are.

  // When it is due, or is asked about next.
  int64_t from_ns = 0;
  int64_t by_ns = 0;
  int64_t due_ms = 0;  // By the wall clock.
  int64_t latest_due_ms = 0;  // The latest that any record of it may say.
  bool may_be_there = false;  // It was due while somebody lived.

  int64_t expire_ms = 0;  // By the wall clock; 0: never.
  bool expired = false;   // At some moment the wall clock was there.
  Letter expired_letter = Letter::kNot;

  // Of a prepared one.
  std::string transaction_id{};
  int64_t check_after_ms = 0;
  int32_t max_checks = 0;
  // How often it was asked about, as the store may count it.
  int32_t least_checks = 0;
  int32_t most_checks = 0;

  std::vector<Share> shares{};
};

// A transaction that was decided.
struct Decided {
  std::string transaction_id{};
  bool committed = false;
  int64_t until_ns = 0;  // The store remembers it so long at least.
};

// A receipt that must not settle anything any more.
struct StaleReceipt {
  int number = 0;
  int group = 0;
  Receipt receipt{};
};

}  // namespace openmessaging::reference::clocks
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_MODEL_H_
