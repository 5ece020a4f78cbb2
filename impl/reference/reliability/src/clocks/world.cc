// SPDX-License-Identifier: Apache-2.0
//
// Turns, and how time passes. What applications do is in deeds.cc, what becomes
// of processes in lives.cc, what is asked in rules.cc.

#include "clocks/world.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <utility>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::clocks {
namespace {

constexpr int64_t kYearMs = 365 * kDayMs;
constexpr int64_t kBeginMs = 1'700'000'000'000;
// The wall clock is set back where it is further off.
constexpr int64_t kFarthestMs = 15 * kYearMs;
constexpr size_t kNotes = 60;
// Nothing asks for so many, but what goes round in circles.
constexpr int kStopsAtOnce = 20'000;
// A housekeeper sleeps no longer while something waits.
constexpr int64_t kSleepMs = 50;

}  // namespace

void Counts::Add(const Counts& other) {
  simulated_ms += other.simulated_ms;
  turns += other.turns;
  operations += other.operations;
  sent += other.sent;
  received += other.received;
  delayed += other.delayed;
  expired += other.expired;
  checks += other.checks;
  dead_letters += other.dead_letters;
  jumps += other.jumps;
  crashes += other.crashes;
  boots += other.boots;
  most_looks = std::max(most_looks, other.most_looks);
}

