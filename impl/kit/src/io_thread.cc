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

int MakeBell() {
  const int bell = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  // No more descriptors: nothing can be done, and nobody could be told.
  if (bell < 0) std::abort();
  return bell;
}

}  // namespace

IoThread::IoThread(Work& work) : work_(work), bell_(MakeBell()) {
  // The thread begins with a lock, so that it knows its id.
  const internal::MutexLock lock(mutex_);
  thread_ = std::thread([this] { Run(); });
  id_ = thread_.get_id();
}

IoThread::~IoThread() {
  Stop();
  ::close(bell_);
}

bool IoThread::Post(Task task) {
  bool ring = false;
  {
    const internal::MutexLock lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
    ring = std::exchange(asleep_, false);
  }
  if (ring) Ring();
  return true;
}

void IoThread::Stop() {
  {
    const internal::MutexLock lock(mutex_);
    stopped_ = true;
    asleep_ = false;
  }
  Ring();
  if (thread_.joinable()) thread_.join();
}

void IoThread::Ring() const {
  const uint64_t one = 1;
  // It fails only where the bell rings already.
  [[maybe_unused]] const ssize_t written = ::write(bell_, &one, sizeof(one));
}

void IoThread::Run() {
  while (RunTasks()) Sleep(work_.Turn());
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

void IoThread::Sleep(TimePoint until) {
  {
    const internal::MutexLock lock(mutex_);
    if (!tasks_.empty() || stopped_) return;
    asleep_ = true;
  }
  std::array<pollfd, 2> watched = {pollfd{bell_, POLLIN, 0},
                                   pollfd{work_.Socket(), POLLIN, 0}};
  timespec wait{};
  timespec* limit = nullptr;
  if (until != TimePoint::max()) {
    const auto left = std::max(until - std::chrono::steady_clock::now(),
                               std::chrono::steady_clock::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    wait.tv_sec = static_cast<time_t>(seconds.count());
    wait.tv_nsec = static_cast<long>(  // NOLINT(google-runtime-int)
        std::chrono::nanoseconds(left - seconds).count());
    limit = &wait;
  }
  // A negative descriptor is skipped.
  ::ppoll(watched.data(), watched.size(), limit, nullptr);
  if ((watched[0].revents & POLLIN) != 0) {
    uint64_t rung = 0;
    [[maybe_unused]] const ssize_t got = ::read(bell_, &rung, sizeof(rung));
  }
  const internal::MutexLock lock(mutex_);
  asleep_ = false;
}

}  // namespace openmessaging::inline v0::kit
