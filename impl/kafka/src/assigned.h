// SPDX-License-Identifier: Apache-2.0
//
// Assigned is one partition for as long as a member has it, and the text in
// which what is settled of it outlives that.

#ifndef OPENMESSAGING_KAFKA_ASSIGNED_H_
#define OPENMESSAGING_KAFKA_ASSIGNED_H_

#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "headers.h"
#include "openmessaging/internal/base64.h"
#include "openmessaging/kit/ack_tracker.h"
#include "openmessaging/message.h"
#include "openmessaging/queue_info.h"
#include "openmessaging/receipt.h"

namespace openmessaging::kafka {

// How far a member receives beyond its oldest unsettled message. What is settled
// of so many fits into the metadata of a commit with room for counts.
inline constexpr size_t kWindow = 8192;

// Brokers take 4,096 characters (offset.metadata.max.bytes).
inline constexpr size_t kImageBytes = 3000;
inline constexpr std::string_view kImagePrefix = "oms1:";

// Threads: the member's lock.
struct Assigned {
  Assigned(uint64_t source_number, std::string topic_name,
           int32_t partition_number, int64_t first,
           const QueueOptions& queue_options)
      : source(source_number),
        topic(std::move(topic_name)),
        partition(partition_number),
        options(queue_options),
        tracker(first, kWindow) {}

  using Unsettled = absl::flat_hash_map<int64_t, Received>;

  const uint64_t source;
  const std::string topic;
  const int32_t partition;
  const QueueOptions options;
  kit::AckTracker tracker;
  // What has arrived and is not settled, ready to be handed out again.
  Unsettled unsettled{};
  // What came while there was no room.
  std::deque<Received> parked{};
  bool paused = false;
  // Something was settled, or delivered, since the last commit.
  bool settled = false;
  bool delivered = false;
};

// What a commit says of `tracker` beside its low-water mark.
inline std::string MetadataOf(const kit::AckTracker& tracker) {
  const std::string image = tracker.Image(kImageBytes);
  if (image.empty()) return {};
  std::string text(kImagePrefix);
  internal::AppendBase64(text, image);
  return text;
}

// Reads it. Metadata of somebody else's says nothing.
inline void RestoreFrom(std::string_view metadata, kit::AckTracker& tracker) {
  if (!metadata.starts_with(kImagePrefix)) return;
  metadata.remove_prefix(kImagePrefix.size());
  if (const auto image = internal::DecodeBase64(metadata)) {
    (void)tracker.Restore(*image);
  }
}

// Which delivery of which message a receipt is of.
struct Token {
  int64_t offset = 0;
  int32_t delivery = 0;

  static constexpr size_t kBytes = 12;

  Receipt ToReceipt(uint64_t source) const {
    char bytes[kBytes];
    std::memcpy(bytes, &offset, sizeof(offset));
    std::memcpy(bytes + sizeof(offset), &delivery, sizeof(delivery));
    return Receipt(source, {bytes, kBytes});
  }
  static std::optional<Token> Read(std::string_view bytes) {
    if (bytes.size() != kBytes) return std::nullopt;
    Token token;
    std::memcpy(&token.offset, bytes.data(), sizeof(token.offset));
    std::memcpy(&token.delivery, bytes.data() + sizeof(token.offset),
                sizeof(token.delivery));
    return token;
  }
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_ASSIGNED_H_
