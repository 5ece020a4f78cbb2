// SPDX-License-Identifier: Apache-2.0
//
// Requester sends requests and brings each its answer; MakeReply is the other
// side. Why it is built so is in docs/design/request-reply.md.

#ifndef OPENMESSAGING_REQUESTER_H_
#define OPENMESSAGING_REQUESTER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/future.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/requester_core.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/lifecycle.h"
#include "openmessaging/message.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Builds the answer to a request that was received: its destination is the
// queue that the request wants it in, its correlation id the request's. Send it
// with any producer, and settle the request after that: then a process that
// dies between the two answers twice, and the second answer is dropped.
//
// Errors: kInvalidArgument 1418: the message asks for no answer.
// Implements: OMS-REQ-001.
[[nodiscard]] inline absl::StatusOr<Message> MakeReply(const Message& request,
                                                       std::string_view body) {
  if (request.reply_to().empty()) {
    return MakeStatus(Code::kBadParameter, "reply to a message of \"",
                      internal::Printable(request.destination()),
                      "\": it asks for no answer; expected one with a reply_to "
                      "(OMS-REQ-001)");
  }
  Message reply(request.reply_to(), body);
  if (!request.correlation_id().empty()) {
    reply.SetCorrelationId(request.correlation_id());
  }
  return reply;
}

// Sends messages and waits for the answers, of which many may be on their way
// at once: they come to a queue of the requester's own, in any order, and are
// told apart by their correlation id. Obtain one from
// MessagingAccessPoint::CreateRequester().
//
// The queue is made with the first request and deleted when the requester
// stops. One that was killed leaves it behind; see
// MessagingAccessPoint::RemoveAbandonedReplyQueues().
//
// Threads: every method may be called from any thread at any time, also from a
// callback. It has one thread, however many requests there are.
// Lifetime: a movable handle; it keeps its connection alive. One that was moved
// from may only be assigned to or destroyed. The destructor stops.
// Implements: OMS-REQ-002 to OMS-REQ-007.
class Requester {
 public:
  Requester(Requester&&) = default;
  Requester& operator=(Requester&& other) noexcept;
  ~Requester() { End(); }

  // Sends `request` and waits for its answer. Its reply_to and correlation_id
  // are the requester's to set, in place of what they were. An answer that
  // comes too late is dropped.
  //
  // Blocks: up to `timeout`, else RequesterOptions::request_timeout.
  // Errors: those of Producer::Send(), and
  //   kDeadlineExceeded    1410: no answer in time; it may have been carried out
  //   kUnimplemented       1600: the queue cannot do it, or the driver cannot
  //                        make a queue for the answers
  //   kAlreadyExists       1408: RequesterOptions::reply_queue is another's
  //   kResourceExhausted   1607: too many requests wait; not sent, retriable
  //   kFailedPrecondition  1601: stopped; what was on its way has the outcome
  //                        unknown
  // Implements: OMS-REQ-002 to 007.
  [[nodiscard]] absl::StatusOr<Message> Request(Message request) {
    return core_->Request(std::move(request), core_->request_timeout());
  }
  [[nodiscard]] absl::StatusOr<Message> Request(
      Message request, std::chrono::milliseconds timeout) {
    return core_->Request(std::move(request), timeout);
  }

  // Do the same without waiting. The future has its outcome within `timeout`.
  // Blocks: where it starts the requester.
  [[nodiscard]] Future<Message> RequestAsync(Message request) {
    return core_->RequestAsync(std::move(request), core_->request_timeout());
  }
  [[nodiscard]] Future<Message> RequestAsync(
      Message request, std::chrono::milliseconds timeout) {
    return core_->RequestAsync(std::move(request), timeout);
  }

  // Starts. Idempotent, and only needed to learn early whether it can.
  // Blocks: up to the attribute operation.timeout.
  // Errors: 1601 after Stop; 1401, 1403, 1408, 1410, 1503, 1600: try again.
  [[nodiscard]] absl::Status Start() {
    return core_->Start(internal::DeadlineAfter(core_->start_timeout()));
  }

  // Refuses new requests with 1601, ends those that wait with the same, and
  // deletes the queue that was made for the answers. Idempotent. Waits for
  // callbacks as well, unless called in one.
  // Returns: how many calls were still in progress at `deadline`; the last of
  // them does the rest.
  // Implements: OMS-REQ-004, 006.
  size_t Stop(std::chrono::steady_clock::time_point deadline) {
    return core_->StopAll(deadline);
  }

  // Returns: where answers come to; empty before the first request and after
  // the end.
  std::string reply_queue() const { return core_->reply_queue(); }

  // Returns: how many messages came there that nobody waited for (any more).
  uint64_t dropped_answers() const { return core_->dropped_answers(); }

  LifecycleState state() const { return core_->state(); }

 private:
  friend class MessagingAccessPoint;
  explicit Requester(std::shared_ptr<internal::RequesterCore> core)
      : core_(std::move(core)) {}

  void End() {
    if (!core_) return;
    core_->StopAll(internal::DeadlineAfter(core_->start_timeout()));
    core_.reset();
  }

  std::shared_ptr<internal::RequesterCore> core_;
};

inline Requester& Requester::operator=(Requester&& other) noexcept {
  if (this != &other) {
    End();
    core_ = std::move(other.core_);
  }
  return *this;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_REQUESTER_H_
