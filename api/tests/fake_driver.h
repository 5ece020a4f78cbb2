// SPDX-License-Identifier: Apache-2.0
//
// A little broker in memory, and a driver for it, so that the portable layer is
// tested alone. It keeps its side of the driver's contract, notes where the
// portable layer breaks its own, and can be told to be slow, late or wrong.

#ifndef OPENMESSAGING_API_TESTS_FAKE_DRIVER_H_
#define OPENMESSAGING_API_TESTS_FAKE_DRIVER_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "doctest/doctest.h"
#include "fake_transactions.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/messaging_access_point.h"

namespace openmessaging {
namespace fake {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// When a completion comes: inside the call, from a thread of the driver's, or
// not before AnswerHeld() or the end of the client.
enum class Answer { kInline, kLater, kHeld };

// How the broker behaves from now on. Each list is used up from its front: an
// OK in it means that this one goes well.
struct Script {
  Answer send_answer = Answer::kInline;
  Answer settle_answer = Answer::kInline;
  milliseconds answer_delay{0};                // Of kLater.
  std::deque<absl::Status> send_failures{};    // One for each message.
  std::deque<absl::Status> settle_failures{};  // One for each settlement.
  std::deque<absl::Status> open_failures{};    // Of producers and consumers.
  std::deque<absl::Status> bind_failures{};
  std::deque<absl::Status> receive_failures{};  // Told beside what came.
  std::deque<absl::Status> capability_failures{};
  bool discard = false;        // Accept messages and keep none.
  bool stuck_open = false;     // Open waits for that to end, or its deadline.
  bool stuck_receive = false;  // So does Receive, whoever interrupts it.
  bool stuck_settle = false;   // So does Settle.
  bool new_receipts = false;   // Extend replaces the receipt.
  bool leases = false;         // What is out comes back after its lease.
  bool admin = true;           // Whether queues can be managed.
  bool namespaces = true;      // And namespaces.
  bool stream = true;          // Whether they can be read as streams.
  size_t deleted = 0;          // So many of a stream's oldest are gone.
  std::deque<absl::Status> read_failures{};  // Told beside what came.
  bool transactions = true;    // Whether there are local ones.
  std::deque<absl::Status> commit_failures{};
};

// What the driver was asked for.
struct Counts {
  size_t connects = 0;
  size_t producers_opened = 0;
  size_t producers_closed = 0;
  size_t consumers_opened = 0;
  size_t consumers_closed = 0;
  size_t connections_closed = 0;
  size_t capability_calls = 0;
  size_t sends = 0;  // Calls, not messages.
  size_t settles = 0;
  size_t commits = 0;
  size_t receives = 0;
  size_t interrupts = 0;
};

// A stored message: bytes that deliveries view.
struct Record : internal::MessageHolder {
  Record(std::string_view queue_name, std::string_view head,
         std::string_view content)
      : MessageHolder(
            [](MessageHolder* holder) { delete static_cast<Record*>(holder); }),
        queue(queue_name),
        bytes(std::string(head) + std::string(content)),
        fields_size(head.size()) {
    store_id.fill(0xFA);
    destination = queue;
    store_host = "fake.host";
  }

