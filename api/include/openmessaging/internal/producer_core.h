// SPDX-License-Identifier: Apache-2.0
//
// ProducerCore is the portable half of a producer, behind its handle.

#ifndef OPENMESSAGING_INTERNAL_PRODUCER_CORE_H_
#define OPENMESSAGING_INTERNAL_PRODUCER_CORE_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/future.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/async_send.h"
#include "openmessaging/internal/check_thread.h"
#include "openmessaging/internal/client_core.h"
#include "openmessaging/internal/client_settings.h"
#include "openmessaging/internal/client_telemetry.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/in_flight.h"
#include "openmessaging/internal/interceptor_chain.h"
#include "openmessaging/internal/message_check.h"
#include "openmessaging/internal/sync_call.h"
#include "openmessaging/internal/watched_send.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/producer_options.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"
#include "openmessaging/trace_context.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {

namespace internal {

// The waits between attempts: 1 ms doubling to 100 ms, each shortened by up to
// a half at random, so that senders that failed together do not come back
// together.
class Backoff {
 public:
  std::chrono::microseconds Next() {
    state_ ^= state_ << 13;  // Marsaglia's xorshift: no lock, no allocation.
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    const auto half = ceiling_ / 2;
    const auto wait =
        half + std::chrono::microseconds(
                   state_ % (static_cast<uint64_t>(half.count()) + 1));
    ceiling_ = std::min(ceiling_ * 2, kMaximum);
    return wait;
  }

 private:
  static constexpr std::chrono::microseconds kMaximum{100'000};

  std::chrono::microseconds ceiling_{1000};
  uint64_t state_ =
      (reinterpret_cast<uintptr_t>(this) ^
       static_cast<uint64_t>(
           std::chrono::steady_clock::now().time_since_epoch().count())) |
      1;
};

// What is known of a prepared message.
struct PreparedSend {
  std::string transaction_id{};
  MessageId message_id{};
  CapabilitySet ignored{};
};

// Checks messages, sends them through the driver, and sends again what was
// certainly not stored. Transactions are in producer_transactions.h.
//
// Threads: every method from any thread.
class ProducerCore final : public ClientCore {
 public:
  ProducerCore(std::shared_ptr<ConnectionCore> connection,
               ProducerSettings settings)
      : ClientCore("producer", settings.autostart,
                   connection->operation_timeout()),
        connection_(std::move(connection)),
        settings_(std::move(settings)),
        send_timeout_(connection_->Bounded(settings_.send_timeout)),
        in_flight_(settings_.max_in_flight_messages,
                   settings_.max_in_flight_bytes),
        telemetry_(connection_->TelemetryFor(/*group=*/{})) {
    if (telemetry_) watchers_.Add();
  }

  absl::StatusOr<SendResult> Send(const Message& message) {
    return IsWatched() ? SendWatched(message) : SendPlain(message);
  }
  std::vector<absl::StatusOr<SendResult>> Send(
      std::span<const Message> messages) {
    return IsWatched() ? SendWatched(messages) : SendPlain(messages);
  }

  Future<SendResult> SendAsync(const Message& message) {
    return IsWatched() ? SendAsyncWatched(message) : SendAsyncPlain(message);
  }
  std::vector<Future<SendResult>> SendAsync(
      std::span<const Message> messages) {
    return IsWatched() ? SendAsyncWatched(messages) : SendAsyncPlain(messages);
  }
  absl::Status SendOneway(const Message& message) {
    return IsWatched() ? SendOnewayWatched(message) : SendOnewayPlain(message);
  }

  InterceptorChain<ProducerInterceptor>& interceptors() {
    return interceptors_;
  }

  absl::Status Flush(std::chrono::milliseconds timeout);
  absl::Status CancelDelayed(std::string_view queue, const MessageId& id);

  absl::StatusOr<PreparedSend> Prepare(const Message& message);
  absl::Status Resolve(std::string_view transaction_id, TransactionState state);

  // What a local transaction needs; defined in local_transaction.h.
  //
  // Errors: 1600 there are none; 1601; as a start.
  absl::Status CheckTransactions();
  // Returns: what the driver gets of a message. `ignored`: what it must leave
  // out.
  absl::StatusOr<Message> CheckTransacted(const Message& message,
                                          CapabilitySet& ignored);
  // Carries it out, again and again where that is allowed.
  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements);
  bool IsWatched() const { return IsSendWatched(watchers_); }
  WatchedSend Watch(const Message& message) const {
    return WatchedSend(Watchers(), message);
  }
  ConnectionCore& connection() const { return *connection_; }

