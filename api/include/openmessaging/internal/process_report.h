// SPDX-License-Identifier: Apache-2.0
//
// ProcessReport tells what one call of a listener did.

#ifndef OPENMESSAGING_INTERNAL_PROCESS_REPORT_H_
#define OPENMESSAGING_INTERNAL_PROCESS_REPORT_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/client_telemetry.h"
#include "openmessaging/message.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/trace_context.h"
#include "openmessaging/verdict.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Does nothing where nobody listens. The span of a listener that gets one
// message goes under the span that made the message; that of a batch, whose
// messages are of many traces, is linked to them. While the listener runs it is
// the thread's current one: what is sent there belongs to it.
//
// Threads: one.
class ProcessReport {
 public:
  using Origin = std::shared_ptr<const SettleOrigin>;

  // `telemetry`: nullptr: nobody listens.
  ProcessReport(std::shared_ptr<const ClientTelemetry> telemetry,
                std::string_view queue)
      : telemetry_(std::move(telemetry)), queue_(queue) {}

  // Returns: what is to be told of the settlement of `message`, as it was sent.
  Origin OriginOf(const Message& message) const {
    return telemetry_ ? telemetry_->OriginOf(&message) : nullptr;
  }

  // Notes whether the listener gets one message.
  void Note(const absl::Status& status, const Origin& origin) {
    if (!telemetry_) return;
    auto attributes = telemetry_->Attributes("process", "process", queue_);
    const ErrorType error(status);
    attributes.error_type = error.text();
    telemetry_->Add(kConsumedMessages, 1, attributes);
    if (!status.ok()) return;
    ++count_;
    if (origin->link.valid()) links_.push_back(origin->link);
  }

  template <typename Function>
  void Run(Function function) {
    if (!telemetry_) return function();
    start_ = OperationStart();
    if (!telemetry_->traces()) return function();
    const TraceContext parent =
        count_ == 1 && !links_.empty() ? links_[0] : telemetry_->Current();
    context_ = TraceIds::Under(parent);
    parent_ = parent.span_id();
    const TraceScope scope(context_);
    function();
  }

  // Tells of it. The first verdict that is no Ack is its error.
  void End(std::span<const std::optional<Verdict>> verdicts) const {
    if (!telemetry_) return;
    auto attributes = telemetry_->Attributes("process", "process", queue_);
    for (const auto& verdict : verdicts) {
      if (!verdict || verdict->verb() == driver::Verb::kAck) continue;
      attributes.error_type = NameOf(verdict->verb());
      break;
    }
    Span span;
    span.kind = SpanKind::kConsumer;
    span.context = context_;
    span.parent = parent_;
    span.links = links_;
    span.message_count = count_;
    telemetry_->End(kProcessDuration, start_, attributes, std::move(span));
  }

 private:
  const std::shared_ptr<const ClientTelemetry> telemetry_;
  const std::string queue_;
  size_t count_ = 0;
  std::vector<TraceContext> links_;
  OperationStart start_{{}, {}};
  TraceContext context_;
  TraceContext::SpanId parent_{};
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_PROCESS_REPORT_H_
