// SPDX-License-Identifier: Apache-2.0
//
// Sender is the one producing handle of a connection, and Producer what the
// portable layer makes of it.

#ifndef OPENMESSAGING_KAFKA_SENDER_H_
#define OPENMESSAGING_KAFKA_SENDER_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "cluster.h"
#include "native.h"
#include "openmessaging/driver/producer.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/message.h"
#include "worker.h"

namespace openmessaging::kafka {

class KafkaProducer;

// A producing client of librdkafka with its topics. Idempotent: the library
// repeats by itself what it does not know to be stored, and the broker drops
// what it has already. Reports come on the library's background thread.
//
// Threads: every method from any thread.
// Lifetime: each message under way holds it. The last one may end on the
// library's own thread, which therefore never waits here.
class Sender {
 public:
  // `transactional`: for transactions and nothing else.
  static absl::StatusOr<std::shared_ptr<Sender>> Make(
      const std::shared_ptr<Cluster>& cluster, bool transactional);
  explicit Sender(std::shared_ptr<Cluster> cluster)
      : cluster_(std::move(cluster)) {}
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  ~Sender();

  // Lets go of it; where no message is under way, returns when it has ended.
  static void Close(std::shared_ptr<Sender> sender);

  rd_kafka_t* get() const { return handle_->get(); }
  // Returns: the topic's object, made at its first use.
  rd_kafka_topic_t* TopicOf(std::string_view topic);
  // Returns: a text that no other message has.
  MessageId NewId();
  // It can do nothing more: a later send needs another one.
  bool failed() const { return failed_; }
  void Fail() { failed_ = true; }

 private:
  static void OnEvent(rd_kafka_t* rk, rd_kafka_event_t* event, void* opaque);
  void OnError(rd_kafka_resp_err_t error);

  const std::shared_ptr<Cluster> cluster_;
  std::shared_ptr<Handle> handle_;
  std::string id_prefix_;
  std::atomic<uint64_t> ids_{0};
  std::atomic<bool> failed_{false};

  internal::Mutex mutex_;
  std::map<std::string, OwnedTopic, std::less<>> topics_
      ABSL_GUARDED_BY(mutex_);
};

// Gives out the connection's sender, and another one after it failed.
//
// Threads: every method from any thread.
class Senders {
 public:
  enum class Kind { kPlain, kTransactional };

  explicit Senders(std::shared_ptr<Cluster> cluster, Kind kind = Kind::kPlain)
      : cluster_(std::move(cluster)), kind_(kind) {}
  absl::StatusOr<std::shared_ptr<Sender>> Get();
  void Close();

 private:
  const std::shared_ptr<Cluster> cluster_;
  const Kind kind_;
  internal::Mutex mutex_;
  std::shared_ptr<Sender> sender_ ABSL_GUARDED_BY(mutex_);
};

// Threads: as driver::Producer says.
// Invariants:
//   (1) a message is in State::first's list from before it is produced until
//       its report has completed it, and completes once: whoever takes
//       Pending::done away;
//   (2) while deferred is not zero, whatever is sent goes behind it.
class KafkaProducer final : public driver::Producer {
 public:
  KafkaProducer(std::shared_ptr<Cluster> cluster, Senders& senders,
                Worker& worker)
      : cluster_(std::move(cluster)), senders_(senders), worker_(worker) {}

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) override;
  absl::Status Flush(TimePoint deadline) override;
  absl::Status Close(TimePoint deadline) override;

  // Completes the messages of an event of reports.
  static void CompleteAll(rd_kafka_event_t* event);

 private:
  struct State;

  // A message on its way. librdkafka has its address.
  struct Pending {
    std::atomic<driver::SendCompletion*> done{nullptr};
    size_t index = 0;
    MessageId id{};
    std::shared_ptr<Sender> sender{};
    std::shared_ptr<State> state{};
    // Keeps the body until the report, unless librdkafka has a copy.
    Message message{};
    bool delayed = false;
    Pending* next = nullptr;
    Pending* previous = nullptr;
  };
  // Where messages of one queue go, as long as nothing changes.
  struct Route {
    std::string queue{};
    int32_t partitions = 0;
    rd_kafka_topic_t* topic = nullptr;
    std::shared_ptr<Sender> sender{};
    uint64_t changes = 0;
    TimePoint until{};
  };
  // What reports outlive.
  struct State {
    internal::Mutex mutex;
    internal::Condition changed;
    Pending* first ABSL_GUARDED_BY(mutex) = nullptr;
    size_t count ABSL_GUARDED_BY(mutex) = 0;
    size_t waiting ABSL_GUARDED_BY(mutex) = 0;  // Calls of Flush.
    Route route ABSL_GUARDED_BY(mutex);         // The last one.
    std::atomic<size_t> deferred{0};

    void Link(Pending& one) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
    void Unlink(Pending& one) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  };

  void SendNow(std::span<const Message> batch,
               const driver::CallContext& context,
               driver::SendCompletion& done);
  absl::Status SendOne(const Message& message,
                       const driver::CallContext& context,
                       driver::SendCompletion& done, size_t index);
  // Links `pending`, which has its sender then. Returns: the topic, and how many
  // partitions it has; null where nobody has asked lately.
  std::pair<rd_kafka_topic_t*, int32_t> Enter(std::string_view queue,
                                              Pending& pending);
  // Asks. Errors: as Cluster::PartitionsOf.
  absl::Status FindRoute(std::string_view queue, TimePoint deadline);
  absl::Status Produce(const Message& message, rd_kafka_topic_t* topic,
                       int64_t born_ms, Pending& pending);
  static void Complete(const rd_kafka_message_t& message, Pending& pending);
  bool KnowsAll(std::span<const Message> batch) const;
  // Ends a message that was not produced.
  void Drop(Pending* pending);
  static void Recycle(Pending* pending);

  const std::shared_ptr<Cluster> cluster_;
  Senders& senders_;
  Worker& worker_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_SENDER_H_
