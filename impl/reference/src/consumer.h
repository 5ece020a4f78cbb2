// SPDX-License-Identifier: Apache-2.0
//
// The reference driver's consumer.

#ifndef OPENMESSAGING_REFERENCE_CONSUMER_H_
#define OPENMESSAGING_REFERENCE_CONSUMER_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "bells.h"
#include "delivery_terms.h"
#include "group_window.h"
#include "message_reader.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/kit/filter.h"
#include "partition_log.h"
#include "receipt_token.h"
#include "settle_flusher.h"
#include "store.h"

namespace openmessaging::reference {

// One hand-out, written by one thread and read by any.
class HeldPlace {
 public:
  void Store(const HandOut& out) {
    word_.store(0, std::memory_order_relaxed);
    offset_.store(out.offset, std::memory_order_release);
    word_.store(out.word.bits(), std::memory_order_release);
  }
  // Returns: a word of zero, which is no hand-out's, while it changes.
  HandOut Load() const {
    const uint64_t word = word_.load(std::memory_order_acquire);
    const uint64_t offset = offset_.load(std::memory_order_acquire);
    if (word_.load(std::memory_order_relaxed) != word) return {offset, 0, {}};
    return {offset, 0, DeliveryWord(word)};
  }

 private:
  std::atomic<uint64_t> word_{0};
  std::atomic<uint64_t> offset_{0};
};

// One partition of a bound queue.
class BoundPartition {
 public:
  // `source`: the number that receipts carry; of this binding alone.
  BoundPartition(Store* store, std::shared_ptr<const Queue> queue,
                 std::shared_ptr<const Group> group, uint32_t partition,
                 uint64_t source, bool ordered, const DeliveryTerms* terms);
  ~BoundPartition();
  BoundPartition(const BoundPartition&) = delete;
  BoundPartition& operator=(const BoundPartition&) = delete;

  // Makes the window once something could be received. Returns: whether there
  // is one. Under the consumer's mutex.
  absl::StatusOr<bool> EnsureWindow(TimePoint deadline);
  // Goes by other terms from now on. Under the consumer's mutex.
  void SetTerms(const DeliveryTerms* terms);
  // May be called from any thread once EnsureWindow returned true.
  GroupWindow* window() const {
    return ready_.load(std::memory_order_acquire);
  }

  // Also where the group was moved, which Receive must notice.
  bool MayHave(int64_t now_ns);
  // Whether the group was moved since this consumer last looked.
  bool WasMoved() const {
    return SeeksOf(cursor_->images.Load()) !=
           seeks_.load(std::memory_order_relaxed);
  }
  // Forgets what was handed out before the group was moved for the `seeks`th
  // time; what comes now has a source of its own. By Receive.
  void BeginAnew(uint32_t seeks, uint64_t source);
  // When a look may find something without an append; boot time.
  int64_t NextLookNs() const;

  // Builds the message of a hand-out. Errors: 1609 the record is damaged; 1404 its
  // segment is gone.
  absl::StatusOr<Message> Load(const HandOut& out);
  void Remember(const HandOut& out);
  void ReturnHeld();
  // Acknowledges what this consumer was handed here before `offset` and still
  // has. From any thread once there is a window. Returns: whether anything was
  // settled by it.
  bool AckUpTo(uint64_t offset);

  // Whether the message went with its segment: a group may be moved back while
  // that is being retired.
  bool IsRetired(uint64_t offset) const {
    return IndexReader(&store_->control(), state_, queue_partition_)
        .IsRetired(offset);
  }

  uint32_t queue_partition() const { return queue_partition_; }
  uint64_t source() const { return source_.load(std::memory_order_acquire); }
  // How often the group had been moved when this consumer last looked.
  uint32_t seeks() const { return seeks_.load(std::memory_order_relaxed); }
  const Cursor& cursor() const { return *cursor_; }

 private:
  static constexpr size_t kLateAtLeast = 64;

  absl::Status UseSegment(uint64_t position);
  absl::StatusOr<Message> LoadAt(const HandOut& out, uint64_t position);
  void RememberLate(const HandOut& out);
  // Calls `visit` for each hand-out below `end` that this consumer may hold.
  template <typename Visit>
  void ForEachHeld(uint64_t end, const Visit& visit);

  Store* const store_;
  const std::shared_ptr<const Queue> queue_;
  const std::shared_ptr<const Group> group_;
  const uint32_t queue_partition_;
  std::atomic<uint64_t> source_;
  std::atomic<uint32_t> seeks_;
  const bool ordered_;
  PartitionState* const state_;
  Cursor* const cursor_;
  // Under the consumer's mutex.
  const DeliveryTerms* terms_;
  PartitionLog log_;
  std::optional<GroupWindow> window_;
  std::atomic<GroupWindow*> ready_{nullptr};
  // What this consumer was handed, by place in the window. Written by Receive;
  // cumulative settlements read it from any thread.
  std::vector<HeldPlace> held_;
  // And those that the window has left behind.
  internal::Mutex late_mutex_;
  std::vector<HandOut> late_ ABSL_GUARDED_BY(late_mutex_);
  size_t late_limit_ ABSL_GUARDED_BY(late_mutex_) = kLateAtLeast;
  SegmentHolder* holder_ = nullptr;
};

struct BoundQueue {
  const DeliveryTerms& terms() const {
    return *newest_terms.load(std::memory_order_acquire);
  }

