// SPDX-License-Identifier: Apache-2.0
//
// StreamReader over the fake driver: positions, reading, seeking, iterating and
// the lifecycle.

#include "openmessaging/stream_reader.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::stream_reader_test {
namespace {

using fake::AllBut;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

void SendSome(World& world, int count) {
  Producer producer = world.MakeProducer();
  for (int i = 0; i < count; ++i) {
    REQUIRE(producer.Send(Message("orders", std::to_string(i))).ok());
  }
}

StreamReader MakeReader(World& world, StreamPosition start) {
  auto reader = world.bus->CreateStreamReader("orders", 0, start);
  REQUIRE(reader.ok());
  return *std::move(reader);
}

std::vector<std::string> Bodies(const std::vector<Message>& messages) {
  std::vector<std::string> bodies;
  for (const Message& message : messages) bodies.emplace_back(message.body());
  return bodies;
}

using Strings = std::vector<std::string>;

TEST_CASE("OMS-STRM-001: a reader is of a partition that there is") {
  World world;

  const auto reader = world.bus->CreateStreamReader("orders", 0);
  const auto beyond = world.bus->CreateStreamReader("orders", 1);

  REQUIRE(reader.ok());
  CHECK(reader->queue() == "orders");
  CHECK(reader->partition() == 0);
  CHECK(reader->state() == LifecycleState::kStarted);
  CHECK(world.bus->partitions("orders").value() == 1);
  CHECK(OmsCode(beyond.status()) == Code::kBadParameter);
  CHECK(Text(beyond.status()) ==
        "read stream \"orders\": partition is 1; expected 0 to 0 "
        "(OMS-STRM-001)");
  CHECK(OmsCode(world.bus->CreateStreamReader("orders", -1).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(world.bus->CreateStreamReader("nowhere", 0).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(world.bus->CreateStreamReader("no blanks", 0).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(world.bus->partitions("nowhere").status()) ==
        Code::kQueueNotFound);
}

TEST_CASE("OMS-STRM-002: a queue that is no stream is refused") {
  World world;
  world.broker->AddQueue("plain", AllBut({Capability::kStream}));

  const auto plain = world.bus->CreateStreamReader("plain", 0);
  world.broker->Set([](Script& script) { script.stream = false; });
  const auto absent = world.bus->CreateStreamReader("orders", 0);

  CHECK(OmsCode(plain.status()) == Code::kUnsupported);
  CHECK(Text(plain.status()) ==
        "read stream \"plain\": the queue does not support stream; expected a "
        "consumer, or another broker (OMS-STRM-002)");
  CHECK(OmsCode(absent.status()) == Code::kUnsupported);
  CHECK(OmsCode(world.bus->partitions("orders").status()) ==
        Code::kUnsupported);
}

TEST_CASE("OMS-STRM-003: reading begins where it was asked to") {
  World world;
  SendSome(world, 5);
  const auto first = [&](StreamPosition start) {
    StreamReader reader = MakeReader(world, start);
    return Bodies(reader.Read(1, milliseconds(0)).value());
  };

  CHECK(first(StreamPosition::Earliest()) == Strings{"0"});
  CHECK(first(StreamPosition::Latest()).empty());
  CHECK(first(StreamPosition::Offset(3)) == Strings{"3"});
  CHECK(first(StreamPosition::Time(milliseconds(0))) == Strings{"0"});
  CHECK(first(StreamPosition::Time(milliseconds(2500))) == Strings{"2"});
  CHECK(first(StreamPosition::Time(milliseconds(9000))).empty());
  const auto negative =
      world.bus->CreateStreamReader("orders", 0, StreamPosition::Offset(-1));
  CHECK(Text(negative.status()) ==
        "read stream \"orders\": offset is -1; expected 0 or more "
        "(OMS-STRM-003)");
  const auto before = world.bus->CreateStreamReader(
      "orders", 0, StreamPosition::Time(milliseconds(-1)));
  CHECK(OmsCode(before.status()) == Code::kBadParameter);
}

TEST_CASE("OMS-STRM-003: an offset that is gone is the oldest that there is") {
  World world;
  SendSome(world, 5);
  world.broker->Set([](Script& script) { script.deleted = 2; });

  StreamReader reader = MakeReader(world, StreamPosition::Offset(1));

  CHECK(reader.position() == 2);
  CHECK(Bodies(reader.Read(1, milliseconds(0)).value()) == Strings{"2"});
  CHECK(reader.Seek(StreamPosition::Offset(0)).ok());
  CHECK(reader.position() == 2);
}

TEST_CASE("OMS-STRM-003: an offset that is not there yet is waited for") {
  World world;
  SendSome(world, 2);
  StreamReader reader = MakeReader(world, StreamPosition::Offset(3));
  CHECK(reader.Read(9, milliseconds(10)).value().empty());

  std::thread sender([&] { SendSome(world, 2); });
  const auto messages = reader.Read(9, kLong);
  sender.join();

  CHECK(Bodies(messages.value()) == Strings{"1"});
  CHECK(messages->front().offset() == 3);
  CHECK(reader.Seek(StreamPosition::Offset(
                        std::numeric_limits<int64_t>::max())).ok());
  CHECK(reader.Read(9, milliseconds(0)).value().empty());
}

TEST_CASE("OMS-STRM-003: seeking goes back and forth") {
  World world;
  SendSome(world, 5);
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());
  CHECK(reader.Read(5, milliseconds(0))->size() == 5);

  CHECK(reader.Seek(StreamPosition::Offset(1)).ok());
  CHECK(Bodies(reader.Read(2, milliseconds(0)).value()) == Strings{"1", "2"});
  CHECK(reader.Seek(StreamPosition::Latest()).ok());
  CHECK(reader.Read(2, milliseconds(0))->empty());
  CHECK(reader.Seek(StreamPosition::Earliest()).ok());
  CHECK(Bodies(reader.Read(1, milliseconds(0)).value()) == Strings{"0"});

  CHECK(OmsCode(reader.Seek(StreamPosition::Offset(-2))) ==
        Code::kBadParameter);
  world.broker->Set([](Script& script) {
    script.read_failures = {MakeStatus(Code::kUnavailable, "gone")};
  });
  CHECK(OmsCode(reader.Seek(StreamPosition::Latest())) == Code::kUnavailable);
  CHECK(reader.position() == 1);
}

TEST_CASE("OMS-STRM-003: seeking reaches a thread that waits to read") {
  World world;
  SendSome(world, 3);
  StreamReader reader = MakeReader(world, StreamPosition::Latest());
  std::thread waiting([&] {
    const auto messages = reader.Read(1, kLong);
    CHECK(Bodies(messages.value()) == Strings{"1"});
  });
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  CHECK(reader.Seek(StreamPosition::Offset(1)).ok());

  waiting.join();
}

TEST_CASE("OMS-STRM-004: reading yields every message in order") {
  World world;
  SendSome(world, 100);
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());
  std::vector<std::string> bodies;
  int64_t last = -1;
  while (bodies.size() < 100) {
    const auto messages = reader.Read(7, milliseconds(0));
    REQUIRE(messages.ok());
    REQUIRE_FALSE(messages->empty());
    CHECK(messages->size() <= 7);
    for (const Message& message : *messages) {
      CHECK(message.offset() > last);
      last = message.offset();
      bodies.emplace_back(message.body());
    }
    CHECK(reader.position() == last + 1);
  }
  for (size_t i = 0; i < bodies.size(); ++i) {
    CHECK(bodies[i] == std::to_string(i));
  }
  CHECK(OmsCode(reader.Read(0, kLong).status()) == Code::kBadParameter);
}

TEST_CASE("OMS-STRM-005: readers are apart from each other and from groups") {
  World world;
  SendSome(world, 3);
  StreamReader one = MakeReader(world, StreamPosition::Earliest());
  StreamReader two = MakeReader(world, StreamPosition::Earliest());

  CHECK(one.Read(3, milliseconds(0))->size() == 3);
  CHECK(two.Read(1, milliseconds(0))->size() == 1);
  CHECK(two.position() == 1);

  PullConsumer consumer = world.MakeConsumer();
  const auto batch = consumer.ReceiveBatch(9, kLong);
  REQUIRE(batch.ok());
  CHECK(batch->size() == 3);
  CHECK((*batch)[0]->delivery_count() == 1);
}

TEST_CASE("OMS-STRM-006: the range brackets what can be read") {
  World world;
  SendSome(world, 5);
  world.broker->Set([](Script& script) { script.deleted = 2; });
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());

  const auto range = reader.range();

  REQUIRE(range.ok());
  CHECK(range->first == 2);
  CHECK(range->end == 5);
  const auto messages = reader.Read(99, milliseconds(0));
  CHECK(messages->front().offset() == range->first);
  CHECK(messages->back().offset() == range->end - 1);
}

TEST_CASE("OMS-STRM-007: at the end a read waits for what is sent") {
  World world;
  StreamReader reader = MakeReader(world, StreamPosition::Latest());
  const auto begin = steady_clock::now();
  CHECK(reader.Read(1, milliseconds(20))->empty());
  CHECK(steady_clock::now() - begin >= milliseconds(20));

  std::thread sender([&] { SendSome(world, 1); });
  const auto messages = reader.Read(5, kLong);
  sender.join();

  CHECK(Bodies(messages.value()) == Strings{"0"});
}

TEST_CASE("OMS-STRM-007: an error beside messages is told by the next read") {
  World world;
  SendSome(world, 2);
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());
  world.broker->Set([](Script& script) {
    script.read_failures = {MakeStatus(Code::kDamaged, "one was damaged")};
  });

