// SPDX-License-Identifier: Apache-2.0
//
// ConsumerCore is the portable half of a consumer, behind its handle and behind
// every delivery that it made.

#ifndef OPENMESSAGING_INTERNAL_CONSUMER_CORE_H_
#define OPENMESSAGING_INTERNAL_CONSUMER_CORE_H_

#include <algorithm>
#include <array>
#include <atomic>
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

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/bind_options.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/future.h"
#include "openmessaging/internal/async_settle.h"
#include "openmessaging/internal/client_core.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/consumer_watch.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/in_flight.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/renewed_receipts.h"
#include "openmessaging/internal/revoked_sources.h"
#include "openmessaging/internal/sync_call.h"
#include "openmessaging/internal/turn.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Learns of a consumer's sources what its driver reports; see
// driver::ConsumerEvents. Both may come on any thread.
class SourceObserver {
 public:
  // Returns when nothing of `sources` is in use, or at `deadline`.
  virtual void SourcesRevoking(std::span<const uint64_t> sources,
                               TimePoint deadline) = 0;
  virtual void SourcesLost(std::span<const uint64_t> sources) = 0;

 protected:
  ~SourceObserver() = default;
};

// Takes turns at the driver, keeps the list of bound queues, and settles.
//
// Threads: every method from any thread; settling takes no lock.
// Invariants:
//   (1) Receive, Bind and Unbind of the driver run in turn_ only;
//   (2) what the driver reported beside messages is in deferred_ until the next
//       Receive tells it.
class ConsumerCore final : public ClientCore, public driver::ConsumerEvents {
 public:
  ConsumerCore(std::shared_ptr<ConnectionCore> connection,
               driver::ConsumerOptions options, bool autostart,
               std::chrono::milliseconds operation_timeout)
      : ClientCore("consumer", autostart, connection->operation_timeout()),
        connection_(std::move(connection)),
        options_(std::move(options)),
        operation_timeout_(connection_->Bounded(operation_timeout)),
        watch_(connection_->TelemetryFor(options_.group)) {}

  std::chrono::milliseconds operation_timeout() const {
    return operation_timeout_;
  }

  // Stops, and waits for the callbacks of what that completed.
  size_t StopAll(TimePoint deadline) {
    const size_t left = Stop(deadline);
    (void)connection_->dispatcher().AwaitPosted(deadline);
    return left;
  }

  absl::Status Bind(std::string_view queue, const BindOptions& options);
  // `before(deadline)`: what is done in turn before the driver is told, so that
  // no Receive goes on meanwhile.
  template <typename Before>
  absl::Status Unbind(std::string_view queue, Before before);
  absl::Status Unbind(std::string_view queue) {
    return Unbind(queue, [](TimePoint) {});
  }
  std::vector<std::string> bound_queues() const {
    const MutexLock lock(mutex_);
    std::vector<std::string> queues;
    for (const Bound& bound : bound_) queues.push_back(bound.queue);
    return queues;
  }

  // Receives up to `max` messages into `sink`, which counts them: none where
  // nothing came in time, or once `*give_up` and a WakeReceiver() after it.
  template <typename Sink>
  absl::Status Receive(size_t max, std::chrono::milliseconds timeout,
                       Sink& sink, const std::atomic<bool>* give_up = nullptr);

  // Ends those Receives in progress that want to give up, or else the next one.
  void WakeReceiver() {
    turn_.Wake();
    if (state() != LifecycleState::kStarted || !Enter("wake", kNoWait).ok()) {
      return;
    }
    const CallGuard guard(*this);
    driver_->Interrupt();
  }

  // Set before the first call; let go of once the driver's consumer is closed.
  void set_observer(std::shared_ptr<SourceObserver> observer) {
    observer_ = std::move(observer);
  }

  // Returns: whether a queue can do something, as far as it is known.
  bool QueueHas(std::string_view queue, Capability capability) {
    const auto facts =
        connection_->FactsOf(queue, DeadlineAfter(operation_timeout_));
    return facts.ok() && (*facts)->capabilities.Has(capability);
  }

