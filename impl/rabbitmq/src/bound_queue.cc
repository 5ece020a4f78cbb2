// SPDX-License-Identifier: Apache-2.0

#include "bound_queue.h"

#include <amqp_framing.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "broker_error.h"
#include "delay_line.h"
#include "message_mapping.h"
#include "openmessaging/internal/text.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

using Clock = std::chrono::steady_clock;

// A channel sends a quorum queue 32 commands and keeps the rest until they are
// carried out; when it is closed it throws the rest away.
constexpr size_t kSureAcks = 16;
constexpr std::chrono::milliseconds kDrain{300};
constexpr size_t kMostDrainMs = 2000;

// The consumer of a member; others are numbers.
constexpr std::string_view kMemberTag = "member";

// The queue of a group's members goes so long after the last of them.
constexpr int32_t kMembersExpireMs = 60000;

}  // namespace

BoundQueue::BoundQueue(std::shared_ptr<Link> link, std::shared_ptr<Inbox> inbox,
                       std::shared_ptr<DeadLetterSender> dead_letters,
                       std::string name, GroupQueue group_queue)
    : link_(std::move(link)),
      inbox_(std::move(inbox)),
      dead_letters_(std::move(dead_letters)),
      name_(std::move(name)),
      group_queue_(std::move(group_queue)) {}

// --- any thread ---

absl::Status BoundQueue::AwaitOpen(TimePoint deadline) {
  const internal::MutexLock lock(inbox_->mutex);
  const uint64_t errors = errors_;
  while (source_ == 0 && errors_ == errors && failure_.ok()) {
    if (!inbox_->changed.WaitUntil(inbox_->mutex, deadline)) break;
  }
  if (source_ != 0) return absl::OkStatus();
  if (!failure_.ok()) return failure_;
  if (errors_ != errors) return last_error_;
  return MakeStatus(Code::kTimeout, "bind \"", std::string_view(name_),
                    "\": no answer in time");
}

void BoundQueue::Return(uint64_t tag, bool requeue) {
  tags_.Return(tag);
  Forget(tag, tag);
  returned_.push_back({tag, requeue ? Giving::kRequeue : Giving::kDrop});
}

void BoundQueue::Complete(driver::SettleCompletion& done, size_t index) {
  waiters_.push_back({&done, index});
}

// --- receiving ---

void BoundQueue::OnOpen() {
  if (inbox_->options.broadcast) {
    MakeOwn();
  } else {
    Join();
  }
}

// Whoever asks with basic.get is no consumer, and a consumer of one message is
// one only now and then: who shares the queue is told by another one.
void BoundQueue::Join() {
  const std::string members = MembersQueueName(broker_name_);
  link_->Call(
      *this,
      [&members](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_table_entry_t expires{};
        expires.key = amqp_cstring_bytes("x-expires");
        expires.value.kind = AMQP_FIELD_KIND_I32;
        expires.value.value.i32 = kMembersExpireMs;
        amqp_queue_declare_t declare{};
        declare.queue = ToBytes(members);
        // Nothing is ever in it, and one that outlived its node could not be
        // made anew on another.
        declare.durable = 0;
        declare.arguments = {1, &expires};
        return amqp_send_method(connection, id, AMQP_QUEUE_DECLARE_METHOD,
                                &declare);
      },
      nullptr);
  link_->Call(
      *this,
      [this, &members](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_basic_consume_t consume{};
        consume.queue = ToBytes(members);
        consume.consumer_tag = ToBytes(kMemberTag);
        consume.exclusive = inbox_->options.exclusive ? 1 : 0;
        return amqp_send_method(connection, id, AMQP_BASIC_CONSUME_METHOD,
                                &consume);
      },
      [self = shared_from_this()](const absl::StatusOr<Reply>& reply) {
        if (!reply.ok()) return;  // It is told that it is down, too.
        self->joined_ = true;
        self->Begin();
      });
}

// The queue has carried it out when it answers. A channel that is closed before
// never tells.
void BoundQueue::Leave(std::function<void()> done) {
  link_->Call(
      *this,
      [](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_basic_cancel_t cancel{};
        cancel.consumer_tag = ToBytes(kMemberTag);
        return amqp_send_method(connection, id, AMQP_BASIC_CANCEL_METHOD,
                                &cancel);
      },
      [done = std::move(done)](const absl::StatusOr<Reply>&) { done(); });
}

