// SPDX-License-Identifier: Apache-2.0
//
// PushCore is the portable half of a push consumer: its threads, what it has
// prefetched, and the verdicts that wait to be settled.

#ifndef OPENMESSAGING_INTERNAL_PUSH_CORE_H_
#define OPENMESSAGING_INTERNAL_PUSH_CORE_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
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
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "openmessaging/bind_options.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/client_settings.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/failure_reporter.h"
#include "openmessaging/internal/listener.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/process_report.h"
#include "openmessaging/internal/revoked_sources.h"
#include "openmessaging/internal/thread_start.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// One thread receives into waiting_; others take from there and run listeners.
// What a listener decided waits in verdicts_ until it pays to settle, which is
// at once where nothing else is to do.
//
// Threads: every method from any thread, also from a listener. The threads keep
// this object alive; who holds it last may be one of them.
// Invariants:
//   (1) mutex_ is not held while a listener runs, the driver is called, or a
//       message ends;
//   (2) held_ has what is waiting, running, or decided and not settled yet;
//   (3) a call of a listener is counted in running_ from before it was taken
//       out of waiting_ until its verdict is in verdicts_.
class PushCore final : public SourceObserver,
                       public std::enable_shared_from_this<PushCore> {
 public:
  PushCore(std::shared_ptr<ConsumerCore> consumer, const PushSettings& settings,
           PushFailureListener on_failure)
      : settings_(settings),
        consumer_(std::move(consumer)),
        failures_(std::move(on_failure), consumer_->dispatcher()),
        tick_(std::clamp<std::chrono::milliseconds>(
            consumer_->options().lease / 3, std::chrono::milliseconds(1),
            kTick)) {}
  PushCore(const PushCore&) = delete;
  PushCore& operator=(const PushCore&) = delete;
  ~PushCore();

  const std::shared_ptr<ConsumerCore>& consumer() const { return consumer_; }

  absl::Status Bind(std::string_view queue, const BindOptions& options,
                    std::unique_ptr<Listener> listener);
  absl::Status Unbind(std::string_view queue);
  absl::Status Start();
  // Returns: how many messages listeners had not decided at `deadline`.
  size_t Stop(TimePoint deadline);

  // Returns: whether no listener runs, but the one that calls this.
  bool Suspend(TimePoint deadline);
  void Resume() {
    const MutexLock lock(mutex_);
    suspended_ = false;
    work_.NotifyAll();
  }
  bool IsSuspended() const {
    const MutexLock lock(mutex_);
    return suspended_;
  }

  LifecycleState state() const;

  void SourcesRevoking(std::span<const uint64_t> sources,
                       TimePoint deadline) override;
  void SourcesLost(std::span<const uint64_t> sources) override;

 private:
  using Clock = std::chrono::steady_clock;

  // Of one message that was received.
  struct Held {
    Receipt receipt{};
    size_t bytes = 0;
    bool renews = false;
    bool waiting = true;
    TimePoint leased{};  // When its lease was last known to begin.
  };
  struct Decided {
    uint64_t id = 0;
    std::string_view queue{};
    driver::Settlement settlement{};
    WatchedSettle::Origin origin{};
  };
  struct Worker {
    std::thread thread{};
    bool ended = false;
  };
  // Takes what one Receive found.
  class Sink final : public driver::DeliverySink {
   public:
    explicit Sink(std::atomic<bool>& has_fetched) : has_fetched_(has_fetched) {}

    void Deliver(Message message, const Receipt& receipt) override {
      if (items_.empty()) has_fetched_ = true;
      items_.push_back({0, std::move(message), receipt, nullptr, nullptr});
    }
    size_t count() const { return items_.size(); }
    std::vector<PushItem>& items() { return items_; }

   private:
    std::atomic<bool>& has_fetched_;
    std::vector<PushItem> items_;
  };
  // How many messages this thread has in a listener of which consumer.
  struct OwnCall {
    const PushCore* core = nullptr;
    size_t messages = 0;
  };

  static constexpr size_t kMaxReceive = 64;
  // What a message counts as before the first one came (OMS-FAIL-012).
  static constexpr size_t kUnknownBytes = size_t{256} << 10;
  static constexpr size_t kMaxVerdicts = 64;
  // A verdict waits no longer than this for the next one, and no longer than
  // the other for a listener that does not return.
  static constexpr std::chrono::milliseconds kVerdictPatience{1};
  static constexpr std::chrono::milliseconds kTick{50};
  static constexpr std::chrono::hours kIdle{1};
  // What a message costs beside its body.
  static constexpr size_t kMessageBytes = 256;

  static OwnCall& own_call() {
    static constinit thread_local OwnCall call{};
    return call;
  }
  size_t OwnMessages() const {
    return own_call().core == this ? own_call().messages : 0;
  }

  void StartThread(void (PushCore::*work)())
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Receive();
  void Listen();
  // Waits for room. Returns: how much; 0 when stopping.
  size_t AwaitRoom(std::chrono::milliseconds& timeout);
  size_t Room() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes what one Receive found, if anything.
  void Accept(std::vector<PushItem>& items);
  void Admit(std::vector<PushItem>& items, std::vector<PushItem>& dropped,
             std::vector<PushItem>& released);
  // Gives back at once what no listener has seen, where the queue can do that.
  void Release(std::span<const PushItem> items, TimePoint deadline);
  // The same with what waits of one queue. In turn with Receive.
  void ReleaseQueue(std::string_view queue, TimePoint deadline);
  // Waits a little after a failure, longer each time.
  void BackOff(std::chrono::milliseconds& wait);
  // What nobody else does: leases, and verdicts that a listener holds up.
  void Tend();

  // Takes what the next call of a listener gets; what came to nothing goes to
  // `dropped`.
  bool Take(std::vector<PushItem>& items, std::vector<PushItem>& dropped);
  void RunListener(std::span<PushItem> items,
                   std::vector<MaybeVerdict>& verdicts);
  // The same behind the interceptors: what one of them fails is nacked.
  void RunWatched(std::span<PushItem> items, std::span<MaybeVerdict> verdicts);
  void Note(std::span<const PushItem> items,
            std::span<const MaybeVerdict> verdicts);
  // Settles what was decided.
  void SettleDecided();
  // Stops the consumer. Lets go of the listeners, which may have captured what
  // holds this object.
  size_t Close(TimePoint deadline);
  // Waits for those that others settle.
  void AwaitSettled(TimePoint deadline);
  void Forget(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what `condition(item)` holds of out of waiting_.
  template <typename Condition>
  std::vector<PushItem> Drop(Condition condition)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<PushItem> DropSources(std::span<const uint64_t> sources);

  void JoinThreads(TimePoint deadline);

  // Constant after construction.
  const PushSettings settings_;
  const std::shared_ptr<ConsumerCore> consumer_;
  FailureReporter failures_;
  // How often the receiving thread looks after what is held.
  const std::chrono::milliseconds tick_;

  // By the receiving thread.
  TimePoint next_tend_ = kNoWait;

  // Set under mutex_; read by a receive too.
  std::atomic<bool> stopping_{false};
  // Something was received that is not in waiting_ yet. Set in a receive, and
  // cleared under mutex_.
  std::atomic<bool> has_fetched_{false};

  mutable Mutex mutex_;
  Condition work_;     // waiting_ has something, or the threads should end.
  Condition room_;     // held_ has shrunk, or there is something to receive.
  // running_, settling_, held_, a fetch or a worker has ended.
  Condition changed_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  // From before a receive until what it found is taken.
  bool receiving_ ABSL_GUARDED_BY(mutex_) = false;
  bool suspended_ ABSL_GUARDED_BY(mutex_) = false;
  // A listener stopped its own consumer: the last one to return closes it.
  bool close_when_idle_ ABSL_GUARDED_BY(mutex_) = false;
  TimePoint close_deadline_ ABSL_GUARDED_BY(mutex_) = kNoWait;
  std::vector<std::unique_ptr<Worker>> workers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Binding>, std::less<>> bindings_
      ABSL_GUARDED_BY(mutex_);
  // Never shrinks: what is decided names its queue after the binding ended.
  std::set<std::string, std::less<>> names_ ABSL_GUARDED_BY(mutex_);
  size_t bound_ ABSL_GUARDED_BY(mutex_) = 0;  // Those the driver knows.
  std::deque<PushItem> waiting_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Held> held_ ABSL_GUARDED_BY(mutex_);
  size_t held_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t largest_bytes_ ABSL_GUARDED_BY(mutex_) = kUnknownBytes;
  bool was_full_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Decided> verdicts_ ABSL_GUARDED_BY(mutex_);
  TimePoint verdicts_since_ ABSL_GUARDED_BY(mutex_) = kNoWait;
  size_t settling_ ABSL_GUARDED_BY(mutex_) = 0;
  RevokedSources revoked_;
};

inline PushCore::~PushCore() {
  const MutexLock lock(mutex_);
  for (const auto& worker : workers_) {
    if (!worker->thread.joinable()) continue;
    if (worker->thread.get_id() == std::this_thread::get_id()) {
      worker->thread.detach();
    } else {
      worker->thread.join();  // It holds this no more, so it has ended.
    }
  }
}

inline LifecycleState PushCore::state() const {
  if (stopping_) {
    return consumer_->state() == LifecycleState::kStopped
               ? LifecycleState::kStopped
               : LifecycleState::kStopping;
  }
  const MutexLock lock(mutex_);
  return started_ ? LifecycleState::kStarted : LifecycleState::kInitialized;
}

inline absl::Status PushCore::Bind(std::string_view queue,
                                   const BindOptions& options,
                                   std::unique_ptr<Listener> listener) {
  if (stopping_) return consumer_->ClosedStatus("bind");
  auto binding = std::make_shared<Binding>();
  binding->listener = std::move(listener);
  binding->has_lease = consumer_->QueueHas(queue, Capability::kLease);
  binding->renews = settings_.renew_leases && binding->has_lease &&
                    consumer_->QueueHas(queue, Capability::kExtend);
  binding->releases = consumer_->QueueHas(queue, Capability::kPromptRelease);
  {
    const MutexLock lock(mutex_);
    binding->queue = *names_.emplace(queue).first;
    // Before the driver delivers: the first message may come at once.
    if (!bindings_.try_emplace(std::string(queue), binding).second) {
      return MakeStatus(Code::kIllegalState, "bind \"", Printable(queue),
                        "\": the queue has a listener; expected a call of "
                        "Unbind before (OMS-PUSH-018)");
    }
  }
  absl::Status status = consumer_->Bind(queue, options);
  const MutexLock lock(mutex_);
  if (status.ok() && !stopping_) {
    ++bound_;
    room_.NotifyAll();
  } else if (const auto found = bindings_.find(queue);
             found != bindings_.end() && found->second == binding) {
    bindings_.erase(found);  // `binding` ends after the lock.
  }
  return status;
}

inline absl::Status PushCore::Unbind(std::string_view queue) {
  // While nothing is received: what goes back here does not come here again.
  absl::Status status = consumer_->Unbind(
      queue, [&](TimePoint deadline) { ReleaseQueue(queue, deadline); });
  if (!status.ok()) return status;
  std::shared_ptr<Binding> binding;
  std::vector<PushItem> dropped;
  const MutexLock lock(mutex_);
  const auto found = bindings_.find(queue);
  if (found == bindings_.end()) return status;
  // Ends after the lock, as what it captured is the application's.
  binding = std::move(found->second);
  bindings_.erase(found);
  --bound_;
  dropped = Drop([&](const PushItem& item) { return item.binding == binding; });
  return status;
}

inline void PushCore::ReleaseQueue(std::string_view queue, TimePoint deadline) {
  std::vector<PushItem> dropped;
  {
    const MutexLock lock(mutex_);
    while (has_fetched_ && changed_.WaitUntil(mutex_, deadline)) {
    }
    dropped = Drop([&](const PushItem& item) {
      return item.binding->queue == queue;
    });
  }
  Release(dropped, deadline);
}

inline void PushCore::Release(std::span<const PushItem> items,
                              TimePoint deadline) {
  std::vector<driver::Settlement> batch;
  for (const PushItem& item : items) {
    if (item.binding == nullptr || !item.binding->releases) continue;
    batch.push_back({item.receipt, driver::Verb::kRelease});
  }
  if (batch.empty()) return;
  consumer_->Release(batch, deadline);
}

inline void PushCore::StartThread(void (PushCore::*work)()) {
  workers_.push_back(std::make_unique<Worker>());
  Worker* const worker = workers_.back().get();
  worker->thread =
      internal::StartThread([core = shared_from_this(), worker, work] {
        ((*core).*work)();
        const MutexLock lock(core->mutex_);
        worker->ended = true;
        core->changed_.NotifyAll();
      });
}

inline absl::Status PushCore::Start() {
  absl::Status status =
      consumer_->Start(DeadlineAfter(consumer_->start_timeout()));
  if (!status.ok()) return status;
  const MutexLock lock(mutex_);
  if (stopping_) return consumer_->ClosedStatus("start");
  if (started_) return absl::OkStatus();
  started_ = true;
  StartThread(&PushCore::Receive);
  for (size_t i = 0; i < settings_.concurrency; ++i) {
    StartThread(&PushCore::Listen);
  }
  return absl::OkStatus();
}

inline size_t PushCore::Room() const {
  if (held_.size() >= settings_.prefetch_messages ||
      held_bytes_ >= settings_.prefetch_bytes) {
    return 0;
  }
  const size_t by_bytes = (settings_.prefetch_bytes - held_bytes_) /
                          largest_bytes_;
  return std::min({settings_.prefetch_messages - held_.size(), kMaxReceive,
                   std::max<size_t>(1, by_bytes)});
}

inline size_t PushCore::AwaitRoom(std::chrono::milliseconds& timeout) {
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (stopping_) return 0;
      const size_t room = Room();
      // Once full, it waits for some room: to fetch one at a time is dear.
      const size_t wanted =
          was_full_ ? std::clamp<size_t>(settings_.prefetch_messages / 4, 1,
                                         kMaxReceive / 4)
                    : 1;
      if (bound_ > 0 && room > 0 && (room >= wanted || waiting_.empty())) {
        was_full_ = false;
        timeout = held_.empty() ? std::chrono::milliseconds(kIdle) : tick_;
        receiving_ = true;
        return room;
      }
      was_full_ = was_full_ || room == 0;
      const TimePoint until =
          held_.empty() ? TimePoint::max() : Clock::now() + tick_;
      room_.WaitUntil(mutex_, until);
    }
    Tend();
  }
}

