// SPDX-License-Identifier: Apache-2.0
//
// What a call says became of it, what it waits for, and what is left of it
// after a pause or a restart.

#include <algorithm>
#include <set>
#include <thread>

#include "context.h"
#include "driver_client.h"
#include "openmessaging/driver/optional.h"
#include "registry.h"

namespace openmessaging::conformance::outcome_test {
namespace {

using internal::Concat;

}  // namespace

OMS_CONFORMANCE_TEST("OMS-ERR-006", kCore, kAlways,
                     "what is said not to be stored is not stored") {
  constexpr int kCount = 40;
  const std::string queue = t.NewQueue();
  const std::string missing = t.NewName("missing");
  PullConsumer consumer = t.NewConsumer(queue);
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  std::vector<Message> batch;
  for (int n = 0; n < kCount; ++n) {
    batch.emplace_back(n % 10 == 3 ? missing : queue, std::to_string(n));
  }

  // Past the library, which would send again what was not stored.
  std::set<std::string> not_stored;
  for (const auto& entry : client.Send(producer, batch)) {
    if (!entry.status.ok() &&
        OutcomeOf(entry.status) == Outcome::kNotStored) {
      not_stored.insert(std::to_string(entry.index));
    }
  }

  for (const std::string& body : t.TakeUntilSentinel(consumer, queue)) {
    Require(!not_stored.contains(body), "message ", std::string_view(body),
            " was delivered although its send said that it is not stored");
  }
}

OMS_CONFORMANCE_TEST("OMS-FUT-010", kCore, kAlways,
                     "cancelling tells the truth") {
  constexpr int kCount = 20;
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  std::vector<Future<SendResult>> sends;
  std::set<std::string> withdrawn;
  for (int n = 0; n < kCount; ++n) {
    sends.push_back(producer.SendAsync(Message(queue, std::to_string(n))));
    if (sends.back().Cancel()) withdrawn.insert(std::to_string(n));
  }
  Bodies sent;
  for (int n = 0; n < kCount; ++n) {
    const auto outcome =
        sends[static_cast<size_t>(n)].AwaitFor(t.patience());
    if (withdrawn.contains(std::to_string(n))) {
      RequireCode(outcome, Code::kCancelled, "what was withdrawn");
    } else {
      RequireOk(outcome.status(), "what was not withdrawn");
      sent.push_back(std::to_string(n));
    }
  }
  RequireEqual(Sorted(t.TakeUntilSentinel(consumer, queue)), Sorted(sent),
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DRV-007", kCore, kAlways,
                     "where no caller waits the driver does not") {
  constexpr size_t kCount = 25;
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  const Message message(queue, "x");
  const auto sent = MakeLasting<Completions>();

  auto start = steady_clock::now();
  for (size_t n = 0; n < kCount; ++n) {
    producer.Send({&message, 1}, {.deadline = t.Soon(), .caller_waits = false},
                  *sent);
  }
  milliseconds took = Since(start);
  Require(took < t.late(), kCount, " sends that nobody waits for took ",
          took.count(), " ms");

  RequireNumber(static_cast<int64_t>(sent->Wait(kCount, t.patience()).size()),
                kCount, "sends completed");
  Deliveries got;
  while (got.all.size() < kCount) {
    const size_t before = got.all.size();
    RequireOk(consumer.Receive(kCount, t.Soon(), got), "receive");
    Require(got.all.size() > before, "a message is missing");
  }
  const auto settled = MakeLasting<Completions>();
  start = steady_clock::now();
  for (const auto& [received, receipt] : got.all) {
    const driver::Settlement ack{receipt, driver::Verb::kAck};
    consumer.Settle({&ack, 1}, {.deadline = t.Soon(), .caller_waits = false},
                    *settled);
  }
  took = Since(start);
  Require(took < t.late(), kCount, " acks that nobody waits for took ",
          took.count(), " ms");
  RequireNumber(
      static_cast<int64_t>(settled->Wait(kCount, t.patience()).size()), kCount,
      "acks completed");
}

OMS_CONFORMANCE_TEST("OMS-FAIL-009", kResilience, kAlways,
                     "an idle client still works") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");
  RequireEqual(t.TakeBodies(consumer, 1), {"before"}, "before the pause");

  std::this_thread::sleep_for(2 * t.heartbeat());

  RequireOk(producer.Send(Message(queue, "after")).status(), "send");
  RequireEqual(t.TakeBodies(consumer, 1), {"after"}, "after the pause");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-FAIL-002", kResilience,
                             Capability::kSettleConfirmed,
                             "what was acknowledged stays so") {
  const std::string queue = t.NewQueue();
  t.Needs(queue, Capability::kDurable);
  t.SendAll(queue, Numbers(1, 20));
  {
    PullConsumer consumer = t.NewConsumer(queue);
    RequireEqual(t.TakeBodies(consumer, 10), Numbers(1, 10), "what is there");
  }
  t.Restart();
  PullConsumer consumer = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(11, 20),
               "what comes after the restart");
}

OMS_CONFORMANCE_TEST("OMS-DRV-021", kResilience, kAlways,
                     "a broker that is not there is told") {
  const std::string nowhere = t.UnreachableUrl();
  const auto start = steady_clock::now();
  auto bus = MessagingAccessPoint::Connect(
      nowhere, t.attributes());  // May not contact the broker yet.
  absl::Status told = bus.status();
  if (bus.ok()) {
    auto producer = bus->CreateProducer();
    told = producer.ok() ? producer->Start() : producer.status();
  }
  Require(!told.ok(), "a producer starts although nobody is there");
  Require(Text(told).size() > 10, "the error says \"",
          std::string_view(Text(told)), "\"");
  Require(Since(start) < t.patience() + t.late(), "it was told after ",
          Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-REQ-008", kQueue, Capability::kRequestReply,
                     "what killed requesters left is removed") {
  t.Needs(t.NewQueue(), Capability::kAdmin);
  t.Needs(t.NewQueue(), Capability::kExclusive);
  Requester living = Must(t.bus().CreateRequester(), "create requester");
  RequireOk(living.Start(), "start");
  const std::string left =
      Concat(kReplyQueuePrefix, std::string_view(t.NewName("dead")));
  // A name that only the library makes.
  DriverClient client(t);
  auto* const admin =
      driver::QueryInterface<driver::Admin>(client.connection());
  Require(admin != nullptr, "admin is declared and has no interface");
  RequireOk(admin->CreateQueue(left, {}, t.Soon()), "create what was left");

  const auto removed =
      Must(t.bus().RemoveAbandonedReplyQueues(), "remove what was left");

  Require(std::find(removed.begin(), removed.end(), left) != removed.end(),
          "what a killed requester left is still there");
  RequireCode(t.resources().DescribeQueue(left), Code::kQueueNotFound,
              "describe what was removed");
  Require(std::find(removed.begin(), removed.end(), living.reply_queue()) ==
              removed.end(),
          "the queue of a living requester is removed");
}

}  // namespace openmessaging::conformance::outcome_test
