// SPDX-License-Identifier: Apache-2.0
//
// How a bound queue moves messages to its dead-letter queue: it sends them, and
// acknowledges each once the broker has it there. Who dies in between leaves
// both.

#include <utility>

#include "bound_queue.h"
#include "broker_error.h"
#include "delay_line.h"
#include "openmessaging/dead_letter.h"

namespace openmessaging::rabbitmq {

// --- any thread, under the inbox's lock ---

void BoundQueue::Show(uint64_t tag, const Message& message) {
  tags_.Show(tag);
  if (HasDeadLetters() || group_queue_.delays) shown_.Show(tag, message);
}

bool BoundQueue::IsWornOut(const Message& message) const {
  return HasDeadLetters() && group_queue_.max_deliveries > 0 &&
         message.delivery_count() > group_queue_.max_deliveries;
}

void BoundQueue::Expire(uint64_t tag, const Message& message) {
  // It dies for one group, the first, which has the queue's own.
  if (!HasDeadLetters() || group_queue_.name != name_) {
    Return(tag, /*requeue=*/false);
    return;
  }
  Bury(tag, message, kDeadExpired, nullptr, 0);
}

void BoundQueue::WearOut(uint64_t tag, const Message& message) {
  Bury(tag, message, kDeadMaxDeliveries, nullptr, 0);
}

absl::Status BoundQueue::Reject(uint64_t tag, driver::SettleCompletion& done,
                                size_t index) {
  const Message* const shown = shown_.Find(tag);
  if (!HasDeadLetters() || shown == nullptr) {
    return MakeStatus(Code::kUnsupported, "reject: queue \"",
                      std::string_view(name_), "\" has no dead-letter queue");
  }
  Bury(tag, *shown, kDeadRejected, &done, index);
  Forget(tag, tag);
  return absl::OkStatus();
}

absl::Status BoundQueue::ReturnLater(uint64_t tag,
                                     std::chrono::milliseconds delay,
                                     driver::SettleCompletion& done,
                                     size_t index) {
  const Message* const shown = shown_.Find(tag);
  if (!group_queue_.delays || shown == nullptr) {
    return MakeStatus(Code::kUnsupported, "nack: queue \"",
                      std::string_view(name_),
                      "\" was not made for delays; expected a nack without");
  }
  if (delay > kMaxDelay) {
    return MakeStatus(Code::kBadParameter, "nack: the delay is ", delay.count(),
                      " ms; expected at most ", kMaxDelay.count(),
                      " (max_delay)");
  }
  tags_.Leave(tag);
  dying_.push_back({source_, tag, *shown, &done, index, delay});
  Forget(tag, tag);
  return absl::OkStatus();
}

void BoundQueue::Forget(uint64_t first, uint64_t last) {
  shown_.Forget(first, last);
}

void BoundQueue::Bury(uint64_t tag, const Message& message,
                      std::string_view reason, driver::SettleCompletion* done,
                      size_t index) {
  tags_.Hold(tag);
  dying_.push_back(
      {source_, tag,
       MakeDeadLetter(message, group_queue_, inbox_->options.group, reason),
       done, index});
}

// --- the link's thread ---

void BoundQueue::SendDying() {
  std::vector<Dying> dying;
  {
    const internal::MutexLock lock(inbox_->mutex);
    dying.swap(dying_);
  }
  const auto self = shared_from_this();
  for (Dying& one : dying) {
    ++burying_;
    const Message dead = one.dead;  // Shares its bytes.
    const std::chrono::milliseconds delay = one.delay;
    auto sent = [self, one = std::move(one)](const absl::Status& status) {
      if (self->link_->Post(
              [self, one, status] { self->Buried(one, status); })) {
        return;
      }
      if (one.done == nullptr) return;
      one.done->Failed(
          one.index,
          MakeStatus(Code::kClosed, "settle: the connection is closed"));
    };
    if (delay.count() > 0) {
      dead_letters_->SendBack(dead, broker_name_, delay, std::move(sent));
    } else {
      dead_letters_->Send(dead, std::move(sent));
    }
  }
}

void BoundQueue::Buried(const Dying& one, const absl::Status& status) {
  --burying_;
  absl::Status told;
  {
    const internal::MutexLock lock(inbox_->mutex);
    if (source_ != one.source) {
      told = MakeStatus(Code::kReceiptExpired, "settle \"",
                        std::string_view(name_),
                        "\": the channel was lost, the broker delivers it "
                        "again");
    } else if (status.ok()) {
      if (one.delay.count() > 0) {
        tags_.Return(one.tag);
        returned_.push_back({one.tag, Giving::kMoved});
      } else {
        tags_.Acknowledge(one.tag);
      }
      if (one.done != nullptr) waiters_.push_back({one.done, one.index});
    } else if (one.done != nullptr) {
      told = About("settle", name_, status);
      Return(one.tag, /*requeue=*/true);
    } else {
      // It is nobody's any more: tried again until it can be moved.
      unburied_.push_back(one);
    }
  }
  if (!told.ok() && one.done != nullptr) one.done->Failed(one.index, told);
  Flush();
  if (burying_ == 0 && when_buried_) std::exchange(when_buried_, nullptr)();
}

void BoundQueue::OnTick() {
  if (std::exchange(reopens_, false)) link_->Reopen(*this);
  {
    const internal::MutexLock lock(inbox_->mutex);
    if (unburied_.empty()) return;
    for (Dying& one : unburied_) dying_.push_back(std::move(one));
    unburied_.clear();
  }
  Flush();
}

}  // namespace openmessaging::rabbitmq
