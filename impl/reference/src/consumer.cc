// SPDX-License-Identifier: Apache-2.0

#include "consumer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <utility>
#include <vector>

#include "openmessaging/status.h"
#include "planted.h"
#include "waiting.h"

namespace openmessaging::reference {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// So long a look goes on, even with no time left, while nothing that it finds is
// for this group: it has expired, or the filter is for other messages.
constexpr std::chrono::milliseconds kSkipPatience{50};
// Waited for the catalog's lock even by those who wait for nothing.
constexpr std::chrono::milliseconds kCatalogPatience{10};
// A lock that was waited for so long, in one look or several, is not contended:
// its owner is stopped.
constexpr std::chrono::milliseconds kLatePatience{250};

// Numbers the partitions of one binding. They are good in every process, since
// receipts may be settled elsewhere: who lives there now, which of its bindings
// this is, which partition.
uint64_t FirstSourceOf(const Store& store) {
  static std::atomic<uint64_t> bindings{0};
  const uint64_t binding = bindings.fetch_add(1, std::memory_order_relaxed) + 1;
  return uint64_t{store.liveness().self().word()} << 34 |
         (binding & 0xffffff) << 10;
}

}  // namespace

ReferenceConsumer::ReferenceConsumer(std::shared_ptr<Store> store,
                                     const driver::ConsumerOptions& options,
                                     const ConsumerSettings& settings,
                                     driver::ConsumerEvents* events)
    : store_(std::move(store)),
      options_(options),
      settings_(settings),
      events_(events),
      receipts_(store_->uuid()),
      sleeper_(&store_->control(), &store_->environment(),
               &store_->liveness()),
      flusher_(&store_->log()) {}

absl::Status ReferenceConsumer::Bind(std::string_view queue,
                                     const driver::BindOptions& options,
                                     TimePoint deadline) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  std::optional<kit::Filter> filter;
  if (!options.filter.empty()) {
    auto compiled = kit::Filter::Compile(options.filter);
    if (!compiled.ok()) return compiled.status();
    filter = *std::move(compiled);
  }
  Catalog& catalog = store_->catalog();
  auto found = catalog.FindQueue(queue, deadline);
  if (!found.ok() && OmsCode(found.status()) == Code::kQueueNotFound &&
      settings_.auto_create) {
    const auto made = catalog.CreateQueue(queue, {}, deadline);
    if (!made.ok() && OmsCode(made) != Code::kQueueExists) return made;
    found = catalog.FindQueue(queue, deadline);
  }
  if (!found.ok()) return found.status();
  if (options_.ordered && (*found)->has_priorities()) {
    return MakeStatus(Code::kUnsupported, "bind \"", queue,
                      "\": the queue has priorities, which may deliver a later "
                      "message of a key first; expected a consumer that is not "
                      "ordered (key-order)");
  }
  auto terms = TermsOf(catalog, **found, filter, deadline);
  if (!terms.ok()) return terms.status();
  auto group =
      options_.broadcast
          ? catalog.OpenPrivateGroup(*found, options_.start, deadline)
          : catalog.OpenGroup(*found, options_.group, options_.start, deadline);
  if (!group.ok()) return group.status();
  uint64_t claim = 0;
  BindingEntry* entry = nullptr;
  if (!options_.broadcast) {
    const auto joined =
        store_->members().Join(**group, options_.exclusive, deadline);
    if (!joined.ok()) return joined.status();
    claim = *joined;
    const auto entered = store_->terms().Enter(
        **group,
        {filter ? filter->text() : std::string_view(), options_.ordered},
        deadline);
    if (!entered.ok()) {
      store_->members().Leave(**group, claim);
      return entered.status();
    }
    entry = *entered;
  }
  auto bound = std::make_shared<BoundQueue>();
  bound->claim = claim;
  bound->entry = entry;
  bound->name = std::string(queue);
  bound->queue = *found;
  bound->group = *group;
  bound->revision.store((*found)->revision);
  bound->newest_terms.store(terms->get());
  bound->all_terms.push_back(*std::move(terms));
  const uint64_t source = FirstSourceOf(*store_);
  for (uint32_t p = 0; p < (*found)->partitions; ++p) {
    bound->partitions.push_back(
        std::make_unique<BoundPartition>(store_.get(), *found, *group, p,
                                         source | p, options_.ordered,
                                         &bound->terms()));
  }
  bound_.push_back(bound);
  queue_states_.push_back((*found)->state);
  const internal::MutexLock lock(mutex_);
  by_id_[(*found)->id] = std::move(bound);
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::RenewTerms(BoundQueue& bound,
                                           TimePoint deadline) {
  if (bound.queue->entry->live.Load() == bound.revision.load()) {
    return absl::OkStatus();
  }
  const auto queue = store_->catalog().FindQueue(bound.name, deadline);
  if (!queue.ok()) return queue.status();
  // Another one of that name: this one was deleted, which is told elsewhere.
  if ((*queue)->id != bound.queue->id) return absl::OkStatus();
  auto terms = TermsOf(store_->catalog(), **queue, bound.terms().of_group,
                       deadline);
  if (!terms.ok()) return terms.status();
  const internal::MutexLock lock(mutex_);
  for (const auto& partition : bound.partitions) {
    partition->SetTerms(terms->get());
  }
  bound.newest_terms.store(terms->get(), std::memory_order_release);
  bound.all_terms.push_back(*std::move(terms));
  bound.revision.store((*queue)->revision);
  return absl::OkStatus();
}

