// SPDX-License-Identifier: Apache-2.0
//
// Push consumers on this driver: listeners, their verdicts, and what they keep.

#include <atomic>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::push_test {
namespace {

using internal::Concat;

PushConsumer NewPush(const Context& t,
                     const PushConsumerOptions& options = {}) {
  return Must(t.bus().CreatePushConsumer(options), "create consumer");
}

QueueOptions QuickRedelivery() {
  return {.redelivery_delay = milliseconds(20),
          .max_redelivery_delay = milliseconds(20)};
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-PUSH-001", kCore, kAlways,
                     "each message reaches the listener of its queue") {
  const std::string a = t.NewQueue();
  const std::string b = t.NewQueue();
  Inbox from_a;
  Inbox from_b;
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(a,
                          [&](const Message& m) {
                            from_a.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Bind(b,
                          [&](const Message& m) {
                            from_b.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(a, {"a1", "a2"});
  t.SendAll(b, {"b1"});
  Require(from_a.WaitFor(2, t.patience()) && from_b.WaitFor(1, t.patience()),
          "not every message reached its listener");
  RequireEqual(from_a.texts(), {"a1", "a2"}, "one listener");
  RequireEqual(from_b.texts(), {"b1"}, "the other listener");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-002", kCore, kAlways,
                     "a verdict of ack settles") {
  const std::string queue = t.NewQueue();
  Inbox inbox;
  {
    PushConsumer consumer = NewPush(t);
    RequireOk(consumer.Bind(queue,
                            [&](const Message& m) {
                              inbox.Put(m.body());
                              return Ack();
                            }),
              "bind");
    RequireOk(consumer.Start(), "start");
    t.SendAll(queue, Numbers(1, 5));
    Require(inbox.WaitFor(5, t.patience()), "not all came");
    consumer.Stop(t.Soon());
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(next, queue), {}, "what comes again");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-002", kQueue, Capability::kNack,
                     "a verdict of nack gives back") {
  const std::string queue = t.NewQueue(QuickRedelivery());
  Inbox inbox;
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            inbox.Put(m.body());
                            return inbox.Count(m.body()) < 2 ? Nack() : Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, {"twice"});
  Require(inbox.WaitFor(2, t.patience()), "what was nacked did not come again");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-020", kQueue, Capability::kNack,
                     "a listener that throws gets its message again") {
  const std::string queue = t.NewQueue(QuickRedelivery());
  Inbox inbox;
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            inbox.Put(m.body());
                            if (inbox.Count("thrown") < 2 &&
                                m.body() == "thrown") {
                              throw std::string("refused");
                            }
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, {"thrown", "next"});
  Require(inbox.WaitFor(3, t.patience()), "what was thrown at did not come");
  RequireNumber(static_cast<int64_t>(inbox.Count("thrown")), 2, "calls");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-013", kCore, kAlways,
                     "a delivery that is dropped comes again") {
  const std::string queue = t.NewQueue(QuickRedelivery());
  Inbox inbox;
  PushConsumer consumer = NewPush(t, {.lease = t.ShortLease(queue)});
  RequireOk(consumer.Bind(queue,
                          [&](Delivery delivery) {
                            inbox.Put(delivery->body());
                            if (inbox.Count("dropped") >= 2) {
                              (void)delivery.Ack();
                            }
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, {"dropped"});
  Require(inbox.WaitFor(2, t.patience()), "it did not come again");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-019", kCore, kAlways,
                     "a batch listener gets up to its limit") {
  const std::string queue = t.NewQueue();
  Inbox inbox;
  std::atomic<size_t> largest{0};
  std::atomic<int> empty{0};
  PushConsumer consumer = NewPush(t, {.max_batch_messages = 7});
  RequireOk(consumer.Bind(queue,
                          [&](std::span<const Message> batch) {
                            if (batch.empty()) ++empty;
                            if (batch.size() > largest) largest = batch.size();
                            std::vector<Verdict> verdicts;
                            for (const Message& m : batch) {
                              inbox.Put(m.body());
                              verdicts.push_back(Ack());
                            }
                            return verdicts;
                          }),
            "bind");
  t.SendAll(queue, Numbers(1, 30));
  RequireOk(consumer.Start(), "start");
  Require(inbox.WaitFor(30, t.patience()), "not all came");
  RequireEqual(inbox.texts(), Numbers(1, 30), "what came");
  RequireNumber(empty, 0, "empty batches");
  Require(largest <= 7, "a batch of ", largest.load(), "; the limit is 7");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-004", kCore, kAlways,
                     "no listener is called after unbind") {
  const std::string queue = t.NewQueue();
  std::atomic<bool> unbound{false};
  std::atomic<int> late{0};
  Inbox inbox;
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            if (unbound) ++late;
                            inbox.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, Numbers(1, 100));
  Require(inbox.WaitFor(1, t.patience()), "nothing came");
  RequireOk(consumer.Unbind(queue), "unbind");
  unbound = true;
  t.Send(queue, "101");
  PullConsumer next = t.NewConsumer(queue);
  const size_t left = 101 - inbox.texts().size();
  (void)t.TakeBodies(next, left);
  RequireNumber(late, 0, "calls after unbind");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-008", kCore, kAlways,
                     "no listener call begins while suspended") {
  const std::string queue = t.NewQueue();
  Inbox inbox;
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            inbox.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.Send(queue, "1");
  Require(inbox.WaitFor(1, t.patience()), "nothing came");

  Require(consumer.Suspend(t.patience()), "suspend did not finish");
  Require(consumer.IsSuspended(), "IsSuspended says no");
  t.SendAll(queue, {"2", "3"});
  Require(!inbox.WaitFor(2, milliseconds(150)), "a listener was called");
  consumer.Resume();
  Require(!consumer.IsSuspended(), "IsSuspended says yes");

  Require(inbox.WaitFor(3, t.patience()), "something was lost");
  RequireEqual(inbox.texts(), Numbers(1, 3), "what came");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-009", kCore, kAlways,
                     "with concurrency one calls never overlap") {
  const std::string queue = t.NewQueue();
  std::atomic<int> running{0};
  std::atomic<int> overlaps{0};
  Inbox inbox;
  PushConsumer consumer = NewPush(t, {.concurrency = 1});
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            if (++running > 1) ++overlaps;
                            std::this_thread::sleep_for(milliseconds(2));
                            --running;
                            inbox.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, Numbers(1, 30));
  Require(inbox.WaitFor(30, t.patience()), "not all came");
  RequireNumber(overlaps, 0, "calls at once");
  RequireEqual(inbox.texts(), Numbers(1, 30), "the order");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-022", kCore, kAlways,
                     "with concurrency four slow listeners run at once") {
  const std::string queue = t.NewQueue();
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  Inbox inbox;
  PushConsumer consumer = NewPush(t, {.concurrency = 4});
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            const int now = ++running;
                            if (now > most) most = now;
                            std::this_thread::sleep_for(milliseconds(30));
                            --running;
                            inbox.Put(m.body());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.SendAll(queue, Numbers(1, 20));
  Require(inbox.WaitFor(20, t.patience()), "not all came");
  Require(most >= 2 && most <= 4, most.load(), " ran at once");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-010", kCore, kAlways,
                     "a listener may send and bind and unbind") {
  const std::string queue = t.NewQueue();
  const std::string other = t.NewQueue();
  const std::string third = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer pulled = t.NewConsumer(other);
  Gate done;
  std::atomic<int> failed{0};
  PushConsumer consumer = NewPush(t);
  RequireOk(consumer.Bind(
                queue,
                [&](const Message& m) {
                  if (!producer.Send(Message(other, m.body())).ok()) ++failed;
                  if (!consumer.Bind(third, [](const Message&) {
                                 return Ack();
                               }).ok()) {
                    ++failed;
                  }
                  if (!consumer.Unbind(third).ok()) ++failed;
                  done.Open();
                  return Ack();
                }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.Send(queue, "through");
  Require(done.Wait(t.patience()), "the listener did not return");
  RequireNumber(failed, 0, "calls that failed");
  RequireEqual(t.TakeBodies(pulled, 1), {"through"}, "what it sent");
}

OMS_CONFORMANCE_TEST("OMS-PUSH-011", kQueue, Capability::kSharedPartition,
                     "a blocked listener holds no more than its prefetch") {
  constexpr size_t kPrefetch = 5;
  constexpr size_t kCount = 40;
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kGroups);
  Gate gate;
  std::atomic<size_t> seen{0};
  PushConsumer blocked = NewPush(t, {.prefetch_messages = kPrefetch});
  const OpenAtEnd open(gate);
  RequireOk(blocked.Bind(queue,
                         [&](const Message&) {
                           ++seen;
                           gate.Wait(t.patience());
                           return Ack();
                         }),
            "bind");
  RequireOk(blocked.Start(), "start");
  t.SendAll(queue, Numbers(1, kCount));
  PullConsumer other = t.NewConsumer(queue);
  (void)t.TakeBodies(other, kCount - kPrefetch);
  gate.Open();
}

OMS_CONFORMANCE_TEST("OMS-PUSH-012", kQueue, Capability::kExtend,
                     "leases are extended while a listener runs") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kLease);
  const milliseconds lease = t.ShortLease(queue) * 2;
  Inbox inbox;
  Gate gate;
  PushConsumer slow = NewPush(t, {.lease = lease});
  const OpenAtEnd open(gate);
  RequireOk(slow.Bind(queue,
                      [&](const Message& m) {
                        inbox.Put(m.body());
                        gate.Wait(t.patience());
                        return Ack();
                      }),
            "bind");
  RequireOk(slow.Start(), "start");
  t.Send(queue, "held");
  Require(inbox.WaitFor(1, t.patience()), "nothing came");
  PullConsumer other = t.NewConsumer(queue);
  Require(!Must(other.Receive(lease * 2), "receive"),
          "another got what a listener holds");
}

OMS_CONFORMANCE_TEST("OMS-LIFE-010", kCore, kAlways,
                     "stop waits for listeners up to its deadline") {
  const std::string queue = t.NewQueue();
  Inbox inbox;
  Gate gate;
  PushConsumer consumer = NewPush(t);
  const OpenAtEnd open(gate);
  RequireOk(consumer.Bind(queue,
                          [&](const Message& m) {
                            inbox.Put(m.body());
                            gate.Wait(t.patience());
                            return Ack();
                          }),
            "bind");
  RequireOk(consumer.Start(), "start");
  t.Send(queue, "held");
  Require(inbox.WaitFor(1, t.patience()), "nothing came");
  const auto start = steady_clock::now();
  const size_t left = consumer.Stop(start + milliseconds(100));
  RequireNumber(static_cast<int64_t>(left), 1, "messages in listeners");
  Require(Since(start) >= milliseconds(99) &&
              Since(start) < milliseconds(100) + t.late(),
          "stop took ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-SET-015", kQueue, Capability::kPromptRelease,
                     "what was prefetched and not shown goes back at once") {
  const std::string queue = t.NewQueue();
  Inbox inbox;
  Gate gate;
  {
    PushConsumer consumer = NewPush(t, {.prefetch_messages = 10});
    const OpenAtEnd open(gate);
    RequireOk(consumer.Bind(queue,
                            [&](const Message& m) {
                              inbox.Put(m.body());
                              gate.Wait(t.patience());
                              return Ack();
                            }),
              "bind");
    t.SendAll(queue, Numbers(1, 5));
    RequireOk(consumer.Start(), "start");
    Require(inbox.WaitFor(1, t.patience()), "nothing came");
    std::thread opener([&] {
      std::this_thread::sleep_for(milliseconds(50));
      gate.Open();
    });
    consumer.Stop(t.Soon());
    opener.join();
  }
  const size_t shown = inbox.texts().size();
  PullConsumer next = t.NewConsumer(queue);
  const auto start = steady_clock::now();
  for (size_t i = shown + 1; i <= 5; ++i) {
    const Delivery got = t.Take(next);
    RequireText(got->body(), std::to_string(i), "what went back");
    if (t.Has(queue, Capability::kDeliveryCount)) {
      RequireNumber(got->delivery_count(), 1, "its delivery count");
    }
    RequireOk(got.Ack(), "acknowledge");
  }
  Require(Since(start) < t.late(), "it took ", Since(start).count(), " ms");
}

}  // namespace openmessaging::conformance::push_test
