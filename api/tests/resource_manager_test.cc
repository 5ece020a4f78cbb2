// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager over the fake driver.

#include "openmessaging/resource_manager.h"

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::resource_manager_test {
namespace {

using fake::Script;
using fake::World;

TEST_CASE("OMS-MAP-010: a driver that cannot manage queues says so") {
  World world;
  world.broker->Set([](Script& script) { script.admin = false; });
  ResourceManager manager = world.bus->resource_manager();

  const absl::Status created = manager.CreateQueue("new");

  CHECK(OmsCode(created) == Code::kUnsupported);
  CHECK(std::string(created.message()) ==
        "create queue \"new\": driver fake cannot manage queues; expected the "
        "broker's own tools (OMS-MAP-010)");
  CHECK(OmsCode(manager.DeleteQueue("orders")) == Code::kUnsupported);
  CHECK(OmsCode(manager.ListQueues().status()) == Code::kUnsupported);
  CHECK(OmsCode(manager.DescribeQueue("orders").status()) ==
        Code::kUnsupported);
}

TEST_CASE("OMS-GRP-001: a driver that cannot manage groups says so") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  const auto listed = manager.ListGroups("orders");

  CHECK(OmsCode(listed.status()) == Code::kUnsupported);
  CHECK(std::string(listed.status().message()) ==
        "list the groups of queue \"orders\": driver fake cannot manage groups; "
        "expected the broker's own tools (OMS-GRP-001)");
  CHECK(OmsCode(manager.SeekGroup("orders", "billing",
                                  StreamPosition::Earliest())) ==
        Code::kUnsupported);
  CHECK(OmsCode(manager.DeleteGroup("orders", "billing")) ==
        Code::kUnsupported);
  // Names are checked before that.
  CHECK(OmsCode(manager.ListGroups("a b").status()) == Code::kBadParameter);
  for (const std::string_view bad : {"", "a b", "oms.mine", "a://b"}) {
    CHECK(OmsCode(manager.SeekGroup("orders", bad,
                                    StreamPosition::Latest())) ==
          Code::kBadParameter);
    CHECK(OmsCode(manager.DeleteGroup("orders", bad)) == Code::kBadParameter);
  }
  CHECK(OmsCode(manager.SeekGroup("a b", "billing",
                                  StreamPosition::Latest())) ==
        Code::kBadParameter);
}

TEST_CASE("OMS-STAT-001: a driver that tells no numbers says so") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  const auto stats = manager.Stats("orders");

  CHECK(OmsCode(stats.status()) == Code::kUnsupported);
  CHECK(std::string(stats.status().message()) ==
        "ask for the stats of queue \"orders\": driver fake does not tell; "
        "expected the broker's own tools (OMS-STAT-001)");
  CHECK(OmsCode(manager.Stats("a b").status()) == Code::kBadParameter);
}

TEST_CASE("OMS-MAP-011: names and options are checked before the driver") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  for (const std::string_view bad : {"", "a b", "oms.mine", "a://", "://b"}) {
    CHECK(OmsCode(manager.CreateQueue(bad)) == Code::kBadParameter);
    CHECK(OmsCode(manager.DeleteQueue(bad)) == Code::kBadParameter);
    CHECK(OmsCode(manager.DescribeQueue(bad).status()) == Code::kBadParameter);
  }
  CHECK(OmsCode(manager.ListQueues("a b").status()) == Code::kBadParameter);
  CHECK(OmsCode(manager.CreateQueue("q", {.partitions = 0})) ==
        Code::kBadParameter);
  CHECK(OmsCode(manager.CreateQueue("q", {.partitions = kMaxPartitions + 1})) ==
        Code::kTooManyPartitions);
  CHECK(manager.CreateQueue("q", {.partitions = kMaxPartitions}).ok());
}

TEST_CASE("OMS-MAP-011: options of redelivery are checked before the driver") {
  World world;
  ResourceManager manager = world.bus->resource_manager();
  const auto code_of = [&](const QueueOptions& options) {
    return OmsCode(manager.CreateQueue("q", options));
  };
  using std::chrono::milliseconds;

  CHECK(code_of({.max_deliveries = -1, .dead_letter_queue = "dead"}) ==
        Code::kBadParameter);
  CHECK(code_of({.dead_letter_queue = "q"}) == Code::kBadParameter);
  CHECK(code_of({.dead_letter_queue = "a b"}) == Code::kBadParameter);
  CHECK(code_of({.redelivery_delay = milliseconds(-1)}) == Code::kBadParameter);
  CHECK(code_of({.redelivery_delay = milliseconds(100),
                 .max_redelivery_delay = milliseconds(99)}) ==
        Code::kBadParameter);
  CHECK(code_of({.retention = milliseconds(-1)}) == Code::kBadParameter);
  CHECK(code_of({.deduplication_window = milliseconds(-1)}) ==
        Code::kBadParameter);
  const absl::Status endless = manager.CreateQueue("q", {.max_deliveries = 3});

  CHECK(OmsCode(endless) == Code::kBadParameter);
  CHECK(std::string(endless.message()) ==
        "create queue \"q\": max_deliveries is 3 without a dead_letter_queue; "
        "expected both, because nothing is dropped (OMS-MAP-011)");
  CHECK(OmsCode(manager.DescribeQueue("q").status()) == Code::kQueueNotFound);
  CHECK(manager
            .CreateQueue("q", {.max_deliveries = 3,
                               .dead_letter_queue = "orders",
                               .redelivery_delay = milliseconds(0),
                               .max_redelivery_delay = milliseconds(0)})
            .ok());
}

