// SPDX-License-Identifier: Apache-2.0
//
// Attributes: names, typed readers, merging, unknown names, secrets.

#include "openmessaging/attributes.h"

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::attributes_test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Attributes Make(
    std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
  Attributes result;
  for (const auto& [name, value] : list) REQUIRE(result.Set(name, value).ok());
  return result;
}

TEST_CASE("OMS-ATTR-001: attributes are set and found by name in order") {
  Attributes attributes = Make({{"b.two", "2"}, {"a-one", ""}, {"c3", "x"}});

  CHECK(attributes.size() == 3);
  CHECK(attributes.Find("b.two") == "2");
  CHECK(attributes.Find("a-one") == "");
  CHECK_FALSE(attributes.Find("absent"));
  CHECK(attributes.begin()->first == "a-one");
  REQUIRE(attributes.Set("b.two", "new").ok());
  CHECK(attributes.Find("b.two") == "new");
  CHECK(attributes.Remove("b.two"));
  CHECK_FALSE(attributes.Remove("b.two"));
  CHECK(attributes == Make({{"c3", "x"}, {"a-one", ""}}));
}

TEST_CASE("OMS-ATTR-001: a name outside of its characters is refused") {
  Attributes attributes;
  for (const std::string& name :
       {std::string(), std::string("Upper"), std::string("a b"),
        std::string("a_b"), std::string("a=b"), std::string("\xC3\xA9"),
        std::string("a\0b", 3), std::string(256, 'a')}) {
    CAPTURE(name);
    CHECK(OmsCode(attributes.Set(name, "x")) == Code::kBadParameter);
  }
  CHECK(attributes.empty());
  CHECK(attributes.Set(std::string(255, 'a'), "x").ok());
  CHECK(attributes.Set("A\n", "x").message() ==
        "set attribute \"A\\x0a\": not an attribute's name; expected 1 to 255 "
        "of [a-z0-9.-] (OMS-ATTR-001)");
}

TEST_CASE("OMS-ATTR-001: a value that is not UTF-8 is refused unprinted") {
  Attributes attributes;

  const absl::Status refused = attributes.Set("account.key", "hush\xFF");

  CHECK(OmsCode(refused) == Code::kBadParameter);
  CHECK(refused.message().find("hush") == refused.message().npos);
  CHECK(attributes.empty());
}

TEST_CASE("OMS-ATTR-002: the attributes of a call override those of a URL") {
  Attributes url = Make({{"a", "url"}, {"b", "url"}});

  url.OverrideWith(Make({{"b", "call"}, {"c", "call"}}));

  CHECK(url == Make({{"a", "url"}, {"b", "call"}, {"c", "call"}}));
}

TEST_CASE("OMS-ATTR-003: durations are read with their unit") {
  const Attributes attributes = Make({{"ms", "100ms"},
                                      {"s", "5s"},
                                      {"m", "2m"},
                                      {"h", "3h"},
                                      {"d", "36500d"},
                                      {"zero", "0s"}});

  CHECK(attributes.GetDuration("ms").value() == milliseconds(100));
  CHECK(attributes.GetDuration("s").value() == seconds(5));
  CHECK(attributes.GetDuration("m").value() == minutes(2));
  CHECK(attributes.GetDuration("h").value() == hours(3));
  CHECK(attributes.GetDuration("d").value() == hours(24) * 36500);
  CHECK(attributes.GetDuration("zero").value() == milliseconds(0));
  CHECK(attributes.GetDuration("absent", seconds(7)).value() == seconds(7));
  CHECK(attributes.GetDuration("s", seconds(7)).value() == seconds(5));
}

TEST_CASE("OMS-ATTR-003: a duration of another form is refused") {
  for (const char* const text :
       {"", "5", "s", "-5s", "+5s", "5 s", " 5s", "5s ", "1.5s", "5S", "5sec",
        "5s5ms", "36501d", "18446744073709551615d", "18446744073709551616ms",
        "0x5s", "1e3ms"}) {
    CAPTURE(text);
    const Attributes attributes = Make({{"t", text}});

    CHECK(OmsCode(attributes.GetDuration("t").status()) == Code::kBadParameter);
    CHECK_FALSE(attributes.GetDuration("t", seconds(1)).ok());
  }
  CHECK(Make({{"send.timeout", "5\n"}})
            .GetDuration("send.timeout")
            .status()
            .message() ==
        "read attribute \"send.timeout\": value is \"5\\x0a\"; expected a "
        "whole number with a unit, such as 100ms, 5s, 2m, 3h or 1d "
        "(OMS-ATTR-003)");
}

