// SPDX-License-Identifier: Apache-2.0
//
// Reading partitions by position, beside all groups.

#ifndef OPENMESSAGING_REFERENCE_STREAM_SOURCE_H_
#define OPENMESSAGING_REFERENCE_STREAM_SOURCE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bells.h"
#include "catalog.h"
#include "index.h"
#include "message_reader.h"
#include "openmessaging/driver/optional.h"
#include "store.h"

namespace openmessaging::reference {

// Reads one partition from an offset on, without a copy. What a group settled
// is there until its segment is retired; a reader does not keep a segment from
// that, and then goes on with the first message that is stored. An offset below
// that one begins there as well; one behind the end waits until it is reached.
// A damaged message is told once, with 1609, and skipped; one that has expired
// is skipped in silence, here as anywhere.
//
// Threads: as driver::StreamReader says.
// Lifetime: messages that were read keep their segment mapped by themselves.
class ReferenceStreamReader final : public driver::StreamReader {
 public:
  // `spin`: never sleep.
  ReferenceStreamReader(std::shared_ptr<Store> store,
                        std::shared_ptr<const Queue> queue, uint32_t partition,
                        int64_t offset, bool spin);
  ~ReferenceStreamReader() override;

  absl::Status Read(size_t max, TimePoint deadline,
                    driver::DeliverySink& sink) noexcept override;
  absl::Status Seek(int64_t offset, TimePoint deadline) noexcept override;
  void Interrupt() noexcept override;

 private:
  // What one look at the partition found.
  struct Look {
    size_t count = 0;
    // The next message is not durable yet: flush up to here. 0 = none.
    uint64_t flush_to = 0;
    absl::Status damage{};
  };

  void LookOn(size_t max, driver::DeliverySink& sink, Look& look);
  // Steps over messages that the index does not have.
  absl::Status SkipLost();
  // Whether the message that is next has expired.
  bool IsGone(const IndexHit& hit);
  absl::Status Deliver(uint64_t position, driver::DeliverySink& sink);
  absl::Status UseSegment(uint64_t position);
  bool MayHave() const;
  void Wait(TimePoint deadline);

  const std::shared_ptr<Store> store_;
  const std::shared_ptr<const Queue> queue_;
  const uint32_t queue_partition_;
  PartitionState* const state_;
  const bool spin_;
  const std::vector<QueueState*> queue_states_;
  IndexReader index_;
  uint64_t next_ = 0;
  absl::Status pending_;
  SegmentHolder* holder_ = nullptr;
  Sleeper sleeper_;
  std::atomic<bool> interrupted_{false};
};

// The partitions of a store's queues.
//
// Threads: every method may be called from any thread at any time.
class ReferenceStreamSource final : public driver::StreamSource {
 public:
  ReferenceStreamSource(std::shared_ptr<Store> store, bool spin)
      : store_(std::move(store)), spin_(spin) {}

  absl::StatusOr<int32_t> PartitionsOf(std::string_view queue,
                                       TimePoint deadline) noexcept override;
  absl::StatusOr<Range> RangeOf(std::string_view queue, int32_t partition,
                                TimePoint deadline) noexcept override;

  // Store times grow along a partition as long as nobody sets the clock back:
  // they are taken before the append, so that senders who meet may be some
  // milliseconds out of order. What is found was stored not before the time,
  // and the message in front of it was; where the order is broken there is more
  // than one such place. A damaged message counts as older.
  absl::StatusOr<int64_t> OffsetAt(std::string_view queue, int32_t partition,
                                   std::chrono::milliseconds since_1970_utc,
                                   TimePoint deadline) noexcept override;

  absl::StatusOr<std::unique_ptr<driver::StreamReader>> Open(
      std::string_view queue, int32_t partition, int64_t offset,
      TimePoint deadline) noexcept override;

 private:
  // Errors: 1404 no such queue, 1418 no such partition.
  absl::StatusOr<std::shared_ptr<const Queue>> Find(std::string_view queue,
                                                    int32_t partition,
                                                    TimePoint deadline);

  const std::shared_ptr<Store> store_;
  const bool spin_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_STREAM_SOURCE_H_
