// SPDX-License-Identifier: Apache-2.0

#include "mutant_producer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mutant_resources.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/message.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using driver::CallContext;
using driver::SendCompletion;
using driver::TimePoint;

SendResult Invented(std::string_view id) {
  SendResult result;
  result.message_id = *MessageId::FromText(id);
  return result;
}

// Hands the outcomes of a batch on, some of them changed. Ends with the last.
class ForwardSend final : public SendCompletion {
 public:
  ForwardSend(Mutant mutant, SendCompletion& done, std::vector<size_t> indices)
      : mutant_(mutant),
        done_(done),
        indices_(std::move(indices)),
        left_(indices_.size()) {}

  void Sent(size_t index, const SendResult& result) override {
    static std::atomic<int> count{0};
    SendResult told = result;
    if (mutant_ == Mutant::kOneIdForAll) told = Invented("always-the-same");
    if (mutant_ == Mutant::kOtherIdAtReceiver) {
      told = Invented(internal::Concat("invented-", count.fetch_add(1)));
    }
    if (mutant_ == Mutant::kFailsAfterStoring && count.fetch_add(1) % 5 == 4) {
      done_.Failed(indices_[index],
                   MakeStatus(Code::kStorageBusy, "send: full"));
    } else if (mutant_ == Mutant::kCancelsStored &&
               count.fetch_add(1) % 3 == 2) {
      done_.Failed(indices_[index],
                   MakeStatus(Code::kCancelled, "send: cancelled"));
    } else {
      done_.Sent(indices_[index], told);
    }
    End();
  }
  void Failed(size_t index, absl::Status status) override {
    if (mutant_ == Mutant::kSwallowsMissingQueue &&
        OmsCode(status) == Code::kQueueNotFound) {
      done_.Sent(indices_[index], Invented("swallowed"));
    } else {
      done_.Failed(indices_[index], std::move(status));
    }
    End();
  }

 private:
  void End() {
    if (left_.fetch_sub(1) == 1) delete this;
  }

  const Mutant mutant_;
  SendCompletion& done_;
  const std::vector<size_t> indices_;
  std::atomic<size_t> left_;
};

Message WithoutInt32(Message message) {
  KeyValue kept;
  for (const auto& [key, value] : message.properties()) {
    if (value.type() != ValueType::kInt32) (void)kept.Put(key, value);
  }
  message.SetProperties(kept);
  return message;
}

Message WithoutUnderscores(Message message) {
  KeyValue kept;
  for (const auto& [key, value] : message.properties()) {
    if (key.find('_') == key.npos) (void)kept.Put(key, value);
  }
  message.SetProperties(kept);
  return message;
}

Message WithTexts(Message message) {
  KeyValue texts;
  for (const auto& [key, value] : message.properties()) {
    const auto number = message.properties().Get<int64_t>(key);
    if (number.ok()) {
      (void)texts.Put(key, std::to_string(*number));
    } else {
      (void)texts.Put(key, value);
    }
  }
  message.SetProperties(texts);
  return message;
}

std::string Repaired(std::string_view body) {
  std::string text(body);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) > 127) c = '?';
  }
  return text;
}

class MutantProducer final : public driver::Producer {
 public:
  MutantProducer(driver::Connection& connection,
                 std::unique_ptr<driver::Producer> inner, Mutant mutant)
      : connection_(connection), inner_(std::move(inner)), mutant_(mutant) {}

