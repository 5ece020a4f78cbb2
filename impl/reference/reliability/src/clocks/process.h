// SPDX-License-Identifier: Apache-2.0
//
// One of the processes that share a store in a simulated world, and how it sees
// the clocks.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_PROCESS_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_PROCESS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "clocks/model.h"
#include "openmessaging/driver/optional.h"
#include "power/disk.h"
#include "power/session.h"

namespace openmessaging::reference::clocks {

// What a process sees of the machine's clocks. Every look is counted: a call
// that goes on looking does not end.
class ProcessClock final : public Clock {
 public:
  ProcessClock(const power::SimulatedMachine* machine, bool knows_boot)
      : machine_(machine), knows_boot_(knows_boot) {}

  int64_t BootNs() const override {
    ++looks_;
    return machine_->boot_ns;
  }
  // It counts in steps, as a kernel's coarse clock does.
  int64_t WallMs() const override {
    ++looks_;
    return machine_->wall_ms / kStepMs * kStepMs;
  }
  int64_t ExactWallMs() const override {
    ++looks_;
    return machine_->wall_ms;
  }
  uint64_t BootHash() const override {
    return knows_boot_ ? machine_->boot_hash : 0;
  }
  uint64_t looks() const { return looks_; }

  static constexpr int64_t kStepMs = 4;

 private:
  const power::SimulatedMachine* const machine_;
  const bool knows_boot_;
  mutable uint64_t looks_ = 0;
};

struct ProcessTerms {
  int number = 0;
  bool knows_boot = true;  // Whether the boot's id can be read.
  bool housekeeps = true;
  bool ack_sync = false;
  std::array<int64_t, kGroups.size()> lease_ms{};
};

// Threads: one.
class Process {
 public:
  // Errors: as Store::Open.
  static absl::StatusOr<std::unique_ptr<Process>> Open(
      power::Disk& disk, power::SimulatedMachine& machine,
      const ProcessTerms& terms, const StoreOptions& options);

  // As whoever leads a flush does. Errors: as an append's and a flush's.
  absl::Status Flush();

  // Does what the housekeeper's thread would do at this moment.
  void Housekeep();

  // A member of a group, or of the dead letters' (kGroups.size()).
  // Errors: as Consumer::Bind.
  absl::StatusOr<power::Receiver*> ReceiverOf(size_t group);

  // Dies: its locks are free, and nothing of it reaches the store any more.
  void Kill() { session_->Kill(); }
  absl::Status Close();

  const ProcessTerms& terms() const { return terms_; }
  power::Session& session() { return *session_; }
  Store& store() { return *session_->store(); }
  driver::CheckSource& checks() { return *checks_; }
  uint64_t looks() const { return clock_.looks(); }
  // Returns: the next offset of a partition.
  uint64_t NextOffset(int queue, int32_t partition) const {
    return partitions_[static_cast<size_t>(queue)]
                      [static_cast<size_t>(partition)]
                          ->next_offset.Load();
  }
  // Looks up the queues, which exist. Errors: as Catalog::FindQueue.
  absl::Status FindPartitions();

 private:
  Process(power::SimulatedMachine& machine, const ProcessTerms& terms)
      : terms_(terms),
        machine_(&machine),
        clock_(&machine, terms.knows_boot),
        environment_{&clock_, &machine, &machine, "sim.example"} {}

  const ProcessTerms terms_;
  const power::SimulatedMachine* const machine_;
  ProcessClock clock_;
  const Environment environment_;
  int64_t next_look_ns_ = 0;
  std::unique_ptr<power::Session> session_;
  std::unique_ptr<driver::CheckSource> checks_;
  std::array<std::unique_ptr<power::Receiver>, kGroups.size() + 1> receivers_;
  std::array<std::array<PartitionState*, kPartitions>, kQueueNames.size()>
      partitions_{};
};

}  // namespace openmessaging::reference::clocks
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_PROCESS_H_
