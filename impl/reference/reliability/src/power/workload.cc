// SPDX-License-Identifier: Apache-2.0

#include "power/workload.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <utility>

#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::power {
namespace {

using std::chrono::milliseconds;

// What one step of a workload does.
enum class Step : uint8_t {
  kSend,
  kBatch,
  kDelayed,
  kCancel,
  kPrepare,
  kDecide,
  kLocal,
  kReceive,
  kAck,
  kReject,
  kNack,
  kWait,
  kLookAround,
  kReopen,
  kQueue,
  kRoute,
};
constexpr size_t kSteps = 16;
constexpr size_t kMostMessages = 50;
using Weights = std::array<int, kSteps>;

// In the order of Step.
constexpr std::array<Weights, kThemes> kWeights = {{
    {8, 3, 2, 1, 2, 2, 2, 5, 5, 1, 1, 1, 1, 1, 1, 1},    // Mixed
    {5, 2, 0, 0, 0, 0, 1, 9, 9, 3, 3, 1, 1, 1, 0, 0},    // Settlement
    {12, 3, 1, 1, 1, 1, 0, 9, 12, 0, 0, 1, 2, 1, 0, 0},  // Retention
    {3, 1, 0, 0, 7, 7, 6, 4, 3, 0, 0, 1, 1, 1, 0, 0},    // Transactions
    {3, 1, 8, 3, 0, 0, 0, 3, 3, 0, 0, 4, 1, 1, 0, 0},    // Delays
    {8, 3, 1, 1, 2, 2, 1, 5, 5, 1, 0, 1, 1, 1, 0, 1},    // Large bodies
    {14, 3, 1, 0, 1, 1, 0, 7, 9, 0, 0, 1, 2, 1, 0, 0},   // Full
    {5, 1, 1, 0, 1, 1, 1, 3, 3, 1, 0, 1, 0, 7, 1, 0},    // Lives
    {8, 2, 1, 1, 3, 3, 2, 4, 4, 1, 0, 1, 0, 6, 1, 0},    // Killed
}};

StoreOptions OptionsFor(Theme theme) {
  StoreOptions options;
  options.first_segment_bytes = 4096;
  options.max_segment_bytes = 8192;
  options.slots = 4;
  options.bells = 4;
  options.window = 64;
  options.max_segments = 32;
  options.reserve_bytes = 4096;
  if (theme == Theme::kLargeBodies) options.big_body_bytes = 256;
  if (theme == Theme::kFull) {
    options.max_bytes = 16384;
    options.max_segment_bytes = 4096;
  }
  return options;
}

class Workload {
 public:
  Workload(Theme theme, uint64_t seed)
      : theme_(theme),
        dice_(Mix(seed, static_cast<uint64_t>(theme))),
        machine_(Mix(seed, 77)),
        recording_(std::make_unique<Recording>()),
        disk_(&recording_->trace),
        watch_(&disk_, [this] { NoteDurable(); }) {
    model().options = OptionsFor(theme);
    NoteTime();
  }

  std::unique_ptr<Recording> Run() {
    if (Open()) MakeQueues();
    const uint64_t steps = 25 + dice_.Below(30);
    for (uint64_t n = 0; n < steps && fine(); ++n) Do(Choose());
    if (fine() && dice_.OneIn(2)) {
      Failed("close", session_->Close());
    }
    Leave();
    disk_.Look(true);
    return std::move(recording_);
  }

 private:
  struct Held {
    Received received{};
    int group = 0;
  };

  Model& model() { return recording_->model; }
  size_t now() const { return recording_->trace.now(); }
  bool fine() const { return recording_->failure.empty(); }
  void Fail(std::string_view what, const absl::Status& status) {
    if (status.ok() || !fine()) return;
    recording_->failure = internal::Concat(what, ": ", TextOf(status));
  }
  // A full store says so; that is no failure.
  bool Failed(std::string_view what, const absl::Status& status) {
    if (status.ok()) return false;
    if (OmsCode(status) != Code::kStorageBusy) Fail(what, status);
    return true;
  }
  void NoteTime() { model().walls.push_back({now(), machine_.wall_ms}); }

