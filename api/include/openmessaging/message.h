// SPDX-License-Identifier: Apache-2.0
//
// Message is what applications send and receive. The fields and their rules are
// in spec/message.md, the memory layout in docs/design/message.md.

#ifndef OPENMESSAGING_MESSAGE_H_
#define OPENMESSAGING_MESSAGE_H_

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "openmessaging/internal/fields.h"
#include "openmessaging/internal/message_holder.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message_id.h"

namespace openmessaging {
inline namespace v0 {

namespace driver {
class MessageAccess;
}  // namespace driver

enum class Qos : uint8_t {
  kAtLeastOnce = 0,
  // No group gets the message twice; one whose receiver fails is lost to it. It
  // is settled when it is handed out: Ack, Nack and Reject answer OK and change
  // nothing, Extend answers 1604. What the broker forgets in a power loss it
  // rather does not deliver. A broker that cannot do this delivers at least once.
  kAtMostOnce = 1,
  kExactlyOnce = 2
};

// How safe a message is when Send returns. kDefault: the queue's own default.
enum class Durability : uint8_t {
  kDefault = 0,
  kVolatile = 1,  // Gone with the broker's processes.
  kProcess = 2,   // Survives kill -9 of every process, not a power loss.
  kDisk = 3,      // On stable storage.
};

// A handle of 64 bytes with two forms. A message being built owns one buffer;
// a received one is a view of bytes that it keeps alive, and its fields are
// decoded when they are read. A setter on a received or shared message copies
// it first, so copies never see each other's changes.
//
// Setters check nothing but what would lose data; Send checks limits and says
// which one is broken. Getters of absent text return "", of absent numbers the
// default of the field.
//
// Threads: a value; const methods may run together.
// Lifetime: every std::string_view that a getter returns is good until the
// message changes or ends. A received message pins the memory it lies in.
// Implements: OMS-MSG-001 to OMS-MSG-024.
class Message {
 public:
  using Release = internal::MessageBlock::Release;
  using Milliseconds = std::chrono::milliseconds;

  static constexpr int kDefaultPriority = 5;

  // The empty message: no destination, no body. Allocates nothing.
  Message() = default;

  // Builds a message; both texts are copied.
  Message(std::string_view destination, std::string_view body);

  // Builds a message whose body stays where it is. `release(context)` is called
  // once, on any thread, when nothing refers to the body any more.
  static Message Borrow(std::string_view destination, std::string_view body,
                        Release release, void* context);

  Message(const Message& other) { CopyFrom(other); }
  Message(Message&& other) noexcept { MoveFrom(other); }
  Message& operator=(const Message& other);
  Message& operator=(Message&& other) noexcept;
  ~Message() { Reset(); }

  // --- what the sender sets ---
  std::string_view destination() const;
  std::string_view body() const;
  std::string_view message_key() const { return Text(Field::kMessageKey); }
  std::string_view correlation_id() const {
    return Text(Field::kCorrelationId);
  }
  std::string_view reply_to() const { return Text(Field::kReplyTo); }
  std::string_view deduplication_id() const {
    return Text(Field::kDeduplicationId);
  }
  std::string_view compression() const { return Text(Field::kCompression); }
  std::string_view traceparent() const { return Text(Field::kTraceParent); }
  std::string_view tracestate() const { return Text(Field::kTraceState); }
  // Returns: 1 to 10, 10 is delivered first; anything else set counts as 5.
  int priority() const;
  Qos qos() const { return static_cast<Qos>(Number<uint8_t>(Field::kQos, 0)); }
  Durability durability() const {
    return static_cast<Durability>(Number<uint8_t>(Field::kDurability, 0));
  }
  Milliseconds delay() const {
    return Milliseconds(Number<int64_t>(Field::kDelay, 0));
  }
  // Returns: milliseconds since 1970 UTC; 0 = never.
  Milliseconds expire_at() const {
    return Milliseconds(Number<int64_t>(Field::kExpireAt, 0));
  }
  // Returns: the partition that the sender asked for; -1 = none.
  int32_t requested_partition() const {
    return Number<int32_t>(Field::kPartition, -1);
  }
  // Returns: a view; `properties().Get<int32_t>("tries")`.
  KeyValueView properties() const {
    return KeyValueView(Text(Field::kProperties));
  }

  Message& SetDestination(std::string_view queue);
  Message& SetBody(std::string_view body);
  Message& SetMessageKey(std::string_view key) {
    return SetText(Field::kMessageKey, key);
  }
  Message& SetCorrelationId(std::string_view id) {
    return SetText(Field::kCorrelationId, id);
  }
  Message& SetReplyTo(std::string_view queue) {
    return SetText(Field::kReplyTo, queue);
  }
  Message& SetDeduplicationId(std::string_view id) {
    return SetText(Field::kDeduplicationId, id);
  }
  Message& SetCompression(std::string_view name) {
    return SetText(Field::kCompression, name);
  }
  Message& SetTraceparent(std::string_view text) {
    return SetText(Field::kTraceParent, text);
  }
  Message& SetTracestate(std::string_view text) {
    return SetText(Field::kTraceState, text);
  }
  Message& SetPriority(int priority);
  Message& SetQos(Qos qos);
  Message& SetDurability(Durability durability);
  Message& SetDelay(Milliseconds delay);
  Message& SetExpireAt(Milliseconds since_1970_utc);
  Message& SetPartition(int32_t partition);

  // Sets one property, replacing value and type.
  // Errors: 1418 an empty key or text that is not UTF-8, 1411 nested too deep.
  absl::Status SetProperty(std::string_view key, const Value& value);
  Message& SetProperties(KeyValueView properties) {
    return SetText(Field::kProperties, properties.encoded());
  }

  // --- what the library and the driver set ---
  // Returns: the empty id before a driver has accepted the message.
  MessageId message_id() const;
  // Returns: the id at the first driver; survives bridge, routing, dead letter.
  MessageId origin_id() const;
  std::string_view version() const;
  Milliseconds born_timestamp() const;
  std::string_view born_host() const;
  Milliseconds store_timestamp() const {
    return Milliseconds(store_timestamp_ms_);
  }
  std::string_view store_host() const;
  std::string_view transaction_id() const {
    return Text(Field::kTransactionId);
  }
  int32_t partition() const { return partition_; }
  int64_t offset() const { return offset_; }
  // Returns: 0 before the first delivery, 1 at it.
  int32_t delivery_count() const { return delivery_count_; }

 private:
  friend class driver::MessageAccess;
  using Field = internal::Field;

  static constexpr uint32_t kReceived = 1;      // A view, not a block.
  static constexpr uint32_t kBodyApart = 2;     // The body is holder_->body.
  static constexpr uint32_t kHasCountedId = 4;  // id_epoch_, id_sequence_.
  static constexpr size_t kFieldsRoom = 128;

  std::string_view fields() const { return {fields_, fields_size_}; }
  std::string_view Text(Field type) const {
    return internal::FindField(fields(), type).value_or(std::string_view());
  }
  template <typename T>
  T Number(Field type, T fallback) const {
    return internal::FindNumber<T>(fields(), type).value_or(fallback);
  }

  internal::MessageBlock* block() {
    return static_cast<internal::MessageBlock*>(holder_);
  }
  void Reset();
  void CopyFrom(const Message& other);
  void MoveFrom(Message& other) noexcept;
  void TakeBits(const Message& other);
  // Returns: whether `text` is a view of this message's own bytes.
  bool Holds(std::string_view text) const;
  // Makes this message the only one of a block with room for that many bytes
  // of fields; the body keeps its bytes.
  void Own(size_t fields_room);
  void BuildAnew(std::string_view destination, std::string_view fields,
                 size_t fields_room, std::string_view body);
  Message& SetText(Field type, std::string_view payload);
  // Makes room for `size` bytes in place of [begin, end) of the fields.
  char* Splice(size_t begin, size_t end, size_t size);

  internal::MessageHolder* holder_ = nullptr;
  const char* fields_ = nullptr;
  uint32_t fields_size_ = 0;
  uint32_t body_size_ = 0;
  uint64_t id_sequence_ = 0;
  int64_t offset_ = -1;
  int64_t store_timestamp_ms_ = 0;
  uint32_t id_epoch_ = 0;
  int32_t partition_ = -1;
  int32_t delivery_count_ = 0;
  uint32_t flags_ = 0;
};

static_assert(sizeof(Message) <= 64, "a message is a handle");

// Sets when a message expires: `duration` from now on this machine's clock.
inline void ExpireAfter(Message& message, std::chrono::milliseconds duration) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  constexpr auto kMax = std::chrono::milliseconds::max();
  message.SetExpireAt(duration > kMax - now ? kMax : now + duration);
}

}  // namespace v0
}  // namespace openmessaging

#include "openmessaging/internal/message_inl.h"  // IWYU pragma: export

#endif  // OPENMESSAGING_MESSAGE_H_
