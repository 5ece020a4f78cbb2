// SPDX-License-Identifier: Apache-2.0
//
// MessageId names one stored message. It is a value without an allocation; text
// is made only when somebody prints it.

#ifndef OPENMESSAGING_MESSAGE_ID_H_
#define OPENMESSAGING_MESSAGE_ID_H_

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "openmessaging/internal/text.h"

namespace openmessaging {
inline namespace v0 {

// Unique among all messages of all stores. Two forms: the 28 bytes
// {store id, epoch, sequence} that the reference driver counts, and any text of
// at most kMaxTextBytes bytes that a broker gave.
//
// Threads: a value.
// Implements: OMS-MSG-014.
class MessageId {
 public:
  static constexpr size_t kMaxTextBytes = 63;
  // 32 digits and two numbers, with a dash before each.
  static constexpr size_t kMaxPrintedBytes = 64;
  using StoreId = std::array<uint8_t, 16>;

  // The empty id, of a message that no driver has accepted.
  MessageId() = default;

  // Names record `sequence` of recovery epoch `epoch` of a store.
  MessageId(const StoreId& store, uint32_t epoch, uint64_t sequence)
      : size_(kCounted) {
    std::memcpy(bytes_.data(), store.data(), store.size());
    std::memcpy(bytes_.data() + 16, &epoch, sizeof(epoch));
    std::memcpy(bytes_.data() + 20, &sequence, sizeof(sequence));
  }

  // Takes a broker's own id. Returns: nothing for an empty text or one over
  // kMaxTextBytes; a driver whose ids are longer sends a digest of them.
  static std::optional<MessageId> FromText(std::string_view text) {
    if (text.empty() || text.size() > kMaxTextBytes) return std::nullopt;
    MessageId id;
    id.size_ = static_cast<uint8_t>(text.size());
    std::memcpy(id.bytes_.data(), text.data(), text.size());
    return id;
  }

  bool empty() const { return size_ == 0; }

  // Returns: `<32 hex digits>-<epoch>-<sequence>`, or the broker's text.
  std::string ToString() const {
    std::array<char, kMaxPrintedBytes> text;
    return std::string(Print(text));
  }

  // As ToString(), but into `room`, without an allocation.
  std::string_view Print(std::span<char, kMaxPrintedBytes> room) const {
    if (size_ != kCounted) {
      std::memcpy(room.data(), bytes_.data(), size_);
      return {room.data(), size_};
    }
    uint32_t epoch = 0;
    uint64_t sequence = 0;
    std::memcpy(&epoch, bytes_.data() + 16, sizeof(epoch));
    std::memcpy(&sequence, bytes_.data() + 20, sizeof(sequence));
    char* out = room.data();
    for (size_t i = 0; i < sizeof(StoreId); ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[i]);
      *out++ = internal::kHexDigits[byte >> 4];
      *out++ = internal::kHexDigits[byte & 15];
    }
    char* const end = room.data() + room.size();
    *out++ = '-';
    out = std::to_chars(out, end, epoch).ptr;
    *out++ = '-';
    out = std::to_chars(out, end, sequence).ptr;
    return {room.data(), static_cast<size_t>(out - room.data())};
  }

  friend bool operator==(const MessageId& a, const MessageId& b) {
    return a.size_ == b.size_ && a.bytes_ == b.bytes_;
  }
  friend auto operator<=>(const MessageId& a, const MessageId& b) {
    if (a.size_ != b.size_) return a.size_ <=> b.size_;
    return a.bytes_ <=> b.bytes_;
  }
  template <typename H>
  friend H AbslHashValue(H h, const MessageId& id) {
    return H::combine(std::move(h), id.size_, id.bytes_);
  }

 private:
  static constexpr uint8_t kCounted = 255;

  // First, so that what a store writes and a send copies is aligned.
  std::array<char, kMaxTextBytes> bytes_{};
  uint8_t size_ = 0;  // 0 empty, kCounted, else the length of the text.
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_MESSAGE_ID_H_
