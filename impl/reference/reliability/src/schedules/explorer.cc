// SPDX-License-Identifier: Apache-2.0
//
// The search is by iterative context bounding (Musuvathi and Qadeer, 2007): all
// schedules with no preemption, then with one, and so on. A process is
// preempted only before it touches a word that another one touches as well, and
// one of them changes: before anything else it makes no difference. It is
// killed before and after what others could notice.

#include "schedules/explorer.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

namespace openmessaging::reference::schedules {
namespace {

constexpr size_t kMaxDecisions = 8;
// Schedules at random by which the search learns which words are shared.
constexpr uint64_t kLearning = 300;
constexpr int kMaxPasses = 4;
constexpr size_t kMaxNodes = 1'000'000;

// A schedule that was or will be run.
struct Node {
  std::array<Decision, kMaxDecisions> decisions{};
  uint8_t size = 0;
  uint8_t preemptions = 0;
  uint8_t kills = 0;

  Schedule ToSchedule() const {
    return Schedule(decisions.begin(), decisions.begin() + size);
  }
};

void CopyText(std::array<char, 400>& to, std::string_view text) {
  const size_t size = std::min(text.size(), to.size() - 1);
  std::memcpy(to.data(), text.data(), size);
  to[size] = 0;
}

// Which processes read a word, and which change it.
class SharedWords {
 public:
  // Returns: whether something became shared by what it saw.
  bool Learn(const Event* events, uint32_t count) {
    bool more = false;
    for (uint32_t n = 0; n < count; ++n) {
      const Event& event = events[n];
      if (event.word == nullptr) continue;
      Use& use = words_[event.word];
      const bool before = use.shared;
      (IsEffect(event.operation) ? use.writers : use.readers) |=
          static_cast<uint8_t>(1u << event.process);
      const uint8_t all = use.readers | use.writers;
      use.shared = use.writers != 0 && (all & (all - 1)) != 0;
      if (use.shared && !before) {
        more = true;
        ++shared_;
      }
    }
    return more;
  }
  bool IsShared(const void* word) const {
    const auto found = words_.find(word);
    return found != words_.end() && found->second.shared;
  }
  uint32_t shared() const { return shared_; }

 private:
  struct Use {
    uint8_t readers = 0;
    uint8_t writers = 0;
    bool shared = false;
  };
  std::unordered_map<const void*, Use> words_;
  uint32_t shared_ = 0;
};

class Search {
 public:
  Search(World& world, const Bounds& bounds, uint64_t seed, Findings& findings)
      : world_(world), bounds_(bounds), random_(seed), findings_(findings) {}

  void Run() {
    if (!RunOne({}, nullptr)) return;
    Draw(kLearning);
    for (int pass = 0; pass < kMaxPasses && !findings_.failed; ++pass) {
      grew_ = false;
      findings_.schedules = 0;
      findings_.events = 0;
      findings_.complete_to = -1;
      Levels();
      if (!grew_ || !findings_.exhausted) break;
    }
    // What was preempted before it was known to be shared is missing.
    if (grew_) findings_.exhausted = false;
    Draw(bounds_.drawn);
    findings_.shared_words = words_.shared();
  }

 private:
  bool RunOne(const Schedule& schedule, const Dice* dice) {
    CopyText(findings_.schedule, TextOf(schedule));
    world_.Run(schedule, dice);
    ++findings_.schedules;
    findings_.events += world_.event_count();
    for (uint32_t n = 0; n < world_.event_count(); ++n) {
      const Event& event = world_.events()[n];
      findings_.digest =
          (findings_.digest ^ (uint64_t{event.process} << 8 |
                               static_cast<uint64_t>(event.operation))) *
          0x100000001b3;
    }
    if (words_.Learn(world_.events(), world_.event_count())) grew_ = true;
    if (!world_.failed()) return true;
    findings_.failed = true;
    CopyText(findings_.failure, world_.failure());
    CopyText(findings_.schedule, TextOf(world_.taken()));
    return false;
  }

  // Runs schedules at random.
  void Draw(uint64_t count) {
    const uint32_t length = std::max(1u, world_.event_count());
    for (uint64_t n = 0; n < count && !findings_.failed; ++n) {
      Dice dice;
      for (uint32_t p = 0; p < kMaxProcesses; ++p) {
        dice.priority[p] = static_cast<int>(p) + 1;
      }
      std::shuffle(dice.priority.begin(),
                   dice.priority.begin() + world_.processes(), random_);
      const auto changes = random_() % 6;
      for (uint64_t c = 0; c < changes; ++c) {
        dice.changes.push_back(static_cast<uint32_t>(random_() % length));
      }
      std::sort(dice.changes.begin(), dice.changes.end());
      if (bounds_.kills > 0 && random_() % 2 == 0) {
        dice.kill_at = static_cast<uint32_t>(random_() % length);
      }
      RunOne({}, &dice);
    }
  }

