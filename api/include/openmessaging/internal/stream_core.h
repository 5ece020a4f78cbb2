// SPDX-License-Identifier: Apache-2.0
//
// StreamCore is the portable half of a stream reader, behind its handle.

#ifndef OPENMESSAGING_INTERNAL_STREAM_CORE_H_
#define OPENMESSAGING_INTERNAL_STREAM_CORE_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/client_core.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/consumer_watch.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/turn.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"
#include "openmessaging/stream_position.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Finds the driver's streams of a queue.
// Errors: 1418 not a name; 1600 the queue cannot be read as a stream.
inline absl::StatusOr<driver::StreamSource*> StreamSourceOf(
    ConnectionCore& connection, std::string_view queue, TimePoint deadline) {
  const auto facts = connection.FactsOf(queue, deadline);
  if (!facts.ok()) return facts.status();
  auto* const source = driver::QueryInterface<driver::StreamSource>(
      connection.connection());
  if (source != nullptr && (*facts)->capabilities.Has(Capability::kStream)) {
    return source;
  }
  return MakeStatus(Code::kUnsupported, "read stream \"", queue,
                    "\": the queue does not support stream; expected a "
                    "consumer, or another broker (OMS-STRM-002)");
}

// Takes turns at the driver's reader, and keeps what was read ahead.
//
// Threads: every method from any thread.
// Invariants:
//   (1) Read and Seek of the driver run in turn_ only, as does all that
//       touches ahead_;
//   (2) position_ is the offset behind what was handed out last, or where the
//       last seek went.
class StreamCore final : public ClientCore {
 public:
  StreamCore(std::shared_ptr<ConnectionCore> connection,
             std::string_view queue, int32_t partition, StreamPosition start)
      : ClientCore("stream reader", /*autostart=*/true,
                   connection->operation_timeout()),
        connection_(std::move(connection)),
        queue_(queue),
        partition_(partition),
        start_(start),
        watch_(connection_->TelemetryFor(/*group=*/{})) {}

  const std::string& queue() const { return queue_; }
  int32_t partition() const { return partition_; }
  int64_t position() const {
    return position_.load(std::memory_order_acquire);
  }

  absl::StatusOr<StreamRange> Range();
  absl::Status Seek(StreamPosition position);
  // Reads up to `max` messages, from what was read ahead or else from the
  // driver, where it asks for `at_least_asked`.
  // None once `*give_up` and a WakeReader() after it.
  absl::StatusOr<std::vector<Message>> Read(
      size_t max, size_t at_least_asked, std::chrono::milliseconds timeout,
      const std::atomic<bool>* give_up = nullptr) {
    return watch_.any() ? ReadWatched(max, at_least_asked, timeout, give_up)
                        : ReadPlain(max, at_least_asked, timeout, give_up);
  }

  void WakeReader() {
    turn_.Wake();
    if (state() != LifecycleState::kStarted || !Enter("wake", kNoWait).ok()) {
      return;
    }
    const CallGuard guard(*this);
    reader_->Interrupt();
  }

  ConsumerWatch& watch() { return watch_; }

 private:
  class Sink final : public driver::DeliverySink {
   public:
    explicit Sink(std::deque<Message>& into) : into_(into) {}
    void Deliver(Message message, const Receipt& /*receipt*/) override {
      into_.push_back(std::move(message));
    }

   private:
    std::deque<Message>& into_;
  };
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
  void Interrupt() override { reader_->Interrupt(); }
  void Close(TimePoint /*deadline*/) override { reader_.reset(); }

  absl::StatusOr<std::vector<Message>> ReadPlain(
      size_t max, size_t at_least_asked, std::chrono::milliseconds timeout,
      const std::atomic<bool>* give_up);
  absl::StatusOr<std::vector<Message>> ReadWatched(
      size_t max, size_t at_least_asked, std::chrono::milliseconds timeout,
      const std::atomic<bool>* give_up);
  absl::Status CheckPartition(TimePoint deadline);
  // Returns: the offset of `position`, within the policy for one out of range.
  absl::StatusOr<int64_t> Resolve(StreamPosition position, TimePoint deadline);
  void HandOut(size_t max, std::vector<Message>& messages);

  // Constant after construction.
  const std::shared_ptr<ConnectionCore> connection_;
  const std::string queue_;
  const int32_t partition_;
  const StreamPosition start_;

  // Written by Open before the state says started, and by Close after the last
  // call has left.
  driver::StreamSource* source_ = nullptr;
  std::unique_ptr<driver::StreamReader> reader_;

  Turn turn_;
  std::deque<Message> ahead_;
  absl::Status deferred_;
  std::atomic<int64_t> position_{0};

  ConsumerWatch watch_;
};

inline absl::Status StreamCore::CheckPartition(TimePoint deadline) {
  const auto partitions = source_->PartitionsOf(queue_, deadline);
  if (!partitions.ok()) return partitions.status();
  if (partition_ >= 0 && partition_ < *partitions) return absl::OkStatus();
  return MakeStatus(Code::kBadParameter, "read stream \"", queue_,
                    "\": partition is ", partition_, "; expected 0 to ",
                    *partitions - 1, " (OMS-STRM-001)");
}

inline absl::Status StreamCore::Open(TimePoint deadline) {
  const auto source = StreamSourceOf(*connection_, queue_, deadline);
  if (!source.ok()) return source.status();
  source_ = *source;
  if (absl::Status status = CheckPartition(deadline); !status.ok()) {
    return status;
  }
  const auto offset = Resolve(start_, deadline);
  if (!offset.ok()) return offset.status();
  auto reader = source_->Open(queue_, partition_, *offset, deadline);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  position_.store(*offset, std::memory_order_release);
  return absl::OkStatus();
}

