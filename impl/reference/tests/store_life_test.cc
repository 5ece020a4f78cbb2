// SPDX-License-Identifier: Apache-2.0
//
// The life of a store: several access points on one, closing and opening again,
// many small segments and their retirement.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::store_life_test {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSmall = "?first-segment=4KiB&max-segment=8KiB";

// Names and sizes of the segments. One that goes meanwhile is not there.
std::map<std::string, uintmax_t> SegmentsOf(const FilePlace& place) {
  std::map<std::string, uintmax_t> segments;
  for (const auto& entry : fs::directory_iterator(place.path() + "/log")) {
    if (entry.path().extension() != ".seg") continue;
    std::error_code gone;
    const uintmax_t size = entry.file_size(gone);
    if (!gone) segments[entry.path().filename()] = size;
  }
  return segments;
}

uintmax_t BytesOf(const std::map<std::string, uintmax_t>& segments) {
  uintmax_t bytes = 0;
  for (const auto& [name, size] : segments) bytes += size;
  return bytes;
}

TEST_CASE_TEMPLATE("OMS-MAP-007: two access points are one store", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto first = ConnectWith(place.Url(), "orders");
  {
    const auto second = Connect(place.Url());
    PullConsumer consumer = Consume(second, "orders");
    const SendResult a = SendOne(first, Message("orders", "a"));
    const SendResult b = SendOne(second, Message("orders", "b"));
    CHECK(b.offset == a.offset + 1);
    Must(Take(consumer).Ack());
    CHECK(Take(consumer)->body() == "b");
  }

  // The end of one disturbs nobody, and gives back what it held.
  PullConsumer consumer = Consume(first, "orders");
  const Delivery again = Take(consumer);
  CHECK(again->body() == "b");
  CHECK(again->delivery_count() == 2);
  CHECK(SendOne(first, Message("orders", "c")).offset == 2);
}

TEST_CASE_TEMPLATE("OMS-MAP-007: access points send and receive together",
                   Place, MemoryPlace, FilePlace) {
  constexpr int kEach = 1000;
  Place place;
  const auto bus = ConnectWith(place.Url(kSmall), "orders", 3);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      const auto own = MessagingAccessPoint::Connect(place.Url());
      if (!own.ok()) {
        ++failures;
        return;
      }
      auto producer = own->CreateProducer();
      for (int n = 0; n < kEach; ++n) {
        const std::string body = std::to_string(t * kEach + n);
        failures += !producer
                         ->Send(Message("orders", body)
                                    .SetDurability(Durability::kVolatile))
                         .ok();
      }
    });
  }
  const auto other = Connect(place.Url());
  PullConsumer a = Consume(bus, "orders");
  PullConsumer b = Consume(other, "orders");
  std::multiset<std::string> bodies;
  const auto deadline = Soon();
  while (bodies.size() < 2 * kEach && steady_clock::now() < deadline) {
    for (PullConsumer* const consumer : {&a, &b}) {
      for (const Delivery& got :
           Must(consumer->ReceiveBatch(8, milliseconds(1)))) {
        bodies.insert(std::string(got->body()));
        Must(got.Ack());
      }
    }
  }
  for (std::thread& thread : threads) thread.join();

  const auto expected = Numbers(0, 2 * kEach - 1);
  CHECK(failures == 0);
  CHECK(bodies == std::multiset<std::string>(expected.begin(), expected.end()));
}

TEST_CASE("OMS-REF-019: a memory store ends with its last access point") {
  const MemoryPlace place;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    SendOne(bus, Message("orders", "x"));
  }

  CHECK(Must(Connect(place.Url()).resource_manager().ListQueues()).empty());
}

