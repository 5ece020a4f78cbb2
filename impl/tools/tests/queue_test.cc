// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms queue.

#include <string>

#include "doctest/doctest.h"
#include "nlohmann/json.hpp"
#include "oms_fixture.h"

namespace openmessaging::tools::queue_test {

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

TEST_CASE("OMS-CLI-008: a deleted queue is gone with its messages") {
  const Store store;
  REQUIRE(store.Send({"42 apples"}).code == 0);

  const Ended deleted = Oms({"queue", "delete", store.url(), "orders"});

  CHECK(deleted.code == 0);
  CHECK(deleted.out == "deleted orders\n");
  CHECK(Oms({"queue", "list", store.url()}).out.empty());
  CheckFailed(store.Send({"x"}), 1, 1404, "orders");
  CheckFailed(Oms({"queue", "delete", store.url(), "orders"}), 1, 1404,
              "orders");
  REQUIRE(Oms({"queue", "create", store.url(), "orders"}).code == 0);
  CHECK(store.Receive().out.empty());
}

TEST_CASE("OMS-CLI-008: a description is a table or a line of JSON") {
  const Store store(4);

  const Ended text = Oms({"queue", "describe", store.url(), "orders"});
  const Ended json =
      Oms({"queue", "describe", store.url(), "orders", "--json"});

  CHECK(text.code == 0);
  const Lines lines = SplitLines(text.out);
  REQUIRE(lines.size() >= 10);
  CHECK(lines[0] == "queue                 orders");
  CHECK(lines[1] == "partitions            4");
  CHECK(lines[2] == "max deliveries        no limit");
  CHECK(lines[3] == "dead-letter queue     none");
  CHECK(lines[4] == "redelivery delay      1s");
  CHECK(lines[5] == "max redelivery delay  1m");
  CHECK(lines[6] == "retention             0");
  CHECK(lines[7] == "priorities            no");
  CHECK(lines[8] == "deduplication window  none");
  CHECK(lines[9] == "filter                none");
  CHECK(json.code == 0);
  CHECK(SplitLines(json.out).size() == 1);
  const auto object = nlohmann::json::parse(json.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["queue"] == "orders");
  CHECK(object["partitions"] == 4);
  CHECK(object["max_deliveries"] == 0);
  CHECK(object["dead_letter_queue"] == "");
  CHECK(object["redelivery_delay_ms"] == 1000);
  CHECK(object["max_redelivery_delay_ms"] == 60000);
  CHECK(object["retention_ms"] == 0);
  CHECK(object["priorities"] == false);
  CHECK(object["deduplication_window_ms"] == 0);
  CHECK(object["filter"] == "");
  REQUIRE(object["offsets"].size() == 4);
  CHECK(object["offsets"][3]["first"] == 0);
  CHECK(object["offsets"][3]["end"] == 0);
  REQUIRE(lines.size() == 14);
  CHECK(lines[10] == "partition 0           offsets 0 to 0");
  CheckFailed(Oms({"queue", "describe", store.url(), "nowhere"}), 1, 1404,
              "oms queue create " + store.url() + " nowhere");
}

TEST_CASE("OMS-CLI-008: a queue keeps the options that it was created with") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "bills", "--max-deliveries", "5",
               "--dead-letter", "orders", "--redelivery-delay", "2m",
               "--retention", "7d"})
              .code == 0);

  const Ended text = Oms({"queue", "describe", store.url(), "bills"});
  const Ended json = Oms({"queue", "describe", store.url(), "bills", "--json"});

  for (const char* const line :
       {"max deliveries        5\n", "dead-letter queue     orders\n",
        "redelivery delay      2m\n", "max redelivery delay  2m\n",
        "retention             7d\n"}) {
    CAPTURE(line);
    CHECK(text.out.find(line) != std::string::npos);
  }
  const auto object = nlohmann::json::parse(json.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["max_deliveries"] == 5);
  CHECK(object["dead_letter_queue"] == "orders");
  CHECK(object["redelivery_delay_ms"] == 120000);
  CHECK(object["max_redelivery_delay_ms"] == 120000);
  CHECK(object["retention_ms"] == 604800000);
  CheckFailed(
      Oms({"queue", "create", store.url(), "q", "--dead-letter", "nowhere"}), 1,
      1404, "oms queue create " + store.url() + " nowhere");
}

