// SPDX-License-Identifier: Apache-2.0

#include "runner.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "openmessaging/internal/text.h"
#include "partner.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// What a store keeps beside a body, or more; and what a page is.
constexpr size_t kOverheadBytes = 256;
constexpr double kPageBytes = 4096;
constexpr size_t kMaxSamples = size_t{1} << 21;
// How long something that was sent may take to arrive.
constexpr milliseconds kArrival{5000};
// Asynchronous sends whose outcome is still to be asked for.
constexpr size_t kInFlight = 5000;

absl::Status NothingCame() {
  return MakeStatus(Code::kTimeout,
                    "measure: a message did not come within 5 s; expected it "
                    "at once");
}

// Sends batches of equal messages, which are built once.
class BatchSender {
 public:
  BatchSender(Producer* producer, const std::string& queue, const Case& one,
              char first = kMessage)
      : producer_(producer) {
    Message message(queue, std::string(one.size_bytes, first));
    message.SetDurability(one.durability);
    // Each with bytes of its own, as an application's would have.
    for (size_t i = 0; i < one.batch; ++i) {
      messages_.emplace_back(message.destination(), message.body());
      messages_.back().SetDurability(one.durability);
    }
  }

  absl::StatusOr<bool> operator()() {
    if (messages_.size() == 1) {
      const auto sent = producer_->Send(messages_[0]);
      if (!sent.ok()) return sent.status();
      return true;
    }
    for (const auto& sent : producer_->Send(std::span(messages_))) {
      if (!sent.ok()) return sent.status();
    }
    return true;
  }

 private:
  Producer* const producer_;
  std::vector<Message> messages_;
};

// Receives a batch and acknowledges it. Returns: how many came in `timeout`.
class BatchReceiver {
 public:
  BatchReceiver(PullConsumer* consumer, size_t batch)
      : consumer_(consumer), deliveries_(batch) {}

  absl::StatusOr<size_t> operator()(milliseconds timeout) {
    const auto count = consumer_->ReceiveBatch(std::span(deliveries_), timeout);
    if (!count.ok() || *count == 0) return count;
    if (*count == 1) {
      if (auto status = deliveries_[0].Ack(); !status.ok()) return status;
      return count;
    }
    for (const absl::Status& status :
         consumer_->Ack(std::span(deliveries_).first(*count))) {
      if (!status.ok()) return status;
    }
    return count;
  }

 private:
  PullConsumer* const consumer_;
  std::vector<Delivery> deliveries_;
};

absl::StatusOr<PullConsumer> MakeConsumer(const MessagingAccessPoint& bus,
                                          const std::string& queue) {
  auto consumer = bus.CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto status = consumer->Bind(queue); !status.ok()) return status;
  return consumer;
}

// Measures the rate of `call`, then its latency.
template <typename Call>
absl::Status MeasureBoth(const Budget& budget, Result& result, Call&& call) {
  const auto warm =
      MeasureRate({budget.time / 8, budget.max_calls / 8 + 1}, call);
  if (!warm.ok()) return warm.status();
  const auto rate = MeasureRate(budget, call);
  if (!rate.ok()) return rate.status();
  Samples samples(std::min(budget.max_calls, kMaxSamples));
  if (auto status = MeasureLatency(budget, samples, call); !status.ok()) {
    return status;
  }
  result.messages = rate->calls * result.of.batch;
  result.per_second = rate->per_second * static_cast<double>(result.of.batch);
  result.latency = Summarise(samples);
  return absl::OkStatus();
}

}  // namespace

double Result::Ratio() const {
  if (limit.p50_ns > 0) {
    return static_cast<double>(latency.p50_ns) /
           static_cast<double>(limit.p50_ns);
  }
  return limit.per_second > 0 ? per_second / limit.per_second : 0;
}

class Runner::OwnQueue {
 public:
  OwnQueue(ResourceManager manager, std::string name)
      : manager_(std::move(manager)), name_(std::move(name)) {}
  OwnQueue(OwnQueue&& other) noexcept
      : manager_(other.manager_), name_(std::exchange(other.name_, {})) {}
  OwnQueue& operator=(OwnQueue&&) = delete;
  ~OwnQueue() {
    // A failure shows in the next call, or somebody else deleted it.
    if (!name_.empty()) manager_.DeleteQueue(name_).IgnoreError();
  }
  const std::string& name() const { return name_; }

 private:
  ResourceManager manager_;
  std::string name_;
};

