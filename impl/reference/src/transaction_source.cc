// SPDX-License-Identifier: Apache-2.0

#include "transaction_source.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "env/environment.h"
#include "openmessaging/status.h"
#include "prepared_table.h"
#include "transactions.h"

namespace openmessaging::reference {
namespace {

// How often it looks whether one is due: others prepare messages that are due
// earlier, and tell nobody.
constexpr std::chrono::milliseconds kCheckLook{100};

class ReferenceCheckSource final : public driver::CheckSource {
 public:
  ReferenceCheckSource(std::shared_ptr<Store> store, uint64_t group)
      : store_(std::move(store)), group_(group) {}

  absl::StatusOr<std::optional<Message>> Take(TimePoint deadline) override {
    while (true) {
      const uint32_t seen = bell_.load();
      if (interrupted_.exchange(false)) return std::optional<Message>();
      if (auto s = store_->CheckUsable(); !s.ok()) return s;
      const auto now = std::chrono::steady_clock::now();
      auto taken = store_->transactions().TakeCheck(
          group_, std::max(deadline, now + kCheckLook));
      if (!taken.ok() || *taken || now >= deadline) return taken;
      store_->environment().waiting->Wait(
          bell_, seen,
          std::min<std::chrono::nanoseconds>(kCheckLook, deadline - now));
    }
  }

  void Interrupt() override {
    interrupted_ = true;
    bell_.fetch_add(1);
    store_->environment().waiting->WakeAll(bell_);
  }

 private:
  const std::shared_ptr<Store> store_;
  const uint64_t group_;
  std::atomic<uint32_t> bell_{0};
  std::atomic<bool> interrupted_{false};
};

}  // namespace

absl::StatusOr<ReferenceTransactionSource::Prepared>
ReferenceTransactionSource::Prepare(
    const Message& message, const driver::PrepareOptions& options,
    const driver::CallContext& context) noexcept {
  const auto id = producer_.Prepare(
      message, store_->transactions().GroupOf(options.group), options, context);
  if (!id.ok()) return id.status();
  return Prepared{id->ToString(), *id};
}

absl::Status ReferenceTransactionSource::Resolve(
    std::string_view transaction_id, Decision decision,
    TimePoint deadline) noexcept {
  if (auto s = store_->CheckUsable(); !s.ok()) return s;
  return store_->transactions().Resolve(transaction_id,
                                        decision == Decision::kCommit
                                            ? PreparedState::kCommitted
                                            : PreparedState::kRolledBack,
                                        deadline);
}

absl::StatusOr<std::unique_ptr<driver::CheckSource>>
ReferenceTransactionSource::OpenChecks(std::string_view producer_group,
                                       TimePoint /*deadline*/) noexcept {
  if (auto s = store_->CheckUsable(); !s.ok()) return s;
  return std::make_unique<ReferenceCheckSource>(
      store_, store_->transactions().GroupOf(producer_group));
}

}  // namespace openmessaging::reference
