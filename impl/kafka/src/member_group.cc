// SPDX-License-Identifier: Apache-2.0
//
// A member in its group: rebalances and positions. What it receives is in
// member.cc, its commits are in member_commit.cc.

#include <algorithm>

#include "catalog.h"
#include "errors.h"
#include "member.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

// How often the keeper looks, where nothing wakes it.
constexpr int kKeeperMs = 500;
// How long listeners may take to settle what goes to another member.
constexpr milliseconds kRevokeGrace{3000};
// How long a member that came to a group waits for its share.
constexpr milliseconds kShareGrace{2000};
// How long one waits whose position stands anyway.
constexpr milliseconds kPositionGrace{1500};
constexpr int kAskMs = 1000;
// How long until a Receive is asked again to let go.
constexpr milliseconds kAskAgain{20};
// How long leaving a group may take once nobody waits for it.
constexpr milliseconds kLeaveGrace{10000};

}  // namespace

absl::StatusOr<std::shared_ptr<Member>> Member::Make(
    std::shared_ptr<Cluster> cluster, const MemberServices& services,
    const driver::ConsumerOptions& options, driver::ConsumerEvents& events) {
  auto conf = cluster->config().Make(
      Config::Kind::kConsumer,
      // That of a broadcast member is never told to a broker.
      {{"group.id", options.broadcast ? "oms.broadcast" : options.group},
       {"enable.auto.commit", "false"},
       {"enable.auto.offset.store", "false"},
       {"auto.offset.reset", "earliest"},
       // What librdkafka queues stays as it is: where that is full, it looks
       // for room once a second only, and a small one would starve Receive.
       {"partition.assignment.strategy", "cooperative-sticky"}});
  if (!conf.ok()) return conf.status();
  auto member = std::make_shared<Member>(std::move(cluster), services, options,
                                         events);
  rd_kafka_conf_set_opaque(conf->get(), member.get());
  rd_kafka_conf_set_rebalance_cb(conf->get(), &Member::OnRebalance);
  rd_kafka_conf_set_stats_cb(conf->get(), &Member::OnStatistics);
  auto handle = Handle::Make(RD_KAFKA_CONSUMER, *std::move(conf));
  if (!handle.ok()) return handle.status();
  member->handle_ = *std::move(handle);
  rd_kafka_t* const rk = member->handle_->get();
  (void)rd_kafka_poll_set_consumer(rk);
  member->own_.reset(rd_kafka_queue_get_consumer(rk));
  member->fetched_.reset(rd_kafka_queue_new(rk));
  member->keeper_ = std::thread([raw = member.get()] { raw->Keep(); });
  return member;
}

int Member::OnStatistics(rd_kafka_t* rk, char* json, size_t size,
                         void* opaque) {
  static_cast<Member*>(opaque)->cluster_->NoteStatistics(rd_kafka_name(rk),
                                                         {json, size});
  return 0;  // librdkafka frees it.
}

void Member::Keep() {
  while (!stopping_) {
    int wait_ms = kKeeperMs;
    {
      const internal::MutexLock lock(mutex_);
      if (dirty_) wait_ms = static_cast<int>(kCommitAfter.count()) / 2;
    }
    const OwnedMessage message(
        rd_kafka_consumer_poll(handle_->get(), wait_ms));
    if (message != nullptr && message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      OnError(message->err, rd_kafka_message_errstr(message.get()));
    }
    CommitSoon();
  }
}

void Member::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  if (IsOut(error)) {
    LoseAll();
    return;
  }
  switch (error) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      return;  // The library connects again by itself.
    default:
      break;
  }
  {
    const internal::MutexLock lock(mutex_);
    error_ = KafkaStatus(error, "receive", text);
    changed_.NotifyAll();
  }
  Wake();
}

