// SPDX-License-Identifier: Apache-2.0
//
// How a connection to a broker is made.

#ifndef OPENMESSAGING_RABBITMQ_LOGIN_H_
#define OPENMESSAGING_RABBITMQ_LOGIN_H_

#include <amqp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "config.h"

namespace openmessaging::rabbitmq {

struct ServerInfo {
  std::string product{};
  int major = 0;
  int minor = 0;
};

// Whether a quorum queue there lets messages expire, and moves them when they
// do without losing one: since 3.10.
inline bool ExpiresInQuorum(const ServerInfo& server) {
  return server.major > 3 || (server.major == 3 && server.minor >= 10);
}

struct EndConnection {
  void operator()(amqp_connection_state_t connection) const {
    amqp_destroy_connection(connection);
  }
};
using ConnectionPointer =
    std::unique_ptr<amqp_connection_state_t_, EndConnection>;

// Returns: the address as people write it.
std::string Text(const Config::Host& host);

// Connects and logs in. Blocks up to Config::connect_timeout.
// Errors: 1401 credentials; 1403 the virtual host; 1503.
absl::StatusOr<ConnectionPointer> LogIn(const Config& config,
                                        const Config::Host& host,
                                        std::string_view purpose);

// Returns: what the broker said of itself.
ServerInfo InfoOf(amqp_connection_state_t connection);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_LOGIN_H_
