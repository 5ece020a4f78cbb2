// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms namespace, and of namespaces in the other commands.

#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::namespace_test {
namespace {

Ended Namespace(const Store& store, const std::string& verb,
                const Arguments& rest = {}) {
  Arguments arguments{"namespace", verb, store.url()};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

}  // namespace

TEST_CASE("OMS-CLI-021: namespaces are created and listed and deleted") {
  const Store store;
  CHECK(Namespace(store, "list").out.empty());

  const Ended created = Namespace(store, "create", {"us"});

  CHECK(created.code == 0);
  CHECK(created.out == "created us\n");
  CHECK(Namespace(store, "create", {"eu"}).code == 0);
  CHECK(Namespace(store, "list").out == "eu\nus\n");
  CheckFailed(Namespace(store, "create", {"eu"}), 1, 1407, "\"eu\"");
  const Ended deleted = Namespace(store, "delete", {"us"});
  CHECK(deleted.code == 0);
  CHECK(deleted.out == "deleted us\n");
  CHECK(Namespace(store, "list").out == "eu\n");
  CheckFailed(Namespace(store, "delete", {"us"}), 1, 1405, "\"us\"");
}

TEST_CASE("OMS-CLI-021: queues are listed by their namespaces") {
  const Store store;
  REQUIRE(Namespace(store, "create", {"eu"}).code == 0);
  REQUIRE(Oms({"queue", "create", store.url(), "eu://orders"}).code == 0);
  REQUIRE(Oms({"send", store.url(), "eu://orders", "42 apples"}).code == 0);

  CHECK(Oms({"queue", "list", store.url()}).out ==
        "eu://orders  1 partition\norders       1 partition\n");
  CHECK(Oms({"queue", "list", store.url(), "--namespace", "eu"}).out ==
        "eu://orders  1 partition\n");
  const Ended stats =
      Oms({"stats", store.url(), "--namespace", "eu", "--json"});
  REQUIRE(SplitLines(stats.out).size() == 1);
  const auto object = nlohmann::json::parse(stats.out, nullptr, false);
  CHECK(object["queue"] == "eu://orders");
  CHECK(object["depth"] == 1);
  CHECK(SplitLines(Oms({"stats", store.url(), "--json"}).out).size() == 2);
  // The queue of that name in the default namespace is another one.
  CHECK(store.Receive().out.empty());
  CHECK(Oms({"receive", store.url(), "eu://orders", "--timeout", "0"}).out ==
        "42 apples\n");
}

TEST_CASE("OMS-CLI-021: what cannot be a namespace is told") {
  const Store store;
  REQUIRE(Namespace(store, "create", {"eu"}).code == 0);
  REQUIRE(Oms({"queue", "create", store.url(), "eu://orders"}).code == 0);

  CheckFailed(Namespace(store, "delete", {"eu"}), 1, 1602,
              "it has queue \"eu://orders\"");
  CheckFailed(Namespace(store, "create", {"a b"}), 1, 1418,
              "check namespace \"a b\"");
  CheckFailed(Namespace(store, "create"), 2, 1418, "NAMESPACE");
  CheckFailed(Oms({"namespace"}), 2, 1418, "expected create, delete or list");
  const std::string advice =
      "to create it: oms namespace create " + store.url() + " asia";
  CheckFailed(Oms({"queue", "create", store.url(), "asia://orders"}), 1, 1405,
              advice);
  CheckFailed(Oms({"queue", "create", store.url(), "bills", "--dead-letter",
                   "asia://dead"}),
              1, 1405, advice);
  CheckFailed(Oms({"queue", "create", store.url(), "eu://bills",
                   "--dead-letter", "eu://dead"}),
              1, 1404, "oms queue create " + store.url() + " eu://dead");
  CheckFailed(Oms({"send", store.url(), "asia://orders", "x"}), 1, 1405,
              advice);
  CheckFailed(Oms({"receive", store.url(), "asia://orders", "--timeout", "0"}),
              1, 1405, advice);
  CheckFailed(Oms({"queue", "list", store.url(), "--namespace", "asia"}), 1,
              1405, advice);
  CheckFailed(Oms({"stats", store.url(), "--namespace", "asia"}), 1, 1405,
              advice);
  CheckFailed(Oms({"queue", "list", store.url(), "orders", "--namespace",
                   "eu"}),
              2, 1418, "QUEUE excludes --namespace");
}

TEST_CASE("OMS-CLI-021: the limits of namespaces and queues are told") {
  const Store store;
  const Ended ended = Oms({"capabilities", store.url(), "--json"});
  const auto object = nlohmann::json::parse(ended.out, nullptr, false);
  CHECK(object["capabilities"]["namespaces"] == "native");
  CHECK(object["limits"]["max_namespaces"] == 1024);
  CHECK(object["limits"]["max_queues"] == 65536);
}

}  // namespace openmessaging::tools::namespace_test
