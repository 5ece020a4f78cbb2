// SPDX-License-Identifier: Apache-2.0
//
// RequesterCore is what stands behind a requester: a producer, a queue for
// answers, and the requests that wait for theirs.

#ifndef OPENMESSAGING_INTERNAL_REQUESTER_CORE_H_
#define OPENMESSAGING_INTERNAL_REQUESTER_CORE_H_

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/future.h"
#include "openmessaging/internal/client_core.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/future_state.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/producer_core.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/thread_start.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/receipt.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Queues with names that start with this were made by a requester.
inline constexpr std::string_view kReplyQueuePrefix = "oms-reply.";

// Fixed for the life of a requester. Every default is safe to ship.
struct RequesterOptions {
  // Longest time from a request to its answer, sending included, at least
  // 1 ms. A call may say otherwise.
  std::chrono::milliseconds request_timeout{3000};

  // How many requests may wait for an answer, 1 to 1,000,000. One more answers
  // 1607.
  size_t max_in_flight = 10000;

  // Largest body of a request, in bytes, at most kMaxBodyBytes.
  size_t max_body_bytes = kDefaultMaxBodyBytes;

  // Where answers come to: a queue that is this requester's alone. Empty: one
  // is made with the first request, and deleted in the end.
  std::string reply_queue{};
};

namespace internal {

// One request that waits for its answer. Not pooled: its result would pin the
// answer's memory until the next request.
class PendingRequest final : public FutureState<Message> {
 public:
  // Returns: one with two references, the requester's and the future's.
  static PendingRequest* Make(std::string_view queue,
                              std::chrono::milliseconds timeout,
                              TimePoint deadline) {
    auto* const request = new PendingRequest(queue, timeout, deadline);
    request->Begin(2);
    return request;
  }

  // Once, by who took it out of the table.
  void Finish(absl::StatusOr<Message> result, Dispatcher& dispatcher) {
    Complete(std::move(result), dispatcher);
    Unref();
  }

  TimePoint deadline() const { return deadline_; }
  absl::Status TimedOut() const {
    return MakeStatus(Code::kTimeout, "request \"", Printable(queue_),
                      "\": no answer within ", timeout_.count(),
                      " ms, the request may be answered later in vain; "
                      "expected one in time (request_timeout, OMS-REQ-003)");
  }
  // Said of the request, which may well have been carried out.
  absl::Status Stopped() const {
    return WithDetail(
        MakeStatus(Code::kClosed, "request \"", Printable(queue_),
                   "\": the requester was stopped before the answer came; "
                   "expected an answer before Stop (OMS-REQ-006)"),
        {.code = Code::kClosed, .outcome = Outcome::kUnknown, .native = {}});
  }

 private:
  PendingRequest(std::string_view queue, std::chrono::milliseconds timeout,
                 TimePoint deadline)
      : queue_(queue), timeout_(timeout), deadline_(deadline) {}
  ~PendingRequest() = default;
  void Recycle() override { delete this; }

  const std::string queue_;
  const std::chrono::milliseconds timeout_;
  const TimePoint deadline_;
};

// Text that no two requesters share, whatever their hosts and processes.
inline std::string UniqueText() {
  std::random_device device;
  std::string text;
  for (int i = 0; i < 4; ++i) {
    uint32_t bits = device();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) {
      text.push_back(kHexDigits[bits & 15]);
    }
  }
  return text;
}

// Returns: `oms-reply.<host>.<process>.<unique>`: who asks what a queue is for
// can read whose it was.
inline std::string NewReplyQueueName() {
  std::array<char, 256> buffer{};
  (void)gethostname(buffer.data(), buffer.size() - 1);
  std::string host(buffer.data());
  host.resize(std::min<size_t>(host.size(), 63));
  std::replace_if(
      host.begin(), host.end(), [](char c) { return !IsNameCharacter(c); },
      '-');
  return Concat(kReplyQueuePrefix, host.empty() ? "host" : host, '.',
                static_cast<int64_t>(getpid()), '.', UniqueText());
}

