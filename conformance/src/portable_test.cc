// SPDX-License-Identifier: Apache-2.0
//
// What the library gives above every driver, seen through this one:
// interceptors, telemetry, trace context, secrets, callbacks, and memory.

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "context.h"
#include "registry.h"

namespace openmessaging::conformance::portable_test {
namespace {

using internal::Concat;

// Counts what it sees of each body.
class Watcher final : public ProducerInterceptor, public ConsumerInterceptor {
 public:
  absl::Status BeforeSend(Message& message) override {
    seen.Put(Concat("send ", message.body()));
    return absl::OkStatus();
  }
  absl::Status BeforeReceive(Message& message) override {
    seen.Put(Concat("receive ", message.body()));
    return absl::OkStatus();
  }
  Inbox seen;
};

class CountingSink final : public MetricSink {
 public:
  void Add(std::string_view counter, uint64_t count,
           const TelemetryAttributes& attributes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    counts_[Concat(counter, attributes.error_type.empty() ? "" : " failed")] +=
        static_cast<int64_t>(count);
  }
  void Record(std::string_view, double, const TelemetryAttributes&) override {}
  int64_t Of(const std::string& counter) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = counts_.find(counter);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int64_t> counts_;
};

}  // namespace

OMS_CONFORMANCE_TEST("OMS-INTC-012", kCore, kAlways,
                     "interceptors see each message once in every way") {
  const std::string queue = t.NewQueue();
  auto watcher = std::make_shared<Watcher>();
  Producer producer = t.NewProducer();
  RequireOk(producer.AddInterceptor(watcher), "add to the producer");
  PullConsumer pull = Must(t.bus().CreatePullConsumer({.group = "pull"}),
                           "create consumer");
  RequireOk(pull.AddInterceptor(watcher), "add to the consumer");
  RequireOk(pull.Bind(queue), "bind");

  RequireOk(producer.Send(Message(queue, "sync")).status(), "send");
  const std::vector<Message> batch = {Message(queue, "b1"),
                                      Message(queue, "b2")};
  for (const auto& sent : producer.Send(batch)) {
    RequireOk(sent.status(), "send");
  }
  RequireOk(producer.SendAsync(Message(queue, "async"))
                .AwaitFor(t.patience())
                .status(),
            "send");
  RequireOk(producer.SendOneway(Message(queue, "oneway")), "send one way");
  RequireOk(producer.Flush(t.patience()), "flush");
  (void)t.TakeBodies(pull, 5);

  Inbox pushed;
  PushConsumer push = Must(t.bus().CreatePushConsumer({.group = "push"}),
                           "create consumer");
  RequireOk(push.AddInterceptor(watcher), "add to the push consumer");
  RequireOk(push.Bind(queue,
                      [&](const Message& m) {
                        pushed.Put(m.body());
                        return Ack();
                      }),
            "bind");
  RequireOk(push.Start(), "start");
  const Bodies bodies = {"sync", "b1", "b2", "async", "oneway"};
  if (t.Has(queue, Capability::kStartEarliest)) {
    t.Send(queue, "last");
    Require(pushed.WaitFor(1, t.patience()), "nothing was pushed");
  }
  for (const std::string& body : bodies) {
    const std::string_view name = body;
    const size_t sends = watcher->seen.Count(Concat("send ", name));
    const size_t receives = watcher->seen.Count(Concat("receive ", name));
    Require(sends == 1, "the send of ", name, " was seen ", sends, " times");
    Require(receives >= 1, "the receive of ", name, " was not seen");
  }
}

OMS_CONFORMANCE_TEST("OMS-TEL-010", kCore, kAlways,
                     "counters equal what was done") {
  const std::string queue = t.NewQueue();
  const std::string missing = t.NewName("missing");
  const MessagingAccessPoint bus = t.Connect();
  auto sink = std::make_shared<CountingSink>();
  bus.SetTelemetry({.metrics = sink});
  {
    Producer producer = Must(bus.CreateProducer(), "create producer");
    PullConsumer consumer = Must(bus.CreatePullConsumer(), "create consumer");
    RequireOk(consumer.Bind(queue), "bind");
    for (int n = 0; n < 5; ++n) {
      RequireOk(producer.Send(Message(queue, "x")).status(), "send");
    }
    RequireOk(producer.SendAsync(Message(queue, "x"))
                  .AwaitFor(t.patience())
                  .status(),
              "send without waiting");
    Require(!producer.Send(Message(missing, "x")).ok(), "a missing queue");
    (void)t.TakeBodies(consumer, 6);
  }
  RequireNumber(sink->Of(std::string(kSentMessages)), 6, "sent");
  RequireNumber(sink->Of(Concat(kSentMessages, " failed")), 1, "failed sends");
  RequireNumber(sink->Of(std::string(kConsumedMessages)), 6, "consumed");
  RequireNumber(sink->Of(std::string(kSettledMessages)), 6, "settled");
}

OMS_CONFORMANCE_TEST("OMS-TRC-005", kCore, kAlways,
                     "a trace context is readable where it is received") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const TraceContext context = TraceContext::Parse(
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1");
  Message message(queue, "x");
  SetTraceContext(message, context);
  t.Send(message);
  Require(TraceContextOf(*t.Take(consumer)) == context,
          "the context arrived changed");
}

OMS_CONFORMANCE_TEST("OMS-SEC-006", kCore, kAlways,
                     "a secret is in no error and no text") {
  constexpr std::string_view kSecret = "s3cr3t-of-the-suite";
  Attributes attributes;
  RequireOk(attributes.Set("account.key", kSecret), "set the secret");
  const auto bus = MessagingAccessPoint::Connect(t.url(), attributes);
  const std::string text =
      bus.ok() ? bus->attributes().ToString() : Text(bus.status());
  Require(text.find(kSecret) == std::string::npos, "the secret is printed: ",
          std::string_view(text));
}

OMS_CONFORMANCE_TEST("OMS-FAIL-011", kCore, kAlways,
                     "every call may be made in a callback") {
  const std::string queue = t.NewQueue();
  const std::string other = t.NewQueue();
  auto producer = std::make_shared<Producer>(t.NewProducer());
  auto consumer = std::make_shared<PullConsumer>(t.NewConsumer(other));
  Gate done;
  std::atomic<int> failed{0};
  producer->SendAsync(Message(queue, "x"))
      .OnDone([&, producer, consumer](const absl::StatusOr<SendResult>&) {
        if (!producer->Send(Message(other, "inside")).ok()) ++failed;
        auto got = consumer->Receive(t.patience());
        if (!got.ok() || !got->has_value() || !(*got)->Ack().ok()) ++failed;
        if (!t.bus().capabilities(queue).ok()) ++failed;
        if (!t.bus().CreateProducer().ok()) ++failed;
        consumer->Stop(t.Soon());
        producer->Stop(t.Soon());
        done.Open();
      });
  Require(done.Wait(t.patience() * 2), "a call in a callback does not return");
  RequireNumber(failed, 0, "calls that failed");
}

OMS_CONFORMANCE_TEST("OMS-FAIL-012", kCore, kAlways,
                     "a slow consumer keeps no more than its prefetch") {
  const std::string queue = t.NewQueue();
  // Else the rest stays with the broker, where nobody sees it.
  t.Needs(queue, Capability::kSharedPartition);
  Gate gate;
  PushConsumer slow = Must(
      t.bus().CreatePushConsumer({.prefetch_messages = 1000,
                                  .prefetch_bytes = 4 * 1000}),
      "create consumer");
  const OpenAtEnd open(gate);
  RequireOk(slow.Bind(queue,
                      [&](const Message&) {
                        gate.Wait(t.patience());
                        return Ack();
                      }),
            "bind");
  RequireOk(slow.Start(), "start");
  const std::string body(1000, 'x');
  t.SendAll(queue, Bodies(60, body));
  // What is within its bound stays with the slow one, all else does not.
  PullConsumer other = t.NewConsumer(queue);
  (void)t.TakeBodies(other, 50);
}

OMS_CONFORMANCE_TEST("OMS-PROD-045", kCore, kAlways,
                     "a message of at most once is accepted") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "once");
  message.SetQos(Qos::kAtMostOnce);
  t.Send(message);
  const Delivery got = t.Take(consumer);
  RequireNumber(static_cast<int>(got->qos()), 1, "its qos");
  RequireOk(got.Ack(), "acknowledge");
}

