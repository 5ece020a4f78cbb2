// SPDX-License-Identifier: Apache-2.0
//
// Bodies of Message. Include message.h instead.

#ifndef OPENMESSAGING_INTERNAL_MESSAGE_INL_H_
#define OPENMESSAGING_INTERNAL_MESSAGE_INL_H_

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "openmessaging/message.h"

namespace openmessaging {
inline namespace v0 {

inline constexpr std::string_view kSpecificationVersion = "1.0.0";

namespace internal {

// The handle counts bytes in 32 bits. What is beyond is cut, and still more
// than any Send accepts (1413), so that it cannot go unnoticed.
inline std::string_view CutBody(std::string_view body) {
  return body.substr(0, size_t{1} << 31);
}

}  // namespace internal

inline Message::Message(std::string_view destination, std::string_view body) {
  BuildAnew(destination, {}, kFieldsRoom, body);
}

inline Message Message::Borrow(std::string_view destination,
                               std::string_view body, Release release,
                               void* context) {
  Message message;
  message.BuildAnew(destination, {}, kFieldsRoom, {});
  internal::MessageBlock* const block = message.block();
  block->body = body.data();
  block->release = release;
  block->release_context = context;
  message.body_size_ = static_cast<uint32_t>(internal::CutBody(body).size());
  return message;
}

inline void Message::BuildAnew(std::string_view destination,
                               std::string_view fields, size_t fields_room,
                               std::string_view body) {
  body = internal::CutBody(body);
  const size_t head =
      destination.empty() ? 0 : internal::FieldSize(destination.size());
  const size_t needed = head + fields.size();
  const size_t room = std::max(needed, fields_room);
  internal::MessageBlock* const block =
      internal::MessageBlock::Make(room + body.size());
  // What the size class gives on top is for fields.
  block->fields_capacity = static_cast<uint32_t>(block->capacity - body.size());
  char* const data = block->data();
  if (head != 0) {
    internal::PutField(data, Field::kDestination, destination);
  }
  if (!fields.empty()) std::memcpy(data + head, fields.data(), fields.size());
  block->body = data + block->fields_capacity;
  if (!body.empty()) {
    std::memcpy(data + block->fields_capacity, body.data(), body.size());
  }
  holder_ = block;
  fields_ = data;
  fields_size_ = static_cast<uint32_t>(needed);
  body_size_ = static_cast<uint32_t>(body.size());
  flags_ = (flags_ & ~kReceived) | kBodyApart;
}

inline void Message::Reset() {
  if (holder_ != nullptr) holder_->Unref();
  holder_ = nullptr;
}

inline void Message::TakeBits(const Message& other) {
  holder_ = other.holder_;
  fields_ = other.fields_;
  fields_size_ = other.fields_size_;
  body_size_ = other.body_size_;
  id_sequence_ = other.id_sequence_;
  offset_ = other.offset_;
  store_timestamp_ms_ = other.store_timestamp_ms_;
  id_epoch_ = other.id_epoch_;
  partition_ = other.partition_;
  delivery_count_ = other.delivery_count_;
  flags_ = other.flags_;
}

inline void Message::CopyFrom(const Message& other) {
  TakeBits(other);
  if (holder_ != nullptr) holder_->Ref();
}

inline void Message::MoveFrom(Message& other) noexcept {
  TakeBits(other);
  other.holder_ = nullptr;
  other.fields_ = nullptr;
  other.fields_size_ = 0;
  other.body_size_ = 0;
  other.flags_ = 0;
}

inline Message& Message::operator=(const Message& other) {
  if (this != &other) {
    Reset();
    CopyFrom(other);
  }
  return *this;
}

inline Message& Message::operator=(Message&& other) noexcept {
  if (this != &other) {
    Reset();
    MoveFrom(other);
  }
  return *this;
}

inline std::string_view Message::destination() const {
  if ((flags_ & kReceived) != 0) return holder_->destination;
  return Text(Field::kDestination);
}

inline std::string_view Message::body() const {
  if (body_size_ == 0) return {};
  if ((flags_ & kBodyApart) != 0) return {holder_->body, body_size_};
  return {fields_ + fields_size_, body_size_};
}

inline int Message::priority() const {
  const int value = Number<uint8_t>(Field::kPriority, kDefaultPriority);
  return value >= 1 && value <= 10 ? value : kDefaultPriority;
}

inline MessageId Message::message_id() const {
  if ((flags_ & kHasCountedId) != 0) {
    return MessageId(holder_->store_id, id_epoch_, id_sequence_);
  }
  return MessageId::FromText(Text(Field::kMessageId)).value_or(MessageId());
}

inline MessageId Message::origin_id() const {
  const std::string_view origin = Text(Field::kOriginId);
  if (origin.empty()) return message_id();
  return MessageId::FromText(origin).value_or(MessageId());
}

inline std::string_view Message::version() const {
  const std::string_view version = Text(Field::kVersion);
  return version.empty() ? kSpecificationVersion : version;
}

inline Message::Milliseconds Message::born_timestamp() const {
  return Milliseconds(
      Number<int64_t>(Field::kBornTimestamp, store_timestamp_ms_));
}

inline std::string_view Message::born_host() const {
  const std::string_view host = Text(Field::kBornHost);
  return host.empty() ? store_host() : host;
}

inline std::string_view Message::store_host() const {
  const std::string_view host = Text(Field::kStoreHost);
  if (!host.empty() || holder_ == nullptr) return host;
  return holder_->store_host;
}

inline bool Message::Holds(std::string_view text) const {
  const auto within = [&](std::string_view whole) {
    return std::less_equal<>()(whole.data(), text.data()) &&
           std::less<>()(text.data(), whole.data() + whole.size());
  };
  // The last two lie in the holder, which a setter may let go of.
  return !text.empty() && (within(fields()) || within(body()) ||
                           within(destination()) || within(store_host()));
}

inline void Message::Own(size_t fields_room) {
  if (holder_ == nullptr) {
    BuildAnew({}, {}, fields_room, {});
    return;
  }
  const bool received = (flags_ & kReceived) != 0;
  if (!received && !holder_->IsShared() &&
      block()->fields_capacity >= fields_room) {
    return;
  }
  // The old holder keeps every byte alive until the new block has its copy.
  Message old(std::move(*this));
  const MessageId::StoreId store_id = old.holder_->store_id;
  TakeBits(old);
  holder_ = nullptr;
  const std::string_view destination =
      received ? old.destination() : std::string_view();
  // A borrowed body that nobody else refers to moves along without a copy.
  internal::MessageBlock* const lender =
      !received && !old.holder_->IsShared() && old.block()->release != nullptr
          ? old.block()
          : nullptr;
  BuildAnew(destination, old.fields(),
            std::max(fields_room, old.fields().size() + kFieldsRoom),
            lender != nullptr ? std::string_view() : old.body());
  if (lender != nullptr) {
    block()->body = lender->body;
    block()->release = std::exchange(lender->release, nullptr);
    block()->release_context = lender->release_context;
    body_size_ = old.body_size_;
  }
  holder_->store_id = store_id;
}

inline char* Message::Splice(size_t begin, size_t end, size_t size) {
  const size_t new_size = fields_size_ - (end - begin) + size;
  // One doubling at a time, so that many small fields are linear work.
  Own(new_size <= fields_size_ ? new_size : new_size + fields_size_ / 2);
  char* const data = block()->data();
  std::memmove(data + begin + size, data + end, fields_size_ - end);
  fields_size_ = static_cast<uint32_t>(new_size);
  return data + begin;
}

inline Message& Message::SetText(Field type, std::string_view payload) {
  std::string copy;
  if (Holds(payload)) {
    copy = payload;
    payload = copy;
  }
  if (holder_ == nullptr || (flags_ & kReceived) != 0) Own(kFieldsRoom);
  const internal::FieldSpan at = internal::LocateField(fields(), type);
  if (payload.empty()) {
    Splice(at.begin, at.end, 0);
    return *this;
  }
  char* const out =
      Splice(at.begin, at.end, internal::FieldSize(payload.size()));
  internal::PutField(out, type, payload);
  return *this;
}

inline Message& Message::SetDestination(std::string_view queue) {
  return SetText(Field::kDestination, queue);
}

inline Message& Message::SetBody(std::string_view body) {
  // The old message stays whole until the new block has been filled.
  const Message old(*this);
  const bool received = (flags_ & kReceived) != 0;
  const MessageId::StoreId store_id =
      holder_ != nullptr ? holder_->store_id : MessageId::StoreId{};
  Reset();
  BuildAnew(received ? old.destination() : std::string_view(), old.fields(),
            old.fields().size() + kFieldsRoom, body);
  holder_->store_id = store_id;
  return *this;
}

inline Message& Message::SetPriority(int priority) {
  const auto value =
      static_cast<uint8_t>(priority < 0 || priority > 255 ? 0 : priority);
  return SetText(Field::kPriority, internal::NumberBytes(value));
}
inline Message& Message::SetQos(Qos qos) {
  return SetText(Field::kQos, internal::NumberBytes(qos));
}
inline Message& Message::SetDurability(Durability durability) {
  if (durability == Durability::kDefault) {
    return SetText(Field::kDurability, {});
  }
  return SetText(Field::kDurability, internal::NumberBytes(durability));
}
inline Message& Message::SetDelay(Milliseconds delay) {
  const int64_t value = delay.count();
  return SetText(Field::kDelay, internal::NumberBytes(value));
}
inline Message& Message::SetExpireAt(Milliseconds since_1970_utc) {
  const int64_t value = since_1970_utc.count();
  return SetText(Field::kExpireAt, internal::NumberBytes(value));
}
inline Message& Message::SetPartition(int32_t partition) {
  return SetText(Field::kPartition, internal::NumberBytes(partition));
}

inline absl::Status Message::SetProperty(std::string_view key,
                                         const Value& value) {
  KeyValue edited(properties());
  if (auto status = edited.Put(key, value); !status.ok()) return status;
  SetText(Field::kProperties, edited.encoded());
  return absl::OkStatus();
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_MESSAGE_INL_H_