TEST_CASE("OMS-ATTR-003: sizes are read with and without a unit") {
  const std::vector<std::pair<const char*, size_t>> cases = {
      {"0", 0},
      {"512", 512},
      {"512B", 512},
      {"64KiB", 65536},
      {"1MiB", 1048576},
      {"2GiB", size_t{2} << 30},
      {"1TiB", size_t{1} << 40},
      {"10KB", 10000},
      {"10MB", 10000000},
      {"10GB", 10000000000},
      {"10TB", 10000000000000},
      {"18446744073709551615", std::numeric_limits<size_t>::max()}};
  for (const auto& expected : cases) {
    CAPTURE(expected.first);
    CHECK(Make({{"size", expected.first}}).GetSize("size").value() ==
          expected.second);
  }
  CHECK(Attributes().GetSize("size", 9).value() == 9);
  for (const char* const text :
       {"", "KiB", "-1", "1.5MiB", "1 MiB", "1mib", "1kB", "1M",
        "18446744073709551616", "16777216TiB", "18014398509481984KiB"}) {
    CAPTURE(text);
    CHECK(OmsCode(Make({{"size", text}}).GetSize("size").status()) ==
          Code::kBadParameter);
  }
}

TEST_CASE("OMS-ATTR-003: switches and whole numbers are read") {
  const Attributes attributes = Make({{"on", "on"},
                                      {"true", "true"},
                                      {"off", "off"},
                                      {"false", "false"},
                                      {"max", "9223372036854775807"},
                                      {"min", "-9223372036854775808"},
                                      {"over", "9223372036854775808"},
                                      {"real", "1.0"}});

  CHECK(attributes.GetBool("on").value());
  CHECK(attributes.GetBool("true").value());
  CHECK_FALSE(attributes.GetBool("off").value());
  CHECK_FALSE(attributes.GetBool("false").value());
  CHECK(attributes.GetBool("absent", true).value());
  CHECK_FALSE(attributes.GetBool("max").ok());
  CHECK(attributes.GetInteger("max").value() == INT64_MAX);
  CHECK(attributes.GetInteger("min").value() == INT64_MIN);
  CHECK(attributes.GetInteger("absent", -3).value() == -3);
  CHECK_FALSE(attributes.GetInteger("over", 1).ok());
  CHECK_FALSE(attributes.GetInteger("real").ok());
  CHECK_FALSE(attributes.GetInteger("on").ok());
  CHECK(attributes.GetBool("absent").status().message() ==
        "read attribute \"absent\": not set; expected on, off, true or false "
        "(OMS-ATTR-003)");
}

TEST_CASE("OMS-ATTR-004: an unknown attribute is refused with the nearest") {
  constexpr std::string_view kKnown[] = {"operation.timeout", "send.timeout",
                                         "lease", "auto-create"};
  const auto check = [&](std::string_view name) {
    return std::string(Make({{name, "1"}}).CheckKnown(kKnown).message());
  };

  CHECK(
      Make({{"lease", "1s"}, {"send.timeout", "1s"}}).CheckKnown(kKnown).ok());
  CHECK(Attributes().CheckKnown({}).ok());
  CHECK(OmsCode(Make({{"x", "1"}}).CheckKnown(kKnown)) == Code::kBadParameter);
  CHECK(check("send.tiemout") ==
        "check attribute \"send.tiemout\": unknown; did you mean "
        "\"send.timeout\" (OMS-ATTR-004)");
  CHECK(check("leese").find("did you mean \"lease\"") != std::string::npos);
  CHECK(check("autocreate").find("\"auto-create\"") != std::string::npos);
  CHECK(check("frobnicate") ==
        "check attribute \"frobnicate\": unknown; expected one of "
        "operation.timeout, send.timeout, lease, auto-create (OMS-ATTR-004)");
  CHECK(Make({{"x", "1"}}).CheckKnown({}).message() ==
        "check attribute \"x\": unknown; expected none at all (OMS-ATTR-004)");
}

TEST_CASE("OMS-ATTR-005: a secret is printed as stars and in no error") {
  for (const char* const name :
       {"account.key", "password", "token", "secret", "passphrase", "tls.key",
        "sasl.password", "sasl-password", "oauth.token", "client.secret"}) {
    CAPTURE(name);
    const Attributes attributes = Make({{name, "hush"}, {"zone", "eu"}});
    const std::string text = attributes.ToString();
    const auto reads = {
        std::string(attributes.GetSize(name).status().message()),
        std::string(attributes.GetBool(name).status().message()),
        std::string(attributes.CheckKnown({}).message())};

    CHECK(text.find("hush") == std::string::npos);
    CHECK(text.find(std::string(name) + "=***") != std::string::npos);
    CHECK(text.find("zone=eu") != std::string::npos);
    for (const std::string& read : reads) {
      CHECK_FALSE(read.empty());
      CHECK(read.find("hush") == std::string::npos);
    }
    CHECK(attributes.Find(name) == "hush");
  }
  for (const char* const name :
       {"account", "key-order", "monkey", "tokens", "nopassword", "lease"}) {
    CAPTURE(name);
    CHECK_FALSE(IsSecretAttribute(name));
  }
  CHECK(Make({{"b", "2\n"}, {"a", "1"}}).ToString() == "a=1, b=2\\x0a");
}

}  // namespace
}  // namespace openmessaging::attributes_test
