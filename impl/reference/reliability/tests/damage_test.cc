// SPDX-License-Identifier: Apache-2.0
//
// Damage to the files of a store: bits, pages, lengths, whole files. What is
// wrong is found or harmless, never silent; the rest can be read, and repaired.

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "damage/judge.h"
#include "doctest/doctest.h"
#include "goals.h"

namespace openmessaging::reference::damage_test {
namespace {

using namespace damage;  // The machine is part of its test.

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kBlockBytes = 256;
constexpr size_t kMostFaults = 20;
constexpr int kPatienceSeconds = 120;

const SampleStore& Sample() {
  static const SampleStore sample = MakeSampleStore();
  return sample;
}

// What is being tried now, for who looks at a crash or a hang.
std::array<char, 512> under_way{};

void Die(int signal_number) {
  constexpr char kWords[] = "it died at OMS_DAMAGE_REPLAY='";
  ssize_t ignored = write(2, kWords, sizeof(kWords) - 1);
  ignored += write(2, under_way.data(), strnlen(under_way.data(), 512));
  ignored += write(2, "'\n", 2);
  static_cast<void>(ignored);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

// Tries cases, one after the other; a case that hangs or crashes is named.
class Machine {
 public:
  Machine() : judge_(Sample()) {
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM}) {
      signal(number, Die);
    }
  }
  ~Machine() {
    alarm(0);
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM}) {
      signal(number, SIG_DFL);
    }
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void Try(Way way, Damage damage) {
    const Case what{way, std::move(damage)};
    if (faults_ > kMostFaults) return;
    Name(what);
    const Verdict verdict = judge_.Try(what);
    if (!verdict.change) return;
    ++tried_;
    ++outcomes_[static_cast<size_t>(verdict.outcome)];
    if (!verdict.fault.empty()) Tell(what, verdict.fault);
    if (tried_ % 16 == 0) Repair(way, what.damage);
  }
  void Repair(Way way, const Damage& damage) {
    const Case what{way, damage};
    Name(what);
    ++repaired_;
    const std::string fault = judge_.TryRepair(what);
    if (!fault.empty()) Tell(what, "repair: " + fault);
  }

  const Image& ImageFor(Way way) const { return judge_.ImageFor(way); }
  const Judge& judge() const { return judge_; }
  uint64_t tried() const { return tried_; }
  uint64_t repaired() const { return repaired_; }
  size_t faults() const { return faults_; }

  void ReportAs(const std::string& goal, const std::string& wanted) const {
    const auto count = [&](Outcome outcome) {
      return WithCommas(outcomes_[static_cast<size_t>(outcome)]);
    };
    const std::string reached =
        WithCommas(tried_) + ": " + count(Outcome::kHarmless) + " harmless, " +
        count(Outcome::kTold) + " told, " + count(Outcome::kRefused) +
        " refused; " + WithCommas(repaired_) + " repaired; " +
        std::to_string(faults_) + " faults";
    Report({"damage", goal, wanted, reached, faults_ == 0 && tried_ > 0});
  }

 private:
  static void Name(const Case& what) {
    const std::string text = what.ToText();
    under_way.fill(0);
    text.copy(under_way.data(), under_way.size() - 1);
    alarm(kPatienceSeconds);
  }
  void Tell(const Case& what, const std::string& fault) {
    ++faults_;
    FAIL_CHECK("OMS_DAMAGE_REPLAY='" << what.ToText()
                                     << "': " << fault.substr(0, 2000));
  }

  const Judge judge_;
  uint64_t tried_ = 0;
  uint64_t repaired_ = 0;
  size_t faults_ = 0;
  std::array<uint64_t, 3> outcomes_{};
};

Way ClosedWay(uint64_t number) { return static_cast<Way>(number % 3); }
// Whether there is anything but zeros around a byte.
bool IsUsed(const std::string& bytes, uint64_t at) {
  const uint64_t first = at - at % kBlockBytes;
  return bytes.find_first_not_of('\0', first) <
         std::min<uint64_t>(first + kBlockBytes, bytes.size());
}

