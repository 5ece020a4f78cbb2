// SPDX-License-Identifier: Apache-2.0
//
// The lock that a dead owner cannot keep: exclusion, inheritance, time limits
// and wake-ups.

#include "slot_lock.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::slot_lock_test {
namespace {

using namespace testing;  // The fixture is part of this test.
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Slots over the byte locks of one memory storage, without a store around.
class Processes {
 public:
  Processes() {
    static std::atomic<int> count{0};
    storage = OpenMemory("slot-lock-" + std::to_string(count.fetch_add(1)));
  }

  // One life of a slot.
  struct Process {
    std::unique_ptr<ByteLocks> locks{};
    std::unique_ptr<Liveness> liveness{};

    Owner owner() const { return liveness->self(); }
    // Frees the byte; the words stay.
    void Die() { locks.reset(); }
  };

  Process Start(uint32_t slot, uint32_t generation) {
    Process process;
    auto made = storage->OpenLocks("LOCK");
    REQUIRE(made.ok());
    process.locks = *std::move(made);
    slots[slot].generation.Store(generation);
    const auto locked = process.locks->TryLock(kSlotByte + slot);
    REQUIRE(locked.ok());
    REQUIRE(*locked);
    process.liveness = std::make_unique<Liveness>(
        process.locks.get(), slots.data(), static_cast<uint32_t>(slots.size()),
        Owner(slot, generation));
    return process;
  }

  SlotLock LockOf(const Process& process) {
    return SlotLock(&word, process.liveness.get(), &waiting);
  }

