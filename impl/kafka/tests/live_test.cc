// SPDX-License-Identifier: Apache-2.0
//
// The driver and a broker: what the suite cannot ask, because it speaks of Kafka.

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <set>
#include <thread>

#include "broker_version.h"
#include "cluster.h"
#include "config.h"
#include "headers.h"
#include "native.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/kafka/statistics.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::kafka::kafka_live_test {
namespace {

// Returns: the broker's URL; empty where there is none.
std::string BrokerUrl() {
  const char* const url = std::getenv("OMS_KAFKA_URL");
  if (url != nullptr) return url;
  std::cout << "skipped: OMS_KAFKA_URL is not set\n";
  return {};
}

constexpr milliseconds kPatience{20000};

// A queue of its own, removed in the end, and a group of its own.
class Live {
 public:
  explicit Live(int32_t partitions = 1)
      : bus(MessagingAccessPoint::Connect(BrokerUrl()).value()) {
    static int count = 0;
    queue = internal::Concat("live-", ::getpid(), '-', ++count);
    QueueOptions options;
    options.partitions = partitions;
    const absl::Status made =
        bus.resource_manager().CreateQueue(queue, options);
    REQUIRE_MESSAGE(made.ok(), std::string(made.message()));
  }
  ~Live() { (void)bus.resource_manager().DeleteQueue(queue); }
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  PullConsumer NewConsumer() {
    PullConsumerOptions options;
    options.group = queue;
    auto consumer = bus.CreatePullConsumer(options).value();
    const absl::Status bound = consumer.Bind(queue);
    REQUIRE_MESSAGE(bound.ok(), std::string(bound.message()));
    return consumer;
  }

  MessagingAccessPoint bus;
  std::string queue;
};

Delivery Take(PullConsumer& consumer) {
  auto got = consumer.Receive(kPatience);
  REQUIRE_MESSAGE(got.ok(), std::string(got.status().message()));
  REQUIRE(got->has_value());
  return **std::move(got);
}

TEST_CASE("a broker says its version") {
  const std::string url = BrokerUrl();
  if (url.empty()) return;
  const auto parsed = Url::Parse(url).value();
  const TimePoint deadline = Clock::now() + kPatience;
  Cluster cluster(Config::Parse(parsed, parsed.attributes()).value());
  REQUIRE(cluster.Reach(deadline).ok());

  const auto version = AskVersion(cluster, deadline);
  REQUIRE(version.has_value());
  CHECK(*version >= BrokerVersion{0, 11});
  cluster.Close();
}

TEST_CASE("a message is sent, received and acknowledged once") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  const auto sent = producer.Send(Message(live.queue, "hello"));
  REQUIRE(sent.ok());
  CHECK(sent->partition == 0);
  CHECK(sent->offset == 0);
  {
    PullConsumer consumer = live.NewConsumer();
    const Delivery got = Take(consumer);
    CHECK(got->body() == "hello");
    CHECK(got->message_id() == sent->message_id);
    CHECK(got->delivery_count() == 1);
    CHECK(got.Ack().ok());
  }
  REQUIRE(producer.Send(Message(live.queue, "next")).ok());
  PullConsumer next = live.NewConsumer();
  CHECK(Take(next)->body() == "next");
}

TEST_CASE("what is acknowledged out of order stays so for the next member") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  constexpr int kCount = 1000;
  for (int n = 0; n < kCount; ++n) {
    REQUIRE(producer.SendOneway(Message(live.queue, std::to_string(n))).ok());
  }
  std::multiset<std::string> kept;
  {
    PullConsumer consumer = live.NewConsumer();
    std::vector<Delivery> held;
    for (int n = 0; n < kCount; ++n) held.push_back(Take(consumer));
    for (int n = 0; n < kCount; ++n) {
      const Delivery& one = held[static_cast<size_t>(n)];
      if (n % 3 == 0) {
        kept.emplace(one->body());
      } else {
        REQUIRE(one.Ack().ok());
      }
    }
  }
  PullConsumer next = live.NewConsumer();
  std::multiset<std::string> got;
  while (got.size() < kept.size()) {
    const Delivery one = Take(next);
    got.emplace(one->body());
    CHECK(one->delivery_count() == 2);
    REQUIRE(one.Ack().ok());
  }
  CHECK(got == kept);
  CHECK_FALSE(next.Receive(milliseconds(300)).value().has_value());
}

// A producer of Kafka's own, which knows nothing of this project.
class Foreign {
 public:
  explicit Foreign(const Url& url) {
    OwnedConf conf(rd_kafka_conf_new());
    const std::string servers = internal::Concat(
        std::string_view(url.hosts()[0].host), ':', *url.hosts()[0].port);
    REQUIRE(rd_kafka_conf_set(conf.get(), "bootstrap.servers", servers.c_str(),
                              nullptr, 0) == RD_KAFKA_CONF_OK);
    handle_ = Handle::Make(RD_KAFKA_PRODUCER, std::move(conf)).value();
  }
  ~Foreign() { Handle::Release(std::move(handle_)); }

