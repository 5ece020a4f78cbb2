// SPDX-License-Identifier: Apache-2.0

#include "admin.h"

#include <algorithm>
#include <array>
#include <thread>

#include "admin_call.h"
#include "errors.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

using OwnedNewTopic = Owned<rd_kafka_NewTopic_t, rd_kafka_NewTopic_destroy>;
using OwnedDeleteTopic =
    Owned<rd_kafka_DeleteTopic_t, rd_kafka_DeleteTopic_destroy>;

// How long until what was made or deleted is looked for again.
constexpr milliseconds kLookAgain{10};
// How often in a row, for each broker, until all of them will have been asked.
constexpr int kLooks = 5;

// How long capabilities wait for the version at most.
constexpr milliseconds kAskPatience{2000};

// Room for headers, properties and Kafka's own frame around a body.
constexpr size_t kFrameBytes = size_t{256} << 10;

std::string DefaultMaxBytes() {
  return std::to_string(kDefaultMaxBodyBytes + kFrameBytes);
}

// Errors: 1600 an option that a topic has not.
absl::Status CheckOptions(std::string_view queue, const QueueOptions& options) {
  const char* option = nullptr;
  if (options.priorities) option = "priorities";
  if (options.deduplication_window.count() != 0) {
    option = "deduplication_window";
  }
  if (!options.filter.empty()) option = "filter";
  if (option == nullptr) return absl::OkStatus();
  return MakeStatus(Code::kUnsupported, "create queue \"", queue,
                    "\": a Kafka topic has no ", std::string_view(option));
}

}  // namespace

absl::StatusOr<Capabilities> QueueAdmin::CapabilitiesOf(std::string_view queue,
                                                        TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok() &&
      OmsCode(partitions.status()) != Code::kQueueNotFound &&
      OmsCode(partitions.status()) != Code::kBadParameter) {
    return partitions.status();
  }
  const auto options = catalog_.OptionsOf(queue, deadline);
  if (!options.ok()) return options.status();
  return CapabilitiesFor(*options, VersionOf(deadline));
}

BrokerVersion QueueAdmin::VersionOf(TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (!version_) {
    version_ =
        AskVersion(*cluster_, std::min(deadline, Clock::now() + kAskPatience))
            .value_or(kAssumedVersion);
  }
  return *version_;
}

