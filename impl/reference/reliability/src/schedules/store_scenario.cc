// SPDX-License-Identifier: Apache-2.0

#include "schedules/store_scenario.h"

#include <algorithm>
#include <span>
#include <utility>

namespace openmessaging::reference::schedules {

Moment Now() { return std::chrono::steady_clock::now(); }
Moment InGoodTime() { return Now() + std::chrono::seconds(20); }

Taker::Taker(std::shared_ptr<Store> store, std::string_view group,
             std::chrono::milliseconds lease, const ConsumerSettings& settings)
    : Taker(
          std::move(store),
          [&] {
            driver::ConsumerOptions options;
            options.group = std::string(group);
            options.lease = lease;
            return options;
          }(),
          settings) {}

Taker::Taker(std::shared_ptr<Store> store,
             const driver::ConsumerOptions& options,
             const ConsumerSettings& settings)
    : consumer_(std::move(store), options, settings, nullptr) {}

absl::Status Taker::Bind(std::string_view queue) {
  return consumer_.Bind(queue, {}, InGoodTime());
}

absl::Status Taker::Take(size_t max, Moment deadline) {
  return consumer_.Receive(max, deadline, *this);
}

absl::Status Taker::Settle(const Receipt& receipt, driver::Verb verb) {
  struct Result final : driver::SettleCompletion {
    void Settled(size_t, const Receipt&) override {}
    void Failed(size_t, absl::Status why) override { status = std::move(why); }
    absl::Status status{};
  } result;
  driver::Settlement settlement;
  settlement.receipt = receipt;
  settlement.verb = verb;
  driver::CallContext context;
  context.deadline = InGoodTime();
  consumer_.Settle({&settlement, 1}, context, result);
  return result.status;
}

void Taker::Deliver(Message message, const Receipt& receipt) {
  taken_.push_back({std::string(message.body()), message.offset(),
                    message.delivery_count(), receipt});
}

std::vector<absl::StatusOr<SendResult>> SendAll(
    const std::shared_ptr<Store>& store, const std::vector<std::string>& bodies,
    Durability durability) {
  struct Results final : driver::SendCompletion {
    void Sent(size_t index, const SendResult& result) override {
      all[index] = result;
    }
    void Failed(size_t index, absl::Status status) override {
      all[index] = std::move(status);
    }
    std::vector<absl::StatusOr<SendResult>> all{};
  } results;
  results.all.resize(bodies.size());
  std::vector<Message> batch;
  for (const std::string& body : bodies) {
    batch.emplace_back("orders", body);
    batch.back().SetDurability(durability);
    batch.back().SetPartition(0);
  }
  driver::CallContext context;
  context.deadline = InGoodTime();
  ReferenceProducer producer(store, false);
  producer.Send(batch, context, results);
  return std::move(results.all);
}

StoreOptions StoreScenario::options() const {
  StoreOptions options;
  options.first_segment_bytes = 8192;
  options.max_segment_bytes = 16384;
  options.slots = 8;
  options.bells = 4;
  options.window = 16;
  options.max_segments = 16;
  options.reserve_bytes = 0;
  return options;
}

void StoreScenario::Must(std::string_view what, const absl::Status& status) {
  if (status.ok()) return;
  World::Get().Fail(
      std::string(what) + ": " +
      std::string(status.message().data(), status.message().size()));
}

std::shared_ptr<Store> StoreScenario::Open(uint32_t process) {
  StoreOpenOptions open;
  open.create = options_;
  auto store = Store::Open(disk_.Of(process), machine_, open, InGoodTime());
  Must("open", store.status());
  if (!store.ok()) return nullptr;
  stores_[process] = *store;
  return *std::move(store);
}

void StoreScenario::Rehearse() {
  Disk elsewhere(true);
  StoreOpenOptions open;
  open.create = options_;
  const auto store =
      Store::Open(elsewhere.Of(kKeeper), machine_, open, InGoodTime());
  Must("open", store.status());
  Must("create",
       (*store)->catalog().CreateQueue("orders", QueueOptions(), InGoodTime()));
  Must("send", SendAll(*store, {"rehearsal"}, Durability::kDisk)[0].status());
  Taker taker(*store, "group");
  Must("bind", taker.Bind("orders"));
  Must("receive", taker.Take(1, Now()));
  Must("acknowledge", taker.Ack(0));
  Must("close", (*store)->Close(InGoodTime()));
}

void StoreScenario::OpenAll(int32_t partitions) {
  Rehearse();
  Open(kKeeper);
  for (uint32_t n = 0; n < World::Get().processes(); ++n) Open(n);
  QueueOptions queue;
  queue.partitions = partitions;
  Must("create",
       store(kKeeper)->catalog().CreateQueue("orders", queue, InGoodTime()));
}

void StoreScenario::Send(uint32_t process, const std::string& body,
                         Durability durability) {
  const size_t note = notes_.size();
  notes_.push_back({process, body, false});
  const auto sent = SendAll(store(process), {body}, durability);
  Must("send", sent[0].status());
  if (sent[0].ok()) notes_[note].acknowledged = true;
}

void StoreScenario::CheckStored() {
  World& world = World::Get();
  Send(kKeeper, "last of all");
  Taker taker(store(kKeeper), "everything");
  Must("bind", taker.Bind("orders"));
  for (size_t before = SIZE_MAX; before != taker.taken().size();) {
    before = taker.taken().size();
    Must("receive", taker.Take(64, Now()));
  }
  const auto& taken = taker.taken();
  if (taken.empty() || taken.back().body != "last of all") {
    world.Fail("the log does not go on");
    return;
  }
  std::array<size_t, kMaxProcesses + 1> next{};
  for (size_t n = 0; n < taken.size(); ++n) {
    if (taken[n].offset != static_cast<int64_t>(n)) {
      world.Fail("offsets are not dense: " + std::to_string(taken[n].offset) +
                 " at place " + std::to_string(n));
    }
    const auto note = std::find_if(
        notes_.begin(), notes_.end(),
        [&](const Note& one) { return one.body == taken[n].body; });
    if (note == notes_.end()) {
      world.Fail("a message was invented: " + taken[n].body.substr(0, 40));
      continue;
    }
    const size_t place = static_cast<size_t>(note - notes_.begin()) + 1;
    if (place <= next[note->process]) {
      world.Fail("a message came twice or out of order: " +
                 taken[n].body.substr(0, 40));
    }
    next[note->process] = place;
  }
  for (const Note& note : notes_) {
    if (note.acknowledged &&
        std::none_of(taken.begin(), taken.end(),
                     [&](const auto& one) { return one.body == note.body; })) {
      world.Fail("an acknowledged message is lost: " + note.body.substr(0, 40));
    }
  }
}

}  // namespace openmessaging::reference::schedules
