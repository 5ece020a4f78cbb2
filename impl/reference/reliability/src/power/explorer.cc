// SPDX-License-Identifier: Apache-2.0

#include "power/explorer.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "openmessaging/internal/text.h"
#include "power/disk.h"
#include "power/session.h"

namespace openmessaging::reference::power {
namespace {

// At a place before a flush each sector is left out and put in alone.
constexpr size_t kMostTargets = 40;
// The state's number behind a flush that was none.
constexpr size_t kLie = 1'000'000;
// Of so many states one recovery is cut as well.
constexpr std::array<uint64_t, kDepth> kRecoveryOneIn = {60, 30, 20};
constexpr std::array<uint64_t, kDepth> kRecoveryBudget = {24, 10, 5};

// The states of a place in this order: nothing, everything, all but each
// target, each target alone, then by chance.
struct Plan {
  size_t targets = 0;

  Shape ShapeOf(size_t state, Dice& dice, size_t& target) const {
    if (state == 0) return Shape::kNothing;
    if (state == 1) return Shape::kEverything;
    state -= 2;
    target = state;
    if (state < targets) return Shape::kAllBut;
    target = state - targets;
    if (target < targets) return Shape::kOnly;
    target = SIZE_MAX;
    switch (dice.Below(5)) {
      case 0:
        return Shape::kFiles;
      case 1:
        return Shape::kPages;
      default:
        return Shape::kSectors;
    }
  }
};

bool IsFlush(Change change) {
  return change == Change::kFlush || change == Change::kFlushDirectory;
}

std::vector<size_t> AcknowledgedPlaces(const Model& model) {
  std::vector<size_t> all;
  const auto add = [&](size_t place) {
    if (place != kNever) all.push_back(place);
  };
  for (const QueueFact& fact : model.queues) add(fact.made.ended);
  for (const RouteFact& fact : model.routes) add(fact.made.ended);
  for (const MessageFact& fact : model.messages) {
    add(fact.sent.ended);
    add(fact.committed.ended);
    add(fact.rolled_back.ended);
    add(fact.cancelled.ended);
  }
  for (const SettleFact& fact : model.settled) add(fact.durable);
  for (const auto& [place, to] : model.durable) add(place);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

std::string Finding::Name() const {
  std::string name = internal::Concat(seed, '/', workload);
  for (const auto& [cut, state] : path) {
    name += internal::Concat('/', cut, ':', state);
  }
  return name;
}

void Explorer::Add(const Path& path, std::string what) {
  findings_.push_back({seed_, workload_, path, std::move(what)});
}

void Explorer::Explore(uint64_t number, uint64_t budget) {
  workload_ = number;
  ++counts_.recordings;
  const uint64_t seed = Mix(seed_, number);
  const auto recording = Record(static_cast<Theme>(number % kThemes), seed);
  if (!recording->failure.empty()) {
    Add({}, "with no power lost: " + recording->failure);
    return;
  }
  if (only_ != nullptr) std::puts(Tell(recording->model).c_str());
  acknowledged_ = AcknowledgedPlaces(recording->model);
  Job job;
  job.model = &recording->model;
  job.trace = &recording->trace;
  job.seed = seed;
  job.budget = budget;
  // Each workload's bytes are its own.
  judged_.clear();
  Walk(job);
  WalkLies(job);
}

void Explorer::Replay(uint64_t number, const Path& path) {
  only_ = &path;
  Explore(number, 1);
  only_ = nullptr;
}

size_t Explorer::StatesAt(const Job& job, size_t at, const Cut& cut) const {
  const auto& events = job.trace->events;
  const size_t targets = cut.Targets();
  const bool full =
      at == events.size() || IsFlush(events[at].change) ||
      std::binary_search(acknowledged_.begin(), acknowledged_.end(), at);
  // So that all of them come to the budget.
  Dice dice(Mix(job.seed, at));
  const uint64_t share = job.budget * 16 / (events.size() + 1);
  const uint64_t random = share / 16 + (dice.Below(16) < share % 16 ? 1 : 0);
  size_t states = 2 + 2 * std::min(targets, kMostTargets);
  if (!full) return random == 0 ? 0 : states + random;
  return states + 2 * random + 2;
}

void Explorer::Walk(const Job& job) {
  Cut cut = job.begin != nullptr ? Cut(*job.begin) : Cut();
  const auto& events = job.trace->events;
  for (size_t at = 0; at <= events.size(); ++at) {
    if (at > 0) cut.Apply(events[at - 1]);
    if (only_ != nullptr) {
      const auto& [place, state] = (*only_)[job.path.size()];
      if (place == at && state != kLie) {
        TryState(job, cut, at, state);
      }
      continue;
    }
    const size_t states = StatesAt(job, at, cut);
    if (states == 0) continue;
    ++counts_.cuts;
    const size_t targets = 2 * std::min(cut.Targets(), kMostTargets);
    const bool full = at == events.size() || IsFlush(events[at].change);
    Dice dice(Mix(job.seed, at + 1));
    for (size_t state = 0; state < states; ++state) {
      // Each target where the most is at stake, some elsewhere.
      const bool target = state >= 2 && state < 2 + targets;
      if (target && !full && !dice.OneIn(16)) continue;
      if (job.depth > 0 && target && !dice.OneIn(8)) continue;
      TryState(job, cut, at, state);
      if (findings_.size() >= 3) return;
    }
  }
}

void Explorer::TryState(const Job& job, const Cut& cut, size_t at,
                        size_t state) {
  const uint64_t seed = Mix(job.seed, Mix(at, state));
  Dice dice(seed);
  size_t target = SIZE_MAX;
  const Plan plan{std::min(cut.Targets(), kMostTargets)};
  const Shape shape = plan.ShapeOf(state, dice, target);
  // Where there are more targets than that, some of them.
  if (target != SIZE_MAX && cut.Targets() > kMostTargets) {
    target = dice.Below(cut.Targets());
  }
  const Image image = cut.Choose(shape, target, dice);
  const size_t model_cut = job.cut == kNever ? at : job.cut;
  Path path = job.path;
  path.push_back({at, state});
  if (only_ != nullptr && only_->size() > path.size()) {
    return CutRecovery(job, image, model_cut, path, seed);
  }
  const auto known =
      std::upper_bound(acknowledged_.begin(), acknowledged_.end(), model_cut) -
      acknowledged_.begin();
  if (!judged_.insert(Mix(image.hash, static_cast<uint64_t>(known))).second) {
    return;
  }
  ++counts_.judged;
  if (seen_.insert(image.hash).second) {
    ++counts_.distinct[static_cast<size_t>(job.depth)];
  }
  std::string what = Judge(*job.model, image, {model_cut, seed, false});
  if (!what.empty()) return Add(path, std::move(what));
  if (only_ == nullptr && job.depth < kDepth &&
      dice.OneIn(kRecoveryOneIn[static_cast<size_t>(job.depth)])) {
    CutRecovery(job, image, model_cut, path, seed);
  }
}

void Explorer::CutRecovery(const Job& job, const Image& image, size_t cut,
                           const Path& path, uint64_t seed) {
  Trace trace;
  {
    Disk disk(image, &trace);
    SimulatedMachine machine(Mix(seed, 0xec0));
    machine.wall_ms = job.model->WallAt(cut);
    machine.Boot();
    const WatchWords watch(&disk);
    const auto session = Session::Open(disk, machine, job.model->options);
    disk.Look(true);
    if (!session.ok()) return;  // Judged already.
  }
  Job next;
  next.model = job.model;
  next.trace = &trace;
  next.begin = &image;
  next.cut = cut;
  next.seed = Mix(seed, 0x3ec);
  next.budget =
      job.depth < kDepth ? kRecoveryBudget[static_cast<size_t>(job.depth)] : 1;
  next.depth = job.depth + 1;
  next.path = path;
  Walk(next);
}

void Explorer::WalkLies(const Job& job) {
  // One flush of each in so many, up to the next of the same file.
  const auto& events = job.trace->events;
  Dice dice(Mix(job.seed, 0x11e5));
  std::vector<size_t> flushes;
  for (size_t at = 0; at < events.size(); ++at) {
    if (IsFlush(events[at].change)) flushes.push_back(at);
  }
  if (flushes.empty()) return;
  const size_t lie = flushes[dice.Below(flushes.size())];
  Cut cut;
  for (size_t at = 0; at < events.size(); ++at) {
    cut.Apply(events[at], at == lie);
    if (at < lie || !dice.OneIn(1 + events.size() / 48)) continue;
    const uint64_t seed = Mix(job.seed, Mix(lie, at));
    Dice mine(seed);
    const Image image = cut.Choose(
        mine.OneIn(2) ? Shape::kNothing : Shape::kSectors, SIZE_MAX, mine);
    if (only_ != nullptr && only_->front() != Path::value_type{at, kLie}) {
      continue;
    }
    ++counts_.lies;
    std::string what = Judge(*job.model, image, {at + 1, seed, true});
    if (!what.empty()) {
      Add({{at, kLie}}, internal::Concat("behind a flush that was a lie, at ", lie,
                                      ": ", std::string_view(what)));
    }
  }
}

}  // namespace openmessaging::reference::power
