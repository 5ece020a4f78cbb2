// SPDX-License-Identifier: Apache-2.0
//
// Tests of the program oms-bench: it is run as a user runs it. What it measures
// is not judged here, only that it measures and tells.

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "run_program.h"

namespace openmessaging::tools::bench_test {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using Arguments = std::vector<std::string>;

Ended Bench(Arguments arguments) {
  arguments.insert(arguments.begin(), BENCH_BINARY);
  return Run(arguments);
}

// A folder of its own.
class Folder {
 public:
  Folder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "bench_test_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string File(std::string_view name) const {
    return (path_ / name).string();
  }
  // Of a store whose parent does not exist yet.
  std::string url() const { return "oms:file:" + File("new/store"); }

 private:
  std::filesystem::path path_;
};

json ReadJson(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  json value = json::parse(text.str(), nullptr, false);
  REQUIRE_MESSAGE(!value.is_discarded(), text.str());
  return value;
}

std::set<std::string> Keys(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

const std::set<std::string> kLatencyKeys = {"samples", "p50_ns", "p99_ns",
                                            "p99_9_ns", "max_ns"};

void CheckShape(const json& run) {
  CHECK(Keys(run) == std::set<std::string>{
                         "format", "program", "version", "optimised", "url",
                         "driver", "quick", "complete", "started_ms", "machine",
                         "yardsticks", "results", "skipped", "failed"});
  CHECK(run["format"] == 1);
  CHECK(Keys(run["machine"]) ==
        std::set<std::string>{"processors", "page_bytes", "load_before",
                              "load_after"});
  for (const json& one : run["yardsticks"]) {
    CHECK(Keys(one) ==
          std::set<std::string>{"name", "text", "per_second", "latency"});
    CHECK(one["per_second"] > 0);
    CHECK(Keys(one["latency"]) == kLatencyKeys);
  }
  for (const json& one : run["results"]) {
    CAPTURE(one.dump());
    CHECK(Keys(one) == std::set<std::string>{
                           "name", "operation", "place", "size_bytes", "batch",
                           "durability", "wait", "senders", "messages",
                           "messages_per_second", "body_bytes_per_second",
                           "latency", "limit", "goal"});
    CHECK(one["messages"] > 0);
    CHECK(one["messages_per_second"] > 0);
    CHECK(Keys(one["latency"]) == kLatencyKeys);
    CHECK(Keys(one["limit"]) == std::set<std::string>{"yardstick",
                                                      "messages_per_second",
                                                      "p50_ns", "ratio"});
    CHECK(one["limit"]["ratio"] > 0);
    if (!one["goal"].is_null()) {
      CHECK(Keys(one["goal"]) == std::set<std::string>{"text", "ratio", "met"});
    }
  }
}

// Returns: the result of that name.
json Find(const json& run, std::string_view name) {
  for (const json& one : run["results"]) {
    if (one["name"] == name) return one;
  }
  FAIL("there is no result " << name);
  return {};
}

void CheckWidth(const std::string& text, size_t columns) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= columns);
  }
}

void CheckFailed(const Ended& ended, int exit_code, int code,
                 std::string_view part) {
  CAPTURE(ended.err);
  CHECK(ended.code == exit_code);
  CHECK(ended.out.empty());
  CHECK(ended.err.starts_with("oms-bench: "));
  CHECK(ended.err.ends_with("(OMS " + std::to_string(code) + ")\n"));
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.find(part) != std::string::npos);
}

void CheckNoQueues(const Folder& folder) {
  const Ended list = Run({OMS_BINARY, "queue", "list", folder.url()});
  CAPTURE(list.err);
  CHECK(list.code == 0);
  CHECK(list.out.empty());
}

}  // namespace

TEST_CASE("OMS-BENCH-002: it explains itself in 80 columns") {
  const Ended help = Bench({"--help"});

  CHECK(help.code == 0);
  for (const std::string_view part : {"URL", "--quick", "--json", "--only",
                                      "--list", "Exit codes", "Examples"}) {
    CAPTURE(part);
    CHECK(help.out.find(part) != std::string::npos);
  }
  CHECK(help.out.find("second-process") == std::string::npos);
  CheckWidth(help.out, 80);
  CHECK(Bench({"--version"}).code == 0);
}

TEST_CASE("OMS-BENCH-003: wrong usage is one line and exit code 2") {
  CHECK(Bench({}).code == 2);
  CheckFailed(Bench({"--quick"}), 2, 1418, "URL");
  CheckFailed(Bench({"oms:memory://x", "--slow"}), 2, 1418, "--slow");
  CheckFailed(Bench({"oms:memory://x", "--only", "teleport"}), 2, 1418,
              "--list");
  CHECK(Bench({"second-process", "oms:memory://x"}).code == 2);
}

