// SPDX-License-Identifier: Apache-2.0
//
// The sending half of a driver.

#ifndef OPENMESSAGING_DRIVER_PRODUCER_H_
#define OPENMESSAGING_DRIVER_PRODUCER_H_

#include <span>
#include <string>

#include "absl/status/status.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

struct ProducerOptions {
  // The producer group whose living members are asked for the outcome of
  // undecided transactions; empty: none.
  std::string group{};
};

// Sends batches to one broker. Applications use openmessaging::Producer.
class Producer {
 public:
  virtual ~Producer() = default;

  // Sends `batch` in order and completes each message exactly once.
  //
  // Already checked: destination syntax, header, property and body sizes, that
  // the queue's capabilities cover what the messages ask for, not closed.
  // Do not retry or sleep beyond what the client library does by itself; report
  // a retriable status and the portable layer decides. Messages with the same
  // destination and key keep their order, across calls of one thread too; once
  // one of a batch is refused, those of its destination and key behind it are
  // refused too.
  // Threads: may be called concurrently. Hold no lock while completing.
  // Lifetime: `batch` ends with the call. A copied Message shares its bytes, so
  // that a client library which wants the body until the end can have it.
  // Implements: OMS-DRV-004.
  virtual void Send(std::span<const Message> batch, const CallContext& context,
                    SendCompletion& done) = 0;

  // Returns once every earlier Send has completed, or 1410 at `deadline`.
  virtual absl::Status Flush(TimePoint deadline) = 0;

  // Refuses further work, completes what is left (1601 where it cannot be
  // sent before `deadline`) and releases everything. Called once; no Send is in
  // progress.
  virtual absl::Status Close(TimePoint deadline) = 0;
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_PRODUCER_H_
