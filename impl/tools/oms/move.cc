// SPDX-License-Identifier: Apache-2.0
//
// oms move: takes messages out of a queue and sends them to another one, which
// may be at another broker of another kind.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/driver/message_access.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "signals.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kMovedAtOnce = 256;

struct MoveArguments {
  std::string from_url;
  std::string from;
  std::string to_url;
  std::string to{};  // Empty: the same name.
  std::string group = "default";
  int64_t max = std::numeric_limits<int64_t>::max();
  milliseconds timeout{2000};

  const std::string& target() const { return to.empty() ? from : to; }
};

// Returns: the message as it is sent on: all that its sender gave it, and its
// origin. What tells of a death stays with the dead-letter queue.
Message SentOn(const Message& received, std::string_view to) {
  Message message(received);
  message.SetDestination(to);
  driver::MessageAccess::SetField(message, driver::Field::kOriginId,
                                  received.origin_id().ToString());
  if (received.properties().Contains(kDeadQueue)) {
    KeyValue properties;
    for (const auto& [key, value] : received.properties()) {
      if (key.starts_with(kDeadPrefix)) continue;
      properties.Put(key, value).IgnoreError();  // It was one before.
    }
    message.SetProperties(properties);
  }
  return message;
}

// Moves the messages between two places that are open.
class Mover {
 public:
  Mover(const MoveArguments& arguments, PullConsumer& consumer,
        Producer& producer)
      : arguments_(arguments), consumer_(consumer), producer_(producer) {}

  // Moves until nothing came for the timeout, `max` were moved, or a signal
  // came. Errors: the first one; what was not sent stays where it was.
  absl::Status Run() {
    Clock::time_point last = Clock::now();
    while (moved_ < arguments_.max && EndedBy() == 0) {
      const auto left = static_cast<size_t>(arguments_.max - moved_);
      auto batch = consumer_.ReceiveBatch(std::min(kMovedAtOnce, left),
                                          std::min(kSignalCheck, Left(last)));
      if (!batch.ok()) return batch.status();
      if (batch->empty()) {
        if (Left(last) <= milliseconds(0)) break;
        continue;
      }
      if (absl::Status status = MoveBatch(*batch); !status.ok()) return status;
      last = Clock::now();
    }
    return absl::OkStatus();
  }

  int64_t moved() const { return moved_; }

 private:
  milliseconds Left(Clock::time_point last) const {
    const auto waited =
        std::chrono::duration_cast<milliseconds>(Clock::now() - last);
    return std::max(arguments_.timeout - waited, milliseconds(0));
  }

  // A message is acknowledged once the other broker has it: killed between the
  // two it may be in both, but never in neither.
  absl::Status MoveBatch(std::vector<Delivery>& batch) {
    std::vector<Message> messages;
    messages.reserve(batch.size());
    for (const Delivery& delivery : batch) {
      messages.push_back(SentOn(delivery.message(), arguments_.target()));
    }
    const auto sent = producer_.Send(std::span<const Message>(messages));
    absl::Status first;
    for (size_t i = 0; i < batch.size(); ++i) {
      absl::Status status = sent[i].status();
      if (status.ok()) {
        ++moved_;
        status = batch[i].Ack();
      }
      first.Update(status);
    }
    return first;
  }

  const MoveArguments& arguments_;
  PullConsumer& consumer_;
  Producer& producer_;
  int64_t moved_ = 0;
};

int Move(const MoveArguments& arguments) {
  WatchSignals();
  auto to = MessagingAccessPoint::Connect(arguments.to_url);
  if (!to.ok()) return Fail(to.status());
  auto producer = to->CreateProducer();
  if (!producer.ok()) return Fail(producer.status());
  // Before anything is taken out: what cannot be sent on is not touched.
  if (auto known = to->capabilities(arguments.target()); !known.ok()) {
    return Fail(
        WithAdvice(known.status(), arguments.to_url, arguments.target()));
  }
  auto from = MessagingAccessPoint::Connect(arguments.from_url);
  if (!from.ok()) return Fail(from.status());
  auto consumer = from->CreatePullConsumer({.group = arguments.group});
  if (!consumer.ok()) return Fail(consumer.status());
  if (auto status = consumer->Bind(arguments.from); !status.ok()) {
    return Fail(WithAdvice(status, arguments.from_url, arguments.from));
  }

  Mover mover(arguments, *consumer, *producer);
  const absl::Status status = mover.Run();
  int code = kDone;
  if (status.ok() || mover.moved() > 0) {
    code = PrintResult(internal::Concat(
        "moved ", FormatCount(static_cast<uint64_t>(mover.moved()), "message"),
        " to ", internal::Printable(arguments.target()), '\n'));
  }
  if (!status.ok()) {
    return Fail(WithAdvice(status, arguments.to_url, arguments.target()));
  }
  return EndedBy() == 0 ? code : kSignalled + EndedBy();
}

constexpr const char* kMoveExamples =
    R"(Body, key, properties, priority, expiry and the id of its origin go along; what
the other broker has no place for fails with 1600, or is left out where its URL
says ?lenient=on. A message is sent before it is taken out: where this is
killed some may be in both queues, but none is lost.

Examples:
  oms move oms:kafka://127.0.0.1:9092 orders oms:rabbitmq://127.0.0.1:5672
  oms move oms:file:/tmp/shop orders oms:file:/tmp/archive old.orders --max 100)";

}  // namespace

void AddMoveCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<MoveArguments>();
  CLI::App* const command = app.add_subcommand(
      "move", "Move messages to another queue or another broker");
  command
      ->add_option("FROM", arguments->from_url,
                   "where the messages are, for example oms:file:/dir")
      ->required();
  command->add_option("QUEUE", arguments->from, "the queue that has them")
      ->required();
  command->add_option("TO", arguments->to_url, "where they go")->required();
  command->add_option("TO-QUEUE", arguments->to,
                      "the queue that gets them (one of the same name)");
  command
      ->add_option("--group", arguments->group,
                   "as a member of this group, which shares them (default)")
      ->type_name("GROUP");
  AddNumber(*command, "--max", arguments->max, 1,
            std::numeric_limits<int64_t>::max(),
            "end after so many messages (no limit)");
  AddTime(*command, "--timeout", arguments->timeout,
          "end when nothing came for so long (2s)");
  command->footer(kMoveExamples);
  command->callback(
      [arguments, &work] { work = [arguments] { return Move(*arguments); }; });
}

}  // namespace openmessaging::tools
