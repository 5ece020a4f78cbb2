// SPDX-License-Identifier: Apache-2.0
//
// What binds a driver beneath the contract: spec/driver.md.

#include <atomic>
#include <set>
#include <thread>

#include "driver_client.h"
#include "openmessaging/driver/registry.h"
#include "registry.h"

namespace openmessaging::conformance::driver_test {
namespace {

using driver::Verb;
using internal::Concat;

Bodies ReceiveBodies(const Context& t, driver::Consumer& consumer,
                     size_t count) {
  Deliveries got;
  while (got.all.size() < count) {
    const size_t before = got.all.size();
    RequireOk(consumer.Receive(count - before, t.Soon(), got), "receive");
    if (got.all.size() == before) break;
  }
  return got.bodies();
}

}  // namespace

OMS_CONFORMANCE_TEST("OMS-DRV-001", kCore, kAlways,
                     "connecting refuses what the driver cannot use") {
  const Url url = Must(Url::Parse(t.url()), "parse the url");
  Attributes attributes = t.attributes();
  RequireOk(attributes.Set("no-such-attribute", "on"), "set an attribute");
  RequireCode(MessagingAccessPoint::Connect(t.url(), attributes),
              Code::kBadParameter, "connect with an unknown attribute");
  RequireCode(MessagingAccessPoint::Connect(Concat(
                  "oms:", std::string_view(url.driver()), "://")),
              Code::kIllegalUrl, "a URL of nothing but a driver");
}

OMS_CONFORMANCE_TEST("OMS-DRV-002", kCore, kAlways,
                     "a driver tells its name and versions") {
  const Url url = Must(Url::Parse(t.url()), "parse the url");
  const auto found =
      Must(driver::Registry::Default().Find(url.driver()), "find");
  const driver::DriverInfo info = found->Info();
  Require(!info.name.empty() &&
              info.name.find_first_not_of(
                  "abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos,
          "the name is \"", std::string_view(info.name), "\"");
  Require(!info.version.empty(), "it tells no version of its own");
  Require(!info.specification.empty(), "it tells no specification");
}

OMS_CONFORMANCE_TEST("OMS-DRV-003", kCore, kAlways,
                     "a call with a deadline returns by it") {
  constexpr milliseconds kTimeout{80};
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  for (const milliseconds timeout : {kTimeout, milliseconds(0)}) {
    Deliveries none;
    const auto start = steady_clock::now();
    RequireOk(consumer.Receive(1, start + timeout, none), "receive");
    Require(Since(start) < timeout + t.late(), "a receive of ",
            timeout.count(), " ms took ", Since(start).count(), " ms");
  }
  driver::Producer& producer = client.NewProducer();
  const auto start = steady_clock::now();
  RequireOk(producer.Flush(start + kTimeout), "flush");
  Require(Since(start) < kTimeout + t.late(), "a flush of nothing took ",
          Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-DRV-022", kCore, kAlways,
                     "a receive waits for the first message") {
  constexpr milliseconds kTimeout{150};
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  Deliveries got;
  RequireOk(consumer.Receive(1, steady_clock::now(), got), "look");
  const auto start = steady_clock::now();
  RequireOk(consumer.Receive(1, start + kTimeout, got), "receive");
  Require(got.all.empty(), "an empty queue gave a message");
  // Its clock may round down by one.
  Require(Since(start) >= kTimeout - milliseconds(1), "a receive of ",
          kTimeout.count(), " ms returned after ", Since(start).count(), " ms");
}

OMS_CONFORMANCE_TEST("OMS-DRV-004", kCore, kAlways,
                     "send completes each message once") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  std::vector<Message> batch;
  for (int n = 0; n < 30; ++n) batch.emplace_back(queue, "x");
  batch[7].SetDestination(t.NewName("missing"));

  const auto waited = client.Send(producer, batch);

  Require(!waited[7].status.ok(), "a missing queue took a message");
  auto done = MakeLasting<Completions>();
  producer.Send(batch, {.deadline = t.Soon(), .caller_waits = false}, *done);
  const auto entries = done->Wait(batch.size(), t.patience());
  std::set<size_t> indices;
  for (const auto& entry : entries) indices.insert(entry.index);
  RequireNumber(static_cast<int64_t>(entries.size()), 30, "completions");
  RequireNumber(static_cast<int64_t>(indices.size()), 30, "of messages");
}

OMS_CONFORMANCE_TEST("OMS-DRV-005", kCore, kAlways,
                     "settle completes each settlement once") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 6));
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  Deliveries got;
  while (got.all.size() < 6) {
    const size_t before = got.all.size();
    RequireOk(consumer.Receive(6, t.Soon(), got), "receive");
    Require(got.all.size() > before, "a message is missing");
  }
  std::vector<driver::Settlement> batch;
  for (const auto& [message, receipt] : got.all) {
    batch.push_back({receipt, Verb::kAck, milliseconds(0)});
  }
  batch.push_back({Receipt(1, "garbage"), Verb::kAck, milliseconds(0)});
  for (const bool waits : {true, false}) {
    auto done = MakeLasting<Completions>();
    consumer.Settle(batch, {.deadline = t.Soon(), .caller_waits = waits},
                    *done);
    const auto entries = done->Wait(batch.size(), t.patience());
    std::set<size_t> indices;
    for (const auto& entry : entries) indices.insert(entry.index);
    RequireNumber(static_cast<int64_t>(entries.size()), 7, "completions");
    RequireNumber(static_cast<int64_t>(indices.size()), 7, "of settlements");
  }
}

