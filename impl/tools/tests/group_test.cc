// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms group.

#include <string>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::group_test {
namespace {

Ended Group(const Store& store, const std::string& verb,
            const Arguments& rest) {
  Arguments arguments{"group", verb, store.url()};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

}  // namespace

TEST_CASE("OMS-CLI-015: the groups of a queue are listed") {
  const Store store;
  CHECK(Group(store, "list", {"orders"}).out.empty());
  REQUIRE(store.Receive({"--group", "billing", "--timeout", "0"}).code == 0);
  REQUIRE(store.Receive({"--group", "audit", "--timeout", "0"}).code == 0);

  const Ended listed = Group(store, "list", {"orders"});

  CHECK(listed.code == 0);
  CHECK(listed.out == "audit\nbilling\n");
  CheckFailed(Group(store, "list", {"nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
}

TEST_CASE("OMS-CLI-015: a group that was moved back receives again") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);
  CHECK(store.Receive().out == "a\nb\nc\n");
  CHECK(store.Receive().out.empty());

  const Ended moved =
      Group(store, "seek", {"orders", "default", "--to", "earliest"});

  CHECK(moved.code == 0);
  CHECK(moved.out == "moved default to earliest\n");
  CHECK(store.Receive().out == "a\nb\nc\n");
  CHECK(Group(store, "seek",
              {"orders", "default", "--to", "2", "--partition", "0"})
            .out == "moved default in partition 0 to 2\n");
  CHECK(store.Receive().out == "c\n");
  CHECK(Group(store, "seek", {"orders", "default", "--to", "1h"}).code == 0);
  CHECK(Group(store, "seek", {"orders", "default", "--to", "latest"}).code ==
        0);
  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-015: what cannot be moved is told") {
  const Store store(2);
  REQUIRE(store.Receive().code == 0);

  CheckFailed(Group(store, "seek", {"orders", "absent", "--to", "latest"}), 1,
              1404, "find group \"absent\" of queue \"orders\": no such group");
  CheckFailed(Group(store, "seek", {"nowhere", "default", "--to", "latest"}), 1,
              1404, "oms queue create " + store.url() + " nowhere");
  CheckFailed(Group(store, "seek", {"orders", "default", "--to", "5"}), 1, 1418,
              "it has 2 partitions");
  CheckFailed(Group(store, "seek",
                    {"orders", "default", "--to", "5", "--partition", "2"}),
              1, 1418, "partition is 2; expected 0 to 1");
  CheckFailed(Group(store, "seek", {"orders", "default", "--to", "soon"}), 2,
              1418, "--to: value is \"soon\"; expected earliest, latest");
  CheckFailed(Group(store, "seek", {"orders", "default"}), 2, 1418, "--to");
  CheckFailed(Group(store, "seek", {"orders"}), 2, 1418, "GROUP");
  CheckFailed(Group(store, "seek", {"orders", "a b", "--to", "latest"}), 1,
              1418, "check group \"a b\"");
  CheckFailed(Oms({"group"}), 2, 1418, "expected list, seek or delete");
}

TEST_CASE("OMS-CLI-015: a deleted group is gone") {
  const Store store;
  REQUIRE(store.Send({"a"}).code == 0);
  CHECK(store.Receive().out == "a\n");

  const Ended deleted = Group(store, "delete", {"orders", "default"});

  CHECK(deleted.code == 0);
  CHECK(deleted.out == "deleted default\n");
  CHECK(Group(store, "list", {"orders"}).out.empty());
  CheckFailed(Group(store, "delete", {"orders", "default"}), 1, 1404,
              "no such group");
  // Who joins it begins anew.
  CHECK(store.Receive().out == "a\n");
}

}  // namespace openmessaging::tools::group_test
