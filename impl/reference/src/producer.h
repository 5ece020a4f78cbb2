// SPDX-License-Identifier: Apache-2.0
//
// The reference driver's producer.

#ifndef OPENMESSAGING_REFERENCE_PRODUCER_H_
#define OPENMESSAGING_REFERENCE_PRODUCER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message_id.h"
#include "store.h"

namespace openmessaging::reference {

// A message at durability disk whose sender does not wait completes from the
// store's housekeeper; without one Send leads the flush all the same.
//
// Threads: Send may run concurrently; in steady state it allocates nothing.
class ReferenceProducer final : public driver::Producer {
 public:
  ReferenceProducer(std::shared_ptr<Store> store, bool auto_create);

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) noexcept override;
  // Stores a message that nobody receives before its transaction is committed.
  // `group`: as Transactions::GroupOf. Returns: its id.
  absl::StatusOr<MessageId> Prepare(const Message& message, uint64_t group,
                                    const driver::PrepareOptions& options,
                                    const driver::CallContext& context);
  absl::Status Flush(TimePoint deadline) noexcept override;
  absl::Status Close(TimePoint deadline) noexcept override;

  // Sends `batch` as one unit with `others`, which come behind it, all of them at
  // the highest durability that one asks for. `around`: as Log::AppendUnit.
  // Returns: one result for each message. Errors: as a send; 1418 too much for
  // one unit. Unless the outcome says more, nothing was stored.
  absl::StatusOr<std::vector<SendResult>> SendTogether(
      std::span<const Message> batch, std::span<const Append> others,
      const driver::CallContext& context, Surrounding& around);

 private:
  struct Scratch;

  // Returns: the queue, which `scratch` keeps. Neither locks nor counts where
  // this thread's last message was sent there too.
  absl::StatusOr<const Queue*> QueueOf(std::string_view name,
                                       TimePoint deadline, Scratch& scratch);
  // Returns: the queue, remembered from the last call where it is the same.
  absl::StatusOr<std::shared_ptr<const Queue>> FindQueue(std::string_view name,
                                                         TimePoint deadline);
  void SendWith(Scratch& scratch, std::span<const Message> batch,
                const driver::CallContext& context,
                driver::SendCompletion& done);
  absl::Status Plan(const Message& message, const driver::CallContext& context,
                    int64_t store_ms, Scratch& scratch);
  void CompleteAll(Scratch& scratch, bool caller_waits, TimePoint deadline,
                   driver::SendCompletion& done);
  // Puts what stands in front of the fields where the log finds it. What the
  // entries refer to stands still from here on.
  static void Complete(Scratch& scratch);
  // Makes one unit of what was planned and `others`. Errors: 1418.
  absl::Status MakeUnit(std::span<const Append> others, Scratch& scratch) const;
  // Appends that unit, without the messages that are there already.
  absl::Status AppendUnit(Scratch& scratch, int64_t store_ms,
                          TimePoint deadline, Surrounding& around);
  // Returns: what became of the nth message, which was stored or is a duplicate.
  SendResult ResultOf(const Scratch& scratch, size_t n) const;
  // Wakes those who wait for the nth message, unless the last call did so.
  void RingFor(Scratch& scratch, size_t n, const QueueState*& rung) const;
  // Returns: which entry the `n`th is a copy of.
  static size_t SourceOf(const Scratch& scratch, size_t n);
  // Returns: a queue one of whose targets was deleted; null: none was, or it
  // was itself.
  static const Queue* WithoutTarget(const Scratch& scratch);
  // Hands what is not durable yet to the housekeeper. Returns: false if there
  // is none.
  bool HandOver(Scratch& scratch, driver::SendCompletion& done);
  // What decides where a message lies.
  struct MessagePlan {
    uint32_t key_hash = 0;
    int priority = 0;
  };
  // Adds the copies of the last entry, one unit with it, for which routes of its
  // queue are.
  void AddCopies(const MessagePlan& plan, int64_t store_ms, Scratch& scratch);
  // Asks the log whether the id of the last entry counts.
  void AddDeduplication(std::string_view id, const Queue& queue,
                        Scratch& scratch);
  absl::StatusOr<uint32_t> PartitionFor(const Message& message,
                                        const Queue& queue,
                                        uint32_t key_hash);

  const std::shared_ptr<Store> store_;
  const bool auto_create_;
  const uint64_t id_;  // No other of this process had it.
  std::atomic<uint32_t> next_partition_{0};
  // Turns of copies, one for each message.
  std::atomic<uint32_t> next_copy_{0};

  internal::Mutex mutex_;
  std::shared_ptr<const Queue> last_queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_PRODUCER_H_
