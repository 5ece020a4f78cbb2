// SPDX-License-Identifier: Apache-2.0
//
// Tests of what every command of oms has in common: help, wrong usage, URLs and
// queues that are not there.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "oms_fixture.h"

namespace openmessaging::tools::oms_test {

TEST_CASE("OMS-CLI-001: every command explains itself in 80 columns") {
  const std::vector<std::pair<Arguments, Lines>> commands = {
      {{},
       {"queue", "send", "cancel", "receive", "capabilities", "check", "inspect",
        "--version"}},
      {{"queue"}, {"create", "delete", "describe", "list"}},
      {{"queue", "create"},
       {"URL", "QUEUE", "--partitions", "--max-deliveries", "--dead-letter",
        "--redelivery-delay", "--max-redelivery-delay", "--retention",
        "--priorities", "--dedup-window"}},
      {{"queue", "delete"}, {"URL", "QUEUE"}},
      {{"queue", "describe"}, {"URL", "QUEUE", "--json"}},
      {{"queue", "list"}, {"URL", "[QUEUE]"}},
      {{"send"},
       {"URL", "QUEUE", "[BODY]", "--file", "--stdin-lines", "--count",
        "--size", "--key", "--priority", "--dedup-id", "--durability", "--delay",
        "--expire", "--json"}},
      {{"cancel"}, {"URL", "QUEUE", "ID"}},
      {{"receive"},
       {"URL", "QUEUE", "--group", "--from", "--max", "--timeout", "--no-ack",
        "--json"}},
      {{"stream"},
       {"URL", "QUEUE", "--partition", "--from", "--follow", "--json"}},
      {{"capabilities"}, {"URL", "[QUEUE]", "--json"}},
      {{"check"}, {"DIR"}},
      {{"inspect"}, {"DIR", "--json"}},
      {{"completion"}, {"[SHELL]", "--line"}},
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
      {{"sned", url, "orders"},
       "\"sned\" is no command; expected queue, namespace, route, send"},
      {{"queue"}, "expected create, update, delete, describe or list"},
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
      {{"queue", "create", url, "q", "--max-deliveries", "0"}, "from 1 to"},
      {{"queue", "create", url, "q", "--max-deliveries", "3"},
       "there is no --dead-letter"},
      {{"queue", "create", url, "q", "--redelivery-delay", "5s",
        "--max-redelivery-delay", "4s"},
       "expected 5s or longer"},
      {{"queue", "create", url, "q", "--retention", "-1s"}, "such as 500ms"},
      {{"queue", "delete", url}, "QUEUE is required"},
      {{"queue", "describe", url}, "QUEUE is required"},
      {{"stream", url}, "QUEUE is required"},
      {{"stream", url, "orders", "--from", "-1"}, "expected earliest, latest"},
      {{"stream", url, "orders", "--from", "2026-13-01T00:00:00Z"}, "such as"},
      {{"stream", url, "orders", "--partition", "1024"}, "from 0 to 1023"},
      {{"capabilities"}, "URL is required"},
      {{"check"}, "DIR is required"},
      {{"inspect"}, "DIR is required"},
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

}  // namespace openmessaging::tools::oms_test
