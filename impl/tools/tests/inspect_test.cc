// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms inspect: what it prints. What it finds is tested beside
// InspectStore.

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::inspect_test {
namespace {

nlohmann::json InspectAsJson(const Store& store) {
  const Ended ended = Oms({"inspect", store.directory().string(), "--json"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(SplitLines(ended.out).size() == 1);
  auto object = nlohmann::json::parse(ended.out, nullptr, false);
  REQUIRE(object.is_object());
  return object;
}

}  // namespace

TEST_CASE("OMS-CLI-011: inspect shows each section with straight columns") {
  const Store store(2);
  REQUIRE(store.Send({"--count", "10"}).code == 0);
  REQUIRE(store.Receive({"--max", "3"}).code == 0);

  const Ended ended = Oms({"inspect", store.directory().string()});

  CHECK(ended.code == 0);
  CHECK(ended.err.empty());
  CAPTURE(ended.out);
  const Lines lines = SplitLines(ended.out);
  REQUIRE(lines.size() > 10);
  CHECK(lines[0].starts_with("store    "));
  CHECK(lines[3] == "state    closed");
  for (const char* const part :
       {"\nsegments\nbase  size  used", "\npartitions\nqueue   partition",
        "\ngroups\nqueue   partition  group    floor  next  unsettled\n",
        "\npins\nposition  queue   partition  offset  held for\n",
        "\nslots\nslot  pid"}) {
    CAPTURE(part);
    CHECK(ended.out.find(part) != std::string::npos);
  }
  // Nobody has it open, so nobody holds a lock.
  CHECK(ended.out.find("\nlocks\n") == std::string::npos);
  CHECK(ended.out.find(" yes ") == std::string::npos);
}

TEST_CASE("OMS-CLI-011: inspect shows namespaces though they have no queues") {
  const Store store;
  REQUIRE(Oms({"namespace", "create", store.url(), "us"}).code == 0);
  REQUIRE(Oms({"namespace", "create", store.url(), "eu"}).code == 0);

  const Ended text = Oms({"inspect", store.directory().string()});
  const Ended json = Oms({"inspect", store.directory().string(), "--json"});

  CHECK(text.out.find("\nnamespaces\nnamespace\neu\nus\n") !=
        std::string::npos);
  CHECK(json.out.find("\"namespaces\":[\"eu\",\"us\"]") !=
        std::string::npos);
}

TEST_CASE("OMS-CLI-011: the JSON of inspect follows a store through its life") {
  const Store store;
  REQUIRE(store.Send({"--count", "5"}).code == 0);

  const auto closed = InspectAsJson(store);
  Program receiver(OmsCommand(
      {"receive", store.url(), "orders", "--no-ack", "--timeout", "1h"}));
  REQUIRE(receiver.WaitForLines(5, std::chrono::seconds(30)));
  const auto used = InspectAsJson(store);
  REQUIRE(::kill(receiver.pid(), SIGKILL) == 0);
  const pid_t pid = receiver.pid();
  receiver.Wait();
  const auto left = InspectAsJson(store);

  CHECK(closed["state"] == "closed");
  CHECK(closed["committed"] == closed["durable"]);
  CHECK(closed["groups"].empty());
  REQUIRE(closed["pins"].size() == 1);
  CHECK(closed["pins"][0]["group"].is_null());
  CHECK(closed["segments"][0]["used"] == closed["committed"]);
  CHECK(used["state"] == "in use");
  REQUIRE(used["slots"].size() == 1);
  CHECK(used["slots"][0]["alive"] == true);
  CHECK(used["slots"][0]["pid"] == pid);
  REQUIRE(used["groups"].size() == 1);
  CHECK(used["groups"][0]["group"] == "default");
  CHECK(used["groups"][0]["floor"] == 0);
  CHECK(used["groups"][0]["next"] == 5);
  CHECK(used["groups"][0]["unsettled"] == 5);
  CHECK(used["pins"][0]["group"] == "default");
  CHECK(left["state"] == "left");
  CHECK(left["slots"][0]["alive"] == false);
  CHECK(left["groups"] == used["groups"]);
  // The next one goes on.
  CHECK(SplitLines(store.Receive({"--max", "5"}).out).size() == 5);
}

TEST_CASE("OMS-CLI-011: inspect refuses what is no store and changes nothing") {
  const Store store;
  const std::filesystem::path empty = store.folder() / "empty";
  std::filesystem::create_directory(empty);

  CheckFailed(Oms({"inspect", empty.string()}), 1, 1418, empty.string());
  CheckFailed(Oms({"inspect", (store.folder() / "none").string()}), 1, 1404,
              "none");
  CHECK(std::filesystem::is_empty(empty));
  CHECK(!std::filesystem::exists(store.folder() / "none"));

  std::fstream file(store.directory() / "STORE",
                    std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(8);
  file.put(9);  // The major version.
  file.close();
  CheckFailed(Oms({"inspect", store.directory().string()}), 1, 10003,
              "its format is 9.");
}

}  // namespace openmessaging::tools::inspect_test
