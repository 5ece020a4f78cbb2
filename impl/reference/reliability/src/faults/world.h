// SPDX-License-Identifier: Apache-2.0
//
// A small store that operations are tried on while something fails, and what
// must be in it afterwards.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_WORLD_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_WORLD_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace openmessaging::reference::faults {

// What an outcome allows: to be there afterwards, not to be, or either.
enum class Fate { kThere, kGone, kEither };

// One directory with at most one store, this process's handles on it, and the
// ledger of what they were told.
//
// Threads: one.
class World {
 public:
  static constexpr const char* kQueue = "orders";
  static constexpr const char* kDeadQueue = "dead";
  static constexpr const char* kGroup = "g";

  // `parent`: an existing directory; the store gets a new name below it.
  // `attributes` are added to those of a small store.
  World(std::string_view parent, std::string_view attributes);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::string& path() const { return path_; }
  std::string Url() const;

  // Set-up, which must succeed: a store with kQueue, its dead-letter queue, and
  // a consumer of kGroup.
  void Make();
  // Ends every handle.
  void CloseAll();
  // A fork of this process does `work` and is killed. Call it while no store is
  // open. What it told is lost with it.
  static void InKilledChild(const std::function<void()>& work);

  // What is done under faults. Each notes what it was told.
  void Connect();
  void CreateQueue(std::string_view queue);
  void DeleteQueue(std::string_view queue);
  void Send(std::string_view body, Durability durability);
  void Send(const std::vector<std::string>& bodies, Durability durability);
  void Prepare(std::string_view body, TransactionState decision);
  // Receives up to `most`, and holds them.
  void Receive(size_t most);
  void Ack();
  void Nack();
  void Reject();
  // Notes a status of something that changes nothing.
  void Saw(std::string_view what, const absl::Status& status);

  // Judges. Each returns nothing where all is well.
  //
  // What may be: a flush failed, and so everything is refused from there on.
  enum class Poison { kNever, kMaybe, kMust };
  // What is open must work on, or be poisoned for every handle.
  std::string CheckGoesOn(Poison poison);
  // Opens the store anew. `forgetful`: acknowledgements may be forgotten.
  std::string CheckStored(bool forgetful);

  // A handle found that the store is poisoned.
  bool poisoned() const { return poisoned_; }

  // Everything that was told, in the order of the telling.
  struct Told {
    std::string what{};
    absl::Status status{};
  };
  const std::vector<Told>& told() const { return told_; }
  void ForgetTold() { told_.clear(); }
  bool has_bus() const { return bus_.has_value(); }
  MessagingAccessPoint& bus() { return *bus_; }
  Producer& producer() { return *producer_; }
  PullConsumer& consumer() { return *consumer_; }
  // Another handle on the same store.
  void OpenSecond();
  const std::map<std::string, Fate>& fates() const { return fates_; }
  void SetFate(const std::string& body, Fate fate) { fates_[body] = fate; }
  // What nobody told of may be there.
  void AllowUnknown() { allows_unknown_ = true; }
  void SetQueue(const std::string& queue, Fate fate) { queues_[queue] = fate; }

 private:
  Message MakeMessage(std::string_view body, Durability durability,
                      const char* queue = kQueue) const;
  static void Note(std::string_view body, const absl::Status& status,
                   std::map<std::string, Fate>& fates);
  bool MakeClients();
  // Sends with each handle at each durability. Returns: what is wrong.
  std::string TrySends(bool& refused);
  std::string CheckQueues(MessagingAccessPoint& bus) const;
  std::string CheckMoves(const std::map<std::string, int>& live,
                         const std::map<std::string, int>& dead) const;

  const std::string path_;
  const std::string attributes_;
  std::optional<MessagingAccessPoint> bus_;
  std::optional<Producer> producer_;
  std::optional<PullConsumer> consumer_;
  std::optional<MessagingAccessPoint> second_;
  std::vector<Delivery> held_;
  std::vector<Told> told_;
  std::map<std::string, Fate> fates_;  // Of messages for kQueue.
  std::map<std::string, Fate> dead_;   // For its dead-letter queue.
  std::vector<std::string> moved_;     // From one to the other.
  std::map<std::string, Fate> queues_;
  bool poisoned_ = false;
  bool allows_unknown_ = false;
  int probes_ = 0;
};

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_WORLD_H_