// A member's own queue ends with the connection, so each one makes it again.
void BoundQueue::MakeOwn() {
  link_->Call(
      *this,
      [this](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_queue_declare_t declare{};
        declare.queue = ToBytes(broker_name_);
        declare.exclusive = 1;
        return amqp_send_method(connection, id, AMQP_QUEUE_DECLARE_METHOD,
                                &declare);
      },
      nullptr);
  link_->Call(
      *this,
      [this](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_queue_bind_t bind{};
        bind.queue = ToBytes(broker_name_);
        bind.exchange = ToBytes(kExchange);
        bind.routing_key = ToBytes(name_);
        return amqp_send_method(connection, id, AMQP_QUEUE_BIND_METHOD, &bind);
      },
      nullptr);
  if (group_queue_.delays) {
    BindDelayed(DelayedBinding(DelayedTo::kAll, name_));
    BindDelayed(DelayedBinding(DelayedTo::kQueue, broker_name_));
  }
  // The last answer is the answer to all.
  amqp_basic_qos_t qos{};
  qos.prefetch_count = 1;
  link_->Call(
      *this,
      [&qos](amqp_connection_state_t connection, amqp_channel_t id) {
        return amqp_send_method(connection, id, AMQP_BASIC_QOS_METHOD, &qos);
      },
      [self = shared_from_this()](const absl::StatusOr<Reply>& reply) {
        if (reply.ok()) self->Begin();
      });
}

void BoundQueue::BindDelayed(const std::string& key) {
  link_->Call(
      *this,
      [&](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_queue_bind_t bind{};
        bind.queue = ToBytes(broker_name_);
        bind.exchange = ToBytes(kDelayedExchange);
        bind.routing_key = ToBytes(key);
        return amqp_send_method(connection, id, AMQP_QUEUE_BIND_METHOD, &bind);
      },
      nullptr);
}

void BoundQueue::DeleteOwn() {
  link_->Call(
      *this,
      [this](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_queue_delete_t remove{};
        remove.queue = ToBytes(broker_name_);
        return amqp_send_method(connection, id, AMQP_QUEUE_DELETE_METHOD,
                                &remove);
      },
      [](const absl::StatusOr<Reply>&) {});
}

void BoundQueue::Begin() {
  consuming_ = false;
  unsure_acks_ = 0;
  bool wait = false;
  bool stream = false;
  {
    const internal::MutexLock lock(inbox_->mutex);
    source_ = ++*inbox_->last_source;
    tags_.Reset();
    inbox_->sources[source_] = shared_from_this();
    wait = inbox_->waiting;
    stream = inbox_->streaming;
    inbox_->Tell();
  }
  streams_ = false;
  if (stream) {
    Stream();
  } else if (wait) {
    Wait();
  }
}

void BoundQueue::OnDown(const absl::Status& why, bool refused) {
  // What the broker closed for a reason that another attempt would meet too.
  const Code code = OmsCode(why);
  // What is left of a connection that broke may still be a member. A queue whose
  // node is down comes back with it.
  const bool later =
      refused && ((joined_ && code == Code::kConsumerExists) ||
                  code == Code::kUnavailable);
  const bool for_good = later     ? false
                        : refused ? code != Code::kIllegalState
                                  : code == Code::kUnauthorized ||
                                        code == Code::kForbidden ||
                                        code == Code::kClosed;
  Lose(why, for_good);
  if (for_good) {
    link_->Detach(*this);
  } else if (later) {
    reopens_ = true;
  } else if (refused) {
    link_->Reopen(*this);
  }
}

