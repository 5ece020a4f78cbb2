// SPDX-License-Identifier: Apache-2.0
//
// Managing queues, their numbers, and requests with answers.

#include <algorithm>
#include <atomic>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::resources_test {
namespace {

using internal::Concat;

constexpr auto kAdmin = Capability::kAdmin;
constexpr auto kStats = Capability::kStats;
constexpr auto kRequestReply = Capability::kRequestReply;

bool IsListed(const Context& t, std::string_view queue) {
  const auto all = Must(t.resources().ListQueues(), "list queues");
  return std::any_of(all.begin(), all.end(), [&](const QueueInfo& info) {
    return info.name == queue;
  });
}

// Answers each request of `queue` with its own body, until `stop`.
class Responder {
 public:
  Responder(const Context& t, std::string_view queue)
      : producer_(t.NewProducer()), consumer_(t.NewConsumer(queue)) {
    thread_ = std::thread([this] { Serve(); });
  }
  ~Responder() {
    stop_ = true;
    consumer_.Stop(steady_clock::now() + milliseconds(2000));
    thread_.join();
  }

 private:
  void Serve() {
    while (!stop_) {
      auto got = consumer_.Receive(milliseconds(200));
      if (!got.ok()) return;
      if (!got->has_value()) continue;
      const auto reply =
          MakeReply(**got.value(), Concat("to ", (**got)->body()));
      if (reply.ok()) (void)producer_.Send(*reply);
      (void)(*got)->Ack();
    }
  }

  Producer producer_;
  PullConsumer consumer_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

OMS_CONFORMANCE_TEST("OMS-MAP-012", kAdmin, kAdmin,
                     "queues are created and listed and deleted") {
  const std::string queue = t.NewName();
  ResourceManager resources = t.resources();
  Require(!IsListed(t, queue), "a queue is listed before it is created");
  // Not every broker has partitions.
  const int32_t most =
      t.Has(queue, Capability::kPartitions)
          ? t.CapabilitiesOf(queue).limits().max_partitions.value_or(2)
          : 1;
  const int32_t partitions = std::min(most, 2);

  RequireOk(resources.CreateQueue(queue, {.partitions = partitions}), "create");
  Require(IsListed(t, queue), "a queue that was created is not listed");
  const QueueInfo info = Must(resources.DescribeQueue(queue), "describe");
  RequireText(info.name, queue, "the name described");
  RequireNumber(info.options.partitions, partitions, "partitions");

  RequireOk(resources.DeleteQueue(queue), "delete");
  Require(!IsListed(t, queue), "a queue that was deleted is listed");
}

OMS_CONFORMANCE_TEST("OMS-RES-001", kAdmin, kAdmin,
                     "creating a queue that there is is 1406") {
  const std::string queue = t.NewQueue();
  RequireCode(t.resources().CreateQueue(queue), Code::kQueueExists, "again");
  RequireCode(t.resources().CreateQueue(queue, {.partitions = 3}),
              Code::kQueueExists, "with other options");
  RequireNumber(Must(t.resources().DescribeQueue(queue), "describe")
                    .options.partitions,
                1, "partitions");
}

OMS_CONFORMANCE_TEST("OMS-RES-002", kAdmin, kAdmin,
                     "a missing queue is 1404") {
  const std::string missing = t.NewName("missing");
  RequireCode(t.resources().DeleteQueue(missing), Code::kQueueNotFound,
              "delete");
  RequireCode(t.resources().DescribeQueue(missing), Code::kQueueNotFound,
              "describe");
}

OMS_CONFORMANCE_TEST("OMS-RES-003", kAdmin, kAdmin,
                     "a deleted queue refuses sends") {
  const std::string queue = t.NewName();
  RequireOk(t.resources().CreateQueue(queue), "create");
  Producer producer = t.NewProducer();
  RequireOk(producer.Send(Message(queue, "x")).status(), "send");
  RequireOk(t.resources().DeleteQueue(queue), "delete");
  RequireCode(producer.Send(Message(queue, "x")), Code::kQueueNotFound,
              "send to a deleted queue");
}

OMS_CONFORMANCE_TEST("OMS-RES-004", kAdmin, kAdmin,
                     "a queue that is created anew is empty") {
  const std::string queue = t.NewName();
  RequireOk(t.resources().CreateQueue(queue), "create");
  t.SendAll(queue, Numbers(1, 3));
  RequireOk(t.resources().DeleteQueue(queue), "delete");
  RequireOk(t.resources().CreateQueue(queue), "create anew");
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what is there");
  (void)t.resources().DeleteQueue(queue);
}

OMS_CONFORMANCE_TEST("OMS-RES-005", kAdmin, kAdmin,
                     "of eight that create one queue one succeeds") {
  const std::string queue = t.NewName();
  std::atomic<int> made{0};
  std::atomic<int> exists{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const absl::Status status = t.resources().CreateQueue(queue);
      if (status.ok()) ++made;
      if (OmsCode(status) == Code::kQueueExists) ++exists;
    });
  }
  for (std::thread& thread : threads) thread.join();
  RequireNumber(made, 1, "that succeeded");
  RequireNumber(exists, 7, "that got 1406");
  (void)t.resources().DeleteQueue(queue);
}

