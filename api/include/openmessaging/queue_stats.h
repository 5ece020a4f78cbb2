// SPDX-License-Identifier: Apache-2.0
//
// How full a queue is, and how far its groups are; asked with
// ResourceManager::Stats().

#ifndef OPENMESSAGING_QUEUE_STATS_H_
#define OPENMESSAGING_QUEUE_STATS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace openmessaging {
inline namespace v0 {

// One group of a queue, over all partitions. What a broker does not tell is
// absent.
struct GroupStats {
  std::string group{};

  // Messages that the group has not settled yet, whether handed out or not.
  int64_t lag = 0;

  // How many of these are with a receiver, and how many were given back and
  // wait until they are due again.
  std::optional<int64_t> leased = std::nullopt;
  std::optional<int64_t> backing_off = std::nullopt;

  // How many of these newer ones have overtaken by far: they are kept apart, so
  // that they hold nobody up. There is room for so many only.
  std::optional<int64_t> exceptions = std::nullopt;

  // In some partition nothing new is handed out until something is settled,
  // because too much is unsettled.
  bool stopped = false;

  // How long ago the oldest of them was stored; absent where there is none.
  std::optional<std::chrono::milliseconds> oldest_age = std::nullopt;
};

// One queue, over all partitions.
struct QueueStats {
  std::string queue{};

  // Messages that some group has not settled yet, or all that are stored where
  // there is no group. Broadcast consumers count as groups here.
  int64_t depth = 0;

  // What these take, headers included. Absent where counting would take long.
  std::optional<int64_t> bytes = std::nullopt;

  // How long ago the oldest of them was stored; absent where there is none.
  std::optional<std::chrono::milliseconds> oldest_age = std::nullopt;

  // Messages that were prepared for it and are neither committed nor rolled back,
  // and so not among those above.
  std::optional<int64_t> prepared = std::nullopt;

  // In the order of their names, but for those of broadcast consumers.
  std::vector<GroupStats> groups{};
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_QUEUE_STATS_H_
