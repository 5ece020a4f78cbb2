// SPDX-License-Identifier: Apache-2.0
//
// What a client makes of a broken connection: a proxy between it and the
// broker cuts, delays and half-opens. What the outcome is judged by (queues,
// the consumer that looks what is there) is connected past the proxy.

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "context.h"
#include "driver_client.h"
#include "registry.h"

namespace openmessaging::conformance::fault_test {
namespace {

using internal::Concat;

// Shorter than the default, because some tests wait for it.
constexpr milliseconds kTimeout{2000};
const std::pair<std::string, std::string> kShort{"operation.timeout", "2s"};

void Pause(milliseconds time) { std::this_thread::sleep_for(time); }

// Calls `attempt` until it answers OK. Fails after `limit`.
template <typename Attempt>
void RequireSoon(milliseconds limit, std::string_view what, Attempt attempt) {
  const auto start = steady_clock::now();
  absl::Status last = attempt();
  while (!last.ok() && Since(start) < limit) {
    Pause(milliseconds(50));
    last = attempt();
  }
  RequireOk(last, Concat(what, " within ", limit.count(), " ms"));
}

// What became of messages 0 to n-1.
struct Sent {
  std::set<std::string> stored;
  std::set<std::string> not_stored;
};

// Sends so many, in batches of ten, while connections are cut: answers are
// under way then, because they take a moment.
Sent SendUnderCuts(Context& t, std::string_view queue, int count) {
  t.proxy().Delay(milliseconds(5));
  DriverClient client(t, t.ProxiedUrl());
  driver::Producer& producer = client.NewProducer();
  auto done = MakeLasting<Completions>();
  std::vector<std::vector<Message>> batches;
  std::vector<std::shared_ptr<Completions>> outcomes;
  Sent sent;
  for (int first = 0; first < count; first += 10) {
    std::vector<Message> batch;
    for (int n = first; n < first + 10; ++n) {
      batch.emplace_back(queue, std::to_string(n));
    }
    auto outcome = MakeLasting<Completions>();
    producer.Send(batch,
                  {.deadline = t.Soon(),
                   .caller_waits = false,
                   .born_timestamp_ms = WallNow().count()},
                  *outcome);
    outcomes.push_back(std::move(outcome));
    Pause(milliseconds(t.random()() % 20));
    if (first % 100 == 50) t.proxy().Cut();
  }
  for (size_t batch = 0; batch < outcomes.size(); ++batch) {
    std::map<size_t, int> times;
    for (const auto& entry :
         outcomes[batch]->Wait(10, t.patience() + t.late())) {
      ++times[entry.index];
      const std::string body = std::to_string(batch * 10 + entry.index);
      if (entry.status.ok()) {
        sent.stored.insert(body);
      } else if (OutcomeOf(entry.status) == Outcome::kNotStored) {
        sent.not_stored.insert(body);
      }
    }
    for (size_t i = 0; i < 10; ++i) {
      RequireNumber(times[i], 1,
                    Concat("completions of message ", batch * 10 + i));
    }
  }
  return sent;
}

// Refuses all connections for `time`. Returns: how long after the beginning
// each attempt came.
std::vector<milliseconds> AttemptsWhileRefused(Context& t, milliseconds time) {
  t.proxy().Set(Traffic::kRefuse);
  t.proxy().Cut();
  t.proxy().Forget();
  const auto start = steady_clock::now();
  Pause(time);
  const auto attempts = t.proxy().attempts();
  t.proxy().Set(Traffic::kPass);
  std::vector<milliseconds> after;
  for (const auto attempt : attempts) {
    after.push_back(std::chrono::duration_cast<milliseconds>(attempt - start));
  }
  return after;
}

std::string ToText(const std::vector<milliseconds>& times) {
  Bodies texts;
  for (const milliseconds time : times) {
    texts.push_back(std::to_string(time.count()));
  }
  return Text(texts);
}

}  // namespace

OMS_CONFORMANCE_FAULT_TEST("OMS-LIFE-008", kResilience, kAlways,
                           "to start without a broker fails, later succeeds") {
  const std::string queue = t.NewQueue();
  t.proxy().Set(Traffic::kRefuse);
  const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
  Producer producer =
      Must(bus.CreateProducer({.autostart = false}), "create producer");

  const auto start = steady_clock::now();
  const absl::Status failed = producer.Start();
  Require(OmsCode(failed) == Code::kUnavailable ||
              OmsCode(failed) == Code::kTimeout,
          "start while the broker refuses: expected 1503 or 1410, got ",
          static_cast<int>(OmsCode(failed)), ": ",
          std::string_view(Text(failed)));
  Require(Since(start) <= kTimeout + t.late(), "it took ", Since(start).count(),
          " ms of ", kTimeout.count());

  t.proxy().Set(Traffic::kPass);
  RequireSoon(t.patience(), "start once the broker is there",
              [&] { return producer.Start(); });
  RequireSoon(t.patience(), "send",
              [&] { return producer.Send(Message(queue, "x")).status(); });
}

OMS_CONFORMANCE_FAULT_TEST("OMS-MAP-015", kResilience, kAlways,
                           "the last of several hosts is enough") {
  const std::string queue = t.NewQueue();
  std::vector<std::string> hosts = {"127.0.0.1:1"};  // Nobody listens there.
  hosts.push_back(t.proxy().hosts().back());
  const MessagingAccessPoint bus =
      Must(MessagingAccessPoint::Connect(t.UrlWithHosts(hosts), t.attributes()),
           "connect");
  Producer producer = Must(bus.CreateProducer(), "create producer");
  RequireSoon(t.patience(), "send",
              [&] { return producer.Send(Message(queue, "x")).status(); });
  PullConsumer consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  RequireText(t.Take(consumer)->body(), "x", "what arrives");
}

OMS_CONFORMANCE_FAULT_TEST("OMS-MAP-017", kResilience, kAlways,
                           "what is not answered ends with its timeout") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
  Producer producer = Must(bus.CreateProducer(), "create producer");
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");