  // Stops, and waits for the callbacks of what that completed.
  size_t StopAll(TimePoint deadline) {
    const size_t left = Stop(deadline);
    (void)connection_->dispatcher().AwaitPosted(deadline);
    return left;
  }

 private:
  using Results = std::vector<absl::StatusOr<SendResult>>;
  using Call = SyncCallHandle<SyncSend>;

  // What the checks say of a message that may be sent.
  struct Plan {
    CapabilitySet ignored{};
    // The driver must get a copy: StripMessage.
    bool strip = false;
    size_t max_batch_messages = 0;  // 0: no limit.
  };

  using Slot = std::optional<absl::StatusOr<SendResult>>;

  WatchedSend::Watchers Watchers() const {
    return {interceptors_.list(), telemetry_};
  }

  absl::StatusOr<SendResult> SendPlain(const Message& message);
  absl::StatusOr<SendResult> SendWatched(const Message& message);
  Results SendPlain(std::span<const Message> messages);
  Results SendWatched(std::span<const Message> messages);
  Future<SendResult> SendAsyncPlain(const Message& message);
  Future<SendResult> SendAsyncWatched(const Message& message);
  std::vector<Future<SendResult>> SendAsyncPlain(
      std::span<const Message> messages);
  std::vector<Future<SendResult>> SendAsyncWatched(
      std::span<const Message> messages);
  absl::Status SendOnewayPlain(const Message& message);
  absl::Status SendOnewayWatched(const Message& message);
  // Checks one message and begins to send it. Returns: as Begin.
  absl::StatusOr<AsyncSend*> TryBegin(const Message& message,
                                      InFlightPolicy policy);

  absl::Status Open(TimePoint deadline) override;
  void Close(TimePoint deadline) override;
  // Wakes those who wait for room.
  void Interrupt() override { in_flight_.Wake(); }

  // Gives one message of that plan to the driver, which completes it later; the
  // message has entered in_flight_. Returns: with a reference for the caller.
  AsyncSend* Begin(const Message& message, const Plan& plan,
                   TimePoint deadline);
  // Gives a run of messages to the driver that are as they should be.
  void BeginRun(std::span<const Message> run, TimePoint deadline,
                std::vector<Future<SendResult>>& futures);
  // Enters in_flight_ as `policy` says.
  absl::Status Admit(const Message& message, TimePoint deadline,
                     InFlightPolicy policy);
  driver::CallContext LaterContext(TimePoint deadline) const {
    return {.deadline = deadline,
            .caller_waits = false,
            .born_timestamp_ms = CoarseSystemMilliseconds()};
  }
  static size_t InFlightBytes(const Message& message) {
    return driver::MessageAccess::Fields(message).size() +
           message.body().size();
  }

  // Ends it with the outcome of `future`, on the thread for callbacks unless
  // the outcome is there already: never on a thread of the driver's.
  static void EndWhenDone(WatchedSend watched,
                          const Future<SendResult>& future) {
    if (!watched.ends()) return;
    future.OnDone([watched = std::move(watched)](
                      const absl::StatusOr<SendResult>& result) mutable {
      watched.End(result);
    });
  }

  absl::Status StartChecks(TimePoint deadline);
  absl::StatusOr<PreparedSend> PreparePlain(const Message& message);
  // Errors: 1418 it cannot be prepared.
  absl::Status CheckPrepare(const Message& message) const;

  absl::StatusOr<Plan> Check(const Message& message, TimePoint deadline);
  // Sends what was checked, again and again where that is allowed.
  absl::StatusOr<SendResult> SendChecked(const Message& message,
                                         TimePoint deadline);
  void SendChunks(std::span<const Message> batch, size_t max_messages,
                  TimePoint deadline, std::span<Slot> results);
  void SendChunk(std::span<const Message> chunk, TimePoint deadline,
                 std::span<Slot> results);
  // Hands a batch to the driver and waits. Returns: false when it was left to
  // the driver, which has not completed all of it in time.
  bool Attempt(std::span<const Message> batch, TimePoint deadline, Call& call);
  // Waits before the next attempt. Returns: OK when it may be made; otherwise
  // the status to report instead of `failed`.
  absl::Status WaitToRetry(const absl::Status& failed, TimePoint deadline,
                           Backoff& backoff);

