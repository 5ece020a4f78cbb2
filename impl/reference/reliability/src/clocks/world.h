// SPDX-License-Identifier: Apache-2.0
//
// A world of a few processes, one store and clocks that only move when it says
// so: hours pass in milliseconds. A seed is all that it depends on.
// docs/design/clocks.md.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_WORLD_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_WORLD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "clocks/model.h"
#include "clocks/process.h"
#include "openmessaging/internal/text.h"
#include "power/disk.h"
#include "power/session.h"
#include "power/trace.h"

namespace openmessaging::reference::clocks {

// What happened in a world.
struct Counts {
  int64_t simulated_ms = 0;
  uint64_t turns = 0;
  uint64_t operations = 0;  // Calls that an application or housekeeper made.
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t delayed = 0;  // Received of those.
  uint64_t expired = 0;
  uint64_t checks = 0;
  uint64_t dead_letters = 0;
  uint64_t jumps = 0;
  uint64_t crashes = 0;
  uint64_t boots = 0;
  uint64_t most_looks = 0;  // At a clock in one call.
  void Add(const Counts& other);
};

// Threads: one.
class World {
 public:
  explicit World(uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Lives until so much time has passed, or something is wrong. Once.
  void Run(int64_t hours);
  // Shows each operation from that turn on.
  void ShowFrom(uint64_t turn) { show_from_ = turn; }

  // Empty: nothing was wrong.
  const std::string& failure() const { return failure_; }
  // The last operations, a line each.
  std::string LastOperations() const;
  const Counts& counts() const { return counts_; }
  // Of all operations and what they answered: the same in each run.
  uint64_t digest() const { return digest_; }

 private:
  struct Partition {
    uint64_t next_offset = 0;
    // Messages that are known to have entered it, and of how many of them a
    // power loss may have changed that.
    int64_t known = 0;
    int64_t doubtful = 0;
    // Offsets below may be retired, as far as the time is concerned.
    uint64_t kept_from = 0;
    // The wall time at which each one was stored; of kBills.
    std::vector<int64_t> stored_ms{};
    // By group: the highest offset that was handed out.
    std::array<int64_t, kGroups.size()> newest{};
  };

  bool fine() const { return failure_.empty(); }
  template <typename... Parts>
  void Fail(const Parts&... parts) {
    if (fine()) failure_ = internal::Concat(parts...);
  }
  void FailUnless(std::string_view what, const absl::Status& status) {
    if (!status.ok()) Fail(what, ": ", power::TextOf(status));
  }
  template <typename... Parts>
  void Note(const Parts&... parts) {
    AddNote(internal::Concat(parts...));
  }
  void AddNote(std::string text);

  // world.cc: turns and time.
  int64_t now_ns() const { return machine_.boot_ns; }
  void Turn();
  void Pass(int64_t ms);
  int64_t NextStop(int64_t end_ns) const;
  void MoveTo(int64_t ns);
  void AtStop();
  void Housekeep();
  void NoticeTime();
  void Jump();
  int64_t SomeMs(int64_t least, int64_t most);

  // deeds.cc: what applications do.
  void Send();
  void SendOne(Kind kind);
  void Prepare(Item& item, const Message& message);
  void Cancel();
  void Decide();
  void DecideAgain();
  void Resolve(Item& item, bool commit);
  void EndTransaction(Item& item, bool committed);
  void Flush();
  void Flushed();
  Item* Pick(Stage stage);
  void RunChecks();
  void Checked(const Message& message);
  void ReceiveSome();
  void Receive(Process& process, size_t group, size_t most);
  void Settle();
  void SettleShare(Item& item, size_t group, driver::Verb verb);
  void Settled(Share& share, driver::Verb verb, int64_t for_ms);
  void SettleStale();
  // The receipt that it has settles nothing from here on.
  void AddStale(const Item& item, const Share& share);
  void Bury();

  // lives.cc: processes, boots, and what each leaves.
  Process* AnyProcess();
  void Open();
  void MakeQueues(Process& process);
  void Recover(OpenPath path);
  void ShortenPartitions(const Process& process);
  void RecoverTimes(Item& item);
  void RecoverShares(Item& item, bool cold);
  void FindLost(Process& process);
  bool ReadQueue(Process& process, int queue, int32_t partition,
                 std::vector<power::Received>& into);
  void CloseOne();
  void KillOne();
  // Some of the time `ctl` goes with them.
  void KillAll();
  void Boot();
  void Kill(size_t n);
  // What a process had, which `closes` or dies.
  void GiveBack(int owner, bool closes);
  void Look();
  void Check();
  void Finish();
  void CheckDisk();

  // rules.cc: what must and what may be.
  Item* Find(int number);
  void Delivered(size_t group, Process& process, power::Received& one);
  void CheckContent(const Item& item, int queue, const power::Received& one);
  void CheckShare(const Item& item, const Share& share, const GroupFact& group,
                  const power::Received& one);
  void CheckOverdue(size_t group);
  void Overdue(Item& item, Share& share, const GroupFact& group);
  void CheckLetter(const power::Received& one);
  void CheckEntered(bool housekept);
  void Enter();
  void CheckStored(Process& process);
  void EnterItem(Item& item);
  static void MayExpire(Item& item);
  // Perhaps it is a dead letter already.
  static void MayMove(Item& item, Share& share);
  Partition& PartitionOf(const Item& item) {
    return partitions_[static_cast<size_t>(item.queue)]
                      [static_cast<size_t>(item.partition)];
  }
  void Forget();

  power::Dice dice_;
  power::SimulatedMachine machine_;
  StoreOptions options_;
  bool knows_boot_ = true;
  bool loses_power_ = true;
  int64_t retention_ms_ = 0;
  int32_t max_deliveries_ = 0;
  int64_t drift_ppm_ = 0;
  bool loops_ = false;  // The wall clock is set back again and again.
  int64_t wall_left_ns_ = 0;

  std::unique_ptr<power::Disk> disk_;
  std::vector<std::unique_ptr<Process>> living_;
  // What a dead process had is only taken apart with the disk.
  std::vector<std::unique_ptr<Process>> dead_;
  // What the next one that opens finds.
  OpenPath next_path_ = OpenPath::kCreated;
  // What no flush came behind.
  bool may_lose_ = false;
  int boot_ = 0;
  int next_process_ = 0;

  // What may still be heard of, by number.
  std::map<int, Item> items_;
  int next_number_ = 0;
  std::array<std::array<Partition, kPartitions>, 2> partitions_;
  std::set<int> gone_;  // Must never be seen.
  std::vector<StaleReceipt> stale_;
  std::vector<Decided> decided_;

  Counts counts_;
  std::string failure_;
  std::deque<std::string> notes_;
  uint64_t show_from_ = UINT64_MAX;
  uint64_t digest_ = 0;
};

}  // namespace openmessaging::reference::clocks
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_CLOCKS_WORLD_H_
