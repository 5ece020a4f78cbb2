// SPDX-License-Identifier: Apache-2.0
//
// Reading partitions by position, and moving groups.

#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::stream_test {
namespace {

using internal::Concat;

constexpr auto kStream = Capability::kStream;
constexpr auto kSeek = Capability::kSeek;

StreamReader NewReader(const Context& t, std::string_view queue,
                       StreamPosition start = StreamPosition::Earliest()) {
  return Must(t.bus().CreateStreamReader(queue, 0, start), "create a reader");
}

// Reads until `count` messages came, or nothing comes any more.
std::vector<Message> ReadSome(const Context& t, StreamReader& reader,
                              size_t count) {
  std::vector<Message> all;
  while (all.size() < count) {
    auto some = Must(reader.Read(count - all.size(), t.patience()), "read");
    if (some.empty()) {
      Fail(Concat(count, " messages were expected, there came ", all.size()));
    }
    for (Message& message : some) all.push_back(std::move(message));
  }
  return all;
}

Bodies BodiesOf(const std::vector<Message>& messages) {
  Bodies bodies;
  for (const Message& message : messages) bodies.emplace_back(message.body());
  return bodies;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-STRM-011", kStream, kStream,
                     "reading from earliest yields every message in order") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 50));
  StreamReader reader = NewReader(t, queue);

  const auto messages = ReadSome(t, reader, 50);

  RequireEqual(BodiesOf(messages), Numbers(1, 50), "what was read");
  for (size_t i = 1; i < messages.size(); ++i) {
    Require(messages[i].offset() > messages[i - 1].offset(), "offset ",
            messages[i].offset(), " follows ", messages[i - 1].offset());
  }
}

OMS_CONFORMANCE_TEST("OMS-STRM-012", kStream, kStream,
                     "reading from an offset begins with that message") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 10));
  StreamReader first = NewReader(t, queue);
  const auto all = ReadSome(t, first, 10);

  StreamReader reader =
      NewReader(t, queue, StreamPosition::Offset(all[4].offset()));

  RequireEqual(BodiesOf(ReadSome(t, reader, 6)), Numbers(5, 10),
               "what was read");
}

OMS_CONFORMANCE_TEST("OMS-STRM-013", kStream, kStream,
                     "reading from latest sees only what is sent later") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 3));
  StreamReader reader = NewReader(t, queue, StreamPosition::Latest());
  Require(Must(reader.Read(10, milliseconds(0)), "read").empty(),
          "an older message was read");
  t.SendAll(queue, Numbers(4, 6));
  RequireEqual(BodiesOf(ReadSome(t, reader, 3)), Numbers(4, 6),
               "what was read");
}

OMS_CONFORMANCE_TEST("OMS-STRM-014", kStream, kStream,
                     "reading from a time begins with the first not older") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 3));
  StreamReader first = NewReader(t, queue);
  const milliseconds old = ReadSome(t, first, 3).back().store_timestamp();
  std::this_thread::sleep_for(milliseconds(20));
  t.Send(queue, "4");
  const milliseconds middle = ReadSome(t, first, 1)[0].store_timestamp();
  Require(middle > old, "store_timestamp did not grow in 20 ms");

  StreamReader reader = NewReader(t, queue, StreamPosition::Time(middle));

  RequireEqual(BodiesOf(ReadSome(t, reader, 1)), {"4"}, "from its time");
  RequireOk(reader.Seek(StreamPosition::Time(old + milliseconds(1))), "seek");
  RequireEqual(BodiesOf(ReadSome(t, reader, 1)), {"4"},
               "from after the others");
}

