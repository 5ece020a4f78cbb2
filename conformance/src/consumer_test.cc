// SPDX-License-Identifier: Apache-2.0
//
// What every driver owes a receiver: the message as it was sent, in order,
// within the time that was asked for.

#include <atomic>
#include <cmath>
#include <limits>
#include <stop_token>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::consumer_test {
namespace {

using internal::Concat;

std::string AllBytes() {
  std::string bytes;
  for (int value = 0; value < 256; ++value) {
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-CONS-031", kCore, kAlways,
                     "several queues are received from and listed") {
  const std::string a = t.NewQueue();
  const std::string b = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(a);
  RequireOk(consumer.Bind(b), "bind the second queue");
  RequireOk(consumer.Bind(b), "bind it again");
  RequireEqual(consumer.bound_queues(), {a, b}, "the queues that are bound");

  t.Send(a, "from a");
  t.Send(b, "from b");

  Bodies got;
  for (int i = 0; i < 2; ++i) {
    const Delivery delivery = t.Take(consumer);
    RequireText(delivery->destination(),
                delivery->body() == "from a" ? a : b, "the destination");
    got.emplace_back(delivery->body());
    RequireOk(delivery.Ack(), "acknowledge");
  }
  RequireEqual(Sorted(got), {"from a", "from b"}, "what arrives");
  RequireEqual(t.TakeUntilSentinel(consumer, b), {},
               "a queue that was bound twice");
}

OMS_CONFORMANCE_TEST("OMS-CONS-032", kCore, kAlways,
                     "binding a missing queue is 1404 and never hangs") {
  PullConsumer consumer =
      Must(t.bus().CreatePullConsumer(), "create consumer");
  absl::Status status = consumer.Bind(t.NewName("missing"));
  if (status.ok()) status = consumer.Receive(t.patience()).status();
  RequireCode(status, Code::kQueueNotFound, "receive from a missing queue");
}

OMS_CONFORMANCE_TEST("OMS-CONS-030", kCore, kAlways,
                     "bodies arrive byte by byte") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  std::string large;
  while (large.size() < (size_t{1} << 20)) large += AllBytes();
  const Bodies bodies = {"x", AllBytes(), "\xff\xfe not UTF-8",
                         std::string("a\0b", 3), std::string(3, '\0'), large};

  for (const std::string& body : bodies) t.Send(queue, body);

  for (const std::string& body : bodies) {
    const Delivery got = t.Take(consumer);
    RequireText(got->body(), body, "a body");
    RequireOk(got.Ack(), "acknowledge");
  }
}

OMS_CONFORMANCE_TEST("OMS-PROD-040", kCore, kAlways,
                     "an empty body arrives or is refused with 1402") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Producer producer = t.NewProducer();

  const auto sent = producer.Send(Message(queue, ""));

  if (sent.ok()) {
    RequireEqual(t.TakeUntilSentinel(consumer, queue), {""}, "what arrives");
  } else {
    RequireCode(sent.status(), Code::kBodyRequired, "an empty body");
  }
}

OMS_CONFORMANCE_TEST("OMS-MSG-020", kCore, kAlways,
                     "header fields arrive as they were sent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "body");
  message.SetMessageKey("key \xc3\xa9")
      .SetCorrelationId("correlation")
      .SetReplyTo("replies")
      .SetCompression("zstd")
      .SetTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      .SetTracestate("vendor=1");

  t.Send(message);
  const Delivery got = t.Take(consumer);

  RequireText(got->destination(), queue, "destination");
  RequireText(got->message_key(), message.message_key(), "message_key");
  RequireText(got->correlation_id(), "correlation", "correlation_id");
  RequireText(got->reply_to(), "replies", "reply_to");
  RequireText(got->compression(), "zstd", "compression");
  RequireText(got->traceparent(), message.traceparent(), "traceparent");
  RequireText(got->tracestate(), "vendor=1", "tracestate");
  RequireNumber(got->priority(), Message::kDefaultPriority, "priority");
  RequireNumber(static_cast<int>(got->qos()), 0, "qos");
  RequireNumber(got->delay().count(), 0, "delay");
  RequireNumber(got->expire_at().count(), 0, "expire_at");
}

OMS_CONFORMANCE_TEST("OMS-MSG-021", kCore, kAlways,
                     "texts of properties arrive as they were sent") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "x");
  const Bodies texts = {"",
                        "\"quoted\" \\ / ' \t\r\n",
                        std::string("nul \0 inside", 12),
                        "\xf0\x9f\x8d\x8e \xd0\xb4\xd0\xb0 "
                        "\xe6\x97\xa5\xe6\x9c\xac",
                        std::string(4096, 'v')};
  for (size_t i = 0; i < texts.size(); ++i) {
    RequireOk(message.SetProperty(Concat("key", i), texts[i]), "set");
  }

  t.Send(message);
  const Delivery got = t.Take(consumer);

  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = got->properties().Get<std::string_view>(Concat("key", i));
    RequireOk(text.status(), Concat("property key", i));
    RequireText(*text, texts[i], Concat("property key", i));
  }
  RequireNumber(static_cast<int64_t>(got->properties().size()),
                static_cast<int64_t>(texts.size()), "properties");
}

