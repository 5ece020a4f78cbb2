// SPDX-License-Identifier: Apache-2.0
//
// One process that has a store open on a simulated disk, and short ways to use
// it.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_POWER_SESSION_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_POWER_SESSION_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "consumer.h"
#include "env/environment.h"
#include "local_transactions.h"
#include "openmessaging/message.h"
#include "power/disk.h"
#include "producer.h"
#include "store.h"
#include "stream_source.h"
#include "transaction_source.h"

namespace openmessaging::reference::power {

// A machine whose clock is moved by hand; nobody sleeps on it, since nobody
// else is there who could wake him.
class SimulatedMachine final : public Clock, public Waiting, public Random {
 public:
  explicit SimulatedMachine(uint64_t seed) : dice_(seed) {}

  int64_t BootNs() const override { return boot_ns; }
  int64_t WallMs() const override { return wall_ms; }
  int64_t ExactWallMs() const override { return wall_ms; }
  uint64_t BootHash() const override { return boot_hash; }
  void Wait(const std::atomic<uint32_t>& /*word*/, uint32_t /*expected*/,
            std::chrono::nanoseconds /*timeout*/) override {}
  void WakeAll(const std::atomic<uint32_t>& /*word*/) override {}
  uint64_t Next() override { return dice_.Next(); }

  void Advance(int64_t ms) {
    boot_ns += ms * 1'000'000;
    wall_ms += ms;
  }
  void Boot() {
    boot_ns = 1'000'000'000;
    boot_hash = dice_.Next() | 1;
  }
  const Environment* environment() const { return &environment_; }

  int64_t boot_ns = 1'000'000'000;
  int64_t wall_ms = 1'700'000'000'000;
  uint64_t boot_hash = 0x5eed;

 private:
  Dice dice_;
  Environment environment_{this, this, this, "sim.example"};
};

inline TimePoint InGoodTime() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(20);
}

inline std::string_view TextOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// A message as somebody was handed it.
struct Received {
  int number = -1;  // Which one the body says; -1: none.
  int32_t partition = 0;
  int64_t offset = 0;
  int32_t count = 0;  // Of deliveries.
  MessageId id{};
  Receipt receipt{};
  std::string body{};
  int64_t property = -1;
  // Of a dead letter.
  std::string reason{};
  std::string group{};
};

// Keeps what is delivered.
class Basket final : public driver::DeliverySink {
 public:
  void Deliver(Message message, const Receipt& receipt) override;
  std::vector<Received> all{};
};

// A member of a group.
class Receiver {
 public:
  Receiver(const std::shared_ptr<Store>& store, std::string_view group,
           bool ack_sync,
           std::chrono::milliseconds lease = std::chrono::seconds(30));

  absl::Status Bind(std::string_view queue) {
    return consumer_.Bind(queue, {}, InGoodTime());
  }
  // Takes what is there. Errors: the first damage that is told of.
  absl::Status Take(size_t max, std::vector<Received>& into);
  absl::Status Settle(const Receipt& receipt, driver::Verb verb,
                      std::chrono::milliseconds duration = {});
  bool ack_sync() const { return ack_sync_; }
  void Close() { consumer_.Close(InGoodTime()).IgnoreError(); }

 private:
  const bool ack_sync_;
  ReferenceConsumer consumer_;
};

class Session {
 public:
  // Errors: as Store::Open.
  static absl::StatusOr<std::unique_ptr<Session>> Open(
      Disk& disk, const Environment* environment, const StoreOptions& options);
  static absl::StatusOr<std::unique_ptr<Session>> Open(
      Disk& disk, const SimulatedMachine& machine,
      const StoreOptions& options) {
    return Open(disk, machine.environment(), options);
  }
  ~Session() { Kill(); }

  std::vector<absl::StatusOr<SendResult>> Send(std::span<const Message> batch);
  // Reads all that is stored in a partition. Errors: the first damage; what
  // lies behind is read all the same.
  absl::Status ReadAll(std::string_view queue, int32_t partition,
                       std::vector<Received>& into);

  // As a kill or a power loss does: nothing reaches the disk any more.
  void Kill() { process_->Kill(); }
  absl::Status Close() { return store_->Close(InGoodTime()); }

  const std::shared_ptr<Store>& store() const { return store_; }
  ReferenceTransactionSource& transactions() { return transactions_; }
  ReferenceLocalTransactions& local() { return local_; }
  ReferenceStreamSource& streams() { return streams_; }

 private:
  Session(std::shared_ptr<Disk::Process> process, std::shared_ptr<Store> store)
      : process_(std::move(process)),
        store_(std::move(store)),
        producer_(store_, false),
        transactions_(store_, false),
        local_(store_, false, false),
        streams_(store_, false) {}

  const std::shared_ptr<Disk::Process> process_;
  const std::shared_ptr<Store> store_;
  ReferenceProducer producer_;
  ReferenceTransactionSource transactions_;
  ReferenceLocalTransactions local_;
  ReferenceStreamSource streams_;
};

// The body of message `number`, of at least `bytes`, and what it begins with.
std::string BodyOf(int number, size_t bytes);
int NumberOf(std::string_view body);

}  // namespace openmessaging::reference::power
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_POWER_SESSION_H_