void Member::OnRebalance(rd_kafka_t* rk, rd_kafka_resp_err_t error,
                         rd_kafka_topic_partition_list_t* list, void* opaque) {
  auto* const self = static_cast<Member*>(opaque);
  if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    self->OnAssigned(list);
  } else if (error == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    self->OnRevoked(list);
  } else {
    rd_kafka_assign(rk, nullptr);
  }
}

void Member::Assign(const rd_kafka_topic_partition_list_t* list, bool add) {
  rd_kafka_t* const rk = handle_->get();
  const std::string_view protocol = rd_kafka_rebalance_protocol(rk);
  if (protocol == "COOPERATIVE") {
    const OwnedError failed(add ? rd_kafka_incremental_assign(rk, list)
                                : rd_kafka_incremental_unassign(rk, list));
  } else {
    (void)rd_kafka_assign(rk, add ? list : nullptr);
  }
}

void Member::ForwardFetches(const rd_kafka_topic_partition_list_t* list) {
  for (int i = 0; i < list->cnt; ++i) {
    const OwnedQueue fetches(rd_kafka_queue_get_partition(
        handle_->get(), list->elems[i].topic, list->elems[i].partition));
    if (fetches != nullptr) {
      rd_kafka_queue_forward(fetches.get(), fetched_.get());
    }
  }
}

void Member::TakeOver(const rd_kafka_topic_partition_list_t* list) {
  const internal::MutexLock lock(mutex_);
  for (int i = 0; i < list->cnt; ++i) {
    const rd_kafka_topic_partition_t& one = list->elems[i];
    auto made = std::make_unique<Assigned>(cluster_->NewSource(), one.topic,
                                           one.partition, one.offset,
                                           queue_options_[one.topic]);
    RestoreFrom(MetadataIn(one), made->tracker);
    // Somebody died stopped: it is told otherwise with what comes next.
    made->told_stopped = SaysStopped(MetadataIn(one));
    if (made->told_stopped) dirty_ = true;
    by_source_[made->source] = made.get();
    assigned_[{one.topic, one.partition}] = std::move(made);
  }
}

void Member::OnAssigned(rd_kafka_topic_partition_list_t* list) {
  ForwardFetches(list);
  if (list->cnt == 0 || FindPositions(list)) TakeOver(list);
  Assign(list, true);
  const internal::MutexLock lock(mutex_);
  ++assignments_;
  changed_.NotifyAll();
}

bool Member::FindPositions(rd_kafka_topic_partition_list_t* list) {
  rd_kafka_t* const rk = handle_->get();
  // Nothing may be handed out before it is known what was settled.
  while (true) {
    const rd_kafka_resp_err_t error = rd_kafka_committed(rk, list, kAskMs);
    bool whole = error == RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt; ++i) {
      if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) whole = false;
    }
    if (whole) break;
    if (stopping_) return false;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) OnError(error, "");
  }
  PartitionList begun = NewPartitionList();
  for (int i = 0; i < list->cnt; ++i) {
    rd_kafka_topic_partition_t& one = list->elems[i];
    if (one.offset >= 0) continue;
    int64_t first = 0;
    int64_t end = 0;
    while (rd_kafka_query_watermark_offsets(rk, one.topic, one.partition,
                                            &first, &end, kAskMs) !=
           RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (stopping_) return false;
    }
    one.offset = options_.start == StartPosition::kLatest ? end : first;
    rd_kafka_topic_partition_list_add(begun.get(), one.topic, one.partition)
        ->offset = one.offset;
  }
  // The group is there from now on, and begins here, whoever goes on with it.
  while (begun->cnt > 0 &&
         CommitNow(*begun, Clock::now() + milliseconds(kAskMs)) !=
             RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (stopping_ || rd_kafka_assignment_lost(rk) != 0) return false;
  }
  return true;
}

