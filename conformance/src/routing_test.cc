// SPDX-License-Identifier: Apache-2.0
//
// Routes copy what enters a queue to others.

#include <algorithm>
#include <atomic>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::routing_test {
namespace {

constexpr auto kRouting = Capability::kRouting;

// A queue must outlive the routes that end there: targets are made first.
void Lead(const Context& t, std::string_view from, std::string_view to,
          std::string_view filter = "") {
  Route route;
  route.source = from;
  route.target = to;
  route.filter = filter;
  RequireOk(t.resources().CreateRoute(route), "create a route");
}

// Returns: the routes that begin at `source`, "target if filter".
Bodies RoutesOf(const Context& t, std::string_view source) {
  Bodies all;
  for (const Route& route :
       Must(t.resources().ListRoutes(source), "list routes")) {
    all.push_back(route.filter.empty() ? route.target
                                       : route.target + " if " + route.filter);
  }
  return all;
}

Message Sized(std::string_view queue, std::string_view body, int64_t size) {
  Message message(queue, body);
  RequireOk(message.SetProperty("size", size), "set a property");
  return message;
}

// What a queue has got, and settles it.
Bodies AllIn(Context& t, std::string_view queue) {
  PullConsumer consumer = t.NewConsumer(queue);
  return t.TakeUntilSentinel(consumer, queue);
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-ROUTE-001", kQueue, kRouting,
                     "a route counts while there is one") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  const MessagingAccessPoint other = t.Connect();
  Producer producer = Must(other.CreateProducer(), "create producer");
  RequireOk(producer.Send(Message(from, "before")).status(), "send");
  RequireEqual(RoutesOf(t, from), {}, "routes before");

  Lead(t, from, to);
  // A producer that has sent there before goes by it at once.
  RequireOk(producer.Send(Message(from, "meanwhile")).status(), "send");
  RequireEqual(RoutesOf(t, from), {to}, "routes meanwhile");
  RequireOk(t.resources().DeleteRoute(from, to), "delete the route");
  RequireOk(producer.Send(Message(from, "after")).status(), "send");

