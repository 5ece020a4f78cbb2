// SPDX-License-Identifier: Apache-2.0
//
// RabbitConsumer receives from queues of one group and settles what came.

#ifndef OPENMESSAGING_RABBITMQ_CONSUMER_H_
#define OPENMESSAGING_RABBITMQ_CONSUMER_H_

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bound_queue.h"
#include "catalog.h"
#include "dead_letters.h"
#include "inbox.h"
#include "link.h"
#include "openmessaging/driver/consumer.h"

namespace openmessaging::rabbitmq {

// Finds, or makes, the queue of a group at the broker.
using FindGroupQueue = std::function<absl::StatusOr<GroupQueue>(
    std::string_view queue, std::string_view group, TimePoint deadline)>;

// Threads: as driver::Consumer says.
class RabbitConsumer final : public driver::Consumer {
 public:
  RabbitConsumer(std::shared_ptr<Link> link, std::shared_ptr<Inbox> inbox,
                 std::shared_ptr<DeadLetterSender> dead_letters,
                 FindGroupQueue find)
      : link_(std::move(link)),
        inbox_(std::move(inbox)),
        dead_letters_(std::move(dead_letters)),
        find_(std::move(find)) {}

  absl::Status Bind(std::string_view queue, const driver::BindOptions& options,
                    TimePoint deadline) override;
  absl::Status Unbind(std::string_view queue, TimePoint deadline) override;
  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) override;
  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext& context,
              driver::SettleCompletion& done) override;
  void Interrupt() override;
  absl::Status Close(TimePoint deadline) override;

 private:
  using Queues = std::vector<std::shared_ptr<BoundQueue>>;

  Queues AllQueues() const;
  // Calls it with the link's turn.
  void ForEachQueue(void (BoundQueue::*method)())
      ABSL_LOCKS_EXCLUDED(inbox_->mutex);
  // Hands over what came. Returns: how many.
  size_t Hand(size_t max, driver::DeliverySink& sink, Queues& to_flush)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  bool HandOne(driver::DeliverySink& sink, Queues& to_flush)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  // Waits until `done()`, which is asked under the lock; reads from the link
  // meanwhile, unless others do. Returns: whether it is done.
  template <typename Done>
  bool AwaitChange(const Done& done, TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  absl::Status Failure() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  void BeginStreaming() ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  void BeginLook(size_t max) ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  // Waits for the end of a look. Returns: whether it has ended.
  bool AwaitLook(TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  void AwaitFirst(TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  void EndWait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  // Returns: what to tell of a settlement at once; OK where the queue will, or
  // where it is `settled` already.
  absl::Status Note(const driver::Settlement& one,
                    driver::SettleCompletion& done, size_t index,
                    std::shared_ptr<BoundQueue>& queue, bool& settled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_->mutex);
  // Writes the `count` settlements that were noted, or fewer: here where that
  // does not block.
  void Flush(Queues queues, size_t count) ABSL_LOCKS_EXCLUDED(inbox_->mutex);

  const std::shared_ptr<Link> link_;
  const std::shared_ptr<Inbox> inbox_;
  const std::shared_ptr<DeadLetterSender> dead_letters_;
  const FindGroupQueue find_;

  // Receive, Bind and Unbind are serialised.
  std::map<std::string, std::shared_ptr<BoundQueue>, std::less<>> queues_;
  size_t next_queue_ = 0;  // Where the next look begins.
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_CONSUMER_H_
