// SPDX-License-Identifier: Apache-2.0
//
// A driver as the library sees it: for requirements that bind drivers beneath
// the contract, and for what the library would refuse to ask.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_DRIVER_CLIENT_H_
#define OPENMESSAGING_CONFORMANCE_SRC_DRIVER_CLIENT_H_

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "context.h"
#include "openmessaging/driver/connection.h"

namespace openmessaging::conformance {

// Keeps an object to the end of the program. Threads: any.
void KeepForEver(std::shared_ptr<void> object);

// Returns: an object that lives to the end of the program, because a driver may
// complete late, or never.
template <typename T>
std::shared_ptr<T> MakeLasting() {
  auto object = std::make_shared<T>();
  KeepForEver(object);
  return object;
}

// Counts what completes.
class Completions final : public driver::SendCompletion,
                          public driver::SettleCompletion {
 public:
  // One entry each time that an index completed.
  struct Entry {
    size_t index = 0;
    absl::Status status{};
    SendResult sent{};
  };

  void Sent(size_t index, const SendResult& result) override;
  void Settled(size_t index, const Receipt& replacement) override;
  void Failed(size_t index, absl::Status status) override;

  // Waits for `count` entries, and a moment longer for more than there should
  // be. Returns: all, in the order in which they came.
  std::vector<Entry> Wait(size_t count, milliseconds patience) const;

 private:
  void Put(Entry entry);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Entry> entries_;
};

// What one Receive delivered.
class Deliveries final : public driver::DeliverySink {
 public:
  void Deliver(Message message, const Receipt& receipt) override {
    all.emplace_back(std::move(message), receipt);
  }
  Bodies bodies() const;

  std::vector<std::pair<Message, Receipt>> all;
};

// Notes the sources that are taken away.
class SourceEvents final : public driver::ConsumerEvents {
 public:
  void Revoking(std::span<const uint64_t> sources, driver::TimePoint) override {
    Lost(sources);
  }
  void Lost(std::span<const uint64_t> sources) override;
  bool IsLost(uint64_t source) const;

 private:
  mutable std::mutex mutex_;
  std::vector<uint64_t> lost_;
};

// A connection of its own, with what is made of it. Ends everything in order.
class DriverClient {
 public:
  explicit DriverClient(const Context& t) : DriverClient(t, t.url()) {}
  // ... to the broker at another address.
  DriverClient(const Context& t, const std::string& url);
  DriverClient(const DriverClient&) = delete;
  DriverClient& operator=(const DriverClient&) = delete;
  ~DriverClient() { Close(); }

  driver::Connection& connection() { return *connection_; }
  SourceEvents& events() { return events_; }

  driver::Producer& NewProducer();
  // Returns: one that has bound nothing yet.
  driver::Consumer& NewConsumer(driver::ConsumerOptions options = {});

  // Sends and waits for every outcome, which must be one for each.
  std::vector<Completions::Entry> Send(driver::Producer& producer,
                                       std::span<const Message> batch);
  // Settles and waits for the outcome.
  absl::Status Settle(driver::Consumer& consumer,
                      const driver::Settlement& settlement);

  // Closes what there is. Idempotent.
  void Close();

 private:
  const Context& t_;
  std::shared_ptr<driver::Driver> driver_;
  std::unique_ptr<driver::Connection> connection_;
  SourceEvents events_;
  std::vector<std::unique_ptr<driver::Producer>> producers_;
  std::vector<std::unique_ptr<driver::Consumer>> consumers_;
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_DRIVER_CLIENT_H_
