// SPDX-License-Identifier: Apache-2.0
//
// What this project costs above librdkafka: processor time of the client for
// each message of 1 KiB, sent and received, by straight calls of librdkafka and
// through the API. The broker's own time does not count.
//
//   oms-kafka-bench oms:kafka://127.0.0.1:9092 [messages]

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "native.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::kafka {
namespace {

constexpr size_t kBodyBytes = 1024;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs `work`, which returns how many messages it moved, and prints what one
// of them took.
template <typename Work>
void Measure(const char* name, const Work& work) {
  const auto start = Clock::now();
  const double cpu = CpuSeconds();
  const int count = work();
  const double used = CpuSeconds() - cpu;
  const double wall = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("%-28s %8d messages  %6.2f us CPU each  %8.0f messages/s\n", name,
              count, used * 1e6 / count, count / wall);
  std::fflush(stdout);
}

void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "oms-kafka-bench: %s failed\n", what);
  std::exit(1);
}

OwnedConf Conf(const Url& url,
               std::vector<std::pair<const char*, std::string>> settings) {
  OwnedConf conf(rd_kafka_conf_new());
  settings.emplace_back(
      "bootstrap.servers",
      internal::Concat(std::string_view(url.hosts()[0].host), ':',
                       url.hosts()[0].port.value_or(9092)));
  for (const auto& [name, value] : settings) {
    Check(rd_kafka_conf_set(conf.get(), name, value.c_str(), nullptr, 0) ==
              RD_KAFKA_CONF_OK,
          name);
  }
  return conf;
}

int NativeSend(const Url& url, const std::string& topic, int count) {
  static std::atomic<int> reported{0};
  reported = 0;
  OwnedConf conf = Conf(url, {{"enable.idempotence", "true"},
                              {"linger.ms", "0"},
                              {"queue.buffering.max.messages", "10000"}});
  rd_kafka_conf_set_dr_msg_cb(
      conf.get(), [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
        Check(message->err == RD_KAFKA_RESP_ERR_NO_ERROR, "a native send");
        ++reported;
      });
  auto handle = Handle::Make(RD_KAFKA_PRODUCER, std::move(conf)).value();
  {
    const OwnedTopic rkt(
        rd_kafka_topic_new(handle->get(), topic.c_str(), nullptr));
    std::string body(kBodyBytes, 'x');
    for (int n = 0; n < count; ++n) {
      while (rd_kafka_produce(rkt.get(), RD_KAFKA_PARTITION_UA, 0, body.data(),
                              body.size(), nullptr, 0, nullptr) != 0) {
        rd_kafka_poll(handle->get(), 1);
      }
      rd_kafka_poll(handle->get(), 0);
    }
    while (reported < count) rd_kafka_poll(handle->get(), 100);
  }
  Handle::Release(std::move(handle));
  return count;
}

int NativeReceive(const Url& url, const std::string& topic, int count) {
  auto handle =
      Handle::Make(RD_KAFKA_CONSUMER,
                   Conf(url, {{"group.id", topic + "-native"},
                              {"auto.offset.reset", "earliest"}}))
          .value();
  (void)rd_kafka_poll_set_consumer(handle->get());
  {
    const PartitionList list = NewPartitionList();
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(),
                                      RD_KAFKA_PARTITION_UA);
    Check(rd_kafka_subscribe(handle->get(), list.get()) == 0, "subscribe");
  }
  for (int n = 0; n < count;) {
    const OwnedMessage message(rd_kafka_consumer_poll(handle->get(), 1000));
    if (message != nullptr && message->err == 0) ++n;
  }
  (void)rd_kafka_consumer_close(handle->get());
  Handle::Release(std::move(handle));
  return count;
}

int Send(const MessagingAccessPoint& bus, const std::string& topic, int count) {
  Producer producer = bus.CreateProducer().value();
  const std::string body(kBodyBytes, 'x');
  for (int n = 0; n < count; ++n) {
    // Waits for room; what became of it shows in what is received.
    (void)producer.SendAsync(Message(topic, body));
  }
  Check(producer.Flush(std::chrono::seconds(60)).ok(), "a flush");
  return count;
}

int Receive(const MessagingAccessPoint& bus, const std::string& topic,
            int count, size_t batch) {
  PullConsumerOptions options;
  options.group = internal::Concat(std::string_view(topic), '-', batch);
  PullConsumer consumer = bus.CreatePullConsumer(options).value();
  Check(consumer.Bind(topic).ok(), "bind");
  for (int n = 0; n < count;) {
    const auto got = consumer.ReceiveBatch(batch, std::chrono::seconds(10));
    Check(got.ok() && !got->empty(), "a receive");
    for (const absl::Status& acked : consumer.Ack(*got)) {
      Check(acked.ok(), "an ack");
    }
    n += static_cast<int>(got->size());
  }
  return count;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: oms-kafka-bench URL [messages]\n");
    return 2;
  }
  const int count = argc > 2 ? std::atoi(argv[2]) : 200000;
  const auto bus = MessagingAccessPoint::Connect(argv[1]);
  Check(bus.ok(), "connect");
  const std::string topic = internal::Concat("bench-", ::getpid());
  Check(bus->resource_manager().CreateQueue(topic).ok(), "create a queue");
  const Url& url = bus->url();
  for (int round = 0; round < 3; ++round) {
    Measure("send, librdkafka", [&] { return NativeSend(url, topic, count); });
    Measure("send, API", [&] { return Send(*bus, topic, count); });
  }
  Measure("receive, librdkafka",
          [&] { return NativeReceive(url, topic, count); });
  Measure("receive and ack, API, by 1",
          [&] { return Receive(*bus, topic, count, 1); });
  Measure("receive and ack, API, by 64",
          [&] { return Receive(*bus, topic, count, 64); });
  (void)bus->resource_manager().DeleteQueue(topic);
  return 0;
}

}  // namespace
}  // namespace openmessaging::kafka

int main(int argc, char** argv) {
  return openmessaging::kafka::Main(argc, argv);
}
