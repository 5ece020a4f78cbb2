// SPDX-License-Identifier: Apache-2.0

#include "consumer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>

#include "openmessaging/internal/text.h"

namespace openmessaging::rabbitmq {
namespace {

using Clock = std::chrono::steady_clock;

// Who asks for so many at once has room for them: listeners. Others get what
// they ask for (bound_queue.h).
constexpr size_t kStreamFrom = 32;

// So many settlements fit a socket that takes any: 21 bytes each, which the
// kernel joins where it cannot send them.
constexpr size_t kMostSettledHere = 64;

// A look has been asked for, and its answer is on its way: dropped, it would
// lie here.
constexpr std::chrono::milliseconds kLookGrace{250};
constexpr std::chrono::milliseconds kEndGrace{250};

// Looks at the queues one after another, until one has something.
void LookAt(std::shared_ptr<Inbox> inbox,
            std::shared_ptr<std::vector<std::shared_ptr<BoundQueue>>> queues,
            size_t index, size_t max) {
  bool found = false;
  {
    const internal::MutexLock lock(inbox->mutex);
    found = !inbox->ready.empty();
    if (found || index == queues->size()) {
      inbox->looking = false;
      inbox->Tell();
      return;
    }
  }
  BoundQueue& queue = *(*queues)[index];
  queue.Look(max, [inbox, queues, index, max] {
    LookAt(inbox, queues, index + 1, max);
  });
}

std::string_view TokenOf(const uint64_t& tag) {
  return {reinterpret_cast<const char*>(&tag), sizeof(tag)};
}

absl::Status NoReceipt() {
  return MakeStatus(Code::kReceiptInvalid,
                    "settle: the receipt is not one of this consumer");
}

}  // namespace

RabbitConsumer::Queues RabbitConsumer::AllQueues() const {
  Queues all;
  for (const auto& [name, queue] : queues_) all.push_back(queue);
  return all;
}

void RabbitConsumer::ForEachQueue(void (BoundQueue::*method)()) {
  (void)link_->Run([queues = AllQueues(), method] {
    for (const auto& queue : queues) (queue.get()->*method)();
  });
}

absl::Status RabbitConsumer::Bind(std::string_view queue,
                                  const driver::BindOptions&,
                                  TimePoint deadline) {
  auto found = find_(queue, inbox_->options.group, deadline);
  if (!found.ok()) return found.status();
  if (!found->dead_letter_queue.empty()) {
    if (absl::Status s = dead_letters_->Open(deadline); !s.ok()) return s;
  }
  auto bound = std::make_shared<BoundQueue>(
      link_, inbox_, dead_letters_, std::string(queue), *std::move(found));
  (void)link_->Post([link = link_.get(), bound] { link->Attach(bound); });
  absl::Status opened = bound->AwaitOpen(deadline);
  if (!opened.ok()) {
    (void)link_->Post([bound] { bound->Shut([] {}); });
    return opened;
  }
  queues_.emplace(queue, std::move(bound));
  return absl::OkStatus();
}

absl::Status RabbitConsumer::Unbind(std::string_view queue,
                                    TimePoint deadline) {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return absl::OkStatus();
  const std::shared_ptr<BoundQueue> bound = found->second;
  queues_.erase(found);
  auto shut = std::make_shared<std::promise<void>>();
  if (!link_->Post(
          [bound, shut] { bound->Shut([shut] { shut->set_value(); }); })) {
    return absl::OkStatus();
  }
  if (shut->get_future().wait_until(deadline) == std::future_status::ready) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kTimeout, "unbind \"", queue,
                    "\": no answer in time");
}

// --- receiving ---

absl::Status RabbitConsumer::Receive(size_t max, TimePoint deadline,
                                     driver::DeliverySink& sink) {
  Queues to_flush;
  absl::Status status;
  {
    const internal::MutexLock lock(inbox_->mutex);
    if (max >= kStreamFrom && !inbox_->streaming) BeginStreaming();
    size_t count = 0;
    bool looked = inbox_->streaming;
    while (true) {
      count = Hand(max, sink, to_flush);
      if (count > 0 || std::exchange(inbox_->interrupted, false)) break;
      status = Failure();
      if (!status.ok()) break;
      if (!looked) {
        if (!inbox_->looking) BeginLook(max);
        looked = AwaitLook(std::max(deadline, Clock::now() + kLookGrace));
        if (looked || inbox_->interrupted) continue;
      }
      if (Clock::now() >= deadline) break;
      AwaitFirst(deadline);
    }
  }
  Flush(std::move(to_flush), max);
  return status;
}