  std::shared_ptr<Storage> storage{};
  std::vector<Slot> slots = std::vector<Slot>(8);
  LockWord word{};
  CountingWaiting waiting{};
};

TimePoint In(milliseconds time) { return steady_clock::now() + time; }

TEST_CASE("one holds the lock at a time, between processes and threads") {
  Processes processes;
  std::vector<Processes::Process> all;
  for (uint32_t slot = 0; slot < 3; ++slot) {
    all.push_back(processes.Start(slot, 1));
  }
  constexpr int kRounds = 3000;
  int counter = 0;  // Plain on purpose: the lock protects it.
  std::vector<std::thread> threads;
  for (const auto& process : all) {
    for (int n = 0; n < 2; ++n) {
      threads.emplace_back([&] {
        SlotLock lock = processes.LockOf(process);
        for (int round = 0; round < kRounds; ++round) {
          if (lock.Acquire(In(std::chrono::seconds(50))) !=
              SlotLock::Result::kAcquired) {
            return;
          }
          ++counter;
          lock.Release();
        }
      });
    }
  }
  for (auto& thread : threads) thread.join();

  CHECK(counter == kRounds * 6);
  CHECK(processes.word.owner.Load() == 0);
}

TEST_CASE("a living owner is waited for until the deadline, and not robbed") {
  Processes processes;
  auto holder = processes.Start(0, 1);
  auto other = processes.Start(1, 1);
  SlotLock held = processes.LockOf(holder);
  SlotLock wanted = processes.LockOf(other);
  REQUIRE(held.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);

  CHECK(wanted.TryAcquire() == SlotLock::Result::kTimeout);
  const auto begin = steady_clock::now();
  CHECK(wanted.Acquire(In(milliseconds(30))) == SlotLock::Result::kTimeout);
  CHECK(steady_clock::now() - begin >= milliseconds(30));
  CHECK(Owner::FromWord(processes.word.owner.Load()) == holder.owner());
  // A deadline that has passed is no wait at all, and no theft.
  CHECK(wanted.Acquire(TimePoint::min()) == SlotLock::Result::kTimeout);

  held.Release();
  CHECK(wanted.TryAcquire() == SlotLock::Result::kAcquired);
  wanted.Release();
}

TEST_CASE("threads of one process exclude each other as well") {
  Processes processes;
  auto process = processes.Start(0, 1);
  SlotLock one = processes.LockOf(process);
  SlotLock two = processes.LockOf(process);
  REQUIRE(one.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);

  CHECK(two.TryAcquire() == SlotLock::Result::kTimeout);
  CHECK(two.Acquire(In(milliseconds(20))) == SlotLock::Result::kTimeout);
  one.Release();
}

TEST_CASE("a dead owner is found also by who has no time to wait") {
  Processes processes;
  auto dead = processes.Start(0, 1);
  auto heir = processes.Start(1, 1);
  REQUIRE(processes.LockOf(dead).Acquire(InGoodTime()) ==
          SlotLock::Result::kAcquired);
  dead.Die();

  CHECK(processes.LockOf(heir).Acquire(TimePoint::min()) ==
        SlotLock::Result::kInherited);
}

TEST_CASE("the lock of a dead owner is inherited once") {
  Processes processes;
  auto dead = processes.Start(0, 1);
  auto heir = processes.Start(1, 1);
  REQUIRE(processes.LockOf(dead).Acquire(InGoodTime()) ==
          SlotLock::Result::kAcquired);
  dead.Die();
  SlotLock lock = processes.LockOf(heir);

  SUBCASE("by a wait") {
    CHECK(lock.Acquire(InGoodTime()) == SlotLock::Result::kInherited);
  }
  SUBCASE("by a try") {
    CHECK(lock.TryAcquire() == SlotLock::Result::kInherited);
  }

  CHECK(Owner::FromWord(processes.word.owner.Load()) == heir.owner());
  lock.Release();
  CHECK(lock.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);
  lock.Release();
}

TEST_CASE(
    "the lock of an earlier life of a slot is inherited, though it is taken") {
  Processes processes;
  auto dead = processes.Start(0, 1);
  auto heir = processes.Start(1, 1);
  REQUIRE(processes.LockOf(dead).Acquire(InGoodTime()) ==
          SlotLock::Result::kAcquired);
  dead.Die();

  SUBCASE("by another process") {
    auto next = processes.Start(0, 2);
    CHECK(!heir.liveness->IsAlive(Owner(0, 1)));
    CHECK(heir.liveness->IsAlive(next.owner()));
    CHECK(processes.LockOf(heir).Acquire(InGoodTime()) ==
          SlotLock::Result::kInherited);
  }
  SUBCASE("by the next life itself") {
    auto next = processes.Start(0, 2);
    CHECK(processes.LockOf(next).Acquire(InGoodTime()) ==
          SlotLock::Result::kInherited);
  }
}

TEST_CASE("of several waiters one inherits and the others wait for it") {
  Processes processes;
  auto dying = processes.Start(0, 1);
  std::vector<Processes::Process> heirs;
  for (uint32_t slot = 1; slot < 5; ++slot) {
    heirs.push_back(processes.Start(slot, 1));
  }
  REQUIRE(processes.LockOf(dying).Acquire(InGoodTime()) ==
          SlotLock::Result::kAcquired);
  std::atomic<int> inherited{0};
  std::atomic<int> acquired{0};
  int inside = 0;  // Plain on purpose: the lock protects it.
  std::vector<std::thread> threads;
  for (const auto& heir : heirs) {
    threads.emplace_back([&] {
      SlotLock lock = processes.LockOf(heir);
      const auto result = lock.Acquire(InGoodTime());
      if (result == SlotLock::Result::kInherited) ++inherited;
      if (result == SlotLock::Result::kAcquired) ++acquired;
      if (result == SlotLock::Result::kTimeout) return;
      ++inside;
      lock.Release();
    });
  }
  while (processes.waiting.waits < 4) std::this_thread::yield();
  CHECK(inherited == 0);

  dying.Die();
  for (auto& thread : threads) thread.join();

  CHECK(inherited == 1);
  CHECK(acquired == 3);
  CHECK(inside == 4);
}

TEST_CASE("a release wakes whoever sleeps") {
  // Sleeps until it is woken, however long the lock says.
  class Forgetful final : public Waiting {
   public:
    void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
              std::chrono::nanoseconds) override {
      asleep.fetch_add(1);
      Environment::OfMachine().waiting->Wait(word, expected,
                                             std::chrono::seconds(100));
    }
    void WakeAll(const std::atomic<uint32_t>& word) override {
      Environment::OfMachine().waiting->WakeAll(word);
    }
    std::atomic<int> asleep{0};
  } forgetful;
  Processes processes;
  auto holder = processes.Start(0, 1);
  auto other = processes.Start(1, 1);
  SlotLock held(&processes.word, holder.liveness.get(), &forgetful);
  REQUIRE(held.Acquire(InGoodTime()) == SlotLock::Result::kAcquired);
  std::vector<std::thread> threads;
  std::atomic<int> acquired{0};
  const auto begin = steady_clock::now();
  for (int n = 0; n < 3; ++n) {
    threads.emplace_back([&] {
      SlotLock lock(&processes.word, other.liveness.get(), &forgetful);
      if (lock.Acquire(TimePoint::max()) == SlotLock::Result::kAcquired) {
        ++acquired;
        lock.Release();
      }
    });
  }
  while (forgetful.asleep < 3) std::this_thread::yield();

  held.Release();
  for (auto& thread : threads) thread.join();

  CHECK(acquired == 3);
  CHECK(steady_clock::now() - begin < std::chrono::seconds(50));
}

}  // namespace
}  // namespace openmessaging::reference::slot_lock_test
