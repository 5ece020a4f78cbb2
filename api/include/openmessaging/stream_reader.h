// SPDX-License-Identifier: Apache-2.0
//
// StreamReader reads one partition of a queue by position: every message, in
// order, again and again. The promises are in spec/stream.md.

#ifndef OPENMESSAGING_STREAM_READER_H_
#define OPENMESSAGING_STREAM_READER_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/stream_core.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/message.h"
#include "openmessaging/stream_position.h"

namespace openmessaging {
inline namespace v0 {

// Reads one partition from a position on, which it keeps itself: no group is
// touched, nothing is settled. Obtain one from
// MessagingAccessPoint::CreateStreamReader().
//
// Threads: every method may be called from any thread at any time, but for the
// iteration, which is one thread's. Threads that read at once take turns.
// Lifetime: a movable handle; it keeps its connection alive, but must not move
// during an iteration. One that was moved from may only be assigned to or
// destroyed. Messages outlive it.
// Implements: OMS-STRM-003 to OMS-STRM-010.
class StreamReader {
 public:
  class Iterator;

  StreamReader(StreamReader&&) = default;
  StreamReader& operator=(StreamReader&& other) noexcept;
  ~StreamReader() { End(); }

  const std::string& queue() const { return core_->queue(); }
  int32_t partition() const { return core_->partition(); }

  // Returns: the offset of the message that comes next, if it is there.
  int64_t position() const { return core_->position(); }

  // Asks which offsets there are now.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1404, 1410, 1503, 1601.
  // Implements: OMS-STRM-006.
  [[nodiscard]] absl::StatusOr<StreamRange> range() { return core_->Range(); }

  // Reads up to `max` messages from the position on and moves it behind them:
  // waits for the first, for none of the others.
  //
  // Blocks: up to `timeout`; with zero it only looks.
  // Returns: none where nothing came in time, which is not an error.
  // Errors:
  //   kInvalidArgument     1418: `max` is zero
  //   kFailedPrecondition  1601: the reader is or was stopped meanwhile
  //   kDataLoss            1609: a damaged message was skipped
  //   kUnavailable         1503: the broker is gone; try again
  // Implements: OMS-STRM-004, 005, 007.
  [[nodiscard]] absl::StatusOr<std::vector<Message>> Read(
      size_t max, std::chrono::milliseconds timeout) {
    return core_->Read(max, max, timeout);
  }

  // As above. Once `stop` is requested it waits no longer and returns what there
  // is, or none; the position stays behind what was returned.
  [[nodiscard]] absl::StatusOr<std::vector<Message>> Read(
      size_t max, std::chrono::milliseconds timeout,
      const std::stop_token& stop) {
    std::atomic<bool> give_up{false};
    const std::stop_callback wake(stop, [&] {
      give_up = true;
      core_->WakeReader();
    });
    return core_->Read(max, max, timeout, &give_up);
  }

  // Goes on from `position`; a Read in progress too. One out of range: see
  // StreamPosition.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1418 a negative offset or time; 1404, 1410, 1503, 1601.
  // Implements: OMS-STRM-003.
  [[nodiscard]] absl::Status Seek(StreamPosition position) {
    return core_->Seek(position);
  }

  // Reads what there is: `for (const Message& message : reader)` ends where
  // nothing comes next for range_timeout(), or with an error; range_status()
  // tells. It may go on later with another loop.
  // Implements: OMS-STRM-008.
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }

  // How long an iteration waits for the next message; 0: ends at the end.
  void set_range_timeout(std::chrono::milliseconds timeout) {
    range_timeout_ = timeout;
  }
  std::chrono::milliseconds range_timeout() const { return range_timeout_; }
  const absl::Status& range_status() const { return range_status_; }

  // Lets `interceptor` see what is read after this returned, behind those
  // that were added before.
  // Errors: 1418 null, or added already.
  // Implements: OMS-INTC-001, 002.
  [[nodiscard]] absl::Status AddInterceptor(
      std::shared_ptr<ConsumerInterceptor> interceptor) {
    return core_->watch().interceptors().Add(std::move(interceptor));
  }

  // Takes it out. No call of it begins after this returned.
  // Blocks: while a call of it is in progress, unless called in an interceptor.
  // Returns: false where it was not added.
  // Implements: OMS-INTC-003.
  bool RemoveInterceptor(const ConsumerInterceptor* interceptor) {
    return core_->watch().interceptors().Remove(interceptor);
  }

  // Refuses new calls with 1601, wakes a Read that waits, which answers 1601
  // too. Idempotent.
  // Returns: how many calls were still in progress at `deadline`.
  size_t Stop(std::chrono::steady_clock::time_point deadline) {
    return core_->Stop(deadline);
  }

  LifecycleState state() const { return core_->state(); }

 private:
  friend class MessagingAccessPoint;

  // What an iteration asks the driver for at once.
  static constexpr size_t kReadAhead = 64;

  explicit StreamReader(std::shared_ptr<internal::StreamCore> core)
      : core_(std::move(core)) {}

  void End() {
    if (!core_) return;
    core_->Stop(internal::DeadlineAfter(core_->start_timeout()));
    core_.reset();
  }

  std::shared_ptr<internal::StreamCore> core_;
  std::chrono::milliseconds range_timeout_{0};
  absl::Status range_status_;
};

// An input iterator: one pass, one thread.
class StreamReader::Iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = Message;
  using difference_type = std::ptrdiff_t;

  explicit Iterator(StreamReader& reader) : reader_(&reader) { Next(); }
  Iterator(Iterator&&) = default;
  Iterator& operator=(Iterator&&) = default;

  const Message& operator*() const { return current_[0]; }
  const Message* operator->() const { return &current_[0]; }
  Iterator& operator++() {
    Next();
    return *this;
  }
  void operator++(int) { Next(); }
  friend bool operator==(const Iterator& iterator, std::default_sentinel_t) {
    return iterator.current_.empty();
  }

 private:
  void Next() {
    auto read = reader_->core_->Read(1, kReadAhead, reader_->range_timeout_);
    reader_->range_status_ = read.status();
    current_.clear();
    if (read.ok()) current_ = *std::move(read);
  }

  StreamReader* reader_;
  std::vector<Message> current_;
};

inline StreamReader::Iterator StreamReader::begin() { return Iterator(*this); }

inline StreamReader& StreamReader::operator=(StreamReader&& other) noexcept {
  if (this != &other) {
    End();
    core_ = std::move(other.core_);
    range_timeout_ = other.range_timeout_;
    range_status_ = std::move(other.range_status_);
  }
  return *this;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_STREAM_READER_H_