absl::StatusOr<Runner::OwnQueue> Runner::MakeQueue() {
  ResourceManager manager = bus_.resource_manager();
  for (;;) {
    std::string name = Concat("oms-bench-", ::getpid(), '-', next_queue_++);
    const absl::Status status = manager.CreateQueue(name);
    if (status.ok()) return OwnQueue(std::move(manager), std::move(name));
    // One of that name is left of a process that was killed.
    if (OmsCode(status) != Code::kQueueExists) return status;
  }
}

std::string Runner::ReasonToSkip(const Case& one) {
  if (!capabilities_) capabilities_ = bus_.capabilities("oms-bench");
  if (!capabilities_->ok()) return "";  // Run() says it.
  const Capabilities& has = **capabilities_;
  if (one.durability != Durability::kVolatile &&
      !has.Has(Capability::kDurable)) {
    return "the driver keeps no message longer than its processes (durable)";
  }
  if (one.place == Place::kProcesses && bus_.url().driver() == "memory") {
    return "a memory store is inside one process";
  }
  const bool receives = one.operation != Operation::kSend &&
                        one.operation != Operation::kSenders &&
                        one.operation != Operation::kAsync;
  if (receives && !has.Has(Capability::kIndividualAck)) {
    return "the driver cannot acknowledge single messages (individual-ack)";
  }
  if (has.limits().max_body_bytes.value_or(one.size_bytes) < one.size_bytes) {
    return Concat("bodies are limited to ", *has.limits().max_body_bytes,
                  " bytes");
  }
  if (has.limits().max_batch_messages.value_or(one.batch) < one.batch) {
    return Concat("batches are limited to ", *has.limits().max_batch_messages,
                  " messages");
  }
  if (one.wait == Wait::kSpin && !BusOf(one).ok()) {
    return "the driver has no attribute wait=spin";
  }
  return "";
}

absl::StatusOr<MessagingAccessPoint> Runner::BusOf(const Case& one) {
  if (one.wait != Wait::kSpin) return bus_;
  if (!spin_bus_) spin_bus_ = ConnectWith(options_.url, one.wait);
  return *spin_bus_;
}

Budget Runner::BudgetOf(const Case& one) const {
  const size_t bytes = one.batch * (one.size_bytes + kOverheadBytes);
  return {options_.time, std::max<size_t>(options_.max_bytes / bytes, 8)};
}

// A send is no quicker than its bytes into pages that nobody used before.
absl::StatusOr<Limit> Runner::CopyLimit(const Case& one) {
  const auto copy = yardstick_->Copy(one.size_bytes);
  if (!copy.ok()) return copy.status();
  if (one.operation == Operation::kReceive) {
    return Limit{.name = (*copy)->name, .per_second = (*copy)->per_second};
  }
  const bool file = bus_.url().driver() == "file";
  const auto touch = file ? yardstick_->TouchFile() : yardstick_->TouchMemory();
  if (!touch.ok()) return touch.status();
  const double seconds =
      1 / (*copy)->per_second +
      static_cast<double>(one.size_bytes) / kPageBytes / (*touch)->per_second;
  return Limit{.name = Concat((*copy)->name, " + ", (*touch)->name),
               .per_second = 1 / seconds};
}

absl::StatusOr<Limit> Runner::LimitOf(const Case& one) {
  if (one.operation == Operation::kRoundTrip) {
    const auto game = yardstick_->PingPong(one.wait == Wait::kSpin);
    if (!game.ok()) return game.status();
    return Limit{.name = (*game)->name, .p50_ns = (*game)->latency.p50_ns};
  }
  if (one.durability != Durability::kDisk) return CopyLimit(one);
  const auto append =
      yardstick_->Append(one.size_bytes * one.batch, one.senders);
  if (!append.ok()) return append.status();
  return Limit{
      .name = (*append)->name,
      .per_second = (*append)->per_second * static_cast<double>(one.batch)};
}

absl::StatusOr<Result> Runner::Run(const Case& one) {
  Result result;
  result.of = one;
  if (one.operation != Operation::kAsync) {  // It measures its own.
    auto limit = LimitOf(one);
    if (!limit.ok()) return limit.status();
    result.limit = *std::move(limit);
  }
  const auto measure = [&] {
    switch (one.operation) {
      case Operation::kSend:
        return Send(one, result);
      case Operation::kSenders:
        return Senders(one, result);
      case Operation::kAsync:
        return Async(one, result);
      case Operation::kReceive:
        return Receive(one, result);
      case Operation::kCycle:
        return Cycle(one, result);
      case Operation::kTransfer:
        return Transfer(one, result);
      case Operation::kRoundTrip:
        return RoundTrip(one, result);
    }
    return absl::OkStatus();
  };
  if (auto status = measure(); !status.ok()) return status;
  return result;
}