  // Whoever waits for a flush goes on as soon as this word says so.
  void NoteDurable() {
    if (session_ == nullptr) return;
    const uint64_t to = session_->store()
                            ->control()
                            .header()
                            .flush.durable.word()
                            .load(std::memory_order_relaxed);
    auto& all = model().durable;
    if (all.empty() || all.back().second < to) all.push_back({now(), to});
  }

  bool Open() {
    auto session = Session::Open(disk_, machine_, model().options);
    if (!session.ok()) {
      Fail("open", session.status());
      return false;
    }
    session_ = *std::move(session);
    receivers_.clear();
    receivers_.resize(model().groups.size());
    held_.clear();
    return true;
  }
  void Leave() {
    held_.clear();
    receivers_.clear();
    if (session_ != nullptr) session_->Kill();
    session_.reset();
  }

  void MakeQueue(const std::string& name, uint32_t partitions,
                 int dead_letters) {
    const size_t number = model().queues.size();
    model().queues.push_back({name, partitions, dead_letters, {now()}});
    QueueOptions options;
    options.partitions = static_cast<int32_t>(partitions);
    options.redelivery_delay = milliseconds(0);
    if (dead_letters >= 0) {
      options.dead_letter_queue =
          model().queues[static_cast<size_t>(dead_letters)].name;
      options.max_deliveries = 3;
    }
    const absl::Status status =
        session_->store()->catalog().CreateQueue(name, options, InGoodTime());
    if (!Failed("create a queue", status)) {
      model().queues[number].made.ended = now();
    }
  }
  void MakeGroup(const std::string& name, int queue) {
    model().groups.push_back({name, queue, {now()}});
    receivers_.emplace_back();
    if (ReceiverOf(model().groups.size() - 1) != nullptr) {
      model().groups.back().made.ended = now();
    }
  }
  void MakeQueues() {
    MakeQueue("dead", 1, -1);
    MakeQueue("orders", 1 + static_cast<uint32_t>(dice_.Below(2)), 0);
    MakeQueue("bills", 1, -1);
    sendable_ = {1, 2};
    MakeGroup("shop", 1);
    if (theme_ != Theme::kRetention && dice_.OneIn(2)) MakeGroup("audit", 1);
    MakeGroup("shop", 2);
    if (theme_ == Theme::kMixed || theme_ == Theme::kLargeBodies) {
      if (dice_.OneIn(2)) MakeRoute();
    }
  }
  void MakeRoute() {
    if (!model().routes.empty()) return;
    model().routes.push_back({1, 2, {now()}});
    const absl::Status status = session_->store()->catalog().CreateRoute(
        {"orders", "bills", ""}, InGoodTime());
    if (!Failed("create a route", status)) {
      model().routes.back().made.ended = now();
    }
  }

  // Returns: nothing where there is no room for a group.
  Receiver* ReceiverOf(size_t group) {
    auto& receiver = receivers_[group];
    if (receiver == nullptr) {
      const GroupFact& fact = model().groups[group];
      receiver = std::make_unique<Receiver>(session_->store(), fact.name,
                                            dice_.OneIn(2));
      if (Failed("bind",
                 receiver->Bind(
                     model().queues[static_cast<size_t>(fact.queue)].name))) {
        receiver.reset();
      }
    }
    return receiver.get();
  }

  Step Choose() {
    const Weights& weights = kWeights[static_cast<size_t>(theme_)];
    int total = 0;
    for (const int weight : weights) total += weight;
    auto left = static_cast<int>(dice_.Below(static_cast<uint64_t>(total)));
    for (size_t n = 0; n < kSteps; ++n) {
      left -= weights[n];
      if (left < 0) return static_cast<Step>(n);
    }
    return Step::kSend;
  }