  // Returns: whether the message was certainly not stored, and may be if it is
  // sent again.
  static bool MaySendAgain(const absl::Status& status) {
    const StatusDetail detail = DetailOf(status);
    return detail.retriable && detail.outcome == Outcome::kNotStored;
  }
  absl::Status TimedOut(const Message& message) const {
    return SendError(Code::kTimeout, message.destination(), "no answer within ",
                     send_timeout_.count(),
                     " ms, the message may have been stored; expected an "
                     "answer in time (send_timeout, OMS-PROD-009)");
  }

  // Constant after construction.
  const std::shared_ptr<ConnectionCore> connection_;
  const ProducerSettings settings_;
  const std::chrono::milliseconds send_timeout_;

  // Written by Open before the state says started, and by Close after the last
  // call has left.
  std::unique_ptr<driver::Producer> driver_;

  // What was sent without waiting.
  InFlight in_flight_;

  // Constant after construction; nullptr: nobody listens.
  const std::shared_ptr<const ClientTelemetry> telemetry_;
  WatchCount watchers_;
  InterceptorChain<ProducerInterceptor> interceptors_{watchers_};

  // Started by Open, stopped by Close.
  CheckThread checks_;
};

inline absl::Status ProducerCore::Open(TimePoint deadline) {
  auto opened = connection_->connection().CreateProducer(
      {.group = settings_.group}, deadline);
  if (!opened.ok()) return opened.status();
  if (auto status = StartChecks(deadline); !status.ok()) {
    (*opened)->Close(deadline).IgnoreError();
    return status;
  }
  driver_ = *std::move(opened);
  return absl::OkStatus();
}

inline void ProducerCore::Close(TimePoint deadline) {
  if (!driver_) return;
  checks_.Stop(deadline);
  // What was left undone is in the results of the sends, each of which the
  // driver completes before Close returns. A completion that runs on another
  // thread may be on its way out of this object.
  if (in_flight_.entries() > 0) driver_->Flush(deadline).IgnoreError();
  driver_->Close(deadline).IgnoreError();
  in_flight_.AwaitEmpty();
  driver_.reset();
}

inline absl::StatusOr<ProducerCore::Plan> ProducerCore::Check(
    const Message& message, TimePoint deadline) {
  const std::string_view queue = message.destination();
  if (queue.empty()) {
    return MakeStatus(Code::kBadParameter,
                      "send: the message has no destination; expected the name "
                      "of a queue (OMS-PROD-002)");
  }
  auto facts = connection_->FactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  const auto scan = ScanMessage(message);
  if (!scan.ok()) return scan.status();
  absl::Status sizes = CheckSizes(message, *scan, settings_.max_body_bytes,
                                  (*facts)->capabilities.limits());
  if (!sizes.ok()) return sizes;
  auto ignored = CheckDemands(message, *scan, (*facts)->capabilities,
                              connection_->lenient());
  if (!ignored.ok() && OmsCode(ignored.status()) == Code::kUnsupported) {
    // Somebody else may have made the queue since it was asked what it can do.
    facts = connection_->FreshFactsOf(queue, deadline);
    if (!facts.ok()) return facts.status();
    ignored = CheckDemands(message, *scan, (*facts)->capabilities,
                           connection_->lenient());
  }
  if (!ignored.ok()) return ignored.status();
  return Plan{*ignored, scan->has_driver_fields || !ignored->empty(),
              (*facts)->capabilities.limits().max_batch_messages.value_or(0)};
}

inline bool ProducerCore::Attempt(std::span<const Message> batch,
                                  TimePoint deadline, Call& call) {
  driver_->Send(batch,
                {.deadline = deadline,
                 .caller_waits = true,
                 .born_timestamp_ms = CoarseSystemMilliseconds()},
                *call);
  return call->Wait(deadline);
}

inline absl::Status ProducerCore::WaitToRetry(const absl::Status& failed,
                                              TimePoint deadline,
                                              Backoff& backoff) {
  const TimePoint until = std::chrono::steady_clock::now() + backoff.Next();
  if (until >= deadline) return failed;
  if (!SleepUnlessStopped(until)) return absl::OkStatus();
  return MakeStatus(
      Code::kClosed,
      "send: the producer was stopped before the message could "
      "be sent again; the last failure was: ",
      std::string_view(failed.message().data(), failed.message().size()));
}

inline absl::StatusOr<SendResult> ProducerCore::SendPlain(
    const Message& message) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("send", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto plan = Check(message, deadline);
  if (!plan.ok()) return plan.status();
  if (!plan->strip) return SendChecked(message, deadline);
  auto result = SendChecked(StripMessage(message, plan->ignored), deadline);
  if (result.ok()) result->ignored = plan->ignored;
  return result;
}

inline absl::StatusOr<SendResult> ProducerCore::SendChecked(
    const Message& message, TimePoint deadline) {
  std::optional<Backoff> backoff;
  while (true) {
    Call call(1);
    if (!Attempt({&message, 1}, deadline, call) && call.Leave()) {
      return TimedOut(message);
    }
    absl::StatusOr<SendResult> result = std::move(call->result(0));
    if (result.ok() || !MaySendAgain(result.status())) return result;
    if (!backoff) backoff.emplace();
    absl::Status stop = WaitToRetry(result.status(), deadline, *backoff);
    if (!stop.ok()) return stop;
  }
}

inline absl::StatusOr<SendResult> ProducerCore::SendWatched(
    const Message& message) {
  WatchedSend watched(Watchers(), message);
  const absl::StatusOr<SendResult> result =
      watched.status().ok() ? SendPlain(watched.message())
                            : absl::StatusOr<SendResult>(watched.status());
  watched.End(result);
  return result;
}

inline ProducerCore::Results ProducerCore::SendWatched(
    std::span<const Message> messages) {
  WatchedBatch batch(Watchers(), messages);
  Results sent = SendPlain(batch.passing());
  Results results;
  results.reserve(messages.size());
  auto next = sent.begin();
  for (WatchedSend& watched : batch.sends()) {
    results.push_back(watched.status().ok()
                          ? *std::move(next++)
                          : absl::StatusOr<SendResult>(watched.status()));
    watched.End(results.back());
  }
  return results;
}

inline ProducerCore::Results ProducerCore::SendPlain(
    std::span<const Message> messages) {
  if (messages.empty()) return {};
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("send", deadline); !status.ok()) {
    return Results(messages.size(), absl::StatusOr<SendResult>(status));
  }
  const CallGuard guard(*this);

