// SPDX-License-Identifier: Apache-2.0
//
// Groups share, broadcast does not, and order is kept where it is promised.

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::groups_test {
namespace {

using internal::Concat;

PullConsumerOptions InGroup(std::string group) {
  PullConsumerOptions options;
  options.group = std::move(group);
  return options;
}

// Returns: a queue that two members share.
std::string NewSharedQueue(Context& t) {
  const std::string queue = t.NewQueue();
  // Where each partition has one member, they share several.
  return t.Has(queue, Capability::kSharedPartition)
             ? queue
             : t.NewQueue({.partitions = 4});
}

// Sends `count` messages, "1" and so on, each of a key of its own.
void SendSpread(const Context& t, std::string_view queue, int count) {
  Producer producer = t.NewProducer();
  std::vector<Message> batch;
  for (int n = 1; n <= count; ++n) {
    batch.emplace_back(queue, std::to_string(n));
    batch.back().SetMessageKey(std::to_string(n));
  }
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send a batch");
  }
}

// Sends `count` messages for each of `keys`, "key:n", in turn.
void SendKeyed(const Context& t, std::string_view queue, int keys, int count) {
  Producer producer = t.NewProducer();
  std::vector<Message> batch;
  for (int n = 1; n <= count; ++n) {
    for (int key = 0; key < keys; ++key) {
      Message message(queue, Concat('k', key, ':', n));
      message.SetMessageKey(Concat('k', key));
      batch.push_back(std::move(message));
    }
  }
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send a batch");
  }
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-GRP-006", kQueue, Capability::kGroups,
                     "members of one group share its messages") {
  constexpr int kCount = 200;
  const std::string queue = NewSharedQueue(t);
  Inbox all;
  Inbox each[2];
  std::atomic<int> failed{0};
  std::vector<PullConsumer> members;
  for (int i = 0; i < 2; ++i) members.push_back(t.NewConsumer(queue));
  SendSpread(t, queue, kCount);

  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      while (true) {
        auto got = members[static_cast<size_t>(i)].Receive(
            std::max(milliseconds(200), t.late() / 2));
        if (!got.ok()) ++failed;
        if (!got.ok() || !got->has_value()) return;
        all.Put((**got)->body());
        each[i].Put((**got)->body());
        // Slow enough that the other has its turn.
        std::this_thread::sleep_for(milliseconds(1));
        if (!(*got)->Ack().ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  RequireNumber(failed, 0, "calls that failed");
  RequireEqual(Sorted(all.texts()), Sorted(Numbers(1, kCount)),
               "what both got together");
  for (const Inbox& inbox : each) {
    Require(!inbox.texts().empty(), "one member got none of ", kCount);
  }
}

OMS_CONFORMANCE_TEST("OMS-GRP-007", kQueue, Capability::kGroups,
                     "two groups each get all messages") {
  const std::string queue = t.NewQueue();
  PullConsumer a = t.NewConsumer(queue, InGroup("a"));
  PullConsumer b = t.NewConsumer(queue, InGroup("b"));
  t.SendAll(queue, Numbers(1, 20));

  RequireEqual(t.TakeBodies(a, 20), Numbers(1, 20), "group a");
  RequireEqual(t.TakeBodies(b, 20), Numbers(1, 20), "group b");
}

OMS_CONFORMANCE_TEST("OMS-GRP-008", kQueue, Capability::kBroadcast,
                     "every broadcast consumer gets every message") {
  const std::string queue = t.NewQueue();
  std::vector<PullConsumer> members;
  for (int i = 0; i < 3; ++i) {
    members.push_back(t.NewConsumer(queue, {.broadcast = true}));
  }
  t.SendAll(queue, Numbers(1, 10));

  for (PullConsumer& member : members) {
    RequireEqual(t.TakeBodies(member, 10), Numbers(1, 10), "one member");
  }
}

OMS_CONFORMANCE_TEST("OMS-GRP-009", kQueue, Capability::kBroadcast,
                     "nothing is kept for a broadcast consumer that is gone") {
  const std::string queue = t.NewQueue();
  PullConsumer stays = t.NewConsumer(queue, {.broadcast = true});
  {
    PullConsumer leaves = t.NewConsumer(queue, {.broadcast = true});
    t.Send(queue, "both");
    RequireText(t.Take(leaves)->body(), "both", "who leaves");
  }
  t.Send(queue, "later");
  RequireEqual(t.TakeBodies(stays, 2), {"both", "later"}, "who stays");
  if (!t.Has(queue, Capability::kStats)) return;
  const auto start = steady_clock::now();
  int64_t depth = -1;
  while (depth != 0 && Since(start) < t.late()) {
    depth = Must(t.resources().Stats(queue), "stats").depth;
  }
  RequireNumber(depth, 0, "what is kept");
}

OMS_CONFORMANCE_TEST("OMS-GRP-010", kCore, kAlways,
                     "what a member leaves unsettled goes to the others") {
  const std::string queue = t.NewQueue();
  std::optional<PullConsumer> stays;
  {
    const MessagingAccessPoint other = t.Connect();
    PullConsumer leaves =
        Must(other.CreatePullConsumer(), "create consumer");
    RequireOk(leaves.Bind(queue), "bind");
    t.SendAll(queue, Numbers(1, 4));
    for (int i = 0; i < 2; ++i) (void)t.Take(leaves);
    // After that: where a partition has one member, the first has it.
    stays = t.NewConsumer(queue);
  }
  RequireEqual(Sorted(t.TakeUntilSentinel(*stays, queue)), Numbers(1, 4),
               "what the other gets");
}

OMS_CONFORMANCE_TEST("OMS-GRP-011", kQueue, Capability::kGroups,
                     "members that join and leave lose nothing") {
  constexpr int kCount = 300;
  const std::string queue = NewSharedQueue(t);
  PullConsumer stays = t.NewConsumer(queue);
  std::multiset<std::string> got;
  Producer producer = t.NewProducer();

  for (int n = 1; n <= kCount; ++n) {
    Message message(queue, std::to_string(n));
    message.SetMessageKey(std::to_string(n));
    RequireOk(producer.Send(message).status(), "send");
    if (n % 50 != 0) continue;
    PullConsumer joins = t.NewConsumer(queue);
    for (int i = 0; i < 10; ++i) {
      const Delivery delivery = t.Take(i % 2 == 0 ? joins : stays);
      got.emplace(delivery->body());
      RequireOk(delivery.Ack(), "acknowledge");
    }
  }
  // No sentinel: of several partitions none is the last to come.
  while (got.size() < kCount) {
    const Delivery delivery = t.Take(stays);
    got.emplace(delivery->body());
    RequireOk(delivery.Ack(), "acknowledge");
  }
  Require(!Must(stays.Receive(milliseconds(50)), "receive"),
          "more messages came than were sent");

  RequireEqual(Sorted(Bodies(got.begin(), got.end())),
               Sorted(Numbers(1, kCount)), "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-GRP-012", kQueue, Capability::kGroups,
                     "a group goes on where it was") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer first = t.NewConsumer(queue, InGroup("g"));
    t.SendAll(queue, Numbers(1, 5));
    RequireEqual(t.TakeBodies(first, 3), Numbers(1, 3), "the first member");
  }
  t.Send(queue, "6");
  PullConsumer next = t.NewConsumer(queue, InGroup("g"));
  RequireEqual(t.TakeUntilSentinel(next, queue), Numbers(4, 6),
               "the next member");
}

OMS_CONFORMANCE_TEST("OMS-GRP-013", kQueue, Capability::kStartEarliest,
                     "a new group starts at the oldest message stored") {
  const std::string queue = t.NewQueue();
  PullConsumer other = t.NewConsumer(queue, InGroup("other"));
  t.SendAll(queue, Numbers(1, 5));

  PullConsumer earliest = t.NewConsumer(queue, InGroup("early"));

  RequireEqual(t.TakeBodies(earliest, 5), Numbers(1, 5), "a new group");
}

OMS_CONFORMANCE_TEST("OMS-GRP-014", kCore, kAlways,
                     "a group that starts at latest misses what was before") {
  const std::string queue = t.NewQueue();
  PullConsumer keeper = t.NewConsumer(queue, InGroup("keeper"));
  t.SendAll(queue, Numbers(1, 3));
  PullConsumerOptions options = InGroup("late");
  options.start = StartPosition::kLatest;

  PullConsumer latest = t.NewConsumer(queue, options);
  t.SendAll(queue, Numbers(4, 6));

  RequireEqual(t.TakeUntilSentinel(latest, queue), Numbers(4, 6),
               "what the new group gets");
}

OMS_CONFORMANCE_TEST("OMS-GRP-015", kQueue, Capability::kGroups,
                     "messages wait for a group without members") {
  const std::string queue = t.NewQueue();
  (void)t.NewConsumer(queue, InGroup("g"));
  t.SendAll(queue, Numbers(1, 3));
  PullConsumer later = t.NewConsumer(queue, InGroup("g"));
  RequireEqual(t.TakeUntilSentinel(later, queue), Numbers(1, 3),
               "what waited");
}

OMS_CONFORMANCE_TEST("OMS-GRP-016", kQueue, Capability::kExclusive,
                     "beside an exclusive consumer there is none") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer alone = t.NewConsumer(queue, {.exclusive = true});
    PullConsumer second =
        Must(t.bus().CreatePullConsumer({.exclusive = true}), "create");
    RequireCode(second.Bind(queue), Code::kConsumerExists,
                "a second exclusive consumer");
    PullConsumer plain = Must(t.bus().CreatePullConsumer(), "create");
    RequireCode(plain.Bind(queue), Code::kConsumerExists,
                "a plain one beside an exclusive one");
    t.Send(queue, "mine");
    RequireText(t.TakeBodies(alone, 1)[0], "mine", "the exclusive one");
  }
  PullConsumer plain = t.NewConsumer(queue);
  PullConsumer late =
      Must(t.bus().CreatePullConsumer({.exclusive = true}), "create");
  RequireCode(late.Bind(queue), Code::kConsumerExists,
              "an exclusive one beside a plain one");
}