  const std::string queue;
  const std::string bytes;
  const size_t fields_size;
};

// Refuses capabilities one by one: `AllBut({Capability::kDelay})`.
inline Capabilities AllBut(std::initializer_list<Capability> absent) {
  Capabilities capabilities;
  for (size_t i = 0; i < kCapabilityNames.size(); ++i) {
    capabilities.Set(static_cast<Capability>(i), Support::kNative);
  }
  capabilities.Set(Capability::kSharedReceipt, Support::kUnsupported);
  for (const Capability capability : absent) {
    capabilities.Set(capability, Support::kUnsupported);
  }
  return capabilities;
}

// Holds the queues. All clients share one group.
//
// Threads: every method from any thread.
class Broker {
 public:
  Broker() : worker_([this] { Work(); }) {}
  ~Broker() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  // --- for tests ---
  void AddQueue(const std::string& name,
                const Capabilities& capabilities = AllBut({})) {
    const std::lock_guard lock(mutex_);
    queues_[name].capabilities = capabilities;
  }
  template <typename Change>
  void Set(Change change) {
    {
      const std::lock_guard lock(mutex_);
      change(script_);
    }
    changed_.notify_all();
  }
  Counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  std::vector<size_t> batch_sizes() const {
    const std::lock_guard lock(mutex_);
    return batch_sizes_;
  }
  std::vector<driver::Settlement> settlements() const {
    const std::lock_guard lock(mutex_);
    return settlements_;
  }
  driver::CallContext last_context() const {
    const std::lock_guard lock(mutex_);
    return last_context_;
  }
  driver::BindOptions last_bind() const {
    const std::lock_guard lock(mutex_);
    return last_bind_;
  }
  driver::ConsumerOptions last_options() const {
    const std::lock_guard lock(mutex_);
    return last_options_;
  }
  Attributes last_attributes() const {
    const std::lock_guard lock(mutex_);
    return last_attributes_;
  }
  // Returns: what the driver got of its last message, copied.
  Message last_message() const {
    const std::lock_guard lock(mutex_);
    return last_message_;
  }
  // Returns: the bodies in the queue, in the order of their arrival.
  std::vector<std::string> bodies(const std::string& queue) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const Entry& entry : queues_.at(queue).entries) {
      out.push_back(entry.record->bytes.substr(entry.record->fields_size));
    }
    return out;
  }
  // Returns: how many of its messages nobody has settled.
  size_t unsettled(const std::string& queue) const {
    const std::lock_guard lock(mutex_);
    size_t count = 0;
    for (const Entry& entry : queues_.at(queue).entries) {
      count += entry.state == Entry::kSettled ? 0 : 1;
    }
    return count;
  }
  // Waits until all of them are settled. Returns: false after ten seconds.
  bool AwaitSettled(const std::string& queue) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(10);
    while (unsettled(queue) > 0) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }
  std::vector<std::string> violations() const {
    const std::lock_guard lock(mutex_);
    return violations_;
  }
  size_t held() const {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  // Waits until `condition(counts)` holds. Returns: false after ten seconds.
  template <typename Condition>
  bool Await(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return condition(counts_); });
  }
  // Completes the first `count` of what was held, on this thread.
  void AnswerHeld(size_t count = SIZE_MAX) {
    std::vector<Held> held;
    {
      const std::lock_guard lock(mutex_);
      const auto end =
          held_.begin() + static_cast<ptrdiff_t>(std::min(count, held_.size()));
      held.assign(held_.begin(), end);
      held_.erase(held_.begin(), end);
    }
    for (Held& one : held) one.answer(absl::OkStatus());
    changed_.notify_all();
  }
  // Completes what was held, the last first.
  void AnswerHeldBackwards() {
    std::vector<Held> held;
    {
      const std::lock_guard lock(mutex_);
      held.swap(held_);
    }
    for (auto at = held.rbegin(); at != held.rend(); ++at) {
      at->answer(absl::OkStatus());
    }
    changed_.notify_all();
  }
  // Rings the consumers' event, as a rebalance does.
  void Revoke(uint64_t revoked, bool lost,
              steady_clock::time_point deadline = steady_clock::now()) {
    std::vector<driver::ConsumerEvents*> events;
    {
      const std::lock_guard lock(mutex_);
      events = events_;
    }
    for (driver::ConsumerEvents* const one : events) {
      if (lost) {
        one->Lost({&revoked, 1});
      } else {
        one->Revoking({&revoked, 1}, deadline);
      }
    }
  }
  // The source in the receipts of what is delivered from now on.
  std::atomic<uint64_t> source{1};
  Transactions transactions{};

 private:
  friend class Driver;
  friend class Connection;
  friend class Producer;
  friend class Consumer;
  friend class StreamReader;

  struct Entry {
    Record* record;  // Counted.
    enum { kReady, kOut, kSettled } state = kReady;
    int32_t deliveries = 0;
    int32_t hand_outs = 0;  // Those that were released too.
    int32_t renewals = 0;
    uint64_t source = 0;
    steady_clock::time_point due{};
    steady_clock::time_point leased_until{};

    Entry(Record* taken) : record(taken) {}  // NOLINT: only used here.
    Entry(Entry&& other) noexcept
        : record(std::exchange(other.record, nullptr)),
          state(other.state),
          deliveries(other.deliveries),
          hand_outs(other.hand_outs),
          renewals(other.renewals),
          source(other.source),
          due(other.due),
          leased_until(other.leased_until) {}
    Entry& operator=(Entry&&) = delete;
    ~Entry() {
      if (record != nullptr) record->Unref();
    }
  };
  struct Queue {
    Capabilities capabilities;
    std::vector<Entry> entries;
    size_t first_open = 0;  // Everything before it is settled.
  };
  struct Held {
    const void* owner;
    std::function<void(absl::Status)> answer;
  };
  // What a token says; its bytes are the token.
  struct Token {
    uint64_t magic = 0xFA4E;
    uint64_t index = 0;
    int32_t delivery = 0;
    int32_t renewal = 0;
    char queue[8] = {};
  };
  static_assert(sizeof(Token) <= Receipt::kInlineBytes);

  // Stores a message; under the lock. Errors: 1404.
  absl::Status Keep(const Message& message, const driver::CallContext& context,
                    SendResult& result) {
    const auto queue = queues_.find(message.destination());
    if (queue == queues_.end()) {
      return MakeStatus(Code::kQueueNotFound, "send to \"",
                        message.destination(), "\": no such queue");
    }
    MessageId::StoreId store;
    store.fill(0xFA);
    result.message_id = MessageId(store, 1, ++sequence_);
    result.partition = 0;
    result.offset = static_cast<int64_t>(queue->second.entries.size());
    if (script_.discard) return absl::OkStatus();
    last_message_ = message;
    Message copy(message);
    driver::MessageAccess::SetField(
        copy, internal::Field::kBornTimestamp,
        internal::NumberBytes(context.born_timestamp_ms));
    auto* const record = new Record(
        message.destination(),
        driver::MessageAccess::FieldsAfterDestination(copy), message.body());
    queue->second.entries.emplace_back(record);
    changed_.notify_all();
    return absl::OkStatus();
  }

  // Returns: what a receipt is of; under the lock. Errors: 1603.
  absl::StatusOr<Token> TokenOf(const Receipt& receipt) const {
    Token token;
    const std::string_view bytes = receipt.token();
    if (bytes.size() == sizeof(token)) {
      std::memcpy(&token, bytes.data(), sizeof(token));
    }
    const auto queue = queues_.find(std::string_view(token.queue));
    if (bytes.size() != sizeof(token) || token.magic != Token().magic ||
        queue == queues_.end() || token.index >= queue->second.entries.size()) {
      return MakeStatus(Code::kReceiptInvalid,
                        "settle: the receipt is nonsense");
    }
    return token;
  }
  Entry& EntryOf(const Token& token) {
    return queues_.find(std::string_view(token.queue))
        ->second.entries[token.index];
  }

  static absl::Status Take(std::deque<absl::Status>& list) {
    if (list.empty()) return absl::OkStatus();
    absl::Status status = list.front();
    list.pop_front();
    return status;
  }

  void Violated(std::string text) {
    const std::lock_guard lock(mutex_);
    violations_.push_back(std::move(text));
  }

  // Answers now, later or when asked to, as `how` says. The lock is not held.
  template <typename Function>
  void Reply(Answer how, milliseconds delay, const void* owner,
             Function answer) {
    if (how == Answer::kInline) {
      answer(absl::OkStatus());
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (how == Answer::kHeld) {
        held_.push_back({owner, answer});
      } else {
        tasks_.emplace(steady_clock::now() + delay, Held{owner, answer});
        ++tasks_of_[owner];
      }
    }
    changed_.notify_all();
  }

  // Waits until a client has nothing left to be completed.
  absl::Status AwaitAnswers(const void* owner, driver::TimePoint deadline) {
    std::unique_lock lock(mutex_);
    const bool done = changed_.wait_until(lock, deadline, [&] {
      return tasks_of_[owner] == 0 &&
             std::none_of(held_.begin(), held_.end(), [&](const Held& one) {
               return one.owner == owner;
             });
    });
    if (done) return absl::OkStatus();
    return MakeStatus(Code::kTimeout, "flush: not everything was answered");
  }

  // Completes what is left of a client, as the contract asks of Close.
  void Abandon(const void* owner) {
    std::vector<Held> mine;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return tasks_of_[owner] == 0; });
      for (auto at = held_.begin(); at != held_.end();) {
        if (at->owner == owner) {
          mine.push_back(std::move(*at));
          at = held_.erase(at);
        } else {
          ++at;
        }
      }
    }
    for (Held& one : mine) {
      one.answer(MakeStatus(Code::kClosed, "close: not sent any more"));
    }
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      if (tasks_.empty()) {
        if (ended_) return;
        changed_.wait(lock);
        continue;
      }
      const auto due = tasks_.begin()->first;
      if (!ended_ && steady_clock::now() < due) {
        changed_.wait_until(lock, due);
        continue;
      }
      const Held task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      lock.unlock();
      task.answer(absl::OkStatus());
      lock.lock();
      --tasks_of_[task.owner];
      changed_.notify_all();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Script script_;
  Counts counts_;
  std::map<std::string, Queue, std::less<>> queues_;
  uint64_t sequence_ = 0;
  std::vector<size_t> batch_sizes_;
  std::vector<driver::Settlement> settlements_;
  driver::CallContext last_context_;
  driver::BindOptions last_bind_;
  driver::ConsumerOptions last_options_;
  Attributes last_attributes_;
  Message last_message_;
  std::vector<std::string> violations_;
  std::vector<Held> held_;
  std::multimap<steady_clock::time_point, Held> tasks_;
  std::map<const void*, size_t> tasks_of_;
  std::vector<driver::ConsumerEvents*> events_;
  bool ended_ = false;
  std::thread worker_;
};