  void Do(Step step) {
    // What nobody settles has to fit into a group's window.
    if (model().messages.size() > kMostMessages &&
        (step <= Step::kDelayed || step == Step::kPrepare ||
         step == Step::kLocal)) {
      step = Step::kAck;
    }
    switch (step) {
      case Step::kSend:
        return Send(1);
      case Step::kBatch:
        return Send(2 + dice_.Below(3));
      case Step::kDelayed:
        return SendDelayed();
      case Step::kCancel:
        return Cancel();
      case Step::kPrepare:
        return Prepare();
      case Step::kDecide:
        return Decide();
      case Step::kLocal:
        return Local();
      case Step::kReceive:
        return Receive();
      case Step::kAck:
        for (uint64_t n = dice_.Below(3); n < 3; ++n) {
          Settle(driver::Verb::kAck);
        }
        return;
      case Step::kReject:
        return Settle(driver::Verb::kReject);
      case Step::kNack:
        return Settle(driver::Verb::kNack);
      case Step::kWait:
        machine_.Advance(static_cast<int64_t>(100 + dice_.Below(3000)));
        return NoteTime();
      case Step::kLookAround:
        machine_.Advance(1000);
        NoteTime();
        session_->store()->LookAround();
        return;
      case Step::kReopen:
        return Reopen();
      case Step::kQueue:
        if (model().queues.size() < 5) {
          MakeQueue("more-" + std::to_string(model().queues.size()), 1, -1);
          sendable_.push_back(static_cast<int>(model().queues.size()) - 1);
        }
        return;
      case Step::kRoute:
        return MakeRoute();
    }
  }