inline void PushCore::Receive() {
  std::chrono::milliseconds failure_wait{0};
  std::chrono::milliseconds timeout{0};
  while (const size_t room = AwaitRoom(timeout)) {
    Sink sink(has_fetched_);
    const absl::Status status =
        consumer_->Receive(room, timeout, sink, &stopping_);
    Accept(sink.items());
    Tend();
    if (status.ok() || OmsCode(status) == Code::kDamaged) {
      failure_wait = std::chrono::milliseconds(0);
    } else {
      BackOff(failure_wait);
    }
    if (!status.ok() && !stopping_) {
      failures_.Report({.kind = PushFailure::Kind::kReceive, .status = status});
    }
  }
}

inline void PushCore::BackOff(std::chrono::milliseconds& wait) {
  wait = std::clamp(wait * 2, std::chrono::milliseconds(5),
                    std::chrono::milliseconds(1000));
  const TimePoint until = Clock::now() + wait;
  const MutexLock lock(mutex_);
  while (!stopping_ && Clock::now() < until) {
    room_.WaitUntil(mutex_, until);
  }
}

inline void PushCore::Accept(std::vector<PushItem>& items) {
  std::vector<PushItem> dropped;
  std::vector<PushItem> released;
  if (!items.empty()) Admit(items, dropped, released);
  // Before this consumer may close.
  Release(released, TimePoint::max());
  const MutexLock lock(mutex_);
  receiving_ = false;
  if (stopping_) changed_.NotifyAll();
}

