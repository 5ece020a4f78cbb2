// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms send.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"
#include "openmessaging/json.h"
#include "openmessaging/limits.h"

namespace openmessaging::tools::send_test {

using std::chrono::seconds;

TEST_CASE("OMS-CLI-003: a body over the limit fails and is not stored") {
  const Store store;
  const std::string size = std::to_string(kDefaultMaxBodyBytes + 1);

  CheckFailed(store.Send({"--size", size}), 1, 1413, size);

  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-003: a file that cannot be read fails") {
  const Store store;

  CheckFailed(store.Send({"--file", "/no/such/file"}), 1, 1418,
              "\"/no/such/file\"");
  CheckFailed(store.Send({"--file", store.folder().string()}), 1, 1418,
              "directory");
}

TEST_CASE("OMS-CLI-004: each line becomes one message in the same order") {
  const Store store;
  std::string input;
  Lines expected;
  for (int i = 0; i < 3000; ++i) {
    expected.push_back("line " + std::to_string(i));
    input += expected.back() + "\n";
  }

  const Ended sent = store.Send({"--stdin-lines"}, input);
  const Ended received = store.Receive();

  CHECK(sent.code == 0);
  Lines ids = SplitLines(sent.out);
  CHECK(ids.size() == expected.size());
  std::sort(ids.begin(), ids.end());
  CHECK(std::unique(ids.begin(), ids.end()) == ids.end());
  CHECK(received.code == 0);
  CHECK((SplitLines(received.out) == expected));
}

TEST_CASE("OMS-CLI-004: an empty line and an unfinished last one count") {
  const Store store;

  CHECK(store.Send({"--stdin-lines"}, "a\n\nb\r\nlast").code == 0);

  CHECK(store.Receive().out == "a\n\nb\r\nlast\n");
  CHECK(store.Send({"--stdin-lines"}, "").code == 0);
  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-004: a lone line goes at once") {
  const Store store;
  Program sender(OmsCommand({"send", store.url(), "orders", "--stdin-lines"}));

  REQUIRE(sender.Write("one\n"));
  REQUIRE(sender.WaitForLines(1, seconds(30)));
  CHECK(store.Receive().out == "one\n");
  REQUIRE(sender.Write("two\n"));
  REQUIRE(sender.WaitForLines(2, seconds(30)));

  CHECK(sender.Wait().code == 0);
}

TEST_CASE("OMS-CLI-004: a line that fails is named and ends the sending") {
  const Store store;
  const std::string large(kDefaultMaxBodyBytes + 1, 'x');

  const Ended sent =
      store.Send({"--stdin-lines"}, "first\n" + large + "\nthird\n");

  CHECK(sent.code == 1);
  CHECK(SplitLines(sent.out).size() == 1);
  CHECK(sent.err.starts_with("oms: line 2: "));
  CHECK(sent.err.ends_with("(OMS 1413)\n"));
  CHECK(SplitLines(sent.err).size() == 1);
  CHECK(store.Receive().out == "first\n");
}

TEST_CASE("OMS-CLI-005: an acknowledged message prints its id or its place") {
  const Store store;

  const Ended plain = store.Send({"42 apples"});
  const Ended json =
      store.Send({"43 apples", "--json", "--durability", "disk"});
  const Ended received = store.Receive({"--timeout", "0", "--json"});

  CHECK(plain.code == 0);
  CHECK(json.code == 0);
  const auto place = nlohmann::ordered_json::parse(json.out, nullptr, false);
  REQUIRE(place.is_object());
  Lines keys;
  for (const auto& [key, value] : place.items()) keys.push_back(key);
  CHECK(keys == Lines{"message_id", "queue", "partition", "offset"});
  CHECK(place["queue"] == "orders");
  CHECK(place["partition"] == 0);
  CHECK(place["offset"] == 1);

  const Lines lines = SplitLines(received.out);
  REQUIRE(lines.size() == 2);
  const auto first = FromJson(lines[0]);
  const auto second = FromJson(lines[1]);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(first->message_id().ToString() + "\n" == plain.out);
  CHECK(first->body() == "42 apples");
  CHECK(first->destination() == "orders");
  CHECK(first->delivery_count() == 1);
  CHECK(first->born_timestamp().count() > 0);
  CHECK(second->message_id().ToString() == place["message_id"]);
  CHECK(second->offset() == 1);
}

TEST_CASE("OMS-CLI-005: bytes come out as they went in") {
  const Store store;
  const std::string bytes("\0\xFF\n\x80", 4);
  const std::filesystem::path file = store.folder() / "body";
  std::ofstream(file, std::ios::binary) << bytes;

  CHECK(store.Send({"--file", file.string()}).code == 0);
  CHECK(store.Send({"--file", "-"}, bytes).code == 0);
  CHECK(store.Send({""}).code == 0);
  CHECK(store.Send({"--", "--json"}).code == 0);
  CHECK(store.Send({"receive"}).code == 0);

  const Ended json = store.Receive({"--timeout", "0", "--max", "1", "--json"});
  CHECK(json.out.find("\"body_base64\":\"AP8KgA==\"") != std::string::npos);
  CHECK(store.Receive().out == bytes + "\n\n--json\nreceive\n");
}

TEST_CASE("OMS-CLI-005: count and size make bodies that differ") {
  const Store store(4);

  const Ended sent = store.Send(
      {"--count", "700", "--size", "50", "--key", "customer-7", "--json"});
  const Ended received = store.Receive();

  CHECK(sent.code == 0);
  const Lines places = SplitLines(sent.out);
  REQUIRE(places.size() == 700);
  const auto partition = nlohmann::json::parse(places[0])["partition"];
  for (const std::string& place : places) {
    CHECK(nlohmann::json::parse(place)["partition"] == partition);
  }
  const Lines bodies = SplitLines(received.out);
  REQUIRE(bodies.size() == 700);
  CHECK(bodies[0].starts_with("message 1 of 700 "));
  CHECK(bodies[699].starts_with("message 700 of 700 "));
  CHECK(bodies[699].size() == 50);
  CHECK(store.Send({"x", "--count", "2"}).code == 0);
  CHECK(store.Receive().out == "x\nx\n");
}

TEST_CASE("OMS-CLI-007: a sender whose output breaks stops") {
  const Store store;
  Program sender(OmsCommand({"send", store.url(), "orders", "--count",
                             "1000000000", "--size", "10"}));
  REQUIRE(sender.WaitForLines(1, seconds(30)));

  sender.CloseOutput();
  const Ended ended = sender.Wait();

  CHECK(ended.code == 1);
  CHECK(ended.err.ends_with("(OMS 1606)\n"));
  CHECK(SplitLines(ended.err).size() == 1);
}

TEST_CASE("OMS-CLI-012: long sending shows one line on a terminal") {
  const Store store;
  Program sender(OmsCommand({"send", store.url(), "orders", "--stdin-lines",
                             "--durability", "process"}),
                 Errors::kTerminal);
  const auto start = std::chrono::steady_clock::now();
  size_t lines = 0;
  // Until a second one has taken the place of the first.
  const auto shown = [&sender] {
    size_t count = 0;
    for (size_t at = 0;
         (at = sender.err().find("sending: ", at)) != std::string::npos; ++at) {
      ++count;
    }
    return count;
  };
  while (shown() < 2 &&
         std::chrono::steady_clock::now() - start < seconds(30)) {
    REQUIRE(sender.Write("line\n"));
    REQUIRE(sender.WaitForLines(++lines, seconds(30)));
  }

  const size_t count = shown();
  const auto passed = std::chrono::steady_clock::now() - start;
  const Ended ended = sender.Wait();

  CHECK(ended.code == 0);
  CHECK(count >= 2);
  // A few times a second, not at every line.
  CHECK(passed >= (count - 1) * std::chrono::milliseconds(200));
  CHECK(ended.err.find('\n') == std::string::npos);
  CHECK(ended.err.starts_with("\r\x1b[Ksending: "));
  CHECK(ended.err.ends_with("\r\x1b[K"));  // Nothing is left of it.
  CHECK(SplitLines(ended.out).size() == lines);
}

TEST_CASE("OMS-CLI-012: an error does not share its line with the progress") {
  const Store store;
  Program sender(OmsCommand({"send", store.url(), "orders", "--count",
                             "1000000000", "--size", "10"}),
                 Errors::kTerminal);
  REQUIRE(sender.WaitForError(" of 1000000000 messages (0 %)", seconds(30)));

  sender.CloseOutput();
  const Ended ended = sender.Wait();

  CHECK(ended.code == 1);
  CHECK(ended.err.find("\r\x1b[Koms: print ") != std::string::npos);
}

TEST_CASE("OMS-CLI-012: what is sent at once shows no progress") {
  const Store store;
  Program sender(OmsCommand({"send", store.url(), "orders", "--count", "100"}),
                 Errors::kTerminal);

  const Ended ended = sender.Wait();

  CHECK(ended.code == 0);
  CHECK(ended.err.empty());
}

TEST_CASE("OMS-CLI-003: properties have the types of their values") {
  const Store store;
  REQUIRE(store
              .Send({"apples", "--property", "kg=2.5", "--property", "n=-3",
                     "--property", "bio=true", "--property", "from=a=b",
                     "--property", "empty="})
              .code == 0);

  const auto message = nlohmann::json::parse(
      store.Receive({"--timeout", "0", "--json"}).out);

  CHECK(message["properties"] ==
        nlohmann::json{{"kg", 2.5},
                       {"n", -3},
                       {"bio", true},
                       {"from", "a=b"},
                       {"empty", ""}});
  CheckFailed(store.Send({"apples", "--property", "kg"}), 2, 1418,
              "value is \"kg\"; expected NAME=VALUE");
  CheckFailed(store.Send({"apples", "--property", "=2"}), 2, 1418,
              "expected NAME=VALUE");
  CheckFailed(store.Send({"apples", "--property", "oms.x=2"}), 1, 1418,
              "oms.x");
}

}  // namespace openmessaging::tools::send_test
