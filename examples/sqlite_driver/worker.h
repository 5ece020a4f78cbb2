// SPDX-License-Identifier: Apache-2.0
//
// Worker does what nobody may wait for: SQLite blocks, and Send and Settle must
// not where no caller waits. Every call goes this way, so that they keep their
// order; what has gathered meanwhile becomes one transaction, which is what
// costs.

#ifndef WORKER_H_
#define WORKER_H_

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "broker.h"
#include "database.h"

namespace sqlite {

class Job {
 public:
  virtual ~Job() = default;
  virtual void Run(Broker& broker) = 0;  // In a transaction.
  // After it, with no lock held. `outcome`: of the transaction.
  virtual void Finish(const absl::Status& outcome) = 0;
};

// Does `run` with each of a batch, and tells how it went when that is certain.
template <typename Item, typename Result>
class BatchJob final : public Job {
 public:
  using Outcome = absl::StatusOr<Result>;
  using RunOne = std::function<Outcome(Broker&, const Item&)>;
  using TellOne = std::function<void(size_t, const Outcome&)>;

  BatchJob(std::span<const Item> batch, RunOne run, TellOne tell)
      : batch_(batch.begin(), batch.end()),
        run_(std::move(run)),
        tell_(std::move(tell)) {}

  void Run(Broker& broker) override {
    for (const Item& item : batch_) results_.push_back(run_(broker, item));
  }
  void Finish(const absl::Status& outcome) override {
    for (size_t i = 0; i < batch_.size(); ++i) {
      tell_(i, outcome.ok() ? results_[i] : Outcome(outcome));
    }
  }

 private:
  const std::vector<Item> batch_;
  const RunOne run_;
  const TellOne tell_;
  std::vector<Outcome> results_;
};

// A thread and the jobs that it has yet to do.
//
// Threads: every method from any thread; Close once.
class Worker {
 public:
  explicit Worker(std::shared_ptr<Database> database)
      : database_(std::move(database)), thread_([this] { Loop(); }) {}
  ~Worker() { Close(Clock::now()).IgnoreError(); }

  void Post(std::unique_ptr<Job> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    change_.notify_all();
  }

  // Waits for all jobs.
  absl::Status Flush(TimePoint deadline) {
    std::unique_lock lock(mutex_);
    if (change_.wait_until(lock, deadline,
                           [this] { return jobs_.empty() && !busy_; })) {
      return absl::OkStatus();
    }
    return oms::MakeStatus(oms::Code::kTimeout, "flush: not done in time");
  }

  // Does what it can until `deadline` and refuses the rest.
  absl::Status Close(TimePoint deadline) {
    absl::Status flushed = Flush(deadline);
    std::deque<std::unique_ptr<Job>> left;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      left.swap(jobs_);
      change_.notify_all();
    }
    for (const auto& job : left) {
      job->Finish(
          oms::MakeStatus(oms::Code::kClosed, "close: not done in time"));
    }
    if (thread_.joinable()) thread_.join();
    return flushed;
  }

 private:
  // How long other processes may hold the database.
  static constexpr std::chrono::seconds kPatience{3};
  static constexpr size_t kMaxJobs = 256;

  void Loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      change_.wait(lock, [this] { return closed_ || !jobs_.empty(); });
      if (closed_) return;
      const auto end = jobs_.begin() + static_cast<std::ptrdiff_t>(
                                           std::min(jobs_.size(), kMaxJobs));
      const std::vector<std::unique_ptr<Job>> jobs(
          std::move_iterator(jobs_.begin()), std::move_iterator(end));
      jobs_.erase(jobs_.begin(), end);
      busy_ = true;
      lock.unlock();
      const absl::Status outcome =
          database_->Transact(Clock::now() + kPatience, [&] {
            Broker broker(*database_);
            for (const auto& job : jobs) job->Run(broker);
            return absl::OkStatus();
          });
      for (const auto& job : jobs) job->Finish(outcome);
      lock.lock();
      busy_ = false;
      change_.notify_all();
    }
  }

  const std::shared_ptr<Database> database_;
  std::mutex mutex_;
  std::condition_variable change_;
  std::deque<std::unique_ptr<Job>> jobs_;
  bool busy_ = false;
  bool closed_ = false;
  std::thread thread_;  // The last, for it uses the others.
};

}  // namespace sqlite
#endif  // WORKER_H_