void Member::OnRevoked(rd_kafka_topic_partition_list_t* list) {
  const bool lost = rd_kafka_assignment_lost(handle_->get()) != 0;
  const std::vector<uint64_t> sources = SourcesOf(list);
  bool unbound = false;
  {
    const internal::MutexLock lock(mutex_);
    for (int i = 0; i < list->cnt; ++i) {
      if (std::find(queues_.begin(), queues_.end(), list->elems[i].topic) ==
          queues_.end()) {
        unbound = true;
      }
    }
  }
  if (stopping_) {
    // Nobody listens any more, nor may be told.
  } else if (!sources.empty() && (lost || unbound)) {
    events_.Lost(sources);
  } else if (!sources.empty()) {
    events_.Revoking(sources, Clock::now() + kRevokeGrace);
  }
  if (!lost) {
    PartitionList last;
    {
      const internal::MutexLock lock(mutex_);
      // A transaction that acknowledges would come before this and count less.
      const TimePoint grace = Clock::now() + kRevokeGrace;
      while ((transacting_ || burying_ > 0) &&
             changed_.WaitUntil(mutex_, grace)) {
      }
      last = TakeDirty(true, list);
    }
    if (last != nullptr) (void)CommitNow(*last, Clock::now() + kRevokeGrace);
  }
  {
    const internal::MutexLock lock(mutex_);
    ++moving_;
    while (fetching_) {
      Wake();
      (void)changed_.WaitUntil(mutex_, Clock::now() + kAskAgain);
    }
  }
  (void)Forget(list);
  Assign(list, false);
  const internal::MutexLock lock(mutex_);
  --moving_;
  changed_.NotifyAll();
}

std::vector<uint64_t> Member::SourcesOf(
    const rd_kafka_topic_partition_list_t* list) {
  const internal::MutexLock lock(mutex_);
  std::vector<uint64_t> sources;
  for (int i = 0; i < list->cnt; ++i) {
    const auto found =
        assigned_.find({list->elems[i].topic, list->elems[i].partition});
    if (found != assigned_.end()) sources.push_back(found->second->source);
  }
  return sources;
}

std::vector<uint64_t> Member::Forget(
    const rd_kafka_topic_partition_list_t* list) {
  // Messages end without the lock.
  std::vector<std::unique_ptr<Assigned>> gone;
  std::vector<uint64_t> sources;
  const internal::MutexLock lock(mutex_);
  for (int i = 0; i < list->cnt; ++i) {
    const auto found =
        assigned_.find({list->elems[i].topic, list->elems[i].partition});
    if (found == assigned_.end()) continue;
    const uint64_t source = found->second->source;
    sources.push_back(source);
    lost_.insert(source);
    by_source_.erase(source);
    gone.push_back(std::move(found->second));
    assigned_.erase(found);
    DropArrived(list->elems[i].topic, list->elems[i].partition);
  }
  changed_.NotifyAll();
  return sources;
}

void Member::LoseAll() {
  Places gone;
  std::vector<Received> arrived;
  std::vector<uint64_t> sources;
  {
    const internal::MutexLock lock(mutex_);
    gone.swap(assigned_);
    arrived.swap(arrived_);
    next_arrived_ = 0;
    by_source_.clear();
    due_.clear();
    for (const auto& [place, partition] : gone) {
      sources.push_back(partition->source);
      lost_.insert(partition->source);
    }
    changed_.NotifyAll();
  }
  if (!sources.empty()) events_.Lost(sources);
}

absl::Status Member::Subscribe() {
  if (queues_.empty()) {
    const rd_kafka_resp_err_t error = rd_kafka_unsubscribe(handle_->get());
    return error == RD_KAFKA_RESP_ERR_NO_ERROR
               ? absl::OkStatus()
               : KafkaStatus(error, "unsubscribe");
  }
  subscribed_ = true;
  const PartitionList list = NewPartitionList(queues_.size());
  for (const std::string& queue : queues_) {
    rd_kafka_topic_partition_list_add(list.get(), queue.c_str(),
                                      RD_KAFKA_PARTITION_UA);
  }
  const rd_kafka_resp_err_t error =
      rd_kafka_subscribe(handle_->get(), list.get());
  return error == RD_KAFKA_RESP_ERR_NO_ERROR ? absl::OkStatus()
                                             : KafkaStatus(error, "subscribe");
}

