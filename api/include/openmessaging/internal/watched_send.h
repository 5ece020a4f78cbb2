// SPDX-License-Identifier: Apache-2.0
//
// WatchedSend is one message of a producer that has interceptors, tells what it
// does, or sends under a trace: from before it is checked until its outcome is
// known.

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
#include "openmessaging/internal/client_telemetry.h"
#include "openmessaging/internal/interceptor_chain.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/trace_context.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Returns: whether a send of this thread must go through WatchedSend.
inline bool IsSendWatched(const WatchCount& watchers) {
  return watchers.any() || TraceScope::Current() != nullptr;
}

// Runs around the call of the producer, not inside: an interceptor may stop the
// producer that it watches without waiting for itself. Keeps all that it needs,
// for an outcome that comes when the producer is gone.
//
// Threads: one after another.
class WatchedSend {
 public:
  using List = InterceptorChain<ProducerInterceptor>::List;

  // What watches a producer when a call begins.
  struct Watchers {
    std::shared_ptr<const List> interceptors{};               // Or nullptr.
    std::shared_ptr<const ClientTelemetry> telemetry{};  // Or nullptr.
  };

  // Runs what comes before the send.
  WatchedSend(Watchers watchers, const Message& message)
      : watchers_(std::move(watchers)), message_(message) {
    BeginTrace();
    if (!watchers_.interceptors) return;
    passed_ = RunInOrder(*watchers_.interceptors, status_,
                         [&](ProducerInterceptor& one) {
                           return one.BeforeSend(message_);
                         });
  }
  WatchedSend(WatchedSend&&) = default;
  WatchedSend& operator=(WatchedSend&&) = default;

  // Returns: whether it may be sent; otherwise this is its outcome.
  const absl::Status& status() const { return status_; }
  // Returns: what is to be sent.
  const Message& message() const { return message_; }

  // Whether somebody is told of the outcome; a trace alone asks for nothing.
  bool ends() const { return watchers_.interceptors || watchers_.telemetry; }
  // Runs what comes after it.
  void End(const absl::StatusOr<SendResult>& result) {
    if (watchers_.interceptors) {
      RunInReverse(*watchers_.interceptors, passed_,
                   [&](ProducerInterceptor& one) {
                     one.AfterSend(message_, result);
                   });
    }
    if (watchers_.telemetry) Tell(*watchers_.telemetry, result);
  }

 private:
  // Gives the message a context, unless it has one: who made it may have been
  // another than who sends it. Where nothing traces, that of the thread.
  void BeginTrace() {
    const ClientTelemetry* const telemetry = watchers_.telemetry.get();
    if (telemetry != nullptr) start_ = OperationStart();
    if (telemetry != nullptr && telemetry->traces()) {
      const TraceContext parent = telemetry->Current();
      parent_ = parent.span_id();
      context_ = TraceIds::Under(parent);
    } else if (const TraceContext* const current = TraceScope::Current()) {
      context_ = *current;
    } else {
      return;
    }
    made_by_ = TraceContextOf(message_);
    if (!made_by_.valid()) SetTraceContext(message_, context_);
  }

  void Tell(const ClientTelemetry& telemetry,
            const absl::StatusOr<SendResult>& result) const {
    TelemetryAttributes attributes =
        telemetry.Attributes("send", "send", message_.destination());
    const ErrorType error(result.status());
    attributes.error_type = error.text();
    telemetry.Add(kSentMessages, 1, attributes);
    Span span;
    span.kind = SpanKind::kProducer;
    span.context = context_;
    span.parent = parent_;
    if (made_by_.valid()) span.links = {&made_by_, 1};
    if (result.ok()) span.message_id = result->message_id;
    telemetry.End(kOperationDuration, start_, attributes, std::move(span));
  }

  Watchers watchers_;
  Message message_;
  absl::Status status_;
  size_t passed_ = 0;
  OperationStart start_{{}, {}};
  TraceContext context_;
  TraceContext::SpanId parent_{};
  TraceContext made_by_;
};

// Several of them, in the order of sending.
class WatchedBatch {
 public:
  WatchedBatch(const WatchedSend::Watchers& watchers,
               std::span<const Message> messages) {
    sends_.reserve(messages.size());
    for (const Message& message : messages) {
      const WatchedSend& send = sends_.emplace_back(watchers, message);
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
