// SPDX-License-Identifier: Apache-2.0
//
// Reading one partition: from hand-outs to messages.

#include <algorithm>
#include <utility>

#include "consumer.h"

namespace openmessaging::reference {

BoundPartition::BoundPartition(Store* store, std::shared_ptr<const Queue> queue,
                               std::shared_ptr<const Group> group,
                               std::shared_ptr<const Queue> dead_letters,
                               uint32_t partition, uint64_t source)
    : store_(store),
      queue_(std::move(queue)),
      group_(std::move(group)),
      queue_partition_(QueuePartition(queue_->id, partition)),
      source_(source),
      state_(queue_->state->partition(partition)),
      cursor_(group_->state->cursor(partition)),
      log_(store, group_, std::move(dead_letters), partition) {}

BoundPartition::~BoundPartition() {
  if (holder_ != nullptr) holder_->Unref();
}

absl::StatusOr<bool> BoundPartition::EnsureWindow(TimePoint deadline) {
  if (window() != nullptr) return true;
  const bool used = cursor_->window.Load() != 0;
  if (!used && state_->next_offset.Load() <= cursor_->next.Load()) return false;
  if (auto s = store_->catalog().EnsureWindow(*cursor_, deadline); !s.ok()) {
    return s;
  }
  held_ = std::vector<std::atomic<uint64_t>>(
      store_->control().header().options.window);
  window_.emplace(&store_->control(), &store_->environment(),
                  &store_->liveness(), state_, queue_partition_, cursor_,
                  RedeliveryPolicy::Of(queue_->options), &log_);
  ready_.store(&*window_, std::memory_order_release);
  return true;
}

bool BoundPartition::MayHave(int64_t now_ns) {
  if (const GroupWindow* const ready = window()) return ready->MayHave(now_ns);
  return cursor_->window.Load() != 0 ||
         state_->next_offset.LoadSequential() > cursor_->next.Load();
}

int64_t BoundPartition::NextLookNs() const {
  return window() != nullptr ? cursor_->next_scan_ns.Load() : INT64_MAX;
}

absl::Status BoundPartition::UseSegment(uint64_t position) {
  if (holder_ != nullptr && holder_->segment->Contains(position)) {
    return absl::OkStatus();
  }
  auto segment = store_->segments().Find(position);
  if (!segment.ok()) return segment.status();
  if (holder_ != nullptr) holder_->Unref();
  holder_ = new SegmentHolder(*std::move(segment), queue_, *store_);
  return absl::OkStatus();
}

absl::StatusOr<Message> BoundPartition::Load(const HandOut& out) {
  if (auto s = UseSegment(out.position); !s.ok()) return s;
  return ReadMessage(*store_, holder_,
                     {queue_partition_, out.offset, out.position},
                     out.word.attempts());
}

void BoundPartition::Remember(const HandOut& out) {
  held_[out.offset % held_.size()].store(out.word.bits(),
                                         std::memory_order_release);
}

bool BoundPartition::AckUpTo(uint64_t offset) {
  bool settled = false;
  for (uint64_t n = cursor_->floor.Load(); n < offset; ++n) {
    const DeliveryWord word = Held(n);
    // What came back meanwhile is not this consumer's any more.
    if (word.Is(n) && window_->Ack(n, word).ok()) settled = true;
  }
  return settled;
}

void BoundPartition::ReturnHeld() {
  if (window() == nullptr) return;
  const uint64_t next = cursor_->next.Load();
  for (uint64_t offset = cursor_->floor.Load(); offset < next; ++offset) {
    const DeliveryWord word = Held(offset);
    if (word.Is(offset)) window_->Return(offset, word);
  }
}

}  // namespace openmessaging::reference
