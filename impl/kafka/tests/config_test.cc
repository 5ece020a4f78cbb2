// SPDX-License-Identifier: Apache-2.0
//
// What a URL and attributes become, and that no secret is told.

#include "config.h"

#include <doctest/doctest.h>

#include "openmessaging/kafka/driver.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka::kafka_config_test {
namespace {

absl::StatusOr<Config> Parse(
    std::string_view url,
    const std::vector<std::pair<std::string, std::string>>& attributes = {}) {
  const auto parsed = Url::Parse(url);
  REQUIRE(parsed.ok());
  Attributes all = parsed->attributes();
  for (const auto& [name, value] : attributes) {
    REQUIRE(all.Set(name, value).ok());
  }
  return Config::Parse(*parsed, all);
}

std::string SettingOf(const Config& config, Config::Kind kind,
                      const char* name) {
  const auto conf = config.Make(kind, {});
  REQUIRE(conf.ok());
  char value[512] = {};
  size_t size = sizeof(value);
  REQUIRE(rd_kafka_conf_get(conf->get(), name, value, &size) ==
          RD_KAFKA_CONF_OK);
  return value;
}

TEST_CASE("hosts, account and attributes become settings") {
  const auto config =
      Parse("oms:kafka://ann@a,b:19092,[::1]:1",
            {{"sasl.password", "x"}, {"linger.ms", "7"},
             {"security.protocol", "sasl_plaintext"}});
  REQUIRE(config.ok());
  using Kind = Config::Kind;

  CHECK(SettingOf(*config, Kind::kControl, "bootstrap.servers") ==
        "a:9092,b:19092,[::1]:1");
  CHECK(SettingOf(*config, Kind::kControl, "sasl.username") == "ann");
  CHECK(SettingOf(*config, Kind::kProducer, "linger.ms") == "7");
  CHECK(SettingOf(*config, Kind::kConsumer, "session.timeout.ms") == "10000");
  CHECK(SettingOf(*config, Kind::kConsumer, "security.protocol") ==
        "sasl_plaintext");
}

TEST_CASE("what cannot be used is refused before anything is opened") {
  CHECK(OmsCode(Parse("oms:kafka://").status()) == Code::kIllegalUrl);
  CHECK(OmsCode(Parse("oms:kafka://h/region").status()) == Code::kIllegalUrl);
  CHECK(OmsCode(Parse("oms:kafka://h", {{"no-such", "1"}}).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(Parse("oms:kafka://h", {{"linger.ms", "soon"}}).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(Parse("oms:kafka://h", {{"group.id", "g"}}).status()) ==
        Code::kBadParameter);
}

TEST_CASE("OMS-SEC-006: no error tells a secret") {
  for (const std::string name :
       {"sasl.password", "account.key", "ssl.key.password", "ssl.key.pem",
        "sasl.oauthbearer.config", "ssl.keystore.password"}) {
    CAPTURE(name);
    // Of a kind that some of these refuse.
    const auto config = Parse("oms:kafka://h", {{name, "hunter2"},
                                                {"linger.ms", "soon"}});
    CHECK(std::string(config.status().message()).find("hunter2") ==
          std::string::npos);
  }
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_config_test
