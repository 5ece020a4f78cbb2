// SPDX-License-Identifier: Apache-2.0
//
// A process is killed at each change of the bytes that it shares with others:
// whoever goes on finds its operation whole or absent, and everything else as
// it was.
//
// A child is run from change to change of the shared files (step/tracer.h), and
// each state that they have is kept (step/images.h). A kill leaves exactly
// that: the page cache, and the locks of the dead process free. So each state
// is then brought back into the same files, and gone on from (step/sight.h) by
// a peer that was there all the time, and by one that opens the store and finds
// nobody alive; the latter is killed once in between as well, right behind its
// opening.

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "goals.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/reference/check.h"
#include "shared_place.h"
#include "step/images.h"
#include "step/operations.h"
#include "step/shop.h"
#include "step/sight.h"
#include "step/tracer.h"

namespace openmessaging::reference::step_test {
namespace {

namespace fs = std::filesystem;
using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using step::Before;
using step::Images;
using step::Operation;
using step::Shop;
using step::Sight;

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)

// Runs `work` in a copy of this process, which has its open files, mappings and
// locks: not fork(), whose child must let go of the store. What it returns is
// said, and an exception behind a '!'.
template <typename Work>
void InCopy(Role& role, Work work) {
  const auto parent = ::getpid();
  const auto pid = static_cast<pid_t>(
      ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    std::string said;
    try {
      said = work();
    } catch (const std::exception& wrong) {
      said = Concat('!', wrong.what());
    }
    role.Say(said);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status)) role.Say(Concat("!it died: ", status));
}

// Arguments: directory, whether it furnishes the shop. Says "ready"; for each
// line it goes on from what is there, "twice" after somebody opened it and
// died, and says what it saw.
OMS_ROLE(successor) {
  step::UseOwnTime();
  Shop shop(role.argument(0));
  if (role.number(1) != 0) step::Furnish(shop);
  role.Say("ready");
  while (const auto line = role.Hear()) {
    if (*line == "close") {
      shop.Close();
      role.Say("closed");
      continue;
    }
    if (*line == "twice") {
      InCopy(role, [&] {
        step::Hurry();
        shop.Open();
        return std::string("opened");
      });
    }
    const bool robbed = *line == "without ctl" || *line == "stored";
    if (robbed) fs::remove(role.argument(0) + "/ctl");
    InCopy(role, [&] {
      step::Hurry();
      return step::ToLine(*line == "stored" ? step::SeeStored(shop)
                                            : step::GoOn(shop));
    });
  }
}

// Arguments: directory, operation. Prepares, says "ready", is traced from its
// first stop to its second one.
OMS_ROLE(stepped) {
  Shop shop(role.argument(0));
  const Operation* const operation = step::FindOperation(role.argument(1));
  REQUIRE(operation != nullptr);
  if (operation->prepare != nullptr) operation->prepare(shop);
  role.Say("ready");
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(42);
  ::raise(SIGSTOP);
  operation->act(shop);
  ::raise(SIGSTOP);
}

constexpr size_t kQuickOperations = 12;

unsigned long long AsNumber(uint64_t number) { return number; }

// "<operation>/<pass>/<state>": that one alone, with all that it saw.
struct Replay {
  std::string operation{};
  std::string pass{};
  size_t state = 0;
};

struct Counts {
  uint64_t stores = 0;
  uint64_t calls = 0;
  uint64_t states = 0;
  uint64_t takeovers = 0;
  uint64_t wrong = 0;
};

// One operation, stepped through and gone on from.
class Walk {
 public:
  // `replay`: only that; may be null.
  Walk(const Operation& operation, const Replay* replay)
      : operation_(operation),
        replay_(replay),
        images_(place_.store(), place_.stash()) {}

  // Returns: false where nobody may be traced.
  bool Run();
  const Counts& counts() const { return counts_; }

 private:
  void MakeBefore();
  bool Step();
  // How one goes on from each state.
  struct Pass {
    std::string name{};
    const char* word = nullptr;  // To the successor.
    bool asks_log = false;       // Whether the log is read alone behind it.
    bool only_stored = false;    // Deliveries may be repeated.
  };
  void GoOnFromAll(Child& successor, const Pass& pass);
  Sight GoOnFrom(size_t state, Child& successor, const Pass& pass,
                 std::string& wrong);
  Sight Ask(Child& successor, const char* word, std::string& wrong);
  // What `oms check` would say of a store that was left like this.
  void CheckFiles(std::string& wrong) const;
  void Fail(const std::string& pass, size_t state, const std::string& why);

