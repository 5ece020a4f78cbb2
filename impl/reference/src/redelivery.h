// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a message that was handed out and not settled: how long it
// waits, how often it is tried, and who writes that down.

#ifndef OPENMESSAGING_REFERENCE_REDELIVERY_H_
#define OPENMESSAGING_REFERENCE_REDELIVERY_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "env/environment.h"
#include "env/shared.h"
#include "openmessaging/queue_info.h"

namespace openmessaging::reference {

// What a queue's options say of redelivery.
struct RedeliveryPolicy {
  int64_t delay_ns = 1'000'000'000;
  int64_t max_delay_ns = 60'000'000'000;
  uint32_t max_deliveries = 0;  // 0: for ever.
  bool dead_letters = false;    // There is a queue for them.

  static RedeliveryPolicy Of(const QueueOptions& options) {
    // Longer than a clock counts is as long as it counts.
    const auto nanoseconds = [](std::chrono::milliseconds time) {
      return std::min(time, std::chrono::milliseconds(INT64_MAX / 2'000'000))
                 .count() *
             1'000'000;
    };
    return {nanoseconds(options.redelivery_delay),
            nanoseconds(options.max_redelivery_delay),
            static_cast<uint32_t>(options.max_deliveries),
            !options.dead_letter_queue.empty()};
  }

  // Returns: how long a message waits after its nth delivery.
  int64_t BackoffNs(uint32_t attempts) const {
    int64_t wait_ns = delay_ns;
    for (uint32_t n = 1; n < attempts && wait_ns < max_delay_ns; ++n) {
      if (wait_ns == 0) return 0;
      wait_ns = wait_ns > max_delay_ns / 2 ? max_delay_ns : wait_ns * 2;
    }
    return std::min(wait_ns, max_delay_ns);
  }
};

// One message that is about to be handed out again, and which time that is.
struct Attempt {
  uint64_t offset = 0;
  uint32_t attempts = 0;
};

enum class DeadReason : uint8_t { kRejected, kMaxDeliveries, kExpired };

// One message that moves to the dead-letter queue.
struct DeadLetter {
  uint64_t offset = 0;
  uint64_t position = 0;
  uint32_t attempts = 0;
  DeadReason reason = DeadReason::kRejected;
  // As in LogAttempts.
  uint64_t floor = 0;
  // The message's word, and what it says until the move settles it.
  const Shared<uint64_t>* word = nullptr;
  uint64_t expected = 0;
  // Of one that expired: its place in the index, and what that says until some
  // group moves it.
  const Shared<uint64_t>* place = nullptr;
  uint64_t unburied = 0;
};

// Writes down, for one group in one partition, what must outlive the processes
// that do it. Called with the cursor's lock held.
class RedeliveryLog {
 public:
  // Makes the cursor's table of exceptions.
  virtual absl::Status EnsureExceptions(TimePoint deadline) = 0;

  // Appends the state of the cursor, exceptions included.
  virtual absl::Status LogCursor(TimePoint deadline) = 0;

  // Appends the counts; returns once no kill can take them back, and what a
  // dead process began to append is finished: a message that it moved must not
  // be handed out again. `floor`: everything below was settled, or is an
  // exception in an image that the log has. Errors: as an append's.
  virtual absl::Status LogAttempts(uint64_t floor,
                                   std::span<const Attempt> attempts,
                                   TimePoint deadline) = 0;

  // Returns: whether the time of a message that expires has come; false where
  // its record is damaged, which is for its receiver to learn.
  virtual bool IsExpired(uint64_t offset, uint64_t position) = 0;

  // Appends the one record that holds the message for the dead-letter queue and
  // settles it here. Errors: 1604 the word is not as expected any more, or the
  // message is buried, or it expired and is not for this group; 1609 the message
  // is damaged or gone; 1404 the dead-letter queue is gone; as an append's.
  // Nothing was done then.
  virtual absl::Status MoveDead(const DeadLetter& letter,
                                TimePoint deadline) = 0;

  // Appends that the cursor goes on at `offset`, and moves it there: both or
  // neither, whoever dies. `number`: of the move among the cursor's images.
  // Returns: the position that must be durable. Errors: as an append's; 1404
  // the group is gone.
  virtual absl::StatusOr<uint64_t> LogSeek(uint64_t offset, uint64_t number,
                                           TimePoint deadline) = 0;

  // Returns once what a dead process began to append is finished. Errors: 1410;
  // 1501 it cannot be finished now.
  virtual absl::Status FinishDead(TimePoint deadline) = 0;

 protected:
  ~RedeliveryLog() = default;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_REDELIVERY_H_
