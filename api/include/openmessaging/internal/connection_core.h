// SPDX-License-Identifier: Apache-2.0
//
// ConnectionCore is the connection that an access point, its producers and its
// consumers share.

#ifndef OPENMESSAGING_INTERNAL_CONNECTION_CORE_H_
#define OPENMESSAGING_INTERNAL_CONNECTION_CORE_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "openmessaging/attributes.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/internal/client_settings.h"
#include "openmessaging/internal/client_telemetry.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/dispatcher.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/url.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// What is known of one queue whose name was checked.
struct QueueFacts {
  std::string name;
  Capabilities capabilities;
};

// Closes the driver's connection when the last that uses it is gone: clients
// hold a reference until they have closed their driver's half.
//
// Threads: every method from any thread.
class ConnectionCore {
 public:
  static constexpr std::chrono::milliseconds kDefaultTimeout{3000};

  ConnectionCore(std::shared_ptr<driver::Driver> driver,
                 std::unique_ptr<driver::Connection> connection, Url url,
                 Attributes attributes, ConnectionSettings settings)
      : driver_(std::move(driver)),
        connection_(std::move(connection)),
        url_(std::move(url)),
        attributes_(std::move(attributes)),
        settings_(std::move(settings)) {}
  ConnectionCore(const ConnectionCore&) = delete;
  ConnectionCore& operator=(const ConnectionCore&) = delete;
  ~ConnectionCore() {
    // There is nobody left to tell.
    connection_->Close(DeadlineAfter(operation_timeout())).IgnoreError();
    dispatcher_.End(DeadlineAfter(operation_timeout()));
  }

  driver::Connection& connection() const { return *connection_; }
  // Runs the callbacks of all clients.
  Dispatcher& dispatcher() { return dispatcher_; }
  const Url& url() const { return url_; }
  const Attributes& attributes() const { return attributes_; }
  bool lenient() const { return settings_.lenient; }
  // What clients are that do not say otherwise.
  const ConnectionSettings& settings() const { return settings_; }

  // Where clients that are made from now on tell what they do.
  void SetTelemetry(Telemetry telemetry) {
    const MutexLock lock(mutex_);
    std::swap(telemetry_, telemetry);  // The old one ends after the lock.
  }
  // Returns: what a client of that group tells it to; nullptr: nobody listens.
  std::shared_ptr<const ClientTelemetry> TelemetryFor(std::string_view group) {
    const MutexLock lock(mutex_);
    if (telemetry_.metrics == nullptr && telemetry_.spans == nullptr) {
      return nullptr;
    }
    return std::make_shared<const ClientTelemetry>(telemetry_, url_.driver(),
                                                   group);
  }

  std::chrono::milliseconds operation_timeout() const {
    return settings_.operation_timeout.value_or(kDefaultTimeout);
  }
  // Returns: that of a producer which does not say otherwise.
  std::chrono::milliseconds send_timeout() const {
    return settings_.send_timeout.value_or(operation_timeout());
  }
  // Returns: a client's own timeout within the bound of the connection.
  std::chrono::milliseconds Bounded(std::chrono::milliseconds timeout) const {
    return std::min(timeout, settings_.operation_timeout.value_or(timeout));
  }

  // Checks the name of a queue and asks what it can do; both only once while
  // the queue lives. Costs a comparison of texts while a thread stays with one.
  // Errors: 1418 the name; what the driver says.
  // Lifetime: good as long as the connection, or, where there are more names
  // than a store can have queues or one was forgotten meanwhile, until this
  // thread asks again.
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<const QueueFacts*> FactsOf(
      std::string_view queue, TimePoint deadline) {
    const Last& last = LastOfThread();
    if (last.connection == id_ &&
        last.forgotten == forgotten_.load(std::memory_order_acquire) &&
        last.facts->name == queue) {
      return last.facts;
    }
    return FactsOfSlow(queue, deadline);
  }

  // As FactsOf, but asks the driver. What it said before stays as it was for
  // those who have it.
  absl::StatusOr<const QueueFacts*> FreshFactsOf(std::string_view queue,
                                                 TimePoint deadline);

