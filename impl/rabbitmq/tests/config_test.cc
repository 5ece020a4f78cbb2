// SPDX-License-Identifier: Apache-2.0

#include "config.h"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "openmessaging/status.h"

namespace openmessaging::rabbitmq::rabbitmq_config_test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<Config> Read(std::string_view url, const Pairs& pairs = {}) {
  const auto parsed = Url::Parse(url);
  REQUIRE(parsed.ok());
  Attributes attributes = parsed->attributes();
  for (const auto& [name, value] : pairs) {
    REQUIRE(attributes.Set(name, value).ok());
  }
  return ReadConfig(*parsed, attributes);
}

TEST_CASE("a host alone gets what brokers have by default") {
  const auto config = Read("oms:rabbitmq://broker.example");
  REQUIRE(config.ok());
  REQUIRE(config->hosts.size() == 1);
  CHECK(config->hosts[0].name == "broker.example");
  CHECK(config->hosts[0].port == 5672);
  CHECK(config->virtual_host == "/");
  CHECK(config->user == "guest");
  CHECK(config->queue_type == QueueType::kQuorum);
}

TEST_CASE("account and region and hosts are those of the URL") {
  const auto config =
      Read("oms:rabbitmq://ann@a:1,b/shop", {{"password", "pw"}});
  REQUIRE(config.ok());
  CHECK(config->user == "ann");
  CHECK(config->password == "pw");
  CHECK(config->virtual_host == "shop");
  REQUIRE(config->hosts.size() == 2);
  CHECK(config->hosts[0].port == 1);
  CHECK(config->hosts[1].port == 5672);
}

TEST_CASE("an account never has the password of guests") {
  const auto config = Read("oms:rabbitmq://ann@a");
  REQUIRE(config.ok());
  CHECK(config->password.empty());
}

TEST_CASE("TLS has a port of its own") {
  const auto config =
      Read("oms:rabbitmq://a", {{"tls", "on"}, {"tls.ca-file", "/ca.pem"}});
  REQUIRE(config.ok());
  CHECK(config->tls.enabled);
  CHECK(config->tls.ca_file == "/ca.pem");
  CHECK(config->hosts[0].port == 5671);
}

TEST_CASE("what cannot be read is refused") {
  for (const Pairs& pairs :
       {Pairs{{"heartbeat", "0s"}}, Pairs{{"heartbeat", "2h"}},
        Pairs{{"heartbeat", "soon"}}, Pairs{{"connect-timeout", "0ms"}},
        Pairs{{"reconnect-wait", "0ms"}}, Pairs{{"queue-type", "stream"}},
        Pairs{{"tls", "perhaps"}}, Pairs{{"tls.ca-file", "/ca.pem"}},
        Pairs{{"tls", "on"}, {"tls.cert-file", "/c.pem"}},
        Pairs{{"pasword", "pw"}}}) {
    CAPTURE(pairs[0].first);
    CHECK(OmsCode(Read("oms:rabbitmq://a", pairs).status()) ==
          Code::kBadParameter);
  }
  CHECK(OmsCode(Read("oms:rabbitmq:///path").status()) == Code::kIllegalUrl);
}

TEST_CASE("no error prints a password") {
  const auto config =
      Read("oms:rabbitmq://a", {{"password", "s3cret"}, {"heartbeat", "soon"}});
  REQUIRE(!config.ok());
  CHECK(std::string(config.status().message()).find("s3cret") ==
        std::string::npos);
}

}  // namespace openmessaging::rabbitmq::rabbitmq_config_test
