// SPDX-License-Identifier: Apache-2.0
//
// Properties as tables of AMQP 0-9-1, with their types, and tables of any
// client as properties. docs/rabbitmq.md has the types one by one.

#ifndef OPENMESSAGING_RABBITMQ_TABLE_H_
#define OPENMESSAGING_RABBITMQ_TABLE_H_

#include <amqp.h>

#include <functional>
#include <string_view>
#include <vector>

#include "openmessaging/key_value.h"

namespace openmessaging::rabbitmq {

// Memory for what one message needs until it is written.
//
// Threads: the owner's only.
class Arena {
 public:
  Arena() { init_amqp_pool(&pool_, 4096); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { empty_amqp_pool(&pool_); }

  // Returns: room for `count` entries, good until Clear.
  amqp_table_entry_t* Entries(size_t count) {
    return static_cast<amqp_table_entry_t*>(
        amqp_pool_alloc(&pool_, count * sizeof(amqp_table_entry_t)));
  }
  void Clear() { recycle_amqp_pool(&pool_); }

 private:
  amqp_pool_t pool_;
};

// Returns: whether a broker that decodes the table gives the same back: names
// fit, and numbers are finite, because RabbitMQ cannot read others.
bool FitsTable(KeyValueView properties);

// Writes one entry. `key` and views in `value` must last as long as `arena`.
void WriteEntry(std::string_view key, const Value& value, Arena& arena,
                amqp_table_entry_t& entry);

// Reads `table` into `out`. `skip(key)` tells which keys are left out.
void ReadTable(const amqp_table_t& table,
               const std::function<bool(std::string_view)>& skip,
               KeyValue& out);

// Finds an entry. Returns: nullptr where there is none.
const amqp_field_value_t* FindEntry(const amqp_table_t& table,
                                    std::string_view key);

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_TABLE_H_
