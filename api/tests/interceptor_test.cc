// SPDX-License-Identifier: Apache-2.0
//
// Interceptors of producers, consumers and stream readers, over the fake driver:
// order, what they may change, how they fail, and how they are removed.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/interceptor.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::interceptor_test {
namespace {

using fake::Answer;
using fake::Busy;
using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;

using Texts = std::vector<std::string>;

constexpr milliseconds kLong = std::chrono::seconds(10);

// What happened, in its order.
class Diary {
 public:
  void Write(const std::string& text) {
    {
      const std::lock_guard lock(mutex_);
      texts_.push_back(text);
    }
    changed_.notify_all();
  }
  Texts texts() const {
    const std::lock_guard lock(mutex_);
    return texts_;
  }
  // Waits for so many entries. Returns: all of them.
  Texts Await(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLong, [&] { return texts_.size() >= count; });
    return texts_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Texts texts_;
};

absl::Status Refusal() {
  return MakeStatus(Code::kForbidden, "send: not on Sundays");
}

// Writes what it sees, and does what the test gave it to do.
class Witness final : public ProducerInterceptor, public ConsumerInterceptor {
 public:
  Witness(Diary& diary, std::string name)
      : diary_(diary), name_(std::move(name)) {}

  absl::Status BeforeSend(Message& message) override {
    diary_.Write(name_ + " before " + std::string(message.body()));
    return before_send ? before_send(message) : absl::OkStatus();
  }
  void AfterSend(const Message& message,
                 const absl::StatusOr<SendResult>& result) override {
    diary_.Write(name_ + " after " + std::string(message.body()) +
                 (result.ok() ? "" : " failed"));
    if (after) after();
  }
  absl::Status BeforeReceive(Message& message) override {
    diary_.Write(name_ + " before " + std::string(message.body()));
    return before_receive ? before_receive(message) : absl::OkStatus();
  }
  void AfterSettle(const driver::Settlement& settlement,
                   const absl::Status& outcome) override {
    const bool ack = settlement.verb == driver::Verb::kAck;
    diary_.Write(name_ + (ack ? " ack" : " nack") +
                 (outcome.ok() ? "" : " failed"));
    if (after) after();
  }

  std::function<absl::Status(Message&)> before_send;
  std::function<absl::Status(Message&)> before_receive;
  std::function<void()> after;

 private:
  Diary& diary_;
  const std::string name_;
};

struct Pair {
  explicit Pair(Diary& diary)
      : first(std::make_shared<Witness>(diary, "1")),
        second(std::make_shared<Witness>(diary, "2")) {}

  template <typename Client>
  void AddTo(Client& client) {
    REQUIRE(client.AddInterceptor(first).ok());
    REQUIRE(client.AddInterceptor(second).ok());
  }

  std::shared_ptr<Witness> first;
  std::shared_ptr<Witness> second;
};

const Texts kBothRounds = {"1 before x", "2 before x", "2 after x",
                           "1 after x"};

TEST_CASE("OMS-INTC-001: null and what is added already are refused") {
  World world;
  Diary diary;
  Producer producer = world.MakeProducer();
  PullConsumer consumer = world.MakeConsumer();
  const auto witness = std::make_shared<Witness>(diary, "1");

  CHECK(OmsCode(producer.AddInterceptor(nullptr)) == Code::kBadParameter);
  CHECK(OmsCode(consumer.AddInterceptor(nullptr)) == Code::kBadParameter);
  CHECK(producer.AddInterceptor(witness).ok());
  CHECK(OmsCode(producer.AddInterceptor(witness)) == Code::kBadParameter);
  CHECK(consumer.AddInterceptor(witness).ok());
  CHECK(producer.RemoveInterceptor(witness.get()));
  CHECK_FALSE(producer.RemoveInterceptor(witness.get()));
  CHECK(producer.AddInterceptor(witness).ok());
}

TEST_CASE("OMS-INTC-002: a send passes once, in order and back") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer();
  pair.AddTo(producer);
  const Message message("orders", "x");

