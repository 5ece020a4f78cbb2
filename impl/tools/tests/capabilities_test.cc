// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms capabilities.

#include <map>
#include <sstream>
#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"
#include "openmessaging/capability.h"

namespace openmessaging::tools::capabilities_test {

TEST_CASE("OMS-CLI-010: every capability is in the table once") {
  const Store store;

  const Ended ended = Oms({"capabilities", store.url(), "orders"});

  CHECK(ended.code == 0);
  std::map<std::string, std::string> found;
  size_t column = 0;
  for (const std::string& line : SplitLines(ended.out)) {
    if (line.empty()) break;  // Limits follow.
    std::istringstream words(line);
    std::string name;
    std::string support;
    words >> name >> support;
    CHECK(found.emplace(name, support).second);
    // The second column is straight.
    if (column == 0) column = line.rfind(support);
    CHECK(line.rfind(support) == column);
  }
  CHECK(found.size() == kCapabilityNames.size());
  for (const auto name : kCapabilityNames) {
    CAPTURE(name);
    CHECK(found.contains(std::string(name)));
  }
  CHECK(found["individual-ack"] == "native");
  CHECK(found["durable"] == "native");
  CHECK(found["tls"] == "unsupported");
  CHECK(ended.out.find("max-partitions") != std::string::npos);
  CHECK(ended.out.find("1024") != std::string::npos);
}

TEST_CASE("OMS-CLI-010: capabilities differ by driver and are JSON on demand") {
  const Ended ended = Oms({"capabilities", "oms:memory://shop", "--json"});

  CHECK(ended.code == 0);
  CHECK(SplitLines(ended.out).size() == 1);
  const auto object = nlohmann::json::parse(ended.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(!object.contains("queue"));
  CHECK(object["capabilities"].size() == kCapabilityNames.size());
  CHECK(object["capabilities"]["durable"] == "unsupported");
  CHECK(object["capabilities"]["groups"] == "native");
  CHECK(object["limits"]["max_partitions"] == 1024);
}

TEST_CASE("OMS-CLI-010: capabilities of what is no URL or no name fail") {
  CheckFailed(Oms({"capabilities", "shop"}), 1, 10001, "\"shop\"");
  CheckFailed(Oms({"capabilities", "oms:memory://shop", "a b"}), 1, 1418,
              "a b");
}

}  // namespace openmessaging::tools::capabilities_test