// Sends requests with the number of each as its correlation id, and one thread
// takes the answers and tells those that come to nothing.
//
// Threads: every method from any thread.
// Invariants:
//   (1) a request is in pending_ and deadlines_, or was taken out of both under
//       mutex_ by the one that finishes it: each finishes once;
//   (2) mutex_ is not held while a driver is called or a request finishes;
//   (3) the thread looks again at looks_at_, or when look_again_ was set and
//       the consumer was woken after it.
class RequesterCore final : public ClientCore,
                            public std::enable_shared_from_this<RequesterCore> {
 public:
  RequesterCore(std::shared_ptr<ConnectionCore> connection,
                RequesterOptions options)
      : ClientCore("requester", /*autostart=*/true,
                   connection->operation_timeout()),
        connection_(std::move(connection)),
        options_(std::move(options)),
        id_prefix_(UniqueText() + "-") {}
  ~RequesterCore() = default;

  absl::StatusOr<Message> Request(Message request,
                                  std::chrono::milliseconds timeout);
  Future<Message> RequestAsync(Message request,
                               std::chrono::milliseconds timeout);

  std::chrono::milliseconds request_timeout() const {
    return connection_->Bounded(options_.request_timeout);
  }
  std::string reply_queue() const {
    const MutexLock lock(mutex_);
    return reply_queue_;
  }
  uint64_t dropped_answers() const {
    return dropped_.load(std::memory_order_relaxed);
  }

  // Stops, and waits for the callbacks of what that completed.
  size_t StopAll(TimePoint deadline) {
    const size_t left = Stop(deadline);
    (void)connection_->dispatcher().AwaitPosted(deadline);
    return left;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // A request that was let in, with the reference of the future.
  struct Begun {
    uint64_t id = 0;
    PendingRequest* request = nullptr;
  };
  // Takes what one Receive found.
  struct Answers final : driver::DeliverySink {
    void Deliver(Message message, const Receipt& receipt) override {
      messages.push_back(std::move(message));
      settlements.push_back({.receipt = receipt});
    }
    size_t count() const { return messages.size(); }

    std::vector<Message> messages{};
    std::vector<driver::Settlement> settlements{};
  };

  static constexpr size_t kMaxReceive = 256;
  static constexpr std::chrono::hours kIdle{1};

  absl::Status Open(TimePoint deadline) override;
  void Interrupt() override;
  void Close(TimePoint deadline) override;

  // Makes or takes the queue for the answers and binds it.
  absl::Status OpenReplyQueue(TimePoint deadline);
  absl::StatusOr<driver::Admin*> AdminForReplyQueue() const;
  void CloseReplyQueue(TimePoint deadline);
  absl::StatusOr<std::shared_ptr<ConsumerCore>> MakeConsumer(
      std::string_view queue, TimePoint deadline) const;

  // Checks the request, lets it in and addresses the answer to it.
  absl::StatusOr<Begun> Begin(Message& request,
                              std::chrono::milliseconds timeout,
                              TimePoint deadline);
  // Returns: the request if it was still there; then it is the caller's to
  // finish.
  PendingRequest* Take(uint64_t id);
  void Fail(uint64_t id, absl::Status status) {
    if (PendingRequest* const request = Take(id)) {
      request->Finish(std::move(status), connection_->dispatcher());
    }
  }
  void FailAll();

  // The thread.
  void Run();
  // Ends what is late. Returns: when to look again.
  TimePoint EndLate();
  void Accept(Answers& answers);
  // Returns: 0, which no request has, where the text is none of ours.
  uint64_t IdOf(std::string_view correlation_id) const;
  void Look() {
    look_again_.store(true);
    consumer_->WakeReceiver();
  }

  // Constant after construction.
  const std::shared_ptr<ConnectionCore> connection_;
  const RequesterOptions options_;
  const std::string id_prefix_;

  // Written by Open before the state says started, and by Close after the last
  // call has left.
  std::shared_ptr<ProducerCore> producer_;
  std::shared_ptr<ConsumerCore> consumer_;
  std::thread thread_;

  std::atomic<bool> ending_{false};
  std::atomic<bool> look_again_{false};
  std::atomic<uint64_t> dropped_{0};

  mutable Mutex mutex_;
  std::string reply_queue_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, PendingRequest*> pending_
      ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<TimePoint, uint64_t>> deadlines_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_id_seen_ ABSL_GUARDED_BY(mutex_) = 0;  // By the thread.
  TimePoint looks_at_ ABSL_GUARDED_BY(mutex_) = TimePoint::max();
};

inline absl::Status RequesterCore::Open(TimePoint deadline) {
  absl::Status status = OpenReplyQueue(deadline);
  if (!status.ok()) return status;
  ProducerSettings options = connection_->settings().producer;
  options.send_timeout = request_timeout();
  options.max_body_bytes = options_.max_body_bytes;
  options.max_in_flight_messages = options_.max_in_flight;
  options.at_in_flight_limit = InFlightPolicy::kFail;
  producer_ = std::make_shared<ProducerCore>(connection_, options);
  status = producer_->Start(deadline);
  if (!status.ok()) {
    producer_.reset();
    CloseReplyQueue(deadline);
    return status;
  }
  // The thread ends in Close, while this object is there.
  thread_ = StartThread([this] { Run(); });
  return absl::OkStatus();
}

// Of the one consumer of a reply queue. Who holds it exclusively is alive:
// RemoveAbandonedReplyQueues goes by that.
inline driver::ConsumerOptions OwnerOfReplyQueue(
    const ConnectionCore& connection, bool exclusive) {
  driver::ConsumerOptions options;
  options.group = "default";
  options.lease = connection.settings().lease;
  options.exclusive = exclusive;
  return options;
}

inline absl::StatusOr<std::shared_ptr<ConsumerCore>>
RequesterCore::MakeConsumer(std::string_view queue, TimePoint deadline) const {
  const auto facts = connection_->FactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  return std::make_shared<ConsumerCore>(
      connection_,
      OwnerOfReplyQueue(*connection_, (*facts)->capabilities.Has(
                                          Capability::kExclusive)),
      /*autostart=*/true, connection_->operation_timeout());
}

inline absl::StatusOr<driver::Admin*> RequesterCore::AdminForReplyQueue()
    const {
  if (auto* const admin =
          driver::QueryInterface<driver::Admin>(connection_->connection())) {
    return admin;
  }
  return MakeStatus(Code::kUnsupported, "start requester: driver ",
                    std::string_view(connection_->url().driver()),
                    " cannot make a queue for the answers; expected the name "
                    "of one (reply_queue, OMS-REQ-004)");
}

inline absl::Status RequesterCore::OpenReplyQueue(TimePoint deadline) {
  // Between making and binding it a new queue looks abandoned. Whoever is so
  // unlucky makes another one.
  constexpr int kAttempts = 3;
  absl::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::string queue = options_.reply_queue;
    if (queue.empty()) {
      const auto admin = AdminForReplyQueue();
      if (!admin.ok()) return admin.status();
      queue = NewReplyQueueName();
      status = (*admin)->CreateQueue(queue, QueueOptions(), deadline);
      if (!status.ok()) return status;
      connection_->ForgetFactsOf(queue);
    }
    {
      const MutexLock lock(mutex_);
      reply_queue_ = queue;
    }
    auto consumer = MakeConsumer(queue, deadline);
    status = consumer.status();
    if (consumer.ok()) {
      consumer_ = *std::move(consumer);
      status = consumer_->Bind(queue, {});
      if (status.ok()) return status;
    }
    CloseReplyQueue(deadline);
    const bool taken = OmsCode(status) == Code::kConsumerExists ||
                       OmsCode(status) == Code::kQueueNotFound;
    if (!options_.reply_queue.empty() || !taken) return status;
  }
  return status;
}