  const Operation& operation_;
  const Replay* const replay_;
  SharedPlace place_;
  std::optional<Child> peer_;
  Images images_;
  Counts counts_;
};

void Walk::MakeBefore() {
  if (operation_.before == Before::kNothing) return;
  peer_.emplace("successor", std::vector<std::string>{place_.store(), "1"});
  REQUIRE(peer_->Hear() == "ready");
  if (operation_.before == Before::kPeer) return;
  if (operation_.before == Before::kClosed) {
    peer_->Say("close");
    REQUIRE(peer_->Hear() == "closed");
  }
  REQUIRE(peer_->Kill());
  peer_.reset();
  if (operation_.before == Before::kNoCtl) fs::remove(place_.store() + "/ctl");
}

bool Walk::Step() {
  Child stepped("stepped", {place_.store(), std::string(operation_.name)});
  REQUIRE(stepped.Hear() == "ready");
  step::Tracer tracer(
      stepped.pid(), place_.store(),
      [&](const std::string& path) { images_.KeepInode(path); });
  const std::string refusal = tracer.Begin();
  if (!refusal.empty()) {
    MESSAGE("not applicable: " << refusal);
    return false;
  }
  images_.NoteAll();
  while (true) {
    const step::Change change = tracer.Next();
    if (change.kind == step::Change::Kind::kEnd) {
      // What changed unseen would be seen now.
      CHECK_FALSE(images_.NoteAll());
      break;
    }
    if (change.kind == step::Change::Kind::kFailed) {
      FAIL(operation_.name << " cannot be stepped through: " << change.why);
    }
    if (change.kind == step::Change::Kind::kFiles) {
      images_.NoteAll();
    } else {
      images_.NotePages(change.path, change.first_page, change.last_page);
    }
  }
  counts_.stores = tracer.stores();
  counts_.calls = tracer.system_calls();
  counts_.states = images_.count();
  REQUIRE(stepped.Kill());
  return true;
}

void Walk::Fail(const std::string& pass, size_t state, const std::string& why) {
  // The first few tell enough.
  if (++counts_.wrong > 5) return;
  FAIL_CHECK(operation_.name
             << ", " << pass << ", state " << state << " of " << images_.count()
             << ": " << why << "\nrepeat with OMS_TEST_SEED=" << RunSeed()
             << " OMS_STEP_REPLAY='" << operation_.name << "/" << pass << "/"
             << state << "'");
}

void Walk::CheckFiles(std::string& wrong) const {
  if (!fs::exists(place_.store() + "/STORE")) return;
  const auto report = CheckStore(place_.store());
  if (!report.ok()) {
    wrong = "the files cannot be checked";
  } else if (report->damaged()) {
    wrong = report->ToText();
  }
}

Sight Walk::Ask(Child& successor, const char* word, std::string& wrong) {
  successor.Say(word);
  auto said = successor.Hear();
  if (said == "opened") said = successor.Hear();
  if (!said) FAIL(operation_.name << ": it did not come to an end");
  if (said->starts_with('!')) {
    wrong = said->substr(1);
    return {};
  }
  return step::FromLine(*said);
}

Sight Walk::GoOnFrom(size_t state, Child& successor, const Pass& pass,
                     std::string& wrong) {
  images_.Restore(state);
  CheckFiles(wrong);
  if (!wrong.empty()) return {};
  const Sight found = Ask(successor, pass.word, wrong);
  ++counts_.takeovers;
  if (!wrong.empty() || !pass.asks_log) return found;
  // The log alone says the same (I17).
  const Sight stored = Ask(successor, "stored", wrong);
  if (wrong.empty()) {
    wrong = step::CompareWithLog(operation_, found, stored);
  }
  return found;
}

void Walk::GoOnFromAll(Child& successor, const Pass& pass) {
  if (replay_ != nullptr && pass.name != replay_->pass) return;
  std::string wrong;
  const Sight before = GoOnFrom(0, successor, pass, wrong);
  if (!wrong.empty()) return Fail(pass.name, 0, wrong);
  const size_t last = images_.count() - 1;
  const Sight after = GoOnFrom(last, successor, pass, wrong);
  if (!wrong.empty()) return Fail(pass.name, last, wrong);
  if (!pass.only_stored) {
    wrong = step::CompareEnds(operation_, before, after);
    if (!wrong.empty()) return Fail(pass.name, last, wrong);
  }
  bool behind = false;
  for (size_t state = 1; state < last; ++state) {
    if (replay_ != nullptr && state != replay_->state) continue;
    const Sight found = GoOnFrom(state, successor, pass, wrong);
    if (replay_ != nullptr) {
      for (const auto& [name, line] : found) {
        std::printf("%s: %s\n", name.c_str(), line.c_str());
      }
    }
    if (wrong.empty()) {
      wrong = pass.only_stored
                  ? step::CompareStored(operation_, before, after, found)
                  : step::Compare(operation_, before, after, found, behind);
    }
    if (!wrong.empty()) Fail(pass.name, state, wrong);
    wrong.clear();
  }
}

