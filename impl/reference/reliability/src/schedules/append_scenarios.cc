// SPDX-License-Identifier: Apache-2.0
//
// The log: appends of several at once, the roll to a new segment, and flushes
// that one leads for all.

#include <memory>
#include <string>
#include <vector>

#include "schedules/scenarios.h"
#include "schedules/store_scenario.h"

namespace openmessaging::reference::schedules {
namespace {

// Each sends so many messages of some size, one after another.
class AppendScenario final : public StoreScenario {
 public:
  AppendScenario(bool flushes, int messages, size_t padding)
      : StoreScenario(flushes), messages_(messages), padding_(padding) {}

  void SetUp() override {
    OpenAll();
    // Each has sent before: what is mapped and looked up once is there.
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      Send(n, "before " + std::to_string(n));
    }
  }
  void Run(uint32_t process) override {
    for (int n = 0; n < messages_; ++n) {
      Send(process,
           std::to_string(process) + "." + std::to_string(n) +
               std::string(padding_, static_cast<char>('a' + process)));
    }
  }
  void Check() override { CheckStored(); }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  const int messages_;
  const size_t padding_;
};

// Each sends a message that is acknowledged once it is on disk.
class FlushScenario final : public StoreScenario {
 public:
  FlushScenario() : StoreScenario(true) {}

  void SetUp() override {
    OpenAll();
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      Send(n, "before " + std::to_string(n), Durability::kDisk);
    }
  }
  void Run(uint32_t process) override {
    const std::string body = "on disk " + std::to_string(process);
    Send(process, body, Durability::kDisk);
    if (!disk_.HasFlushed(body)) {
      World::Get().Fail("acknowledged before it was on disk: " + body);
    }
  }
  void Check() override {
    const Log& log = store(kKeeper)->log();
    if (log.durable() > log.committed()) {
      World::Get().Fail("more is durable than was stored");
    }
    CheckStored();
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }
};

}  // namespace

std::vector<ScenarioKind> AppendScenarios() {
  return {
      {"append-two-in-memory",
       2,
       [] { return new AppendScenario(false, 1, 0); },
       {3, 0, 3, 10'000, 0},
       {4, 0, 4, 100'000, 10'000}},
      {"append-two",
       2,
       [] { return new AppendScenario(true, 1, 0); },
       {3, 0, 3, 10'000, 0},
       {4, 0, 4, 100'000, 10'000}},
      {"append-two-killed",
       2,
       [] { return new AppendScenario(true, 1, 0); },
       {2, 1, 3, 10'000, 500},
       {3, 1, 4, 100'000, 10'000}},
      {"append-three-killed",
       3,
       [] { return new AppendScenario(true, 2, 0); },
       {2, 1, 2, 6'000, 1'000},
       {3, 2, 3, 100'000, 20'000}},
      {"append-roll",
       2,
       [] { return new AppendScenario(true, 3, 2900); },
       {2, 1, 2, 6'000, 500},
       {3, 1, 3, 100'000, 10'000}},
      {"flush-two",
       2,
       [] { return new FlushScenario(); },
       {3, 0, 3, 10'000, 500},
       {3, 0, 3, 150'000, 10'000}},
      {"flush-three-killed",
       3,
       [] { return new FlushScenario(); },
       {2, 1, 2, 10'000, 1'000},
       {3, 2, 3, 150'000, 20'000}},
  };
}

}  // namespace openmessaging::reference::schedules