  std::vector<absl::StatusOr<Plan>> plans;
  plans.reserve(messages.size());
  bool as_they_are = true;
  size_t max_messages = messages.size();
  for (const Message& message : messages) {
    const auto& plan = plans.emplace_back(Check(message, deadline));
    as_they_are = as_they_are && plan.ok() && !plan->strip;
    if (plan.ok() && plan->max_batch_messages != 0) {
      max_messages = std::min(max_messages, plan->max_batch_messages);
    }
  }

  std::vector<Slot> slots(messages.size());
  if (as_they_are) {
    SendChunks(messages, max_messages, deadline, slots);
  } else {
    std::vector<Message> checked;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (!plans[i].ok()) continue;
      checked.push_back(plans[i]->strip
                            ? StripMessage(messages[i], plans[i]->ignored)
                            : messages[i]);
    }
    std::vector<Slot> sent(checked.size());
    SendChunks(checked, max_messages, deadline, sent);
    auto next = sent.begin();
    for (size_t i = 0; i < messages.size(); ++i) {
      slots[i] = plans[i].ok() ? *std::move(*next++) : plans[i].status();
      if (slots[i]->ok()) (*slots[i])->ignored = plans[i]->ignored;
    }
  }

  Results results;
  results.reserve(slots.size());
  for (Slot& slot : slots) results.push_back(*std::move(slot));
  return results;
}

inline absl::Status ProducerCore::Admit(const Message& message,
                                        TimePoint deadline,
                                        InFlightPolicy policy) {
  const size_t bytes = InFlightBytes(message);
  if (in_flight_.TryEnter(bytes)) return absl::OkStatus();
  const bool blocks = policy == InFlightPolicy::kBlock;
  if (blocks &&
      in_flight_.Enter(bytes, deadline, [this] { return IsStopping(); })) {
    return absl::OkStatus();
  }
  if (IsStopping()) return ClosedStatus("send");
  return SendError(
      Code::kLocalQueueFull, message.destination(),
      "so many sends are in flight that there is no room",
      blocks ? " within " : "", blocks ? Concat(send_timeout_.count()) : "",
      blocks ? " ms" : "", ", the message was not stored; expected fewer than ",
      settings_.max_in_flight_messages, " messages and ",
      settings_.max_in_flight_bytes,
      " bytes (max_in_flight_messages, max_in_flight_bytes, OMS-PROD-023)");
}

