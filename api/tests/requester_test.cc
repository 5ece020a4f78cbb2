// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/requester.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::requester_test {
namespace {

using fake::Answer;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

Requester MakeRequester(const World& world,
                        const RequesterOptions& options = {}) {
  auto requester = world.bus->CreateRequester(options);
  REQUIRE(requester.ok());
  return *std::move(requester);
}

// Takes `count` requests out of "orders".
std::vector<Delivery> TakeRequests(PullConsumer& consumer, size_t count) {
  std::vector<Delivery> requests;
  while (requests.size() < count) {
    auto received =
        consumer.ReceiveBatch(count - requests.size(), milliseconds(10000));
    REQUIRE(received.ok());
    REQUIRE(!received->empty());
    for (Delivery& delivery : *received) {
      requests.push_back(std::move(delivery));
    }
  }
  return requests;
}

void Answer1(Producer& producer, const Message& request,
             std::string_view body) {
  const auto reply = MakeReply(request, body);
  REQUIRE(reply.ok());
  REQUIRE(producer.Send(*reply).ok());
}

// Waits for what other threads do. Returns: false after ten seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = Soon();
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

size_t ReplyQueues(const World& world) {
  const auto queues = world.bus->resource_manager().ListQueues();
  REQUIRE(queues.ok());
  return static_cast<size_t>(
      std::count_if(queues->begin(), queues->end(), [](const QueueInfo& info) {
        return info.name.starts_with(kReplyQueuePrefix);
      }));
}

TEST_CASE("OMS-REQ-001: a reply goes where its request wants it") {
  Message request("orders", "42 apples");
  const auto refused = MakeReply(request, "done");
  CHECK(OmsCode(refused.status()) == Code::kBadParameter);
  CHECK(std::string(refused.status().message()) ==
        "reply to a message of \"orders\": it asks for no answer; expected one "
        "with a reply_to (OMS-REQ-001)");

  request.SetReplyTo("answers").SetCorrelationId("7");
  const auto reply = MakeReply(request, "done");

  REQUIRE(reply.ok());
  CHECK(reply->destination() == "answers");
  CHECK(reply->correlation_id() == "7");
  CHECK(reply->body() == "done");
}

TEST_CASE("OMS-REQ-002: answers in any order reach those that asked") {
  constexpr size_t kRequests = 300;
  World world;
  world.broker->AddQueue("answers");
  Requester requester = MakeRequester(world, {.reply_queue = "answers"});
  PullConsumer consumer = world.MakeConsumer();
  Producer producer = world.MakeProducer();
  std::vector<Future<Message>> futures;
  for (size_t i = 0; i < kRequests; ++i) {
    futures.push_back(
        requester.RequestAsync(Message("orders", std::to_string(i))));
  }

  auto requests = TakeRequests(consumer, kRequests);
  std::reverse(requests.begin(), requests.end());
  for (const Delivery& request : requests) {
    CHECK(request->reply_to() == requester.reply_queue());
    Answer1(producer, *request, "answer " + std::string(request->body()));
    REQUIRE(request.Ack().ok());
  }

  for (size_t i = 0; i < kRequests; ++i) {
    const auto answer = futures[i].AwaitFor(milliseconds(10000));
    REQUIRE(answer.ok());
    CHECK(answer->body() == "answer " + std::to_string(i));
  }
  CHECK(requester.dropped_answers() == 0);
  CHECK(world.broker->AwaitSettled("answers"));
}

TEST_CASE("OMS-REQ-002: what a request had of another one is replaced") {
  World world;
  Requester requester = MakeRequester(world);
  PullConsumer consumer = world.MakeConsumer();
  Producer producer = world.MakeProducer();
  Message forwarded("orders", "x");
  forwarded.SetReplyTo("elsewhere").SetCorrelationId("theirs");

  const auto future = requester.RequestAsync(forwarded);
  const auto requests = TakeRequests(consumer, 1);
  Answer1(producer, *requests[0], "y");

  CHECK(requests[0]->reply_to() == requester.reply_queue());
  CHECK(future.AwaitFor(milliseconds(10000)).ok());
  CHECK(forwarded.reply_to() == "elsewhere");
}

TEST_CASE("OMS-REQ-003: no answer gives 1410 and a late one is dropped") {
  World world;
  world.broker->AddQueue("answers");
  Requester requester = MakeRequester(world, {.reply_queue = "answers"});
  PullConsumer consumer = world.MakeConsumer();
  Producer producer = world.MakeProducer();
  const auto begin = steady_clock::now();
  absl::Status status;

  SUBCASE("to who waits") {
    status = requester.Request(Message("orders", "x"), milliseconds(30))
                 .status();
  }
  SUBCASE("to a future") {
    status = requester.RequestAsync(Message("orders", "x"), milliseconds(30))
                 .Await()
                 .status();
  }
  SUBCASE("to a future behind one that has more time") {
    const auto patient =
        requester.RequestAsync(Message("orders", "w"), milliseconds(9000));
    REQUIRE(TakeRequests(consumer, 1).size() == 1);
    status = requester.RequestAsync(Message("orders", "x"), milliseconds(30))
                 .Await()
                 .status();
    CHECK(!patient.Ready());
  }
  CHECK(steady_clock::now() - begin >= milliseconds(30));
  CHECK(steady_clock::now() - begin < milliseconds(5000));
  CHECK(OmsCode(status) == Code::kTimeout);
  CHECK(OutcomeOf(status) == Outcome::kUnknown);
  CHECK(std::string(status.message()) ==
        "request \"orders\": no answer within 30 ms, the request may be "
        "answered later in vain; expected one in time (request_timeout, "
        "OMS-REQ-003)");

  const auto late = TakeRequests(consumer, 1);
  Answer1(producer, *late[0], "too late");
  Answer1(producer, *late[0], "and twice");
  CHECK(Eventually([&] { return requester.dropped_answers() == 2; }));
  CHECK(world.broker->AwaitSettled("answers"));

  // The next one gets its own answer and not that.
  const auto next = requester.RequestAsync(Message("orders", "y"));
  const auto request = TakeRequests(consumer, 1);
  Answer1(producer, *late[0], "still late");
  Answer1(producer, *request[0], "in time");
  const auto answer = next.AwaitFor(milliseconds(10000));
  REQUIRE(answer.ok());
  CHECK(answer->body() == "in time");
}

TEST_CASE("OMS-REQ-003: a driver that does not return holds up no timeout") {
  World world;
  Requester requester = MakeRequester(world);
  REQUIRE(requester.Start().ok());
  world.broker->Set([](fake::Script& script) { script.stuck_receive = true; });

  const auto answer =
      requester.Request(Message("orders", "x"), milliseconds(20));

  CHECK(OmsCode(answer.status()) == Code::kTimeout);
  world.broker->Set(
      [](fake::Script& script) { script.stuck_receive = false; });
}

TEST_CASE("OMS-REQ-003: messages that are no answers are dropped") {
  World world;
  Requester requester = MakeRequester(world);
  REQUIRE(requester.Start().ok());
  Producer producer = world.MakeProducer();
  for (const std::string_view id : {"", "7", "-1", "0", "a-1"}) {
    Message message(requester.reply_queue(), "spam");
    message.SetCorrelationId(id);
    REQUIRE(producer.Send(message).ok());
  }

  CHECK(Eventually([&] { return requester.dropped_answers() == 5; }));
}

TEST_CASE("OMS-REQ-004: the queue for answers comes and goes with its owner") {
  World world;
  {
    Requester requester = MakeRequester(world);
    CHECK(requester.reply_queue().empty());
    CHECK(ReplyQueues(world) == 0);
    REQUIRE(requester.Start().ok());
    CHECK(ReplyQueues(world) == 1);
    CHECK(requester.reply_queue().starts_with(kReplyQueuePrefix));
    CHECK(world.broker->last_options().exclusive);

    SUBCASE("that stops") {
      CHECK(requester.Stop(Soon()) == 0);
      CHECK(requester.reply_queue().empty());
      CHECK(ReplyQueues(world) == 0);
      CHECK(requester.state() == LifecycleState::kStopped);
      CHECK(OmsCode(requester.Request(Message("orders", "x")).status()) ==
            Code::kClosed);
    }
    SUBCASE("that ends") {}
    SUBCASE("that is replaced") {
      requester = MakeRequester(world);
      CHECK(ReplyQueues(world) == 0);
    }
  }
  CHECK(ReplyQueues(world) == 0);
}

TEST_CASE("OMS-REQ-004: a failed start leaves no queue and can be repeated") {
  World world;
  Requester requester = MakeRequester(world);
  world.broker->Set([](fake::Script& script) {
    script.open_failures = {fake::Busy()};
  });
  CHECK(OmsCode(requester.Start()) == Code::kStorageBusy);
  CHECK(ReplyQueues(world) == 0);

  world.broker->Set([](fake::Script& script) {
    script.open_failures = {absl::OkStatus(), fake::Busy()};
  });
  CHECK(OmsCode(requester.Start()) == Code::kStorageBusy);
  CHECK(ReplyQueues(world) == 0);

  CHECK(requester.Start().ok());
  CHECK(ReplyQueues(world) == 1);
}

TEST_CASE("OMS-REQ-004: a queue that was taken away is made anew") {
  World world;
  Requester requester = MakeRequester(world);
  world.broker->Set([](fake::Script& script) {
    script.bind_failures = {
        MakeStatus(Code::kConsumerExists, "somebody looks after it"),
        MakeStatus(Code::kQueueNotFound, "and has deleted it")};
  });

  CHECK(requester.Start().ok());
  CHECK(ReplyQueues(world) == 1);
}

TEST_CASE("OMS-REQ-004: without admin the application names the queue") {
  World world;
  world.broker->AddQueue("answers");
  world.broker->Set([](fake::Script& script) { script.admin = false; });
  {
    Requester requester = MakeRequester(world);
    const auto refused = requester.Request(Message("orders", "x"));
    CHECK(OmsCode(refused.status()) == Code::kUnsupported);
    CHECK(std::string(refused.status().message()) ==
          "start requester: driver fake cannot make a queue for the answers; "
          "expected the name of one (reply_queue, OMS-REQ-004)");
  }
  {
    Requester requester = MakeRequester(world, {.reply_queue = "answers"});
    PullConsumer consumer = world.MakeConsumer();
    Producer producer = world.MakeProducer();
    const auto future = requester.RequestAsync(Message("orders", "x"));
    const auto requests = TakeRequests(consumer, 1);
    CHECK(requests[0]->reply_to() == "answers");
    Answer1(producer, *requests[0], "y");
    CHECK(future.AwaitFor(milliseconds(10000)).ok());
  }
  world.broker->Set([](fake::Script& script) { script.admin = true; });
  CHECK(world.bus->resource_manager().DescribeQueue("answers").ok());
}

TEST_CASE("OMS-REQ-005: a queue that cannot do it is not asked") {
  World world;
  world.broker->AddQueue("plain", fake::AllBut({Capability::kRequestReply}));
  Requester requester = MakeRequester(world);

  const auto answer = requester.Request(Message("plain", "x"));

  CHECK(OmsCode(answer.status()) == Code::kUnsupported);
  CHECK(std::string(answer.status().message()) ==
        "request \"plain\": the queue does not support request-reply; expected "
        "a send without an answer (OMS-REQ-005)");
}

TEST_CASE("OMS-REQ-002: a request that cannot be sent says why") {
  World world;
  Requester requester = MakeRequester(world);
  REQUIRE(requester.Start().ok());
  const auto expect = [&](const Message& message, Code code) {
    CHECK(OmsCode(requester.Request(message).status()) == code);
    CHECK(OmsCode(requester.RequestAsync(message).Await().status()) == code);
  };
  expect(Message(), Code::kBadParameter);
  expect(Message("no/name", "x"), Code::kBadParameter);
  expect(Message("orders", std::string(kDefaultMaxBodyBytes + 1, 'x')),
         Code::kBodyTooLarge);

  for (const Answer how : {Answer::kInline, Answer::kLater}) {
    world.broker->Set([&](fake::Script& script) {
      script.send_answer = how;
      script.send_failures = {fake::Busy(), fake::Busy()};
    });
    expect(Message("orders", "x"), Code::kStorageBusy);
  }
}

TEST_CASE("OMS-REQ-006: Stop ends each request once, its outcome unknown") {
  constexpr size_t kRequests = 100;
  World world;
  Requester requester = MakeRequester(world);
  std::atomic<size_t> ended{0};
  std::vector<Future<Message>> futures;
  for (size_t i = 0; i < kRequests; ++i) {
    futures.push_back(requester.RequestAsync(Message("orders", "x")));
    futures.back().OnDone(
        [&](const absl::StatusOr<Message>&) { ended.fetch_add(1); });
  }
  std::thread waiting([&] {
    const auto answer =
        requester.Request(Message("orders", "x"), milliseconds(9000));
    CHECK(OmsCode(answer.status()) == Code::kClosed);
  });
  REQUIRE(Eventually(
      [&] { return world.broker->bodies("orders").size() == kRequests + 1; }));

  CHECK(requester.Stop(Soon()) == 0);

  waiting.join();
  CHECK(ended == kRequests);
  for (const auto& future : futures) {
    REQUIRE(future.Ready());
    const absl::Status status = future.Await().status();
    CHECK(OmsCode(status) == Code::kClosed);
    CHECK(OutcomeOf(status) == Outcome::kUnknown);
  }
  CHECK(ReplyQueues(world) == 0);
}

TEST_CASE("OMS-REQ-006: sends without an outcome do not outlive a Stop") {
  World world;
  world.broker->Set(
      [](fake::Script& script) { script.send_answer = Answer::kHeld; });
  Requester requester = MakeRequester(world);
  const auto future = requester.RequestAsync(Message("orders", "x"));

  CHECK(requester.Stop(Soon()) == 0);

  CHECK(OmsCode(future.Await().status()) == Code::kClosed);
}

TEST_CASE("OMS-REQ-006: a callback may ask again, stop and end its requester") {
  World world;
  auto requester =
      std::make_unique<Requester>(MakeRequester(world));
  PushConsumer consumer = world.MakePushConsumer();
  Producer producer = world.MakeProducer();
  REQUIRE(consumer
              .Bind("orders",
                    [&](const Message& request) {
                      Answer1(producer, request, request.body());
                      return Ack();
                    })
              .ok());
  REQUIRE(consumer.Start().ok());
  std::promise<std::string> done;

  requester->RequestAsync(Message("orders", "first"))
      .OnDone([&](const absl::StatusOr<Message>& first) {
        const auto second = requester->Request(Message("orders", "second"));
        requester->Stop(Soon());
        requester.reset();
        done.set_value(first.ok() && second.ok()
                           ? std::string(first->body()) + ", " +
                                 std::string(second->body())
                           : "failed");
      });

  CHECK(done.get_future().get() == "first, second");
  CHECK(ReplyQueues(world) == 0);
}

TEST_CASE("OMS-REQ-007: more requests than may wait are refused") {
  World world;
  Requester requester = MakeRequester(world, {.max_in_flight = 2});
  const auto first = requester.RequestAsync(Message("orders", "x"));
  const auto second =
      requester.RequestAsync(Message("orders", "x"), milliseconds(20));

  const absl::Status refused =
      requester.RequestAsync(Message("orders", "x")).Await().status();

  CHECK(OmsCode(refused) == Code::kLocalQueueFull);
  CHECK(IsRetriable(refused));
  CHECK(std::string(refused.message()) ==
        "request \"orders\": 2 requests wait for their answers, this one was "
        "not sent; expected fewer (max_in_flight, OMS-REQ-007)");
  CHECK(OmsCode(second.Await().status()) == Code::kTimeout);
  CHECK(OmsCode(requester.Request(Message("orders", "x"), milliseconds(20))
                    .status()) == Code::kTimeout);
  CHECK(!first.Ready());
}

TEST_CASE("OMS-REQ-009: options that cannot be are refused") {
  World world;
  const auto expect = [&](const RequesterOptions& options,
                          std::string_view text) {
    const absl::Status status = world.bus->CreateRequester(options).status();
    CHECK(OmsCode(status) == Code::kBadParameter);
    CHECK(std::string(status.message()).find(text) != std::string::npos);
  };
  expect({.request_timeout = milliseconds(0)}, "request_timeout is 0 ms");
  expect({.max_in_flight = 0}, "max_in_flight is 0");
  expect({.max_body_bytes = kMaxBodyBytes + 1}, "max_body_bytes is");
  expect({.reply_queue = "no/name"}, "no/name");
}

TEST_CASE("OMS-REQ-008: without admin nobody removes abandoned queues") {
  World world;
  world.broker->Set([](fake::Script& script) { script.admin = false; });
  const auto removed = world.bus->RemoveAbandonedReplyQueues();
  CHECK(OmsCode(removed.status()) == Code::kUnsupported);
}

TEST_CASE("OMS-REQ-008: where nobody can tell who lives nothing is removed") {
  World world;
  const std::string queue = std::string(kReplyQueuePrefix) + "host.1.abc";
  world.broker->AddQueue(queue, fake::AllBut({Capability::kExclusive}));

  const auto removed = world.bus->RemoveAbandonedReplyQueues();

  CHECK(OmsCode(removed.status()) == Code::kUnsupported);
  CHECK(ReplyQueues(world) == 1);
}

TEST_CASE("threads that ask at once get their own answers") {
  constexpr int kThreads = 4;
  constexpr int kRequests = 100;
  World world;
  Requester requester = MakeRequester(world);
  PushConsumer consumer = world.MakePushConsumer();
  Producer producer = world.MakeProducer();
  REQUIRE(consumer
              .Bind("orders",
                    [&](const Message& request) {
                      Answer1(producer, request, request.body());
                      return Ack();
                    })
              .ok());
  REQUIRE(consumer.Start().ok());
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        const std::string body =
            std::to_string(t) + "." + std::to_string(i);
        const auto answer =
            requester.Request(Message("orders", body), milliseconds(10000));
        if (answer.ok() && answer->body() == body) right.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(right == kThreads * kRequests);
}

}  // namespace
}  // namespace openmessaging::requester_test