void BoundQueue::Lose(const absl::Status& why, bool for_good) {
  consuming_ = streams_ = false;
  std::vector<Waiter> waiters;
  uint64_t lost = 0;
  {
    const internal::MutexLock lock(inbox_->mutex);
    lost = std::exchange(source_, 0);
    inbox_->sources.erase(lost);
    std::erase_if(inbox_->ready,
                  [&](const auto& one) { return one.source == lost; });
    waiters.swap(waiters_);
    returned_.clear();
    for (const Dying& one : dying_) {
      if (one.done != nullptr) waiters.push_back({one.done, one.index});
    }
    dying_.clear();
    unburied_.clear();
    shown_.Clear();
    last_error_ = About("receive from", name_, why);
    ++errors_;
    if (for_good) failure_ = last_error_;
    inbox_->Tell();
  }
  if (lost != 0 && inbox_->events != nullptr) inbox_->events->Lost({&lost, 1});
  for (const Waiter& waiter : waiters) {
    waiter.done->Failed(
        waiter.index,
        MakeStatus(Code::kReceiptExpired, "settle \"", std::string_view(name_),
                   "\": the channel was lost, the broker delivers it again"));
  }
}

void BoundQueue::Look(size_t count, std::function<void()> done) {
  if (!link_->IsOpen(*this) || streams_) return done();
  auto left = std::make_shared<size_t>(count);
  for (size_t i = 0; i < count; ++i) {
    link_->Call(
        *this,
        [this](amqp_connection_state_t connection, amqp_channel_t id) {
          amqp_basic_get_t get{};
          get.queue = ToBytes(broker_name_);
          return amqp_send_method(connection, id, AMQP_BASIC_GET_METHOD, &get);
        },
        [left, done](const absl::StatusOr<Reply>&) {
          if (--*left == 0) done();
        });
  }
}

void BoundQueue::Wait() {
  if (consuming_ || streams_ || shutting_ || !link_->IsOpen(*this)) return;
  Consume(1);
}

void BoundQueue::Unwait() {
  if (streams_ || !consuming_) return;
  {
    const internal::MutexLock lock(inbox_->mutex);
    ++inbox_->ending;
  }
  Cancel([inbox = inbox_](const absl::StatusOr<Reply>&) {
    const internal::MutexLock lock(inbox->mutex);
    --inbox->ending;
    inbox->Tell();
  });
}

void BoundQueue::Stream() {
  if (streams_ || shutting_ || !link_->IsOpen(*this)) return;
  if (consuming_) Cancel(nullptr);
  streams_ = true;
  Consume(static_cast<uint16_t>(
      std::clamp<size_t>(inbox_->options.prefetch_messages, 1,
                         std::numeric_limits<uint16_t>::max())));
}

void BoundQueue::Consume(uint16_t prefetch) {
  consuming_ = true;
  ++consumer_number_;
  amqp_basic_qos_t qos{};
  qos.prefetch_count = prefetch;
  link_->Call(
      *this,
      [&qos](amqp_connection_state_t connection, amqp_channel_t id) {
        return amqp_send_method(connection, id, AMQP_BASIC_QOS_METHOD, &qos);
      },
      nullptr);
  const std::string tag = std::to_string(consumer_number_);
  link_->Call(
      *this,
      [this, &tag](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_basic_consume_t consume{};
        consume.queue = ToBytes(broker_name_);
        consume.consumer_tag = ToBytes(tag);
        return amqp_send_method(connection, id, AMQP_BASIC_CONSUME_METHOD,
                                &consume);
      },
      nullptr);
}

void BoundQueue::Cancel(OnReply on_reply) {
  consuming_ = false;
  const std::string tag = std::to_string(consumer_number_);
  link_->Call(
      *this,
      [&tag](amqp_connection_state_t connection, amqp_channel_t id) {
        amqp_basic_cancel_t cancel{};
        cancel.consumer_tag = ToBytes(tag);
        return amqp_send_method(connection, id, AMQP_BASIC_CANCEL_METHOD,
                                &cancel);
      },
      std::move(on_reply));
}

void BoundQueue::OnDelivery(const amqp_basic_deliver_t& method,
                            const Content& content) {
  // Before anything is settled, which would let the next one come.
  if (!streams_ && consuming_) Cancel(nullptr);
  Take(method.delivery_tag, method.redelivered != 0, content);
}

void BoundQueue::OnGot(const amqp_basic_get_ok_t& method,
                       const Content& content) {
  Take(method.delivery_tag, method.redelivered != 0, content);
}

void BoundQueue::Take(uint64_t tag, bool redelivered, const Content& content) {
  Message message = ReadMessage(name_, content, redelivered);
  const internal::MutexLock lock(inbox_->mutex);
  tags_.Add(tag);
  inbox_->ready.push_back(
      {std::move(message), shared_from_this(), source_, tag});
  inbox_->Tell();
}

