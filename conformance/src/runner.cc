// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "context.h"
#include "openmessaging/conformance/suite.h"
#include "openmessaging/driver/registry.h"
#include "probes.h"
#include "registry.h"

namespace openmessaging::conformance {
namespace {

using internal::Concat;

struct TestOutcome {
  Result result = Result::kError;
  std::string message{};
};

std::atomic<size_t>& Abandoned() {
  static std::atomic<size_t> count{0};
  return count;
}

// Runs `body` on a thread of its own and gives it up after `limit`: a driver
// that hangs fails one test, not the run. What `body` captures outlives it.
TestOutcome Guarded(milliseconds limit, std::function<TestOutcome()> body) {
  struct Attempt {
    std::mutex mutex;
    std::condition_variable changed;
    bool ended = false;
    TestOutcome outcome;
  };
  auto attempt = std::make_shared<Attempt>();
  std::thread thread([attempt, body = std::move(body)] {
    TestOutcome outcome;
    try {
      outcome = body();
    } catch (const Failure& failure) {
      outcome = {Result::kFail, failure.text};
    } catch (const NotApplicable& reason) {
      outcome = {Result::kNotApplicable, reason.text};
    } catch (const NotRun& reason) {
      outcome = {Result::kNotRun, reason.text};
    } catch (const std::exception& error) {
      outcome = {Result::kError, Concat("exception: ",
                                        std::string_view(error.what()))};
    }
    const std::lock_guard<std::mutex> lock(attempt->mutex);
    attempt->outcome = std::move(outcome);
    attempt->ended = true;
    attempt->changed.notify_all();
  });
  std::unique_lock<std::mutex> lock(attempt->mutex);
  if (!attempt->changed.wait_for(lock, limit,
                                 [&] { return attempt->ended; })) {
    thread.detach();
    ++Abandoned();
    return {Result::kFail, Concat("did not return within ", limit.count(),
                                  " ms: a call of the driver hangs")};
  }
  lock.unlock();
  thread.join();
  return attempt->outcome;
}

// What is declared for a queue made for a capability, and whether its absence
// is real. Both are found out once.
struct Finding {
  Support declared = Support::kUnsupported;
  TestOutcome absence{};
};

class Runner {
 public:
  Runner(const SuiteOptions& options, std::shared_ptr<RunState> state)
      : options_(options), state_(std::move(state)) {}

  TestReport RunTest(const Test& test) {
    TestReport report;
    report.info = test.info;
    const auto start = steady_clock::now();
    TestOutcome outcome;
    for (int i = 0; i < options_.repeat; ++i) {
      outcome = RunOnce(test);
      if (outcome.result != Result::kPass) break;
    }
    ApplyExclusion(test.info.id, outcome);
    report.result = outcome.result;
    report.message = std::move(outcome.message);
    report.seconds =
        std::chrono::duration<double>(steady_clock::now() - start).count();
    return report;
  }

  std::vector<CapabilityReport> Capabilities(
      const std::vector<TestReport>& tests) {
    std::vector<CapabilityReport> all;
    for (size_t i = 0; i < kCapabilityNames.size(); ++i) {
      CapabilityReport one;
      one.capability = static_cast<Capability>(i);
      one.declared = Look(one.capability).declared;
      for (const TestReport& test : tests) {
        if (test.info.gate == one.capability &&
            (test.result == Result::kPass || test.result == Result::kFail)) {
          ++one.tests;
        }
      }
      all.push_back(one);
    }
    return all;
  }

 private:
  TestOutcome RunOnce(const Test& test) {
    if (std::string lacks = Lacks(test.wants); !lacks.empty()) {
      return {Result::kNotRun, std::move(lacks)};
    }
    if (test.info.gate) {
      const Finding& finding = Look(*test.info.gate);
      if (finding.declared == Support::kUnsupported) return finding.absence;
    }
    return Guarded(options_.test_limit,
                   [state = state_, body = test.body, seed = options_.seed,
                    number = ++number_]() -> TestOutcome {
                     Context t(*state, seed, number);
                     body(t);
                     return {Result::kPass, {}};
                   });
  }

  // Returns: what the harness lacks for a test; empty: nothing.
  std::string Lacks(Wants wants) const {
    switch (wants) {
      case Wants::kNothing:
        return {};
      case Wants::kRestart:
        if (state_->harness->CanRestart()) return {};
        return "the harness cannot restart the broker";
      case Wants::kProxy:
        if (state_->proxy) return {};
        return "the harness has no way through a proxy";
      case Wants::kForeignClient:
        if (state_->harness->CanSendForeign()) return {};
        return "the harness has no client of the broker's own";
    }
    return {};
  }