  const driver::ConsumerOptions& options() const { return options_; }
  Dispatcher& dispatcher() { return connection_->dispatcher(); }

  ConsumerWatch& watch() { return watch_; }

  // `message`: what is settled, if it is known; only who watches is told.
  absl::Status Settle(const driver::Settlement& settlement,
                      const Message* message = nullptr);
  // Fills one status for each settlement; those whose status is an error
  // already are left out. `messages`: as above, or none at all.
  void Settle(std::span<const driver::Settlement> batch,
              std::span<absl::Status> results,
              std::span<const Message* const> messages = {});
  // As above, for verdicts: perhaps on a thread of the driver's, where
  // interceptors do not run. `origins`: of each, or none at all.
  void SettleVerdicts(std::span<const driver::Settlement> batch,
                      std::span<const WatchedSettle::Origin> origins,
                      std::span<absl::Status> results);

  // Settle without waiting.
  Future<void> SettleAsync(const driver::Settlement& settlement,
                           const Message* message = nullptr);
  // Entries of `known` that are errors are the outcome already.
  std::vector<Future<void>> SettleAsync(
      std::span<const driver::Settlement> batch,
      std::span<const absl::Status> known,
      std::span<const Message* const> messages = {});

  // Extends leases, which is no business of interceptors. Whether it helps
  // shows when the message is settled.
  void Renew(std::span<const driver::Settlement> batch) {
    const std::vector<absl::Status> known(batch.size());
    (void)SettleAsyncPlain(batch, known);
  }

  // Gives back what the application has not seen, which is no business of
  // interceptors either. Where it fails, the messages come back later.
  void Release(std::span<const driver::Settlement> batch, TimePoint deadline) {
    const std::vector<absl::Status> known(batch.size());
    (void)SettleAsyncPlain(batch, known, deadline);
  }

  // Returns: the receipt that took the place of this one, itself otherwise.
  Receipt Latest(const Receipt& receipt) const {
    return renewed_.Latest(receipt);
  }

  // Errors: 1603 unless receipts of the queue are good on every consumer.
  absl::Status CheckForeign(std::string_view queue);

  // Looks at an acknowledgement that a transaction of `connection` carries out.
  // Returns: the receipt that the driver gets. Errors: 1418 another connection's;
  // else as Settle.
  absl::StatusOr<Receipt> CheckTransacted(const Receipt& receipt,
                                          const ConnectionCore& connection);

  void Revoking(std::span<const uint64_t> sources,
                TimePoint deadline) override {
    if (observer_ != nullptr) observer_->SourcesRevoking(sources, deadline);
    for (const uint64_t source : sources) revoked_.Add(source);
  }
  void Lost(std::span<const uint64_t> sources) override {
    for (const uint64_t source : sources) revoked_.Add(source);
    if (observer_ != nullptr) observer_->SourcesLost(sources);
  }

 private:
  // Gives the turn back.
  class TurnGuard {
   public:
    explicit TurnGuard(Turn& turn) : turn_(turn) {}
    ~TurnGuard() { turn_.Give(); }
    TurnGuard(const TurnGuard&) = delete;
    TurnGuard& operator=(const TurnGuard&) = delete;

   private:
    Turn& turn_;
  };

  absl::Status Open(TimePoint deadline) override;
  void Close(TimePoint deadline) override;
  void Interrupt() override { driver_->Interrupt(); }

  struct Bound {
    std::string queue{};
    std::string filter{};
  };