  SUBCASE("one that is sent three times until it is stored") {
    world.broker->Set(
        [](Script& script) { script.send_failures = {Busy(), Busy()}; });
    CHECK(producer.Send(message).ok());
    CHECK(world.broker->counts().sends == 3);
  }
  SUBCASE("a future") { CHECK(producer.SendAsync(message).Await().ok()); }
  SUBCASE("a future that comes later") {
    world.broker->Set(
        [](Script& script) { script.send_answer = Answer::kLater; });
    CHECK(producer.SendAsync(message).Await().ok());
  }
  SUBCASE("nobody's") { CHECK(producer.SendOneway(message).ok()); }
  SUBCASE("a batch") {
    CHECK(producer.Send(std::span(&message, 1))[0].ok());
  }
  SUBCASE("a batch of futures") {
    CHECK(producer.SendAsync(std::span(&message, 1))[0].Await().ok());
  }

  producer.Stop(Soon());
  CHECK(diary.texts() == kBothRounds);
  CHECK(world.broker->bodies("orders") == Texts{"x"});
}

TEST_CASE("OMS-INTC-002: each message of a batch passes once") {
  World world;
  Diary diary;
  Producer producer = world.MakeProducer();
  REQUIRE(
      producer.AddInterceptor(std::make_shared<Witness>(diary, "1")).ok());
  const std::vector<Message> batch = {Message("orders", "a"),
                                      Message("", "b"),
                                      Message("orders", "c")};

  const auto results = producer.Send(batch);

  CHECK(results[0].ok());
  CHECK_FALSE(results[1].ok());
  CHECK(results[2].ok());
  CHECK(diary.texts() == Texts{"1 before a", "1 before b", "1 before c",
                               "1 after a", "1 after b failed", "1 after c"});
}

TEST_CASE("OMS-INTC-004: what is changed is sent, the sender's stays") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer({.max_body_bytes = 3});
  pair.AddTo(producer);
  pair.first->before_send = [](Message& message) {
    message.SetBody("much longer");
    return message.SetProperty("by", "first");
  };
  pair.second->before_send = [](Message& message) {
    CHECK(message.body() == "much longer");
    message.SetBody("y");
    return absl::OkStatus();
  };
  const Message message("orders", "xxxxx");

  CHECK(producer.Send(message).ok());
  CHECK(producer.SendAsync(message).Await().ok());

  CHECK(message.body() == "xxxxx");
  CHECK(message.properties().empty());
  CHECK(world.broker->bodies("orders") == Texts{"y", "y"});
  const Message stored = world.broker->last_message();
  CHECK(*stored.properties().Get<std::string_view>("by") == "first");
  CHECK(diary.texts()[2] == "2 after y");
}

TEST_CASE("OMS-INTC-005: what is refused is not sent") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer();
  pair.AddTo(producer);
  pair.second->before_send = [](Message& message) {
    if (message.body() == "bad") return Refusal();
    if (message.body() == "worse") throw std::runtime_error("no");
    return absl::OkStatus();
  };
  const std::vector<Message> batch = {
      Message("orders", "a"), Message("orders", "bad"), Message("orders", "b"),
      Message("orders", "worse"), Message("orders", "c")};
  const auto check = [](const std::vector<Code>& codes) {
    CHECK(codes == std::vector<Code>{Code::kOk, Code::kForbidden, Code::kOk,
                                     Code::kCancelled, Code::kOk});
  };
  std::vector<Code> codes;

  SUBCASE("one by one") {
    for (const Message& message : batch) {
      codes.push_back(OmsCode(producer.Send(message).status()));
    }
  }
  SUBCASE("a batch") {
    for (const auto& result : producer.Send(batch)) {
      codes.push_back(OmsCode(result.status()));
    }
  }
  SUBCASE("futures") {
    for (const Message& message : batch) {
      codes.push_back(OmsCode(producer.SendAsync(message).Await().status()));
    }
  }
  SUBCASE("a batch of futures") {
    for (const auto& future : producer.SendAsync(batch)) {
      codes.push_back(OmsCode(future.Await().status()));
    }
  }
  SUBCASE("nobody's") {
    for (const Message& message : batch) {
      codes.push_back(OmsCode(producer.SendOneway(message)));
    }
  }

  producer.Stop(Soon());
  check(codes);
  CHECK(world.broker->bodies("orders") == Texts{"a", "b", "c"});
  // Who refused is told no outcome, who let it pass is.
  const Texts texts = diary.texts();
  CHECK(std::count(texts.begin(), texts.end(), "1 after bad failed") == 1);
  CHECK(std::count(texts.begin(), texts.end(), "2 after bad failed") == 0);
  CHECK(std::count(texts.begin(), texts.end(), "2 after worse failed") == 0);
  CHECK(std::count(texts.begin(), texts.end(), "2 after c") == 1);
}