  // Asks what a capability is declared as, and probes what is not there.
  const Finding& Look(Capability capability) {
    const auto known = findings_.find(capability);
    if (known != findings_.end()) return known->second;
    auto finding = std::make_shared<Finding>();
    const TestOutcome outcome = Guarded(
        options_.test_limit,
        [finding, capability, state = state_, seed = options_.seed,
         number = ++number_]() -> TestOutcome {
          Context t(*state, seed, number);
          std::string queue;
          try {
            queue = t.NewQueueFor(capability);
          } catch (const Failure& failure) {
            // No queue of that kind, so no such capability: 1600 is the word.
            if (failure.text.find(" got 1600") == std::string::npos) throw;
            return {Result::kNotApplicable,
                    "a queue with it cannot be made: 1600"};
          }
          finding->declared = t.CapabilitiesOf(queue).Of(capability);
          if (finding->declared != Support::kUnsupported) {
            return {Result::kPass, {}};
          }
          std::string seen = ProbeUnsupported(t, queue, capability);
          ProbeUnderClaim(t, queue, capability);
          return {Result::kNotApplicable,
                  seen.empty() ? "declared unsupported" : std::move(seen)};
        });
    Finding result;
    if (outcome.result == Result::kPass ||
        outcome.result == Result::kNotApplicable) {
      result = *finding;
    }
    result.absence = outcome;
    return findings_.emplace(capability, std::move(result)).first->second;
  }

  void ApplyExclusion(const std::string& id, TestOutcome& outcome) const {
    for (const Exclusion& exclusion : options_.exclusions) {
      if (exclusion.id != id) continue;
      if (outcome.result == Result::kPass) {
        outcome.message = "excluded, but it passes: remove it from the list";
      } else if (outcome.result == Result::kFail ||
                 outcome.result == Result::kError) {
        outcome = {Result::kExcluded,
                   Concat(std::string_view(exclusion.date), ": ",
                          std::string_view(exclusion.reason), "; ",
                          std::string_view(outcome.message))};
      }
      return;
    }
  }

  const SuiteOptions& options_;
  const std::shared_ptr<RunState> state_;
  std::map<Capability, Finding> findings_;
  int number_ = 0;
};

bool Contains(const auto& list, const auto& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string NewRunId() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 8; ++i) id += "0123456789abcdef"[device() % 16];
  return id;
}

absl::Status CheckIds(const std::vector<std::string>& only) {
  for (const std::string& id : only) {
    const auto& tests = AllTests();
    if (std::none_of(tests.begin(), tests.end(), [&](const Test& test) {
          return test.info.id == id;
        })) {
      return MakeStatus(Code::kBadParameter, "run \"",
                        internal::Printable(id),
                        "\": no test checks that requirement; expected one "
                        "that --list shows");
    }
  }
  return absl::OkStatus();
}

// Returns: the report on what no single test shows, that each capability which
// is declared passed all tests of it.
TestReport JudgeClaims(const Report& report) {
  TestReport claims;
  claims.info = {OMS_CONFORMANCE_JUDGED_TEST("OMS-CAP-009"), Level::kCore,
                 kAlways, "what is declared passes every test of it"};
  claims.result = Result::kPass;
  for (const TestReport& test : report.tests) {
    if (!test.info.gate || test.result != Result::kFail) continue;
    claims.result = Result::kFail;
    claims.message += Concat(claims.message.empty() ? "" : ", ",
                             Name(*test.info.gate), " fails ",
                             std::string_view(test.info.id));
  }
  return claims;
}

}  // namespace

std::vector<Test>& AllTests() {
  static auto* const tests = new std::vector<Test>();
  return *tests;
}

size_t AbandonedTests() { return Abandoned().load(); }

// The linker decides in which order files register; this one is for people.
static std::vector<Test> OrderedTests() {
  std::vector<Test> tests = AllTests();
  std::stable_sort(tests.begin(), tests.end(),
                   [](const Test& a, const Test& b) {
                     return std::pair(a.info.level, a.info.id) <
                            std::pair(b.info.level, b.info.id);
                   });
  return tests;
}