absl::Status Runner::Send(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  auto producer = bus_.CreateProducer();
  if (!producer.ok()) return producer.status();
  return MeasureBoth(BudgetOf(one), result,
                     BatchSender(&*producer, queue->name(), one));
}

absl::Status Runner::Senders(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  std::vector<Producer> producers;
  for (size_t n = 0; n < one.senders; ++n) {
    auto producer = bus_.CreateProducer();
    if (!producer.ok()) return producer.status();
    if (auto status = producer->Start(); !status.ok()) return status;
    producers.push_back(*std::move(producer));
  }
  std::vector<Samples> samples(one.senders, Samples(kMaxSamples / 64));
  std::vector<absl::Status> statuses(one.senders);
  const auto send = [&](size_t n) {
    statuses[n] =
        MeasureLatency({options_.time, SIZE_MAX}, samples[n],
                       BatchSender(&producers[n], queue->name(), one));
  };
  const int64_t start_ns = NowNs();
  std::vector<std::thread> threads;
  for (size_t n = 1; n < one.senders; ++n) threads.emplace_back(send, n);
  send(0);
  for (std::thread& thread : threads) thread.join();
  const int64_t elapsed_ns = NowNs() - start_ns;

  std::vector<int64_t> times_ns;
  for (size_t n = 0; n < one.senders; ++n) {
    if (!statuses[n].ok()) return statuses[n];
    const auto some = samples[n].times_ns();
    times_ns.insert(times_ns.end(), some.begin(), some.end());
  }
  result.messages = times_ns.size();
  result.per_second = RateOf(times_ns.size(), elapsed_ns).per_second;
  result.latency = Summarise(std::move(times_ns));
  return absl::OkStatus();
}

absl::Status Runner::Async(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  auto producer =
      bus_.CreateProducer({.max_in_flight_messages = 2 * kInFlight});
  if (!producer.ok()) return producer.status();
  const auto waiting =
      MeasureRate(BudgetOf(one), BatchSender(&*producer, queue->name(), one));
  if (!waiting.ok()) return waiting.status();
  Case waits = one;
  waits.operation = Operation::kSend;
  result.limit = {.name = waits.Name(), .per_second = waiting->per_second};

  Message message(queue->name(), std::string(one.size_bytes, kMessage));
  message.SetDurability(one.durability);
  // Half as many as the producer lets be in flight: the oldest is asked for its
  // outcome when its place is needed.
  std::vector<Future<SendResult>> in_flight(kInFlight);
  size_t sent = 0;
  const auto send = [&]() -> absl::StatusOr<bool> {
    Future<SendResult>& place = in_flight[sent % in_flight.size()];
    if (sent >= in_flight.size()) {
      if (const auto old = place.Await(); !old.ok()) return old.status();
    }
    place = producer->SendAsync(message);
    ++sent;
    return true;
  };
  const int64_t start_ns = NowNs();
  if (auto rate = MeasureRate(BudgetOf(one), send); !rate.ok()) {
    return rate.status();
  }
  for (const Future<SendResult>& last :
       std::span(in_flight).first(std::min(sent, in_flight.size()))) {
    if (const auto outcome = last.Await(); !outcome.ok()) {
      return outcome.status();
    }
  }
  result.messages = sent;
  result.per_second = RateOf(sent, NowNs() - start_ns).per_second;
  return absl::OkStatus();
}

absl::Status Runner::Receive(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  auto producer = bus_.CreateProducer();
  if (!producer.ok()) return producer.status();
  // The group exists before the messages, so that they are kept for it.
  auto consumer = MakeConsumer(bus_, queue->name());
  if (!consumer.ok()) return consumer.status();

  // Full batches, so that each receive finds one.
  Case filling = one;
  filling.batch = std::max<size_t>(one.batch, 16);
  const auto filled =
      MeasureRate({2 * options_.time, BudgetOf(filling).max_calls},
                  BatchSender(&*producer, queue->name(), filling));
  if (!filled.ok()) return filled.status();
  const size_t messages = filled->calls * filling.batch;

  BatchReceiver receive(&*consumer, one.batch);
  size_t left = messages;
  const auto one_batch = [&]() -> absl::StatusOr<bool> {
    if (left == 0) return false;
    const auto count = receive(kArrival);
    if (!count.ok()) return count.status();
    if (*count == 0) return NothingCame();
    left -= *count;
    return true;
  };
  // Half of them for each loop, each within its time.
  const size_t calls = messages / one.batch;
  const auto rate =
      MeasureRate({options_.time, std::max<size_t>(calls / 2, 1)}, one_batch);
  if (!rate.ok()) return rate.status();
  result.messages = messages - left;
  result.per_second = rate->per_second * static_cast<double>(result.messages) /
                      static_cast<double>(std::max<size_t>(rate->calls, 1));
  Samples samples(std::clamp<size_t>(calls, 1, kMaxSamples));
  if (auto status = MeasureLatency({options_.time, calls}, samples, one_batch);
      !status.ok()) {
    return status;
  }
  result.latency = Summarise(samples);
  return absl::OkStatus();
}