// Reports a call that another one must not run beside.
class Exclusive {
 public:
  template <typename Report>
  Exclusive(std::atomic<int>& calls, Report report) : calls_(calls) {
    if (calls_.fetch_add(1) != 0) report();
  }
  ~Exclusive() { calls_.fetch_sub(1); }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  std::atomic<int>& calls_;
};

// How many clients of a connection are open.
using OpenCount = std::shared_ptr<std::atomic<int>>;

class Producer final : public driver::Producer {
 public:
  Producer(std::shared_ptr<Broker> broker, OpenCount open)
      : broker_(std::move(broker)), open_(std::move(open)) {
    open_->fetch_add(1);
  }

  void Send(std::span<const Message> batch, const driver::CallContext& context,
            driver::SendCompletion& done) override {
    in_progress_.fetch_add(1);
    if (closed_) broker_->Violated("send after close");
    for (size_t i = 0; i < batch.size(); ++i) {
      SendResult result;
      const absl::Status status = Store(batch, i, context, result);
      Answer how = Answer::kInline;
      milliseconds delay{0};
      {
        const std::lock_guard lock(broker_->mutex_);
        how = broker_->script_.send_answer;
        delay = broker_->script_.answer_delay;
      }
      broker_->Reply(how, delay, this,
                     [&done, i, status, result](const absl::Status& instead) {
                       if (!instead.ok()) {
                         done.Failed(i, instead);
                       } else if (!status.ok()) {
                         done.Failed(i, status);
                       } else {
                         done.Sent(i, result);
                       }
                     });
    }
    in_progress_.fetch_sub(1);
  }

