// SPDX-License-Identifier: Apache-2.0
//
// Url: its parts, what is refused, the canonical text, and no secret in errors.

#include "openmessaging/url.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::url_test {
namespace {

using std::string_literals::operator""s;

Url Parsed(std::string_view text) {
  auto url = Url::Parse(text);
  INFO(text, " ", url.status().ToString());
  REQUIRE(url.ok());
  return *std::move(url);
}

// The error's text; the test fails where there is none or of another code.
std::string Refusal(std::string_view text) {
  const absl::Status status = Url::Parse(text).status();
  CAPTURE(internal::Printable(text));
  CHECK(OmsCode(status) == Code::kIllegalUrl);
  const std::string message(status.message());
  CHECK(message.starts_with("parse url \""));
  CHECK(message.find("; expected ") != std::string::npos);
  CHECK(message.size() < 1100);  // 200 bytes, each escaped, and the sentence.
  for (const char c : message) CHECK((c >= ' ' && c <= '~'));
  return message;
}

// Whether the refusal names that requirement.
bool Refused(std::string_view text, std::string_view requirement) {
  return Refusal(text).find(requirement) != std::string::npos;
}

TEST_CASE("OMS-URL-001: a url has a driver and a host and maybe a region") {
  const Url url = Parsed("oms:kafka://broker-1.example:9092/eu-west");

  CHECK(url.driver() == "kafka");
  CHECK(url.region() == "eu-west");
  CHECK(url.account() == "");
  CHECK(url.path() == "");
  CHECK(url.attributes().empty());
  CHECK(url.hosts() ==
        std::vector<Url::HostPort>{{"broker-1.example", uint16_t{9092}}});
  CHECK(Parsed("oms:memory://name").region() == "");
  CHECK(Parsed("oms:memory://name/").region() == "");
  CHECK(Parsed("oms:memory://name").hosts()[0].port == std::nullopt);
  CHECK(Parsed("oms:memory://").hosts().empty());
}

TEST_CASE("OMS-URL-001: a url without scheme or driver or place is refused") {
  for (const std::string& text :
       {""s, "oms"s, "oms:"s, "kafka://h"s, "http://h"s, "OMS:kafka://h"s,
        " oms:kafka://h"s, "oms:kafka"s, "oms:://h"s, "oms:Kafka://h"s,
        "oms:../x://h"s, "oms:ka_fka://h"s, "oms:ka/fka://h"s, "oms:a\0b://h"s,
        "oms:"s + std::string(65, 'd') + "://h", "oms:file:"s,
        "oms:file:?lease=1s"s, "oms:kafka://h/eu#part"s,
        "oms:file:///var/a#b"s}) {
    CHECK(Refused(text, "OMS-URL-001"));
  }
  CHECK(Parsed("oms:" + std::string(64, 'd') + "://h").driver().size() == 64);
}

TEST_CASE("OMS-URL-002: several hosts keep their order and ports") {
  const Url url = Parsed("oms:kafka://b:1,a,10.0.0.1:65535,[::1]:9,[fe80::2]");

  CHECK(url.hosts() == std::vector<Url::HostPort>{{"b", uint16_t{1}},
                                                  {"a", std::nullopt},
                                                  {"10.0.0.1", uint16_t{65535}},
                                                  {"::1", uint16_t{9}},
                                                  {"fe80::2", std::nullopt}});
}

TEST_CASE("OMS-URL-002: IPv6 addresses are read in brackets") {
  for (const char* const address :
       {"::", "::1", "1::", "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::", "2001:db8::ff00:42:8329", "::ffff:192.0.2.1",
        "1:2:3:4:5:6:1.2.3.4", "FE80::ABCD"}) {
    CAPTURE(address);
    const Url url = Parsed("oms:x://["s + address + "]:5");
    CHECK(url.hosts()[0].host == address);
    CHECK(url.hosts()[0].port == 5);
  }
  CHECK(Parsed("oms:x://[fe80::1%25eth0]").hosts()[0].host == "fe80::1%eth0");
  CHECK(Parsed("oms:x://[fe80::1%25eth0]").ToString() ==
        "oms:x://[fe80::1%25eth0]");
  for (const char* const address : {"",
                                    ":",
                                    ":::",
                                    "1",
                                    "1:2:3:4:5:6:7",
                                    "1:2:3:4:5:6:7:8:9",
                                    "1::2::3",
                                    "1:2:3:4:5:6:7:8::",
                                    "12345::",
                                    "g::",
                                    "1.2.3.4",
                                    "::1.2.3",
                                    "::1.2.3.256",
                                    "::01.2.3.4",
                                    "::1.2.3.4:5",
                                    ":1::",
                                    "::1:",
                                    "fe80::1%eth0",
                                    "fe80::1%25",
                                    "fe80::1%25a/b",
                                    "::1]",
                                    "[::1"}) {
    CAPTURE(address);
    CHECK(Refused("oms:x://["s + address + "]:5", "OMS-URL-002"));
  }
  CHECK(Refused("oms:x://[::1", "OMS-URL-002"));
  CHECK(Refused("oms:x://[::1]5", "OMS-URL-002"));
  CHECK(Refused("oms:x://::1", "OMS-URL-002"));
  CHECK(Refused("oms:x://fe80::1:9092", "OMS-URL-002"));
}

TEST_CASE("OMS-URL-002: bad hosts and ports are refused by their number") {
  for (const char* const hosts :
       {":9",       "a:",       "a:0",   "a:65536", "a:-1",
        "a:+1",     "a:1x",     "a:0x1", "a: 1",    "a:99999999999999999999",
        "a:000001", "a,",       ",a",    "a,,b",    "a b",
        "a%41",     "\xC3\xA9", "a\\b",  "a:1:2",   "a;b",
        "a\x01",    "a,b:0"}) {
    CAPTURE(hosts);
    CHECK(Refused("oms:x://"s + hosts, "OMS-URL-002"));
  }
  CHECK(Refusal("oms:x://a,b:70000") ==
        "parse url \"oms:x://a,b:70000\": the port of host 2 is malformed; "
        "expected a number from 1 to 65535, and brackets around an IPv6 "
        "address (OMS-URL-002)");
  CHECK(Refused("oms:x://" + std::string(256, 'h'), "OMS-URL-002"));
  CHECK(Parsed("oms:x://" + std::string(255, 'h')).hosts().size() == 1);
}

TEST_CASE("OMS-URL-003: the account is read and absent where it is absent") {
  CHECK(Parsed("oms:x://shop@h").account() == "shop");
  CHECK(Parsed("oms:x://shop@h").hosts()[0].host == "h");
  CHECK(Parsed("oms:x://me%40shop.example@h").account() == "me@shop.example");
  CHECK(Parsed("oms:x://h").account() == "");
  CHECK(Refused("oms:x://@h", "OMS-URL-003"));
  CHECK(Refused("oms:x://a@b@h", "OMS-URL-003"));
  CHECK(Refused("oms:x://a@", "OMS-URL-002"));
}

TEST_CASE("OMS-URL-004: account and region and path and values are decoded") {
  CHECK(Parsed("oms:x://a%20b@h").account() == "a b");
  CHECK(Parsed("oms:x://h/eu%2Fwest").region() == "eu/west");
  CHECK(Parsed("oms:x://h/gr%c3%bc%C3%9F").region() == "gr\u00FC\u00DF");
  CHECK(Parsed("oms:file:///a%20b/%25").path() == "/a b/%");
  CHECK(Parsed("oms:x://h?a=1%262%3D3+4").attributes().Find("a") == "1&2=3+4");
  for (const char* const part :
       {"%", "a%", "a%4", "%4g", "%zz", "%-1", "%00", "a%00b", "%0a", "%1F",
        "%7f", "\x01", "a\tb", "%ff", "%C3", "%ED%A0%80", "\xFF"}) {
    CAPTURE(part);
    CHECK(Refused("oms:x://a"s + part + "@h", "OMS-URL-004"));
    CHECK(Refused("oms:x://h/"s + part, "OMS-URL-004"));
    CHECK(Refused("oms:file:///"s + part, "OMS-URL-004"));
    CHECK(Refused("oms:file:r"s + part, "OMS-URL-004"));
    CHECK(Refused("oms:x://h?a="s + part, "OMS-URL-004"));
  }
  CHECK(Refused("oms:x://h/eu/west", "OMS-URL-004"));
  CHECK(Refused("oms:x://h/eu@west", "OMS-URL-004"));
}

TEST_CASE("OMS-URL-005: attributes are read by name") {
  const Url url = Parsed("oms:x://h/eu?send.timeout=5s&auto-create=queue&e=");

  CHECK(url.attributes().size() == 3);
  CHECK(url.attributes().GetDuration("send.timeout").value() ==
        std::chrono::seconds(5));
  CHECK(url.attributes().Find("auto-create") == "queue");
  CHECK(url.attributes().Find("e") == "");
  CHECK(Parsed("oms:x://h?").attributes().empty());
  CHECK(Parsed("oms:file:///p?a=/x?y").attributes().Find("a") == "/x?y");
  for (const char* const query : {"a", "=1", "A=1", "a_b=1", "a%2eb=1", "a=1&",
                                  "&a=1", "a=1&&b=2", "a=1&a=2", "a b=1"}) {
    CAPTURE(query);
    CHECK(Refused("oms:x://h?"s + query, "OMS-URL-005"));
  }
}

TEST_CASE("OMS-URL-006: a secret is refused and printed in no error") {
  const std::string secret = "Hush9";
  for (const std::string& text :
       {"oms:x://user:Hush9@h:1/eu"s, "oms:x://user%3AHush9@h"s,
        "oms:x://user%3aHush9@h"s, "oms:x://:Hush9@h"s,
        "oms:x://h?password=Hush9"s, "oms:x://h/eu?a=1&account.key=Hush9&b=2"s,
        "oms:x://h?token=Hush9"s, "oms:x://h?tls.key=Hush9"s,
        "oms:x://h?sasl.password=Hush9"s}) {
    CAPTURE(text);
    const std::string message = Refusal(text);
    CHECK(message.find("(OMS-URL-006)") != std::string::npos);
    CHECK(message.find(secret) == std::string::npos);
    CHECK(message.find("***") != std::string::npos);
  }
  CHECK(Refusal("oms:kafka://user:Hush9@h:1/eu") ==
        "parse url \"oms:kafka://user:***@h:1/eu\": it carries a password; "
        "expected secrets as attributes of the call, in the environment or in "
        "a file (OMS-URL-006)");
  // Wrong in some other way too: still nothing of the secret.
  for (const std::string& text : {"kafka://user:Hush9@h"s,
                                  "user:Hush9@h"s,
                                  "oms:x:/user:Hush9@h\x01"s,
                                  "oms:x://user:pa/Hush9@h"s,
                                  "oms:x://user:pa?Hush9@h"s,
                                  "oms:x://user:pa#Hush9@h"s,
                                  "oms:x://user:pa@Hush9@h"s,
                                  "oms:x://user:pa,Hush9@h"s,
                                  "oms:x://user:Hush9%40h"s,
                                  "oms:x://user:Hush9@h:0"s,
                                  "oms:X://user:Hush9@h"s,
                                  "user:Hush9://x@h"s,
                                  "u:Hush9://x@h"s,
                                  "oms:x://user:%ffHush9@h"s,
                                  "user%3aHush9@h"s,
                                  "oms:x://user:a@bHush9%40h"s,
                                  "oms:x://user:://Hush9@h"s,
                                  "oms:x://h?Password=Hush9"s,
                                  "oms:x://h?PASSWORD=Hush9"s,
                                  "oms:x://h?p%61ssword=Hush9"s,
                                  "oms:x://h?p%61ssword=Hush9&a=%zz"s,
                                  "oms:x://h:0?password=Hush9"s,
                                  "oms:user%3aHush9@x://h/p"s,
                                  "x://h?password=Hush9"s,
                                  "oms:x://h?a=1;password=Hush9#"s,
                                  "oms:x://h#password=Hush9"s,
                                  "oms:x://h\x01&password=Hush9"s,
                                  "oms:file://r?password=Hush9"s,
                                  "oms:file://user:Hush9@r"s,
                                  "oms:"s + "x://h?password=Hush9"s}) {
    CAPTURE(internal::Printable(text));
    CHECK(Refusal(text).find(secret) == std::string::npos);
  }
  const std::string far = "oms:x://user:Hush9" + std::string(70000, 'x') + "@h";
  CHECK(Refusal(far).find(secret) == std::string::npos);
}

TEST_CASE("OMS-URL-007: too many hosts and too long a text are refused") {
  std::string hosts = "h1";
  for (int i = 2; i <= 64; ++i) hosts += ",h" + std::to_string(i);
  const std::string start = "oms:x://h?a=";

  CHECK(Parsed("oms:x://" + hosts).hosts().size() == 64);
  CHECK(Refused("oms:x://" + hosts + ",h65", "OMS-URL-007"));
  CHECK(Parsed(start + std::string(65536 - start.size(), 'v')).driver() == "x");
  CHECK(Refused(start + std::string(65537 - start.size(), 'v'), "OMS-URL-007"));
}

TEST_CASE("OMS-URL-008: the canonical text parses to an equal url") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"oms:kafka://h", "oms:kafka://h"},
      {"oms:kafka://h/?", "oms:kafka://h"},
      {"oms:kafka://a%2Db@h:09,[::1]:7/e%75?z=1&a=%20",
       "oms:kafka://a-b@h:9,[::1]:7/eu?a=%20&z=1"},
      {"oms:x://a%2f@h/b%2F%40", "oms:x://a%2F@h/b%2F%40"},
      {"oms:file:///var/lib/my shop", "oms:file:///var/lib/my%20shop"},
      {"oms:file:/var", "oms:file:///var"},
      {"oms:file:%2Fvar", "oms:file:///var"},
      {"oms:file:%2F%2Fvar", "oms:file:////var"},
      {"oms:file:////var", "oms:file:////var"},
      {"oms:file:a/%3F%23%26b:c@d", "oms:file:a/%3F%23%26b:c@d"},
      {"oms:file:../x?a=%26%3d%23", "oms:file:../x?a=%26%3D%23"},
      {"oms:memory://?a=1", "oms:memory://?a=1"}};
  for (const auto& expected : cases) {
    CAPTURE(expected.first);
    const Url url = Parsed(expected.first);
    CHECK(url.ToString() == expected.second);
    CHECK(Parsed(url.ToString()) == url);
  }
  CHECK(Parsed("oms:x://h") != Parsed("oms:y://h"));
  CHECK(Parsed("oms:x://h") != Parsed("oms:x://h:1"));
  CHECK(Parsed("oms:x://h?a=1") != Parsed("oms:x://h?a=2"));
  CHECK(Parsed("oms:file:///a") != Parsed("oms:file:a"));
}

