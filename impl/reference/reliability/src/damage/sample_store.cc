// SPDX-License-Identifier: Apache-2.0

#include "damage/sample_store.h"


#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "doctest/doctest.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/openmessaging.h"
#include "shared_place.h"

namespace openmessaging::reference::damage {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr milliseconds kSoon{2000};

// Small segments, so that a little fills several.
constexpr std::string_view kOptions =
    "?housekeeper=off&first-segment=4KiB&max-segment=8KiB&big-body=1KiB"
    "&slots=4&bells=2&window=64&reserve=16KiB&max-segments=64";

template <typename T>
T Must(absl::StatusOr<T> result) {
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return *std::move(result);
}
void Must(const absl::Status& status) {
  REQUIRE_MESSAGE(status.ok(), status.message());
}

// One who uses the store; each session is a life of its own.
class Session {
 public:
  Session(const std::string& path, SampleStore& sample)
      : sample_(sample),
        bus_(Must(MessagingAccessPoint::Connect("oms:file://" + path +
                                                std::string(kOptions)))),
        producer_(Must(bus_.CreateProducer())) {}

  MessagingAccessPoint& bus() { return bus_; }
  Producer& producer() { return producer_; }
  ResourceManager resources() { return bus_.resource_manager(); }

  // A body that no other message has.
  Message Make(std::string_view queue, std::string_view what) {
    Message message(
        queue, std::string(what) + " #" + std::to_string(sample_.sent.size()));
    message.SetDurability(Durability::kDisk);
    return message;
  }
  SendResult Send(const Message& message) {
    Note(message);
    return Must(producer_.Send(message));
  }
  void Note(const Message& message) {
    sample_.sent[std::string(message.body())] = ContentOf(message);
  }
  PullConsumer Consume(std::string_view queue, std::string_view group) {
    PullConsumer consumer =
        Must(bus_.CreatePullConsumer({.group = std::string(group)}));
    Must(consumer.Bind(queue));
    return consumer;
  }
  static Delivery Take(PullConsumer& consumer) {
    auto received = Must(consumer.Receive(kSoon));
    REQUIRE(received.has_value());
    return *std::move(received);
  }

