// SPDX-License-Identifier: Apache-2.0
//
// Groups as a whole: moving one for all its members, deleting and listing.

#include "openmessaging/resource_manager.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::group_control_test {
namespace {

using Texts = std::vector<std::string>;

// Waits until `condition` holds.
bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = Soon();
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

TEST_CASE_TEMPLATE("OMS-GRP-002: seeking back replays all that is stored",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  PullConsumer other = Consume(bus, "orders", {.group = "audit"});
  SendNumbers(bus, "orders", 0, 9);
  CHECK(DrainBodies(consumer) == Numbers(0, 9));
  CHECK(DrainBodies(other) == Numbers(0, 9));

  ResourceManager manager = bus.resource_manager();
  Must(manager.SeekGroup("orders", "billing", StreamPosition::Offset(3)));

  const Delivery again = Take(consumer);
  CHECK(again->offset() == 3);
  CHECK(again->delivery_count() == 1);
  Must(again.Ack());
  CHECK(DrainBodies(consumer) == Numbers(4, 9));
  CHECK(NothingComes(other));
  // What is not stored counts as the nearest that is.
  Must(manager.SeekGroup("orders", "billing", StreamPosition::Offset(0)));
  CHECK(DrainBodies(consumer) == Numbers(0, 9));
  Must(manager.SeekGroup("orders", "billing", StreamPosition::Offset(1000)));
  SendNumbers(bus, "orders", 10, 11);
  CHECK(DrainBodies(consumer) == Numbers(10, 11));
}

TEST_CASE_TEMPLATE("OMS-GRP-002: seeking forward skips for all members", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto elsewhere = Connect(place.Url());
  PullConsumer first = Consume(bus, "orders", {.group = "billing"});
  PullConsumer second = Consume(elsewhere, "orders", {.group = "billing"});
  SendNumbers(bus, "orders", 0, 9);
  const Delivery held = Take(first);
  const Delivery given_back = Take(second);
  Must(given_back.Nack(milliseconds(0)));

  Must(elsewhere.resource_manager().SeekGroup("orders", "billing",
                                              StreamPosition::Latest()));

  CHECK(NothingComes(first));
  CHECK(NothingComes(second));
  SendNumbers(bus, "orders", 10, 10);
  CHECK(Take(second)->body() == "10");
  CHECK(OmsCode(held.Ack()) == Code::kReceiptExpired);
}

TEST_CASE_TEMPLATE("OMS-GRP-004: a receipt of before a seek is 1604", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  SendNumbers(bus, "orders", 0, 5);
  ResourceManager manager = bus.resource_manager();

  // Each delivery is the first one of its message, by the same consumer: only
  // the moves tell the receipts apart.
  std::vector<Delivery> old;
  for (int round = 0; round < 40; ++round) {
    for (int n = 0; n < 3; ++n) {
      old.push_back(Take(consumer));
      CHECK(old.back()->delivery_count() == 1);
    }
    Must(manager.SeekGroup("orders", "billing", StreamPosition::Earliest()));
  }
  std::vector<Delivery> held;
  for (int n = 0; n < 3; ++n) held.push_back(Take(consumer));
  for (const Delivery& late : old) {
    CHECK(OmsCode(late.Ack()) == Code::kReceiptExpired);
    CHECK(OmsCode(late.AckUpTo()) == Code::kReceiptExpired);
    CHECK(OmsCode(late.Nack()) == Code::kReceiptExpired);
    CHECK(OmsCode(late.Nack(milliseconds(0))) == Code::kReceiptExpired);
    CHECK(OmsCode(late.Extend(kLong)) == Code::kReceiptExpired);
  }

  // A cumulative one settles what came since, and nothing else.
  Must(held[1].AckUpTo());
  Must(held[2].Nack(milliseconds(0)));
  CHECK(DrainBodies(consumer) == Numbers(2, 5));
}

TEST_CASE_TEMPLATE("OMS-GRP-002: a member that waits learns of a seek", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto elsewhere = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  SendNumbers(bus, "orders", 0, 2);
  CHECK(DrainBodies(consumer) == Numbers(0, 2));
  std::atomic<bool> sought{false};
  std::thread mover([&] {
    std::this_thread::sleep_for(milliseconds(20));
    sought = true;
    Must(elsewhere.resource_manager().SeekGroup("orders", "billing",
                                                StreamPosition::Offset(1)));
  });

  const Delivery again = Take(consumer);

  CHECK(sought);
  CHECK(again->body() == "1");
  mover.join();
}

TEST_CASE_TEMPLATE("OMS-GRP-004: a listener is not given what is void", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  SendNumbers(bus, "orders", 0, 49);
  PushConsumer consumer = Must(bus.CreatePushConsumer({.group = "billing"}));
  std::atomic<int> calls{0};
  std::atomic<bool> released{false};
  std::atomic<int> last{-1};
  Must(consumer.Bind("orders", [&](const Message& message) -> Verdict {
    const int number = std::stoi(std::string(message.body()));
    if (calls.fetch_add(1) == 0) {
      while (!released) std::this_thread::sleep_for(milliseconds(1));
    }
    last = number;
    return Ack();
  }));
  Must(consumer.Start());
  REQUIRE(Eventually([&] { return calls == 1; }));

  Must(bus.resource_manager().SeekGroup("orders", "billing",
                                        StreamPosition::Latest()));
  // The receiving thread has noticed when what comes now is here; the listener
  // is still busy with the first one.
  SendNumbers(bus, "orders", 50, 50);
  std::this_thread::sleep_for(milliseconds(100));
  released = true;

  CHECK(Eventually([&] { return last == 50; }));
  CHECK(calls == 2);
}

TEST_CASE_TEMPLATE("OMS-GRP-003: a group is moved to a position", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders", 3);
  Producer producer = Must(bus.CreateProducer());
  const auto send = [&](int32_t partition, const std::string& body) {
    Message message("orders", body);
    message.SetPartition(partition);
    Must(producer.Send(message));
  };
  for (int32_t p = 0; p < 3; ++p) send(p, "early" + std::to_string(p));
  std::this_thread::sleep_for(milliseconds(50));
  const auto middle = std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  std::this_thread::sleep_for(milliseconds(50));
  for (int32_t p = 0; p < 3; ++p) send(p, "late" + std::to_string(p));
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  CHECK(DrainBodies(consumer).size() == 6);
  ResourceManager manager = bus.resource_manager();
  const auto seek = [&](StreamPosition position,
                        std::optional<int32_t> partition = std::nullopt) {
    return manager.SeekGroup("orders", "billing", position, partition);
  };
  const auto drained = [&] {
    auto bodies = DrainBodies(consumer);
    std::sort(bodies.begin(), bodies.end());
    return bodies;
  };

  Must(seek(StreamPosition::Time(middle)));
  CHECK(drained() == Texts{"late0", "late1", "late2"});
  Must(seek(StreamPosition::Earliest(), 1));
  CHECK(drained() == Texts{"early1", "late1"});
  Must(seek(StreamPosition::Offset(1), 2));
  CHECK(drained() == Texts{"late2"});
  Must(seek(StreamPosition::Earliest()));
  Must(seek(StreamPosition::Latest(), 0));
  CHECK(drained() == Texts{"early1", "early2", "late1", "late2"});

  const absl::Status several = seek(StreamPosition::Offset(0));
  CHECK(OmsCode(several) == Code::kBadParameter);
  CHECK(Text(several) ==
        "seek group \"billing\" of queue \"orders\": it has 3 partitions, each "
        "with its own offsets; expected a partition beside an offset "
        "(OMS-GRP-003)");
  CHECK(OmsCode(seek(StreamPosition::Earliest(), 3)) == Code::kBadParameter);
  CHECK(OmsCode(seek(StreamPosition::Earliest(), -1)) == Code::kBadParameter);
  CHECK(OmsCode(seek(StreamPosition::Offset(-1), 0)) == Code::kBadParameter);
  CHECK(OmsCode(seek(StreamPosition::Time(milliseconds(-1)))) ==
        Code::kBadParameter);
  CHECK(OmsCode(manager.SeekGroup("absent", "billing",
                                  StreamPosition::Latest())) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(manager.SeekGroup("orders", "a b", StreamPosition::Latest())) ==
        Code::kBadParameter);
  const absl::Status absent =
      manager.SeekGroup("orders", "absent", StreamPosition::Latest());
  CHECK(OmsCode(absent) == Code::kQueueNotFound);
  CHECK(Text(absent) ==
        "find group \"absent\" of queue \"orders\": no such group; expected "
        "one that has bound the queue");
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-GRP-001: groups are listed by name", Place, MemoryPlace,
                   FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  Must(bus.resource_manager().CreateQueue("bills"));
  ResourceManager manager = bus.resource_manager();
  CHECK(Must(manager.ListGroups("orders")).empty());

  {
    PullConsumer one = Consume(bus, "orders", {.group = "billing"});
    PullConsumer two = Consume(bus, "orders", {.group = "audit"});
    PullConsumer third = Consume(bus, "bills", {.group = "other"});
    PullConsumer own = Consume(bus, "orders", {.broadcast = true});
    CHECK(Must(manager.ListGroups("orders")) == Texts{"audit", "billing"});
  }
  // A group outlives its members.
  CHECK(Must(manager.ListGroups("orders")) == Texts{"audit", "billing"});
  CHECK(Must(manager.ListGroups("bills")) == Texts{"other"});
  CHECK(OmsCode(manager.ListGroups("absent").status()) == Code::kQueueNotFound);
  CHECK(OmsCode(manager.ListGroups("a b").status()) == Code::kBadParameter);
}

TEST_CASE_TEMPLATE("OMS-GRP-005: a deleted group ends for its members", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "orders");
  const auto elsewhere = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  SendNumbers(bus, "orders", 0, 2);
  CHECK(DrainBodies(consumer) == Numbers(0, 2));
  std::thread deleter([&] {
    std::this_thread::sleep_for(milliseconds(20));
    Must(elsewhere.resource_manager().DeleteGroup("orders", "billing"));
  });