World::World(uint64_t seed)
    : dice_(power::Mix(seed, 0xc10c)),
      machine_(power::Mix(seed, 0x3a)),
      disk_(std::make_unique<power::Disk>(nullptr)) {
  options_.first_segment_bytes = uint64_t{8192} << dice_.Below(3);
  options_.max_segment_bytes = 2 * options_.first_segment_bytes;
  options_.slots = 8;
  options_.bells = 8;
  options_.window = 256;
  options_.max_segments = 256;
  options_.reserve_bytes = 8192;
  knows_boot_ = !dice_.OneIn(8);
  loses_power_ = !dice_.OneIn(4);
  retention_ms_ = dice_.OneIn(3) ? 0 : SomeMs(60'000, 10 * kDayMs);
  max_deliveries_ = static_cast<int32_t>(2 + dice_.Below(4));
  machine_.wall_ms = kBeginMs;
  machine_.boot_ns += static_cast<int64_t>(dice_.Below(1'000'000));
  for (auto& queue : partitions_) {
    for (Partition& partition : queue) partition.newest.fill(-1);
  }
}

World::~World() {
  for (auto& process : living_) process->Kill();
  living_.clear();
  dead_.clear();
}

void World::AddNote(std::string text) {
  text = internal::Concat(counts_.turns, " @", now_ns() / kMsNs, " ", text);
  for (const char c : text) {
    digest_ = (digest_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  ++counts_.operations;
  if (counts_.turns >= show_from_) std::printf("  %s\n", text.c_str());
  notes_.push_back(std::move(text));
  if (notes_.size() > kNotes) notes_.pop_front();
}

std::string World::LastOperations() const {
  std::string all;
  for (const std::string& note : notes_) all += "  " + note + '\n';
  return all;
}

int64_t World::SomeMs(int64_t least, int64_t most) {
  const auto low = static_cast<uint64_t>(std::bit_width(uint64_t(least)));
  const auto high = static_cast<uint64_t>(std::bit_width(uint64_t(most)));
  const uint64_t width = low + dice_.Below(high - low + 1);
  const uint64_t begin = uint64_t{1} << (width - 1);
  return std::clamp(static_cast<int64_t>(begin + dice_.Below(begin)), least,
                    most);
}

void World::Run(int64_t hours) {
  while (fine() && counts_.simulated_ms < hours * kHourMs) Turn();
  if (fine()) Finish();
}

void World::Turn() {
  ++counts_.turns;
  if (dice_.OneIn(2)) Pass(SomeMs(1, 6 * kHourMs));
  if (dice_.OneIn(400)) Pass(SomeMs(kDayMs, 30 * kDayMs));
  if (living_.empty()) {
    if (dice_.OneIn(4)) Pass(SomeMs(1, kDayMs));
    Open();
  }
  if (!fine()) return;
  struct Deed {
    uint64_t weight = 0;
    void (World::*run)() = nullptr;
  };
  static constexpr std::array<Deed, 18> kDeeds = {{{400, &World::Send},
                                                   {240, &World::ReceiveSome},
                                                   {480, &World::Settle},
                                                   {60, &World::SettleStale},
                                                   {40, &World::Cancel},
                                                   {80, &World::Decide},
                                                   {30, &World::DecideAgain},
                                                   {60, &World::RunChecks},
                                                   {60, &World::Bury},
                                                   {60, &World::Housekeep},
                                                   {50, &World::Jump},
                                                   {40, &World::Open},
                                                   {12, &World::CloseOne},
                                                   {20, &World::KillOne},
                                                   {6, &World::KillAll},
                                                   {5, &World::Boot},
                                                   {10, &World::Flush},
                                                   {20, &World::Look}}};
  uint64_t total = 0;
  for (const Deed& deed : kDeeds) total += deed.weight;
  uint64_t left = dice_.Below(total);
  for (const Deed& deed : kDeeds) {
    if (left < deed.weight) {
      (this->*deed.run)();
      break;
    }
    left -= deed.weight;
  }
  Enter();
  CheckEntered(false);
  Forget();
}

void World::Pass(int64_t ms) {
  const int64_t end_ns = now_ns() + ms * kMsNs;
  Note("pass ", ms, " ms");
  for (int stops = 0; fine() && now_ns() < end_ns; ++stops) {
    MoveTo(living_.empty() ? end_ns : NextStop(end_ns));
    if (!living_.empty()) AtStop();
    if (stops > kStopsAtOnce) Fail("time does not pass");
  }
}

int64_t World::NextStop(int64_t end_ns) const {
  int64_t next_ns = end_ns;
  const auto add = [&](int64_t ns) {
    if (ns > now_ns()) next_ns = std::min(next_ns, ns);
  };
  for (const auto& [number, item] : items_) {
    if (item.stage == Stage::kWaiting || item.stage == Stage::kUndecided) {
      add(item.from_ns - kMsNs);
      add(item.from_ns + number % kSleepMs * kMsNs);
      add(item.by_ns);
    }
    // A clock that is set back again and again would come there for ever.
    if (item.expire_ms != 0 && !loops_) {
      const int64_t expire_ns =
          now_ns() + (item.expire_ms - machine_.wall_ms) * kMsNs;
      add(expire_ns - kMsNs);
      add(expire_ns);
    }
    for (const Share& share : item.shares) {
      if (share.hold != Hold::kOut && share.hold != Hold::kBack) continue;
      add(share.from_ns - kMsNs);
      add(share.by_ns);
    }
  }
  return next_ns;
}

void World::MoveTo(int64_t ns) {
  // What came until here came at this time.
  Enter();
  const int64_t passed_ns = ns - now_ns();
  machine_.boot_ns = ns;
  wall_left_ns_ += passed_ns + passed_ns / 1'000'000 * drift_ppm_;
  machine_.wall_ms += wall_left_ns_ / kMsNs;
  wall_left_ns_ %= kMsNs;
  if (loops_) machine_.wall_ms -= std::min<int64_t>(1000, passed_ns / kMsNs);
  counts_.simulated_ms += passed_ns / kMsNs;
  NoticeTime();
}

void World::AtStop() {
  bool housekept = false;
  for (auto& process : living_) {
    if (!process->terms().housekeeps) continue;
    process->Housekeep();
    housekept = true;
  }
  Enter();
  CheckEntered(housekept);
  bool asks = false;
  std::array<bool, kGroups.size()> looks{};
  for (const auto& [number, item] : items_) {
    asks = asks || (item.stage == Stage::kUndecided && item.by_ns <= now_ns());
    for (size_t g = 0; g < kGroups.size(); ++g) {
      if (kGroups[g].queue != item.queue) continue;
      const Share& share = item.shares[kGroups[g].share];
      looks[g] = looks[g] || ((share.hold == Hold::kOut ||
                               share.hold == Hold::kBack) &&
                              share.by_ns <= now_ns());
    }
  }
  // At all other stops somebody may look too early.
  for (size_t g = 0; g < kGroups.size() && fine(); ++g) {
    if (!dice_.OneIn(looks[g] ? 2 : 16)) continue;
    Receive(*AnyProcess(), g, looks[g] ? SIZE_MAX : 1 + dice_.Below(8));
  }
  if (asks || dice_.OneIn(16)) RunChecks();
}

void World::Housekeep() {
  AnyProcess()->Housekeep();
  Note("housekeep");
}

void World::NoticeTime() {
  for (auto& [number, item] : items_) {
    if (item.expire_ms != 0 && item.expire_ms <= machine_.wall_ms) {
      item.expired = true;
    }
  }
  const int64_t settled_ms = machine_.wall_ms - retention_ms_;
  for (Partition& partition : partitions_[kBills]) {
    // What was stored before something that is old enough may go with it.
    for (uint64_t n = partition.next_offset; n > partition.kept_from; --n) {
      if (partition.stored_ms[n - 1] > settled_ms) continue;
      partition.kept_from = n;
      break;
    }
  }
}

void World::Jump() {
  ++counts_.jumps;
  Enter();  // What came is of the time before.
  constexpr std::array<int64_t, 3> kSteps = {1000, kHourMs, 10 * kYearMs};
  const uint64_t kind = dice_.Below(8);
  if (kind == 6) {
    drift_ppm_ = drift_ppm_ != 0 ? 0 : int64_t(dice_.Below(1000)) - 500;
  } else if (kind == 7) {
    loops_ = !loops_;
  } else {
    const bool back = kind % 2 == 0;
    int64_t step = kSteps[kind / 2] * (back ? -1 : 1);
    const int64_t off = machine_.wall_ms + step - kBeginMs;
    if (off > kFarthestMs || off < -kFarthestMs) step = -step;
    machine_.wall_ms += step;
  }
  Note("the wall clock is at ", machine_.wall_ms, ", drift ", drift_ppm_,
       loops_ ? ", set back again and again" : "");
  NoticeTime();
}

}  // namespace openmessaging::reference::clocks
