// SPDX-License-Identifier: Apache-2.0
//
// Deduplication ids: the same one within the window of its queue is stored and
// delivered once, whoever sends it again, and whatever ends meanwhile.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "child.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::deduplication_test {
namespace {

using Texts = std::vector<std::string>;

constexpr std::string_view kQueue = "orders";

MessagingAccessPoint ConnectWithWindow(const std::string& url,
                                       milliseconds window = kLong * 6,
                                       QueueOptions options = {}) {
  MessagingAccessPoint bus = Connect(url);
  options.deduplication_window = window;
  Must(bus.resource_manager().CreateQueue(kQueue, options));
  return bus;
}

Message WithId(std::string_view id, std::string_view body = "x") {
  Message message(kQueue, body);
  message.SetDeduplicationId(id);
  return message;
}

void CheckSame(const SendResult& again, const SendResult& first) {
  CHECK_FALSE(first.duplicate);
  CHECK(again.duplicate);
  CHECK(again.message_id == first.message_id);
  CHECK(again.partition == first.partition);
  CHECK(again.offset == first.offset);
}

void RemoveDerived(const FilePlace& place) {
  for (const char* const derived : {"/ctl", "/idx", "/ckpt"}) {
    std::filesystem::remove_all(place.path() + derived);
  }
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: an id within the window is delivered once",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url(), kLong, {.partitions = 3});
  // Of another process, where there are several.
  const auto elsewhere = Connect(place.Url());
  const SendResult first = SendOne(bus, WithId("a", "first"));
  SendOne(bus, Message(kQueue, "plain"));

  CheckSame(SendOne(bus, WithId("a", "again")), first);
  CheckSame(SendOne(elsewhere, WithId("a", "and again")), first);
  const SendResult other = SendOne(elsewhere, WithId("b", "other"));
  CHECK_FALSE(other.duplicate);
  CHECK(other.message_id != first.message_id);

  PullConsumer consumer = Consume(bus, kQueue);
  Texts bodies;
  for (int n = 0; n < 3; ++n) {
    const Delivery delivery = Take(consumer);
    bodies.emplace_back(delivery->body());
    if (delivery->body() == "first") {
      CHECK(delivery->message_id() == first.message_id);
      CHECK(delivery->deduplication_id() == "a");
    }
    Must(delivery.Ack());
  }
  std::sort(bodies.begin(), bodies.end());
  CHECK(bodies == Texts{"first", "other", "plain"});
  CHECK(NothingComes(consumer));
  // That it is acknowledged changes nothing.
  CheckSame(SendOne(bus, WithId("a")), first);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-DEDUP-002: an id outside of the window is delivered twice",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const milliseconds window = milliseconds(200) * kSlowness;
  const auto bus = ConnectWithWindow(place.Url(), window);
  PullConsumer consumer = Consume(bus, kQueue);
  const auto begin = steady_clock::now();
  const SendResult first = SendOne(bus, WithId("a", "1"));

  SendResult second = first;
  int refused = 0;
  for (const auto deadline = Soon(); steady_clock::now() < deadline;) {
    second = SendOne(bus, WithId("a", "2"));
    if (!second.duplicate) break;
    CheckSame(second, first);
    ++refused;
    std::this_thread::sleep_for(milliseconds(5));
  }

  CHECK_FALSE(second.duplicate);
  CHECK(second.message_id != first.message_id);
  CHECK(steady_clock::now() - begin >= window);
  CHECK(refused > 0);
  CHECK(DrainBodies(consumer) == Texts{"1", "2"});
  // It begins a window of its own.
  CheckSame(SendOne(bus, WithId("a", "3")), second);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-005: ids are those of one queue", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url());
  ResourceManager manager = bus.resource_manager();
  Must(manager.CreateQueue("bills", {.deduplication_window = kLong}));
  CHECK_FALSE(SendOne(bus, WithId("a")).duplicate);
  Message bill("bills", "x");
  bill.SetDeduplicationId("a");
  CHECK_FALSE(SendOne(bus, bill).duplicate);
  CHECK(SendOne(bus, bill).duplicate);
  // A queue that is made anew is another one.
  Must(manager.DeleteQueue("bills"));
  Must(manager.CreateQueue("bills", {.deduplication_window = kLong}));
  CHECK_FALSE(SendOne(bus, bill).duplicate);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: a batch may have an id twice", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url());
  Producer producer = Must(bus.CreateProducer());
  const SendResult before = Must(producer.Send(WithId("before", "0")));
  const std::vector<Message> batch = {
      WithId("a", "1"), Message(kQueue, "2"), WithId("a", "3"),
      WithId("before", "4"), WithId("b", "5"), WithId("a", "6"),
      Message(kQueue, "7")};

  std::vector<SendResult> results;
  for (auto& sent : producer.Send(std::span<const Message>(batch))) {
    results.push_back(Must(std::move(sent)));
  }

  REQUIRE(results.size() == 7);
  CheckSame(results[2], results[0]);
  CheckSame(results[5], results[0]);
  CheckSame(results[3], before);
  CHECK_FALSE(results[4].duplicate);
  CHECK_FALSE(results[6].duplicate);
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(DrainBodies(consumer) == Texts{"0", "1", "2", "5", "7"});
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: an asynchronous send is answered the same",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url(), kLong, {.partitions = 4});
  Producer producer = Must(bus.CreateProducer());
  std::vector<Future<SendResult>> futures;
  for (int n = 0; n < 200; ++n) {
    futures.push_back(producer.SendAsync(WithId(std::to_string(n % 50))));
  }

  std::vector<SendResult> results;
  for (const auto& future : futures) results.push_back(Must(future.Await()));

  for (size_t n = 50; n < results.size(); ++n) {
    CheckSame(results[n], results[n % 50]);
  }
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(DrainBodies(consumer).size() == 50);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-004: of many that send an id at once one is stored",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url());
  constexpr int kThreads = 4;
  constexpr int kIds = 150;
  std::vector<std::vector<SendResult>> results(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto mine = Connect(place.Url());
      Producer producer = Must(mine.CreateProducer());
      for (int n = 0; n < kIds; ++n) {
        Message message = WithId(std::to_string(n), std::to_string(n));
        message.SetDurability(Place::kIsFile ? Durability::kProcess
                                             : Durability::kVolatile);
        results[t].push_back(Must(producer.Send(message)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (size_t n = 0; n < kIds; ++n) {
    int stored = 0;
    for (const auto& of_thread : results) {
      if (!of_thread[n].duplicate) ++stored;
      CHECK(of_thread[n].message_id == results[0][n].message_id);
    }
    CHECK(stored == 1);
  }
  PullConsumer consumer = Consume(bus, kQueue);
  Texts bodies = DrainBodies(consumer);
  CHECK(bodies.size() == kIds);
}

TEST_CASE("OMS-DEDUP-003: ids count over every reopening") {
  FilePlace place;
  SendResult disk;
  SendResult process;
  {
    const auto bus = ConnectWithWindow(place.Url());
    disk = SendOne(bus, WithId("disk"));
    Message message = WithId("process");
    message.SetDurability(Durability::kProcess);
    process = SendOne(bus, message);
  }
  for (const bool without_derived : {false, true, false, true}) {
    if (without_derived) RemoveDerived(place);
    const auto bus = Connect(place.Url());
    CheckSame(SendOne(bus, WithId("disk")), disk);
    CheckSame(SendOne(bus, WithId("process")), process);
  }
  const auto bus = Connect(place.Url());
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(DrainBodies(consumer).size() == 2);
  CheckSound(place.path());
}

TEST_CASE("OMS-DEDUP-002: a window ends while the store is closed") {
  FilePlace place;
  for (const bool without_derived : {false, true}) {
    CAPTURE(without_derived);
    const std::string id = without_derived ? "b" : "a";
    const auto begin = steady_clock::now();
    const milliseconds window(100);
    {
      const auto bus = without_derived ? Connect(place.Url())
                                       : ConnectWithWindow(place.Url(), window);
      SendOne(bus, WithId(id));
    }
    if (without_derived) RemoveDerived(place);
    std::this_thread::sleep_until(begin + 3 * window);
    const auto bus = Connect(place.Url());
    CHECK_FALSE(SendOne(bus, WithId(id)).duplicate);
  }
}

TEST_CASE("OMS-DEDUP-003: ids outlive the retirement of their messages") {
  FilePlace place;
  const std::string url = place.Url("?first-segment=16KiB&max-segment=16KiB");
  const std::string first =
      place.path() + "/log/0000000000000000-00000001.seg";
  std::vector<SendResult> results;
  {
    const auto bus = ConnectWithWindow(url, std::chrono::minutes(5));
    PullConsumer consumer = Consume(bus, kQueue);
    Producer producer = Must(bus.CreateProducer());
    for (int n = 0; n < 10; ++n) {
      results.push_back(Must(producer.Send(WithId(std::to_string(n)))));
      Must(Take(consumer).Ack());
    }
    const std::string padding(1000, '.');
    for (int n = 0; n < 20; ++n) {
      SendNumbers(bus, kQueue, 0, 9, padding);
      for (int k = 0; k < 10; ++k) Must(Take(consumer).Ack());
    }
    // The segment of the messages is gone, and of the first copies as well.
    CHECK_FALSE(std::filesystem::exists(first));
    for (size_t n = 0; n < 10; ++n) {
      CheckSame(Must(producer.Send(WithId(std::to_string(n)))), results[n]);
    }
    CHECK(NothingComes(consumer));
  }
  for (const bool without_derived : {false, true}) {
    if (without_derived) RemoveDerived(place);
    const auto bus = Connect(url);
    for (size_t n = 0; n < 10; ++n) {
      CheckSame(SendOne(bus, WithId(std::to_string(n))), results[n]);
    }
  }
  CheckSound(place.path());
}

TEST_CASE("OMS-DEDUP-003: many short ones keep their segments and no more") {
  FilePlace place;
  const std::string url = place.Url("?first-segment=16KiB&max-segment=16KiB");
  const milliseconds window = milliseconds(1000) * kSlowness;
  const auto bus = ConnectWithWindow(url, window);
  PullConsumer consumer = Consume(bus, kQueue);
  Producer producer = Must(bus.CreateProducer());
  const auto segments = [&] {
    size_t count = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(place.path() + "/log")) {
      if (entry.is_regular_file()) ++count;
    }
    return count;
  };
  std::vector<Message> batch;
  for (int n = 0; n < 1000; ++n) batch.push_back(WithId(std::to_string(n)));
  for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
    Must(sent.status());
  }
  CHECK(DrainBodies(consumer).size() == 1000);

  // All is settled; what would have to be copied whole stays where it is, and
  // goes when the windows end.
  const size_t most = segments();
  CHECK(most >= 5);
  const auto deadline = Soon();
  size_t seen = most;
  while (seen > 3 && steady_clock::now() < deadline) {
    SendNumbers(bus, kQueue, 0, 9, std::string(1000, '.'));
    for (int k = 0; k < 10; ++k) Must(Take(consumer).Ack());
    seen = segments();
  }
  CHECK(seen <= 3);
  CHECK_FALSE(Must(producer.Send(WithId("0"))).duplicate);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: a delayed message counts from its send", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url());
  PullConsumer consumer = Consume(bus, kQueue);
  Producer producer = Must(bus.CreateProducer());
  Message delayed = WithId("a", "delayed");
  delayed.SetDelay(milliseconds(100));
  Message late = WithId("b", "late");
  late.SetDelay(std::chrono::hours(1));

  const SendResult first = Must(producer.Send(delayed));
  const SendResult cancelled = Must(producer.Send(late));

  CHECK(first.offset == -1);
  CheckSame(Must(producer.Send(WithId("a", "at once"))), first);
  const Delivery delivery = Take(consumer);
  CHECK(delivery->body() == "delayed");
  CHECK(delivery->message_id() == first.message_id);
  CheckSame(Must(producer.Send(delayed)), first);
  // What is withdrawn was stored all the same.
  Must(producer.CancelDelayed(kQueue, cancelled.message_id));
  CheckSame(Must(producer.Send(late)), cancelled);
  CHECK(NothingComes(consumer));
}

TEST_CASE("OMS-DEDUP-003: a delayed message counts when it was copied") {
  FilePlace place;
  const std::string url = place.Url("?first-segment=16KiB&max-segment=16KiB");
  SendResult first;
  {
    const auto bus = ConnectWithWindow(url, std::chrono::minutes(5));
    PullConsumer consumer = Consume(bus, kQueue);
    Message delayed = WithId("a", "delayed");
    delayed.SetDelay(std::chrono::hours(1));
    first = SendOne(bus, delayed);
    for (int n = 0; n < 10; ++n) {
      SendNumbers(bus, kQueue, 0, 9, std::string(1000, '.'));
      for (int k = 0; k < 10; ++k) Must(Take(consumer).Ack());
    }
    CheckSame(SendOne(bus, delayed), first);
  }
  RemoveDerived(place);
  const auto bus = Connect(url);
  CheckSame(SendOne(bus, WithId("a")), first);
  Producer producer = Must(bus.CreateProducer());
  Must(producer.CancelDelayed(kQueue, first.message_id));
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: ids and priorities go together", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url(), kLong,
                                     {.partitions = 2, .priorities = true});
  Message message = WithId("a");
  message.SetPriority(9).SetPartition(1);
  const SendResult first = SendOne(bus, message);
  CHECK(first.partition == 1);
  message.SetPriority(2).SetPartition(0);
  CheckSame(SendOne(bus, message), first);
}

TEST_CASE_TEMPLATE("OMS-DEDUP-001: a large body is not kept twice", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url("?big-body=1KiB"));
  const std::string body(10'000, 'x');
  const SendResult first = SendOne(bus, WithId("a", body));

  CheckSame(SendOne(bus, WithId("a", body)), first);

  if constexpr (Place::kIsFile) {
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(place.path() + "/big")) {
      if (entry.is_regular_file()) ++files;
    }
    CHECK(files == 1);
  }
  PullConsumer consumer = Consume(bus, kQueue);
  CHECK(Take(consumer)->body() == body);
  CHECK(NothingComes(consumer));
}

TEST_CASE_TEMPLATE("OMS-MAP-005: a queue declares whether ids count", Place,
                   MemoryPlace, FilePlace) {
  Place place;
  const auto bus = ConnectWithWindow(place.Url());
  Must(bus.resource_manager().CreateQueue("plain"));
  const Capabilities with = Must(bus.capabilities(kQueue));
  CHECK(with.Of(Capability::kDeduplication) == Support::kNative);
  CHECK(with.limits().max_deduplication_window == std::chrono::hours(7 * 24));
  const Capabilities without = Must(bus.capabilities("plain"));
  CHECK_FALSE(without.Has(Capability::kDeduplication));
  CHECK_FALSE(without.limits().max_deduplication_window.has_value());

  Message message("plain", "x");
  message.SetDeduplicationId("a");
  Producer producer = Must(bus.CreateProducer());
  const absl::Status refused = producer.Send(message).status();
  CHECK(OmsCode(refused) == Code::kUnsupported);
  CHECK(Text(refused).find("dedup") != std::string::npos);
  // Made anew by somebody else, of whom this connection is not told.
  {
    const auto other = Connect(place.Url());
    ResourceManager manager = other.resource_manager();
    Must(manager.DeleteQueue(kQueue));
    Must(manager.CreateQueue(kQueue));
  }
  CHECK(OmsCode(producer.Send(WithId("a")).status()) == Code::kUnsupported);
  const auto lenient = Connect(place.Url("?lenient=on"));
  const SendResult sent = SendOne(lenient, message);
  CHECK(sent.ignored.Contains(Capability::kDeduplication));
  CHECK_FALSE(SendOne(lenient, message).duplicate);
}

TEST_CASE_TEMPLATE("OMS-MAP-011: a window is neither negative nor over 7 days",
                   Place, MemoryPlace, FilePlace) {
  Place place;
  const auto bus = Connect(place.Url());
  ResourceManager manager = bus.resource_manager();
  const milliseconds longest = std::chrono::hours(7 * 24);

  for (const milliseconds window : {milliseconds(-1), longest + milliseconds(1)}) {
    const absl::Status refused =
        manager.CreateQueue(kQueue, {.deduplication_window = window});
    CHECK(OmsCode(refused) == Code::kBadParameter);
    CHECK(Text(refused).find("deduplication_window") != std::string::npos);
  }
  Must(manager.CreateQueue(kQueue, {.deduplication_window = longest}));
  CHECK(Must(manager.DescribeQueue(kQueue)).options.deduplication_window ==
        longest);
}

TEST_CASE(
    "OMS-DEDUP-001: who tries again after an unknown outcome is stored once") {
  const MemoryPlace place;
  const auto truth = ConnectWithWindow(place.Url());
  const auto faulty = Connect(place.Url(
      "?fault=error:0.1,unknown:0.2,disconnect:0.1,duplicate:0.2&fault.seed=5"));
  Producer producer =
      Must(faulty.CreateProducer({.send_timeout = milliseconds(0)}));
  int failed = 0;
  int duplicates = 0;
  for (int n = 0; n < 300; ++n) {
    for (;;) {
      const auto sent =
          producer.Send(WithId("order " + std::to_string(n), std::to_string(n)));
      if (sent.ok()) {
        if (sent->duplicate) ++duplicates;
        break;
      }
      ++failed;
    }
  }

  CHECK(failed > 50);
  CHECK(duplicates > 20);
  PullConsumer consumer = Consume(truth, kQueue);
  CHECK(DrainBodies(consumer) == Numbers(0, 299));
}

// Arguments: URL, first and last number. Sends each with an id, over and over
// until it is acknowledged, as batches; says "done" at the end.
OMS_ROLE(stubborn_sender) {
  const auto bus = Connect(role.argument(0));
  Producer producer = Must(bus.CreateProducer());
  role.Say("begins");
  for (int64_t n = role.number(1); n <= role.number(2); n += 5) {
    std::vector<Message> batch;
    for (int64_t k = n; k < n + 5 && k <= role.number(2); ++k) {
      batch.push_back(WithId(std::to_string(k), std::to_string(k)));
      if (k % 3 != 0) batch.back().SetDurability(Durability::kProcess);
      if (k % 7 == 0) batch.back().SetDelay(milliseconds(1));
    }
    for (const auto& sent : producer.Send(std::span<const Message>(batch))) {
      Must(sent.status());
    }
  }
  role.Say("done");
  (void)role.Hear();
}

TEST_CASE(
    "OMS-DEDUP-003: senders that are killed and begin anew are stored once") {
  FilePlace place;
  const std::string url =
      place.Url("?first-segment=64KiB&max-segment=64KiB&window=64");
  constexpr int kCount = 400;
  auto random = RandomOf(20);
  std::map<std::string, int> delivered;
  const auto drain = [&](PullConsumer& consumer) {
    for (const std::string& body : DrainBodies(consumer)) ++delivered[body];
  };
  ConnectWithWindow(url, std::chrono::minutes(10));
  const int rounds =
      static_cast<int>(12 * TestScale()) / kSlowness + 3;
  for (int round = 0; round < rounds; ++round) {
    std::optional<MessagingAccessPoint> bus;
    // Half of the time nobody lives between the rounds.
    if (round % 2 == 0) bus = Connect(url);
    // Two that send the same, from the beginning.
    std::vector<Child> senders;
    for (int n = 0; n < 2; ++n) {
      senders.emplace_back(
          "stubborn_sender",
          std::vector<std::string>{url, "0", std::to_string(kCount - 1)});
    }
    for (Child& sender : senders) CHECK(sender.Hear() == "begins");
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    for (Child& sender : senders) CHECK(sender.Kill());
    if (round % 4 == 3) RemoveDerived(place);
    if (bus) {
      PullConsumer consumer = Consume(*bus, kQueue);
      drain(consumer);
    }
  }
  Child last("stubborn_sender", {url, "0", std::to_string(kCount - 1)});
  CHECK(last.Hear() == "begins");
  CHECK(last.Hear(std::chrono::seconds(20)) == "done");
  CHECK(last.Finish());
  const auto bus = Connect(url);
  PullConsumer consumer = Consume(bus, kQueue);
  drain(consumer);

  CHECK(delivered.size() == kCount);
  for (const auto& one : delivered) {
    CAPTURE(one.first);
    CHECK(one.second == 1);
  }
  CheckSound(place.path());
}

}  // namespace
}  // namespace openmessaging::reference::deduplication_test
