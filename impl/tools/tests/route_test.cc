// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms route.

#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::route_test {
namespace {

Ended OmsRoute(const Store& store, const std::string& verb,
               const Arguments& rest) {
  Arguments arguments{"route", verb, store.url()};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

std::string All(const Store& store, const std::string& queue) {
  return Oms({"receive", store.url(), queue, "--timeout", "0", "--max", "9"})
      .out;
}

}  // namespace

TEST_CASE("OMS-CLI-020: what enters a queue goes where routes lead") {
  const Store store;
  for (const char* const queue : {"large", "audit"}) {
    REQUIRE(Oms({"queue", "create", store.url(), queue}).code == 0);
  }

  const Ended created = OmsRoute(store, "create",
                                 {"orders", "large", "--filter", "price > 9"});

  CHECK(created.code == 0);
  CHECK(created.out == "routed orders to large\n");
  REQUIRE(OmsRoute(store, "create", {"large", "audit"}).code == 0);
  REQUIRE(store.Send({"pear", "--property", "price=1"}).code == 0);
  REQUIRE(store.Send({"melon", "--property", "price=10"}).code == 0);
  CHECK(All(store, "orders") == "pear\nmelon\n");
  CHECK(All(store, "large") == "melon\n");
  CHECK(All(store, "audit") == "melon\n");
  const Ended deleted = OmsRoute(store, "delete", {"orders", "large"});
  CHECK(deleted.code == 0);
  CHECK(deleted.out == "deleted orders to large\n");
  REQUIRE(store.Send({"grape", "--property", "price=10"}).code == 0);
  CHECK(All(store, "large").empty());
}

TEST_CASE("OMS-CLI-020: routes are listed as a table or as JSON") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "audit"}).code == 0);
  REQUIRE(Oms({"queue", "create", store.url(), "b"}).code == 0);
  CHECK(OmsRoute(store, "list", {}).out.empty());
  REQUIRE(OmsRoute(store, "create", {"orders", "b"}).code == 0);
  REQUIRE(OmsRoute(store, "create", {"b", "audit", "--filter", "kind = 'x'"})
              .code == 0);

  CHECK(OmsRoute(store, "list", {}).out ==
        "b       audit  kind = 'x'\norders  b      all\n");
  CHECK(OmsRoute(store, "list", {"orders"}).out == "orders  b  all\n");
  const auto object = nlohmann::json::parse(
      OmsRoute(store, "list", {"b", "--json"}).out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["source"] == "b");
  CHECK(object["target"] == "audit");
  CHECK(object["filter"] == "kind = 'x'");
}

TEST_CASE("OMS-CLI-020: a route that cannot be is refused") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "b"}).code == 0);
  REQUIRE(OmsRoute(store, "create", {"orders", "b"}).code == 0);

  CheckFailed(OmsRoute(store, "create", {"b", "orders"}), 1, 1418,
              "come back");
  CheckFailed(OmsRoute(store, "create", {"orders", "b"}), 1, 1406, "orders");
  CheckFailed(OmsRoute(store, "create", {"orders", "b", "--filter", "a >"}), 1,
              1418, "column 4");
  CheckFailed(OmsRoute(store, "create", {"orders", "nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
  CheckFailed(OmsRoute(store, "delete", {"b", "orders"}), 1, 1404,
              "no such route");
  CheckFailed(OmsRoute(store, "list", {"nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
  CheckFailed(OmsRoute(store, "create", {"orders"}), 2, 1418, "TARGET");
  CheckFailed(Oms({"queue", "delete", store.url(), "b"}), 1, 1602, "orders");
}

}  // namespace openmessaging::tools::route_test
