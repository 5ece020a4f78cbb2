// SPDX-License-Identifier: Apache-2.0

#include "cluster.h"

#include <utility>

#include "errors.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {

using internal::Concat;

namespace {

constexpr milliseconds kTurn{500};

}  // namespace

absl::StatusOr<std::shared_ptr<Handle>> Cluster::Control() {
  const internal::MutexLock lock(mutex_);
  if (control_ == nullptr) {
    // A consumer without a group: only those can ask without making topics.
    auto conf = config_.Make(Config::Kind::kControl,
                             {{"allow.auto.create.topics", "false"}});
    if (!conf.ok()) return conf.status();
    rd_kafka_conf_set_opaque(conf->get(), this);
    rd_kafka_conf_set_events(conf->get(), RD_KAFKA_EVENT_ERROR);
    rd_kafka_conf_set_background_event_cb(conf->get(), &Cluster::OnEvent);
    auto handle = Handle::Make(RD_KAFKA_CONSUMER, *std::move(conf));
    if (!handle.ok()) return handle.status();
    control_ = *std::move(handle);
    const OwnedQueue main(rd_kafka_queue_get_main(control_->get()));
    const OwnedQueue background(
        rd_kafka_queue_get_background(control_->get()));
    rd_kafka_queue_forward(main.get(), background.get());
  }
  return control_;
}

void Cluster::Discard(std::shared_ptr<Handle> control) {
  {
    const internal::MutexLock lock(mutex_);
    if (control_ == control) control_.reset();
  }
  Handle::Release(std::move(control));
}

void Cluster::OnEvent(rd_kafka_t* /*rk*/, rd_kafka_event_t* event,
                      void* opaque) {
  const OwnedEvent owner(event);
  if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR) return;
  const rd_kafka_resp_err_t error = rd_kafka_event_error(event);
  if (CodeOf(error) == Code::kUnauthorized) {
    static_cast<Cluster*>(opaque)->refused_ = error;
  }
}

absl::StatusOr<Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy>>
Cluster::GetMetadata(rd_kafka_t* control, rd_kafka_topic_t* topic,
                     std::string_view what, TimePoint deadline) {
  refused_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  while (true) {
    const rd_kafka_metadata_t* metadata = nullptr;
    // In turns, because librdkafka goes on trying whatever the broker refused.
    const TimePoint turn = std::min(deadline, Clock::now() + kTurn);
    // A timeout of zero would be none.
    const rd_kafka_resp_err_t error = rd_kafka_metadata(
        control, 0, topic, &metadata, std::max(1, TimeoutMs(turn)));
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      reached_ = true;
      brokers_ = std::max(1, metadata->broker_cnt);
      if (metadata->broker_cnt > 0) some_broker_ = metadata->brokers[0].id;
      return Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy>(
          metadata);
    }
    if (refused_ != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return LookupStatus(refused_, what);
    }
    if (Clock::now() >= deadline) return LookupStatus(error, what);
  }
}

absl::Status Cluster::Reach(TimePoint deadline) {
  if (reached_) return absl::OkStatus();
  auto control = Control();
  if (!control.ok()) return control.status();
  const absl::Status status =
      GetMetadata((*control)->get(), nullptr, "connect", deadline).status();
  if (OmsCode(status) == Code::kUnauthorized) Discard(*std::move(control));
  return status;
}

absl::StatusOr<int32_t> Cluster::PartitionsOf(std::string_view topic,
                                              TimePoint deadline) {
  if (const int32_t known = KnownPartitions(topic); known > 0) return known;
  return Ask(topic, deadline);
}

int32_t Cluster::KnownPartitions(std::string_view topic) const {
  const internal::MutexLock lock(mutex_);
  const auto found = topics_.find(topic);
  if (found == topics_.end() || Clock::now() - found->second.asked > kFresh) {
    return -1;
  }
  return found->second.partitions;
}

void Cluster::Forget(std::string_view topic) {
  const internal::MutexLock lock(mutex_);
  changes_.fetch_add(1, std::memory_order_release);
  if (topic.empty()) {
    topics_.clear();
  } else if (const auto found = topics_.find(topic); found != topics_.end()) {
    topics_.erase(found);
  }
}

std::string Cluster::cluster_id() const {
  const internal::MutexLock lock(mutex_);
  return cluster_id_;
}

void Cluster::NoteStatistics(std::string_view client, std::string_view json) {
  const internal::MutexLock lock(mutex_);
  if (json.empty()) {
    statistics_.erase(std::string(client));
  } else {
    statistics_[std::string(client)] = json;
  }
}

std::map<std::string, std::string> Cluster::Latest() const {
  const internal::MutexLock lock(mutex_);
  return statistics_;
}

absl::StatusOr<int32_t> Cluster::Ask(std::string_view topic,
                                     TimePoint deadline) {
  auto control = Control();
  if (!control.ok()) return control.status();
  auto partitions = AskOver((*control)->get(), topic, deadline);
  if (OmsCode(partitions.status()) == Code::kUnauthorized) {
    Discard(*std::move(control));
  }
  return partitions;
}

absl::StatusOr<int32_t> Cluster::AskOver(rd_kafka_t* control,
                                         std::string_view topic,
                                         TimePoint deadline) {
  const std::string what = Concat("look up queue \"", topic, "\"");
  const std::string name(topic);
  const OwnedTopic handle(rd_kafka_topic_new(control, name.c_str(), nullptr));
  if (handle == nullptr) return LookupStatus(rd_kafka_last_error(), what);
  const auto got = GetMetadata(control, handle.get(), what, deadline);
  if (!got.ok()) return got.status();
  const rd_kafka_metadata_t* const metadata = got->get();
  if (metadata->topic_cnt != 1) {
    return LookupStatus(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, what);
  }
  const rd_kafka_metadata_topic_t& found = metadata->topics[0];
  if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    Forget(topic);
    if (found.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
      StatusDetail detail = DefaultDetail(Code::kQueueNotFound);
      detail.native = NativeText(found.err);
      return WithDetail(
          MakeStatus(Code::kQueueNotFound, std::string_view(what),
                     ": there is no such queue; expected one that was made"),
          detail);
    }
    return LookupStatus(found.err, what);
  }
  std::string id;
  if (cluster_id().empty()) {
    if (char* const text = rd_kafka_clusterid(control, 0)) {
      id = text;
      rd_kafka_mem_free(control, text);
    }
  }
  const internal::MutexLock lock(mutex_);
  if (!id.empty()) cluster_id_ = id;
  topics_[name] = {found.partition_cnt, Clock::now()};
  return found.partition_cnt;
}

void Cluster::Close() {
  std::shared_ptr<Handle> control;
  {
    const internal::MutexLock lock(mutex_);
    control = std::move(control_);
  }
  Handle::Release(std::move(control));
}

}  // namespace openmessaging::kafka
