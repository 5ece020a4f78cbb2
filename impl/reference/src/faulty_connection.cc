// SPDX-License-Identifier: Apache-2.0

#include "faulty_connection.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "env/environment.h"
#include "fault_errors.h"
#include "fault_plan.h"
#include "faulty_transactions.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/thread_start.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/receipt.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How long a message that is overtaken waits beside its delay.
constexpr std::chrono::milliseconds kOvertaken{10};

// Hands the outcome of one message on, or keeps it to itself where `done` is
// nullptr. Ends with it.
class ForwardSend final : public driver::SendCompletion {
 public:
  ForwardSend(driver::SendCompletion* done, size_t index)
      : done_(done), index_(index) {}

  void Sent(size_t /*index*/, const SendResult& result) override {
    if (done_ != nullptr) done_->Sent(index_, result);
    delete this;
  }
  void Failed(size_t /*index*/, absl::Status status) override {
    if (done_ != nullptr) done_->Failed(index_, std::move(status));
    delete this;
  }

 private:
  driver::SendCompletion* const done_;
  const size_t index_;
};

// The same of one settlement.
class ForwardSettle final : public driver::SettleCompletion {
 public:
  ForwardSettle(driver::SettleCompletion* done, size_t index)
      : done_(done), index_(index) {}

  void Settled(size_t /*index*/, const Receipt& replacement) override {
    if (done_ != nullptr) done_->Settled(index_, replacement);
    delete this;
  }
  void Failed(size_t /*index*/, absl::Status status) override {
    if (done_ != nullptr) done_->Failed(index_, std::move(status));
    delete this;
  }

 private:
  driver::SettleCompletion* const done_;
  const size_t index_;
};

// What becomes of one message.
struct Fate {
  std::optional<Fault> fault{};
  bool stored = true;  // Of unknown and disconnect.
};

