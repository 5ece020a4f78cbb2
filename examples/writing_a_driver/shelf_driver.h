// SPDX-License-Identifier: Apache-2.0
//
// A whole driver in one file, "oms:shelf://name". Its broker is a list in this
// process: a queue is there as soon as somebody names it, and all who receive
// from it share it. A driver for a real broker calls that in place of the list;
// the headers in openmessaging/driver/ say what may block, what may come late,
// and what has been checked before a driver is called. docs/writing-a-driver.md
// leads through it.

#ifndef SHELF_DRIVER_H_
#define SHELF_DRIVER_H_

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/status.h"

namespace shelf {

namespace oms = openmessaging;
namespace driver = openmessaging::driver;
using driver::TimePoint;
using oms::Capability;

struct Entry {
  oms::Message message;
  int64_t stored_ms = 0;
  int64_t deliveries = 0;
  uint64_t source = 0;  // Who has it: one binding of a consumer; 0: nobody.
};

struct Broker {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t last_id = 0;
  uint64_t last_source = 0;
  std::map<uint64_t, Entry> entries;  // By id; what is settled is erased.
};
using BrokerPointer = std::shared_ptr<Broker>;

class ShelfProducer final : public driver::Producer {
 public:
  explicit ShelfProducer(BrokerPointer broker) : broker_(std::move(broker)) {}

  void Send(std::span<const oms::Message> batch,
            const driver::CallContext& context,
            driver::SendCompletion& done) override {
    for (size_t i = 0; i < batch.size(); ++i) {
      std::unique_lock lock(broker_->mutex);
      const uint64_t id = ++broker_->last_id;
      const std::string text = "shelf-" + std::to_string(id);
      oms::Message stored(batch[i]);
      driver::MessageAccess::SetField(stored, driver::Field::kMessageId, text);
      broker_->entries[id] = {std::move(stored), context.born_timestamp_ms};
      lock.unlock();  // It may not be held by who completes.
      oms::SendResult result;
      result.message_id = *oms::MessageId::FromText(text);
      done.Sent(i, result);
    }
    broker_->changed.notify_all();
  }

  // Nothing is ever under way.
  absl::Status Flush(TimePoint) override { return absl::OkStatus(); }
  absl::Status Close(TimePoint) override { return absl::OkStatus(); }

 private:
  const BrokerPointer broker_;
};

class ShelfConsumer final : public driver::Consumer {
 public:
  ShelfConsumer(BrokerPointer broker, driver::ConsumerEvents& events)
      : broker_(std::move(broker)), events_(events) {}

  absl::Status Bind(std::string_view queue, const driver::BindOptions&,
                    TimePoint) override {
    const std::lock_guard lock(broker_->mutex);
    sources_[std::string(queue)] = ++broker_->last_source;
    return absl::OkStatus();
  }