  template <typename List>
  static auto FindBound(List& bound, std::string_view queue) {
    return std::find_if(bound.begin(), bound.end(), [queue](const Bound& one) {
      return one.queue == queue;
    });
  }
  bool IsBound(std::string_view queue) const {
    const MutexLock lock(mutex_);
    return FindBound(bound_, queue) != bound_.end();
  }
  // Errors: 1418 where the queue has leases, but none of the wanted length.
  absl::Status CheckLease(std::string_view queue,
                          const Capabilities& capabilities) const;
  // Takes the turn to change what is bound.
  bool TakeTurnToBind(TimePoint deadline) {
    return turn_.TakeFirst(deadline, [this] { driver_->Interrupt(); });
  }
  // Receives once, the turn being taken. An interrupt ends it without any.
  template <typename Sink>
  absl::Status ReceiveInTurn(size_t max, TimePoint deadline, Sink& sink);
  absl::Status NothingReceived() const {
    return IsStopping() ? ClosedStatus("receive") : absl::OkStatus();
  }
  absl::Status CheckSettlement(const driver::Settlement& settlement);
  // Whether a bound queue supports a verb that none did: one may have been
  // changed.
  bool SupportsNow(driver::Verb verb);
  // The same without interceptors.
  absl::Status SettlePlain(const driver::Settlement& settlement);
  void SettlePlain(std::span<const driver::Settlement> batch,
                   std::span<absl::Status> results);
  Future<void> SettleAsyncPlain(const driver::Settlement& settlement,
                                bool caller_waits);
  std::vector<Future<void>> SettleAsyncPlain(
      std::span<const driver::Settlement> batch,
      std::span<const absl::Status> known,
      TimePoint latest = TimePoint::max());
  // Begins to watch each of a batch.
  std::vector<WatchedSettle> Watch(
      std::span<const driver::Settlement> batch,
      std::span<const Message* const> messages) const;
  // Ends it with the outcome of `settled`, on the thread for callbacks unless
  // the outcome is there already: never on a thread of the driver's.
  static void EndWhenDone(WatchedSettle watched, const Future<void>& settled) {
    settled.OnDone(
        [watched = std::move(watched)](const absl::Status& outcome) {
          watched.End(outcome);
        });
  }
  absl::Status SettleTimedOut() const {
    return MakeStatus(Code::kTimeout, "settle: no answer within ",
                      operation_timeout_.count(),
                      " ms, it may have been settled; expected an answer in "
                      "time (operation_timeout, OMS-CONS-020)");
  }
  absl::Status AwaitSettled(const Future<void>& settled,
                            std::chrono::milliseconds timeout) const {
    const absl::Status status = settled.AwaitFor(timeout);
    return settled.Ready() ? settled.Await() : SettleTimedOut();
  }
  // Lets a settlement in that nobody waits for.
  absl::Status AdmitSettlement() {
    if (settling_.TryEnter(0)) return absl::OkStatus();
    return MakeStatus(Code::kLocalQueueFull,
                      "settle: too many settlements have no answer yet; "
                      "expected fewer than ",
                      InFlight::kMaxEntries, " (OMS-CONS-023)");
  }
  AsyncSettle* NewSettlement(const driver::Settlement& settlement) {
    const bool extend = settlement.verb == driver::Verb::kExtend;
    return AsyncSettle::Make({&settling_, &connection_->dispatcher(),
                              extend ? &renewed_ : nullptr},
                             settlement.receipt);
  }
  // Errors: 1600 a filter that the queue cannot have.
  absl::Status CheckFilter(std::string_view queue, const BindOptions& options,
                           const Capabilities& capabilities) const;
  // Returns: the outcome of binding what is bound; nothing where it is not.
  std::optional<absl::Status> BoundAlready(std::string_view queue,
                                           const BindOptions& options) const;
  // Errors: 1600 where the options ask for what the queue cannot give.
  absl::Status CheckDemands(std::string_view queue,
                            const Capabilities& capabilities) const;
  template <typename Object>
  absl::Status NoTurn(std::string_view operation, const Object& object) const;

  // Constant after construction.
  const std::shared_ptr<ConnectionCore> connection_;
  const driver::ConsumerOptions options_;
  const std::chrono::milliseconds operation_timeout_;

  // Written by Open before the state says started, and by Close after the last
  // call has left.
  std::unique_ptr<driver::Consumer> driver_;

  Turn turn_;
  // By whoever has the turn.
  absl::Status deferred_;

  // Changed in turn and under mutex_; bound_count_ is its size.
  mutable Mutex mutex_;
  std::vector<Bound> bound_ ABSL_GUARDED_BY(mutex_);
  std::atomic<size_t> bound_count_{0};

  // The verbs that some queue bound so far can do, one bit each; kAnyVerb
  // before the first Bind, when only the driver can know.
  static constexpr uint32_t kAnyVerb = uint32_t{1} << 31;
  std::atomic<uint32_t> verbs_{kAnyVerb};

