// SPDX-License-Identifier: Apache-2.0
//
// What every driver owes a sender: ids, exact results, batches, limits, and
// that a refused send changes nothing.

#include <atomic>
#include <set>
#include <span>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::producer_test {
namespace {

using internal::Concat;

std::vector<Message> Batch(std::string_view queue, const Bodies& bodies) {
  std::vector<Message> batch;
  for (const std::string& body : bodies) batch.emplace_back(queue, body);
  return batch;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-PROD-001", kCore, kAlways,
                     "each send returns an id of its own") {
  constexpr int kSenders = 4;
  constexpr int kEach = 250;
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  std::mutex mutex;
  std::set<std::string> ids;
  int empty = 0;
  absl::Status failed;

  std::vector<std::thread> senders;
  for (int i = 0; i < kSenders; ++i) {
    senders.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        const auto sent = producer.Send(Message(queue, "x"));
        const std::lock_guard<std::mutex> lock(mutex);
        if (!sent.ok()) {
          failed.Update(sent.status());
        } else {
          if (sent->message_id.empty()) ++empty;
          ids.insert(sent->message_id.ToString());
        }
      }
    });
  }
  for (std::thread& sender : senders) sender.join();

  RequireOk(failed, "send");
  RequireNumber(empty, 0, "sends that returned an empty id");
  RequireNumber(static_cast<int64_t>(ids.size()), kSenders * kEach,
                "distinct message ids");
}

OMS_CONFORMANCE_TEST("OMS-PROD-036", kCore, kAlways,
                     "the receiver sees the id that send returned") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);

  const SendResult sent = t.Send(queue, "first");
  const Delivery got = t.Take(consumer);
  RequireText(got->message_id().ToString(), sent.message_id.ToString(),
              "the id at the receiver");

  // What is sent on is another message.
  const SendResult again = t.Send(*got);
  Require(again.message_id != sent.message_id,
          "a message that is sent on has its old id: ",
          std::string_view(again.message_id.ToString()));
  RequireOk(got.Ack(), "acknowledge");
  const Delivery second = t.Take(consumer);
  RequireText(second->message_id().ToString(), again.message_id.ToString(),
              "the id of what was sent on");
}

OMS_CONFORMANCE_TEST("OMS-PROD-044", kCore, kAlways,
                     "a message without a destination is refused") {
  Producer producer = t.NewProducer();
  RequireCode(producer.Send(Message("", "x")), Code::kBadParameter,
              "send to nowhere");
  RequireCode(producer.Send(Message("not a name", "x")), Code::kBadParameter,
              "send to a bad name");
}

OMS_CONFORMANCE_TEST("OMS-PROD-032", kCore, kAlways,
                     "a send to a missing queue is 1404") {
  Producer producer = t.NewProducer();
  const std::string missing = t.NewName("missing");
  RequireCode(producer.Send(Message(missing, "x")), Code::kQueueNotFound,
              "send to a missing queue");
}

OMS_CONFORMANCE_TEST("OMS-PROD-003", kCore, kAlways,
                     "a batch has a result for each message in its order") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const Bodies bodies = Numbers(1, 20);

  const auto results = producer.Send(Batch(queue, bodies));

  RequireNumber(static_cast<int64_t>(results.size()), 20, "results");
  std::map<std::string, std::string> ids;
  for (size_t i = 0; i < results.size(); ++i) {
    RequireOk(results[i].status(), Concat("message ", i + 1));
    ids[bodies[i]] = results[i]->message_id.ToString();
  }
  for (size_t i = 0; i < bodies.size(); ++i) {
    const Delivery got = t.Take(consumer);
    RequireText(got->message_id().ToString(), ids[std::string(got->body())],
                Concat("the id of message ", got->body()));
    RequireOk(got.Ack(), "acknowledge");
    ids.erase(std::string(got->body()));
  }
  RequireNumber(static_cast<int64_t>(ids.size()), 0, "messages lost");
}

