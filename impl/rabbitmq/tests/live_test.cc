// SPDX-License-Identifier: Apache-2.0
//
// The driver and a broker, whose URL is in OMS_RABBITMQ_URL: what the suite
// cannot ask, because it speaks of RabbitMQ.

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "channel.h"
#include "config.h"
#include "link.h"
#include "live_broker.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::rabbitmq::rabbitmq_live_test {
namespace {

using std::chrono::milliseconds;

// Another client, which knows nothing of OpenMessaging.
class Foreign {
 public:
  explicit Foreign(const std::string& url) {
    const size_t port = url.rfind(':');
    amqp_socket_t* const socket = amqp_tcp_socket_new(connection_);
    REQUIRE(amqp_socket_open(socket, "127.0.0.1",
                             std::stoi(url.substr(port + 1))) == 0);
    REQUIRE(amqp_login(connection_, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                       "guest", "guest")
                .reply_type == AMQP_RESPONSE_NORMAL);
    REQUIRE(amqp_channel_open(connection_, 1) != nullptr);
  }
  ~Foreign() { amqp_destroy_connection(connection_); }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;

  void Make(const std::string& queue) const {
    REQUIRE(amqp_queue_declare(connection_, 1,
                               amqp_cstring_bytes(queue.c_str()), 0, 1, 0, 0,
                               amqp_empty_table) != nullptr);
  }
  void Delete(const std::string& queue) const {
    REQUIRE(amqp_queue_delete(connection_, 1, amqp_cstring_bytes(queue.c_str()),
                              0, 0) != nullptr);
  }
  // Takes the place of all members at once: nothing is waited for.
  void JoinAlone(const std::string& queue) const {
    const amqp_bytes_t name = amqp_cstring_bytes(queue.c_str());
    amqp_table_entry_t expires{};
    expires.key = amqp_cstring_bytes("x-expires");
    expires.value.kind = AMQP_FIELD_KIND_I32;
    expires.value.value.i32 = 60000;
    amqp_queue_delete_t remove{};
    remove.queue = name;
    amqp_queue_declare_t declare{};
    declare.queue = name;
    declare.durable = 0;
    declare.arguments = {1, &expires};
    amqp_basic_consume_t consume{};
    consume.queue = name;
    consume.exclusive = 1;
    REQUIRE(amqp_send_method(connection_, 1, AMQP_QUEUE_DELETE_METHOD,
                             &remove) == AMQP_STATUS_OK);
    REQUIRE(amqp_send_method(connection_, 1, AMQP_QUEUE_DECLARE_METHOD,
                             &declare) == AMQP_STATUS_OK);
    REQUIRE(amqp_send_method(connection_, 1, AMQP_BASIC_CONSUME_METHOD,
                             &consume) == AMQP_STATUS_OK);
  }

 private:
  const amqp_connection_state_t connection_ = amqp_new_connection();
};

}  // namespace

TEST_CASE("what is given back for later is the message that it was") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr milliseconds kDelay{200};
  Live live(url);
  PullConsumer consumer = live.NewConsumer();
  PullConsumer other = live.NewConsumer({.group = "other"});
  auto producer = live.bus.CreateProducer().value();
  Message message(live.queue, "body");
  message.SetMessageKey("key").SetCorrelationId("c");
  REQUIRE(message.SetProperty("mine", 7).ok());
  const auto sent = producer.Send(message);
  REQUIRE(sent.ok());

  for (int count = 1; count <= 3; ++count) {
    const Delivery got = Take(consumer);
    CHECK(got->message_id() == sent->message_id);
    CHECK(got->delivery_count() == count);
    CHECK(got->message_key() == "key");
    CHECK(got->correlation_id() == "c");
    CHECK(got->properties().GetOr("mine", 0) == 7);
    CHECK(got->properties().size() == 1);
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(got.Nack(kDelay).ok());
    CHECK(OmsCode(got.Ack()) == Code::kReceiptExpired);
    CHECK(!consumer.Receive(kDelay / 2).value());
    CHECK(std::chrono::steady_clock::now() - start >= kDelay / 2);
  }
  REQUIRE(Take(consumer).Ack().ok());
  // It is nobody else's.
  CHECK(Take(other)->delivery_count() == 1);
  CHECK(!other.Receive(milliseconds(0)).value());
}

