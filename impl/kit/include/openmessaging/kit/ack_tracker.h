// SPDX-License-Identifier: Apache-2.0
//
// AckTracker settles messages one by one where a broker keeps one number for
// all of them: everything below it is done with (Kafka, AMQP streams).

#ifndef OPENMESSAGING_KIT_ACK_TRACKER_H_
#define OPENMESSAGING_KIT_ACK_TRACKER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "openmessaging/internal/fields.h"

namespace openmessaging::inline v0::kit {

// One partition for as long as it is assigned to a consumer. Offsets arrive in
// rising order, with gaps where the log has no message. What is below low_water()
// is settled, and that is what the broker is told; what is settled above it goes
// along in the image, so that a later owner does not deliver it again.
//
// At most `window` offsets lie between the oldest unsettled one and the newest
// that arrived: a message that is never settled ends receiving there, and not
// the memory of the process.
//
// Threads: the caller's lock.
// Invariants:
//   (1) entries_[i] is offset low_ + i, and the first of them is unsettled;
//   (2) whatever arrived was not settled when it did.
class AckTracker {
 public:
  enum class Outcome : uint8_t {
    kDone,      // Settled now, or before.
    kStale,     // It was given back; whoever has it now has another receipt.
    kUnknown,   // It was never handed out.
  };

  // `first`: the offset that comes first, or the broker's mark.
  AckTracker(int64_t first, size_t window) : low_(first), window_(window) {}

  // Takes what an earlier owner wrote with Image(). Returns: false, changing
  // nothing, for bytes that are no image: the messages come again.
  bool Restore(std::string_view image);

  // Returns: what is settled above low_water(), and how often the rest was
  // delivered, in at most `max_bytes`; empty where there is nothing to say, or
  // no room for it. Counts are left out first.
  std::string Image(size_t max_bytes) const;

  // Returns: whether `offset` may arrive now.
  bool HasRoom(int64_t offset) const {
    return entries_.empty() || offset - low_ < static_cast<int64_t>(window_);
  }

  // Notes that the log's next message is the one at `offset`: there is none
  // between it and the one before. Returns: false where it is settled.
  bool Arrive(int64_t offset);

  // Hands out what has arrived, or was given back. Returns: the how manieth
  // delivery it is, from 1; it names the delivery in what follows.
  int32_t Deliver(int64_t offset);

  // Returns: whether that delivery is out: neither settled nor given back.
  bool IsOut(int64_t offset, int32_t delivery) {
    Outcome outcome;
    return FindOut(offset, delivery, outcome) != nullptr;
  }

  Outcome Ack(int64_t offset, int32_t delivery);
  Outcome GiveBack(int64_t offset, int32_t delivery);
  // Settles it and all that is out and was handed out before it, and calls
  // `settled(offset)` for each.
  template <typename Settled>
  Outcome AckUpTo(int64_t offset, int32_t delivery, const Settled& settled);

  // Settles what has arrived, without anybody's asking.
  void Drop(int64_t offset) { Settle(offset); }

  int64_t low_water() const { return low_; }
  // Returns: how many above it are settled; those that the log has not count.
  int64_t settled_above() const {
    int64_t count = 0;
    for (const Entry& entry : entries_) {
      count += entry.state == State::kSettled ? 1 : 0;
    }
    return count;
  }
  // Returns: the offset behind the last that arrived or was restored.
  int64_t end() const { return low_ + static_cast<int64_t>(entries_.size()); }

 private:
  enum class State : uint8_t { kExpected, kWaiting, kOut, kSettled };
  struct Entry {
    State state = State::kSettled;
    int32_t deliveries = 0;
    uint64_t turn = 0;  // Of the last delivery, among all.
  };

  // How many bytes of an image are worth reading: 2^20 offsets.
  static constexpr uint32_t kMostSpan = uint32_t{1} << 20;

  Entry* Find(int64_t offset) {
    return offset < low_ || offset >= end()
               ? nullptr
               : &entries_[static_cast<size_t>(offset - low_)];
  }
  // Returns: the delivery's entry; nullptr with its outcome where it is none.
  Entry* FindOut(int64_t offset, int32_t delivery, Outcome& outcome);
  void Settle(int64_t offset) {
    if (Entry* const entry = Find(offset)) entry->state = State::kSettled;
    Advance();
  }
  void Advance() {
    while (!entries_.empty() && entries_.front().state == State::kSettled) {
      entries_.pop_front();
      ++low_;
    }
  }

