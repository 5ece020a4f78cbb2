// SPDX-License-Identifier: Apache-2.0
//
// StreamPosition says where in a partition to read; see stream_reader.h.

#ifndef OPENMESSAGING_STREAM_POSITION_H_
#define OPENMESSAGING_STREAM_POSITION_H_

#include <chrono>
#include <cstdint>

namespace openmessaging {
inline namespace v0 {

// Threads: a value.
// Implements: OMS-STRM-003.
class StreamPosition {
 public:
  enum class Kind : uint8_t { kEarliest, kLatest, kOffset, kTime };

  // The oldest message that there is.
  static StreamPosition Earliest() { return {Kind::kEarliest, 0}; }
  // Behind the newest: only what is sent from now on.
  static StreamPosition Latest() { return {Kind::kLatest, 0}; }
  // That message itself. One that is gone already: the oldest that there is.
  // One that is not there yet: it is waited for.
  static StreamPosition Offset(int64_t offset) {
    return {Kind::kOffset, offset};
  }
  // The first message that was stored at that time or later, by the broker's
  // clock; as Latest() where there is none.
  static StreamPosition Time(std::chrono::milliseconds since_1970_utc) {
    return {Kind::kTime, since_1970_utc.count()};
  }

  Kind kind() const { return kind_; }
  // Of kOffset: the offset; of kTime: milliseconds since 1970 UTC.
  int64_t value() const { return value_; }

 private:
  StreamPosition(Kind kind, int64_t value) : value_(value), kind_(kind) {}

  int64_t value_;
  Kind kind_;
};

// The offsets that can be read: from `first` on, before `end`.
struct StreamRange {
  int64_t first = 0;
  int64_t end = 0;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_STREAM_POSITION_H_