  // Asks anew next time: the queue was made or deleted, so that what is known
  // may be another queue's, or only that of its kind.
  void ForgetFactsOf(std::string_view queue) {
    const MutexLock lock(mutex_);
    Retire(facts_.find(absl::string_view(queue.data(), queue.size())));
  }

 private:
  // What this thread asked last; ids are never used again, so the pointer is
  // good while its connection asks.
  struct Last {
    uint64_t connection = 0;
    uint64_t forgotten = 0;
    const QueueFacts* facts = nullptr;
  };

  static Last& LastOfThread() {
    static constinit thread_local Last last{};
    return last;
  }

  // One counter in all shared objects, else ids of two would meet in one Last.
  __attribute__((visibility("default"))) static uint64_t NextId() {
    static std::atomic<uint64_t> id{0};
    return id.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  absl::StatusOr<const QueueFacts*> FactsOfSlow(std::string_view queue,
                                                TimePoint deadline);

  using Facts =
      absl::flat_hash_map<absl::string_view, std::unique_ptr<const QueueFacts>>;

  // Takes facts out of the map, but not from those who read them now.
  void Retire(Facts::iterator at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (at == facts_.end()) return;
    old_facts_.push_back(std::move(at->second));
    facts_.erase(at);
    forgotten_.fetch_add(1, std::memory_order_acq_rel);
  }

  const uint64_t id_ = NextId();
  // In the order in which they must live: a driver outlives its connections.
  const std::shared_ptr<driver::Driver> driver_;
  const std::unique_ptr<driver::Connection> connection_;
  const Url url_;
  const Attributes attributes_;
  const ConnectionSettings settings_;
  Dispatcher dispatcher_;

  // Keys are views of the names in the values, which never move.
  Mutex mutex_;
  Facts facts_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<const QueueFacts>> old_facts_
      ABSL_GUARDED_BY(mutex_);
  Telemetry telemetry_ ABSL_GUARDED_BY(mutex_);
  // How often something was forgotten; changed under mutex_.
  std::atomic<uint64_t> forgotten_{0};
};

inline absl::StatusOr<const QueueFacts*> ConnectionCore::FactsOfSlow(
    std::string_view queue, TimePoint deadline) {
  {
    const MutexLock lock(mutex_);
    const auto found =
        facts_.find(absl::string_view(queue.data(), queue.size()));
    if (found != facts_.end()) {
      LastOfThread() = {id_, forgotten_.load(), found->second.get()};
      return found->second.get();
    }
  }
  return FreshFactsOf(queue, deadline);
}

inline absl::StatusOr<const QueueFacts*> ConnectionCore::FreshFactsOf(
    std::string_view queue, TimePoint deadline) {
  if (absl::Status status = CheckQueueName(queue); !status.ok()) return status;
  const uint64_t forgotten = forgotten_.load();
  absl::StatusOr<Capabilities> answer =
      connection_->CapabilitiesOf(queue, deadline);
  if (!answer.ok()) return answer.status();

  const absl::string_view key(queue.data(), queue.size());
  const MutexLock lock(mutex_);
  auto at = facts_.find(key);
  if (at != facts_.end() && at->second->capabilities != *answer) {
    Retire(at);
    at = facts_.end();
  } else if (at == facts_.end() &&
             (forgotten != forgotten_.load() ||
              facts_.size() >= static_cast<size_t>(kMaxQueues))) {
    // What was asked before something was forgotten may be what was meant: it
    // serves this call, but is not kept.
    static thread_local QueueFacts unlisted;
    LastOfThread() = {};
    unlisted = {std::string(queue), *answer};
    return &unlisted;
  }
  if (at == facts_.end()) {
    auto facts = std::make_unique<const QueueFacts>(
        QueueFacts{std::string(queue), *answer});
    const absl::string_view name(facts->name.data(), facts->name.size());
    at = facts_.try_emplace(name, std::move(facts)).first;
  }
  LastOfThread() = {id_, forgotten_.load(), at->second.get()};
  return at->second.get();
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CONNECTION_CORE_H_