TEST_CASE("OMS-URL-008: random texts parse to what they print or are refused") {
  const std::vector<std::string> pieces = {
      "oms:", "x",     "file", "://",      ":",    "/",   "//",  "@",   ",",
      "h",    "[::1]", "[",    "]",        ":9",   ":0",  "?",   "&",   "=",
      "a=1",  "b",     "%",    "%2F",      "%00",  "%41", "%3a", "%40", "#",
      ".",    "..",    " ",    "\xC3\xA9", "\xFF", "\n",  "\\",  "%25"};
  std::mt19937 random(42);
  int accepted = 0;
  for (int round = 0; round < 100000; ++round) {
    std::string text = random() % 8 == 0 ? "" : "oms:x:";
    if (random() % 2 == 0) text += "//h";
    for (size_t n = random() % 9; n > 0; --n) {
      text += pieces[random() % pieces.size()];
    }
    CAPTURE(internal::Printable(text));
    const auto url = Url::Parse(text);
    if (!url.ok()) {
      REQUIRE(OmsCode(url.status()) == Code::kIllegalUrl);
      continue;
    }
    ++accepted;
    const auto again = Url::Parse(url->ToString());
    REQUIRE(again.ok());
    REQUIRE(*again == *url);
    REQUIRE(again->ToString() == url->ToString());
    for (const char c : url->ToString()) REQUIRE((c > ' ' && c <= '~'));
  }
  CHECK(accepted > 1000);
}

