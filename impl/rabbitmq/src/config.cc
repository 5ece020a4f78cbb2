// SPDX-License-Identifier: Apache-2.0

#include "config.h"

#include <array>
#include <string_view>
#include <utility>

#include "openmessaging/status.h"

namespace openmessaging::rabbitmq {
namespace {

constexpr std::array<std::string_view, 9> kKnown = {
    "password",       "heartbeat",     "connect-timeout",
    "reconnect-wait", "queue-type",    "tls",
    "tls.ca-file",    "tls.cert-file", "tls.key-file"};

// A broker takes whole seconds of 16 bits; 0 would switch heartbeats off, and
// with them any notice of a peer that is gone.
absl::Status ReadHeartbeat(const Attributes& attributes, Config& config) {
  constexpr std::chrono::seconds kLongest{3600};
  const auto heartbeat = attributes.GetDuration("heartbeat", config.heartbeat);
  if (!heartbeat.ok()) return heartbeat.status();
  config.heartbeat = std::chrono::ceil<std::chrono::seconds>(*heartbeat);
  if (config.heartbeat >= std::chrono::seconds(1) &&
      config.heartbeat <= kLongest) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kBadParameter,
                    "set attribute \"heartbeat\": ", heartbeat->count(),
                    " ms; expected 1s to 1h");
}

absl::Status ReadWait(const Attributes& attributes, std::string_view name,
                      std::chrono::milliseconds& wait) {
  const auto value = attributes.GetDuration(name, wait);
  if (!value.ok()) return value.status();
  if (value->count() < 1) {
    return MakeStatus(Code::kBadParameter, "set attribute \"", name,
                      "\": 0 ms; expected 1ms at least");
  }
  wait = *value;
  return absl::OkStatus();
}

absl::Status ReadTls(const Attributes& attributes, TlsConfig& tls) {
  const auto enabled = attributes.GetBool("tls", false);
  if (!enabled.ok()) return enabled.status();
  tls.enabled = *enabled;
  tls.ca_file = attributes.Find("tls.ca-file").value_or("");
  tls.cert_file = attributes.Find("tls.cert-file").value_or("");
  tls.key_file = attributes.Find("tls.key-file").value_or("");
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return MakeStatus(Code::kBadParameter,
                      "set attributes \"tls.cert-file\", \"tls.key-file\": one "
                      "is missing; expected both or none");
  }
  const bool any = !tls.ca_file.empty() || !tls.cert_file.empty();
  if (any && !tls.enabled) {
    return MakeStatus(Code::kBadParameter,
                      "set attribute \"tls\": it is off, but files for it are "
                      "named; expected on");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> ReadConfig(const Url& url,
                                  const Attributes& attributes) {
  if (auto s = url.CheckHasHosts(); !s.ok()) return s;
  if (auto s = attributes.CheckKnown(kKnown); !s.ok()) return s;
  Config config;
  if (auto s = ReadHeartbeat(attributes, config); !s.ok()) return s;
  if (auto s = ReadTls(attributes, config.tls); !s.ok()) return s;
  absl::Status waits =
      ReadWait(attributes, "connect-timeout", config.connect_timeout);
  waits.Update(ReadWait(attributes, "reconnect-wait", config.reconnect_wait));
  if (!waits.ok()) return waits;
  const std::string_view type =
      attributes.Find("queue-type").value_or("quorum");
  if (type != "quorum" && type != "classic") {
    return MakeStatus(Code::kBadParameter, "set attribute \"queue-type\": \"",
                      type, "\"; expected quorum or classic");
  }
  config.queue_type =
      type == "classic" ? QueueType::kClassic : QueueType::kQuorum;
  const int port = config.tls.enabled ? kDefaultTlsPort : kDefaultPort;
  for (const Url::HostPort& host : url.hosts()) {
    config.hosts.push_back({host.host, host.port.value_or(port)});
  }
  if (!url.region().empty()) config.virtual_host = url.region();
  if (!url.account().empty()) {
    config.user = url.account();
    config.password.clear();
  }
  if (const auto password = attributes.Find("password")) {
    config.password = *password;
  }
  return config;
}

}  // namespace openmessaging::rabbitmq
