// SPDX-License-Identifier: Apache-2.0

#include "broker.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <utility>

#include "openmessaging/driver/message_access.h"

namespace sqlite {
namespace {

using oms::Code;
using oms::MakeStatus;
using oms::driver::Field;
using oms::driver::MessageAccess;
using oms::driver::Verb;

constexpr uint32_t kEpoch = 1;

// By the clock of this machine, on which all who have the file open run.
int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string HostName() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

int64_t RandomHolder() {
  std::random_device random;
  return int64_t{random()} << 31 | random() >> 1 | 1;
}

absl::Status NoSuchQueue(std::string_view operation, std::string_view queue) {
  return MakeStatus(Code::kQueueNotFound, operation, " \"", queue,
                    "\": there is no such queue; create it first");
}

// What a receipt says: which delivery of which message. It comes back from
// anybody.
struct Token {
  int64_t group_id = 0;
  int64_t message = 0;
  int64_t deliveries = 0;
  int64_t holder = 0;
};

// The bytes that a received message is a view of, for as long as there is one.
struct ReceivedBytes : oms::driver::MessageHolder {
  ReceivedBytes() : MessageHolder(&ReceivedBytes::Delete) {}
  static void Delete(MessageHolder* self) {
    delete static_cast<ReceivedBytes*>(self);
  }