inline absl::StatusOr<int64_t> StreamCore::Resolve(StreamPosition position,
                                                   TimePoint deadline) {
  using Kind = StreamPosition::Kind;
  if (position.value() < 0) {
    return MakeStatus(Code::kBadParameter, "read stream \"", queue_, "\": ",
                      position.kind() == Kind::kTime ? "time" : "offset",
                      " is ", position.value(),
                      "; expected 0 or more (OMS-STRM-003)");
  }
  if (position.kind() == Kind::kTime) {
    return source_->OffsetAt(queue_, partition_,
                             std::chrono::milliseconds(position.value()),
                             deadline);
  }
  const auto range = source_->RangeOf(queue_, partition_, deadline);
  if (!range.ok()) return range.status();
  if (position.kind() == Kind::kEarliest) return range->first;
  if (position.kind() == Kind::kLatest) return range->end;
  return std::max(position.value(), range->first);
}

inline absl::StatusOr<StreamRange> StreamCore::Range() {
  const TimePoint deadline = DeadlineAfter(connection_->operation_timeout());
  if (absl::Status status = Enter("stream range", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto range = source_->RangeOf(queue_, partition_, deadline);
  if (!range.ok()) return range.status();
  return StreamRange{range->first, range->end};
}

inline absl::Status StreamCore::Seek(StreamPosition position) {
  const TimePoint deadline = DeadlineAfter(connection_->operation_timeout());
  if (absl::Status status = Enter("seek", deadline); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const auto offset = Resolve(position, deadline);
  if (!offset.ok()) return offset.status();
  if (!turn_.TakeFirst(deadline, [this] { reader_->Interrupt(); })) {
    return MakeStatus(Code::kTimeout, "seek \"", queue_,
                      "\": another call of this reader did not end in time; "
                      "expected a free reader (operation.timeout)");
  }
  std::deque<Message> dropped;  // Ends after the turn.
  const TurnGuard turn(turn_);
  if (IsStopping()) return ClosedStatus("seek");
  absl::Status status = reader_->Seek(*offset, deadline);
  if (!status.ok()) return status;
  dropped.swap(ahead_);
  deferred_ = absl::OkStatus();
  position_.store(*offset, std::memory_order_release);
  return status;
}

inline absl::StatusOr<std::vector<Message>> StreamCore::ReadWatched(
    size_t max, size_t at_least_asked, std::chrono::milliseconds timeout,
    const std::atomic<bool>* give_up) {
  absl::Status failure = watch_.TakeDeferred();
  if (!failure.ok()) return failure;
  ReceiveReport report(watch_.telemetry());
  auto read = ReadPlain(max, at_least_asked, timeout, give_up);
  if (!read.ok()) {
    report.End(read.status());
    return read;
  }
  const ConsumerWatchers watchers = watch_.watchers();
  std::vector<Message> admitted;
  for (Message& message : *read) {
    absl::Status status = watchers.Admit(message, report);
    if (status.ok()) {
      admitted.push_back(std::move(message));
    } else if (failure.ok()) {
      failure = std::move(status);
    }
  }
  report.End(absl::OkStatus());
  if (failure.ok()) return admitted;
  if (admitted.empty()) return failure;
  watch_.Defer(std::move(failure));
  return admitted;
}

inline absl::StatusOr<std::vector<Message>> StreamCore::ReadPlain(
    size_t max, size_t at_least_asked, std::chrono::milliseconds timeout,
    const std::atomic<bool>* give_up) {
  if (max == 0) {
    return MakeStatus(Code::kBadParameter, "read stream \"", queue_,
                      "\": max is 0; expected 1 or more (OMS-STRM-004)");
  }
  if (absl::Status status = Enter("read stream", kNoWait); !status.ok()) {
    return status;
  }
  const CallGuard guard(*this);
  const TimePoint deadline = DeadlineAfter(timeout);
  const auto leaves = [&] { return give_up != nullptr && give_up->load(); };
  std::vector<Message> messages;
  while (turn_.Take(deadline, give_up)) {
    {
      const TurnGuard turn(turn_);
      if (IsStopping()) return ClosedStatus("read stream");
      HandOut(max, messages);
      if (!messages.empty()) return messages;
      if (!deferred_.ok()) return std::exchange(deferred_, absl::OkStatus());
      Sink sink(ahead_);
      absl::Status status =
          reader_->Read(std::max(max, at_least_asked),
                        leaves() ? kNoWait : deadline, sink);
      if (IsStopping()) return ClosedStatus("read stream");
      HandOut(max, messages);
      if (!messages.empty()) {
        deferred_ = std::move(status);
        return messages;
      }
      if (!status.ok() && OmsCode(status) != Code::kCancelled) return status;
    }
    // Interrupted, by a seek or before this call: others go first.
    if (HasPassed(deadline) || leaves()) break;
  }
  if (IsStopping()) return ClosedStatus("read stream");
  return messages;
}

inline void StreamCore::HandOut(size_t max, std::vector<Message>& messages) {
  while (messages.size() < max && !ahead_.empty()) {
    messages.push_back(std::move(ahead_.front()));
    ahead_.pop_front();
  }
  if (messages.empty()) return;
  position_.store(messages.back().offset() + 1, std::memory_order_release);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_STREAM_CORE_H_
