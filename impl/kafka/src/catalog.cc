// SPDX-License-Identifier: Apache-2.0

#include "catalog.h"

#include <utility>

#include "headers.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "waiting_send.h"

namespace openmessaging::kafka {
namespace {

using internal::Concat;

struct Sink final : driver::DeliverySink {
  void Deliver(Message message, const Receipt& /*receipt*/) override {
    all.push_back(std::move(message));
  }
  std::vector<Message> all;
};

}  // namespace

std::string OptionsText(const QueueOptions& options) {
  return Concat("max-deliveries=", options.max_deliveries,
                " dead-letter-queue=",
                std::string_view(options.dead_letter_queue),
                " redelivery-delay=", options.redelivery_delay.count(),
                " max-redelivery-delay=", options.max_redelivery_delay.count(),
                " retention=", options.retention.count());
}

QueueOptions ReadOptions(std::string_view text) {
  QueueOptions options;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    int64_t number = 0;
    const bool whole = internal::ParseInteger(value, number) && number >= 0;
    if (name == "dead-letter-queue") {
      options.dead_letter_queue = value;
    } else if (name == "max-deliveries" && whole && number <= INT32_MAX) {
      options.max_deliveries = static_cast<int32_t>(number);
    } else if (name == "redelivery-delay" && whole) {
      options.redelivery_delay = milliseconds(number);
    } else if (name == "max-redelivery-delay" && whole) {
      options.max_redelivery_delay = milliseconds(number);
    } else if (name == "retention" && whole) {
      options.retention = milliseconds(number);
    }
  }
  return options;
}

bool IsPlain(const QueueOptions& options) {
  return OptionsText(options) == OptionsText(QueueOptions());
}

absl::Status Catalog::CatchUp(TimePoint deadline) {
  const auto partitions = cluster_->PartitionsOf(kTopic, deadline);
  if (OmsCode(partitions.status()) == Code::kQueueNotFound) {
    queues_.clear();
    reader_ = nullptr;
    position_ = 0;
    return absl::OkStatus();
  }
  const auto range = streams_.RangeOf(kTopic, 0, deadline);
  if (!range.ok()) return range.status();
  if (position_ >= range->end) return absl::OkStatus();
  if (reader_ == nullptr) {
    auto made = streams_.Open(kTopic, 0, position_, deadline);
    if (!made.ok()) return made.status();
    reader_ = *std::move(made);
  }
  while (position_ < range->end) {
    if (Clock::now() >= deadline) {
      return MakeStatus(Code::kUnavailable, "read \"", kTopic,
                        "\": it has not come in time");
    }
    Sink sink;
    if (auto s = reader_->Read(1000, deadline, sink); !s.ok()) return s;
    for (const Message& message : sink.all) {
      position_ = message.offset() + 1;
      const std::string queue(message.message_key());
      if (message.properties().GetOr<bool>(kTombstone, false)) {
        queues_.erase(queue);
      } else {
        queues_[queue] = ReadOptions(message.body());
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<QueueOptions> Catalog::OptionsOf(std::string_view queue,
                                                TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = CatchUp(deadline); !s.ok()) return s;
  const auto found = queues_.find(queue);
  return found == queues_.end() ? QueueOptions() : found->second;
}

absl::StatusOr<std::string> Catalog::OwnerOf(std::string_view queue,
                                             TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = CatchUp(deadline); !s.ok()) return s;
  for (const auto& [name, options] : queues_) {
    if (options.dead_letter_queue == queue) return name;
  }
  return std::string();
}

absl::Status Catalog::Set(std::string_view queue, const QueueOptions& options,
                          driver::Producer& producer, TimePoint deadline) {
  {
    const internal::MutexLock lock(mutex_);
    if (auto s = CatchUp(deadline); !s.ok()) return s;
    const auto found = queues_.find(queue);
    const QueueOptions known =
        found == queues_.end() ? QueueOptions() : found->second;
    if (OptionsText(known) == OptionsText(options)) return absl::OkStatus();
  }
  const bool plain = IsPlain(options);
  Message message(kTopic, plain ? std::string() : OptionsText(options));
  message.SetMessageKey(queue);
  if (plain) (void)message.SetProperty(kTombstone, true);
  return SendAndWait(producer, message, deadline).status();
}

void Catalog::Close() {
  const internal::MutexLock lock(mutex_);
  reader_ = nullptr;
}

}  // namespace openmessaging::kafka
