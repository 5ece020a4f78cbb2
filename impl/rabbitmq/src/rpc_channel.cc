// SPDX-License-Identifier: Apache-2.0

#include "rpc_channel.h"

#include <amqp_framing.h>

#include <utility>

#include "broker_error.h"

namespace openmessaging::rabbitmq {
namespace {

absl::Status NoAnswer() {
  return MakeStatus(Code::kTimeout, "ask the broker: no answer in time");
}

// Lifetime: borrows `arguments`.
std::vector<amqp_table_entry_t> Entries(
    const std::vector<Argument>& arguments) {
  std::vector<amqp_table_entry_t> entries;
  for (const Argument& argument : arguments) {
    amqp_table_entry_t& entry = entries.emplace_back();
    entry.key = ToBytes(argument.name);
    if (argument.number) {
      entry.value.kind = AMQP_FIELD_KIND_I64;
      entry.value.value.i64 = *argument.number;
    } else {
      entry.value.kind = AMQP_FIELD_KIND_UTF8;
      entry.value.value.bytes = ToBytes(argument.text);
    }
  }
  return entries;
}

template <typename Method>
int SendMethod(amqp_connection_state_t connection, amqp_channel_t id,
               amqp_method_number_t number, Method method) {
  return amqp_send_method(connection, id, number, &method);
}

}  // namespace

// --- calls ---

absl::Status RpcChannel::AwaitOpen(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  const uint64_t failures = failures_;
  while (!open_ && failures_ == failures) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  if (open_) return absl::OkStatus();
  return failures_ == failures ? NoAnswer() : last_failure_;
}

absl::StatusOr<Reply> RpcChannel::Await(const std::shared_ptr<Pending>& pending,
                                        TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  while (!pending->done) {
    if (!changed_.WaitUntil(mutex_, deadline) && !pending->done) {
      return NoAnswer();
    }
  }
  return pending->reply;
}

void RpcChannel::Finish(const std::shared_ptr<Pending>& pending,
                        const absl::StatusOr<Reply>& reply) {
  const internal::MutexLock lock(mutex_);
  if (!pending || pending->done) return;
  pending->reply = reply;
  pending->done = true;
  changed_.NotifyAll();
}

// A caller may give up before the answer is there: nothing of its stack is
// used.
absl::StatusOr<Reply> RpcChannel::Ask(Sender sender, bool has_answer,
                                      TimePoint deadline) {
  if (auto s = AwaitOpen(deadline); !s.ok()) return s;
  auto pending = std::make_shared<Pending>();
  const bool posted = link_->Post([self = shared_from_this(), pending,
                                   has_answer, sender = std::move(sender)] {
    if (has_answer) {
      self->link_->Call(*self, sender, [self, pending](const auto& reply) {
        self->Finish(pending, reply);
      });
    } else if (self->link_->Send(*self, sender)) {
      self->Finish(pending, Reply());
    } else {
      self->Finish(pending,
                   BrokenLink("call", "the broker", "the channel is not open"));
    }
  });
  if (!posted) {
    return MakeStatus(Code::kClosed,
                      "ask the broker: the connection is "
                      "closed");
  }
  return Await(pending, deadline);
}

absl::Status RpcChannel::DeclareExchange(Exchange exchange,
                                         TimePoint deadline) {
  return Ask(
             [exchange = std::move(exchange)](auto connection, auto id) {
               auto entries = Entries(exchange.arguments);
               amqp_exchange_declare_t declare{};
               declare.exchange = ToBytes(exchange.name);
               declare.type = amqp_cstring_bytes(exchange.type);
               declare.durable = 1;
               declare.arguments = {static_cast<int>(entries.size()),
                                    entries.data()};
               return SendMethod(connection, id, AMQP_EXCHANGE_DECLARE_METHOD,
                                 declare);
             },
             /*has_answer=*/true, deadline)
      .status();
}

absl::StatusOr<RpcChannel::Counts> RpcChannel::DeclareQueue(
    Queue queue, TimePoint deadline) {
  auto reply = Ask(
      [queue = std::move(queue)](auto connection, auto id) {
        auto entries = Entries(queue.arguments);
        amqp_queue_declare_t declare{};
        declare.queue = ToBytes(queue.name);
        declare.durable = queue.durable ? 1 : 0;
        declare.exclusive = queue.exclusive ? 1 : 0;
        declare.arguments = {static_cast<int>(entries.size()), entries.data()};
        return SendMethod(connection, id, AMQP_QUEUE_DECLARE_METHOD, declare);
      },
      /*has_answer=*/true, deadline);
  if (!reply.ok()) return reply.status();
  return Counts{reply->message_count, reply->consumer_count};
}

absl::StatusOr<std::optional<RpcChannel::Counts>> RpcChannel::Look(
    std::string queue, TimePoint deadline) {
  auto reply = Ask(
      [queue = std::move(queue)](auto connection, auto id) {
        amqp_queue_declare_t declare{};
        declare.queue = ToBytes(queue);
        declare.passive = 1;
        return SendMethod(connection, id, AMQP_QUEUE_DECLARE_METHOD, declare);
      },
      /*has_answer=*/true, deadline);
  if (reply.ok()) {
    return std::optional<Counts>({reply->message_count, reply->consumer_count});
  }
  if (OmsCode(reply.status()) == Code::kQueueNotFound) {
    return std::optional<Counts>();
  }
  return reply.status();
}

absl::Status RpcChannel::BindQueue(std::string queue, std::string exchange,
                                   std::string key, TimePoint deadline) {
  return Ask(
             [queue = std::move(queue), exchange = std::move(exchange),
              key = std::move(key)](auto connection, auto id) {
               amqp_queue_bind_t bind{};
               bind.queue = ToBytes(queue);
               bind.exchange = ToBytes(exchange);
               bind.routing_key = ToBytes(key);
               return SendMethod(connection, id, AMQP_QUEUE_BIND_METHOD, bind);
             },
             /*has_answer=*/true, deadline)
      .status();
}

absl::Status RpcChannel::DeleteQueue(std::string queue, TimePoint deadline) {
  return Ask(
             [queue = std::move(queue)](auto connection, auto id) {
               amqp_queue_delete_t remove{};
               remove.queue = ToBytes(queue);
               return SendMethod(connection, id, AMQP_QUEUE_DELETE_METHOD,
                                 remove);
             },
             /*has_answer=*/true, deadline)
      .status();
}

absl::StatusOr<std::optional<RpcChannel::Got>> RpcChannel::Get(
    std::string queue, TimePoint deadline) {
  auto reply = Ask(
      [queue = std::move(queue)](auto connection, auto id) {
        amqp_basic_get_t get{};
        get.queue = ToBytes(queue);
        return SendMethod(connection, id, AMQP_BASIC_GET_METHOD, get);
      },
      /*has_answer=*/true, deadline);
  if (!reply.ok()) return reply.status();
  if (reply->method != AMQP_BASIC_GET_OK_METHOD) return std::optional<Got>();
  const internal::MutexLock lock(mutex_);
  return std::optional<Got>(
      Got{reply->delivery_tag, std::exchange(got_body_, {})});
}

absl::Status RpcChannel::Ack(uint64_t tag, TimePoint deadline) {
  return Ask(
             [tag](auto connection, auto id) {
               return amqp_basic_ack(connection, id, tag, /*multiple=*/0);
             },
             /*has_answer=*/false, deadline)
      .status();
}

absl::Status RpcChannel::Requeue(uint64_t tag, TimePoint deadline) {
  return Ask(
             [tag](auto connection, auto id) {
               return amqp_basic_reject(connection, id, tag, /*requeue=*/1);
             },
             /*has_answer=*/false, deadline)
      .status();
}

absl::Status RpcChannel::Publish(std::string queue, std::string body,
                                 TimePoint deadline) {
  auto confirm = std::make_shared<Pending>();
  {
    const internal::MutexLock lock(mutex_);
    confirm_ = confirm;
    returned_ = absl::OkStatus();
  }
  auto written = Ask(
      [queue = std::move(queue), body = std::move(body)](auto connection,
                                                         auto id) {
        amqp_basic_properties_t properties{};
        properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
        properties.delivery_mode = 2;
        return amqp_basic_publish(connection, id, amqp_empty_bytes,
                                  ToBytes(queue), /*mandatory=*/1,
                                  /*immediate=*/0, &properties, ToBytes(body));
      },
      /*has_answer=*/false, deadline);
  if (!written.ok()) return written.status();
  return Await(confirm, deadline).status();
}

// --- the link's thread ---

void RpcChannel::OnOpen() {
  link_->Call(
      *this,
      [](auto connection, auto id) {
        return SendMethod(connection, id, AMQP_CONFIRM_SELECT_METHOD,
                          amqp_confirm_select_t{});
      },
      [self = shared_from_this()](const absl::StatusOr<Reply>& reply) {
        if (!reply.ok()) return;
        const internal::MutexLock lock(self->mutex_);
        self->open_ = true;
        self->changed_.NotifyAll();
      });
}

void RpcChannel::OnDown(const absl::Status& why, bool refused) {
  std::shared_ptr<Pending> confirm;
  {
    const internal::MutexLock lock(mutex_);
    open_ = false;
    confirm.swap(confirm_);
    if (!refused) {
      ++failures_;
      last_failure_ = why;
    }
    changed_.NotifyAll();
  }
  Finish(confirm, why);
  if (refused) link_->Reopen(*this);
}

void RpcChannel::OnGot(const amqp_basic_get_ok_t&, const Content& content) {
  const internal::MutexLock lock(mutex_);
  got_body_ = content.body;
}

void RpcChannel::OnReturn(const amqp_basic_return_t& method, const Content&) {
  const internal::MutexLock lock(mutex_);
  returned_ = RefusedBy("send to", View(method.routing_key), method.reply_code,
                        View(method.reply_text));
}

void RpcChannel::OnConfirm(uint64_t, bool, bool taken) {
  std::shared_ptr<Pending> confirm;
  absl::StatusOr<Reply> reply = Reply();
  {
    const internal::MutexLock lock(mutex_);
    confirm.swap(confirm_);
    if (!returned_.ok()) {
      reply = returned_;
    } else if (!taken) {
      reply =
          MakeStatus(Code::kStorageBusy, "send: the broker did not take it");
    }
  }
  Finish(confirm, reply);
}

}  // namespace openmessaging::rabbitmq
