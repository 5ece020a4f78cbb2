// SPDX-License-Identifier: Apache-2.0

#include "stream_source.h"

#include <algorithm>
#include <utility>

#include "openmessaging/status.h"
#include "store_time.h"
#include "waiting.h"

namespace openmessaging::reference {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

}  // namespace

ReferenceStreamReader::ReferenceStreamReader(std::shared_ptr<Store> store,
                                             std::shared_ptr<const Queue> queue,
                                             uint32_t partition, int64_t offset,
                                             bool spin)
    : store_(std::move(store)),
      queue_(std::move(queue)),
      queue_partition_(QueuePartition(queue_->id, partition)),
      state_(queue_->state->partition(partition)),
      spin_(spin),
      queue_states_{queue_->state},
      index_(&store_->control(), state_, queue_partition_),
      next_(static_cast<uint64_t>(std::max<int64_t>(offset, 0))),
      sleeper_(&store_->control(), &store_->environment(),
               &store_->liveness()) {}

ReferenceStreamReader::~ReferenceStreamReader() {
  if (holder_ != nullptr) holder_->Unref();
}

absl::Status ReferenceStreamReader::Seek(int64_t offset,
                                         TimePoint /*deadline*/) noexcept {
  next_ = static_cast<uint64_t>(std::max<int64_t>(offset, 0));
  // It was of where the reader is no longer.
  pending_ = absl::OkStatus();
  return store_->CheckUsable();
}

void ReferenceStreamReader::Interrupt() noexcept {
  interrupted_.store(true);
  sleeper_.Ring();
}

bool ReferenceStreamReader::MayHave() const {
  return state_->next_offset.LoadSequential() > next_;
}

absl::Status ReferenceStreamReader::UseSegment(uint64_t position) {
  if (holder_ != nullptr && holder_->segment->Contains(position)) {
    return absl::OkStatus();
  }
  auto segment = store_->segments().Find(position);
  if (!segment.ok()) return segment.status();
  if (holder_ != nullptr) holder_->Unref();
  holder_ = new SegmentHolder(*std::move(segment), queue_, *store_);
  return absl::OkStatus();
}

absl::Status ReferenceStreamReader::Deliver(uint64_t position,
                                            driver::DeliverySink& sink) {
  if (auto s = UseSegment(position); !s.ok()) return s;
  auto message =
      ReadMessage(*store_, holder_, {queue_partition_, next_, position}, 1);
  if (!message.ok()) return message.status();
  sink.Deliver(*std::move(message), Receipt());
  return absl::OkStatus();
}

bool ReferenceStreamReader::IsGone(const IndexHit& hit) {
  return UseSegment(hit.position).ok() &&
         IsExpired(*store_, *holder_->segment,
                   {queue_partition_, next_, hit.position});
}

absl::Status ReferenceStreamReader::SkipLost() {
  const uint64_t end = state_->next_offset.Load();
  const uint64_t lost = next_;
  while (next_ < end && !index_.Find(next_)) ++next_;
  const uint64_t count = next_ - lost;
  return MakeStatus(Code::kDamaged, "read from \"",
                    std::string_view(queue_->name), "\": ", count,
                    count == 1 ? " message" : " messages", " of partition ",
                    PartitionOf(queue_partition_), " from offset ", lost,
                    " on cannot be found in the store; skipped");
}

void ReferenceStreamReader::LookOn(size_t max, driver::DeliverySink& sink,
                                   Look& look) {
  const uint64_t durable = store_->log().durable();
  const uint64_t end = state_->next_offset.LoadSequential();
  while (look.count < max && next_ < end) {
    const uint64_t first = state_->first_offset.Load();
    if (next_ < first) {
      next_ = first;
      continue;
    }
    const auto hit = index_.Find(next_);
    // Retirement takes entries after it said what it takes.
    if (!hit && next_ < state_->whole_from.Load()) {
      next_ = index_.Next(next_, state_->whole_from.Load());
      continue;
    }
    if (!hit) {
      look.damage = SkipLost();
      return;
    }
    if ((hit->flags & kIndexDisk) != 0 && hit->position >= durable) {
      // Durable ends a record, so one that begins below it is durable.
      look.flush_to = hit->position + 1;
      return;
    }
    if ((hit->flags & kIndexExpires) != 0 && IsGone(*hit)) {
      ++next_;
      continue;
    }
    const absl::Status delivered = Deliver(hit->position, sink);
    if (OmsCode(delivered) == Code::kQueueNotFound) {
      // Retired since it was found, or moved.
      const auto now = index_.Find(next_);
      if (now ? now->position != hit->position
              : next_ < state_->whole_from.Load()) {
        continue;
      }
    }
    if (!delivered.ok()) {
      look.damage = delivered;
      const Code code = OmsCode(delivered);
      if (code == Code::kDamaged || code == Code::kQueueNotFound) ++next_;
      return;
    }
    ++next_;
    ++look.count;
  }
}

