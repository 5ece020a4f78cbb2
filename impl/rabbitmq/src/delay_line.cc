// SPDX-License-Identifier: Apache-2.0

#include "delay_line.h"

#include <amqp_framing.h>

#include <array>
#include <bit>

#include "broker_error.h"
#include "openmessaging/internal/text.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

std::string_view WordOf(DelayedTo to) {
  return to == DelayedTo::kAll ? "to." : "back.";
}

amqp_table_entry_t TextArgument(const char* name, std::string_view text) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(name);
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = ToBytes(text);
  return entry;
}

amqp_table_entry_t NumberArgument(const char* name, int64_t number) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(name);
  entry.value.kind = AMQP_FIELD_KIND_I64;
  entry.value.value.i64 = number;
  return entry;
}

// Returns: what fits the keys whose bit of `level` is `bit`.
std::string LevelBinding(int level, char bit) {
  std::string binding;
  for (int higher = kDelayLevels - 1; higher > level; --higher) {
    binding += "*.";
  }
  return internal::Concat(std::string_view(binding), bit, ".#");
}

}  // namespace

int64_t DelayUnits(std::chrono::milliseconds delay) {
  return (delay.count() + kDelayUnit.count() - 1) / kDelayUnit.count();
}

int TopDelayLevel(int64_t units) {
  return static_cast<int>(std::bit_width(static_cast<uint64_t>(units))) - 1;
}

std::string DelayLevelName(QueueType type, int level) {
  return internal::Concat(
      type == QueueType::kQuorum ? "oms.delay.quorum." : "oms.delay.classic.",
      level);
}

std::string DelayKey(int64_t units, DelayedTo to, std::string_view name) {
  std::string key;
  for (int level = kDelayLevels - 1; level >= 0; --level) {
    key += (units >> level & 1) != 0 ? "1." : "0.";
  }
  return internal::Concat(std::string_view(key), WordOf(to),
                          std::string_view(Digest(name)));
}

std::string DelayedBinding(DelayedTo to, std::string_view name) {
  std::string binding;
  for (int level = 0; level < kDelayLevels; ++level) binding += "*.";
  return internal::Concat(std::string_view(binding), WordOf(to),
                          std::string_view(Digest(name)));
}

size_t MakeDelayLevels(Link& link, const Channel& channel, QueueType type,
                       int first, int last,
                       const std::function<void()>& on_answer) {
  size_t calls = 0;
  const auto call = [&](amqp_method_number_t number, auto& method) {
    ++calls;
    link.Call(
        channel,
        [&](amqp_connection_state_t connection, amqp_channel_t id) {
          return amqp_send_method(connection, id, number, &method);
        },
        [on_answer](const absl::StatusOr<Reply>&) { on_answer(); });
  };
  for (int level = first; level <= last; ++level) {
    const std::string name = DelayLevelName(type, level);
    const std::string next = level == 0 ? std::string(kDelayedExchange)
                                        : DelayLevelName(type, level - 1);
    amqp_exchange_declare_t exchange{};
    exchange.exchange = ToBytes(name);
    exchange.type = amqp_cstring_bytes("topic");
    exchange.durable = 1;
    call(AMQP_EXCHANGE_DECLARE_METHOD, exchange);

    std::array<amqp_table_entry_t, 5> arguments = {
        NumberArgument("x-message-ttl", kDelayUnit.count() << level),
        TextArgument("x-dead-letter-exchange", next),
        TextArgument("x-queue-type", "quorum"),
        // It leaves when the next one has it, and not before.
        TextArgument("x-dead-letter-strategy", "at-least-once"),
        TextArgument("x-overflow", "reject-publish")};
    amqp_queue_declare_t queue{};
    queue.queue = ToBytes(name);
    queue.durable = 1;
    queue.arguments = {type == QueueType::kQuorum ? 5 : 2, arguments.data()};
    call(AMQP_QUEUE_DECLARE_METHOD, queue);

    const std::string waits = LevelBinding(level, '1');
    amqp_queue_bind_t bind{};
    bind.queue = ToBytes(name);
    bind.exchange = ToBytes(name);
    bind.routing_key = ToBytes(waits);
    call(AMQP_QUEUE_BIND_METHOD, bind);

    const std::string passes = LevelBinding(level, '0');
    amqp_exchange_bind_t on{};
    on.destination = ToBytes(next);
    on.source = ToBytes(name);
    on.routing_key = ToBytes(passes);
    call(AMQP_EXCHANGE_BIND_METHOD, on);
  }
  return calls;
}

}  // namespace openmessaging::rabbitmq