// Sends each message by its fate: at once, or over the wire, where it waits for
// its time.
//
// Threads: every method from any thread.
// Invariants:
//   (1) mutex_ is not held while the inner producer is called or a message
//       completes;
//   (2) what is in wire_ or being carried counts in on_wire_.
class FaultyProducer final : public driver::Producer {
 public:
  FaultyProducer(std::unique_ptr<driver::Producer> inner,
                 driver::Admin& admin, const FaultPlan& plan, uint64_t client)
      : inner_(std::move(inner)),
        admin_(admin),
        plan_(plan),
        client_(client),
        dice_(plan, client) {
    if (plan_.has_wire()) {
      thread_ = internal::StartThread([this] { Carry(); });
    }
  }
  ~FaultyProducer() override { EndWire(); }

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) override {
    // Once one is refused, so are those of its destination and key behind it.
    std::set<std::pair<std::string, std::string>> refused;
    // `done` may end with the last completion, the batch with this call.
    for (size_t i = 0; i < batch.size(); ++i) {
      const Message& message = batch[i];
      Fate fate{dice_.Throw({Fault::kError, Fault::kUnknown, Fault::kDisconnect,
                             Fault::kDrop, Fault::kDuplicate, Fault::kReorder})};
      if (fate.fault == Fault::kUnknown || fate.fault == Fault::kDisconnect) {
        fate.stored = dice_.Half();
      }
      std::pair<std::string, std::string> place(message.destination(),
                                                message.message_key());
      if (refused.contains(place) || fate.fault == Fault::kError) {
        refused.insert(std::move(place));
        done.Failed(i, FaultRefusal("send"));
      } else if (plan_.has_wire()) {
        Post({message, context, &done, i, fate});
      } else {
        Store({message, context, &done, i, fate});
      }
    }
  }

  absl::Status Flush(TimePoint deadline) override {
    {
      const internal::MutexLock lock(mutex_);
      while (on_wire_ > 0) {
        if (!changed_.WaitUntil(mutex_, deadline) && on_wire_ > 0) {
          return MakeStatus(Code::kTimeout, "flush: ", on_wire_,
                            " messages are still delayed; expected a later "
                            "deadline (fault=delay)");
        }
      }
    }
    return inner_->Flush(deadline);
  }

  absl::Status Close(TimePoint deadline) override {
    EndWire();
    return inner_->Close(deadline);
  }

 private:
  struct Outgoing {
    Message message{};
    driver::CallContext context{};
    driver::SendCompletion* done = nullptr;
    size_t index = 0;
    Fate fate{};
  };

  void Post(Outgoing outgoing) {
    TimePoint due = SteadyClock::now() + dice_.Delay();
    const bool overtaken = outgoing.fate.fault == Fault::kReorder;
    // The call ends before the message is stored.
    outgoing.context.caller_waits = true;
    const internal::MutexLock lock(mutex_);
    if (overtaken) {
      due += kOvertaken;
    } else {
      due = last_due_ = std::max(due, last_due_);
    }
    wire_.emplace(due, std::move(outgoing));
    ++on_wire_;
    changed_.NotifyAll();
  }

  // The thread. At the end it carries what is left at once.
  void Carry() {
    mutex_.Lock();
    while (!ending_ || !wire_.empty()) {
      if (wire_.empty()) {
        changed_.Wait(mutex_);
        continue;
      }
      const TimePoint due = wire_.begin()->first;
      if (!ending_ && due > SteadyClock::now()) {
        changed_.WaitUntil(mutex_, due);
        continue;
      }
      auto carried = wire_.extract(wire_.begin());
      mutex_.Unlock();
      Store(carried.mapped());
      mutex_.Lock();
      --on_wire_;
      changed_.NotifyAll();
    }
    mutex_.Unlock();
  }

  void EndWire() {
    if (!thread_.joinable()) return;
    {
      const internal::MutexLock lock(mutex_);
      ending_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

  void Store(const Outgoing& outgoing) {
    const std::span<const Message> one(&outgoing.message, 1);
    const auto fault = outgoing.fate.fault;
    if (fault == Fault::kUnknown || fault == Fault::kDisconnect) {
      if (outgoing.fate.stored) {
        inner_->Send(one, outgoing.context, *new ForwardSend(nullptr, 0));
      }
      outgoing.done->Failed(outgoing.index, FaultLoss("send", *fault));
      return;
    }
    if (fault == Fault::kDrop) {
      Drop(outgoing);
      return;
    }
    if (fault == Fault::kDuplicate) {
      inner_->Send(one, outgoing.context, *new ForwardSend(nullptr, 0));
    }
    inner_->Send(one, outgoing.context,
                 *new ForwardSend(outgoing.done, outgoing.index));
  }

  // Says that a message was stored. What is wrong with it is told all the same.
  void Drop(const Outgoing& outgoing) {
    const auto queue = admin_.DescribeQueue(outgoing.message.destination(),
                                            outgoing.context.deadline);
    if (!queue.ok()) {
      outgoing.done->Failed(outgoing.index, queue.status());
      return;
    }
    SendResult result;
    result.message_id = *MessageId::FromText(internal::Concat(
        "dropped-", client_, '-', dropped_.fetch_add(1) + 1));
    outgoing.done->Sent(outgoing.index, result);
  }

  // Constant after construction.
  const std::unique_ptr<driver::Producer> inner_;
  driver::Admin& admin_;
  const FaultPlan plan_;
  const uint64_t client_;

  FaultDice dice_;
  std::atomic<uint64_t> dropped_{0};

  internal::Mutex mutex_;
  internal::Condition changed_;
  std::multimap<TimePoint, Outgoing> wire_ ABSL_GUARDED_BY(mutex_);
  TimePoint last_due_ ABSL_GUARDED_BY(mutex_){};
  size_t on_wire_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Fails now and then, and loses its deliveries as a reconnection does.
//
// Threads: as driver::Consumer says: unbound_ and bound_ are in the turn of
// Receive, Bind and Unbind.
class FaultyConsumer final : public driver::Consumer {
 public:
  FaultyConsumer(std::unique_ptr<driver::Consumer> inner,
                 const driver::ConsumerOptions& options, const FaultPlan& plan,
                 uint64_t client)
      : inner_(std::move(inner)),
        // Such a group would end with the connection, and its messages too.
        reconnects_(!options.broadcast),
        dice_(plan, client) {}

  absl::Status Bind(std::string_view queue, const driver::BindOptions& options,
                    TimePoint deadline) override {
    absl::Status status = inner_->Bind(queue, options, deadline);
    if (status.ok()) bound_.emplace(queue, options);
    return status;
  }

  absl::Status Unbind(std::string_view queue, TimePoint deadline) override {
    const auto found = bound_.find(queue);
    if (found != bound_.end()) bound_.erase(found);
    // It was lost, and is not bound again yet.
    const auto lost = unbound_.find(queue);
    if (lost != unbound_.end()) {
      unbound_.erase(lost);
      return absl::OkStatus();
    }
    return inner_->Unbind(queue, deadline);
  }

  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) override {
    const auto fault = dice_.Throw({Fault::kError, Fault::kDisconnect});
    if (fault == Fault::kError) return FaultRefusal("receive");
    if (fault == Fault::kDisconnect && reconnects_) {
      if (absl::Status status = Disconnect(); !status.ok()) return status;
      return FaultLoss("receive", *fault);
    }
    if (absl::Status status = Reconnect(); !status.ok()) return status;
    return inner_->Receive(max, deadline, sink);
  }

  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext& context,
              driver::SettleCompletion& done) override {
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto fault =
          dice_.Throw({Fault::kError, Fault::kUnknown, Fault::kDisconnect});
      if (!fault) {
        inner_->Settle(batch.subspan(i, 1), context,
                       *new ForwardSettle(&done, i));
        continue;
      }
      if (*fault == Fault::kError) {
        done.Failed(i, FaultRefusal("settle"));
        continue;
      }
      if (dice_.Half()) {
        inner_->Settle(batch.subspan(i, 1), context,
                       *new ForwardSettle(nullptr, 0));
      }
      done.Failed(i, FaultLoss("settle", *fault));
    }
  }

  void Interrupt() override { inner_->Interrupt(); }
  absl::Status Close(TimePoint deadline) override {
    return inner_->Close(deadline);
  }

 private:
  static TimePoint Deadline() {
    return internal::DeadlineAfter(std::chrono::seconds(1));
  }

  // Unbinds everything, so that its sources are lost and what is unsettled goes
  // back to the group.
  absl::Status Disconnect() {
    for (const auto& [queue, options] : bound_) {
      if (unbound_.contains(queue)) continue;
      absl::Status status = inner_->Unbind(queue, Deadline());
      if (!status.ok()) return status;
      unbound_.insert(queue);
    }
    return absl::OkStatus();
  }

  absl::Status Reconnect() {
    while (!unbound_.empty()) {
      const auto found = bound_.find(*unbound_.begin());
      absl::Status status =
          inner_->Bind(found->first, found->second, Deadline());
      // An exclusive place may be another's by now, for some time.
      if (!status.ok()) return status;
      unbound_.erase(unbound_.begin());
    }
    return absl::OkStatus();
  }

  const std::unique_ptr<driver::Consumer> inner_;
  const bool reconnects_;
  FaultDice dice_;
  std::map<std::string, driver::BindOptions, std::less<>> bound_;
  std::set<std::string, std::less<>> unbound_;
};

