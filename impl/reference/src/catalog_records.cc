// SPDX-License-Identifier: Apache-2.0
//
// The bodies of records of queues and groups.

#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog.h"
#include "openmessaging/key_value.h"
#include "openmessaging/limits.h"
#include "routes.h"

namespace openmessaging::reference {
namespace {

void PutOffsets(KeyValue& body, std::string_view key,
                const std::vector<uint64_t>& offsets) {
  if (offsets.empty()) return;
  const std::string_view bytes(reinterpret_cast<const char*>(offsets.data()),
                               offsets.size() * sizeof(uint64_t));
  body.Put(key, Bytes{bytes}).IgnoreError();
}

bool GetOffsets(const KeyValueView& fields, std::string_view key,
                std::vector<uint64_t>& offsets) {
  const std::string_view bytes = fields.GetOr<Bytes>(key, Bytes{}).data;
  if (bytes.size() % sizeof(uint64_t) != 0) return false;
  offsets.resize(bytes.size() / sizeof(uint64_t));
  if (!bytes.empty()) std::memcpy(offsets.data(), bytes.data(), bytes.size());
  return true;
}
}  // namespace

// What is as by default is not written, but for the partitions.
std::string EncodeQueueRecord(const QueueRecord& record) {
  const QueueOptions& options = record.options;
  const QueueOptions defaults;
  KeyValue body;
  body.Put("name", record.name).IgnoreError();
  body.Put("partitions", options.partitions).IgnoreError();
  if (options.max_deliveries != defaults.max_deliveries) {
    body.Put("max-deliveries", options.max_deliveries).IgnoreError();
  }
  if (!options.dead_letter_queue.empty()) {
    body.Put("dead-letter-queue", options.dead_letter_queue).IgnoreError();
  }
  const auto put_ms = [&](std::string_view key, std::chrono::milliseconds value,
                          std::chrono::milliseconds by_default) {
    if (value == by_default) return;
    body.Put(key, int64_t{value.count()}).IgnoreError();
  };
  put_ms("redelivery-ms", options.redelivery_delay, defaults.redelivery_delay);
  put_ms("max-redelivery-ms", options.max_redelivery_delay,
         defaults.max_redelivery_delay);
  put_ms("retention-ms", options.retention, defaults.retention);
  if (options.priorities) body.Put("priorities", true).IgnoreError();
  put_ms("deduplication-ms", options.deduplication_window,
         defaults.deduplication_window);
  if (!options.filter.empty()) {
    body.Put("filter", Bytes{options.filter}).IgnoreError();
  }
  PutOffsets(body, "next", record.next);
  return std::string(body.encoded());
}

std::optional<QueueRecord> DecodeQueueRecord(std::string_view body) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return std::nullopt;
  QueueRecord record;
  QueueOptions& options = record.options;
  record.name = fields->GetOr<std::string>("name", "");
  options.partitions = fields->GetOr<int32_t>("partitions", 0);
  options.max_deliveries =
      fields->GetOr<int32_t>("max-deliveries", options.max_deliveries);
  options.dead_letter_queue =
      fields->GetOr<std::string>("dead-letter-queue", "");
  const auto get_ms = [&](std::string_view key,
                          std::chrono::milliseconds& value) {
    value = std::chrono::milliseconds(
        fields->GetOr<int64_t>(key, int64_t{value.count()}));
    return value.count() >= 0;
  };
  options.priorities = fields->GetOr<bool>("priorities", false);
  options.filter = fields->GetOr<Bytes>("filter", Bytes{}).data;
  const bool sound =
      !record.name.empty() && options.partitions >= 1 &&
      options.partitions <= kMaxPartitions &&
      LoggedPartitions(options) <= kMaxPartitionsPerQueue &&
      options.max_deliveries >= 0 &&
      get_ms("redelivery-ms", options.redelivery_delay) &&
      get_ms("max-redelivery-ms", options.max_redelivery_delay) &&
      get_ms("retention-ms", options.retention) &&
      get_ms("deduplication-ms", options.deduplication_window) &&
      GetOffsets(*fields, "next", record.next);
  if (!sound) return std::nullopt;
  return record;
}

std::string EncodeGroupRecord(std::string_view name,
                              const std::vector<uint64_t>& start) {
  KeyValue body;
  body.Put("name", name).IgnoreError();
  PutOffsets(body, "start", start);
  return std::string(body.encoded());
}

bool DecodeGroupRecord(std::string_view body, std::string& name,
                       std::vector<uint64_t>& start) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return false;
  name = fields->GetOr<std::string>("name", "");
  return !name.empty() && GetOffsets(*fields, "start", start);
}
}  // namespace openmessaging::reference
