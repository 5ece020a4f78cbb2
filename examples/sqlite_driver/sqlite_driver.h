// SPDX-License-Identifier: Apache-2.0
//
// The four classes of a driver, and Admin: "oms:sqlite:///path/to/file", or
// "oms:sqlite:file". They say in OpenMessaging's words what broker.h does.

#ifndef SQLITE_DRIVER_H_
#define SQLITE_DRIVER_H_

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker.h"
#include "database.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"
#include "worker.h"

namespace sqlite {

namespace driver = openmessaging::driver;
using DatabasePointer = std::shared_ptr<Database>;

// Every batch goes the same way, whether or not a caller waits, so that calls
// keep their order.
class SqliteProducer final : public driver::Producer {
 public:
  explicit SqliteProducer(DatabasePointer database)
      : worker_(std::move(database)) {}

  void Send(std::span<const oms::Message> batch,
            const driver::CallContext& context,
            driver::SendCompletion& done) override {
    // A copied message shares its bytes.
    worker_.Post(std::make_unique<BatchJob<oms::Message, oms::SendResult>>(
        batch,
        [born_ms = context.born_timestamp_ms](Broker& broker,
                                              const oms::Message& message) {
          return broker.Put(message, born_ms);
        },
        [&done](size_t index, const auto& outcome) {
          if (outcome.ok()) {
            done.Sent(index, *outcome);
          } else {
            done.Failed(index, outcome.status());
          }
        }));
  }
  absl::Status Flush(TimePoint deadline) override {
    return worker_.Flush(deadline);
  }
  absl::Status Close(TimePoint deadline) override {
    return worker_.Close(deadline);
  }

 private:
  Worker worker_;
};

// Takes messages on the thread that asks for them, and settles on its worker's.
// How many members a group has, and in which processes, only the tables know.
class SqliteConsumer final : public driver::Consumer {
 public:
  SqliteConsumer(DatabasePointer database, std::atomic<uint64_t>& last_source,
                 const driver::ConsumerOptions& options,
                 driver::ConsumerEvents& events)
      : database_(std::move(database)),
        last_source_(last_source),
        options_(options),
        events_(events),
        worker_(database_) {}

  absl::Status Bind(std::string_view queue, const driver::BindOptions&,
                    TimePoint deadline) override {
    absl::StatusOr<Binding> bound;
    absl::Status kept = database_->Transact(deadline, [&] {
      bound = Broker(*database_).Bind(queue, options_.group, options_.start);
      return bound.status();
    });
    if (!kept.ok()) return kept;
    bound->source = ++last_source_;
    bindings_.push_back(*std::move(bound));
    return absl::OkStatus();
  }

  absl::Status Unbind(std::string_view queue, TimePoint deadline) override {
    const auto bound =
        std::find_if(bindings_.begin(), bindings_.end(),
                     [&](const Binding& each) { return each.queue == queue; });
    if (bound == bindings_.end()) return absl::OkStatus();
    const Binding binding = *bound;
    bindings_.erase(bound);
    events_.Lost({&binding.source, 1});
    worker_.Flush(deadline).IgnoreError();  // What was settled stays so.
    return GiveBack(binding, deadline);
  }

  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) override {
    while (true) {
      std::vector<Taken> taken;
      absl::Status looked = database_->Transact(deadline, [&] {
        Broker broker(*database_);
        for (const Binding& binding : bindings_) {
          for (Taken& one :
               broker.Take(binding, max - taken.size(), options_.prefetch_bytes,
                           options_.lease)) {
            taken.push_back(std::move(one));
          }
        }
        return absl::OkStatus();
      });
      // Whether others were too slow is for the deadline to say.
      if (!looked.ok() && oms::OmsCode(looked) != oms::Code::kStorageBusy) {
        return looked;
      }
      for (auto& [message, receipt] : taken) {
        sink.Deliver(std::move(message), receipt);
      }
      if (!taken.empty() || interrupted_.exchange(false) ||
          Clock::now() >= deadline) {
        return absl::OkStatus();
      }
      database_->WaitForChange(deadline);
    }
  }

  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext&,
              driver::SettleCompletion& done) override {
    worker_.Post(std::make_unique<BatchJob<driver::Settlement, oms::Receipt>>(
        batch,
        [group = options_.group](Broker& broker,
                                 const driver::Settlement& settlement) {
          return broker.Settle(settlement, group);
        },
        [&done](size_t index, const auto& outcome) {
          if (outcome.ok()) {
            done.Settled(index, *outcome);
          } else {
            done.Failed(index, outcome.status());
          }
        }));
  }

  void Interrupt() override {
    interrupted_ = true;
    database_->Wake();
  }

  absl::Status Close(TimePoint deadline) override {
    absl::Status closed = worker_.Close(deadline);
    for (const Binding& binding : bindings_) {
      closed.Update(GiveBack(binding, deadline));
    }
    return closed;
  }

 private:
  absl::Status GiveBack(const Binding& binding, TimePoint deadline) {
    return database_->Transact(deadline, [&] {
      Broker(*database_).Unbind(binding);
      return absl::OkStatus();
    });
  }

  const DatabasePointer database_;
  std::atomic<uint64_t>& last_source_;
  const driver::ConsumerOptions options_;
  driver::ConsumerEvents& events_;
  // Bind, Unbind, Receive and Close come one after the other.
  std::vector<Binding> bindings_;
  std::atomic<bool> interrupted_ = false;
  Worker worker_;
};