  void Send(std::span<const Message> batch, const CallContext& context,
            SendCompletion& done) override {
    if (mutant_ == Mutant::kWaitsForNobody && !context.caller_waits) {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
    if (IsDead()) {
      for (size_t i = 0; i < batch.size(); ++i) {
        done.Failed(i, MakeStatus(Code::kClosed, "send: it was idle"));
      }
      return;
    }
    std::vector<Message> messages;
    std::vector<size_t> indices;
    const bool loses = mutant_ == Mutant::kLosesLastOfBatch && batch.size() > 1;
    const size_t kept = batch.size() - (loses ? 1 : 0);
    for (size_t i = 0; i < kept; ++i) {
      if (mutant_ == Mutant::kClaimsLargeBodies &&
          batch[i].body().size() > kOneMiB) {
        done.Failed(i, MakeStatus(Code::kBodyTooLarge, "send: too large"));
        continue;
      }
      messages.push_back(Changed(batch[i]));
      indices.push_back(i);
    }
    if (messages.empty()) return;
    if (mutant_ == Mutant::kReversesBatch) {
      std::reverse(messages.begin(), messages.end());
      std::reverse(indices.begin(), indices.end());
    }
    if (mutant_ == Mutant::kStopsBatchAtError && batch.size() > 1) {
      SendUntilError(messages, context, done);
      return;
    }
    // `batch` ends with this call; what is completed late has its own messages.
    if (!context.caller_waits && Loses()) return;
    const bool honest =
        mutant_ == Mutant::kCancelsStored && context.caller_waits;
    inner_->Send(
        messages, context,
        *new ForwardSend(honest ? Mutant::kNone : mutant_, done, indices));
    if (loses) done.Sent(batch.size() - 1, Invented("lost"));
    if (mutant_ == Mutant::kDeliversTwice) Repeat(messages, context);
    for (const Message& message : messages) CopyWrongly(message, context);
  }

  absl::Status Flush(TimePoint deadline) override {
    return inner_->Flush(deadline);
  }
  absl::Status Close(TimePoint deadline) override {
    return inner_->Close(deadline);
  }

 private:
  static constexpr std::chrono::milliseconds kNoTime{0};
  static constexpr size_t kOneMiB = size_t{1} << 20;

  // Returns: whether its connection was lost while it was idle, which this
  // driver does not notice.
  bool IsDead() {
    if (mutant_ != Mutant::kDiesWhenIdle) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    is_dead_ = is_dead_ || now - std::exchange(last_, now) >
                               std::chrono::milliseconds(150);
    return is_dead_;
  }

  // Makes the copies that a fault makes by itself.
  void CopyWrongly(const Message& message, const CallContext& context) {
    const bool copies =
        mutant_ == Mutant::kCopiesAnew || mutant_ == Mutant::kRoutesOneStep ||
        (mutant_ == Mutant::kRoutesBeforeDue && message.delay() > kNoTime) ||
        (mutant_ == Mutant::kRoutesDuplicates && IsKnown(message));
    if (copies) CopyByRoutes(connection_, *inner_, message, context.deadline);
  }
  // ... by any producer.
  static bool IsKnown(const Message& message) {
    static std::mutex mutex;
    static auto* const ids = new std::set<std::string>();
    if (message.deduplication_id().empty()) return false;
    const std::lock_guard<std::mutex> lock(mutex);
    return !ids->insert(internal::Concat(message.destination(), ' ',
                                         message.deduplication_id()))
                .second;
  }

  // Returns: whether what nobody waits for has no outcome.
  bool Loses() const {
    return mutant_ == Mutant::kCompletesLateNever ||
           mutant_ == Mutant::kCloseDropsAsync;
  }

  Message Changed(const Message& message) {
    Message copy = message;
    switch (mutant_) {
      case Mutant::kTruncatesAtNul:
        if (copy.body().find('\0') != std::string_view::npos) {
          copy.SetBody(
              std::string(copy.body().substr(0, copy.body().find('\0'))));
        }
        return copy;
      case Mutant::kRepairsUtf8:
        copy.SetBody(Repaired(copy.body()));
        return copy;
      case Mutant::kDropsInt32Properties:
        return WithoutInt32(std::move(copy));
      case Mutant::kDropsUnderscores:
        return WithoutUnderscores(std::move(copy));
      case Mutant::kPropertiesAsText:
        return WithTexts(std::move(copy));
      case Mutant::kDropsCorrelationId:
        copy.SetCorrelationId("");
        return copy;
      case Mutant::kDropsTracestate:
        copy.SetTracestate("");
        return copy;
      case Mutant::kIgnoresDelay:
        copy.SetDelay(kNoTime);
        return copy;
      case Mutant::kDelayInSeconds:
        if (copy.delay() > kNoTime) {
          copy.SetDelay(std::chrono::ceil<std::chrono::seconds>(copy.delay()));
        }
        return copy;
      case Mutant::kIgnoresExpiry:
        copy.SetExpireAt(kNoTime);
        return copy;
      case Mutant::kIgnoresPriority:
        copy.SetPriority(Message::kDefaultPriority);
        return copy;
      case Mutant::kTwoPriorities:
        copy.SetPriority(copy.priority() > Message::kDefaultPriority ? 10 : 1);
        return copy;
      case Mutant::kIgnoresDeduplication:
        copy.SetDeduplicationId("");
        return copy;
      default:
        return Moved(std::move(copy));
    }
  }

  // Changes where the message goes.
  Message Moved(Message copy) {
    switch (mutant_) {
      case Mutant::kRandomPartition:
        if (!copy.message_key().empty()) {
          copy.SetPartition(count_.fetch_add(1) % 3);
        }
        return copy;
      case Mutant::kOnePartition:
        if (!copy.message_key().empty()) copy.SetPartition(0);
        return copy;
      case Mutant::kWrapsPartition:
        if (copy.requested_partition() > 1) {
          copy.SetPartition(copy.requested_partition() % 2);
        }
        return copy;
      case Mutant::kMixesNamespaces:
        copy.SetDestination(WithoutNamespace(copy.destination()));
        return copy;
      case Mutant::kIgnoresPartition:
        if (copy.requested_partition() >= 0) copy.SetPartition(0);
        return copy;
      default:
        return copy;
    }
  }

  void SendUntilError(const std::vector<Message>& messages,
                      const CallContext& context, SendCompletion& done) {
    struct One final : SendCompletion {
      void Sent(size_t, const SendResult& result) override { sent = result; }
      void Failed(size_t, absl::Status status) override { failed = status; }
      SendResult sent;
      absl::Status failed;
    };
    absl::Status broken;
    for (size_t i = 0; i < messages.size(); ++i) {
      One one;
      if (broken.ok()) {
        inner_->Send({&messages[i], 1}, {.deadline = context.deadline}, one);
        broken = one.failed;
      }
      if (broken.ok()) {
        done.Sent(i, one.sent);
      } else {
        done.Failed(i, broken);
      }
    }
  }

  void Repeat(const std::vector<Message>& messages,
              const CallContext& context) {
    for (const Message& message : messages) {
      if (count_.fetch_add(1) % 7 != 6) continue;
      SendForNobody(*inner_, message, context.deadline);
    }
  }

  driver::Connection& connection_;
  const std::unique_ptr<driver::Producer> inner_;
  const Mutant mutant_;
  std::atomic<int> count_{0};
  std::mutex mutex_;
  bool is_dead_ = false;
  std::chrono::steady_clock::time_point last_ =
      std::chrono::steady_clock::now();
};

}  // namespace

std::unique_ptr<driver::Producer> MakeMutantProducer(
    driver::Connection& connection, std::unique_ptr<driver::Producer> inner,
    Mutant mutant) {
  return std::make_unique<MutantProducer>(connection, std::move(inner), mutant);
}

}  // namespace openmessaging::conformance
