// SPDX-License-Identifier: Apache-2.0
//
// Inbox is what the threads of a consumer and its link share: messages that
// came, and what ends a wait for one.

#ifndef OPENMESSAGING_RABBITMQ_INBOX_H_
#define OPENMESSAGING_RABBITMQ_INBOX_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "link.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"

namespace openmessaging::rabbitmq {

class BoundQueue;

struct Inbox {
  // A message that came and was not asked for yet.
  struct Ready {
    Message message{};
    std::shared_ptr<BoundQueue> queue{};
    uint64_t source = 0;
    uint64_t tag = 0;
  };

  // Constant.
  driver::ConsumerOptions options{};
  std::shared_ptr<std::atomic<uint64_t>> last_source{};
  std::shared_ptr<Link> link{};

  // The link's thread. Null once the consumer is closed.
  driver::ConsumerEvents* events = nullptr;

  internal::Mutex mutex;
  internal::Condition changed;
  std::deque<Ready> ready ABSL_GUARDED_BY(mutex);
  // Sources that are open, each of one queue.
  std::map<uint64_t, std::shared_ptr<BoundQueue>> sources
      ABSL_GUARDED_BY(mutex);
  bool interrupted ABSL_GUARDED_BY(mutex) = false;
  // Messages come by themselves, as many as options.prefetch_messages.
  bool streaming ABSL_GUARDED_BY(mutex) = false;
  // A look at the queues is under way.
  bool looking ABSL_GUARDED_BY(mutex) = false;
  // A Receive waits for the first message of any queue.
  bool waiting ABSL_GUARDED_BY(mutex) = false;
  // Consumers that were asked to end.
  int ending ABSL_GUARDED_BY(mutex) = 0;

  // Wakes who waits for a change of what is above.
  void Tell() {
    changed.NotifyAll();
    link->Wake();
  }
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_INBOX_H_
