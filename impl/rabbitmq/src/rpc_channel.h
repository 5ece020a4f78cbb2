// SPDX-License-Identifier: Apache-2.0
//
// RpcChannel asks the broker one thing after another, and waits for each
// answer. What the broker refuses closes its channel, which is opened again.

#ifndef OPENMESSAGING_RABBITMQ_RPC_CHANNEL_H_
#define OPENMESSAGING_RABBITMQ_RPC_CHANNEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "channel.h"
#include "link.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::rabbitmq {

// An argument of a declaration.
struct Argument {
  std::string name;
  // One of both.
  std::string text{};
  std::optional<int64_t> number{};
};

// Threads: the calls from one thread at a time, other than the link's.
class RpcChannel final : public Channel,
                         public std::enable_shared_from_this<RpcChannel> {
 public:
  explicit RpcChannel(std::shared_ptr<Link> link) : link_(std::move(link)) {}

  struct Got {
    uint64_t tag = 0;
    std::string body{};
  };
  struct Counts {
    uint32_t messages = 0;
    uint32_t consumers = 0;
  };
  struct Queue {
    std::string name;
    bool durable = true;
    bool exclusive = false;
    std::vector<Argument> arguments{};
  };

  struct Exchange {
    std::string name;
    const char* type = "direct";
    std::vector<Argument> arguments{};
  };

  // Each blocks until `deadline`. Errors: 1404, 1408 locked by another, 1602
  // it is there with other arguments, 1410, and those of the link.
  absl::Status DeclareExchange(Exchange exchange, TimePoint deadline);
  absl::StatusOr<Counts> DeclareQueue(Queue queue, TimePoint deadline);
  // Returns: nothing where there is no such queue.
  absl::StatusOr<std::optional<Counts>> Look(std::string queue,
                                             TimePoint deadline);
  absl::Status BindQueue(std::string queue, std::string exchange,
                         std::string key, TimePoint deadline);
  absl::Status DeleteQueue(std::string queue, TimePoint deadline);
  // Returns: nothing where it is empty.
  absl::StatusOr<std::optional<Got>> Get(std::string queue, TimePoint deadline);
  absl::Status Ack(uint64_t tag, TimePoint deadline);
  absl::Status Requeue(uint64_t tag, TimePoint deadline);
  // Publishes one persistent message to a queue, and waits for its confirm.
  absl::Status Publish(std::string queue, std::string body, TimePoint deadline);

  // --- the link's thread ---
  void OnOpen() override;
  void OnDown(const absl::Status& why, bool refused) override;
  void OnGot(const amqp_basic_get_ok_t& method,
             const Content& content) override;
  void OnReturn(const amqp_basic_return_t& method,
                const Content& content) override;
  void OnConfirm(uint64_t tag, bool multiple, bool taken) override;

 private:
  // Writes one method. Returns: a status of rabbitmq-c.
  using Sender = std::function<int(amqp_connection_state_t, amqp_channel_t)>;

  // What one call waits for.
  struct Pending {
    bool done = false;
    absl::StatusOr<Reply> reply = Reply();
  };

  absl::Status AwaitOpen(TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Reply> Ask(Sender sender, bool has_answer, TimePoint deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Reply> Await(const std::shared_ptr<Pending>& pending,
                              TimePoint deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void Finish(const std::shared_ptr<Pending>& pending,
              const absl::StatusOr<Reply>& reply) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<Link> link_;

  internal::Mutex mutex_;
  internal::Condition changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_failure_ ABSL_GUARDED_BY(mutex_);
  std::string got_body_ ABSL_GUARDED_BY(mutex_);
  absl::Status returned_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Pending> confirm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace openmessaging::rabbitmq
#endif  // OPENMESSAGING_RABBITMQ_RPC_CHANNEL_H_