  absl::Status Flush(driver::TimePoint deadline) override {
    return broker_->AwaitAnswers(this, deadline);
  }

  absl::Status Close(driver::TimePoint /*deadline*/) override {
    if (closed_.exchange(true)) broker_->Violated("producer closed twice");
    if (in_progress_ != 0) broker_->Violated("producer closed during a send");
    broker_->Abandon(this);
    open_->fetch_sub(1);
    const std::lock_guard lock(broker_->mutex_);
    ++broker_->counts_.producers_closed;
    broker_->changed_.notify_all();
    return absl::OkStatus();
  }

 private:
  absl::Status Store(std::span<const Message> batch, size_t i,
                     const driver::CallContext& context, SendResult& result) {
    const Message& message = batch[i];
    const std::lock_guard lock(broker_->mutex_);
    broker_->last_context_ = context;
    if (i == 0) {
      ++broker_->counts_.sends;
      if (!broker_->script_.discard) {
        broker_->batch_sizes_.push_back(batch.size());
      }
    }
    if (absl::Status status = Broker::Take(broker_->script_.send_failures);
        !status.ok()) {
      broker_->changed_.notify_all();
      return status;
    }
    return broker_->Keep(message, context, result);
  }

  const std::shared_ptr<Broker> broker_;
  const OpenCount open_;
  std::atomic<int> in_progress_{0};
  std::atomic<bool> closed_{false};
};

class Consumer final : public driver::Consumer {
 public:
  Consumer(std::shared_ptr<Broker> broker, OpenCount open,
           driver::ConsumerEvents& events, milliseconds lease)
      : broker_(std::move(broker)),
        open_(std::move(open)),
        events_(&events),
        lease_(lease) {
    open_->fetch_add(1);
    const std::lock_guard lock(broker_->mutex_);
    broker_->events_.push_back(events_);
  }

  absl::Status Bind(std::string_view queue,
                    const driver::BindOptions& options,
                    driver::TimePoint /*deadline*/) override {
    const Exclusive alone(serial_, Violation("bind beside another call"));
    const std::lock_guard lock(broker_->mutex_);
    absl::Status status = Broker::Take(broker_->script_.bind_failures);
    if (!status.ok()) return status;
    if (!broker_->queues_.contains(queue)) {
      return MakeStatus(Code::kQueueNotFound, "bind \"", queue,
                        "\": no such queue");
    }
    if (std::find(bound_.begin(), bound_.end(), queue) != bound_.end()) {
      broker_->violations_.emplace_back("bound twice");
    }
    broker_->last_bind_ = options;
    bound_.emplace_back(queue);
    return absl::OkStatus();
  }

  absl::Status Unbind(std::string_view queue,
                      driver::TimePoint /*deadline*/) override {
    const Exclusive alone(serial_, Violation("unbind beside another call"));
    const std::lock_guard lock(broker_->mutex_);
    bound_.erase(std::find(bound_.begin(), bound_.end(), queue));
    Release(broker_->queues_.find(queue)->second);
    return absl::OkStatus();
  }

  absl::Status Receive(size_t max, driver::TimePoint deadline,
                       driver::DeliverySink& sink) override {
    const Exclusive alone(serial_, Violation("receive beside another call"));
    std::unique_lock lock(broker_->mutex_);
    ++broker_->counts_.receives;
    broker_->changed_.notify_all();
    broker_->changed_.wait(lock,
                           [&] { return !broker_->script_.stuck_receive; });
    while (true) {
      const size_t count = DeliverReady(max, sink);
      absl::Status status = Broker::Take(broker_->script_.receive_failures);
      if (count > 0 || !status.ok()) return status;
      if (std::exchange(interrupted_, false)) return absl::OkStatus();
      const auto now = steady_clock::now();
      if (deadline <= now) return absl::OkStatus();
      // Messages that were nacked with a delay come due by themselves.
      broker_->changed_.wait_until(lock,
                                   std::min(deadline, now + milliseconds(5)));
    }
  }

  void Settle(std::span<const driver::Settlement> batch,
              const driver::CallContext& context,
              driver::SettleCompletion& done) override {
    in_progress_.fetch_add(1);
    if (closed_) broker_->Violated("settle after close");
    {
      std::unique_lock lock(broker_->mutex_);
      ++broker_->counts_.settles;
      broker_->last_context_ = context;
      broker_->changed_.notify_all();
      broker_->changed_.wait(lock,
                             [&] { return !broker_->script_.stuck_settle; });
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      absl::Status status;
      Receipt renewed;
      Answer how = Answer::kInline;
      milliseconds delay{0};
      {
        const std::lock_guard lock(broker_->mutex_);
        status = SettleOne(batch[i], renewed);
        how = broker_->script_.settle_answer;
        delay = broker_->script_.answer_delay;
      }
      broker_->Reply(how, delay, this,
                     [&done, i, status, renewed](const absl::Status& instead) {
                       if (!instead.ok()) {
                         done.Failed(i, instead);
                       } else if (!status.ok()) {
                         done.Failed(i, status);
                       } else {
                         done.Settled(i, renewed);
                       }
                     });
    }
    in_progress_.fetch_sub(1);
  }

