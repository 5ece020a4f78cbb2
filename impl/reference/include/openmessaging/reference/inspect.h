// SPDX-License-Identifier: Apache-2.0
//
// InspectStore tells what a file store holds and who uses it, from outside.

#ifndef OPENMESSAGING_REFERENCE_INSPECT_H_
#define OPENMESSAGING_REFERENCE_INSPECT_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace openmessaging::reference {

// One file of the log.
struct InspectSegment {
  std::string file{};  // Relative to the store's directory.
  uint64_t base = 0;   // Position of its first record.
  uint64_t capacity_bytes = 0;
  uint64_t used_bytes = 0;  // 0: made ahead.
  uint32_t epoch = 0;
};

// One partition of a queue; with priorities, one lane of it.
struct InspectPartition {
  std::string queue{};
  uint32_t partition = 0;
  // The offsets that are stored: first inclusive, end exclusive.
  uint64_t first = 0;
  uint64_t end = 0;
  int priority = 0;  // Of the lane; 0: the queue was made without.
};

// How far one group is in one partition.
struct InspectGroup {
  std::string queue{};
  std::string group{};
  uint32_t partition = 0;
  uint64_t floor = 0;      // Everything below is settled.
  uint64_t next = 0;       // Nothing from here on was handed out.
  uint64_t unsettled = 0;  // Of those between.
  int priority = 0;        // As of the partition.
};

// What keeps a part of the log: the oldest message of a partition that a group
// has not settled, or that waits for the first group of its queue.
struct InspectPin {
  std::string queue{};
  uint32_t partition = 0;
  std::string group{};  // Empty: the queue has had none yet.
  uint64_t offset = 0;
  // Nothing where the index does not say.
  std::optional<uint64_t> position = std::nullopt;
  int priority = 0;  // As of the partition.
};

// One handle of a process, in the order of the slots.
struct InspectSlot {
  uint32_t slot = 0;
  uint32_t pid = 0;  // As its own pid namespace calls it.
  bool alive = false;
  std::chrono::milliseconds opened_ago{0};
};

// A lock between processes that somebody holds. A dead owner keeps nobody: who
// wants the lock next inherits it.
struct InspectLock {
  std::string name{};
  uint32_t slot = 0;
  uint32_t pid = 0;
  bool alive = false;
};

struct InspectReport {
  enum class State {
    kInUse,   // Some process has it open.
    kClosed,  // The last process closed it.
    kLeft,    // The last process died; opening it goes on from what is there.
  };

  State state = State::kClosed;
  std::string uuid{};
  std::string format{};
  std::chrono::milliseconds created{0};  // Since 1970 UTC.
  uint32_t epoch = 0;
  bool poisoned = false;  // A flush failed; see docs/design/engine.md.
  // Whether slots, locks and groups are those that the living share; otherwise
  // they are what the log alone says, and slots and locks are empty.
  bool live_state = false;
  uint64_t begin = 0;      // Positions: where the log begins,
  uint64_t durable = 0;    // up to where it is known to be on disk,
  uint64_t committed = 0;  // and where it ends.
  // Bodies that have files of their own.
  uint64_t bodies = 0;
  uint64_t body_bytes = 0;
  // Messages that wait for their time, or are prepared and not decided.
  uint64_t delayed = 0;
  uint64_t undecided = 0;
  std::vector<InspectSegment> segments{};
  // In the order of their names, those without queues as well.
  std::vector<std::string> namespaces{};
  std::vector<InspectPartition> partitions{};
  std::vector<InspectGroup> groups{};
  std::vector<InspectPin> pins{};
  std::vector<InspectSlot> slots{};
  std::vector<InspectLock> locks{};
};

// Looks at a store that may be in use, closed, or left by a crash. Reads only,
// takes no slot and no lock, and makes no file. What changes meanwhile is seen
// as it was at some moment of the call, not all of it at the same.
// Errors: 1404 no such directory, 1418 not a store, 10003 another format, 1609
// its file STORE is damaged, 1403, 1501.
absl::StatusOr<InspectReport> InspectStore(const std::string& directory);

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_INSPECT_H_
