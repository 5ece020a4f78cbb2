// SPDX-License-Identifier: Apache-2.0
//
// Case is one thing to measure, one row of the table; a plan is a list of them.

#ifndef OPENMESSAGING_TOOLS_BENCH_CASE_H_
#define OPENMESSAGING_TOOLS_BENCH_CASE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/message.h"

namespace openmessaging::tools {

enum class Operation : uint8_t {
  kSend,       // One thread sends.
  kSenders,    // Many threads send, each waits for its own message.
  kAsync,      // One thread sends and waits for no message but the last ones.
  kReceive,    // One thread receives and acknowledges what is there.
  kCycle,      // One thread sends, receives and acknowledges.
  kTransfer,   // One end sends, the other receives and acknowledges.
  kRoundTrip,  // One end sends, the other answers.
};
inline constexpr std::array<std::string_view, 7> kOperationNames = {
    "send", "senders", "async", "receive", "cycle", "transfer", "round-trip"};

// Where the work is done. The last two have two ends.
enum class Place : uint8_t { kThread, kThreads, kProcesses };
inline constexpr std::array<std::string_view, 3> kPlaceNames = {
    "one-thread", "threads", "processes"};

// How a receiver waits; none where nobody has to.
enum class Wait : uint8_t { kNone, kBlock, kSpin };
inline constexpr std::array<std::string_view, 3> kWaitNames = {"", "block",
                                                               "spin"};

inline constexpr std::array<std::string_view, 4> kDurabilityNames = {
    "default", "volatile", "process", "disk"};

template <typename Names, typename Enum>
constexpr std::string_view NameIn(const Names& names, Enum value) {
  return names[static_cast<size_t>(value)];
}

struct Case {
  Operation operation = Operation::kSend;
  Place place = Place::kThread;
  size_t size_bytes = 256;
  size_t batch = 1;
  Durability durability = Durability::kVolatile;
  Wait wait = Wait::kNone;
  size_t senders = 1;

  bool two_ends() const { return place != Place::kThread; }
  // Stable, for scripts and --only: "transfer/processes/256B/1/process/block".
  std::string Name() const;
  // What stands together in the table. Returns: a title.
  std::string GroupTitle() const;
};

struct PlanOptions {
  bool quick = false;
  bool durable = false;  // Most cases are at process, not at volatile.
};

// Returns: the cases, those of a group together, whether a driver can do them
// or not; those that wait for the disk come first, before others have left it
// work.
std::vector<Case> MakePlan(const PlanOptions& options);

// What we want of a case, and for which driver: printed, never asserted.
struct Goal {
  std::string text{};
  // Messages a second, if there is no limit to compare with.
  double per_second = 0;
  // Else a part of the limit that is reached at least, or, of a latency, a
  // multiple of it at most.
  double of_limit = 0;
};
std::optional<Goal> GoalOf(const Case& one, std::string_view driver);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_CASE_H_
