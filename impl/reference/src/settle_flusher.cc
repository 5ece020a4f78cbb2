// SPDX-License-Identifier: Apache-2.0

#include "settle_flusher.h"

#include <unistd.h>

#include <utility>

#include "openmessaging/internal/thread_start.h"
#include "openmessaging/receipt.h"
#include "planted.h"

namespace openmessaging::reference {

void SettledBatch::Complete(const absl::Status& durable) {
  for (size_t i = 0; i < results.size(); ++i) {
    absl::Status& result = results[i];
    if (result.ok()) result = durable;
    if (result.ok()) {
      done->Settled(i, Receipt());
    } else {
      done->Failed(i, std::move(result));
    }
  }
}

void SettleFlusher::Add(SettledBatch batch) {
  const internal::MutexLock lock(mutex_);
  batches_.push_back(std::move(batch));
  if (thread_ == nullptr) {
    process_ = ::getpid();
    thread_ = std::make_unique<std::thread>(
        internal::StartThread([this] { Run(); }));
  }
  changed_.NotifyAll();
}

// In the child of a fork the mutex may be held by a thread that is not there.
void SettleFlusher::Stop() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (process_ != 0 && process_ != ::getpid()) {
    thread_.release();
    return;
  }
  std::unique_ptr<std::thread> thread;
  {
    const internal::MutexLock lock(mutex_);
    stopping_ = true;
    thread.swap(thread_);
    changed_.NotifyAll();
  }
  if (thread != nullptr) thread->join();
}

void SettleFlusher::Run() {
  while (true) {
    SettledBatch batch;
    {
      const internal::MutexLock lock(mutex_);
      while (batches_.empty()) {
        if (stopping_) return;
        changed_.Wait(mutex_);
      }
      batch = std::move(batches_.front());
      batches_.pop_front();
    }
    if (OMS_PLANTED(kAsyncAckNotAwaited)) batch.position = 0;
    // The first one flushes for all that are there by now.
    batch.Complete(log_->WaitDurable(batch.position, batch.deadline));
  }
}

}  // namespace openmessaging::reference