void BoundQueue::OnCancel(std::string_view consumer_tag) {
  if (consumer_tag == kMemberTag) {
    link_->Renew(*this, MakeStatus(Code::kUnavailable,
                                   "the queue of its members was deleted"));
    return;
  }
  Lose(MakeStatus(Code::kQueueNotFound, "the broker ended the consumer"), true);
  link_->Close(*this, nullptr);
}

// --- settling ---

void BoundQueue::Flush() {
  SendDying();
  std::vector<Waiter> waiters;
  std::vector<Returned> returned;
  std::vector<TagTable::Ack> acks;
  size_t settled = 0;
  {
    const internal::MutexLock lock(inbox_->mutex);
    waiters.swap(waiters_);
    returned.swap(returned_);
    settled = returned.size() + tags_.untold();
    acks = tags_.TakeAcks();
  }
  bool written = link_->IsOpen(*this);
  for (const Returned& one : returned) {
    written =
        written && link_->Send(*this, [&one](amqp_connection_state_t connection,
                                             amqp_channel_t id) {
          return one.giving == Giving::kMoved
                     ? amqp_basic_ack(connection, id, one.tag, /*multiple=*/0)
                     : amqp_basic_reject(connection, id, one.tag,
                                         one.giving == Giving::kRequeue);
        });
  }
  for (const TagTable::Ack& ack : acks) {
    written =
        written && link_->Send(*this, [&ack](amqp_connection_state_t connection,
                                             amqp_channel_t id) {
          return amqp_basic_ack(connection, id, ack.tag, ack.multiple);
        });
  }
  const TimePoint now = Clock::now();
  if (now - settled_at_ > kDrain) unsure_acks_ = 0;
  // What came by basic.get has a consumer each, so that one acknowledgement of
  // many is as many commands.
  unsure_acks_ += settled;
  if (settled > 0) settled_at_ = now;
  for (const Waiter& waiter : waiters) {
    if (written) {
      waiter.done->Settled(waiter.index, Receipt());
    } else {
      waiter.done->Failed(
          waiter.index,
          MakeStatus(Code::kReceiptExpired, "settle \"",
                     std::string_view(name_),
                     "\": the channel was lost, the broker delivers it again"));
    }
  }
}

// There is no call that a queue answers when it has carried out what came
// before: beginning and ending a consumer, too, overtakes what the channel
// keeps. Asking the channel again and again gives it time.
void BoundQueue::Drain(TimePoint until, std::function<void()> done) {
  if (Clock::now() >= until || !link_->IsOpen(*this)) return done();
  amqp_basic_qos_t qos{};
  qos.prefetch_count = 1;
  link_->Call(
      *this,
      [&qos](amqp_connection_state_t connection, amqp_channel_t id) {
        return amqp_send_method(connection, id, AMQP_BASIC_QOS_METHOD, &qos);
      },
      [self = shared_from_this(), until,
       done = std::move(done)](const absl::StatusOr<Reply>& reply) {
        self->Drain(reply.ok() ? until : TimePoint(), done);
      });
}

void BoundQueue::Shut(std::function<void()> done) {
  shutting_ = true;
  Flush();
  const auto self = shared_from_this();
  if (burying_ > 0) {
    when_buried_ = [self, done = std::move(done)] { self->Shut(done); };
    return;
  }
  const auto close = [self, done = std::move(done)] {
    const auto end = [self, done] {
      self->link_->Close(*self, [self, done](const absl::StatusOr<Reply>&) {
        self->Lose(MakeStatus(Code::kClosed, "it was unbound"), true);
        done();
      });
    };
    if (!self->inbox_->options.broadcast) return self->Leave(end);
    self->DeleteOwn();
    end();
  };
  TimePoint until{};
  if (unsure_acks_ > kSureAcks) {
    until = settled_at_ + kDrain +
            std::chrono::milliseconds(std::min(unsure_acks_, kMostDrainMs));
  }
  if (!consuming_ || !link_->IsOpen(*this)) return Drain(until, close);
  // Ending a consumer waits for the queue, and for all that was sent before.
  Cancel([self, until, close](const absl::StatusOr<Reply>&) {
    self->Drain(until, close);
  });
}

}  // namespace openmessaging::rabbitmq
