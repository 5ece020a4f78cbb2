// SPDX-License-Identifier: Apache-2.0

#include "worker.h"

#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "openmessaging/driver/registry.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::conformance::history {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kIdProperty = "history-id";

Result ResultOf(const absl::Status& status) {
  if (status.ok()) return Result::kOk;
  return OutcomeOf(status) == Outcome::kNotStored ? Result::kNo
                                                  : Result::kMaybe;
}

std::string TextOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

class Sender {
 public:
  Sender(const WorkerOptions& options, const Record& record,
         MessagingAccessPoint bus, Producer producer)
      : options_(options),
        record_(record),
        bus_(std::move(bus)),
        producer_(std::move(producer)),
        random_(options.seed ^ static_cast<uint64_t>(NowNs())) {}

  static absl::Status Run(const WorkerOptions& options, const Record& record,
                          const std::function<bool()>& stop) {
    auto bus = MessagingAccessPoint::Connect(options.url);
    if (!bus.ok()) return bus.status();
    ProducerOptions settings;
    if (options.means.prepare) {
      settings.group = "history";
      settings.check_after = milliseconds(300);
      // Whoever is asked knows: it follows from the message.
      settings.check = [&options](const Message& message) {
        const auto id = message.properties().Get<std::string>(kIdProperty);
        const auto name = MessageName::Parse(id.value_or(""));
        if (!name) return TransactionState::kUnknown;
        return StepOf(*name, options.means, options.seed).commits
                   ? TransactionState::kCommit
                   : TransactionState::kRollback;
      };
    }
    auto producer = bus->CreateProducer(settings);
    if (!producer.ok()) return producer.status();
    if (auto s = producer->Start(); !s.ok()) return s;
    Sender sender(options, record, *std::move(bus), *std::move(producer));
    const auto end = steady_clock::now() + options.duration;
    for (int64_t step = 1; steady_clock::now() < end && !stop(); ++step) {
      sender.Take({options.name, step, 0});
      std::this_thread::sleep_for(
          std::chrono::microseconds(sender.random_() % 4000));
    }
    return absl::OkStatus();
  }

 private:
  void Take(MessageName name) {
    const Step step = StepOf(name, options_.means, options_.seed);
    std::vector<Message> messages;
    for (name.index = 0; name.index < step.messages; ++name.index) {
      Message message(options_.queue, BodyOf(name, options_.seed));
      message.SetMessageKey(step.key);
      message.SetProperty(kIdProperty, name.Text()).IgnoreError();
      if (step.delay.count() > 0) message.SetDelay(step.delay);
      messages.push_back(std::move(message));
    }
    name.index = 0;
    if (step.manner == Manner::kPrepared)
      return Prepare(name, step, messages[0]);
    const int64_t begin = NowNs();
    if (step.manner == Manner::kTogether) {
      const auto sent = producer_.Transact([&](LocalTransaction& transaction) {
        for (const Message& message : messages) {
          if (auto s = transaction.Send(message); !s.ok()) return s;
        }
        return absl::OkStatus();
      });
      for (; name.index < step.messages; ++name.index) {
        const auto index = static_cast<size_t>(name.index);
        Tell(name, begin,
             sent.ok() ? absl::StatusOr<SendResult>((*sent)[index])
                       : absl::StatusOr<SendResult>(sent.status()));
      }
      return;
    }
    if (step.manner != Manner::kBatch) {
      return Tell(name, begin, producer_.Send(messages[0]));
    }
    const auto sent = producer_.Send(messages);
    for (; name.index < step.messages; ++name.index) {
      Tell(name, begin, sent[static_cast<size_t>(name.index)]);
    }
  }

  void Tell(const MessageName& name, int64_t begin,
            const absl::StatusOr<SendResult>& sent) {
    Operation one = Begun(Kind::kSend, name, begin);
    one.result = ResultOf(sent.status());
    if (sent.ok()) {
      one.partition = sent->partition;
      one.offset = sent->offset;
    } else {
      one.error = TextOf(sent.status());
    }
    record_(one);
  }

  Operation Begun(Kind kind, const MessageName& name, int64_t begin) const {
    Operation one;
    one.kind = kind;
    one.worker = options_.name;
    one.begin_ns = begin;
    one.end_ns = NowNs();
    one.id = name.Text();
    return one;
  }

