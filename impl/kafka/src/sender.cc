// SPDX-License-Identifier: Apache-2.0

#include "sender.h"

#include <unistd.h>

#include <array>
#include <random>

#include "errors.h"
#include "headers.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::string What(const Message& message) {
  return Concat("send to \"", message.destination(), "\"");
}

Outcome OutcomeOfReport(const rd_kafka_message_t& message) {
  switch (rd_kafka_message_status(&message)) {
    case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
      return Outcome::kNotStored;
    case RD_KAFKA_MSG_STATUS_PERSISTED:
      return Outcome::kStored;
    default:
      return Outcome::kUnknown;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Sender>> Sender::Make(
    const std::shared_ptr<Cluster>& cluster, bool transactional) {
  std::string unique;
  std::random_device random;
  for (int i = 0; i < 4; ++i) {
    const uint32_t part = random();
    internal::AppendHex(unique, internal::NumberBytes(part));
  }
  std::vector<std::pair<std::string, std::string>> settings = {
      {"enable.idempotence", "true"},
      // The partition that the official client gives a key.
      {"partitioner", "murmur2_random"}};
  // Nobody goes on with it: what groups have is what fences.
  if (transactional) settings.emplace_back("transactional.id", "oms-" + unique);
  auto conf = cluster->config().Make(Config::Kind::kProducer, settings);
  if (!conf.ok()) return conf.status();
  auto sender = std::make_shared<Sender>(cluster);
  rd_kafka_conf_set_opaque(conf->get(), sender.get());
  rd_kafka_conf_set_events(conf->get(),
                           RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
                               RD_KAFKA_EVENT_STATS);
  rd_kafka_conf_set_background_event_cb(conf->get(), &Sender::OnEvent);
  auto handle = Handle::Make(RD_KAFKA_PRODUCER, *std::move(conf));
  if (!handle.ok()) return handle.status();
  sender->handle_ = *std::move(handle);
  const OwnedQueue main(rd_kafka_queue_get_main(sender->get()));
  const OwnedQueue background(rd_kafka_queue_get_background(sender->get()));
  rd_kafka_queue_forward(main.get(), background.get());
  sender->id_prefix_ = unique;
  return sender;
}

Sender::~Sender() {
  {
    const internal::MutexLock lock(mutex_);
    topics_.clear();
  }
}

void Sender::Close(std::shared_ptr<Sender> sender) {
  if (sender == nullptr || sender.use_count() != 1) return;
  {
    const internal::MutexLock lock(sender->mutex_);
    sender->topics_.clear();
  }
  sender->cluster_->NoteStatistics(rd_kafka_name(sender->get()), {});
  Handle::Release(std::move(sender->handle_));
}

rd_kafka_topic_t* Sender::TopicOf(std::string_view topic) {
  const internal::MutexLock lock(mutex_);
  const auto found = topics_.find(topic);
  if (found != topics_.end()) return found->second.get();
  std::string name(topic);
  OwnedTopic made(rd_kafka_topic_new(get(), name.c_str(), nullptr));
  return topics_.emplace(std::move(name), std::move(made)).first->second.get();
}

MessageId Sender::NewId() {
  return *MessageId::FromText(
      Concat(std::string_view(id_prefix_), '-',
             ids_.fetch_add(1, std::memory_order_relaxed)));
}

void Sender::OnEvent(rd_kafka_t* rk, rd_kafka_event_t* event, void* opaque) {
  const OwnedEvent owner(event);
  if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
    while (const rd_kafka_message_t* const message =
               rd_kafka_event_message_next(event)) {
      KafkaProducer::Complete(*message);
    }
  } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_STATS) {
    static_cast<Sender*>(opaque)->cluster_->NoteStatistics(
        rd_kafka_name(rk), rd_kafka_event_stats(event));
  } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
    static_cast<Sender*>(opaque)->OnError(rd_kafka_event_error(event));
  }
}

void Sender::OnError(rd_kafka_resp_err_t error) {
  if (error == RD_KAFKA_RESP_ERR__FATAL) failed_ = true;
  // Whoever sends next learns at once whether anybody is there.
  if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) cluster_->Forget({});
}

