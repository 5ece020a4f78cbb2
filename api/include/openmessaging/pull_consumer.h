// SPDX-License-Identifier: Apache-2.0
//
// PullConsumer receives messages when it is asked to. What it hands out is in
// delivery.h. The promises are in spec/consumer.md.

#ifndef OPENMESSAGING_PULL_CONSUMER_H_
#define OPENMESSAGING_PULL_CONSUMER_H_

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/bind_options.h"
#include "openmessaging/delivery.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/settler.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Fixed for the life of a consumer. Every default is safe to ship.
// Implements: OMS-MAP-009, 013.
struct PullConsumerOptions {
  // Members of one group share its messages; each group gets all of them.
  std::string group{"default"};

  // How long a delivery may stay unsettled before somebody else gets it, where
  // the broker leases. Not set: the attribute consumer.lease, else 30 s.
  std::optional<std::chrono::milliseconds> lease{};

  // Where a group that does not exist yet begins.
  StartPosition start = StartPosition::kEarliest;

  // The group is this consumer's own and ends with it: every one gets all.
  bool broadcast = false;

  // No second consumer of the group may bind the queue.
  bool exclusive = false;

  // A key's next message waits until its previous one is settled, whichever
  // member of the group has that; other keys go on. All members, or none.
  bool ordered = false;

  // Start with the first call; otherwise calls answer 1602 before Start.
  bool autostart = true;

  // Longest time to bind or to settle. Not set: operation.timeout, else 3 s.
  std::optional<std::chrono::milliseconds> operation_timeout{};
};

// Receives messages of the queues that it binds, and settles them (settler.h).
// Obtain one from MessagingAccessPoint::CreatePullConsumer().
//
// Threads: every method may be called from any thread at any time. Threads that
// receive at once take turns, in the order in which they came.
// Lifetime: a movable handle; it keeps its connection alive. One that was moved
// from may only be assigned to or destroyed. The destructor stops, but cannot
// report; call Stop() to learn what was left undone.
class PullConsumer : public Settler {
 public:
  PullConsumer(PullConsumer&&) = default;
  PullConsumer& operator=(PullConsumer&& other) noexcept;
  ~PullConsumer() { End(); }

  // Begins to receive from `queue` as well. Again, with the same options:
  // nothing happens, and it is OK. A Receive in progress goes on and sees the
  // queue.
  //
  // Blocks: up to PullConsumerOptions::operation_timeout.
  // Errors:
  //   kInvalidArgument     1418: not a name of a queue; the filter is no
  //                        condition (says at which column)
  //   kNotFound            1404: the queue does not exist
  //   kAlreadyExists       1408: bound exclusively by another consumer, or by
  //                        one of the group with another filter
  //   kUnimplemented       1600: it cannot be broadcast, exclusive, ordered,
  //                        filtered, or begin where `start` says
  //   kFailedPrecondition  1602: the group's members are ordered and this one
  //                        is not, or the other way round
  //   kDeadlineExceeded    1410: no answer in time
  //   kFailedPrecondition  1601, 1602: stopped, not started; bound already with
  //                        another filter
  // Implements: OMS-CONS-001, 013, 024 to 027, 031 to 033.
  [[nodiscard]] absl::Status Bind(std::string_view queue,
                                  const BindOptions& options = {}) {
    return core_->Bind(queue, options);
  }

  // Ends it; what is unsettled of that queue goes back to the group. OK where
  // it was not bound.
  // Blocks, Errors: as Bind().
  // Implements: OMS-CONS-007.
  [[nodiscard]] absl::Status Unbind(std::string_view queue) {
    return core_->Unbind(queue);
  }

  // Returns: the queues that are bound, in the order of their binding.
  std::vector<std::string> bound_queues() const {
    return core_->bound_queues();
  }

