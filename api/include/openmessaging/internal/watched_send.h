// SPDX-License-Identifier: Apache-2.0
//
// WatchedSend is one message of a producer that has interceptors, from before it
// is checked until its outcome is known.

#ifndef OPENMESSAGING_INTERNAL_WATCHED_SEND_H_
#define OPENMESSAGING_INTERNAL_WATCHED_SEND_H_

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/internal/interceptor_chain.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Runs around the call of the producer, not inside: an interceptor may stop the
// producer that it watches without waiting for itself. Keeps all that it needs,
// for an outcome that comes when the producer is gone.
//
// Threads: one after another.
class WatchedSend {
 public:
  using List = InterceptorChain<ProducerInterceptor>::List;

  // Runs what comes before the send. `list`: nullptr for none.
  WatchedSend(std::shared_ptr<const List> list, const Message& message)
      : list_(std::move(list)), message_(message) {
    if (!list_) return;
    passed_ = RunInOrder(*list_, status_, [&](ProducerInterceptor& one) {
      return one.BeforeSend(message_);
    });
  }
  WatchedSend(WatchedSend&&) = default;
  WatchedSend& operator=(WatchedSend&&) = default;

  // Returns: whether it may be sent; otherwise this is its outcome.
  const absl::Status& status() const { return status_; }
  // Returns: what is to be sent.
  const Message& message() const { return message_; }

  // Runs what comes after it.
  void End(const absl::StatusOr<SendResult>& result) {
    if (!list_) return;
    RunInReverse(*list_, passed_, [&](ProducerInterceptor& one) {
      one.AfterSend(message_, result);
    });
  }

 private:
  std::shared_ptr<const List> list_;
  Message message_;
  absl::Status status_;
  size_t passed_ = 0;
};

// Several of them, in the order of sending.
class WatchedBatch {
 public:
  WatchedBatch(const std::shared_ptr<const WatchedSend::List>& list,
               std::span<const Message> messages) {
    sends_.reserve(messages.size());
    for (const Message& message : messages) {
      const WatchedSend& send = sends_.emplace_back(list, message);
      if (send.status().ok()) passing_.push_back(send.message());
    }
  }

  std::vector<WatchedSend>& sends() { return sends_; }
  // Returns: those that may be sent.
  std::span<const Message> passing() const { return passing_; }

 private:
  std::vector<WatchedSend> sends_;
  std::vector<Message> passing_;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_WATCHED_SEND_H_