  void Levels() {
    findings_.exhausted = true;
    std::vector<Node> level{Node{}};
    for (int cost = 0; !level.empty() && !findings_.failed; ++cost) {
      next_.clear();
      next_seen_ = 0;
      const uint64_t left =
          bounds_.searched - std::min(bounds_.searched, findings_.schedules);
      if (level.size() > left) {
        std::shuffle(level.begin(), level.end(), random_);
        level.resize(left);
        findings_.exhausted = false;
      }
      // Choices that cost nothing join the level while it runs.
      for (size_t n = 0; n < level.size(); ++n) {
        if (findings_.schedules >= bounds_.searched) {
          findings_.exhausted = false;
          break;
        }
        const Node node = level[n];
        if (!RunOne(node.ToSchedule(), nullptr)) return;
        AddChildren(node, level);
      }
      if (!findings_.exhausted) return;
      findings_.complete_to = cost;
      if (next_seen_ > next_.size()) findings_.exhausted = false;
      level.swap(next_);
    }
  }

  // Keeps one of the next level; of too many, some at random.
  void Add(const Node& parent, uint32_t event, uint32_t process, bool kill,
           std::vector<Node>* level) {
    if (parent.size == kMaxDecisions) {
      findings_.exhausted = false;
      return;
    }
    Node child = parent;
    child.decisions[child.size++] = {event, static_cast<uint8_t>(process),
                                     kill};
    if (level != nullptr) {
      level->push_back(child);
      return;
    }
    ++(kill ? child.kills : child.preemptions);
    ++next_seen_;
    if (next_.size() < kMaxNodes) {
      next_.push_back(child);
    } else if (const uint64_t at = random_() % next_seen_; at < kMaxNodes) {
      next_[at] = child;
    }
  }

  void AddChildren(const Node& node, std::vector<Node>& level) {
    const uint32_t begin =
        node.size == 0 ? 0 : node.decisions[node.size - 1].event + 1;
    const bool more = node.preemptions + node.kills < bounds_.both;
    const bool preempt = more && node.preemptions < bounds_.preemptions;
    const bool kill = more && node.kills < bounds_.kills;
    const Event* const events = world_.events();
    for (uint32_t at = begin; at < world_.event_count(); ++at) {
      const Event& event = events[at];
      const uint32_t self = 1u << event.process;
      const bool choice = event.operation == Operation::kChoice;
      const bool shared = !choice && preempt && words_.IsShared(event.word);
      const bool dies = !choice && kill && MayKill(events, at);
      for (uint32_t p = 0; p < world_.processes(); ++p) {
        if ((event.runnable >> p & 1) == 0) continue;
        if (choice && p != event.chosen) Add(node, at, p, false, &level);
        if (shared && p != event.process) Add(node, at, p, false, nullptr);
        if (dies && p != event.process) Add(node, at, p, true, nullptr);
      }
      if (dies && (event.runnable & ~self) == 0) {
        Add(node, at, event.process, true, nullptr);
      }
    }
  }

  // Between two changes one moment is like another.
  bool MayKill(const Event* events, uint32_t at) const {
    const Event& event = events[at];
    if (!world_.MayDie(event.process)) return false;
    if (IsEffect(event.operation)) return true;
    for (uint32_t n = at; n-- > 0;) {
      if (events[n].process != event.process) continue;
      return IsEffect(events[n].operation);
    }
    return false;
  }

  World& world_;
  const Bounds bounds_;
  std::mt19937_64 random_;
  Findings& findings_;
  SharedWords words_;
  bool grew_ = false;
  std::vector<Node> next_;
  uint64_t next_seen_ = 0;
};

}  // namespace

Findings Explore(const ScenarioKind& kind, const Bounds& bounds,
                 uint64_t seed) {
  void* const shared = mmap(nullptr, sizeof(Findings), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  auto* const findings = new (shared) Findings();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    for (const int each : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
      signal(each, SIG_DFL);
    }
    World world(kind.processes, kind.make);
    Search(world, bounds, seed, *findings).Run();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Findings result = *findings;
  munmap(shared, sizeof(Findings));
  if (status != 0 && !result.failed) {
    result.failed = true;
    std::snprintf(result.failure.data(), result.failure.size(),
                  "the program ended by itself (status %#x)", status);
  }
  return result;
}

std::string Replay(const ScenarioKind& kind, std::string_view schedule) {
  World world(kind.processes, kind.make);
  world.set_tracing(true);
  world.Run(ScheduleOf(schedule));
  return world.failed() ? world.failure() : "";
}

}  // namespace openmessaging::reference::schedules