void ReferenceConsumer::RingQueue(const BoundQueue& bound) const {
  RingBells(store_->control(), store_->environment(), store_->liveness(),
            *bound.queue->state);
}

void ReferenceConsumer::Release(BoundQueue& bound, TimePoint deadline) {
  for (const auto& partition : bound.partitions) partition->ReturnHeld();
  RingQueue(bound);
  if (bound.entry != nullptr) store_->terms().Leave(bound.entry);
  if (options_.broadcast) {
    // If this fails the group outlives its consumer, until the process ends.
    store_->catalog().EndGroup(*bound.group, deadline).IgnoreError();
  } else {
    store_->members().Leave(*bound.group, bound.claim);
  }
}

absl::Status ReferenceConsumer::Unbind(std::string_view queue,
                                       TimePoint deadline) noexcept {
  const auto found =
      std::find_if(bound_.begin(), bound_.end(),
                   [&](const auto& bound) { return bound->name == queue; });
  if (found == bound_.end()) return absl::OkStatus();
  const std::shared_ptr<BoundQueue> bound = *found;
  queue_states_.erase(queue_states_.begin() + (found - bound_.begin()));
  bound_.erase(found);
  // Settle still finds it, and answers that the deliveries went back.
  Release(*bound, deadline);
  if (events_ != nullptr) {
    std::vector<uint64_t> sources;
    for (const auto& partition : bound->partitions) {
      sources.push_back(partition->source());
    }
    events_->Lost(sources);
  }
  return absl::OkStatus();
}

void ReferenceConsumer::NoticeSeek(BoundPartition& partition,
                                   uint32_t seeks) const {
  const uint64_t lost = partition.source();
  partition.BeginAnew(seeks, FirstSourceOf(*store_) |
                                 PartitionOf(partition.queue_partition()));
  if (events_ != nullptr) events_->Lost({&lost, 1});
}