inline void PushCore::Admit(std::vector<PushItem>& items,
                            std::vector<PushItem>& dropped,
                            std::vector<PushItem>& released) {
  const TimePoint now = Clock::now();
  const MutexLock lock(mutex_);
  largest_bytes_ = std::max(kMessageBytes, largest_bytes_ / 2);
  for (PushItem& item : items) {
    const auto found = bindings_.find(item.message.destination());
    // The driver has it back when its queue is unbound or its source is lost.
    if (found == bindings_.end() ||
        revoked_.Contains(item.receipt.source())) {
      dropped.push_back(std::move(item));
      continue;
    }
    item.binding = found->second;
    if (stopping_) {
      released.push_back(std::move(item));
      continue;
    }
    item.id = ++next_id_;
    const size_t bytes = item.message.body().size() + kMessageBytes;
    largest_bytes_ = std::max(largest_bytes_, bytes);
    held_bytes_ += bytes;
    held_[item.id] = {item.receipt, bytes, item.binding->renews, true, now};
    waiting_.push_back(std::move(item));
  }
  has_fetched_ = false;
  changed_.NotifyAll();
  work_.NotifyAll();
}

inline void PushCore::Tend() {
  const TimePoint now = Clock::now();
  if (now < next_tend_) return;
  next_tend_ = now + tick_;
  const auto lease = consumer_->options().lease;
  std::vector<driver::Settlement> renewals;
  bool verdicts_wait = false;
  {
    const MutexLock lock(mutex_);
    verdicts_wait = !verdicts_.empty() && verdicts_since_ + kTick <= now;
    for (auto& [id, held] : held_) {
      // Who is suspended lets others have what he does not need.
      if (!held.renews || (suspended_ && held.waiting) ||
          held.leased + lease / 3 > now) {
        continue;
      }
      held.leased = now;
      renewals.push_back({held.receipt, driver::Verb::kExtend, lease});
    }
  }
  if (verdicts_wait) SettleDecided();
  if (renewals.empty()) return;
  consumer_->Renew(renewals);
}

