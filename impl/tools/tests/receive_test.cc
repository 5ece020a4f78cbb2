// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms receive.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "doctest/doctest.h"
#include "oms_fixture.h"
#include "openmessaging/json.h"

namespace openmessaging::tools::receive_test {

using std::chrono::seconds;

TEST_CASE("OMS-CLI-006: what was printed is acknowledged and comes once") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);

  CHECK(store.Receive({"--max", "2"}).out == "a\nb\n");
  CHECK(store.Receive().out == "c\n");
  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-006: receive ends well when nothing came for the timeout") {
  const Store store;
  const auto start = std::chrono::steady_clock::now();

  const Ended ended = store.Receive({"--timeout", "300ms"});

  const auto waited = std::chrono::steady_clock::now() - start;
  CHECK(ended.code == 0);
  CHECK(ended.out.empty());
  CHECK(ended.err.empty());
  CHECK(waited >= std::chrono::milliseconds(300));
  CHECK(waited < seconds(30));
}

TEST_CASE("OMS-CLI-006: a receiver that waits gets what is sent meanwhile") {
  const Store store;
  Program receiver(OmsCommand(
      {"receive", store.url(), "orders", "--max", "2", "--timeout", "60s"}));

  REQUIRE(store.Send({"one"}).code == 0);
  REQUIRE(receiver.WaitForLines(1, seconds(30)));
  REQUIRE(store.Send({"two"}).code == 0);

  const Ended ended = receiver.Wait();
  CHECK(ended.code == 0);
  CHECK(ended.out == "one\ntwo\n");
}

TEST_CASE("OMS-CLI-006: without acknowledgement messages come back") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\n").code == 0);

  CHECK(store.Receive({"--no-ack", "--max", "2"}).out == "a\nb\n");

  const Ended again = store.Receive({"--max", "2", "--json"});
  Lines bodies;
  for (const std::string& line : SplitLines(again.out)) {
    const auto message = FromJson(line);
    REQUIRE(message.ok());
    CHECK(message->delivery_count() == 2);
    bodies.emplace_back(message->body());
  }
  std::sort(bodies.begin(), bodies.end());
  CHECK(bodies == Lines{"a", "b"});
}

TEST_CASE("OMS-CLI-006: each group gets all, from where it begins") {
  const Store store;
  REQUIRE(store.Send({"before"}).code == 0);
  REQUIRE(
      store.Receive({"--group", "late", "--from", "latest", "--timeout", "0"})
          .out.empty());

  REQUIRE(store.Send({"after"}).code == 0);

  CHECK(store.Receive({"--group", "late", "--timeout", "0"}).out == "after\n");
  CHECK(store.Receive({"--group", "one", "--timeout", "0"}).out ==
        "before\nafter\n");
  CHECK(store.Receive().out == "before\nafter\n");
}

TEST_CASE("OMS-CLI-006: a filter chooses and settles the rest") {
  const Store store;
  REQUIRE(store.Send({"a", "--key", "k1"}).code == 0);
  REQUIRE(store.Send({"b", "--key", "k2"}).code == 0);

  CHECK(store.Receive({"--filter", "message_key = 'k2'", "--timeout", "0"})
            .out == "b\n");
  CHECK(store.Receive().out.empty());
  CheckFailed(store.Receive({"--filter", "message_key =", "--timeout", "0"}), 1,
              1418, "column 14");
}

TEST_CASE("OMS-CLI-007: a message that could not be printed is not lost") {
  const Store store;
  Program receiver(
      OmsCommand({"receive", store.url(), "orders", "--timeout", "60s"}));
  receiver.CloseOutput();

  REQUIRE(store.Send({"precious"}).code == 0);
  const Ended ended = receiver.Wait();

  CHECK(ended.code == 1);
  CHECK(ended.err.ends_with("(OMS 1606)\n"));
  CHECK(store.Receive({"--max", "1"}).out == "precious\n");
}

TEST_CASE("OMS-CLI-007: an interrupt ends a receiver between two messages") {
  const Store store;
  for (const int number : {SIGINT, SIGTERM}) {
    REQUIRE(store.Send({"one"}).code == 0);
    Program receiver(
        OmsCommand({"receive", store.url(), "orders", "--timeout", "1h"}));
    REQUIRE(receiver.WaitForLines(1, seconds(30)));

    REQUIRE(::kill(receiver.pid(), number) == 0);
    const Ended ended = receiver.Wait();

    CHECK(ended.code == 128 + number);
    CHECK(ended.out == "one\n");
    CHECK(ended.err.empty());
    CHECK(store.Receive().out.empty());
  }
}

TEST_CASE("OMS-CLI-007: a second interrupt ends what is stuck") {
  const Store store;
  const std::string body(1 << 20, 'x');
  REQUIRE(store.Send({"--stdin-lines"}, "first\n" + body + "\n").code == 0);
  Program receiver(OmsCommand({"receive", store.url(), "orders"}));
  REQUIRE(receiver.WaitForLines(1, seconds(30)));

  // Nobody reads on, and a pipe holds less than the body.
  for (int n = 0; n < 40; ++n) {
    REQUIRE(::kill(receiver.pid(), SIGINT) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  const Ended ended = receiver.Wait();

  CHECK(ended.code == 128 + SIGINT);
  CHECK(ended.out.size() < body.size());
  CHECK(SplitLines(store.Receive({"--timeout", "10s", "--max", "1"}).out)
            .size() == 1);
}

TEST_CASE("OMS-CLI-007: a killed receiver loses nothing") {
  const Store store;
  std::string input;
  for (int i = 0; i < 500; ++i) input += std::to_string(i) + "\n";
  REQUIRE(store.Send({"--stdin-lines"}, input).code == 0);
  Program receiver(OmsCommand({"receive", store.url(), "orders"}));
  REQUIRE(receiver.WaitForLines(20, seconds(30)));

  REQUIRE(::kill(receiver.pid(), SIGKILL) == 0);
  const Ended killed = receiver.Wait();
  const Ended rest = store.Receive({"--timeout", "2s"});

  Lines lines = SplitLines(killed.out + rest.out);
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  CHECK(lines.size() == 500);
  // At most the message that it had just printed comes twice.
  CHECK(SplitLines(killed.out + rest.out).size() <= 501);
}

}  // namespace openmessaging::tools::receive_test