  void Interrupt() override {
    if (closed_) broker_->Violated("interrupt after close");
    {
      const std::lock_guard lock(broker_->mutex_);
      interrupted_ = true;
      ++broker_->counts_.interrupts;
    }
    broker_->changed_.notify_all();
  }

  absl::Status Close(driver::TimePoint /*deadline*/) override {
    if (closed_.exchange(true)) broker_->Violated("consumer closed twice");
    if (serial_ != 0) broker_->Violated("consumer closed during a receive");
    if (in_progress_ != 0) broker_->Violated("consumer closed during a settle");
    broker_->Abandon(this);
    open_->fetch_sub(1);
    const std::lock_guard lock(broker_->mutex_);
    for (const std::string& queue : bound_) {
      Release(broker_->queues_.find(queue)->second);
    }
    ++broker_->counts_.consumers_closed;
    broker_->changed_.notify_all();
    std::erase(broker_->events_, events_);
    return absl::OkStatus();
  }

 private:
  std::function<void()> Violation(const char* text) {
    return [this, text] { broker_->Violated(text); };
  }

  // The rest under the broker's lock.

  static void Release(Broker::Queue& queue) {
    for (Broker::Entry& entry : queue.entries) {
      if (entry.state == Broker::Entry::kOut) {
        entry.state = Broker::Entry::kReady;
      }
    }
  }

  size_t DeliverReady(size_t max, driver::DeliverySink& sink) {
    size_t count = 0;
    for (const std::string& name : bound_) {
      Broker::Queue& queue = broker_->queues_.find(name)->second;
      for (size_t i = queue.first_open; i < queue.entries.size(); ++i) {
        if (count == max) return count;
        Broker::Entry& entry = queue.entries[i];
        if (broker_->script_.leases && entry.state == Broker::Entry::kOut &&
            entry.leased_until <= steady_clock::now()) {
          entry.state = Broker::Entry::kReady;
        }
        if (entry.state != Broker::Entry::kReady ||
            (entry.due != steady_clock::time_point() &&
             entry.due > steady_clock::now())) {
          continue;
        }
        Deliver(name, i, entry, sink);
        ++count;
      }
    }
    return count;
  }

  void Deliver(const std::string& queue, size_t index, Broker::Entry& entry,
               driver::DeliverySink& sink) {
    entry.state = Broker::Entry::kOut;
    ++entry.deliveries;
    ++entry.hand_outs;
    entry.renewals = 0;
    entry.leased_until = steady_clock::now() + lease_;
    entry.source = broker_->source;
    entry.record->Ref();
    const std::string_view bytes = entry.record->bytes;
    sink.Deliver(
        driver::MessageAccess::View(
            entry.record, bytes.substr(0, entry.record->fields_size),
            bytes.substr(entry.record->fields_size), 1, index + 1,
            {.partition = 0,
             .offset = static_cast<int64_t>(index),
             .store_timestamp_ms = 1,
             .delivery_count = entry.deliveries}),
        ReceiptOf(queue, index, entry));
  }

  static Receipt ReceiptOf(std::string_view queue, size_t index,
                           const Broker::Entry& entry) {
    Broker::Token token;
    token.index = index;
    token.delivery = entry.hand_outs;
    token.renewal = entry.renewals;
    queue.copy(token.queue, sizeof(token.queue) - 1);
    return Receipt(entry.source,
                   {reinterpret_cast<const char*>(&token), sizeof(token)});
  }

  absl::Status SettleOne(const driver::Settlement& settlement,
                         Receipt& renewed) {
    if (!broker_->script_.discard) {
      broker_->settlements_.push_back(settlement);
    }
    absl::Status status = Broker::Take(broker_->script_.settle_failures);
    if (!status.ok()) return status;
    const auto token = broker_->TokenOf(settlement.receipt);
    if (!token.ok()) return token.status();
    const auto queue = broker_->queues_.find(std::string_view(token->queue));
    Broker::Entry& entry = broker_->EntryOf(*token);
    if (entry.state == Broker::Entry::kSettled) return absl::OkStatus();
    if (entry.state != Broker::Entry::kOut ||
        entry.hand_outs != token->delivery ||
        entry.renewals != token->renewal) {
      return MakeStatus(Code::kReceiptExpired,
                        "settle: the message was delivered again");
    }
    switch (settlement.verb) {
      case driver::Verb::kAck:
      case driver::Verb::kReject:
        entry.state = Broker::Entry::kSettled;
        break;
      case driver::Verb::kAckUpTo:
        for (size_t i = 0; i <= token->index; ++i) {
          Broker::Entry& earlier = queue->second.entries[i];
          if (earlier.state == Broker::Entry::kOut &&
              earlier.source == entry.source) {
            earlier.state = Broker::Entry::kSettled;
          }
        }
        break;
      case driver::Verb::kNack:
      case driver::Verb::kNackDelay:
        entry.state = Broker::Entry::kReady;
        if (settlement.duration.count() > 0) {
          entry.due = steady_clock::now() + settlement.duration;
        }
        break;
      case driver::Verb::kRelease:
        entry.state = Broker::Entry::kReady;
        --entry.deliveries;
        break;
      case driver::Verb::kExtend:
        entry.leased_until = steady_clock::now() + settlement.duration;
        if (broker_->script_.new_receipts) {
          ++entry.renewals;
          renewed = ReceiptOf(token->queue, token->index, entry);
        }
        break;
    }
    while (queue->second.first_open < queue->second.entries.size() &&
           queue->second.entries[queue->second.first_open].state ==
               Broker::Entry::kSettled) {
      ++queue->second.first_open;
    }
    broker_->changed_.notify_all();
    return absl::OkStatus();
  }