OMS_CONFORMANCE_TEST("OMS-GRP-017", kQueue, Capability::kExclusive,
                     "of those who bind exclusively at once one is alone") {
  const std::string queue = t.NewQueue();
  std::vector<PullConsumer> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(
        Must(t.bus().CreatePullConsumer({.exclusive = true}), "create"));
  }
  std::atomic<int> alone{0};
  std::atomic<int> odd{0};
  std::vector<std::thread> threads;
  for (PullConsumer& one : all) {
    threads.emplace_back([&] {
      const absl::Status status = one.Bind(queue);
      if (status.ok()) {
        ++alone;
      } else if (OmsCode(status) != Code::kConsumerExists) {
        ++odd;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Require(alone <= 1, alone.load(), " are alone at once");
  RequireNumber(odd, 0, "answers that are neither OK nor 1408");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-008", kQueue, Capability::kPartitions,
                     "messages of one key lie in one partition") {
  const std::string queue = t.NewQueue({.partitions = 4});
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  std::map<std::string, std::set<int32_t>> places;
  for (int n = 0; n < 200; ++n) {
    Message message(queue, "x");
    message.SetMessageKey(Concat("key", n % 20));
    RequireOk(producer.Send(message).status(), "send");
  }
  for (int n = 0; n < 200; ++n) {
    const Delivery got = t.Take(consumer);
    Require(got->partition() >= 0 && got->partition() < 4, "partition ",
            got->partition(), " of 4");
    places[std::string(got->message_key())].insert(got->partition());
    RequireOk(got.Ack(), "acknowledge");
  }
  for (const auto& [key, partitions] : places) {
    RequireNumber(static_cast<int64_t>(partitions.size()), 1,
                  Concat("partitions of ", std::string_view(key)));
  }
}

OMS_CONFORMANCE_TEST("OMS-ORDER-012", kQueue, Capability::kPartitions,
                     "a thousand keys use every partition") {
  constexpr int32_t kPartitions = 4;
  const std::string queue = t.NewQueue({.partitions = kPartitions});
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  std::vector<Message> batch;
  for (int n = 0; n < 1000; ++n) {
    batch.emplace_back(queue, "x");
    batch.back().SetMessageKey(Concat("key", n));
  }
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send");
  }
  std::set<int32_t> used;
  for (int n = 0; n < 1000; ++n) {
    const Delivery got = t.Take(consumer);
    used.insert(got->partition());
    RequireOk(got.Ack(), "acknowledge");
  }
  RequireNumber(static_cast<int64_t>(used.size()), kPartitions,
                "partitions used");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-010", kQueue, Capability::kExplicitPartition,
                     "a partition that is asked for is used and reported") {
  const std::string queue = t.NewQueue({.partitions = 4});
  PullConsumer consumer = t.NewConsumer(queue);
  for (const int32_t partition : {2, 0, 3, 1}) {
    Message message(queue, std::to_string(partition));
    message.SetPartition(partition);
    RequireNumber(t.Send(message).partition, partition,
                  "the partition in the result");
    const Delivery got = t.Take(consumer);
    RequireText(got->body(), message.body(), "the message");
    RequireNumber(got->partition(), partition, "the partition it came from");
    RequireOk(got.Ack(), "acknowledge");
  }
}

OMS_CONFORMANCE_TEST("OMS-ORDER-013", kQueue, Capability::kExplicitPartition,
                     "a partition that the queue has not is 1418") {
  const std::string queue = t.NewQueue({.partitions = 2});
  Producer producer = t.NewProducer();
  for (const int32_t partition : {2, 1000000}) {
    Message message(queue, "x");
    message.SetPartition(partition);
    RequireCode(producer.Send(message), Code::kBadParameter,
                Concat("partition ", partition, " of 2"));
  }
}

OMS_CONFORMANCE_TEST("OMS-ORDER-011", kQueue, Capability::kPartitions,
                     "a queue has the partitions that it was created with") {
  const std::string queue = t.NewQueue({.partitions = 3});
  const QueueInfo info = Must(t.resources().DescribeQueue(queue), "describe");
  RequireNumber(info.options.partitions, 3, "partitions described");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-001", kQueue, Capability::kKeyOrder,
                     "a key waits for its message and others go on") {
  const std::string queue = t.NewQueue();
  PullConsumer a = t.NewConsumer(queue, {.ordered = true});
  PullConsumer b = t.NewConsumer(queue, {.ordered = true});
  SendKeyed(t, queue, 2, 2);

  const Delivery first = t.Take(a);
  const Delivery second = t.Take(b);
  RequireText(first->body(), "k0:1", "the first");
  RequireText(second->body(), "k1:1", "what goes on");
  Require(!Must(b.Receive(milliseconds(0)), "receive"),
          "a message came before its key was settled");

  RequireOk(first.Ack(), "acknowledge");
  RequireText(t.Take(b)->body(), "k0:2", "what its key has next");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-002", kQueue, Capability::kKeyOrder,
                     "what was given back comes before later ones") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue, {.ordered = true});
  SendKeyed(t, queue, 1, 3);

  const Delivery first = t.Take(consumer);
  RequireOk(t.Has(queue, Capability::kNackDelay) ? first.Nack(milliseconds(50))
                                                 : first.Nack(),
            "nack");

  RequireEqual(t.TakeBodies(consumer, 3), {"k0:1", "k0:2", "k0:3"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-004", kQueue, Capability::kKeyOrder,
                     "members of a group agree on the order") {
  const std::string queue = t.NewQueue();
  PullConsumer ordered = t.NewConsumer(queue, {.ordered = true});
  PullConsumer plain = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireCode(plain.Bind(queue), Code::kIllegalState,
              "a member that is not ordered");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-006", kQueue, Capability::kKeyOrder,
                     "four members keep the order of each key") {
  constexpr int kKeys = 8;
  constexpr int kEach = 20;
  const std::string queue = t.NewQueue({.partitions = 2});
  std::vector<PullConsumer> members;
  for (int i = 0; i < 4; ++i) {
    members.push_back(t.NewConsumer(queue, {.ordered = true}));
  }
  SendKeyed(t, queue, kKeys, kEach);
  std::mutex mutex;
  std::map<std::string, Bodies> seen;
  size_t total = 0;
  std::atomic<int> failed{0};

  std::vector<std::thread> threads;
  for (PullConsumer& member : members) {
    threads.emplace_back([&] {
      while (true) {
        {
          const std::lock_guard<std::mutex> lock(mutex);
          if (total == kKeys * kEach) return;
        }
        auto got = member.Receive(milliseconds(300));
        if (!got.ok()) ++failed;
        if (!got.ok() || !got->has_value()) return;
        {
          const std::lock_guard<std::mutex> lock(mutex);
          seen[std::string((**got)->message_key())].emplace_back(
              (**got)->body());
          ++total;
        }
        if (!(*got)->Ack().ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  RequireNumber(failed, 0, "calls that failed");
  RequireNumber(static_cast<int64_t>(total), kKeys * kEach, "messages");
  for (const auto& [key, bodies] : seen) {
    Bodies expected;
    for (int n = 1; n <= kEach; ++n) {
      expected.push_back(Concat(std::string_view(key), ':', n));
    }
    RequireEqual(bodies, expected, Concat("key ", std::string_view(key)));
  }
}

}  // namespace openmessaging::conformance::groups_test
