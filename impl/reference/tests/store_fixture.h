// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the reference driver share: a store in memory or in a fresh
// directory, and short ways to use it. A case that is written once for both:
//
//   TEST_CASE_TEMPLATE("...", Place, MemoryPlace, FilePlace) {
//     Place place;
//     const auto bus = Connect(place.Url());

#ifndef OPENMESSAGING_REFERENCE_TESTS_STORE_FIXTURE_H_
#define OPENMESSAGING_REFERENCE_TESTS_STORE_FIXTURE_H_

#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/reference/check.h"

namespace openmessaging::reference {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Longer than anything takes that works, shorter than a test may.
inline constexpr milliseconds kLong{10'000};
// How long a test looks for what must not come.
inline constexpr milliseconds kShort{50};

inline steady_clock::time_point Soon() { return steady_clock::now() + kLong; }

inline std::string Text(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// A directory of its own below TMPDIR or /tmp, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* const parent = ::getenv("TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/oms-XXXXXX";
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A store of files that does not exist yet.
class FilePlace {
 public:
  static constexpr bool kIsFile = true;

  std::string Url(std::string_view attributes = {}) const {
    return "oms:file://" + path() + std::string(attributes);
  }
  std::string path() const { return directory_.path() + "/store"; }
  const std::string& parent() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
};

// A store in memory; it ends with its last access point.
class MemoryPlace {
 public:
  static constexpr bool kIsFile = false;

  std::string Url(std::string_view attributes = {}) const {
    return "oms:memory://" + name_ + std::string(attributes);
  }

 private:
  static std::string NewName() {
    static std::atomic<int> count{0};
    return "test-" + std::to_string(count.fetch_add(1));
  }
  std::string name_ = NewName();
};

// Returns: what is in `result`, which must not be an error.
template <typename T>
T Must(absl::StatusOr<T> result) {
  if (!result.ok()) FAIL(Text(result.status()));
  return *std::move(result);
}
inline void Must(const absl::Status& status) {
  if (!status.ok()) FAIL(Text(status));
}

inline MessagingAccessPoint Connect(const std::string& url) {
  return Must(MessagingAccessPoint::Connect(url));
}

// Connects, and makes one queue.
inline MessagingAccessPoint ConnectWith(const std::string& url,
                                        std::string_view queue,
                                        int32_t partitions = 1) {
  MessagingAccessPoint bus = Connect(url);
  Must(bus.resource_manager().CreateQueue(queue, {.partitions = partitions}));
  return bus;
}

inline PullConsumer Consume(const MessagingAccessPoint& bus,
                            std::string_view queue,
                            const PullConsumerOptions& options = {}) {
  PullConsumer consumer = Must(bus.CreatePullConsumer(options));
  Must(consumer.Bind(queue));
  return consumer;
}

inline SendResult SendOne(const MessagingAccessPoint& bus,
                          const Message& message) {
  Producer producer = Must(bus.CreateProducer());
  return Must(producer.Send(message));
}

// Sends messages with the bodies "first" to "last", as batches.
inline void SendNumbers(const MessagingAccessPoint& bus, std::string_view queue,
                        int first, int last, std::string_view padding = {}) {
  Producer producer = Must(bus.CreateProducer());
  std::vector<Message> batch;
  for (int n = first; n <= last; ++n) {
    batch.emplace_back(queue, std::to_string(n) + std::string(padding));
    if (batch.size() < 100 && n != last) continue;
    for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
      if (!sent.ok()) FAIL(Text(sent.status()));
    }
    batch.clear();
  }
}

// Receives one message, which must come.
inline Delivery Take(PullConsumer& consumer) {
  auto received = consumer.Receive(kLong);
  if (!received.ok()) FAIL(Text(received.status()));
  if (!received->has_value()) FAIL("no message came");
  return **std::move(received);
}

// Returns: whether nothing comes for a short while.
inline bool NothingComes(PullConsumer& consumer) {
  return !Must(consumer.Receive(kShort)).has_value();
}

// Receives until nothing comes; acknowledges all. Returns: the bodies.
inline std::vector<std::string> DrainBodies(PullConsumer& consumer) {
  std::vector<std::string> bodies;
  while (true) {
    // What a dead process held comes a moment later than what is new.
    const auto batch = Must(consumer.ReceiveBatch(64, kShort * kSlowness));
    if (batch.empty()) return bodies;
    for (const Delivery& delivery : batch) {
      bodies.emplace_back(delivery->body());
      Must(delivery.Ack());
    }
  }
}

// Returns: the bodies "first" to "last".
inline std::vector<std::string> Numbers(int first, int last) {
  std::vector<std::string> bodies;
  for (int n = first; n <= last; ++n) bodies.push_back(std::to_string(n));
  return bodies;
}

// Checks that `oms check` would call the store sound.
inline void CheckSound(const std::string& directory) {
  const auto report = Must(CheckStore(directory));
  INFO(report.ToText());
  CHECK_FALSE(report.damaged());
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_TESTS_STORE_FIXTURE_H_
