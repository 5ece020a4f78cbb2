// SPDX-License-Identifier: Apache-2.0
//
// Settlement, continued: back-off, dead letters in full, and order by key.

#include <thread>

#include "context.h"
#include "openmessaging/dead_letter.h"
#include "registry.h"

namespace openmessaging::conformance::more_settle_test {
namespace {

using internal::Concat;

QueueOptions Quick() {
  return {.redelivery_delay = milliseconds(10),
          .max_redelivery_delay = milliseconds(10)};
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CONS-001", kCore, kAlways,
                     "binding twice causes no second delivery") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireOk(consumer.Bind(queue), "bind again");
  t.SendAll(queue, Numbers(1, 5));
  RequireEqual(consumer.bound_queues(), {queue}, "the queues that are bound");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, 5),
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-CONS-002", kCore, kAlways,
                     "a message arrives as it was sent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "42 apples");
  message.SetMessageKey("key").SetCorrelationId("c");
  RequireOk(message.SetProperty("kind", "fruit"), "set a property");
  const SendResult sent = t.Send(message);
  const Delivery got = t.Take(consumer);
  RequireText(got->body(), "42 apples", "the body");
  RequireText(got->message_key(), "key", "the key");
  RequireText(got->properties().GetOr("kind", ""), "fruit", "a property");
  RequireText(got->message_id().ToString(), sent.message_id.ToString(),
              "the id");
}

OMS_CONFORMANCE_TEST("OMS-CONS-035", kCore, kAlways,
                     "a delivery has a receipt and its destination") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, 3));
  for (int i = 0; i < 3; ++i) {
    const Delivery got = t.Take(consumer);
    Require(!got.receipt().empty(), "the receipt is empty");
    RequireText(got->destination(), queue, "the destination");
    RequireOk(got.Ack(), "acknowledge");
  }
}

OMS_CONFORMANCE_TEST("OMS-SET-004", kQueue, Capability::kNackDelay,
                     "a nack with a delay of zero comes back at once") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "now");
  const Delivery first = t.Take(consumer);
  const auto start = steady_clock::now();
  RequireOk(first.Nack(milliseconds(0)), "nack");
  RequireText(t.Take(consumer)->body(), "now", "what comes back");
  Require(Since(start) < t.late(), "it came after ", Since(start).count(),
          " ms");
}

OMS_CONFORMANCE_TEST("OMS-SET-005", kQueue, Capability::kReject,
                     "a rejected message is not delivered again") {
  const std::string queue = t.NewQueueFor(Capability::kReject);
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.SendAll(queue, {"bad", "good"});
    RequireOk(t.Take(consumer).Reject(), "reject");
    RequireEqual(t.TakeUntilSentinel(consumer, queue), {"good"},
                 "what comes then");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(next, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-010", kQueue, Capability::kCumulativeAck,
                     "a cumulative ack leaves later ones and other members") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kSharedPartition);
  {
    PullConsumer a = t.NewConsumer(queue);
    PullConsumer b = t.NewConsumer(queue);
    t.SendAll(queue, Numbers(1, 4));
    const Delivery of_b = t.Take(b);
    std::vector<Delivery> of_a;
    for (int i = 0; i < 3; ++i) of_a.push_back(t.Take(a));
    RequireText(of_b->body(), "1", "what the other has");
    RequireOk(of_a[1].AckUpTo(), "acknowledge up to the third");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(Sorted(t.TakeUntilSentinel(next, queue)), {"1", "4"},
               "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-017", kQueue, Capability::kNack,
                     "a plain nack waits as long as its queue says") {
  constexpr milliseconds kDelay{120};
  const std::string queue =
      t.NewQueue({.redelivery_delay = kDelay,
                  .max_redelivery_delay = kDelay * 2});
  if (t.Has(queue, Capability::kAdmin)) {
    const QueueInfo info = Must(t.resources().DescribeQueue(queue), "describe");
    if (info.options.redelivery_delay != kDelay) return;  // It cannot.
  }
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "back");
  std::optional<Delivery> got = t.Take(consumer);
  for (const milliseconds expected : {kDelay, kDelay * 2, kDelay * 2}) {
    const auto start = steady_clock::now();
    RequireOk(got->Nack(), "nack");
    got = Must(consumer.Receive(t.patience()), "receive");
    Require(got.has_value(), "it did not come back");
    Require(Since(start) >= expected - milliseconds(5) &&
                Since(start) < expected + t.late(),
            "it came back after ", Since(start).count(), " ms; expected ",
            expected.count());
  }
}

