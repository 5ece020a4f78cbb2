// SPDX-License-Identifier: Apache-2.0
//
// PrometheusSink puts what clients tell into a registry of prometheus-cpp. Link
// openmessaging::kit_prometheus.

#ifndef OPENMESSAGING_KIT_PROMETHEUS_SINK_H_
#define OPENMESSAGING_KIT_PROMETHEUS_SINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "openmessaging/telemetry.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace openmessaging {
inline namespace v0 {
namespace kit {

// A counter `messaging.client.sent.messages` becomes
// messaging_client_sent_messages_total, a histogram
// `messaging.client.operation.duration` becomes
// messaging_client_operation_duration_seconds; a label is the attribute's name
// with underscores. Queues for answers that requesters made for themselves are
// all named `oms-reply`, since each name would be a series for ever. Use it in MessagingAccessPoint::SetTelemetry().
//
// Threads: any number of calls at once.
// Implements: OMS-TEL-009.
class PrometheusSink final : public MetricSink {
 public:
  // `registry`: the application's, which its exposer shows; nullptr: one of its
  // own.
  explicit PrometheusSink(
      std::shared_ptr<prometheus::Registry> registry = nullptr);
  ~PrometheusSink() override;
  PrometheusSink(const PrometheusSink&) = delete;
  PrometheusSink& operator=(const PrometheusSink&) = delete;

  void Add(std::string_view counter, uint64_t count,
           const TelemetryAttributes& attributes) override;
  void Record(std::string_view histogram, double seconds,
              const TelemetryAttributes& attributes) override;

  // Returns: all of the registry in Prometheus' text format.
  std::string Text() const;

 private:
  class Families;

  const std::shared_ptr<prometheus::Registry> registry_;
  const std::unique_ptr<Families> families_;
};

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_KIT_PROMETHEUS_SINK_H_
