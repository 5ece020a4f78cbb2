// SPDX-License-Identifier: Apache-2.0

#include "bells.h"

#include <unistd.h>

#include <algorithm>
#include <bit>

#include "planted.h"

namespace openmessaging::reference {
namespace {

// A bell that was rung so often without an answer may have a dead owner.
constexpr uint32_t kUnanswered = 32;
constexpr std::chrono::milliseconds kSleepWithoutBell{1};

void RingOne(const Environment& environment, Bell& bell) {
  if (!OMS_PLANTED(kBellUnchanged)) bell.rings.FetchAdd(1);
  if (OMS_PLANTED(kSleeperNotWoken)) return;
  environment.waiting->WakeAll(bell.rings.word());
}

}  // namespace

void RingBells(const Control& control, const Environment& environment,
               const Liveness& liveness, QueueState& queue) {
  for (uint32_t word = 0; word < kBellWords; ++word) {
    uint64_t bits = queue.sleepers[word].LoadSequential();
    if (OMS_PLANTED(kOneSleeperRung)) bits &= 0 - bits;
    while (bits != 0) {
      const uint32_t index =
          word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      bits &= bits - 1;
      Bell& bell = control.bell(index);
      const uint32_t unanswered = bell.rings.Load() - bell.answered.Load();
      if (unanswered % kUnanswered == kUnanswered - 1 &&
          !liveness.IsAlive(Owner::FromWord(bell.owner.Load()))) {
        queue.sleepers[word].FetchAnd(~(uint64_t{1} << index % 64));
        continue;
      }
      RingOne(environment, bell);
    }
  }
}

Sleeper::~Sleeper() {
  const int32_t index = bell_.load();
  if (index < 0) return;
  // Not what another process took over meanwhile, and in the child of a fork
  // not what is its parent's.
  const Owner self = liveness_->self();
  if (control_->slots()[self.slot()].pid.Load() !=
      static_cast<uint32_t>(getpid())) {
    return;
  }
  uint32_t mine = self.word();
  control_->bell(static_cast<uint32_t>(index)).owner.CompareExchange(mine, 0);
}

bool Sleeper::Claim() {
  if (bell_.load() >= 0) return true;
  const uint32_t count =
      std::min(control_->header().options.bells, kMaxBells);
  const uint32_t mine = liveness_->self().word();
  for (uint32_t n = 0; n < count; ++n) {
    Bell& bell = control_->bell(n);
    uint32_t owner = bell.owner.Load();
    if (owner != 0 && liveness_->IsAlive(Owner::FromWord(owner))) continue;
    if (!bell.owner.CompareExchange(owner, mine)) continue;
    bell_.store(static_cast<int32_t>(n));
    return true;
  }
  return false;
}

void Sleeper::Prepare(const std::vector<QueueState*>& queues) {
  if (!Claim()) return;
  const auto index = static_cast<uint32_t>(bell_.load());
  seen_ = control_->bell(index).rings.Load();
  for (QueueState* const queue : queues) {
    if (OMS_PLANTED(kSleepUnannounced)) continue;
    queue->sleepers[index / 64].FetchOr(uint64_t{1} << index % 64);
  }
}

void Sleeper::Sleep(std::chrono::nanoseconds limit) {
  const int32_t index = bell_.load();
  if (index < 0) {
    // A word that nobody rings; it only passes the time.
    static const std::atomic<uint32_t> silent{0};
    environment_->waiting->Wait(
        silent, 0,
        std::min<std::chrono::nanoseconds>(limit, kSleepWithoutBell));
    return;
  }
  Bell& bell = control_->bell(static_cast<uint32_t>(index));
  environment_->waiting->Wait(bell.rings.word(), seen_, limit);
}

void Sleeper::Leave(const std::vector<QueueState*>& queues) {
  const int32_t index = bell_.load();
  if (index < 0) return;
  const auto bit = uint64_t{1} << index % 64;
  for (QueueState* const queue : queues) {
    queue->sleepers[static_cast<uint32_t>(index) / 64].FetchAnd(~bit);
  }
  Bell& bell = control_->bell(static_cast<uint32_t>(index));
  bell.answered.Store(bell.rings.Load());
}

void Sleeper::Ring() {
  const int32_t index = bell_.load();
  if (index >= 0) {
    RingOne(*environment_, control_->bell(static_cast<uint32_t>(index)));
  }
}

}  // namespace openmessaging::reference
