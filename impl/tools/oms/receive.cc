// SPDX-License-Identifier: Apache-2.0
//
// oms receive: takes messages out of a queue and prints them.

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/json.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "signals.h"

namespace openmessaging::tools {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

struct ReceiveOptions {
  std::string url;
  std::string queue;
  std::string group = "default";
  std::string filter{};
  size_t start = 0;  // As in StartPosition.
  int64_t max = std::numeric_limits<int64_t>::max();
  milliseconds timeout{5000};
  bool no_ack = false;
  bool json = false;
};

// Waits for one message, but returns early when a signal came.
absl::StatusOr<std::optional<Delivery>> ReceiveOne(PullConsumer& consumer,
                                                   milliseconds timeout) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    const auto waited =
        std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    const milliseconds left = std::max(timeout - waited, milliseconds(0));
    auto received = consumer.Receive(std::min(left, kSignalCheck));
    if (!received.ok() || received->has_value() || EndedBy() != 0 ||
        left <= kSignalCheck) {
      return received;
    }
  }
}

int ReceiveAll(const ReceiveOptions& options, PullConsumer& consumer) {
  std::string line;
  for (int64_t count = 0; count < options.max && EndedBy() == 0; ++count) {
    auto received = ReceiveOne(consumer, options.timeout);
    if (!received.ok()) return Fail(received.status());
    if (!received->has_value()) break;
    Delivery& delivery = **received;
    if (options.json) {
      line = ToJson(delivery.message());
    } else {
      line = delivery.message().body();
    }
    line.push_back('\n');
    // Only what was printed is acknowledged: a message may be printed twice,
    // but none is lost.
    if (auto status = Print(line); !status.ok()) return Fail(status);
    if (options.no_ack) continue;
    if (auto status = delivery.Ack(); !status.ok()) return Fail(status);
  }
  return EndedBy() == 0 ? static_cast<int>(kDone) : kSignalled + EndedBy();
}

int Receive(const ReceiveOptions& options) {
  WatchSignals();
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return Fail(bus.status());
  auto consumer = bus->CreatePullConsumer(
      {.group = options.group,
       .start = static_cast<StartPosition>(options.start)});
  if (!consumer.ok()) return Fail(consumer.status());
  if (auto status = consumer->Bind(options.queue, {.filter = options.filter});
      !status.ok()) {
    return Fail(WithAdvice(status, options.url, options.queue));
  }
  return ReceiveAll(options, *consumer);
}

constexpr const char* kReceiveExamples =
    R"(A message is acknowledged once it has been printed. One that is not
(--no-ack, a crash) comes back to another member of its group.

Examples:
  oms receive oms:file:/tmp/shop orders
  oms receive oms:file:/tmp/shop orders --group billing --max 1 --json
  oms receive oms:file:/tmp/shop orders --from latest --timeout 1h
  oms receive oms:file:/tmp/shop orders --group big --filter 'price > 100')";

}  // namespace

void AddReceiveCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<ReceiveOptions>();
  CLI::App* const command = app.add_subcommand(
      "receive", "Print messages and acknowledge each one printed");
  AddUrl(*command, options->url);
  AddQueue(*command, options->queue)->required();
  command
      ->add_option("--group", options->group,
                   "members of a group share the messages (default)")
      ->type_name("GROUP");
  command
      ->add_option("--filter", options->filter,
                   "settle unprinted what this SQL condition is not for")
      ->type_name("EXPRESSION");
  AddChoice(*command, "--from", "WHERE", options->start, {"earliest", "latest"},
            "where a new group begins: latest or (earliest)");
  AddNumber(*command, "--max", options->max, 1,
            std::numeric_limits<int64_t>::max(),
            "end after so many messages (no limit)");
  AddTime(*command, "--timeout", options->timeout,
          "end when nothing came for so long (5s)");
  command->add_flag("--no-ack", options->no_ack,
                    "leave the messages in the queue");
  command->add_flag("--json", options->json,
                    "print all fields as JSON, not the body alone");
  command->footer(kReceiveExamples);
  command->callback(
      [options, &work] { work = [options] { return Receive(*options); }; });
}

}  // namespace openmessaging::tools
