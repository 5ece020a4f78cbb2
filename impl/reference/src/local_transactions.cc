// SPDX-License-Identifier: Apache-2.0

#include "local_transactions.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "bells.h"
#include "group_window.h"
#include "openmessaging/status.h"
#include "partition_log.h"
#include "redelivery.h"
#include "settled_record.h"

namespace openmessaging::reference {
namespace {

absl::Status NoSuchReceipt() {
  return MakeStatus(Code::kReceiptInvalid,
                    "commit: a receipt is not of a delivery of this store; "
                    "expected one that a consumer of it received");
}

}  // namespace

class ReferenceLocalTransactions::Part {
 public:
  Part(Store* store, std::shared_ptr<const Group> group, uint32_t partition)
      : store_(store),
        group_(std::move(group)),
        log_(store, group_, partition),
        window_(&store->control(), &store->environment(), &store->liveness(),
                group_->queue->state->partition(partition),
                QueuePartition(group_->queue->id, partition),
                group_->state->cursor(partition),
                RedeliveryPolicy::Of(group_->queue->options), &log_,
                // So that whoever waits for a key learns of it.
                /*ordered=*/true) {
    record_.type = RecordType::kSettled;
    record_.queue_partition = QueuePartition(group_->queue->id, partition);
    record_.offset = group_->id;
    record_.alive = group_->entry;
    record_.source = &window_.cursor();
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  void Add(const ReceiptToken& token) { tokens_.push_back(token); }

  // Returns: the record, whose bytes Enter still has to fill in.
  Append Record() {
    std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) {
      return std::tie(a.offset, a.word) < std::tie(b.offset, b.word);
    });
    tokens_.erase(std::unique(tokens_.begin(), tokens_.end(),
                              [](const auto& a, const auto& b) {
                                return a.offset == b.offset &&
                                       a.word == b.word && a.seeks == b.seeks;
                              }),
                  tokens_.end());
    body_.resize(sizeof(SettledHead) + tokens_.size() * sizeof(SettledMessage));
    record_.pieces[2] = body_;
    return record_;
  }

  // Takes the cursor's lock and sets all of it aside, until Leave.
  absl::Status Enter(TimePoint deadline) {
    if (auto locked = window_.BeginUnit(deadline); !locked.ok()) return locked;
    entered_ = true;
    char* out = body_.data();
    const SettledHead head{group_->id, 0, window_.FloorForRecord()};
    std::memcpy(out, &head, sizeof(head));
    out += sizeof(head);
    for (const ReceiptToken& token : tokens_) {
      const DeliveryWord word(token.word);
      if (SeeksOf(window_.cursor().images.Load()) != token.seeks) {
        return MakeStatus(Code::kReceiptExpired, "settle offset ", token.offset,
                          ": the group was moved since, and the message is new "
                          "to it or settled");
      }
      auto aside = window_.SetAside(token.offset, word);
      if (!aside.ok()) return aside.status();
      if (*aside) asides_.push_back(**aside);
      const SettledMessage message{token.offset, word.attempts(), 0};
      std::memcpy(out, &message, sizeof(message));
      out += sizeof(message);
    }
    return absl::OkStatus();
  }

  // `settled`: the record is there. Undoes what Enter did otherwise.
  void Leave(bool settled) {
    if (!entered_) return;
    entered_ = false;
    if (!settled) {
      for (const GroupWindow::Aside& aside : asides_) window_.PutBack(aside);
    }
    asides_.clear();
    window_.EndUnit();
    if (!settled) return;
    window_.NoteSettled();
    if (window_.MayBeFree()) {
      RingBells(store_->control(), store_->environment(), store_->liveness(),
                *group_->queue->state);
    }
  }

 private:
  Store* const store_;
  const std::shared_ptr<const Group> group_;
  PartitionLog log_;
  GroupWindow window_;
  std::vector<ReceiptToken> tokens_{};
  std::vector<GroupWindow::Aside> asides_{};
  std::string body_{};
  Append record_{};
  bool entered_ = false;
};

class ReferenceLocalTransactions::Unit final : public Surrounding {
 public:
  explicit Unit(TimePoint deadline) : deadline_(deadline) {}

  // In the order in which their locks are taken.
  using Place = std::pair<uint32_t, uint32_t>;  // Group, partition.
  std::map<Place, std::unique_ptr<Part>>& parts() { return parts_; }

  std::vector<Append> Records() {
    std::vector<Append> records;
    for (const auto& [place, part] : parts_) records.push_back(part->Record());
    return records;
  }

  absl::Status Enter() override {
    for (const auto& [place, part] : parts_) {
      if (auto s = part->Enter(deadline_); !s.ok()) return s;
    }
    return absl::OkStatus();
  }
  void Leave(const absl::Status& status) override {
    for (const auto& [place, part] : parts_) part->Leave(status.ok());
  }

 private:
  const TimePoint deadline_;
  std::map<Place, std::unique_ptr<Part>> parts_{};
};

absl::StatusOr<std::shared_ptr<const Group>> ReferenceLocalTransactions::GroupOf(
    uint32_t id, TimePoint deadline) {
  {
    const internal::MutexLock lock(mutex_);
    const auto found = groups_.find(id);
    if (found != groups_.end() && found->second->live()) return found->second;
  }
  const auto all = store_->catalog().Groups(deadline);
  if (!all.ok()) return all.status();
  const internal::MutexLock lock(mutex_);
  groups_.clear();
  for (const auto& group : *all) groups_.emplace(group->id, group);
  const auto found = groups_.find(id);
  if (found == groups_.end()) return NoSuchReceipt();
  return found->second;
}

absl::Status ReferenceLocalTransactions::AddParts(
    std::span<const driver::Settlement> settlements, TimePoint deadline,
    Unit& unit) {
  for (const driver::Settlement& settlement : settlements) {
    if (settlement.verb != driver::Verb::kAck) {
      return MakeStatus(Code::kUnsupported,
                        "commit: only acknowledgements can be part of a "
                        "transaction (tx-local)");
    }
    const auto token = receipts_.Read(settlement.receipt);
    if (!token) return NoSuchReceipt();
    const uint32_t partition = PartitionOf(token->queue_partition);
    std::unique_ptr<Part>& part = unit.parts()[{token->group, partition}];
    if (part == nullptr) {
      auto group = GroupOf(token->group, deadline);
      if (!group.ok()) return group.status();
      if ((*group)->queue->id != QueueOf(token->queue_partition) ||
          partition >= (*group)->state->partitions) {
        return NoSuchReceipt();
      }
      part = std::make_unique<Part>(store_.get(), *std::move(group), partition);
    }
    part->Add(*token);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SendResult>> ReferenceLocalTransactions::CommitLocal(
    std::span<const Message> sends,
    std::span<const driver::Settlement> settlements,
    const driver::CallContext& context) noexcept {
  if (auto usable = store_->CheckUsable(); !usable.ok()) return usable;
  Unit unit(context.deadline);
  if (auto s = AddParts(settlements, context.deadline, unit); !s.ok()) return s;
  std::vector<Append> records = unit.Records();
  if (ack_sync_ && !store_->volatile_storage()) {
    for (Append& record : records) record.flags |= kDisk;
  }
  return producer_.SendTogether(sends, records, context, unit);
}

}  // namespace openmessaging::reference
