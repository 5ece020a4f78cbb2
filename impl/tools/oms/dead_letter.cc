// SPDX-License-Identifier: Apache-2.0
//
// oms dead-letter: shows what is in a dead-letter queue, and moves it back to
// where it came from.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/dead_letter.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/json.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "signals.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;
using std::chrono::milliseconds;

constexpr size_t kTakenAtOnce = 256;
// Of a body, in a table for people.
constexpr size_t kShownBytes = 40;

struct DeadLetterArguments {
  std::string url;
  std::string queue;
  std::string group = "default";
  int64_t max = std::numeric_limits<int64_t>::max();
  milliseconds timeout{500};
  bool json = false;
  std::string to{};  // Empty: where each came from.
  std::vector<std::string> ids{};
};

absl::StatusOr<PullConsumer> OpenQueue(const DeadLetterArguments& arguments,
                                       const MessagingAccessPoint& bus) {
  auto consumer = bus.CreatePullConsumer({.group = arguments.group});
  if (!consumer.ok()) return consumer.status();
  if (auto status = consumer->Bind(arguments.queue); !status.ok()) {
    return WithAdvice(status, arguments.url, arguments.queue);
  }
  return consumer;
}

// Takes what is there, until nothing comes any more, `max` were taken or a
// signal came. `take` returns false to stop.
template <typename Take>
absl::Status TakeAll(const DeadLetterArguments& arguments,
                     PullConsumer& consumer, const Take& take) {
  int64_t left = arguments.max;
  while (left > 0 && EndedBy() == 0) {
    auto batch = consumer.ReceiveBatch(
        std::min(kTakenAtOnce, static_cast<size_t>(left)), arguments.timeout);
    if (!batch.ok()) return batch.status();
    if (batch->empty()) break;
    left -= static_cast<int64_t>(batch->size());
    for (Delivery& delivery : *batch) {
      auto status = take(delivery);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

std::string TextOf(const Message& message, std::string_view property) {
  const auto text = message.properties().Get<std::string>(property);
  return text.ok() && !text->empty() ? internal::Printable(*text) : "-";
}

std::string NumberOf(const Message& message, std::string_view property) {
  const auto number = message.properties().Get<int64_t>(property);
  return number.ok() ? Concat(*number) : "-";
}

// The beginning of a body, in one line.
std::string Shown(std::string_view body) {
  const bool cut = body.size() > kShownBytes;
  return internal::Printable(body.substr(0, kShownBytes)) + (cut ? "..." : "");
}

Table::Row RowOf(const Message& message) {
  return {message.message_id().ToString(),
          TextOf(message, kDeadReason),
          TextOf(message, kDeadQueue),
          TextOf(message, kDeadGroup),
          NumberOf(message, kDeadDeliveries),
          Shown(message.body())};
}

int List(const DeadLetterArguments& arguments) {
  WatchSignals();
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  auto consumer = OpenQueue(arguments, *bus);
  if (!consumer.ok()) return Fail(consumer.status());
  Table table;
  table.Add({"id", "reason", "from", "group", "deliveries", "body"});
  std::string lines;
  const absl::Status status =
      TakeAll(arguments, *consumer, [&](const Delivery& delivery) {
        if (arguments.json) {
          lines += ToJson(delivery.message()) + '\n';
        } else {
          table.Add(RowOf(delivery.message()));
        }
        return absl::OkStatus();
      });
  // Gives all of it back.
  consumer->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  if (!status.ok()) return Fail(status);
  if (!arguments.json && table.size() > 1) lines = table.ToText();
  const int code = PrintResult(lines);
  return EndedBy() == 0 ? code : kSignalled + EndedBy();
}

// Returns: the message as it goes back: what tells of its death is not part of
// it any more, its origin is. Nor is its deduplication id, by which it would
// count as the message that it was.
Message Revived(const Message& letter, std::string_view to) {
  Message message(letter);
  message.SetDestination(to);
  KeyValue properties;
  for (const auto& [key, value] : letter.properties()) {
    if (key.starts_with(kDeadPrefix)) continue;
    properties.Put(key, value).IgnoreError();  // It was one before.
  }
  message.SetProperties(properties);
  message.SetDeduplicationId({});
  return message;
}

// What became of what was there.
struct Outcome {
  // By origin: what died again meanwhile is not moved twice, for ever.
  std::set<std::string> seen{};
  std::map<std::string, int64_t> moved{};  // By queue.
  int64_t homeless = 0;
};

std::string Summary(const Outcome& outcome) {
  std::string text;
  for (const auto& [queue, count] : outcome.moved) {
    text += Concat("moved ",
                   FormatCount(static_cast<uint64_t>(count), "message"), " to ",
                   internal::Printable(queue), '\n');
  }
  return text.empty() ? "moved nothing\n" : text;
}

std::string OriginOf(const Message& message) {
  const MessageId origin = message.origin_id();
  return (origin.empty() ? message.message_id() : origin).ToString();
}

absl::Status Requeue(const DeadLetterArguments& arguments,
                     const MessagingAccessPoint& bus, Producer& producer,
                     Delivery& delivery, Outcome& outcome) {
  const Message& letter = delivery.message();
  if (!outcome.seen.insert(OriginOf(letter)).second) return absl::OkStatus();
  const std::string id = letter.message_id().ToString();
  if (!arguments.ids.empty() &&
      std::find(arguments.ids.begin(), arguments.ids.end(), id) ==
          arguments.ids.end()) {
    return absl::OkStatus();
  }
  std::string to = arguments.to;
  if (to.empty()) {
    to = letter.properties().GetOr(kDeadQueue, "");
  }
  if (to.empty()) {
    ++outcome.homeless;
    return absl::OkStatus();
  }
  const auto capabilities = bus.capabilities(to);
  if (!capabilities.ok()) return capabilities.status();
  const Message revived = Revived(letter, to);
  if (capabilities->Has(Capability::kTransactionLocal)) {
    const auto moved = producer.Transact([&](LocalTransaction& tx) {
      auto status = tx.Send(revived);
      if (status.ok()) status = tx.Ack(delivery);
      return status;
    });
    if (!moved.ok()) return WithAdvice(moved.status(), arguments.url, to);
  } else {
    // Sent before it is acknowledged: it may be there twice, but is never lost.
    const auto sent = producer.Send(revived);
    if (!sent.ok()) return WithAdvice(sent.status(), arguments.url, to);
    if (auto status = delivery.Ack(); !status.ok()) return status;
  }
  ++outcome.moved[to];
  return absl::OkStatus();
}

int RequeueAll(const DeadLetterArguments& arguments) {
  WatchSignals();
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return Fail(producer.status());
  auto consumer = OpenQueue(arguments, *bus);
  if (!consumer.ok()) return Fail(consumer.status());
  Outcome outcome;
  const absl::Status status =
      TakeAll(arguments, *consumer, [&](Delivery& delivery) {
        return Requeue(arguments, *bus, *producer, delivery, outcome);
      });
  const int code = PrintResult(Summary(outcome));
  if (!status.ok()) return Fail(status);
  if (outcome.homeless > 0) {
    return Fail(MakeStatus(
        Code::kBadParameter, "requeue \"", std::string_view(arguments.queue),
        "\": ",
        FormatCount(static_cast<uint64_t>(outcome.homeless), "message"),
        " did not come from another queue and stayed; expected --to QUEUE"));
  }
  return EndedBy() == 0 ? code : kSignalled + EndedBy();
}

void AddCommon(CLI::App& command, DeadLetterArguments& arguments) {
  AddUrl(command, arguments.url);
  AddQueue(command, arguments.queue)->required();
  command
      .add_option("--group", arguments.group,
                  "as a member of this group, which shares them (default)")
      ->type_name("GROUP");
  AddNumber(command, "--max", arguments.max, 1,
            std::numeric_limits<int64_t>::max(),
            "end after so many messages (no limit)");
  AddTime(command, "--timeout", arguments.timeout,
          "end when nothing came for so long (500ms)");
}

void AddList(CLI::App& command,
             const std::shared_ptr<DeadLetterArguments>& arguments,
             Work& work) {
  CLI::App* const list = command.add_subcommand(
      "list", "Print what is in a dead-letter queue, and why");
  AddCommon(*list, *arguments);
  list->add_flag("--json", arguments->json,
                 "print all fields as JSON, one message a line");
  list->footer(
      R"(QUEUE is the dead-letter queue. The messages stay there; as with
"oms receive --no-ack", it counts as a delivery. What another member of the
group holds at the moment is not shown.

Examples:
  oms dead-letter list oms:file:/tmp/shop orders.dead
  oms dead-letter list oms:file:/tmp/shop orders.dead --json --max 10)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

void AddRequeue(CLI::App& command,
                const std::shared_ptr<DeadLetterArguments>& arguments,
                Work& work) {
  CLI::App* const requeue = command.add_subcommand(
      "requeue", "Move dead letters back to the queues they came from");
  AddCommon(*requeue, *arguments);
  requeue
      ->add_option("--to", arguments->to,
                   "to this queue (where each came from)")
      ->type_name("QUEUE");
  requeue
      ->add_option("--id", arguments->ids,
                   "only this message; may be given more than once (all)")
      ->type_name("ID");
  requeue->footer(
      R"(QUEUE is the dead-letter queue. Body, key, properties and origin go along,
the count of deliveries begins anew. Each message moves in one step where the
broker has local transactions (tx-local); elsewhere it is sent before it is
taken out, so that where this is killed one may be in both, but none is lost.

Examples:
  oms dead-letter requeue oms:file:/tmp/shop orders.dead
  oms dead-letter requeue oms:file:/tmp/shop orders.dead --to orders.manual
  oms dead-letter requeue oms:file:/tmp/shop orders.dead --id "$id")");
  requeue->callback([arguments, &work] {
    work = [arguments] { return RequeueAll(*arguments); };
  });
}

}  // namespace

void AddDeadLetterCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<DeadLetterArguments>();
  CLI::App* const command = app.add_subcommand(
      "dead-letter", "Show dead letters, and move them back");
  command->require_subcommand(1);
  command->footer(
      R"(Examples:
  oms dead-letter list oms:file:/tmp/shop orders.dead
  oms dead-letter requeue oms:file:/tmp/shop orders.dead)");
  AddList(*command, arguments, work);
  AddRequeue(*command, arguments, work);
}

}  // namespace openmessaging::tools