TEST_CASE("OMS-URL-009: a file url has a path and no host") {
  CHECK(Parsed("oms:file:///var/lib/shop").path() == "/var/lib/shop");
  CHECK(Parsed("oms:file:relative/path").path() == "relative/path");
  CHECK(Parsed("oms:file:./p?lease=1s").path() == "./p");
  CHECK(Parsed("oms:file:///var/lib/shop").hosts().empty());
  CHECK(Refusal("oms:file://relative") ==
        "parse url \"oms:file://relative\": a file url has no host; expected "
        "oms:file:///absolute/path or oms:file:relative/path (OMS-URL-009)");
  CHECK(Refused("oms:file://localhost/var", "OMS-URL-009"));
}

TEST_CASE("OMS-URL-009: a driver can ask for hosts or for a path") {
  const Url file = Parsed("oms:file:///p");
  const Url broker = Parsed("oms:kafka://h");
  const Url neither = Parsed("oms:kafka://");

  CHECK(file.CheckHasPath().ok());
  CHECK(broker.CheckHasHosts().ok());
  CHECK(OmsCode(neither.CheckHasHosts()) == Code::kIllegalUrl);
  CHECK(OmsCode(broker.CheckHasPath()) == Code::kIllegalUrl);
  CHECK(file.CheckHasHosts().message() ==
        "parse url \"oms:file:///p\": it has no host; expected "
        "oms:file://host:port (OMS-URL-009)");
}

}  // namespace
}  // namespace openmessaging::url_test