  RevokedSources revoked_;
  RenewedReceipts renewed_;
  // Settlements that nobody waits for.
  InFlight settling_{InFlight::kMaxEntries, InFlight::kMaxBytes};
  std::shared_ptr<SourceObserver> observer_;

  ConsumerWatch watch_;
};

inline constexpr std::array kVerbCapabilities = {
    Capability::kIndividualAck, Capability::kCumulativeAck,
    Capability::kNack,          Capability::kNackDelay,
    Capability::kReject,        Capability::kExtend,
    Capability::kPromptRelease};

inline uint32_t VerbBit(driver::Verb verb) {
  return uint32_t{1} << static_cast<unsigned>(verb);
}

inline uint32_t VerbsOf(const Capabilities& capabilities) {
  uint32_t verbs = 0;
  for (unsigned i = 0; i < kVerbCapabilities.size(); ++i) {
    if (capabilities.Has(kVerbCapabilities[i])) verbs |= uint32_t{1} << i;
  }
  return verbs;
}

inline absl::Status ConsumerCore::Open(TimePoint deadline) {
  auto opened =
      connection_->connection().CreateConsumer(options_, *this, deadline);
  if (!opened.ok()) return opened.status();
  driver_ = *std::move(opened);
  return absl::OkStatus();
}

inline void ConsumerCore::Close(TimePoint deadline) {
  if (driver_) {
    // What is unsettled comes back to the group whether this fails or not.
    // Every settlement is completed by then, perhaps on a thread that is on its
    // way out of this object.
    driver_->Close(deadline).IgnoreError();
    settling_.AwaitEmpty();
    driver_.reset();
  }
  // There are no events any more. Who called holds this object.
  observer_.reset();
}

template <typename Object>
absl::Status ConsumerCore::NoTurn(std::string_view operation,
                                  const Object& object) const {
  return MakeStatus(Code::kTimeout, operation, " \"", Printable(object),
                    "\": another call of this consumer did not end within ",
                    operation_timeout_.count(),
                    " ms; expected a free consumer (operation_timeout)");
}

inline absl::Status ConsumerCore::CheckLease(
    std::string_view queue, const Capabilities& capabilities) const {
  if (!capabilities.Has(Capability::kLease)) return absl::OkStatus();
  const auto least = capabilities.limits().min_lease.value_or(options_.lease);
  const auto most = capabilities.limits().max_lease.value_or(options_.lease);
  if (options_.lease >= least && options_.lease <= most) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kBadParameter, "bind \"", queue, "\": lease is ",
                    options_.lease.count(), " ms; expected ",
                    options_.lease < least ? "at least " : "at most ",
                    (options_.lease < least ? least : most).count(),
                    " ms (limit of the queue, OMS-CONS-033)");
}

inline absl::Status ConsumerCore::CheckDemands(
    std::string_view queue, const Capabilities& capabilities) const {
  const std::pair<bool, Capability> demands[] = {
      {options_.broadcast, Capability::kBroadcast},
      {options_.exclusive, Capability::kExclusive},
      {options_.ordered, Capability::kKeyOrder}};
  for (const auto& [wanted, capability] : demands) {
    if (!wanted || capabilities.Has(capability)) continue;
    return MakeStatus(Code::kUnsupported, "bind \"", queue,
                      "\": the queue does not support ", Name(capability),
                      "; expected a consumer without it (OMS-CONS-024)");
  }
  return absl::OkStatus();
}

inline absl::Status ConsumerCore::CheckFilter(
    std::string_view queue, const BindOptions& options,
    const Capabilities& capabilities) const {
  if (options.filter.empty() || capabilities.Has(Capability::kFilter)) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kUnsupported, "bind \"", queue,
                    "\": the queue does not support ",
                    Name(Capability::kFilter),
                    "; expected no filter (OMS-CONS-025)");
}

