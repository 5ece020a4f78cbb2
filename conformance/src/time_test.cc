// SPDX-License-Identifier: Apache-2.0
//
// Delay, expiry, priority and deduplication.

#include <atomic>
#include <thread>

#include "context.h"
#include "openmessaging/dead_letter.h"
#include "registry.h"

namespace openmessaging::conformance::time_test {
namespace {

using internal::Concat;

Message Delayed(std::string_view queue, std::string_view body,
                milliseconds delay) {
  Message message(queue, body);
  message.SetDelay(delay);
  return message;
}

Message Expiring(std::string_view queue, std::string_view body,
                 milliseconds at) {
  Message message(queue, body);
  message.SetExpireAt(at);
  return message;
}

Message WithPriority(std::string_view queue, std::string_view body,
                     int priority) {
  Message message(queue, body);
  message.SetPriority(priority);
  return message;
}

Message WithId(std::string_view queue, std::string_view body,
               std::string_view id) {
  Message message(queue, body);
  message.SetDeduplicationId(id);
  return message;
}

// Waits until the broker's clock is behind `time` for sure.
void WaitUntil(const Context& t, milliseconds time) {
  while (WallNow() <= time) std::this_thread::sleep_for(milliseconds(5));
  (void)t;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-TIME-001", kQueue, Capability::kDelay,
                     "a delayed message does not come early") {
  constexpr milliseconds kDelay{300};
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);

  const auto start = steady_clock::now();
  t.Send(Delayed(queue, "later", kDelay));
  const auto sent = steady_clock::now();
  const Delivery got = t.Take(consumer);

  RequireText(got->body(), "later", "the message");
  Require(Since(start) >= kDelay - milliseconds(2), "it came after ",
          Since(start).count(), " ms; expected not before ", kDelay.count());
  Require(Since(sent) < kDelay + t.late(), "it came after ",
          Since(sent).count(), " ms; expected ", kDelay.count());
}

OMS_CONFORMANCE_TEST("OMS-TIME-008", kQueue, Capability::kDelay,
                     "a delayed message comes when it is due") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  for (const milliseconds delay : {milliseconds(1), milliseconds(120)}) {
    const auto start = steady_clock::now();
    t.Send(Delayed(queue, "due", delay));
    (void)t.TakeBodies(consumer, 1);
    Require(Since(start) < delay + t.late(), "it came after ",
            Since(start).count(), " ms; expected ", delay.count());
  }
}

OMS_CONFORMANCE_TEST("OMS-TIME-002", kQueue, Capability::kDelay,
                     "a delay holds nothing back and due order counts") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);

  t.Send(Delayed(queue, "third", milliseconds(450)));
  t.Send(Delayed(queue, "second", milliseconds(250)));
  t.Send(queue, "first");

  RequireEqual(t.TakeBodies(consumer, 3), {"first", "second", "third"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TIME-004", kQueue, Capability::kDelay,
                     "a delay too long or negative is refused") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();

  RequireCode(producer.Send(Delayed(queue, "x", milliseconds(-1))),
              Code::kBadParameter, "a negative delay");
  const auto most = t.CapabilitiesOf(queue).limits().max_delay;
  if (most && *most < milliseconds::max()) {
    RequireCode(producer.Send(Delayed(queue, "x", *most + milliseconds(1))),
                Code::kBadParameter, "a delay over the limit");
  }
  t.Send(Delayed(queue, "now", milliseconds(0)));

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"now"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TIME-005", kQueue, Capability::kDelayCancel,
                     "a cancelled message is never delivered") {
  constexpr milliseconds kDelay{300};
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const SendResult cancelled = t.Send(Delayed(queue, "cancelled", kDelay));
  t.Send(Delayed(queue, "kept", kDelay));

  RequireOk(producer.CancelDelayed(queue, cancelled.message_id), "cancel");

  RequireEqual(t.TakeBodies(consumer, 1), {"kept"}, "what is due");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes then");
}

OMS_CONFORMANCE_TEST("OMS-TIME-009", kQueue, Capability::kDelayCancel,
                     "what is delivered or was never there is not cancelled") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const SendResult due = t.Send(Delayed(queue, "due", milliseconds(20)));
  (void)t.TakeBodies(consumer, 1);

  RequireCode(producer.CancelDelayed(queue, due.message_id),
              Code::kIllegalState, "cancel what was delivered");
  RequireCode(producer.CancelDelayed(queue, *MessageId::FromText("nothing")),
              Code::kQueueNotFound, "cancel what never was");
}

OMS_CONFORMANCE_TEST("OMS-TIME-006", kQueue, Capability::kExpiry,
                     "an expired message is never delivered") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const milliseconds end = WallNow() + milliseconds(150);
  t.Send(Expiring(queue, "stays", WallNow() + std::chrono::hours(1)));
  t.Send(Expiring(queue, "expires", end));
  t.Send(queue, "plain");

  WaitUntil(t, end + t.clock() / 10);

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"stays", "plain"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-TIME-007", kQueue, Capability::kExpiry,
                     "what expires while it is delayed is not delivered") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kDelay);
  PullConsumer consumer = t.NewConsumer(queue);
  Message never = Delayed(queue, "never", milliseconds(300));
  never.SetExpireAt(WallNow() + milliseconds(100));
  t.Send(never);
  t.Send(Delayed(queue, "due", milliseconds(350)));

  RequireEqual(t.TakeBodies(consumer, 1), {"due"}, "what is due");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what comes then");
}

