// SPDX-License-Identifier: Apache-2.0
//
// World runs a few virtual processes over one storage, one at a time, and says
// before each operation that others could notice who goes on. The same choices
// give the same run.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORLD_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORLD_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/environment.h"
#include "schedules/fiber.h"

namespace openmessaging::reference::schedules {

inline constexpr uint32_t kMaxProcesses = 4;

enum class Operation : uint8_t {
  kLoad,
  kStore,
  kUpdate,
  kSleep,  // On a word.
  kWake,
  kAskLock,  // Byte locks.
  kSetLock,
  kLookFile,
  kSetFile,
  kFlush,
  kChoice,  // Whoever ran cannot go on: it sleeps, is done or dead.
};

// Whether somebody else could tell that it was done.
inline bool IsEffect(Operation operation) {
  switch (operation) {
    case Operation::kLoad:
    case Operation::kAskLock:
    case Operation::kLookFile:
    case Operation::kSleep:
    case Operation::kChoice:
      return false;
    default:
      return true;
  }
}

// One moment at which somebody could go on instead.
struct Event {
  const void* word = nullptr;
  uint64_t value = 0;  // What the word is before the operation.
  Operation operation = Operation::kChoice;
  uint8_t process = 0;
  uint8_t runnable = 0;  // A bit for each that may run, this one too.
  uint8_t chosen = 0;    // Of a choice: who went on.
};

// What differs from letting whoever runs go on; where that cannot be, from
// letting the first of those who can.
struct Decision {
  uint32_t event = 0;
  uint8_t process = 0;  // Who goes on.
  bool kill = false;    // Whoever ran is dead from here on.
};
using Schedule = std::vector<Decision>;

// A schedule as text: `12>1.40x0` lets 1 go on at event 12, and 0 at event 40,
// where whoever ran dies.
std::string TextOf(const Schedule& schedule);
Schedule ScheduleOf(std::string_view text);

// One place and its rule. It is made, and lives, within the world.
class Scenario {
 public:
  virtual ~Scenario() = default;
  // Makes what all schedules begin with.
  virtual void SetUp() = 0;
  // What one virtual process does.
  virtual void Run(uint32_t process) = 0;
  // Looks at what came of it: World::Fail where it is wrong.
  virtual void Check() = 0;
  // Whether a sleep of this process may end because its time is over and nobody
  // else could run: there should have been a wake-up.
  virtual bool MayOversleep(uint32_t /*process*/, const void* /*word*/) {
    return true;
  }
  // Frees what the kernel frees of a process that dies.
  virtual void OnDeath(uint32_t process) = 0;
  // Whether this process may be killed.
  virtual bool MayDie(uint32_t /*process*/) { return true; }
};

// Who goes on where a schedule says nothing: at random, by priorities that
// change at a few moments (PCT: Burckhardt, Kothari, Musuvathi, Nagarakatte
// 2010), with a kill at another.
struct Dice {
  std::array<int, kMaxProcesses> priority{};
  std::vector<uint32_t> changes{};  // Events, sorted.
  uint32_t kill_at = UINT32_MAX;
};

class World {
 public:
  World(uint32_t processes, const std::function<Scenario*()>& make);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // The one that is running at this moment.
  static World& Get() { return *running_; }

  // Runs all of it once. `dice`: where there are any.
  void Run(const Schedule& schedule, const Dice* dice = nullptr);

  // What the last run was.
  const Event* events() const { return events_.get(); }
  uint32_t event_count() const { return event_count_; }
  const Schedule& taken() const { return taken_; }
  bool failed() const { return failed_; }
  const char* failure() const { return failure_.data(); }
  bool any_killed() const { return killed_ != 0; }
  bool IsKilled(uint32_t process) const {
    return (killed_ >> process & 1) != 0;
  }
  uint32_t processes() const { return processes_; }
  bool MayDie(uint32_t process) { return scenario_->MayDie(process); }
  // Prints each event of the runs to come.
  void set_tracing(bool on) { tracing_ = on; }

  // From within:
  // Says that the scenario's rule is broken; the first one counts.
  void Fail(std::string_view what);
  // The process that runs; processes() where the scenario sets up or checks.
  uint32_t process() const { return current_; }
  void Point(Operation operation, const void* word, size_t bytes);
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
            std::chrono::nanoseconds timeout);
  void WakeAll(const std::atomic<uint32_t>& word);
  void Sleep(int64_t ns);
  int64_t now_ns() const { return now_ns_; }
  const int64_t* clock() const { return &now_ns_; }
  // Time passes. Reading the clock is an operation like others.
  void Advance(int64_t ns);
  // Whether choices are made: not while the scenario sets up or checks.
  bool exploring() const { return exploring_; }

 private:
  static constexpr uint32_t kMaxEvents = 100'000;
  enum class State : uint8_t { kRunnable, kSleeping, kDone, kDead };
  struct Process {
    State state = State::kRunnable;
    const void* word = nullptr;
    int64_t wake_ns = 0;
    Fiber fiber{};
    World* world = nullptr;
    uint32_t number = 0;
  };

  static void RunProcess(void* process);
  static void RunKeeper(void* world);
  uint8_t Mask(State state) const;
  Event& Record(Operation operation, const void* word);
  const Decision* DecisionHere();
  // Sets current_; false where nobody is left.
  bool Choose();
  bool WakeByTime();
  void Leave();
  void Kill();
  uint32_t HighestOf(uint8_t mask) const;
  void Trace(const Event& event, size_t bytes) const;

  static World* running_;

  const uint32_t processes_;
  std::array<Process, kMaxProcesses> all_{};
  // Sets up, and checks.
  Fiber keeper_;
  LocalVariables fresh_;
  LocalVariables kept_local_;
  std::function<Scenario*()> make_;
  Scenario* scenario_ = nullptr;
  int64_t kept_ns_ = 0;

  std::unique_ptr<Event[]> events_ = std::make_unique<Event[]>(kMaxEvents);
  uint32_t event_count_ = 0;
  const Schedule* schedule_ = nullptr;
  size_t next_decision_ = 0;
  const Dice* dice_ = nullptr;
  std::array<int, kMaxProcesses> priority_{};
  size_t next_change_ = 0;
  int lowest_ = 0;
  Schedule taken_;
  uint32_t current_ = 0;
  uint8_t killed_ = 0;
  int64_t now_ns_ = 0;
  bool exploring_ = false;
  bool tracing_ = false;
  bool failed_ = false;
  std::array<char, 400> failure_{};
};

}  // namespace openmessaging::reference::schedules
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SCHEDULES_WORLD_H_
