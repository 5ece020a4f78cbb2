// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms stream.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::stream_test {
namespace {

Ended StreamOf(const Store& store, const Arguments& rest = {}) {
  Arguments arguments{"stream", store.url(), "orders"};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Oms(arguments);
}

}  // namespace

TEST_CASE("OMS-CLI-014: a stream can be read again and takes nothing away") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);

  CHECK(StreamOf(store).out == "a\nb\nc\n");
  CHECK(StreamOf(store).out == "a\nb\nc\n");
  CHECK(store.Receive().out == "a\nb\nc\n");
}

TEST_CASE("OMS-CLI-014: a stream begins where it is told") {
  const Store store;
  REQUIRE(store.Send({"--stdin-lines"}, "a\nb\nc\n").code == 0);

  CHECK(StreamOf(store, {"--from", "1"}).out == "b\nc\n");
  CHECK(StreamOf(store, {"--from", "latest"}).out.empty());
  CHECK(StreamOf(store, {"--from", "1h"}).out == "a\nb\nc\n");
  CHECK(StreamOf(store, {"--from", "1970-01-01T00:00:00Z"}).out == "a\nb\nc\n");
  CHECK(StreamOf(store, {"--from", "2100-01-01T00:00:00Z"}).out.empty());
}

TEST_CASE("OMS-CLI-014: partitions are read together or one alone") {
  const Store store(3);
  REQUIRE(store.Send({"--count", "600", "--size", "20"}).code == 0);

  Lines all = SplitLines(StreamOf(store).out);
  size_t total = 0;
  int64_t next = 0;
  for (const char* const partition : {"0", "1", "2"}) {
    const Ended one = StreamOf(store, {"--partition", partition, "--json"});
    next = 0;
    for (const std::string& line : SplitLines(one.out)) {
      const auto message = nlohmann::json::parse(line, nullptr, false);
      REQUIRE(message.is_object());
      CHECK(message["offset"] == next++);
      CHECK(message["partition"] == std::stoi(partition));
    }
    total += static_cast<size_t>(next);
  }

  std::sort(all.begin(), all.end());
  CHECK(std::unique(all.begin(), all.end()) == all.end());
  CHECK(all.size() == 600);
  CHECK(total == 600);
  CheckFailed(StreamOf(store, {"--from", "1"}), 1, 1418, "--partition");
  const Ended none = StreamOf(store, {"--partition", "3"});
  CHECK(none.code == 1);
  CHECK(none.err.ends_with("(OMS 1418)\n"));
}

TEST_CASE("OMS-CLI-014: a stream that follows shows what is sent later") {
  const Store store;
  REQUIRE(store.Send({"one"}).code == 0);
  Program stream(OmsCommand({"stream", store.url(), "orders", "--follow"}));
  REQUIRE(stream.WaitForLines(1, std::chrono::seconds(30)));

  REQUIRE(store.Send({"two"}).code == 0);
  REQUIRE(stream.WaitForLines(2, std::chrono::seconds(30)));
  REQUIRE(::kill(stream.pid(), SIGINT) == 0);
  const Ended ended = stream.Wait();

  CHECK(ended.code == 128 + SIGINT);
  CHECK(ended.out == "one\ntwo\n");
  CHECK(ended.err.empty());
}

TEST_CASE("OMS-CLI-014: a stream of a queue that is not there fails") {
  const Store store;

  CheckFailed(Oms({"stream", store.url(), "nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
}

}  // namespace openmessaging::tools::stream_test
