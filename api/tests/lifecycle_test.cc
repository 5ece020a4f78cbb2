// SPDX-License-Identifier: Apache-2.0
//
// The three states of every client over the fake driver: not started, stopped,
// and a start that gets no answer.

#include "openmessaging/lifecycle.h"

#include <array>
#include <chrono>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "fake_driver.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging::lifecycle_test {
namespace {

using fake::Script;
using fake::Soon;
using fake::World;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong = std::chrono::seconds(10);

// Collects the outcomes of calls.
class Answers {
 public:
  void Add(const absl::Status& status) { codes_.push_back(OmsCode(status)); }
  template <typename T>
  void Add(const absl::StatusOr<T>& result) {
    Add(result.status());
  }
  template <typename T>
  void Add(const Future<T>& future) {
    if constexpr (std::is_void_v<T>) {
      Add(future.AwaitFor(kLong));
    } else {
      Add(future.AwaitFor(kLong).status());
    }
  }
  template <typename T>
  void Add(const std::vector<T>& many) {
    REQUIRE(many.size() == 2);
    for (const T& one : many) Add(one);
  }
  // All of them are `code`, and together they took less than a second.
  void Check(Code code, size_t count) const {
    CHECK(codes_.size() == count);
    for (size_t i = 0; i < codes_.size(); ++i) {
      CAPTURE(i);
      CHECK(codes_[i] == code);
    }
    CHECK(steady_clock::now() - begin_ < std::chrono::seconds(1));
  }

 private:
  const steady_clock::time_point begin_ = steady_clock::now();
  std::vector<Code> codes_;
};

// Adds 9 answers.
void AskProducer(Producer& producer, Answers& answers) {
  const Message message("orders", "x");
  const std::vector<Message> batch(2, message);
  answers.Add(producer.Send(message));
  answers.Add(producer.Send(batch));
  answers.Add(producer.SendAsync(message));
  answers.Add(producer.SendAsync(batch));
  answers.Add(producer.SendOneway(message));
  answers.Add(producer.CancelDelayed("orders", MessageId({}, 1, 1)));
  answers.Add(producer.Flush(kLong));
}

// Adds 12 answers: each verb, waited for and not.
void AskSettler(Settler& settler, const Receipt& receipt, Answers& answers) {
  const milliseconds ms(7);
  answers.Add(settler.Ack(receipt));
  answers.Add(settler.AckUpTo(receipt));
  answers.Add(settler.Nack(receipt));
  answers.Add(settler.Nack(receipt, ms));
  answers.Add(settler.Reject(receipt));
  answers.Add(settler.Extend(receipt, ms));
  answers.Add(settler.AckAsync(receipt));
  answers.Add(settler.AckUpToAsync(receipt));
  answers.Add(settler.NackAsync(receipt));
  answers.Add(settler.NackAsync(receipt, ms));
  answers.Add(settler.RejectAsync(receipt));
  answers.Add(settler.ExtendAsync(receipt, ms));
}

// Adds 8 answers.
void AskPull(PullConsumer& consumer, Answers& answers) {
  std::array<Delivery, 1> into;
  const std::stop_token never;
  answers.Add(consumer.Bind("orders"));
  answers.Add(consumer.Unbind("orders"));
  answers.Add(consumer.Receive(kLong));
  answers.Add(consumer.Receive(kLong, never));
  answers.Add(consumer.ReceiveBatch(2, kLong));
  answers.Add(consumer.ReceiveBatch(2, kLong, never));
  answers.Add(consumer.ReceiveBatch(into, kLong));
  answers.Add(consumer.ReceiveBatch(into, kLong, never));
}

TEST_CASE("OMS-PROD-014: before its start every call of a client is refused") {
  World world;
  Producer producer = world.MakeProducer({.autostart = false});
  PullConsumer pull = world.MakeConsumer({.autostart = false});
  Answers answers;

  AskProducer(producer, answers);
  AskPull(pull, answers);
  AskSettler(pull, Receipt(1, "x"), answers);

  answers.Check(Code::kIllegalState, 9 + 8 + 12);
  CHECK(world.broker->counts().producers_opened == 0);
  CHECK(world.broker->counts().consumers_opened == 0);
  CHECK(producer.state() == LifecycleState::kInitialized);
  CHECK(pull.state() == LifecycleState::kInitialized);
}

TEST_CASE("OMS-PROD-007: after its end every call of a client is refused") {
  World world;
  Producer producer = world.MakeProducer();
  REQUIRE(producer.Send(Message("orders", "x")).ok());
  PullConsumer pull = world.MakeConsumer();
  PushConsumer push = world.MakePushConsumer();
  const auto listener = [](const Message&) { return Ack(); };
  world.broker->AddQueue("other");
  REQUIRE(push.Bind("other", listener).ok());
  REQUIRE(push.Start().ok());
  auto stream = world.bus->CreateStreamReader("orders", 0);
  REQUIRE(stream.ok());
  const auto delivery = pull.Receive(kLong);
  REQUIRE(delivery.ok());
  REQUIRE(delivery->has_value());
  const Receipt receipt = (**delivery).receipt();
  REQUIRE(producer.Stop(Soon()) == 0);
  REQUIRE(pull.Stop(Soon()) == 0);
  REQUIRE(push.Stop(Soon()) == 0);
  REQUIRE(stream->Stop(Soon()) == 0);
  Answers answers;

  AskProducer(producer, answers);
  answers.Add(producer.Start());
  AskPull(pull, answers);
  AskSettler(pull, receipt, answers);
  answers.Add(pull.Start());
  answers.Add(push.Bind("orders", listener));
  answers.Add(push.Unbind("other"));
  AskSettler(push, receipt, answers);
  answers.Add(push.Start());
  answers.Add(stream->Read(1, kLong));
  answers.Add(stream->Read(1, kLong, std::stop_token()));
  answers.Add(stream->Seek(StreamPosition::Offset(0)));
  answers.Add(stream->range());

  answers.Check(Code::kClosed, 9 + 1 + 8 + 12 + 1 + 2 + 12 + 1 + 4);
  // They do not wait, and change nothing.
  CHECK(push.Suspend(kLong));
  push.Resume();
  CHECK(push.state() == LifecycleState::kStopped);
}

TEST_CASE("OMS-PROD-014: a start without an answer ends and can be tried again") {
  Attributes attributes;
  REQUIRE(attributes.Set("operation.timeout", "50ms").ok());
  World world(attributes);
  Producer producer = world.MakeProducer();
  PullConsumer pull = world.MakeConsumer({.autostart = false});
  PushConsumer push = world.MakePushConsumer();
  world.broker->Set([](Script& script) { script.stuck_open = true; });
  const auto start_all = [&] {
    return std::array{producer.Start(), pull.Start(), push.Start()};
  };

  const auto begin = steady_clock::now();
  for (const absl::Status& status : start_all()) {
    CHECK(OmsCode(status) == Code::kTimeout);
  }
  CHECK(steady_clock::now() - begin < std::chrono::seconds(5));

  world.broker->Set([](Script& script) { script.stuck_open = false; });
  for (const absl::Status& status : start_all()) CHECK(status.ok());
  CHECK(producer.Send(Message("orders", "x")).ok());
}

}  // namespace
}  // namespace openmessaging::lifecycle_test