absl::Status ReferenceStreamReader::Read(size_t max, TimePoint deadline,
                                         driver::DeliverySink& sink) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  if (!pending_.ok()) return std::exchange(pending_, absl::OkStatus());
  while (!interrupted_.exchange(false)) {
    if (!queue_->live()) {
      return MakeStatus(Code::kQueueNotFound, "read from \"",
                        std::string_view(queue_->name),
                        "\": the queue was deleted");
    }
    Look look;
    if (store_->delays().next_ns() != 0) {
      store_->delays().Work(store_->environment().clock->BootNs());
    }
    LookOn(max, sink, look);
    if (look.count > 0) {
      // Delivered messages come first; the error is for the next call.
      pending_ = look.damage;
      return absl::OkStatus();
    }
    if (!look.damage.ok()) return look.damage;
    if (look.flush_to != 0) {
      // Its sender leads that flush, unless it died.
      const auto flushed = store_->log().WaitDurable(
          look.flush_to, std::min(deadline, steady_clock::now() + kFlushWait));
      if (flushed.ok()) continue;
      if (OmsCode(flushed) != Code::kFlushTimeout) return flushed;
    }
    if (steady_clock::now() >= deadline) return absl::OkStatus();
    if (look.flush_to == 0) Wait(deadline);
  }
  return absl::OkStatus();
}

void ReferenceStreamReader::Wait(TimePoint deadline) {
  for (int spin = 0; spin < kSpins || spin_; ++spin) {
    if (interrupted_.load(std::memory_order_relaxed) || MayHave()) return;
    if (spin_ && spin % 64 == 63 &&
        (steady_clock::now() >= deadline || !queue_->live())) {
      return;
    }
    Relax();
  }
  sleeper_.Prepare(queue_states_);
  if (!interrupted_.load() && !MayHave()) {
    nanoseconds limit = kMaxSleep;
    if (const int64_t due = store_->delays().next_ns(); due != 0) {
      limit = std::min(
          limit, nanoseconds(due - store_->environment().clock->BootNs()));
    }
    if (deadline != TimePoint::max()) {
      limit = std::min<nanoseconds>(limit, deadline - steady_clock::now());
    }
    if (limit.count() > 0) sleeper_.Sleep(limit);
  }
  sleeper_.Leave(queue_states_);
}

absl::StatusOr<std::shared_ptr<const Queue>> ReferenceStreamSource::Find(
    std::string_view queue, int32_t partition, TimePoint deadline) {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  auto found = store_->catalog().FindQueue(queue, deadline);
  if (!found.ok()) return found.status();
  if ((*found)->has_priorities()) {
    return MakeStatus(Code::kUnsupported, "read from \"", queue,
                      "\": it has priorities, and so no one order of offsets; "
                      "expected a queue without (stream)");
  }
  if (partition < 0 ||
      static_cast<uint32_t>(partition) >= (*found)->partitions) {
    return MakeStatus(Code::kBadParameter, "read from \"", queue,
                      "\": partition ", partition,
                      " does not exist; the queue has ", (*found)->partitions);
  }
  return found;
}

absl::StatusOr<int32_t> ReferenceStreamSource::PartitionsOf(
    std::string_view queue, TimePoint deadline) noexcept {
  const auto found = Find(queue, 0, deadline);
  if (!found.ok()) return found.status();
  return static_cast<int32_t>((*found)->partitions);
}

absl::StatusOr<driver::StreamSource::Range> ReferenceStreamSource::RangeOf(
    std::string_view queue, int32_t partition, TimePoint deadline) noexcept {
  const auto found = Find(queue, partition, deadline);
  if (!found.ok()) return found.status();
  const PartitionState& state =
      *(*found)->state->partition(static_cast<uint32_t>(partition));
  // In this order, so that the range is never an impossible one.
  const auto first = static_cast<int64_t>(state.first_offset.Load());
  return Range{first, static_cast<int64_t>(state.next_offset.Load())};
}

absl::StatusOr<int64_t> ReferenceStreamSource::OffsetAt(
    std::string_view queue, int32_t partition,
    std::chrono::milliseconds since_1970_utc, TimePoint deadline) noexcept {
  const auto found = Find(queue, partition, deadline);
  if (!found.ok()) return found.status();
  const auto number = static_cast<uint32_t>(partition);
  PartitionState& state = *(*found)->state->partition(number);
  const int64_t since_ms = since_1970_utc.count();
  return static_cast<int64_t>(FirstStoredAt(
      store_->control(), store_->segments(), state,
      QueuePartition((*found)->id, number), state.next_offset.Load(),
      // It asks for what was stored later.
      since_ms == INT64_MIN ? since_ms : since_ms - 1));
}

absl::StatusOr<std::unique_ptr<driver::StreamReader>>
ReferenceStreamSource::Open(std::string_view queue, int32_t partition,
                            int64_t offset, TimePoint deadline) noexcept {
  auto found = Find(queue, partition, deadline);
  if (!found.ok()) return found.status();
  return std::make_unique<ReferenceStreamReader>(
      store_, *std::move(found), static_cast<uint32_t>(partition), offset,
      spin_);
}

}  // namespace openmessaging::reference