OMS_CONFORMANCE_TEST("OMS-PROD-047", kCore, kAlways,
                     "a one-way send does not wait for the broker") {
  const std::string queue = t.NewQueue();
  Producer producer = t.NewProducer();
  RequireOk(producer.Start(), "start");
  const auto start = steady_clock::now();
  for (int n = 0; n < 100; ++n) {
    RequireOk(producer.SendOneway(Message(queue, "x")), "send one way");
  }
  Require(Since(start) < t.late(), "a hundred took ", Since(start).count(),
          " ms");
  RequireOk(producer.Flush(t.patience()), "flush");
}

OMS_CONFORMANCE_TEST("OMS-MSG-026", kCore, kAlways,
                     "the store time is not before the birth") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  // The time of birth may be told by the store's.
  const milliseconds before = WallNow();
  t.Send(queue, "x");
  const Delivery got = t.Take(consumer);
  if (got->store_timestamp().count() == 0) Skip("there is no store time");
  Require(got->store_timestamp() >= got->born_timestamp() - t.clock() &&
              got->store_timestamp() >= before - t.clock() &&
              got->store_timestamp() <= WallNow() + t.clock(),
          "store_timestamp is ", got->store_timestamp().count(),
          "; born_timestamp ", got->born_timestamp().count());
}

