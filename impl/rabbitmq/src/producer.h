// SPDX-License-Identifier: Apache-2.0
//
// Producer publishes on a channel of its own, with confirms, and completes each
// message when the broker has it.

#ifndef OPENMESSAGING_RABBITMQ_PRODUCER_H_
#define OPENMESSAGING_RABBITMQ_PRODUCER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "channel.h"
#include "link.h"
#include "message_mapping.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"
#include "queue_probe.h"

namespace openmessaging::rabbitmq {

// Queues whose expired messages are dead letters. Their receivers move these,
// so that the broker must not drop them.
//
// Threads: every method may be called from any.
class KeptQueues {
 public:
  void Add(std::string_view queue) ABSL_LOCKS_EXCLUDED(mutex_) {
    const internal::MutexLock lock(mutex_);
    queues_.emplace(queue);
  }
  bool Has(std::string_view queue) const ABSL_LOCKS_EXCLUDED(mutex_) {
    const internal::MutexLock lock(mutex_);
    return queues_.contains(queue);
  }

 private:
  mutable internal::Mutex mutex_;
  std::set<std::string, std::less<>> queues_ ABSL_GUARDED_BY(mutex_);
};

// The channel of one producer. It outlives its producer where the link still
// has something to tell it.
//
// Threads: Enqueue and the waits from any; the rest on the link's.
// Invariants:
//   (1) a message is in incoming_, in waiting_ or in unconfirmed_, and
//   completes
//       when it leaves the last of them;
//   (2) unconfirmed_ is in the order of publishing: its first entry has the
//       delivery tag first_tag_;
//   (3) what was not written is told as not stored, what was written and never
//       confirmed as unknown.
class PublishChannel final
    : public Channel,
      public std::enable_shared_from_this<PublishChannel> {
 public:
  // `id_prefix`: of the message ids; no other producer has it.
  PublishChannel(std::shared_ptr<Link> link,
                 std::shared_ptr<const KeptQueues> kept, std::string id_prefix,
                 QueueType queue_type);

  // --- any thread ---
  void Enqueue(std::span<const Message> batch, int64_t born_ms,
               driver::SendCompletion& done) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for a caller who waits: sends here where that does not block, and
  // reads confirms until all have completed, unless others read.
  void EnqueueAndAwait(std::span<const Message> batch, int64_t born_ms,
                       driver::SendCompletion& done, TimePoint deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends a message that was received from the broker's queue `queue` back to
  // it, as the message that it is, to be there after `delay`.
  void EnqueueBack(const Message& message, std::string queue,
                   std::chrono::milliseconds delay,
                   driver::SendCompletion& done) ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns: OK once all that was enqueued before has completed, else 1410.
  absl::Status AwaitAll(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns: once the channel takes messages, or why it does not.
  absl::Status AwaitReady(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Completes what is left, and closes the channel at the broker.
  void Shut(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // --- the link's thread ---
  void OnOpen() override;
  void OnDown(const absl::Status& why, bool refused) override;
  void OnTick() override;
  void OnReturn(const amqp_basic_return_t& method,
                const Content& content) override;
  void OnConfirm(uint64_t tag, bool multiple, bool taken) override;

 private:
  // How many messages of a call that somebody waits for have not completed.
  using Left = std::shared_ptr<std::atomic<size_t>>;

  struct Entry {
    Message message{};
    int64_t born_ms = 0;
    size_t index = 0;
    driver::SendCompletion* done = nullptr;
    Left left{};          // Null where nobody waits.
    uint64_t number = 0;  // Part of its id.
    TimePoint written{};
    absl::Status returned{};  // What the broker said when it gave it back.
    bool direct = false;      // Straight to the queue: nothing is bound for it.
    int64_t delay_units = 0;
    std::string back_to{};  // The broker's queue that it came from; else empty.

    std::string Id(std::string_view prefix) const;
  };

  // Returns: whether a Pump must be begun, as none is.
  bool Add(std::span<const Message> batch, int64_t born_ms,
           driver::SendCompletion& done, const Left& left)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Posts a Pump. Fails what is there where the link has stopped.
  void PostPump();
  void FailAll() {
    OnDown(MakeStatus(Code::kClosed, "the connection is closed"), false);
  }

  // Publishes what there is, near `most_bytes`, and posts itself for the rest.
  void Pump(size_t most_bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Publish(Entry& entry);
  void Fail(Entry& entry, const absl::Status& why, Outcome outcome);
  // Returns: whether it is to be sent once more, by its queue's name.
  bool GoesDirect(Entry& entry);
  void PumpLater() ABSL_LOCKS_EXCLUDED(mutex_);
  void Complete(Entry& entry, bool taken);
  // One is done with: wakes who waits for it.
  void Leave(Entry& entry);
  void Completed(size_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  void MakeDelaysFor(int64_t units);
  // Returns: whether it goes on later, once the broker has said that its
  // destination is there.
  bool WaitsForProbe(Entry& entry, TimePoint now);
  void Probed(const std::string& queue, const absl::Status& status);

  // Constant after construction.
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<const KeptQueues> kept_;
  const std::string id_prefix_;
  const QueueType queue_type_;
  const std::string host_;

  // The link's thread.
  bool ready_ = false;
  // The broker refused a message. A channel that lost the leader of a quorum
  // queue may go on to refuse for as long as it is open (3.10), so it is opened
  // anew once it has answered for the rest; until then nothing is published.
  bool stale_ = false;
  std::deque<Entry> waiting_;
  std::deque<Entry> unconfirmed_;
  uint64_t first_tag_ = 1;
  uint64_t last_number_ = 0;
  MessageWriter writer_;
  // Destinations of delays that were there, and until when that is believed;
  // and what waits to be told of one. What is delayed is refused by nobody, but
  // dropped in the end.
  std::map<std::string, TimePoint, std::less<>> there_;
  std::map<std::string, std::vector<Entry>, std::less<>> unsure_;
  std::shared_ptr<QueueProbe> probe_;
  // Of the delay line: how many levels this opening of the channel has made, of
  // which kind, and how many answers are not there yet.
  int delay_levels_ = 0;
  QueueType delay_type_ = QueueType::kQuorum;
  size_t making_ = 0;

  internal::Mutex mutex_;
  internal::Condition changed_;
  std::deque<Entry> incoming_ ABSL_GUARDED_BY(mutex_);
  bool pump_posted_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t enqueued_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t completed_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_ready_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_failure_ ABSL_GUARDED_BY(mutex_);
};

class RabbitProducer final : public driver::Producer {
 public:
  RabbitProducer(std::shared_ptr<Link> link,
                 std::shared_ptr<PublishChannel> channel)
      : link_(std::move(link)), channel_(std::move(channel)) {}

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) override {
    if (context.caller_waits) {
      channel_->EnqueueAndAwait(batch, context.born_timestamp_ms, done,
                                context.deadline);
    } else {
      channel_->Enqueue(batch, context.born_timestamp_ms, done);
    }
  }
  absl::Status Flush(TimePoint deadline) override {
    return channel_->AwaitAll(deadline);
  }
  absl::Status Close(TimePoint deadline) override {
    channel_->Shut(deadline);
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<PublishChannel> channel_;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_PRODUCER_H_
