// SPDX-License-Identifier: Apache-2.0
//
// What this driver costs above librdkafka: oms-kafka-bench URL. The native side
// of each case does what the API promises, and no more: every outcome is known,
// the body may be reused when the call returns, the headers are the same, each
// message is acknowledged by itself and committed as often.

#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/price.h"
#include "config.h"
#include "native.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::kafka {
namespace {

using price::Check;
using price::Meter;

constexpr int kMostInFlight = 10000;
const std::string& Body() {
  static const std::string body(price::kBodyBytes, 'x');
  return body;
}

// --- librdkafka alone ---

// A producing handle with the driver's settings, which counts outcomes.
class NativeProducer {
 public:
  NativeProducer(const Config& config, const std::string& topic) {
    auto conf = config.Make(
        Config::Kind::kProducer,
        {{"enable.idempotence", "true"},
         {"partitioner", "murmur2_random"},
         {"queue.buffering.max.messages", std::to_string(kMostInFlight)}});
    Check(conf.ok(), "a setting");
    rd_kafka_conf_set_opaque(conf->get(), this);
    rd_kafka_conf_set_dr_msg_cb(
        conf->get(), [](rd_kafka_t*, const rd_kafka_message_t* message,
                        void* opaque) {
          Check(message->err == RD_KAFKA_RESP_ERR_NO_ERROR, "a native send");
          ++static_cast<NativeProducer*>(opaque)->stored_;
        });
    handle_ = Handle::Make(RD_KAFKA_PRODUCER, *std::move(conf)).value();
    topic_.reset(rd_kafka_topic_new(handle_->get(), topic.c_str(), nullptr));
  }
  ~NativeProducer() {
    topic_.reset();
    Handle::Release(std::move(handle_));
  }
  NativeProducer(const NativeProducer&) = delete;
  NativeProducer& operator=(const NativeProducer&) = delete;

  void Send() {
    const std::string id = internal::Concat("0123456789abcdef0123456789abcdef-",
                                            ++ids_);
    const std::string born = std::to_string(
        std::chrono::duration_cast<milliseconds>(
            std::chrono::system_clock::now().time_since_epoch())
            .count());
    rd_kafka_headers_t* const headers = rd_kafka_headers_new(8);
    (void)rd_kafka_header_add(headers, "oms.id", 6, id.data(),
                              static_cast<ssize_t>(id.size()));
    (void)rd_kafka_header_add(headers, "oms.born", 8, born.data(),
                              static_cast<ssize_t>(born.size()));
    (void)rd_kafka_header_add(headers, "oms.host", 8, "localhost", 9);
    std::array<rd_kafka_vu_t, 5> arguments;
    arguments[0].vtype = RD_KAFKA_VTYPE_RKT;
    arguments[0].u.rkt = topic_.get();
    arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    arguments[1].u.i32 = RD_KAFKA_PARTITION_UA;
    arguments[2].vtype = RD_KAFKA_VTYPE_VALUE;
    arguments[2].u.mem.ptr = const_cast<char*>(Body().data());
    arguments[2].u.mem.size = Body().size();
    arguments[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    arguments[3].u.i = RD_KAFKA_MSG_F_COPY;
    arguments[4].vtype = RD_KAFKA_VTYPE_HEADERS;
    arguments[4].u.headers = headers;
    while (true) {
      const OwnedError error(rd_kafka_produceva(
          handle_->get(), arguments.data(), arguments.size()));
      if (error == nullptr) break;
      Check(rd_kafka_error_code(error.get()) == RD_KAFKA_RESP_ERR__QUEUE_FULL,
            "a native send");
      rd_kafka_poll(handle_->get(), 100);
    }
    rd_kafka_poll(handle_->get(), 0);
  }
  void AwaitStored(int count) {
    while (stored_ < count) rd_kafka_poll(handle_->get(), 1000);
  }

 private:
  std::shared_ptr<Handle> handle_;
  OwnedTopic topic_;
  int stored_ = 0;
  uint64_t ids_ = 0;
};

// Of a group, which commits each 20 ms what was acknowledged.
class NativeConsumer {
 public:
  NativeConsumer(const Config& config, const std::string& topic,
                 const std::string& group) {
    auto conf = config.Make(Config::Kind::kConsumer,
                            {{"group.id", group},
                             {"auto.offset.reset", "earliest"},
                             {"enable.auto.offset.store", "false"},
                             {"auto.commit.interval.ms", "20"}});
    Check(conf.ok(), "a setting");
    handle_ = Handle::Make(RD_KAFKA_CONSUMER, *std::move(conf)).value();
    (void)rd_kafka_poll_set_consumer(handle_->get());
    const PartitionList list = NewPartitionList();
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(),
                                      RD_KAFKA_PARTITION_UA);
    Check(rd_kafka_subscribe(handle_->get(), list.get()) == 0, "subscribe");
  }
  ~NativeConsumer() {
    (void)rd_kafka_consumer_close(handle_->get());
    Handle::Release(std::move(handle_));
  }
  NativeConsumer(const NativeConsumer&) = delete;
  NativeConsumer& operator=(const NativeConsumer&) = delete;

