// SPDX-License-Identifier: Apache-2.0
//
// BoundQueue is the channel on which a consumer receives from one queue and
// settles what came.

#ifndef OPENMESSAGING_RABBITMQ_BOUND_QUEUE_H_
#define OPENMESSAGING_RABBITMQ_BOUND_QUEUE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "catalog.h"
#include "channel.h"
#include "dead_letters.h"
#include "inbox.h"
#include "link.h"
#include "openmessaging/driver/consumer.h"
#include "shown_messages.h"
#include "tag_table.h"

namespace openmessaging::rabbitmq {

// Messages come in one of two ways. Streaming: basic.consume with the whole
// prefetch, for listeners. On demand: basic.get for what one Receive asks for,
// and, where there is nothing, a consumer of one message that ends with it; so
// nothing lies in a process that does not ask for it, and nothing is counted as
// delivered that nobody saw.
//
// Threads: what says "any thread" from any, under the inbox's lock where it
// says so; the rest on the link's.
// Invariants:
//   (1) a source is one opening of the channel, and its tags are in tags_;
//   (2) what was returned is written before what was acknowledged, so that
//       an acknowledgement of many covers nothing else.
class BoundQueue final : public Channel,
                         public std::enable_shared_from_this<BoundQueue> {
 public:
  // `name`: OpenMessaging's; `group_queue`: what it is at the broker.
  BoundQueue(std::shared_ptr<Link> link, std::shared_ptr<Inbox> inbox,
             std::shared_ptr<DeadLetterSender> dead_letters, std::string name,
             GroupQueue group_queue);

  // --- any thread ---
  const std::string& name() const { return name_; }
  // Waits until it is open. Errors: why it is not; 1410.
  absl::Status AwaitOpen(TimePoint deadline);

  // The rest by who holds the inbox's lock, which the compiler cannot see
  // through another pointer to it.
  // Returns: why nothing comes from it any more; OK while it may.
  absl::Status failure() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return failure_;
  }
  TagTable& tags() ABSL_NO_THREAD_SAFETY_ANALYSIS { return tags_; }
  // Notes that the application has it.
  void Show(uint64_t tag,
            const Message& message) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // Whether the group got it as often as the queue lets it.
  bool IsWornOut(const Message& message) const;
  // Notes one that is a dead letter now. `done`: of who rejected it.
  void WearOut(uint64_t tag,
               const Message& message) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  void Expire(uint64_t tag,
              const Message& message) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  absl::Status Reject(uint64_t tag, driver::SettleCompletion& done,
                      size_t index) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // Notes one that is to come again after `delay`.
  absl::Status ReturnLater(uint64_t tag, std::chrono::milliseconds delay,
                           driver::SettleCompletion& done,
                           size_t index) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // Forgets what is settled of those that the application had.
  void Forget(uint64_t first, uint64_t last) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // Notes one that is to be given back, or dropped where `requeue` is false.
  void Return(uint64_t tag, bool requeue) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // Tells `done` once what was noted before is written.
  void Complete(driver::SettleCompletion& done,
                size_t index) ABSL_NO_THREAD_SAFETY_ANALYSIS;

  // --- the link's thread ---
  // Asks for up to `count` messages; calls `done` when all answers are there.
  void Look(size_t count, std::function<void()> done);
  // Begins to wait for one message; Unwait ends it.
  void Wait();
  void Unwait();
  // Lets messages come by themselves.
  void Stream();
  // Writes what was noted.
  void Flush();
  // Gives everything back and closes; the source is reported lost before
  // `done` is called.
  void Shut(std::function<void()> done);

  void OnOpen() override;
  void OnDown(const absl::Status& why, bool refused) override;
  void OnDelivery(const amqp_basic_deliver_t& method,
                  const Content& content) override;
  void OnGot(const amqp_basic_get_ok_t& method,
             const Content& content) override;
  void OnCancel(std::string_view consumer_tag) override;
  void OnTick() override;

 private:
  // kMoved: it is somewhere else, too, and goes here.
  enum class Giving : uint8_t { kRequeue, kDrop, kMoved };
  struct Returned {
    uint64_t tag = 0;
    Giving giving = Giving::kRequeue;
  };
  struct Waiter {
    driver::SettleCompletion* done = nullptr;
    size_t index = 0;
  };
  // On its way to the dead letters; or to a later time, where there is a delay.
  // `done` is null where nobody waits.
  struct Dying {
    uint64_t source = 0;
    uint64_t tag = 0;
    Message dead{};
    driver::SettleCompletion* done = nullptr;
    size_t index = 0;
    std::chrono::milliseconds delay{0};
  };

  // Makes, or removes, the queue of a broadcast member.
  void MakeOwn();
  void BindDelayed(const std::string& key);
  void DeleteOwn();
  // Becomes a member of the group: alone, or beside others.
  void Join();
  void Leave(std::function<void()> done);
  // The queue is there: a new source begins.
  void Begin();
  void Take(uint64_t tag, bool redelivered, const Content& content);
  void Consume(uint16_t prefetch);
  void Cancel(OnReply on_reply);
  // Waits until the broker has sent its queue what it keeps of settlements.
  void Drain(TimePoint until, std::function<void()> done);
  void Lose(const absl::Status& why, bool for_good);

  // burial.cc
  bool HasDeadLetters() const {
    return !group_queue_.dead_letter_queue.empty();
  }
  void Bury(uint64_t tag, const Message& message, std::string_view reason,
            driver::SettleCompletion* done,
            size_t index) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  void SendDying();
  void Buried(const Dying& one, const absl::Status& status);

  // Constant after construction.
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<Inbox> inbox_;
  const std::shared_ptr<DeadLetterSender> dead_letters_;
  const std::string name_;
  const GroupQueue group_queue_;
  const std::string& broker_name_ = group_queue_.name;

  // The link's thread.
  bool consuming_ = false;
  bool streams_ = false;
  bool shutting_ = false;
  // Dead letters that are sent and not confirmed; what is to be done then.
  size_t burying_ = 0;
  std::function<void()> when_buried_;
  bool joined_ = false;   // Once at least.
  bool reopens_ = false;  // At the next tick.
  uint64_t consumer_number_ = 0;
  // What was settled lately, and when the last of it was written.
  size_t unsure_acks_ = 0;
  TimePoint settled_at_{};

  uint64_t source_ ABSL_GUARDED_BY(inbox_->mutex) = 0;  // 0: not open.
  TagTable tags_ ABSL_GUARDED_BY(inbox_->mutex);
  std::vector<Returned> returned_ ABSL_GUARDED_BY(inbox_->mutex);
  std::vector<Waiter> waiters_ ABSL_GUARDED_BY(inbox_->mutex);
  // What the application has, where it can be moved.
  ShownMessages shown_ ABSL_GUARDED_BY(inbox_->mutex);
  std::vector<Dying> dying_ ABSL_GUARDED_BY(inbox_->mutex);
  // Could not be sent, and are with nobody.
  std::vector<Dying> unburied_ ABSL_GUARDED_BY(inbox_->mutex);
  absl::Status failure_ ABSL_GUARDED_BY(inbox_->mutex);
  absl::Status last_error_ ABSL_GUARDED_BY(inbox_->mutex);
  uint64_t errors_ ABSL_GUARDED_BY(inbox_->mutex) = 0;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_BOUND_QUEUE_H_
