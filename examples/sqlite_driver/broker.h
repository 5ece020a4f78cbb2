// SPDX-License-Identifier: Apache-2.0
//
// The broker: queues, groups and messages as tables of one database file, and
// what can be done with them. It is what a server would be elsewhere, and knows
// nothing of drivers but the form of a message.
//
// A message is stored once, with a row in `pending` for each group that has not
// settled it. Whoever receives it has it until due_ms, and may settle it as
// long as its row says so: that is all there is to leases, to redelivery and to
// processes that die.

#ifndef BROKER_H_
#define BROKER_H_

#include <string>
#include <string_view>
#include <vector>

#include "database.h"
#include "openmessaging/driver/consumer.h"
#include "openmessaging/message.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/send_result.h"

namespace sqlite {

inline constexpr char kSchema[] = R"(
CREATE TABLE IF NOT EXISTS store(id BLOB NOT NULL);
INSERT INTO store SELECT randomblob(16) WHERE NOT EXISTS (SELECT * FROM store);
CREATE TABLE IF NOT EXISTS queues(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE,
  retention_ms INTEGER NOT NULL, redelivery_ms INTEGER NOT NULL,
  max_redelivery_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS consumer_groups(
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL,
  name BLOB NOT NULL, UNIQUE(queue, name));
CREATE TABLE IF NOT EXISTS messages(
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL,
  stored_ms INTEGER NOT NULL, fields BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of_queue ON messages(queue);
CREATE TABLE IF NOT EXISTS pending(
  consumer_group INTEGER NOT NULL, message INTEGER NOT NULL,
  due_ms INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  holder INTEGER NOT NULL,  -- 0: nobody has it.
  PRIMARY KEY(consumer_group, message)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_of_message ON pending(message);
)";

// One consumer at one queue.
struct Binding {
  std::string queue;
  int64_t group_id = 0;
  uint64_t source = 0;  // In this connection.
  int64_t holder = 0;   // Among all processes.
};

struct Taken {
  oms::Message message;
  oms::Receipt receipt;
};

// Threads: each method within Database::Transact.
class Broker {
 public:
  explicit Broker(Database& database);

  absl::Status CreateQueue(std::string_view queue,
                           const oms::QueueOptions& options);
  absl::Status DeleteQueue(std::string_view queue);
  // Returns: that queue, or all where the name is empty.
  std::vector<oms::QueueInfo> Describe(std::string_view queue);

  absl::StatusOr<oms::SendResult> Put(const oms::Message& message,
                                      int64_t born_ms);

  absl::StatusOr<Binding> Bind(std::string_view queue, std::string_view group,
                               oms::StartPosition start);
  // What it has goes back to the group.
  void Unbind(const Binding& binding);
  // Hands out what is due, in the order of sending.
  std::vector<Taken> Take(const Binding& binding, size_t max_messages,
                          size_t max_bytes, std::chrono::milliseconds lease);
  // `group`: of the consumer that was asked. Returns: the empty receipt, for no
  // settlement changes one.
  absl::StatusOr<oms::Receipt> Settle(const oms::driver::Settlement& settlement,
                                      std::string_view group);

 private:
  int64_t QueueId(std::string_view queue);
  oms::Message Build(std::string_view queue, const Query& row);
  void Update(int64_t group_id, int64_t message, int64_t due_ms,
              int64_t deliveries, int64_t holder);
  // This group has done with it.
  void Forget(int64_t group_id, int64_t message);
  // Deletes that message, or all of the queue (0), where no group needs it.
  void Purge(int64_t queue, int64_t message);

  Database& database_;
  oms::MessageId::StoreId store_id_{};
};

}  // namespace sqlite
#endif  // BROKER_H_