TEST_CASE("OMS-INTC-005: what throws behind the send changes nothing") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer();
  pair.AddTo(producer);
  pair.second->after = [] { throw std::runtime_error("no"); };

  CHECK(producer.Send(Message("orders", "x")).ok());
  CHECK(diary.texts() == kBothRounds);
}

TEST_CASE("OMS-INTC-003: a removed interceptor is not called again") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer();
  pair.AddTo(producer);
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  const auto future = producer.SendAsync(Message("orders", "x"));

  CHECK(producer.RemoveInterceptor(pair.second.get()));
  world.broker->AnswerHeld();
  CHECK(future.Await().ok());
  producer.Stop(Soon());

  CHECK(diary.texts() == Texts{"1 before x", "2 before x", "1 after x"});
}

TEST_CASE("OMS-INTC-003: removing waits for the call in progress") {
  World world;
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  std::atomic<bool> go_on{false};
  std::atomic<bool> ended{false};
  witness->before_send = [&](Message&) {
    while (!go_on) std::this_thread::yield();
    ended = true;
    return absl::OkStatus();
  };
  Producer producer = world.MakeProducer();
  REQUIRE(producer.AddInterceptor(witness).ok());
  std::thread sender([&] { (void)producer.Send(Message("orders", "x")); });
  REQUIRE(diary.Await(1).size() == 1);

  std::thread releaser([&] { go_on = true; });
  CHECK(producer.RemoveInterceptor(witness.get()));
  CHECK(ended);
  // The rest of the call may have come before the removal, and not later.
  const Texts at_removal = diary.texts();

  sender.join();
  releaser.join();
  CHECK(diary.texts() == at_removal);
}

TEST_CASE("OMS-INTC-003: interceptors may remove themselves and each other") {
  World world;
  Diary diary;
  Pair pair(diary);
  Producer producer = world.MakeProducer();
  pair.AddTo(producer);
  std::atomic<int> inside{0};
  // Both are in a call when each removes the other.
  pair.first->before_send = [&](Message& message) {
    if (message.body() != "a") return absl::OkStatus();
    ++inside;
    while (inside < 2) std::this_thread::yield();
    producer.RemoveInterceptor(pair.second.get());
    producer.RemoveInterceptor(pair.first.get());
    return absl::OkStatus();
  };
  pair.second->before_send = [&](Message& message) {
    if (message.body() != "b") return absl::OkStatus();
    ++inside;
    while (inside < 2) std::this_thread::yield();
    producer.RemoveInterceptor(pair.first.get());
    return absl::OkStatus();
  };

  std::thread one([&] { CHECK(producer.Send(Message("orders", "a")).ok()); });
  std::thread two([&] { CHECK(producer.Send(Message("orders", "b")).ok()); });
  one.join();
  two.join();

  const size_t before = diary.texts().size();
  CHECK(producer.Send(Message("orders", "c")).ok());
  CHECK(diary.texts().size() == before);
}

TEST_CASE("OMS-INTC-003: interceptors come and go while others send") {
  World world;
  world.broker->Set([](Script& script) { script.discard = true; });
  Producer producer = world.MakeProducer();
  std::atomic<bool> done{false};
  std::vector<std::thread> senders;
  for (int i = 0; i < 3; ++i) {
    senders.emplace_back([&] {
      while (!done) {
        CHECK(producer.Send(Message("orders", "x")).ok());
        (void)producer.SendAsync(Message("orders", "x"));
      }
    });
  }

  size_t seen = 0;
  for (int i = 0; i < 200; ++i) {
    Diary diary;  // Ends with this round, as what it watches may then.
    const auto witness = std::make_shared<Witness>(diary, "1");
    REQUIRE(producer.AddInterceptor(witness).ok());
    if (i % 10 == 0) CHECK(diary.Await(1).size() >= 1);
    REQUIRE(producer.RemoveInterceptor(witness.get()));
    seen += diary.texts().size();
  }

  done = true;
  for (std::thread& sender : senders) sender.join();
  CHECK(seen >= 20);
}