absl::StatusOr<std::shared_ptr<Sender>> Senders::Get() {
  const internal::MutexLock lock(mutex_);
  if (sender_ == nullptr || sender_->failed()) {
    auto made = Sender::Make(cluster_, kind_ == Kind::kTransactional);
    if (!made.ok()) return made.status();
    sender_ = *std::move(made);
  }
  return sender_;
}

void Senders::Close() {
  std::shared_ptr<Sender> sender;
  {
    const internal::MutexLock lock(mutex_);
    sender.swap(sender_);
  }
  Sender::Close(std::move(sender));
}

void KafkaProducer::Send(std::span<const Message> batch,
                         const driver::CallContext& context,
                         driver::SendCompletion& done) {
  bool later = false;
  {
    const internal::MutexLock lock(state_->mutex);
    later = state_->deferred > 0;
  }
  later = later || (!context.caller_waits && !KnowsAll(batch));
  if (!later) {
    SendNow(batch, context, done);
    return;
  }
  {
    const internal::MutexLock lock(state_->mutex);
    ++state_->deferred;
  }
  worker_.Post([this, messages = std::vector<Message>(batch.begin(),
                                                      batch.end()),
                call = driver::CallContext(context), &done]() mutable {
    call.caller_waits = true;
    const TimePoint soon = Clock::now() + std::chrono::seconds(10);
    call.deadline = std::min(call.deadline, soon);
    SendNow(messages, call, done);
    const internal::MutexLock lock(state_->mutex);
    --state_->deferred;
    state_->changed.NotifyAll();
  });
}

bool KafkaProducer::KnowsAll(std::span<const Message> batch) const {
  for (const Message& message : batch) {
    if (cluster_->KnownPartitions(message.destination()) < 0) return false;
  }
  return true;
}

void KafkaProducer::SendNow(std::span<const Message> batch,
                            const driver::CallContext& context,
                            driver::SendCompletion& done) {
  // The destinations and keys of what was refused.
  std::vector<const Message*> refused;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Message& message = batch[i];
    absl::Status status;
    for (const Message* const before : refused) {
      if (before->destination() != message.destination() ||
          before->message_key() != message.message_key()) {
        continue;
      }
      status = MakeStatus(Code::kUnavailable, What(message),
                          ": an earlier message of its key in the batch was "
                          "refused (OMS-DRV-011)");
      break;
    }
    if (status.ok()) status = SendOne(message, context, done, i);
    if (status.ok()) continue;
    refused.push_back(&message);
    done.Failed(i, std::move(status));
  }
}

