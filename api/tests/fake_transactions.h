// SPDX-License-Identifier: Apache-2.0
//
// The prepared messages of the little broker in fake_driver.h: what is due for a
// check is what a test says.

#ifndef OPENMESSAGING_API_TESTS_FAKE_TRANSACTIONS_H_
#define OPENMESSAGING_API_TESTS_FAKE_TRANSACTIONS_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/message_id.h"
#include "openmessaging/status.h"

namespace openmessaging {
namespace fake {

// Threads: every method from any thread. Outlives its checks.
class Transactions final : public driver::TransactionSource {
 public:
  // --- for tests ---
  // Whether the driver has prepared messages at all. Set before a producer is.
  std::atomic<bool> supported{true};
  // A check that somebody answers from now on.
  void MakeDue(const std::string& transaction_id) {
    const std::lock_guard lock(mutex_);
    due_.push_back(transaction_id);
    changed_.notify_all();
  }
  void FailNextPrepare(absl::Status status) {
    const std::lock_guard lock(mutex_);
    prepare_failures_.push_back(std::move(status));
  }
  void FailNextTake(absl::Status status) {
    const std::lock_guard lock(mutex_);
    take_failures_.push_back(std::move(status));
    changed_.notify_all();
  }
  void FailOpen(bool fails) { open_fails_ = fails; }
  // Returns: what was decided of one; nothing yet.
  std::optional<Decision> DecisionOf(const std::string& transaction_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = decisions_.find(transaction_id);
    if (found == decisions_.end()) return std::nullopt;
    return found->second;
  }
  // Waits for it. Returns: nothing after ten seconds.
  std::optional<Decision> AwaitDecision(const std::string& transaction_id) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      return decisions_.contains(transaction_id);
    });
    const auto found = decisions_.find(transaction_id);
    if (found == decisions_.end()) return std::nullopt;
    return found->second;
  }
  size_t prepares() const {
    const std::lock_guard lock(mutex_);
    return prepares_;
  }
  std::string last_group() const {
    const std::lock_guard lock(mutex_);
    return last_group_;
  }
  driver::PrepareOptions last_options() const {
    const std::lock_guard lock(mutex_);
    return last_options_;
  }
  // How many sources of checks are open.
  std::atomic<int> open{0};

  // --- driver::TransactionSource ---
  absl::StatusOr<Prepared> Prepare(
      const Message& message, const driver::PrepareOptions& options,
      const driver::CallContext& /*context*/) override {
    const std::lock_guard lock(mutex_);
    ++prepares_;
    last_group_ = std::string(options.group);
    last_options_ = options;
    last_options_.group = last_group_;
    if (!prepare_failures_.empty()) {
      absl::Status status = prepare_failures_.front();
      prepare_failures_.pop_front();
      return status;
    }
    const std::string id = "tx-" + std::to_string(messages_.size() + 1);
    Message kept = message;
    driver::MessageAccess::SetField(kept, internal::Field::kTransactionId, id);
    messages_.emplace(id, std::move(kept));
    return Prepared{id, *MessageId::FromText("id-of-" + id)};
  }
  absl::Status Resolve(std::string_view transaction_id, Decision decision,
                       driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(mutex_);
    const std::string id(transaction_id);
    if (!messages_.contains(id)) {
      return MakeStatus(Code::kQueueNotFound, "resolve transaction \"", id,
                        "\": there is none");
    }
    const auto [found, fresh] = decisions_.emplace(id, decision);
    if (!fresh && found->second != decision) {
      return MakeStatus(Code::kTransactionConflict, "resolve transaction \"",
                        id, "\": it was decided before");
    }
    changed_.notify_all();
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<driver::CheckSource>> OpenChecks(
      std::string_view producer_group, driver::TimePoint deadline) override;

 private:
  class Checks;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Message> messages_;
  std::map<std::string, Decision> decisions_;
  std::deque<std::string> due_;
  std::deque<absl::Status> prepare_failures_;
  std::deque<absl::Status> take_failures_;
  std::atomic<bool> open_fails_{false};
  size_t prepares_ = 0;
  std::string last_group_;
  driver::PrepareOptions last_options_;
};

class Transactions::Checks final : public driver::CheckSource {
 public:
  explicit Checks(Transactions& all) : all_(all) { ++all_.open; }
  ~Checks() override { --all_.open; }

  absl::StatusOr<std::optional<Message>> Take(
      driver::TimePoint deadline) override {
    std::unique_lock lock(all_.mutex_);
    all_.changed_.wait_until(lock, deadline, [&] {
      return interrupted_ || !all_.due_.empty() || !all_.take_failures_.empty();
    });
    if (std::exchange(interrupted_, false)) return std::optional<Message>();
    if (!all_.take_failures_.empty()) {
      absl::Status status = all_.take_failures_.front();
      all_.take_failures_.pop_front();
      return status;
    }
    if (all_.due_.empty()) return std::optional<Message>();
    const std::string id = all_.due_.front();
    all_.due_.pop_front();
    return std::optional<Message>(all_.messages_.at(id));
  }
  void Interrupt() override {
    const std::lock_guard lock(all_.mutex_);
    interrupted_ = true;
    all_.changed_.notify_all();
  }

 private:
  Transactions& all_;
  bool interrupted_ = false;
};

inline absl::StatusOr<std::unique_ptr<driver::CheckSource>>
Transactions::OpenChecks(std::string_view producer_group,
                         driver::TimePoint /*deadline*/) {
  if (open_fails_) {
    return MakeStatus(Code::kUnavailable, "open checks of \"",
                      producer_group, "\": no broker");
  }
  return std::make_unique<Checks>(*this);
}

}  // namespace fake
}  // namespace openmessaging
#endif  // OPENMESSAGING_API_TESTS_FAKE_TRANSACTIONS_H_
