// SPDX-License-Identifier: Apache-2.0

#include "mutant_consumer.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mutant_resources.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using driver::BindOptions;
using driver::CallContext;
using driver::DeliverySink;
using driver::SettleCompletion;
using driver::Settlement;
using driver::TimePoint;
using driver::Verb;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Hands the outcome of one settlement on, perhaps another one.
class ForwardSettle final : public SettleCompletion {
 public:
  ForwardSettle(Mutant mutant, Verb verb, SettleCompletion& done, size_t index)
      : mutant_(mutant), verb_(verb), done_(done), index_(index) {}

  void Settled(size_t, const Receipt& replacement) override {
    if (mutant_ == Mutant::kNackDelayUnsupportedAfterDoing &&
        verb_ == Verb::kNackDelay) {
      done_.Failed(index_, MakeStatus(Code::kUnsupported, "nack: cannot"));
    } else {
      done_.Settled(index_, replacement);
    }
    delete this;
  }
  void Failed(size_t, absl::Status status) override {
    const Code code = OmsCode(status);
    if ((mutant_ == Mutant::kStaleReceiptSettles &&
         code == Code::kReceiptExpired) ||
        (mutant_ == Mutant::kGarbageReceiptSettles &&
         code == Code::kReceiptInvalid)) {
      done_.Settled(index_, Receipt());
    } else {
      done_.Failed(index_, std::move(status));
    }
    delete this;
  }

 private:
  const Mutant mutant_;
  const Verb verb_;
  SettleCompletion& done_;
  const size_t index_;
};

// A consumer that was not closed. Its threads and leases go on.
std::vector<std::unique_ptr<driver::Consumer>>& Leaked() {
  static auto* const leaked =
      new std::vector<std::unique_ptr<driver::Consumer>>();
  return *leaked;
}

class MutantConsumer final : public driver::Consumer {
 public:
  MutantConsumer(std::unique_ptr<driver::Consumer> inner,
                 std::unique_ptr<MutantEvents> events, Mutant mutant)
      : events_(std::move(events)),
        inner_(std::move(inner)),
        mutant_(mutant) {}