  // Takes one message, its id and the time of its birth, and acknowledges it.
  void Take() {
    while (true) {
      const OwnedMessage message(rd_kafka_consumer_poll(handle_->get(), 1000));
      if (message == nullptr || message->err != 0) continue;
      rd_kafka_headers_t* headers = nullptr;
      const void* id = nullptr;
      const void* born = nullptr;
      size_t size = 0;
      Check(rd_kafka_message_headers(message.get(), &headers) == 0 &&
                rd_kafka_header_get_last(headers, "oms.id", &id, &size) == 0 &&
                rd_kafka_header_get_last(headers, "oms.born", &born, &size) ==
                    0 &&
                message->len == price::kBodyBytes,
            "a message");
      Check(rd_kafka_offset_store(message->rkt, message->partition,
                                  message->offset) == 0,
            "an acknowledgement");
      return;
    }
  }

 private:
  std::shared_ptr<Handle> handle_;
};

// --- the three cases ---

class Bench {
 public:
  Bench(MessagingAccessPoint bus, Config config)
      : bus_(std::move(bus)), config_(std::move(config)) {
    Check(bus_.resource_manager().CreateQueue(topic_).ok(), "create a queue");
  }
  ~Bench() {
    for (const std::string& queue : {topic_, full_, cycle_}) {
      if (queue.empty()) continue;
      (void)bus_.resource_manager().DeleteQueue(queue);
    }
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::vector<price::Case> Cases() {
    price::Case send{"send", 40000};
    send.native = [this](int count, Meter& meter) { NativeSend(count, meter); };
    send.api = [this](int count, Meter& meter) { Send(count, meter); };
    price::Case receive{"receive", 40000};
    receive.native = [this](int count, Meter& meter) {
      NativeReceive(count, meter);
    };
    receive.api = [this](int count, Meter& meter) { Receive(count, meter, 1); };
    receive.prepare = [this](int count) { Fill(count); };
    price::Case batches = receive;
    batches.name = "receive-64";
    batches.api = [this](int count, Meter& meter) {
      Receive(count, meter, 64);
    };
    price::Case cycle{"round-trip", 500};
    cycle.native = [this](int count, Meter& meter) {
      NativeCycle(count, meter);
    };
    cycle.api = [this](int count, Meter& meter) { Cycle(count, meter); };
    return {send, receive, batches, cycle};
  }

 private:
  void NativeSend(int count, Meter& meter) {
    NativeProducer producer(config_, topic_);
    producer.Send();
    producer.AwaitStored(1);
    meter.Start();
    for (int n = 0; n < count; ++n) producer.Send();
    producer.AwaitStored(count + 1);
    meter.Stop();
  }
  void Send(int count, Meter& meter) {
    Producer producer =
        bus_.CreateProducer({.max_in_flight_messages = kMostInFlight}).value();
    Check(producer.Send(Message(topic_, Body())).ok(), "a send");
    std::vector<Future<SendResult>> sent;
    sent.reserve(static_cast<size_t>(count));
    meter.Start();
    for (int n = 0; n < count; ++n) {
      sent.push_back(producer.SendAsync(Message(topic_, Body())));
    }
    for (const auto& one : sent) Check(one.Await().ok(), "a send");
    meter.Stop();
  }

  // A topic of its own: what is received is left there for the next side.
  void Fill(int count) {
    if (std::exchange(filled_, count) == count) return;
    (void)bus_.resource_manager().DeleteQueue(full_);
    Check(bus_.resource_manager().CreateQueue(full_).ok(), "create a queue");
    NativeProducer producer(config_, full_);
    for (int n = 0; n <= count; ++n) producer.Send();
    producer.AwaitStored(count + 1);
  }
  std::string NewGroup() {
    return internal::Concat(std::string_view(full_), '-', ++groups_);
  }
  void NativeReceive(int count, Meter& meter) {
    NativeConsumer consumer(config_, full_, NewGroup());
    consumer.Take();
    meter.Start();
    for (int n = 0; n < count; ++n) consumer.Take();
    meter.Stop();
  }
  void Receive(int count, Meter& meter, size_t batch) {
    PullConsumerOptions options;
    options.group = NewGroup();
    PullConsumer consumer = bus_.CreatePullConsumer(options).value();
    Check(consumer.Bind(full_).ok(), "bind");
    Take(consumer);
    meter.Start();
    for (int n = 0; n < count;) {
      if (batch == 1) {
        Take(consumer);
        ++n;
        continue;
      }
      const auto got =
          consumer.ReceiveBatch(batch, std::chrono::seconds(10));
      Check(got.ok() && !got->empty(), "a receive");
      for (const Delivery& one : *got) {
        Check(one->body().size() == price::kBodyBytes, "a message");
      }
      for (const absl::Status& acked : consumer.Ack(*got)) {
        Check(acked.ok(), "an ack");
      }
      n += static_cast<int>(got->size());
    }
    meter.Stop();
  }
  static void Take(PullConsumer& consumer) {
    const auto got = consumer.Receive(std::chrono::seconds(10));
    Check(got.ok() && *got && (**got)->body().size() == price::kBodyBytes &&
              !(**got)->message_id().empty() &&
              (**got)->born_timestamp().count() > 0,
          "a receive");
    Check((**got).Ack().ok(), "an ack");
  }

  void NativeCycle(int count, Meter& meter) {
    NewCycle();
    NativeProducer producer(config_, cycle_);
    NativeConsumer consumer(config_, cycle_, cycle_);
    producer.Send();
    consumer.Take();
    meter.Start();
    for (int n = 0; n < count; ++n) {
      producer.Send();
      producer.AwaitStored(n + 2);
      consumer.Take();
    }
    meter.Stop();
  }
  void Cycle(int count, Meter& meter) {
    NewCycle();
    Producer producer = bus_.CreateProducer().value();
    PullConsumerOptions options;
    options.group = cycle_;
    PullConsumer consumer = bus_.CreatePullConsumer(options).value();
    Check(consumer.Bind(cycle_).ok(), "bind");
    Check(producer.Send(Message(cycle_, Body())).ok(), "a send");
    Take(consumer);
    meter.Start();
    for (int n = 0; n < count; ++n) {
      Check(producer.Send(Message(cycle_, Body())).ok(), "a send");
      Take(consumer);
    }
    meter.Stop();
  }
  void NewCycle() {
    if (!cycle_.empty()) (void)bus_.resource_manager().DeleteQueue(cycle_);
    cycle_ = internal::Concat(std::string_view(topic_), "-cycle-", ++groups_);
    Check(bus_.resource_manager().CreateQueue(cycle_).ok(), "create a queue");
  }

  MessagingAccessPoint bus_;
  const Config config_;
  const std::string topic_ = internal::Concat("price-", ::getpid());
  const std::string full_ = internal::Concat(std::string_view(topic_), "-full");
  std::string cycle_;
  int filled_ = 0;
  int groups_ = 0;
};

int Main(int argc, char** argv) {
  const price::Options options = price::ReadOptions(argc, argv);
  auto bus = MessagingAccessPoint::Connect(options.url);
  Check(bus.ok(), "connect");
  auto config = Config::Parse(bus->url(), {});
  Check(config.ok(), "a setting");
  Bench bench(*std::move(bus), *std::move(config));
  price::RunAll(bench.Cases(), options);
  return 0;
}

}  // namespace
}  // namespace openmessaging::kafka

int main(int argc, char** argv) {
  return openmessaging::kafka::Main(argc, argv);
}