inline std::optional<absl::Status> ConsumerCore::BoundAlready(
    std::string_view queue, const BindOptions& options) const {
  const MutexLock lock(mutex_);
  const auto found = FindBound(bound_, queue);
  if (found == bound_.end()) return std::nullopt;
  if (found->filter == options.filter) return absl::OkStatus();
  return MakeStatus(Code::kIllegalState, "bind \"", queue,
                    "\": it is bound with another filter; expected a call of "
                    "Unbind before (OMS-CONS-026)");
}

inline absl::Status ConsumerCore::Bind(std::string_view queue,
                                       const BindOptions& options) {
  const TimePoint deadline = DeadlineAfter(operation_timeout_);
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  if (absl::Status status = Enter("bind", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  if (const auto known = BoundAlready(queue, options)) return *known;
  // What was said of the queue before may be of a time when it was not there.
  const auto facts = connection_->FreshFactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  if (absl::Status status = CheckLease(queue, (*facts)->capabilities);
      !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckDemands(queue, (*facts)->capabilities);
      !status.ok()) {
    return status;
  }
  if (absl::Status status =
          CheckFilter(queue, options, (*facts)->capabilities);
      !status.ok()) {
    return status;
  }
  const uint32_t verbs = VerbsOf((*facts)->capabilities);

  if (!TakeTurnToBind(deadline)) return NoTurn("bind", queue);
  const TurnGuard turn(turn_);
  if (IsStopping()) return ClosedStatus("bind");
  if (const auto known = BoundAlready(queue, options)) return *known;
  absl::Status status = driver_->Bind(queue, {.filter = options.filter}, deadline);
  if (!status.ok()) return status;
  {
    const MutexLock lock(mutex_);
    bound_.push_back({std::string(queue), options.filter});
  }
  const uint32_t known = verbs_.load(std::memory_order_relaxed);
  verbs_.store(known == kAnyVerb ? verbs : known | verbs,
               std::memory_order_release);
  bound_count_.fetch_add(1, std::memory_order_release);
  return absl::OkStatus();
}

template <typename Before>
absl::Status ConsumerCore::Unbind(std::string_view queue, Before before) {
  const TimePoint deadline = DeadlineAfter(operation_timeout_);
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  if (absl::Status status = Enter("unbind", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  if (!IsBound(queue)) return absl::OkStatus();

  if (!TakeTurnToBind(deadline)) return NoTurn("unbind", queue);
  const TurnGuard turn(turn_);
  if (IsStopping()) return ClosedStatus("unbind");
  if (!IsBound(queue)) return absl::OkStatus();
  before(deadline);
  absl::Status status = driver_->Unbind(queue, deadline);
  if (!status.ok()) return status;
  const MutexLock lock(mutex_);
  bound_.erase(FindBound(bound_, queue));
  bound_count_.fetch_sub(1, std::memory_order_release);
  return absl::OkStatus();
}

template <typename Sink>
absl::Status ConsumerCore::Receive(size_t max,
                                   std::chrono::milliseconds timeout,
                                   Sink& sink,
                                   const std::atomic<bool>* give_up) {
  if (absl::Status status = Enter("receive", kNoWait); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  // The first look waits for nothing and needs no clock. The time is counted
  // from its end, so that no call ends early.
  std::optional<TimePoint> deadline;
  if (!turn_.Take(kNoWait)) {
    deadline = DeadlineAfter(timeout);
    if (!turn_.Take(*deadline, give_up)) return NothingReceived();
  }
  while (true) {
    {
      const TurnGuard turn(turn_);
      // The interrupt for who gives up may have gone to another receive.
      const bool leaves = give_up && give_up->load();
      absl::Status status = ReceiveInTurn(
          max, leaves ? kNoWait : deadline.value_or(kNoWait), sink);
      if (!status.ok() || sink.count() > 0) return status;
      if (!deadline) {
        deadline = DeadlineAfter(timeout);
        if (*deadline == kNoWait) return NothingReceived();
        // The first look may have been what an interrupt ended.
        if (!turn_.IsWantedFirst() && !(give_up && give_up->load())) {
          status = ReceiveInTurn(max, *deadline, sink);
          if (!status.ok() || sink.count() > 0) return status;
        }
      }
      if (give_up && give_up->load()) return NothingReceived();
    }
    // Interrupted, by a Bind or before this call: others go first.
    if (HasPassed(*deadline) || !turn_.Take(*deadline, give_up)) {
      return NothingReceived();
    }
  }
}

template <typename Sink>
absl::Status ConsumerCore::ReceiveInTurn(size_t max, TimePoint deadline,
                                         Sink& sink) {
  if (IsStopping()) return ClosedStatus("receive");
  if (bound_count_.load(std::memory_order_acquire) == 0) {
    return MakeStatus(Code::kIllegalState,
                      "receive: no queue is bound; expected a call of Bind "
                      "before (OMS-CONS-004)");
  }
  if (!deferred_.ok()) return std::exchange(deferred_, absl::OkStatus());
  absl::Status status = driver_->Receive(max, deadline, sink);
  if (sink.count() > 0) {
    deferred_ = std::move(status);
    return absl::OkStatus();
  }
  if (IsStopping()) return ClosedStatus("receive");
  if (OmsCode(status) == Code::kCancelled) return absl::OkStatus();
  return status;
}

inline bool ConsumerCore::SupportsNow(driver::Verb verb) {
  std::vector<std::string> names;
  {
    const MutexLock lock(mutex_);
    for (const Bound& bound : bound_) names.push_back(bound.queue);
  }
  for (const std::string& name : names) {
    const auto facts =
        connection_->FreshFactsOf(name, DeadlineAfter(operation_timeout_));
    if (facts.ok()) verbs_.fetch_or(VerbsOf((*facts)->capabilities));
  }
  return (verbs_.load() & VerbBit(verb)) != 0;
}

inline absl::Status ConsumerCore::CheckSettlement(
    const driver::Settlement& settlement) {
  const Receipt& receipt = settlement.receipt;
  if (receipt.empty()) {
    return MakeStatus(Code::kReceiptInvalid,
                      "settle: the receipt is empty; expected the receipt of a "
                      "delivery (OMS-CONS-009)");
  }
  const uint32_t verbs = verbs_.load(std::memory_order_acquire);
  if (verbs != kAnyVerb && (verbs & VerbBit(settlement.verb)) == 0 &&
      !SupportsNow(settlement.verb)) {
    const auto capability =
        kVerbCapabilities[static_cast<size_t>(settlement.verb)];
    return MakeStatus(Code::kUnsupported, "settle: no bound queue supports ",
                      Name(capability),
                      "; expected another way to settle (OMS-CONS-014)");
  }
  const int least = settlement.verb == driver::Verb::kExtend ? 1 : 0;
  if (settlement.duration.count() < least) {
    return MakeStatus(Code::kBadParameter, "settle: duration is ",
                      settlement.duration.count(), " ms; expected ", least,
                      " or more (OMS-SET-016)");
  }
  if (revoked_.Contains(receipt.source())) {
    return MakeStatus(Code::kReceiptExpired, "settle \"", receipt.ToString(),
                      "\": its source was given to another consumer, which "
                      "gets the message again; expected a receipt of a later "
                      "delivery (OMS-CONS-012)");
  }
  return absl::OkStatus();
}

inline absl::Status ConsumerCore::CheckForeign(std::string_view queue) {
  if (IsStopping()) return ClosedStatus("settle");
  const auto facts =
      connection_->FactsOf(queue, DeadlineAfter(operation_timeout_));
  if (facts.ok() && (*facts)->capabilities.Has(Capability::kSharedReceipt)) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kReceiptInvalid, "settle \"", Printable(queue),
                    "\": the delivery is another consumer's; expected one that "
                    "this consumer received (OMS-CONS-009)");
}

inline absl::StatusOr<Receipt> ConsumerCore::CheckTransacted(
    const Receipt& receipt, const ConnectionCore& connection) {
  if (&connection != connection_.get()) {
    return MakeStatus(Code::kBadParameter,
                      "acknowledge in a transaction: the delivery is of "
                      "another access point; expected one of the access point "
                      "that made the producer (OMS-TX-009)");
  }
  if (IsStopping()) return ClosedStatus("acknowledge in a transaction");
  absl::Status status = CheckSettlement({receipt, driver::Verb::kAck});
  if (!status.ok()) return status;
  return renewed_.Latest(receipt);
}

inline absl::Status ConsumerCore::Settle(const driver::Settlement& settlement,
                                         const Message* message) {
  if (!watch_.any()) return SettlePlain(settlement);
  const WatchedSettle watched(watch_.watchers(), settlement, message);
  absl::Status outcome = SettlePlain(settlement);
  watched.End(outcome);
  return outcome;
}

inline std::vector<WatchedSettle> ConsumerCore::Watch(
    std::span<const driver::Settlement> batch,
    std::span<const Message* const> messages) const {
  const ConsumerWatchers watchers = watch_.watchers();
  std::vector<WatchedSettle> watched;
  watched.reserve(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    watched.emplace_back(watchers, batch[i],
                         messages.empty() ? nullptr : messages[i]);
  }
  return watched;
}

inline void ConsumerCore::Settle(std::span<const driver::Settlement> batch,
                                 std::span<absl::Status> results,
                                 std::span<const Message* const> messages) {
  if (!watch_.any()) return SettlePlain(batch, results);
  const auto watched = Watch(batch, messages);
  SettlePlain(batch, results);
  for (size_t i = 0; i < batch.size(); ++i) watched[i].End(results[i]);
}

inline void ConsumerCore::SettleVerdicts(
    std::span<const driver::Settlement> batch,
    std::span<const WatchedSettle::Origin> origins,
    std::span<absl::Status> results) {
  if (!watch_.any()) return SettlePlain(batch, results);
  const ConsumerWatchers watchers = watch_.watchers();
  std::vector<WatchedSettle> watched;
  for (size_t i = 0; i < batch.size(); ++i) {
    watched.emplace_back(watchers, batch[i],
                         origins.empty() ? nullptr : origins[i]);
  }
  SettlePlain(batch, results);
  SettledReport::Post(connection_->dispatcher(), std::move(watched), results);
}

inline Future<void> ConsumerCore::SettleAsync(
    const driver::Settlement& settlement, const Message* message) {
  if (!watch_.any()) {
    return SettleAsyncPlain(settlement, /*caller_waits=*/false);
  }
  WatchedSettle watched(watch_.watchers(), settlement, message);
  Future<void> settled = SettleAsyncPlain(settlement, /*caller_waits=*/false);
  EndWhenDone(std::move(watched), settled);
  return settled;
}

inline std::vector<Future<void>> ConsumerCore::SettleAsync(
    std::span<const driver::Settlement> batch,
    std::span<const absl::Status> known,
    std::span<const Message* const> messages) {
  if (!watch_.any()) return SettleAsyncPlain(batch, known);
  auto watched = Watch(batch, messages);
  std::vector<Future<void>> futures = SettleAsyncPlain(batch, known);
  for (size_t i = 0; i < batch.size(); ++i) {
    EndWhenDone(std::move(watched[i]), futures[i]);
  }
  return futures;
}

inline absl::Status ConsumerCore::SettlePlain(
    const driver::Settlement& settlement) {
  if (settlement.verb == driver::Verb::kExtend || renewed_.any()) {
    // Rare: a replacement must be noted even if it comes late.
    return AwaitSettled(SettleAsyncPlain(settlement, /*caller_waits=*/true),
                        operation_timeout_);
  }
  const TimePoint deadline = DeadlineAfter(operation_timeout_);
  if (absl::Status status = Enter("settle", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  if (absl::Status status = CheckSettlement(settlement); !status.ok()) {
    return status;
  }
  SyncCallHandle<SyncSettle> call(1);
  driver_->Settle({&settlement, 1}, {.deadline = deadline}, *call);
  if (!call->Wait(deadline) && call.Leave()) return SettleTimedOut();
  return std::move(call->result(0));
}

inline Future<void> ConsumerCore::SettleAsyncPlain(
    const driver::Settlement& settlement, bool caller_waits) {
  const TimePoint deadline = DeadlineAfter(operation_timeout_);
  if (absl::Status status = Enter("settle", deadline); !status.ok()) {
    return FutureAccess::Done<void>(std::move(status));
  }
  const CallGuard guard(*this);
  absl::Status status = CheckSettlement(settlement);
  if (status.ok()) status = AdmitSettlement();
  if (!status.ok()) return FutureAccess::Done<void>(std::move(status));
  AsyncSettle* const settle = NewSettlement(settlement);
  Future<void> settled = FutureAccess::Of<void>(settle);
  const driver::CallContext context{.deadline = deadline,
                                    .caller_waits = caller_waits};
  if (renewed_.any()) {
    driver::Settlement latest = settlement;
    latest.receipt = renewed_.Latest(settlement.receipt);
    driver_->Settle({&latest, 1}, context, *settle);
  } else {
    driver_->Settle({&settlement, 1}, context, *settle);
  }
  return settled;
}

inline std::vector<Future<void>> ConsumerCore::SettleAsyncPlain(
    std::span<const driver::Settlement> batch,
    std::span<const absl::Status> known, TimePoint latest) {
  std::vector<Future<void>> futures;
  futures.reserve(batch.size());
  if (batch.empty()) return futures;
  const TimePoint deadline =
      std::min(latest, DeadlineAfter(operation_timeout_));
  const absl::Status entered = Enter("settle", deadline);
  if (!entered.ok()) {
    while (futures.size() < batch.size()) {
      futures.push_back(FutureAccess::Done<void>(entered));
    }
    return futures;
  }
  const CallGuard guard(*this);
  std::vector<driver::Settlement> checked;
  std::vector<AsyncSettle*> settlements;
  for (size_t i = 0; i < batch.size(); ++i) {
    absl::Status status = known[i];
    if (status.ok()) status = CheckSettlement(batch[i]);
    if (status.ok()) status = AdmitSettlement();
    if (!status.ok()) {
      futures.push_back(FutureAccess::Done<void>(std::move(status)));
      continue;
    }
    settlements.push_back(NewSettlement(batch[i]));
    futures.push_back(FutureAccess::Of<void>(settlements.back()));
    checked.push_back(batch[i]);
    checked.back().receipt = renewed_.Latest(batch[i].receipt);
  }
  if (checked.empty()) return futures;
  auto* const completion = new AsyncSettleBatch(std::move(settlements));
  driver_->Settle(checked, {.deadline = deadline, .caller_waits = false},
                  *completion);
  return futures;
}

inline void ConsumerCore::SettlePlain(std::span<const driver::Settlement> batch,
                                      std::span<absl::Status> results) {
  if (batch.empty()) return;
  if (batch[0].verb == driver::Verb::kExtend || renewed_.any()) {
    const TimePoint deadline = DeadlineAfter(operation_timeout_);
    const auto futures = SettleAsyncPlain(batch, results);
    for (size_t i = 0; i < futures.size(); ++i) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(
              deadline - std::chrono::steady_clock::now());
      results[i] = AwaitSettled(futures[i], left);
    }
    return;
  }
  const TimePoint deadline = DeadlineAfter(operation_timeout_);
  if (absl::Status status = Enter("settle", deadline); !status.ok()) {
    for (absl::Status& result : results) result = status;
    return;
  }
  const CallGuard guard(*this);
  std::vector<driver::Settlement> checked;
  std::vector<size_t> positions;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (results[i].ok()) results[i] = CheckSettlement(batch[i]);
    if (!results[i].ok()) continue;
    checked.push_back(batch[i]);
    positions.push_back(i);
  }
  if (checked.empty()) return;

  SyncCallHandle<SyncSettle> call(checked.size());
  driver_->Settle(checked, {.deadline = deadline}, *call);
  const bool complete = call->Wait(deadline);
  std::vector<bool> known(checked.size());
  for (size_t i = 0; i < checked.size(); ++i) {
    known[i] = complete || call->IsReady(i);
    if (known[i]) results[positions[i]] = std::move(call->result(i));
  }
  const bool left = !complete && call.Leave();
  for (size_t i = 0; i < checked.size(); ++i) {
    if (known[i]) continue;
    results[positions[i]] =
        left ? SettleTimedOut() : std::move(call->result(i));
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CONSUMER_CORE_H_
