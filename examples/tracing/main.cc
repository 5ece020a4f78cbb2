// SPDX-License-Identifier: Apache-2.0
//
// tracing: a trace begins at the sender, goes on in the listener, and on with
// what the listener sends. A sink of twenty lines prints its spans.

#include <chrono>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Keeps a line for each span. One that gives them to a tracing library would
// look the same.
class Lines final : public oms::SpanSink {
 public:
  void End(const oms::Span& span) override {
    const std::lock_guard lock(mutex_);
    const std::string name = std::string(span.attributes.operation_name) + " " +
                             std::string(span.attributes.destination);
    names_[span.context.span_id()] = name;
    if (span.kind != oms::SpanKind::kClient) spans_[name] = span.parent;
    same_trace_ = same_trace_ && (span.kind == oms::SpanKind::kClient ||
                                  span.context.trace_id() == kRoot.trace_id());
  }
  void Print(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto parent = names_.find(spans_[name]);
    std::cout << name << " under "
              << (parent != names_.end() ? parent->second : "the request")
              << (same_trace_ ? "\n" : ", in another trace\n");
  }

  inline static const oms::TraceContext kRoot = oms::TraceContext::Parse(
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

 private:
  std::mutex mutex_;
  std::map<oms::TraceContext::SpanId, std::string> names_;
  std::map<std::string, oms::TraceContext::SpanId> spans_;
  bool same_trace_ = true;
};

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  for (const char* queue : {"orders", "bills"}) {
    auto created = bus->resource_manager().CreateQueue(queue);
    if (!created.ok()) return created;
  }
  const auto lines = std::make_shared<Lines>();
  bus->SetTelemetry({.spans = lines});

  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  auto consumer = bus->CreatePushConsumer({.group = "billing"});
  if (!consumer.ok()) return consumer.status();
  std::promise<void> billed;
  auto bound = consumer->Bind("orders", [&](const oms::Message&) {
    auto sent = producer->Send(oms::Message("bills", "3 euros"));
    billed.set_value();
    return sent.ok() ? oms::Ack() : oms::Nack();
  });
  if (!bound.ok()) return bound;
  if (auto started = consumer->Start(); !started.ok()) return started;
  {
    // What a web server has of its request.
    const oms::TraceScope scope(Lines::kRoot);
    auto sent = producer->Send(oms::Message("orders", "42 apples"));
    if (!sent.ok()) return sent.status();
  }
  billed.get_future().wait();
  consumer->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));

  for (const char* name : {"send orders", "process orders", "send bills"}) {
    lines->Print(name);
  }
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