OMS_CONFORMANCE_TEST("OMS-RES-006", kAdmin, kAdmin,
                     "too many partitions are 1415") {
  const int32_t most =
      t.CapabilitiesOf(t.NewQueue()).limits().max_partitions.value_or(
          kMaxPartitions);
  const std::string queue = t.NewName();
  RequireCode(t.resources().CreateQueue(queue, {.partitions = most + 1}),
              Code::kTooManyPartitions, "one partition more than declared");
  Require(!IsListed(t, queue), "the queue was made all the same");
}

OMS_CONFORMANCE_TEST("OMS-RES-007", kAdmin, Capability::kDeadLetter,
                     "a dead-letter queue must exist and stay") {
  const std::string missing = t.NewName("missing");
  const std::string queue = t.NewName();
  RequireCode(
      t.resources().CreateQueue(queue, {.dead_letter_queue = missing}),
      Code::kQueueNotFound, "a dead-letter queue that there is not");
  const QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  (void)t.NewQueue(options);
  RequireCode(t.resources().DeleteQueue(options.dead_letter_queue),
              Code::kIllegalState, "delete the dead-letter queue of another");
}

OMS_CONFORMANCE_TEST("OMS-STAT-002", kAdmin, kStats,
                     "depth and lag are what was sent less what was settled") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  t.SendAll(queue, Numbers(1, 10));
  (void)t.TakeBodies(consumer, 4);

  // The numbers may lag by a moment.
  const auto start = steady_clock::now();
  QueueStats stats;
  do {
    stats = Must(t.resources().Stats(queue), "stats");
  } while (stats.depth != 6 && Since(start) < t.late());

  RequireNumber(stats.depth, 6, "depth");
  RequireNumber(static_cast<int64_t>(stats.groups.size()), 1, "groups");
  RequireText(stats.groups[0].group, "g", "the group");
  RequireNumber(stats.groups[0].lag, 6, "lag");
}

// Enough that a driver which bounds what is unsettled has stopped before.
constexpr int kMoreThanIsHeld = 16'400;
constexpr int kHeldAtOnce = 400;

