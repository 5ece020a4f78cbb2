// SPDX-License-Identifier: Apache-2.0
//
// The slot lock: one holds it at a time, nobody sleeps who could have it, and
// of the dead it is taken by exactly one.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "schedules/disk.h"
#include "schedules/scenarios.h"
#include "slot_lock.h"

namespace openmessaging::reference::schedules {
namespace {

constexpr uint32_t kNobody = 99;

// Each takes the lock `rounds` times.
class LockScenario : public Scenario {
 public:
  explicit LockScenario(int rounds) : rounds_(rounds) {}

  void SetUp() override {
    for (uint32_t n = 0; n < World::Get().processes(); ++n) Begin(n, n, 1);
  }

  void Run(uint32_t process) override { TakeAll(process); }

  void OnDeath(uint32_t process) override { disk_.FreeLocks(process); }

  void Check() override {
    const World& world = World::Get();
    for (uint32_t n = 0; n < world.processes(); ++n) {
      if (Wants(n) && !world.IsKilled(n) && done_[n] != rounds_) {
        World::Get().Fail("a living process did not get the lock in time");
      }
    }
    const auto owner = Owner::FromWord(word_.owner.Load());
    if (owner.word() != 0 && (!world.any_killed() || IsLiving(owner))) {
      World::Get().Fail("the lock is held although nobody is in it");
    }
  }

  // Whoever sleeps is woken by whoever lets go, unless the owner is dead, or
  // somebody died between letting go and waking.
  bool MayOversleep(uint32_t, const void*) override {
    const auto owner = Owner::FromWord(word_.owner.word().load());
    if (owner.word() != 0) return !IsLiving(owner);
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      if (releasing_[n] && World::Get().IsKilled(n)) return true;
    }
    return false;
  }

 protected:
  // Whether it takes the lock at all.
  virtual bool Wants(uint32_t /*process*/) const { return true; }

  struct Life {
    std::shared_ptr<Storage> storage{};
    std::unique_ptr<ByteLocks> locks{};
    std::unique_ptr<Liveness> liveness{};
  };

  // As Store::TryTakeSlot. Returns: whether the slot was free.
  bool Begin(uint32_t process, uint32_t slot, uint32_t generation) {
    Life& life = lives_[process];
    if (life.storage == nullptr) {
      life.storage = disk_.Of(process);
      life.locks = *life.storage->OpenLocks("LOCK");
    }
    if (*life.locks->HeldElsewhere(kSlotByte + slot, 1)) return false;
    slots_[slot].generation.Store(generation);
    if (!*life.locks->TryLock(kSlotByte + slot)) return false;
    life.liveness = std::make_unique<Liveness>(
        life.locks.get(), slots_.data(), static_cast<uint32_t>(slots_.size()),
        Owner(slot, generation));
    return true;
  }

  bool IsLiving(Owner owner) const {
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      if (!World::Get().IsKilled(n) && lives_[n].liveness != nullptr &&
          lives_[n].liveness->self() == owner) {
        return true;
      }
    }
    return false;
  }

  void TakeAll(uint32_t process) {
    SlotLock lock(&word_, lives_[process].liveness.get(), machine_->waiting);
    for (int round = 0; round < rounds_; ++round) {
      const auto deadline =
          std::chrono::steady_clock::now() + std::chrono::seconds(1);
      const auto result = lock.Acquire(deadline);
      if (result == SlotLock::Result::kTimeout) return;
      Work(process, result == SlotLock::Result::kInherited);
      releasing_[process] = true;
      lock.Release();
      releasing_[process] = false;
      ++done_[process];
    }
  }

 private:
  // Between Acquire and Release.
  void Work(uint32_t process, bool inherited) {
    World& world = World::Get();
    if (holder_ != kNobody && !world.IsKilled(holder_)) {
      world.Fail("two processes hold the lock");
    }
    // Before its first operation inside a process may die unseen.
    if (inherited && !world.any_killed()) {
      world.Fail("a lock was inherited though nobody died");
    }
    if (holder_ != kNobody && !inherited) {
      world.Fail("a lock was taken from the dead without telling its heir");
    }
    holder_ = process;
    inside_.Store(process);
    if (inside_.Load() != process) world.Fail("another one was inside");
    holder_ = kNobody;
  }

  const int rounds_;
  Disk disk_{false};
  Environment* const machine_ = OpenMachine();
  std::vector<Slot> slots_ = std::vector<Slot>(4);
  std::vector<Life> lives_ = std::vector<Life>(kMaxProcesses);
  LockWord word_{};
  Shared<uint32_t> inside_{};
  uint32_t holder_ = kNobody;
  bool releasing_[kMaxProcesses] = {};
  int done_[kMaxProcesses] = {};
};

// The slot of one that died is taken by a third: the word that the dead left
// names a life that is over, though its slot's byte is locked.
class ReuseScenario final : public LockScenario {
 public:
  ReuseScenario() : LockScenario(1) {}

  void SetUp() override {
    Begin(0, 0, 1);
    Begin(1, 1, 1);
  }
  void Run(uint32_t process) override {
    if (process < 2) {
      TakeAll(process);
    } else if (!Begin(2, 0, 2)) {
      Begin(2, 2, 1);  // Slot 0 was not free.
    }
  }
  bool MayDie(uint32_t process) override { return process == 0; }

 private:
  bool Wants(uint32_t process) const override { return process < 2; }
};

}  // namespace

std::vector<ScenarioKind> LockScenarios() {
  return {
      {"lock-two",
       2,
       [] { return new LockScenario(2); },
       {4, 0, 4, 20'000, 0},
       {6, 0, 6, 200'000, 0}},
      {"lock-two-killed",
       2,
       [] { return new LockScenario(2); },
       {3, 1, 4, 20'000, 500},
       {4, 2, 5, 200'000, 10'000}},
      {"lock-three-killed",
       3,
       [] { return new LockScenario(1); },
       {3, 1, 3, 20'000, 1'000},
       {3, 2, 4, 200'000, 20'000}},
      {"lock-slot-reused",
       3,
       [] { return new ReuseScenario(); },
       {3, 1, 3, 20'000, 1'000},
       {3, 1, 4, 200'000, 20'000}},
  };
}

std::vector<ScenarioKind> AllScenarios() {
  std::vector<ScenarioKind> all;
  for (const auto& some : {LockScenarios(), AppendScenarios(), GroupScenarios(),
                           UnitScenarios(), LifeScenarios()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace openmessaging::reference::schedules
