// SPDX-License-Identifier: Apache-2.0
//
// What changes a cursor and the log as one step: a group that is moved, and a
// transaction that settles. Whoever does it dies, one takes from the group, and
// another appends, and so finishes what the dead one began.

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "group_control.h"
#include "local_transactions.h"
#include "schedules/scenarios.h"
#include "schedules/store_scenario.h"

namespace openmessaging::reference::schedules {
namespace {

using std::chrono::milliseconds;

bool Got(const Taker& taker, const std::string& body) {
  for (const auto& one : taker.taken()) {
    if (one.body == body) return true;
  }
  return false;
}

// 0 is the one that may die, 1 takes without waiting, 2 sends.
class UnitScenario : public StoreScenario {
 public:
  UnitScenario() : StoreScenario(true) {}

  bool MayDie(uint32_t process) override { return process == 0; }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 protected:
  void BindAll() {
    taker_ = std::make_unique<Taker>(store(1), "group");
    Must("bind", taker_->Bind("orders"));
    keeper_ = std::make_unique<Taker>(store(kKeeper), "group");
    Must("bind", keeper_->Bind("orders"));
  }
  // What the group has not got yet.
  void TakeRest() {
    World::Get().Advance(1'000'000'000);
    const size_t first = keeper_->taken().size();
    for (size_t before = SIZE_MAX; before != keeper_->taken().size();) {
      before = keeper_->taken().size();
      Must("receive", keeper_->Take(16, Now()));
    }
    rest_.assign(keeper_->taken().begin() + static_cast<std::ptrdiff_t>(first),
                 keeper_->taken().end());
  }
  bool IsInRest(const std::string& body) const {
    for (const auto& one : rest_) {
      if (one.body == body) return true;
    }
    return false;
  }
  int TimesOf(const std::string& body) const {
    return (Got(*taker_, body) ? 1 : 0) + (IsInRest(body) ? 1 : 0);
  }

  std::unique_ptr<Taker> taker_;
  std::unique_ptr<Taker> keeper_;
  std::vector<Taker::Taken> rest_;
};

// 0 moves the group back to its first message.
class SeekScenario final : public UnitScenario {
 public:
  void SetUp() override {
    OpenAll();
    BindAll();
    for (int n = 0; n < kOld; ++n) Send(kKeeper, Body(n));
    Must("receive", keeper_->Take(kOld, Now()));
    for (size_t n = 0; n < kOld; ++n) Must("acknowledge", keeper_->Ack(n));
  }
  void Run(uint32_t process) override {
    switch (process) {
      case 0: {
        ReferenceGroupControl control(store(0));
        Must("seek", control.Seek("orders", "group", 0, 0, InGoodTime()));
        moved_ = true;
        return;
      }
      case 1:
        return Must("receive", taker_->Take(1, Now()));
      default:
        return Send(2, Body(kOld));
    }
  }
  void Check() override {
    World& world = World::Get();
    TakeRest();
    int old = 0;
    for (int n = 0; n < kOld; ++n) {
      const int times = TimesOf(Body(n));
      if (times > 1) world.Fail(Body(n) + " is with two");
      old += times;
    }
    if (old != kOld && (moved_ || old != 0)) {
      world.Fail("moved back, and " + std::to_string(old) + " of " +
                 std::to_string(kOld) + " come again");
    }
    // What was taken before the group was moved comes again with the rest.
    const int times = TimesOf(Body(kOld));
    if (times == 0 || (old == 0 && times > 1)) {
      world.Fail("what was sent meanwhile came " + std::to_string(times) +
                 " times");
    }
    for (const auto& one : rest_) {
      if (one.delivery_count != 1) {
        world.Fail("moved, and " + one.body + " counts as delivered before");
      }
    }
  }

 private:
  static constexpr int kOld = 2;
  static std::string Body(int number) { return "m" + std::to_string(number); }

  bool moved_ = false;
};

// 0 settles what it has and sends another message, as one.
class SettleScenario final : public UnitScenario {
 public:
  void SetUp() override {
    OpenAll();
    BindAll();
    Send(kKeeper, "held");
    holder_ = std::make_unique<Taker>(store(0), "group");
    Must("bind", holder_->Bind("orders"));
    Must("receive", holder_->Take(1, Now()));
    if (!Got(*holder_, "held")) World::Get().Fail("nothing came");
  }
  void Run(uint32_t process) override {
    if (process == 1) return Must("receive", taker_->Take(1, Now()));
    if (process == 2) return Send(2, "meanwhile");
    ReferenceLocalTransactions transactions(store(0), false, false);
    Message message("orders", "made of it");
    message.SetDurability(Durability::kProcess);
    message.SetPartition(0);
    const driver::Settlement settlement{holder_->taken()[0].receipt,
                                        driver::Verb::kAck, milliseconds(0)};
    driver::CallContext context;
    context.deadline = InGoodTime();
    Must("commit", transactions
                       .CommitLocal({&message, 1}, {&settlement, 1}, context)
                       .status());
    committed_ = true;
  }
  void Check() override {
    World& world = World::Get();
    TakeRest();
    const int held = TimesOf("held");
    const int made = TimesOf("made of it");
    if (held + made != 1) {
      world.Fail("what was settled came " + std::to_string(held) +
                 " times, what was made of it " + std::to_string(made));
    }
    if (committed_ && made == 0) world.Fail("a transaction was undone");
    if (TimesOf("meanwhile") != 1) world.Fail("the other message is lost");
  }

 private:
  std::unique_ptr<Taker> holder_;
  bool committed_ = false;
};

}  // namespace

std::vector<ScenarioKind> UnitScenarios() {
  return {
      {"seek-killed",
       3,
       [] { return new SeekScenario(); },
       {2, 1, 2, 10'000, 500},
       {3, 1, 3, 100'000, 10'000}},
      {"settle-together-killed",
       3,
       [] { return new SettleScenario(); },
       {2, 1, 2, 10'000, 500},
       {3, 1, 3, 100'000, 10'000}},
  };
}

}  // namespace openmessaging::reference::schedules