size_t RabbitConsumer::Hand(size_t max, driver::DeliverySink& sink,
                            Queues& to_flush) {
  size_t count = 0;
  while (count < max && !inbox_->ready.empty()) {
    if (HandOne(sink, to_flush)) ++count;
  }
  return count;
}

bool RabbitConsumer::HandOne(driver::DeliverySink& sink, Queues& to_flush) {
  Inbox::Ready one = std::move(inbox_->ready.front());
  inbox_->ready.pop_front();
  const int64_t end = one.message.expire_at().count();
  if (end != 0 &&
      end <= std::chrono::duration_cast<std::chrono::milliseconds>(
                 std::chrono::system_clock::now().time_since_epoch())
                 .count()) {
    // Brokers look at the first of a queue only, and at what they hand out not
    // again.
    one.queue->Expire(one.tag, one.message);
    to_flush.push_back(one.queue);
    return false;
  }
  if (one.queue->IsWornOut(one.message)) {
    one.queue->WearOut(one.tag, one.message);
    to_flush.push_back(one.queue);
    return false;
  }
  one.queue->Show(one.tag, one.message);
  if (one.message.qos() == Qos::kAtMostOnce) {
    one.queue->tags().Acknowledge(one.tag);
    one.queue->Forget(one.tag, one.tag);
    to_flush.push_back(one.queue);
  }
  sink.Deliver(std::move(one.message), Receipt(one.source, TokenOf(one.tag)));
  return true;
}

absl::Status RabbitConsumer::Failure() const {
  for (const auto& [name, queue] : queues_) {
    if (absl::Status failure = queue->failure(); !failure.ok()) return failure;
  }
  return absl::OkStatus();
}

void RabbitConsumer::BeginStreaming() {
  inbox_->streaming = true;
  inbox_->mutex.Unlock();
  ForEachQueue(&BoundQueue::Stream);
  inbox_->mutex.Lock();
}

void RabbitConsumer::BeginLook(size_t max) {
  auto queues = std::make_shared<Queues>(AllQueues());
  if (queues->empty()) return;
  std::rotate(queues->begin(),
              queues->begin() +
                  static_cast<std::ptrdiff_t>(next_queue_++ % queues->size()),
              queues->end());
  inbox_->looking = true;
  inbox_->mutex.Unlock();
  const bool begun = link_->Run(
      [inbox = inbox_, queues, max] { LookAt(inbox, queues, 0, max); });
  inbox_->mutex.Lock();
  if (!begun) inbox_->looking = false;
}

template <typename Done>
bool RabbitConsumer::AwaitChange(const Done& done, TimePoint deadline) {
  if (done()) return true;
  inbox_->mutex.Unlock();
  const bool helped = link_->Await(
      [this, &done] {
        const internal::MutexLock lock(inbox_->mutex);
        return done();
      },
      deadline);
  inbox_->mutex.Lock();
  while (!done()) {
    if (helped || !inbox_->changed.WaitUntil(inbox_->mutex, deadline)) {
      return done();
    }
  }
  return true;
}

bool RabbitConsumer::AwaitLook(TimePoint deadline) {
  AwaitChange(
      [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return !inbox_->looking || inbox_->interrupted;
      },
      deadline);
  return !inbox_->looking;
}

void RabbitConsumer::AwaitFirst(TimePoint deadline) {
  const bool waits = !inbox_->streaming;
  if (waits) {
    inbox_->waiting = true;
    inbox_->mutex.Unlock();
    ForEachQueue(&BoundQueue::Wait);
    inbox_->mutex.Lock();
  }
  AwaitChange(
      [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return !inbox_->ready.empty() || inbox_->interrupted || !Failure().ok();
      },
      deadline);
  if (waits) EndWait();
}

void RabbitConsumer::EndWait() {
  inbox_->waiting = false;
  // What comes before the broker has ended them is for this call.
  ++inbox_->ending;
  inbox_->mutex.Unlock();
  // With one queue the message that came has ended it already.
  const bool begun = link_->Run([inbox = inbox_, queues = AllQueues()] {
    for (const auto& queue : queues) queue->Unwait();
    const internal::MutexLock lock(inbox->mutex);
    --inbox->ending;
    inbox->Tell();
  });
  inbox_->mutex.Lock();
  if (!begun) --inbox_->ending;
  AwaitChange(
      [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return inbox_->ending == 0 || !inbox_->ready.empty();
      },
      Clock::now() + kEndGrace);
}

void RabbitConsumer::Interrupt() {
  const internal::MutexLock lock(inbox_->mutex);
  inbox_->interrupted = true;
  inbox_->Tell();
}

// --- settling ---