OMS_CONFORMANCE_TEST("OMS-PROD-046", kCore, kAlways,
                     "what is wrong in a batch fails alone") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  std::vector<Message> batch = Batch(queue, Numbers(1, 3));
  batch[1].SetDestination(t.NewName("missing"));

  const auto results = producer.Send(batch);

  RequireNumber(static_cast<int64_t>(results.size()), 3, "results");
  RequireOk(results[0].status(), "the first");
  RequireCode(results[1], Code::kQueueNotFound, "the second");
  RequireOk(results[2].status(), "the third");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"1", "3"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-004", kCore, kAlways,
                     "a batch delivers each message to its own queue") {
  const std::string a = t.NewQueue();
  const std::string b = t.NewQueue();
  PullConsumer from_a = t.NewConsumer(a);
  PullConsumer from_b = t.NewConsumer(b);
  Producer producer = t.NewProducer();
  const std::vector<Message> batch = {Message(a, "1"), Message(b, "2"),
                                      Message(a, "3"), Message(b, "4")};

  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send");
  }
  const auto none = producer.Send(std::span<const Message>());

  RequireNumber(static_cast<int64_t>(none.size()), 0,
                "results of an empty batch");
  RequireEqual(t.TakeUntilSentinel(from_a, a), {"1", "3"}, "the first queue");
  RequireEqual(t.TakeUntilSentinel(from_b, b), {"2", "4"}, "the second queue");
}

OMS_CONFORMANCE_TEST("OMS-CAP-005", kCore, kAlways,
                     "a body of the limit arrives and one byte more is 1413") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const size_t declared =
      t.CapabilitiesOf(queue).limits().max_body_bytes.value_or(
          kDefaultMaxBodyBytes);
  // A large limit costs time; the library's own stands for it.
  const size_t limit = std::min(declared, kDefaultMaxBodyBytes);
  Producer producer = t.NewProducer({.max_body_bytes = limit});
  const std::string body(limit, 'b');

  RequireOk(producer.Send(Message(queue, body)).status(), "send the limit");
  RequireCode(producer.Send(Message(queue, body + "b")), Code::kBodyTooLarge,
              "send one byte more");
  RequireOk(producer.Send(Message(queue, "next")).status(), "the next send");

  const Delivery got = t.Take(consumer);
  Require(got->body() == body, "a body of ", limit, " bytes arrived changed, ",
          got->body().size(), " bytes long");
  RequireOk(got.Ack(), "acknowledge");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"next"},
               "what arrives behind it");
}

OMS_CONFORMANCE_TEST("OMS-CAP-006", kCore, kAlways,
                     "header and properties over their limits are refused") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  Message header(queue, "x");
  header.SetCorrelationId(std::string(kMaxHeaderBytes + 1, 'c'));
  Message properties(queue, "x");
  RequireOk(
      properties.SetProperty("large", std::string(kMaxPropertiesBytes, 'p')),
      "set a property");

  RequireCode(producer.Send(header), Code::kHeaderTooLarge, "a long header");
  RequireCode(producer.Send(properties), Code::kAttributesTooLarge,
              "long properties");

  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-044", kCore, kAlways,
                     "the reserved prefix of properties is refused") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  Message message(queue, "x");
  RequireOk(message.SetProperty("oms.mine", 1), "set a property");
  const absl::Status sent = producer.Send(message).status();
  Require(!sent.ok(), "a property with the reserved prefix was sent");
  RequireOk(producer.Send(Message(queue, "next")).status(), "the next send");
}

