// SPDX-License-Identifier: Apache-2.0
//
// Reading one partition: from hand-outs to messages.

#include <algorithm>
#include <utility>

#include "consumer.h"

namespace openmessaging::reference {

BoundPartition::BoundPartition(Store* store, std::shared_ptr<const Queue> queue,
                               std::shared_ptr<const Group> group,
                               uint32_t partition, uint64_t source,
                               bool ordered, const DeliveryTerms* terms)
    : store_(store),
      queue_(std::move(queue)),
      group_(std::move(group)),
      queue_partition_(QueuePartition(queue_->id, partition)),
      source_(source),
      seeks_(SeeksOf(group_->state->cursor(partition)->images.Load())),
      ordered_(ordered),
      state_(queue_->state->partition(partition)),
      cursor_(group_->state->cursor(partition)),
      terms_(terms),
      log_(store, group_, partition, terms) {}

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
  held_ = std::vector<HeldPlace>(store_->control().header().options.window);
  window_.emplace(&store_->control(), &store_->environment(),
                  &store_->liveness(), state_, queue_partition_, cursor_,
                  terms_->policy, &log_, ordered_);
  // Who was here before may have died with messages, which come before newer
  // ones.
  cursor_->next_scan_ns.Store(0);
  ready_.store(&*window_, std::memory_order_release);
  return true;
}

void BoundPartition::SetTerms(const DeliveryTerms* terms) {
  terms_ = terms;
  log_.set_terms(terms);
  if (GroupWindow* const ready = window()) ready->set_policy(&terms->policy);
}

bool BoundPartition::MayHave(int64_t now_ns) {
  if (WasMoved()) return true;
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
  uint64_t position = out.position;
  while (true) {
    auto message = LoadAt(out, position);
    if (OmsCode(message.status()) != Code::kQueueNotFound) return message;
    // It may have moved since it was handed out, and its old segment is gone.
    const auto hit = IndexReader(&store_->control(), state_, queue_partition_)
                         .Find(out.offset);
    if (!hit || hit->position == position) return message;
    position = hit->position;
  }
}

absl::StatusOr<Message> BoundPartition::LoadAt(const HandOut& out,
                                               uint64_t position) {
  if (auto s = UseSegment(position); !s.ok()) return s;
  return ReadMessage(*store_, holder_,
                     {queue_partition_, out.offset, position},
                     out.word.attempts());
}

void BoundPartition::BeginAnew(uint32_t seeks, uint64_t source) {
  for (HeldPlace& place : held_) place.Store({});
  {
    const internal::MutexLock lock(late_mutex_);
    late_.clear();
  }
  source_.store(source, std::memory_order_release);
  seeks_.store(seeks, std::memory_order_release);
}

void BoundPartition::RememberLate(const HandOut& out) {
  const internal::MutexLock lock(late_mutex_);
  // What is not held any more goes when there may be much of it.
  if (late_.size() >= late_limit_) {
    std::erase_if(late_, [&](const HandOut& late) {
      return !window_->IsHeld(late.offset, late.word);
    });
    late_limit_ = std::max(kLateAtLeast, 2 * late_.size());
  }
  late_.push_back(out);
}

void BoundPartition::Remember(const HandOut& out) {
  HeldPlace& place = held_[out.offset % held_.size()];
  // Where the group has exceptions, a place in the window may not be theirs.
  if (cursor_->exceptions.Load() != 0) {
    if (out.offset < cursor_->floor.Load()) {
      RememberLate(out);
      return;
    }
    const HandOut before = place.Load();
    if (before.offset != out.offset && before.word.Is(before.offset) &&
        window_->IsHeld(before.offset, before.word)) {
      RememberLate(before);
    }
  }
  place.Store(out);
}

template <typename Visit>
void BoundPartition::ForEachHeld(uint64_t end, const Visit& visit) {
  // All of it is void.
  if (WasMoved()) return;
  const uint64_t floor = cursor_->floor.Load();
  const auto visit_one = [&](const HandOut& held) {
    if (held.offset < end && held.word.Is(held.offset)) visit(held);
  };
  // What the window has left behind is where it was put, or later.
  if (cursor_->exceptions.Load() != 0) {
    for (const HeldPlace& place : held_) {
      const HandOut held = place.Load();
      if (held.offset < floor) visit_one(held);
    }
    const internal::MutexLock lock(late_mutex_);
    for (const HandOut& late : late_) visit_one(late);
  }
  end = std::min(end, cursor_->next.Load());
  for (uint64_t offset = floor; offset < end; ++offset) {
    const HandOut held = held_[offset % held_.size()].Load();
    if (held.offset == offset) visit_one(held);
  }
}

bool BoundPartition::AckUpTo(uint64_t offset) {
  bool settled = false;
  ForEachHeld(offset, [&](const HandOut& held) {
    // What came back meanwhile is not this consumer's any more.
    if (window_->Ack(held.offset, held.word).ok()) settled = true;
  });
  return settled;
}

void BoundPartition::ReturnHeld() {
  if (window() == nullptr) return;
  ForEachHeld(UINT64_MAX, [&](const HandOut& held) {
    window_->Return(held.offset, held.word);
  });
}

}  // namespace openmessaging::reference
