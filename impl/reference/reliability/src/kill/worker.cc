// SPDX-License-Identifier: Apache-2.0

#include "kill/worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::kill {
namespace {

using internal::Concat;
using std::chrono::milliseconds;

// Longer than that is looked at one by one.
constexpr int64_t kSlowNs = 20'000'000;

// One process with its consumers.
class Worker {
 public:
  Worker(Ledger& ledger, uint32_t life, uint64_t seed)
      : ledger_(ledger), life_(life), random_(seed) {}

  // Returns: false where that failed; it has complained.
  bool Open(const std::string& url);
  void Work();
  // Returns: whether there was anything.
  bool ReceiveSome(size_t max, milliseconds timeout);
  bool ReceiveMoved(milliseconds timeout);
  bool ReceiveDead(milliseconds timeout);
  void SettleHeld();
  void Calm() { calm_ = true; }

 private:
  uint64_t Dice(uint64_t sides) { return random_() % sides; }
  // Notes a failure. Returns: whether it is none.
  bool Note(const char* what, const absl::Status& status);
  // Measures a call that waits for nobody but who has a lock.
  template <typename Call>
  auto Measure(Call call);
  void Send();
  void Settle(const Delivery& delivery);
  void Acknowledge(const Delivery& delivery);
  void Move(const Delivery& delivery);
  bool Consume(std::optional<PullConsumer>& consumer, const char* group,
               const char* queue);

  Ledger& ledger_;
  const uint32_t life_;
  std::mt19937_64 random_;
  RunDelay delay_;
  bool calm_ = false;  // Only receives, and settles all.
  uint32_t number_ = 0;
  std::optional<MessagingAccessPoint> bus_;
  std::optional<Producer> producer_;
  std::optional<PullConsumer> orders_;
  std::optional<PullConsumer> bills_;
  std::optional<PullConsumer> dead_;
  std::vector<Delivery> held_;
};

bool Worker::Note(const char* what, const absl::Status& status) {
  if (status.ok()) return true;
  const auto text = status.message();
  ledger_.Complain(Concat(what, ": ", static_cast<int>(OmsCode(status)), ' ',
                          std::string_view(text.data(), text.size())));
  return false;
}

template <typename Call>
auto Worker::Measure(Call call) {
  const int64_t delay_ns = delay_.Ns();
  const int64_t begin_ns = NowNs();
  auto result = call();
  const int64_t end_ns = NowNs() - (delay_.Ns() - delay_ns);
  ledger_.calls.Add(std::max<int64_t>(end_ns - begin_ns, 0));
  if (end_ns - begin_ns > kSlowNs) ledger_.slow.Add({begin_ns, end_ns});
  return result;
}

bool Worker::Consume(std::optional<PullConsumer>& consumer, const char* group,
                     const char* queue) {
  auto made = bus_->CreatePullConsumer({.group = group});
  if (!Note("create consumer", made.status())) return false;
  consumer.emplace(*std::move(made));
  return Note("bind", consumer->Bind(queue));
}

bool Worker::Open(const std::string& url) {
  auto bus = MessagingAccessPoint::Connect(url);
  if (!Note("open", bus.status())) return false;
  bus_.emplace(*std::move(bus));
  auto producer = bus_->CreateProducer();
  if (!Note("create producer", producer.status())) return false;
  producer_.emplace(*std::move(producer));
  return Consume(orders_, "billing", "orders");
}

void Worker::Send() {
  const uint32_t count = ledger_.Begin(
      life_, Dice(3) == 0 ? 1 + static_cast<uint32_t>(Dice(6)) : 1);
  if (count == 0) return;
  const bool disk = Dice(40) == 0;
  std::vector<Message> batch;
  for (uint32_t n = number_; n < number_ + count; ++n) {
    batch.emplace_back("orders", BodyOf(ledger_.seed(), {life_, n}));
    batch.back().SetPartition(static_cast<int32_t>(n % kOrderPartitions));
    batch.back().SetDurability(disk ? Durability::kDisk : Durability::kProcess);
  }
  const auto send = [&] {
    return producer_->Send(std::span<const Message>(batch));
  };
  const auto results = disk ? send() : Measure(send);
  for (uint32_t n = 0; n < count; ++n) {
    if (!Note("send", results[n].status())) return;
    ledger_.Sent({life_, number_ + n}, batch[n], results[n]->offset);
  }
  number_ += count;
}

void Worker::Acknowledge(const Delivery& delivery) {
  ledger_.Settling(delivery.message());
  if (Note("ack", Measure([&] { return delivery.Ack(); }))) {
    ledger_.Acknowledged(delivery.message());
  }
}

void Worker::Move(const Delivery& delivery) {
  Message copy("bills", delivery->body());
  copy.SetDurability(Durability::kProcess);
  ledger_.Settling(delivery.message());
  const auto moved = producer_->Transact([&](LocalTransaction& tx) {
    absl::Status status = tx.Ack(delivery);
    status.Update(tx.Send(copy));
    return status;
  });
  if (Note("transact", moved.status())) ledger_.Moved(delivery.message());
}

void Worker::Settle(const Delivery& delivery) {
  const uint64_t dice = calm_ ? 99 : Dice(100);
  if (dice < 8) {
    held_.push_back(delivery);
  } else if (dice < 16) {
    ledger_.Settling(delivery.message());
    Note("nack", delivery.Nack(milliseconds(Dice(3))));
  } else if (dice < 19) {
    ledger_.Settling(delivery.message());
    Note("reject", delivery.Reject());
  } else if (dice < 27) {
    Move(delivery);
  } else {
    if (dice < 32) Note("extend", delivery.Extend(std::chrono::seconds(60)));
    Acknowledge(delivery);
  }
}

void Worker::SettleHeld() {
  for (const Delivery& delivery : std::exchange(held_, {})) {
    Acknowledge(delivery);
  }
}

bool Worker::ReceiveSome(size_t max, milliseconds timeout) {
  const auto receive = [&] { return orders_->ReceiveBatch(max, timeout); };
  const auto batch = timeout.count() == 0 ? Measure(receive) : receive();
  if (!Note("receive", batch.status())) return false;
  for (const Delivery& delivery : *batch) {
    ledger_.Came(life_, delivery.message());
  }
  for (const Delivery& delivery : *batch) Settle(delivery);
  return !batch->empty();
}

bool Worker::ReceiveMoved(milliseconds timeout) {
  if (!bills_ && !Consume(bills_, "cashier", "bills")) return false;
  const auto batch = bills_->ReceiveBatch(16, timeout);
  if (!Note("receive bills", batch.status())) return false;
  for (const Delivery& delivery : *batch) {
    ledger_.CameMoved(delivery.message());
    Note("ack bills", delivery.Ack());
  }
  return !batch->empty();
}

bool Worker::ReceiveDead(milliseconds timeout) {
  if (!dead_ && !Consume(dead_, "undertaker", "dead")) return false;
  const auto batch = dead_->ReceiveBatch(16, timeout);
  if (!Note("receive dead", batch.status())) return false;
  for (const Delivery& delivery : *batch) {
    ledger_.CameDead(delivery.message());
    Note("ack dead", delivery.Ack());
  }
  return !batch->empty();
}

void Worker::Work() {
  // Of one life more of this, of another more of that.
  const uint64_t sends = 10 + 30 * Dice(3);
  while (true) {
    const uint64_t dice = Dice(100);
    if (dice < sends) {
      Send();
    } else if (dice < 94) {
      const bool any = ReceiveSome(1 + Dice(8), milliseconds(0));
      if (!any) ReceiveSome(1, milliseconds(1 + Dice(5)));
    } else if (dice < 96) {
      ReceiveMoved(milliseconds(0));
    } else if (dice < 98) {
      ReceiveDead(milliseconds(0));
    } else {
      SettleHeld();
    }
  }
}

}  // namespace