bool IsShared(const std::string& name) {
  return name == "ctl" || name == "idx";
}

TEST_CASE("OMS-REF-005: no flipped bit is silent") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(1);
  // In the quick run each byte once; under the sanitizers one of ten.
  const uint64_t stride = 10 / For({10, 10});
  uint64_t turn = 0;
  for (const auto& [name, content] : machine.ImageFor(Way::kClosed).files) {
    for (uint64_t at = random() % stride; at < content->size(); at += stride) {
      const bool used = IsUsed(*content, at);
      // What is empty, or only of the living, now and then.
      const uint64_t rarely = IsLongRun() ? (IsShared(name) ? 4 : 1) : 64;
      if ((!used || IsShared(name)) && random() % rarely != 0) continue;
      if (!used && IsShared(name) && random() % 64 != 0) continue;
      if (IsLongRun() && !IsShared(name)) {
        for (uint64_t bit = 0; bit < 8; ++bit) {
          machine.Try(ClosedWay(turn++), {Kind::kFlip, name, "", at, bit});
        }
      } else {
        machine.Try(ClosedWay(turn++),
                    {Kind::kFlip, name, "", at, random() % 8});
      }
    }
  }
  machine.ReportAs("flipped bits in a closed store, none silent",
                   IsLongRun() ? "each bit" : "each byte once");
}

TEST_CASE("OMS-REF-005: no flipped bit is silent after a crash") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(2);
  const uint64_t count = For({2'000, 100'000});
  std::vector<std::pair<std::string, uint64_t>> places;
  for (const auto& [name, content] : machine.ImageFor(Way::kCrashed).files) {
    for (uint64_t at = 0; at < content->size(); ++at) {
      if (IsUsed(*content, at)) places.emplace_back(name, at);
    }
  }
  for (uint64_t n = 0; n < count; ++n) {
    const auto& [name, at] = places[random() % places.size()];
    // In the same boot what has no checksum yet is memory.
    machine.Try(Way::kCrashedReboot, {Kind::kFlip, name, "", at, random() % 8});
  }
  machine.ReportAs("flipped bits in a store that a crash left",
                   WithCommas(count));
}

TEST_CASE("OMS-REF-005: what the living share ends nobody who opens it") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(7);
  const Image& image = machine.ImageFor(Way::kCrashed);
  std::vector<std::pair<std::string, uint64_t>> places;
  for (const char* const name : {"ctl", "idx"}) {
    for (uint64_t at = 0; at < image.Of(name).size(); ++at) {
      if (IsUsed(image.Of(name), at)) places.emplace_back(name, at);
    }
  }
  if (IsLongRun()) {
    for (const auto& [name, at] : places) {
      machine.Try(Way::kCrashed, {Kind::kFlip, name, "", at, random() % 8});
    }
  }
  const uint64_t count = For({2'000, 20'000});
  for (uint64_t n = 0; n < count; ++n) {
    const auto& [name, at] = places[random() % places.size()];
    const auto& [other, place] = places[random() % places.size()];
    const uint64_t page = at - at % kPageBytes;
    switch (random() % 8) {
      case 0:
        machine.Try(Way::kCrashed, {Kind::kStale, name, "", page,
                                    random() % Sample().earlier.size()});
        break;
      case 1:
        machine.Try(Way::kCrashed, {Kind::kNoise, name, "", page, random()});
        break;
      case 2:
        machine.Try(Way::kCrashed, {Kind::kSwapPages, name, other, page,
                                    place - place % kPageBytes});
        break;
      default:
        machine.Try(Way::kCrashed,
                    {Kind::kFlip, name, "", at, random() % 8});
    }
  }
  machine.ReportAs("bits and pages of ctl and idx after a crash, same boot",
                   IsLongRun() ? "each byte, and 20,000" : WithCommas(count));
}

