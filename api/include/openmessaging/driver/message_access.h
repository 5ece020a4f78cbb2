// SPDX-License-Identifier: Apache-2.0
//
// MessageAccess is how drivers read the bytes of a message that is sent and
// build one that was received. Applications have no use for it.

#ifndef OPENMESSAGING_DRIVER_MESSAGE_ACCESS_H_
#define OPENMESSAGING_DRIVER_MESSAGE_ACCESS_H_

#include <cstdint>
#include <string_view>

#include "openmessaging/internal/fields.h"
#include "openmessaging/internal/message_holder.h"
#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

using internal::Field;
using internal::MessageHolder;

// What a driver says of a message that it delivers.
struct DeliveryHeader {
  int32_t partition = -1;
  int64_t offset = -1;
  int64_t store_timestamp_ms = 0;
  int32_t delivery_count = 1;
};

class MessageAccess {
 public:
  // Returns: the field form of all that the sender set, destination first.
  static std::string_view Fields(const Message& message) {
    return message.fields();
  }

  // Returns: the fields behind the destination: what a store keeps.
  static std::string_view FieldsAfterDestination(const Message& message) {
    std::string_view fields = message.fields();
    const auto first = internal::FieldAt(fields, 0);
    if (first && first->type == Field::kDestination) {
      fields.remove_prefix(first->end);
    }
    return fields;
  }

  // Builds a received message without a copy: `fields`, then `body`, in bytes
  // that `holder` keeps alive. Takes one reference of `holder`. Where the body
  // does not follow the fields, the holder is this message's alone and
  // holder->body points at it.
  static Message View(MessageHolder* holder, std::string_view fields,
                      std::string_view body, uint32_t epoch,
                      uint64_t sequence, const DeliveryHeader& header) {
    Message message;
    message.holder_ = holder;
    message.fields_ = fields.data();
    message.fields_size_ = static_cast<uint32_t>(fields.size());
    message.body_size_ = static_cast<uint32_t>(body.size());
    message.id_epoch_ = epoch;
    message.id_sequence_ = sequence;
    message.flags_ = Message::kReceived | Message::kHasCountedId;
    if (holder->body != nullptr) message.flags_ |= Message::kBodyApart;
    SetDelivery(message, header);
    return message;
  }

  // Builds a message as it is about to be stored, to look at: as View, but what
  // only storing decides, such as its id and its place, is not set.
  static Message Preview(MessageHolder* holder, std::string_view fields,
                         std::string_view body, int64_t store_timestamp_ms) {
    DeliveryHeader header;
    header.store_timestamp_ms = store_timestamp_ms;
    header.delivery_count = 0;
    Message message = View(holder, fields, body, 0, 0, header);
    message.flags_ &= ~Message::kHasCountedId;
    return message;
  }

  // Completes a message that a driver built with Message::Borrow and setters
  // out of a client library's own.
  static void SetDelivery(Message& message, const DeliveryHeader& header) {
    message.partition_ = header.partition;
    message.offset_ = header.offset;
    message.store_timestamp_ms_ = header.store_timestamp_ms;
    message.delivery_count_ = header.delivery_count;
  }

  // Sets a header field that only drivers and the library set.
  static void SetField(Message& message, Field field,
                       std::string_view payload) {
    message.SetText(field, payload);
  }
};

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_MESSAGE_ACCESS_H_
