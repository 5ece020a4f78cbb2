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
#include "native.h"
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
// In its place where nothing new is handed out until something is settled.
inline constexpr std::string_view kStoppedPrefix = "oms1-stopped:";

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

  // Returns: whether something new has arrived and there is no room for it.
  bool IsStopped() const {
    return !parked.empty() && !tracker.HasRoom(parked.front().message.offset());
  }

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
  // What the last commit said of IsStopped().
  bool told_stopped = false;
};

// What a commit says of `tracker` beside its low-water mark.
inline std::string MetadataOf(const kit::AckTracker& tracker, bool stopped) {
  const std::string image = tracker.Image(kImageBytes);
  if (image.empty() && !stopped) return {};
  std::string text(stopped ? kStoppedPrefix : kImagePrefix);
  internal::AppendBase64(text, image);
  return text;
}

// The metadata of `one`, as a commit left it there.
inline std::string_view MetadataIn(const rd_kafka_topic_partition_t& one) {
  if (one.metadata == nullptr) return {};
  return {static_cast<const char*>(one.metadata), one.metadata_size};
}

// Writes it for a commit.
inline void SetMetadata(rd_kafka_topic_partition_t& one,
                        const std::string& metadata) {
  if (metadata.empty()) return;
  one.metadata = ::strdup(metadata.c_str());  // librdkafka frees it.
  one.metadata_size = metadata.size();
}

inline bool SaysStopped(std::string_view metadata) {
  return metadata.starts_with(kStoppedPrefix);
}

// Reads what is settled. Metadata of somebody else's says nothing.
inline void RestoreFrom(std::string_view metadata, kit::AckTracker& tracker) {
  const std::string_view prefix =
      SaysStopped(metadata) ? kStoppedPrefix : kImagePrefix;
  if (!metadata.starts_with(prefix)) return;
  metadata.remove_prefix(prefix.size());
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
