// SPDX-License-Identifier: Apache-2.0
//
// ClientTelemetry tells what one client does to the sinks of its access point.

#ifndef OPENMESSAGING_INTERNAL_CLIENT_TELEMETRY_H_
#define OPENMESSAGING_INTERNAL_CLIENT_TELEMETRY_H_

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/message.h"
#include "openmessaging/message_id.h"
#include "openmessaging/status.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/trace_context.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Makes the ids of traces and spans: unlike others, not secret.
class TraceIds {
 public:
  // Returns: a new span of the trace of `parent`, or of a new trace where there
  // is no parent. A new trace is sampled: who keeps it decides the sink.
  static TraceContext Under(const TraceContext& parent) {
    TraceContext::SpanId span_id{};
    Fill(span_id);
    if (parent.valid()) {
      return {parent.trace_id(), span_id, parent.flags(), parent.tracestate()};
    }
    TraceContext::TraceId trace_id{};
    Fill(trace_id);
    return {trace_id, span_id, /*flags=*/1};
  }

 private:
  template <size_t kSize>
  static void Fill(std::array<uint8_t, kSize>& id) {
    for (size_t at = 0; at < kSize; at += sizeof(uint64_t)) {
      const uint64_t number = Next();
      std::memcpy(id.data() + at, &number, sizeof(number));
    }
  }

  // Vigna's SplitMix64 with a clock in it, so that a forked process does not go
  // on with the numbers of its parent. Never 0.
  static uint64_t Next() {
    static thread_local uint64_t state = [] {
      std::random_device device;
      return uint64_t{device()} << 32 | device();
    }();
    state += 0x9e3779b97f4a7c15;
    uint64_t z = state ^ static_cast<uint64_t>(
        std::chrono::steady_clock::now().time_since_epoch().count());
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) | 1;
  }
};

// When an operation began, on both clocks.
struct OperationStart {
  std::chrono::steady_clock::time_point steady =
      std::chrono::steady_clock::now();
  std::chrono::system_clock::time_point system =
      std::chrono::system_clock::now();
};

// Of what a settlement is, as far as it is known.
struct SettleOrigin {
  std::string destination{};
  TraceContext link{};
  TraceContext parent{};
};

// Threads: every method from any thread; constant after construction.
class ClientTelemetry {
 public:
  ClientTelemetry(Telemetry sinks, std::string_view system,
                  std::string_view group)
      : sinks_(std::move(sinks)), system_(system), group_(group) {}

  bool traces() const { return sinks_.spans != nullptr; }

  // Returns: the current span of this thread; none where nothing traces.
  TraceContext Current() const {
    TraceContext current;
    if (!traces()) return current;
    (void)RunUserCode([&] { current = sinks_.spans->Current(); });
    return current;
  }

  TelemetryAttributes Attributes(std::string_view type, std::string_view name,
                                 std::string_view destination) const {
    return {.system = system_,
            .destination = destination,
            .group = group_,
            .operation_name = name,
            .operation_type = type};
  }

  void Add(std::string_view counter, uint64_t count,
           const TelemetryAttributes& attributes) const {
    if (sinks_.metrics == nullptr || count == 0) return;
    (void)RunUserCode([&] { sinks_.metrics->Add(counter, count, attributes); });
  }

  // Tells that an operation has ended now: its time, and `span` if anybody
  // traces, whose attributes and times this sets.
  void End(std::string_view histogram, const OperationStart& start,
           const TelemetryAttributes& attributes, Span span) const {
    const auto duration = std::chrono::steady_clock::now() - start.steady;
    if (sinks_.metrics != nullptr) {
      const double seconds = std::chrono::duration<double>(duration).count();
      (void)RunUserCode(
          [&] { sinks_.metrics->Record(histogram, seconds, attributes); });
    }
    if (sinks_.spans == nullptr) return;
    span.start = start.system;
    span.end = start.system +
               std::chrono::duration_cast<std::chrono::system_clock::duration>(
                   duration);
    span.attributes = attributes;
    (void)RunUserCode([&] { sinks_.spans->End(span); });
  }

