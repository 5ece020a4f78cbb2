// SPDX-License-Identifier: Apache-2.0

#include "broker.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "broker_error.h"
#include "delay_line.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/kit/back_off.h"
#include "openmessaging/queue_name.h"
#include "topology.h"

namespace openmessaging::rabbitmq {
namespace {

using Clock = std::chrono::steady_clock;

// Declared exclusive by whoever works on the catalog.
constexpr std::string_view kCatalogLock = "oms.catalog.lock";

constexpr int kPriorities = 10;

// What somebody who died had of the catalog is back by then.
constexpr std::chrono::milliseconds kHandBack{1000};

absl::Status NoQueue(std::string_view operation, std::string_view queue) {
  return MakeStatus(Code::kQueueNotFound, operation, " \"", queue,
                    "\": there is no such queue");
}

QueueInfo InfoOf(std::string_view name, const CatalogQueue& queue) {
  QueueInfo info;
  info.name = name;
  info.options.max_deliveries = queue.max_deliveries;
  info.options.dead_letter_queue = queue.dead_letter_queue;
  info.options.priorities = queue.priorities;
  // What is given back is there at once.
  info.options.redelivery_delay = info.options.max_redelivery_delay =
      std::chrono::milliseconds(0);
  return info;
}

}  // namespace

Capabilities CapabilitiesOf(const CatalogQueue& queue,
                            const ServerInfo& server) {
  Capabilities all;
  for (const Capability native :
       {Capability::kIndividualAck, Capability::kCumulativeAck,
        Capability::kNack, Capability::kTypedProperties, Capability::kDurable,
        Capability::kSharedPartition, Capability::kAuthentication,
        Capability::kTls}) {
    all.Set(native, Support::kNative);
  }
  // By the catalog, and a queue for each group.
  for (const Capability emulated :
       {Capability::kGroups, Capability::kBroadcast, Capability::kAdmin,
        Capability::kRequestReply, Capability::kExclusive}) {
    all.Set(emulated, Support::kEmulated);
  }
  const bool quorum = queue.type == QueueType::kQuorum;
  if (quorum) all.Set(Capability::kDeliveryCount, Support::kNative);
  if (!quorum || ExpiresInQuorum(server)) all.Set(Capability::kExpiry, Support::kNative);
  if (queue.priorities) all.Set(Capability::kPriority, Support::kNative);
  if (!queue.dead_letter_queue.empty()) {
    // Sent and then acknowledged, by whoever receives.
    all.Set(Capability::kReject, Support::kEmulated);
    all.Set(Capability::kDeadLetter, Support::kEmulated);
  }
  CapabilityLimits& limits = all.mutable_limits();
  if (queue.delays) {
    // A line of queues, by several hops of the broker.
    all.Set(Capability::kDelay, Support::kEmulated);
    all.Set(Capability::kNackDelay, Support::kEmulated);
    limits.max_delay = kMaxDelay;
  }
  limits.max_partitions = 1;
  if (queue.priorities) limits.priority_levels = kPriorities;
  return all;
}

Broker::Broker(const Config& config, std::shared_ptr<Link> link)
    : config_(config),
      link_(std::move(link)),
      rpc_(std::make_shared<RpcChannel>(link_)),
      probe_(std::make_shared<RpcChannel>(link_)) {}

// --- the catalog ---

absl::Status Broker::Lock(TimePoint deadline) {
  if (absl::Status s = link_->Connect(deadline); !s.ok()) return s;
  if (!std::exchange(attached_, true)) {
    (void)link_->Post([link = link_.get(), rpc = rpc_, probe = probe_] {
      link->Attach(rpc);
      link->Attach(probe);
    });
  }
  kit::BackOff back_off({.first = std::chrono::milliseconds(2),
                         .longest = std::chrono::milliseconds(50)});
  while (true) {
    const auto locked = probe_->DeclareQueue({.name = std::string(kCatalogLock),
                                              .durable = false,
                                              .exclusive = true},
                                             deadline);
    if (locked.ok()) return absl::OkStatus();
    if (OmsCode(locked.status()) != Code::kConsumerExists) {
      return locked.status();
    }
    const auto wait = back_off.Next();
    if (Clock::now() + wait >= deadline) {
      return MakeStatus(Code::kTimeout, "lock the catalog: others work on it");
    }
    std::this_thread::sleep_for(wait);
  }
}

void Broker::Unlock() {
  // Whatever the caller's deadline is: others wait. A channel that was refused
  // something is open again soon; where the link is lost the lock is, too.
  constexpr int kAttempts = 3;
  const TimePoint soon = Clock::now() + std::chrono::seconds(1);
  for (int i = 0; i < kAttempts; ++i) {
    if (probe_->DeleteQueue(std::string(kCatalogLock), soon).ok()) return;
  }
}

absl::Status Broker::MakeCatalog(TimePoint deadline) {
  absl::Status made =
      rpc_->DeclareExchange({.name = std::string(kExchange)}, deadline);
  if (!made.ok()) return made;
  return rpc_
      ->DeclareQueue({.name = std::string(kCatalogQueue),
                      .arguments = ArgumentsOf({.type = config_.queue_type})},
                     deadline)
      .status();
}

absl::Status Broker::Read(TimePoint deadline, Catalog& catalog,
                          std::vector<uint64_t>& tags) {
  const TimePoint patience = std::min(deadline, Clock::now() + kHandBack);
  while (true) {
    auto got = rpc_->Get(std::string(kCatalogQueue), deadline);
    if (OmsCode(got.status()) == Code::kQueueNotFound) {
      return MakeCatalog(deadline);
    }
    if (!got.ok()) return got.status();
    if (*got) {
      tags.push_back((*got)->tag);
      auto parsed = ParseCatalog((*got)->body);
      if (!parsed.ok()) return parsed.status();
      // There are two where somebody died between writing and acknowledging.
      if (parsed->version >= catalog.version) catalog = *std::move(parsed);
      continue;
    }
    if (!tags.empty() || Clock::now() >= patience) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

absl::Status Broker::Save(TimePoint deadline, const Catalog& catalog,
                          const std::vector<uint64_t>& tags) {
  absl::Status saved =
      rpc_->Publish(std::string(kCatalogQueue), ToText(catalog), deadline);
  for (const uint64_t tag : tags) {
    saved.Update(saved.ok() ? rpc_->Ack(tag, deadline) : saved);
  }
  return saved;
}

absl::Status Broker::WithCatalog(TimePoint deadline, const Change& change) {
  const internal::MutexLock lock(mutex_);
  if (absl::Status s = Lock(deadline); !s.ok()) return s;
  Catalog catalog;
  std::vector<uint64_t> tags;
  bool changed = false;
  absl::Status status = Read(deadline, catalog, tags);
  if (status.ok()) status = change(catalog, changed);
  if (changed) {
    ++catalog.version;
    absl::Status saved = Save(deadline, catalog, tags);
    if (saved.ok()) tags.clear();
    status.Update(saved);
  }
  const TimePoint soon = Clock::now() + std::chrono::seconds(1);
  for (const uint64_t tag : tags) rpc_->Requeue(tag, soon).IgnoreError();
  Unlock();
  return status;
}

absl::StatusOr<CatalogQueue> Broker::Describe(std::string_view queue,
                                              TimePoint deadline) {
  CatalogQueue found{.type = config_.queue_type};
  absl::Status status = WithCatalog(deadline, [&](Catalog& catalog, bool&) {
    const auto known = catalog.queues.find(queue);
    if (known != catalog.queues.end()) {
      found = known->second;
      return absl::OkStatus();
    }
    // One that others made has nothing of ours; one that is not there is what it
    // will be.
    const auto there = probe_->Look(std::string(queue), deadline);
    if (!there.ok()) return there.status();
    found.delays = !*there;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return found;
}

// --- queues ---

std::vector<Argument> Broker::ArgumentsOf(const CatalogQueue& queue) const {
  if (queue.type == QueueType::kClassic) {
    if (!queue.priorities) return {};
    return {{.name = "x-max-priority", .number = kPriorities}};
  }
  std::vector<Argument> arguments = {{"x-queue-type", "quorum"}};
  if (link_->server().major >= 4) {
    // It would drop a message after 20 by default.
    arguments.push_back({.name = "x-delivery-limit", .number = -1});
  }
  return arguments;
}

absl::Status Broker::Make(std::string_view name, std::string_view key,
                          const CatalogQueue& queue, TimePoint deadline) {
  const auto made = rpc_->DeclareQueue(
      {.name = std::string(name), .arguments = ArgumentsOf(queue)}, deadline);
  if (!made.ok()) return made.status();
  absl::Status status = rpc_->BindQueue(
      std::string(name), std::string(kExchange), std::string(key), deadline);
  if (!status.ok() || !queue.delays) return status;
  status = MakeDelayed(deadline);
  const std::pair<DelayedTo, std::string_view> bindings[] = {
      {DelayedTo::kAll, key}, {DelayedTo::kQueue, name}};
  for (const auto& [to, what] : bindings) {
    if (!status.ok()) break;
    status = rpc_->BindQueue(std::string(name), std::string(kDelayedExchange),
                             DelayedBinding(to, what), deadline);
  }
  return status;
}

absl::Status Broker::MakeDelayed(TimePoint deadline) {
  if (has_delayed_) return absl::OkStatus();
  const std::string lost(kLostExchange);
  absl::Status status = rpc_->DeclareExchange(
      {.name = lost, .type = "fanout"}, deadline);
  if (status.ok()) {
    status = rpc_
                 ->DeclareQueue({.name = lost,
                                 .arguments = {{.name = "x-message-ttl",
                                                .number = 0}}},
                                deadline)
                 .status();
  }
  if (status.ok()) status = rpc_->BindQueue(lost, lost, {}, deadline);
  if (status.ok()) {
    status = rpc_->DeclareExchange(
        {.name = std::string(kDelayedExchange),
         .type = "topic",
         .arguments = {{.name = "alternate-exchange", .text = lost}}},
        deadline);
  }
  has_delayed_ = status.ok();
  return status;
}

absl::StatusOr<CatalogQueue> Broker::CheckOptions(
    std::string_view queue, const QueueOptions& options,
    const Catalog& catalog) const {
  const auto refuse = [queue](Code code, std::string_view what) {
    return MakeStatus(code, "create queue \"", queue, "\": ", what);
  };
  const QueueOptions plain;
  if (options.retention.count() != 0 || !options.filter.empty() ||
      options.deduplication_window.count() != 0) {
    return refuse(Code::kUnsupported,
                  "RabbitMQ has no retention, filter or deduplication window; "
                  "expected none");
  }
  const bool waits = options.redelivery_delay != plain.redelivery_delay ||
                     options.max_redelivery_delay != plain.max_redelivery_delay;
  if (waits && (options.redelivery_delay.count() != 0 ||
                options.max_redelivery_delay.count() != 0)) {
    return refuse(Code::kUnsupported,
                  "RabbitMQ delivers at once what is given back; expected no "
                  "redelivery_delay");
  }
  // Quorum queues of today know no priorities.
  const QueueType type =
      options.priorities ? QueueType::kClassic : config_.queue_type;
  if (options.max_deliveries != 0 && type == QueueType::kClassic) {
    return refuse(Code::kUnsupported,
                  "a classic queue does not count deliveries; expected no "
                  "max_deliveries, or a quorum queue without priorities");
  }
  if (!options.dead_letter_queue.empty() &&
      !catalog.queues.contains(options.dead_letter_queue)) {
    return refuse(Code::kQueueNotFound,
                  internal::Concat("its dead-letter queue \"",
                                   std::string_view(options.dead_letter_queue),
                                   "\" is not there; expected one that is"));
  }
  if (options.partitions != 1) {
    return refuse(Code::kTooManyPartitions,
                  "a queue of RabbitMQ has one partition; expected 1");
  }
  return CatalogQueue{.type = type,
                      .max_deliveries = options.max_deliveries,
                      .dead_letter_queue = options.dead_letter_queue,
                      .priorities = options.priorities,
                      .delays = true};
}

absl::Status Broker::CreateQueue(std::string_view queue,
                                 const QueueOptions& options,
                                 TimePoint deadline) {
  return WithCatalog(
      deadline,
      [&](Catalog& catalog, bool& changed) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const auto exists = [queue] {
          return MakeStatus(Code::kQueueExists, "create queue \"", queue,
                            "\": there is one of that name");
        };
        if (catalog.queues.contains(queue)) return exists();
        if (queue.size() > kMaxShortBytes ||
            !SplitQueueName(queue).name_space.empty()) {
          return MakeStatus(
              Code::kUnsupported, "create queue \"", queue,
              "\": RabbitMQ has no namespaces over AMQP; expected a "
              "name without one");
        }
        auto made = CheckOptions(queue, options, catalog);
        if (!made.ok()) return made.status();
        const auto there = probe_->Look(std::string(queue), deadline);
        if (!there.ok()) return there.status();
        if (*there) return exists();
        absl::Status status = Make(queue, queue, *made, deadline);
        if (!status.ok()) return status;
        catalog.queues.emplace(queue, *std::move(made));
        changed = true;
        return status;
      });
}

absl::Status Broker::DeleteQueue(std::string_view queue, TimePoint deadline) {
  return WithCatalog(
      deadline,
      [&](Catalog& catalog, bool& changed) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const auto found = catalog.queues.find(queue);
        if (found == catalog.queues.end())
          return NoQueue("delete queue", queue);
        for (const auto& [name, other] : catalog.queues) {
          if (other.dead_letter_queue == queue) {
            return MakeStatus(Code::kIllegalState, "delete queue \"", queue,
                              "\": it has the dead letters of ",
                              std::string_view(name));
          }
        }
        absl::Status status = rpc_->DeleteQueue(std::string(queue), deadline);
        for (const std::string& group : found->second.groups) {
          status.Update(
              rpc_->DeleteQueue(GroupQueueName(queue, group), deadline));
        }
        if (!status.ok()) return status;
        catalog.queues.erase(found);
        changed = true;
        return status;
      });
}

absl::StatusOr<std::vector<QueueInfo>> Broker::ListQueues(
    std::string_view name_space, TimePoint deadline) {
  if (!name_space.empty()) {
    return MakeStatus(Code::kNamespaceNotFound, "list queues of \"", name_space,
                      "\": there is no such namespace");
  }
  std::vector<QueueInfo> all;
  absl::Status status = WithCatalog(deadline, [&all](Catalog& catalog, bool&) {
    for (const auto& [name, queue] : catalog.queues) {
      all.push_back(InfoOf(name, queue));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return all;
}

absl::StatusOr<QueueInfo> Broker::DescribeQueue(std::string_view queue,
                                                TimePoint deadline) {
  QueueInfo info;
  absl::Status status = WithCatalog(deadline, [&](Catalog& catalog, bool&) {
    const auto found = catalog.queues.find(queue);
    if (found == catalog.queues.end()) {
      return NoQueue("describe queue", queue);
    }
    info = InfoOf(queue, found->second);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return info;
}

absl::StatusOr<GroupQueue> Broker::FindGroupQueue(std::string_view queue,
                                                  std::string_view group,
                                                  TimePoint deadline) {
  GroupQueue bound;
  absl::Status status = WithCatalog(
      deadline,
      [&](Catalog& catalog, bool& changed) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const auto found = catalog.queues.find(queue);
        if (found == catalog.queues.end()) {
          // One that others made is received from as it is.
          const auto there = probe_->Look(std::string(queue), deadline);
          if (!there.ok()) return there.status();
          if (!*there) return NoQueue("bind", queue);
          bound.name = queue;
          return absl::OkStatus();
        }
        CatalogQueue& known = found->second;
        bound.dead_letter_queue = known.dead_letter_queue;
        bound.max_deliveries = known.max_deliveries;
        bound.delays = known.delays;
        if (known.first_group.empty()) {
          known.first_group = group;
          changed = true;
        }
        if (known.first_group == group) {
          bound.name = queue;
          return absl::OkStatus();
        }
        bound.name = GroupQueueName(queue, group);
        if (std::find(known.groups.begin(), known.groups.end(), group) !=
            known.groups.end()) {
          return absl::OkStatus();
        }
        // Written first: what is made and not known would take messages for
        // ever.
        known.groups.emplace_back(group);
        changed = true;
        return Make(bound.name, queue, known, deadline);
      });
  if (!status.ok()) return status;
  return bound;
}

}  // namespace openmessaging::rabbitmq