OMS_CONFORMANCE_TEST("OMS-DRV-006", kCore, kAlways,
                     "a completion may send and settle") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  // What it calls must not wait for a lock that the caller holds.
  struct Again final : driver::SendCompletion {
    void Sent(size_t, const SendResult&) override { Go(); }
    void Failed(size_t, absl::Status) override { Go(); }
    void Go() {
      if (++depth < 3) {
        producer->Send({&message, 1}, {.caller_waits = false}, *this);
      } else {
        gate.Open();
      }
    }
    driver::Producer* producer = nullptr;
    Message message{};
    std::atomic<int> depth{0};
    Gate gate;
  };
  auto again = MakeLasting<Again>();
  again->producer = &producer;
  again->message = Message(queue, "nested");
  producer.Send({&again->message, 1}, {.caller_waits = false}, *again);
  Require(again->gate.Wait(t.patience()),
          "a send inside of a completion did not return");
}

OMS_CONFORMANCE_TEST("OMS-DRV-008", kCore, kAlways,
                     "an interrupt ends the receive in progress or the next") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  Deliveries none;

  consumer.Interrupt();
  auto start = steady_clock::now();
  RequireOk(consumer.Receive(1, t.Soon(), none), "receive");
  Require(Since(start) < t.late(), "an interrupt before the receive ended it "
          "after ", Since(start).count(), " ms");

  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(30));
    consumer.Interrupt();
  });
  start = steady_clock::now();
  const absl::Status status = consumer.Receive(1, t.Soon(), none);
  other.join();
  RequireOk(status, "receive");
  Require(Since(start) < milliseconds(30) + t.late(),
          "an interrupt ended the receive after ", Since(start).count(), " ms");
  RequireNumber(static_cast<int64_t>(none.all.size()), 0, "messages");
}

OMS_CONFORMANCE_TEST("OMS-DRV-009", kCore, kAlways,
                     "what ends a receive loses no message") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  std::atomic<bool> stop{false};
  std::thread interrupter([&] {
    while (!stop) {
      consumer.Interrupt();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  Deliveries got;
  absl::Status failed;
  t.SendAll(queue, Numbers(1, 100));
  const auto start = steady_clock::now();
  while (got.all.size() < 100 && failed.ok() && Since(start) < t.patience()) {
    failed = consumer.Receive(3, steady_clock::now() + milliseconds(2), got);
  }
  stop = true;
  interrupter.join();
  RequireOk(failed, "receive");
  RequireEqual(got.bodies(), Numbers(1, 100), "what arrives");
}

OMS_CONFORMANCE_TEST("OMS-DRV-010", kCore, kAlways,
                     "close completes what is left") {
  const std::string queue = t.NewQueue();
  auto done = MakeLasting<Completions>();
  std::vector<Message> batch;
  for (int n = 0; n < 50; ++n) batch.emplace_back(queue, "x");
  {
    DriverClient client(t);
    driver::Producer& producer = client.NewProducer();
    producer.Send(batch, {.caller_waits = false}, *done);
    client.Close();
    RequireNumber(
        static_cast<int64_t>(done->Wait(50, milliseconds(0)).size()), 50,
        "messages that completed before close returned");
  }
}

OMS_CONFORMANCE_TEST("OMS-DRV-013", kCore, kAlways,
                     "another consumer's deliveries have another source") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  std::set<uint64_t> sources;
  for (int i = 0; i < 3; ++i) {
    driver::ConsumerOptions options;
    options.group = Concat("g", i);
    driver::Consumer& consumer = client.NewConsumer(options);
    RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
    t.Send(queue, "x");
    Deliveries got;
    RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
    RequireNumber(static_cast<int64_t>(got.all.size()), 1, "messages");
    sources.insert(got.all[0].second.source());
  }
  RequireNumber(static_cast<int64_t>(sources.size()), 3, "different sources");
}

OMS_CONFORMANCE_TEST("OMS-DRV-012", kCore, kAlways,
                     "what an unbinding takes away is announced") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  t.Send(queue, "x");
  Deliveries got;
  RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
  RequireNumber(static_cast<int64_t>(got.all.size()), 1, "messages");

  RequireOk(consumer.Unbind(queue, t.Soon()), "unbind");

  Require(client.events().IsLost(got.all[0].second.source()),
          "the source was not reported lost before Unbind returned");
}

