// SPDX-License-Identifier: Apache-2.0
//
// Tests of the program oms: it is run as a user runs it, on directories of the
// file driver.

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "openmessaging/json.h"
#include "openmessaging/limits.h"
#include "run_program.h"

namespace openmessaging::tools {
namespace {

using std::chrono::seconds;
using Arguments = std::vector<std::string>;
using Lines = std::vector<std::string>;

// Runs oms to its end.
Ended Oms(Arguments arguments, std::string_view input = {}) {
  arguments.insert(arguments.begin(), OMS_BINARY);
  return Run(arguments, input);
}

Lines SplitLines(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A folder of its own, with a queue `orders` in the store below it.
class Store {
 public:
  explicit Store(int partitions = 1) {
    std::string name =
        (std::filesystem::temp_directory_path() / "oms_test_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    const Ended created = Oms({"queue", "create", url(), "orders",
                               "--partitions", std::to_string(partitions)});
    REQUIRE_MESSAGE(created.code == 0, created.err);
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path directory() const { return folder_ / "store"; }
  std::string url() const { return "oms:file:" + directory().string(); }

  // Sends to `orders`; the rest of the command line and its input.
  Ended Send(Arguments rest, std::string_view input = {}) const {
    Arguments arguments{"send", url(), "orders"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    return Oms(arguments, input);
  }
  // Receives from `orders`, with no wait unless `rest` says otherwise.
  Ended Receive(Arguments rest = {"--timeout", "0"}) const {
    Arguments arguments{"receive", url(), "orders"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    return Oms(arguments);
  }

 private:
  std::filesystem::path folder_;
};

// Checks that a run failed with one clear line and nothing else.
void CheckFailed(const Ended& ended, int exit_code, int code,
                 std::string_view part) {
  CAPTURE(ended.err);
  CHECK(ended.code == exit_code);
  CHECK(ended.out.empty());
  CHECK(ended.err.starts_with("oms: "));
  CHECK(ended.err.ends_with("(OMS " + std::to_string(code) + ")\n"));
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("OMS-CLI-001: every command explains itself in 80 columns") {
  const std::vector<std::pair<Arguments, Lines>> commands = {
      {{}, {"queue", "send", "receive", "check", "--version"}},
      {{"queue"}, {"create", "list"}},
      {{"queue", "create"}, {"URL", "QUEUE", "--partitions"}},
      {{"queue", "list"}, {"URL", "[QUEUE]"}},
      {{"send"},
       {"URL", "QUEUE", "[BODY]", "--file", "--stdin-lines", "--count",
        "--size", "--key", "--durability", "--json"}},
      {{"receive"},
       {"URL", "QUEUE", "--group", "--from", "--max", "--timeout", "--no-ack",
        "--json"}},
      {{"check"}, {"DIR"}},
  };
  for (const auto& [command, parts] : commands) {
    Arguments arguments = command;
    arguments.emplace_back("--help");

    const Ended help = Oms(arguments);

    CAPTURE(help.out);
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(help.out.find("Example") != std::string::npos);
    for (const std::string& part : parts) {
      CAPTURE(part);
      CHECK(help.out.find(part) != std::string::npos);
    }
    for (const std::string& line : SplitLines(help.out)) {
      CHECK(line.size() <= 80);
    }
  }
}

TEST_CASE("OMS-CLI-001: the version is one line") {
  const Ended version = Oms({"--version"});

  CHECK(version.code == 0);
  CHECK(version.out.starts_with("oms "));
  CHECK(std::count(version.out.begin(), version.out.end(), '\n') == 1);
}

TEST_CASE("OMS-CLI-002: wrong usage ends with 2 and one line") {
  const Store store;
  const std::string url = store.url();
  const std::vector<std::pair<Arguments, std::string>> wrong = {
      {{"sned", url, "orders"}, "\"sned\" is no command; expected queue, send"},
      {{"queue"}, "there is no command; expected create or list"},
      {{"send"}, "URL is required"},
      {{"send", url}, "QUEUE is required"},
      {{"send", url, "orders"}, "there is no body"},
      {{"send", url, "orders", "a", "b"}, "not expected: b"},
      {{"send", url, "orders", "a", "--bogus"}, "not expected: --bogus"},
      {{"send", url, "orders", "a", "--file", "f"}, "several bodies"},
      {{"send", url, "orders", "--stdin-lines", "--count", "2"}, "--count"},
      {{"send", url, "orders", "--count", "-1"}, "whole number from 0"},
      {{"send", url, "orders", "--size", "1q"}, "a number of bytes"},
      {{"send", url, "orders", "a", "--durability", "safe"},
       "expected default, volatile, process or disk"},
      {{"receive", url, "orders", "--timeout", "5"}, "such as 500ms or 5s"},
      {{"receive", url, "orders", "--max", "0"}, "whole number from 1"},
      {{"receive", url, "orders", "--from", "now"}, "earliest or latest"},
      {{"queue", "create", url, "q", "--partitions", "0"}, "from 1 to 1024"},
      {{"queue", "create", url}, "QUEUE is required"},
      {{"check"}, "DIR is required"},
  };
  for (const auto& [arguments, part] : wrong) {
    CheckFailed(Oms(arguments), 2, 1418, part);
  }
  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-003: a URL that cannot be used fails with its code") {
  CheckFailed(Oms({"send", "orders", "q", "x"}), 1, 10001, "\"orders\"");
  CheckFailed(Oms({"receive", "oms:file://relative", "q"}), 1, 10001,
              "relative");
  CheckFailed(Oms({"queue", "list", "oms:no-such-driver://host"}), 1, 10000,
              "no-such-driver");
}

TEST_CASE("OMS-CLI-003: a missing queue fails and says how to create it") {
  const Store store;
  const std::string advice = "oms queue create " + store.url() + " nowhere";

  CheckFailed(Oms({"send", store.url(), "nowhere", "x"}), 1, 1404, advice);
  CheckFailed(Oms({"receive", store.url(), "nowhere"}), 1, 1404, advice);
  CheckFailed(Oms({"queue", "list", store.url(), "nowhere"}), 1, 1404, advice);
  CheckFailed(Oms({"send", "oms:memory://shop", "q", "x"}), 1, 1404,
              "ends with the program");
  // Nothing of it was created on the way.
  CHECK(Oms({"queue", "list", store.url()}).out == "orders  1 partition\n");
}

TEST_CASE("OMS-CLI-003: a name that no queue can have fails") {
  const Store store;

  CheckFailed(Oms({"send", store.url(), "a b", "x"}), 1, 1418, "a b");
  CheckFailed(Oms({"queue", "create", store.url(), "\xC3\xA9"}), 1, 1418,
              "queue");
  CheckFailed(store.Receive({"--group", "no/such"}), 1, 1418, "no/such");
}

TEST_CASE("OMS-CLI-003: a body over the limit fails and is not stored") {
  const Store store;
  const std::string size = std::to_string(kDefaultMaxBodyBytes + 1);

  CheckFailed(store.Send({"--size", size}), 1, 1413, size);

  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-003: a directory that cannot be one leaves nothing behind") {
  const Store store;
  const std::filesystem::path file = store.folder() / "file";
  std::ofstream(file) << "not a directory";
  const std::filesystem::path below = store.folder() / "missing" / "store";

  const Ended on_file =
      Oms({"queue", "create", "oms:file:" + file.string(), "q"});
  const Ended in_missing =
      Oms({"queue", "create", "oms:file:" + below.string(), "q"});

  CAPTURE(on_file.err);
  CHECK(on_file.code == 1);
  CHECK(SplitLines(on_file.err).size() == 1);
  CHECK(on_file.err.find(file.string()) != std::string::npos);
  CHECK(std::filesystem::file_size(file) == 15);
  CAPTURE(in_missing.err);
  CHECK(in_missing.code == 1);
  CHECK(SplitLines(in_missing.err).size() == 1);
  CHECK(!std::filesystem::exists(below.parent_path()));
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
  Program sender({OMS_BINARY, "send", store.url(), "orders", "--stdin-lines"});

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
  Program receiver({OMS_BINARY, "receive", store.url(), "orders", "--max", "2",
                    "--timeout", "60s"});

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

TEST_CASE("OMS-CLI-007: a sender whose output breaks stops") {
  const Store store;
  Program sender({OMS_BINARY, "send", store.url(), "orders", "--count",
                  "1000000000", "--size", "10"});
  REQUIRE(sender.WaitForLines(1, seconds(30)));

  sender.CloseOutput();
  const Ended ended = sender.Wait();

  CHECK(ended.code == 1);
  CHECK(ended.err.ends_with("(OMS 1606)\n"));
  CHECK(SplitLines(ended.err).size() == 1);
}

TEST_CASE("OMS-CLI-007: a message that could not be printed is not lost") {
  const Store store;
  Program receiver(
      {OMS_BINARY, "receive", store.url(), "orders", "--timeout", "60s"});
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
        {OMS_BINARY, "receive", store.url(), "orders", "--timeout", "1h"});
    REQUIRE(receiver.WaitForLines(1, seconds(30)));

    REQUIRE(::kill(receiver.pid(), number) == 0);
    const Ended ended = receiver.Wait();

    CHECK(ended.code == 128 + number);
    CHECK(ended.out == "one\n");
    CHECK(ended.err.empty());
    CHECK(store.Receive().out.empty());
  }
}

TEST_CASE("OMS-CLI-007: a killed receiver loses nothing") {
  const Store store;
  std::string input;
  for (int i = 0; i < 500; ++i) input += std::to_string(i) + "\n";
  REQUIRE(store.Send({"--stdin-lines"}, input).code == 0);
  Program receiver({OMS_BINARY, "receive", store.url(), "orders"});
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

TEST_CASE("OMS-CLI-008: queues are created once and listed in order") {
  const Store store;

  const Ended created =
      Oms({"queue", "create", store.url(), "aaa", "--partitions", "4"});

  CHECK(created.code == 0);
  CHECK(created.out == "created aaa with 4 partitions\n");
  CHECK(Oms({"queue", "list", store.url()}).out ==
        "aaa     4 partitions\norders  1 partition\n");
  CHECK(Oms({"queue", "list", store.url(), "aaa"}).out ==
        "aaa  4 partitions\n");
  CheckFailed(Oms({"queue", "create", store.url(), "aaa"}), 1, 1406, "aaa");
  CHECK(Oms({"queue", "list", store.url(), "aaa"}).out ==
        "aaa  4 partitions\n");
}

TEST_CASE("OMS-CLI-009: check tells a sound store from a damaged one") {
  const Store store;
  const std::string body = "a body that is easy to find in a file";
  REQUIRE(store.Send({body}).code == 0);
  REQUIRE(store.Send({"the next one"}).code == 0);

  const Ended sound = Oms({"check", store.directory().string()});
  CHECK(sound.code == 0);
  CHECK(sound.err.empty());
  CHECK(!sound.out.empty());

  std::string damaged_file;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(store.directory())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const size_t at = bytes.find(body);
    if (at == std::string::npos) continue;
    std::fstream file(entry.path(),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('A');
    damaged_file = entry.path().filename().string();
  }
  REQUIRE(!damaged_file.empty());

  const Ended damaged = Oms({"check", store.directory().string()});

  CAPTURE(damaged.out);
  CHECK(damaged.code == 1);
  bool named = false;
  for (const std::string& line : SplitLines(damaged.out)) {
    named |= line.find(damaged_file) != std::string::npos &&
             line.find_first_of(
                 "0123456789", line.find(damaged_file) + damaged_file.size()) !=
                 std::string::npos;
  }
  CHECK(named);
}

TEST_CASE("OMS-CLI-009: check fails on what is no store and changes nothing") {
  const Store store;
  const std::filesystem::path empty = store.folder() / "empty";
  std::filesystem::create_directory(empty);

  const Ended missing = Oms({"check", (store.folder() / "none").string()});
  const Ended no_store = Oms({"check", empty.string()});

  CHECK(missing.code == 1);
  CHECK(SplitLines(missing.err).size() == 1);
  CHECK(no_store.code == 1);
  CHECK(SplitLines(no_store.err).size() == 1);
  CHECK(std::filesystem::is_empty(empty));
  CHECK(!std::filesystem::exists(store.folder() / "none"));
}

}  // namespace openmessaging::tools
