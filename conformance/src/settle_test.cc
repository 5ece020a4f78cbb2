// SPDX-License-Identifier: Apache-2.0
//
// Settlement: what each verb does to a message, and what a receipt is good for.

#include <thread>

#include "context.h"
#include "openmessaging/dead_letter.h"
#include "registry.h"

namespace openmessaging::conformance::settle_test {
namespace {

using internal::Concat;

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CONS-008", kCore, kAlways,
                     "what is acknowledged does not come again") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(
        queue, {.lease = t.ShortLease(queue)});
    t.SendAll(queue, Numbers(1, 5));
    RequireEqual(t.TakeBodies(consumer, 5), Numbers(1, 5), "what arrives");
    // Longer than the lease: nothing may come back.
    Require(!Must(consumer.Receive(t.ShortLease(queue) * 2), "receive"),
            "an acknowledged message came again");
  }
  {
    PullConsumer again = t.NewConsumer(queue);
    RequireEqual(t.TakeUntilSentinel(again, queue), {},
                 "what comes to the next consumer");
  }
  const MessagingAccessPoint other = t.Connect();
  PullConsumer elsewhere = Must(other.CreatePullConsumer(), "create consumer");
  RequireOk(elsewhere.Bind(queue), "bind");
  RequireEqual(t.TakeUntilSentinel(elsewhere, queue), {},
               "what comes on another connection");
}

OMS_CONFORMANCE_TEST("OMS-SET-001", kCore, kAlways,
                     "what is unsettled comes back when its consumer ends") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.Send(queue, "unsettled");
    RequireText(t.Take(consumer)->body(), "unsettled", "the first delivery");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireText(t.Take(next)->body(), "unsettled", "the second delivery");
}

OMS_CONFORMANCE_TEST("OMS-SET-011", kCore, Capability::kLease,
                     "a lease that ends gives the message to another") {
  const std::string queue = t.NewQueue();
  const milliseconds lease = t.ShortLease(queue);
  PullConsumer holder = t.NewConsumer(queue, {.lease = lease});
  PullConsumer other = t.NewConsumer(queue);
  t.Send(queue, "leased");
  // Whoever of both gets it; the other must not before the lease has ended.
  const Delivery held = t.Take(holder);
  const auto start = steady_clock::now();

  const Delivery got = t.Take(other);

  RequireText(got->body(), "leased", "what the other got");
  Require(Since(start) > lease / 2, "it came back after ",
          Since(start).count(), " ms; the lease was ", lease.count(), " ms");
  Require(Since(start) < lease + t.late(), "it came back after ",
          Since(start).count(), " ms; the lease was ", lease.count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-SET-002", kQueue, Capability::kNack,
                     "what is given back comes again") {
  const std::string queue =
      t.NewQueue({.redelivery_delay = milliseconds(20),
                  .max_redelivery_delay = milliseconds(20)});
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "back");

  RequireOk(t.Take(consumer).Nack(), "nack");
  const Delivery again = t.Take(consumer);

  RequireText(again->body(), "back", "the second delivery");
  RequireOk(again.Ack(), "acknowledge");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes then");
}

OMS_CONFORMANCE_TEST("OMS-SET-003", kQueue, Capability::kNackDelay,
                     "a nack with a delay is obeyed") {
  constexpr milliseconds kDelay{250};
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "later");

  const Delivery first = t.Take(consumer);
  const auto start = steady_clock::now();
  RequireOk(first.Nack(kDelay), "nack");
  const Delivery again = t.Take(consumer);

  RequireText(again->body(), "later", "the second delivery");
  Require(Since(start) >= kDelay - milliseconds(5), "it came after ",
          Since(start).count(), " ms; expected not before ", kDelay.count());
  Require(Since(start) < kDelay + t.late(), "it came after ",
          Since(start).count(), " ms; expected ", kDelay.count());
  RequireCode(again.Nack(milliseconds(-1)), Code::kBadParameter,
              "a negative delay");
  RequireOk(again.Nack(milliseconds(0)), "nack at once");
  RequireText(t.Take(consumer)->body(), "later", "the third delivery");
}

OMS_CONFORMANCE_TEST("OMS-SET-012", kQueue, Capability::kExtend,
                     "an extended lease hides the message for longer") {
  const std::string queue = t.NewQueue();
  const milliseconds lease = t.ShortLease(queue);
  PullConsumer holder = t.NewConsumer(queue, {.lease = lease});
  PullConsumer other = t.NewConsumer(queue);
  t.Send(queue, "mine");
  const Delivery held = t.Take(holder);

  RequireOk(held.Extend(lease * 4), "extend");

  Require(!Must(other.Receive(lease * 2), "receive"),
          "the message came to another within its extended lease");
  RequireOk(held.Ack(), "acknowledge");
  RequireCode(held.Extend(milliseconds(0)), Code::kBadParameter,
              "extend by nothing");
}

