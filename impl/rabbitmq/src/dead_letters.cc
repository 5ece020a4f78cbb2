// SPDX-License-Identifier: Apache-2.0

#include "dead_letters.h"

#include <algorithm>
#include <utility>

#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"

namespace openmessaging::rabbitmq {
namespace {

using driver::Field;
using driver::MessageAccess;

// Tells of one message, and ends with that.
class OneDead final : public driver::SendCompletion {
 public:
  explicit OneDead(DeadLetterSender::OnSent on_sent)
      : on_sent_(std::move(on_sent)) {}

  void Sent(size_t, const SendResult&) override { Tell(absl::OkStatus()); }
  void Failed(size_t, absl::Status status) override { Tell(status); }

 private:
  void Tell(const absl::Status& status) {
    const DeadLetterSender::OnSent on_sent = std::move(on_sent_);
    delete this;
    on_sent(status);
  }

  DeadLetterSender::OnSent on_sent_;
};

}  // namespace

Message MakeDeadLetter(const Message& message, const GroupQueue& from,
                       std::string_view group, std::string_view reason) {
  // The group got it no more often than it was shown it.
  int32_t seen = message.delivery_count();
  if (reason == kDeadExpired) --seen;
  if (reason == kDeadMaxDeliveries) seen = std::min(seen, from.max_deliveries);
  KeyValue properties(message.properties());
  (void)properties.Put(kDeadQueue, message.destination());
  (void)properties.Put(kDeadGroup, group);
  (void)properties.Put(kDeadDeliveries, seen);
  (void)properties.Put(kDeadReason, reason);
  const std::string origin = message.origin_id().ToString();
  Message dead(message);
  dead.SetDestination(from.dead_letter_queue).SetProperties(properties);
  MessageAccess::SetField(dead, Field::kOriginId, origin);
  // They have been obeyed.
  MessageAccess::SetField(dead, Field::kExpireAt, {});
  MessageAccess::SetField(dead, Field::kDelay, {});
  return dead;
}

absl::Status DeadLetterSender::Open(TimePoint deadline) {
  if (absl::Status s = link_->Connect(deadline); !s.ok()) return s;
  Attach();
  return absl::OkStatus();
}

void DeadLetterSender::Attach() {
  const internal::MutexLock lock(mutex_);
  if (std::exchange(attached_, true)) return;
  (void)link_->Post(
      [link = link_.get(), channel = channel_] { link->Attach(channel); });
}

void DeadLetterSender::Send(const Message& dead, OnSent on_sent) {
  auto* const one = new OneDead(std::move(on_sent));
  channel_->Enqueue({&dead, 1}, dead.born_timestamp().count(), *one);
}

void DeadLetterSender::SendBack(const Message& message,
                                const std::string& queue,
                                std::chrono::milliseconds delay,
                                OnSent on_sent) {
  Attach();
  auto* const one = new OneDead(std::move(on_sent));
  channel_->EnqueueBack(message, queue, delay, *one);
}

}  // namespace openmessaging::rabbitmq