TEST_CASE("OMS-REF-005: no length of a file is silent") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(3);
  if (!IsLongRun()) {
    const uint64_t count = For({5'000, 5'000});
    std::vector<std::pair<std::string, uint64_t>> lengths;
    for (const auto& [name, content] : machine.ImageFor(Way::kClosed).files) {
      for (uint64_t at = 0; at < content->size(); ++at) {
        if (!IsShared(name) || at % 64 == 0) lengths.emplace_back(name, at);
      }
    }
    for (uint64_t n = 0; n < count; ++n) {
      const auto& [name, at] = lengths[random() % lengths.size()];
      machine.Try(ClosedWay(n), {Kind::kCut, name, "", at, 0});
    }
  } else {
    uint64_t turn = 0;
    for (const auto& [name, content] : machine.ImageFor(Way::kClosed).files) {
      const uint64_t step = IsShared(name) ? 64 : 1;
      for (uint64_t at = 0; at < content->size(); at += step) {
        machine.Try(ClosedWay(turn++), {Kind::kCut, name, "", at, 0});
      }
    }
  }
  machine.ReportAs("files cut short",
                   IsLongRun() ? "each length" : "5,000 lengths");
}

TEST_CASE("OMS-REF-005: no page is zeroed torn stale or swapped in silence") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(4);
  const uint64_t count = For({1'000, 100'000});
  std::vector<std::pair<std::string, uint64_t>> pages;
  const Image& image = machine.ImageFor(Way::kClosed);
  for (const auto& [name, content] : image.files) {
    // An old ctl says that the store is in use, and is believed as memory is.
    if (name == "ctl") continue;
    for (uint64_t at = 0; at < content->size(); at += kPageBytes) {
      if (IsUsed(*content, at)) pages.emplace_back(name, at);
    }
  }
  for (uint64_t n = 0; n < count; ++n) {
    const auto& [name, at] = pages[random() % pages.size()];
    const auto& [other, place] = pages[random() % pages.size()];
    switch (random() % 5) {
      case 0:
        machine.Try(ClosedWay(n), {Kind::kZeros, name, "", at, 0});
        break;
      case 1:
        machine.Try(ClosedWay(n), {Kind::kOnes, name, "", at, 0});
        break;
      case 2:
        machine.Try(ClosedWay(n), {Kind::kNoise, name, "", at, random()});
        break;
      case 3:
        machine.Try(ClosedWay(n), {Kind::kStale, name, "", at,
                                   random() % Sample().earlier.size()});
        break;
      default:
        if (image.Of(name).size() < at + kPageBytes ||
            image.Of(other).size() < place + kPageBytes) {
          break;
        }
        machine.Try(ClosedWay(n), {Kind::kSwapPages, name, other, at, place});
    }
  }
  machine.ReportAs("pages zeroed, 0xFF, random, stale, swapped",
                   WithCommas(count));
}

// Lengths that a hostile hand would write, with the checksum made right.
constexpr std::array<uint64_t, 7> kLengths = {
    0, 1, 63, 64, uint64_t{1} << 31, 0xffffffff, 0xffffffc0};

void TryRecords(Machine& machine, const std::vector<Record>& records) {
  std::mt19937_64 random = RandomOfRun(5);
  uint64_t turn = 0;
  for (const Record& record : records) {
    for (const uint64_t length : kLengths) {
      machine.Try(ClosedWay(turn++),
                  {Kind::kLength, record.file, "", record.at, length});
      machine.Try(ClosedWay(turn++),
                  {Kind::kFields, record.file, "", record.at, length});
    }
    const Record& other = records[random() % records.size()];
    if (other.file != record.file || other.at <= record.at + record.bytes()) {
      continue;
    }
    machine.Try(ClosedWay(turn++),
                {Kind::kSwapRecords, record.file, "", record.at, other.at});
  }
}

