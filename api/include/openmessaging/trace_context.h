// SPDX-License-Identifier: Apache-2.0
//
// TraceContext says which trace a message belongs to, as W3C Trace Context has
// it (https://www.w3.org/TR/trace-context/). It travels in the header fields
// traceparent and tracestate.

#ifndef OPENMESSAGING_TRACE_CONTEXT_H_
#define OPENMESSAGING_TRACE_CONTEXT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "openmessaging/internal/trace_text.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {

// One span of one trace. Threads: a value.
// Implements: OMS-TRC-001 to OMS-TRC-003.
class TraceContext {
 public:
  using TraceId = std::array<uint8_t, 16>;
  using SpanId = std::array<uint8_t, 8>;

  // No context.
  TraceContext() = default;
  // A state that is not of the form is left out.
  TraceContext(const TraceId& trace_id, const SpanId& span_id, uint8_t flags,
               std::string_view tracestate = {})
      : trace_id_(trace_id),
        span_id_(span_id),
        flags_(flags),
        tracestate_(internal::IsTracestate(tracestate) ? tracestate
                                                       : std::string_view()) {}

  // Reads the two headers. Returns: no context where `traceparent` is not of
  // the form; the context without a state where `tracestate` is not.
  static TraceContext Parse(std::string_view traceparent,
                            std::string_view tracestate = {});

  // Returns: whether both ids are set.
  bool valid() const { return trace_id_ != TraceId() && span_id_ != SpanId(); }
  const TraceId& trace_id() const { return trace_id_; }
  const SpanId& span_id() const { return span_id_; }
  uint8_t flags() const { return flags_; }
  bool sampled() const { return (flags_ & 1) != 0; }
  const std::string& tracestate() const { return tracestate_; }

  // Returns: `00-<trace id>-<span id>-<flags>`; "" of no context.
  std::string traceparent() const;

  friend bool operator==(const TraceContext&, const TraceContext&) = default;

 private:
  TraceId trace_id_{};
  SpanId span_id_{};
  uint8_t flags_ = 0;
  std::string tracestate_;
};

// Returns: the context that a message travels with; none where it has none, or
// one that is not of the form.
inline TraceContext TraceContextOf(const Message& message) {
  return TraceContext::Parse(message.traceparent(), message.tracestate());
}

inline void SetTraceContext(Message& message, const TraceContext& context) {
  message.SetTraceparent(context.traceparent());
  message.SetTracestate(context.valid() ? context.tracestate() : "");
}

// Makes a context the current one of this thread, for as long as it lives:
// messages that are sent meanwhile travel with it, unless they have a context
// already. Scopes nest, and end on the thread that made them, the last first.
// Implements: OMS-TRC-004.
class TraceScope {
 public:
  explicit TraceScope(TraceContext context)
      : context_(std::move(context)), outer_(current()) {
    current() = this;
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;
  ~TraceScope() { current() = outer_; }

  // Returns: this thread's context; nullptr where there is none.
  static const TraceContext* Current() {
    const TraceScope* const scope = current();
    return scope != nullptr ? &scope->context_ : nullptr;
  }

 private:
  static const TraceScope*& current() {
    static constinit thread_local const TraceScope* scope = nullptr;
    return scope;
  }

  const TraceContext context_;
  const TraceScope* const outer_;
};

inline TraceContext TraceContext::Parse(std::string_view traceparent,
                                        std::string_view tracestate) {
  TraceContext context;
  std::array<uint8_t, 1> flags{};
  if (!internal::IsTraceparent(traceparent) ||
      !internal::ReadLowerHex(traceparent.substr(3, 32), context.trace_id_) ||
      !internal::ReadLowerHex(traceparent.substr(36, 16), context.span_id_) ||
      !internal::ReadLowerHex(traceparent.substr(53, 2), flags) ||
      !context.valid()) {
    return {};
  }
  context.flags_ = flags[0];
  if (internal::IsTracestate(tracestate)) context.tracestate_ = tracestate;
  return context;
}

inline std::string TraceContext::traceparent() const {
  if (!valid()) return {};
  std::string text = "00-";
  internal::AppendLowerHex(text, trace_id_);
  text += '-';
  internal::AppendLowerHex(text, span_id_);
  text += '-';
  internal::AppendLowerHex(text, std::array<uint8_t, 1>{flags_});
  return text;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_TRACE_CONTEXT_H_
