// SPDX-License-Identifier: Apache-2.0
//
// Start, stop and what a client leaves behind; restarts of the broker.

#include <atomic>
#include <filesystem>
#include <system_error>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::lifecycle_test {
namespace {

using internal::Concat;

// Returns: how many entries a folder of this process has; -1 where the system
// tells nothing.
int64_t CountEntries(const char* folder) {
  std::error_code error;
  int64_t count = 0;
  for (auto it = std::filesystem::directory_iterator(folder, error);
       !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    ++count;
  }
  return error ? -1 : count;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-LIFE-001", kCore, kAlways,
                     "a client is initialized and started and stopped") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer consumer = Must(t.bus().CreatePullConsumer(), "create consumer");
  RequireText(Name(producer.state()), "initialized", "a new producer");
  RequireText(Name(consumer.state()), "initialized", "a new consumer");

  RequireOk(producer.Start(), "start the producer");
  RequireOk(consumer.Start(), "start the consumer");
  RequireText(Name(producer.state()), "started", "a started producer");
  RequireText(Name(consumer.state()), "started", "a started consumer");

  producer.Stop(t.Soon());
  consumer.Stop(t.Soon());
  RequireText(Name(producer.state()), "stopped", "a stopped producer");
  RequireText(Name(consumer.state()), "stopped", "a stopped consumer");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-002", kCore, kAlways,
                     "start and stop are idempotent") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  for (int i = 0; i < 2; ++i) {
    RequireOk(producer.Start(), "start the producer");
    RequireOk(consumer.Start(), "start the consumer");
  }
  RequireOk(producer.Send(Message(queue, "x")).status(), "send");
  RequireEqual(t.TakeBodies(consumer, 1), {"x"}, "what arrives");
  for (int i = 0; i < 2; ++i) {
    RequireNumber(static_cast<int64_t>(producer.Stop(t.Soon())), 0,
                  "calls that the producer left");
    RequireNumber(static_cast<int64_t>(consumer.Stop(t.Soon())), 0,
                  "calls that the consumer left");
  }
}

OMS_CONFORMANCE_TEST("OMS-LIFE-003", kCore, kAlways,
                     "without autostart a call before start is 1602") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer({.autostart = false});
  PullConsumer consumer =
      Must(t.bus().CreatePullConsumer({.autostart = false}), "create consumer");
  const auto start = steady_clock::now();
  RequireCode(producer.Send(Message(queue, "x")), Code::kIllegalState, "send");
  RequireCode(consumer.Bind(queue), Code::kIllegalState, "bind");
  Require(Since(start) < t.late(), "it took ", Since(start).count(), " ms");
  RequireOk(producer.Start(), "start");
  RequireOk(producer.Send(Message(queue, "x")).status(), "send then");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-004", kCore, kAlways,
                     "every call after stop is 1601 at once") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "x");
  const Delivery held = t.Take(consumer);
  producer.Stop(t.Soon());
  consumer.Stop(t.Soon());

  const auto start = steady_clock::now();
  RequireCode(producer.Send(Message(queue, "x")), Code::kClosed, "send");
  RequireCode(producer.SendAsync(Message(queue, "x")).Await(), Code::kClosed,
              "send without waiting");
  RequireCode(producer.SendOneway(Message(queue, "x")), Code::kClosed,
              "send one way");
  RequireCode(producer.Flush(t.patience()), Code::kClosed, "flush");
  RequireCode(consumer.Receive(t.patience()), Code::kClosed, "receive");
  RequireCode(consumer.Bind(queue), Code::kClosed, "bind");
  RequireCode(held.Ack(), Code::kClosed, "acknowledge");
  RequireCode(producer.Start(), Code::kClosed, "start");
  Require(Since(start) < t.late(), "it took ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-005", kCore, kAlways,
                     "eight threads may stop at once") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireOk(producer.Send(Message(queue, "x")).status(), "send");
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      producer.Stop(t.Soon());
      consumer.Stop(t.Soon());
    });
  }
  for (std::thread& thread : threads) thread.join();
  RequireText(Name(producer.state()), "stopped", "the producer");
  RequireText(Name(consumer.state()), "stopped", "the consumer");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-006", kCore, kAlways,
                     "a hundred lives leave no thread and no descriptor") {
  const std::string queue = t.NewQueue();
  const auto live = [&] {
    Producer producer = t.NewProducer();
    PullConsumer consumer = t.NewConsumer(queue);
    RequireOk(producer.Send(Message(queue, "x")).status(), "send");
    (void)t.TakeBodies(consumer, 1);
  };
  live();
  const int64_t threads = CountEntries("/proc/self/task");
  const int64_t files = CountEntries("/proc/self/fd");
  for (int i = 0; i < 100; ++i) live();
  // A connection may keep a few for all of its clients.
  constexpr int64_t kKept = 10;
  const int64_t threads_now = CountEntries("/proc/self/task");
  const int64_t files_now = CountEntries("/proc/self/fd");
  Require(threads_now <= threads + kKept, "there were ", threads,
          " threads, and 100 lives later ", threads_now);
  Require(files_now <= files + kKept, "there were ", files,
          " descriptors, and 100 lives later ", files_now);
}