  std::string queue;
  std::string fields_and_body;
};

}  // namespace

Broker::Broker(Database& database) : database_(database) {
  Query row(database_, "SELECT id FROM store");
  if (row.Next() && row.Bytes(0).size() == store_id_.size()) {
    std::memcpy(store_id_.data(), row.Bytes(0).data(), store_id_.size());
  }
}

absl::Status Broker::CreateQueue(std::string_view queue,
                                 const oms::QueueOptions& options) {
  const auto refuse = [queue](Code code, std::string_view why) {
    return MakeStatus(code, "create queue \"", queue, "\": ", why);
  };
  if (QueueId(queue) != 0) return refuse(Code::kQueueExists, "it exists");
  if (queue.find("://") != queue.npos || options.partitions != 1 ||
      !options.dead_letter_queue.empty() || options.priorities ||
      options.deduplication_window.count() != 0 || !options.filter.empty()) {
    return refuse(Code::kUnsupported,
                  "there are neither namespaces, partitions, dead letters, "
                  "priorities, deduplication nor filters");
  }
  Execute(database_, "INSERT INTO queues VALUES(NULL, ?, ?, ?, ?)", queue,
          options.retention, options.redelivery_delay,
          options.max_redelivery_delay);
  return absl::OkStatus();
}

absl::Status Broker::DeleteQueue(std::string_view queue) {
  const int64_t id = QueueId(queue);
  if (id == 0) return NoSuchQueue("delete queue", queue);
  Execute(database_,
          "DELETE FROM pending WHERE consumer_group IN "
          "(SELECT id FROM consumer_groups WHERE queue = ?)",
          id);
  Execute(database_, "DELETE FROM consumer_groups WHERE queue = ?", id);
  Execute(database_, "DELETE FROM messages WHERE queue = ?", id);
  Execute(database_, "DELETE FROM queues WHERE id = ?", id);
  return absl::OkStatus();
}

std::vector<oms::QueueInfo> Broker::Describe(std::string_view queue) {
  std::vector<oms::QueueInfo> all;
  Query row(database_,
            "SELECT name, retention_ms, redelivery_ms, max_redelivery_ms "
            "FROM queues WHERE name = ?1 OR ?1 = x'' ORDER BY name",
            queue);
  while (row.Next()) {
    oms::QueueInfo info;
    info.name = row.Bytes(0);
    info.options.retention = std::chrono::milliseconds(row.Integer(1));
    info.options.redelivery_delay = std::chrono::milliseconds(row.Integer(2));
    info.options.max_redelivery_delay =
        std::chrono::milliseconds(row.Integer(3));
    all.push_back(std::move(info));
  }
  return all;
}

absl::StatusOr<oms::SendResult> Broker::Put(const oms::Message& message,
                                            int64_t born_ms) {
  const int64_t queue = QueueId(message.destination());
  if (queue == 0) return NoSuchQueue("send to", message.destination());
  // The library has taken away what a sender may not set. When and where a
  // message was born the driver writes; the host is that of the store.
  static const std::string host = HostName();
  oms::Message stored(message);
  MessageAccess::SetField(
      stored, Field::kBornTimestamp,
      {reinterpret_cast<const char*>(&born_ms), sizeof(born_ms)});
  MessageAccess::SetField(stored, Field::kStoreHost, host);
  const int64_t now_ms = NowMs();
  Execute(database_, "INSERT INTO messages VALUES(NULL, ?, ?, ?, ?)", queue,
          now_ms, MessageAccess::FieldsAfterDestination(stored), stored.body());
  const int64_t id = database_.last_row();
  Execute(database_,
          "INSERT INTO pending "
          "SELECT id, ?, ?, 0, 0 FROM consumer_groups WHERE queue = ?",
          id, now_ms, queue);
  oms::SendResult result;
  result.message_id =
      oms::MessageId(store_id_, kEpoch, static_cast<uint64_t>(id));
  return result;
}

absl::StatusOr<Binding> Broker::Bind(std::string_view queue,
                                     std::string_view group,
                                     oms::StartPosition start) {
  const int64_t queue_id = QueueId(queue);
  if (queue_id == 0) return NoSuchQueue("bind", queue);
  Binding binding{.queue = std::string(queue), .holder = RandomHolder()};
  Query known(database_,
              "SELECT id FROM consumer_groups WHERE queue = ? AND name = ?",
              queue_id, group);
  if (known.Next()) {
    binding.group_id = known.Integer(0);
  } else {
    Execute(database_, "INSERT INTO consumer_groups VALUES(NULL, ?, ?)",
            queue_id, group);
    binding.group_id = database_.last_row();
    if (start == oms::StartPosition::kEarliest) {
      Execute(database_,
              "INSERT INTO pending "
              "SELECT ?, id, stored_ms, 0, 0 FROM messages WHERE queue = ?",
              binding.group_id, queue_id);
    }
  }
  Purge(queue_id, 0);
  return binding;
}

void Broker::Unbind(const Binding& binding) {
  Execute(database_,
          "UPDATE pending SET holder = 0, due_ms = ? "
          "WHERE consumer_group = ? AND holder = ?",
          NowMs(), binding.group_id, binding.holder);
}

std::vector<Taken> Broker::Take(const Binding& binding, size_t max_messages,
                                size_t max_bytes,
                                std::chrono::milliseconds lease) {
  const int64_t now_ms = NowMs();
  std::vector<Taken> all;
  std::vector<Token> tokens;  // Nothing is changed while it is read.
  Query row(database_,
            "SELECT m.id, m.stored_ms, p.deliveries + 1, m.fields, m.body "
            "FROM pending p CROSS JOIN messages m ON m.id = p.message "
            "WHERE p.consumer_group = ? AND p.due_ms <= ? "
            "ORDER BY p.message LIMIT ?",
            binding.group_id, now_ms, static_cast<int64_t>(max_messages));
  for (size_t bytes = 0; bytes < max_bytes && row.Next();) {
    bytes += row.Bytes(3).size() + row.Bytes(4).size();
    tokens.push_back(
        {binding.group_id, row.Integer(0), row.Integer(2), binding.holder});
    const std::string_view token(reinterpret_cast<const char*>(&tokens.back()),
                                 sizeof(Token));
    all.push_back({Build(binding.queue, row), {binding.source, token}});
  }
  for (size_t i = 0; i < all.size(); ++i) {
    // At most once: it is settled before anybody sees it.
    if (all[i].message.qos() == oms::Qos::kAtMostOnce) {
      Forget(tokens[i].group_id, tokens[i].message);
    } else {
      Update(tokens[i].group_id, tokens[i].message, now_ms + lease.count(),
             tokens[i].deliveries, tokens[i].holder);
    }
  }
  return all;
}

absl::StatusOr<oms::Receipt> Broker::Settle(
    const oms::driver::Settlement& settlement, std::string_view group) {
  Token token;  // Of zeros, which is none.
  const std::string_view bytes = settlement.receipt.token();
  if (bytes.size() == sizeof(token)) {
    std::memcpy(&token, bytes.data(), sizeof(token));
  }
  Query known(database_,
              "SELECT q.redelivery_ms, q.max_redelivery_ms "
              "FROM consumer_groups g JOIN queues q ON q.id = g.queue "
              "WHERE g.id = ? AND g.name = ? AND ? BETWEEN 1 AND "
              "(SELECT seq FROM sqlite_sequence WHERE name = 'messages')",
              token.group_id, group, token.message);
  if (!known.Next()) {
    return MakeStatus(Code::kReceiptInvalid,
                      "settle: the receipt is none of this group's");
  }
  Query row(database_,
            "SELECT deliveries, holder FROM pending "
            "WHERE consumer_group = ? AND message = ?",
            token.group_id, token.message);
  const bool pending = row.Next();
  if (pending
          ? row.Integer(0) != token.deliveries || row.Integer(1) != token.holder
          : settlement.verb == Verb::kExtend) {
    return MakeStatus(
        Code::kReceiptExpired,
        "settle: the message was given back or settled meanwhile");
  }
  if (!pending) return oms::Receipt();  // Whoever settled it, it is settled.
  int64_t wait_ms = 0;
  int64_t deliveries = token.deliveries;
  int64_t holder = 0;
  switch (settlement.verb) {
    case Verb::kAck:
      Forget(token.group_id, token.message);
      return oms::Receipt();
    case Verb::kNack:
      wait_ms =
          std::min(known.Integer(0) << std::min<int64_t>(deliveries - 1, 20),
                   known.Integer(1));
      break;
    case Verb::kNackDelay:
      wait_ms = settlement.duration.count();
      break;
    case Verb::kExtend:
      wait_ms = settlement.duration.count();
      holder = token.holder;
      break;
    case Verb::kRelease:
      --deliveries;
      break;
    default:
      return MakeStatus(Code::kUnsupported, "settle: there is no such verb");
  }
  Update(token.group_id, token.message, NowMs() + wait_ms, deliveries, holder);
  return oms::Receipt();
}

void Broker::Update(int64_t group_id, int64_t message, int64_t due_ms,
                    int64_t deliveries, int64_t holder) {
  Execute(database_,
          "UPDATE pending SET due_ms = ?, deliveries = ?, holder = ? "
          "WHERE consumer_group = ? AND message = ?",
          due_ms, deliveries, holder, group_id, message);
}

int64_t Broker::QueueId(std::string_view queue) {
  Query row(database_, "SELECT id FROM queues WHERE name = ?", queue);
  return row.Next() ? row.Integer(0) : 0;
}

// `row` begins with id, stored_ms, deliveries, fields and body.
oms::Message Broker::Build(std::string_view queue, const Query& row) {
  auto* const holder = new ReceivedBytes();
  holder->queue = queue;
  holder->destination = holder->queue;
  holder->store_id = store_id_;
  holder->fields_and_body = row.Bytes(3);
  const size_t fields_size = holder->fields_and_body.size();
  holder->fields_and_body += row.Bytes(4);
  const std::string_view bytes = holder->fields_and_body;
  return MessageAccess::View(
      holder, bytes.substr(0, fields_size), bytes.substr(fields_size), kEpoch,
      static_cast<uint64_t>(row.Integer(0)),
      {.store_timestamp_ms = row.Integer(1),
       .delivery_count = static_cast<int32_t>(row.Integer(2))});
}

void Broker::Forget(int64_t group_id, int64_t message) {
  Execute(database_,
          "DELETE FROM pending WHERE consumer_group = ? AND message = ?",
          group_id, message);
  Purge(0, message);
}

void Broker::Purge(int64_t queue, int64_t message) {
  Execute(database_,
          "DELETE FROM messages WHERE (id = ?1 OR queue = ?2) "
          "AND stored_ms + (SELECT retention_ms FROM queues q "
          "                 WHERE q.id = messages.queue) <= ?3 "
          "AND NOT EXISTS (SELECT 1 FROM pending WHERE message = messages.id) "
          "AND EXISTS (SELECT 1 FROM consumer_groups g "
          "            WHERE g.queue = messages.queue)",
          message, queue, NowMs());
}

}  // namespace sqlite
