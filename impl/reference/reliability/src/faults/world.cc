// SPDX-License-Identifier: Apache-2.0

#include "faults/world.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <span>
#include <thread>
#include <utility>

#include "faults/system_calls.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/reference/check.h"
#include "store_fixture.h"

namespace openmessaging::reference::faults {
namespace {

using internal::Concat;

// A call that waits for something must end soon in a test.
constexpr milliseconds kPatience{300};

// Calls that are checked: what fails there is the machine's own failure.
constexpr std::string_view kSmall =
    "?housekeeper=off&slots=8&bells=8&window=64&max-segments=64"
    "&first-segment=16KiB&max-segment=32KiB&reserve=16KiB&big-body=4KiB"
    "&operation.timeout=300ms&producer.send-timeout=100ms";

std::string NextPath(std::string_view parent) {
  static int count = 0;
  return Concat(parent, "/", ++count);
}

ProducerOptions OptionsOfProducer() {
  ProducerOptions options;
  options.group = "shop";
  options.check = [](const Message&) { return TransactionState::kUnknown; };
  options.check_after = std::chrono::minutes(5);
  return options;
}

// Returns: the bodies that `queue` has for kGroup, and how often each came.
std::map<std::string, int> DrainAll(const MessagingAccessPoint& bus,
                                    const char* queue, std::string& wrong) {
  std::map<std::string, int> times;
  PullConsumerOptions options;
  options.group = World::kGroup;
  auto consumer = bus.CreatePullConsumer(options);
  absl::Status status = consumer.status();
  if (status.ok()) status = consumer->Bind(queue);
  if (OmsCode(status) == Code::kQueueNotFound) return times;
  for (int empty = 0; status.ok() && empty < 2;) {
    const auto some = consumer->ReceiveBatch(64, milliseconds(0));
    status = some.status();
    if (!status.ok()) break;
    if (some->empty()) ++empty;
    for (const Delivery& delivery : *some) {
      ++times[std::string(delivery->body())];
      if (status.ok()) status = delivery.Ack();
    }
  }
  if (!status.ok()) {
    wrong = Concat("a sound store: receive from ", queue, ": ",
                   std::string_view(Text(status)));
  }
  return times;
}

std::string Compare(const std::map<std::string, Fate>& fates,
                    const std::map<std::string, int>& times,
                    std::string_view queue) {
  for (const auto& [body, fate] : fates) {
    const auto found = times.find(body);
    const int count = found == times.end() ? 0 : found->second;
    const std::string name = body.substr(0, 20);
    if (count > 1) {
      return Concat("\"", std::string_view(name), "\" is ", count, " times in ",
                    queue);
    }
    if (fate == Fate::kThere && count == 0) {
      return Concat("\"", std::string_view(name), "\" was lost from ", queue);
    }
    if (fate == Fate::kGone && count == 1) {
      return Concat("\"", std::string_view(name), "\" is in ", queue,
                    " but was not stored or was acknowledged");
    }
  }
  for (const auto& [body, count] : times) {
    if (!fates.contains(body)) {
      return Concat("\"", std::string_view(body.substr(0, 20)),
                    "\" was invented in ", queue);
    }
  }
  return {};
}

}  // namespace

World::World(std::string_view parent, std::string_view attributes)
    : path_(NextPath(parent)), attributes_(attributes) {
  Watch(path_);
}

World::~World() {
  CloseAll();
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string World::Url() const {
  return Concat("oms:file://", std::string_view(path_), kSmall,
                std::string_view(attributes_));
}

bool World::MakeClients() {
  auto producer = bus_->CreateProducer(OptionsOfProducer());
  Saw("create producer", producer.status());
  if (!producer.ok()) return false;
  producer_ = *std::move(producer);
  PullConsumerOptions options;
  options.group = kGroup;
  auto consumer = bus_->CreatePullConsumer(options);
  Saw("create consumer", consumer.status());
  if (!consumer.ok()) return false;
  const absl::Status bound = consumer->Bind(kQueue);
  Saw("bind", bound);
  if (!bound.ok()) return false;
  consumer_ = *std::move(consumer);
  return true;
}

void World::Make() {
  bus_ = Must(MessagingAccessPoint::Connect(Url()));
  auto manager = bus_->resource_manager();
  Must(manager.CreateQueue(kDeadQueue));
  QueueOptions options;
  options.dead_letter_queue = kDeadQueue;
  options.redelivery_delay = milliseconds(0);
  Must(manager.CreateQueue(kQueue, options));
  queues_[kQueue] = queues_[kDeadQueue] = Fate::kThere;
  if (!MakeClients()) FAIL("no clients: ", Text(told_.back().status));
}

void World::CloseAll() {
  held_.clear();
  consumer_.reset();
  producer_.reset();
  bus_.reset();
  second_.reset();
}

void World::OpenSecond() {
  second_ = Must(MessagingAccessPoint::Connect(Url()));
  // It flushes with descriptors of its own from here on.
  auto producer = Must(second_->CreateProducer());
  Must(producer.Send(MakeMessage("second", Durability::kDisk)));
  fates_["second"] = Fate::kThere;
}

void World::InKilledChild(const std::function<void()>& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      work();
    } catch (...) {
      ::_exit(1);
    }
    ::raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
}

void World::Saw(std::string_view what, const absl::Status& status) {
  told_.push_back({std::string(what), status});
}

Message World::MakeMessage(std::string_view body, Durability durability,
                           const char* queue) const {
  Message message(queue, body);
  message.SetDurability(durability);
  return message;
}

void World::Note(std::string_view body, const absl::Status& status,
                 std::map<std::string, Fate>& fates) {
  Fate fate = Fate::kThere;
  if (!status.ok()) {
    const Outcome outcome = OutcomeOf(status);
    fate = outcome == Outcome::kStored    ? Fate::kThere
           : outcome == Outcome::kUnknown ? Fate::kEither
                                          : Fate::kGone;
  }
  fates[std::string(body)] = fate;
}

void World::Connect() {
  auto bus = MessagingAccessPoint::Connect(Url());
  Saw("connect", bus.status());
  if (bus.ok()) bus_ = *std::move(bus);
}

void World::CreateQueue(std::string_view queue) {
  const absl::Status status = bus_->resource_manager().CreateQueue(queue);
  Saw("create queue", status);
  queues_[std::string(queue)] = status.ok() ? Fate::kThere : Fate::kEither;
}

void World::DeleteQueue(std::string_view queue) {
  const absl::Status status = bus_->resource_manager().DeleteQueue(queue);
  Saw("delete queue", status);
  const Fate fate = status.ok() ? Fate::kGone : Fate::kEither;
  queues_[std::string(queue)] = fate;
  if (queue != kQueue) return;
  for (auto& [body, there] : fates_) {
    if (there == Fate::kThere) there = fate;
  }
}

void World::Send(std::string_view body, Durability durability) {
  const auto sent = producer_->Send(MakeMessage(body, durability));
  Saw("send", sent.status());
  Note(body, sent.status(), fates_);
}

void World::Send(const std::vector<std::string>& bodies,
                 Durability durability) {
  std::vector<Message> batch;
  for (const std::string& body : bodies) {
    batch.push_back(MakeMessage(body, durability));
  }
  const auto sent = producer_->Send(std::span<const Message>(batch));
  REQUIRE(sent.size() == bodies.size());
  for (size_t n = 0; n < bodies.size(); ++n) {
    Saw("send in a batch", sent[n].status());
    Note(bodies[n], sent[n].status(), fates_);
  }
}

void World::Prepare(std::string_view body, TransactionState decision) {
  auto prepared = producer_->Prepare(MakeMessage(body, Durability::kDisk));
  Saw("prepare", prepared.status());
  Fate& fate = fates_[std::string(body)];
  fate = Fate::kGone;  // Nobody sees it before it is committed.
  if (!prepared.ok()) return;
  const bool commit = decision == TransactionState::kCommit;
  const absl::Status decided =
      commit ? prepared->Commit() : prepared->Rollback();
  Saw(commit ? "commit" : "rollback", decided);
  if (!commit) return;
  fate = decided.ok()                                ? Fate::kThere
         : OutcomeOf(decided) == Outcome::kNotStored ? Fate::kGone
                                                     : Fate::kEither;
}

void World::Receive(size_t most) {
  auto some = consumer_->ReceiveBatch(most, milliseconds(0));
  Saw("receive", some.status());
  if (!some.ok()) return;
  for (Delivery& delivery : *some) held_.push_back(std::move(delivery));
}

void World::Ack() {
  for (const Delivery& delivery : held_) {
    const absl::Status status = delivery.Ack();
    Saw("ack", status);
    fates_[std::string(delivery->body())] =
        status.ok() ? Fate::kGone : Fate::kEither;
  }
  held_.clear();
}

void World::Nack() {
  for (const Delivery& delivery : held_) {
    Saw("nack", delivery.Nack(milliseconds(0)));
  }
  held_.clear();
}

void World::Reject() {
  for (const Delivery& delivery : held_) {
    const absl::Status status = delivery.Reject();
    Saw("reject", status);
    const std::string body(delivery->body());
    fates_[body] = status.ok() ? Fate::kGone : Fate::kEither;
    dead_[body] = status.ok() ? Fate::kThere : Fate::kEither;
    moved_.push_back(body);
  }
  held_.clear();
}

std::string World::TrySends(bool& refused) {
  const auto there = [this](const char* queue) {
    const auto found = queues_.find(queue);
    return found != queues_.end() && found->second == Fate::kThere;
  };
  if (!there(kQueue) && !there(kDeadQueue)) {
    const absl::Status made = bus_->resource_manager().CreateQueue(kQueue);
    refused = OmsCode(made) == Code::kStorageError;
    if (refused) return {};
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) {
      return Concat("create queue afterwards: ", std::string_view(Text(made)));
    }
    queues_[kQueue] = Fate::kThere;
  }
  const bool live = there(kQueue);
  const MessagingAccessPoint* const all[] = {&*bus_,
                                             second_ ? &*second_ : nullptr};
  for (const MessagingAccessPoint* const bus : all) {
    if (bus == nullptr) continue;
    auto producer = bus->CreateProducer();
    if (!producer.ok()) {
      return Concat("create producer afterwards: ",
                    std::string_view(Text(producer.status())));
    }
    for (const Durability durability :
         {Durability::kDisk, Durability::kProcess}) {
      const std::string body = Concat("probe ", ++probes_);
      const auto sent = producer->Send(
          MakeMessage(body, durability, live ? kQueue : kDeadQueue));
      Note(body, sent.status(), live ? fates_ : dead_);
      if (sent.ok()) {
        if (refused) return "success although the store is poisoned";
        continue;
      }
      const bool first = bus == all[0] && durability == Durability::kDisk;
      if (OmsCode(sent.status()) != Code::kStorageError ||
          (!refused && !first)) {
        return Concat("send afterwards: ",
                      std::string_view(Text(sent.status())));
      }
      refused = true;
    }
  }
  return {};
}