  void Send(const std::string& topic, const char* body, std::string_view key) {
    const std::string text = body == nullptr ? "" : body;
    REQUIRE(rd_kafka_producev(
                handle_->get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                RD_KAFKA_V_VALUE(
                    body == nullptr ? nullptr : const_cast<char*>(text.data()),
                    text.size()),
                RD_KAFKA_V_KEY(key.data(), key.size()),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                RD_KAFKA_V_HEADER("app", "shop", 4),
                RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    REQUIRE(rd_kafka_flush(handle_->get(), 20000) ==
            RD_KAFKA_RESP_ERR_NO_ERROR);
  }

 private:
  std::shared_ptr<Handle> handle_;
};

TEST_CASE("OMS-MSG-024: what Kafka's own client sent is readable") {
  if (BrokerUrl().empty()) return;
  Live live;
  Foreign foreign(live.bus.url());
  foreign.Send(live.queue, "plain", "key");
  foreign.Send(live.queue, nullptr, std::string_view("\xff\xfe", 2));

  PullConsumer consumer = live.NewConsumer();
  const Delivery plain = Take(consumer);
  CHECK(plain->body() == "plain");
  CHECK(plain->message_key() == "key");
  CHECK(plain->properties().GetOr("app", "") == "shop");
  CHECK(plain->message_id().ToString().ends_with("-0-0"));
  CHECK(plain->store_timestamp().count() > 0);
  const Delivery absent = Take(consumer);
  CHECK(absent->body().empty());
  CHECK(absent->properties().GetOr<bool>(kTombstone, false));
  CHECK(absent->message_key().empty());
  CHECK(absent->message_id() != plain->message_id());
}

TEST_CASE("a tombstone is sent as one") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  Message message(live.queue, "");
  message.SetMessageKey("gone");
  REQUIRE(message.SetProperty(kTombstone, true).ok());
  REQUIRE(producer.Send(message).ok());
  REQUIRE(producer.Send(Message(live.queue, "")).ok());

  PullConsumer consumer = live.NewConsumer();
  CHECK(Take(consumer)->properties().GetOr<bool>(kTombstone, false));
  CHECK_FALSE(Take(consumer)->properties().Contains(kTombstone));
}

TEST_CASE("one message in the middle is acknowledged by a transaction") {
  if (BrokerUrl().empty()) return;
  Live from;
  Live to;
  Producer producer = from.bus.CreateProducer().value();
  for (const char* const body : {"1", "2", "3"}) {
    REQUIRE(producer.Send(Message(from.queue, body)).ok());
  }
  {
    PullConsumer consumer = from.NewConsumer();
    (void)Take(consumer);
    const Delivery second = Take(consumer);
    const auto done = producer.Transact([&](LocalTransaction& transaction) {
      (void)transaction.Send(Message(to.queue, "two"));
      return transaction.Ack(second);
    });
    REQUIRE_MESSAGE(done.ok(), std::string(done.status().message()));
  }
  PullConsumer rest = from.NewConsumer();
  CHECK(Take(rest)->body() == "1");
  CHECK(Take(rest)->body() == "3");
  PullConsumer target = to.NewConsumer();
  CHECK(Take(target)->body() == "two");
}

TEST_CASE("a dead letter moves at once and says why") {
  if (BrokerUrl().empty()) return;
  Live dead;
  const std::string queue = dead.queue + "-q";
  QueueOptions options;
  options.dead_letter_queue = dead.queue;
  options.max_deliveries = 2;
  options.redelivery_delay = options.max_redelivery_delay = milliseconds(10);
  const absl::Status made =
      dead.bus.resource_manager().CreateQueue(queue, options);
  REQUIRE_MESSAGE(made.ok(), std::string(made.message()));
  // What was said of it counts on another connection.
  const auto other = MessagingAccessPoint::Connect(BrokerUrl()).value();
  CHECK(other.resource_manager()
            .DescribeQueue(queue)
            ->options.dead_letter_queue == dead.queue);
  {
    Producer producer = dead.bus.CreateProducer().value();
    REQUIRE(producer.Send(Message(queue, "poison")).ok());
    PullConsumerOptions group;
    group.group = queue;
    PullConsumer consumer = other.CreatePullConsumer(group).value();
    REQUIRE(consumer.Bind(queue).ok());
    for (int n = 1; n <= 2; ++n) {
      const Delivery got = Take(consumer);
      CHECK(got->delivery_count() == n);
      REQUIRE(got.Nack().ok());
    }
    PullConsumer graves = dead.NewConsumer();
    const Delivery grave = Take(graves);
    CHECK(grave->body() == "poison");
    CHECK(grave->properties().GetOr(kDeadReason, "") == kDeadMaxDeliveries);
    CHECK(grave->properties().GetOr<int32_t>(kDeadDeliveries, 0) == 2);
    CHECK_FALSE(consumer.Receive(milliseconds(300)).value().has_value());
  }
  CHECK_FALSE(dead.bus.resource_manager().DeleteQueue(dead.queue).ok());
  REQUIRE(dead.bus.resource_manager().DeleteQueue(queue).ok());
}

TEST_CASE("a window that is full stops receiving and goes on") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  constexpr int kCount = 9000;  // More than the window.
  const std::string body(10, 'x');
  for (int n = 0; n < kCount; ++n) {
    REQUIRE(producer.SendOneway(Message(live.queue, body)).ok());
  }
  REQUIRE(producer.Flush(kPatience).ok());
  PullConsumer consumer = live.NewConsumer();
  const Delivery stuck = Take(consumer);
  int received = 1;
  while (true) {
    auto got = consumer.Receive(milliseconds(1500));
    REQUIRE(got.ok());
    if (!got->has_value()) break;
    ++received;
    REQUIRE((*got)->Ack().ok());
  }
  CHECK(received == 8192);
  REQUIRE(stuck.Ack().ok());
  for (; received < kCount; ++received) REQUIRE(Take(consumer).Ack().ok());
}