inline void RequesterCore::CloseReplyQueue(TimePoint deadline) {
  if (consumer_) consumer_->Stop(deadline);
  consumer_.reset();
  std::string queue;
  {
    const MutexLock lock(mutex_);
    queue.swap(reply_queue_);
  }
  if (!options_.reply_queue.empty()) return;
  const auto admin = AdminForReplyQueue();
  // What is left behind is found by RemoveAbandonedReplyQueues.
  if (admin.ok()) (*admin)->DeleteQueue(queue, deadline).IgnoreError();
  connection_->ForgetFactsOf(queue);
}

inline void RequesterCore::Interrupt() {
  FailAll();
  // A send that waits to be tried again ends.
  (void)producer_->Stop(kNoWait);
}

inline void RequesterCore::Close(TimePoint deadline) {
  if (!consumer_) return;
  FailAll();
  ending_.store(true);
  Look();
  thread_.join();
  (void)producer_->Stop(deadline);
  producer_.reset();
  CloseReplyQueue(deadline);
}

inline absl::StatusOr<RequesterCore::Begun> RequesterCore::Begin(
    Message& request, std::chrono::milliseconds timeout, TimePoint deadline) {
  const std::string_view queue = request.destination();
  const auto facts = connection_->FactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  if (!(*facts)->capabilities.Has(Capability::kRequestReply)) {
    return MakeStatus(Code::kUnsupported, "request \"", queue,
                      "\": the queue does not support request-reply; expected "
                      "a send without an answer (OMS-REQ-005)");
  }
  Begun begun;
  bool wake = false;
  std::string reply_queue;
  {
    const MutexLock lock(mutex_);
    if (pending_.size() >= options_.max_in_flight) {
      return MakeStatus(Code::kLocalQueueFull, "request \"", queue, "\": ",
                        pending_.size(),
                        " requests wait for their answers, this one was not "
                        "sent; expected fewer (max_in_flight, OMS-REQ-007)");
    }
    begun.id = ++last_id_;
    begun.request = PendingRequest::Make(queue, timeout, deadline);
    pending_.emplace(begun.id, begun.request);
    deadlines_.emplace(begun.request->deadline(), begun.id);
    wake = begun.request->deadline() < looks_at_;
    if (wake) looks_at_ = begun.request->deadline();
    reply_queue = reply_queue_;
  }
  if (wake) Look();
  request.SetReplyTo(reply_queue);
  request.SetCorrelationId(Concat(id_prefix_, begun.id));
  return begun;
}

