// SPDX-License-Identifier: Apache-2.0

#include "tag_table.h"

#include <algorithm>

namespace openmessaging::rabbitmq {
namespace {

constexpr size_t kMostReturned = 4096;

}  // namespace

TagTable::State TagTable::Of(uint64_t tag) const {
  if (tag == 0 || tag >= first_ + states_.size()) return State::kNone;
  if (tag >= first_) return states_[tag - first_];
  return std::find(returned_.begin(), returned_.end(), tag) == returned_.end()
             ? State::kSettled
             : State::kReturned;
}

void TagTable::Set(uint64_t tag, State state) {
  if (tag < first_ || tag - first_ >= states_.size()) return;
  states_[tag - first_] = state;
  if (state == State::kAcked) acked_.push_back(tag);
}

void TagTable::Add(uint64_t tag) {
  // One that was left out can only be another's.
  while (first_ + states_.size() < tag) states_.push_back(State::kSettled);
  states_.push_back(State::kHeld);
}

void TagTable::Return(uint64_t tag) {
  Set(tag, State::kReturned);
  Trim();
}

void TagTable::AcknowledgeUpTo(uint64_t tag) {
  for (uint64_t each = first_; each <= tag && each - first_ < states_.size();
       ++each) {
    if (states_[each - first_] == State::kShown) Acknowledge(each);
  }
}

std::vector<TagTable::Ack> TagTable::TakeAcks() {
  std::vector<Ack> acks;
  uint64_t last = 0;
  size_t joined = 0;
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] == State::kHeld || states_[i] == State::kShown ||
        states_[i] == State::kDying || states_[i] == State::kLeaving) {
      break;
    }
    if (states_[i] != State::kAcked) continue;
    last = first_ + i;
    ++joined;
  }
  if (joined > 0) acks.push_back({last, joined > 1});
  for (const uint64_t tag : acked_) {
    if (tag > last) acks.push_back({tag, false});
    Set(tag, State::kSettled);
  }
  acked_.clear();
  Trim();
  return acks;
}

void TagTable::Trim() {
  while (!states_.empty() && (states_.front() == State::kSettled ||
                              states_.front() == State::kReturned)) {
    if (states_.front() == State::kReturned) {
      returned_.push_back(first_);
      if (returned_.size() > kMostReturned) returned_.pop_front();
    }
    states_.pop_front();
    ++first_;
  }
}

void TagTable::Reset() {
  first_ = 1;
  states_.clear();
  acked_.clear();
  returned_.clear();
}

}  // namespace openmessaging::rabbitmq
