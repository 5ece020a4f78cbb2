// SPDX-License-Identifier: Apache-2.0
//
// What tests are written with: fresh queues, clients, waits that end, and
// checks. A check that does not hold throws, which ends the test; so they are
// for the test's own thread, and what listeners saw is checked there.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_CONTEXT_H_
#define OPENMESSAGING_CONFORMANCE_SRC_CONTEXT_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "openmessaging/conformance/suite.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "proxy.h"

namespace openmessaging::conformance {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Bodies = std::vector<std::string>;

// The requirement is broken; the text says how.
struct Failure {
  std::string text;
};

[[noreturn]] void Fail(std::string text);

// There is nothing to judge; the text says why.
struct NotApplicable {
  std::string text;
};

[[noreturn]] void Skip(std::string text);

// The harness lacks what the test needs; the text says what.
struct NotRun {
  std::string text;
};

inline std::string Text(const absl::Status& status) {
  return status.ok() ? std::string("ok")
                     : std::string(status.message().data(),
                                   status.message().size());
}
std::string Text(const Bodies& bodies);

template <typename... Parts>
void Require(bool holds, const Parts&... parts) {
  if (!holds) Fail(internal::Concat(parts...));
}

void RequireOk(const absl::Status& status, std::string_view what);
template <typename T>
T Must(absl::StatusOr<T> result, std::string_view what) {
  RequireOk(result.status(), what);
  return *std::move(result);
}
void RequireCode(const absl::Status& status, Code expected,
                 std::string_view what);
template <typename T>
void RequireCode(const absl::StatusOr<T>& result, Code expected,
                 std::string_view what) {
  RequireCode(result.status(), expected, what);
}
void RequireEqual(const Bodies& got, const Bodies& expected,
                  std::string_view what);
void RequireText(std::string_view got, std::string_view expected,
                 std::string_view what);
void RequireNumber(int64_t got, int64_t expected, std::string_view what);

// Returns: "1" to "count", or "first" to "last".
Bodies Numbers(int first, int last);
Bodies Sorted(Bodies bodies);

inline milliseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}
milliseconds WallNow();

// What listeners and other threads leave for the test's thread.
class Inbox {
 public:
  void Put(std::string_view text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    texts_.emplace_back(text);
    changed_.notify_all();
  }
  // Returns: whether there are so many in time.
  bool WaitFor(size_t count, milliseconds patience) const {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, patience,
                             [&] { return texts_.size() >= count; });
  }
  Bodies texts() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return texts_;
  }
  size_t Count(std::string_view text) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Bodies texts_;
};

// A door that one thread opens and others wait at.
class Gate {
 public:
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool Wait(milliseconds patience) const {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return open_; });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool open_ = false;
};

// Opens a gate however a test ends, so that no listener waits for ever.
class OpenAtEnd {
 public:
  explicit OpenAtEnd(Gate& gate) : gate_(gate) {}
  OpenAtEnd(const OpenAtEnd&) = delete;
  OpenAtEnd& operator=(const OpenAtEnd&) = delete;
  ~OpenAtEnd() { gate_.Open(); }

 private:
  Gate& gate_;
};

// What one run shares with its tests.
struct RunState {
  std::string url{};
  Attributes attributes{};
  Harness* harness = nullptr;
  Tolerances tolerances{};
  std::string run_id{};
  std::optional<MessagingAccessPoint> bus{};
  std::unique_ptr<Proxy> proxy{};  // Null where the harness has no routes.
};

// One for each test. Queues that it made are removed when it ends.
//
// Threads: the test's own, but for Connect and the random numbers of a copy.
class Context {
 public:
  Context(RunState& state, uint64_t seed, int number);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  const MessagingAccessPoint& bus() const { return *state_.bus; }
  ResourceManager resources() const { return bus().resource_manager(); }
  const std::string& url() const { return state_.url; }
  // Returns: those of the run, beside the URL's.
  const Attributes& attributes() const { return state_.attributes; }
  // Returns: another connection, with attributes beside those of the run.
  MessagingAccessPoint Connect(
      std::vector<std::pair<std::string, std::string>> attributes = {}) const;

