// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/io_thread.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace openmessaging::inline v0::kit {
namespace {

using Clock = std::chrono::steady_clock;

// How long nobody may watch the socket once a helper has left: who helps again
// and again wakes the thread once in such a time only.
constexpr std::chrono::milliseconds kGrace{100};
// How long somebody who asked for something is taken to wait for it.
constexpr std::chrono::milliseconds kAsked{20};

int MakeBell() {
  const int bell = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  // No more descriptors: nothing can be done, and nobody could be told.
  if (bell < 0) std::abort();
  return bell;
}

void Ring(int bell) {
  const uint64_t one = 1;
  // It fails only where the bell rings already.
  [[maybe_unused]] const ssize_t written = ::write(bell, &one, sizeof(one));
}

// Sleeps until `bell` rings, `socket` has input, or `until`. Returns: whether
// it was the socket. A negative one is skipped.
bool WaitFor(int bell, int socket, IoThread::TimePoint until) {
  std::array<pollfd, 2> watched = {pollfd{bell, POLLIN, 0},
                                   pollfd{socket, POLLIN, 0}};
  timespec wait{};
  timespec* limit = nullptr;
  if (until != IoThread::TimePoint::max()) {
    const auto left = std::max(until - Clock::now(), Clock::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    wait.tv_sec = static_cast<time_t>(seconds.count());
    wait.tv_nsec = static_cast<long>(  // NOLINT(google-runtime-int)
        std::chrono::nanoseconds(left - seconds).count());
    limit = &wait;
  }
  ::ppoll(watched.data(), watched.size(), limit, nullptr);
  if ((watched[0].revents & POLLIN) != 0) {
    uint64_t rung = 0;
    [[maybe_unused]] const ssize_t got = ::read(bell, &rung, sizeof(rung));
  }
  return watched[1].revents != 0;
}

}  // namespace

IoThread::IoThread(Work& work)
    : work_(work), bell_(MakeBell()), helper_bell_(MakeBell()) {
  // The thread begins with a lock, so that it knows its id.
  const internal::MutexLock lock(mutex_);
  thread_ = std::thread([this] { Run(); });
  id_ = thread_.get_id();
}

IoThread::~IoThread() {
  Stop();
  ::close(bell_);
  ::close(helper_bell_);
}

bool IoThread::Post(Task task) {
  bool ring = false;
  {
    const internal::MutexLock lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
    asked_at_ = Clock::now();
    ring = std::exchange(asleep_, false);
  }
  if (ring) Ring(bell_);
  return true;
}

void IoThread::Stop() {
  {
    const internal::MutexLock lock(mutex_);
    stopped_ = true;
    asleep_ = false;
  }
  Ring(bell_);
  Ring(helper_bell_);
  if (thread_.joinable()) thread_.join();
}

// --- the turn ---

bool IoThread::TryTakeTurn() {
  const internal::MutexLock lock(mutex_);
  if (taken_ || stopped_ || !tasks_.empty()) return false;
  taken_ = true;
  return true;
}

bool IoThread::TakeTurn(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  ++wanted_;
  while (taken_ && turn_given_.WaitUntil(mutex_, deadline)) {
  }
  --wanted_;
  return !std::exchange(taken_, true);
}

void IoThread::GiveTurn() {
  const internal::MutexLock lock(mutex_);
  taken_ = false;
  if (wanted_ > 0) turn_given_.NotifyAll();
}

// --- the thread ---

void IoThread::Run() {
  bool ready = true;
  while (true) {
    TakeTurn(TimePoint::max());
    const bool runs = RunTasks();
    const int socket = work_.Socket();
    const TimePoint until = runs ? work_.Turn(ready) : TimePoint();
    const bool other = work_.Socket() != socket;
    GiveTurn();
    if (!runs) return;
    if (other) Wake();
    ready = Sleep(until);
  }
}

bool IoThread::RunTasks() {
  std::deque<Task> tasks;
  bool stopped = false;
  {
    const internal::MutexLock lock(mutex_);
    tasks.swap(tasks_);
    stopped = stopped_;
  }
  for (Task& task : tasks) std::exchange(task, nullptr)();
  return !stopped;
}

bool IoThread::Watches(TimePoint now, TimePoint& until) {
  const bool helped = helper_ != std::thread::id();
  const TimePoint back = helped_at_ + kGrace;
  deep_ = helped && now >= back;
  if (!helped && (now >= back || now < asked_at_ + kAsked)) return true;
  if (!deep_) until = std::min(until, std::max(now, back));
  return false;
}

bool IoThread::Sleep(TimePoint until) {
  while (true) {
    TimePoint wake = until;
    bool watches = false;
    {
      const internal::MutexLock lock(mutex_);
      // Tasks that never end must not keep it from reading.
      const bool helped = helper_ != std::thread::id();
      if (!tasks_.empty() || stopped_) return !helped;
      if (std::exchange(left_input_, false)) return true;
      const TimePoint now = Clock::now();
      if (now >= until) return true;
      watches = watching_ = Watches(now, wake);
      asleep_ = true;
    }
    const bool input = WaitFor(bell_, watches ? work_.Socket() : -1, wake);
    const internal::MutexLock lock(mutex_);
    asleep_ = false;
    if (!tasks_.empty() || stopped_) return input;
    if (input && helper_ == std::thread::id()) return true;
  }
}

// --- the helper ---

void IoThread::Wake() {
  {
    const internal::MutexLock lock(mutex_);
    if (helper_ == std::thread::id() || helper_ == std::this_thread::get_id()) {
      return;
    }
  }
  Ring(helper_bell_);
}

bool IoThread::BeginHelp() {
  if (IsHere()) return false;
  const internal::MutexLock lock(mutex_);
  if (stopped_) return false;
  if (helper_ != std::thread::id()) {
    // For the caller too, once the helper has left.
    asked_at_ = Clock::now();
    return false;
  }
  helper_ = std::this_thread::get_id();
  helped_at_ = Clock::now();
  has_input_ = std::exchange(left_input_, false);
  return true;
}

bool IoThread::Help(TimePoint deadline) {
  if (Clock::now() >= deadline) return false;
  if (!has_input_ && !WaitFor(helper_bell_, work_.Socket(), deadline)) {
    const internal::MutexLock lock(mutex_);
    return !stopped_;
  }
  if (!TakeTurn(deadline)) return false;
  has_input_ = work_.Turn(true) == TimePoint();
  GiveTurn();
  return true;
}

void IoThread::EndHelp() {
  bool ring = false;
  {
    const internal::MutexLock lock(mutex_);
    helper_ = std::thread::id();
    helped_at_ = Clock::now();
    left_input_ = has_input_;
    const bool asked = helped_at_ < asked_at_ + kAsked;
    ring = asleep_ && (left_input_ || (!watching_ && (asked || deep_)));
    if (ring) asleep_ = false;
  }
  if (ring) Ring(bell_);
}

}  // namespace openmessaging::inline v0::kit
