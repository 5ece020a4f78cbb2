// SPDX-License-Identifier: Apache-2.0
//
// A message as AMQP properties and headers, and back. docs/rabbitmq.md has the
// table, field by field.

#ifndef OPENMESSAGING_RABBITMQ_MESSAGE_MAPPING_H_
#define OPENMESSAGING_RABBITMQ_MESSAGE_MAPPING_H_

#include <amqp.h>
#include <amqp_framing.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "channel.h"
#include "openmessaging/message.h"
#include "table.h"

namespace openmessaging::rabbitmq {

// Writes the properties of messages, one at a time.
//
// Threads: the owner's only.
class MessageWriter {
 public:
  // Returns: the properties of `message`, good until the next call; they point
  // into the message, `id` and this writer. `deliveries`: how often it was
  // delivered that no queue knows of.
  const amqp_basic_properties_t& Write(const Message& message,
                                       std::string_view id,
                                       std::string_view born_host,
                                       int64_t born_ms, int64_t now_ms,
                                       int32_t deliveries = 0);

 private:
  void AddHeader(std::string_view key, const Value& value);
  void AddFields(const Message& message);
  void AddProperties(KeyValueView properties);

  Arena arena_;
  amqp_table_entry_t* entries_ = nullptr;
  int count_ = 0;
  std::string expiration_;
  amqp_basic_properties_t properties_{};
};

// Builds what a consumer delivers. `redelivered`: as basic.deliver says it;
// what the queue counts itself is better.
Message ReadMessage(std::string_view destination, const Content& content,
                    bool redelivered);

// Returns: the id that MessageWriter wrote; empty where there is none.
std::string_view IdOf(const amqp_basic_properties_t& properties);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_MESSAGE_MAPPING_H_
