// SPDX-License-Identifier: Apache-2.0
//
// Cluster is what one connection shares: its settings, the handle that asks
// questions, and what is known of topics.

#ifndef OPENMESSAGING_KAFKA_CLUSTER_H_
#define OPENMESSAGING_KAFKA_CLUSTER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config.h"
#include "native.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/kafka/statistics.h"

namespace openmessaging::kafka {

// Threads: every method from any thread.
class Cluster final : public Statistics {
 public:
  // How long a topic is taken to be as it was: so long may a send to one that
  // somebody else deletes bring it back, where the broker makes topics.
  static constexpr milliseconds kFresh{4500};

  explicit Cluster(Config config) : config_(std::move(config)) {}
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  const Config& config() const { return config_; }

  // Returns: the handle for questions, which makes no topic by asking. The
  // first call opens it. Errors: 1418.
  absl::StatusOr<std::shared_ptr<Handle>> Control();

  // Asks whether anybody is there, until somebody was.
  // Blocks: up to `deadline`. Errors: 1401, 1503.
  absl::Status Reach(TimePoint deadline);

  // Returns: how many partitions a topic has, asking where nobody did lately.
  // Blocks: up to `deadline`. Errors: 1404, 1401, 1403, 1503.
  absl::StatusOr<int32_t> PartitionsOf(std::string_view topic,
                                       TimePoint deadline);
  // Returns: the same if it is known; -1 otherwise.
  int32_t KnownPartitions(std::string_view topic) const;
  // Asks anew the next time. An empty name: all of them.
  void Forget(std::string_view topic);
  // Returns: how often something was forgotten.
  uint64_t changes() const { return changes_.load(std::memory_order_acquire); }

  // Returns: how many brokers the last answer named, 1 at first.
  int brokers() const { return brokers_; }

  // Returns: the id of one of these, -1 at first.
  int32_t some_broker() const { return some_broker_; }

  // Returns: what the cluster calls itself, empty before anybody has asked it
  // something.
  std::string cluster_id() const;

  // What a client of librdkafka counted; nothing: it has ended.
  void NoteStatistics(std::string_view client, std::string_view json);
  std::map<std::string, std::string> Latest() const override;

  // Returns: a number that no source of this connection had.
  uint64_t NewSource() { return ++sources_; }

  // Ends the handle for questions.
  void Close();

 private:
  struct Topic {
    int32_t partitions = 0;
    Clock::time_point asked{};
  };

  static void OnEvent(rd_kafka_t* rk, rd_kafka_event_t* event, void* opaque);
  absl::StatusOr<int32_t> Ask(std::string_view topic, TimePoint deadline);
  absl::StatusOr<int32_t> AskOver(rd_kafka_t* control, std::string_view topic,
                                  TimePoint deadline);
  // Ends a handle whose credentials were refused: librdkafka would try them
  // for ever. The next question opens another one (OMS-SEC-003).
  void Discard(std::shared_ptr<Handle> control);
  // Gets the metadata of `topic`, or of no topic at all.
  absl::StatusOr<Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy>>
  GetMetadata(rd_kafka_t* control, rd_kafka_topic_t* topic,
              std::string_view what, TimePoint deadline);

  const Config config_;
  std::atomic<uint64_t> sources_{0};
  std::atomic<uint64_t> changes_{0};
  std::atomic<bool> reached_{false};
  std::atomic<int> brokers_{1};
  std::atomic<int32_t> some_broker_{-1};
  // What the broker has against whoever connects; no error at first.
  std::atomic<rd_kafka_resp_err_t> refused_{RD_KAFKA_RESP_ERR_NO_ERROR};

  mutable internal::Mutex mutex_;
  std::shared_ptr<Handle> control_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Topic, std::less<>> topics_ ABSL_GUARDED_BY(mutex_);
  std::string cluster_id_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> statistics_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_CLUSTER_H_
