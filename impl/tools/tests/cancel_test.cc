// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms cancel, and of sending with a delay and an end.

#include <string>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::cancel_test {
namespace {

std::string IdOf(const Ended& sent) {
  REQUIRE(sent.code == 0);
  return SplitLines(sent.out).at(0);
}

TEST_CASE("OMS-CLI-018: a delayed message can be cancelled until it is due") {
  const Store store;
  const std::string withdrawn =
      IdOf(store.Send({"withdrawn", "--delay", "1500ms"}));
  IdOf(store.Send({"later", "--delay", "1500ms"}));
  const std::string now = IdOf(store.Send({"now"}));

  const Ended cancelled = Oms({"cancel", store.url(), "orders", withdrawn});

  CHECK(cancelled.code == 0);
  CHECK(cancelled.out == "cancelled " + withdrawn + "\n");
  CHECK((SplitLines(store.Receive({"--timeout", "10s", "--max", "2"}).out) ==
         Lines{"now", "later"}));
  for (const std::string& id : {withdrawn, now}) {
    CheckFailed(Oms({"cancel", store.url(), "orders", id}), 1, 1602, id);
  }
}

TEST_CASE("OMS-CLI-018: nonsense is not cancelled") {
  const Store store;
  const std::string id = IdOf(store.Send({"later", "--delay", "1h"}));

  CheckFailed(Oms({"cancel", store.url(), "orders", "nonsense"}), 1, 1404,
              "nonsense");
  CheckFailed(Oms({"cancel", store.url(), "orders", id + "9"}), 1, 1404, id);
  CheckFailed(Oms({"cancel", store.url(), "bills", id}), 1, 1404, "bills");
  CheckFailed(Oms({"cancel", store.url(), "orders", std::string(64, 'x')}), 1,
              1418, "no id");
  CheckFailed(Oms({"cancel", store.url(), "orders"}), 2, 1418, "ID");
  CHECK(Oms({"cancel", store.url(), "orders", id}).code == 0);
}

TEST_CASE("OMS-CLI-003: a message that expires is gone in time") {
  const Store store;

  IdOf(store.Send({"gone", "--expire", "1ms"}));
  IdOf(store.Send({"here", "--expire", "1h"}));

  CHECK((SplitLines(store.Receive({"--timeout", "100ms"}).out) ==
         Lines{"here"}));
  CheckFailed(store.Send({"x", "--delay", "400d"}), 1, 1418, "delay");
  CheckFailed(store.Send({"x", "--delay", "-1s"}), 2, 1418, "--delay");
}

}  // namespace
}  // namespace openmessaging::tools::cancel_test