inline absl::StatusOr<Message> RequesterCore::Request(
    Message request, std::chrono::milliseconds timeout) {
  // The wait is no call in progress: a Stop may end before it.
  const std::shared_ptr<RequesterCore> kept = shared_from_this();
  const TimePoint deadline = DeadlineAfter(timeout);
  if (absl::Status status = Enter("request", deadline); !status.ok()) {
    return status;
  }
  Begun begun;
  Future<SendResult> sent;
  {
    const CallGuard guard(*this);
    const auto let_in = Begin(request, timeout, deadline);
    if (!let_in.ok()) return let_in.status();
    begun = *let_in;
    sent = producer_->SendAsync(request);
  }
  // Who waits here needs neither the dispatcher, on whose thread it may be, nor
  // the thread of this object, which a driver may hold up.
  const Future<Message> answer = FutureAccess::Of<Message>(begun.request);
  const auto left = [&] {
    return std::chrono::ceil<std::chrono::milliseconds>(deadline -
                                                        Clock::now());
  };
  const auto outcome = sent.AwaitFor(left());
  if (sent.Ready() && !outcome.ok()) Fail(begun.id, outcome.status());
  (void)answer.AwaitFor(left());
  if (!answer.Ready()) Fail(begun.id, begun.request->TimedOut());
  return answer.Await();
}

inline Future<Message> RequesterCore::RequestAsync(
    Message request, std::chrono::milliseconds timeout) {
  const TimePoint deadline = DeadlineAfter(timeout);
  if (absl::Status status = Enter("request", deadline); !status.ok()) {
    return FutureAccess::Done<Message>(std::move(status));
  }
  const CallGuard guard(*this);
  const auto begun = Begin(request, timeout, deadline);
  if (!begun.ok()) return FutureAccess::Done<Message>(begun.status());
  Future<Message> answer = FutureAccess::Of<Message>(begun->request);
  producer_->SendAsync(request).OnDone(
      [core = shared_from_this(),
       id = begun->id](const absl::StatusOr<SendResult>& sent) {
        if (!sent.ok()) core->Fail(id, sent.status());
      });
  return answer;
}

inline PendingRequest* RequesterCore::Take(uint64_t id) {
  const MutexLock lock(mutex_);
  const auto found = pending_.find(id);
  if (found == pending_.end()) return nullptr;
  PendingRequest* const request = found->second;
  pending_.erase(found);
  deadlines_.erase({request->deadline(), id});
  return request;
}

inline void RequesterCore::FailAll() {
  absl::flat_hash_map<uint64_t, PendingRequest*> all;
  {
    const MutexLock lock(mutex_);
    all.swap(pending_);
    deadlines_.clear();
  }
  for (const auto& [id, request] : all) {
    request->Finish(request->Stopped(), connection_->dispatcher());
  }
}

inline void RequesterCore::Run() {
  constexpr std::chrono::milliseconds kFailureWait{20};
  while (!ending_.load()) {
    const TimePoint until = EndLate();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        until - Clock::now());
    Answers answers;
    const absl::Status status = consumer_->Receive(
        kMaxReceive, std::max(left, std::chrono::milliseconds(1)), answers,
        &look_again_);
    Accept(answers);
    if (status.ok() || OmsCode(status) == Code::kDamaged) continue;
    // The broker is away. Requests end at their deadlines meanwhile.
    std::this_thread::sleep_for(kFailureWait);
  }
}

