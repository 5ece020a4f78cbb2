// SPDX-License-Identifier: Apache-2.0
//
// The receiving half of a driver, push and pull alike: listeners, prefetch,
// suspension and lease renewal are the portable layer's.

#ifndef OPENMESSAGING_DRIVER_CONSUMER_H_
#define OPENMESSAGING_DRIVER_CONSUMER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "openmessaging/driver/call.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"

namespace openmessaging {
inline namespace v0 {

// Where a group that does not exist yet begins.
enum class StartPosition : uint8_t { kEarliest, kLatest };

namespace driver {

struct ConsumerOptions {
  // Never empty; an application that names none has "default".
  std::string group{};

  // The group is this member's own and ends with it, dead or stopped.
  bool broadcast = false;

  // No second consumer of the group may bind the queue (1408).
  bool exclusive = false;

  // A key's next message waits until its previous one is settled. Where members
  // of a group differ in this, Bind answers 1602.
  bool ordered = false;

  StartPosition start = StartPosition::kEarliest;

  // How long a delivery may stay unsettled, where the broker leases.
  std::chrono::milliseconds lease{30000};

  // At most so much may be unsettled or on its way to this consumer. A hint for
  // credit and fetch sizes; the portable layer counts too.
  size_t prefetch_messages = 256;
  size_t prefetch_bytes = size_t{16} << 20;
};

// How one queue is bound.
struct BindOptions {
  // An SQL condition over properties and header fields; empty: everything. Its
  // syntax is the driver's to check (kit::Filter), and only true matches.
  // Already checked: that the queue's capability covers it.
  std::string filter{};
};

// kAckUpTo settles the receipt's delivery and all that its source delivered
// before it: a source never spans two queues, nor two partitions.
//
// kRelease: the message was prefetched and never shown to the application. Give
// it back at once, as if it had not been delivered: its next delivery has the
// count that this one had. Sent only where prompt-release is declared, and never
// waited for; elsewhere such messages come back with Unbind and Close.
enum class Verb : uint8_t {
  kAck,
  kAckUpTo,
  kNack,
  kNackDelay,
  kReject,
  kExtend,
  kRelease
};

// One settlement. `receipt` was made by this consumer, or comes from elsewhere
// where shared-receipt is declared; distrust its token.
struct Settlement {
  Receipt receipt{};
  Verb verb = Verb::kAck;
  // Of kNackDelay and kExtend.
  std::chrono::milliseconds duration{0};
};

// Takes what one Receive found. Called inside Receive only, on its thread; the
// driver may hold locks (nothing behind it calls back into the driver).
class DeliverySink {
 public:
  virtual void Deliver(Message message, const Receipt& receipt) = 0;

 protected:
  ~DeliverySink() = default;
};

// What the portable layer must be told. Both calls may come on any thread, also
// inside Receive, and Lost inside Settle (a refused commit is how Kafka tells
// that a member is out), with no lock of the driver's held that Settle or
// Interrupt takes. A number names one source of a connection for good: what a reconnect
// or a new assignment delivers has another one.
class ConsumerEvents {
 public:
  // Deliveries of `sources` go to another consumer soon (a rebalance). Drops
  // the prefetched ones; returns when listeners that hold one have settled it,
  // or at `deadline`. It never waits for pulled deliveries. After it,
  // settlements of those sources answer 1604 without reaching the driver. Not
  // to be called on the thread that completes settlements.
  virtual void Revoking(std::span<const uint64_t> sources,
                        TimePoint deadline) = 0;

  // Deliveries of `sources` are gone already. As above, but returns at once.
  virtual void Lost(std::span<const uint64_t> sources) = 0;

 protected:
  ~ConsumerEvents() = default;
};

// Receives from the queues that are bound. Applications use
// openmessaging::PullConsumer and PushConsumer.
//
// Threads: Receive, Bind and Unbind are serialised by the portable layer;
// Settle and Interrupt come from any thread, also while Receive blocks.
// Keep-alive must not depend on calls: a client library that is bound to one
// thread gets one of its own (kit's IoThread).
class Consumer {
 public:
  virtual ~Consumer() = default;

  // Begins to receive from `queue`, creating the group where it is new. Returns
  // once the group's position stands: what is sent from then on is not missed,
  // whatever ConsumerOptions::start says.
  // Already checked: names, that it is not bound yet.
  // Errors: 1404 no such queue, 1408 bound exclusively by another, or by one of
  // the group with another filter, 1418 the filter is no condition, 1600 a new
  // group that cannot begin where `start` says.
  virtual absl::Status Bind(std::string_view queue, const BindOptions& options,
                            TimePoint deadline) = 0;

  // Ends it; what is unsettled of that queue goes back to the group. Its
  // sources are reported lost before this returns.
  virtual absl::Status Unbind(std::string_view queue, TimePoint deadline) = 0;

  // Delivers up to `max` messages. Waits for the first until `deadline`, for
  // none of the others; at the deadline it returns OK without any. Never waits
  // where the deadline has passed, but looks once at what has arrived. Neither
  // the deadline nor Interrupt aborts a fetch at the broker: what it brings is
  // for the next Receive.
  // Errors: whatever stops receiving; 1609 names a damaged message, once, after
  // it was skipped.
  virtual absl::Status Receive(size_t max, TimePoint deadline,
                               DeliverySink& sink) = 0;

  // Settles each entry and completes it exactly once, by the contract of
  // Producer::Send. An ack of what is settled already succeeds; of an earlier
  // delivery of a message that is out again: 1604; of nonsense: 1603.
  virtual void Settle(std::span<const Settlement> batch,
                      const CallContext& context, SettleCompletion& done) = 0;

  // Ends the Receive in progress, or else the next one. Sticky until then.
  virtual void Interrupt() = 0;

  // Completes settlements that are left (1601 where they cannot be made before
  // `deadline`), gives back what is unsettled and releases everything but what
  // delivered messages pin: they may outlive the consumer and its connection.
  // Called once; no Receive is in progress.
  virtual absl::Status Close(TimePoint deadline) = 0;
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_CONSUMER_H_
