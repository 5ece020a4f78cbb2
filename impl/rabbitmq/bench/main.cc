// SPDX-License-Identifier: Apache-2.0
//
// What this driver costs above rabbitmq-c: oms-rabbitmq-bench URL. The native
// side of each case does what the API promises, and no more: each message is
// persistent, mandatory, confirmed and has the same properties and headers; the
// queues are the same; each message is acknowledged by itself.

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/price.h"
#include "broker_error.h"
#include "openmessaging/openmessaging.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

using price::Check;
using price::Meter;

constexpr int kMostInFlight = 10000;
constexpr uint16_t kPrefetch = 256;
constexpr amqp_channel_t kChannel = 1;

const std::string& Body() {
  static const std::string body(price::kBodyBytes, 'x');
  return body;
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// --- rabbitmq-c alone ---

// A connection with one channel.
class NativeClient {
 public:
  explicit NativeClient(const Url& url) : connection_(amqp_new_connection()) {
    const auto& host = url.hosts()[0];
    amqp_socket_t* const socket = amqp_tcp_socket_new(connection_);
    Check(amqp_socket_open(socket, host.host.c_str(),
                           host.port.value_or(5672)) == AMQP_STATUS_OK,
          "connect");
    Check(amqp_login(connection_, "/", 0, 131072, 4, AMQP_SASL_METHOD_PLAIN,
                     "guest", "guest")
                  .reply_type == AMQP_RESPONSE_NORMAL,
          "log in");
    Check(amqp_channel_open(connection_, kChannel) != nullptr,
          "open a channel");
  }
  ~NativeClient() { amqp_destroy_connection(connection_); }
  NativeClient(const NativeClient&) = delete;
  NativeClient& operator=(const NativeClient&) = delete;

  void Confirm() {
    Check(amqp_confirm_select(connection_, kChannel) != nullptr, "confirms");
  }
  void Send(const std::string& queue) {
    const std::string id =
        internal::Concat("0123456789abcdef0123456789abcdef-1-", sent_ + 1);
    const int64_t now = NowMs();
    std::array<amqp_table_entry_t, 2> headers{};
    headers[0].key = amqp_cstring_bytes("oms.born");
    headers[0].value.kind = AMQP_FIELD_KIND_I64;
    headers[0].value.value.i64 = now;
    headers[1].key = amqp_cstring_bytes("oms.born-host");
    headers[1].value.kind = AMQP_FIELD_KIND_UTF8;
    headers[1].value.value.bytes = amqp_cstring_bytes("localhost");
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_MESSAGE_ID_FLAG |
                        AMQP_BASIC_DELIVERY_MODE_FLAG |
                        AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                        AMQP_BASIC_HEADERS_FLAG;
    properties.message_id = ToBytes(id);
    properties.delivery_mode = 2;
    properties.priority = 5;
    properties.timestamp = static_cast<uint64_t>(now / 1000);
    properties.headers = {2, headers.data()};
    Check(amqp_basic_publish(connection_, kChannel, ToBytes(kExchange),
                             ToBytes(queue), 1, 0, &properties,
                             ToBytes(Body())) == AMQP_STATUS_OK,
          "a native send");
    ++sent_;
    timeval none{0, 0};
    while (TakeConfirm(&none)) {
    }
    // No more than the API has under way.
    while (sent_ - confirmed_ >= kMostInFlight) TakeConfirm(nullptr);
  }
  void AwaitConfirms() {
    while (confirmed_ < sent_) TakeConfirm(nullptr);
  }

  void Consume(const std::string& queue) {
    Check(amqp_basic_qos(connection_, kChannel, 0, kPrefetch, 0) != nullptr,
          "set the prefetch");
    Check(amqp_basic_consume(connection_, kChannel, ToBytes(queue),
                             amqp_empty_bytes, 0, 0, 0,
                             amqp_empty_table) != nullptr,
          "consume");
  }
  // Takes one message, its id and headers, and acknowledges it.
  void Take() {
    amqp_maybe_release_buffers(connection_);
    amqp_envelope_t envelope;
    timeval patience{10, 0};
    Check(
        amqp_consume_message(connection_, &envelope, &patience, 0).reply_type ==
            AMQP_RESPONSE_NORMAL,
        "a native receive");
    Check(envelope.message.body.len == price::kBodyBytes &&
              envelope.message.properties.message_id.len > 0 &&
              envelope.message.properties.headers.num_entries > 0,
          "a message");
    Check(amqp_basic_ack(connection_, kChannel, envelope.delivery_tag, 0) ==
              AMQP_STATUS_OK,
          "an acknowledgement");
    amqp_destroy_envelope(&envelope);
  }
  // The same by basic.get.
  void Get(const std::string& queue) {
    amqp_maybe_release_buffers(connection_);
    const amqp_rpc_reply_t reply =
        amqp_basic_get(connection_, kChannel, ToBytes(queue), 0);
    Check(reply.reply_type == AMQP_RESPONSE_NORMAL &&
              reply.reply.id == AMQP_BASIC_GET_OK_METHOD,
          "a native get");
    const uint64_t tag =
        static_cast<amqp_basic_get_ok_t*>(reply.reply.decoded)->delivery_tag;
    amqp_message_t message;
    Check(amqp_read_message(connection_, kChannel, &message, 0).reply_type ==
                  AMQP_RESPONSE_NORMAL &&
              message.body.len == price::kBodyBytes,
          "a message");
    Check(amqp_basic_ack(connection_, kChannel, tag, 0) == AMQP_STATUS_OK,
          "an acknowledgement");
    amqp_destroy_message(&message);
  }

 private:
  // Waits as long as `time` says, without end where it is null.
  bool TakeConfirm(timeval* time) {
    amqp_maybe_release_buffers(connection_);
    amqp_frame_t frame;
    const int status =
        amqp_simple_wait_frame_noblock(connection_, &frame, time);
    if (status == AMQP_STATUS_TIMEOUT) return false;
    Check(status == AMQP_STATUS_OK && frame.frame_type == AMQP_FRAME_METHOD &&
              frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
          "a confirm");
    const auto* const ack =
        static_cast<amqp_basic_ack_t*>(frame.payload.method.decoded);
    // Tags count from 1. One of many covers those below it that have none yet.
    const auto tag = static_cast<size_t>(ack->delivery_tag);
    if (taken_.size() <= tag) taken_.resize(tag + 1);
    for (size_t each = ack->multiple == 0 ? tag : first_; each <= tag; ++each) {
      if (each != 0 && std::exchange(taken_[each], 1) == 0) ++confirmed_;
    }
    while (first_ < taken_.size() && (first_ == 0 || taken_[first_] != 0)) ++first_;
    return true;
  }

  const amqp_connection_state_t connection_;
  int64_t sent_ = 0;
  int64_t confirmed_ = 0;
  // By tag, and the first that is not confirmed.
  std::vector<char> taken_;
  size_t first_ = 0;
};

// --- the cases ---

class Bench {
 public:
  explicit Bench(MessagingAccessPoint bus) : bus_(std::move(bus)) { Renew(); }
  ~Bench() { (void)bus_.resource_manager().DeleteQueue(queue_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::vector<price::Case> Cases() {
    price::Case send{"send", 10000};
    send.native = [this](int count, Meter& meter) { NativeSend(count, meter); };
    send.api = [this](int count, Meter& meter) { Send(count, meter); };
    send.prepare = [this](int) { Renew(); };
    // Each waits for its confirm before the next is sent.
    price::Case wait{"send-wait", 500};
    wait.native = [this](int count, Meter& meter) { NativeWait(count, meter); };
    wait.api = [this](int count, Meter& meter) { Wait(count, meter); };
    wait.prepare = send.prepare;
    price::Case receive{"receive-64", 10000};
    receive.native = [this](int count, Meter& meter) {
      NativeReceive(count, meter);
    };
    receive.api = [this](int count, Meter& meter) { Receive(count, meter); };
    receive.prepare = [this](int count) {
      Renew();
      Fill(count);
    };
    price::Case get = receive;
    get.name = "get";
    get.count = 2000;
    get.native = [this](int count, Meter& meter) { NativeGet(count, meter); };
    get.api = [this](int count, Meter& meter) { Get(count, meter); };
    price::Case cycle{"round-trip", 500};
    cycle.native = [this](int count, Meter& meter) {
      NativeCycle(count, meter);
    };
    cycle.api = [this](int count, Meter& meter) { Cycle(count, meter); };
    cycle.prepare = send.prepare;
    // As the native side of both: messages come by themselves.
    price::Case stream = cycle;
    stream.name = "round-trip-64";
    stream.api = [this](int count, Meter& meter) { Stream(count, meter); };
    return {send, wait, receive, get, cycle, stream};
  }

 private:
  // An empty queue.
  void Renew() {
    if (!queue_.empty()) (void)bus_.resource_manager().DeleteQueue(queue_);
    queue_ = internal::Concat("price-", ::getpid(), '-', ++queues_);
    Check(bus_.resource_manager().CreateQueue(queue_).ok(), "create a queue");
  }
  void Fill(int count) {
    NativeClient client(bus_.url());
    client.Confirm();
    for (int n = 0; n <= count; ++n) client.Send(queue_);
    client.AwaitConfirms();
  }
  PullConsumer NewConsumer() {
    PullConsumerOptions options;
    options.group = "price";
    PullConsumer consumer = bus_.CreatePullConsumer(options).value();
    Check(consumer.Bind(queue_).ok(), "bind");
    return consumer;
  }
  static void Look(const Delivery& got) {
    Check(got->body().size() == price::kBodyBytes &&
              !got->message_id().empty() && got->born_timestamp().count() > 0,
          "a message");
  }
  static void Take(PullConsumer& consumer) {
    const auto got = consumer.Receive(std::chrono::seconds(10));
    Check(got.ok() && got->has_value(), "a receive");
    Look(**got);
    Check((**got).Ack().ok(), "an ack");
  }

  void NativeSend(int count, Meter& meter) {
    NativeClient client(bus_.url());
    client.Confirm();
    client.Send(queue_);
    client.AwaitConfirms();
    meter.Start();
    for (int n = 0; n < count; ++n) client.Send(queue_);
    client.AwaitConfirms();
    meter.Stop();
  }
  void Send(int count, Meter& meter) {
    Producer producer =
        bus_.CreateProducer({.max_in_flight_messages = kMostInFlight}).value();
    Check(producer.Send(Message(queue_, Body())).ok(), "a send");
    std::vector<Future<SendResult>> sent;
    sent.reserve(static_cast<size_t>(count));
    meter.Start();
    for (int n = 0; n < count; ++n) {
      sent.push_back(producer.SendAsync(Message(queue_, Body())));
    }
    for (const auto& one : sent) Check(one.Await().ok(), "a send");
    meter.Stop();
  }

  void NativeWait(int count, Meter& meter) {
    NativeClient client(bus_.url());
    client.Confirm();
    client.Send(queue_);
    client.AwaitConfirms();
    meter.Start();
    for (int n = 0; n < count; ++n) {
      client.Send(queue_);
      client.AwaitConfirms();
    }
    meter.Stop();
  }
  void Wait(int count, Meter& meter) {
    Producer producer = bus_.CreateProducer().value();
    Check(producer.Send(Message(queue_, Body())).ok(), "a send");
    meter.Start();
    for (int n = 0; n < count; ++n) {
      Check(producer.Send(Message(queue_, Body())).ok(), "a send");
    }
    meter.Stop();
  }

  void NativeReceive(int count, Meter& meter) {
    NativeClient client(bus_.url());
    client.Consume(queue_);
    client.Take();
    meter.Start();
    for (int n = 0; n < count; ++n) client.Take();
    meter.Stop();
  }
  void Receive(int count, Meter& meter) {
    PullConsumer consumer = NewConsumer();
    Take(consumer);
    meter.Start();
    for (int n = 0; n < count;) {
      const auto got = consumer.ReceiveBatch(64, std::chrono::seconds(10));
      Check(got.ok() && !got->empty(), "a receive");
      for (const Delivery& one : *got) Look(one);
      for (const absl::Status& acked : consumer.Ack(*got)) {
        Check(acked.ok(), "an ack");
      }
      n += static_cast<int>(got->size());
    }
    meter.Stop();
  }

  void NativeGet(int count, Meter& meter) {
    NativeClient client(bus_.url());
    client.Get(queue_);
    meter.Start();
    for (int n = 0; n < count; ++n) client.Get(queue_);
    meter.Stop();
  }
  void Get(int count, Meter& meter) {
    PullConsumer consumer = NewConsumer();
    Take(consumer);
    meter.Start();
    for (int n = 0; n < count; ++n) Take(consumer);
    meter.Stop();
  }

  void NativeCycle(int count, Meter& meter) {
    NativeClient sender(bus_.url());
    sender.Confirm();
    NativeClient receiver(bus_.url());
    receiver.Consume(queue_);
    sender.Send(queue_);
    receiver.Take();
    meter.Start();
    for (int n = 0; n < count; ++n) {
      sender.Send(queue_);
      sender.AwaitConfirms();
      receiver.Take();
    }
    meter.Stop();
  }
  void Cycle(int count, Meter& meter) {
    Producer producer = bus_.CreateProducer().value();
    PullConsumer consumer = NewConsumer();
    Check(producer.Send(Message(queue_, Body())).ok(), "a send");
    Take(consumer);
    meter.Start();
    for (int n = 0; n < count; ++n) {
      Check(producer.Send(Message(queue_, Body())).ok(), "a send");
      Take(consumer);
    }
    meter.Stop();
  }

  void Stream(int count, Meter& meter) {
    Producer producer = bus_.CreateProducer().value();
    PullConsumer consumer = NewConsumer();
    const auto cycle = [&] {
      Check(producer.Send(Message(queue_, Body())).ok(), "a send");
      const auto got = consumer.ReceiveBatch(64, std::chrono::seconds(10));
      Check(got.ok() && got->size() == 1, "a receive");
      Look(got->front());
      for (const absl::Status& acked : consumer.Ack(*got)) {
        Check(acked.ok(), "an ack");
      }
    };
    cycle();
    meter.Start();
    for (int n = 0; n < count; ++n) cycle();
    meter.Stop();
  }

  MessagingAccessPoint bus_;
  std::string queue_;
  int queues_ = 0;
};

int Main(int argc, char** argv) {
  const price::Options options = price::ReadOptions(argc, argv);
  auto bus = MessagingAccessPoint::Connect(options.url);
  Check(bus.ok(), "connect");
  Bench bench(*std::move(bus));
  price::RunAll(bench.Cases(), options);
  return 0;
}

}  // namespace
}  // namespace openmessaging::rabbitmq

int main(int argc, char** argv) {
  return openmessaging::rabbitmq::Main(argc, argv);
}