TEST_CASE("OMS-INTC-006: an interceptor may stop its producer and send") {
  World world;
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  Producer producer = world.MakeProducer();
  Producer other = world.MakeProducer();
  REQUIRE(producer.AddInterceptor(witness).ok());

  SUBCASE("before a send, which then fails") {
    witness->before_send = [&](Message&) {
      CHECK(other.Send(Message("orders", "log")).ok());
      CHECK(producer.Stop(Soon()) == 0);
      return absl::OkStatus();
    };
    const auto sent = producer.Send(Message("orders", "x"));
    CHECK(OmsCode(sent.status()) == Code::kClosed);
    CHECK(world.broker->bodies("orders") == Texts{"log"});
    CHECK(diary.texts().back() == "1 after x failed");
  }
  SUBCASE("after it") {
    witness->after = [&] { CHECK(producer.Stop(Soon()) == 0); };
    CHECK(producer.Send(Message("orders", "x")).ok());
  }
  SUBCASE("after one that nobody waited for") {
    world.broker->Set(
        [](Script& script) { script.send_answer = Answer::kLater; });
    witness->after = [&] { producer.Stop(Soon()); };
    CHECK(producer.SendOneway(Message("orders", "x")).ok());
    CHECK(diary.Await(2).size() == 2);
  }
  producer.Stop(Soon());
  CHECK(producer.state() == LifecycleState::kStopped);
}

TEST_CASE("OMS-INTC-006: no outcome is told on a thread of the driver's") {
  World world;
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  std::thread::id sender = std::this_thread::get_id();
  std::thread::id teller;
  witness->after = [&] { teller = std::this_thread::get_id(); };
  Producer producer = world.MakeProducer();
  REQUIRE(producer.AddInterceptor(witness).ok());
  world.broker->Set([](Script& script) { script.send_answer = Answer::kHeld; });
  const auto future = producer.SendAsync(Message("orders", "x"));

  // This thread is the driver's now.
  world.broker->AnswerHeld();
  producer.Stop(Soon());

  CHECK(diary.texts().size() == 2);
  CHECK(teller != sender);
  CHECK(teller != std::thread::id());
}

// Sends "a", "b" and "c".
void SendThree(World& world) {
  Producer producer = world.MakeProducer();
  for (const char* body : {"a", "b", "c"}) {
    REQUIRE(producer.Send(Message("orders", body)).ok());
  }
}

TEST_CASE("OMS-INTC-007: a delivery passes once before it is seen") {
  World world;
  SendThree(world);
  Diary diary;
  Pair pair(diary);
  PullConsumer consumer = world.MakeConsumer();
  pair.AddTo(consumer);
  pair.first->before_receive = [](Message& message) {
    message.SetBody(std::string(message.body()) + "!");
    return absl::OkStatus();
  };

  const auto received = consumer.Receive(kLong);
  const auto batch = consumer.ReceiveBatch(2, kLong);

  REQUIRE(received.ok());
  CHECK((**received)->body() == "a!");
  CHECK((**received)->delivery_count() == 1);
  CHECK((**received)->message_id() != MessageId());
  REQUIRE(batch.ok());
  CHECK((*batch)[1]->body() == "c!");
  CHECK(diary.texts() == Texts{"1 before a", "2 before a!", "1 before b",
                               "2 before b!", "1 before c", "2 before c!"});
  CHECK(consumer.Ack(*batch)[1].ok());
}