TEST_CASE("what was delayed comes to each group and no later for a lost one") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr int kLost = 100;
  constexpr milliseconds kDelay{300};
  Live live(url);
  PullConsumer consumer = live.NewConsumer();
  PullConsumer other = live.NewConsumer({.group = "other"});
  PullConsumer member = live.NewConsumer({.broadcast = true});
  auto producer = live.bus.CreateProducer().value();
  {
    // More than a broker keeps on their way at once.
    Live gone(url);
    for (int n = 0; n < kLost; ++n) {
      Message lost(gone.queue, "lost");
      REQUIRE(producer.Send(lost.SetDelay(kDelay)).ok());
    }
  }
  Message message(live.queue, "later");
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(producer.Send(message.SetDelay(kDelay)).ok());

  for (PullConsumer* const one : {&consumer, &other, &member}) {
    const Delivery got = Take(*one);
    CHECK(got->body() == "later");
    CHECK(std::chrono::steady_clock::now() - start >= kDelay);
    REQUIRE(got.Ack().ok());
  }
}

TEST_CASE("a delayed send to a queue that is not there fails") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);
  auto producer = live.bus.CreateProducer().value();
  Message nowhere("live-nowhere", "x");
  nowhere.SetDelay(milliseconds(50));
  for (int n = 0; n < 2; ++n) {
    const auto sent = producer.Send(nowhere);
    CHECK(OmsCode(sent.status()) == Code::kQueueNotFound);
    CHECK(DetailOf(sent.status()).outcome == Outcome::kNotStored);
  }
  Message here(live.queue, "here");
  CHECK(producer.Send(here.SetDelay(milliseconds(1))).ok());
}

TEST_CASE("what was delayed expires and does not come early for it") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);
  PullConsumer consumer = live.NewConsumer();
  auto producer = live.bus.CreateProducer().value();
  Message expires(live.queue, "expires");
  expires.SetDelay(milliseconds(600));
  ExpireAfter(expires, milliseconds(50));
  REQUIRE(producer.Send(expires).ok());
  Message stays(live.queue, "stays");
  stays.SetDelay(milliseconds(700));
  ExpireAfter(stays, std::chrono::hours(1));
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(producer.Send(stays).ok());

  CHECK(Take(consumer)->body() == "stays");
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(700));
}

TEST_CASE("OMS-SEC-003: a refused link tries again only when it is asked to") {
  // Counts how often it could not be opened.
  struct Refused final : Channel {
    void OnOpen() override { ++opened; }
    void OnDown(const absl::Status&, bool) override { ++downs; }
    std::atomic<int> opened{0};
    std::atomic<int> downs{0};
  };
  const std::string text = BrokerUrl();
  if (text.empty()) return;
  const Url url = Url::Parse(text).value();
  Config config = ReadConfig(url, url.attributes()).value();
  config.password = "wrong";
  config.reconnect_wait = milliseconds(10);
  Link link(config, "test");
  const auto channel = std::make_shared<Refused>();
  const auto await = [&](int downs) {
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    while (channel->downs < downs &&
           std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    REQUIRE(channel->downs == downs);
  };
  for (int asked = 1; asked <= 3; ++asked) {
    REQUIRE(link.Post([&] {
      if (asked == 1) link.Attach(channel);
      if (asked > 1) link.Want();
    }));
    await(asked);
    // Far longer than it waits between attempts.
    std::this_thread::sleep_for(milliseconds(300));
    CHECK(channel->downs == asked);
  }
  CHECK(channel->opened == 0);
  link.Stop(std::chrono::steady_clock::now() + kPatience);
}

TEST_CASE("a queue that others made takes what is sent to it in order") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr int kCount = 300;
  const Foreign foreign(url);
  const std::string queue = internal::Concat("foreign-", ::getpid());
  foreign.Make(queue);
  auto bus = MessagingAccessPoint::Connect(url).value();
  auto producer = bus.CreateProducer().value();
  std::vector<Message> batch;
  for (int n = 1; n <= kCount; ++n) {
    batch.emplace_back(queue, std::to_string(n));
  }
  for (const auto& sent : producer.Send(batch)) {
    REQUIRE_MESSAGE(sent.ok(), std::string(sent.status().message()));
  }
  auto consumer = bus.CreatePullConsumer().value();
  REQUIRE(consumer.Bind(queue).ok());
  for (int n = 1; n <= kCount; ++n) {
    const Delivery got = Take(consumer);
    CHECK(got->body() == std::to_string(n));
    CHECK(got.Ack().ok());
  }
  foreign.Delete(queue);
}

