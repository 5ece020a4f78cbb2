// SPDX-License-Identifier: Apache-2.0
//
// What a queue decides of its messages: checked, kept over every reopening,
// and told.

#include <chrono>
#include <filesystem>
#include <string>

#include "store_fixture.h"

namespace openmessaging::reference::queue_options_test {
namespace {

QueueOptions Unusual() {
  QueueOptions options;
  options.partitions = 3;
  options.max_deliveries = 7;
  options.dead_letter_queue = "dead";
  options.redelivery_delay = milliseconds(0);
  options.max_redelivery_delay = milliseconds(123'456);
  options.retention = std::chrono::hours(24 * 365);
  return options;
}

void CheckUnusual(const MessagingAccessPoint& bus) {
  const QueueInfo info = Must(bus.resource_manager().DescribeQueue("orders"));
  const QueueOptions wanted = Unusual();
  CHECK(info.name == "orders");
  CHECK(info.options.partitions == wanted.partitions);
  CHECK(info.options.max_deliveries == wanted.max_deliveries);
  CHECK(info.options.dead_letter_queue == wanted.dead_letter_queue);
  CHECK(info.options.redelivery_delay == wanted.redelivery_delay);
  CHECK(info.options.max_redelivery_delay == wanted.max_redelivery_delay);
  CHECK(info.options.retention == wanted.retention);
  const QueueInfo plain = Must(bus.resource_manager().DescribeQueue("dead"));
  const QueueOptions defaults;
  CHECK(plain.options.max_deliveries == 0);
  CHECK(plain.options.dead_letter_queue.empty());
  CHECK(plain.options.redelivery_delay == defaults.redelivery_delay);
  CHECK(plain.options.max_redelivery_delay == defaults.max_redelivery_delay);
  CHECK(plain.options.retention == milliseconds(0));
}

TEST_CASE_TEMPLATE("OMS-MAP-011: the options of a queue are told", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue("orders", Unusual()));

  CheckUnusual(bus);
  CheckUnusual(Connect(place.Url()));
  CHECK(Must(bus.resource_manager().ListQueues()).size() == 2);
}

TEST_CASE("OMS-MAP-011: the options of a queue outlive every reopening") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "dead");
    Must(bus.resource_manager().CreateQueue("orders", Unusual()));
  }
  // From the checkpoint, then from the log alone.
  CheckUnusual(Connect(place.Url()));
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }
  CheckUnusual(Connect(place.Url()));
  CheckSound(place.path());
}

TEST_CASE("OMS-MAP-011: the options of a queue outlive the retirement of their "
          "record") {
  FilePlace place;
  {
    const auto bus = ConnectWith(
        place.Url("?first-segment=16KiB&max-segment=16KiB"), "dead");
    QueueOptions options = Unusual();
    options.retention = milliseconds(0);
    Must(bus.resource_manager().CreateQueue("orders", options));
    PullConsumer consumer = Consume(bus, "orders");
    const std::string padding(1000, '.');
    for (int n = 0; n < 100; n += 10) {
      SendNumbers(bus, "orders", n, n + 9, padding);
      CHECK(DrainBodies(consumer).size() == 10);
    }
    // Its first segment is gone, and the record with it.
    CHECK_FALSE(std::filesystem::exists(
        place.path() + "/log/0000000000000000-00000001.seg"));
  }
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }

  const auto bus = Connect(place.Url());
  const QueueInfo info = Must(bus.resource_manager().DescribeQueue("orders"));
  CHECK(info.options.max_deliveries == 7);
  CHECK(info.options.dead_letter_queue == "dead");
  CHECK(info.options.partitions == 3);
}

TEST_CASE_TEMPLATE("OMS-MAP-011: a dead-letter queue must exist and stay",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();

  const absl::Status none =
      manager.CreateQueue("orders", {.dead_letter_queue = "dead"});
  CHECK(OmsCode(none) == Code::kQueueNotFound);
  CHECK(Text(none) ==
        "create queue \"orders\": there is no queue \"dead\"; create the "
        "dead-letter queue first");
  CHECK(OmsCode(manager.CreateQueue(
            "orders", {.dead_letter_queue = "elsewhere://dead"})) ==
        Code::kNamespaceNotFound);
  CHECK(OmsCode(manager.CreateQueue("orders", {.dead_letter_queue =
                                                   "orders"})) ==
        Code::kBadParameter);
  Must(manager.CreateQueue("dead"));
  CHECK(OmsCode(manager.CreateQueue("orders", {.max_deliveries = 20'000,
                                               .dead_letter_queue = "dead"})) ==
        Code::kBadParameter);
  Must(manager.CreateQueue("orders", {.dead_letter_queue = "dead"}));

  const absl::Status needed = manager.DeleteQueue("dead");
  CHECK(OmsCode(needed) == Code::kIllegalState);
  CHECK(Text(needed) ==
        "delete queue \"dead\": queue \"orders\" sends its dead letters "
        "there; delete that one first");
  Must(manager.DeleteQueue("orders"));
  Must(manager.DeleteQueue("dead"));
}

TEST_CASE_TEMPLATE("OMS-SET-017: a plain nack waits as long as its queue says",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(
      "orders", {.redelivery_delay = milliseconds(20),
                 .max_redelivery_delay = milliseconds(40)}));
  PullConsumer consumer = Consume(bus, "orders");
  SendOne(bus, Message("orders", "x"));

  const auto begin = steady_clock::now();
  for (int32_t count = 1; count <= 4; ++count) {
    const Delivery delivery = Take(consumer);
    CHECK(delivery->delivery_count() == count);
    Must(delivery.Nack());
  }
  Must(Take(consumer).Ack());

  // 20, 40, and then the longest.
  const auto waited = steady_clock::now() - begin;
  CHECK(waited >= milliseconds(20 + 40 + 40 + 40 - 4));
  CHECK(waited < std::chrono::seconds(3));
}

}  // namespace
}  // namespace openmessaging::reference::queue_options_test
