// SPDX-License-Identifier: Apache-2.0
//
// Config is what a URL and its attributes say about one broker.

#ifndef OPENMESSAGING_RABBITMQ_CONFIG_H_
#define OPENMESSAGING_RABBITMQ_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/url.h"

namespace openmessaging::rabbitmq {

inline constexpr uint16_t kDefaultPort = 5672;
inline constexpr uint16_t kDefaultTlsPort = 5671;

enum class QueueType : uint8_t { kQuorum, kClassic };

struct TlsConfig {
  bool enabled = false;
  std::string ca_file{};
  std::string cert_file{};
  std::string key_file{};
};

// Threads: a value.
struct Config {
  struct Host {
    std::string name;
    int port = kDefaultPort;
  };

  // In the order in which they are tried; never empty.
  std::vector<Host> hosts{};
  std::string virtual_host = "/";
  // "guest" with its password where the URL names no account; brokers accept
  // that from their own machine only.
  std::string user = "guest";
  std::string password = "guest";
  TlsConfig tls{};
  // A connection on which nothing came for twice as long is given up.
  std::chrono::seconds heartbeat{4};
  // Longest time for one attempt at one host.
  std::chrono::milliseconds connect_timeout{3000};
  // Longest wait between attempts.
  std::chrono::milliseconds reconnect_wait{2000};
  // Of what kind new queues are.
  QueueType queue_type = QueueType::kQuorum;
};

// Errors: 10001 no host; 1418 an attribute that is unknown or cannot be read.
absl::StatusOr<Config> ReadConfig(const Url& url, const Attributes& attributes);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_CONFIG_H_