TEST_CASE("neither a missing queue nor the driver's own takes messages") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);  // So that there is a catalog.
  auto producer = live.bus.CreateProducer().value();
  for (const char* const queue : {"there-is-none", "oms.catalog"}) {
    const auto sent = producer.Send(Message(queue, "x"));
    CHECK(!sent.ok());
    CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
  }
}

TEST_CASE("what is rejected just before an orderly end is a dead letter once") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr int kCount = 200;
  Live graves(url);
  Live live(url, {.dead_letter_queue = graves.queue});
  live.Send(2 * kCount);
  {
    PullConsumer consumer = live.NewConsumer();
    std::vector<Delivery> held;
    while (held.size() < 2 * kCount) held.push_back(Take(consumer));
    for (size_t i = 0; i < held.size(); ++i) {
      (void)(i % 2 == 0 ? held[i].AckAsync() : held[i].RejectAsync());
    }
  }
  PullConsumer dead = graves.NewConsumer();
  for (int n = 1; n <= kCount; ++n) {
    const Delivery got = Take(dead);
    CHECK(got->body() == std::to_string(2 * n));
    CHECK(got.Ack().ok());
  }
  CHECK(!dead.Receive(milliseconds(300)).value().has_value());
  PullConsumer next = live.NewConsumer();
  CHECK(!next.Receive(milliseconds(300)).value().has_value());
}

TEST_CASE("what expires for two groups is a dead letter once") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live graves(url);
  Live live(url, {.dead_letter_queue = graves.queue});
  PullConsumer first = live.NewConsumer({.group = "first"});
  PullConsumer second = live.NewConsumer({.group = "second"});
  const auto now = std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  Message message(live.queue, "late");
  message.SetExpireAt(now + milliseconds(200));
  auto producer = live.bus.CreateProducer().value();
  REQUIRE(producer.Send(message).ok());
  std::this_thread::sleep_for(milliseconds(400));
  CHECK(!second.Receive(milliseconds(300)).value().has_value());
  CHECK(!first.Receive(milliseconds(300)).value().has_value());
  PullConsumer dead = graves.NewConsumer();
  const Delivery grave = Take(dead);
  CHECK(grave->properties().GetOr(kDeadGroup, "") == "first");
  CHECK(grave->properties().GetOr(kDeadReason, "") == kDeadExpired);
  CHECK(grave.Ack().ok());
  CHECK(!dead.Receive(milliseconds(300)).value().has_value());
}

TEST_CASE("a member that was pushed out comes back when it can") {
  // As after a broken connection, of which the broker does not know yet.
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);
  PullConsumer consumer = live.NewConsumer({.exclusive = true});
  {
    const Foreign foreign(url);
    foreign.JoinAlone(live.queue + "@@members");
    const auto none = consumer.Receive(milliseconds(1500));
    REQUIRE_MESSAGE(none.ok(), std::string(none.status().message()));
    // It is out, or the other could not have been alone.
    auto other = live.bus.CreatePullConsumer().value();
    CHECK(OmsCode(other.Bind(live.queue)) == Code::kConsumerExists);
  }
  live.Send(1);
  CHECK(Take(consumer).Ack().ok());
}

TEST_CASE("without its dead-letter queue nothing is lost") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  const Foreign foreign(url);
  Live graves(url);
  Live live(url, {.max_deliveries = 2, .dead_letter_queue = graves.queue});
  live.Send(1);
  PullConsumer consumer = live.NewConsumer();
  foreign.Delete(graves.queue);
  // A reject fails, and the message comes again.
  CHECK(OmsCode(Take(consumer).Reject()) == Code::kQueueNotFound);
  const Delivery again = Take(consumer);
  CHECK(again->delivery_count() == 2);
  CHECK(again.Nack().ok());
  // What nobody gets any more waits until the queue is there.
  CHECK(!consumer.Receive(milliseconds(300)).value().has_value());
  foreign.Make(graves.queue);
  PullConsumer dead = graves.NewConsumer();
  const Delivery grave = Take(dead);
  CHECK(grave->properties().GetOr(kDeadReason, "") == kDeadMaxDeliveries);
  CHECK(grave->properties().GetOr<int32_t>(kDeadDeliveries, 0) == 2);
  CHECK(grave.Ack().ok());
  CHECK(!dead.Receive(milliseconds(300)).value().has_value());
}

