// SPDX-License-Identifier: Apache-2.0
//
// One thread that does, in order, what nobody may wait for.

#ifndef OPENMESSAGING_KAFKA_WORKER_H_
#define OPENMESSAGING_KAFKA_WORKER_H_

#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "openmessaging/internal/mutex.h"

namespace openmessaging::kafka {

// Threads: Post from any thread. The thread starts with the first task.
class Worker {
 public:
  Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { Stop(); }

  void Post(std::function<void()> task) {
    const internal::MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
    changed_.NotifyAll();
  }

  // Returns once all tasks are done. No Post may come meanwhile.
  void Stop() {
    {
      const internal::MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
      if (!thread_.joinable()) return;
    }
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> task;
      {
        const internal::MutexLock lock(mutex_);
        while (tasks_.empty() && !stopping_) changed_.Wait(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  internal::Mutex mutex_;
  internal::Condition changed_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Started under mutex_.
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_WORKER_H_