TEST_CASE("OMS-CLI-008: a queue with priorities takes and delivers them") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "jobs", "--partitions", "2",
               "--priorities"})
              .code == 0);

  const Ended text = Oms({"queue", "describe", store.url(), "jobs"});
  const Ended json = Oms({"queue", "describe", store.url(), "jobs", "--json"});

  CHECK(text.code == 0);
  CHECK(text.out.find("partitions            2\n") != std::string::npos);
  CHECK(text.out.find("priorities            yes\n") != std::string::npos);
  const auto object = nlohmann::json::parse(json.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["priorities"] == true);
  CHECK_FALSE(object.contains("offsets"));
  for (const char* const priority : {"1", "10", "5"}) {
    REQUIRE(Oms({"send", store.url(), "jobs", priority, "--priority", priority})
                .code == 0);
  }
  CHECK(Oms({"receive", store.url(), "jobs", "--max", "3"}).out ==
        "10\n5\n1\n");
  CheckFailed(Oms({"stream", store.url(), "jobs"}), 1, 1600, "jobs");
  CheckFailed(store.Send({"x", "--priority", "9"}), 1, 1600, "priority");
  CheckFailed(Oms({"queue", "create", store.url(), "wide", "--priorities",
                   "--partitions", "103"}),
              1, 1415, "1 to 102");
}

TEST_CASE("OMS-CLI-008: a queue with a window stores an id once") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "jobs", "--dedup-window", "10m"})
              .code == 0);
  CHECK(Oms({"queue", "describe", store.url(), "jobs"})
            .out.find("deduplication window  10m\n") != std::string::npos);

  const Ended first =
      Oms({"send", store.url(), "jobs", "one", "--dedup-id", "a"});
  const Ended again =
      Oms({"send", store.url(), "jobs", "two", "--dedup-id", "a", "--json"});

  CHECK(first.code == 0);
  const auto object = nlohmann::json::parse(again.out, nullptr, false);
  REQUIRE(object.is_object());
  CHECK(object["duplicate"] == true);
  CHECK(object["message_id"].get<std::string>() + "\n" == first.out);
  CHECK(Oms({"receive", store.url(), "jobs", "--timeout", "0", "--max", "5"})
            .out == "one\n");
  CheckFailed(store.Send({"x", "--dedup-id", "a"}), 1, 1600, "dedup");
  CheckFailed(Oms({"queue", "create", store.url(), "q", "--dedup-window",
                   "200h"}),
              1, 1418, "deduplication_window");
}

TEST_CASE("OMS-CLI-008: a queue is changed and what is not named stays") {
  const Store store;
  REQUIRE(Oms({"queue", "create", store.url(), "failed"}).code == 0);
  REQUIRE(Oms({"queue", "update", store.url(), "orders", "--retention", "7d"})
              .code == 0);

  const Ended updated =
      Oms({"queue", "update", store.url(), "orders", "--max-deliveries", "2",
           "--dead-letter", "failed", "--filter", "big", "--dedup-window",
           "1m", "--redelivery-delay", "5m", "--max-redelivery-delay", "1h"});

  CHECK(updated.code == 0);
  CHECK(updated.out == "updated orders\n");
  const std::string text =
      Oms({"queue", "describe", store.url(), "orders"}).out;
  for (const char* const line :
       {"max deliveries        2\n", "dead-letter queue     failed\n",
        "redelivery delay      5m\n", "max redelivery delay  1h\n",
        "retention             7d\n", "deduplication window  1m\n",
        "filter                big\n"}) {
    CAPTURE(line);
    CHECK(text.find(line) != std::string::npos);
  }
  // The filter counts.
  REQUIRE(store.Send({"small"}).code == 0);
  REQUIRE(store.Send({"large", "--property", "big=true"}).code == 0);
  CHECK(store.Receive().out == "large\n");
  REQUIRE(Oms({"queue", "update", store.url(), "orders", "--filter", "",
               "--max-deliveries", "0", "--dead-letter", ""})
              .code == 0);
  REQUIRE(store.Send({"any"}).code == 0);
  CHECK(store.Receive().out == "any\n");
  REQUIRE(Oms({"queue", "delete", store.url(), "failed"}).code == 0);
}

TEST_CASE("OMS-CLI-008: what cannot be changed of a queue is refused") {
  const Store store;
  const auto update = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"queue", "update", store.url(), "orders"});
    return Oms(options);
  };
  CheckFailed(update({}), 2, 1418, "one option at least");
  CheckFailed(update({"--partitions", "2"}), 2, 1418, "partitions");
  CheckFailed(update({"--filter", "price >"}), 1, 1418, "column 8");
  CheckFailed(update({"--max-deliveries", "2"}), 1, 1418, "dead_letter_queue");
  CheckFailed(update({"--max-deliveries", "-1"}), 2, 1418, "max-deliveries");
  CheckFailed(update({"--dead-letter", "nowhere"}), 1, 1404, "nowhere");
  CheckFailed(update({"--redelivery-delay", "2h"}), 1, 1418, "longest");
  CheckFailed(Oms({"queue", "update", store.url(), "nowhere", "--filter", "a"}),
              1, 1404, "oms queue create " + store.url() + " nowhere");
  CHECK(Oms({"queue", "describe", store.url(), "orders"})
            .out.find("filter                none\n") != std::string::npos);
}

}  // namespace openmessaging::tools::queue_test
