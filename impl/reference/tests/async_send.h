// SPDX-License-Identifier: Apache-2.0
//
// Sends that nobody waits for, and what becomes of them.

#ifndef OPENMESSAGING_REFERENCE_TESTS_ASYNC_SEND_H_
#define OPENMESSAGING_REFERENCE_TESTS_ASYNC_SEND_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"

namespace openmessaging::reference::testing {

// How one message ended.
struct Ending {
  size_t number = 0;  // Which of all that were sent here.
  absl::Status status{};
  SendResult result{};
  std::thread::id thread{};
};

// Sends one by one without waiting, and writes down how each message ended, in
// the order in which they did.
//
// Threads: every method may be called from any thread at any time.
class AsyncSends {
 public:
  void Send(driver::Producer& producer, const Message& message) {
    One* one = nullptr;
    {
      const internal::MutexLock lock(mutex_);
      one = new One(this, count_++);
    }
    driver::CallContext context;
    context.caller_waits = false;
    producer.Send({&message, 1}, context, *one);
  }

  // Returns: how many have ended; waits for `count` of them.
  size_t Await(size_t count,
               std::chrono::seconds patience = std::chrono::seconds(20)) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    const internal::MutexLock lock(mutex_);
    while (endings_.size() < count && changed_.WaitUntil(mutex_, deadline)) {
    }
    return endings_.size();
  }
  std::vector<Ending> endings() {
    const internal::MutexLock lock(mutex_);
    return endings_;
  }
  // Called inside each completion.
  void set_hook(std::function<void(const Ending&)> hook) {
    hook_ = std::move(hook);
  }

 private:
  struct One final : driver::SendCompletion {
    One(AsyncSends* all_in, size_t number_in) : all(all_in), number(number_in) {}
    void Sent(size_t /*index*/, const SendResult& result) override {
      End({number, absl::OkStatus(), result, std::this_thread::get_id()});
    }
    void Failed(size_t /*index*/, absl::Status status) override {
      End({number, std::move(status), {}, std::this_thread::get_id()});
    }
    // A second completion is a use after free, which the sanitizers see.
    void End(const Ending& ending) {
      all->Add(ending);
      delete this;
    }

    AsyncSends* const all;
    const size_t number;
  };

  void Add(const Ending& ending) {
    if (hook_) hook_(ending);
    const internal::MutexLock lock(mutex_);
    endings_.push_back(ending);
    changed_.NotifyAll();
  }

  std::function<void(const Ending&)> hook_;
  internal::Mutex mutex_;
  internal::Condition changed_;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Ending> endings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference::testing
#endif  // OPENMESSAGING_REFERENCE_TESTS_ASYNC_SEND_H_
