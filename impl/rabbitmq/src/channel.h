// SPDX-License-Identifier: Apache-2.0
//
// Channel is one AMQP channel of a link as its owner sees it: what it is told,
// and how it asks the broker for something.

#ifndef OPENMESSAGING_RABBITMQ_CHANNEL_H_
#define OPENMESSAGING_RABBITMQ_CHANNEL_H_

#include <amqp.h>
#include <amqp_framing.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace openmessaging::rabbitmq {

// A message as it came. Good during the call that gives it.
struct Content {
  const amqp_basic_properties_t& properties;
  std::string_view body;
  // Where the body came in several frames: its bytes, to be taken.
  std::string* owned_body = nullptr;
};

// The answer to a call; what the method does not have is zero.
struct Reply {
  amqp_method_number_t method = 0;
  uint64_t delivery_tag = 0;
  uint32_t message_count = 0;
  uint32_t consumer_count = 0;
};

using OnReply = std::function<void(const absl::StatusOr<Reply>&)>;

// Threads: every method is called on the link's thread, with no lock held.
// Lifetime: the link shares it until it is detached.
class Channel {
 public:
  virtual ~Channel() = default;

  // It is open, for the first time or after it was down. It knows of nothing
  // that was asked for before.
  virtual void OnOpen() = 0;

  // It is not open any more, or could not be opened. `refused`: the broker
  // closed this channel alone, and it stays closed until Link::Reopen.
  virtual void OnDown(const absl::Status& why, bool refused) = 0;

  // Called now and then, once a second at least.
  virtual void OnTick() {}

  virtual void OnDelivery(const amqp_basic_deliver_t&, const Content&) {}
  // The answer to basic.get; its call is answered after it.
  virtual void OnGot(const amqp_basic_get_ok_t&, const Content&) {}
  virtual void OnReturn(const amqp_basic_return_t&, const Content&) {}
  // The broker has taken (or refused, where `taken` is false) a message.
  virtual void OnConfirm(uint64_t /*tag*/, bool /*multiple*/, bool /*taken*/) {}
  // The broker ended a consumer: its queue is gone.
  virtual void OnCancel(std::string_view /*consumer_tag*/) {}
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_CHANNEL_H_