  const auto ended = consumer.Receive(kLong);
  deleter.join();

  CHECK(OmsCode(ended.status()) == Code::kIllegalState);
  CHECK(Text(ended.status()) ==
        "receive from \"orders\": group \"billing\" was deleted; unbind the "
        "queue, and bind it to begin a new one");
  CHECK(OmsCode(consumer.Receive(kShort).status()) == Code::kIllegalState);
  ResourceManager manager = bus.resource_manager();
  CHECK(Must(manager.ListGroups("orders")).empty());
  CHECK(OmsCode(manager.DeleteGroup("orders", "billing")) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(manager.DeleteGroup("absent", "billing")) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(manager.DeleteGroup("orders", "")) == Code::kBadParameter);
  CHECK(OmsCode(manager.SeekGroup("orders", "billing",
                                  StreamPosition::Earliest())) ==
        Code::kQueueNotFound);

  Must(consumer.Unbind("orders"));
  Must(consumer.Bind("orders"));
  CHECK(DrainBodies(consumer) == Numbers(0, 2));
}

TEST_CASE("OMS-GRP-005: a deleted group does not come back") {
  FilePlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    {
      PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
      SendNumbers(bus, "orders", 0, 2);
      CHECK(DrainBodies(consumer) == Numbers(0, 2));
    }
    Must(bus.resource_manager().DeleteGroup("orders", "billing"));
  }
  SUBCASE("after a clean close") {}
  SUBCASE("from the log") {
    std::filesystem::remove_all(place.path() + "/ckpt");
    std::filesystem::create_directory(place.path() + "/ckpt");
  }
  const auto bus = Connect(place.Url());
  CHECK(Must(bus.resource_manager().ListGroups("orders")).empty());
  PullConsumer consumer = Consume(bus, "orders", {.group = "billing"});
  CHECK(DrainBodies(consumer) == Numbers(0, 2));
}

}  // namespace
}  // namespace openmessaging::reference::group_control_test
