// SPDX-License-Identifier: Apache-2.0

#include "transactions.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "errors.h"
#include "member.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

// Collects what became of each send.
class Outcomes final : public driver::SendCompletion {
 public:
  explicit Outcomes(size_t count) : results_(count) {}

  void Sent(size_t index, const SendResult& result) override {
    const internal::MutexLock lock(mutex_);
    results_[index] = result;
  }
  void Failed(size_t index, absl::Status status) override {
    const internal::MutexLock lock(mutex_);
    if (failed_.ok()) failed_ = std::move(status);
    (void)index;
  }
  absl::StatusOr<std::vector<SendResult>> Take() {
    const internal::MutexLock lock(mutex_);
    if (!failed_.ok()) return failed_;
    return results_;
  }

 private:
  internal::Mutex mutex_;
  std::vector<SendResult> results_ ABSL_GUARDED_BY(mutex_);
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
};

// Calls until it succeeds, fails for good, or the deadline passes.
template <typename Call>
OwnedError Repeat(TimePoint deadline, const Call& call) {
  while (true) {
    OwnedError error(call(std::max(1, TimeoutMs(deadline))));
    if (error == nullptr || rd_kafka_error_is_retriable(error.get()) == 0 ||
        Clock::now() >= deadline) {
      return error;
    }
  }
}

absl::Status ErrorStatus(const rd_kafka_error_t* error, std::string_view what,
                      Outcome outcome) {
  const absl::Status status = KafkaStatus(rd_kafka_error_code(error), what,
                                          rd_kafka_error_string(error));
  StatusDetail detail = DetailOf(status);
  detail.outcome = outcome;
  return WithDetail(status, detail);
}

}  // namespace

void Members::Add(const std::shared_ptr<Member>& member) {
  const internal::MutexLock lock(mutex_);
  std::erase_if(members_, [](const auto& one) { return one.expired(); });
  members_.push_back(member);
}

std::vector<std::shared_ptr<Member>> Members::All() const {
  const internal::MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Member>> all;
  for (const auto& one : members_) {
    if (auto member = one.lock()) all.push_back(std::move(member));
  }
  return all;
}

absl::StatusOr<std::vector<Transactions::Share>> Transactions::Divide(
    std::span<const driver::Settlement> settlements, TimePoint deadline) {
  std::vector<Share> shares;
  const auto all = members_.All();
  for (const driver::Settlement& one : settlements) {
    const uint64_t source = one.receipt.source();
    const auto owner = std::find_if(
        all.begin(), all.end(),
        [source](const auto& member) { return member->Knows(source); });
    if (owner == all.end()) {
      return MakeStatus(Code::kReceiptExpired,
                        "commit: a receipt is of a consumer that has ended; "
                        "its message was given back");
    }
    auto share = std::find_if(
        shares.begin(), shares.end(),
        [&](const Share& entry) { return entry.member == *owner; });
    if (share == shares.end()) {
      shares.push_back({*owner, {}, nullptr});
      share = std::prev(shares.end());
    }
    share->settlements.push_back(one);
  }
  for (size_t i = 0; i < shares.size(); ++i) {
    auto offsets =
        shares[i].member->BeginTransaction(shares[i].settlements, deadline);
    if (!offsets.ok()) {
      for (size_t k = 0; k < i; ++k) {
        shares[k].member->EndTransaction(shares[k].settlements, false);
      }
      return offsets.status();
    }
    shares[i].offsets = *std::move(offsets);
  }
  return shares;
}

absl::StatusOr<std::vector<SendResult>> Transactions::CommitLocal(
    std::span<const Message> sends,
    std::span<const driver::Settlement> settlements,
    const driver::CallContext& context) {
  for (const Message& message : sends) {
    const auto there =
        cluster_->PartitionsOf(message.destination(), context.deadline);
    if (!there.ok()) return there.status();
  }
  const internal::MutexLock lock(mutex_);
  auto sender = senders_.Get();
  if (!sender.ok()) return sender.status();
  if (begun_.lock() != *sender) {
    const OwnedError error = Repeat(context.deadline, [&](int timeout_ms) {
      return rd_kafka_init_transactions((*sender)->get(), timeout_ms);
    });
    if (error != nullptr) {
      (*sender)->Fail();
      return LookupStatus(rd_kafka_error_code(error.get()),
                          "begin a transaction",
                          rd_kafka_error_string(error.get()));
    }
    begun_ = *sender;
  }
  auto shares = Divide(settlements, context.deadline);
  if (!shares.ok()) return shares.status();
  auto results = Run(**sender, sends, *shares, context);
  for (const Share& share : *shares) {
    share.member->EndTransaction(share.settlements, results.ok());
  }
  return results;
}

absl::StatusOr<std::vector<SendResult>> Transactions::Run(
    Sender& sender, std::span<const Message> sends,
    std::span<const Share> shares, const driver::CallContext& context) {
  rd_kafka_t* const rk = sender.get();
  // Whatever went wrong, nothing of it may stay.
  const auto abort = [&](absl::Status why) -> absl::Status {
    const OwnedError error = Repeat(
        Clock::now() + std::chrono::seconds(5),
        [&](int timeout_ms) { return rd_kafka_abort_transaction(rk, timeout_ms); });
    if (error != nullptr) sender.Fail();
    return why;
  };
  if (const OwnedError error(rd_kafka_begin_transaction(rk)); error != nullptr) {
    sender.Fail();
    return ErrorStatus(error.get(), "begin a transaction", Outcome::kNotStored);
  }
  const auto outcomes = std::make_shared<Outcomes>(sends.size());
  driver::CallContext call = context;
  call.caller_waits = true;  // Whoever asked waits for all of it.
  producer_.Send(sends, call, *outcomes);
  if (auto s = producer_.Flush(context.deadline); !s.ok()) {
    // They end with it, and report to `outcomes` before this is gone.
    (void)rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)producer_.Flush(TimePoint::max());
    StatusDetail detail = DetailOf(s);
    detail.outcome = Outcome::kNotStored;
    return abort(WithDetail(std::move(s), detail));
  }
  auto results = outcomes->Take();
  if (!results.ok()) {
    StatusDetail detail = DetailOf(results.status());
    detail.outcome = Outcome::kNotStored;
    return abort(WithDetail(results.status(), detail));
  }
  for (const Share& share : shares) {
    if (share.offsets == nullptr) continue;
    const OwnedError error = Repeat(context.deadline, [&](int timeout_ms) {
      return share.member->AddToTransaction(rk, *share.offsets, timeout_ms);
    });
    if (error == nullptr) continue;
    absl::Status status = ErrorStatus(error.get(), "acknowledge in a transaction",
                                   Outcome::kNotStored);
    if (OmsCode(status) == Code::kIllegalState) {
      status = MakeStatus(Code::kReceiptExpired,
                          "acknowledge in a transaction: the partition has "
                          "gone to another member: ",
                          std::string_view(rd_kafka_error_name(error.get())));
    }
    return abort(std::move(status));
  }
  const OwnedError error = Repeat(context.deadline, [&](int timeout_ms) {
    return rd_kafka_commit_transaction(rk, timeout_ms);
  });
  if (error == nullptr) return results;
  if (rd_kafka_error_txn_requires_abort(error.get()) != 0) {
    return abort(ErrorStatus(error.get(), "commit a transaction",
                          Outcome::kNotStored));
  }
  sender.Fail();
  return ErrorStatus(error.get(), "commit a transaction", Outcome::kUnknown);
}

void Transactions::Close() {
  (void)producer_.Close(Clock::now() + std::chrono::seconds(1));
  senders_.Close();
}

}  // namespace openmessaging::kafka