inline bool PushCore::Take(std::vector<PushItem>& items,
                           std::vector<PushItem>& dropped) {
  const auto lease = consumer_->options().lease;
  const MutexLock lock(mutex_);
  while (!stopping_ && (suspended_ || waiting_.empty())) work_.Wait(mutex_);
  if (stopping_) return false;
  const TimePoint now = Clock::now();
  while (!waiting_.empty()) {
    PushItem& next = waiting_.front();
    if (!items.empty() && next.binding != items[0].binding) break;
    Held& held = held_[next.id];
    if (next.binding->has_lease && held.leased + lease <= now) {
      // It belongs to somebody else by now.
      Forget(next.id);
      dropped.push_back(std::move(next));
      waiting_.pop_front();
      continue;
    }
    held.waiting = false;
    items.push_back(std::move(next));
    waiting_.pop_front();
    const size_t most = items[0].binding->listener->takes_batches()
                            ? settings_.max_batch_messages
                            : 1;
    if (items.size() >= most) break;
  }
  running_ += items.size();
  return true;
}

inline void PushCore::Listen() {
  std::vector<PushItem> items;
  std::vector<PushItem> dropped;
  std::vector<MaybeVerdict> verdicts;
  while (Take(items, dropped)) {
    // Where nobody has it yet, it was not delivered.
    Release(dropped, TimePoint::max());
    dropped.clear();
    if (!items.empty()) RunListener(items, verdicts);
    items.clear();
  }
}