bool Member::HasPartitionOf(std::string_view queue) const {
  return std::any_of(
      assigned_.begin(), assigned_.end(),
      [queue](const auto& entry) { return entry.first.first == queue; });
}

absl::Status Member::Bind(std::string_view queue, TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(queue, deadline);
  if (!partitions.ok()) return partitions.status();
  auto options = services_.catalog->OptionsOf(queue, deadline);
  if (!options.ok()) return options.status();
  if (options_.broadcast) return AssignAll(queue, *partitions, deadline);
  const internal::MutexLock lock(mutex_);
  error_ = absl::OkStatus();
  queues_.emplace_back(queue);
  queue_options_[std::string(queue)] = *std::move(options);
  const uint64_t before = assignments_;
  absl::Status status = Subscribe();
  // Another member may have all there is; of several, some come to this one as
  // soon as the others have let go.
  const TimePoint enough =
      *partitions > 1 ? Clock::now() + kShareGrace : Clock::now();
  // What begins at the earliest misses nothing, whenever it begins: a member that
  // died keeps the group from answering until its session ends.
  const TimePoint stands = options_.start == StartPosition::kEarliest
                               ? Clock::now() + kPositionGrace
                               : TimePoint::max();
  while (status.ok() && !HasPartitionOf(queue)) {
    if (!error_.ok()) {
      status = std::exchange(error_, absl::OkStatus());
      break;
    }
    if (assignments_ > before && Clock::now() >= enough) break;
    if (Clock::now() >= stands) break;
    const TimePoint next = std::min(
        stands,
        assignments_ > before ? std::min(deadline, enough) : deadline);
    if (changed_.WaitUntil(mutex_, next) || Clock::now() < deadline) continue;
    status = MakeStatus(Code::kTimeout, "bind \"", queue,
                        "\": the group did not answer in time");
  }
  if (!status.ok()) {
    queues_.pop_back();
    (void)Subscribe();
  }
  return status;
}

absl::Status Member::AssignAll(std::string_view queue, int32_t partitions,
                               TimePoint deadline) {
  const PartitionList list = NewPartitionList(static_cast<size_t>(partitions));
  for (int32_t partition = 0; partition < partitions; ++partition) {
    rd_kafka_topic_partition_t* const one = rd_kafka_topic_partition_list_add(
        list.get(), std::string(queue).c_str(), partition);
    int64_t first = 0;
    int64_t end = 0;
    const rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
        handle_->get(), one->topic, partition, &first, &end,
        std::max(1, TimeoutMs(deadline)));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return LookupStatus(error, Concat("bind \"", queue, "\""));
    }
    one->offset = options_.start == StartPosition::kLatest ? end : first;
  }
  ForwardFetches(list.get());
  TakeOver(list.get());
  const OwnedError error(
      rd_kafka_incremental_assign(handle_->get(), list.get()));
  if (error != nullptr) {
    (void)Forget(list.get());
    return KafkaStatus(rd_kafka_error_code(error.get()),
                       Concat("bind \"", queue, "\""),
                       rd_kafka_error_string(error.get()));
  }
  const internal::MutexLock lock(mutex_);
  queues_.emplace_back(queue);
  return absl::OkStatus();
}

void Member::EndGroup(std::string_view queue, TimePoint deadline) {
  {
    const internal::MutexLock lock(mutex_);
    if (std::find(queues_.begin(), queues_.end(), queue) == queues_.end()) {
      return;
    }
    ended_.emplace(queue);
  }
  (void)Unbind(queue, deadline);
  const internal::MutexLock lock(mutex_);
  ended_.emplace(queue);
}