  // Receives one message.
  //
  // Blocks: up to `timeout`; with zero it only looks.
  // Returns: nothing where nothing came in time, which is not an error.
  // Errors:
  //   kFailedPrecondition  1601: the consumer is or was stopped meanwhile
  //   kFailedPrecondition  1602: no queue is bound, or not started
  //   kDataLoss            1609: a damaged message was skipped
  //   kUnavailable         1503: the broker is gone; try again
  // Implements: OMS-CONS-002 to 005, 010, 018, 030, 034, 035, 037.
  [[nodiscard]] absl::StatusOr<std::optional<Delivery>> Receive(
      std::chrono::milliseconds timeout);

  // As above. Once `stop` is requested it waits no longer: it returns what there
  // is, or nothing, and no message is lost. So do the others with a token.
  // Implements: OMS-CONS-003.
  [[nodiscard]] absl::StatusOr<std::optional<Delivery>> Receive(
      std::chrono::milliseconds timeout, const std::stop_token& stop);

  // Receives up to `max` messages: waits for the first, for none of the others.
  // Blocks, Errors: as Receive(); also 1418: `max` is zero.
  // Implements: OMS-CONS-006.
  [[nodiscard]] absl::StatusOr<std::vector<Delivery>> ReceiveBatch(
      size_t max, std::chrono::milliseconds timeout);
  [[nodiscard]] absl::StatusOr<std::vector<Delivery>> ReceiveBatch(
      size_t max, std::chrono::milliseconds timeout,
      const std::stop_token& stop);

  // As above, into deliveries of the caller's, which are emptied first. Used
  // again and again, the same ones make it work without an allocation.
  // Returns: how many were filled, from the front.
  // Implements: OMS-CONS-006, 017.
  [[nodiscard]] absl::StatusOr<size_t> ReceiveBatch(
      std::span<Delivery> into, std::chrono::milliseconds timeout);
  [[nodiscard]] absl::StatusOr<size_t> ReceiveBatch(
      std::span<Delivery> into, std::chrono::milliseconds timeout,
      const std::stop_token& stop);

  // Lets `interceptor` see what is received after this returned, behind those
  // that were added before.
  // Errors: 1418 null, or added already.
  // Implements: OMS-INTC-001, 002.
  [[nodiscard]] absl::Status AddInterceptor(
      std::shared_ptr<ConsumerInterceptor> interceptor) {
    return core_->watch().interceptors().Add(std::move(interceptor));
  }

  // Takes it out. No call of it begins after this returned, not even for the
  // settlement of a message that it has seen.
  // Blocks: while a call of it is in progress, unless called in an interceptor.
  // Returns: false where it was not added.
  // Implements: OMS-INTC-003.
  bool RemoveInterceptor(const ConsumerInterceptor* interceptor) {
    return core_->watch().interceptors().Remove(interceptor);
  }

  // Starts. Idempotent, and only needed where autostart is off, or to learn
  // early whether there is a broker.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1601 after Stop; 1401, 1403, 1410, 1503, 1600: try again.
  // Implements: OMS-CONS-016.
  [[nodiscard]] absl::Status Start();

  // Refuses new calls with 1601, wakes a Receive that waits, which answers 1601
  // too, and gives what is unsettled back. Idempotent.
  // Every settlement has its outcome then; waits for the callbacks of futures
  // as well, unless called in one.
  // Returns: how many calls were still in progress at `deadline`; the last of
  // them releases the driver.
  // Implements: OMS-CONS-010, 011.
  size_t Stop(std::chrono::steady_clock::time_point deadline) {
    return core_->StopAll(deadline);
  }

  LifecycleState state() const { return core_->state(); }

 private:
  friend class MessagingAccessPoint;

  using GiveUp = std::atomic<bool>;

  // Takes what the driver delivers into the caller's deliveries.
  class SpanSink;
  class VectorSink;

  explicit PullConsumer(std::shared_ptr<internal::ConsumerCore> core)
      : Settler(std::move(core)) {}