  // Returns: a name that nobody used.
  std::string NewName(std::string_view kind = "q");
  // Makes a queue; where the broker cannot give its redelivery delays, without.
  std::string NewQueue(QueueOptions options = {});
  // ... and one for which `capability` is declared, if there is any.
  std::string NewQueueFor(Capability capability);
  // Returns: the options that such a queue needs; makes its dead-letter queue.
  QueueOptions OptionsFor(Capability capability);

  Producer NewProducer(const ProducerOptions& options = {}) const;
  // Returns: one that has bound `queue`.
  PullConsumer NewConsumer(std::string_view queue,
                           const PullConsumerOptions& options = {}) const;

  SendResult Send(const Message& message) const;
  SendResult Send(std::string_view queue, std::string_view body) const {
    return Send(Message(queue, body));
  }
  // Sends each, in order, in one batch.
  void SendAll(std::string_view queue, const Bodies& bodies) const;

  // Receives one message, which must come.
  Delivery Take(PullConsumer& consumer) const;
  // Receives so many and acknowledges each.
  Bodies TakeBodies(PullConsumer& consumer, size_t count) const;
  // Receives from `other` one message, which must come while `consumer`, of
  // which nothing may come, goes on receiving: brokers move what died when a
  // member of its group asks for more.
  Delivery TakeWhileReceiving(PullConsumer& other,
                              PullConsumer& consumer) const;
  // Sends another message, a sentinel, and takes all that comes before it and
  // with it. A negative check: what was not to come would have come by then.
  Bodies TakeUntilSentinel(PullConsumer& consumer, std::string_view queue);

  Capabilities CapabilitiesOf(std::string_view queue) const;
  bool Has(std::string_view queue, Capability capability) const {
    return CapabilitiesOf(queue).Has(capability);
  }
  // Ends the test as not applicable where the queue lacks a capability beside
  // the one that gates the test.
  void Needs(std::string_view queue, Capability capability) const;

  milliseconds patience() const { return state_.tolerances.patience; }
  milliseconds late() const { return state_.tolerances.late; }
  milliseconds clock() const { return state_.tolerances.clock; }
  milliseconds heartbeat() const { return state_.tolerances.heartbeat; }
  milliseconds half_open() const { return state_.tolerances.half_open; }
  // Of a fault test; what its clients connect to is ProxiedUrl().
  Proxy& proxy() const { return *state_.proxy; }
  // Returns: the URL of the run with the proxy's addresses as its hosts, or
  // with others.
  std::string ProxiedUrl() const;
  std::string UrlWithHosts(const std::vector<std::string>& hosts) const;
  // Returns: a connection through the proxy.
  MessagingAccessPoint ConnectThroughProxy(
      std::vector<std::pair<std::string, std::string>> attributes = {}) const;
  // Returns: a connection of that kind. Ends the test as not run where the
  // harness has none.
  MessagingAccessPoint ConnectAs(Access access) const;
  Address AddressFor(Access access) const;
  // Returns: the harness's. Ends the test as not run where it has none.
  std::string UnreachableUrl() const;
  steady_clock::time_point Soon() const {
    return steady_clock::now() + patience();
  }
  // Returns: the shortest lease that the queue allows, 200 ms at least.
  milliseconds ShortLease(std::string_view queue) const;
  std::mt19937_64& random() { return random_; }

  // Ends this run's connection, restarts the broker and connects again. Clients
  // of the test must have ended.
  void Restart();
  // Restarts it while clients are connected.
  void RestartUnderClients();
  // Sends with the broker's own client.
  void SendForeign(std::string_view queue, std::string_view body);

 private:
  MessagingAccessPoint ConnectTo(
      const std::string& url,
      std::vector<std::pair<std::string, std::string>> attributes) const;

  RunState& state_;
  std::mt19937_64 random_;
  const std::string prefix_;
  int names_ = 0;
  Bodies queues_;
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_CONTEXT_H_
