// SPDX-License-Identifier: Apache-2.0
//
// oms stream: prints the messages of a queue from a position on, beside all
// groups.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "arguments.h"
#include "command.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/json.h"
#include "openmessaging/limits.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "position.h"
#include "signals.h"

namespace openmessaging::tools {
namespace {

using std::chrono::milliseconds;

constexpr size_t kReadAtOnce = 256;

struct StreamOptions {
  std::string url;
  std::string queue;
  int64_t partition = -1;  // All of them.
  StreamPosition from = StreamPosition::Earliest();
  bool follow = false;
  bool json = false;
};

// The readers of the partitions that were asked for.
absl::StatusOr<std::vector<StreamReader>> OpenReaders(
    const StreamOptions& options, const MessagingAccessPoint& bus) {
  const auto count = bus.partitions(options.queue);
  if (!count.ok()) return count.status();
  int32_t first = 0;
  int32_t end = *count;
  if (options.partition >= 0) {
    first = static_cast<int32_t>(options.partition);
    end = first + 1;
  } else if (options.from.kind() == StreamPosition::Kind::kOffset && end > 1) {
    return MakeStatus(Code::kBadParameter, "read stream \"",
                      std::string_view(options.queue), "\": it has ", end,
                      " partitions, each with its own offsets; expected "
                      "--partition beside an offset");
  }
  std::vector<StreamReader> readers;
  for (int32_t partition = first; partition < end; ++partition) {
    auto reader =
        bus.CreateStreamReader(options.queue, partition, options.from);
    if (!reader.ok()) return reader.status();
    readers.push_back(*std::move(reader));
  }
  return readers;
}

std::string LinesOf(const std::vector<Message>& messages, bool json) {
  std::string lines;
  for (const Message& message : messages) {
    if (json) {
      lines += ToJson(message);
    } else {
      lines += message.body();
    }
    lines.push_back('\n');
  }
  return lines;
}

int PrintStreams(const StreamOptions& options,
                 std::vector<StreamReader>& readers) {
  // Whoever follows looks at one partition after the other.
  const milliseconds patience =
      options.follow
          ? std::max(kSignalCheck / static_cast<int64_t>(readers.size()),
                     milliseconds(1))
          : milliseconds(0);
  milliseconds timeout{0};  // Until all that is there was printed.
  while (EndedBy() == 0) {
    bool any = false;
    for (StreamReader& reader : readers) {
      const auto messages = reader.Read(kReadAtOnce, timeout);
      if (!messages.ok()) return Fail(messages.status());
      if (messages->empty()) continue;
      any = true;
      const auto printed = Print(LinesOf(*messages, options.json));
      if (!printed.ok()) return Fail(printed);
      if (EndedBy() != 0) break;
    }
    if (!any && !options.follow) break;
    timeout = any ? milliseconds(0) : patience;
  }
  return EndedBy() == 0 ? static_cast<int>(kDone) : kSignalled + EndedBy();
}

int Stream(const StreamOptions& options) {
  WatchSignals();
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return Fail(bus.status());
  auto readers = OpenReaders(options, *bus);
  if (!readers.ok()) {
    return Fail(WithAdvice(readers.status(), options.url, options.queue));
  }
  return PrintStreams(options, *readers);
}

}  // namespace

void AddStreamCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<StreamOptions>();
  CLI::App* const command = app.add_subcommand(
      "stream", "Print messages from a position on, beside all groups");
  AddUrl(*command, options->url);
  AddQueue(*command, options->queue)->required();
  AddNumber(*command, "--partition", options->partition, 0, kMaxPartitions - 1,
            "of this partition only (all, one after the other)");
  command
      ->add_option_function<std::string>(
          "--from",
          [options](const std::string& text) {
            options->from = ParsePosition("--from", text);
          },
          "earliest, latest, an offset, a time, or how long ago\n"
          "(earliest)")
      ->type_name("WHERE");
  command->add_flag("--follow", options->follow,
                    "go on with what is sent later, until interrupted");
  command->add_flag("--json", options->json,
                    "print all fields as JSON, not the body alone");
  command->footer(
      R"(Nothing is acknowledged or taken away from anybody: it can be read again.
Ends when all that is there was printed, unless it follows. Messages are in
order within a partition.

Examples:
  oms stream oms:file:/tmp/shop orders --json
  oms stream oms:file:/tmp/shop orders --from 10m --follow
  oms stream oms:file:/tmp/shop orders --partition 0 --from 42
  oms stream oms:file:/tmp/shop orders --from 2026-11-24T21:58:00Z)");
  command->callback(
      [options, &work] { work = [options] { return Stream(*options); }; });
}

}  // namespace openmessaging::tools