bool Walk::Run() {
  MakeBefore();
  if (!Step()) return false;
  if (peer_) {
    GoOnFromAll(*peer_, {"peer", "go on"});
    REQUIRE(peer_->Kill());
    peer_.reset();
  }
  Child successor("successor", {place_.store(), "0"});
  REQUIRE(successor.Hear() == "ready");
  GoOnFromAll(successor, {"opener", "go on", true});
  GoOnFromAll(successor, {"second opener", "twice"});
  GoOnFromAll(successor, {"without ctl", "without ctl", false, true});
  return true;
}

std::optional<Replay> ReplayOfRun() {
  const char* const given = ::getenv("OMS_STEP_REPLAY");
  if (given == nullptr) return std::nullopt;
  std::istringstream in{std::string(given)};
  Replay replay;
  std::string number;
  std::getline(in, replay.operation, '/');
  std::getline(in, replay.pass, '/');
  std::getline(in, number);
  replay.state = std::stoull(number);
  return replay;
}

// Returns: those of this run: what OMS_STEP_ONLY names, or all; in the quick
// form some, chosen by the seed.
std::vector<const Operation*> Chosen(const std::optional<Replay>& replay) {
  std::vector<const Operation*> chosen;
  const char* const only = ::getenv("OMS_STEP_ONLY");
  for (const Operation& operation : step::Operations()) {
    if (only != nullptr && operation.name != only) continue;
    if (!replay || operation.name == replay->operation) {
      chosen.push_back(&operation);
    }
  }
  if (replay || only != nullptr || IsLongRun()) return chosen;
  auto random = RandomOfRun(7);
  std::shuffle(chosen.begin(), chosen.end(), random);
  chosen.resize(std::min<size_t>(chosen.size(), kQuickOperations));
  return chosen;
}

void ReportAll(size_t operations, const Counts& all) {
  const bool met = all.wrong == 0 && all.states > 0;
  Report({"step", "operations killed at every change of shared memory",
          IsLongRun() ? WithCommas(step::Operations().size())
                      : WithCommas(kQuickOperations),
          WithCommas(operations), met});
  Report({"step", "states gone on from, none wrong", "0 wrong",
          Concat(WithCommas(all.states), " states, ", WithCommas(all.takeovers),
                 " takeovers, ", WithCommas(all.wrong), " wrong"),
          met});
}

TEST_CASE("OMS-REF-001: an operation killed at any change is whole or absent") {
  const auto replay = ReplayOfRun();
  Counts all;
  size_t operations = 0;
  for (const Operation* const operation : Chosen(replay)) {
    Walk walk(*operation, replay ? &*replay : nullptr);
    const auto begin = steady_clock::now();
    if (!walk.Run()) {
      Report({"step", "operations killed at every change of shared memory",
              "all", "skipped: nobody may be traced here", false});
      return;
    }
    const Counts& counts = walk.counts();
    const auto took =
        std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
    std::printf(
        "%s: %llu stores, %llu system calls, %llu states, %llu takeovers, "
        "%llu wrong; %lld ms\n",
        std::string(operation->name).c_str(), AsNumber(counts.stores),
        AsNumber(counts.calls), AsNumber(counts.states),
        AsNumber(counts.takeovers), AsNumber(counts.wrong),
        static_cast<long long>(took.count()));
    std::fflush(stdout);
    ++operations;
    all.states += counts.states;
    all.takeovers += counts.takeovers;
    all.wrong += counts.wrong;
  }
  CHECK(all.wrong == 0);
  if (!replay && ::getenv("OMS_STEP_ONLY") == nullptr) {
    ReportAll(operations, all);
  }
}

#else

TEST_CASE("a process under a sanitizer is not stepped through") {
  Report({"step", "operations killed at every change of shared memory", "all",
          "skipped: not this build", false});
}

#endif

}  // namespace
}  // namespace openmessaging::reference::step_test