  const std::shared_ptr<Broker> broker_;
  const OpenCount open_;
  driver::ConsumerEvents* const events_;
  const milliseconds lease_;
  std::vector<std::string> bound_;
  bool interrupted_ = false;
  std::atomic<int> serial_{0};
  std::atomic<int> in_progress_{0};
  std::atomic<bool> closed_{false};
};

// Reads the entries of a queue, of which each is one offset.
class StreamReader final : public driver::StreamReader {
 public:
  StreamReader(std::shared_ptr<Broker> broker, OpenCount open,
               std::string_view queue, int64_t offset)
      : broker_(std::move(broker)),
        open_(std::move(open)),
        queue_(queue),
        offset_(offset) {
    open_->fetch_add(1);
  }
  ~StreamReader() override { open_->fetch_sub(1); }

  absl::Status Read(size_t max, driver::TimePoint deadline,
                    driver::DeliverySink& sink) override {
    const Exclusive alone(serial_, [this] {
      broker_->Violated("read beside another call");
    });
    std::unique_lock lock(broker_->mutex_);
    ++broker_->counts_.receives;
    broker_->changed_.notify_all();
    const auto& entries = broker_->queues_.find(queue_)->second.entries;
    while (true) {
      size_t count = 0;
      offset_ = std::max(offset_,
                         static_cast<int64_t>(broker_->script_.deleted));
      for (; count < max && offset_ < static_cast<int64_t>(entries.size());
           ++count, ++offset_) {
        Record* const record = entries[static_cast<size_t>(offset_)].record;
        record->Ref();
        const std::string_view bytes = record->bytes;
        sink.Deliver(
            driver::MessageAccess::View(
                record, bytes.substr(0, record->fields_size),
                bytes.substr(record->fields_size), 1,
                static_cast<uint64_t>(offset_) + 1,
                {.partition = 0, .offset = offset_, .store_timestamp_ms = 1}),
            Receipt());
      }
      absl::Status status = Broker::Take(broker_->script_.read_failures);
      if (count > 0 || !status.ok()) return status;
      if (std::exchange(interrupted_, false)) return absl::OkStatus();
      if (deadline <= steady_clock::now()) return absl::OkStatus();
      broker_->changed_.wait_until(lock, deadline);
    }
  }
  absl::Status Seek(int64_t offset, driver::TimePoint /*deadline*/) override {
    const Exclusive alone(serial_, [this] {
      broker_->Violated("seek beside another call");
    });
    const std::lock_guard lock(broker_->mutex_);
    offset_ = offset;
    return Broker::Take(broker_->script_.read_failures);
  }
  void Interrupt() override {
    {
      const std::lock_guard lock(broker_->mutex_);
      interrupted_ = true;
    }
    broker_->changed_.notify_all();
  }

 private:
  const std::shared_ptr<Broker> broker_;
  const OpenCount open_;
  const std::string queue_;
  int64_t offset_;
  bool interrupted_ = false;
  std::atomic<int> serial_{0};
};

// What the connection gives to those who know it.
struct Native {
  static constexpr std::string_view kInterface = "fake.Native/0";
  int answer = 42;
};
struct Unknown {
  static constexpr std::string_view kInterface = "fake.Unknown/0";
};

