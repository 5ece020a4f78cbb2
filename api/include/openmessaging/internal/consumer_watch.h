// SPDX-License-Identifier: Apache-2.0
//
// ConsumerWatch is what watches a consumer or a stream reader: its interceptors,
// and the failure that one of them left for the next call.

#ifndef OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_
#define OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/interceptor_chain.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Runs around the calls of the consumer, not inside: an interceptor may stop
// the consumer that it watches without waiting for itself.
//
// Threads: every method from any thread. No lock is held while interceptors
// run.
class ConsumerWatch {
 public:
  using List = InterceptorChain<ConsumerInterceptor>::List;

  // Whether calls must go through this.
  bool any() const { return watchers_.any(); }
  InterceptorChain<ConsumerInterceptor>& interceptors() {
    return interceptors_;
  }
  std::shared_ptr<const List> list() const { return interceptors_.list(); }

  // Runs what comes before the application sees `message`. `list`: nullptr for
  // none. Returns: whether it may see it.
  static absl::Status Admit(const List* list, Message& message) {
    absl::Status status;
    if (list == nullptr) return status;
    (void)RunInOrder(*list, status, [&](ConsumerInterceptor& one) {
      return one.BeforeReceive(message);
    });
    return status;
  }

  // Runs what comes after a settlement.
  static void Settled(const List* list, const driver::Settlement& settlement,
                      const absl::Status& outcome) {
    if (list == nullptr) return;
    RunInReverse(*list, list->size(), [&](ConsumerInterceptor& one) {
      one.AfterSettle(settlement, outcome);
    });
  }

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
  WatchCount watchers_;
  InterceptorChain<ConsumerInterceptor> interceptors_{watchers_};
  Mutex mutex_;
  absl::Status deferred_ ABSL_GUARDED_BY(mutex_);
};

// Tells of settlements that were carried out where no code of the application's
// may run: perhaps on a thread of the driver's.
class SettledReport final : public DispatchTask {
 public:
  static void Post(Dispatcher& dispatcher,
                   std::shared_ptr<const ConsumerWatch::List> list,
                   std::span<const driver::Settlement> settlements,
                   std::span<const absl::Status> outcomes) {
    if (!list) return;
    // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): it ends itself.
    dispatcher.Post(*new SettledReport(std::move(list), settlements, outcomes));
  }

 private:
  SettledReport(std::shared_ptr<const ConsumerWatch::List> list,
                std::span<const driver::Settlement> settlements,
                std::span<const absl::Status> outcomes)
      : list_(std::move(list)),
        settlements_(settlements.begin(), settlements.end()),
        outcomes_(outcomes.begin(), outcomes.end()) {}
  void Run() override {
    for (size_t i = 0; i < settlements_.size(); ++i) {
      ConsumerWatch::Settled(list_.get(), settlements_[i], outcomes_[i]);
    }
    delete this;
  }

  const std::shared_ptr<const ConsumerWatch::List> list_;
  const std::vector<driver::Settlement> settlements_;
  const std::vector<absl::Status> outcomes_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CONSUMER_WATCH_H_