void MakeStormQueues(const std::string& url) {
  const auto bus = MessagingAccessPoint::Connect(url);
  if (!bus.ok()) std::abort();
  ResourceManager manager = bus->resource_manager();
  QueueOptions orders;
  orders.partitions = static_cast<int32_t>(kOrderPartitions);
  orders.dead_letter_queue = "dead";
  orders.redelivery_delay = milliseconds(0);
  if (!manager.CreateQueue("dead").ok() || !manager.CreateQueue("bills").ok() ||
      !manager.CreateQueue("orders", orders).ok()) {
    std::abort();
  }
}

void WorkForEver(Ledger& ledger, const std::string& url, uint32_t life,
                 uint64_t seed) {
  Worker worker(ledger, life, seed);
  const int64_t begin_ns = NowNs();
  if (!worker.Open(url)) return;
  ledger.openings.Add(NowNs() - begin_ns);
  worker.Work();
}

void ReceiveTheRest(Ledger& ledger, const std::string& url) {
  Worker worker(ledger, ledger.BeginLife(), 0);
  if (!worker.Open(url)) return;
  worker.Calm();
  // What was given back with a delay is due by then.
  constexpr milliseconds kWait{300};
  while (worker.ReceiveSome(64, kWait)) {
  }
  while (worker.ReceiveMoved(kWait)) {
  }
  while (worker.ReceiveDead(kWait)) {
  }
}

pid_t Fork(const std::function<void()>& work) {
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  try {
    work();
  } catch (const std::exception& wrong) {
    std::fprintf(stderr, "a process of the storm threw: %s\n", wrong.what());
    ::_exit(125);
  }
  ::_exit(0);
}

void KillAndWait(pid_t pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace openmessaging::reference::kill