  CHECK(reader.Read(1, milliseconds(0))->size() == 1);
  CHECK(OmsCode(reader.Read(1, milliseconds(0)).status()) == Code::kDamaged);
  CHECK(Bodies(reader.Read(1, milliseconds(0)).value()) == Strings{"1"});
}

TEST_CASE("OMS-STRM-008: a loop reads what there is and goes on later") {
  World world;
  SendSome(world, 150);
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());
  int count = 0;
  for (const Message& message : reader) {
    CHECK(message.body() == std::to_string(count));
    if (++count == 10) break;
  }

  // What was read ahead is not lost.
  CHECK(reader.position() == 10);
  CHECK(Bodies(reader.Read(1, milliseconds(0)).value()) == Strings{"10"});
  ++count;
  for (const Message& message : reader) {
    CHECK(message.body() == std::to_string(count++));
  }

  CHECK(count == 150);
  CHECK(reader.range_status().ok());
  reader.set_range_timeout(kLong);
  std::thread sender([&] { SendSome(world, 1); });
  for (const Message& message : reader) {
    CHECK(message.offset() == 150);
    break;
  }
  sender.join();
}

TEST_CASE("OMS-STRM-008: an error ends a loop and is told") {
  World world;
  SendSome(world, 1);
  StreamReader reader = MakeReader(world, StreamPosition::Latest());
  world.broker->Set([](Script& script) {
    script.read_failures = {MakeStatus(Code::kUnavailable, "gone")};
  });

  for (const Message& message : reader) FAIL(message.body());

  CHECK(OmsCode(reader.range_status()) == Code::kUnavailable);
}

