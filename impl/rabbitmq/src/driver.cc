// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/rabbitmq/driver.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "broker.h"
#include "broker_error.h"
#include "config.h"
#include "consumer.h"
#include "dead_letters.h"
#include "inbox.h"
#include "link.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "producer.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

using Clock = std::chrono::steady_clock;

std::string RandomText() {
  std::random_device device;
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    const uint32_t word = device();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  std::string text;
  internal::AppendHex(text, bytes);
  return text;
}

// Two links, because a publish blocks as long as the broker takes nothing, and
// acknowledgements must not stand behind it.
//
// Threads: as driver::Connection says.
class RabbitConnection final : public driver::Connection {
 public:
  explicit RabbitConnection(const Config& config)
      : queue_type_(config.queue_type),
        publishing_(std::make_shared<Link>(config, "openmessaging send")),
        consuming_(std::make_shared<Link>(config, "openmessaging receive")),
        broker_(config, consuming_),
        id_prefix_(RandomText()),
        dead_letters_(std::make_shared<DeadLetterSender>(
            publishing_, kept_,
            internal::Concat(std::string_view(id_prefix_), "-0"),
            queue_type_)) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                              TimePoint deadline) override {
    const auto known = broker_.Describe(queue, deadline);
    if (!known.ok()) {
      return About("ask capabilities of", queue, known.status());
    }
    // Whoever sends what expires has asked for this before.
    if (!known->dead_letter_queue.empty()) kept_->Add(queue);
    return rabbitmq::CapabilitiesOf(*known, consuming_->server());
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions&, TimePoint deadline) override {
    if (auto s = publishing_->Connect(deadline); !s.ok()) return s;
    auto channel = std::make_shared<PublishChannel>(
        publishing_, kept_,
        internal::Concat(std::string_view(id_prefix_), '-', ++producers_),
        queue_type_);
    (void)publishing_->Post(
        [link = publishing_.get(), channel] { link->Attach(channel); });
    if (auto s = channel->AwaitReady(deadline); !s.ok()) {
      channel->Shut(Clock::now());
      return s;
    }
    return std::make_unique<RabbitProducer>(publishing_, std::move(channel));
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint deadline) override {
    if (auto s = consuming_->Connect(deadline); !s.ok()) return s;
    auto inbox = std::make_shared<Inbox>();
    inbox->options = options;
    inbox->last_source = last_source_;
    inbox->link = consuming_;
    inbox->events = &events;
    return std::make_unique<RabbitConsumer>(
        consuming_, std::move(inbox), dead_letters_,
        [this, broadcast = options.broadcast](
            std::string_view queue, std::string_view group, TimePoint until) {
          return broadcast ? NewMemberQueue(queue, until)
                           : broker_.FindGroupQueue(queue, group, until);
        });
  }

  void* Query(std::string_view interface_name) override {
    if (interface_name == driver::Admin::kInterface) {
      return static_cast<driver::Admin*>(&broker_);
    }
    return nullptr;
  }

  absl::Status Close(TimePoint deadline) override {
    publishing_->Stop(deadline);
    consuming_->Stop(deadline);
    return absl::OkStatus();
  }

 private:
  // Returns: a name that no other member has; nothing is made yet.
  absl::StatusOr<GroupQueue> NewMemberQueue(std::string_view queue,
                                            TimePoint deadline) {
    auto described = broker_.DescribeQueue(queue, deadline);
    if (!described.ok()) return About("bind", queue, described.status());
    const auto known = broker_.Describe(queue, deadline);
    if (!known.ok()) return About("bind", queue, known.status());
    const std::string member = internal::Concat(
        "oms.member-", std::string_view(id_prefix_), '-', ++members_);
    // It counts no deliveries, as it does not outlive its member.
    return GroupQueue{
        .name = GroupQueueName(queue, member),
        .dead_letter_queue = described->options.dead_letter_queue,
        .delays = known->delays};
  }

  const QueueType queue_type_;
  const std::shared_ptr<Link> publishing_;
  const std::shared_ptr<Link> consuming_;
  Broker broker_;
  const std::string id_prefix_;
  const std::shared_ptr<KeptQueues> kept_ = std::make_shared<KeptQueues>();
  const std::shared_ptr<DeadLetterSender> dead_letters_;
  std::atomic<uint64_t> producers_{0};
  std::atomic<uint64_t> members_{0};
  const std::shared_ptr<std::atomic<uint64_t>> last_source_ =
      std::make_shared<std::atomic<uint64_t>>(0);
};

class RabbitDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    driver::DriverInfo info;
    info.name = "rabbitmq";
    info.version = "0.1.0";
    info.specification = "1.0.0";
    info.default_port = kDefaultPort;
    return info;
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& url, const Attributes& attributes, TimePoint) override {
    auto config = ReadConfig(url, attributes);
    if (!config.ok()) return config.status();
    return std::make_unique<RabbitConnection>(*config);
  }
};

}  // namespace

std::shared_ptr<driver::Driver> MakeDriver() {
  return std::make_shared<RabbitDriver>();
}

}  // namespace openmessaging::rabbitmq