OMS_CONFORMANCE_TEST("OMS-MSG-023", kCore, kAlways,
                     "a hundred properties arrive") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "x");
  for (int i = 0; i < 100; ++i) {
    RequireOk(message.SetProperty(Concat("p", i), Concat("value ", i)), "set");
  }

  t.Send(message);
  const Delivery got = t.Take(consumer);

  RequireNumber(static_cast<int64_t>(got->properties().size()), 100,
                "properties");
  for (int i = 0; i < 100; ++i) {
    RequireText(got->properties().GetOr(Concat("p", i), ""),
                Concat("value ", i), Concat("property p", i));
  }
}

OMS_CONFORMANCE_TEST("OMS-MSG-022", kCore, Capability::kTypedProperties,
                     "properties keep their types") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  KeyValue nested;
  RequireOk(nested.Put("deep", "value"), "nest");
  KeyValue all;
  RequireOk(all.Put("bool", true), "put");
  RequireOk(all.Put("int16", std::numeric_limits<int16_t>::min()), "put");
  RequireOk(all.Put("int32", std::numeric_limits<int32_t>::max()), "put");
  RequireOk(all.Put("int64", std::numeric_limits<int64_t>::min()), "put");
  RequireOk(all.Put("float", 0.1f), "put");
  RequireOk(all.Put("double", -0.0), "put");
  RequireOk(all.Put("nan", std::numeric_limits<double>::quiet_NaN()), "put");
  RequireOk(all.Put("infinity", -std::numeric_limits<double>::infinity()),
            "put");
  RequireOk(all.Put("string", "text"), "put");
  RequireOk(all.Put("bytes", Bytes{std::string_view("\0\xff", 2)}), "put");
  RequireOk(all.Put("nested", nested), "put");
  Message message(queue, "x");
  message.SetProperties(all);

  t.Send(message);
  const Delivery got = t.Take(consumer);

  for (const auto& [key, value] : all.view()) {
    const auto there = got->properties().Find(key);
    Require(there.has_value(), "property ", key, " did not arrive");
    RequireText(ValueTypeName(there->type()), ValueTypeName(value.type()),
                Concat("the type of ", key));
  }
  Require(got->properties() == all.view(),
          "a value differs from what was sent");
}

OMS_CONFORMANCE_TEST("OMS-ORDER-007", kCore, kAlways,
                     "one producer and one partition keep the order") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const Bodies bodies = Numbers(1, 300);

  t.SendAll(queue, bodies);

  RequireEqual(t.TakeUntilSentinel(consumer, queue), bodies, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-CONS-003", kCore, kAlways,
                     "receive waits its timeout and not longer") {
  constexpr milliseconds kTimeout{150};
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  (void)Must(consumer.Receive(milliseconds(0)), "receive");  // Starts it.

  auto start = steady_clock::now();
  Require(!Must(consumer.Receive(kTimeout), "receive"),
          "an empty queue gave a message");
  const milliseconds waited = Since(start);
  start = steady_clock::now();
  Require(!Must(consumer.Receive(milliseconds(0)), "receive with zero"),
          "an empty queue gave a message");
  const milliseconds looked = Since(start);

  // The clock of the broker's wait may round down by one.
  Require(waited >= kTimeout - milliseconds(1), "receive(", kTimeout.count(),
          " ms) returned after ", waited.count(), " ms");
  Require(waited <= kTimeout + t.late(), "receive(", kTimeout.count(),
          " ms) returned after ", waited.count(), " ms");
  Require(looked <= t.late(), "receive(0) returned after ", looked.count(),
          " ms");
}

