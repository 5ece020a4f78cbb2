// SPDX-License-Identifier: Apache-2.0
//
// PreparedMessage is a message that is stored and that nobody receives until it
// is committed. Obtain one from Producer::Prepare().

#ifndef OPENMESSAGING_PREPARED_MESSAGE_H_
#define OPENMESSAGING_PREPARED_MESSAGE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "openmessaging/capability.h"
#include "openmessaging/internal/producer_core.h"
#include "openmessaging/message_id.h"
#include "openmessaging/send_result.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {

// The order of work: prepare the message, do what it tells of, commit. Where
// this process dies in between, or the outcome of Commit() is not known, the
// check listener of a producer of the group is asked.
//
// The first decision wins. The same one again is harmless, the opposite one
// fails: for how long, and what comes after that, is the broker's
// (docs/design/transactions.md).
//
// Threads: every method may be called from any thread at any time.
// Lifetime: a movable handle; it keeps its producer's connection alive. One that
// ends undecided decides nothing.
class PreparedMessage {
 public:
  PreparedMessage(PreparedMessage&&) = default;
  PreparedMessage& operator=(PreparedMessage&&) = default;

  // Names it in every process: Producer::Resolve(), Message::transaction_id() at
  // the check listener and at the receiver.
  const std::string& transaction_id() const { return transaction_id_; }
  // As the receiver will see it.
  const MessageId& message_id() const { return message_id_; }
  // What it asked for and will not get; SendResult::ignored.
  const CapabilitySet& ignored() const { return ignored_; }

  // Lets the message enter its queue.
  //
  // Blocks: up to ProducerOptions::send_timeout.
  // Errors: as Producer::Resolve().
  // Implements: OMS-TX-001, 003.
  [[nodiscard]] absl::Status Commit() {
    return core_->Resolve(transaction_id_, TransactionState::kCommit);
  }

  // Withdraws the message: it is never delivered. Blocks, errors: as above.
  // Implements: OMS-TX-002, 003.
  [[nodiscard]] absl::Status Rollback() {
    return core_->Resolve(transaction_id_, TransactionState::kRollback);
  }

 private:
  friend class Producer;
  PreparedMessage(std::shared_ptr<internal::ProducerCore> core,
                  internal::PreparedSend prepared)
      : core_(std::move(core)),
        transaction_id_(std::move(prepared.transaction_id)),
        message_id_(std::move(prepared.message_id)),
        ignored_(prepared.ignored) {}

  std::shared_ptr<internal::ProducerCore> core_;
  std::string transaction_id_;
  MessageId message_id_;
  CapabilitySet ignored_;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_PREPARED_MESSAGE_H_