OMS_CONFORMANCE_TEST("OMS-PROD-018", kCore, kAlways,
                     "eight threads share one producer") {
  constexpr int kThreads = 8;
  constexpr int kEach = 40;
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  std::atomic<int> failed{0};
  Bodies expected;

  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    for (int n = 0; n < kEach; ++n) {
      expected.push_back(Concat(thread, '-', n));
    }
    threads.emplace_back([&, thread] {
      for (int n = 0; n < kEach; ++n) {
        const std::string body = Concat(thread, '-', n);
        if (!producer.Send(Message(queue, body)).ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  RequireNumber(failed, 0, "sends that failed");
  RequireEqual(Sorted(t.TakeUntilSentinel(consumer, queue)), Sorted(expected),
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-021", kCore, kAlways,
                     "an asynchronous send answers what a send does") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();

  const auto good = producer.SendAsync(Message(queue, "good"));
  const auto missing = producer.SendAsync(Message(t.NewName("missing"), "x"));
  const auto wrong = producer.SendAsync(Message("", "x"));

  const SendResult sent =
      Must(good.AwaitFor(t.patience()), "an asynchronous send");
  RequireCode(missing.AwaitFor(t.patience()), Code::kQueueNotFound,
              "an asynchronous send to a missing queue");
  RequireCode(wrong.AwaitFor(t.patience()), Code::kBadParameter,
              "an asynchronous send to nowhere");
  const Delivery got = t.Take(consumer);
  RequireText(got->message_id().ToString(), sent.message_id.ToString(),
              "the id in the future");
}

OMS_CONFORMANCE_TEST("OMS-PROD-022", kCore, kAlways,
                     "asynchronous sends of one thread keep their order") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  const Bodies bodies = Numbers(1, 200);

  for (const std::string& body : bodies) {
    (void)producer.SendAsync(Message(queue, body));  // Dropped, not cancelled.
  }
  RequireOk(producer.Flush(t.patience()), "flush");

  RequireEqual(t.TakeUntilSentinel(consumer, queue), bodies, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-021", kCore, kAlways,
                     "an asynchronous batch has a future for each message") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  std::vector<Message> batch = Batch(queue, Numbers(1, 3));
  batch[1].SetDestination(t.NewName("missing"));

  const auto futures = producer.SendAsync(batch);

  RequireNumber(static_cast<int64_t>(futures.size()), 3, "futures");
  RequireOk(futures[0].AwaitFor(t.patience()).status(), "the first");
  RequireCode(futures[1].AwaitFor(t.patience()), Code::kQueueNotFound,
              "the second");
  RequireOk(futures[2].AwaitFor(t.patience()).status(), "the third");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {"1", "3"},
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-025", kCore, kAlways,
                     "what was sent one way before stop arrives") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const Bodies bodies = Numbers(1, 50);
  {
    Producer producer = t.NewProducer();
    for (const std::string& body : bodies) {
      RequireOk(producer.SendOneway(Message(queue, body)), "send one way");
    }
    RequireCode(producer.SendOneway(Message("", "x")), Code::kBadParameter,
                "one way to nowhere");
    producer.Stop(t.Soon());
  }
  RequireEqual(t.TakeUntilSentinel(consumer, queue), bodies, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-PROD-035", kCore, kAlways,
                     "what is changed after a send is not sent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();
  {
    std::string bytes = "borrowed before";
    Message message(queue, "before");
    message.SetCorrelationId("before");
    const auto sent = producer.SendAsync(message);
    message.SetBody("after").SetCorrelationId("after");
    RequireOk(sent.AwaitFor(t.patience()).status(), "send");
  }
  const Delivery got = t.Take(consumer);
  RequireText(got->body(), "before", "the body");
  RequireText(got->correlation_id(), "before", "the correlation id");
}

OMS_CONFORMANCE_TEST("OMS-PROD-027", kCore, kAlways,
                     "flush returns when all earlier sends have an outcome") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  std::vector<Future<SendResult>> futures;
  for (int n = 0; n < 100; ++n) {
    futures.push_back(producer.SendAsync(Message(queue, "x")));
  }

  RequireOk(producer.Flush(t.patience()), "flush");

  for (const auto& future : futures) {
    Require(future.Ready(), "flush returned before a send had its outcome");
    RequireOk(future.Await().status(), "send");
  }
}

}  // namespace openmessaging::conformance::producer_test