  RequireEqual(RoutesOf(t, from), {}, "routes after");
  RequireEqual(AllIn(t, to), {"meanwhile"}, "what the target got");
  RequireEqual(AllIn(t, from), {"before", "meanwhile", "after"},
               "what the source got");
  RequireCode(t.resources().DeleteRoute(from, to), Code::kQueueNotFound,
              "delete it again");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-002", kQueue, kRouting,
                     "a copy is the same message in another queue") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  Lead(t, from, to);
  PullConsumer copies = t.NewConsumer(to);
  Message message = Sized(from, "copied", 7);
  message.SetMessageKey("key").SetCorrelationId("question");

  const SendResult sent = t.Send(message);

  const Delivery copy = t.Take(copies);
  RequireText(copy->body(), "copied", "the body");
  RequireText(copy->message_id().ToString(), sent.message_id.ToString(),
              "the id");
  RequireText(copy->origin_id().ToString(), sent.message_id.ToString(),
              "the origin id");
  RequireText(copy->message_key(), "key", "the key");
  RequireText(copy->correlation_id(), "question", "the correlation id");
  RequireNumber(copy->properties().GetOr<int64_t>("size", -1), 7,
                "a property");
  RequireOk(copy.Ack(), "acknowledge the copy");
  RequireEqual(AllIn(t, from), {"copied"}, "what the source still has");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-002", kTransaction,
                     Capability::kTransactionCheck,
                     "a prepared message is copied once it is committed") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  t.Needs(from, kRouting);
  Lead(t, from, to);
  PullConsumer copies = t.NewConsumer(to);
  ProducerOptions options;
  options.group = t.NewName("g");
  options.check = [](const Message&) { return TransactionState::kUnknown; };
  options.check_after = std::chrono::minutes(10);
  Producer producer = t.NewProducer(options);
  PreparedMessage kept =
      Must(producer.Prepare(Message(from, "kept")), "prepare");
  PreparedMessage gone =
      Must(producer.Prepare(Message(from, "gone")), "prepare");
  RequireEqual(t.TakeUntilSentinel(copies, to), {}, "copies before the commit");

  RequireOk(kept.Commit(), "commit");
  RequireOk(gone.Rollback(), "roll back");

  RequireEqual(t.TakeUntilSentinel(copies, to), {"kept"}, "copies");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-002", kTransaction,
                     Capability::kTransactionLocal,
                     "what a transaction sends is copied with it") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  t.Needs(from, kRouting);
  Lead(t, from, to);
  PullConsumer copies = t.NewConsumer(to);
  Producer producer = t.NewProducer();
  const auto failed = producer.Transact([&](LocalTransaction& transaction) {
    RequireOk(transaction.Send(Message(from, "gone")), "send");
    return absl::AbortedError("changed its mind");
  });
  Require(!failed.ok(), "a transaction that failed was committed");
  RequireOk(producer
                .Transact([&](LocalTransaction& transaction) {
                  return transaction.Send(Message(from, "kept"));
                })
                .status(),
            "a transaction");
  RequireEqual(t.TakeUntilSentinel(copies, to), {"kept"}, "copies");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-010", kQueue, kRouting,
                     "what a route's filter leaves out stays away") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  Lead(t, from, to, "size > 10");
  RequireEqual(RoutesOf(t, from), {to + " if size > 10"}, "routes");

  t.Send(Sized(from, "small", 5));
  t.Send(Sized(from, "large", 20));
  t.Send(from, "of no size");

  RequireEqual(AllIn(t, to), {"large"}, "what the target got");
  RequireEqual(AllIn(t, from), {"small", "large", "of no size"},
               "what the source got");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-003", kQueue, kRouting,
                     "routes go on and a queue gets one copy") {
  const std::string last = t.NewQueue();
  const std::string right = t.NewQueue();
  const std::string left = t.NewQueue();
  const std::string first = t.NewQueue();
  Lead(t, first, left);
  Lead(t, first, right);
  Lead(t, left, last);
  Lead(t, right, last);
  PullConsumer consumer = t.NewConsumer(last);
  t.Send(first, "x");
  RequireEqual(t.TakeUntilSentinel(consumer, last), {"x"},
               "what came by two ways");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-004", kQueue, kRouting,
                     "a route that cannot be is refused") {
  const std::string b = t.NewQueue();
  const std::string a = t.NewQueue();
  const std::string missing = t.NewName("missing");
  ResourceManager resources = t.resources();
  Lead(t, a, b);
  RequireCode(resources.CreateRoute({a, a, ""}), Code::kBadParameter,
              "a route to its own source");
  RequireCode(resources.CreateRoute({b, a, ""}), Code::kBadParameter, "a ring");
  RequireCode(resources.CreateRoute({b, t.NewQueue(), "size >"}),
              Code::kBadParameter, "a filter that is none");
  RequireCode(resources.CreateRoute({b, missing, ""}), Code::kQueueNotFound,
              "a route to nowhere");
  RequireCode(resources.CreateRoute({missing, b, ""}), Code::kQueueNotFound,
              "a route from nowhere");
  RequireEqual(RoutesOf(t, a), {b}, "the routes left");
  RequireEqual(RoutesOf(t, b), {}, "the routes left");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-005", kAdmin, kRouting,
                     "a queue where a route ends is not deleted") {
  const std::string from = t.NewName("source");
  const std::string to = t.NewQueue();
  ResourceManager resources = t.resources();
  RequireOk(resources.CreateQueue(from), "create");
  Lead(t, from, to);
  RequireCode(resources.DeleteQueue(to), Code::kIllegalState,
              "delete the target");
  RequireOk(resources.DeleteQueue(from), "delete the source");
  RequireOk(resources.CreateQueue(from), "create it again");
  t.Send(from, "of the new one");
  const Bodies routes = RoutesOf(t, from);
  RequireOk(resources.DeleteQueue(from), "delete it again");
  RequireEqual(routes, {}, "routes of the new source");
  RequireEqual(AllIn(t, to), {}, "what the target got");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-006", kQueue, Capability::kDelay,
                     "a delayed message is routed when it is due") {
  constexpr milliseconds kDelay{150};
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  t.Needs(from, kRouting);
  Lead(t, from, to);
  PullConsumer copies = t.NewConsumer(to);
  Message message(from, "late");
  message.SetDelay(kDelay);
  const auto start = steady_clock::now();
  t.Send(message);
  t.Send(from, "at once");

  RequireEqual(t.TakeBodies(copies, 2), {"at once", "late"}, "copies");

  Require(Since(start) >= kDelay, "the copy came after ", Since(start).count(),
          " ms");
}

