// SPDX-License-Identifier: Apache-2.0
//
// Queues that change while they are used, and the filters that they have.

#include <string>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::queue_update_test {
namespace {

constexpr auto kAdmin = Capability::kAdmin;

// Ends the test where the broker cannot change queues at all.
void Update(const Context& t, std::string_view queue,
            const QueueUpdate& update) {
  const absl::Status updated = t.resources().UpdateQueue(queue, update);
  if (OmsCode(updated) == Code::kUnsupported) {
    Skip("the broker cannot change queues: 1600");
  }
  RequireOk(updated, "update the queue");
}

QueueOptions OptionsOf(const Context& t, std::string_view queue) {
  return Must(t.resources().DescribeQueue(queue), "describe").options;
}

Message Sized(std::string_view queue, int64_t size) {
  Message message(queue, std::to_string(size));
  RequireOk(message.SetProperty("size", size), "set a property");
  return message;
}

// A sentinel that every filter here lets through.
Bodies TakeSizes(const Context& t, PullConsumer& consumer,
                 std::string_view queue) {
  constexpr int64_t kSentinel = 1000000;
  t.Send(Sized(queue, kSentinel));
  Bodies bodies;
  while (true) {
    const Delivery got = t.Take(consumer);
    RequireOk(got.Ack(), "acknowledge");
    if (got->body() == std::to_string(kSentinel)) return bodies;
    bodies.emplace_back(got->body());
  }
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-RES-009", kAdmin, kAdmin,
                     "a change counts for what comes after it") {
  // Before it asks for more, it ends where queues cannot be changed.
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kNack);
  Update(t, queue, {.retention = milliseconds(7000)});
  Update(t, queue, {.redelivery_delay = milliseconds(10),
                    .max_redelivery_delay = milliseconds(10)});

  const QueueOptions told = OptionsOf(t, queue);
  RequireNumber(told.redelivery_delay.count(), 10, "what was changed");
  RequireNumber(told.retention.count(), 7000, "what was not named");
  // Members go by it, also those of another connection.
  const MessagingAccessPoint other = t.Connect();
  PullConsumer consumer = Must(other.CreatePullConsumer(), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  t.Send(queue, "x");
  const auto start = steady_clock::now();
  RequireOk(t.Take(consumer).Nack(), "nack");
  RequireOk(t.Take(consumer).Ack(), "acknowledge");
  Require(Since(start) < QueueOptions().redelivery_delay,
          "it came back after ", Since(start).count(),
          " ms, as before the change");
}

OMS_CONFORMANCE_TEST("OMS-RES-009", kAdmin, Capability::kDeadLetter,
                     "a queue is given a dead-letter queue later") {
  const std::string dead = t.NewQueue();
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  PullConsumer graves = t.NewConsumer(dead);
  t.Send(queue, "poison");
  const Delivery before = t.Take(consumer);
  Update(t, queue, {.max_deliveries = 1, .dead_letter_queue = dead,
                    .redelivery_delay = milliseconds(10),
                    .max_redelivery_delay = milliseconds(10)});
  RequireOk(before.Nack(), "nack");
  RequireText(t.TakeWhileReceiving(graves, consumer)->body(), "poison",
              "the dead letter");
  Update(t, queue, {.max_deliveries = 0, .dead_letter_queue = ""});
}

OMS_CONFORMANCE_RESTART_TEST("OMS-RES-009", kResilience, kAdmin,
                             "a change outlives a restart") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kDurable);
  Update(t, queue, {.retention = milliseconds(7000)});
  t.Restart();
  RequireNumber(OptionsOf(t, queue).retention.count(), 7000, "the retention");
}

OMS_CONFORMANCE_TEST("OMS-RES-010", kAdmin, kAdmin,
                     "an update that cannot be changes nothing") {
  const std::string queue = t.NewQueue();
  ResourceManager resources = t.resources();
  Update(t, queue, {.retention = milliseconds(1000)});
  const milliseconds other{5000};
  RequireCode(resources.UpdateQueue(
                  queue, {.max_deliveries = 3, .retention = other}),
              Code::kBadParameter, "a limit without a dead-letter queue");
  RequireCode(
      resources.UpdateQueue(
          queue, {.dead_letter_queue = t.NewName("missing"),
                  .retention = other}),
      Code::kQueueNotFound, "a dead-letter queue that there is not");
  RequireCode(resources.UpdateQueue(
                  queue, {.dead_letter_queue = queue, .retention = other}),
              Code::kBadParameter, "a dead-letter queue of its own");
  RequireCode(
      resources.UpdateQueue(
          queue, {.max_redelivery_delay = milliseconds(0), .retention = other}),
      Code::kBadParameter, "a longest delay that is shorter");
  RequireCode(
      resources.UpdateQueue(t.NewName("missing"), {.retention = other}),
      Code::kQueueNotFound, "a queue that there is not");
  RequireNumber(OptionsOf(t, queue).retention.count(), 1000,
                "the retention, which was valid in each");
}

OMS_CONFORMANCE_TEST("OMS-FILTER-019", kQueue, Capability::kFilter,
                     "a queue's filter counts for each group") {
  QueueOptions options;
  options.filter = "size > 10";
  const std::string queue = t.NewQueue(options);
  PullConsumer one = t.NewConsumer(queue, {.group = "one"});
  PullConsumer two = t.NewConsumer(queue, {.group = "two"});
  for (const int64_t size : {5, 20, 10, 40}) t.Send(Sized(queue, size));
  t.Send(queue, "of no size");
  RequireEqual(TakeSizes(t, one, queue), {"20", "40"}, "one group");
  // The sentinel of the other one is the second that comes.
  RequireEqual(t.TakeBodies(two, 3), {"20", "40", "1000000"}, "another group");
}

OMS_CONFORMANCE_TEST("OMS-FILTER-020", kQueue, Capability::kFilter,
                     "without its filter a queue delivers again") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.Send(Sized(queue, 1));
  const Delivery before = t.Take(consumer);
  Update(t, queue, {.filter = "size > 10"});
  t.Send(Sized(queue, 2));
  t.Send(Sized(queue, 30));
  RequireEqual(TakeSizes(t, consumer, queue), {"30"}, "with the filter");
  RequireOk(before.Ack(), "acknowledge what came before it");

  t.Send(Sized(queue, 4));
  Update(t, queue, {.filter = ""});
  t.Send(Sized(queue, 5));

  RequireEqual(TakeSizes(t, consumer, queue), {"4", "5"}, "without it");
}

}  // namespace openmessaging::conformance::queue_update_test