  void Prepare(const MessageName& name, const Step& step,
               const Message& message) {
    const int64_t begin = NowNs();
    auto prepared = producer_.Prepare(message);
    Operation one = Begun(Kind::kSend, name, begin);
    one.result = ResultOf(prepared.status());
    if (!prepared.ok()) one.error = TextOf(prepared.status());
    record_(one);
    // Some are left to the check.
    if (!prepared.ok() || random_() % 6 == 0) return;
    Decide(name, step.commits, *prepared);
    // What is decided stays so.
    if (random_() % 4 == 0) Decide(name, !step.commits, *prepared);
  }

  void Decide(const MessageName& name, bool commits,
              PreparedMessage& prepared) {
    const int64_t begin = NowNs();
    const absl::Status decided =
        commits ? prepared.Commit() : prepared.Rollback();
    Operation one =
        Begun(commits ? Kind::kCommit : Kind::kRollback, name, begin);
    one.result = ResultOf(decided);
    if (!decided.ok()) one.error = TextOf(decided);
    record_(one);
  }

  const WorkerOptions& options_;
  const Record& record_;
  MessagingAccessPoint bus_;
  Producer producer_;
  std::mt19937_64 random_;
};

class Receiver {
 public:
  Receiver(const WorkerOptions& options, const Record& record)
      : options_(options),
        record_(record),
        random_(options.seed ^ static_cast<uint64_t>(NowNs())) {}

  absl::Status Run(const std::function<bool()>& stop) {
    auto bus = MessagingAccessPoint::Connect(options_.url);
    if (!bus.ok()) return bus.status();
    PullConsumerOptions settings;
    settings.group = options_.group;
    settings.ordered = options_.ordered;
    if (options_.leases) settings.lease = kLease;
    auto consumer = bus->CreatePullConsumer(settings);
    if (!consumer.ok()) return consumer.status();
    if (auto s = consumer->Bind(options_.queue); !s.ok()) return s;
    while (!stop()) {
      const int64_t begin = NowNs();
      const auto delivery = consumer->Receive(milliseconds(100));
      if (!delivery.ok()) {
        // Whatever it was, the next call tells it again; it is no message.
        std::this_thread::sleep_for(milliseconds(10));
      } else if (delivery->has_value()) {
        Take(**delivery, begin);
      }
    }
    return absl::OkStatus();
  }

 private:
  void Take(const Delivery& delivery, int64_t begin) {
    const Message& message = delivery.message();
    Operation one;
    one.kind = Kind::kReceive;
    one.worker = options_.name;
    one.group = options_.group;
    one.begin_ns = begin;
    one.end_ns = NowNs();
    one.partition = message.partition();
    one.offset = message.offset();
    one.deliveries = message.delivery_count();
    one.id = message.properties().Get<std::string>(kIdProperty).value_or("");
    const auto name = MessageName::Parse(one.id);
    one.altered = !name || message.body() != BodyOf(*name, options_.seed) ||
                  message.message_key() !=
                      StepOf(*name, options_.means, options_.seed).key;
    record_(one);
    const uint64_t chance = random_() % 100;
    if (chance < 10) {
      std::this_thread::sleep_for(milliseconds(random_() % 20));
    }
    const bool nack = options_.nacks && chance >= 90;
    one.kind = nack ? Kind::kNack : Kind::kAck;
    one.begin_ns = NowNs();
    const absl::Status settled = nack ? delivery.Nack() : delivery.Ack();
    one.end_ns = NowNs();
    one.result = ResultOf(settled);
    one.error = TextOf(settled);
    one.altered = false;
    one.partition = -1;
    one.offset = -1;
    record_(one);
  }

  const WorkerOptions& options_;
  const Record& record_;
  std::mt19937_64 random_;
};

}  // namespace

absl::Status LoadDriver(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  return driver::Registry::Default().Load(path);
}

int64_t NowNs() {
  return std::chrono::nanoseconds(steady_clock::now().time_since_epoch())
      .count();
}

absl::Status Work(const WorkerOptions& options, const Record& record,
                  const std::function<bool()>& stop) {
  if (options.group.empty()) return Sender::Run(options, record, stop);
  return Receiver(options, record).Run(stop);
}

}  // namespace openmessaging::conformance::history
