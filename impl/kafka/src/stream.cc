// SPDX-License-Identifier: Apache-2.0

#include "stream.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "errors.h"
#include "headers.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

// How often the end is looked at while a position lies behind it.
constexpr milliseconds kEndAgain{50};
constexpr size_t kMostRead = 256;

// One partition, assigned without a group.
//
// Threads: as driver::StreamReader says.
// Invariant: position_ is the offset of the next message to be delivered.
class Reader final : public driver::StreamReader {
 public:
  Reader(std::shared_ptr<Cluster> cluster, Streams& streams,
         std::shared_ptr<Handle> handle, std::string_view queue,
         int32_t partition, int64_t offset)
      : cluster_(std::move(cluster)),
        streams_(streams),
        handle_(std::move(handle)),
        own_(rd_kafka_queue_get_consumer(handle_->get())),
        queue_(queue),
        partition_(partition),
        position_(offset) {}
  ~Reader() override {
    own_.reset();
    Handle::Release(std::move(handle_));
  }

  absl::Status Read(size_t max, TimePoint deadline,
                    driver::DeliverySink& sink) override;
  absl::Status Seek(int64_t offset, TimePoint /*deadline*/) override {
    position_ = offset;
    fetching_ = false;
    return absl::OkStatus();
  }
  void Interrupt() override {
    interrupted_ = true;
    rd_kafka_queue_yield(own_.get());
  }

 private:
  // Begins to fetch where the position is among what is stored, or at its end.
  absl::Status Begin(TimePoint deadline);
  // Returns: whether it was a message.
  absl::StatusOr<bool> Deliver(OwnedMessage record, driver::DeliverySink& sink);

  const std::shared_ptr<Cluster> cluster_;
  Streams& streams_;
  std::shared_ptr<Handle> handle_;
  OwnedQueue own_;
  const std::string queue_;
  const int32_t partition_;
  int64_t position_;
  bool fetching_ = false;
  std::atomic<bool> interrupted_{false};
};

absl::Status Reader::Begin(TimePoint deadline) {
  // A deadline that has passed makes it look once all the same.
  const TimePoint soon = Clock::now() + std::chrono::seconds(3);
  const auto range = streams_.RangeOf(
      queue_, partition_, deadline < soon ? soon : deadline);
  if (!range.ok()) return range.status();
  position_ = std::max(position_, range->first);
  if (position_ > range->end) return absl::OkStatus();
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_list_add(list.get(), queue_.c_str(), partition_)
      ->offset = position_;
  const rd_kafka_resp_err_t error = rd_kafka_assign(handle_->get(), list.get());
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaStatus(error, "read");
  fetching_ = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> Reader::Deliver(OwnedMessage record,
                                     driver::DeliverySink& sink) {
  switch (record->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      break;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      return false;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      fetching_ = false;  // Deleted meanwhile, or not there yet.
      return false;
    default:
      return KafkaStatus(record->err, Concat("read \"", queue_, "\""),
                         rd_kafka_message_errstr(record.get()));
  }
  if (record->offset < position_) return false;
  position_ = record->offset + 1;
  Received received =
      Receive(std::move(record), handle_, cluster_->cluster_id());
  sink.Deliver(std::move(received.message), Receipt());
  return true;
}

absl::Status Reader::Read(size_t max, TimePoint deadline,
                          driver::DeliverySink& sink) {
  size_t count = 0;
  while (count == 0) {
    if (!fetching_) {
      if (absl::Status s = Begin(deadline); !s.ok()) return s;
    }
    if (interrupted_.exchange(false)) break;
    const TimePoint until =
        fetching_ ? deadline : std::min(deadline, Clock::now() + kEndAgain);
    OwnedMessage first(
        rd_kafka_consumer_poll(handle_->get(), TimeoutMs(until)));
    if (first == nullptr) {
      if (interrupted_.exchange(false) || Clock::now() >= deadline) break;
      continue;
    }
    const auto delivered = Deliver(std::move(first), sink);
    if (!delivered.ok()) return delivered.status();
    if (*delivered) ++count;
  }
  if (count == 0 || count == max) return absl::OkStatus();
  std::array<rd_kafka_message_t*, kMostRead> records;
  const ssize_t more = rd_kafka_consume_batch_queue(
      own_.get(), 0, records.data(), std::min(max - count, records.size()));
  absl::Status status;
  for (ssize_t i = 0; i < more; ++i) {
    const auto delivered =
        Deliver(OwnedMessage(records[static_cast<size_t>(i)]), sink);
    if (status.ok()) status = delivered.status();
  }
  return status;
}

}  // namespace

