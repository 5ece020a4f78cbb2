// SPDX-License-Identifier: Apache-2.0
//
// ConsumerWatch is what watches a consumer or a stream reader: its interceptors,
// the failure that one of them left for the next call, and who is told what it
// does.

#ifndef OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_
#define OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/client_telemetry.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/interceptor_chain.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// What watches a consumer when a call begins, and what is known of a settlement.
struct ConsumerWatchers {
  std::shared_ptr<const InterceptorChain<ConsumerInterceptor>::List>
      interceptors{};                                  // Or nullptr.
  std::shared_ptr<const ClientTelemetry> telemetry{};  // Or nullptr.

  // Runs what comes before the application sees `message`.
  // Returns: whether it may see it.
  absl::Status Admit(Message& message) const {
    absl::Status status;
    if (!interceptors) return status;
    (void)RunInOrder(*interceptors, status, [&](ConsumerInterceptor& one) {
      return one.BeforeReceive(message);
    });
    return status;
  }

  // As above, and notes it in `report`.
  absl::Status Admit(Message& message, ReceiveReport& report) const {
    if (!telemetry) return Admit(message);
    const Message as_sent = message;
    absl::Status status = Admit(message);
    report.Note(as_sent.destination(), report.LinkOf(as_sent), status);
    return status;
  }

  // Runs what comes after a settlement.
  void Settled(const driver::Settlement& settlement,
               const absl::Status& outcome) const {
    if (!interceptors) return;
    RunInReverse(*interceptors, interceptors->size(),
                 [&](ConsumerInterceptor& one) {
                   one.AfterSettle(settlement, outcome);
                 });
  }
};

// One settlement from before it is carried out until its outcome is known. Keeps
// all that it needs, for an outcome that comes when the consumer is gone.
class WatchedSettle {
 public:
  using Origin = std::shared_ptr<const SettleOrigin>;

  // `origin`: nullptr where nobody listens.
  WatchedSettle(ConsumerWatchers watchers, const driver::Settlement& settlement,
                Origin origin)
      : watchers_(std::move(watchers)),
        settlement_(settlement),
        origin_(std::move(origin)) {
    if (origin_) start_ = OperationStart();
  }
  WatchedSettle(ConsumerWatchers watchers, const driver::Settlement& settlement,
                const Message* message)
      : WatchedSettle(
            watchers, settlement,
            watchers.telemetry ? watchers.telemetry->OriginOf(message)
                               : Origin()) {}

  void End(const absl::Status& outcome) const {
    watchers_.Settled(settlement_, outcome);
    if (!origin_) return;
    watchers_.telemetry->Settled(settlement_, *origin_, start_, outcome);
  }

 private:
  ConsumerWatchers watchers_;
  driver::Settlement settlement_;
  Origin origin_;
  OperationStart start_{{}, {}};
};

// Runs around the calls of the consumer, not inside: an interceptor may stop
// the consumer that it watches without waiting for itself.
//
// Threads: every method from any thread. No lock is held while interceptors
// run.
class ConsumerWatch {
 public:
  explicit ConsumerWatch(std::shared_ptr<const ClientTelemetry> telemetry)
      : telemetry_(std::move(telemetry)) {
    if (telemetry_) watchers_.Add();
  }

  // Whether calls must go through this.
  bool any() const { return watchers_.any(); }
  InterceptorChain<ConsumerInterceptor>& interceptors() {
    return interceptors_;
  }
  ConsumerWatchers watchers() const {
    return {interceptors_.list(), telemetry_};
  }
  const ClientTelemetry* telemetry() const { return telemetry_.get(); }

  // Keeps the failure of a message that came with others, for the next call to
  // tell; the first of several, as the others' messages come back too.
  void Defer(absl::Status failure) {
    const MutexLock lock(mutex_);
    if (!deferred_.ok()) return;
    deferred_ = std::move(failure);
    // So that the next call looks here, whoever is removed meanwhile.
    watchers_.Add();
  }
  absl::Status TakeDeferred() {
    const MutexLock lock(mutex_);
    if (!deferred_.ok()) watchers_.Remove();
    return std::exchange(deferred_, absl::OkStatus());
  }

 private:
  // Constant after construction; nullptr: nobody listens.
  const std::shared_ptr<const ClientTelemetry> telemetry_;
  WatchCount watchers_;
  InterceptorChain<ConsumerInterceptor> interceptors_{watchers_};
  Mutex mutex_;
  absl::Status deferred_ ABSL_GUARDED_BY(mutex_);
};

// Tells of settlements that were carried out where no code of the application's
// may run: perhaps on a thread of the driver's.
class SettledReport final : public DispatchTask {
 public:
  static void Post(Dispatcher& dispatcher, std::vector<WatchedSettle> settles,
                   std::span<const absl::Status> outcomes) {
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): it ends itself.
    dispatcher.Post(*new SettledReport(std::move(settles), outcomes));
  }

 private:
  SettledReport(std::vector<WatchedSettle> settles,
                std::span<const absl::Status> outcomes)
      : settles_(std::move(settles)),
        outcomes_(outcomes.begin(), outcomes.end()) {}
  void Run() override {
    for (size_t i = 0; i < settles_.size(); ++i) settles_[i].End(outcomes_[i]);
    delete this;
  }

  const std::vector<WatchedSettle> settles_;
  const std::vector<absl::Status> outcomes_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_