OMS_CONFORMANCE_TEST("OMS-STAT-003", kAdmin, kStats,
                     "a group is told as stopped just while it is") {
  const std::string queue = t.NewQueue({.partitions = 1});
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  for (int n = 0; n < kMoreThanIsHeld; n += kHeldAtOnce) {
    t.SendAll(queue, Numbers(n + 1, n + kHeldAtOnce));
  }
  // What it is told may lag by a moment.
  const auto is_stopped = [&](bool expected) {
    const auto start = steady_clock::now();
    QueueStats stats;
    do {
      stats = Must(t.resources().Stats(queue), "stats");
      Require(stats.groups.size() == 1, "one group was expected in the stats");
    } while (stats.groups[0].stopped != expected && Since(start) < t.late());
    return stats.groups[0].stopped;
  };

  std::vector<Delivery> held;
  while (held.size() < kMoreThanIsHeld) {
    auto more = Must(consumer.ReceiveBatch(
                         kHeldAtOnce, held.empty() ? t.patience() : t.late()),
                     "receive and hold");
    if (more.empty()) break;
    std::move(more.begin(), more.end(), std::back_inserter(held));
  }

  const bool all_came = held.size() >= kMoreThanIsHeld;
  Require(is_stopped(!all_came) == !all_came,
          Concat(held.size(), " of ", kMoreThanIsHeld, " messages are held, ",
                 all_came ? "but the group is told as stopped"
                          : "but the group is not told as stopped"));
  for (const Delivery& delivery : held) RequireOk(delivery.Ack(), "ack");
  Require(!is_stopped(false),
          "all was settled, but the group is told as stopped");
}

OMS_CONFORMANCE_TEST("OMS-STAT-004", kAdmin, kStats,
                     "numbers of a missing queue are 1404") {
  RequireCode(t.resources().Stats(t.NewName("missing")), Code::kQueueNotFound,
              "stats");
}

OMS_CONFORMANCE_TEST("OMS-REQ-002", kQueue, kRequestReply,
                     "a hundred requests at once get their own answers") {
  const std::string queue = t.NewQueue();
  const Responder responder(t, queue);
  Requester requester = Must(t.bus().CreateRequester(), "create requester");
  std::vector<Future<Message>> answers;
  for (int n = 0; n < 100; ++n) {
    answers.push_back(
        requester.RequestAsync(Message(queue, std::to_string(n)),
                               t.patience()));
  }
  for (int n = 0; n < 100; ++n) {
    const Message answer =
        Must(answers[static_cast<size_t>(n)].AwaitFor(t.patience()),
             "a request");
    RequireText(answer.body(), Concat("to ", n), "the answer");
  }
}

OMS_CONFORMANCE_TEST("OMS-REQ-003", kQueue, kRequestReply,
                     "no answer is 1410 and a late one does no harm") {
  constexpr milliseconds kTimeout{150};
  const std::string queue = t.NewQueue();
  PullConsumer service = t.NewConsumer(queue);
  Requester requester = Must(t.bus().CreateRequester(), "create requester");
  RequireOk(requester.Start(), "start");

  const auto start = steady_clock::now();
  RequireCode(requester.Request(Message(queue, "slow"), kTimeout),
              Code::kTimeout, "a request that nobody answers");
  Require(Since(start) >= kTimeout - milliseconds(1) &&
              Since(start) < kTimeout + t.late(),
          "it took ", Since(start).count(), " ms");

  const Delivery request = t.Take(service);
  t.Send(Must(MakeReply(*request, "too late"), "make a reply"));
  RequireOk(request.Ack(), "acknowledge");
  auto next = requester.RequestAsync(Message(queue, "next"), t.patience());
  const Delivery second = t.Take(service);
  t.Send(Must(MakeReply(*second, "in time"), "make a reply"));
  RequireText(Must(next.AwaitFor(t.patience()), "the next request").body(),
              "in time", "the next answer");
}

OMS_CONFORMANCE_TEST("OMS-REQ-004", kQueue, kRequestReply,
                     "the queue for answers ends with its requester") {
  t.Needs(t.NewQueue(), kAdmin);
  std::string replies;
  {
    Requester requester = Must(t.bus().CreateRequester(), "create requester");
    RequireOk(requester.Start(), "start");
    replies = requester.reply_queue();
    Require(IsListed(t, replies), "the queue for answers is not listed");
  }
  Require(!IsListed(t, replies), "the queue for answers is still there");
}

}  // namespace openmessaging::conformance::resources_test