  // Returns: what is known of a settlement of `message`; nullptr: nothing is.
  std::shared_ptr<const SettleOrigin> OriginOf(const Message* message) const {
    auto origin = std::make_shared<SettleOrigin>();
    if (message != nullptr) {
      origin->destination = message->destination();
      if (traces()) origin->link = TraceContextOf(*message);
    }
    origin->parent = Current();
    return origin;
  }

  // Tells of one settlement.
  void Settled(const driver::Settlement& settlement, const SettleOrigin& origin,
               const OperationStart& start, const absl::Status& outcome) const;

 private:
  const Telemetry sinks_;
  const std::string system_;
  const std::string group_;
};

// The text of error.type: the code of a failed status.
class ErrorType {
 public:
  explicit ErrorType(const absl::Status& status) {
    if (status.ok()) return;
    const auto end = std::to_chars(text_.data(), text_.data() + text_.size(),
                                   static_cast<int>(OmsCode(status)));
    size_ = static_cast<size_t>(end.ptr - text_.data());
  }
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  std::array<char, 12> text_{};
  size_t size_ = 0;
};

inline std::string_view NameOf(driver::Verb verb) {
  switch (verb) {
    case driver::Verb::kAck:
    case driver::Verb::kAckUpTo:
      return "ack";
    case driver::Verb::kNack:
    case driver::Verb::kNackDelay:
      return "nack";
    case driver::Verb::kReject:
      return "reject";
    case driver::Verb::kExtend:
      return "extend";
    case driver::Verb::kRelease:
      return "release";
  }
  return "settle";
}

inline void ClientTelemetry::Settled(const driver::Settlement& settlement,
                                     const SettleOrigin& origin,
                                     const OperationStart& start,
                                     const absl::Status& outcome) const {
  TelemetryAttributes attributes =
      Attributes("settle", NameOf(settlement.verb), origin.destination);
  const ErrorType error(outcome);
  attributes.error_type = error.text();
  Add(kSettledMessages, 1, attributes);
  Span span;
  if (traces()) {
    span.context = TraceIds::Under(origin.parent);
    span.parent = origin.parent.span_id();
    if (origin.link.valid()) span.links = {&origin.link, 1};
  }
  End(kOperationDuration, start, attributes, std::move(span));
}

// One Receive that found something, or failed.
class ReceiveReport {
 public:
  // `telemetry`: nullptr: nobody is told.
  explicit ReceiveReport(const ClientTelemetry* telemetry)
      : telemetry_(telemetry) {
    if (telemetry_ == nullptr) return;
    start_ = OperationStart();
    parent_ = telemetry_->Current();
  }

  // Notes one message, which the application sees if `status` is OK. Before
  // interceptors change it: `destination` and `link` are the sender's.
  void Note(std::string_view destination, TraceContext link,
            const absl::Status& status) {
    if (telemetry_ == nullptr) return;
    if (count_++ == 0) {
      destination_ = destination;
    } else if (destination_ != destination) {
      destination_.clear();
    }
    if (link.valid()) links_.push_back(std::move(link));
    auto attributes = telemetry_->Attributes("receive", "receive", destination);
    const ErrorType error(status);
    attributes.error_type = error.text();
    telemetry_->Add(kConsumedMessages, 1, attributes);
  }
  TraceContext LinkOf(const Message& message) const {
    return telemetry_ != nullptr && telemetry_->traces()
               ? TraceContextOf(message)
               : TraceContext();
  }

  // Tells it, but for one that found nothing.
  void End(const absl::Status& status) {
    if (telemetry_ == nullptr || (status.ok() && count_ == 0)) return;
    auto attributes =
        telemetry_->Attributes("receive", "receive", destination_);
    const ErrorType error(status);
    attributes.error_type = error.text();
    Span span;
    span.links = links_;
    span.message_count = count_;
    if (telemetry_->traces()) {
      span.context = TraceIds::Under(parent_);
      span.parent = parent_.span_id();
    }
    telemetry_->End(kOperationDuration, start_, attributes, std::move(span));
  }

 private:
  const ClientTelemetry* const telemetry_;
  OperationStart start_{{}, {}};
  TraceContext parent_;
  std::string destination_;
  std::vector<TraceContext> links_;
  size_t count_ = 0;
};

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CLIENT_TELEMETRY_H_