absl::Status Member::Unbind(std::string_view queue, TimePoint deadline) {
  PartitionList left = NewPartitionList();
  {
    const internal::MutexLock lock(mutex_);
    if (const auto ended = ended_.find(queue); ended != ended_.end()) {
      ended_.erase(ended);
    }
    const auto found = std::find(queues_.begin(), queues_.end(), queue);
    if (found == queues_.end()) return absl::OkStatus();
    queues_.erase(found);
    if (!options_.broadcast) {
      if (absl::Status s = Subscribe(); !s.ok()) return s;
    }
    while (!options_.broadcast && HasPartitionOf(queue) &&
           changed_.WaitUntil(mutex_, deadline)) {
    }
    for (const auto& [place, partition] : assigned_) {
      if (place.first != queue) continue;
      rd_kafka_topic_partition_list_add(left.get(), place.first.c_str(),
                                        place.second);
    }
  }
  // Whatever the group says later.
  const std::vector<uint64_t> sources = Forget(left.get());
  if (options_.broadcast && left->cnt > 0) {
    const OwnedError ignored(
        rd_kafka_incremental_unassign(handle_->get(), left.get()));
  }
  if (!sources.empty()) events_.Lost(sources);
  return absl::OkStatus();
}

absl::Status Member::Close(TimePoint deadline) {
  rd_kafka_t* const rk = handle_->get();
  stopping_ = true;
  rd_kafka_queue_yield(own_.get());
  if (keeper_.joinable()) keeper_.join();
  PartitionList last;
  {
    const internal::MutexLock lock(mutex_);
    // These end by a deadline of their own, and need the handle until then.
    while (transacting_ || burying_ > 0) changed_.Wait(mutex_);
    last = TakeDirty(true, nullptr);
  }
  absl::Status status;
  if (last != nullptr) {
    const rd_kafka_resp_err_t error = CommitNow(*last, deadline);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      status = KafkaStatus(error, "close: the last acknowledgements may come "
                                  "again");
    }
  }
  last.reset();
  {
    // librdkafka 2.0 does not leave a group while it closes a member that has
    // no partition: the others would wait for it until its session ends.
    const internal::MutexLock lock(mutex_);
    if (assigned_.empty()) (void)rd_kafka_unsubscribe(rk);
  }
  ending_.reset(rd_kafka_queue_new(rk));
  const OwnedError failed(rd_kafka_consumer_close_queue(rk, ending_.get()));
  if (failed != nullptr || Leave(deadline)) {
    End();
    return status;
  }
  // Who does not leave its group keeps the others waiting for its session.
  std::thread([self = shared_from_this()] {
    (void)self->Leave(Clock::now() + kLeaveGrace);
    self->End();
  }).detach();
  return status;
}

bool Member::Leave(TimePoint deadline) {
  while (rd_kafka_consumer_closed(handle_->get()) == 0) {
    if (Clock::now() >= deadline) return false;
    rd_kafka_queue_poll_callback(ending_.get(),
                                 std::clamp(TimeoutMs(deadline), 1, 50));
  }
  return true;
}

void Member::End() {
  Places gone;
  std::vector<Received> arrived;
  bool never_assigned = false;
  {
    const internal::MutexLock lock(mutex_);
    gone.swap(assigned_);
    arrived.swap(arrived_);
    by_source_.clear();
    due_.clear();
    never_assigned = subscribed_ && assignments_ == 0;
  }
  gone.clear();
  arrived.clear();
  cluster_->NoteStatistics(rd_kafka_name(handle_->get()), {});
  own_.reset();
  fetched_.reset();
  ending_.reset();
  // librdkafka before 2.3 ends the process where a member is destroyed that has
  // joined its group and had no assignment yet (its issue 4312).
  constexpr int kMended = 0x02030000;
  if (never_assigned && rd_kafka_version() < kMended) {
    Handle::Leak(std::move(handle_));
    return;
  }
  Handle::Release(std::move(handle_));
}

}  // namespace openmessaging::kafka