inline AsyncSend* ProducerCore::Begin(const Message& message, const Plan& plan,
                                      TimePoint deadline) {
  AsyncSend* const send = AsyncSend::Make(in_flight_, connection_->dispatcher(),
                                          InFlightBytes(message), plan.ignored);
  if (plan.strip) {
    const Message stripped = StripMessage(message, plan.ignored);
    driver_->Send({&stripped, 1}, LaterContext(deadline), *send);
  } else {
    driver_->Send({&message, 1}, LaterContext(deadline), *send);
  }
  return send;
}

inline absl::StatusOr<AsyncSend*> ProducerCore::TryBegin(
    const Message& message, InFlightPolicy policy) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("send", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto plan = Check(message, deadline);
  if (!plan.ok()) return plan.status();
  absl::Status admitted = Admit(message, deadline, policy);
  if (!admitted.ok()) return admitted;
  return Begin(message, *plan, deadline);
}

inline Future<SendResult> ProducerCore::SendAsyncPlain(const Message& message) {
  const auto begun = TryBegin(message, settings_.at_in_flight_limit);
  if (!begun.ok()) return FutureAccess::Done<SendResult>(begun.status());
  return FutureAccess::Of<SendResult>(*begun);
}

inline Future<SendResult> ProducerCore::SendAsyncWatched(
    const Message& message) {
  WatchedSend watched(Watchers(), message);
  Future<SendResult> future =
      watched.status().ok()
          ? SendAsyncPlain(watched.message())
          : FutureAccess::Done<SendResult>(watched.status());
  EndWhenDone(std::move(watched), future);
  return future;
}

inline std::vector<Future<SendResult>> ProducerCore::SendAsyncWatched(
    std::span<const Message> messages) {
  WatchedBatch batch(Watchers(), messages);
  std::vector<Future<SendResult>> sent = SendAsyncPlain(batch.passing());
  std::vector<Future<SendResult>> futures;
  futures.reserve(messages.size());
  auto next = sent.begin();
  for (WatchedSend& watched : batch.sends()) {
    futures.push_back(watched.status().ok()
                          ? *std::move(next++)
                          : FutureAccess::Done<SendResult>(watched.status()));
    EndWhenDone(std::move(watched), futures.back());
  }
  return futures;
}

inline absl::Status ProducerCore::SendOnewayPlain(const Message& message) {
  const auto begun = TryBegin(message, InFlightPolicy::kFail);
  if (!begun.ok()) return begun.status();
  (*begun)->Unref();
  return absl::OkStatus();
}

inline absl::Status ProducerCore::SendOnewayWatched(const Message& message) {
  WatchedSend watched(Watchers(), message);
  const auto begun = watched.status().ok()
                         ? TryBegin(watched.message(), InFlightPolicy::kFail)
                         : absl::StatusOr<AsyncSend*>(watched.status());
  if (!begun.ok()) {
    watched.End(begun.status());
    return begun.status();
  }
  EndWhenDone(std::move(watched), FutureAccess::Of<SendResult>(*begun));
  return absl::OkStatus();
}

inline std::vector<Future<SendResult>> ProducerCore::SendAsyncPlain(
    std::span<const Message> messages) {
  std::vector<Future<SendResult>> futures;
  futures.reserve(messages.size());
  if (messages.empty()) return futures;
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = Enter("send", deadline); !status.ok()) {
    while (futures.size() < messages.size()) {
      futures.push_back(FutureAccess::Done<SendResult>(status));
    }
    return futures;
  }
  const CallGuard guard(*this);

  // Runs of messages go as they lie; a run ends where one is refused or has to
  // be changed, where a batch is full, and before this thread waits for room.
  size_t run_begin = 0;
  size_t max_run = messages.size();
  const auto end_run = [&](size_t end) {
    BeginRun(messages.subspan(run_begin, end - run_begin), deadline, futures);
    run_begin = end;
    max_run = messages.size();
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto plan = Check(messages[i], deadline);
    absl::Status status = plan.status();
    const size_t most = plan.ok() && plan->max_batch_messages != 0
                            ? plan->max_batch_messages
                            : messages.size();
    if (i - run_begin >= std::min(max_run, most)) end_run(i);
    max_run = std::min(max_run, most);
    if (plan.ok() && !in_flight_.TryEnter(InFlightBytes(messages[i]))) {
      end_run(i);
      status = Admit(messages[i], deadline, settings_.at_in_flight_limit);
    }
    if (status.ok() && !plan->strip) continue;
    end_run(i);
    run_begin = i + 1;
    futures.push_back(
        status.ok()
            ? FutureAccess::Of<SendResult>(Begin(messages[i], *plan, deadline))
            : FutureAccess::Done<SendResult>(std::move(status)));
  }
  end_run(messages.size());
  return futures;
}