OMS_CONFORMANCE_TEST("OMS-STRM-015", kStream, kStream,
                     "a position out of range never hangs") {
  const std::string queue = t.NewQueue();
  t.Send(queue, "1");
  StreamReader reader = NewReader(t, queue, StreamPosition::Offset(1000000));
  const auto start = steady_clock::now();
  Require(Must(reader.Read(1, milliseconds(100)), "read").empty(),
          "there is no such message");
  Require(Since(start) < milliseconds(100) + t.late(), "it took ",
          Since(start).count(), " ms");
  RequireOk(reader.Seek(StreamPosition::Offset(0)), "seek");
  RequireEqual(BodiesOf(ReadSome(t, reader, 1)), {"1"}, "the oldest");
  RequireCode(reader.Seek(StreamPosition::Offset(-1)), Code::kBadParameter,
              "a negative offset");
}

OMS_CONFORMANCE_TEST("OMS-STRM-016", kStream, kStream,
                     "two readers are independent") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 4));
  StreamReader a = NewReader(t, queue);
  StreamReader b = NewReader(t, queue);
  RequireEqual(BodiesOf(ReadSome(t, a, 4)), Numbers(1, 4), "the first reader");
  RequireEqual(BodiesOf(ReadSome(t, b, 2)), Numbers(1, 2), "the second reader");
  RequireOk(a.Seek(StreamPosition::Earliest()), "seek");
  RequireEqual(BodiesOf(ReadSome(t, b, 2)), Numbers(3, 4), "the second reader");
}

OMS_CONFORMANCE_TEST("OMS-STRM-017", kStream, kStream,
                     "reading moves no group") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, 4));
  StreamReader reader = NewReader(t, queue);
  (void)ReadSome(t, reader, 4);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 4),
               "what the group gets");
}

OMS_CONFORMANCE_TEST("OMS-STRM-018", kStream, kStream,
                     "the range brackets what can be read") {
  const std::string queue = t.NewQueue();
  StreamReader reader = NewReader(t, queue);
  const StreamRange none = Must(reader.range(), "range");
  Require(none.first == none.end, "the range of an empty queue is ", none.first,
          " to ", none.end);
  t.SendAll(queue, Numbers(1, 5));
  const auto all = ReadSome(t, reader, 5);
  const StreamRange range = Must(reader.range(), "range");
  RequireNumber(range.first, all.front().offset(), "the first offset");
  RequireNumber(range.end, all.back().offset() + 1, "the end");
}

OMS_CONFORMANCE_TEST("OMS-STRM-019", kStream, kStream,
                     "at the end a read waits for what is sent") {
  constexpr milliseconds kTimeout{100};
  const std::string queue = t.NewQueue();
  StreamReader reader = NewReader(t, queue);
  auto start = steady_clock::now();
  Require(Must(reader.Read(1, kTimeout), "read").empty(), "there is nothing");
  Require(Since(start) >= kTimeout - milliseconds(1), "the read ended after ",
          Since(start).count(), " ms");
  absl::StatusOr<std::vector<Message>> got;
  std::thread thread([&] { got = reader.Read(1, t.patience()); });
  start = steady_clock::now();
  t.Send(queue, "woken");
  thread.join();
  RequireEqual(BodiesOf(Must(std::move(got), "read")), {"woken"},
               "what was read");
  Require(Since(start) < t.late(), "it was read after ", Since(start).count(),
          " ms");
}

OMS_CONFORMANCE_TEST("OMS-STRM-020", kStream, kStream,
                     "the partitions of a queue are told") {
  const std::string queue = t.NewQueue({.partitions = 3});
  RequireNumber(Must(t.bus().partitions(queue), "partitions"), 3,
                "partitions");
  RequireCode(t.bus().partitions(t.NewName("missing")), Code::kQueueNotFound,
              "partitions of a missing queue");
  RequireCode(t.bus().CreateStreamReader(queue, 3), Code::kBadParameter,
              "a partition that there is not");
}

