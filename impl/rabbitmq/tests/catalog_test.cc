// SPDX-License-Identifier: Apache-2.0

#include "catalog.h"

#include <doctest/doctest.h>

#include "openmessaging/status.h"
#include "topology.h"

namespace openmessaging::rabbitmq::rabbitmq_catalog_test {

TEST_CASE("a catalog reads as it was written") {
  Catalog catalog;
  catalog.version = 17;
  catalog.queues["orders"] = {.first_group = "billing",
                              .groups = {"audit", "web"},
                              .max_deliveries = 3,
                              .dead_letter_queue = "graves"};
  catalog.queues["graves"] = {};
  catalog.queues["urgent"] = {.type = QueueType::kClassic, .priorities = true,
                              .delays = true};

  const std::string text = ToText(catalog);

  CHECK(text ==
        "oms-catalog 1 17\n"
        "queue graves type=quorum\n"
        "queue orders type=quorum first=billing groups=audit,web limit=3 "
        "dead=graves\n"
        "queue urgent type=classic priorities=on delays=on\n");
  const auto read = ParseCatalog(text);
  REQUIRE(read.ok());
  CHECK(*read == catalog);
}

TEST_CASE("what is no catalog is told as damaged") {
  for (const char* const text :
       {"", "x", "oms-catalog 2 1\n", "oms-catalog 1 x\n",
        "oms-catalog 1 1\nrubbish\n", "oms-catalog 1 1\nqueue \n",
        "oms-catalog 1 1\nqueue a type=wood\n",
        "oms-catalog 1 1\nqueue a limit=x\n",
        "oms-catalog 1 1\nqueue a\nqueue a\n"}) {
    CHECK(OmsCode(ParseCatalog(text).status()) == Code::kDamaged);
  }
}

TEST_CASE("what a later version adds is passed over") {
  const auto read = ParseCatalog("oms-catalog 1 1\nqueue a colour=red\n");
  REQUIRE(read.ok());
  CHECK(read->queues.at("a") == CatalogQueue());
}

TEST_CASE("a group's queue is named after both and fits") {
  CHECK(GroupQueueName("orders", "audit") == "orders@audit");
  CHECK(SplitGroupQueueName("orders@audit").queue == "orders");
  CHECK(SplitGroupQueueName("orders@audit").group == "audit");
  CHECK(SplitGroupQueueName("orders").queue == "orders");
  CHECK(SplitGroupQueueName("orders").group.empty());

  const std::string longest(255, 'q');
  const std::string first = GroupQueueName(longest, "a");
  CHECK(first.size() == kMaxShortBytes);
  CHECK(first != GroupQueueName(longest, "b"));
  CHECK(GroupQueueName(longest, "a") == first);
}

}  // namespace openmessaging::rabbitmq::rabbitmq_catalog_test
