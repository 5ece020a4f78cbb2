// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms stats.

#include <signal.h>

#include <chrono>
#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::stats_test {
namespace {

constexpr std::chrono::seconds kPatience{30};

}  // namespace

TEST_CASE("OMS-CLI-016: stats are a table of queues and groups") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "bills"}).code == 0);
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);
  REQUIRE(
      store.Receive({"--group", "billing", "--max", "1"}).out == "a\n");
  REQUIRE(
      store.Receive({"--group", "audit", "--timeout", "0"}).out == "a\nb\nc\n");

  const Ended all = Oms({"stats", store.url()});
  const Ended one = Oms({"stats", store.url(), "orders"});

  CHECK(all.code == 0);
  const Lines lines = SplitLines(all.out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].starts_with("queue   depth  bytes  oldest  prepared  group"));
  CHECK(lines[0].ends_with("hand-out"));
  CHECK(lines[1] == "bills   0      0      -       0");
  CHECK(lines[2].starts_with("orders  2 "));
  CHECK(lines[2].find("  audit ") != std::string::npos);
  CHECK(lines[2].ends_with("goes on"));
  CHECK(lines[3].find("  billing  2 ") != std::string::npos);
  CHECK(lines[3].find("audit") == std::string::npos);
  CHECK(one.code == 0);
  CHECK(SplitLines(one.out).size() == 3);
  CheckFailed(Oms({"stats", store.url(), "nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
}

TEST_CASE("OMS-CLI-016: stats are JSON on demand") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);
  REQUIRE(store.Receive({"--max", "1"}).out == "a\n");

  const Ended ended = Oms({"stats", store.url(), "--json"});

  CHECK(ended.code == 0);
  CHECK(SplitLines(ended.out).size() == 1);
  const auto object = nlohmann::json::parse(ended.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["queue"] == "orders");
  CHECK(object["depth"] == 2);
  CHECK(object["bytes"].get<int>() > 0);
  CHECK(object["oldest_ms"].get<int>() >= 0);
  CHECK(object["prepared"] == 0);
  REQUIRE(object["groups"].size() == 1);
  const auto group = object["groups"][0];
  CHECK(group["group"] == "default");
  CHECK(group["lag"] == 2);
  CHECK(group["leased"] == 0);
  CHECK(group["exceptions"] == 0);
  CHECK(group["stopped"] == false);
}

TEST_CASE("OMS-CLI-016: a watcher sees what changes until it is interrupted") {
  const Store store;
  Program watch(
      OmsCommand({"stats", store.url(), "--json", "--watch", "1"}));
  REQUIRE(watch.WaitForLines(1, kPatience));
  REQUIRE(store.Send({"a"}).code == 0);
  while (watch.out().find("\"depth\":1") == std::string::npos) {
    const size_t lines = SplitLines(watch.out()).size();
    REQUIRE(watch.WaitForLines(lines + 1, kPatience));
  }

  REQUIRE(::kill(watch.pid(), SIGINT) == 0);
  const Ended ended = watch.Wait();

  CHECK(ended.code == 128 + SIGINT);
  CHECK(ended.err.empty());
}

TEST_CASE("OMS-CLI-016: a terminal is as before when a watcher ends") {
  const Store store;
  Program watch(OmsCommand({"stats", store.url(), "--watch"}), Errors::kPipe,
                Output::kTerminal);
  REQUIRE(watch.WaitForLines(2, kPatience));

  int signal = 0;
  SUBCASE("by Ctrl-C") { signal = SIGINT; }
  SUBCASE("by a request to end") { signal = SIGTERM; }
  REQUIRE(::kill(watch.pid(), signal) == 0);
  const Ended ended = watch.Wait();

  CHECK(ended.code == 128 + signal);
  CHECK(ended.out.starts_with("\x1b[?1049h\x1b[?25l"));
  CHECK(ended.out.find("orders") != std::string::npos);
  CHECK(ended.out.ends_with("\x1b[?25h\x1b[?1049l"));
  CHECK(ended.err.empty());
}

TEST_CASE("OMS-CLI-016: a watcher whose queue goes leaves the terminal first") {
  const Store store;
  Program watch(OmsCommand({"stats", store.url(), "orders", "--watch", "1"}),
                Errors::kPipe, Output::kTerminal);
  REQUIRE(watch.WaitForLines(2, kPatience));

  REQUIRE(Oms({"queue", "delete", store.url(), "orders"}).code == 0);
  const Ended ended = watch.Wait();

  CHECK(ended.code == 1);
  CHECK(ended.out.ends_with("\x1b[?25h\x1b[?1049l"));
  CHECK(ended.err.find("(OMS 1404)") != std::string::npos);
}

TEST_CASE("OMS-CLI-016: a pause that makes no sense is refused") {
  const Store store;

  for (const std::string text : {"0", "-1", "soon", "99999999", "1.5"}) {
    CheckFailed(Oms({"stats", store.url(), "--watch=" + text}), 2, 1418,
                "--watch: value is \"" + text +
                    "\"; expected 1 to 86400 seconds");
  }
}

}  // namespace openmessaging::tools::stats_test