  // Receives into `sink`, past the interceptors.
  template <typename Sink>
  absl::Status ReceiveInto(size_t max, std::chrono::milliseconds timeout,
                           Sink& sink, const GiveUp* give_up) {
    return core_->watch().any() ? ReceiveWatched(max, timeout, sink, give_up)
                                : core_->Receive(max, timeout, sink, give_up);
  }
  template <typename Sink>
  absl::Status ReceiveWatched(size_t max, std::chrono::milliseconds timeout,
                              Sink& sink, const GiveUp* give_up);
  // Calls `receive(give_up)`, which ends soon after `stop` is requested.
  template <typename Receive>
  auto ReceiveUntil(const std::stop_token& stop, Receive receive) {
    GiveUp give_up{false};
    const std::stop_callback wake(stop, [&] {
      give_up = true;
      core_->WakeReceiver();
    });
    return receive(&give_up);
  }
  absl::StatusOr<std::optional<Delivery>> ReceiveOne(
      std::chrono::milliseconds timeout, const GiveUp* give_up);
  absl::StatusOr<std::vector<Delivery>> ReceiveSome(
      size_t max, std::chrono::milliseconds timeout, const GiveUp* give_up);
  absl::StatusOr<size_t> ReceiveSome(std::span<Delivery> into,
                                     std::chrono::milliseconds timeout,
                                     const GiveUp* give_up);

  void End() {
    if (!core_) return;
    core_->StopAll(internal::DeadlineAfter(core_->operation_timeout()));
    core_.reset();
  }
};

class PullConsumer::SpanSink final : public driver::DeliverySink {
 public:
  SpanSink(std::span<Delivery> into,
           const std::shared_ptr<internal::ConsumerCore>& core)
      : into_(into), core_(core) {}

  void Deliver(Message message, const Receipt& receipt) override {
    assert(count_ < into_.size() && "a driver delivered more than was asked");
    if (count_ == into_.size()) return;
    internal::DeliveryAccess::Fill(into_[count_++], std::move(message), receipt,
                                   core_);
  }
  size_t count() const { return count_; }
  std::span<Delivery> filled() const { return into_.first(count_); }
  void Keep(size_t count) { count_ = count; }

 private:
  const std::span<Delivery> into_;
  const std::shared_ptr<internal::ConsumerCore>& core_;
  size_t count_ = 0;
};

class PullConsumer::VectorSink final : public driver::DeliverySink {
 public:
  explicit VectorSink(const std::shared_ptr<internal::ConsumerCore>& core)
      : core_(core) {}

  void Deliver(Message message, const Receipt& receipt) override {
    internal::DeliveryAccess::Fill(deliveries_.emplace_back(),
                                   std::move(message), receipt, core_);
  }
  size_t count() const { return deliveries_.size(); }
  std::vector<Delivery>& deliveries() { return deliveries_; }
  std::span<Delivery> filled() { return deliveries_; }
  void Keep(size_t count) { deliveries_.resize(count); }

 private:
  const std::shared_ptr<internal::ConsumerCore>& core_;
  std::vector<Delivery> deliveries_;
};

template <typename Sink>
absl::Status PullConsumer::ReceiveWatched(size_t max,
                                          std::chrono::milliseconds timeout,
                                          Sink& sink, const GiveUp* give_up) {
  absl::Status failure = core_->watch().TakeDeferred();
  if (!failure.ok()) return failure;
  internal::ReceiveReport report(core_->watch().telemetry());
  absl::Status status = core_->Receive(max, timeout, sink, give_up);
  if (!status.ok() || sink.count() == 0) {
    report.End(status);
    return status;
  }
  const internal::ConsumerWatchers watchers = core_->watch().watchers();
  size_t admitted = 0;
  for (Delivery& delivery : sink.filled()) {
    status = watchers.Admit(delivery.mutable_message(), report);
    if (!status.ok()) {
      // It comes back, or goes to the dead letters, as its queue's rules say.
      (void)delivery.NackAsync();
      internal::DeliveryAccess::Clear(delivery, core_);
      if (failure.ok()) failure = std::move(status);
      continue;
    }
    Delivery& place = sink.filled()[admitted++];
    if (&place != &delivery) std::swap(place, delivery);
  }
  sink.Keep(admitted);
  report.End(absl::OkStatus());
  if (failure.ok() || admitted == 0) return failure;
  core_->watch().Defer(std::move(failure));
  return absl::OkStatus();
}

