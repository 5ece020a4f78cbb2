// SPDX-License-Identifier: Apache-2.0
//
// The driver and a cluster that librdkafka plays in this process: what a real
// one cannot be made to do at will. Needs no broker.

#include <doctest/doctest.h>
// In this order.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "native.h"
#include "openmessaging/kafka/driver.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::kafka::kafka_mock_test {
namespace {

// The number of a request in Kafka's protocol.
constexpr int16_t kProduce = 0;

constexpr milliseconds kPatience{20000};

// A cluster of brokers with the queue "orders".
class Mock {
 public:
  explicit Mock(int brokers = 1, const std::string& attributes = "") {
    OwnedConf conf(rd_kafka_conf_new());
    rd_kafka_conf_set_log_cb(conf.get(), nullptr);
    handle_ = Handle::Make(RD_KAFKA_PRODUCER, std::move(conf)).value();
    cluster_ = rd_kafka_mock_cluster_new(handle_->get(), brokers);
    REQUIRE(cluster_ != nullptr);
    REQUIRE(rd_kafka_mock_topic_create(cluster_, "orders", 1, brokers) ==
            RD_KAFKA_RESP_ERR_NO_ERROR);
    Leader(1);
    bus_.emplace(MessagingAccessPoint::Connect(
                     internal::Concat(
                         "oms:kafka://",
                         std::string_view(
                             rd_kafka_mock_cluster_bootstraps(cluster_)),
                         std::string_view(attributes)))
                     .value());
  }
  ~Mock() {
    bus_.reset();
    rd_kafka_mock_cluster_destroy(cluster_);
    Handle::Release(std::move(handle_));
  }
  Mock(const Mock&) = delete;
  Mock& operator=(const Mock&) = delete;

  MessagingAccessPoint& bus() { return *bus_; }
  Producer NewProducer(milliseconds timeout = kPatience) {
    ProducerOptions options;
    options.send_timeout = timeout;
    return bus_->CreateProducer(options).value();
  }
  void Leader(int32_t broker) {
    REQUIRE(rd_kafka_mock_partition_set_leader(cluster_, "orders", 0, broker) ==
            RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  // The next `count` requests of that kind fail.
  void Fail(int16_t request, size_t count, rd_kafka_resp_err_t error) {
    const std::vector<rd_kafka_resp_err_t> errors(count, error);
    rd_kafka_mock_push_request_errors_array(cluster_, request, count,
                                            errors.data());
  }
  void Rtt(int32_t broker, milliseconds time) {
    rd_kafka_mock_broker_set_rtt(cluster_, broker,
                                 static_cast<int>(time.count()));
  }
  void Down(int32_t broker) { rd_kafka_mock_broker_set_down(cluster_, broker); }

  // Returns: the bodies of what is there, until `count` of them came.
  std::multiset<std::string> Take(size_t count) {
    PullConsumer consumer = bus_->CreatePullConsumer().value();
    const absl::Status bound = consumer.Bind("orders");
    REQUIRE_MESSAGE(bound.ok(), std::string(bound.message()));
    std::multiset<std::string> bodies;
    while (bodies.size() < count) {
      const auto got = consumer.Receive(kPatience).value();
      REQUIRE(got.has_value());
      bodies.emplace((*got)->body());
      REQUIRE(got->Ack().ok());
    }
    return bodies;
  }

 private:
  std::shared_ptr<Handle> handle_;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  std::optional<MessagingAccessPoint> bus_;
};

}  // namespace

TEST_CASE("a send that a broker refused for now is stored once in the end") {
  Mock mock;
  Producer producer = mock.NewProducer();
  REQUIRE(producer.Send(Message("orders", "first")).ok());
  mock.Fail(kProduce, 2, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  const auto sent = producer.Send(Message("orders", "second"));
  REQUIRE_MESSAGE(sent.ok(), std::string(sent.status().message()));
  CHECK(sent->offset == 1);
  CHECK(mock.Take(2) == std::multiset<std::string>{"first", "second"});
}

TEST_CASE("a send that is forbidden says so and was not stored") {
  Mock mock;
  Producer producer = mock.NewProducer();
  mock.Fail(kProduce, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto refused = producer.Send(Message("orders", "refused"));
  CHECK(OmsCode(refused.status()) == Code::kForbidden);
  CHECK(DetailOf(refused.status()).outcome == Outcome::kNotStored);
  CHECK(DetailOf(refused.status()).native.find("TOPIC_AUTHORIZATION_FAILED") !=
        std::string::npos);
}

TEST_CASE("sends go on in order when a partition moves to another broker") {
  constexpr int kCount = 300;
  Mock mock(3);
  Producer producer = mock.NewProducer();
  std::vector<Future<SendResult>> sent;
  for (int n = 0; n < kCount; ++n) {
    if (n == kCount / 3) mock.Leader(2);
    if (n == kCount / 2) mock.Leader(3);
    sent.push_back(
        producer.SendAsync(Message("orders", std::to_string(n))));
  }
  for (int n = 0; n < kCount; ++n) {
    const auto& result = sent[static_cast<size_t>(n)].Await();
    REQUIRE_MESSAGE(result.ok(), std::string(result.status().message()));
    CHECK(result->offset == n);
  }
}

TEST_CASE("who waits for a slow broker is told in time and loses nothing") {
  constexpr milliseconds kTimeout{300};
  Mock mock;
  Producer producer = mock.NewProducer(kTimeout);
  REQUIRE(producer.Send(Message("orders", "quick")).ok());
  mock.Rtt(1, 4 * kTimeout);
  const auto late = producer.Send(Message("orders", "late"));
  CHECK(OmsCode(late.status()) == Code::kTimeout);
  // Nobody knows yet.
  CHECK(DetailOf(late.status()).outcome == Outcome::kUnknown);
  mock.Rtt(1, milliseconds(0));
  CHECK(producer.Flush(kPatience).ok());
  CHECK(mock.Take(2) == std::multiset<std::string>{"late", "quick"});
}

TEST_CASE("what a broker does not answer is unknown once its time is over") {
  Mock mock(1, "?message.timeout.ms=600&request.timeout.ms=300");
  Producer producer = mock.NewProducer();
  REQUIRE(producer.Send(Message("orders", "first")).ok());
  mock.Down(1);
  const auto lost = producer.Send(Message("orders", "lost"));
  REQUIRE(!lost.ok());
  CHECK((OmsCode(lost.status()) == Code::kUnavailable ||
         OmsCode(lost.status()) == Code::kTimeout));
}

}  // namespace openmessaging::kafka::kafka_mock_test
