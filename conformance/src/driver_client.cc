// SPDX-License-Identifier: Apache-2.0

#include "driver_client.h"

#include <algorithm>

#include "openmessaging/driver/registry.h"
#include "openmessaging/internal/client_settings.h"

namespace openmessaging::conformance {

void KeepForEver(std::shared_ptr<void> object) {
  static std::mutex mutex;
  static auto* const objects = new std::vector<std::shared_ptr<void>>();
  const std::lock_guard<std::mutex> lock(mutex);
  objects->push_back(std::move(object));
}

void Completions::Sent(size_t index, const SendResult& result) {
  Put({index, absl::OkStatus(), result});
}

void Completions::Settled(size_t index, const Receipt& /*replacement*/) {
  Put({index, absl::OkStatus(), {}});
}

void Completions::Failed(size_t index, absl::Status status) {
  Put({index, std::move(status), {}});
}

void Completions::Put(Entry entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_.push_back(std::move(entry));
  changed_.notify_all();
}

std::vector<Completions::Entry> Completions::Wait(size_t count,
                                                  milliseconds patience) const {
  constexpr milliseconds kMoment{20};
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return entries_.size() >= count; });
  changed_.wait_for(lock, kMoment, [&] { return entries_.size() > count; });
  return entries_;
}

Bodies Deliveries::bodies() const {
  Bodies bodies;
  for (const auto& [message, receipt] : all) {
    bodies.emplace_back(message.body());
  }
  return bodies;
}

void SourceEvents::Lost(std::span<const uint64_t> sources) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lost_.insert(lost_.end(), sources.begin(), sources.end());
}

bool SourceEvents::IsLost(uint64_t source) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::find(lost_.begin(), lost_.end(), source) != lost_.end();
}

DriverClient::DriverClient(const Context& t, const std::string& text) : t_(t) {
  const Url url = Must(Url::Parse(text), "parse the url");
  driver_ = Must(driver::Registry::Default().Find(url.driver()), "find");
  Attributes attributes = url.attributes();
  attributes.OverrideWith(t.attributes());
  // Takes out what is for the library.
  (void)Must(internal::SettingsReader(attributes).Take(), "read attributes");
  connection_ = Must(driver_->Connect(url, attributes, t.Soon()), "connect");
}

driver::Producer& DriverClient::NewProducer() {
  producers_.push_back(
      Must(connection_->CreateProducer({}, t_.Soon()), "create producer"));
  return *producers_.back();
}

driver::Consumer& DriverClient::NewConsumer(driver::ConsumerOptions options) {
  if (options.group.empty()) options.group = "default";
  consumers_.push_back(Must(
      connection_->CreateConsumer(options, events_, t_.Soon()),
      "create consumer"));
  return *consumers_.back();
}

std::vector<Completions::Entry> DriverClient::Send(
    driver::Producer& producer, std::span<const Message> batch) {
  auto done = MakeLasting<Completions>();
  const driver::CallContext context{.deadline = t_.Soon(),
                                    .born_timestamp_ms = WallNow().count()};
  producer.Send(batch, context, *done);
  auto entries = done->Wait(batch.size(), t_.patience());
  std::map<size_t, int> times;
  for (const auto& entry : entries) ++times[entry.index];
  for (size_t i = 0; i < batch.size(); ++i) {
    RequireNumber(times[i], 1,
                  internal::Concat("completions of message ", i, " of ",
                                   batch.size()));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return entries;
}

absl::Status DriverClient::Settle(driver::Consumer& consumer,
                                  const driver::Settlement& settlement) {
  auto done = MakeLasting<Completions>();
  consumer.Settle({&settlement, 1}, {.deadline = t_.Soon()}, *done);
  const auto entries = done->Wait(1, t_.patience());
  RequireNumber(static_cast<int64_t>(entries.size()), 1,
                "completions of a settlement");
  return entries[0].status;
}

void DriverClient::Close() {
  for (auto& producer : producers_) (void)producer->Close(t_.Soon());
  for (auto& consumer : consumers_) (void)consumer->Close(t_.Soon());
  producers_.clear();
  consumers_.clear();
  if (connection_) (void)connection_->Close(t_.Soon());
  connection_.reset();
}

}  // namespace openmessaging::conformance