absl::Status ReferenceConsumer::TakeFrom(BoundQueue& bound,
                                         BoundPartition& partition, size_t max,
                                         int64_t now_ns, TimePoint deadline,
                                         driver::DeliverySink& sink,
                                         Look& look) {
  if (partition.window() == nullptr) {
    const internal::MutexLock lock(mutex_);
    // Those who settle wait for this mutex.
    const TimePoint now = steady_clock::now();
    const auto ready = partition.EnsureWindow(
        std::clamp(deadline, now + kCatalogPatience, now + kMaxSleep));
    // Slow is the next look's business: nothing is lost by waiting.
    if (OmsCode(ready.status()) == Code::kTimeout) {
      look.late = ready.status();
      waited_in_vain_ += steady_clock::now() - now;
      return absl::OkStatus();
    }
    waited_in_vain_ = nanoseconds(0);
    if (!ready.ok()) return ready.status();
    if (!*ready) return absl::OkStatus();
  }
  GroupWindow& window = *partition.window();
  // Told although there may be nothing to take now.
  if (partition.WasMoved()) {
    NoticeSeek(partition, SeeksOf(partition.cursor().images.Load()));
  }
  const DeliveryTerms& terms = bound.terms();
  const size_t wanted = std::min(max, hand_outs_.size());
  const TakeResult taken = window.Take(
      wanted, now_ns,
      std::chrono::duration_cast<nanoseconds>(options_.lease).count(),
      store_->log().durable(), hand_outs_.data(), deadline);
  if (taken.count > 0 && taken.seeks != partition.seeks()) {
    NoticeSeek(partition, taken.seeks);
  }
  look.flush_to = std::max(look.flush_to, taken.flush_to);
  // In the place of one that nobody gets another may wait.
  const bool passed =
      taken.expired > 0 || taken.moved > 0 || taken.settled_once;
  look.skipped = look.skipped || passed;
  look.more = taken.count == wanted || passed;
  if ((taken.expired > 0 || taken.settled_once) &&
      !store_->volatile_storage()) {
    MarkDirty(*bound.group->state, window.cursor());
  }
  // Full or slow is the next look's business: nothing is lost by waiting.
  if (const Code code = OmsCode(taken.failure);
      !taken.failure.ok() && code != Code::kStorageBusy &&
      code != Code::kTimeout) {
    look.damage = taken.failure;
  }
  if (taken.lost) {
    look.damage = MakeStatus(
        Code::kDamaged, "receive from \"", std::string_view(bound.name),
        "\": ", taken.lost_count,
        taken.lost_count == 1 ? " message" : " messages", " of partition ",
        bound.queue->Shown(PartitionOf(partition.queue_partition())),
        " from offset ", *taken.lost,
        " on cannot be found in the store; skipped");
  }
  for (const HandOut& out : std::span(hand_outs_).first(taken.count)) {
    partition.Remember(out);
    auto message = partition.Load(out);
    if (!message.ok()) {
      const Code code = OmsCode(message.status());
      if (code == Code::kDamaged || code == Code::kQueueNotFound) {
        window.Ack(out.offset, out.word).IgnoreError();
        if (code == Code::kQueueNotFound && partition.IsRetired(out.offset)) {
          continue;
        }
      } else {
        // Not the message's fault (no descriptor, no memory): it is for
        // whoever can read it.
        window.Return(out.offset, out.word);
      }
      look.damage = message.status();
      continue;
    }
    if (terms.choose() && !terms.Matches(*message)) {
      Skip(bound, window, out);
      look.skipped = true;
      look.more = true;
      continue;
    }
    sink.Deliver(*std::move(message),
                 receipts_.Make({bound.group->id, partition.queue_partition(),
                                 out.offset, out.word.bits(), taken.seeks, 0},
                                partition.source()));
    ++look.count;
  }
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::CheckAlive(uint32_t version,
                                           TimePoint deadline) {
  for (const auto& bound : bound_) {
    if (!bound->queue->live()) {
      return MakeStatus(Code::kQueueNotFound, "receive from \"",
                        std::string_view(bound->name),
                        "\": the queue was deleted");
    }
    if (!bound->group->live()) {
      return MakeStatus(Code::kIllegalState, "receive from \"",
                        std::string_view(bound->name), "\": group \"",
                        std::string_view(bound->group->name),
                        "\" was deleted; unbind the queue, and bind it to "
                        "begin a new one");
    }
    const absl::Status renewed = RenewTerms(
        *bound, std::max(deadline, steady_clock::now() + kCatalogPatience));
    // Slow, or deleted a moment ago, is the next look's business.
    if (const Code code = OmsCode(renewed);
        code == Code::kTimeout || code == Code::kQueueNotFound) {
      return absl::OkStatus();
    }
    if (!renewed.ok()) return renewed;
  }
  const absl::Status watched =
      WatchLastDeliveries(std::max(deadline, steady_clock::now() +
                                                 kCatalogPatience));
  if (OmsCode(watched) == Code::kTimeout) return absl::OkStatus();
  if (!watched.ok()) return watched;
  alive_version_ = version;
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::WatchLastDeliveries(TimePoint deadline) {
  Housekeeper* const keeper = store_->housekeeper();
  if (keeper == nullptr) return absl::OkStatus();
  const auto counts = store_->catalog().CountsDeliveries(deadline);
  // This may be the last process that cares for a group whose members are gone.
  if (counts.ok() && *counts) keeper->Nudge();
  return counts.status();
}

void ReferenceConsumer::Skip(const BoundQueue& bound, GroupWindow& window,
                             const HandOut& out) {
  window.Ack(out.offset, out.word).IgnoreError();
  if (!store_->volatile_storage()) {
    MarkDirty(*bound.group->state, window.cursor());
  }
}

absl::Status ReferenceConsumer::LookAtQueue(BoundQueue& bound, size_t first,
                                            size_t max, int64_t now_ns,
                                            TimePoint deadline,
                                            driver::DeliverySink& sink,
                                            Look& look) {
  const size_t width = bound.queue->lane_partitions;
  for (size_t lane = 0; lane < bound.partitions.size();) {
    const size_t before = look.count;
    bool more = false;
    for (size_t p = 0; p < width; ++p) {
      BoundPartition& partition = *bound.partitions[lane + (first + p) % width];
      if (!partition.MayHave(now_ns)) continue;
      look.more = false;
      if (auto s = TakeFrom(bound, partition, max - look.count, now_ns,
                            deadline, sink, look);
          !s.ok()) {
        return s;
      }
      if (look.count == max || !look.damage.ok()) return absl::OkStatus();
      more = more || look.more;
    }
    // A lower lane comes when this one has no more. Where nothing in it was for
    // this group, Receive knows how long to go on.
    if (!more || !bound.queue->has_priorities()) {
      lane += width;
    } else if (look.count == before) {
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::LookAround(size_t max, TimePoint deadline,
                                           driver::DeliverySink& sink,
                                           Look& look) {
  // Nothing is made or deleted while it says the same.
  if (const uint32_t version = store_->catalog().version();
      version != alive_version_) {
    if (auto s = CheckAlive(version, deadline); !s.ok()) return s;
  }
  const int64_t now_ns = store_->environment().clock->BootNs();
  store_->delays().Work(now_ns);
  // Begins at another place each time, so that no partition starves.
  const size_t queues = bound_.size();
  const size_t first = turn_++;
  for (size_t q = 0; q < queues; ++q) {
    if (auto s = LookAtQueue(*bound_[(first + q) % queues], first, max, now_ns,
                             deadline, sink, look);
        !s.ok()) {
      return s;
    }
    if (look.count == max || !look.damage.ok()) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::Receive(size_t max, TimePoint deadline,
                                        driver::DeliverySink& sink) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  if (!pending_damage_.ok()) {
    return std::exchange(pending_damage_, absl::OkStatus());
  }
  std::optional<TimePoint> patience;
  while (!interrupted_.exchange(false)) {
    Look look;
    absl::Status status = LookAround(max, deadline, sink, look);
    if (look.count > 0) {
      // Delivered messages come first; the error is for the next call.
      pending_damage_ = status.ok() ? look.damage : status;
      return absl::OkStatus();
    }
    if (!status.ok()) return status;
    if (!look.damage.ok()) return look.damage;
    if (look.skipped) {
      // What comes behind is there already: it is not waited for.
      if (!patience) {
        patience = std::max(deadline, steady_clock::now() + kSkipPatience);
      }
      if (steady_clock::now() < *patience) continue;
    }
    if (look.flush_to != 0) {
      // Its sender leads that flush, unless it died.
      const auto flushed = store_->log().WaitDurable(
          look.flush_to, std::min(deadline, steady_clock::now() + kFlushWait));
      if (!flushed.ok() && OmsCode(flushed) != Code::kFlushTimeout) {
        return flushed;
      }
      if (flushed.ok()) continue;
    }
    if (steady_clock::now() >= deadline) {
      // Contention is no failure; an owner that is stopped is.
      return waited_in_vain_ < kLatePatience ? absl::OkStatus() : look.late;
    }
    Wait(deadline);
  }
  return absl::OkStatus();
}

bool ReferenceConsumer::SomethingMayBeThere(int64_t now_ns) {
  if (store_->delays().IsDue(now_ns)) return true;
  for (const auto& bound : bound_) {
    for (const auto& partition : bound->partitions) {
      if (partition->MayHave(now_ns)) return true;
    }
  }
  return false;
}

int64_t ReferenceConsumer::NextLookNs() const {
  const int64_t due = store_->delays().next_ns();
  int64_t next = due == 0 ? INT64_MAX : due;
  for (const auto& bound : bound_) {
    for (const auto& partition : bound->partitions) {
      next = std::min(next, partition->NextLookNs());
    }
  }
  return next;
}

void ReferenceConsumer::Wait(TimePoint deadline) {
  Clock& clock = *store_->environment().clock;
  for (int spin = 0; spin < kSpins || settings_.spin; ++spin) {
    if (interrupted_.load(std::memory_order_relaxed)) return;
    if (SomethingMayBeThere(0)) return;
    if (settings_.spin && spin % 64 == 63 &&
        (steady_clock::now() >= deadline ||
         SomethingMayBeThere(clock.BootNs()))) {
      return;
    }
    Relax();
  }
  sleeper_.Prepare(queue_states_);
  const int64_t now_ns = clock.BootNs();
  if (!interrupted_.load() &&
      (OMS_PLANTED(kNoLookBeforeSleep) || !SomethingMayBeThere(now_ns))) {
    const int64_t look_ns = NextLookNs();
    nanoseconds limit = std::min(kMaxSleep, nanoseconds(look_ns - now_ns));
    if (deadline != TimePoint::max()) {
      limit = std::min<nanoseconds>(limit, deadline - steady_clock::now());
    }
    if (limit.count() > 0) sleeper_.Sleep(limit);
  }
  sleeper_.Leave(queue_states_);
}

absl::Status ReferenceConsumer::SettleOne(const driver::Settlement& settlement,
                                          TimePoint deadline) {
  const auto token = receipts_.Read(settlement.receipt);
  std::shared_ptr<BoundQueue> bound;
  BoundPartition* partition = nullptr;
  if (token) {
    const internal::MutexLock lock(mutex_);
    const auto found = by_id_.find(QueueOf(token->queue_partition));
    const uint32_t number = PartitionOf(token->queue_partition);
    if (found != by_id_.end() && found->second->group->id == token->group &&
        number < found->second->partitions.size()) {
      bound = found->second;
      // A receipt may come from another process before anything was received.
      const auto ready = bound->partitions[number]->EnsureWindow(deadline);
      if (!ready.ok()) return ready.status();
      if (*ready) partition = bound->partitions[number].get();
    }
  }
  if (partition == nullptr) {
    return MakeStatus(Code::kReceiptInvalid,
                      "settle: the receipt is not of a delivery to this "
                      "store, queue and group; bind the queue in the group "
                      "that received it");
  }
  const auto was_moved = [&] {
    return SeeksOf(partition->cursor().images.Load()) != token->seeks;
  };
  const auto moved = [&] {
    return MakeStatus(Code::kReceiptExpired, "settle offset ", token->offset,
                      ": the group was moved since, and the message is new to "
                      "it or settled");
  };
  if (was_moved()) return moved();
  auto status =
      SettleWord(settlement, token->offset, DeliveryWord(token->word),
                 *partition, *bound, deadline);
  if (partition->window()->MayBeFree()) RingQueue(*bound);
  // Moved meanwhile: the word is of a life that is over.
  if (OmsCode(status) == Code::kReceiptInvalid && was_moved()) return moved();
  // Attempts are part of what the log is told, so a nack counts as well.
  if (status.ok() && !store_->volatile_storage() &&
      !OMS_PLANTED(kSettledNotDirty)) {
    MarkDirty(*bound->group->state, partition->window()->cursor());
  }
  return status;
}

int64_t ReferenceConsumer::BootNsAfter(
    std::chrono::milliseconds duration) const {
  // Longer than the clock counts is as long as it counts.
  const auto bounded =
      std::clamp(duration, std::chrono::milliseconds(0),
                 std::chrono::milliseconds(INT64_MAX / 4'000'000));
  return store_->environment().clock->BootNs() +
         std::chrono::duration_cast<nanoseconds>(bounded).count();
}

absl::Status ReferenceConsumer::AckUpTo(const Receipt& receipt, uint64_t offset,
                                        DeliveryWord word,
                                        BoundPartition& partition) {
  if (receipt.source() != partition.source()) {
    return MakeStatus(Code::kReceiptInvalid,
                      "acknowledge up to offset ", offset,
                      ": another consumer received it; expected the one that "
                      "knows what came before");
  }
  // A receipt that is no good settles nothing.
  if (auto s = partition.window()->Ack(offset, word); !s.ok()) return s;
  partition.AckUpTo(offset);
  return absl::OkStatus();
}

absl::Status ReferenceConsumer::SettleWord(
    const driver::Settlement& settlement, uint64_t offset, DeliveryWord word,
    BoundPartition& partition, BoundQueue& bound, TimePoint deadline) {
  GroupWindow& window = *partition.window();
  if (settlement.verb == driver::Verb::kNack ||
      settlement.verb == driver::Verb::kReject) {
    auto renewed = RenewTerms(bound, deadline);
    // What was received from a queue that is deleted may be settled still.
    if (!renewed.ok() && OmsCode(renewed) != Code::kQueueNotFound) {
      return renewed;
    }
  }
  switch (settlement.verb) {
    case driver::Verb::kAck:
      return window.Ack(offset, word);
    case driver::Verb::kAckUpTo:
      if (bound.queue->has_priorities()) {
        return MakeStatus(Code::kUnsupported, "acknowledge up to offset ",
                          offset, ": queue \"", std::string_view(bound.name),
                          "\" has priorities, and so no one order of offsets; "
                          "expected one acknowledgement for each message "
                          "(cumulative-ack)");
      }
      return AckUpTo(settlement.receipt, offset, word, partition);
    case driver::Verb::kNack: {
      auto status = window.Nack(offset, word, 0, deadline);
      if (bound.terms().policy.delay_ns == 0) RingQueue(bound);
      return status;
    }
    case driver::Verb::kNackDelay: {
      auto status = window.Nack(
          offset, word, BootNsAfter(settlement.duration), deadline);
      if (settlement.duration.count() == 0) RingQueue(bound);
      return status;
    }
    case driver::Verb::kRelease: {
      auto status = window.Release(offset, word, deadline);
      RingQueue(bound);
      return status;
    }
    case driver::Verb::kReject:
      if (bound.terms().dead_letters == nullptr) {
        return MakeStatus(Code::kUnsupported, "reject: queue \"",
                          std::string_view(bound.name),
                          "\" has no dead-letter queue; expected one that "
                          "has (reject)");
      }
      return window.Reject(offset, word, deadline);
    case driver::Verb::kExtend:
      if (settlement.duration.count() <= 0) {
        return MakeStatus(Code::kBadParameter, "extend: duration is ",
                          settlement.duration.count(),
                          " ms; expected more than 0 (OMS-SET-016)");
      }
      return window.Extend(offset, word, BootNsAfter(settlement.duration),
                           deadline);
  }
  return MakeStatus(Code::kUnsupported, "settle: no such verb");
}

absl::Status ReferenceConsumer::LogTouched(
    std::span<const driver::Settlement> batch, TimePoint deadline) {
  // Each cursor once, however many of its messages are settled.
  std::set<std::pair<GroupState*, uint32_t>> touched;
  for (const driver::Settlement& settlement : batch) {
    const auto token = receipts_.Read(settlement.receipt);
    if (!token) continue;
    const internal::MutexLock lock(mutex_);
    const auto found = by_id_.find(QueueOf(token->queue_partition));
    if (found == by_id_.end() || found->second->group->id != token->group) {
      continue;
    }
    touched.emplace(found->second->group->state,
                    PartitionOf(token->queue_partition));
  }
  for (const auto& [group, partition] : touched) {
    if (OMS_PLANTED(kSyncAckUnlogged)) break;
    if (auto s = store_->LogCursor(*group, partition, deadline); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

void ReferenceConsumer::SettleDurably(
    std::span<const driver::Settlement> batch,
    const driver::CallContext& context, driver::SettleCompletion& done) {
  SettledBatch settled;
  settled.done = &done;
  settled.deadline = context.deadline;
  for (const driver::Settlement& settlement : batch) {
    settled.results.push_back(SettleOne(settlement, context.deadline));
  }
  if (auto logged = LogTouched(batch, context.deadline); !logged.ok()) {
    settled.Complete(logged);
    return;
  }
  settled.position = store_->log().committed();
  if (context.caller_waits) {
    if (OMS_PLANTED(kAckNotAwaited)) settled.position = 0;
    settled.Complete(
        store_->log().WaitDurable(settled.position, settled.deadline));
  } else {
    flusher_.Add(std::move(settled));
  }
}

void ReferenceConsumer::Settle(std::span<const driver::Settlement> batch,
                               const driver::CallContext& context,
                               driver::SettleCompletion& done) noexcept {
  const absl::Status usable = store_->CheckUsable();
  if (settings_.ack_sync && usable.ok() && !store_->volatile_storage()) {
    SettleDurably(batch, context, done);
    return;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    absl::Status status =
        usable.ok() ? SettleOne(batch[i], context.deadline) : usable;
    if (status.ok()) status = store_->CheckPages();
    if (status.ok()) {
      done.Settled(i, Receipt());
    } else {
      done.Failed(i, std::move(status));
    }
  }
}

void ReferenceConsumer::Interrupt() noexcept {
  interrupted_.store(true);
  sleeper_.Ring();
}

absl::Status ReferenceConsumer::Close(TimePoint deadline) noexcept {
  flusher_.Stop();
  if (store_->CheckUsable().ok()) {
    for (const auto& bound : bound_) Release(*bound, deadline);
  }
  bound_.clear();
  queue_states_.clear();
  const internal::MutexLock lock(mutex_);
  by_id_.clear();
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