inline void PushCore::RunListener(std::span<PushItem> items,
                                  std::vector<MaybeVerdict>& verdicts) {
  const Binding& binding = *items[0].binding;
  verdicts.assign(items.size(), std::nullopt);
  own_call() = {this, items.size()};
  if (consumer_->watch().any()) {
    RunWatched(items, verdicts);
  } else {
    binding.listener->Run(items, consumer_, /*nack_dropped=*/!binding.has_lease,
                          verdicts);
  }
  own_call() = {};
  Note(items, verdicts);
}

inline void PushCore::RunWatched(std::span<PushItem> items,
                                 std::span<MaybeVerdict> verdicts) {
  const Binding& binding = *items[0].binding;
  const ConsumerWatchers watchers = consumer_->watch().watchers();
  ProcessReport report(watchers.telemetry, binding.queue);
  std::vector<PushItem> admitted;
  std::vector<size_t> positions;
  for (size_t i = 0; i < items.size(); ++i) {
    Message& message = items[i].message;
    items[i].origin = report.OriginOf(message);
    const absl::Status status = watchers.Admit(message);
    report.Note(status, items[i].origin);
    if (!status.ok()) {
      verdicts[i] = Nack();
      continue;
    }
    admitted.push_back({items[i].id, std::move(message), items[i].receipt,
                        items[i].binding, items[i].origin});
    positions.push_back(i);
  }
  if (admitted.empty()) return;
  std::vector<MaybeVerdict> said(admitted.size());
  report.Run([&] {
    binding.listener->Run(admitted, consumer_,
                          /*nack_dropped=*/!binding.has_lease, said);
  });
  report.End(said);
  for (size_t i = 0; i < said.size(); ++i) verdicts[positions[i]] = said[i];
}

