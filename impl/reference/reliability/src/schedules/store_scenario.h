// SPDX-License-Identifier: Apache-2.0
//
// What scenarios with whole stores share: a handle for each process and one
// for whoever checks, sending, receiving, settling.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_STORE_SCENARIO_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_STORE_SCENARIO_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "consumer.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/send_result.h"
#include "producer.h"
#include "schedules/disk.h"
#include "schedules/world.h"
#include "store.h"

namespace openmessaging::reference::schedules {

using Moment = std::chrono::steady_clock::time_point;

// Longer than anything takes that works, in the world's time.
Moment InGoodTime();
Moment Now();

// A member of a group.
class Taker final : private driver::DeliverySink {
 public:
  struct Taken {
    std::string body{};
    int64_t offset = 0;
    int32_t delivery_count = 0;
    Receipt receipt{};
  };

  Taker(std::shared_ptr<Store> store, std::string_view group,
        std::chrono::milliseconds lease = std::chrono::seconds(30),
        const ConsumerSettings& settings = {});
  Taker(std::shared_ptr<Store> store, const driver::ConsumerOptions& options,
        const ConsumerSettings& settings);

  absl::Status Bind(std::string_view queue);
  // Receives up to `max`; waits for the first until `deadline`.
  absl::Status Take(size_t max, Moment deadline);
  absl::Status Settle(const Receipt& receipt, driver::Verb verb);
  absl::Status Ack(size_t index) {
    return Settle(taken_[index].receipt, driver::Verb::kAck);
  }
  const std::vector<Taken>& taken() const { return taken_; }

 private:
  void Deliver(Message message, const Receipt& receipt) override;

  ReferenceConsumer consumer_;
  std::vector<Taken> taken_;
};

// Sends one batch to "orders". Returns: what became of each.
std::vector<absl::StatusOr<SendResult>> SendAll(
    const std::shared_ptr<Store>& store, const std::vector<std::string>& bodies,
    Durability durability);

class StoreScenario : public Scenario {
 public:
  // `flushes`: whether the storage is one that a power loss could change.
  explicit StoreScenario(bool flushes) : disk_(flushes) {}

  void OnDeath(uint32_t process) override { disk_.FreeLocks(process); }

 protected:
  // The keeper's place among the processes.
  static constexpr uint32_t kKeeper = kMaxProcesses;

  StoreOptions options() const;
  // Opens a store as a process. Fails the scenario where it cannot.
  std::shared_ptr<Store> Open(uint32_t process);
  // Opens a store elsewhere and uses it, so that what is made once in a program
  // is not made within a schedule, and put back with it.
  void Rehearse();
  // Opens one for each process and for the keeper, and makes "orders".
  void OpenAll(int32_t partitions = 1);
  const std::shared_ptr<Store>& store(uint32_t process) {
    return stores_[process];
  }

  // Fails the scenario unless `status` is OK.
  void Must(std::string_view what, const absl::Status& status);

  // Sends one message with this body, and notes what became of it.
  void Send(uint32_t process, const std::string& body,
            Durability durability = Durability::kProcess);
  // Fails unless what a new group receives is what was sent: whole, each once,
  // at dense offsets, all that was acknowledged, in the order of each sender.
  // Sends one more, which must come last.
  void CheckStored();

  struct Note {
    uint32_t process = 0;
    std::string body{};
    bool acknowledged = false;
  };
  std::vector<Note> notes_;

  Disk disk_;
  Environment* const machine_ = OpenMachine();
  StoreOptions options_ = options();

 private:
  std::array<std::shared_ptr<Store>, kMaxProcesses + 1> stores_{};
};

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_STORE_SCENARIO_H_