  t.proxy().Set(Traffic::kBlock);
  const auto start = steady_clock::now();
  const absl::Status status = producer.Send(Message(queue, "x")).status();
  const milliseconds took = Since(start);
  RequireCode(status, Code::kTimeout, "a send that nobody answers");
  Require(took >= kTimeout - milliseconds(5) && took <= kTimeout + t.late(),
          "it ended after ", took.count(), " ms; its timeout is ",
          kTimeout.count());
}

OMS_CONFORMANCE_FAULT_TEST("OMS-PROD-043", kResilience, kAlways,
                           "a send whose answer is lost is no success") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
  Producer producer = Must(bus.CreateProducer(), "create producer");
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");

  t.proxy().Set(Traffic::kMute);
  const absl::Status status = producer.Send(Message(queue, "muted")).status();
  Require(OmsCode(status) == Code::kTimeout ||
              OmsCode(status) == Code::kFlushTimeout,
          "a send whose answer is lost: expected 1410 or 1504, got ",
          static_cast<int>(OmsCode(status)), ": ",
          std::string_view(Text(status)));
  const Bodies bodies = t.TakeUntilSentinel(consumer, queue);
  const bool arrived =
      std::find(bodies.begin(), bodies.end(), "muted") != bodies.end();
  Require(!arrived || OutcomeOf(status) != Outcome::kNotStored,
          "it is said not to be stored, and arrived");
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-003", kResilience, kAlways,
                           "a send that is cut ends within its timeout") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
  Producer producer = Must(bus.CreateProducer(), "create producer");
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");
  t.proxy().Delay(milliseconds(20));
  for (int round = 0; round < 5; ++round) {
    std::vector<Future<SendResult>> sends;
    const auto start = steady_clock::now();
    for (int n = 0; n < 20; ++n) {
      sends.push_back(producer.SendAsync(Message(queue, std::to_string(n))));
    }
    Pause(milliseconds(t.random()() % 30));
    t.proxy().Cut();
    for (const auto& send : sends) {
      const auto left = kTimeout + t.late() - Since(start);
      (void)send.AwaitFor(std::max(left, milliseconds(0)));
      Require(send.Ready(), "a send has no outcome ", Since(start).count(),
              " ms after it began; its timeout is ", kTimeout.count());
    }
  }
  RequireSoon(t.patience(), "send after the cuts",
              [&] { return producer.Send(Message(queue, "after")).status(); });
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-004", kResilience, kAlways,
                           "what is not stored over a cut is not delivered") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  const Sent sent = SendUnderCuts(t, queue, 300);
  t.proxy().Heal();
  std::set<std::string> arrived;
  for (const std::string& body : t.TakeUntilSentinel(consumer, queue)) {
    Require(!sent.not_stored.contains(body), "message ", std::string_view(body),
            " arrived; its send said not stored");
    arrived.insert(body);
  }
  for (const std::string& body : sent.stored) {
    Require(arrived.contains(body), "message ", std::string_view(body),
            " is lost; its send succeeded");
  }
  Require(!sent.stored.empty(), "none of 300 sends succeeded");
}