TEST_CASE("OMS-MAP-010: a driver that cannot change queues or route says so") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  const absl::Status updated =
      manager.UpdateQueue("orders", {.filter = "size > 1"});

  CHECK(OmsCode(updated) == Code::kUnsupported);
  CHECK(std::string(updated.message()) ==
        "update queue \"orders\": driver fake cannot change queues; expected "
        "the broker's own tools (OMS-RES-009)");
  const absl::Status routed = manager.CreateRoute({"orders", "audit"});
  CHECK(OmsCode(routed) == Code::kUnsupported);
  CHECK(std::string(routed.message()) ==
        "create a route of queue \"orders\": driver fake has no routes; "
        "expected the broker's own tools (OMS-ROUTE-001)");
  CHECK(OmsCode(manager.DeleteRoute("orders", "audit")) == Code::kUnsupported);
  CHECK(OmsCode(manager.ListRoutes().status()) == Code::kUnsupported);
  CHECK(OmsCode(manager.ListRoutes("orders").status()) == Code::kUnsupported);
  // Names are checked before that.
  for (const std::string bad : {"", "a b", "oms.mine", "a://"}) {
    CHECK(OmsCode(manager.UpdateQueue(bad, {})) == Code::kBadParameter);
    CHECK(OmsCode(manager.CreateRoute({bad, "audit"})) == Code::kBadParameter);
    CHECK(OmsCode(manager.CreateRoute({"orders", bad})) == Code::kBadParameter);
    CHECK(OmsCode(manager.DeleteRoute(bad, "audit")) == Code::kBadParameter);
    CHECK(OmsCode(manager.DeleteRoute("orders", bad)) == Code::kBadParameter);
  }
  CHECK(OmsCode(manager.ListRoutes("a b").status()) == Code::kBadParameter);
}

TEST_CASE("OMS-MAP-011: what an update sets is checked before the driver") {
  World world;
  ResourceManager manager = world.bus->resource_manager();
  const auto code_of = [&](const QueueUpdate& update) {
    return OmsCode(manager.UpdateQueue("q", update));
  };
  using std::chrono::milliseconds;

  CHECK(code_of({.partitions = 0}) == Code::kBadParameter);
  CHECK(code_of({.partitions = kMaxPartitions + 1}) ==
        Code::kTooManyPartitions);
  CHECK(code_of({.max_deliveries = -1}) == Code::kBadParameter);
  CHECK(code_of({.max_deliveries = 1, .dead_letter_queue = ""}) ==
        Code::kBadParameter);
  CHECK(code_of({.dead_letter_queue = "q"}) == Code::kBadParameter);
  CHECK(code_of({.dead_letter_queue = "a b"}) == Code::kBadParameter);
  CHECK(code_of({.redelivery_delay = milliseconds(-1)}) ==
        Code::kBadParameter);
  CHECK(code_of({.max_redelivery_delay = milliseconds(-1)}) ==
        Code::kBadParameter);
  CHECK(code_of({.redelivery_delay = milliseconds(2),
                 .max_redelivery_delay = milliseconds(1)}) ==
        Code::kBadParameter);
  CHECK(code_of({.retention = milliseconds(-1)}) == Code::kBadParameter);
  CHECK(code_of({.deduplication_window = milliseconds(-1)}) ==
        Code::kBadParameter);
  // What goes with something is for the driver to say, which knows the rest.
  for (const QueueUpdate& update :
       {QueueUpdate{}, QueueUpdate{.max_deliveries = 3},
        QueueUpdate{.dead_letter_queue = ""},
        QueueUpdate{.redelivery_delay = std::chrono::hours(9)},
        QueueUpdate{.max_redelivery_delay = milliseconds(0)}}) {
    CHECK(code_of(update) == Code::kUnsupported);
  }
}

