// SPDX-License-Identifier: Apache-2.0
//
// Telemetry is where an access point tells what its clients do: counters, times
// and spans, with the names of OpenTelemetry's semantic conventions for
// messaging (version 1.43.0, status Development:
// https://opentelemetry.io/docs/specs/semconv/messaging/). The reasons are in
// docs/design/telemetry.md.

#ifndef OPENMESSAGING_TELEMETRY_H_
#define OPENMESSAGING_TELEMETRY_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "openmessaging/message_id.h"
#include "openmessaging/trace_context.h"

namespace openmessaging {
inline namespace v0 {

// Counters of messages. Those with an error have the attribute error.type.
// Sent: each message of a send, once its outcome is known.
inline constexpr std::string_view kSentMessages =
    "messaging.client.sent.messages";
// Consumed: each delivery that an application got from a Receive or a stream,
// or a listener; with an error: what an interceptor failed.
inline constexpr std::string_view kConsumedMessages =
    "messaging.client.consumed.messages";
// Settled: each settlement, once its outcome is known. OpenTelemetry has none.
inline constexpr std::string_view kSettledMessages =
    "openmessaging.client.settled.messages";

// Histograms of seconds. The first is of sends, receives and settlements, the
// second of listeners.
inline constexpr std::string_view kOperationDuration =
    "messaging.client.operation.duration";
inline constexpr std::string_view kProcessDuration =
    "messaging.process.duration";

// What a figure or a span is about. Empty: not known, or does not apply.
// Implements: OMS-TEL-001.
struct TelemetryAttributes {
  std::string_view system{};          // The driver's name.
  std::string_view destination{};     // The queue.
  std::string_view group{};           // The consumer group.
  std::string_view operation_name{};  // send, receive, process, ack, nack, ...
  std::string_view operation_type{};  // send, receive, process, settle
  std::string_view error_type{};      // A code, such as 1404; nack, reject.

  // Calls `function(name, value)` for each that is known.
  template <typename Function>
  void ForEach(Function function) const {
    const auto tell = [&](std::string_view name, std::string_view value) {
      if (!value.empty()) function(name, value);
    };
    tell("messaging.system", system);
    tell("messaging.destination.name", destination);
    tell("messaging.consumer.group.name", group);
    tell("messaging.operation.name", operation_name);
    tell("messaging.operation.type", operation_type);
    tell("error.type", error_type);
  }
};

// Takes figures.
//
// Threads: any number of calls at once, on threads that send, receive or run
// listeners, and on the connection's thread for callbacks; none of the driver's.
// No lock is held. What a call throws is dropped.
// Implements: OMS-TEL-001 to OMS-TEL-005, OMS-TEL-007.
class MetricSink {
 public:
  virtual ~MetricSink() = default;

  // Adds `count` to a counter.
  virtual void Add(std::string_view counter, uint64_t count,
                   const TelemetryAttributes& attributes) = 0;
  // Puts one time into a histogram.
  virtual void Record(std::string_view histogram, double seconds,
                      const TelemetryAttributes& attributes) = 0;
};

// As the conventions have it: a send is a producer's, a receive and a
// settlement a client's, a listener a consumer's.
enum class SpanKind : uint8_t { kProducer, kClient, kConsumer };

// An operation that has ended. Its name is `<operation_name> <destination>`.
struct Span {
  SpanKind kind = SpanKind::kClient;
  TraceContext context{};
  // All zero: the first span of its trace.
  TraceContext::SpanId parent{};
  // The spans that made the messages it is about.
  std::span<const TraceContext> links{};
  std::chrono::system_clock::time_point start{};
  std::chrono::system_clock::time_point end{};
  TelemetryAttributes attributes{};
  size_t message_count = 1;  // messaging.batch.message_count
  MessageId message_id{};    // messaging.message.id; of one message only
};

// Takes spans. Threads: as above. Implements: OMS-TEL-006, OMS-TEL-007.
class SpanSink {
 public:
  virtual ~SpanSink() = default;

  // Views end with the call.
  virtual void End(const Span& span) = 0;

  // Returns: this thread's current span, under which new ones go. Override it
  // where a tracing library keeps that.
  virtual TraceContext Current() const {
    const TraceContext* const current = TraceScope::Current();
    return current != nullptr ? *current : TraceContext();
  }
};

// Either may be absent. See MessagingAccessPoint::SetTelemetry().
// Implements: OMS-TEL-001 to OMS-TEL-008.
struct Telemetry {
  std::shared_ptr<MetricSink> metrics{};
  std::shared_ptr<SpanSink> spans{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_TELEMETRY_H_