absl::Status QueueAdmin::AwaitTopic(std::string_view queue, bool there,
                                    TimePoint deadline) {
  // Each look asks any one of them.
  int seen = 0;
  while (true) {
    cluster_->Forget(queue);
    const auto partitions = cluster_->PartitionsOf(queue, deadline);
    const int brokers = cluster_->brokers();
    seen = partitions.ok() == there ? seen + 1 : 0;
    if (seen >= (brokers == 1 ? 1 : kLooks * brokers)) return absl::OkStatus();
    if (seen > 0) continue;
    const Code code = OmsCode(partitions.status());
    if (!partitions.ok() && code != Code::kQueueNotFound &&
        code != Code::kUnavailable) {
      return partitions.status();
    }
    if (Clock::now() + kLookAgain > deadline) {
      return MakeStatus(Code::kTimeout, there ? "create" : "delete",
                        " queue \"", queue,
                        "\": asked for, and not everywhere in time");
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

absl::Status QueueAdmin::CreateTopic(
    std::string_view topic, int32_t partitions,
    const std::vector<std::pair<const char*, std::string>>& settings,
    TimePoint deadline) {
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const std::string what = Concat("create queue \"", topic, "\"");
  std::array<char, 256> why{};
  const OwnedNewTopic made(rd_kafka_NewTopic_new(std::string(topic).c_str(),
                                                 partitions, -1, why.data(),
                                                 why.size()));
  if (made == nullptr) {
    return MakeStatus(Code::kBadParameter, std::string_view(what), ": ",
                      std::string_view(why.data()));
  }
  for (const auto& [name, value] : settings) {
    (void)rd_kafka_NewTopic_set_config(made.get(), name, value.c_str());
  }
  rd_kafka_NewTopic_t* one = made.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_CREATETOPICS, what, deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_CreateTopics((*control)->get(), &one, 1, call, answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_topic_result_t** const results =
      rd_kafka_CreateTopics_result_topics(
          rd_kafka_event_CreateTopics_result(event->get()), &count);
  for (size_t i = 0; i < count; ++i) {
    const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    const char* const text = rd_kafka_topic_result_error_string(results[i]);
    return KafkaStatus(error, what, text == nullptr ? "" : text);
  }
  return AwaitTopic(topic, true, deadline);
}

absl::Status QueueAdmin::CreateQueue(std::string_view queue,
                                     const QueueOptions& options,
                                     TimePoint deadline) {
  if (!SplitQueueName(queue).name_space.empty()) {
    return MakeStatus(Code::kUnsupported, "create queue \"", queue,
                      "\": Kafka has no namespaces");
  }
  if (auto s = CheckOptions(queue, options); !s.ok()) return s;
  if (!options.dead_letter_queue.empty()) {
    const auto dead =
        cluster_->PartitionsOf(options.dead_letter_queue, deadline);
    if (!dead.ok()) return dead.status();
  }
  // What the catalog says of a queue that is there may not change.
  cluster_->Forget(queue);
  if (cluster_->PartitionsOf(queue, deadline).ok()) {
    return MakeStatus(Code::kQueueExists, "create queue \"", queue,
                      "\": it exists");
  }
  cluster_->Forget(Catalog::kTopic);
  const auto catalog = cluster_->PartitionsOf(Catalog::kTopic, deadline);
  if (!IsPlain(options) && OmsCode(catalog.status()) == Code::kQueueNotFound) {
    absl::Status made = CreateTopic(Catalog::kTopic, 1,
                                    {{"cleanup.policy", "compact"}}, deadline);
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) return made;
  }
  if (auto s = catalog_.Set(queue, options, producer_, deadline); !s.ok()) {
    return s;
  }
  return CreateTopic(
      queue, options.partitions,
      {// A message is kept until it is settled, and Kafka does not know when.
       {"retention.ms", "-1"},
       // When the broker took it, not when a sender's clock says.
       {"message.timestamp.type", "LogAppendTime"},
       {"max.message.bytes", DefaultMaxBytes()}},
      deadline);
}

absl::Status QueueAdmin::DeleteQueue(std::string_view queue,
                                     TimePoint deadline) {
  const auto owner = catalog_.OwnerOf(queue, deadline);
  if (!owner.ok()) return owner.status();
  if (!owner->empty()) {
    return MakeStatus(Code::kIllegalState, "delete queue \"", queue,
                      "\": it has the dead letters of \"",
                      std::string_view(*owner),
                      "\"; expected that one to be deleted first");
  }
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const std::string what = Concat("delete queue \"", queue, "\"");
  const OwnedDeleteTopic topic(
      rd_kafka_DeleteTopic_new(std::string(queue).c_str()));
  rd_kafka_DeleteTopic_t* one = topic.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_DELETETOPICS, what, deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_DeleteTopics((*control)->get(), &one, 1, call, answers);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_topic_result_t** const results =
      rd_kafka_DeleteTopics_result_topics(
          rd_kafka_event_DeleteTopics_result(event->get()), &count);
  for (size_t i = 0; i < count; ++i) {
    const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaStatus(error, what);
  }
  if (auto s = AwaitTopic(queue, false, deadline); !s.ok()) return s;
  return catalog_.Set(queue, {}, producer_, deadline);
}

absl::StatusOr<std::vector<QueueInfo>> QueueAdmin::ListQueues(
    std::string_view name_space, TimePoint deadline) {
  if (!name_space.empty()) {
    return MakeStatus(Code::kNamespaceNotFound, "list queues of \"",
                      name_space, "\": Kafka has no namespaces");
  }
  const auto control = cluster_->Control();
  if (!control.ok()) return control.status();
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t error =
      rd_kafka_metadata((*control)->get(), 1, nullptr, &metadata,
                        std::max(1, TimeoutMs(deadline)));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return LookupStatus(error, "list queues");
  }
  const Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy> owner(
      metadata);
  std::vector<QueueInfo> queues;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic_t& topic = metadata->topics[i];
    const std::string_view name = topic.topic;
    // Kafka's own, and those that no name here can be.
    if (name.starts_with("__") || name.starts_with("oms.")) continue;
    if (topic.err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    const auto options = catalog_.OptionsOf(name, deadline);
    if (!options.ok()) return options.status();
    QueueInfo info{std::string(name), *options};
    info.options.partitions = topic.partition_cnt;
    queues.push_back(std::move(info));
  }
  return queues;
}

absl::StatusOr<QueueInfo> QueueAdmin::DescribeQueue(std::string_view queue,
                                                    TimePoint deadline) {
  cluster_->Forget(queue);
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  const auto options = catalog_.OptionsOf(queue, deadline);
  if (!options.ok()) return options.status();
  QueueInfo info{std::string(queue), *options};
  info.options.partitions = *partitions;
  return info;
}

}  // namespace openmessaging::kafka
