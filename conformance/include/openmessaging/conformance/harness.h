// SPDX-License-Identifier: Apache-2.0
//
// Harness is what the suite must know of a broker beside its URL. A vendor
// whose driver manages queues (driver::Admin) needs none: the defaults do.

#ifndef OPENMESSAGING_CONFORMANCE_HARNESS_H_
#define OPENMESSAGING_CONFORMANCE_HARNESS_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/attributes.h"
#include "openmessaging/messaging_access_point.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/url.h"

namespace openmessaging::conformance {

// How long things may take.
struct Tolerances {
  // How late what is due may come, and how late a call may return.
  std::chrono::milliseconds late{1000};
  // How far the clocks of the broker and of this machine may be apart.
  std::chrono::milliseconds clock{1000};
  // How long what must come is waited for before it counts as lost.
  std::chrono::milliseconds patience{10000};
  // How often a client and the broker tell each other that they live.
  std::chrono::milliseconds heartbeat{100};
  // How long a connection on which nothing comes any more, and which nobody
  // closed, may go unnoticed.
  std::chrono::milliseconds half_open{30000};
};

// Where a proxy of the suite listens, and the address of the broker behind it:
// host:port each; to listen at port 0 is to listen at a free one. A broker that
// tells its clients where to connect must name the former to those that come
// through the proxy, or it leads them past it.
struct ProxyRoute {
  std::string listen{};
  std::string target{};
};

// Ways to come to the broker that tests of security try. The queues that they
// name were made over the URL of the run, and are the same ones.
enum class Access : uint8_t {
  kWrongLogin,            // With credentials that the broker does not know.
  kNoRights,              // As somebody who may connect, and nothing else.
  kTls,                   // Over TLS, as one should.
  kUntrustedCertificate,  // The broker's is signed by nobody that is trusted.
  kOtherHost,             // It is that of another host name.
};
inline constexpr std::array<std::string_view, 5> kAccessNames = {
    "wrong-login", "no-rights", "tls", "untrusted-certificate", "other-host"};

struct Address {
  std::string url{};
  Attributes attributes{};
};

// Derive from it, override what differs, and register it under the driver's
// name (RegisterHarness) or hand it to Run().
//
// Threads: called by one thread at a time.
class Harness {
 public:
  virtual ~Harness() = default;

  virtual Tolerances tolerances() const { return {}; }

  // Makes a queue that a test uses; by default the resource manager does, and
  // where the driver has none (admin), a plain queue is taken to be there as
  // soon as somebody names it.
  // Errors: 1600 where the broker cannot give an option.
  virtual absl::Status CreateQueue(const MessagingAccessPoint& bus,
                                   std::string_view queue,
                                   const QueueOptions& options);

  // Removes it after the test. What it answers is not judged.
  virtual void RemoveQueue(const MessagingAccessPoint& bus,
                           std::string_view queue);

  // Stops the broker and starts it again with what it stored. The suite has no
  // connection meanwhile. Returns once it can be connected to.
  // Errors: 1600 (the default): this harness cannot; tests that need it are not
  // run, and the report says so.
  virtual absl::Status Restart();

  // Tells whether Restart() can.
  virtual bool CanRestart() const { return false; }

  // Returns: the ways through a proxy, one for each host of the URL, for tests
  // that cut connections; none (the default): those are not run.
  virtual std::vector<ProxyRoute> ProxyRoutes() const { return {}; }

  // Sends a message with the broker's own client, which knows nothing of
  // OpenMessaging.
  // Errors: 1600 (the default): this harness cannot.
  virtual absl::Status SendForeign(std::string_view queue,
                                   std::string_view body);
  virtual bool CanSendForeign() const { return false; }

  // Returns: where to connect, and with what, for a test of security; nothing
  // (the default) where the broker is not set up for it.
  virtual std::optional<Address> AddressFor(Access) const { return {}; }

  // Returns: a URL of the driver at which no broker is, for what is told then;
  // empty (the default) where none is known.
  virtual std::string UnreachableUrl() const { return {}; }
};

using HarnessFactory = std::function<std::unique_ptr<Harness>(const Url& url)>;

// Makes `factory` the one for a driver; the last one of a name counts. To be
// called while a program starts:
//   static const bool kKnown = RegisterHarness("mine", [](const Url&) { ... });
bool RegisterHarness(std::string_view driver, HarnessFactory factory);

// Returns: that of the URL's driver, the default one where there is none.
std::unique_ptr<Harness> MakeHarness(const Url& url);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_HARNESS_H_