OMS_CONFORMANCE_FAULT_TEST("OMS-ORDER-009", kResilience, kAlways,
                           "the order holds over cuts") {
  const std::string queue = t.NewQueue();
  PullConsumer consumer = t.NewConsumer(queue);
  (void)SendUnderCuts(t, queue, 300);
  t.proxy().Heal();
  int last = -1;
  std::set<int> seen;
  for (const std::string& body : t.TakeUntilSentinel(consumer, queue)) {
    const int n = std::stoi(body);
    if (!seen.insert(n).second) continue;  // It came before.
    Require(n > last, "message ", n, " came first after message ", last);
    last = n;
  }
}

OMS_CONFORMANCE_RESTART_TEST("OMS-FAIL-001", kResilience, Capability::kDurable,
                             "clients go on after the broker's restart") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.Connect({kShort});
  Producer producer = Must(bus.CreateProducer(), "create producer");
  PullConsumer consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");
  RequireText(t.Take(consumer)->body(), "before", "before the restart");

  t.RestartUnderClients();
  RequireSoon(t.patience(), "send after the restart",
              [&] { return producer.Send(Message(queue, "after")).status(); });
  // "before" was not settled and may come again.
  const auto start = steady_clock::now();
  bool came = false;
  while (!came && Since(start) < t.patience()) {
    const auto received = consumer.Receive(milliseconds(500));
    if (!received.ok() || !*received) continue;
    came = (**received)->body() == "after";
    (void)(*received)->Ack();
  }
  Require(came, "the consumer received nothing within ", t.patience().count(),
          " ms after the restart");
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-005", kResilience, kAlways,
                           "a half-open connection is noticed") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
  Producer producer = Must(bus.CreateProducer(), "create producer");
  PullConsumer consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  RequireOk(producer.Send(Message(queue, "before")).status(), "send");
  RequireOk(t.Take(consumer).Ack(), "acknowledge");

  t.proxy().HalfOpen();
  const auto start = steady_clock::now();
  const milliseconds limit = t.half_open() + t.late();
  t.Send(queue, "past the proxy");
  bool came = false;
  while (!came && Since(start) < limit) {
    const auto received = consumer.Receive(milliseconds(500));
    if (!received.ok() || !*received) continue;
    came = (**received)->body() == "past the proxy";
    (void)(*received)->Ack();
  }
  Require(came, "the consumer received nothing within ", limit.count(),
          " ms after its connection died");
  RequireSoon(limit, "send over a connection that died",
              [&] { return producer.Send(Message(queue, "again")).status(); });
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-006", kResilience, kAlways,
                           "attempts to reconnect back off, with jitter") {
  const milliseconds kTime{6000};
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectThroughProxy();
  PullConsumer consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  (void)consumer.Receive(milliseconds(0));

  const size_t hosts = t.proxy().hosts().size();
  std::vector<std::vector<milliseconds>> rounds;
  for (int round = 0; round < 2; ++round) {
    rounds.push_back(AttemptsWhileRefused(t, kTime));
    const auto& times = rounds.back();
    const std::string text =
        Concat("attempts after so many ms: ", std::string_view(ToText(times)));
    Require(times.size() >= 2, "it hardly tried; ", std::string_view(text));
    Require(times.size() <= 60 * hosts, "it tried too often; ",
            std::string_view(text));
    const auto late =
        std::count_if(times.begin(), times.end(),
                      [kTime](auto time) { return time > kTime - kTime / 3; });
    const auto early =
        std::count_if(times.begin(), times.end(),
                      [kTime](auto time) { return time < kTime / 3; });
    // Two a second are slow already, however many connections there are.
    Require(late < early || late <= 4 * static_cast<long>(hosts),
            "it does not back off; ", std::string_view(text));
    // Until it is connected again.
    t.Send(queue, "x");
    const auto start = steady_clock::now();
    while (Since(start) < t.patience()) {
      const auto received = consumer.Receive(milliseconds(500));
      if (!received.ok() || !*received) continue;
      (void)(*received)->Ack();
      break;
    }
  }
  bool differ = rounds[0].size() != rounds[1].size();
  for (size_t i = 0; i < std::min(rounds[0].size(), rounds[1].size()); ++i) {
    differ |= abs(rounds[0][i] - rounds[1][i]) > milliseconds(5);
  }
  Require(differ, "there is no jitter; twice ",
          std::string_view(ToText(rounds[0])));
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-007", kResilience, kAlways,
                           "Stop ends the wait for the next attempt") {
  const std::string queue = t.NewQueue();
  const MessagingAccessPoint bus = t.ConnectThroughProxy();
  Producer producer = Must(bus.CreateProducer(), "create producer");
  PullConsumer consumer =
      Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
  RequireOk(consumer.Bind(queue), "bind");
  RequireOk(producer.Send(Message(queue, "x")).status(), "send");
  t.proxy().Set(Traffic::kRefuse);
  t.proxy().Cut();
  Pause(milliseconds(1500));

  auto start = steady_clock::now();
  (void)consumer.Stop(start);
  Require(Since(start) <= t.late(), "to stop the consumer took ",
          Since(start).count(), " ms");
  start = steady_clock::now();
  (void)producer.Stop(start);
  Require(Since(start) <= t.late(), "to stop the producer took ",
          Since(start).count(), " ms");
}