OMS_CONFORMANCE_TEST("OMS-SET-008", kQueue, Capability::kIndividualAck,
                     "acknowledging the third leaves the first two") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.SendAll(queue, Numbers(1, 3));
    std::vector<Delivery> held;
    for (int i = 0; i < 3; ++i) held.push_back(t.Take(consumer));
    RequireOk(held[2].Ack(), "acknowledge the third");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(Sorted(t.TakeUntilSentinel(next, queue)), {"1", "2"},
               "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-009", kQueue, Capability::kCumulativeAck,
                     "a cumulative ack settles what came before") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.SendAll(queue, Numbers(1, 4));
    std::vector<Delivery> held;
    for (int i = 0; i < 4; ++i) held.push_back(t.Take(consumer));
    RequireOk(held[2].AckUpTo(), "acknowledge up to the third");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(next, queue), {"4"}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-007", kCore, kAlways,
                     "acknowledging twice succeeds") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, {"1", "2"});
  const Delivery first = t.Take(consumer);

  RequireOk(first.Ack(), "acknowledge");
  RequireOk(first.Ack(), "acknowledge again");

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"2"}, "what comes then");
}

OMS_CONFORMANCE_TEST("OMS-CONS-009", kCore, kAlways,
                     "a receipt of nothing or of nobody is 1603") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "untouched");
  const Delivery held = t.Take(consumer);

  RequireCode(consumer.Ack(Receipt()), Code::kReceiptInvalid,
              "the empty receipt");
  RequireCode(consumer.Ack(Receipt(held.receipt().source(), "garbage")),
              Code::kReceiptInvalid, "garbage of a good source");
  RequireCode(consumer.Ack(Receipt(0xdeadbeef, "garbage")),
              Code::kReceiptInvalid, "garbage");

  RequireOk(held.Ack(), "acknowledge the good one");
}

OMS_CONFORMANCE_TEST("OMS-SET-018", kQueue, Capability::kNackDelay,
                     "a receipt of an earlier delivery settles nothing") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.Send(queue, "twice");
    const Delivery first = t.Take(consumer);
    const Receipt stale = first.receipt();
    RequireOk(first.Nack(milliseconds(0)), "nack");
    const Delivery second = t.Take(consumer);

    const absl::Status late = consumer.Ack(stale);

    Require(!late.ok(), "a receipt of the first delivery settled the second");
    RequireCode(late, Code::kReceiptExpired, "a stale receipt");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireText(t.Take(next)->body(), "twice", "what was not settled");
}

OMS_CONFORMANCE_TEST("OMS-SET-019", kQueue, Capability::kSharedReceipt,
                     "another consumer of the group settles by receipt") {
  const std::string queue = t.NewQueue();
  PullConsumer receiver = t.NewConsumer(queue);
  PullConsumer settler = t.NewConsumer(queue);
  t.Send(queue, "shared");
  std::optional<Delivery> held =
      Must(receiver.Receive(t.patience()), "receive");
  Require(held.has_value(), "no message came");
  const Receipt printed =
      Must(Receipt::Parse(held->receipt().ToString()), "parse a receipt");

  RequireOk(settler.Ack(printed), "settle with a printed receipt");

  receiver.Stop(t.Soon());
  RequireEqual(t.TakeUntilSentinel(settler, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-030", kCore, kAlways,
                     "a queue without a dead-letter queue rejects nothing") {
  const std::string queue = t.NewQueue();
  // The broker may have one of its own.
  if (t.Has(queue, Capability::kReject)) Skip("the broker has one of its own");
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "kept");
  const Delivery held = t.Take(consumer);

  RequireCode(held.Reject(), Code::kUnsupported, "reject");

  RequireOk(held.Ack(), "acknowledge");
}

OMS_CONFORMANCE_TEST("OMS-CONS-015", kCore, kAlways,
                     "settling many reports on each") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, 3));
  std::vector<Delivery> held;
  for (int i = 0; i < 2; ++i) held.push_back(t.Take(consumer));
  held.emplace_back();  // A delivery of nothing.
  held.push_back(t.Take(consumer));

  const auto outcomes = consumer.Ack(held);

  RequireNumber(static_cast<int64_t>(outcomes.size()), 4, "outcomes");
  RequireOk(outcomes[0], "the first");
  RequireOk(outcomes[1], "the second");
  RequireCode(outcomes[2], Code::kReceiptInvalid, "the delivery of nothing");
  RequireOk(outcomes[3], "the last");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-021", kCore, kAlways,
                     "settling without waiting has the same outcome") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, 2));
  const Delivery first = t.Take(consumer);
  const Delivery second = t.Take(consumer);

  Future<void> elsewhere;
  std::thread other([&] { elsewhere = second.AckAsync(); });
  const auto future = first.AckAsync();
  other.join();

  RequireOk(future.AwaitFor(t.patience()), "acknowledge");
  RequireOk(elsewhere.AwaitFor(t.patience()), "acknowledge on another thread");
  RequireCode(Delivery().AckAsync().AwaitFor(t.patience()),
              Code::kReceiptInvalid, "a delivery of nothing");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-013", kQueue, Capability::kDeliveryCount,
                     "the delivery count is 1 and grows by one") {
  const std::string queue =
      t.NewQueue({.redelivery_delay = milliseconds(10),
                  .max_redelivery_delay = milliseconds(10)});
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(queue, "counted");

  for (int count = 1; count <= 4; ++count) {
    const Delivery got = t.Take(consumer);
    RequireNumber(got->delivery_count(), count, "the delivery count");
    RequireOk(t.Has(queue, Capability::kNack) ? got.Nack() : got.Ack(),
              "give back");
    if (!t.Has(queue, Capability::kNack)) return;
  }
}