OMS_CONFORMANCE_TEST("OMS-CONS-037", kCore, kAlways,
                     "a message that comes ends the wait") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  absl::StatusOr<std::optional<Delivery>> got = std::nullopt;
  std::thread receiver([&] { got = consumer.Receive(t.patience()); });

  const auto start = steady_clock::now();
  absl::Status sent;
  {
    Producer producer = t.NewProducer();
    std::this_thread::sleep_for(milliseconds(20));  // The receiver waits now.
    sent = producer.Send(Message(queue, "wake")).status();
  }
  receiver.join();

  RequireOk(sent, "send");
  Require(Must(std::move(got), "receive").has_value(), "no message came");
  Require(Since(start) < t.late() + milliseconds(20),
          "the message came after ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-CONS-034", kCore, kAlways,
                     "a stop token ends a receive and no message is lost") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  for (int i = 0; i < 5; ++i) {
    std::stop_source stop;
    std::thread stopper([&] { stop.request_stop(); });
    const auto start = steady_clock::now();
    const auto got = consumer.Receive(t.patience(), stop.get_token());
    stopper.join();
    Require(!Must(got, "receive").has_value(), "an empty queue gave a message");
    Require(Since(start) < t.late(), "the receive ended after ",
            Since(start).count(), " ms");
  }
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-CONS-004", kCore, kAlways,
                     "receive without a bound queue is 1602") {
  PullConsumer consumer =
      Must(t.bus().CreatePullConsumer(), "create consumer");
  const auto start = steady_clock::now();
  RequireCode(consumer.Receive(t.patience()), Code::kIllegalState, "receive");
  Require(Since(start) < t.late(), "it took ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-CONS-005", kCore, kAlways,
                     "four threads on one consumer get each message once") {
  constexpr int kCount = 200;
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, kCount));
  Inbox inbox;
  std::atomic<int> failed{0};

  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (true) {
        auto got = consumer.Receive(milliseconds(100));
        if (!got.ok()) ++failed;
        if (!got.ok() || !got->has_value()) return;
        inbox.Put((**got)->body());
        if (!(*got)->Ack().ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  RequireNumber(failed, 0, "calls that failed");
  RequireEqual(Sorted(inbox.texts()), Sorted(Numbers(1, kCount)),
               "what the threads got");
}

OMS_CONFORMANCE_TEST("OMS-CONS-006", kCore, kAlways,
                     "a batch has what is there and at most what was asked") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  t.SendAll(queue, Numbers(1, 10));
  Bodies got;

  while (got.size() < 10) {
    const auto start = steady_clock::now();
    const auto batch =
        Must(consumer.ReceiveBatch(4, t.patience()), "receive a batch");
    Require(!batch.empty(), "there are messages and the batch has none");
    Require(batch.size() <= 4, "a batch of 4 has ", batch.size());
    Require(Since(start) < t.late(), "it waited ", Since(start).count(),
            " ms to be filled");
    for (const Delivery& delivery : batch) {
      got.emplace_back(delivery->body());
      RequireOk(delivery.Ack(), "acknowledge");
    }
  }

  RequireEqual(got, Numbers(1, 10), "what arrives");
  // One that waits for the first does not wait for more.
  std::thread late([&] {
    std::this_thread::sleep_for(milliseconds(60));
    (void)t.NewProducer().Send(Message(queue, "alone"));
  });
  const auto start = steady_clock::now();
  const auto alone = consumer.ReceiveBatch(4, t.patience());
  const milliseconds waited = Since(start);
  late.join();
  RequireNumber(static_cast<int64_t>(Must(alone, "receive a batch").size()), 1,
                "messages");
  Require(waited < t.late(), "it waited ", waited.count(),
          " ms to be filled");
  RequireCode(consumer.ReceiveBatch(0, milliseconds(0)), Code::kBadParameter,
              "a batch of nothing");
}

OMS_CONFORMANCE_TEST("OMS-CONS-007", kCore, kAlways,
                     "unbinding ends deliveries and gives back") {
  const std::string queue = t.NewQueue();
  PullConsumer first = t.NewConsumer(queue);
  t.SendAll(queue, {"held", "waiting"});
  RequireText(t.Take(first)->body(), "held", "the first");

  RequireOk(first.Unbind(queue), "unbind");
  RequireOk(first.Unbind(queue), "unbind again");
  RequireCode(first.Receive(milliseconds(0)), Code::kIllegalState,
              "receive with nothing bound");

  PullConsumer second = t.NewConsumer(queue);
  RequireEqual(Sorted(t.TakeBodies(second, 2)), {"held", "waiting"},
               "what another member gets");
}

OMS_CONFORMANCE_TEST("OMS-PROD-015", kCore, kAlways,
                     "the times of a message lie between its calls") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const milliseconds before = WallNow();
  t.Send(queue, "x");
  const milliseconds after = WallNow();
  const Delivery got = t.Take(consumer);

  // A clock of ticks may be one behind.
  constexpr milliseconds kTick{10};
  const milliseconds born = got->born_timestamp();
  Require(born >= before - kTick && born <= after,
          "born_timestamp is ", born.count(), "; expected ", before.count(),
          " to ", after.count());
  Require(!got->born_host().empty(), "born_host is empty");
  const milliseconds stored = got->store_timestamp();
  Require(stored >= born - t.clock() && stored <= WallNow() + t.clock(),
          "store_timestamp is ", stored.count(), "; born_timestamp ",
          born.count());
}

OMS_CONFORMANCE_TEST("OMS-CONS-019", kCore, kAlways,
                     "a delivery outlives its consumer") {
  const std::string queue = t.NewQueue();
  const std::string body(200000, 'k');
  Delivery kept;
  {
    PullConsumer consumer = t.NewConsumer(queue);
    t.Send(queue, body);
    kept = t.Take(consumer);
  }
  RequireText(kept->body(), body, "the body after its consumer's end");
  RequireText(kept->destination(), queue, "the destination");
  RequireCode(kept.Ack(), Code::kClosed, "acknowledge after the end");
}

}  // namespace openmessaging::conformance::consumer_test