  absl::Status Bind(std::string_view queue, const BindOptions& options,
                    TimePoint deadline) override {
    BindOptions changed = options;
    if (mutant_ == Mutant::kIgnoresFilter) changed.filter.clear();
    if (mutant_ == Mutant::kLowersFilter) {
      for (char& c : changed.filter) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      }
    }
    const std::string place = mutant_ == Mutant::kMixesNamespaces
                                  ? WithoutNamespace(queue)
                                  : std::string(queue);
    absl::Status status = inner_->Bind(place, changed, deadline);
    if (mutant_ == Mutant::kAcceptsBadFilter &&
        OmsCode(status) == Code::kBadParameter) {
      status = inner_->Bind(queue, BindOptions(), deadline);
    }
    if (mutant_ == Mutant::kBindMissingHangs && !status.ok()) {
      std::this_thread::sleep_until(deadline);
      return MakeStatus(Code::kTimeout, "bind: it is not there yet");
    }
    return status;
  }

  absl::Status Unbind(std::string_view queue, TimePoint deadline) override {
    if (mutant_ == Mutant::kUnbindKeeps) return absl::OkStatus();
    return inner_->Unbind(queue, deadline);
  }

  absl::Status Receive(size_t max, TimePoint deadline,
                       DeliverySink& sink) override {
    Remembering kept(*this, sink);
    if (DeliverZombies(kept)) return absl::OkStatus();
    if (mutant_ == Mutant::kReceiveReturnsEarly) deadline = Clock::now();
    if (mutant_ == Mutant::kReceiveWaitsLong) deadline += milliseconds(3000);
    absl::Status status = inner_->Receive(max, deadline, kept);
    while (mutant_ == Mutant::kReceiveFillsBatch && status.ok() &&
           kept.count() > 0 && kept.count() < max && Clock::now() < deadline) {
      status = inner_->Receive(max - kept.count(), deadline, kept);
    }
    return status;
  }

  void Settle(std::span<const Settlement> batch, const CallContext& context,
              SettleCompletion& done) override {
    for (size_t i = 0; i < batch.size(); ++i) {
      const Settlement settlement = Changed(batch[i]);
      if (Swallows(batch[i].verb)) {
        done.Settled(i, Receipt());
        continue;
      }
      inner_->Settle({&settlement, 1}, context,
                     *new ForwardSettle(mutant_, batch[i].verb, done, i));
    }
  }

  void Interrupt() override {
    if (mutant_ != Mutant::kIgnoresInterrupt) inner_->Interrupt();
  }

  absl::Status Close(TimePoint deadline) override {
    if (mutant_ == Mutant::kLeaksOnClose) {
      static std::mutex mutex;
      const std::lock_guard<std::mutex> lock(mutex);
      Leaked().push_back(std::move(inner_));
      (void)events_.release();
      return absl::OkStatus();
    }
    return inner_->Close(deadline);
  }

 private:
  using Received = std::pair<Message, Receipt>;

  // Keeps what is delivered, for faults that need it.
  class Remembering final : public DeliverySink {
   public:
    Remembering(MutantConsumer& owner, DeliverySink& sink)
        : owner_(owner), sink_(sink) {}
    void Deliver(Message message, const Receipt& receipt) override {
      ++count_;
      if (owner_.mutant_ == Mutant::kRedeliversAfterAck ||
          owner_.mutant_ == Mutant::kAcksWrongReceipt) {
        const std::lock_guard<std::mutex> lock(owner_.mutex_);
        owner_.unsettled_.emplace_back(message, receipt);
      }
      owner_.Change(message);
      sink_.Deliver(std::move(message),
                    owner_.mutant_ == Mutant::kEmptyReceipt
                        ? Receipt(1, receipt.token())
                        : receipt);
    }
    size_t count() const { return count_; }

   private:
    MutantConsumer& owner_;
    DeliverySink& sink_;
    size_t count_ = 0;
  };

  // Changes what only drivers set.
  void Change(Message& message) const {
    driver::DeliveryHeader header{message.partition(), message.offset(),
                                  message.store_timestamp().count(),
                                  message.delivery_count()};
    switch (mutant_) {
      case Mutant::kCountsByTwo:
        header.delivery_count = 2 * header.delivery_count - 1;
        break;
      case Mutant::kAlwaysFirstDelivery:
        header.delivery_count = 1;
        break;
      case Mutant::kStoreTimeInSeconds:
        header.store_timestamp_ms /= 1000;
        break;
      default:
        return;
    }
    driver::MessageAccess::SetDelivery(message, header);
  }

  bool Swallows(Verb verb) const {
    return (mutant_ == Mutant::kAcksNothing && verb == Verb::kAck) ||
           (mutant_ == Mutant::kIgnoresExtend && verb == Verb::kExtend);
  }

  Settlement Changed(Settlement one) {
    switch (mutant_) {
      case Mutant::kAckIsCumulative:
        if (one.verb == Verb::kAck) one.verb = Verb::kAckUpTo;
        break;
      case Mutant::kAckUpToIsOne:
        if (one.verb == Verb::kAckUpTo) one.verb = Verb::kAck;
        break;
      case Mutant::kNackAcks:
        if (one.verb == Verb::kNack) one.verb = Verb::kAck;
        break;
      case Mutant::kIgnoresNackDelay:
        one.duration =
            one.verb == Verb::kNackDelay ? milliseconds(0) : one.duration;
        break;
      case Mutant::kRejectDrops:
        if (one.verb == Verb::kReject) one.verb = Verb::kAck;
        break;
      case Mutant::kRedeliversAfterAck:
      case Mutant::kAcksWrongReceipt:
        if (one.verb == Verb::kAck) NoteAck(one);
        break;
      default:
        break;
    }
    return one;
  }

  void NoteAck(Settlement& one) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (unsettled_.empty()) return;
    if (mutant_ == Mutant::kAcksWrongReceipt) {
      one.receipt = unsettled_.front().second;
      unsettled_.erase(unsettled_.begin());
      return;
    }
    for (auto it = unsettled_.begin(); it != unsettled_.end(); ++it) {
      if (it->second == one.receipt) {
        zombies_.push_back(std::move(*it));
        unsettled_.erase(it);
        return;
      }
    }
  }

  bool DeliverZombies(Remembering& sink) {
    std::vector<Received> risen;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      // Once each: what is acknowledged again stays away.
      if (zombies_.empty() || zombies_.size() == risen_) return false;
      risen.assign(zombies_.begin() + static_cast<std::ptrdiff_t>(risen_),
                   zombies_.end());
      risen_ = zombies_.size();
    }
    for (auto& [message, receipt] : risen) {
      sink.Deliver(std::move(message), receipt);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    unsettled_.clear();
    return true;
  }

  std::unique_ptr<MutantEvents> events_;
  std::unique_ptr<driver::Consumer> inner_;
  const Mutant mutant_;
  std::mutex mutex_;
  std::vector<Received> unsettled_;
  std::vector<Received> zombies_;
  size_t risen_ = 0;
};

}  // namespace

std::unique_ptr<driver::Consumer> MakeMutantConsumer(
    std::unique_ptr<driver::Consumer> inner,
    std::unique_ptr<MutantEvents> events, Mutant mutant) {
  return std::make_unique<MutantConsumer>(std::move(inner), std::move(events),
                                          mutant);
}

driver::ConsumerOptions ChangedOptions(driver::ConsumerOptions options,
                                       Mutant mutant) {
  static std::atomic<int> members{0};
  switch (mutant) {
    case Mutant::kMixesUpGroups:
      options.group = "default";
      break;
    case Mutant::kGroupForEachMember:
      options.group += std::to_string(members.fetch_add(1));
      break;
    case Mutant::kBroadcastShares:
      options.broadcast = false;
      break;
    case Mutant::kIgnoresExclusive:
      options.exclusive = false;
      break;
    case Mutant::kIgnoresOrdered:
      options.ordered = false;
      break;
    case Mutant::kIgnoresStartLatest:
      options.start = StartPosition::kEarliest;
      break;
    case Mutant::kStartsAtLatest:
      options.start = StartPosition::kLatest;
      break;
    default:
      break;
  }
  return options;
}

}  // namespace openmessaging::conformance