OMS_CONFORMANCE_TEST("OMS-SET-006", kQueue, Capability::kReject,
                     "a rejected message moves to the dead-letter queue") {
  QueueOptions options = t.OptionsFor(Capability::kReject);
  const std::string dead = options.dead_letter_queue;
  const std::string queue = t.NewQueue(options);
  PullConsumer consumer = t.NewConsumer(queue);
  PullConsumer graves = t.NewConsumer(dead);
  t.Send(queue, "poison");

  RequireOk(t.Take(consumer).Reject(), "reject");

  RequireText(t.Take(graves)->body(), "poison", "what is in the dead letters");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-SET-025", kQueue, Capability::kDeadLetter,
                     "after its last delivery a message is a dead letter") {
  constexpr int kMost = 3;
  QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  options.max_deliveries = kMost;
  options.redelivery_delay = milliseconds(10);
  options.max_redelivery_delay = milliseconds(10);
  const std::string dead = options.dead_letter_queue;
  const std::string queue = t.NewQueue(options);
  PullConsumer consumer = t.NewConsumer(queue);
  PullConsumer graves = t.NewConsumer(dead);
  Message message(queue, "poison");
  RequireOk(message.SetProperty("mine", "kept"), "set a property");
  const SendResult sent = t.Send(message);

  for (int i = 1; i <= kMost; ++i) {
    auto got = Must(consumer.Receive(t.patience()), "receive");
    Require(got.has_value(), "delivery ", i, " of ", kMost, " did not come");
    RequireOk(got->Nack(), "nack");
  }
  const Delivery grave = t.TakeWhileReceiving(graves, consumer);

  RequireText(grave->body(), "poison", "the body");
  RequireText(grave->properties().GetOr("mine", ""), "kept", "a property");
  RequireText(grave->properties().GetOr(kDeadQueue, ""), queue, kDeadQueue);
  RequireText(grave->properties().GetOr(kDeadReason, ""), kDeadMaxDeliveries,
              kDeadReason);
  RequireNumber(grave->properties().GetOr<int32_t>(kDeadDeliveries, -1), kMost,
                kDeadDeliveries);
  RequireText(grave->origin_id().ToString(), sent.message_id.ToString(),
              "the origin id");
}

OMS_CONFORMANCE_TEST("OMS-SET-027", kQueue, Capability::kDeadLetter,
                     "a dead letter can be moved back and consumed once") {
  QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  const std::string dead = options.dead_letter_queue;
  const std::string queue = t.NewQueue(options);
  PullConsumer consumer = t.NewConsumer(queue);
  PullConsumer graves = t.NewConsumer(dead);
  t.Send(queue, "again");
  RequireOk(t.Take(consumer).Reject(), "reject");
  const Delivery grave = t.Take(graves);

  Message back(queue, grave->body());
  t.Send(back);
  RequireOk(grave.Ack(), "acknowledge the dead letter");

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"again"},
               "what comes back");
  RequireEqual(t.TakeUntilSentinel(graves, dead), {}, "dead letters left");
}

OMS_CONFORMANCE_TEST("OMS-SET-014", kQueue, Capability::kNackDelay,
                     "a message that waits does not stop others") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, {"poison", "1", "2"});

  const Delivery poison = t.Take(consumer);
  RequireText(poison->body(), "poison", "the first");
  RequireOk(poison.Nack(milliseconds(60000)), "nack for a minute");

  RequireEqual(t.TakeBodies(consumer, 2), Numbers(1, 2), "the others");
}

OMS_CONFORMANCE_TEST("OMS-CONS-029", kCore, kAlways,
                     "a message of at most once is not delivered again") {
  const std::string queue = t.NewQueue();
  {
    PullConsumer consumer = t.NewConsumer(queue);
    Message message(queue, "once");
    message.SetQos(Qos::kAtMostOnce);
    t.Send(message);
    RequireText(t.Take(consumer)->body(), "once", "the delivery");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(next, queue), {}, "what comes again");
}

}  // namespace openmessaging::conformance::settle_test