static std::vector<Test> ChosenTests(const SuiteOptions& options) {
  std::vector<Test> tests = OrderedTests();
  std::erase_if(tests, [&](const Test& test) {
    return (!options.levels.empty() &&
            !Contains(options.levels, test.info.level)) ||
           (!options.only.empty() && !Contains(options.only, test.info.id));
  });
  return tests;
}

std::vector<TestInfo> ListTests() {
  std::vector<TestInfo> all;
  for (const Test& test : OrderedTests()) all.push_back(test.info);
  return all;
}

absl::StatusOr<Report> Run(const SuiteOptions& options, Harness* harness) {
  if (auto s = CheckIds(options.only); !s.ok()) return s;
  const auto url = Url::Parse(options.url);
  if (!url.ok()) return url.status();
  auto bus = MessagingAccessPoint::Connect(options.url, options.attributes);
  if (!bus.ok()) return bus.status();
  const auto driver = driver::Registry::Default().Find(url->driver());
  if (!driver.ok()) return driver.status();

  std::unique_ptr<Harness> own;
  if (harness == nullptr) {
    own = MakeHarness(*url);
    harness = own.get();
  }
  auto state = std::make_shared<RunState>();
  state->url = options.url;
  state->attributes = options.attributes;
  state->harness = harness;
  state->tolerances = harness->tolerances();
  state->run_id = NewRunId();
  state->bus = *std::move(bus);
  if (const auto routes = harness->ProxyRoutes(); !routes.empty()) {
    auto proxy = Proxy::Start(routes);
    if (!proxy.ok()) return proxy.status();
    state->proxy = *std::move(proxy);
  }

  Report report;
  const driver::DriverInfo info = (*driver)->Info();
  report.driver = Concat(std::string_view(info.name), " ",
                         std::string_view(info.version));
  report.broker = options.broker;
  report.url = url->ToString();
  report.seed = options.seed;
  report.whole = options.only.empty() && options.levels.empty();
  const auto start = steady_clock::now();
  Runner runner(options, state);
  const std::vector<Test> tests = ChosenTests(options);
  for (const Test& test : tests) {
    if (options.on_begin) {
      options.on_begin(test.info, report.tests.size() + 1, tests.size());
    }
    report.tests.push_back(runner.RunTest(test));
    if (options.on_end) options.on_end(report.tests.back());
  }
  if (report.whole) {
    report.capabilities = runner.Capabilities(report.tests);
    report.tests.push_back(JudgeClaims(report));
  }
  if (state->bus) {
    const auto general = state->bus->capabilities("any");
    if (general.ok()) report.limits = general->limits();
  }
  report.seconds =
      std::chrono::duration<double>(steady_clock::now() - start).count();
  if (AbandonedTests() > 0) (void)own.release();  // They still use it.
  return report;
}

size_t Report::Count(Result result) const {
  return static_cast<size_t>(
      std::count_if(tests.begin(), tests.end(), [&](const TestReport& test) {
        return test.result == result;
      }));
}

std::vector<Capability> Report::Untested() const {
  std::vector<Capability> untested;
  for (const CapabilityReport& one : capabilities) {
    if (one.declared != Support::kUnsupported && one.tests == 0) {
      untested.push_back(one.capability);
    }
  }
  return untested;
}

bool Report::conformant() const {
  return Count(Result::kFail) == 0 && Count(Result::kError) == 0 &&
         Untested().empty();
}

absl::StatusOr<std::vector<Exclusion>> ParseExclusions(std::string_view text) {
  std::vector<Exclusion> all;
  int number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    while (!line.empty() && line.back() <= ' ') line.remove_suffix(1);
    while (!line.empty() && line.front() <= ' ') line.remove_prefix(1);
    if (line.empty()) continue;
    Exclusion one;
    for (std::string* const word : {&one.id, &one.date}) {
      const size_t space = std::min(line.find(' '), line.size());
      *word = line.substr(0, space);
      line.remove_prefix(space);
      while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    }
    one.reason = line;
    const bool dated = one.date.size() == 10 && one.date[4] == '-' &&
                       one.date[7] == '-';
    if (!dated || one.reason.empty()) {
      return MakeStatus(Code::kBadParameter, "read exclusions, line ", number,
                        ": it is not \"", "<id> <date> <reason>",
                        "\"; expected such as OMS-PROD-003 2026-11-30 why");
    }
    if (auto s = CheckIds({one.id}); !s.ok()) return s;
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace openmessaging::conformance
