// SPDX-License-Identifier: Apache-2.0

#include "housekeeper.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "bells.h"
#include "openmessaging/message_id.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"
#include "store.h"

namespace openmessaging::reference {
namespace {

using internal::MutexLock;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// How often an idle housekeeper looks around.
constexpr std::chrono::seconds kTick{1};
// How often it looks at what waits, at least, while something does.
constexpr nanoseconds kDelayLook{50'000'000};
// A look may take this part of the time at most, however many queues there are.
constexpr int kTickShare = 200;
// As a follower it looks up that often.
constexpr std::chrono::milliseconds kFlushPatience{100};
// Every sleep is bounded: whoever should wake us may be gone.
constexpr std::chrono::milliseconds kHousekeeperLook{10};

thread_local const Housekeeper* own_housekeeper = nullptr;

bool EndsLater(const Undurable& a, const Undurable& b) {
  return a.end > b.end;
}

absl::Status LeftUndurable() {
  return MakeStatus(Code::kFlushTimeout,
                    "close producer: the message is stored, but no flush ended "
                    "before the deadline");
}

}  // namespace

Housekeeper::Housekeeper(Store* store)
    : environment_(&store->environment()), store_(store) {}

bool Housekeeper::OnOwnThread() const { return own_housekeeper == this; }

void Housekeeper::Ring() {
  bell_.fetch_add(1);
  // It announced its sleep before the kernel compares the bell.
  if (asleep_.load()) environment_->waiting->WakeAll(bell_);
}

bool Housekeeper::Stopping() {
  const MutexLock lock(mutex_);
  return stopping_;
}

bool Housekeeper::EnsureThread() {
  if (stopping_) return false;
  if (started_) return true;
  // The application's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  self_ = shared_from_this();
  started_ = pthread_create(&thread_, nullptr, &RunThread, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started_) self_.reset();
  return started_;
}

void* Housekeeper::RunThread(void* housekeeper) {
  pthread_setname_np(pthread_self(), "oms-housekeeper");
  auto* const self = static_cast<Housekeeper*>(housekeeper);
  own_housekeeper = self;
  self->Run();
  // Stopped by one of its own completions: nobody joins.
  if (self->store_ == nullptr) const auto last = std::move(self->self_);
  return nullptr;
}

bool Housekeeper::Take(std::span<const Undurable> messages) {
  {
    const MutexLock lock(mutex_);
    if (!EnsureThread()) return false;
    for (const Undurable& message : messages) {
      waiting_.push_back(message);
      std::push_heap(waiting_.begin(), waiting_.end(), EndsLater);
    }
  }
  Ring();
  return true;
}

bool Housekeeper::Nudge() {
  if (nudged_.load(std::memory_order_relaxed) || nudged_.exchange(true)) {
    return true;
  }
  {
    const MutexLock lock(mutex_);
    if (!EnsureThread()) return false;
  }
  Ring();
  return true;
}

void Housekeeper::Run() {
  TimePoint next_tick = steady_clock::now() + kTick;
  while (!Stopping()) {
    const uint32_t seen = bell_.load();
    if (const uint64_t end = HighestEnd(nullptr); end != 0) {
      FlushTo(end);
      if (store_ == nullptr) return;
    }
    if (nudged_.exchange(false)) store_->log().WorkAhead();
    const nanoseconds until_due = WorkDelays();
    const TimePoint now = steady_clock::now();
    if (now >= next_tick) {
      const bool more = store_->LookAround();
      const TimePoint after = steady_clock::now();
      // What is left to do is bounded by what it gives back.
      next_tick = more ? after + kHousekeeperLook
                       : after + std::max<nanoseconds>(
                                     kTick, kTickShare * (after - now));
    }
    if (HighestEnd(nullptr) != 0) continue;
    asleep_.store(true);
    environment_->waiting->Wait(
        bell_, seen,
        std::min({nanoseconds(kTick), nanoseconds(next_tick - now),
                  until_due}));
    asleep_.store(false);
  }
}

nanoseconds Housekeeper::WorkDelays() {
  Delays& delays = store_->delays();
  if (delays.next_ns() == 0) return kTick;
  delays.Work(environment_->clock->BootNs());
  const int64_t next_ns = delays.next_ns();
  if (next_ns == 0) return kTick;
  // Others may send what is due earlier, and die before they can care.
  return std::clamp(nanoseconds(next_ns - environment_->clock->BootNs()),
                    nanoseconds(0), kDelayLook);
}

uint64_t Housekeeper::HighestEnd(const void* sender) {
  const MutexLock lock(mutex_);
  uint64_t highest = 0;
  for (const Undurable& message : waiting_) {
    if (sender == nullptr || message.sender == sender) {
      highest = std::max(highest, message.end);
    }
  }
  return highest;
}

bool Housekeeper::HasBelow(uint64_t position) {
  const MutexLock lock(mutex_);
  return !completing_.empty() ||
         (!waiting_.empty() && waiting_.front().end <= position);
}

bool Housekeeper::HasOf(const void* sender) {
  const MutexLock lock(mutex_);
  return std::find(completing_.begin(), completing_.end(), sender) !=
             completing_.end() ||
         std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const Undurable& message) {
                       return message.sender == sender;
                     });
}

