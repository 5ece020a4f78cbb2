// SPDX-License-Identifier: Apache-2.0
//
// Queues that are changed while they are used, and filters that queues have.

#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::queue_update_test {
namespace {

using Texts = std::vector<std::string>;

constexpr char kQueue[] = "orders";

void Update(const MessagingAccessPoint& bus, const QueueUpdate& update) {
  Must(bus.resource_manager().UpdateQueue(kQueue, update));
}

// Sends one message for each size, with the property `size`.
void SendSizes(const MessagingAccessPoint& bus, const std::vector<int>& sizes) {
  Producer producer = Must(bus.CreateProducer());
  for (const int size : sizes) {
    Message message(kQueue, std::to_string(size));
    Must(message.SetProperty("size", size));
    Must(producer.Send(message));
  }
}

QueueOptions OptionsOf(const MessagingAccessPoint& bus) {
  return Must(bus.resource_manager().DescribeQueue(kQueue)).options;
}

void CheckChanged(const MessagingAccessPoint& bus) {
  const QueueOptions options = OptionsOf(bus);
  CHECK(options.partitions == 3);
  CHECK(options.max_deliveries == 4);
  CHECK(options.dead_letter_queue == "dead");
  CHECK(options.redelivery_delay == milliseconds(5));
  CHECK(options.max_redelivery_delay == milliseconds(60'000));
  CHECK(options.retention == milliseconds(0));
  CHECK(options.deduplication_window == milliseconds(70'000));
  CHECK(options.filter == "size >  10");
}

const QueueUpdate kChange{.max_deliveries = 4,
                          .dead_letter_queue = "dead",
                          .redelivery_delay = milliseconds(5),
                          .deduplication_window = milliseconds(70'000),
                          .filter = "size >  10"};

// Arguments: URL. Receives what is there for its group, whenever it hears
// something, and says it.
OMS_ROLE(reader) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue, {.group = "there"});
  role.Say("ready");
  while (role.Hear()) {
    std::string all;
    for (const std::string& body : DrainBodies(consumer)) all += body + " ";
    role.Say(all);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("OMS-RES-009: what is changed of a queue is told by all",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  const auto other = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(kQueue, {.partitions = 3}));
  REQUIRE(OptionsOf(other).max_deliveries == 0);

  Update(bus, kChange);

  CheckChanged(bus);
  CheckChanged(other);
  // Nothing else is, and the same again is no error.
  Update(other, {.partitions = 3, .priorities = false});
  CheckChanged(bus);
}

TEST_CASE("OMS-RES-009: a change outlives every reopening and retirement") {
  FilePlace place;
  {
    const auto bus = ConnectWith(
        place.Url("?first-segment=16KiB&max-segment=16KiB"), "dead");
    Must(bus.resource_manager().CreateQueue(kQueue, {.partitions = 3}));
    Update(bus, kChange);
  }
  CheckChanged(Connect(place.Url()));
  for (const bool retired : {false, true}) {
    CAPTURE(retired);
    if (retired) {
      const auto bus = Connect(place.Url());
      PullConsumer consumer = Consume(bus, kQueue);
      const std::string padding(1000, '.');
      for (int n = 0; n < 200; n += 10) {
        SendNumbers(bus, kQueue, n, n + 9, padding);
        // The filter settles all of it.
        CHECK(DrainBodies(consumer).empty());
      }
      CHECK_FALSE(std::filesystem::exists(
          place.path() + "/log/0000000000000000-00000001.seg"));
    }
    for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
      std::filesystem::remove_all(place.path() + derived);
    }
    CheckChanged(Connect(place.Url()));
    CheckSound(place.path());
  }
}

TEST_CASE_TEMPLATE("OMS-RES-010: a change that cannot be changes nothing",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  ResourceManager manager = bus.resource_manager();
  Must(manager.CreateQueue(kQueue, {.dead_letter_queue = "dead"}));
  const auto refused = [&](Code code, const QueueUpdate& update,
                           std::string_view text) {
    const absl::Status status = manager.UpdateQueue(kQueue, update);
    CHECK(OmsCode(status) == code);
    CHECK_MESSAGE(Text(status).find(text) != std::string::npos, Text(status));
    CHECK(OptionsOf(bus).retention == milliseconds(0));
    CHECK(OptionsOf(bus).dead_letter_queue == "dead");
    CHECK(OptionsOf(bus).filter.empty());
  };

  const milliseconds day = std::chrono::hours(24);
  refused(Code::kBadParameter, {.partitions = 2, .retention = day},
          "it has 1 partitions for good");
  refused(Code::kBadParameter, {.priorities = true, .retention = day},
          "it was created without priorities");
  refused(Code::kBadParameter, {.retention = day, .filter = "size >"},
          "column 7");
  refused(Code::kBadParameter, {.max_deliveries = 3, .dead_letter_queue = ""},
          "without a dead_letter_queue");
  refused(Code::kBadParameter, {.max_deliveries = 20'000}, "expected at most");
  refused(Code::kBadParameter, {.dead_letter_queue = kQueue}, "its own");
  refused(Code::kQueueNotFound, {.dead_letter_queue = "none"},
          "create the dead-letter queue first");
  // What the queue has and what is set must go together.
  refused(Code::kBadParameter, {.redelivery_delay = std::chrono::hours(1)},
          "the longest not shorter");
  refused(Code::kBadParameter, {.deduplication_window = 30 * day},
          "expected at most");
  CHECK(OmsCode(manager.UpdateQueue("none", {.filter = "size"})) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(manager.CreateQueue("new", {.filter = "size >"})) ==
        Code::kBadParameter);
  CHECK(OmsCode(manager.DescribeQueue("new").status()) ==
        Code::kQueueNotFound);
  // Two queues, each of which would be the other's.
  const absl::Status ring =
      manager.UpdateQueue("dead", {.dead_letter_queue = kQueue});
  CHECK(OmsCode(ring) == Code::kBadParameter);
  CHECK(Text(ring) ==
        "update queue \"dead\": its dead_letter_queue is \"orders\", whose "
        "dead letters come back to it; expected one whose do not");
}

TEST_CASE_TEMPLATE("OMS-RES-009: members go by what is changed meanwhile",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue(kQueue));
  PullConsumer consumer = Consume(bus, kQueue);
  PullConsumer letters = Consume(bus, "dead");
  SendOne(bus, Message(kQueue, "a"));
  Delivery first = Take(consumer);
  CHECK(OmsCode(first.Reject()) == Code::kUnsupported);

  Update(bus, {.max_deliveries = 2,
               .dead_letter_queue = "dead",
               .redelivery_delay = milliseconds(0),
               .max_redelivery_delay = milliseconds(0)});

  // At once, with what was received before.
  Must(first.Nack());
  Must(Take(consumer).Nack());
  CHECK(NothingComes(consumer));
  CHECK(Take(letters)->body() == "a");
  SendOne(bus, Message(kQueue, "b"));
  Delivery second = Take(consumer);
  Must(second.Reject());
  CHECK(Take(letters)->body() == "b");
  CHECK(OmsCode(bus.resource_manager().DeleteQueue("dead")) ==
        Code::kIllegalState);
  // And back.
  Update(bus, {.max_deliveries = 0, .dead_letter_queue = ""});
  SendOne(bus, Message(kQueue, "c"));
  for (int count = 1; count < 5; ++count) {
    const Delivery delivery = Take(consumer);
    CHECK(delivery->body() == "c");
    CHECK(delivery->delivery_count() == count);
    CHECK(OmsCode(delivery.Reject()) == Code::kUnsupported);
    Must(delivery.Nack());
  }
  Must(bus.resource_manager().DeleteQueue("dead"));
}

TEST_CASE_TEMPLATE("OMS-RES-009: ids count from when the queue says so", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Producer producer = Must(bus.CreateProducer());
  Message message(kQueue, "x");
  message.SetDeduplicationId("one");
  CHECK(OmsCode(producer.Send(message).status()) == Code::kUnsupported);

  Update(bus, {.deduplication_window = milliseconds(60'000)});

  CHECK_FALSE(Must(producer.Send(message)).duplicate);
  CHECK(Must(producer.Send(message)).duplicate);
  Update(bus, {.deduplication_window = milliseconds(0)});
  CHECK(OmsCode(producer.Send(message).status()) == Code::kUnsupported);
}

TEST_CASE_TEMPLATE("OMS-FILTER-019: a queue's filter counts for every group",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(kQueue, {.filter = "size > 10"}));
  PullConsumer all = Consume(bus, kQueue, {.group = "all"});
  PullConsumer some = Must(bus.CreatePullConsumer({.group = "some"}));
  Must(some.Bind(kQueue, {.filter = "size < 30"}));
  PullConsumer mine = Consume(bus, kQueue, {.broadcast = true});
  // Sent and stored all the same.
  SendSizes(bus, {5, 20, 10, 40});
  SendOne(bus, Message(kQueue, "of no size"));

  CHECK(DrainBodies(all) == Texts{"20", "40"});
  CHECK(DrainBodies(some) == Texts{"20"});
  CHECK(DrainBodies(mine) == Texts{"20", "40"});
  StreamReader reader = Must(
      bus.CreateStreamReader(kQueue, 0, StreamPosition::Earliest()));
  CHECK(Must(reader.range()).end == 5);
  for (const auto& group :
       Must(bus.resource_manager().Stats(kQueue)).groups) {
    CHECK(group.lag == 0);
  }
}

TEST_CASE_TEMPLATE("OMS-FILTER-020: without its filter a queue delivers again",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  PullConsumer consumer = Consume(bus, kQueue);
  SendSizes(bus, {1});
  const Delivery before = Take(consumer);
  Update(bus, {.filter = "size > 10"});
  SendSizes(bus, {2, 30});
  CHECK(DrainBodies(consumer) == Texts{"30"});
  // What was handed out before is settled as ever.
  Must(before.Ack());

  // What nobody came to yet is delivered by what counts then.
  SendSizes(bus, {4});
  Update(bus, {.filter = ""});
  SendSizes(bus, {5});

  CHECK(DrainBodies(consumer) == Texts{"4", "5"});
  // What was left out comes back where somebody seeks it.
  Must(bus.resource_manager().SeekGroup(kQueue, "default",
                                        StreamPosition::Earliest()));
  CHECK(DrainBodies(consumer) == Texts{"1", "2", "30", "4", "5"});
}

TEST_CASE("OMS-FILTER-019: a message that comes back meets the filter anew") {
  const MemoryPlace place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(
      kQueue, {.redelivery_delay = milliseconds(0)}));
  PullConsumer consumer = Consume(bus, kQueue);
  SendSizes(bus, {1, 20});
  Delivery small = Take(consumer);
  Delivery large = Take(consumer);

  Update(bus, {.filter = "size > 10"});
  Must(small.Nack());
  Must(large.Nack());

  CHECK(DrainBodies(consumer) == Texts{"20"});
}

TEST_CASE("OMS-RES-009: another process goes by a change at once") {
  const FilePlace place;
  const auto bus = ConnectWith(place.Url(), kQueue);
  Child reader("reader", {place.Url()});
  REQUIRE(reader.Hear() == "ready");
  SendSizes(bus, {1, 20});
  reader.Say("read");
  CHECK(reader.Hear() == "1 20 ");

  Update(bus, {.filter = "size > 10"});
  SendSizes(bus, {2, 30});
  reader.Say("read");
  CHECK(reader.Hear() == "30 ");

  Update(bus, {.filter = ""});
  SendSizes(bus, {3, 40});
  reader.Say("read");
  CHECK(reader.Hear() == "3 40 ");
  CHECK(reader.Finish());
}

TEST_CASE_TEMPLATE("OMS-RES-009: a queue is used while it is changed", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(), "dead");
  Must(bus.resource_manager().CreateQueue(
      kQueue, {.redelivery_delay = milliseconds(0)}));
  constexpr int kMessages = 400;
  std::atomic<bool> done{false};
  std::thread changer([&] {
    const auto mine = Connect(place.Url());
    for (int n = 0; !done; ++n) {
      std::this_thread::sleep_for(milliseconds(1));
      const bool odd = n % 2 == 1;
      Update(mine, {.max_deliveries = odd ? 50 : 0,
                    .dead_letter_queue = odd ? "dead" : "",
                    .filter = odd ? "size >= 0" : ""});
    }
  });
  std::thread sender([&] {
    const auto mine = Connect(place.Url());
    for (int n = 0; n < kMessages; n += 10) {
      SendSizes(mine, std::vector<int>(10, n));
    }
  });
  PullConsumer consumer = Consume(bus, kQueue);
  int settled = 0;
  const auto deadline = Soon() + kLong;
  for (int n = 0; settled < kMessages && steady_clock::now() < deadline; ++n) {
    const auto delivery = Must(consumer.Receive(kShort));
    if (!delivery) continue;
    if (n % 3 == 0) {
      Must((*delivery).Nack());
    } else {
      Must((*delivery).Ack());
      ++settled;
    }
  }
  done = true;
  changer.join();
  sender.join();

  CHECK(settled == kMessages);
  PullConsumer letters = Consume(bus, "dead");
  CHECK(NothingComes(letters));
}

}  // namespace openmessaging::reference::queue_update_test