absl::Status Runner::Cycle(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  auto producer = bus_.CreateProducer();
  if (!producer.ok()) return producer.status();
  auto consumer = MakeConsumer(bus_, queue->name());
  if (!consumer.ok()) return consumer.status();
  BatchSender send(&*producer, queue->name(), one);
  BatchReceiver receive(&*consumer, one.batch);
  return MeasureBoth(BudgetOf(one), result, [&]() -> absl::StatusOr<bool> {
    if (auto sent = send(); !sent.ok()) return sent;
    for (size_t left = one.batch; left > 0;) {
      const auto count = receive(kArrival);
      if (!count.ok()) return count.status();
      if (*count == 0) return NothingCame();
      left -= std::min(left, *count);
    }
    return true;
  });
}

absl::Status Runner::Transfer(const Case& one, Result& result) {
  const auto queue = MakeQueue();
  if (!queue.ok()) return queue.status();
  const auto bus = BusOf(one);
  if (!bus.ok()) return bus.status();
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  if (auto status = producer->Start(); !status.ok()) return status;
  auto partner = Partner::Start(one.place, {.url = options_.url,
                                            .queue = queue->name(),
                                            .size_bytes = one.size_bytes,
                                            .batch = one.batch,
                                            .durability = one.durability,
                                            .wait = one.wait});
  if (!partner.ok()) return partner.status();
  Case last = one;
  last.batch = 1;
  BatchSender finish(&*producer, queue->name(), last, kLastMessage);
  BatchSender send(&*producer, queue->name(), one);

  const int64_t start_ns = NowNs();
  if (auto rate = MeasureRate(BudgetOf(one), send); !rate.ok()) {
    return rate.status();
  }
  if (auto sent = finish(); !sent.ok()) return sent.status();
  const auto report = (*partner)->Finish();
  if (!report.ok()) return report.status();
  result.messages = report->messages;
  result.per_second =
      RateOf(report->messages, report->done_ns - start_ns).per_second;
  return absl::OkStatus();
}

absl::Status Runner::RoundTrip(const Case& one, Result& result) {
  const auto there = MakeQueue();
  if (!there.ok()) return there.status();
  const auto back = MakeQueue();
  if (!back.ok()) return back.status();
  const auto bus = BusOf(one);
  if (!bus.ok()) return bus.status();
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  auto consumer = MakeConsumer(*bus, back->name());
  if (!consumer.ok()) return consumer.status();
  auto partner = Partner::Start(one.place, {.url = options_.url,
                                            .queue = there->name(),
                                            .reply_queue = back->name(),
                                            .size_bytes = one.size_bytes,
                                            .durability = one.durability,
                                            .wait = one.wait});
  if (!partner.ok()) return partner.status();
  BatchSender send(&*producer, there->name(), one);
  BatchSender finish(&*producer, there->name(), one, kLastMessage);

  const Budget budget = BudgetOf(one);
  Samples samples(std::min(budget.max_calls, kMaxSamples));
  bool counts = false;
  // The answer has come back when it is here; to acknowledge it is not part of
  // the way.
  const auto once = [&]() -> absl::StatusOr<bool> {
    const int64_t sent_ns = NowNs();
    if (auto sent = send(); !sent.ok()) return sent;
    auto received = consumer->Receive(kArrival);
    if (!received.ok()) return received.status();
    if (!received->has_value()) return NothingCame();
    if (counts) samples.Add(NowNs() - sent_ns);
    if (auto status = (*received)->Ack(); !status.ok()) return status;
    return !samples.full();
  };
  const auto warm =
      MeasureRate({budget.time / 8, budget.max_calls / 8 + 1}, once);
  if (!warm.ok()) return warm.status();
  counts = true;
  const auto rate = MeasureRate(budget, once);
  if (!rate.ok()) return rate.status();
  if (auto sent = finish(); !sent.ok()) return sent.status();
  if (auto report = (*partner)->Finish(); !report.ok()) {
    return report.status();
  }
  result.messages = rate->calls;
  result.per_second = rate->per_second;
  result.latency = Summarise(samples);
  return absl::OkStatus();
}

}  // namespace openmessaging::tools