class SqliteConnection final : public driver::Connection, public driver::Admin {
 public:
  explicit SqliteConnection(DatabasePointer database)
      : database_(std::move(database)) {}

  // What is not here is refused with 1600 before the driver hears of it.
  absl::StatusOr<oms::Capabilities> CapabilitiesOf(std::string_view,
                                                   TimePoint) override {
    using oms::Capability;
    oms::Capabilities all;
    for (const Capability native :
         {Capability::kIndividualAck, Capability::kNack, Capability::kNackDelay,
          Capability::kExtend, Capability::kLease, Capability::kDeliveryCount,
          Capability::kPromptRelease, Capability::kSharedReceipt,
          Capability::kSettleConfirmed, Capability::kGroups,
          Capability::kStartEarliest, Capability::kSharedPartition,
          Capability::kAdmin,
          Capability::kTypedProperties, Capability::kDurable}) {
      all.Set(native, oms::Support::kNative);
    }
    return all;
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions&, TimePoint) override {
    return std::make_unique<SqliteProducer>(database_);
  }
  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint) override {
    return std::make_unique<SqliteConsumer>(database_, last_source_, options,
                                            events);
  }

  void* Query(std::string_view interface_name) override {
    if (interface_name != Admin::kInterface) return nullptr;
    return static_cast<driver::Admin*>(this);
  }
  absl::Status Close(TimePoint) override { return absl::OkStatus(); }

  // --- Admin ---
  absl::Status CreateQueue(std::string_view queue,
                           const oms::QueueOptions& options,
                           TimePoint deadline) override {
    return database_->Transact(deadline, [&] {
      return Broker(*database_).CreateQueue(queue, options);
    });
  }
  absl::Status DeleteQueue(std::string_view queue,
                           TimePoint deadline) override {
    return database_->Transact(
        deadline, [&] { return Broker(*database_).DeleteQueue(queue); });
  }
  absl::StatusOr<std::vector<oms::QueueInfo>> ListQueues(
      std::string_view, TimePoint deadline) override {
    return Describe("", deadline);
  }
  absl::StatusOr<oms::QueueInfo> DescribeQueue(std::string_view queue,
                                               TimePoint deadline) override {
    auto found = Describe(queue, deadline);
    if (!found.ok()) return found.status();
    if (!found->empty()) return found->front();
    return oms::MakeStatus(oms::Code::kQueueNotFound, "describe queue \"",
                           queue, "\": there is no such queue");
  }

 private:
  absl::StatusOr<std::vector<oms::QueueInfo>> Describe(std::string_view queue,
                                                       TimePoint deadline) {
    std::vector<oms::QueueInfo> found;
    absl::Status looked = database_->Transact(deadline, [&] {
      found = Broker(*database_).Describe(queue);
      return absl::OkStatus();
    });
    if (!looked.ok()) return looked;
    return found;
  }

  const DatabasePointer database_;
  std::atomic<uint64_t> last_source_ = 0;
};

class SqliteDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    return {.name = "sqlite", .version = "1.0.0", .specification = "1.0.0"};
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const oms::Url& url, const oms::Attributes& attributes,
      TimePoint) override {
    if (auto s = url.CheckHasPath(); !s.ok()) return s;
    if (auto s = attributes.CheckKnown({}); !s.ok()) return s;
    auto database = Database::Open(url.path(), kSchema);
    if (!database.ok()) return database.status();
    return std::make_unique<SqliteConnection>(*std::move(database));
  }
};

}  // namespace sqlite
#endif  // SQLITE_DRIVER_H_