TEST_CASE("a backlog is received as fast as it is fetched") {
  if (BrokerUrl().empty()) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  constexpr size_t kCount = 20000;
  const std::string body(1024, 'x');
  for (size_t n = 0; n < kCount; ++n) {
    (void)producer.SendAsync(Message(live.queue, body));
  }
  REQUIRE(producer.Flush(kPatience).ok());
  PullConsumer consumer = live.NewConsumer();
  (void)Take(consumer).Ack();
  const auto start = Clock::now();
  for (size_t count = 1; count < kCount;) {
    const auto batch = consumer.ReceiveBatch(64, kPatience).value();
    REQUIRE_FALSE(batch.empty());
    count += batch.size();
    for (const absl::Status& acked : consumer.Ack(batch)) REQUIRE(acked.ok());
  }
  // A queue of librdkafka's that is too small gives a thousand a second.
  CHECK(Clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("statistics are there where they are asked for") {
  if (BrokerUrl().empty()) return;
  Attributes attributes;
  REQUIRE(attributes.Set("statistics.interval.ms", "100").ok());
  const auto bus = MessagingAccessPoint::Connect(BrokerUrl(), attributes).value();
  Live live;
  Producer producer = bus.CreateProducer().value();
  const auto counted = producer.Send(Message(live.queue, "counted"));
  REQUIRE_MESSAGE(counted.ok(), std::string(counted.status().message()));
  const auto* const statistics = bus.native<Statistics>();
  REQUIRE(statistics != nullptr);
  const auto start = Clock::now();
  while (statistics->Latest().empty() && Clock::now() - start < kPatience) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  REQUIRE_FALSE(statistics->Latest().empty());
  CHECK(statistics->Latest().begin()->second.find("\"txmsgs\"") !=
        std::string::npos);
}

TEST_CASE("what was told to be sent survives a broker that is killed") {
  // A command that kills the broker and returns when it is there again.
  const char* const restart = std::getenv("OMS_KAFKA_RESTART");
  if (BrokerUrl().empty() || restart == nullptr) return;
  Live live;
  Producer producer = live.bus.CreateProducer().value();
  PullConsumer consumer = live.NewConsumer();
  std::set<std::string> sent;
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    for (int n = 0; !stop; ++n) {
      const std::string body = std::to_string(n);
      if (producer.Send(Message(live.queue, body)).ok()) sent.insert(body);
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  std::set<std::string> got;
  for (int n = 0; n < 20; ++n) {
    const auto one = consumer.Receive(kPatience);
    CHECK((one.ok() && one->has_value()));
    if (!one.ok() || !one->has_value()) break;
    got.emplace((**one)->body());
    CHECK((**one).Ack().ok());
  }

  CHECK(std::system(restart) == 0);

  // Both go on by themselves.
  std::this_thread::sleep_for(std::chrono::seconds(5));
  stop = true;
  sender.join();
  REQUIRE(producer.Send(Message(live.queue, "last")).ok());
  const auto start = Clock::now();
  while (Clock::now() - start < std::chrono::seconds(60)) {
    auto one = consumer.Receive(milliseconds(3000));
    REQUIRE(one.ok());
    if (!one->has_value()) continue;
    got.emplace((**one)->body());
    (void)(**one).Ack();
    if ((**one)->body() == "last") break;
  }
  CHECK(got.contains("last"));
  for (const std::string& body : sent) {
    CHECK_MESSAGE(got.contains(body), body);
  }
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_live_test
