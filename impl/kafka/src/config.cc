// SPDX-License-Identifier: Apache-2.0

#include "config.h"

#include <algorithm>
#include <array>

#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

// What the driver's promises rest on.
constexpr std::array<std::string_view, 14> kDecided = {
    "bootstrap.servers",       "metadata.broker.list",
    "group.id",                "enable.auto.commit",
    "enable.auto.offset.store", "auto.offset.reset",
    "enable.idempotence",      "partition.assignment.strategy",
    "transactional.id",        "isolation.level",
    "allow.auto.create.topics", "partitioner",
    "enabled.events",          "plugin.library.paths"};

using Setting = std::pair<std::string_view, std::string_view>;

// Where librdkafka's default does not fit; attributes are stronger.
constexpr std::array<Setting, 4> kCommonDefaults = {{
    {"client.id", "openmessaging-cpp"},
    // How long a connection that died goes unnoticed.
    {"socket.timeout.ms", "6000"},
    {"socket.connection.setup.timeout.ms", "5000"},
    {"topic.metadata.refresh.fast.interval.ms", "100"},
}};
constexpr std::array<Setting, 5> kProducerDefaults = {{
    // A sender that waits should not wait for company.
    {"linger.ms", "0"},
    {"message.timeout.ms", "8000"},
    {"request.timeout.ms", "6000"},
    // How long a transaction whose process died holds back every reader.
    {"transaction.timeout.ms", "10000"},
    // The queue's own limit is the broker's to say.
    {"message.max.bytes", "70000000"},
}};
constexpr std::array<Setting, 5> kConsumerDefaults = {{
    {"session.timeout.ms", "10000"},
    // How long a member takes to learn that another one has come.
    {"heartbeat.interval.ms", "300"},
    // How long a queue that was bound later waits for its first fetch.
    {"fetch.wait.max.ms", "100"},
    {"fetch.error.backoff.ms", "100"},
    {"receive.message.max.bytes", "200000000"},
}};

// Where the text of a setting could be somebody's secret.
bool IsSensitive(std::string_view name) {
  if (IsSecretAttribute(name)) return true;
  for (const std::string_view word :
       {"password", "secret", "oauthbearer", "pem", "token", "key"}) {
    if (name.find(word) != std::string_view::npos) return true;
  }
  return false;
}

absl::Status Set(rd_kafka_conf_t* conf, const std::string& name,
                 const std::string& value) {
  std::array<char, 512> why{};
  const rd_kafka_conf_res_t result = rd_kafka_conf_set(
      conf, name.c_str(), value.c_str(), why.data(), why.size());
  if (result == RD_KAFKA_CONF_OK) return absl::OkStatus();
  if (result == RD_KAFKA_CONF_UNKNOWN) {
    return MakeStatus(Code::kBadParameter, "check attribute \"",
                      internal::Printable(name),
                      "\": unknown; expected a setting of librdkafka "
                      "(OMS-ATTR-004)");
  }
  const std::string reason =
      IsSensitive(name)
          ? std::string("its value is not one that it takes")
          : internal::Printable(std::string_view(why.data()));
  return MakeStatus(Code::kBadParameter, "check attribute \"",
                    internal::Printable(name), "\": ",
                    std::string_view(reason));
}

template <size_t Size>
absl::Status SetDefaults(rd_kafka_conf_t* conf,
                         const std::array<Setting, Size>& settings) {
  for (const auto& [name, value] : settings) {
    absl::Status status = Set(conf, std::string(name), std::string(value));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> Config::Parse(const Url& url,
                                     const Attributes& attributes) {
  if (auto s = url.CheckHasHosts(); !s.ok()) return s;
  if (!url.region().empty()) {
    return MakeStatus(Code::kIllegalUrl, "parse url \"", url.region(),
                      "\": Kafka has no regions; expected nothing behind the "
                      "hosts");
  }
  Config config;
  std::string servers;
  for (const auto& [host, port] : url.hosts()) {
    if (!servers.empty()) servers += ',';
    const bool brackets = host.find(':') != std::string::npos;
    servers += internal::Concat(brackets ? "[" : "", std::string_view(host),
                                brackets ? "]:" : ":",
                                port.value_or(kDefaultPort));
  }
  config.common_.emplace_back("bootstrap.servers", servers);
  if (!url.account().empty()) {
    config.common_.emplace_back("sasl.username", url.account());
  }
  for (const auto& [name, value] : attributes) {
    if (std::find(kDecided.begin(), kDecided.end(), name) != kDecided.end()) {
      return MakeStatus(Code::kBadParameter, "check attribute \"",
                        std::string_view(name),
                        "\": the driver decides it; expected no such "
                        "attribute");
    }
    config.common_.emplace_back(
        name == "account.key" ? std::string("sasl.password") : name, value);
  }
  if (auto conf = config.Make(Kind::kControl, {}); !conf.ok()) {
    return conf.status();
  }
  return config;
}

absl::StatusOr<OwnedConf> Config::Make(
    Kind kind,
    const std::vector<std::pair<std::string, std::string>>& settings) const {
  OwnedConf conf(rd_kafka_conf_new());
  // A library does not write on its program's terminal, unless it is asked to.
  const bool debug = std::any_of(
      common_.begin(), common_.end(),
      [](const auto& setting) { return setting.first == "debug"; });
  if (!debug) rd_kafka_conf_set_log_cb(conf.get(), nullptr);
  absl::Status status = SetDefaults(conf.get(), kCommonDefaults);
  if (status.ok() && kind == Kind::kProducer) {
    status = SetDefaults(conf.get(), kProducerDefaults);
  }
  if (status.ok() && kind == Kind::kConsumer) {
    status = SetDefaults(conf.get(), kConsumerDefaults);
  }
  for (const auto* list : {&common_, &settings}) {
    for (const auto& [name, value] : *list) {
      if (status.ok()) status = Set(conf.get(), name, value);
    }
  }
  if (!status.ok()) return status;
  return conf;
}

}  // namespace openmessaging::kafka
