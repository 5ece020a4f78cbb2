// SPDX-License-Identifier: Apache-2.0
//
// The life of a store: made by two at once, opened while another closes or
// dies, the same queue made twice.

#include <memory>
#include <string>
#include <vector>

#include "openmessaging/status.h"
#include "schedules/scenarios.h"
#include "schedules/store_scenario.h"

namespace openmessaging::reference::schedules {
namespace {

// Each opens a store that is not there yet and makes the same queue, into which
// it sends.
class CreateScenario final : public StoreScenario {
 public:
  explicit CreateScenario(bool flushes) : StoreScenario(flushes) {}

  void SetUp() override { Rehearse(); }
  void Run(uint32_t process) override {
    if (Open(process) == nullptr) return;
    const absl::Status made = store(process)->catalog().CreateQueue(
        "orders", QueueOptions(), InGoodTime());
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) Must("create", made);
    Send(process, "from " + std::to_string(process));
  }
  void Check() override {
    World& world = World::Get();
    if (Open(kKeeper) == nullptr) return;
    for (uint32_t n = 0; n < world.processes(); ++n) {
      if (!world.IsKilled(n) && store(n)->uuid() != store(kKeeper)->uuid()) {
        world.Fail("two stores were made");
      }
    }
    const absl::Status made = store(kKeeper)->catalog().CreateQueue(
        "orders", QueueOptions(), InGoodTime());
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) Must("create", made);
    CheckStored();
  }
  // Beside the gate, which is polled, nobody sleeps for long.
  bool MayOversleep(uint32_t, const void* word) override {
    return word == nullptr || World::Get().any_killed();
  }
};

// 0 has a store open and closes it; 1 opens it and sends.
class CloseScenario final : public StoreScenario {
 public:
  explicit CloseScenario(bool flushes) : StoreScenario(flushes) {}

  void SetUp() override {
    Rehearse();
    Open(0);
    Must("create", store(0)->catalog().CreateQueue("orders", QueueOptions(),
                                                   InGoodTime()));
    Send(0, "before");
  }
  void Run(uint32_t process) override {
    if (process == 0) {
      Must("close", store(0)->Close(InGoodTime()));
      return;
    }
    if (Open(process) == nullptr) return;
    Send(process, "from " + std::to_string(process));
  }
  void Check() override {
    if (Open(kKeeper) == nullptr) return;
    CheckStored();
  }
  bool MayOversleep(uint32_t, const void* word) override {
    return word == nullptr || World::Get().any_killed();
  }
};

// 0 has a store open, sends, and may die. The others open it and send, so that
// one of them may go on where it stopped while the other one joins.
class HeirScenario final : public StoreScenario {
 public:
  HeirScenario() : StoreScenario(true) {}

  void SetUp() override {
    Rehearse();
    Open(0);
    Must("create", store(0)->catalog().CreateQueue("orders", QueueOptions(),
                                                   InGoodTime()));
    Send(0, "before");
  }
  void Run(uint32_t process) override {
    if (process != 0 && Open(process) == nullptr) return;
    Send(process, "from " + std::to_string(process));
  }
  void Check() override {
    if (Open(kKeeper) == nullptr) return;
    CheckStored();
  }
  bool MayDie(uint32_t process) override { return process == 0; }
  bool MayOversleep(uint32_t, const void* word) override {
    return word == nullptr || World::Get().any_killed();
  }
};

// Each makes the same queue, and a group in it.
class CatalogScenario final : public StoreScenario {
 public:
  CatalogScenario() : StoreScenario(true) {}

  void SetUp() override {
    OpenAll();
    Send(kKeeper, "before");
  }
  void Run(uint32_t process) override {
    const absl::Status made = store(process)->catalog().CreateQueue(
        "twice", QueueOptions(), InGoodTime());
    if (made.ok()) {
      ++made_;
    } else if (OmsCode(made) != Code::kQueueExists) {
      Must("create", made);
    }
    auto queue = store(process)->catalog().FindQueue("twice", InGoodTime());
    Must("find", queue.status());
    if (!queue.ok()) return;
    auto group = store(process)->catalog().OpenGroup(
        *queue, "group", StartPosition::kEarliest, InGoodTime());
    Must("open the group", group.status());
    if (group.ok()) Same((*queue)->id, (*group)->id);
  }
  void Check() override {
    World& world = World::Get();
    if (made_ > 1) world.Fail("the same queue was made twice");
    if (made_ == 0 && !world.any_killed()) world.Fail("nobody made the queue");
    Run(kKeeper);
    size_t named = 0;
    const auto queues = store(kKeeper)->catalog().Queues(InGoodTime());
    Must("list", queues.status());
    if (!queues.ok()) return;
    for (const auto& queue : *queues) {
      if (queue->name == "twice") ++named;
    }
    if (named != 1) world.Fail("the list has it " + std::to_string(named));
    CheckStored();
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  // All who see them see the same.
  void Same(uint32_t queue, uint32_t group) {
    if (queue_ == 0) {
      queue_ = queue;
      group_ = group;
    }
    if (queue_ != queue || group_ != group) {
      World::Get().Fail("two see different queues or groups of one name");
    }
  }

  int made_ = 0;
  uint32_t queue_ = 0;
  uint32_t group_ = 0;
};

}  // namespace

std::vector<ScenarioKind> LifeScenarios() {
  return {
      {"create-store-in-memory",
       2,
       [] { return new CreateScenario(false); },
       {2, 0, 2, 4'000, 300},
       {3, 0, 3, 60'000, 10'000}},
      {"create-store",
       2,
       [] { return new CreateScenario(true); },
       {1, 1, 2, 4'000, 300},
       {2, 1, 2, 60'000, 10'000}},
      {"open-as-last-closes",
       2,
       [] { return new CloseScenario(true); },
       {2, 1, 2, 6'000, 300},
       {3, 1, 3, 60'000, 10'000}},
      {"open-as-owner-dies",
       3,
       [] { return new HeirScenario(); },
       {2, 1, 2, 6'000, 500},
       {3, 1, 3, 60'000, 10'000}},
      {"same-queue-twice",
       2,
       [] { return new CatalogScenario(); },
       {2, 1, 2, 8'000, 500},
       {3, 1, 3, 100'000, 10'000}},
  };
}

}  // namespace openmessaging::reference::schedules