TEST_CASE("OMS-BENCH-004: what cannot be measured is told before it is tried") {
  const Folder folder;
  CheckFailed(Bench({"oms-memory"}), 1, 10001, "oms-memory");
  CheckFailed(Bench({"oms:pigeon://coop"}), 1, 10000, "pigeon");
  CheckFailed(Bench({"oms:memory://x", "--json", folder.File("no/f.json")}), 1,
              1418, "--json");
  std::ofstream(folder.File("taken")) << "a file";
  CheckFailed(Bench({"oms:file:" + folder.File("taken") + "/store"}), 1, 1501,
              "taken");
}

TEST_CASE(
    "OMS-BENCH-005: a list has the names of a plan and measures nothing") {
  const Ended quick = Bench({"oms:memory://x", "--list", "--quick"});
  const Ended full = Bench({"oms:memory://x", "--list"});

  CHECK(quick.code == 0);
  CHECK(quick.out.find("cycle/256B/1/volatile\n") != std::string::npos);
  CHECK(full.out.size() > quick.out.size());
  CHECK(Bench({"oms:memory://x", "--list", "--only", "c*le/64B/1/"}).out ==
        "cycle/64B/1/volatile\n");
}

TEST_CASE("OMS-BENCH-006: memory is measured, and what it cannot do is named") {
  const Folder folder;

  const Ended ended = Bench({"oms:memory://x", "--quick", "--only", "256B/1/*",
                             "--json", folder.File("run.json")});

  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  CheckWidth(ended.out, 100);
  CHECK(ended.out.find("goal: 2 million/s") != std::string::npos);
  CHECK(ended.out.find("a memory store is inside one process") !=
        std::string::npos);
  const json run = ReadJson(folder.File("run.json"));
  CheckShape(run);
  CHECK(run["driver"] == "memory");
  CHECK(run["complete"] == true);
  CHECK(run["failed"].empty());
  CHECK(Find(run, "cycle/256B/1/volatile")["goal"]["ratio"] > 0);
  CHECK(Find(run, "send/256B/1/volatile")["latency"]["samples"] > 0);
  CHECK(Find(run, "receive/256B/1/volatile")["messages"] > 0);
  CHECK(Find(run, "transfer/threads/256B/1/volatile/block")["wait"] == "block");
  const json trip = Find(run, "round-trip/threads/256B/1/volatile/spin");
  CHECK(trip["limit"]["yardstick"] == "ping-pong/spin");
  CHECK(trip["limit"]["p50_ns"] > 0);
  std::set<std::string> skipped;
  for (const json& one : run["skipped"]) skipped.insert(one["name"]);
  CHECK(skipped.contains("send/256B/1/disk"));
  CHECK(skipped.contains("round-trip/processes/256B/1/volatile/block"));
}

TEST_CASE("OMS-BENCH-007: a file store is made, measured and left empty") {
  const Folder folder;

  const Ended ended =
      Bench({folder.url(), "--quick", "--only", "[ern][sc]/*256B/1/", "--json",
             folder.File("run.json")});

  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  CheckWidth(ended.out, 100);
  const json run = ReadJson(folder.File("run.json"));
  CheckShape(run);
  CHECK(run["failed"].empty());
  const json senders = Find(run, "senders/64/256B/1/disk");
  CHECK(senders["senders"] == 64);
  CHECK(senders["latency"]["samples"] >= 64);
  CHECK(senders["limit"]["yardstick"] == "append-fdatasync/256B/64");
  const json async = Find(run, "async/256B/1/disk");
  CHECK(async["limit"]["yardstick"] == "send/256B/1/disk");
  CHECK(async["goal"]["ratio"] > 0);
  CHECK(Find(run, "transfer/processes/256B/1/process/block")["goal"]["ratio"] >
        0);
  CHECK(Find(run, "round-trip/processes/256B/1/process/spin")["goal"]["ratio"] >
        0);
  CHECK(Find(run,
             "round-trip/processes/256B/1/process/block")["limit"]["p50_ns"] >
        0);
  CheckNoQueues(folder);
}

TEST_CASE("OMS-BENCH-008: an interrupted run leaves no queue") {
  const Folder folder;
  Program program({BENCH_BINARY, folder.url(), "--quick", "--only", "/process",
                   "--json", folder.File("run.json")});
  // The head, a title, a header and the first row.
  REQUIRE(program.WaitForLines(7, seconds(60)));

  REQUIRE(::kill(program.pid(), SIGINT) == 0);
  const Ended ended = program.Wait();

  CHECK(ended.code == 128 + SIGINT);
  CHECK(ended.err.find("interrupted") != std::string::npos);
  const json run = ReadJson(folder.File("run.json"));
  CheckShape(run);
  CHECK(run["complete"] == false);
  CheckNoQueues(folder);
}

}  // namespace openmessaging::tools::bench_test
