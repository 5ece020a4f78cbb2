// SPDX-License-Identifier: Apache-2.0

#include "workload.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "crew.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "worker.h"

namespace openmessaging::conformance::history {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{20};
constexpr milliseconds kLongestLife{600};

// One run, with the queue that it made.
class Runner {
 public:
  Runner(const WorkloadOptions& options, MessagingAccessPoint bus)
      : options_(options),
        bus_(std::move(bus)),
        queue_(Concat("oms-history-", options.seed)),
        random_(options.seed) {}
  ~Runner() {
    workers_.clear();
    if (made_) bus_.resource_manager().DeleteQueue(queue_).IgnoreError();
  }

  absl::StatusOr<Workload> Run() {
    if (auto s = Prepare(); !s.ok()) return s;
    if (auto s = ledger_.Open(options_.file); !s.ok()) return s;
    if (auto s = BindGroups(); !s.ok()) return s;
    for (const auto& [group, ordered] : groups_) {
      for (int n = 0; n < options_.consumers; ++n) {
        Start(Concat(group, "-", n + 1), group);
      }
    }
    sending_until_ = steady_clock::now() + options_.duration;
    for (int n = 0; n < options_.senders; ++n) {
      Start(Concat("sender-", n + 1), "");
    }
    SendAndKill();
    WaitUntilQuiet();
    workers_.clear();
    if (auto s = ledger_.failure(); !s.ok()) return s;
    workload_.history = ledger_.Take();
    return std::move(workload_);
  }

 private:
  absl::Status Prepare() {
    const auto capabilities = bus_.capabilities(queue_);
    if (!capabilities.ok()) return capabilities.status();
    const auto can = [&](Capability one) { return capabilities->Has(one); };
    for (const Capability needed : {Capability::kAdmin, Capability::kGroups,
                                    Capability::kIndividualAck}) {
      if (!can(needed)) {
        return MakeStatus(Code::kUnsupported,
                          "make a history: the driver has "
                          "no ",
                          Name(needed));
      }
    }
    QueueOptions queue;
    if (can(Capability::kPartitions)) queue.partitions = 4;
    nacks_ = can(Capability::kNack);
    if (nacks_) queue.redelivery_delay = milliseconds(20);
    if (nacks_) queue.max_redelivery_delay = milliseconds(200);
    leases_ = can(Capability::kLease);
    Terms& terms = workload_.terms;
    terms.seed = options_.seed;
    terms.means = {options_.delays && can(Capability::kDelay),
                   can(Capability::kTransactionCheck),
                   can(Capability::kTransactionLocal)};
    terms.acks_are_final = can(Capability::kSettleConfirmed);
    groups_["audit"] = false;
    if (can(Capability::kKeyOrder)) {
      groups_["billing"] = true;
      terms.ordered.insert("billing");
    }
    for (const auto& [group, ordered] : groups_) terms.groups.insert(group);
    absl::Status made = bus_.resource_manager().CreateQueue(queue_, queue);
    if (OmsCode(made) == Code::kUnsupported) {
      // A broker that has no such delays gives back at once.
      const QueueOptions plain;
      queue.redelivery_delay = plain.redelivery_delay;
      queue.max_redelivery_delay = plain.max_redelivery_delay;
      made = bus_.resource_manager().CreateQueue(queue_, queue);
    }
    if (!made.ok()) return made;
    made_ = true;
    workload_.in_processes = options_.kills && OthersSeeTheQueue();
    return absl::OkStatus();
  }

  // Groups begin before the first message, whoever comes late or dies.
  absl::Status BindGroups() {
    for (const auto& [group, ordered] : groups_) {
      PullConsumerOptions settings;
      settings.group = group;
      settings.ordered = ordered;
      auto consumer = bus_.CreatePullConsumer(settings);
      if (!consumer.ok()) return consumer.status();
      if (auto s = consumer->Bind(queue_); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  // Whether a process of its own reaches the same broker: one binds the queue
  // and ends at once.
  bool OthersSeeTheQueue() {
    Ledger ledger;
    Worker probe(OptionsOf("probe-0.0", "audit"), /*in_process=*/true, ledger,
                 /*mute=*/true);
    probe.Stop();
    return ledger.failure().ok();
  }

  WorkerOptions OptionsOf(const std::string& name,
                          const std::string& group) const {
    WorkerOptions one;
    one.url = options_.url;
    one.library = options_.library;
    one.queue = queue_;
    one.name = name;
    one.group = group;
    one.ordered = workload_.terms.ordered.contains(group);
    one.nacks = nacks_;
    one.leases = leases_;
    one.means = workload_.terms.means;
    one.seed = options_.seed;
    one.duration = std::chrono::duration_cast<milliseconds>(
        sending_until_ - steady_clock::now());
    return one;
  }

  // The next life of worker `name`.
  void Start(const std::string& name, const std::string& group) {
    const int life = lives_[name]++;
    workers_[name] =
        std::make_unique<Worker>(OptionsOf(Concat(name, ".", life), group),
                                 workload_.in_processes, ledger_);
  }

  void SendAndKill() {
    auto next_kill = steady_clock::now() + milliseconds(200);
    while (steady_clock::now() < sending_until_ && ledger_.failure().ok()) {
      std::this_thread::sleep_for(kLook);
      if (!workload_.in_processes || steady_clock::now() < next_kill) continue;
      next_kill = steady_clock::now() +
                  milliseconds(50 + random_() % kLongestLife.count());
      auto victim = workers_.begin();
      std::advance(victim, random_() % workers_.size());
      const std::string name = victim->first;
      const std::string group = victim->second->options().group;
      if (victim->second->Kill()) Start(name, group);
    }
    for (auto& [name, worker] : workers_) {
      if (worker->options().group.empty()) worker->Stop();
    }
  }

  // Until nothing has come for so long that all must have come: the lease of
  // one who was killed, and checks that are asked again. A broker that never
  // stops to deliver again what was settled is judged by what it did so far.
  void WaitUntilQuiet() {
    const auto limit =
        steady_clock::now() + options_.duration + 10 * options_.patience;
    size_t received = ledger_.Count(Kind::kReceive);
    auto quiet_since = steady_clock::now();
    while (ledger_.failure().ok() && steady_clock::now() < limit &&
           steady_clock::now() - quiet_since < options_.patience) {
      std::this_thread::sleep_for(kLook);
      const size_t now = ledger_.Count(Kind::kReceive);
      if (now != received) quiet_since = steady_clock::now();
      received = now;
    }
  }

  const WorkloadOptions& options_;
  MessagingAccessPoint bus_;
  const std::string queue_;
  std::mt19937_64 random_;
  bool made_ = false;
  bool nacks_ = false;
  bool leases_ = false;
  std::map<std::string, bool> groups_;
  std::map<std::string, int> lives_;
  steady_clock::time_point sending_until_ = steady_clock::now();
  Workload workload_;
  Ledger ledger_;
  std::map<std::string, std::unique_ptr<Worker>> workers_;
};

}  // namespace

absl::StatusOr<Workload> Run(const WorkloadOptions& options) {
  if (auto s = LoadDriver(options.library); !s.ok()) return s;
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return bus.status();
  return Runner(options, *std::move(bus)).Run();
}

}  // namespace openmessaging::conformance::history