 private:
  SampleStore& sample_;
  MessagingAccessPoint bus_;
  Producer producer_;
};

KeyValue Properties(int number) {
  KeyValue properties;
  properties.Put("number", int32_t{number}).IgnoreError();
  properties.Put("colour", "red").IgnoreError();
  return properties;
}

void MakeQueues(Session& session) {
  ResourceManager resources = session.resources();
  Must(resources.CreateNamespace("shop"));
  Must(resources.CreateQueue("bulk"));
  Must(resources.CreateQueue("dead"));
  Must(resources.CreateQueue("orders", {.partitions = 2,
                                        .max_deliveries = 2,
                                        .dead_letter_queue = "dead",
                                        .redelivery_delay = milliseconds(0)}));
  Must(resources.CreateQueue("urgent", {.priorities = true}));
  Must(resources.CreateQueue("once", {.deduplication_window = hours(100)}));
  Must(resources.CreateQueue("shop://bills"));
  Must(resources.CreateQueue("copies"));
  Must(resources.CreateQueue("short-lived"));
  Must(resources.CreateRoute({"shop://bills", "copies", "colour = 'red'"}));
}

// One who prepares messages, and is not asked while the sample is made.
Producer MakeDecider(Session& session) {
  ProducerOptions options;
  options.group = "deciders";
  options.check_after = hours(20);
  options.check = [](const Message&) { return TransactionState::kUnknown; };
  return Must(session.bus().CreateProducer(options));
}

// Messages that stay, in front of many that go: the close moves the ones and
// gives the room of the others back.
void LiveFirst(const std::string& path, SampleStore& sample) {
  Session session(path, sample);
  MakeQueues(session);
  PullConsumer slow = session.Consume("orders", "slow");
  for (int n = 0; n < 3; ++n) {
    session.Send(session.Make("orders", "moves")
                     .SetPartition(n % 2)
                     .SetProperties(Properties(n)));
  }
  session.Send(
      session.Make("orders", "moves, due in a day").SetDelay(hours(24)));
  // Ids that still count, and a decision that is remembered.
  session.Send(session.Make("once", "once").SetDeduplicationId("an early id"));
  Producer producer = MakeDecider(session);
  const Message early = session.Make("orders", "committed early");
  session.Note(early);
  Must(Must(producer.Prepare(early)).Commit());
  PullConsumer fast = session.Consume("bulk", "fast");
  const std::string padding(500, '.');
  for (int n = 0; n < 50; ++n) {
    session.Send(session.Make("bulk", padding));
    Must(Session::Take(fast).Ack());
  }
}

void SendOrders(Session& session) {
  std::vector<Message> batch;
  for (int n = 0; n < 8; ++n) {
    batch.push_back(session.Make("orders", "in a batch"));
    batch.back()
        .SetPartition(n % 2)
        .SetMessageKey("key " + std::to_string(n % 3))
        .SetProperties(Properties(n));
    session.Note(batch.back());
  }
  for (const auto& sent :
       session.producer().Send(std::span<const Message>(batch))) {
    REQUIRE(sent.ok());
  }
  session.Send(session.Make("orders", "at level process")
                   .SetDurability(Durability::kProcess)
                   .SetPartition(0));
  session.Send(session.Make("orders", "at most once")
                   .SetQos(Qos::kAtMostOnce)
                   .SetPartition(1));
  session.Send(session.Make("orders", std::string(1500, 'L'))
                   .SetPartition(0)
                   .SetCorrelationId("large"));
  session.Send(session.Make("orders", std::string(1200, 'P'))
                   .SetPartition(1)
                   .SetDurability(Durability::kProcess));
  session.Send(
      session.Make("orders", "expires in ten days")
          .SetExpireAt(std::chrono::duration_cast<milliseconds>(
              std::chrono::system_clock::now().time_since_epoch() + hours(240)))
          .SetPartition(0));
}

// Acknowledges, gives back, rejects and fails.
void Settle(Session& session) {
  PullConsumer workers = session.Consume("orders", "workers");
  for (int n = 0; n < 5; ++n) {
    const Delivery delivery = Session::Take(workers);
    if (n == 1) {
      Must(delivery.Reject());  // Becomes a dead letter.
    } else if (n == 3) {
      Must(delivery.Nack(hours(2)));
    } else {
      Must(delivery.Ack());
    }
  }
  session.Send(session.Make("orders", "was due at once")
                   .SetDelay(milliseconds(1))
                   .SetPartition(1));
  // The second delivery is in the log.
  for (int n = 0; n < 2; ++n) Must(Session::Take(workers).Nack());
  for (int n = 0; n < 2; ++n) Must(Session::Take(workers).Nack(hours(3)));
  PullConsumer dead = session.Consume("dead", "undertaker");
  Must(session.resources().SeekGroup("bulk", "fast", StreamPosition::Latest()));
  PullConsumer urgent = session.Consume("urgent", "workers");
}

void SendTheRest(Session& session, SampleStore& sample) {
  for (int n = 0; n < 4; ++n) {
    session.Send(session.Make("urgent", "urgent").SetPriority(n * 3));
  }
  for (int n = 0; n < 2; ++n) {
    session.Send(session.Make("once", "once")
                     .SetDeduplicationId("id " + std::to_string(n)));
  }
  for (int n = 0; n < 2; ++n) {
    session.Send(session.Make("shop://bills", "a bill and its copy")
                     .SetProperties(Properties(n)));
  }
  session.Send(session.Make("short-lived", "goes with its queue"));
  session.Send(session.Make("orders", "due in an hour").SetDelay(hours(1)));
  const SendResult withdrawn =
      session.Send(session.Make("orders", "withdrawn").SetDelay(hours(1)));
  Must(session.producer().CancelDelayed("orders", withdrawn.message_id));
  Producer producer = MakeDecider(session);
  for (const char* const fate : {"committed", "rolled back", "undecided"}) {
    const Message message = session.Make("once", fate);
    session.Note(message);
    PreparedMessage prepared = Must(producer.Prepare(message));
    if (fate[0] == 'c') Must(prepared.Commit());
    if (fate[0] == 'r') Must(prepared.Rollback());
    if (fate[0] == 'u') sample.undecided.push_back(prepared.transaction_id());
  }
  PullConsumer copies = session.Consume("copies", "mover");
  const Delivery taken = Session::Take(copies);
  const Message moved = session.Make("once", "sent in a transaction");
  session.Note(moved);
  Must(producer.Transact([&](LocalTransaction& transaction) -> absl::Status {
    if (auto s = transaction.Send(moved); !s.ok()) return s;
    return transaction.Ack(taken);
  }));
}

void LiveSecond(const std::string& path, SampleStore& sample) {
  Session session(path, sample);
  SendOrders(session);
  sample.earlier.push_back(ReadImage(path));
  Settle(session);
  sample.earlier.push_back(ReadImage(path));
  SendTheRest(session, sample);
  sample.earlier.push_back(ReadImage(path));
  Must(session.resources().DeleteQueue("short-lived"));
  Must(session.resources().UpdateQueue("copies", {.retention = hours(1)}));
}

}  // namespace

std::string ContentOf(const Message& message) {
  KeyValue properties;
  for (const auto& [key, value] : message.properties()) {
    if (key.starts_with(kDeadPrefix)) continue;
    properties.Put(key, value).IgnoreError();
  }
  std::string text;
  for (const std::string_view part :
       {message.body(), message.message_key(), message.correlation_id(),
        message.deduplication_id(), std::string_view(properties.encoded())}) {
    text += std::to_string(part.size()) + ':' + std::string(part) + ' ';
  }
  return text + std::to_string(static_cast<int>(message.priority())) + ' ' +
         std::to_string(static_cast<int>(message.qos())) + ' ' +
         std::to_string(message.expire_at().count());
}

SampleStore MakeSampleStore() {
  SampleStore sample;
  const SharedPlace directory;
  const std::string path = directory.path() + "/store";
  LiveFirst(path, sample);
  sample.earlier.push_back(ReadImage(path));
  LiveSecond(path, sample);
  sample.closed = ReadImage(path);
  {
    Session session(path, sample);
    for (int n = 0; n < 4; ++n) {
      session.Send(
          session.Make("orders", "before the crash")
              .SetPartition(n % 2)
              .SetDurability(n < 2 ? Durability::kDisk : Durability::kProcess));
    }
    sample.crashed = ReadImage(path);
  }
  const std::string other = directory.path() + "/other";
  SampleStore strangers;
  LiveFirst(other, strangers);
  LiveSecond(other, strangers);
  sample.foreign = ReadImage(other);
  return sample;
}

}  // namespace openmessaging::reference::damage
