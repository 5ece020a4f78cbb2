// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms dead-letter.

#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::dead_letter_test {
namespace {

// A store whose queue `work` has the dead-letter queue `work.dead`.
struct DeadStore : Store {
  DeadStore() {
    REQUIRE(Oms({"queue", "create", url(), "work.dead"}).code == 0);
    REQUIRE(Oms({"queue", "create", url(), "work", "--dead-letter",
                 "work.dead", "--max-deliveries", "1"})
                .code == 0);
  }
  // Lets each body die in `work`.
  void Bury(const Lines& bodies) const {
    for (const std::string& body : bodies) {
      REQUIRE(Oms({"send", url(), "work", body, "--key", "k-" + body,
                   "--property", "colour=red"})
                  .code == 0);
    }
    const auto take = [this](const char* timeout) {
      return Oms({"receive", url(), "work", "--no-ack", "--timeout", timeout})
          .out;
    };
    REQUIRE(SplitLines(take("0")) == bodies);
    // Once more than they may be delivered.
    REQUIRE(take("500ms").empty());
  }
  Ended DeadLetter(const std::string& verb, Arguments rest = {}) const {
    Arguments arguments{"dead-letter", verb, url(), "work.dead", "--timeout",
                        "0"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    return Oms(arguments);
  }
  Ended Take(const std::string& queue) const {
    return Oms({"receive", url(), queue, "--timeout", "0", "--json"});
  }
};

nlohmann::json Parsed(const std::string& line) {
  return nlohmann::json::parse(line);
}

}  // namespace

TEST_CASE("OMS-CLI-017: dead letters are listed with their reasons") {
  const DeadStore store;
  CHECK(store.DeadLetter("list").out.empty());
  store.Bury({"apples", std::string(50, 'p')});

  const Ended listed = store.DeadLetter("list");

  CHECK(listed.code == 0);
  const Lines lines = SplitLines(listed.out);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].starts_with("id"));
  CHECK(lines[1].find("max-deliveries") != std::string::npos);
  CHECK(lines[1].find("work ") != std::string::npos);
  CHECK(lines[1].find("default  1 ") != std::string::npos);
  CHECK(lines[1].ends_with("apples"));
  CHECK(lines[2].ends_with(std::string(40, 'p') + "..."));
  // They are there still.
  const Lines json = SplitLines(store.DeadLetter("list", {"--json"}).out);
  REQUIRE(json.size() == 2);
  CHECK(Parsed(json[0])["body"] == "apples");
  CHECK(Parsed(json[0])["properties"]["oms.dead.queue"] == "work");
  CHECK(SplitLines(store.DeadLetter("list", {"--max", "1"}).out).size() == 2);
}

TEST_CASE("OMS-CLI-017: a requeued message is as it was before it died") {
  const DeadStore store;
  store.Bury({"apples", "pears"});
  const auto dead =
      Parsed(SplitLines(store.DeadLetter("list", {"--json"}).out)[0]);

  const Ended moved = store.DeadLetter("requeue");

  CHECK(moved.code == 0);
  CHECK(moved.out == "moved 2 messages to work\n");
  CHECK(store.DeadLetter("list").out.empty());
  const Lines back = SplitLines(store.Take("work").out);
  REQUIRE(back.size() == 2);
  const auto message = Parsed(back[0]);
  CHECK(message["body"] == "apples");
  CHECK(message["message_key"] == "k-apples");
  CHECK(message["delivery_count"] == 1);
  CHECK(message["properties"] == nlohmann::json{{"colour", "red"}});
  CHECK(message["origin_id"] == dead["origin_id"]);
  CHECK(store.DeadLetter("requeue").out == "moved nothing\n");
}

TEST_CASE("OMS-CLI-017: one message may go to a queue of the user's choice") {
  const DeadStore store;
  store.Bury({"apples", "pears", "plums"});
  const auto second =
      Parsed(SplitLines(store.DeadLetter("list", {"--json"}).out)[1]);

  const Ended moved = store.DeadLetter(
      "requeue", {"--to", "orders", "--id", second["message_id"]});

  CHECK(moved.out == "moved 1 message to orders\n");
  CHECK(Parsed(store.Take("orders").out)["body"] == "pears");
  CHECK(SplitLines(store.DeadLetter("list").out).size() == 3);
}

TEST_CASE("OMS-CLI-017: a requeued message is no duplicate of itself") {
  const DeadStore store;
  REQUIRE(Oms({"queue", "create", store.url(), "window", "--dead-letter",
               "work.dead", "--max-deliveries", "1", "--dedup-window", "1h"})
              .code == 0);
  REQUIRE(Oms({"send", store.url(), "window", "apples", "--dedup-id", "7"})
              .code == 0);
  const Arguments take = {"receive",  store.url(), "window",
                          "--no-ack", "--timeout", "500ms"};
  REQUIRE(Oms(take).out == "apples\n");
  REQUIRE(Oms(take).out.empty());

  CHECK(store.DeadLetter("requeue").out == "moved 1 message to window\n");

  CHECK(Parsed(store.Take("window").out)["body"] == "apples");
  CHECK(store.DeadLetter("list").out.empty());
}

TEST_CASE("OMS-CLI-017: what cannot be requeued stays and is told") {
  const DeadStore store;
  REQUIRE(Oms({"send", store.url(), "work.dead", "never lived"}).code == 0);
  store.Bury({"apples"});

  const Ended ended = store.DeadLetter("requeue");

  CHECK(ended.code == 1);
  CHECK(ended.out == "moved 1 message to work\n");
  CHECK(ended.err.find("1 message did not come from another queue and stayed; "
                       "expected --to QUEUE") != std::string::npos);
  CHECK(ended.err.find("1418") != std::string::npos);
  CHECK(SplitLines(store.DeadLetter("list").out).size() == 2);
  CheckFailed(Oms({"dead-letter", "list", store.url(), "nowhere"}), 1, 1404,
              "nowhere");
  CheckFailed(Oms({"dead-letter"}), 2, 1418, "expected list or requeue");
}

TEST_CASE("OMS-CLI-017: to a queue that is gone nothing is moved") {
  const DeadStore store;
  store.Bury({"apples"});

  const Ended ended = store.DeadLetter("requeue", {"--to", "nowhere"});

  CHECK(ended.code == 1);
  CHECK(ended.err.find("1404") != std::string::npos);
  CHECK(SplitLines(store.DeadLetter("list").out).size() == 2);
}

}  // namespace openmessaging::tools::dead_letter_test