TEST_CASE("OMS-REF-019: a file store keeps everything when it is closed") {
  FilePlace place;
  std::string held_id;
  std::string last_id;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    Must(bus.resource_manager().CreateQueue("bills", {.partitions = 7}));
    Must(bus.resource_manager().CreateQueue("gone"));
    Must(bus.resource_manager().DeleteQueue("gone"));
    PullConsumer consumer = Consume(bus, "orders");
    PullConsumer other = Consume(bus, "orders", {.group = "other"});
    PullConsumer late = Consume(
        bus, "bills", {.group = "late", .start = StartPosition::kLatest});
    SendNumbers(bus, "orders", 0, 9);
    auto got = Must(consumer.ReceiveBatch(6, kLong));
    REQUIRE(got.size() == 6);
    // 0, 1 and 4 are done; 2 was delivered twice, 3 and 5 once.
    Must(got[0].Ack());
    Must(got[1].Ack());
    Must(got[4].Ack());
    Must(got[2].Nack(milliseconds(0)));
    const Delivery twice = Take(consumer);
    CHECK(twice->body() == "2");
    CHECK(twice->delivery_count() == 2);
    held_id = got[3]->message_id().ToString();
    Message full("bills", "42 apples");
    full.SetMessageKey("key").SetPartition(5).SetCorrelationId("c");
    Must(full.SetProperty("tries", 3));
    last_id = SendOne(bus, full).message_id.ToString();
  }
  CheckSound(place.path());

  for (int round = 0; round < 3; ++round) {
    INFO(round);
    const auto bus = Connect(place.Url());
    std::map<std::string, int32_t> queues;
    for (const QueueInfo& queue : Must(bus.resource_manager().ListQueues())) {
      queues[queue.name] = queue.options.partitions;
    }
    CHECK(queues ==
          std::map<std::string, int32_t>{{"bills", 7}, {"orders", 1}});
  }
  {
    const auto bus = Connect(place.Url());
    PullConsumer consumer = Consume(bus, "orders");
    PullConsumer other = Consume(bus, "orders", {.group = "other"});
    PullConsumer late = Consume(bus, "bills", {.group = "late"});
    const std::map<std::string, int32_t> counts = {
        {"2", 3}, {"3", 2}, {"5", 2}, {"6", 1}, {"7", 1}, {"8", 1}, {"9", 1}};
    std::map<std::string, int32_t> seen;
    for (size_t n = 0; n < counts.size(); ++n) {
      const Delivery got = Take(consumer);
      seen[std::string(got->body())] = got->delivery_count();
      if (got->body() == "3") CHECK(got->message_id().ToString() == held_id);
      Must(got.Ack());
    }
    CHECK(seen == counts);
    CHECK(NothingComes(consumer));
    CHECK(DrainBodies(other) == Numbers(0, 9));
    const Delivery full = Take(late);
    CHECK(full->body() == "42 apples");
    CHECK(full->message_id().ToString() == last_id);
    CHECK(full->message_key() == "key");
    CHECK(full->correlation_id() == "c");
    CHECK(full->partition() == 5);
    CHECK(full->properties().GetOr<int32_t>("tries", 0) == 3);
    Must(full.Ack());
    CHECK(SendOne(bus, Message("orders", "10")).offset == 10);
    CHECK(SendOne(bus, Message("orders", "11")).message_id.ToString() !=
          held_id);
  }
  {
    const auto bus = Connect(place.Url());
    PullConsumer consumer = Consume(bus, "orders");
    CHECK(DrainBodies(consumer) == Numbers(10, 11));
    PullConsumer late = Consume(bus, "bills", {.group = "late"});
    CHECK(NothingComes(late));
  }
  CheckSound(place.path());
}

TEST_CASE("OMS-MAP-001: receipts are good after the store was opened again") {
  FilePlace place;
  std::string receipt;
  {
    const auto bus = ConnectWith(place.Url(), "orders");
    PullConsumer consumer = Consume(bus, "orders");
    SendOne(bus, Message("orders", "x"));
    receipt = Take(consumer).receipt().ToString();
  }
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");

  const absl::Status status = consumer.Ack(Must(Receipt::Parse(receipt)));

  // The delivery ended with its consumer, and so did its receipt.
  CHECK(OmsCode(status) == Code::kReceiptExpired);
  const Delivery again = Take(consumer);
  CHECK(again->delivery_count() == 2);
  Must(again.Ack());
  CHECK(consumer.Ack(Must(Receipt::Parse(receipt))).ok());
}

TEST_CASE("OMS-MAP-001: a hundred openings leave one segment") {
  FilePlace place;
  { const auto bus = ConnectWith(place.Url(), "orders"); }
  for (int n = 0; n < 100; ++n) {
    SendOne(Connect(place.Url()), Message("orders", std::to_string(n)));
  }

  CHECK(SegmentsOf(place).size() == 1);
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(DrainBodies(consumer) == Numbers(0, 99));
  CheckSound(place.path());
}

TEST_CASE_TEMPLATE("OMS-CONS-002: thousands of messages roll many segments",
                   Place, MemoryPlace, FilePlace) {
  constexpr int kMessages = 5000;
  Place place;
  const auto bus = ConnectWith(place.Url(kSmall), "orders");

  SendNumbers(bus, "orders", 1, kMessages);

  // Settled ones go by themselves.
  if constexpr (Place::kIsFile) CHECK(SegmentsOf(place).size() > 20);
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(DrainBodies(consumer) == Numbers(1, kMessages));
  PullConsumer second = Consume(bus, "orders", {.group = "second"});
  // What was retired before it came it never sees; the rest has no hole.
  const auto rest = DrainBodies(second);
  REQUIRE(rest.size() <= size_t{kMessages});
  CHECK(rest ==
        Numbers(kMessages + 1 - static_cast<int>(rest.size()), kMessages));
  if constexpr (Place::kIsFile) CheckSound(place.path());
}