inline void ProducerCore::BeginRun(std::span<const Message> run,
                                   TimePoint deadline,
                                   std::vector<Future<SendResult>>& futures) {
  if (run.empty()) return;
  std::vector<AsyncSend*> sends;
  sends.reserve(run.size());
  for (const Message& message : run) {
    sends.push_back(AsyncSend::Make(in_flight_, connection_->dispatcher(),
                                    InFlightBytes(message), CapabilitySet()));
    futures.push_back(FutureAccess::Of<SendResult>(sends.back()));
  }
  auto* const batch = new AsyncSendBatch(std::move(sends));
  driver_->Send(run, LaterContext(deadline), *batch);
}

inline absl::Status ProducerCore::Flush(std::chrono::milliseconds timeout) {
  const TimePoint deadline = DeadlineAfter(connection_->Bounded(timeout));
  // Nothing was sent, and there is no reason to start.
  if (autostart() && state() == LifecycleState::kInitialized) {
    return absl::OkStatus();
  }
  if (absl::Status status = Enter("flush", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  return driver_->Flush(deadline);
}

inline absl::Status ProducerCore::CancelDelayed(std::string_view queue,
                                                const MessageId& id) {
  const TimePoint deadline = DeadlineAfter(send_timeout_);
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  if (id.empty()) {
    return MakeStatus(Code::kBadParameter, "cancel a message of \"", queue,
                      "\": the id is empty; expected that of a message that "
                      "was sent");
  }
  if (absl::Status status = Enter("cancel", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto facts = connection_->FactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  auto* const control =
      driver::QueryInterface<driver::DelayControl>(connection_->connection());
  if (control == nullptr ||
      !(*facts)->capabilities.Has(Capability::kDelayCancel)) {
    return MakeStatus(Code::kUnsupported, "cancel a message of \"", queue,
                      "\": the queue does not support ",
                      Name(Capability::kDelayCancel),
                      "; expected one where delayed messages can be cancelled");
  }
  return control->Cancel(queue, id, deadline);
}

inline void ProducerCore::SendChunks(std::span<const Message> batch,
                                     size_t max_messages, TimePoint deadline,
                                     std::span<Slot> results) {
  for (size_t at = 0; at < batch.size(); at += max_messages) {
    const size_t size = std::min(max_messages, batch.size() - at);
    SendChunk(batch.subspan(at, size), deadline, results.subspan(at, size));
  }
}

inline void ProducerCore::SendChunk(std::span<const Message> chunk,
                                    TimePoint deadline,
                                    std::span<Slot> results) {
  std::optional<Backoff> backoff;
  while (true) {
    Call call(chunk.size());
    const bool complete = Attempt(chunk, deadline, call);
    bool may_send_again = true;
    for (size_t i = 0; i < chunk.size(); ++i) {
      if (!complete && !call->IsReady(i)) {
        may_send_again = false;
        continue;
      }
      results[i] = std::move(call->result(i));
      may_send_again = may_send_again && !results[i]->ok() &&
                       MaySendAgain(results[i]->status());
    }
    // Those that were late are known after all if the driver ended by now.
    const bool left = !complete && call.Leave();
    for (size_t i = 0; i < chunk.size(); ++i) {
      if (results[i]) continue;
      results[i] = left ? absl::StatusOr<SendResult>(TimedOut(chunk[i]))
                        : std::move(call->result(i));
    }
    // A part of the batch is never sent again: it would end up behind messages
    // that came after it.
    if (!may_send_again) return;
    if (!backoff) backoff.emplace();
    absl::Status stop = WaitToRetry(results[0]->status(), deadline, *backoff);
    if (!stop.ok()) {
      // Stopped: all report that; out of time: each keeps its own failure.
      if (OmsCode(stop) == Code::kClosed) {
        for (auto& result : results) result = stop;
      }
      return;
    }
    for (auto& result : results) result.reset();
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging

#include "openmessaging/internal/producer_transactions.h"  // IWYU pragma: keep

#endif  // OPENMESSAGING_INTERNAL_PRODUCER_CORE_H_
