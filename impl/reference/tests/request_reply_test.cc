// SPDX-License-Identifier: Apache-2.0
//
// Requests and answers between threads and between processes, and what is left
// of those that were killed.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"

namespace openmessaging::reference::request_reply_test {
namespace {

constexpr std::string_view kQueue = "prices";

// Answers each request with its body and the word "paid".
struct Responder {
  explicit Responder(const MessagingAccessPoint& bus)
      : producer(Must(bus.CreateProducer())),
        consumer(Must(bus.CreatePushConsumer({.group = "answering"}))) {
    Must(consumer.Bind(kQueue, [this](const Message& request) {
      const auto reply =
          MakeReply(request, std::string(request.body()) + " paid");
      if (!reply.ok()) return Reject();
      return producer.Send(*reply).ok() ? Ack() : Nack();
    }));
    Must(consumer.Start());
  }

  Producer producer;
  PushConsumer consumer;
};

std::vector<std::string> ReplyQueues(const MessagingAccessPoint& bus) {
  std::vector<std::string> names;
  for (const QueueInfo& info : Must(bus.resource_manager().ListQueues())) {
    if (info.name.starts_with(kReplyQueuePrefix)) names.push_back(info.name);
  }
  return names;
}

// Asks `count` times at once. Returns: how many got their own answer.
size_t AskAtOnce(Requester& requester, size_t count) {
  std::vector<Future<Message>> futures;
  for (size_t i = 0; i < count; ++i) {
    futures.push_back(requester.RequestAsync(
        Message(kQueue, std::to_string(i)), 2 * kLong));
  }
  size_t right = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto answer = futures[i].Await();
    CHECK_MESSAGE(answer.ok(), Text(answer.status()));
    if (answer.ok() && answer->body() == std::to_string(i) + " paid") ++right;
  }
  return right;
}

// Argument: URL. Answers until the parent wants no more.
OMS_ROLE(responder) {
  const auto bus = Connect(role.argument(0));
  const Responder responder(bus);
  role.Say("ready");
  (void)role.Hear();
}

// Argument: URL. Says its reply queue, and waits for answers for ever.
OMS_ROLE(asker) {
  const auto bus = Connect(role.argument(0));
  Requester requester = Must(bus.CreateRequester());
  const auto answer = requester.RequestAsync(Message("unheard", "x"),
                                             std::chrono::hours(1));
  role.Say(requester.reply_queue());
  (void)role.Hear();
}

TEST_CASE("OMS-REQ-002: 200 requests at once get their answers in memory") {
  const auto bus = Connect("oms:memory://request-reply");
  Must(bus.resource_manager().CreateQueue(kQueue));
  const auto capabilities = Must(bus.capabilities(kQueue));
  CHECK(capabilities.Of(Capability::kRequestReply) == Support::kEmulated);
  {
    const Responder responder(bus);
    Requester one = Must(bus.CreateRequester());
    Requester other = Must(bus.CreateRequester());

    CHECK(AskAtOnce(one, 200) == 200);
    CHECK(AskAtOnce(other, 200) == 200);

    CHECK(one.reply_queue() != other.reply_queue());
    CHECK(ReplyQueues(bus).size() == 2);
    CHECK(one.dropped_answers() == 0);
  }
  CHECK(ReplyQueues(bus).empty());
}

TEST_CASE("OMS-REQ-003: an answer after the end of its requester harms nobody") {
  const auto bus = Connect("oms:memory://request-late");
  Must(bus.resource_manager().CreateQueue(kQueue));
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Must(bus.CreatePullConsumer());
  Must(consumer.Bind(kQueue));
  std::optional<Requester> requester(Must(bus.CreateRequester()));
  const auto answer =
      requester->Request(Message(kQueue, "x"), milliseconds(10));
  CHECK(OmsCode(answer.status()) == Code::kTimeout);
  const auto request = Must(consumer.Receive(kLong));
  REQUIRE(request);
  requester.reset();

  const auto sent = producer.Send(Must(MakeReply(**request, "late")));

  CHECK(OmsCode(sent.status()) == Code::kQueueNotFound);
  CHECK(request->Ack().ok());
  CHECK(ReplyQueues(bus).empty());
}

TEST_CASE("OMS-REQ-002: requests are answered by another process") {
  FilePlace place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(kQueue));
  Child responder("responder", {place.Url()});
  REQUIRE(responder.Hear() == "ready");
  {
    Requester requester = Must(bus.CreateRequester());
    CHECK(AskAtOnce(requester, 100) == 100);
    const auto answer =
        requester.Request(Message(kQueue, "alone"), 2 * kLong);
    REQUIRE(answer.ok());
    CHECK(answer->body() == "alone paid");
  }
  CHECK(responder.Finish());
  CHECK(ReplyQueues(bus).empty());
}

TEST_CASE("OMS-REQ-008: what a killed requester left is told and removed") {
  FilePlace place;
  const auto bus = Connect(place.Url());
  Must(bus.resource_manager().CreateQueue(kQueue));
  Must(bus.resource_manager().CreateQueue("unheard"));
  Child living("asker", {place.Url()});
  const auto kept = living.Hear();
  Child killed("asker", {place.Url()});
  const auto left_behind = killed.Hear();
  REQUIRE(kept);
  REQUIRE(left_behind);
  Requester own = Must(bus.CreateRequester());
  Must(own.Start());
  CHECK(Must(bus.RemoveAbandonedReplyQueues()).empty());

  REQUIRE(killed.Kill());
  CHECK(ReplyQueues(bus).size() == 3);
  std::vector<std::string> removed;
  const auto deadline = Soon();
  while (removed.empty() && steady_clock::now() < deadline) {
    removed = Must(bus.RemoveAbandonedReplyQueues());
  }

  CHECK(removed == std::vector<std::string>{*left_behind});
  CHECK(Must(bus.RemoveAbandonedReplyQueues()).empty());
  CHECK(ReplyQueues(bus).size() == 2);
  CHECK(living.Finish());
  CHECK(ReplyQueues(bus) == std::vector<std::string>{own.reply_queue()});
}

}  // namespace
}  // namespace openmessaging::reference::request_reply_test