OMS_CONFORMANCE_TEST("OMS-SET-022", kQueue, Capability::kNackDelay,
                     "a settlement that is refused is told in each way") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "x");
  const Delivery first = t.Take(consumer);
  const Receipt stale = first.receipt();
  RequireOk(first.Nack(milliseconds(0)), "nack");
  const Delivery second = t.Take(consumer);
  Require(!consumer.Ack(stale).ok(), "the status of a refused ack is OK");
  Require(!consumer.AckAsync(stale).AwaitFor(t.patience()).ok(),
          "the future of a refused ack is OK");
  RequireOk(second.Ack(), "acknowledge");
}

OMS_CONFORMANCE_TEST("OMS-SET-026", kQueue, Capability::kDeadLetter,
                     "a dead letter is what it was and says why") {
  const QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  const std::string queue = t.NewQueue(options);
  PullConsumer consumer = t.NewConsumer(queue, {.group = "g"});
  PullConsumer graves = t.NewConsumer(options.dead_letter_queue);
  Message message(queue, "dead");
  message.SetMessageKey("key").SetCorrelationId("c");
  RequireOk(message.SetProperty("mine", 7), "set a property");
  const SendResult sent = t.Send(message);
  RequireOk(t.Take(consumer).Reject(), "reject");

  const Delivery grave = t.Take(graves);

  RequireText(grave->body(), "dead", "the body");
  RequireText(grave->message_key(), "key", "the key");
  RequireText(grave->correlation_id(), "c", "the correlation id");
  RequireNumber(grave->properties().GetOr<int32_t>("mine", 0), 7, "a property");
  RequireText(grave->origin_id().ToString(), sent.message_id.ToString(),
              "the origin id");
  RequireText(grave->properties().GetOr(kDeadQueue, ""), queue, kDeadQueue);
  RequireText(grave->properties().GetOr(kDeadGroup, ""), "g", kDeadGroup);
  RequireText(grave->properties().GetOr(kDeadReason, ""), kDeadRejected,
              kDeadReason);
  RequireNumber(grave->properties().GetOr<int32_t>(kDeadDeliveries, -1), 1,
                kDeadDeliveries);
  RequireNumber(grave->properties().GetOr<int64_t>(kDeadOffset, -1),
                sent.offset,
                Concat(kDeadOffset, " beside the offset that the send told"));
}

OMS_CONFORMANCE_TEST("OMS-SET-028", kQueue, Capability::kDeadLetter,
                     "where a message dies for one group others still get it") {
  const std::string queue = t.NewQueueFor(Capability::kDeadLetter);
  PullConsumer kills = t.NewConsumer(queue, {.group = "kills"});
  PullConsumer lives = t.NewConsumer(queue, {.group = "lives"});
  t.Send(queue, "x");
  RequireOk(t.Take(kills).Reject(), "reject");
  RequireText(t.TakeBodies(lives, 1)[0], "x", "the other group");
}

