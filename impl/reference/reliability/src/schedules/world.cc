// SPDX-License-Identifier: Apache-2.0

#include "schedules/world.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "env/shared.h"
#include "schedules/memory.h"
#include "schedules/word_names.h"

namespace openmessaging::reference {

thread_local void (*shared_word_hook)(const void* word, size_t bytes,
                                      SharedOperation operation) = nullptr;

namespace schedules {

World* World::running_ = nullptr;

namespace {

void OnSharedWord(const void* word, size_t bytes, SharedOperation operation) {
  World::Get().Point(static_cast<Operation>(operation), word, bytes);
}

}  // namespace

std::string TextOf(const Schedule& schedule) {
  std::string text;
  for (const Decision& decision : schedule) {
    if (!text.empty()) text += '.';
    text += std::to_string(decision.event) + (decision.kill ? 'x' : '>') +
            std::to_string(uint32_t{decision.process});
  }
  return text;
}

Schedule ScheduleOf(std::string_view text) {
  Schedule schedule;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    uint32_t event = 0;
    uint32_t process = 0;
    at = std::from_chars(at, end, event).ptr;
    if (at == end) break;
    const bool kill = *at++ == 'x';
    at = std::from_chars(at, end, process).ptr;
    schedule.push_back({event, static_cast<uint8_t>(process), kill});
    if (at < end) ++at;
  }
  return schedule;
}

World::World(uint32_t processes, const std::function<Scenario*()>& make)
    : processes_(processes), fresh_(NewLocalVariables()), make_(make) {
  running_ = this;
  Memory::Get();  // Not for the first time within the world.
  for (uint32_t n = 0; n < kMaxProcesses; ++n) {
    all_[n].world = this;
    all_[n].number = n;
  }
  current_ = processes_;
  keeper_.Start(&RunKeeper, this, fresh_);
  keeper_.Resume();
  if (failed_) {
    std::fprintf(stderr, "schedules: cannot begin: %s\n", failure());
    std::abort();
  }
  kept_local_ = keeper_.local();
  kept_ns_ = now_ns_;
  Memory::Get().Keep();
}

void World::RunProcess(void* process) {
  auto& self = *static_cast<Process*>(process);
  shared_word_hook = &OnSharedWord;
  self.world->scenario_->Run(self.number);
  self.state = State::kDone;
  self.world->Leave();
}

// The first time it sets up, later it checks.
void World::RunKeeper(void* world) {
  auto& self = *static_cast<World*>(world);
  if (self.scenario_ == nullptr) {
    self.scenario_ = self.make_();
    self.scenario_->SetUp();
  } else {
    self.scenario_->Check();
  }
  self.keeper_.Leave();
}

void World::Run(const Schedule& schedule, const Dice* dice) {
  Memory::Get().Restore();
  now_ns_ = kept_ns_;
  event_count_ = 0;
  schedule_ = &schedule;
  next_decision_ = 0;
  dice_ = dice;
  next_change_ = 0;
  lowest_ = 0;
  if (dice != nullptr) priority_ = dice->priority;
  taken_.clear();
  killed_ = 0;
  failed_ = false;
  for (uint32_t n = 0; n < processes_; ++n) {
    all_[n].state = State::kRunnable;
    all_[n].fiber.Start(&RunProcess, &all_[n], fresh_);
  }
  current_ = processes_;
  exploring_ = true;
  while (Choose()) {
    // Until it cannot go on, or another one shall.
    while (true) {
      const uint32_t was = current_;
      all_[was].fiber.Resume();
      if (current_ == was) break;
    }
  }
  exploring_ = false;
  current_ = processes_;
  if (!failed_) {
    keeper_.Start(&RunKeeper, this, kept_local_);
    keeper_.Resume();
  }
}

void World::Leave() { all_[current_].fiber.Leave(); }

uint8_t World::Mask(State state) const {
  uint8_t mask = 0;
  for (uint32_t n = 0; n < processes_; ++n) {
    if (all_[n].state == state) mask = static_cast<uint8_t>(mask | 1u << n);
  }
  return mask;
}

Event& World::Record(Operation operation, const void* word) {
  Event& event = events_[event_count_++];
  event = {word,
           0,
           operation,
           static_cast<uint8_t>(current_),
           Mask(State::kRunnable),
           0};
  return event;
}

const Decision* World::DecisionHere() {
  const uint32_t here = event_count_ - 1;
  while (next_decision_ < schedule_->size() &&
         (*schedule_)[next_decision_].event < here) {
    ++next_decision_;
  }
  if (next_decision_ == schedule_->size()) return nullptr;
  const Decision& decision = (*schedule_)[next_decision_];
  return decision.event == here ? &decision : nullptr;
}

uint32_t World::HighestOf(uint8_t mask) const {
  uint32_t best = processes_;
  for (uint32_t n = 0; n < processes_; ++n) {
    if ((mask >> n & 1) == 0) continue;
    if (best == processes_ || priority_[n] > priority_[best]) best = n;
  }
  return best;
}

bool World::WakeByTime() {
  int64_t first_ns = INT64_MAX;
  for (uint32_t n = 0; n < processes_; ++n) {
    if (all_[n].state == State::kSleeping) {
      first_ns = std::min(first_ns, all_[n].wake_ns);
    }
  }
  if (first_ns == INT64_MAX) return false;
  now_ns_ = std::max(now_ns_, first_ns);
  // All whose time is over, so that they meet.
  for (uint32_t n = 0; n < processes_; ++n) {
    Process& process = all_[n];
    if (process.state != State::kSleeping || process.wake_ns > now_ns_) {
      continue;
    }
    process.state = State::kRunnable;
    if (tracing_) {
      std::fprintf(stderr, "        nobody else can run: %u wakes by itself\n",
                   n);
    }
    if (scenario_->MayOversleep(n, process.word)) continue;
    char text[120];
    std::snprintf(text, sizeof(text),
                  "process %u slept until its time was over: nobody woke it",
                  n);
    Fail(text);
  }
  return true;
}

bool World::Choose() {
  if (failed_) return false;
  if (event_count_ == kMaxEvents) {
    Fail("the schedule does not end");
    return false;
  }
  if (Mask(State::kRunnable) == 0 && !WakeByTime()) return false;
  if (failed_) return false;
  Event& event = Record(Operation::kChoice, nullptr);
  const auto first = static_cast<uint32_t>(std::countr_zero(event.runnable));
  uint32_t chosen = first;
  if (dice_ != nullptr) {
    chosen = HighestOf(event.runnable);
  } else if (const Decision* const decision = DecisionHere();
             decision != nullptr &&
             (event.runnable >> decision->process & 1) != 0) {
    chosen = decision->process;
  }
  if (chosen != first) {
    taken_.push_back({event_count_ - 1, static_cast<uint8_t>(chosen), false});
  }
  if (tracing_) Trace(event, 0);
  event.chosen = static_cast<uint8_t>(chosen);
  current_ = chosen;
  return true;
}

void World::Kill() {
  if (tracing_) std::fprintf(stderr, "        %u dies\n", current_);
  all_[current_].state = State::kDead;
  killed_ = static_cast<uint8_t>(killed_ | 1u << current_);
  const bool on = Memory::on();
  Memory::set_on(true);
  scenario_->OnDeath(current_);
  Memory::set_on(on);
}

void World::Point(Operation operation, const void* word, size_t bytes) {
  if (!exploring_) return;
  Memory::set_on(false);
  if (event_count_ == kMaxEvents) {
    Leave();  // For ever: Choose says why.
  }
  Event& event = Record(operation, word);
  if (bytes > 0) std::memcpy(&event.value, word, std::min<size_t>(bytes, 8));
  if (tracing_) Trace(event, bytes);
  uint32_t next = current_;
  bool kill = false;
  if (dice_ != nullptr) {
    const uint32_t here = event_count_ - 1;
    while (next_change_ < dice_->changes.size() &&
           dice_->changes[next_change_] <= here) {
      ++next_change_;
      priority_[current_] = --lowest_;
    }
    kill =
        here >= dice_->kill_at && killed_ == 0 && scenario_->MayDie(current_);
    next = HighestOf(event.runnable);
  } else if (const Decision* const decision = DecisionHere()) {
    kill = decision->kill;
    if ((event.runnable >> decision->process & 1) != 0) {
      next = decision->process;
    }
  }
  if (kill) {
    Kill();
    // Who goes on is part of this decision.
    const uint8_t left = Mask(State::kRunnable);
    if (dice_ != nullptr && left != 0) next = HighestOf(left);
    if ((left >> next & 1) == 0) {
      next =
          left == 0 ? current_ : static_cast<uint32_t>(std::countr_zero(left));
    }
  }
  if (kill || next != current_) {
    taken_.push_back({event_count_ - 1, static_cast<uint8_t>(next), kill});
    const uint32_t self = current_;
    current_ = next;
    // Where nobody can go on, current_ stays and Choose looks.
    all_[self].fiber.Leave();
  }
  Memory::set_on(true);
}

void World::Wait(const std::atomic<uint32_t>& word, uint32_t expected,
                 std::chrono::nanoseconds timeout) {
  if (timeout.count() <= 0) return;
  Point(Operation::kSleep, &word, sizeof(word));
  if (word.load(std::memory_order_relaxed) != expected) return;
  if (!exploring_) {
    now_ns_ += timeout.count();
    return;
  }
  Process& self = all_[current_];
  self.word = &word;
  self.wake_ns = now_ns_ + timeout.count();
  self.state = State::kSleeping;
  Leave();
}

void World::WakeAll(const std::atomic<uint32_t>& word) {
  Point(Operation::kWake, &word, sizeof(word));
  for (uint32_t n = 0; n < processes_; ++n) {
    if (all_[n].state == State::kSleeping && all_[n].word == &word) {
      all_[n].state = State::kRunnable;
    }
  }
}

void World::Sleep(int64_t ns) {
  if (!exploring_) {
    now_ns_ += ns;
    return;
  }
  Process& self = all_[current_];
  self.word = nullptr;
  self.wake_ns = now_ns_ + ns;
  self.state = State::kSleeping;
  Leave();
}

void World::Advance(int64_t ns) {
  Point(Operation::kStore, &now_ns_, sizeof(now_ns_));
  now_ns_ += ns;
}

void World::Fail(std::string_view what) {
  if (failed_) return;
  failed_ = true;
  const size_t size = std::min(what.size(), failure_.size() - 1);
  std::memcpy(failure_.data(), what.data(), size);
  failure_[size] = 0;
}

void World::Trace(const Event& event, size_t bytes) const {
  static constexpr const char* kNames[] = {
      "load",     "store", "update",   "sleep", "wake",  "ask lock",
      "set lock", "look",  "set file", "flush", "choose"};
  std::fprintf(
      stderr, "%6u  %u %-8s %s", event_count_ - 1, unsigned{event.process},
      kNames[static_cast<size_t>(event.operation)],
      event.word == clock() ? "clock" : NameOfWord(event.word).c_str());
  if (bytes > 0) {
    std::fprintf(stderr, " = %#llx",
                 static_cast<unsigned long long>(event.value));
  }
  std::fputc('\n', stderr);
}

}  // namespace schedules
}  // namespace openmessaging::reference
