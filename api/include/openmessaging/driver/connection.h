// SPDX-License-Identifier: Apache-2.0
//
// Driver and Connection: where an implementation of OpenMessaging begins. Write
// these, Producer and Consumer, register the driver (registry.h), and run the
// conformance suite. docs/design/driver-fit.md shows how each method sits on
// five client libraries.

#ifndef OPENMESSAGING_DRIVER_CONNECTION_H_
#define OPENMESSAGING_DRIVER_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/url.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

// One logical connection, shared by its producers and consumers.
//
// Threads: every method may be called from any thread at any time. All
// producers and consumers are closed before Close is called.
class Connection {
 public:
  virtual ~Connection() = default;

  // Answers for one queue; the first call may probe the broker's version. The
  // answer does not change until the connection is made anew. An unknown queue
  // is answered for its kind by default.
  // Errors: 1410, 1503.
  virtual absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                                      TimePoint deadline) = 0;

  // Credentials that the broker refuses only later are answered by Send.
  // Errors: 1401, 1403, 1409, 1410, 1503.
  virtual absl::StatusOr<std::unique_ptr<Producer>> CreateProducer(
      const ProducerOptions& options, TimePoint deadline) = 0;

  // `events` outlives the consumer.
  // Errors: 1401, 1403, 1408, 1410, 1503, 1600 an option it cannot give.
  virtual absl::StatusOr<std::unique_ptr<Consumer>> CreateConsumer(
      const ConsumerOptions& options, ConsumerEvents& events,
      TimePoint deadline) = 0;

  // Returns: the optional interface (optional.h) or native handle of that name,
  // good until Close; nullptr where there is none.
  virtual void* Query(std::string_view interface_name) = 0;

  // Releases everything. Called once.
  virtual absl::Status Close(TimePoint deadline) = 0;
};

// Finds an optional interface: QueryInterface<Admin>(connection).
template <typename Interface>
Interface* QueryInterface(Connection& connection) {
  return static_cast<Interface*>(connection.Query(Interface::kInterface));
}

struct DriverInfo {
  // What a URL calls it: [a-z0-9-]+.
  std::string name{};
  // The driver's own version, and the specification version that it was
  // written for; a different major one is refused with 10003.
  std::string version{};
  std::string specification{};
  // Used where a URL names no port; absent: the driver has no ports.
  std::optional<uint16_t> default_port{};
};

// Threads: every method may be called from any thread at any time.
// Lifetime: as long as the registry that holds it.
class Driver {
 public:
  virtual ~Driver() = default;

  virtual DriverInfo Info() const = 0;

  // Checks `url` and `attributes` (the URL's and the call's merged; an unknown
  // one is an error) and makes a connection without network input or output.
  // Errors: 10001 the URL lacks what this driver needs, 1418 an attribute, and
  // what opening a local store can say.
  virtual absl::StatusOr<std::unique_ptr<Connection>> Connect(
      const Url& url, const Attributes& attributes, TimePoint deadline) = 0;
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_CONNECTION_H_