  std::string name{};
  std::shared_ptr<const Queue> queue{};
  std::shared_ptr<const Group> group{};
  // Of which revision of the queue the newest terms are.
  std::atomic<uint32_t> revision{0};
  std::atomic<const DeliveryTerms*> newest_terms{nullptr};
  // Under the consumer's mutex. The partitions refer to them.
  std::vector<std::unique_ptr<const DeliveryTerms>> all_terms{};
  std::vector<std::unique_ptr<BoundPartition>> partitions{};
  // What the group's word says while this consumer has it for itself; or 0.
  uint64_t claim = 0;
  // What this consumer entered among the terms; null in a private group.
  BindingEntry* entry = nullptr;
};

struct ConsumerSettings {
  bool auto_create = false;
  bool spin = false;  // Never sleep.
  // A settlement returns when no power loss can take it back.
  bool ack_sync = false;
};

// Threads: as driver::Consumer says.
class ReferenceConsumer final : public driver::Consumer {
 public:
  ReferenceConsumer(std::shared_ptr<Store> store,
                    const driver::ConsumerOptions& options,
                    const ConsumerSettings& settings,
                    driver::ConsumerEvents* events);

  absl::Status Bind(std::string_view queue, const driver::BindOptions& options,
                    TimePoint deadline) noexcept override;
  absl::Status Unbind(std::string_view queue,
                      TimePoint deadline) noexcept override;
  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) noexcept override;
  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext& context,
              driver::SettleCompletion& done) noexcept override;
  void Interrupt() noexcept override;
  absl::Status Close(TimePoint deadline) noexcept override;

 private:
  // What one look over all partitions found.
  struct Look {
    size_t count = 0;
    bool skipped = false;  // What expired, died, or the filter is not for.
    // Whether the partition that was looked at last may have more.
    bool more = false;
    uint64_t flush_to = 0;
    absl::Status damage{};
    // Why a partition could not be looked at, if one could not.
    absl::Status late{};
  };

  // Taken under one hold of a cursor's lock.
  static constexpr size_t kMaxTake = 64;

  // Goes on with what has changed. Errors: 1404 a bound queue was deleted; 1602
  // the group was.
  absl::Status CheckAlive(uint32_t version, TimePoint deadline);
  // Sees that this process moves messages that had their last delivery, where
  // there may be any. Errors: as CountsDeliveries.
  absl::Status WatchLastDeliveries(TimePoint deadline);
  // Takes over what the queue says now. From any thread. Errors: as FindQueue.
  absl::Status RenewTerms(BoundQueue& bound, TimePoint deadline);
  absl::Status LookAround(size_t max, TimePoint deadline,
                          driver::DeliverySink& sink, Look& look);
  // Looks at the partitions from the `first`th on; with priorities at those of
  // one lane after the other.
  absl::Status LookAtQueue(BoundQueue& bound, size_t first, size_t max,
                           int64_t now_ns, TimePoint deadline,
                           driver::DeliverySink& sink, Look& look);
  absl::Status TakeFrom(BoundQueue& bound, BoundPartition& partition,
                        size_t max, int64_t now_ns, TimePoint deadline,
                        driver::DeliverySink& sink, Look& look);
  // Tells that the group was moved, and that earlier deliveries are void.
  void NoticeSeek(BoundPartition& partition, uint32_t seeks) const;
  // Settles a message that is not for the group.
  void Skip(const BoundQueue& bound, GroupWindow& window, const HandOut& out);
  void Wait(TimePoint deadline);
  bool SomethingMayBeThere(int64_t now_ns);
  int64_t NextLookNs() const;
  absl::Status SettleOne(const driver::Settlement& settlement,
                         TimePoint deadline);
  absl::Status SettleWord(const driver::Settlement& settlement,
                          uint64_t offset, DeliveryWord word,
                          BoundPartition& partition, BoundQueue& bound,
                          TimePoint deadline);
  absl::Status AckUpTo(const Receipt& receipt, uint64_t offset,
                       DeliveryWord word, BoundPartition& partition);
  // Returns: the boot time that lies so far ahead.
  int64_t BootNsAfter(std::chrono::milliseconds duration) const;
  void RingQueue(const BoundQueue& bound) const;
  // Gives back what is unsettled, and the group where it is this consumer's.
  void Release(BoundQueue& bound, TimePoint deadline);
  // Appends the state of each cursor that a batch has changed.
  absl::Status LogTouched(std::span<const driver::Settlement> batch,
                          TimePoint deadline);
  void SettleDurably(std::span<const driver::Settlement> batch,
                     const driver::CallContext& context,
                     driver::SettleCompletion& done);

  const std::shared_ptr<Store> store_;
  const driver::ConsumerOptions options_;
  const ConsumerSettings settings_;
  driver::ConsumerEvents* const events_;
  const ReceiptCodec receipts_;
  Sleeper sleeper_;
  SettleFlusher flusher_;
  std::atomic<bool> interrupted_{false};

  // Receive's own; it is serialised with Bind and Unbind.
  std::vector<std::shared_ptr<BoundQueue>> bound_;
  std::vector<QueueState*> queue_states_;
  size_t turn_ = 0;
  // What one look takes; here, because clearing it would cost a receive more
  // than the rest of the look.
  std::array<HandOut, kMaxTake> hand_outs_;
  // Of the catalog when all that is bound was last known to live.
  uint32_t alive_version_ = 0;
  absl::Status pending_damage_;
  // How long partitions were waited for in vain since one was there.
  std::chrono::nanoseconds waited_in_vain_{0};

  // For Settle, which comes from other threads.
  internal::Mutex mutex_;
  std::map<uint32_t, std::shared_ptr<BoundQueue>> by_id_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CONSUMER_H_
