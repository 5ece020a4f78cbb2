// SPDX-License-Identifier: Apache-2.0
//
// ShownMessages keeps what the application has of one channel, for as long as
// it may still ask that it be moved: to the dead letters, or to a later time.

#ifndef OPENMESSAGING_RABBITMQ_SHOWN_MESSAGES_H_
#define OPENMESSAGING_RABBITMQ_SHOWN_MESSAGES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "openmessaging/message.h"

namespace openmessaging::rabbitmq {

// Tags rise, and are forgotten nearly in their order.
//
// Threads: the owner's lock.
// Invariant: the first entry is a message.
class ShownMessages {
 public:
  void Show(uint64_t tag, const Message& message) {
    if (all_.empty()) first_ = tag;
    if (tag < first_) return;
    while (all_.size() <= tag - first_) all_.emplace_back();
    all_[tag - first_] = message;
  }

  // Returns: nullptr where it is not there. Good until something changes.
  const Message* Find(uint64_t tag) const {
    if (tag < first_ || tag - first_ >= all_.size() || !all_[tag - first_]) {
      return nullptr;
    }
    return &*all_[tag - first_];
  }

  // Forgets [first, last].
  void Forget(uint64_t first, uint64_t last) {
    const uint64_t end = std::min(last, first_ + all_.size() - 1);
    if (all_.empty()) return;
    for (uint64_t tag = std::max(first, first_); tag <= end; ++tag) {
      all_[tag - first_].reset();
    }
    while (!all_.empty() && !all_.front()) {
      all_.pop_front();
      ++first_;
    }
  }

  void Clear() { all_.clear(); }
  size_t size() const { return all_.size(); }

 private:
  uint64_t first_ = 1;
  std::deque<std::optional<Message>> all_;
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_SHOWN_MESSAGES_H_