void TryFiles(Machine& machine) {
  const Image& image = machine.ImageFor(Way::kClosed);
  const std::vector<std::string> segments = SegmentsOf(image);
  for (uint64_t way = 0; way < kWayNames.size(); ++way) {
    for (const auto& [name, content] :
         machine.ImageFor(static_cast<Way>(way)).files) {
      machine.Try(static_cast<Way>(way), {Kind::kDelete, name, "", 0, 0});
    }
  }
  uint64_t turn = 0;
  for (uint64_t way = 0; way < 3; ++way) {
    for (const std::string& one : segments) {
      for (const std::string& two : segments) {
        if (one == two) continue;
        machine.Try(ClosedWay(way), {Kind::kDuplicate, one, two, 0, 0});
        if (one < two) {
          machine.Try(ClosedWay(way), {Kind::kSwapFiles, one, two, 0, 0});
        }
      }
      machine.Try(ClosedWay(way),
                  {Kind::kDuplicate, one, SegmentName(1 << 20, 9), 0, 0});
      for (const std::string& strange : SegmentsOf(Sample().foreign)) {
        machine.Try(ClosedWay(way), {Kind::kForeign, one, strange, 0, 0});
      }
      machine.Try(ClosedWay(way), {Kind::kVersion, one, "", 0, 1});
    }
    for (const char* const name : {"STORE", "ctl", "idx", "ckpt/A", "ckpt/B"}) {
      machine.Try(ClosedWay(turn++), {Kind::kForeign, name, name, 0, 0});
    }
    machine.Try(ClosedWay(way), {Kind::kVersion, "STORE", "", 0, 1});
  }
}

TEST_CASE("OMS-REF-005: no record or file is lost or exchanged in silence") {
  Machine machine;
  TryFiles(machine);
  TryRecords(machine, RecordsOf(machine.ImageFor(Way::kClosed)));
  machine.ReportAs(
      "records and files swapped, doubled, foreign, deleted; "
      "lengths and versions",
      "all");
}

TEST_CASE("OMS-CLI-023: a repair saves all that is not damaged") {
  Machine machine;
  std::mt19937_64 random = RandomOfRun(6);
  // The store as it is, in each way.
  for (uint64_t way = 0; way < kWayNames.size(); ++way) {
    machine.Repair(static_cast<Way>(way), {Kind::kDelete, "LOCK", "", 0, 0});
  }
  const uint64_t count = For({500, 50'000});
  std::vector<std::pair<std::string, uint64_t>> places;
  for (const auto& [name, content] : machine.ImageFor(Way::kClosed).files) {
    if (IsShared(name)) continue;
    for (uint64_t at = 0; at < content->size(); ++at) {
      if (IsUsed(*content, at)) places.emplace_back(name, at);
    }
  }
  for (uint64_t n = 0; n < count; ++n) {
    const auto& [name, at] = places[random() % places.size()];
    const uint64_t page = at - at % kPageBytes;
    switch (random() % 4) {
      case 0:
        machine.Repair(ClosedWay(n), {Kind::kCut, name, "", at, 0});
        break;
      case 1:
        machine.Repair(ClosedWay(n), {Kind::kNoise, name, "", page, random()});
        break;
      case 2:
        machine.Repair(ClosedWay(n), {Kind::kDelete, name, "", 0, 0});
        break;
      default:
        machine.Repair(ClosedWay(n), {Kind::kFlip, name, "", at, random() % 8});
    }
  }
  Report({"damage", "repairs of damaged stores, all that is whole is saved",
          WithCommas(count), WithCommas(machine.repaired()),
          machine.faults() == 0});
}

TEST_CASE("one case is repeated") {
  const char* const text = std::getenv("OMS_DAMAGE_REPLAY");
  if (text == nullptr) return;
  const auto what = Case::Parse(text);
  REQUIRE(what);
  Machine machine;
  machine.Try(what->way, what->damage);
  machine.Repair(what->way, what->damage);
}

}  // namespace
}  // namespace openmessaging::reference::damage_test