OMS_CONFORMANCE_TEST("OMS-DRV-014", kCore, kAlways,
                     "a message outlives its consumer and connection") {
  const std::string queue = t.NewQueue();
  const std::string body(100000, 'm');
  t.Send(queue, body);
  Deliveries got;
  {
    DriverClient client(t);
    driver::Consumer& consumer = client.NewConsumer();
    RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
    RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
  }
  RequireNumber(static_cast<int64_t>(got.all.size()), 1, "messages");
  RequireText(got.all[0].first.body(), body, "the body");
  RequireText(got.all[0].first.destination(), queue, "the destination");
}

OMS_CONFORMANCE_TEST("OMS-DRV-015", kCore, kAlways,
                     "a queue that does not exist has capabilities") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  const Capabilities missing = Must(
      client.connection().CapabilitiesOf(t.NewName("missing"), t.Soon()),
      "ask for a missing queue");
  Require(missing == Must(client.connection().CapabilitiesOf(queue, t.Soon()),
                          "ask for a plain queue"),
          "a missing queue has not the capabilities of a plain one");
}

OMS_CONFORMANCE_TEST("OMS-DRV-016", kCore, kAlways,
                     "what is sent once bind returned is not missed") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  for (int i = 0; i < 10; ++i) {
    driver::ConsumerOptions options;
    options.group = Concat("late", i);
    options.start = StartPosition::kLatest;
    driver::Consumer& consumer = client.NewConsumer(options);
    const absl::Status bound = consumer.Bind(queue, {}, t.Soon());
    // It may say that it cannot.
    if (OmsCode(bound) == Code::kUnsupported) return;
    RequireOk(bound, "bind");
    const Message message(queue, std::to_string(i));
    (void)client.Send(producer, {&message, 1});
    RequireEqual(ReceiveBodies(t, consumer, 1), {std::to_string(i)},
                 "the first message after bind");
  }
}

OMS_CONFORMANCE_TEST("OMS-DRV-017", kQueue, Capability::kPromptRelease,
                     "a release gives back at once and uncounted") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Consumer& consumer = client.NewConsumer();
  RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
  t.Send(queue, "released");
  for (int i = 0; i < 3; ++i) {
    Deliveries got;
    const auto start = steady_clock::now();
    RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
    RequireEqual(got.bodies(), {"released"}, "the message");
    RequireNumber(got.all[0].first.delivery_count(), 1, "its delivery count");
    Require(Since(start) < t.late(), "it came after ", Since(start).count(),
            " ms");
    RequireOk(client.Settle(consumer, {got.all[0].second, Verb::kRelease,
                                       milliseconds(0)}),
              "release");
  }
}

OMS_CONFORMANCE_TEST("OMS-DRV-011", kCore, kAlways,
                     "behind a refused message its key is refused too") {
  const std::string queue = t.NewQueue();
  DriverClient client(t);
  driver::Producer& producer = client.NewProducer();
  const std::string missing = t.NewName("missing");
  std::vector<Message> batch;
  for (const std::string& to : {missing, queue, missing}) {
    batch.emplace_back(to, "x");
    batch.back().SetMessageKey("key");
  }
  const auto entries = client.Send(producer, batch);
  Require(!entries[0].status.ok(), "a missing queue took a message");
  RequireOk(entries[1].status, "another destination");
  Require(!entries[2].status.ok(), "a message was stored behind one of its key "
          "that was refused");
}

OMS_CONFORMANCE_TEST("OMS-SET-023", kQueue, Capability::kSettleConfirmed,
                     "a settlement that succeeded holds without its client") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 3));
  {
    DriverClient client(t);
    driver::Consumer& consumer = client.NewConsumer();
    RequireOk(consumer.Bind(queue, {}, t.Soon()), "bind");
    Deliveries got;
    RequireOk(consumer.Receive(1, t.Soon(), got), "receive");
    RequireNumber(static_cast<int64_t>(got.all.size()), 1, "messages");
    RequireOk(client.Settle(consumer, {got.all[0].second, Verb::kAck,
                                       milliseconds(0)}),
              "acknowledge");
  }
  PullConsumer next = t.NewConsumer(queue);
  RequireEqual(t.TakeUntilSentinel(next, queue), Numbers(2, 3),
               "what comes again");
}

}  // namespace openmessaging::conformance::driver_test