TEST_CASE_TEMPLATE("OMS-CONS-002: one message may be larger than a segment",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(place.Url(kSmall), "orders");
  PullConsumer consumer = Consume(bus, "orders");

  for (const size_t size : {size_t{1}, size_t{1} << 20, size_t{4000},
                            size_t{8192}, size_t{100'000}, size_t{1}}) {
    const std::string body(size, static_cast<char>('a' + size % 26));
    SendOne(bus, Message("orders", body));
    const Delivery got = Take(consumer);
    CHECK(got->body() == body);
    Must(got.Ack());
  }
  if constexpr (Place::kIsFile) CheckSound(place.path());
}

TEST_CASE("OMS-REF-016: what everybody settled frees the disk") {
  constexpr int kRound = 500;
  constexpr int kRounds = 10;
  FilePlace place;
  const std::string padding(200, '.');
  const auto bus = ConnectWith(place.Url(kSmall), "orders", 2);
  PullConsumer first = Consume(bus, "orders", {.group = "first"});
  PullConsumer second = Consume(bus, "orders", {.group = "second"});
  Must(bus.resource_manager().CreateQueue("idle"));
  PullConsumer idle = Consume(bus, "idle");

  uintmax_t most = 0;
  std::string oldest;
  for (int round = 0; round < kRounds; ++round) {
    INFO(round);
    SendNumbers(bus, "orders", round * kRound, (round + 1) * kRound - 1,
                padding);
    CHECK(DrainBodies(first).size() == kRound);
    if (round == 0) {
      // The second group still needs them.
      oldest = SegmentsOf(place).begin()->first;
      SendNumbers(bus, "orders", 0, 99, padding);
      CHECK(SegmentsOf(place).begin()->first == oldest);
      CHECK(DrainBodies(first).size() == 100);
      CHECK(DrainBodies(second).size() == kRound + 100);
    } else {
      CHECK(DrainBodies(second).size() == kRound);
    }
    most = std::max(most, BytesOf(SegmentsOf(place)));
  }

  // Of all rounds together not much more than one is ever there.
  constexpr uintmax_t kBytesOfMessage = 320;
  CHECK(most > kRound * 200);
  CHECK(most < 3 * kRound * kBytesOfMessage);
  CHECK_FALSE(SegmentsOf(place).contains(oldest));
  CheckSound(place.path());
}

TEST_CASE("OMS-CONS-002: after retirement the store opens and goes on") {
  FilePlace place;
  const std::string padding(200, '.');
  int64_t next_offset = 0;
  const auto tail_of = [](std::string_view body) {
    return std::stoi(std::string(body));
  };
  std::set<std::string> ids;
  for (int round = 0; round < 5; ++round) {
    INFO(round);
    const auto bus = round == 0 ? ConnectWith(place.Url(kSmall), "orders")
                                : Connect(place.Url());
    if (round == 0) {
      Must(bus.resource_manager().CreateQueue("kept"));
      SendOne(bus, Message("kept", "for nobody yet"));
      PullConsumer kept = Consume(bus, "kept");
      Must(Take(kept).Ack());
    }
    PullConsumer consumer = Consume(bus, "orders");
    // What the round before left.
    if (round > 0) {
      for (int n = 0; n < 10; ++n) {
        const Delivery got = Take(consumer);
        CHECK(tail_of(got->body()) == round * 1000 - 10 + n);
        CHECK(got->offset() == next_offset - 10 + n);
        CHECK(got->delivery_count() == 1);
        Must(got.Ack());
      }
      CHECK(NothingComes(consumer));
    }
    for (int from = round * 1000; from < (round + 1) * 1000; from += 10) {
      SendNumbers(bus, "orders", from, from + 9, padding);
      if (from + 10 == (round + 1) * 1000) break;
      for (int n = from; n < from + 10; ++n) {
        const Delivery got = Take(consumer);
        REQUIRE(tail_of(got->body()) == n);
        REQUIRE(got->offset() == n);
        REQUIRE(ids.insert(got->message_id().ToString()).second);
        Must(got.Ack());
      }
    }
    next_offset = (round + 1) * 1000;
    // What could not go at once goes with a later look of the housekeeper.
    const auto deadline = Soon();
    while (BytesOf(SegmentsOf(place)) >= 200'000 &&
           steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(20));
    }
    CHECK(BytesOf(SegmentsOf(place)) < 200'000);
    PullConsumer kept = Consume(bus, "kept");
    CHECK(NothingComes(kept));
    CheckSound(place.path());
  }
  CheckSound(place.path());
  CHECK(Must(CheckStore(place.path())).segments < 30);
}

TEST_CASE("OMS-MAP-012: deleting a queue frees its disk") {
  FilePlace place;
  const std::string padding(1000, '.');
  const auto bus = ConnectWith(place.Url(kSmall), "orders");
  Must(bus.resource_manager().CreateQueue("other"));
  SendNumbers(bus, "orders", 1, 500, padding);
  const auto full = BytesOf(SegmentsOf(place));
  CHECK(full > 500'000);

  Must(bus.resource_manager().DeleteQueue("orders"));
  PullConsumer consumer = Consume(bus, "other");
  for (int n = 0; n < 20; ++n) {
    SendNumbers(bus, "other", 1, 5, padding);
    CHECK(DrainBodies(consumer).size() == 5);
  }

  CHECK(BytesOf(SegmentsOf(place)) < full / 4);
  CheckSound(place.path());
}

TEST_CASE_TEMPLATE("OMS-REF-008: a full store refuses and recovers", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWith(
      place.Url("?first-segment=4KiB&max-segment=4KiB&max-segments=8"),
      "orders");
  PullConsumer consumer = Consume(bus, "orders");
  Producer producer =
      Must(bus.CreateProducer({.send_timeout = milliseconds(1000)}));
  const Message message("orders", std::string(1000, 'x'));
  int stored = 0;
  absl::Status status;
  while (status.ok() && stored < 1000) {
    status = producer.Send(message).status();
    stored += status.ok();
  }

  CHECK(stored > 8);
  CHECK(stored < 40);
  CHECK(OmsCode(status) == Code::kStorageBusy);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(IsRetriable(status));
  CHECK(OutcomeOf(status) == Outcome::kNotStored);
  CHECK(DrainBodies(consumer).size() == static_cast<size_t>(stored));
  // Room again, for as many messages as before and more.
  for (int n = 0; n < 100; ++n) {
    Must(producer.Send(message));
    Must(Take(consumer).Ack());
  }
  if constexpr (Place::kIsFile) CheckSound(place.path());
}

size_t EntriesOf(const char* directory) {
  const fs::directory_iterator all(directory);
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

TEST_CASE_TEMPLATE("OMS-MAP-008: a hundred lives leave no thread and no file open",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  // Returns: threads and descriptors of this process.
  const auto live = [&] {
    {
      const auto bus = Connect(place.Url());
      const auto made = bus.resource_manager().CreateQueue("orders");
      CHECK((made.ok() || OmsCode(made) == Code::kQueueExists));
      Producer producer = Must(bus.CreateProducer());
      PullConsumer pull = Consume(bus, "orders", {.group = "pulling"});
      PushConsumer push = Must(bus.CreatePushConsumer({.group = "pushing"}));
      Must(push.Bind("orders", [](const Message&) { return Ack(); }));
      Must(push.Start());
      StreamReader stream = Must(bus.CreateStreamReader("orders", 0));
      Must(producer.Send(
          Message("orders", "x").SetDurability(Durability::kVolatile)));
      Must(Take(pull).Ack());
      CHECK(Must(stream.Read(1, kLong)).size() == 1);
    }
    return std::pair(EntriesOf("/proc/self/task"), EntriesOf("/proc/self/fd"));
  };
  const auto first = live();

  for (int n = 1; n < 100; ++n) {
    CAPTURE(n);
    REQUIRE(live() == first);
  }
}

TEST_CASE(
    "OMS-REF-005: a retired segment that a power loss left is no damage") {
  FilePlace place;
  const std::string oldest =
      place.path() + "/log/" + "0000000000000000-00000001.seg";
  const std::string kept = place.parent() + "/kept";
  {
    const auto bus = ConnectWith(place.Url(kSmall), "orders");
    SendNumbers(bus, "orders", 1, 200, std::string(200, 'x'));
    fs::copy_file(oldest, kept);
    PullConsumer consumer = Consume(bus, "orders");
    CHECK(DrainBodies(consumer).size() == 200);
    SendNumbers(bus, "orders", 201, 300, std::string(200, 'x'));
    CHECK(DrainBodies(consumer).size() == 100);
  }
  // Several are gone; the name of one is on the disk still.
  REQUIRE_FALSE(fs::exists(oldest));
  fs::rename(kept, oldest);
  fs::remove(place.path() + "/ctl");
  fs::remove(place.path() + "/ckpt/A");
  fs::remove(place.path() + "/ckpt/B");

  CheckSound(place.path());
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, "orders");
  CHECK(DrainBodies(consumer).empty());
  SendNumbers(bus, "orders", 301, 301);
  CHECK(Take(consumer)->body() == "301");
}

}  // namespace
}  // namespace openmessaging::reference::store_life_test