  absl::Status Unbind(std::string_view queue, TimePoint) override {
    std::unique_lock lock(broker_->mutex);
    const auto bound = sources_.find(queue);
    const uint64_t source = bound->second;
    sources_.erase(bound);
    GiveBack(source);
    lock.unlock();
    events_.Lost({&source, 1});
    return absl::OkStatus();
  }

  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) override {
    std::unique_lock lock(broker_->mutex);
    while (Deliver(max, sink) == 0 && !std::exchange(interrupted_, false)) {
      if (broker_->changed.wait_until(lock, deadline) ==
          std::cv_status::timeout) {
        break;
      }
    }
    return absl::OkStatus();
  }

  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext&,
              driver::SettleCompletion& done) override {
    for (size_t i = 0; i < batch.size(); ++i) {
      const absl::Status settled = SettleOne(batch[i]);
      if (settled.ok()) {
        done.Settled(i, {});
      } else {
        done.Failed(i, settled);
      }
    }
    broker_->changed.notify_all();
  }

  void Interrupt() override {
    const std::lock_guard lock(broker_->mutex);
    interrupted_ = true;
    broker_->changed.notify_all();
  }

  absl::Status Close(TimePoint) override {
    const std::lock_guard lock(broker_->mutex);
    for (const auto& [queue, source] : sources_) GiveBack(source);
    return absl::OkStatus();
  }

 private:
  // What a receipt says: which delivery of which message.
  struct Token {
    uint64_t id = 0;
    int64_t delivery = 0;
  };

  // The rest under the broker's mutex.
  size_t Deliver(size_t max, driver::DeliverySink& sink) {
    size_t count = 0;
    for (auto& [id, entry] : broker_->entries) {
      const auto bound = sources_.find(entry.message.destination());
      if (bound == sources_.end() || entry.source != 0) continue;
      if (count++ == max) return max;
      entry.source = bound->second;
      const Token token{id, ++entry.deliveries};
      oms::Message message(entry.message);  // Shares its bytes.
      driver::MessageAccess::SetDelivery(
          message, {.store_timestamp_ms = entry.stored_ms,
                    .delivery_count = static_cast<int32_t>(entry.deliveries)});
      sink.Deliver(std::move(message),
                   {entry.source,
                    {reinterpret_cast<const char*>(&token), sizeof(token)}});
    }
    return count;
  }

  void GiveBack(uint64_t source) {
    for (auto& [id, entry] : broker_->entries) {
      if (entry.source == source) entry.source = 0;
    }
    broker_->changed.notify_all();
  }

  absl::Status SettleOne(const driver::Settlement& settlement) {
    const std::lock_guard lock(broker_->mutex);
    Token token;
    const std::string_view bytes = settlement.receipt.token();
    if (bytes.size() == sizeof(token)) {
      std::memcpy(&token, bytes.data(), sizeof(token));
    }
    if (token.id == 0 || token.id > broker_->last_id) {
      return oms::MakeStatus(oms::Code::kReceiptInvalid,
                             "settle: the receipt is not one of a shelf");
    }
    const auto found = broker_->entries.find(token.id);
    // Whoever settled it, it is settled.
    if (found == broker_->entries.end()) return absl::OkStatus();
    Entry& entry = found->second;
    if (entry.source != settlement.receipt.source() ||
        entry.deliveries != token.delivery) {
      return oms::MakeStatus(oms::Code::kReceiptExpired,
                             "settle: the message was given back meanwhile");
    }
    if (settlement.verb == driver::Verb::kAck) {
      broker_->entries.erase(found);
      return absl::OkStatus();
    }
    // The only other two that are declared below, so that nobody asks for more.
    if (settlement.verb == driver::Verb::kRelease) --entry.deliveries;
    entry.source = 0;
    return absl::OkStatus();
  }

  const BrokerPointer broker_;
  driver::ConsumerEvents& events_;
  // Under the broker's mutex.
  std::map<std::string, uint64_t, std::less<>> sources_;
  bool interrupted_ = false;
};

class ShelfConnection final : public driver::Connection {
 public:
  explicit ShelfConnection(BrokerPointer broker) : broker_(std::move(broker)) {}

  // What is not here is refused with 1600 before the driver hears of it.
  absl::StatusOr<oms::Capabilities> CapabilitiesOf(std::string_view,
                                                   TimePoint) override {
    oms::Capabilities all;
    for (const Capability native :
         {Capability::kIndividualAck, Capability::kNack,
          Capability::kPromptRelease, Capability::kDeliveryCount,
          Capability::kTypedProperties, Capability::kStartEarliest,
          Capability::kSharedPartition,
          Capability::kSettleConfirmed}) {
      all.Set(native, oms::Support::kNative);
    }
    return all;
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions&, TimePoint) override {
    return std::make_unique<ShelfProducer>(broker_);
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint) override {
    if (options.start == oms::StartPosition::kEarliest) {
      return std::make_unique<ShelfConsumer>(broker_, events);
    }
    return oms::MakeStatus(oms::Code::kUnsupported,
                           "create consumer: a shelf begins at the earliest");
  }

  // It has none of the optional interfaces, such as Admin or StreamSource.
  void* Query(std::string_view) override { return nullptr; }
  absl::Status Close(TimePoint) override { return absl::OkStatus(); }

 private:
  const BrokerPointer broker_;
};

class ShelfDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    return {.name = "shelf", .version = "1.0.0", .specification = "1.0.0"};
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const oms::Url& url, const oms::Attributes& attributes,
      TimePoint) override {
    if (auto s = url.CheckHasHosts(); !s.ok()) return s;
    if (auto s = attributes.CheckKnown({}); !s.ok()) return s;
    const std::lock_guard lock(mutex_);
    BrokerPointer& broker = brokers_[url.hosts().front().host];
    if (broker == nullptr) broker = std::make_shared<Broker>();
    return std::make_unique<ShelfConnection>(broker);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, BrokerPointer> brokers_;
};

}  // namespace shelf
#endif  // SHELF_DRIVER_H_