std::string World::CheckGoesOn(Poison poison) {
  if (!bus_) return {};
  bool refused = false;
  std::string wrong = TrySends(refused);
  if (!wrong.empty()) return wrong;
  poisoned_ = refused;
  if (refused && poison == Poison::kNever) {
    return "the store answers 1501 for ever although no flush failed";
  }
  if (!refused && poison == Poison::kMust) {
    return "a flush failed and the store goes on";
  }
  if (refused || !consumer_) return {};
  // Whoever held nothing is not in the way of others, and others can settle.
  const auto some = consumer_->ReceiveBatch(1, milliseconds(0));
  if (!some.ok() && OmsCode(some.status()) != Code::kQueueNotFound) {
    return Concat("receive afterwards: ",
                  std::string_view(Text(some.status())));
  }
  return {};
}

std::string World::CheckQueues(MessagingAccessPoint& bus) const {
  for (const auto& [queue, fate] : queues_) {
    const auto found = bus.resource_manager().DescribeQueue(queue);
    if (!found.ok() && OmsCode(found.status()) != Code::kQueueNotFound) {
      return Concat("describe queue: ", std::string_view(Text(found.status())));
    }
    if ((fate == Fate::kThere && !found.ok()) ||
        (fate == Fate::kGone && found.ok())) {
      return Concat("queue \"", std::string_view(queue),
                    found.ok() ? "\" was deleted and is there"
                               : "\" was created and is gone");
    }
  }
  return {};
}