TEST_CASE("OMS-INTC-008: what cannot be shown is told and nacked") {
  World world;
  SendThree(world);
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  witness->before_receive = [](Message& message) {
    if (message.body() == "b") return Refusal();
    if (message.body() == "a") throw std::runtime_error("no");
    return absl::OkStatus();
  };
  PullConsumer consumer = world.MakeConsumer();
  REQUIRE(consumer.AddInterceptor(witness).ok());

  SUBCASE("alone") {
    const auto first = consumer.Receive(kLong);
    CHECK(OmsCode(first.status()) == Code::kCancelled);
    const auto second = consumer.Receive(kLong);
    // The fake queue has no back-off: it is the first again.
    CHECK(OmsCode(second.status()) == Code::kCancelled);
    // Nothing is lost: without the interceptor it is received again.
    CHECK(consumer.RemoveInterceptor(witness.get()));
    Texts bodies;
    for (int i = 0; i < 3; ++i) {
      const auto again = consumer.Receive(kLong);
      REQUIRE(again.ok());
      REQUIRE(again->has_value());
      bodies.emplace_back((**again)->body());
    }
    std::sort(bodies.begin(), bodies.end());
    CHECK(bodies == Texts{"a", "b", "c"});
  }
  SUBCASE("in a batch, the others are received first") {
    const auto batch = consumer.ReceiveBatch(3, kLong);
    REQUIRE(batch.ok());
    REQUIRE(batch->size() == 1);
    CHECK((*batch)[0]->body() == "c");
    // The failure waits, whoever is removed meanwhile.
    CHECK(consumer.RemoveInterceptor(witness.get()));
    const auto next = consumer.ReceiveBatch(3, kLong);
    CHECK(OmsCode(next.status()) == Code::kCancelled);
    const auto after = consumer.ReceiveBatch(3, kLong);
    REQUIRE(after.ok());
    CHECK_FALSE(after->empty());
    CHECK((*after)[0]->delivery_count() == 2);
  }
  SUBCASE("in a batch into the caller's storage") {
    std::array<Delivery, 3> room;
    const auto batch = consumer.ReceiveBatch(room, kLong);
    REQUIRE(batch.ok());
    CHECK(*batch == 1);
    CHECK(room[0]->body() == "c");
    CHECK(room[1]->body().empty());
    CHECK(room[0].Ack().ok());
  }
  SUBCASE("all of a batch") {
    const auto batch = consumer.ReceiveBatch(2, kLong);
    CHECK(OmsCode(batch.status()) == Code::kCancelled);
    CHECK(world.broker->settlements().size() == 2);
  }
}

TEST_CASE("OMS-INTC-008: a listener does not see it, and it counts as Nack") {
  World world;
  SendThree(world);
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  std::atomic<int> failures{0};
  witness->before_receive = [&](Message& message) {
    if (message.body() == "b" && failures++ == 0) return Refusal();
    message.SetBody(std::string(message.body()) + "!");
    return absl::OkStatus();
  };
  PushConsumer consumer = world.MakePushConsumer();
  REQUIRE(consumer.AddInterceptor(witness).ok());
  Diary seen;

  SUBCASE("one by one") {
    REQUIRE(consumer
                .Bind("orders",
                      [&](const Message& message) {
                        seen.Write(std::string(message.body()));
                        return Ack();
                      })
                .ok());
  }
  SUBCASE("batches") {
    REQUIRE(consumer
                .Bind("orders",
                      [&](std::span<const Message> messages) {
                        for (const Message& message : messages) {
                          seen.Write(std::string(message.body()));
                        }
                        return std::vector<Verdict>(messages.size(), Ack());
                      })
                .ok());
  }
  SUBCASE("deliveries") {
    REQUIRE(consumer
                .Bind("orders",
                      [&](std::vector<Delivery> deliveries) {
                        for (const Delivery& delivery : deliveries) {
                          seen.Write(std::string(delivery->body()));
                          CHECK(delivery.Ack().ok());
                        }
                      })
                .ok());
  }
  REQUIRE(consumer.Start().ok());

  Texts texts = seen.Await(3);
  CHECK(world.broker->AwaitSettled("orders"));
  consumer.Stop(Soon());
  std::sort(texts.begin(), texts.end());
  CHECK(texts == Texts{"a!", "b!", "c!"});
  const Texts all = diary.texts();
  CHECK(std::count(all.begin(), all.end(), "1 ack") == 3);
  CHECK(std::count(all.begin(), all.end(), "1 nack") == 1);
}

