// SPDX-License-Identifier: Apache-2.0

#include "step/shop.h"

#include <atomic>
#include <cstdint>
#include <filesystem>

#include "control.h"
#include "env/environment.h"
#include "openmessaging/reference/driver.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::step {
namespace {

using std::chrono::milliseconds;

class OwnClock final : public Clock {
 public:
  explicit OwnClock(Clock* machine) : machine_(machine) {}
  int64_t BootNs() const override { return machine_->BootNs() + ahead_ns; }
  int64_t WallMs() const override {
    return machine_->WallMs() + ahead_ns / 1'000'000;
  }
  int64_t ExactWallMs() const override {
    return machine_->ExactWallMs() + ahead_ns / 1'000'000;
  }
  uint64_t BootHash() const override { return machine_->BootHash(); }

  std::atomic<int64_t> ahead_ns{0};

 private:
  Clock* const machine_;
};

class OwnWaiting final : public Waiting {
 public:
  explicit OwnWaiting(Waiting* machine) : machine_(machine) {}
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
            std::chrono::nanoseconds timeout) override {
    if (!hurries) machine_->Wait(word, expected, timeout);
  }
  void WakeAll(const std::atomic<uint32_t>& word) override {
    machine_->WakeAll(word);
  }

  std::atomic<bool> hurries{false};

 private:
  Waiting* const machine_;
};

OwnClock* own_clock = nullptr;
OwnWaiting* own_waiting = nullptr;

}  // namespace

void UseOwnTime() {
  Environment& machine = Environment::OfMachine();
  own_clock = new OwnClock(machine.clock);
  own_waiting = new OwnWaiting(machine.waiting);
  machine.clock = own_clock;
  machine.waiting = own_waiting;
}

void Hurry() { own_waiting->hurries = true; }

void Pass(milliseconds time) {
  own_clock->ahead_ns += time.count() * 1'000'000;
}

void Shop::Open() {
  bus.emplace(Want(MessagingAccessPoint::Connect(url)));
  // No kill leaves what an opening cannot believe.
  if (std::filesystem::exists(directory + '/' + kRefusedControlName)) {
    throw Wrong("ctl was refused");
  }
  producer.emplace(Want(bus->CreateProducer()));
}

void Shop::OpenSecond() {
  const Url parsed = Want(Url::Parse(url));
  second = Want(MakeFileDriver()->Connect(
      parsed, parsed.attributes(),
      std::chrono::steady_clock::now() + std::chrono::seconds(2)));
}

void Shop::MakeQueues() const {
  ResourceManager manager = bus->resource_manager();
  for (const char* const queue : kQueues) {
    QueueOptions options;
    if (std::string_view(queue) == "orders") {
      options.dead_letter_queue = "dead";
      options.max_deliveries = kShopDeliveries;
      options.redelivery_delay = milliseconds(0);
    } else if (std::string_view(queue) == "once") {
      options.deduplication_window = std::chrono::hours(20);
    }
    const absl::Status made = manager.CreateQueue(queue, options);
    if (OmsCode(made) != Code::kQueueExists) Want(made);
  }
  const absl::Status made = manager.CreateRoute({"routed", "copies", ""});
  if (OmsCode(made) != Code::kQueueExists) Want(made);
}

int64_t Shop::Send(std::string_view queue, std::string_view body) {
  Message message(queue, body);
  message.SetDurability(Durability::kProcess);
  return Want(producer->Send(message)).offset;
}

Delivery Shop::Take() {
  if (!consumer) {
    consumer.emplace(Want(bus->CreatePullConsumer({.group = "billing"})));
    Want(consumer->Bind("orders"));
  }
  auto taken = Want(consumer->Receive(milliseconds(0)));
  if (!taken) throw Wrong("nothing is to be had");
  return *std::move(taken);
}

void Shop::Close() {
  held.clear();
  consumer.reset();
  producer.reset();
  bus.reset();
}

driver::TransactionSource& Shop::transactions() const {
  auto* const source =
      driver::QueryInterface<driver::TransactionSource>(*second);
  if (source == nullptr) throw Wrong("it has no transactions");
  return *source;
}

void Furnish(Shop& shop) {
  shop.Open();
  shop.MakeQueues();
  for (int n = 0; n < 6; ++n) shop.Send("orders", "o" + std::to_string(n));
  Want(shop.Take().Ack());
  shop.held.push_back(shop.Take());
  // A flush, which logs what was settled.
  Message message("log", "l0");
  message.SetDurability(Durability::kDisk);
  Want(shop.producer->Send(message).status());
}

}  // namespace openmessaging::reference::step