TEST_CASE("OMS-MAP-012: queues are created and listed and deleted") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  CHECK(manager.CreateQueue("new", {.partitions = 4}).ok());
  CHECK(OmsCode(manager.CreateQueue("new")) == Code::kQueueExists);
  REQUIRE(manager.CreateNamespace("eu").ok());
  CHECK(manager.CreateQueue("eu://new").ok());

  CHECK(manager.DescribeQueue("new")->options.partitions == 4);
  const auto in_default = manager.ListQueues();
  REQUIRE(in_default.ok());
  REQUIRE(in_default->size() == 2);
  CHECK((*in_default)[0].name == "new");
  CHECK((*in_default)[1].name == "orders");
  CHECK(manager.ListQueues("eu")->at(0).name == "eu://new");
  CHECK(manager.DeleteQueue("new").ok());
  CHECK(OmsCode(manager.DeleteQueue("new")) == Code::kQueueNotFound);
  CHECK(OmsCode(manager.DescribeQueue("new").status()) == Code::kQueueNotFound);
  Producer producer = world.MakeProducer();
  CHECK(OmsCode(producer.Send(Message("new", "x")).status()) ==
        Code::kQueueNotFound);
}

TEST_CASE("OMS-NS-001: namespaces are created and listed and deleted") {
  World world;
  ResourceManager manager = world.bus->resource_manager();
  const auto listed = [&] { return manager.ListNamespaces().value(); };
  using Names = std::vector<std::string>;
  CHECK(listed().empty());

  CHECK(manager.CreateNamespace("us").ok());
  CHECK(manager.CreateNamespace("eu").ok());
  CHECK(OmsCode(manager.CreateNamespace("eu")) == Code::kNamespaceExists);

  CHECK(listed() == Names{"eu", "us"});
  CHECK(manager.ListQueues("eu")->empty());
  CHECK(manager.CreateQueue("eu://bills").ok());
  CHECK(manager.ListQueues("eu")->size() == 1);
  CHECK(OmsCode(manager.DeleteNamespace("eu")) == Code::kIllegalState);
  CHECK(manager.DeleteQueue("eu://bills").ok());
  CHECK(manager.DeleteNamespace("eu").ok());
  CHECK(listed() == Names{"us"});
  CHECK(OmsCode(manager.DeleteNamespace("eu")) == Code::kNamespaceNotFound);
  CHECK(OmsCode(manager.ListQueues("eu").status()) ==
        Code::kNamespaceNotFound);
  CHECK(OmsCode(manager.CreateQueue("eu://bills")) == Code::kNamespaceNotFound);
}

TEST_CASE("OMS-NS-001: a driver that cannot manage namespaces says so") {
  World world;
  world.broker->Set([](Script& script) { script.namespaces = false; });
  ResourceManager manager = world.bus->resource_manager();

  const absl::Status created = manager.CreateNamespace("eu");

  CHECK(OmsCode(created) == Code::kUnsupported);
  CHECK(std::string(created.message()) ==
        "create namespace \"eu\": driver fake cannot manage namespaces; "
        "expected the broker's own tools (OMS-NS-001)");
  CHECK(OmsCode(manager.DeleteNamespace("eu")) == Code::kUnsupported);
  CHECK(OmsCode(manager.ListNamespaces().status()) == Code::kUnsupported);
  // It has queues all the same.
  CHECK(manager.CreateQueue("new").ok());
}

TEST_CASE("OMS-NS-002: names of namespaces are checked before the driver") {
  World world;
  ResourceManager manager = world.bus->resource_manager();

  for (const std::string& bad :
       {std::string(), std::string("a b"), std::string("oms.mine"),
        std::string("eu://"), std::string("eu://orders"), std::string("é"),
        std::string("a\nb"), std::string(kMaxNameBytes + 1, 'n')}) {
    INFO(bad);
    CHECK(OmsCode(manager.CreateNamespace(bad)) == Code::kBadParameter);
    CHECK(OmsCode(manager.DeleteNamespace(bad)) == Code::kBadParameter);
  }
  CHECK(manager.CreateNamespace(std::string(kMaxNameBytes, 'n')).ok());
}

TEST_CASE("OMS-MAP-005: a queue is asked anew once it was made or deleted") {
  World world;
  ResourceManager manager = world.bus->resource_manager();
  const auto calls_after_asking = [&] {
    CHECK(world.bus->capabilities("later").ok());
    return world.broker->counts().capability_calls;
  };
  const auto first = calls_after_asking();
  REQUIRE(calls_after_asking() == first);

  REQUIRE(manager.CreateQueue("later").ok());

  CHECK(calls_after_asking() == first + 1);
  CHECK(calls_after_asking() == first + 1);
  REQUIRE(manager.DeleteQueue("later").ok());
  CHECK(calls_after_asking() == first + 2);
}

TEST_CASE("OMS-MAP-012: of eight that create one queue one succeeds") {
  World world;
  std::atomic<int> created{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const absl::Status status =
          world.bus->resource_manager().CreateQueue("new");
      if (status.ok()) {
        created.fetch_add(1);
      } else {
        CHECK(OmsCode(status) == Code::kQueueExists);
      }
    });
  }

  for (std::thread& thread : threads) thread.join();

  CHECK(created.load() == 1);
}

}  // namespace
}  // namespace openmessaging::resource_manager_test
