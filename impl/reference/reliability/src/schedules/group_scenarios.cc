// SPDX-License-Identifier: Apache-2.0
//
// Groups: who gets a message, who may settle it, who is woken, what a flush
// tells the log of it, and which of two decisions counts.

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "openmessaging/status.h"
#include "schedules/scenarios.h"
#include "schedules/store_scenario.h"
#include "transaction_source.h"

namespace openmessaging::reference::schedules {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLease{10};

// Each takes one of two messages and acknowledges it. Of the dead the keeper
// gets what is left.
class TakeScenario final : public StoreScenario {
 public:
  explicit TakeScenario(int messages)
      : StoreScenario(true), messages_(messages) {}

  void SetUp() override {
    OpenAll();
    for (int n = 0; n < messages_; ++n) Send(kKeeper, Body(n));
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      takers_[n] = std::make_unique<Taker>(store(n), "group");
      Must("bind", takers_[n]->Bind("orders"));
    }
    keeper_ = std::make_unique<Taker>(store(kKeeper), "group");
    Must("bind", keeper_->Bind("orders"));
  }
  void Run(uint32_t process) override {
    Taker& taker = *takers_[process];
    Must("receive", taker.Take(1, Now()));
    if (taker.taken().empty()) return;
    Must("acknowledge", taker.Ack(0));
    acknowledged_[process] = true;
  }
  void Check() override {
    World& world = World::Get();
    world.Advance(1'000'000'000);  // Less than a lease, enough to ask who died.
    for (size_t before = SIZE_MAX; before != keeper_->taken().size();) {
      before = keeper_->taken().size();
      Must("receive", keeper_->Take(16, Now()));
    }
    for (int m = 0; m < messages_; ++m) {
      int living = 0;
      int dead = 0;
      int acknowledged = 0;
      for (uint32_t n = 0; n < world.processes(); ++n) {
        if (!Has(*takers_[n], Body(m))) continue;
        ++(world.IsKilled(n) ? dead : living);
        if (acknowledged_[n]) ++acknowledged;
      }
      const int left = Has(*keeper_, Body(m)) ? 1 : 0;
      if (living + left > 1 || living + dead + left == 0) {
        world.Fail(Body(m) + ": " + std::to_string(living) + " living, " +
                   std::to_string(dead) + " dead and " + std::to_string(left) +
                   " later ones have it");
      }
      if (acknowledged > 0 && left > 0) {
        world.Fail(Body(m) + " came again after its acknowledgement");
      }
    }
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  static std::string Body(int number) { return "m" + std::to_string(number); }
  static bool Has(const Taker& taker, const std::string& body) {
    for (const auto& one : taker.taken()) {
      if (one.body == body) return true;
    }
    return false;
  }

  const int messages_;
  std::array<std::unique_ptr<Taker>, kMaxProcesses> takers_{};
  std::unique_ptr<Taker> keeper_;
  std::array<bool, kMaxProcesses> acknowledged_{};
};

// 0 acknowledges what it has while 1 looks for what is due, and 2 is the time,
// which passes the lease.
class ExpiryScenario final : public StoreScenario {
 public:
  explicit ExpiryScenario(driver::Verb verb)
      : StoreScenario(true), verb_(verb) {}

  void SetUp() override {
    OpenAll();
    Send(kKeeper, "one");
    for (uint32_t n = 0; n < 2; ++n) {
      takers_[n] = std::make_unique<Taker>(store(n), "group", kLease);
      Must("bind", takers_[n]->Bind("orders"));
    }
    keeper_ = std::make_unique<Taker>(store(kKeeper), "group", kLease);
    Must("bind", keeper_->Bind("orders"));
    Must("receive", takers_[0]->Take(1, Now()));
    if (takers_[0]->taken().size() != 1) World::Get().Fail("nothing came");
    // What is new was looked for; what is due is not looked for yet.
    Must("receive", takers_[1]->Take(1, Now()));
    Must("receive", keeper_->Take(1, Now()));
  }
  void Run(uint32_t process) override {
    World& world = World::Get();
    if (process == 2) {
      world.Advance(std::chrono::nanoseconds(kLease).count() + 100'000'000);
      return;
    }
    if (process == 0) {
      const absl::Status status =
          takers_[0]->Settle(takers_[0]->taken()[0].receipt, verb_);
      settled_ = status.ok();
      if (!settled_ && OmsCode(status) != Code::kReceiptExpired) {
        Must("settle", status);
      }
      // OK as well where the other one has it and settled it.
      if (settled_ && taken_by_1_ && !settling_by_1_) {
        world.Fail("settled what another one holds");
      }
      return;
    }
    Must("receive", takers_[1]->Take(1, Now()));
    if (takers_[1]->taken().empty()) return;
    taken_by_1_ = true;
    held_.Store(1);  // Now the other one comes too late, and must be told so.
    if (settled_ && verb_ == driver::Verb::kAck) {
      late_ = true;  // Unless it had it before, and tells only now.
    }
    settling_by_1_ = true;
    const absl::Status status = takers_[1]->Ack(0);
    if (!status.ok()) Must("acknowledge", status);
    done_by_1_ = true;
  }
  void Check() override {
    World& world = World::Get();
    world.Advance(1'000'000'000);
    Must("receive", keeper_->Take(1, Now()));
    const bool again = !keeper_->taken().empty();
    const bool settled =
        (settled_ && verb_ == driver::Verb::kAck) || done_by_1_;
    if (settled && again) world.Fail("settled, and yet it came again");
    if (!settled && !again && !world.any_killed()) {
      world.Fail("nobody settled it, and it does not come again");
    }
    if (again && keeper_->taken()[0].delivery_count < 2) {
      world.Fail("an earlier delivery was not counted");
    }
    if (late_ && settled_ && takers_[1]->taken()[0].delivery_count < 2) {
      world.Fail("a second delivery counts as the first");
    }
  }
  bool MayDie(uint32_t process) override { return process < 2; }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  const driver::Verb verb_;
  std::array<std::unique_ptr<Taker>, 2> takers_{};
  std::unique_ptr<Taker> keeper_;
  Shared<uint32_t> held_{};
  bool settled_ = false;
  bool taken_by_1_ = false;
  bool settling_by_1_ = false;
  bool done_by_1_ = false;
  bool late_ = false;
};

// 0 waits for a message, 1 sends it; where there are more, each waits for one.
class WakeScenario final : public StoreScenario {
 public:
  WakeScenario(Durability durability, uint32_t sender)
      : StoreScenario(true), durability_(durability), sender_(sender) {}

  void SetUp() override {
    OpenAll();
    for (uint32_t n = 0; n < World::Get().processes(); ++n) {
      if (n == sender_) continue;
      takers_[n] = std::make_unique<Taker>(store(n), "group");
      Must("bind", takers_[n]->Bind("orders"));
    }
    Send(sender_, "before");
    Must("receive", takers_[0]->Take(1, Now()));
    Must("acknowledge", takers_[0]->Ack(0));
  }
  void Run(uint32_t process) override {
    if (process == sender_) {
      for (uint32_t n = 1; n < World::Get().processes(); ++n) {
        Send(process, "m" + std::to_string(n), durability_);
      }
      return;
    }
    Must("receive", takers_[process]->Take(1, Now() + milliseconds(120)));
  }
  void Check() override {
    const World& world = World::Get();
    if (world.any_killed()) return;
    for (uint32_t n = 0; n < world.processes(); ++n) {
      const size_t wanted = n == 0 ? 2 : 1;
      if (n != sender_ && takers_[n]->taken().size() != wanted) {
        World::Get().Fail("a receiver got nothing");
      }
    }
  }
  // Row 83: whoever sleeps while a message is there was not woken.
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  const Durability durability_;
  const uint32_t sender_;
  std::array<std::unique_ptr<Taker>, kMaxProcesses> takers_{};
};

// 0 acknowledges while 1 leads a flush, which tells the log of settlements. One
// more flush must tell it of all of them.
class DirtyScenario final : public StoreScenario {
 public:
  // `sync`: the acknowledgement returns when it is on disk, and a power loss
  // behind it must not undo it; no flush comes between.
  explicit DirtyScenario(bool sync) : StoreScenario(true), sync_(sync) {}

  void SetUp() override {
    OpenAll();
    Send(kKeeper, "one", Durability::kDisk);
    Send(kKeeper, "two", Durability::kDisk);
    ConsumerSettings settings;
    settings.ack_sync = sync_;
    taker_ = std::make_unique<Taker>(store(0), "group",
                                     std::chrono::seconds(30), settings);
    Must("bind", taker_->Bind("orders"));
    Must("receive", taker_->Take(2, Now()));
    Send(1, "before", Durability::kDisk);
    // Something is to be logged already when the flush begins.
    Must("acknowledge", taker_->Ack(0));
  }
  void Run(uint32_t process) override {
    if (process == 0) {
      Must("acknowledge", taker_->Ack(1));
      acknowledged_ = true;
      if (sync_) KeepFlushed();
    } else {
      Send(1, "flushed", Durability::kDisk);
    }
  }
  void Check() override {
    World& world = World::Get();
    if (!acknowledged_) return;
    if (!sync_) {
      Send(kKeeper, "later", Durability::kDisk);
      KeepFlushed();
    }
    // The power is lost: what counts is what was flushed of the log.
    Disk after(true);
    for (const auto& [name, bytes] : flushed_) after.Put(name, bytes);
    StoreOpenOptions open;
    open.create = options_;
    auto reopened =
        Store::Open(after.Of(kKeeper), machine_, open, InGoodTime());
    Must("open after the power loss", reopened.status());
    if (!reopened.ok()) return;
    Taker again(*reopened, "group");
    Must("bind", again.Bind("orders"));
    Must("receive", again.Take(8, Now()));
    for (const auto& one : again.taken()) {
      if (one.body == "one" || one.body == "two") {
        world.Fail("an acknowledgement that was flushed is undone: " +
                   one.body);
      }
    }
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  void KeepFlushed() {
    for (const auto& [name, file] : disk_.files()) {
      if (name != "STORE" && !name.starts_with("log/")) continue;
      flushed_.emplace_back(name, file->flushed);
    }
  }

  const bool sync_;
  std::unique_ptr<Taker> taker_;
  bool acknowledged_ = false;
  std::vector<std::pair<std::string, std::string>> flushed_;
};

// Each wants the group for itself.
class AloneScenario final : public StoreScenario {
 public:
  AloneScenario() : StoreScenario(true) {}

  void SetUp() override {
    OpenAll();
    Send(kKeeper, "before");
    // The group is there; nobody is in it.
    auto& catalog = store(kKeeper)->catalog();
    const auto queue = catalog.FindQueue("orders", InGoodTime());
    Must("find", queue.status());
    Must("open the group",
         catalog
             .OpenGroup(*queue, "group", StartPosition::kEarliest, InGoodTime())
             .status());
  }
  void Run(uint32_t process) override {
    driver::ConsumerOptions options;
    options.group = "group";
    // The last one is an ordinary member.
    options.exclusive = process < 2;
    takers_[process] =
        std::make_unique<Taker>(store(process), options, ConsumerSettings());
    const absl::Status status = takers_[process]->Bind("orders");
    if (status.ok()) {
      in_[process] = true;
    } else if (OmsCode(status) != Code::kConsumerExists) {
      Must("bind", status);
    }
  }
  void Check() override {
    const World& world = World::Get();
    int in = 0;
    for (uint32_t n = 0; n < world.processes(); ++n) {
      if (in_[n] && !world.IsKilled(n)) ++in;
    }
    if (in > 1) World::Get().Fail("two have the group for themselves");
    if (in == 0 && !world.any_killed()) {
      World::Get().Fail("nobody got the group");
    }
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  std::array<std::unique_ptr<Taker>, kMaxProcesses> takers_{};
  std::array<bool, kMaxProcesses> in_{};
};

// 0 commits what 1 rolls back.
class DecideScenario final : public StoreScenario {
 public:
  DecideScenario() : StoreScenario(true) {}

  void SetUp() override {
    OpenAll();
    ReferenceTransactionSource source(store(kKeeper), false);
    Message message("orders", "prepared");
    message.SetPartition(0);
    message.SetDurability(Durability::kProcess);
    driver::CallContext context;
    context.deadline = InGoodTime();
    const auto prepared =
        source.Prepare(message, {"shop", milliseconds(10'000), 3}, context);
    Must("prepare", prepared.status());
    if (prepared.ok()) id_ = prepared->transaction_id;
  }
  void Run(uint32_t process) override {
    const absl::Status status = Decide(process, process);
    decided_[process] = status.ok();
    if (!status.ok() && OmsCode(status) != Code::kTransactionConflict) {
      Must("decide", status);
    }
  }
  void Check() override {
    World& world = World::Get();
    Taker taker(store(kKeeper), "everything");
    Must("bind", taker.Bind("orders"));
    Must("receive", taker.Take(8, Now()));
    const size_t seen = taker.taken().size();
    if (decided_[0] && decided_[1]) world.Fail("both decisions went through");
    if (!decided_[0] && !decided_[1] && !world.any_killed()) {
      world.Fail("no decision went through");
    }
    if (seen > 1 || (decided_[0] && seen != 1) || (decided_[1] && seen != 0)) {
      world.Fail("decided " + std::to_string(decided_[0]) +
                 std::to_string(decided_[1]) + " and seen " +
                 std::to_string(seen));
    }
    // Whatever the dead did is done, or not at all.
    const absl::Status commit = Decide(kKeeper, 0);
    const absl::Status rollback = Decide(kKeeper, 1);
    if (commit.ok() == rollback.ok() || (seen == 1 && rollback.ok()) ||
        (decided_[1] && commit.ok())) {
      world.Fail("decided again, and otherwise");
    }
  }
  bool MayOversleep(uint32_t, const void*) override {
    return World::Get().any_killed();
  }

 private:
  absl::Status Decide(uint32_t process, uint32_t decision) {
    return store(process)->transactions().Resolve(
        id_,
        decision == 0 ? PreparedState::kCommitted : PreparedState::kRolledBack,
        InGoodTime());
  }

  std::string id_;
  std::array<bool, 2> decided_{};
};

}  // namespace

std::vector<ScenarioKind> GroupScenarios() {
  return {
      {"take-two",
       2,
       [] { return new TakeScenario(2); },
       {2, 1, 2, 10'000, 500},
       {3, 1, 3, 100'000, 10'000}},
      {"take-three-of-one",
       3,
       [] { return new TakeScenario(1); },
       {2, 1, 2, 8'000, 500},
       {3, 2, 3, 100'000, 10'000}},
      {"ack-as-lease-ends",
       3,
       [] { return new ExpiryScenario(driver::Verb::kAck); },
       {3, 1, 4, 10'000, 500},
       {4, 2, 5, 100'000, 10'000}},
      {"nack-as-lease-ends",
       3,
       [] { return new ExpiryScenario(driver::Verb::kNack); },
       {3, 1, 3, 10'000, 500},
       {3, 2, 4, 100'000, 10'000}},
      {"wake",
       2,
       [] { return new WakeScenario(Durability::kProcess, 1); },
       {3, 0, 3, 10'000, 500},
       {4, 0, 4, 100'000, 10'000}},
      {"wake-two",
       3,
       [] { return new WakeScenario(Durability::kProcess, 2); },
       {2, 1, 2, 6'000, 500},
       {3, 1, 3, 60'000, 10'000}},
      {"wake-when-durable",
       2,
       [] { return new WakeScenario(Durability::kDisk, 1); },
       {2, 1, 2, 8'000, 500},
       {3, 1, 3, 100'000, 10'000}},
      {"group-for-itself",
       3,
       [] { return new AloneScenario(); },
       {2, 1, 2, 6'000, 500},
       {3, 1, 3, 60'000, 10'000}},
      {"ack-to-disk",
       2,
       [] { return new DirtyScenario(true); },
       {2, 1, 3, 8'000, 300},
       {3, 1, 4, 100'000, 10'000}},
      {"ack-as-flush-runs",
       2,
       [] { return new DirtyScenario(false); },
       {2, 1, 3, 8'000, 300},
       {3, 1, 4, 100'000, 10'000}},
      {"decide-otherwise",
       2,
       [] { return new DecideScenario(); },
       {1, 1, 2, 2'500, 300},
       {3, 1, 3, 20'000, 5'000}},
  };
}

}  // namespace openmessaging::reference::schedules