void Housekeeper::FlushTo(uint64_t position) {
  const absl::Status status = store_->log().WaitDurable(
      position, steady_clock::now() + kFlushPatience);
  CompleteDurable();
  if (store_ == nullptr || status.ok() ||
      OmsCode(status) == Code::kFlushTimeout) {
    return;
  }
  FailTo(position, nullptr, status);
}

bool Housekeeper::Pop(uint64_t position, Undurable& message) {
  const MutexLock lock(mutex_);
  if (waiting_.empty() || waiting_.front().end > position) return false;
  std::pop_heap(waiting_.begin(), waiting_.end(), EndsLater);
  message = waiting_.back();
  waiting_.pop_back();
  completing_.push_back(message.sender);
  return true;
}

void Housekeeper::Complete(const Undurable& message,
                           const absl::Status& status) {
  // The sender's receivers first: a completion may take long.
  if (status.ok()) {
    RingBells(store_->control(), *environment_, store_->liveness(),
              *message.queue);
  }
  if (message.done == nullptr) {
    // A copy: its source tells.
  } else if (status.ok()) {
    SendResult result;
    result.message_id =
        MessageId(store_->uuid(), message.epoch, message.sequence);
    result.partition = static_cast<int32_t>(message.partition);
    result.offset = static_cast<int64_t>(message.offset);
    result.duplicate = message.duplicate;
    message.done->Sent(message.index, result);
  } else {
    message.done->Failed(message.index, status);
  }
  {
    const MutexLock lock(mutex_);
    completing_.erase(
        std::find(completing_.begin(), completing_.end(), message.sender));
  }
  completions_.fetch_add(1);
  if (waiters_.load() != 0) environment_->waiting->WakeAll(completions_);
}

void Housekeeper::CompleteDurable() {
  const uint64_t durable = store_->log().durable();
  Undurable message;
  while (store_ != nullptr && Pop(durable, message)) {
    Complete(message, absl::OkStatus());
  }
}

void Housekeeper::FailTo(uint64_t position, const void* sender,
                         const absl::Status& status) {
  std::vector<Undurable> left;
  {
    const MutexLock lock(mutex_);
    const auto kept = std::partition(
        waiting_.begin(), waiting_.end(), [&](const Undurable& message) {
          return message.end > position ||
                 (sender != nullptr && message.sender != sender);
        });
    left.assign(kept, waiting_.end());
    waiting_.erase(kept, waiting_.end());
    std::make_heap(waiting_.begin(), waiting_.end(), EndsLater);
    for (const Undurable& message : left) completing_.push_back(message.sender);
  }
  std::sort(left.begin(), left.end(),
            [](const Undurable& a, const Undurable& b) { return a.end < b.end; });
  for (const Undurable& message : left) Complete(message, status);
}

void Housekeeper::AwaitCompletion(uint32_t seen, TimePoint deadline) {
  waiters_.fetch_add(1);
  environment_->waiting->Wait(
      completions_, seen,
      std::min<nanoseconds>(kHousekeeperLook, deadline - steady_clock::now()));
  waiters_.fetch_sub(1);
}

absl::Status Housekeeper::WaitCompleted(uint64_t position, TimePoint deadline) {
  if (OnOwnThread()) {
    // Inside a completion nobody else can do it.
    CompleteDurable();
    return absl::OkStatus();
  }
  while (true) {
    const uint32_t seen = completions_.load();
    if (!HasBelow(position)) return absl::OkStatus();
    if (steady_clock::now() >= deadline) {
      return MakeStatus(Code::kTimeout,
                        "flush: earlier sends had not completed at the "
                        "deadline");
    }
    AwaitCompletion(seen, deadline);
  }
}

void Housekeeper::Finish(const void* sender, TimePoint deadline) {
  if (OnOwnThread()) {
    if (const uint64_t end = HighestEnd(sender); end != 0) {
      store_->log().WaitDurable(end, deadline).IgnoreError();
      CompleteDurable();
      FailTo(UINT64_MAX, sender, LeftUndurable());
    }
    return;
  }
  while (true) {
    const uint32_t seen = completions_.load();
    if (!HasOf(sender)) return;
    if (steady_clock::now() >= deadline) {
      FailTo(UINT64_MAX, sender, LeftUndurable());
      // What is being completed at this moment does not take long.
      deadline = TimePoint::max();
      continue;
    }
    AwaitCompletion(seen, deadline);
  }
}

void Housekeeper::Stop(TimePoint deadline) {
  pthread_t thread{};
  bool started = false;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    started = std::exchange(started_, false);
    thread = thread_;
  }
  Ring();
  if (started && OnOwnThread()) {
    pthread_detach(thread);
  } else if (started) {
    // At most one flush or one segment away.
    pthread_join(thread, nullptr);
    self_.reset();
  }
  if (const uint64_t end = HighestEnd(nullptr); end != 0) {
    const absl::Status status = store_->log().WaitDurable(end, deadline);
    CompleteDurable();
    FailTo(UINT64_MAX, nullptr, status.ok() ? LeftUndurable() : status);
  }
  if (OnOwnThread()) store_ = nullptr;
}

}  // namespace openmessaging::reference