OMS_CONFORMANCE_TEST("OMS-ROUTE-007", kQueue, Capability::kDeduplication,
                     "a duplicate is judged where it was sent") {
  QueueOptions window = t.OptionsFor(Capability::kDeduplication);
  const std::string to = t.NewQueue(window);
  const std::string from = t.NewQueue(window);
  t.Needs(from, kRouting);
  Lead(t, from, to);
  Message message(from, "x");
  message.SetDeduplicationId("one");
  Require(!t.Send(message).duplicate, "the first one is called a duplicate");
  Require(t.Send(message).duplicate, "the second one is no duplicate");
  // The copy does not count as one that was sent to the target.
  message.SetDestination(to);
  Require(!t.Send(message).duplicate,
          "the copy's id counts as sent to the target");
  // The source's sentinel would be copied.
  RequireEqual(AllIn(t, to), {"x", "x"}, "what the target got");
  RequireEqual(AllIn(t, from), {"x"}, "what the source got");
}

OMS_CONFORMANCE_RESTART_TEST("OMS-ROUTE-008", kResilience, kRouting,
                             "routes and copies outlive a restart") {
  const std::string to = t.NewQueue();
  const std::string from = t.NewQueue();
  t.Needs(from, Capability::kDurable);
  Lead(t, from, to, "size > 10");
  t.Send(Sized(from, "before", 20));
  t.Restart();
  RequireEqual(RoutesOf(t, from), {to + " if size > 10"}, "routes");
  t.Send(Sized(from, "small", 5));
  t.Send(Sized(from, "after", 20));
  RequireEqual(AllIn(t, to), {"before", "after"}, "what the target got");
}

// What a broker's death makes of it is for its own tests; here targets come and
// go under many senders.
OMS_CONFORMANCE_TEST("OMS-ROUTE-009", kQueue, kRouting,
                     "a message has all of its copies or none") {
  constexpr int kSenders = 4;
  constexpr int kEach = 40;
  const std::string right = t.NewQueue();
  const std::string left = t.NewQueue();
  const std::string from = t.NewQueue();
  Lead(t, from, left);
  Lead(t, from, right);
  std::atomic<int> failed{0};
  std::vector<std::thread> senders;
  for (int sender = 0; sender < kSenders; ++sender) {
    senders.emplace_back([&, sender] {
      auto producer = t.bus().CreateProducer();
      for (int n = 0; n < kEach; ++n) {
        const Message message(from, std::to_string(sender * kEach + n));
        if (!producer.ok() || !producer->Send(message).ok()) ++failed;
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  RequireNumber(failed, 0, "sends that failed");
  const Bodies all = Sorted(Numbers(0, kSenders * kEach - 1));
  RequireEqual(Sorted(AllIn(t, left)), all, "what one target got");
  RequireEqual(Sorted(AllIn(t, right)), all, "what the other target got");
}

}  // namespace openmessaging::conformance::routing_test
