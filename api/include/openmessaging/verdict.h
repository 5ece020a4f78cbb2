// SPDX-License-Identifier: Apache-2.0
//
// Verdict is what a listener returns: how its message is settled. The listeners
// are in push_consumer.h.

#ifndef OPENMESSAGING_VERDICT_H_
#define OPENMESSAGING_VERDICT_H_

#include <chrono>

#include "openmessaging/driver/consumer.h"

namespace openmessaging {
inline namespace v0 {

// Made by Ack(), Nack(), Nack(delay) and Reject(), whose meaning is that of
// Delivery's methods.
//
// Threads: a value.
class Verdict {
 public:
  driver::Verb verb() const { return verb_; }
  std::chrono::milliseconds delay() const { return delay_; }

  friend bool operator==(const Verdict&, const Verdict&) = default;

 private:
  friend Verdict Ack();
  friend Verdict Nack();
  friend Verdict Nack(std::chrono::milliseconds delay);
  friend Verdict Reject();

  Verdict(driver::Verb verb, std::chrono::milliseconds delay)
      : verb_(verb), delay_(delay) {}

  driver::Verb verb_;
  std::chrono::milliseconds delay_;
};

// The message is done with.
[[nodiscard]] inline Verdict Ack() {
  return Verdict(driver::Verb::kAck, std::chrono::milliseconds(0));
}

// It is delivered again after the queue's own back-off, or `delay` from now; a
// negative delay counts as none.
[[nodiscard]] inline Verdict Nack() {
  return Verdict(driver::Verb::kNack, std::chrono::milliseconds(0));
}
[[nodiscard]] inline Verdict Nack(std::chrono::milliseconds delay) {
  return Verdict(driver::Verb::kNackDelay,
                 delay.count() < 0 ? std::chrono::milliseconds(0) : delay);
}

// It moves to the dead-letter queue.
[[nodiscard]] inline Verdict Reject() {
  return Verdict(driver::Verb::kReject, std::chrono::milliseconds(0));
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_VERDICT_H_