// Threads: every method from any thread.
class FaultyConnection final : public driver::Connection {
 public:
  FaultyConnection(std::unique_ptr<driver::Connection> inner,
                   const FaultPlan& plan)
      : inner_(std::move(inner)),
        plan_(plan),
        transactions_(
            *driver::QueryInterface<driver::TransactionSource>(*inner_),
            *driver::QueryInterface<driver::LocalTransactions>(*inner_),
            *driver::QueryInterface<driver::Admin>(*inner_), plan) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                              TimePoint deadline) override {
    return inner_->CapabilitiesOf(queue, deadline);
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions& options, TimePoint deadline) override {
    auto producer = inner_->CreateProducer(options, deadline);
    if (!producer.ok()) return producer.status();
    return std::make_unique<FaultyProducer>(
        *std::move(producer), *driver::QueryInterface<driver::Admin>(*inner_),
        plan_, clients_.fetch_add(1));
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint deadline) override {
    auto consumer = inner_->CreateConsumer(options, events, deadline);
    if (!consumer.ok()) return consumer.status();
    return std::make_unique<FaultyConsumer>(*std::move(consumer), options,
                                            plan_, clients_.fetch_add(1));
  }

  // Queues are managed and read as streams without faults.
  void* Query(std::string_view interface_name) override {
    if (interface_name == driver::TransactionSource::kInterface) {
      return static_cast<driver::TransactionSource*>(&transactions_);
    }
    if (interface_name == driver::LocalTransactions::kInterface) {
      return static_cast<driver::LocalTransactions*>(&transactions_);
    }
    return inner_->Query(interface_name);
  }

  absl::Status Close(TimePoint deadline) override {
    return inner_->Close(deadline);
  }

 private:
  const std::unique_ptr<driver::Connection> inner_;
  const FaultPlan plan_;
  FaultyTransactions transactions_;
  std::atomic<uint64_t> clients_{0};
};

}  // namespace

std::unique_ptr<driver::Connection> MakeFaultyConnection(
    std::unique_ptr<driver::Connection> inner, const FaultPlan& plan) {
  return std::make_unique<FaultyConnection>(std::move(inner), plan);
}

}  // namespace openmessaging::reference
