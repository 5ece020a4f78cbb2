// SPDX-License-Identifier: Apache-2.0
//
// A TCP proxy between the clients of a test and a broker, which cuts, delays
// and half-opens what passes through it.

#ifndef OPENMESSAGING_CONFORMANCE_SRC_PROXY_H_
#define OPENMESSAGING_CONFORMANCE_SRC_PROXY_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "openmessaging/conformance/harness.h"

namespace openmessaging::conformance {

// What happens to the connections through a proxy.
enum class Traffic {
  kPass,
  // New connections are reset at once; those that there are go on.
  kRefuse,
  // Connections stay open and nothing passes, in either direction: the other
  // end is gone and nobody said so. New ones too.
  kBlock,
  // What clients say arrives, what the broker answers does not.
  kMute,
};

// Threads: any; one thread of its own moves the bytes.
// Lifetime: its end resets what is open.
class Proxy {
 public:
  // Errors: 1418 where a route is no pair of addresses; 1503 where it cannot
  // listen.
  static absl::StatusOr<std::unique_ptr<Proxy>> Start(
      std::span<const ProxyRoute> routes);
  virtual ~Proxy() = default;

  // Returns: where it listens, as the hosts of a URL, in the order of the
  // routes.
  virtual const std::vector<std::string>& hosts() const = 0;

  // Resets every connection that there is.
  virtual void Cut() = 0;
  // Nothing passes on the connections that there are, ever again; what follows
  // is for new ones.
  virtual void HalfOpen() = 0;
  // From here on, for every connection that is not half-open. What was blocked
  // or muted is reset when that ends: bytes are missing.
  virtual void Set(Traffic traffic) = 0;
  // Each direction takes so long.
  virtual void Delay(std::chrono::milliseconds delay) = 0;
  // As it was in the beginning: nothing is delayed or held, and what was is
  // reset.
  virtual void Heal() = 0;

  // Returns: when clients connected, refused or not, since the last Forget().
  virtual std::vector<std::chrono::steady_clock::time_point> attempts()
      const = 0;
  virtual void Forget() = 0;
  // Returns: how many connections are open now.
  virtual size_t open() const = 0;

 protected:
  Proxy() = default;
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_SRC_PROXY_H_