OMS_CONFORMANCE_TEST("OMS-MSG-027", kCore, kAlways,
                     "the origin id is the id at the first broker") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const SendResult sent = t.Send(queue, "x");
  const Delivery got = t.Take(consumer);
  RequireText(got->origin_id().ToString(), sent.message_id.ToString(),
              "the origin id");
}

OMS_CONFORMANCE_TEST("OMS-MSG-025", kCore, kAlways,
                     "a number in a property has its value or its text") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  Message message(queue, "x");
  RequireOk(message.SetProperty("number", int64_t{-42}), "set a property");
  t.Send(message);
  const Delivery got = t.Take(consumer);
  const auto value = got->properties().Find("number");
  Require(value.has_value(), "the property did not arrive");
  if (value->type() == ValueType::kString) {
    RequireText(got->properties().GetOr("number", ""), "-42", "its text");
  } else {
    RequireNumber(got->properties().GetOr<int64_t>("number", 0), -42,
                  "its value");
  }
}

OMS_CONFORMANCE_TEST("OMS-CAP-007", kCore, kAlways,
                     "a batch over the declared size is sent in parts") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const size_t most = std::min<size_t>(
      t.CapabilitiesOf(queue).limits().max_batch_messages.value_or(1000), 2000);
  const int count = static_cast<int>(most) + 1;
  t.SendAll(queue, Numbers(1, count));
  RequireEqual(t.TakeUntilSentinel(consumer, queue), Numbers(1, count),
               "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-RES-008", kAdmin, Capability::kAdmin,
                     "an option that is taken is described") {
  // Each by itself: one that is refused says nothing of the others.
  const auto judge = [&](std::string_view what, const QueueOptions& options,
                         const auto& value) {
    const std::string queue = t.NewName();
    const absl::Status made = t.resources().CreateQueue(queue, options);
    if (!made.ok()) {
      const Code code = OmsCode(made);
      Require(code == Code::kUnsupported || code == Code::kTooManyPartitions,
              "create with ", what, ": expected success or 1600, got ",
              static_cast<int>(code), ": ", std::string_view(Text(made)));
      return;
    }
    const QueueOptions told =
        Must(t.resources().DescribeQueue(queue), "describe").options;
    (void)t.resources().DeleteQueue(queue);
    RequireNumber(value(told), value(options),
                  Concat(what,
                         " as described; refuse with 1600 what cannot "
                         "be given"));
  };
  judge("partitions", {.partitions = 2},
        [](const QueueOptions& o) { return int64_t{o.partitions}; });
  judge("retention", {.retention = milliseconds(5000)},
        [](const QueueOptions& o) { return o.retention.count(); });
  judge("redelivery_delay", {.redelivery_delay = milliseconds(70)},
        [](const QueueOptions& o) { return o.redelivery_delay.count(); });
  judge("max_redelivery_delay", {.max_redelivery_delay = milliseconds(7000)},
        [](const QueueOptions& o) { return o.max_redelivery_delay.count(); });
}

OMS_CONFORMANCE_TEST("OMS-PUSH-016", kQueue, Capability::kGroups,
                     "push members that come and go lose nothing") {
  constexpr int kCount = 200;
  const std::string queue = t.NewQueue();
  Inbox inbox;
  const auto join = [&] {
    PushConsumer member = Must(t.bus().CreatePushConsumer(), "create consumer");
    RequireOk(member.Bind(queue,
                          [&](const Message& m) {
                            inbox.Put(m.body());
                            return Ack();
                          }),
              "bind");
    RequireOk(member.Start(), "start");
    return member;
  };
  PushConsumer stays = join();
  Producer producer = t.NewProducer();
  for (int n = 1; n <= kCount; ++n) {
    RequireOk(producer.Send(Message(queue, std::to_string(n))).status(),
              "send");
    if (n % 50 == 0) join().Stop(t.Soon());
  }
  const auto start = steady_clock::now();
  size_t different = 0;
  while (different < kCount && Since(start) < t.patience()) {
    const Bodies all = inbox.texts();
    different = std::set<std::string>(all.begin(), all.end()).size();
    std::this_thread::sleep_for(milliseconds(2));
  }
  RequireNumber(static_cast<int64_t>(different), kCount, "messages that came");
}

}  // namespace openmessaging::conformance::portable_test
