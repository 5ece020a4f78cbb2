// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms move.

#include <signal.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::move_test {
namespace {

Ended Move(const Store& from, const Store& to, Arguments rest = {}) {
  Arguments arguments{"move",   from.url(),  "orders", to.url(),
                      "orders", "--timeout", "0"};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

}  // namespace

TEST_CASE("OMS-CLI-022: what its sender gave a message goes along") {
  const Store from;
  const Store to;
  REQUIRE(from.Send({"first", "--key", "k", "--property", "colour=red"}).code ==
          0);
  REQUIRE(from.Send({"second"}).code == 0);
  const auto before = nlohmann::json::parse(SplitLines(
      from.Receive({"--json", "--no-ack", "--timeout", "0"}).out)[0]);

  const Ended moved = Move(from, to);

  CHECK(moved.err.empty());
  CHECK(moved.code == 0);
  CHECK(moved.out == "moved 2 messages to orders\n");
  CHECK(from.Receive().out.empty());
  const Lines there = SplitLines(to.Receive({"--json", "--timeout", "0"}).out);
  REQUIRE(there.size() == 2);
  const auto message = nlohmann::json::parse(there[0]);
  CHECK(message["body"] == "first");
  CHECK(message["message_key"] == "k");
  CHECK(message["properties"] == nlohmann::json{{"colour", "red"}});
  CHECK(message["origin_id"] == before["message_id"]);
  CHECK(Move(from, to).out == "moved 0 messages to orders\n");
}

TEST_CASE("OMS-CLI-022: --max leaves the rest") {
  const Store from;
  const Store to;
  REQUIRE(from.Send({"--stdin-lines"}, "1\n2\n3\n").code == 0);
  CHECK(Move(from, to, {"--max", "2"}).out == "moved 2 messages to orders\n");
  CHECK(to.Receive().out == "1\n2\n");
  CHECK(from.Receive().out == "3\n");
}

TEST_CASE("OMS-CLI-022: what cannot be sent on stays where it is") {
  const Store from;
  const Store to;
  REQUIRE(from.Send({"apples"}).code == 0);
  CheckFailed(Oms({"move", from.url(), "orders", to.url(), "nowhere",
                   "--timeout", "0"}),
              1, 1404, "nowhere");
  CHECK(from.Receive().out == "apples\n");
}

TEST_CASE("OMS-CLI-022: killed at any moment, nothing is lost") {
  constexpr int kMessages = 3000;
  const Store from;
  const Store to;
  std::string input;
  for (int n = 0; n < kMessages; ++n) input += std::to_string(n) + "\n";
  REQUIRE(from.Send({"--stdin-lines"}, input).code == 0);

  for (int round = 0; round < 10; ++round) {
    Program mover(OmsCommand({"move", from.url(), "orders", to.url()}));
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 13 * round));
    REQUIRE(::kill(mover.pid(), SIGKILL) == 0);
    (void)mover.Wait();
  }
  // What the killed ones held comes back once they are known to be dead.
  const Ended moved =
      Oms({"move", from.url(), "orders", to.url(), "--timeout", "2s"});
  REQUIRE(moved.code == 0);

  std::set<std::string> arrived;
  for (const std::string& body : SplitLines(to.Receive().out)) {
    arrived.insert(body);
  }
  CHECK(arrived.size() == kMessages);
  CHECK(from.Receive().out.empty());
}

}  // namespace openmessaging::tools::move_test
