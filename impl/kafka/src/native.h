// SPDX-License-Identifier: Apache-2.0
//
// librdkafka's objects with owners, and the handle that messages share.

#ifndef OPENMESSAGING_KAFKA_NATIVE_H_
#define OPENMESSAGING_KAFKA_NATIVE_H_

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "openmessaging/driver/call.h"

namespace openmessaging::kafka {

using driver::TimePoint;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

template <auto Function>
struct CallWith {
  template <typename T>
  void operator()(T* object) const {
    Function(object);
  }
};
template <typename T, auto Function>
using Owned = std::unique_ptr<T, CallWith<Function>>;

using OwnedConf = Owned<rd_kafka_conf_t, rd_kafka_conf_destroy>;
using OwnedTopic = Owned<rd_kafka_topic_t, rd_kafka_topic_destroy>;
using OwnedQueue = Owned<rd_kafka_queue_t, rd_kafka_queue_destroy>;
using OwnedEvent = Owned<rd_kafka_event_t, rd_kafka_event_destroy>;
using OwnedError = Owned<rd_kafka_error_t, rd_kafka_error_destroy>;
using OwnedMessage = Owned<rd_kafka_message_t, rd_kafka_message_destroy>;
using OwnedHeaders = Owned<rd_kafka_headers_t, rd_kafka_headers_destroy>;
using OwnedAdminOptions =
    Owned<rd_kafka_AdminOptions_t, rd_kafka_AdminOptions_destroy>;
using PartitionList = Owned<rd_kafka_topic_partition_list_t,
                            rd_kafka_topic_partition_list_destroy>;

inline PartitionList NewPartitionList(size_t capacity = 1) {
  return PartitionList(
      rd_kafka_topic_partition_list_new(static_cast<int>(capacity)));
}

// Returns: what is left until `deadline` as librdkafka wants it, never negative
// and at most an hour.
inline int TimeoutMs(TimePoint deadline) {
  const TimePoint now = Clock::now();
  if (deadline <= now) return 0;
  if (deadline - now > std::chrono::hours(1)) return 3600 * 1000;
  return static_cast<int>(
      std::chrono::ceil<milliseconds>(deadline - now).count());
}

// One rd_kafka_t. Messages that lie in its buffers hold it: rd_kafka_destroy
// waits for them, and would wait for ever on the thread that drops the last.
//
// Threads: as rd_kafka_t, any. Whoever lets go of it last never waits: a thread
// of its own destroys it.
class Handle {
 public:
  // Errors: 1418, 1500.
  static absl::StatusOr<std::shared_ptr<Handle>> Make(rd_kafka_type_t type,
                                                      OwnedConf conf);
  explicit Handle(rd_kafka_t* rk) : rk_(rk) {}
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  rd_kafka_t* get() const { return rk_; }

  // Lets go of `handle`; where nobody else holds it, returns when it is
  // destroyed.
  static void Release(std::shared_ptr<Handle> handle);

  // Lets go of it without ever destroying it.
  static void Leak(std::shared_ptr<Handle> handle) { handle->rk_ = nullptr; }

 private:
  rd_kafka_t* rk_;
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_NATIVE_H_