OMS_CONFORMANCE_TEST("OMS-TIME-010", kQueue, Capability::kExpiry,
                     "an expired message moves to the dead letters once") {
  const QueueOptions options = t.OptionsFor(Capability::kDeadLetter);
  const std::string first = t.NewName();
  if (OmsCode(t.resources().CreateQueue(first, options)) ==
      Code::kUnsupported) {
    Skip("a queue with dead letters cannot be made: 1600");
  }
  (void)t.resources().DeleteQueue(first);
  const std::string queue = t.NewQueue(options);
  t.Needs(queue, Capability::kDeadLetter);
  PullConsumer consumer = t.NewConsumer(queue);
  PullConsumer graves = t.NewConsumer(options.dead_letter_queue);
  const milliseconds end = WallNow() + milliseconds(100);
  t.Send(Expiring(queue, "expires", end));
  WaitUntil(t, end + t.clock() / 10);

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
  const Delivery grave = t.Take(graves);
  RequireText(grave->body(), "expires", "the dead letter");
  RequireText(grave->properties().GetOr(kDeadReason, ""), kDeadExpired,
              kDeadReason);
  RequireOk(grave.Ack(), "acknowledge");
  RequireEqual(t.TakeUntilSentinel(graves, options.dead_letter_queue), {},
               "other dead letters");
}

OMS_CONFORMANCE_TEST("OMS-PRIO-001", kQueue, Capability::kPriority,
                     "a backlog comes by priority and then in order") {
  const std::string queue = t.NewQueueFor(Capability::kPriority);
  PullConsumer consumer = t.NewConsumer(queue);
  for (const char* const round : {"a", "b"}) {
    for (const int priority : {1, 10, 5}) {
      t.Send(WithPriority(queue, Concat(priority, std::string_view(round)),
                          priority));
    }
  }
  RequireEqual(t.TakeBodies(consumer, 6),
               {"10a", "10b", "5a", "5b", "1a", "1b"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PRIO-002", kQueue, Capability::kPriority,
                     "what is not set or not a priority counts as 5") {
  const std::string queue = t.NewQueueFor(Capability::kPriority);
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(WithPriority(queue, "4", 4));
  t.Send(WithPriority(queue, "over", 11));
  t.Send(queue, "unset");
  t.Send(WithPriority(queue, "five", 5));
  t.Send(WithPriority(queue, "zero", 0));
  t.Send(WithPriority(queue, "6", 6));

  RequireEqual(t.TakeBodies(consumer, 6),
               {"6", "over", "unset", "five", "zero", "4"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PRIO-003", kQueue, Capability::kPriority,
                     "as many priorities as declared are told apart") {
  const std::string queue = t.NewQueueFor(Capability::kPriority);
  const int levels =
      t.CapabilitiesOf(queue).limits().priority_levels.value_or(2);
  Require(levels >= 2 && levels <= 10, levels, " levels are declared");
  PullConsumer consumer = t.NewConsumer(queue);
  Bodies expected;
  for (int i = 0; i < levels; ++i) {
    const int priority = 1 + i * 9 / (levels - 1);
    t.Send(WithPriority(queue, std::to_string(priority), priority));
    expected.insert(expected.begin(), std::to_string(priority));
  }
  RequireEqual(t.TakeBodies(consumer, expected.size()), expected,
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DEDUP-001", kQueue, Capability::kDeduplication,
                     "an id within the window is stored once") {
  const std::string queue = t.NewQueueFor(Capability::kDeduplication);
  PullConsumer consumer = t.NewConsumer(queue);

  const SendResult first = t.Send(WithId(queue, "first", "id"));
  const SendResult again = t.Send(WithId(queue, "again", "id"));
  const SendResult other = t.Send(WithId(queue, "other", "id2"));

  Require(!first.duplicate && again.duplicate && !other.duplicate,
          "duplicate is told as ", int{first.duplicate}, int{again.duplicate},
          int{other.duplicate}, "; expected 010");
  RequireText(again.message_id.ToString(), first.message_id.ToString(),
              "the id of the duplicate");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"first", "other"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DEDUP-002", kQueue, Capability::kDeduplication,
                     "an id behind the window is stored again") {
  constexpr milliseconds kWindow{150};
  QueueOptions options = t.OptionsFor(Capability::kDeduplication);
  options.deduplication_window = kWindow;
  const std::string queue = t.NewQueue(options);
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(WithId(queue, "first", "id"));
  const milliseconds end = WallNow() + kWindow + t.clock() / 10;
  WaitUntil(t, end);
  Require(!t.Send(WithId(queue, "second", "id")).duplicate,
          "an id counts behind its window");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"first", "second"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DEDUP-004", kQueue, Capability::kDeduplication,
                     "of many that send an id at once one is stored") {
  const std::string queue = t.NewQueueFor(Capability::kDeduplication);
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  std::atomic<int> stored{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto sent = producer.Send(WithId(queue, "x", "same"));
      if (!sent.ok()) ++failed;
      if (sent.ok() && !sent->duplicate) ++stored;
    });
  }
  for (std::thread& thread : threads) thread.join();
  RequireNumber(failed, 0, "sends that failed");
  RequireNumber(stored, 1, "sends that stored it");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"x"}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DEDUP-005", kQueue, Capability::kDeduplication,
                     "ids are those of one queue") {
  const std::string a = t.NewQueueFor(Capability::kDeduplication);
  const std::string b = t.NewQueueFor(Capability::kDeduplication);
  Require(!t.Send(WithId(a, "x", "id")).duplicate &&
              !t.Send(WithId(b, "x", "id")).duplicate,
          "an id of one queue counts in another");
}

}  // namespace openmessaging::conformance::time_test
