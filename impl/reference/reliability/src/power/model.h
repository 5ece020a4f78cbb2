// SPDX-License-Identifier: Apache-2.0
//
// What a workload did and was told, each with its place in the trace: from
// `began` on it may have happened, from `ended` on it was acknowledged.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_MODEL_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "format.h"
#include "openmessaging/message_id.h"

namespace openmessaging::reference::power {

inline constexpr size_t kNever = SIZE_MAX;

struct Span {
  size_t began = kNever;
  size_t ended = kNever;
};

struct QueueFact {
  std::string name{};
  uint32_t partitions = 1;
  int dead_letters = -1;  // The number of another queue.
  Span made{};
};

struct GroupFact {
  std::string name{};
  int queue = 0;
  Span made{};
};

struct RouteFact {
  int source = 0;
  int target = 0;
  Span made{};
};

enum class Kind : uint8_t { kPlain, kDelayed, kPrepared };

struct MessageFact {
  Kind kind = Kind::kPlain;
  int queue = 0;
  int32_t partition = 0;
  int unit = -1;  // Of a local transaction.
  int boot = 0;   // Which of the machine it was sent in.
  bool disk = false;
  bool refused = false;  // Told that it was not stored.
  std::string body{};
  Span sent{};
  MessageId id{};
  int64_t offset = -1;
  int64_t due_ms = 0;  // Wall time.
  Span committed{};
  Span rolled_back{};
  Span cancelled{};
  std::string transaction_id{};
};

struct SettleFact {
  int message = 0;
  int group = 0;
  int unit = -1;
  bool moves = false;  // Perhaps to the dead-letter queue.
  size_t began = kNever;
  size_t durable = kNever;
};

struct Model {
  StoreOptions options{};
  std::vector<QueueFact> queues{};
  std::vector<GroupFact> groups{};
  std::vector<RouteFact> routes{};
  std::vector<MessageFact> messages{};
  std::vector<SettleFact> settled{};
  // Whether the disk of each unit was asked for.
  int units = 0;
  // The wall time from each place on.
  std::vector<std::pair<size_t, int64_t>> walls{};

  // Where the log was said to be durable to, from each place on.
  std::vector<std::pair<size_t, uint64_t>> durable{};

  uint64_t DurableAt(size_t cut) const {
    uint64_t durable_to = 0;
    for (const auto& [from, to] : durable) {
      if (from <= cut) durable_to = to;
    }
    return durable_to;
  }
  int64_t WallAt(size_t cut) const {
    int64_t wall = 0;
    for (const auto& [from, ms] : walls) {
      if (from <= cut) wall = ms;
    }
    return wall;
  }
};

// Returns: the facts in words, a line each, for whoever looks at a failure.
std::string Tell(const Model& model);

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_MODEL_H_