TEST_CASE("OMS-STRM-009: stop wakes every thread that reads") {
  World world;
  StreamReader reader = MakeReader(world, StreamPosition::Latest());
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto messages = reader.Read(1, std::chrono::hours(1));
      CHECK(OmsCode(messages.status()) == Code::kClosed);
    });
  }
  REQUIRE(world.broker->Await([](auto counts) { return counts.receives > 0; }));

  CHECK(reader.Stop(Soon()) == 0);

  for (std::thread& thread : threads) thread.join();
  CHECK(reader.state() == LifecycleState::kStopped);
  CHECK(OmsCode(reader.Read(1, kLong).status()) == Code::kClosed);
  CHECK(OmsCode(reader.Seek(StreamPosition::Earliest())) == Code::kClosed);
  CHECK(OmsCode(reader.range().status()) == Code::kClosed);
}

TEST_CASE("OMS-STRM-009: threads may read and seek while one stops") {
  World world;
  SendSome(world, 50);
  StreamReader reader = MakeReader(world, StreamPosition::Earliest());
  std::atomic<int> calls{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (true) {
        const auto messages = reader.Read(3, milliseconds(1));
        if (!messages.ok()) break;
        ++calls;
      }
    });
  }
  threads.emplace_back([&] {
    while (reader.Seek(StreamPosition::Offset(calls % 50)).ok()) {
    }
  });
  while (calls < 200) std::this_thread::yield();

  CHECK(reader.Stop(Soon()) == 0);

  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("OMS-STRM-010: a message outlives its reader") {
  World world;
  SendSome(world, 1);
  std::vector<Message> messages;
  {
    StreamReader reader = MakeReader(world, StreamPosition::Earliest());
    StreamReader moved(std::move(reader));
    reader = std::move(moved);
    messages = reader.Read(1, milliseconds(0)).value();
  }
  world.bus.reset();

  CHECK(world.broker->counts().connections_closed == 1);
  CHECK(messages[0].body() == "0");
}

TEST_CASE("OMS-STRM-005: a stop token ends a read and no message is lost") {
  World world;
  auto reader =
      world.bus->CreateStreamReader("orders", 0, StreamPosition::Earliest());
  REQUIRE(reader.ok());
  std::stop_source stop;
  std::thread stopper([&] {
    world.broker->Await([](const auto& counts) { return counts.receives > 0; });
    stop.request_stop();
  });

  const auto begin = std::chrono::steady_clock::now();
  const auto read = reader->Read(4, std::chrono::seconds(10), stop.get_token());
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
  stopper.join();

  REQUIRE(read.ok());
  CHECK(read->empty());
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());
  const auto next = reader->Read(4, std::chrono::seconds(10), stop.get_token());
  REQUIRE(next.ok());
  CHECK(next->size() == 1);
}

}  // namespace
}  // namespace openmessaging::stream_reader_test