OMS_CONFORMANCE_TEST("OMS-SET-010", kQueue, Capability::kCumulativeAck,
                     "a cumulative ack leaves later ones and other sources") {
  t.Needs(t.NewQueue(), Capability::kExplicitPartition);
  const std::string queue = t.NewQueue({.partitions = 2});
  const auto send = [&](int32_t partition, const std::string& body) {
    t.Send(Message(queue, body).SetPartition(partition));
  };
  {
    PullConsumer consumer = t.NewConsumer(queue);
    send(1, "other");
    const Delivery other = t.Take(consumer);
    for (const std::string& body : Numbers(1, 3)) send(0, body);
    std::vector<Delivery> held;
    for (int i = 0; i < 3; ++i) held.push_back(t.Take(consumer));
    RequireText(held[1]->body(), "2", "the second of the first partition");
    RequireOk(held[1].AckUpTo(), "acknowledge up to the second");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(Sorted(t.TakeBodies(next, 2)), {"3", "other"},
               "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-031", kQueue, Capability::kNack,
                     "a redelivery is told by its count") {
  const std::string queue = t.NewQueue(Quick());
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "x");
  const Delivery first = t.Take(consumer);
  RequireNumber(first->delivery_count(), 1, "the count of a first delivery");
  RequireOk(first.Nack(), "nack");
  const Delivery again = t.Take(consumer);
  Require(again->delivery_count() > 1, "the count of a redelivery is ",
          again->delivery_count());
  RequireOk(again.Ack(), "acknowledge");
}

OMS_CONFORMANCE_TEST("OMS-SET-030", kCore, kAlways,
                     "without a dead-letter queue nothing is dropped") {
  const std::string queue = t.NewQueue(Quick());
  t.Needs(queue, Capability::kNack);
  if (t.Has(queue, Capability::kDeadLetter)) {
    Skip("the broker has one of its own");
  }
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "kept");
  for (int i = 0; i < 12; ++i) RequireOk(t.Take(consumer).Nack(), "nack");
  RequireText(t.Take(consumer)->body(), "kept", "the thirteenth delivery");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-003", kQueue, Capability::kKeyOrder,
                     "a dead letter sets its key free") {
  const std::string queue = t.NewQueueFor(Capability::kReject);
  PullConsumer consumer = t.NewConsumer(queue, {.ordered = true});
  Producer producer = t.NewProducer();
  for (const std::string& body : Numbers(1, 3)) {
    Message message(queue, body);
    message.SetMessageKey("key");
    RequireOk(producer.Send(message).status(), "send");
  }
  const Delivery first = t.Take(consumer);
  if (t.Has(queue, Capability::kReject)) {
    RequireOk(first.Reject(), "reject");
  } else {
    RequireOk(first.Ack(), "acknowledge");
  }
  RequireEqual(t.TakeBodies(consumer, 2), Numbers(2, 3), "what its key has");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-005", kQueue, Capability::kKeyOrder,
                     "one busy key does not stop the others") {
  const std::string queue = t.NewQueue();
  PullConsumer holder = t.NewConsumer(queue, {.ordered = true});
  PullConsumer other = t.NewConsumer(queue, {.ordered = true});
  Producer producer = t.NewProducer();
  std::vector<Message> batch;
  for (int n = 0; n < 60; ++n) {
    batch.emplace_back(queue, Concat(n % 6 == 5 ? "free" : "busy", n));
    batch.back().SetMessageKey(n % 6 == 5 ? "free" : "busy");
  }
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send");
  }

  const Delivery held = t.Take(holder);
  RequireText(held->message_key(), "busy", "the first key");
  for (int i = 0; i < 10; ++i) {
    const Delivery got = t.Take(other);
    RequireText(got->message_key(), "free", "what goes on");
    RequireOk(got.Ack(), "acknowledge");
  }
}

OMS_CONFORMANCE_TEST("OMS-GRP-018", kQueue, Capability::kStartEarliest,
                     "what every group settled is kept for its retention") {
  const std::string queue = t.NewQueue({.retention = std::chrono::hours(1)});
  t.Needs(queue, Capability::kAdmin);
  PullConsumer first = t.NewConsumer(queue, {.group = "first"});
  t.SendAll(queue, Numbers(1, 3));
  RequireEqual(t.TakeBodies(first, 3), Numbers(1, 3), "the first group");
  PullConsumer later = t.NewConsumer(queue, {.group = "later"});
  RequireEqual(t.TakeBodies(later, 3), Numbers(1, 3),
               "a group that comes later");
}

}  // namespace openmessaging::conformance::more_settle_test