  int64_t low_;
  size_t window_;
  std::deque<Entry> entries_;
  // What is below it has arrived, or never will.
  int64_t arrived_ = INT64_MIN;
  uint64_t turns_ = 0;
};

inline bool AckTracker::Restore(std::string_view image) {
  const int64_t first = low_;
  uint32_t span = 0;
  size_t at = internal::GetVarint(image, 0, span);
  const size_t bitmap = (size_t{span} + 7) / 8;
  if (at == 0 || span == 0 || span > kMostSpan || image.size() - at < bitmap) {
    return false;
  }
  std::deque<Entry> entries(span);
  for (size_t i = 0; i < span; ++i) {
    if ((static_cast<uint8_t>(image[at + i / 8]) >> (i % 8) & 1) == 0) continue;
    entries[i].state = State::kExpected;
    entries[i].deliveries = 1;
  }
  at += bitmap;
  size_t index = 0;
  while (at < image.size()) {
    uint32_t step = 0;
    uint32_t count = 0;
    const size_t first_size = internal::GetVarint(image, at, step);
    const size_t second_size =
        first_size == 0 ? 0 : internal::GetVarint(image, at + first_size, count);
    index += step;
    if (second_size == 0 || index >= span || count > INT32_MAX) return false;
    entries[index].deliveries = static_cast<int32_t>(count);
    at += first_size + second_size;
  }
  entries_ = std::move(entries);
  low_ = first;
  Advance();
  return true;
}

inline std::string AckTracker::Image(size_t max_bytes) const {
  const auto span = static_cast<uint32_t>(entries_.size());
  std::string image(internal::kMaxVarintBytes, '\0');
  image.resize(internal::PutVarint(image.data(), span));
  const size_t head = image.size();
  if (span == 0 || head + (size_t{span} + 7) / 8 > max_bytes) return {};
  image.resize(head + (size_t{span} + 7) / 8, '\0');
  for (size_t i = 0; i < span; ++i) {
    if (entries_[i].state == State::kSettled) continue;
    char& byte = image[head + i / 8];
    byte = static_cast<char>(byte | 1 << (i % 8));
  }
  size_t last = 0;
  for (size_t i = 0; i < span; ++i) {
    const Entry& entry = entries_[i];
    if (entry.state == State::kSettled || entry.deliveries == 1) continue;
    char pair[2 * internal::kMaxVarintBytes];
    size_t size = internal::PutVarint(pair, static_cast<uint32_t>(i - last));
    size += internal::PutVarint(pair + size,
                                static_cast<uint32_t>(entry.deliveries));
    if (image.size() + size > max_bytes) break;
    image.append(pair, size);
    last = i;
  }
  return image;
}

inline bool AckTracker::Arrive(int64_t offset) {
  if (entries_.empty() && offset > low_) low_ = offset;
  // What an earlier owner saw there was deleted meanwhile.
  if (arrived_ < low_) arrived_ = low_;
  for (; arrived_ < offset && arrived_ < end(); ++arrived_) {
    Entry& entry = *Find(arrived_);
    if (entry.state == State::kExpected) entry.state = State::kSettled;
  }
  Advance();
  if (entries_.empty() && offset > low_) low_ = offset;
  while (end() < offset) entries_.emplace_back();
  if (offset >= arrived_) arrived_ = offset + 1;
  if (offset < low_) return false;
  if (end() == offset) {
    entries_.push_back({State::kWaiting, 0, 0});
    return true;
  }
  Entry& entry = *Find(offset);
  if (entry.state != State::kExpected) return false;
  entry.state = State::kWaiting;
  return true;
}

inline int32_t AckTracker::Deliver(int64_t offset) {
  Entry* const entry = Find(offset);
  if (entry == nullptr || entry->state != State::kWaiting) return 0;
  entry->state = State::kOut;
  entry->turn = ++turns_;
  if (entry->deliveries < INT32_MAX) ++entry->deliveries;
  return entry->deliveries;
}

inline AckTracker::Entry* AckTracker::FindOut(int64_t offset, int32_t delivery,
                                              Outcome& outcome) {
  outcome = Outcome::kUnknown;
  if (delivery < 1 || offset < 0 || offset >= end()) return nullptr;
  Entry* const entry = Find(offset);
  if (entry == nullptr || entry->state == State::kSettled) {
    outcome = Outcome::kDone;
    return nullptr;
  }
  if (delivery > entry->deliveries) return nullptr;
  outcome = Outcome::kStale;
  if (entry->state != State::kOut || entry->deliveries != delivery) {
    return nullptr;
  }
  outcome = Outcome::kDone;
  return entry;
}

inline AckTracker::Outcome AckTracker::Ack(int64_t offset, int32_t delivery) {
  Outcome outcome;
  if (Entry* const entry = FindOut(offset, delivery, outcome)) {
    entry->state = State::kSettled;
    Advance();
  }
  return outcome;
}

inline AckTracker::Outcome AckTracker::GiveBack(int64_t offset,
                                                int32_t delivery) {
  Outcome outcome;
  if (Entry* const entry = FindOut(offset, delivery, outcome)) {
    entry->state = State::kWaiting;
  }
  return outcome;
}

template <typename Settled>
AckTracker::Outcome AckTracker::AckUpTo(int64_t offset, int32_t delivery,
                                        const Settled& settled) {
  Outcome outcome;
  const Entry* const last = FindOut(offset, delivery, outcome);
  if (last == nullptr) return outcome;
  const uint64_t turn = last->turn;
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.state != State::kOut || entry.turn > turn) continue;
    entry.state = State::kSettled;
    settled(low_ + static_cast<int64_t>(i));
  }
  Advance();
  return outcome;
}

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_ACK_TRACKER_H_