inline TimePoint RequesterCore::EndLate() {
  std::vector<PendingRequest*> late;
  const TimePoint now = Clock::now();
  TimePoint until;
  {
    const MutexLock lock(mutex_);
    look_again_.store(false);
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      const auto found = pending_.find(deadlines_.begin()->second);
      late.push_back(found->second);
      pending_.erase(found);
      deadlines_.erase(deadlines_.begin());
    }
    // After requests come more of them: who is up early needs no waking.
    const bool busy = std::exchange(last_id_seen_, last_id_) != last_id_;
    until = !deadlines_.empty() ? deadlines_.begin()->first
            : busy              ? SaturatingAdd(now, request_timeout())
                                : now + kIdle;
    looks_at_ = until;
    // Close sets ending_ before it asks for another look.
    if (ending_.load()) until = now;
  }
  for (PendingRequest* const request : late) {
    request->Finish(request->TimedOut(), connection_->dispatcher());
  }
  return until;
}

inline void RequesterCore::Accept(Answers& answers) {
  if (answers.count() == 0) return;
  // What comes to nothing is done with as well.
  (void)consumer_->SettleAsync(answers.settlements,
                               std::vector<absl::Status>(answers.count()));
  for (Message& answer : answers.messages) {
    if (PendingRequest* const request = Take(IdOf(answer.correlation_id()))) {
      request->Finish(std::move(answer), connection_->dispatcher());
    } else {
      dropped_.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

inline uint64_t RequesterCore::IdOf(std::string_view correlation_id) const {
  uint64_t id = 0;
  if (!correlation_id.starts_with(id_prefix_)) return 0;
  correlation_id.remove_prefix(id_prefix_.size());
  return ParseInteger(correlation_id, id) ? id : 0;
}

// Deletes the reply queues of requesters that are gone: those which nobody
// holds. Returns: their names.
inline absl::StatusOr<std::vector<std::string>> RemoveAbandonedReplyQueues(
    const std::shared_ptr<ConnectionCore>& connection) {
  constexpr std::string_view kOperation = "remove abandoned reply queues";
  const TimePoint deadline = DeadlineAfter(connection->operation_timeout());
  auto* const admin =
      driver::QueryInterface<driver::Admin>(connection->connection());
  if (admin == nullptr) {
    return MakeStatus(Code::kUnsupported, kOperation, ": driver ",
                      std::string_view(connection->url().driver()),
                      " cannot manage queues; expected the broker's own tools "
                      "(OMS-REQ-008)");
  }
  const auto queues = admin->ListQueues("", deadline);
  if (!queues.ok()) return queues.status();
  std::vector<std::string> removed;
  for (const QueueInfo& info : *queues) {
    const std::string& queue = info.name;
    if (!queue.starts_with(kReplyQueuePrefix)) continue;
    const auto facts = connection->FactsOf(queue, deadline);
    // Its requester has stopped meanwhile.
    if (OmsCode(facts.status()) == Code::kQueueNotFound) continue;
    if (!facts.ok()) return facts.status();
    if (!(*facts)->capabilities.Has(Capability::kExclusive)) {
      return MakeStatus(Code::kUnsupported, kOperation, " \"",
                        std::string_view(queue),
                        "\": nobody can tell whether its requester lives, as "
                        "the queue does not support exclusive; expected the "
                        "broker's own tools (OMS-REQ-008)");
    }
    ConsumerCore owner(connection,
                       OwnerOfReplyQueue(*connection, /*exclusive=*/true),
                       /*autostart=*/true, connection->operation_timeout());
    absl::Status status = owner.Bind(queue, {});
    if (status.ok()) {
      // It is ours now, and deleted before anybody else can have it.
      status = admin->DeleteQueue(queue, deadline);
      connection->ForgetFactsOf(queue);
      if (status.ok()) removed.push_back(queue);
    }
    owner.Stop(deadline);
    // The living keep theirs; others may have been quicker.
    if (!status.ok() && OmsCode(status) != Code::kConsumerExists &&
        OmsCode(status) != Code::kQueueNotFound) {
      return status;
    }
  }
  return removed;
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_REQUESTER_CORE_H_