inline void PushCore::Note(std::span<const PushItem> items,
                           std::span<const MaybeVerdict> verdicts) {
  const TimePoint now = Clock::now();
  bool settle = false;
  bool close = false;
  TimePoint close_deadline = kNoWait;
  {
    const MutexLock lock(mutex_);
    running_ -= items.size();
    if (verdicts_.empty()) verdicts_since_ = now;
    for (size_t i = 0; i < items.size(); ++i) {
      if (!verdicts[i]) {
        Forget(items[i].id);
        continue;
      }
      verdicts_.push_back({items[i].id,
                           items[i].binding->queue,
                           {items[i].receipt, verdicts[i]->verb(),
                            verdicts[i]->delay()},
                           items[i].origin});
    }
    settle = !verdicts_.empty() &&
             (waiting_.empty() || suspended_ || stopping_ ||
              verdicts_.size() >= kMaxVerdicts ||
              now - verdicts_since_ >= kVerdictPatience);
    close = close_when_idle_ && running_ == 0;
    close_deadline = close_deadline_;
    changed_.NotifyAll();
  }
  if (settle) SettleDecided();
  if (!close) return;
  AwaitSettled(close_deadline);
  (void)Close(close_deadline);
}

inline size_t PushCore::Close(TimePoint deadline) {
  const size_t calls = consumer_->StopAll(deadline);
  failures_.End();
  std::map<std::string, std::shared_ptr<Binding>, std::less<>> ended;
  const MutexLock lock(mutex_);
  ended.swap(bindings_);
  return calls;
}

inline void PushCore::AwaitSettled(TimePoint deadline) {
  const MutexLock lock(mutex_);
  while (settling_ > 0 && changed_.WaitUntil(mutex_, deadline)) {
  }
}

inline void PushCore::SettleDecided() {
  std::vector<Decided> decided;
  {
    const MutexLock lock(mutex_);
    decided.swap(verdicts_);
    settling_ += decided.size();
  }
  if (decided.empty()) return;
  std::vector<driver::Settlement> batch;
  std::vector<WatchedSettle::Origin> origins;
  const bool watched = consumer_->watch().any();
  batch.reserve(decided.size());
  for (Decided& one : decided) {
    batch.push_back(one.settlement);
    if (watched) origins.push_back(std::move(one.origin));
  }
  std::vector<absl::Status> results(batch.size());
  consumer_->SettleVerdicts(batch, origins, results);
  // What failed comes back by its lease, or when this consumer ends.
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].ok()) continue;
    failures_.Report({.kind = PushFailure::Kind::kSettle,
                      .status = std::move(results[i]),
                      .queue = std::string(decided[i].queue),
                      .receipt = batch[i].receipt});
  }

  const MutexLock lock(mutex_);
  settling_ -= decided.size();
  for (const Decided& one : decided) Forget(one.id);
  changed_.NotifyAll();
}