TEST_CASE("OMS-INTC-009: settlements are told in reverse order") {
  World world;
  SendThree(world);
  Diary diary;
  Pair pair(diary);
  PullConsumer consumer = world.MakeConsumer();
  auto batch = consumer.ReceiveBatch(3, kLong);
  REQUIRE(batch.ok());
  pair.AddTo(consumer);

  SUBCASE("one") { CHECK((*batch)[0].Ack().ok()); }
  SUBCASE("a future") { CHECK((*batch)[0].AckAsync().Await().ok()); }
  SUBCASE("one of a batch") {
    CHECK(consumer.Ack(std::span(*batch).first(1))[0].ok());
  }
  SUBCASE("a future of a batch") {
    CHECK(consumer.AckAsync(std::span(*batch).first(1))[0].Await().ok());
  }
  SUBCASE("one that comes later") {
    world.broker->Set(
        [](Script& script) { script.settle_answer = Answer::kLater; });
    CHECK((*batch)[0].AckAsync().Await().ok());
  }

  consumer.Stop(Soon());
  CHECK(diary.texts() == Texts{"2 ack", "1 ack"});
}

TEST_CASE("OMS-INTC-009: a settlement that fails is told as such") {
  World world;
  SendThree(world);
  Diary diary;
  PullConsumer consumer = world.MakeConsumer();
  const auto received = consumer.Receive(kLong);
  REQUIRE(received.ok());
  REQUIRE(
      consumer.AddInterceptor(std::make_shared<Witness>(diary, "1")).ok());

  CHECK_FALSE(consumer.Ack(Receipt()).ok());
  consumer.Stop(Soon());
  CHECK_FALSE((*received)->Ack().ok());

  CHECK(diary.texts() == Texts{"1 ack failed", "1 ack failed"});
}

TEST_CASE("OMS-INTC-010: an interceptor may stop its consumer") {
  World world;
  SendThree(world);
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");

  SUBCASE("that is asked") {
    PullConsumer consumer = world.MakeConsumer();
    REQUIRE(consumer.AddInterceptor(witness).ok());
    witness->before_receive = [&](Message&) {
      CHECK(consumer.Stop(Soon()) == 0);
      return absl::OkStatus();
    };
    const auto received = consumer.Receive(kLong);
    REQUIRE(received.ok());
    CHECK(OmsCode((*received)->Ack()) == Code::kClosed);
  }
  SUBCASE("that listens, whose verdict still counts") {
    PushConsumer consumer = world.MakePushConsumer();
    REQUIRE(consumer.AddInterceptor(witness).ok());
    witness->before_receive = [&](Message&) {
      (void)consumer.Stop(Soon());
      return absl::OkStatus();
    };
    REQUIRE(
        consumer.Bind("orders", [](const Message&) { return Ack(); }).ok());
    REQUIRE(consumer.Start().ok());
    CHECK(world.broker->Await(
        [](const auto& counts) { return counts.consumers_closed == 1; }));
    CHECK(world.broker->unsettled("orders") == 2);
    CHECK(diary.Await(2) == Texts{"1 before a", "1 ack"});
  }
}

TEST_CASE("OMS-INTC-007: a stream reader skips what cannot be shown") {
  World world;
  SendThree(world);
  Diary diary;
  const auto witness = std::make_shared<Witness>(diary, "1");
  witness->before_receive = [](Message& message) {
    if (message.body() == "b") return Refusal();
    message.SetBody(std::string(message.body()) + "!");
    return absl::OkStatus();
  };
  auto reader = world.bus->CreateStreamReader("orders", 0);
  REQUIRE(reader.ok());
  REQUIRE(reader->AddInterceptor(witness).ok());

  SUBCASE("among others") {
    const auto read = reader->Read(3, kLong);
    REQUIRE(read.ok());
    REQUIRE(read->size() == 2);
    CHECK((*read)[1].body() == "c!");
    CHECK(OmsCode(reader->Read(3, milliseconds(0)).status()) ==
          Code::kForbidden);
    CHECK(reader->Read(3, milliseconds(0))->empty());
  }
  SUBCASE("in a loop, which ends there and may go on") {
    Texts bodies;
    for (const Message& message : *reader) bodies.emplace_back(message.body());
    CHECK(OmsCode(reader->range_status()) == Code::kForbidden);
    for (const Message& message : *reader) bodies.emplace_back(message.body());
    CHECK(reader->range_status().ok());
    CHECK(bodies == Texts{"a!", "c!"});
  }
  SUBCASE("unless it is removed") {
    CHECK(reader->RemoveInterceptor(witness.get()));
    CHECK(reader->Read(3, kLong)->size() == 3);
    CHECK(diary.texts().empty());
  }
}

}  // namespace
}  // namespace openmessaging::interceptor_test