inline PullConsumer& PullConsumer::operator=(PullConsumer&& other) noexcept {
  if (this != &other) {
    End();
    core_ = std::move(other.core_);
  }
  return *this;
}

inline absl::StatusOr<std::optional<Delivery>> PullConsumer::Receive(
    std::chrono::milliseconds timeout) {
  return ReceiveOne(timeout, nullptr);
}
inline absl::StatusOr<std::optional<Delivery>> PullConsumer::Receive(
    std::chrono::milliseconds timeout, const std::stop_token& stop) {
  return ReceiveUntil(stop, [&](const GiveUp* give_up) {
    return ReceiveOne(timeout, give_up);
  });
}

inline absl::StatusOr<std::vector<Delivery>> PullConsumer::ReceiveBatch(
    size_t max, std::chrono::milliseconds timeout) {
  return ReceiveSome(max, timeout, nullptr);
}
inline absl::StatusOr<std::vector<Delivery>> PullConsumer::ReceiveBatch(
    size_t max, std::chrono::milliseconds timeout,
    const std::stop_token& stop) {
  return ReceiveUntil(stop, [&](const GiveUp* give_up) {
    return ReceiveSome(max, timeout, give_up);
  });
}

inline absl::StatusOr<size_t> PullConsumer::ReceiveBatch(
    std::span<Delivery> into, std::chrono::milliseconds timeout) {
  return ReceiveSome(into, timeout, nullptr);
}
inline absl::StatusOr<size_t> PullConsumer::ReceiveBatch(
    std::span<Delivery> into, std::chrono::milliseconds timeout,
    const std::stop_token& stop) {
  return ReceiveUntil(stop, [&](const GiveUp* give_up) {
    return ReceiveSome(into, timeout, give_up);
  });
}

inline absl::StatusOr<std::optional<Delivery>> PullConsumer::ReceiveOne(
    std::chrono::milliseconds timeout, const GiveUp* give_up) {
  absl::StatusOr<std::optional<Delivery>> result{
      std::optional<Delivery>(std::in_place)};
  SpanSink sink({&**result, 1}, core_);
  absl::Status status = ReceiveInto(1, timeout, sink, give_up);
  if (!status.ok()) return status;
  if (sink.count() == 0) result->reset();
  return result;
}

inline absl::StatusOr<std::vector<Delivery>> PullConsumer::ReceiveSome(
    size_t max, std::chrono::milliseconds timeout, const GiveUp* give_up) {
  VectorSink sink(core_);
  absl::Status status =
      max != 0 ? ReceiveInto(max, timeout, sink, give_up)
               : MakeStatus(Code::kBadParameter,
                            "receive: a batch of 0 messages was asked for; "
                            "expected 1 or more (OMS-CONS-006)");
  if (!status.ok()) return status;
  return std::move(sink.deliveries());
}

inline absl::StatusOr<size_t> PullConsumer::ReceiveSome(
    std::span<Delivery> into, std::chrono::milliseconds timeout,
    const GiveUp* give_up) {
  if (into.empty()) {
    return MakeStatus(Code::kBadParameter,
                      "receive: there is room for 0 messages; expected 1 or "
                      "more (OMS-CONS-006)");
  }
  // Before the call begins: what they drop may run the application's code or
  // close another connection, which must not happen inside the driver.
  for (Delivery& delivery : into) {
    internal::DeliveryAccess::Clear(delivery, core_);
  }
  SpanSink sink(into, core_);
  absl::Status status = ReceiveInto(into.size(), timeout, sink, give_up);
  if (!status.ok()) return status;
  return sink.count();
}

inline absl::Status PullConsumer::Start() {
  return core_->Start(internal::DeadlineAfter(core_->start_timeout()));
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PULL_CONSUMER_H_