std::string World::CheckMoves(const std::map<std::string, int>& live,
                              const std::map<std::string, int>& dead) const {
  for (const std::string& body : moved_) {
    if (live.contains(body) == dead.contains(body)) {
      return Concat("\"", std::string_view(body),
                    live.contains(body) ? "\" is in both queues"
                                        : "\" is in neither queue");
    }
  }
  return {};
}

std::string World::CheckStored(bool forgetful) {
  CloseAll();
  // The last reference may be a thread's of the connection that is ending.
  const auto deadline = Soon();
  while ((OpenDescriptors() != 0 || OpenMappings() != 0) &&
         steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  if (OpenDescriptors() != 0 || OpenMappings() != 0) {
    return Concat(OpenDescriptors(), " descriptors and ", OpenMappings(),
                  " mappings are left after the close");
  }
  auto bus = MessagingAccessPoint::Connect(Url());
  if (!bus.ok()) {
    return Concat("open again: ", std::string_view(Text(bus.status())));
  }
  std::string wrong = CheckQueues(*bus);
  const auto live = DrainAll(*bus, kQueue, wrong);
  const auto dead = DrainAll(*bus, kDeadQueue, wrong);
  if (!wrong.empty()) return wrong;
  if (forgetful || poisoned_) {
    for (auto& [body, fate] : fates_) {
      if (fate == Fate::kGone && live.contains(body)) fate = Fate::kEither;
    }
  }
  if (allows_unknown_) {
    for (const auto& [body, count] : live) fates_.emplace(body, Fate::kEither);
    for (const auto& [body, count] : dead) dead_.emplace(body, Fate::kEither);
  }
  wrong = Compare(fates_, live, kQueue);
  if (wrong.empty()) wrong = Compare(dead_, dead, kDeadQueue);
  if (wrong.empty()) wrong = CheckMoves(live, dead);
  *bus = MessagingAccessPoint(*std::move(bus));
  bus = absl::UnknownError("closed");
  if (!wrong.empty()) return wrong;
  const auto report = CheckStore(path_);
  if (!report.ok() || report->damaged()) {
    return Concat("oms check: ",
                  std::string_view(report.ok() ? report->ToText()
                                               : Text(report.status())));
  }
  return {};
}

}  // namespace openmessaging::reference::faults
