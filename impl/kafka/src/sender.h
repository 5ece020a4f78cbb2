// SPDX-License-Identifier: Apache-2.0
//
// Sender is the one producing handle of a connection, and Producer what the
// portable layer makes of it.

#ifndef OPENMESSAGING_KAFKA_SENDER_H_
#define OPENMESSAGING_KAFKA_SENDER_H_

#include <atomic>
#include <cstdint>
#include <list>
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
//   (1) a message is in pending_ from before it is produced until its report,
//       or until Close gave it up, and completes when it leaves;
//   (2) while deferred_ is not zero, whatever is sent goes behind it.
class KafkaProducer final : public driver::Producer {
 public:
  KafkaProducer(std::shared_ptr<Cluster> cluster, Senders& senders,
                Worker& worker)
      : cluster_(std::move(cluster)), senders_(senders), worker_(worker) {}

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) override;
  absl::Status Flush(TimePoint deadline) override;
  absl::Status Close(TimePoint deadline) override;

  // A message on its way. librdkafka has its address.
  struct Pending {
    Message message{};  // Keeps the body until the report.
    MessageId id{};
    driver::SendCompletion* done = nullptr;
    size_t index = 0;
    std::shared_ptr<Sender> sender;
  };
  // What reports outlive.
  struct State {
    internal::Mutex mutex;
    internal::Condition changed;
    std::list<Pending> pending ABSL_GUARDED_BY(mutex);
    size_t deferred ABSL_GUARDED_BY(mutex) = 0;
  };
  struct Report {
    std::shared_ptr<State> state;
    std::list<Pending>::iterator entry;
  };

  static void Complete(const rd_kafka_message_t& message);

 private:
  void SendNow(std::span<const Message> batch,
               const driver::CallContext& context,
               driver::SendCompletion& done);
  absl::Status SendOne(const Message& message,
                       const driver::CallContext& context,
                       driver::SendCompletion& done, size_t index);
  bool KnowsAll(std::span<const Message> batch) const;

  const std::shared_ptr<Cluster> cluster_;
  Senders& senders_;
  Worker& worker_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace openmessaging::kafka
#endif  // OPENMESSAGING_KAFKA_SENDER_H_
