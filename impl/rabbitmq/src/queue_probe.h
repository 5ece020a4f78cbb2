// SPDX-License-Identifier: Apache-2.0
//
// QueueProbe asks a broker whether a queue is there, on a channel of its own,
// because the answer no ends the channel.

#ifndef OPENMESSAGING_RABBITMQ_QUEUE_PROBE_H_
#define OPENMESSAGING_RABBITMQ_QUEUE_PROBE_H_

#include <amqp.h>
#include <amqp_framing.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "broker_error.h"
#include "channel.h"
#include "link.h"

namespace openmessaging::rabbitmq {

// Asks one after another. Attached to its link with the first question.
//
// Threads: the link's.
class QueueProbe final : public Channel,
                         public std::enable_shared_from_this<QueueProbe> {
 public:
  // Takes OK; 1404; or why there is no answer.
  using OnAnswer = std::function<void(const absl::Status&)>;

  // `link` outlives what is attached to it.
  explicit QueueProbe(Link& link) : link_(link) {}

  void Ask(std::string queue, OnAnswer on_answer) {
    asked_.push_back({std::move(queue), std::move(on_answer)});
    if (!std::exchange(attached_, true)) link_.Attach(shared_from_this());
    Next();
  }

  void OnOpen() override { Next(); }
  void OnDown(const absl::Status& why, bool refused) override {
    if (refused) {
      link_.Reopen(*this);  // The one who asked has the answer.
      return;
    }
    std::deque<Asked> left;
    left.swap(asked_);
    for (const Asked& one : left) one.on_answer(why);
  }

 private:
  struct Asked {
    std::string queue{};
    OnAnswer on_answer{};
  };

  void Next() {
    if (asking_ || asked_.empty() || !link_.IsOpen(*this)) return;
    asking_ = true;
    Asked one = std::move(asked_.front());
    asked_.pop_front();
    link_.Call(
        *this,
        [&one](amqp_connection_state_t connection, amqp_channel_t id) {
          amqp_queue_declare_t declare{};
          declare.queue = ToBytes(one.queue);
          declare.passive = 1;
          return amqp_send_method(connection, id, AMQP_QUEUE_DECLARE_METHOD,
                                  &declare);
        },
        [self = shared_from_this(),
         told = one.on_answer](const absl::StatusOr<Reply>& reply) {
          self->asking_ = false;
          told(reply.status());
          self->Next();
        });
  }

  Link& link_;
  bool attached_ = false;
  bool asking_ = false;
  std::deque<Asked> asked_;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_QUEUE_PROBE_H_