inline void PushCore::Forget(uint64_t id) {
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  held_bytes_ -= found->second.bytes;
  held_.erase(found);
  room_.NotifyAll();
}

template <typename Condition>
std::vector<PushItem> PushCore::Drop(Condition condition) {
  std::vector<PushItem> dropped;
  std::deque<PushItem> kept;
  for (PushItem& item : waiting_) {
    if (condition(item)) {
      Forget(item.id);
      dropped.push_back(std::move(item));
    } else {
      kept.push_back(std::move(item));
    }
  }
  waiting_.swap(kept);
  changed_.NotifyAll();
  return dropped;
}

inline std::vector<PushItem> PushCore::DropSources(
    std::span<const uint64_t> sources) {
  const MutexLock lock(mutex_);
  for (const uint64_t source : sources) revoked_.Add(source);
  return Drop([&](const PushItem& item) {
    return revoked_.Contains(item.receipt.source());
  });
}

inline void PushCore::SourcesLost(std::span<const uint64_t> sources) {
  (void)DropSources(sources);
}

inline void PushCore::SourcesRevoking(std::span<const uint64_t> sources,
                                      TimePoint deadline) {
  (void)DropSources(sources);
  SettleDecided();
  const MutexLock lock(mutex_);
  const auto in_use = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::any_of(held_.begin(), held_.end(), [&](const auto& entry) {
      return std::find(sources.begin(), sources.end(),
                       entry.second.receipt.source()) != sources.end();
    });
  };
  while (!stopping_ && OwnMessages() == 0 && in_use()) {
    if (!changed_.WaitUntil(mutex_, deadline)) return;
  }
}

inline bool PushCore::Suspend(TimePoint deadline) {
  const MutexLock lock(mutex_);
  suspended_ = true;
  const size_t own = OwnMessages();
  while (running_ > own) {
    if (!changed_.WaitUntil(mutex_, deadline)) return running_ <= own;
  }
  return true;
}

inline size_t PushCore::Stop(TimePoint deadline) {
  const std::shared_ptr<PushCore> kept = shared_from_this();
  const size_t own = OwnMessages();
  {
    std::vector<PushItem> dropped;  // Ends after the lock.
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      dropped = Drop([](const PushItem&) { return true; });
      work_.NotifyAll();
      room_.NotifyAll();
    }
    Release(dropped, deadline);
  }
  consumer_->WakeReceiver();

  size_t unfinished = 0;
  {
    const MutexLock lock(mutex_);
    while ((running_ > own || receiving_) &&
           changed_.WaitUntil(mutex_, deadline)) {
    }
    unfinished = running_;
  }
  SettleDecided();
  AwaitSettled(deadline);
  {
    const MutexLock lock(mutex_);
    if (own > 0 && running_ > 0) {
      // This listener's verdict shall count too.
      close_when_idle_ = true;
      close_deadline_ = deadline;
      return unfinished;
    }
  }
  const size_t calls = Close(deadline);
  JoinThreads(deadline);
  return std::max(unfinished, calls);
}

inline void PushCore::JoinThreads(TimePoint deadline) {
  std::vector<std::unique_ptr<Worker>> ended;
  {
    const MutexLock lock(mutex_);
    const auto all_ended = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::all_of(workers_.begin(), workers_.end(),
                         [](const auto& worker) {
                           return worker->ended || worker->thread.get_id() ==
                                                       std::this_thread::get_id();
                         });
    };
    while (!all_ended() && changed_.WaitUntil(mutex_, deadline)) {
    }
    for (auto at = workers_.begin(); at != workers_.end();) {
      if ((*at)->ended) {
        ended.push_back(std::move(*at));
        at = workers_.erase(at);
      } else {
        ++at;
      }
    }
  }
  for (const auto& worker : ended) worker->thread.join();
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_PUSH_CORE_H_
