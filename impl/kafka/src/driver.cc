// SPDX-License-Identifier: Apache-2.0
//
// Driver and Connection: what the others are made from, and what is declared.

#include "openmessaging/kafka/driver.h"

#include <memory>
#include <utility>

#include "admin.h"
#include "catalog.h"
#include "cluster.h"
#include "groups.h"
#include "member.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/status.h"
#include "sender.h"
#include "stream.h"
#include "transactions.h"
#include "worker.h"

namespace openmessaging::kafka {
namespace {

class KafkaConsumer final : public driver::Consumer {
 public:
  explicit KafkaConsumer(std::shared_ptr<Member> member)
      : member_(std::move(member)) {}

  absl::Status Bind(std::string_view queue, const driver::BindOptions& options,
                    TimePoint deadline) override {
    if (!options.filter.empty()) {
      return MakeStatus(Code::kUnsupported, "bind \"", queue,
                        "\": Kafka has no filters");
    }
    return member_->Bind(queue, deadline);
  }
  absl::Status Unbind(std::string_view queue, TimePoint deadline) override {
    return member_->Unbind(queue, deadline);
  }
  absl::Status Receive(size_t max, TimePoint deadline,
                       driver::DeliverySink& sink) override {
    return member_->Receive(max, deadline, sink);
  }
  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext& /*context*/,
              driver::SettleCompletion& done) override {
    member_->Settle(batch, done);
  }
  void Interrupt() override { member_->Interrupt(); }
  absl::Status Close(TimePoint deadline) override {
    return member_->Close(deadline);
  }

 private:
  const std::shared_ptr<Member> member_;
};

// Threads: as driver::Connection says.
class KafkaConnection final : public driver::Connection {
 public:
  explicit KafkaConnection(Config config)
      : cluster_(std::make_shared<Cluster>(std::move(config))),
        senders_(cluster_),
        streams_(cluster_),
        catalog_(cluster_, streams_),
        admin_(cluster_, catalog_, senders_, worker_),
        transactions_(cluster_, members_, worker_),
        groups_(cluster_, streams_, members_) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                              TimePoint deadline) override {
    return admin_.CapabilitiesOf(queue, deadline);
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions& /*options*/,
      TimePoint deadline) override {
    if (auto s = cluster_->Reach(deadline); !s.ok()) return s;
    return std::make_unique<KafkaProducer>(cluster_, senders_, worker_);
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint deadline) override {
    if (auto s = cluster_->Reach(deadline); !s.ok()) return s;
    if (options.exclusive || options.ordered) {
      return MakeStatus(Code::kUnsupported, "create consumer of group \"",
                        std::string_view(options.group),
                        "\": this driver has no exclusive or ordered "
                        "consumers");
    }
    auto member = Member::Make(
        cluster_,
        {.catalog = &catalog_, .transactions = &transactions_,
         .worker = &worker_},
        options, events);
    if (!member.ok()) return member.status();
    members_.Add(*member);
    return std::make_unique<KafkaConsumer>(*std::move(member));
  }

  void* Query(std::string_view name) override {
    if (name == driver::Admin::kInterface) {
      return static_cast<driver::Admin*>(&admin_);
    }
    if (name == driver::StreamSource::kInterface) {
      return static_cast<driver::StreamSource*>(&streams_);
    }
    if (name == Statistics::kInterface) {
      return static_cast<Statistics*>(cluster_.get());
    }
    if (name == driver::LocalTransactions::kInterface) {
      return static_cast<driver::LocalTransactions*>(&transactions_);
    }
    if (name == driver::GroupControl::kInterface) {
      return static_cast<driver::GroupControl*>(&groups_);
    }
    if (name == driver::StatsSource::kInterface) {
      return static_cast<driver::StatsSource*>(&groups_);
    }
    return nullptr;
  }

  absl::Status Close(TimePoint /*deadline*/) override {
    worker_.Stop();
    transactions_.Close();
    catalog_.Close();
    senders_.Close();
    cluster_->Close();
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Cluster> cluster_;
  Worker worker_;
  Members members_;
  Senders senders_;
  Streams streams_;
  Catalog catalog_;
  QueueAdmin admin_;
  Transactions transactions_;
  GroupAdmin groups_;
};

class KafkaDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    driver::DriverInfo info;
    info.name = "kafka";
    info.version = "0.1.0";
    info.specification = "1.0.0";
    info.default_port = Config::kDefaultPort;
    return info;
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& url, const Attributes& attributes,
      TimePoint /*deadline*/) override {
    auto config = Config::Parse(url, attributes);
    if (!config.ok()) return config.status();
    return std::make_unique<KafkaConnection>(*std::move(config));
  }
};

}  // namespace

std::shared_ptr<driver::Driver> MakeDriver() {
  return std::make_shared<KafkaDriver>();
}

}  // namespace openmessaging::kafka