OMS_CONFORMANCE_FAULT_TEST("OMS-FAIL-008", kResilience, kAlways,
                           "a receive that is cut loses nothing") {
  const std::string queue = t.NewQueue();
  t.SendAll(queue, Numbers(1, 10));
  std::set<std::string> missing;
  for (const std::string& body : Numbers(4, 12)) missing.insert(body);
  {
    const MessagingAccessPoint bus = t.ConnectThroughProxy({kShort});
    PullConsumer consumer =
        Must(bus.CreatePullConsumer(PullConsumerOptions{}), "create consumer");
    RequireOk(consumer.Bind(queue), "bind");
    (void)t.TakeBodies(consumer, 3);
    std::vector<Delivery> held;
    for (int i = 0; i < 3; ++i) held.push_back(t.Take(consumer));

    t.proxy().Cut();
    t.SendAll(queue, Numbers(11, 12));
    const auto start = steady_clock::now();
    bool goes_on = false;
    while (!goes_on && Since(start) < t.patience()) {
      const auto received = consumer.Receive(milliseconds(500));
      if (!received.ok() || !*received) continue;
      goes_on = true;
      const std::string body((**received)->body());
      if ((*received)->Ack().ok()) missing.erase(body);
    }
    Require(goes_on, "it received nothing within ", t.patience().count(),
            " ms after the cut");
  }
  PullConsumer heir = t.NewConsumer(queue);
  const auto start = steady_clock::now();
  while (!missing.empty() && Since(start) < t.patience()) {
    auto received = Must(heir.Receive(milliseconds(500)), "receive");
    if (!received) continue;
    missing.erase(std::string((*received)->body()));
    RequireOk(received->Ack(), "acknowledge");
  }
  Require(missing.empty(), "never settled, and never came again: ",
          std::string_view(Text(Bodies(missing.begin(), missing.end()))));
}

OMS_CONFORMANCE_FAULT_TEST("OMS-ERR-007", kResilience, kAlways,
                           "what the broker reported is told") {
  const std::string missing = t.NewName("missing");
  Producer producer = t.NewProducer();
  const absl::Status status = producer.Send(Message(missing, "x")).status();
  RequireCode(status, Code::kQueueNotFound, "send to a missing queue");
  Require(!DetailOf(status).native.empty(),
          "the detail has neither a code nor a text of the broker's");
}

OMS_CONFORMANCE_FOREIGN_TEST("OMS-MSG-024", kCore, kAlways,
                             "a foreign client's message is received") {
  const std::string queue = t.NewQueue();
  t.SendForeign(queue, "from elsewhere");
  PullConsumer consumer = t.NewConsumer(queue);
  const Delivery delivery = t.Take(consumer);
  RequireText(delivery->body(), "from elsewhere", "the body");
  RequireOk(delivery.Ack(), "acknowledge");
  RequireEqual(t.TakeUntilSentinel(consumer, queue), {}, "what else is there");
}

}  // namespace openmessaging::conformance::fault_test
