// SPDX-License-Identifier: Apache-2.0
//
// One send of the driver's own, and its outcome.

#ifndef OPENMESSAGING_KAFKA_WAITING_SEND_H_
#define OPENMESSAGING_KAFKA_WAITING_SEND_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "native.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {

// Blocks: up to `deadline`. Errors: those of the send; 1410.
inline absl::StatusOr<SendResult> SendAndWait(driver::Producer& producer,
                                              const Message& message,
                                              TimePoint deadline) {
  // It may complete when nobody waits any more.
  struct Waiting final : driver::SendCompletion {
    void Sent(size_t /*index*/, const SendResult& sent) override { End(sent); }
    void Failed(size_t /*index*/, absl::Status status) override {
      End(std::move(status));
    }
    void End(absl::StatusOr<SendResult> outcome) {
      std::shared_ptr<Waiting> gone;
      const internal::MutexLock lock(mutex);
      result = std::move(outcome);
      changed.NotifyAll();
      gone.swap(self);
    }
    internal::Mutex mutex;
    internal::Condition changed;
    std::optional<absl::StatusOr<SendResult>> result;
    std::shared_ptr<Waiting> self;  // Until it has completed.
  };
  const auto waiting = std::make_shared<Waiting>();
  waiting->self = waiting;
  producer.Send({&message, 1}, {.deadline = deadline, .caller_waits = true},
                *waiting);
  const internal::MutexLock lock(waiting->mutex);
  while (!waiting->result) {
    if (!waiting->changed.WaitUntil(waiting->mutex, deadline)) {
      return MakeStatus(Code::kTimeout, "send to \"", message.destination(),
                        "\": no answer in time");
    }
  }
  return *waiting->result;
}

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_WAITING_SEND_H_
