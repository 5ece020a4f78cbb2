// SPDX-License-Identifier: Apache-2.0
//
// What becomes of messages that a group could not do with: the driver sends
// them to the dead-letter queue itself, because what a broker moves does not
// say why, nor for which group.

#ifndef OPENMESSAGING_RABBITMQ_DEAD_LETTERS_H_
#define OPENMESSAGING_RABBITMQ_DEAD_LETTERS_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "catalog.h"
#include "link.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"
#include "producer.h"

namespace openmessaging::rabbitmq {

// Returns: `message`, which `group` received from the queue `from`, as it lies
// among the dead letters. `reason`: dead_letter.h has them.
Message MakeDeadLetter(const Message& message, const GroupQueue& from,
                       std::string_view group, std::string_view reason);

// Sends what a consumer moves: dead letters, and what is given back for later.
// On the link that publishes: one that the broker does not read must not stop
// acknowledgements.
//
// Threads: every method may be called from any.
class DeadLetterSender {
 public:
  // `id_prefix`: of the message ids; no producer has it.
  DeadLetterSender(std::shared_ptr<Link> link,
                   std::shared_ptr<const KeptQueues> kept,
                   std::string id_prefix, QueueType queue_type)
      : link_(std::move(link)),
        channel_(std::make_shared<PublishChannel>(
            link_, std::move(kept), std::move(id_prefix), queue_type)) {}

  // Connects where it is needed. Blocks. Errors: those of Link::Connect.
  absl::Status Open(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls `on_sent` once, with what became of it: inline, or on the thread of
  // its link.
  using OnSent = std::function<void(const absl::Status&)>;
  void Send(const Message& dead, OnSent on_sent);
  // The same for one that goes back to the broker's queue that it came from.
  void SendBack(const Message& message, const std::string& queue,
                std::chrono::milliseconds delay, OnSent on_sent)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Attach() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<Link> link_;
  const std::shared_ptr<PublishChannel> channel_;

  internal::Mutex mutex_;
  bool attached_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_DEAD_LETTERS_H_