absl::Status KafkaProducer::SendOne(const Message& message,
                                    const driver::CallContext& context,
                                    driver::SendCompletion& done,
                                    size_t index) {
  const auto partitions =
      cluster_->PartitionsOf(message.destination(), context.deadline);
  if (!partitions.ok()) return partitions.status();
  const int32_t wanted = message.requested_partition();
  if (wanted >= *partitions) {
    return MakeStatus(Code::kBadParameter, What(message), ": partition ",
                      wanted, " is asked for; the queue has ", *partitions,
                      " (OMS-ORDER-013)");
  }
  auto sender = senders_.Get();
  if (!sender.ok()) return sender.status();
  static const std::string host = HostName();
  rd_kafka_t* const rk = (*sender)->get();
  rd_kafka_topic_t* const topic = (*sender)->TopicOf(message.destination());
  const MessageId id = (*sender)->NewId();
  std::array<char, MessageId::kMaxPrintedBytes> id_text;
  OwnedHeaders headers = NativeHeaders(
      message, {.message_id = id.Print(id_text),
                .born_timestamp_ms = context.born_timestamp_ms,
                .host = host});
  auto report = std::make_unique<Report>();
  report->state = state_;
  {
    const internal::MutexLock lock(state_->mutex);
    state_->pending.push_back({message, id, &done, index, *sender});
    report->entry = std::prev(state_->pending.end());
  }
  const std::string_view body = message.body();
  const std::string_view key = message.message_key();
  const bool tombstone =
      body.empty() && message.properties().GetOr<bool>(kTombstone, false);
  // An empty body is not an absent one.
  static char nothing = 0;
  void* const payload =
      tombstone ? nullptr
                : (body.empty() ? &nothing : const_cast<char*>(body.data()));
  std::array<rd_kafka_vu_t, 6> arguments;
  arguments[0].vtype = RD_KAFKA_VTYPE_RKT;
  arguments[0].u.rkt = topic;
  arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION;
  arguments[1].u.i32 = wanted < 0 ? RD_KAFKA_PARTITION_UA : wanted;
  arguments[2].vtype = RD_KAFKA_VTYPE_VALUE;
  arguments[2].u.mem.ptr = payload;
  arguments[2].u.mem.size = body.size();
  arguments[3].vtype = RD_KAFKA_VTYPE_KEY;
  arguments[3].u.mem.ptr =
      key.empty() ? nullptr : const_cast<char*>(key.data());
  arguments[3].u.mem.size = key.size();
  arguments[4].vtype = RD_KAFKA_VTYPE_OPAQUE;
  arguments[4].u.ptr = report.get();
  arguments[5].vtype = RD_KAFKA_VTYPE_HEADERS;
  arguments[5].u.headers = headers.get();
  const OwnedError error(
      rd_kafka_produceva(rk, arguments.data(), arguments.size()));
  if (error == nullptr) {
    (void)headers.release();
    (void)report.release();
    return absl::OkStatus();
  }
  {
    const internal::MutexLock lock(state_->mutex);
    state_->pending.erase(report->entry);
    state_->changed.NotifyAll();
  }
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error.get());
  if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
    cluster_->Forget(message.destination());
  }
  return KafkaStatus(code, What(message), Outcome::kNotStored);
}

void KafkaProducer::Complete(const rd_kafka_message_t& message) {
  const std::unique_ptr<Report> report(static_cast<Report*>(message._private));
  State& state = *report->state;
  driver::SendCompletion* done = nullptr;
  std::list<Pending> gone;
  {
    const internal::MutexLock lock(state.mutex);
    done = std::exchange(report->entry->done, nullptr);
    // Still counted until it has completed.
  }
  if (done != nullptr) {
    const Pending& pending = *report->entry;
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      // A delayed message has its place when it is due.
      const bool delayed = pending.message.delay().count() > 0;
      done->Sent(pending.index,
                 {.message_id = pending.id,
                  .partition = message.partition,
                  .offset = delayed ? -1 : message.offset});
    } else {
      done->Failed(pending.index,
                   KafkaStatus(message.err, What(pending.message),
                               OutcomeOfReport(message)));
    }
  }
  const internal::MutexLock lock(state.mutex);
  gone.splice(gone.end(), state.pending, report->entry);
  state.changed.NotifyAll();
}

absl::Status KafkaProducer::Flush(TimePoint deadline) {
  const internal::MutexLock lock(state_->mutex);
  while (!state_->pending.empty() || state_->deferred > 0) {
    if (!state_->changed.WaitUntil(state_->mutex, deadline)) {
      return MakeStatus(Code::kTimeout, "flush: ", state_->pending.size(),
                        " messages have no answer yet");
    }
  }
  return absl::OkStatus();
}

absl::Status KafkaProducer::Close(TimePoint deadline) {
  const absl::Status flushed = Flush(deadline);
  std::vector<std::pair<driver::SendCompletion*, size_t>> left;
  {
    const internal::MutexLock lock(state_->mutex);
    // What waits for a look-up ends when its own deadline does.
    while (state_->deferred > 0) state_->changed.Wait(state_->mutex);
    for (Pending& pending : state_->pending) {
      if (pending.done == nullptr) continue;
      left.emplace_back(std::exchange(pending.done, nullptr), pending.index);
    }
  }
  for (const auto& [done, index] : left) {
    StatusDetail detail = DefaultDetail(Code::kClosed);
    detail.outcome = Outcome::kUnknown;
    done->Failed(index, WithDetail(MakeStatus(Code::kClosed,
                                              "send: the producer was closed "
                                              "before the broker answered"),
                                   detail));
  }
  return flushed;
}

}  // namespace openmessaging::kafka