  size_t BodyBytes() {
    switch (theme_) {
      case Theme::kRetention:
      case Theme::kFull:
        return 200 + dice_.Below(900);
      case Theme::kLargeBodies:
        return dice_.OneIn(3) ? 257 + dice_.Below(1500) : dice_.Below(256);
      default:
        return dice_.OneIn(4) ? dice_.Below(1200) : dice_.Below(200);
    }
  }
  // Plans a message. Returns: its number.
  int Plan(Kind kind, Message& message) {
    const auto number = static_cast<int>(model().messages.size());
    MessageFact& fact = model().messages.emplace_back();
    fact.kind = kind;
    fact.boot = boot_;
    fact.queue = sendable_[dice_.Below(sendable_.size())];
    const QueueFact& queue = model().queues[static_cast<size_t>(fact.queue)];
    fact.partition = static_cast<int32_t>(dice_.Below(queue.partitions));
    fact.disk = !dice_.OneIn(3);
    fact.body = BodyOf(number, BodyBytes());
    fact.sent.began = now();
    message = Message(queue.name, fact.body);
    message.SetPartition(fact.partition);
    message.SetDurability(fact.disk ? Durability::kDisk : Durability::kProcess);
    Fail("set a property", message.SetProperty("n", int64_t{number}));
    return number;
  }
  MessageFact& FactOf(int number) {
    return model().messages[static_cast<size_t>(number)];
  }
  void NoteSent(int number, const absl::StatusOr<SendResult>& result) {
    MessageFact& fact = FactOf(number);
    if (!result.ok()) {
      fact.refused = OmsCode(result.status()) == Code::kStorageBusy;
      if (!fact.refused) Fail("send", result.status());
      return;
    }
    fact.id = result->message_id;
    fact.offset = result->offset;
    fact.sent.ended = now();
  }
  void SendAll(const std::vector<int>& numbers,
               const std::vector<Message>& batch) {
    const auto results = session_->Send(batch);
    for (size_t n = 0; n < numbers.size(); ++n) {
      NoteSent(numbers[n], results[n]);
    }
  }
  void Send(uint64_t count) {
    std::vector<int> numbers;
    std::vector<Message> batch(count);
    for (Message& message : batch) {
      numbers.push_back(Plan(Kind::kPlain, message));
    }
    SendAll(numbers, batch);
  }
  void SendDelayed() {
    std::vector<Message> batch(1);
    const int number = Plan(Kind::kDelayed, batch[0]);
    const auto delay_ms = static_cast<int64_t>(500 + dice_.Below(8000));
    batch[0].SetDelay(milliseconds(delay_ms));
    FactOf(number).due_ms = machine_.wall_ms + delay_ms;
    SendAll({number}, batch);
  }
  // Returns: one of the messages that `fits`; -1: there is none.
  template <typename Fits>
  int Pick(const Fits& fits) {
    std::vector<int> all;
    for (size_t n = 0; n < model().messages.size(); ++n) {
      if (fits(model().messages[n])) all.push_back(static_cast<int>(n));
    }
    return all.empty() ? -1 : all[dice_.Below(all.size())];
  }
  void Cancel() {
    const int number = Pick([](const MessageFact& fact) {
      return fact.kind == Kind::kDelayed && fact.sent.ended != kNever &&
             fact.cancelled.began == kNever;
    });
    if (number < 0) return;
    MessageFact& fact = FactOf(number);
    const QueueFact& queue = model().queues[static_cast<size_t>(fact.queue)];
    const auto found =
        session_->store()->catalog().FindQueue(queue.name, InGoodTime());
    if (!found.ok()) return Fail("find a queue", found.status());
    fact.cancelled.began = now();
    const absl::Status status =
        session_->store()->delays().Cancel(**found, fact.id, InGoodTime());
    // It may be due already.
    if (status.ok()) fact.cancelled.ended = now();
  }
  void Prepare() {
    Message message;
    const int number = Plan(Kind::kPrepared, message);
    driver::CallContext context;
    context.deadline = InGoodTime();
    const auto prepared = session_->transactions().Prepare(
        message, {"sellers", milliseconds(60'000), 100}, context);
    MessageFact& fact = FactOf(number);
    if (Failed("prepare", prepared.status())) {
      fact.refused = true;
      return;
    }
    fact.transaction_id = prepared->transaction_id;
    fact.id = prepared->message_id;
    fact.sent.ended = now();
  }
  void Decide() {
    const int number = Pick([](const MessageFact& fact) {
      return fact.kind == Kind::kPrepared && fact.sent.ended != kNever &&
             fact.committed.began == kNever && fact.rolled_back.began == kNever;
    });
    if (number < 0) return;
    MessageFact& fact = FactOf(number);
    const bool commit = !dice_.OneIn(3);
    Span& span = commit ? fact.committed : fact.rolled_back;
    span.began = now();
    const absl::Status status = session_->store()->transactions().Resolve(
        fact.transaction_id,
        commit ? PreparedState::kCommitted : PreparedState::kRolledBack,
        InGoodTime());
    // Only with the power can one at level process be lost.
    if (!fact.disk && fact.boot != boot_ &&
        OmsCode(status) == Code::kQueueNotFound) {
      return;
    }
    if (!Failed("decide", status)) span.ended = now();
  }

  void Receive() {
    if (model().groups.empty()) return;
    const size_t group = dice_.Below(model().groups.size());
    Receiver* const receiver = ReceiverOf(group);
    if (receiver == nullptr) return;
    std::vector<Received> received;
    const GroupFact& fact = model().groups[group];
    const bool letters =
        model().queues[static_cast<size_t>(fact.queue)].dead_letters >= 0;
    const size_t began = now();
    Fail("receive", receiver->Take(1 + dice_.Below(5), received));
    for (Received& one : received) {
      if (one.number < 0 || one.body != FactOf(one.number).body) {
        Fail("receive", MakeStatus(Code::kDamaged, "a body nobody sent"));
        return;
      }
      // Whoever had it often enough without settling it moves it.
      if (letters) {
        model().settled.push_back(
            {one.number, static_cast<int>(group), -1, true, began, kNever});
      }
      held_.push_back({std::move(one), static_cast<int>(group)});
    }
  }
  // Takes one that was received. Returns: nothing where there is none.
  std::optional<Held> TakeHeld() {
    if (held_.empty()) return std::nullopt;
    const size_t at = dice_.OneIn(2) ? 0 : dice_.Below(held_.size());
    Held held = std::move(held_[at]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(at));
    return held;
  }
  void Settle(driver::Verb verb) {
    const auto held = TakeHeld();
    if (!held) return;
    Receiver* const receiver = ReceiverOf(static_cast<size_t>(held->group));
    if (receiver == nullptr) return;
    const GroupFact& group = model().groups[static_cast<size_t>(held->group)];
    const bool letters =
        model().queues[static_cast<size_t>(group.queue)].dead_letters >= 0;
    if (verb == driver::Verb::kReject && !letters) verb = driver::Verb::kAck;
    const bool moves = verb != driver::Verb::kAck && letters;
    if (verb == driver::Verb::kAck || moves) {
      model().settled.push_back(
          {held->received.number, held->group, -1, moves, now(), kNever});
    }
    const absl::Status status = receiver->Settle(held->received.receipt, verb);
    // A lease may be over.
    if (status.ok() && receiver->ack_sync() && verb == driver::Verb::kAck) {
      model().settled.back().durable = now();
    }
  }
  void Local() {
    const int unit = model().units++;
    std::vector<Message> batch(1 + dice_.Below(3));
    std::vector<int> numbers;
    bool disk = false;
    for (Message& message : batch) {
      numbers.push_back(Plan(Kind::kPlain, message));
      FactOf(numbers.back()).unit = unit;
      disk = disk || FactOf(numbers.back()).disk;
    }
    std::vector<driver::Settlement> settlements;
    const size_t first = model().settled.size();
    for (uint64_t n = dice_.Below(3); n > 0; --n) {
      const auto held = TakeHeld();
      if (!held) break;
      settlements.push_back(
          {held->received.receipt, driver::Verb::kAck, milliseconds(0)});
      model().settled.push_back(
          {held->received.number, held->group, unit, false, now(), kNever});
    }
    driver::CallContext context;
    context.deadline = InGoodTime();
    const auto results =
        session_->local().CommitLocal(batch, settlements, context);
    for (const int number : numbers) FactOf(number).disk = disk;
    if (!results.ok()) {
      // One of the receipts is no good any more, or there is no room.
      for (const int number : numbers) FactOf(number).refused = true;
      model().settled.resize(first);
      return;
    }
    for (size_t n = 0; n < numbers.size(); ++n) {
      NoteSent(numbers[n], (*results)[n]);
    }
    for (size_t n = first; disk && n < model().settled.size(); ++n) {
      model().settled[n].durable = now();
    }
  }
  void Reopen() {
    const bool close = dice_.OneIn(2);
    if (close) {
      held_.clear();
      for (auto& receiver : receivers_) {
        if (receiver != nullptr) receiver->Close();
      }
      receivers_.clear();
      Failed("close", session_->Close());
    }
    Leave();
    // All of it reached the disk, or the machine goes on.
    if (dice_.OneIn(2)) {
      // What has no checksum yet is lost all the same.
      disk_.FlushAll();
      machine_.Boot();
      ++boot_;
    } else if (theme_ == Theme::kKilled) {
      RemoveControl();
    }
    Open();
  }
  // What is found then is what the page cache has: the next opening believes it
  // and must flush it before it says so.
  void RemoveControl() {
    const auto process = disk_.Run();
    Fail("remove ctl", process->Remove("ctl"));
    process->Kill();
  }

  const Theme theme_;
  Dice dice_;
  SimulatedMachine machine_;
  std::unique_ptr<Recording> recording_;
  Disk disk_;
  const WatchWords watch_;
  std::unique_ptr<Session> session_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::vector<Held> held_;
  std::vector<int> sendable_;
  int boot_ = 0;
};

}  // namespace

std::unique_ptr<Recording> Record(Theme theme, uint64_t seed) {
  return Workload(theme, seed).Run();
}

}  // namespace openmessaging::reference::power