OMS_CONFORMANCE_TEST("OMS-LIFE-007", kCore, kAlways,
                     "stop in a callback does not deadlock") {
  const std::string queue = t.NewQueue();
  auto producer = std::make_shared<Producer>(t.NewProducer());
  Gate stopped;
  producer->SendAsync(Message(queue, "x"))
      .OnDone([&, producer](const absl::StatusOr<SendResult>&) {
        producer->Stop(t.Soon());
        stopped.Open();
      });
  Require(stopped.Wait(t.patience()), "stop in a callback of a future hangs");

  auto consumer = std::make_shared<PushConsumer>(
      Must(t.bus().CreatePushConsumer(), "create consumer"));
  Gate listened;
  RequireOk(consumer->Bind(queue,
                           [&, raw = consumer.get()](const Message&) {
                             raw->Stop(t.Soon());
                             listened.Open();
                             return Ack();
                           }),
            "bind");
  RequireOk(consumer->Start(), "start");
  Require(listened.Wait(t.patience()), "stop in a listener hangs");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-009", kCore, kAlways,
                     "stopping a client leaves its siblings working") {
  const std::string queue = t.NewQueue();
  Producer stays = t.NewProducer();
  PullConsumer listens = t.NewConsumer(queue);
  {
    Producer goes = t.NewProducer();
    PullConsumer leaves = t.NewConsumer(queue);
    RequireOk(goes.Start(), "start");
    goes.Stop(t.Soon());
    leaves.Stop(t.Soon());
  }
  RequireOk(stays.Send(Message(queue, "still")).status(), "send");
  RequireEqual(t.TakeBodies(listens, 1), {"still"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-CONS-010", kCore, kAlways,
                     "stop wakes a receive that waits") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  absl::StatusOr<std::optional<Delivery>> got = std::nullopt;
  std::thread receiver([&] { got = consumer.Receive(t.patience()); });
  std::this_thread::sleep_for(milliseconds(30));
  const auto start = steady_clock::now();
  consumer.Stop(t.Soon());
  receiver.join();
  RequireCode(got.status(), Code::kClosed, "the receive");
  Require(Since(start) < t.late(), "it took ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-PROD-028", kCore, kAlways,
                     "stop completes every future once") {
  const std::string queue = t.NewQueue();
  std::atomic<int> completed{0};
  std::vector<Future<SendResult>> futures;
  {
    Producer producer = t.NewProducer();
    for (int n = 0; n < 200; ++n) {
      futures.push_back(producer.SendAsync(Message(queue, "x")));
      futures.back().OnDone(
          [&](const absl::StatusOr<SendResult>&) { ++completed; });
    }
    producer.Stop(t.Soon());
  }
  for (const auto& future : futures) {
    Require(future.Ready(), "a future has no outcome after stop");
  }
  const auto start = steady_clock::now();
  while (completed < 200 && Since(start) < t.patience()) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  RequireNumber(completed, 200, "callbacks that ran");
}

OMS_CONFORMANCE_TEST("OMS-PROD-038", kCore, kAlways,
                     "dropping a future does not cancel the send") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  (void)producer.SendAsync(Message(queue, "dropped"));
  RequireEqual(t.TakeBodies(consumer, 1), {"dropped"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-ERR-005", kCore, kAlways,
                     "an error has a code and names its object") {
  const std::string missing = t.NewName("missing");
  Producer producer = t.NewProducer();
  const absl::Status status = producer.Send(Message(missing, "x")).status();
  RequireCode(status, Code::kQueueNotFound, "send to a missing queue");
  Require(status.code() == CanonicalCode(OmsCode(status)),
          "the absl code is not that of 1404");
  const std::string text = Text(status);
  Require(text.find(missing) != std::string::npos,
          "the text does not name the queue: ", std::string_view(text));
  Require(text.find('\n') == std::string::npos, "the text has several lines");
  Require(OutcomeOf(status) == Outcome::kNotStored,
          "a send to a missing queue is not told as not stored");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-PROD-041", kResilience, Capability::kDurable,
                             "what was sent survives a restart") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 20));
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 20),
               "what is there after the restart");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-CONS-008", kResilience, Capability::kDurable,
                             "what was settled stays settled over a restart") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.SendAll(queue, Numbers(1, 4));
    RequireEqual(t.TakeBodies(consumer, 2), Numbers(1, 2), "before");
  }
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(3, 4), "after");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-TIME-003", kResilience, Capability::kDelay,
                             "what waits survives a restart") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kDurable);
  constexpr milliseconds kDelay{400};
  Message message(queue, "later");
  message.SetDelay(kDelay);
  const auto start = steady_clock::now();
  t.Send(message);
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireText(t.Take(consumer)->body(), "later", "what was due");
  Require(Since(start) >= kDelay - milliseconds(2), "it came after ",
          Since(start).count(), " ms");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-DEDUP-003", kResilience,
                             Capability::kDeduplication,
                             "ids count over a restart") {
  const std::string queue = t.NewQueueFor(Capability::kDeduplication);
  t.Needs(queue, Capability::kDurable);
  Message message(queue, "once");
  message.SetDeduplicationId("id");
  t.Send(message);
  t.Restart();
  Require(t.Send(message).duplicate, "the id was forgotten");
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"once"}, "what arrives");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-GRP-019", kResilience, Capability::kSeek,
                             "where a group was moved to outlives a restart") {
  const std::string queue = t.NewQueue({.retention = std::chrono::hours(1)});
  t.Needs(queue, Capability::kDurable);
  {
    PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
    t.SendAll(queue, Numbers(1, 3));
    (void)t.TakeBodies(consumer, 3);
  }
  RequireOk(t.resources().SeekGroup(queue, "g", StreamPosition::Earliest()),
            "seek");
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 3),
               "what is replayed");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-SET-029", kResilience,
                             Capability::kDeadLetter,
                             "deaths and counts outlive a restart") {
  QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  options.max_deliveries = 3;
  options.redelivery_delay = milliseconds(10);
  options.max_redelivery_delay = milliseconds(10);
  const std::string queue = t.NewQueue(options);
  t.Needs(queue, Capability::kDurable);
  t.Send(queue, "poison");
  {
    PullConsumer consumer = t.NewConsumer(queue);
    for (int i = 0; i < 2; ++i) RequireOk(t.Take(consumer).Nack(), "nack");
  }
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue);
  const Delivery last = t.Take(consumer);
  RequireNumber(last->delivery_count(), 3, "the delivery count");
  RequireOk(last.Nack(), "nack");
  PullConsumer graves = t.NewConsumer(options.dead_letter_queue);
  RequireText(t.TakeWhileReceiving(graves, consumer)->body(), "poison",
              "the dead letter");
}

}  // namespace openmessaging::conformance::lifecycle_test