OMS_CONFORMANCE_TEST("OMS-GRP-001", kStream, kSeek,
                     "the groups of a queue are listed") {
  const std::string queue = t.NewQueue();
  RequireEqual(Must(t.resources().ListGroups(queue), "list"), {}, "no groups");
  PullConsumer a = t.NewConsumer(queue, {.group = "a"});
  (void)t.NewConsumer(queue, {.group = "b"});
  PullConsumer other = t.NewConsumer(queue, {.broadcast = true});
  RequireEqual(Sorted(Must(t.resources().ListGroups(queue), "list")),
               {"a", "b"}, "groups");
  RequireCode(t.resources().ListGroups(t.NewName("missing")),
              Code::kQueueNotFound, "groups of a missing queue");
}

OMS_CONFORMANCE_TEST("OMS-GRP-002", kStream, kSeek,
                     "seeking back replays and seeking forward skips") {
  const std::string queue = t.NewQueue({.retention = std::chrono::hours(1)});
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  t.SendAll(queue, Numbers(1, 4));
  RequireEqual(t.TakeBodies(consumer, 4), Numbers(1, 4), "at first");

  RequireOk(t.resources().SeekGroup(queue, "g", StreamPosition::Earliest()),
            "seek back");
  RequireEqual(t.TakeBodies(consumer, 4), Numbers(1, 4), "replayed");

  t.SendAll(queue, Numbers(5, 8));
  RequireOk(t.resources().SeekGroup(queue, "g", StreamPosition::Latest()),
            "seek forward");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what was skipped");
}

OMS_CONFORMANCE_TEST("OMS-GRP-003", kStream, kSeek,
                     "a group is moved to an offset or refused") {
  const std::string queue = t.NewQueue({.retention = std::chrono::hours(1)});
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  t.SendAll(queue, Numbers(1, 5));
  int64_t third = -1;
  for (int n = 1; n <= 5; ++n) {
    const Delivery got = t.Take(consumer);
    if (n == 3) third = got->offset();
    RequireOk(got.Ack(), "acknowledge");
  }
  ResourceManager resources = t.resources();

  RequireOk(resources.SeekGroup(queue, "g", StreamPosition::Offset(third), 0),
            "seek to an offset");
  RequireEqual(t.TakeBodies(consumer, 3), Numbers(3, 5), "from there");

  RequireCode(resources.SeekGroup(queue, "g", StreamPosition::Offset(-1), 0),
              Code::kBadParameter, "a negative offset");
  RequireCode(resources.SeekGroup(queue, "g", StreamPosition::Offset(0), 7),
              Code::kBadParameter, "a partition that there is not");
  RequireCode(resources.SeekGroup(t.NewName("missing"), "g",
                                  StreamPosition::Earliest()),
              Code::kQueueNotFound, "a missing queue");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {},
               "what a refused seek changed");
}

OMS_CONFORMANCE_TEST("OMS-GRP-004", kStream, kSeek,
                     "a receipt of before a seek settles nothing") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  t.SendAll(queue, Numbers(1, 2));
  const Delivery before = t.Take(consumer);
  RequireOk(t.resources().SeekGroup(queue, "g", StreamPosition::Earliest()),
            "seek");
  RequireCode(before.Ack(), Code::kReceiptExpired, "an earlier receipt");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 2),
               "what is replayed");
}

OMS_CONFORMANCE_TEST("OMS-GRP-005", kStream, kSeek,
                     "a deleted group ends for its members and begins anew") {
  const std::string queue = t.NewQueue({.retention = std::chrono::hours(1)});
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  t.SendAll(queue, Numbers(1, 2));
  RequireEqual(t.TakeBodies(consumer, 2), Numbers(1, 2), "at first");

  RequireOk(t.resources().DeleteGroup(queue, "g"), "delete the group");

  RequireCode(consumer.Receive(milliseconds(0)), Code::kIllegalState,
              "receive in a deleted group");
  RequireOk(consumer.Unbind(queue), "unbind");
  RequireOk(consumer.Bind(queue), "bind");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 2),
               "the new group");
  RequireCode(t.resources().DeleteGroup(queue, "none"), Code::kQueueNotFound,
              "delete a missing group");
}

}  // namespace openmessaging::conformance::stream_test