class Connection final : public driver::Connection,
                         public driver::Admin,
                         public driver::NamespaceControl,
                         public driver::LocalTransactions,
                         public driver::StreamSource {
 public:
  explicit Connection(std::shared_ptr<Broker> broker)
      : broker_(std::move(broker)) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(
      std::string_view queue, driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    ++broker_->counts_.capability_calls;
    absl::Status status = Broker::Take(broker_->script_.capability_failures);
    if (!status.ok()) return status;
    const auto found = broker_->queues_.find(queue);
    return found != broker_->queues_.end() ? found->second.capabilities
                                           : AllBut({});
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions& /*options*/,
      driver::TimePoint deadline) override {
    absl::Status status = Open(&Counts::producers_opened, deadline);
    if (!status.ok()) return status;
    return std::make_unique<Producer>(broker_, open_);
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      driver::TimePoint deadline) override {
    absl::Status status = Open(&Counts::consumers_opened, deadline);
    if (!status.ok()) return status;
    {
      const std::lock_guard lock(broker_->mutex_);
      broker_->last_options_ = options;
    }
    return std::make_unique<Consumer>(broker_, open_, events, options.lease);
  }

  void* Query(std::string_view interface_name) override {
    const std::lock_guard lock(broker_->mutex_);
    if (interface_name == driver::Admin::kInterface && broker_->script_.admin) {
      return static_cast<driver::Admin*>(this);
    }
    if (interface_name == driver::NamespaceControl::kInterface &&
        broker_->script_.namespaces) {
      return static_cast<driver::NamespaceControl*>(this);
    }
    if (interface_name == driver::StreamSource::kInterface &&
        broker_->script_.stream) {
      return static_cast<driver::StreamSource*>(this);
    }
    if (interface_name == driver::TransactionSource::kInterface &&
        broker_->transactions.supported) {
      return static_cast<driver::TransactionSource*>(&broker_->transactions);
    }
    if (interface_name == driver::LocalTransactions::kInterface &&
        broker_->script_.transactions) {
      return static_cast<driver::LocalTransactions*>(this);
    }
    return interface_name == Native::kInterface ? &native_ : nullptr;
  }

  // --- driver::LocalTransactions ---
  absl::StatusOr<std::vector<SendResult>> CommitLocal(
      std::span<const Message> sends,
      std::span<const driver::Settlement> settlements,
      const driver::CallContext& context) override {
    const std::lock_guard lock(broker_->mutex_);
    ++broker_->counts_.commits;
    broker_->changed_.notify_all();
    if (absl::Status status = Broker::Take(broker_->script_.commit_failures);
        !status.ok()) {
      return status;
    }
    for (const Message& message : sends) {
      if (!broker_->queues_.contains(message.destination())) {
        return Missing("commit to", message.destination());
      }
    }
    std::vector<Broker::Entry*> settled;
    for (const driver::Settlement& settlement : settlements) {
      const auto token = broker_->TokenOf(settlement.receipt);
      if (!token.ok()) return token.status();
      Broker::Entry& entry = broker_->EntryOf(*token);
      if (entry.state == Broker::Entry::kSettled) {
        return MakeStatus(Code::kTransactionConflict,
                          "commit: a message is settled already");
      }
      if (entry.state != Broker::Entry::kOut ||
          entry.hand_outs != token->delivery ||
          entry.renewals != token->renewal) {
        return MakeStatus(Code::kReceiptExpired,
                          "commit: a message was delivered again");
      }
      settled.push_back(&entry);
    }
    // Before there are more entries, which may move these.
    for (Broker::Entry* const entry : settled) {
      entry->state = Broker::Entry::kSettled;
    }
    std::vector<SendResult> results(sends.size());
    for (size_t i = 0; i < sends.size(); ++i) {
      REQUIRE(broker_->Keep(sends[i], context, results[i]).ok());
    }
    return results;
  }

  // --- driver::StreamSource: one partition, stored in second 1, 2, 3... ---
  absl::StatusOr<int32_t> PartitionsOf(
      std::string_view queue, driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    if (!broker_->queues_.contains(queue)) return Missing("read", queue);
    return 1;
  }
  absl::StatusOr<Range> RangeOf(std::string_view queue, int32_t /*partition*/,
                                driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const auto found = broker_->queues_.find(queue);
    return Range{static_cast<int64_t>(broker_->script_.deleted),
                 static_cast<int64_t>(found->second.entries.size())};
  }
  absl::StatusOr<int64_t> OffsetAt(std::string_view queue,
                                   int32_t /*partition*/,
                                   milliseconds since_1970_utc,
                                   driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const auto found = broker_->queues_.find(queue);
    return std::min(static_cast<int64_t>(found->second.entries.size()),
                    std::max<int64_t>(0, since_1970_utc.count() - 1) / 1000);
  }
  absl::StatusOr<std::unique_ptr<driver::StreamReader>> Open(
      std::string_view queue, int32_t /*partition*/, int64_t offset,
      driver::TimePoint deadline) override {
    absl::Status status = Open(&Counts::consumers_opened, deadline);
    if (!status.ok()) return status;
    return std::make_unique<StreamReader>(broker_, open_, queue, offset);
  }

  absl::Status Close(driver::TimePoint /*deadline*/) override {
    if (*open_ != 0) broker_->Violated("connection closed before its clients");
    const std::lock_guard lock(broker_->mutex_);
    ++broker_->counts_.connections_closed;
    broker_->changed_.notify_all();
    return absl::OkStatus();
  }

  // --- driver::Admin ---
  absl::Status CreateQueue(std::string_view queue, const QueueOptions& options,
                           driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const std::string_view name_space = SplitQueueName(queue).name_space;
    if (!name_space.empty() && !namespaces_.contains(name_space)) {
      return NoNamespace("create a queue in", name_space);
    }
    if (broker_->queues_.contains(queue)) {
      return MakeStatus(Code::kQueueExists, "create queue \"", queue,
                        "\": there is one");
    }
    broker_->queues_[std::string(queue)].capabilities = AllBut({});
    partitions_[std::string(queue)] = options.partitions;
    return absl::OkStatus();
  }
  absl::Status DeleteQueue(std::string_view queue,
                           driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const auto found = broker_->queues_.find(queue);
    if (found == broker_->queues_.end()) return Missing("delete", queue);
    broker_->queues_.erase(found);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    if (!name_space.empty() && !namespaces_.contains(name_space)) {
      return NoNamespace("list", name_space);
    }
    std::vector<QueueInfo> list;
    for (const auto& [name, queue] : broker_->queues_) {
      if (SplitQueueName(name).name_space == name_space) {
        list.push_back({name, {partitions_[name]}});
      }
    }
    return list;
  }
  absl::StatusOr<QueueInfo> DescribeQueue(
      std::string_view queue, driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const auto found = broker_->queues_.find(queue);
    if (found == broker_->queues_.end()) return Missing("describe", queue);
    return QueueInfo{found->first, {partitions_[found->first]}};
  }

  // --- driver::NamespaceControl ---
  absl::Status CreateNamespace(std::string_view name_space,
                               driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    if (namespaces_.emplace(name_space).second) return absl::OkStatus();
    return MakeStatus(Code::kNamespaceExists, "create namespace \"",
                      name_space, "\": there is one");
  }
  absl::Status DeleteNamespace(std::string_view name_space,
                               driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    const auto found = namespaces_.find(name_space);
    if (found == namespaces_.end()) return NoNamespace("delete", name_space);
    for (const auto& [name, queue] : broker_->queues_) {
      if (SplitQueueName(name).name_space != name_space) continue;
      return MakeStatus(Code::kIllegalState, "delete namespace \"", name_space,
                        "\": it has queues");
    }
    namespaces_.erase(found);
    return absl::OkStatus();
  }
  // The last one first: the order is the portable layer's.
  absl::StatusOr<std::vector<std::string>> ListNamespaces(
      driver::TimePoint /*deadline*/) override {
    const std::lock_guard lock(broker_->mutex_);
    return std::vector<std::string>(namespaces_.rbegin(), namespaces_.rend());
  }

 private:
  static absl::Status NoNamespace(std::string_view what,
                                  std::string_view name_space) {
    return MakeStatus(Code::kNamespaceNotFound, what, " namespace \"",
                      name_space, "\": there is none");
  }
  static absl::Status Missing(std::string_view what, std::string_view queue) {
    return MakeStatus(Code::kQueueNotFound, what, " queue \"", queue,
                      "\": no such queue");
  }

  absl::Status Open(size_t Counts::*counter, driver::TimePoint deadline) {
    std::unique_lock lock(broker_->mutex_);
    ++(broker_->counts_.*counter);
    broker_->changed_.notify_all();
    if (!broker_->changed_.wait_until(lock, deadline, [&] {
          return !broker_->script_.stuck_open;
        })) {
      return MakeStatus(Code::kTimeout, "open: the broker did not answer");
    }
    return Broker::Take(broker_->script_.open_failures);
  }

  const std::shared_ptr<Broker> broker_;
  const OpenCount open_ = std::make_shared<std::atomic<int>>(0);
  std::map<std::string, int32_t> partitions_;
  std::set<std::string, std::less<>> namespaces_;
  Native native_;
};

