// SPDX-License-Identifier: Apache-2.0
//
// What a message is on Kafka: docs/kafka.md has the table. Both directions are
// here, so that they cannot drift apart.

#ifndef OPENMESSAGING_KAFKA_HEADERS_H_
#define OPENMESSAGING_KAFKA_HEADERS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "native.h"
#include "openmessaging/key_value.h"
#include "openmessaging/message.h"

namespace openmessaging::kafka {

// The property that says that the body is absent and not empty: what a
// compacted topic takes for a deletion. A bool.
inline constexpr std::string_view kTombstone = "kafka.tombstone";
// The key of a foreign message that is no text. Bytes.
inline constexpr std::string_view kBinaryKey = "kafka.key";

// What the driver adds to a message that it sends.
struct Birth {
  std::string_view message_id{};
  int64_t born_timestamp_ms = 0;
  std::string_view host{};
};

// One header of Kafka's.
struct Header {
  std::string name{};
  std::string value{};

  friend bool operator==(const Header&, const Header&) = default;
};

// Returns: the headers of `message`, in their order.
std::vector<Header> HeadersOf(const Message& message, const Birth& birth);

// As librdkafka takes them.
OwnedHeaders NativeHeaders(const Message& message, const Birth& birth);

// What is read of a record, beside its body.
struct Record {
  std::string_view topic{};
  int32_t partition = 0;
  int64_t offset = 0;
  // Absent where the record has none; may hold any bytes.
  const void* key = nullptr;
  size_t key_size = 0;
  bool has_body = true;
  int64_t timestamp_ms = -1;
  // The broker set the time when it took the record.
  bool broker_time = false;
  std::string_view cluster{};
};

// Collects the fields of a received message: Add for each header, Finish,
// Write.
//
// Threads: one.
// Lifetime: names, values and the record are looked at until Write returns.
class FieldsReader {
 public:
  void Add(std::string_view name, const void* value, size_t size);
  // Returns: how many bytes the field form has.
  size_t Finish(const Record& record);
  // Writes it, as MessageAccess takes it. Returns: its end.
  char* Write(char* out) const;

  Qos qos() const { return qos_; }
  int64_t expire_at_ms() const { return expire_at_ms_; }
  int64_t delay_ms() const { return delay_ms_; }
  // Of the foreign kind, when the sender gave the record its time.
  static int64_t StoreTime(const Record& record) {
    return record.broker_time && record.timestamp_ms > 0 ? record.timestamp_ms
                                                         : 0;
  }

 private:
  struct Property {
    std::string_view name{};
    std::string_view value{};
    bool is_null = false;
  };

  // A number has its bytes here, a text where it came from.
  struct Entry {
    internal::Field field{};
    uint8_t number_bytes = 0;  // 0: a text.
    int64_t number = 0;
    std::string_view text{};

    std::string_view payload() const {
      return number_bytes == 0
                 ? text
                 : std::string_view(reinterpret_cast<const char*>(&number),
                                    number_bytes);
    }
  };

  // Of each field that has a header, the key and the properties one at most.
  static constexpr size_t kMostEntries = 17;

  void AddOwn(std::string_view name, std::string_view value);
  void Put(const Entry& entry);
  void PutText(internal::Field field, std::string_view text) {
    if (!text.empty()) Put({field, 0, 0, text});
  }
  void PutNumber(internal::Field field, int64_t number, uint8_t bytes) {
    Put({field, bytes, number, {}});
  }
  void ReadProperties(const Record& record);

  std::array<Entry, kMostEntries> entries_{};
  size_t count_ = 0;
  std::vector<Property> properties_;
  // What no header has as it is needed here.
  std::string foreign_id_;
  KeyValue all_;
  std::string_view types_;
  Qos qos_ = Qos::kAtLeastOnce;
  int64_t expire_at_ms_ = 0;
  int64_t delay_ms_ = 0;
  bool has_id_ = false;
  bool has_born_ = false;
};

// Builds what `message` of a consumer's handle is here. The body stays where it
// lies, unless copying it is cheaper than keeping that; `handle` stays while it
// is looked at. `message` is taken over.
struct Received {
  Message message{};
  Qos qos = Qos::kAtLeastOnce;
  int64_t expire_at_ms = 0;
  int64_t delay_ms = 0;
};
Received Receive(OwnedMessage message, const std::shared_ptr<Handle>& handle,
                 std::string_view cluster);

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_HEADERS_H_