absl::StatusOr<int32_t> Streams::PartitionsOf(std::string_view queue,
                                              TimePoint deadline) {
  return cluster_->PartitionsOf(queue, deadline);
}

absl::Status Streams::CheckPartition(std::string_view queue, int32_t partition,
                                     TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  if (partition >= 0 && partition < *partitions) return absl::OkStatus();
  return MakeStatus(Code::kBadParameter, "read \"", queue, "\": partition ",
                    partition, " is asked for; the queue has ", *partitions);
}

absl::StatusOr<driver::StreamSource::Range> Streams::RangeOf(
    std::string_view queue, int32_t partition, TimePoint deadline) {
  if (auto s = CheckPartition(queue, partition, deadline); !s.ok()) return s;
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  Range range;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  while (true) {
    error = rd_kafka_query_watermark_offsets(
        (*control)->get(), std::string(queue).c_str(), partition, &range.first,
        &range.end, std::max(1, TimeoutMs(deadline)));
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return range;
    // A partition has no leader for a moment after its broker was restarted.
    if (CodeOf(error) != Code::kUnavailable ||
        Clock::now() + kEndAgain >= deadline) {
      break;
    }
    std::this_thread::sleep_for(kEndAgain);
  }
  return LookupStatus(error, Concat("range of \"", queue, "\""));
}

absl::StatusOr<int64_t> Streams::OffsetAt(std::string_view queue,
                                          int32_t partition,
                                          milliseconds since_1970_utc,
                                          TimePoint deadline) {
  if (auto s = CheckPartition(queue, partition, deadline); !s.ok()) return s;
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const PartitionList list = NewPartitionList();
  rd_kafka_topic_partition_t* const one = rd_kafka_topic_partition_list_add(
      list.get(), std::string(queue).c_str(), partition);
  one->offset = since_1970_utc.count();
  rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(
      (*control)->get(), list.get(), std::max(1, TimeoutMs(deadline)));
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = one->err;
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return LookupStatus(error, Concat("position in \"", queue, "\""));
  }
  if (one->offset >= 0) return one->offset;
  const auto range = RangeOf(queue, partition, deadline);
  if (!range.ok()) return range.status();
  return range->end;
}

absl::StatusOr<std::unique_ptr<driver::StreamReader>> Streams::Open(
    std::string_view queue, int32_t partition, int64_t offset,
    TimePoint deadline) {
  if (auto s = CheckPartition(queue, partition, deadline); !s.ok()) return s;
  // The name is never told to a broker: nothing joins and nothing commits.
  auto conf = cluster_->config().Make(Config::Kind::kConsumer,
                                      {{"group.id", "oms.reader"},
                                       {"enable.auto.commit", "false"},
                                       {"enable.auto.offset.store", "false"},
                                       {"auto.offset.reset", "error"}});
  if (!conf.ok()) return conf.status();
  auto handle = Handle::Make(RD_KAFKA_CONSUMER, *std::move(conf));
  if (!handle.ok()) return handle.status();
  (void)rd_kafka_poll_set_consumer((*handle)->get());
  return std::make_unique<Reader>(cluster_, *this, *std::move(handle), queue,
                                  partition, offset);
}

}  // namespace openmessaging::kafka