class Driver final : public driver::Driver {
 public:
  explicit Driver(
      std::shared_ptr<Broker> broker,
      std::string specification = std::string(kSpecificationVersion))
      : broker_(std::move(broker)), specification_(std::move(specification)) {}

  driver::DriverInfo Info() const override {
    return {.name = "fake",
            .version = "0.1.0",
            .specification = specification_,
            .default_port = 1234};
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& /*url*/, const Attributes& attributes,
      driver::TimePoint /*deadline*/) override {
    constexpr std::array<std::string_view, 2> kKnown = {"color", "account.key"};
    absl::Status status = attributes.CheckKnown(kKnown);
    if (!status.ok()) return status;
    const std::lock_guard lock(broker_->mutex_);
    ++broker_->counts_.connects;
    broker_->last_attributes_ = attributes;
    return std::make_unique<Connection>(broker_);
  }

 private:
  const std::shared_ptr<Broker> broker_;
  const std::string specification_;
};

// A broker with the queue "orders" and an access point to it. At its end the
// portable layer must have kept its side of the contract.
struct World {
  explicit World(const Attributes& attributes = {}) {
    broker->AddQueue("orders");
    REQUIRE(registry.Register(std::make_shared<Driver>(broker)).ok());
    auto connected =
        MessagingAccessPoint::Connect("oms:fake://host", attributes, &registry);
    REQUIRE(connected.ok());
    bus.emplace(*std::move(connected));
  }
  ~World() {
    bus.reset();
    for (const std::string& text : broker->violations()) FAIL_CHECK(text);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  openmessaging::Producer MakeProducer(const ProducerOptions& options = {}) {
    auto producer = bus->CreateProducer(options);
    REQUIRE(producer.ok());
    return *std::move(producer);
  }
  PushConsumer MakePushConsumer(const PushConsumerOptions& options = {}) {
    auto consumer = bus->CreatePushConsumer(options);
    REQUIRE(consumer.ok());
    return *std::move(consumer);
  }
  // Binds "orders", unless autostart is off.
  PullConsumer MakeConsumer(const PullConsumerOptions& options = {}) {
    auto consumer = bus->CreatePullConsumer(options);
    REQUIRE(consumer.ok());
    if (options.autostart) REQUIRE(consumer->Bind("orders").ok());
    return *std::move(consumer);
  }

  const std::shared_ptr<Broker> broker = std::make_shared<Broker>();
  driver::Registry registry;
  std::optional<MessagingAccessPoint> bus;
};

// A status that says: not stored, try again.
inline absl::Status Busy() {
  return MakeStatus(Code::kStorageBusy,
                    "send to \"orders\": the broker is full");
}

inline steady_clock::time_point Soon() {
  return steady_clock::now() + std::chrono::seconds(10);
}

}  // namespace fake
}  // namespace openmessaging
#endif  // OPENMESSAGING_API_TESTS_FAKE_DRIVER_H_
