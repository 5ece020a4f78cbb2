// SPDX-License-Identifier: Apache-2.0
//
// What every driver method shares: deadlines, call contexts and completions.

#ifndef OPENMESSAGING_DRIVER_CALL_H_
#define OPENMESSAGING_DRIVER_CALL_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "openmessaging/receipt.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

// TimePoint::max() means: no limit.
using TimePoint = std::chrono::steady_clock::time_point;

// How one call is made.
struct CallContext {
  // Until when the outcome is wanted. Where the client library takes no
  // deadline for one call, complete late: whoever waits gives up by himself.
  TimePoint deadline = TimePoint::max();

  // True: a thread of the application waits for the completion. Then the driver
  // may block up to `deadline`, and completing inline saves a hop. False: it
  // must not wait; what it does not know at once it completes later, from a
  // thread of its own.
  bool caller_waits = true;

  // When the application sent, milliseconds since 1970 UTC; sends only.
  int64_t born_timestamp_ms = 0;
};

// Takes the results of one Send. Each message of the batch completes exactly
// once, in any order, on any thread, with no lock of the driver's held. Neither
// call blocks or runs code of the application's, so that a driver may complete
// on a thread that its client library cannot spare.
//
// Lifetime: good until the last message of its batch has completed, even when
// the application stopped waiting; the driver does not delete it.
class SendCompletion {
 public:
  virtual void Sent(size_t index, const SendResult& result) = 0;

  // `status` says not stored or unknown (WithDetail): only what was certainly
  // not stored is ever sent again.
  virtual void Failed(size_t index, absl::Status status) = 0;

 protected:
  ~SendCompletion() = default;
};

// Takes the results of one Settle, by the contract of SendCompletion.
class SettleCompletion {
 public:
  // The settlement is taken and reaches the broker in order if the connection
  // lasts. Only where settle-confirmed is declared has the broker carried it
  // out; elsewhere a connection that breaks soon may bring the message back.
  // `replacement`: the receipt that is good from now on, where a settlement
  // changes it (RocketMQ's Extend); empty otherwise.
  virtual void Settled(size_t index, const Receipt& replacement) = 0;
  virtual void Failed(size_t index, absl::Status status) = 0;

 protected:
  ~SettleCompletion() = default;
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_CALL_H_
