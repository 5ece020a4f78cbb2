// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/prometheus_sink.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/requester_core.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {
namespace {

std::string WithUnderscores(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

// Each requester has a queue for its answers, of a name of its own, and each
// label's value is a series that never ends: they are one.
std::string_view Bounded(std::string_view value) {
  const size_t prefix = kReplyQueuePrefix.size();
  return value.starts_with(kReplyQueuePrefix)
             ? value.substr(0, prefix - 1)
             : value;
}

prometheus::Labels LabelsOf(const TelemetryAttributes& attributes) {
  prometheus::Labels labels;
  attributes.ForEach([&](std::string_view name, std::string_view value) {
    labels.emplace(WithUnderscores(name),
                   name == "messaging.destination.name" ? Bounded(value) : value);
  });
  return labels;
}

// The boundaries that the conventions ask for, and some below: a store on this
// machine answers in microseconds.
const prometheus::Histogram::BucketBoundaries& Boundaries() {
  static const prometheus::Histogram::BucketBoundaries boundaries{
      0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075,
      0.1,     0.25,   0.5,   0.75,  1,    2.5,   5,    7.5,   10};
  return boundaries;
}

}  // namespace

// Finds a family by the name that the library gives it.
class PrometheusSink::Families {
 public:
  explicit Families(prometheus::Registry& registry) : registry_(registry) {}

  prometheus::Family<prometheus::Counter>& CounterOf(std::string_view name) {
    const internal::MutexLock lock(mutex_);
    const auto found = counters_.find(name);
    if (found != counters_.end()) return found->second;
    auto& family = prometheus::BuildCounter()
                       .Name(WithUnderscores(name) + "_total")
                       .Help("Messages, see openmessaging/telemetry.h.")
                       .Register(registry_);
    counters_.emplace(name, family);
    return family;
  }

  prometheus::Family<prometheus::Histogram>& HistogramOf(
      std::string_view name) {
    const internal::MutexLock lock(mutex_);
    const auto found = histograms_.find(name);
    if (found != histograms_.end()) return found->second;
    auto& family = prometheus::BuildHistogram()
                       .Name(WithUnderscores(name) + "_seconds")
                       .Help("Times, see openmessaging/telemetry.h.")
                       .Register(registry_);
    histograms_.emplace(name, family);
    return family;
  }

 private:
  template <typename T>
  using ByName =
      std::map<std::string,
               std::reference_wrapper<prometheus::Family<T>>, std::less<>>;

  prometheus::Registry& registry_;
  internal::Mutex mutex_;
  ByName<prometheus::Counter> counters_ ABSL_GUARDED_BY(mutex_);
  ByName<prometheus::Histogram> histograms_ ABSL_GUARDED_BY(mutex_);
};

PrometheusSink::PrometheusSink(std::shared_ptr<prometheus::Registry> registry)
    : registry_(registry != nullptr ? std::move(registry)
                                    : std::make_shared<prometheus::Registry>()),
      families_(std::make_unique<Families>(*registry_)) {}

PrometheusSink::~PrometheusSink() = default;

void PrometheusSink::Add(std::string_view counter, uint64_t count,
                         const TelemetryAttributes& attributes) {
  families_->CounterOf(counter)
      .Add(LabelsOf(attributes))
      .Increment(static_cast<double>(count));
}

void PrometheusSink::Record(std::string_view histogram, double seconds,
                            const TelemetryAttributes& attributes) {
  families_->HistogramOf(histogram)
      .Add(LabelsOf(attributes), Boundaries())
      .Observe(seconds);
}

std::string PrometheusSink::Text() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