TEST_CASE("what is sent is received and acknowledged once") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);
  live.Send(3);
  {
    PullConsumer consumer = live.NewConsumer();
    for (int n = 1; n <= 3; ++n) {
      const Delivery got = Take(consumer);
      CHECK(got->body() == std::to_string(n));
      CHECK(got.Ack().ok());
    }
  }
  PullConsumer next = live.NewConsumer();
  const auto none = next.Receive(milliseconds(300));
  REQUIRE(none.ok());
  CHECK(!none->has_value());
}

TEST_CASE("threads that share a connection miss nothing") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr int kEach = 60;
  constexpr int kSenders = 3;
  constexpr int kReceivers = 2;
  Live live(url);
  auto producer = live.bus.CreateProducer().value();
  std::vector<PullConsumer> consumers;
  for (int n = 0; n < kReceivers; ++n) consumers.push_back(live.NewConsumer());
  std::atomic<int> got{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;

  // One by one, so that each waits for its own answer among the others'; every
  // fourth does not wait.
  for (int n = 0; n < kSenders; ++n) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        const Message message(live.queue, std::to_string(i));
        const bool sent = i % 4 == 0
                              ? producer.SendAsync(message).Await().ok()
                              : producer.Send(message).ok();
        if (!sent) ++failed;
      }
    });
  }
  for (PullConsumer& consumer : consumers) {
    threads.emplace_back([&] {
      const auto end = std::chrono::steady_clock::now() + kPatience;
      while (got < kSenders * kEach && std::chrono::steady_clock::now() < end) {
        const auto one = consumer.Receive(milliseconds(50));
        if (!one.ok()) ++failed;
        if (!one.ok() || !one->has_value()) continue;
        ++got;
        if (!(**one).Ack().ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(got == kSenders * kEach);
  CHECK(failed == 0);
}

TEST_CASE("five hundred acknowledgements outlive an orderly end at once") {
  // A quorum queue has some of them in the channel, and forgets them with it.
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  constexpr int kCount = 500;
  Live live(url);
  live.Send(kCount);
  {
    PullConsumer consumer = live.NewConsumer();
    std::vector<Delivery> held;
    while (held.size() < kCount) held.push_back(Take(consumer));
    // From the last on, so that none can be joined with another.
    for (size_t i = held.size(); i-- > 0;) (void)held[i].AckAsync();
  }
  PullConsumer next = live.NewConsumer();
  int again = 0;
  while (true) {
    const auto left = next.Receive(milliseconds(500));
    REQUIRE(left.ok());
    if (!left->has_value()) break;
    ++again;
  }
  CHECK(again == 0);
}

TEST_CASE("a consumer that only holds does not take what it did not ask for") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Live live(url);
  PullConsumer idle = live.NewConsumer();
  PullConsumer busy = live.NewConsumer();
  live.Send(10);
  const Delivery held = Take(idle);
  std::set<std::string> got;
  for (int i = 0; i < 9; ++i) {
    const Delivery delivery = Take(busy);
    CHECK(delivery->delivery_count() == 1);
    got.emplace(delivery->body());
    CHECK(delivery.Ack().ok());
  }
  CHECK(got.size() == 9);
}

TEST_CASE("what was confirmed outlives a broker that is killed") {
  // A command that kills the broker at once and starts it again.
  const char* const restart = std::getenv("OMS_RABBITMQ_KILL_AND_START");
  const std::string url = BrokerUrl();
  if (url.empty() || restart == nullptr) return;
  Live live(url);
  PullConsumer consumer = live.NewConsumer();
  std::set<std::string> confirmed;
  std::atomic<int> attempted{0};
  std::atomic<bool> killed{false};
  std::thread sender([&] {
    auto producer = live.bus.CreateProducer().value();
    for (int n = 0; n < 600 || !killed; ++n) {
      const std::string body = std::to_string(n);
      ++attempted;
      if (producer.Send(Message(live.queue, body)).ok()) confirmed.insert(body);
    }
  });
  std::thread killer([&] {
    // A quorum queue of 3.10 that was made a moment before a kill has no leader
    // any more, whoever asks (seen).
    std::this_thread::sleep_for(milliseconds(7000));
    CHECK(std::system(restart) == 0);  // NOLINT(cert-env33-c)
    killed = true;
  });
  std::set<std::string> got;
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  const auto receive = [&] {
    auto one = consumer.Receive(milliseconds(500));
    if (!one.ok() || !one->has_value()) return false;
    got.emplace((**one)->body());
    (void)(*one)->AckAsync();
    return true;
  };
  std::atomic<bool> sent{false};
  std::thread waiter([&] {
    killer.join();
    sender.join();
    sent = true;
  });
  while (!sent && std::chrono::steady_clock::now() < end) (void)receive();
  waiter.join();
  const auto all = [&] {
    return std::includes(got.begin(), got.end(), confirmed.begin(),
                         confirmed.end());
  };
  while (!all() && std::chrono::steady_clock::now() < end) (void)receive();
  CHECK(confirmed.size() > 0);
  for (const std::string& body : confirmed) {
    CHECK_MESSAGE(got.contains(body), body, " was confirmed and lost");
  }
  MESSAGE(confirmed.size(), " of ", attempted.load(), " confirmed, ",
          got.size(), " received");
}

TEST_CASE("what is rejected while the broker is killed is never lost") {
  const char* const restart = std::getenv("OMS_RABBITMQ_KILL_AND_START");
  const std::string url = BrokerUrl();
  if (url.empty() || restart == nullptr) return;
  constexpr size_t kCount = 2000;
  Live graves(url);
  Live live(url, {.dead_letter_queue = graves.queue});
  live.Send(static_cast<int>(kCount));
  PullConsumer consumer = live.NewConsumer();
  PullConsumer dead = graves.NewConsumer();
  // As above: a queue that was just made does not outlive it.
  std::this_thread::sleep_for(milliseconds(7000));
  std::thread killer([&] {
    std::this_thread::sleep_for(milliseconds(100));
    CHECK(std::system(restart) == 0);  // NOLINT(cert-env33-c)
  });
  std::set<std::string> buried;
  size_t rejected = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (buried.size() < kCount && std::chrono::steady_clock::now() < end) {
    auto one = consumer.Receive(milliseconds(20));
    if (one.ok() && one->has_value()) {
      ++rejected;
      (void)(*one)->RejectAsync();
      // So that the broker is killed in the middle.
      std::this_thread::sleep_for(milliseconds(1));
      continue;
    }
    auto grave = dead.Receive(milliseconds(20));
    if (!grave.ok() || !grave->has_value()) continue;
    buried.emplace((**grave)->body());
    (void)(*grave)->AckAsync();
  }
  killer.join();
  CHECK(buried.size() == kCount);
  MESSAGE(rejected, " rejected, ", buried.size(), " of ", kCount, " buried");
}

TEST_CASE("wrong credentials are told at once and without the password") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  Attributes attributes;
  REQUIRE(attributes.Set("password", "not-the-pass-word").ok());
  auto bus = MessagingAccessPoint::Connect(url, attributes).value();
  auto producer = bus.CreateProducer().value();
  const absl::Status started = producer.Start();
  CHECK(OmsCode(started) == Code::kUnauthorized);
  CHECK(std::string(started.message()).find("not-the-pass-word") ==
        std::string::npos);
  CHECK(!IsRetriable(started));
}

TEST_CASE("a broker that is not there is told in time") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  auto bus =
      MessagingAccessPoint::Connect("oms:rabbitmq://127.0.0.1:1").value();
  auto producer = bus.CreateProducer().value();
  const auto begin = std::chrono::steady_clock::now();
  const auto sent = producer.Send(Message("orders", "x"));
  CHECK(OmsCode(sent.status()) == Code::kUnavailable);
  CHECK(OutcomeOf(sent.status()) == Outcome::kNotStored);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

}  // namespace openmessaging::rabbitmq::rabbitmq_live_test