void RabbitConsumer::Settle(std::span<const driver::Settlement> batch,
                            const driver::CallContext&,
                            driver::SettleCompletion& done) {
  struct Told {
    size_t index = 0;
    absl::Status status{};
  };
  std::vector<Told> told;
  Queues to_flush;
  {
    const internal::MutexLock lock(inbox_->mutex);
    for (size_t i = 0; i < batch.size(); ++i) {
      std::shared_ptr<BoundQueue> queue;
      bool settled = false;
      absl::Status status = Note(batch[i], done, i, queue, settled);
      if (!status.ok() || settled) {
        told.push_back({i, std::move(status)});
        continue;
      }
      if (std::find(to_flush.begin(), to_flush.end(), queue) ==
          to_flush.end()) {
        to_flush.push_back(std::move(queue));
      }
    }
  }
  Flush(std::move(to_flush), batch.size());
  for (Told& one : told) {
    if (one.status.ok()) {
      done.Settled(one.index, Receipt());
    } else {
      done.Failed(one.index, std::move(one.status));
    }
  }
}

absl::Status RabbitConsumer::Note(const driver::Settlement& one,
                                  driver::SettleCompletion& done, size_t index,
                                  std::shared_ptr<BoundQueue>& queue,
                                  bool& settled) {
  const std::string_view token = one.receipt.token();
  uint64_t tag = 0;
  if (token.size() != sizeof(tag)) return NoReceipt();
  std::memcpy(&tag, token.data(), sizeof(tag));
  const auto found = inbox_->sources.find(one.receipt.source());
  if (found == inbox_->sources.end()) {
    // Never of another consumer: the numbers are those of the connection.
    return NoReceipt();
  }
  queue = found->second;
  TagTable& tags = queue->tags();
  switch (tags.Of(tag)) {
    case TagTable::State::kNone:
    case TagTable::State::kHeld:
      return NoReceipt();
    case TagTable::State::kReturned:
    case TagTable::State::kLeaving:
      return MakeStatus(Code::kReceiptExpired, "settle \"",
                        std::string_view(queue->name()),
                        "\": the message was given back before");
    case TagTable::State::kDying:
    case TagTable::State::kAcked:
    case TagTable::State::kSettled:
      // An ack of many may be told to one that is settled.
      settled = one.verb != driver::Verb::kAckUpTo;
      if (settled) return absl::OkStatus();
      break;
    case TagTable::State::kShown:
      break;
  }
  switch (one.verb) {
    case driver::Verb::kAck:
      tags.Acknowledge(tag);
      queue->Forget(tag, tag);
      break;
    case driver::Verb::kAckUpTo:
      tags.AcknowledgeUpTo(tag);
      queue->Forget(0, tag);
      break;
    case driver::Verb::kNack:
      queue->Return(tag, /*requeue=*/true);
      break;
    case driver::Verb::kNackDelay:
      if (one.duration.count() > 0) {
        return queue->ReturnLater(tag, one.duration, done, index);
      }
      queue->Return(tag, /*requeue=*/true);
      break;
    case driver::Verb::kReject:
      return queue->Reject(tag, done, index);
    default:
      return MakeStatus(Code::kUnsupported, "settle \"",
                        std::string_view(queue->name()),
                        "\": the broker cannot do that");
  }
  queue->Complete(done, index);
  return absl::OkStatus();
}

void RabbitConsumer::Flush(Queues queues, size_t count) {
  if (queues.empty()) return;
  auto flush = [queues = std::move(queues)] {
    for (const auto& queue : queues) queue->Flush();
  };
  if (count <= kMostSettledHere) {
    (void)link_->Run(std::move(flush));
  } else {
    (void)link_->Post(std::move(flush));
  }
}

absl::Status RabbitConsumer::Close(TimePoint deadline) {
  auto shut = std::make_shared<std::promise<void>>();
  auto left = std::make_shared<size_t>(queues_.size());
  const bool posted =
      link_->Post([inbox = inbox_, queues = AllQueues(), left, shut] {
        if (queues.empty()) shut->set_value();
        for (const auto& queue : queues) {
          queue->Shut([left, shut] {
            if (--*left == 0) shut->set_value();
          });
        }
      });
  queues_.clear();
  absl::Status status;
  if (posted &&
      shut->get_future().wait_until(deadline) != std::future_status::ready) {
    status = MakeStatus(Code::kTimeout,
                        "close the consumer: no answer in "
                        "time");
  }
  // From here on nobody is told of anything.
  auto silent = std::make_shared<std::promise<void>>();
  if (link_->Post([inbox = inbox_, silent] {
        inbox->events = nullptr;
        silent->set_value();
      })) {
    silent->get_future().wait();
  }
  return status;
}

}  // namespace openmessaging::rabbitmq
