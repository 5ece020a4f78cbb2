// SPDX-License-Identifier: Apache-2.0
//
// What those who use a store see of it: every message by its place, what each
// group still has to get, what waits, what is undecided, and what is told of
// damage.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_OBSERVATION_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_OBSERVATION_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "damage/sample_store.h"
#include "env/environment.h"

namespace openmessaging::reference::damage {

// Begins where the machine's was when the first one was made, however long the
// run takes: what the sample delays by an hour must not come due meanwhile. Can
// be moved forward, and be that of another boot.
class StandingClock final : public Clock {
 public:
  explicit StandingClock(bool other_boot)
      : boot_hash_(Environment::OfMachine().clock->BootHash() ^
                   (other_boot ? 0x5eed : 0)) {}

  int64_t BootNs() const override { return boot_ns_; }
  int64_t WallMs() const override { return wall_ms_; }
  int64_t ExactWallMs() const override { return wall_ms_; }
  uint64_t BootHash() const override { return boot_hash_; }

  void Pass(std::chrono::hours time) {
    boot_ns_ += std::chrono::nanoseconds(time).count();
    wall_ms_ += std::chrono::milliseconds(time).count();
  }

  // Returns: the machine's, with this clock, which outlives it.
  Environment InEnvironment() {
    const Environment& machine = Environment::OfMachine();
    return {this, machine.waiting, machine.random, "damage.example"};
  }

 private:
  struct Start {
    int64_t boot_ns = Environment::OfMachine().clock->BootNs();
    int64_t wall_ms = Environment::OfMachine().clock->ExactWallMs();
  };
  static const Start& Begin() {
    static const Start start;
    return start;
  }

  const uint64_t boot_hash_;
  int64_t boot_ns_ = Begin().boot_ns;
  int64_t wall_ms_ = Begin().wall_ms;
};

// A message as a reader got it.
struct Sight {
  std::string body{};
  std::string content{};  // As ContentOf says.
  std::string id{};       // With its times: what the store says of it.
  bool once = false;      // It was sent to be delivered at most once.

  friend bool operator==(const Sight&, const Sight&) = default;
};

// Where a message lies: "queue/partition/offset", with "@priority" of a lane.
using Place = std::string;

struct Observation {
  absl::Status opened{};
  // Names with their options.
  std::set<std::string> resources{};
  // What a new group gets at once.
  std::map<Place, Sight> stored{};
  // What came to it later: once delays were over, and the undecided committed.
  std::multiset<std::string> later{};  // "queue: body".
  // What each older group has not settled: "group of queue" and the bodies, but
  // for those that are delivered at most once.
  std::map<std::string, std::multiset<std::string>> owed{};
  // Everything seen, more than once where it came so.
  std::vector<Sight> all{};
  std::vector<absl::Status> told{};  // Errors of readers.
};

// What to ask for, beside all queues.
struct Questions {
  // Queue and group.
  std::vector<std::pair<std::string, std::string>> groups{};
  std::vector<std::string> undecided{};
};

// Returns: what to ask a sample for.
Questions QuestionsOf(const SampleStore& sample);

// Opens the store that a storage has, looks at all of it, and leaves it to a
// crash. Time passes meanwhile: days, for its clock.
Observation Observe(const std::shared_ptr<Storage>& storage,
                    const Questions& questions, bool other_boot);

}  // namespace openmessaging::reference::damage
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_DAMAGE_OBSERVATION_H_
