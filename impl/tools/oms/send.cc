// SPDX-License-Identifier: Apache-2.0
//
// oms send: puts messages into a queue and prints the id of each.

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "arguments.h"
#include "command.h"
#include "line_reader.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/limits.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "progress.h"
#include "read_file.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

// What is sent together, so that one flush of the queue serves all of it. A
// larger message goes alone.
constexpr size_t kBatchMessages = 512;
constexpr size_t kBatchBytes = size_t{1} << 20;

struct SendOptions {
  std::string url;
  std::string queue;
  std::optional<std::string> body;
  std::optional<std::string> file;
  bool stdin_lines = false;
  bool made_up = false;  // Bodies of size_bytes.
  size_t size_bytes = 100;
  int64_t count = 1;
  std::string key;
  KeyValue properties{};
  int64_t priority = 0;  // 0: it is not set.
  std::string deduplication_id;
  size_t durability = 0;  // As in the enumeration.
  std::chrono::milliseconds delay{0};
  std::chrono::milliseconds expire{0};
  bool json = false;
};

// Returns: text of that many bytes which says which message it is.
std::string MakeBody(int64_t number, int64_t count, size_t size_bytes) {
  std::string body = Concat("message ", number, " of ", count, ' ');
  body.reserve(size_bytes);
  for (size_t i = 0; body.size() < size_bytes; ++i) {
    body.push_back(static_cast<char>('a' + i % 26));
  }
  body.resize(size_bytes);
  return body;
}

// Sends what the options say, batch by batch.
class Sender {
 public:
  Sender(const SendOptions& options, Producer& producer)
      : options_(options), producer_(producer), progress_(WantsProgress()) {}

  int SendLines() {
    LineReader reader(STDIN_FILENO);
    for (;;) {
      const std::vector<std::string> lines =
          reader.Take(kBatchMessages, kBatchBytes);
      if (lines.empty()) break;
      for (const std::string& line : lines) Add(line);
      if (!SendBatch("line")) return kFailed;
    }
    progress_.Erase();
    const absl::Status status = reader.status();
    return status.ok() ? static_cast<int>(kDone) : Fail(status);
  }

  int SendBodies() {
    std::string body;
    if (options_.body) body = *options_.body;
    if (options_.file) {
      auto bytes = ReadFile(*options_.file, kMaxBodyBytes, "--file");
      if (!bytes.ok()) return Fail(bytes.status());
      body = *std::move(bytes);
    }
    for (int64_t i = 1; i <= options_.count; ++i) {
      if (options_.made_up) {
        body = MakeBody(i, options_.count, options_.size_bytes);
      }
      const bool full = batch_.size() == kBatchMessages ||
                        batch_bytes_ + body.size() > kBatchBytes;
      if (full && !SendBatch("message")) return kFailed;
      Add(body);
    }
    return SendBatch(options_.count == 1 ? "" : "message") ? kDone : kFailed;
  }

 private:
  // The ids are progress enough where somebody sees them; and who types the
  // lines has no use for a line between them.
  bool WantsProgress() const {
    return isatty(STDOUT_FILENO) == 0 &&
           !(options_.stdin_lines && isatty(STDIN_FILENO) == 1);
  }

  void Add(std::string_view body) {
    Message& message = batch_.emplace_back(options_.queue, body);
    if (!options_.key.empty()) message.SetMessageKey(options_.key);
    if (!options_.properties.empty()) {
      message.SetProperties(options_.properties);
    }
    if (options_.priority != 0) {
      message.SetPriority(static_cast<int>(options_.priority));
    }
    if (!options_.deduplication_id.empty()) {
      message.SetDeduplicationId(options_.deduplication_id);
    }
    message.SetDurability(static_cast<Durability>(options_.durability));
    if (options_.delay.count() > 0) message.SetDelay(options_.delay);
    if (options_.expire.count() > 0) ExpireAfter(message, options_.expire);
    batch_bytes_ += body.size();
  }

  // Sends what was added and prints the results in order. Returns: false when a
  // message was not acknowledged or nobody reads the results: send no more.
  bool SendBatch(std::string_view noun) {
    if (batch_.empty()) return true;
    const auto results = producer_.Send(batch_);
    std::string lines;
    absl::Status failure;
    size_t failed_at = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].ok()) {
        AppendResult(*results[i], lines);
      } else if (failure.ok()) {
        failure = results[i].status();
        failed_at = i;
      }
    }
    const absl::Status printed = Print(lines);
    if (!failure.ok() || !printed.ok()) progress_.Erase();
    if (!failure.ok()) {
      const auto number = sent_ + static_cast<int64_t>(failed_at) + 1;
      PrintError(WithAdvice(failure, options_.url, options_.queue),
                 noun.empty() ? "" : Concat(noun, ' ', number, ": "));
    }
    if (!printed.ok()) PrintError(printed);
    sent_ += static_cast<int64_t>(batch_.size());
    batch_.clear();
    batch_bytes_ = 0;
    if (!failure.ok() || !printed.ok()) return false;
    if (progress_.IsDue()) ShowProgress();
    return true;
  }

  void ShowProgress() {
    const auto sent = static_cast<uint64_t>(sent_);
    if (options_.stdin_lines) {
      progress_.Show(Concat("sending: ", FormatCount(sent, "line")));
    } else if (sent_ < options_.count) {
      progress_.Show(ProgressText(
          "sending", sent, static_cast<uint64_t>(options_.count), "messages"));
    }
  }

  void AppendResult(const SendResult& result, std::string& lines) const {
    if (!options_.json) {
      lines += result.message_id.ToString() + "\n";
    } else {
      nlohmann::ordered_json object;
      object["message_id"] = result.message_id.ToString();
      object["queue"] = options_.queue;
      object["partition"] = result.partition;
      object["offset"] = result.offset;
      if (result.duplicate) object["duplicate"] = true;
      lines += JsonLine(object);
    }
  }

  const SendOptions& options_;
  Producer& producer_;
  std::vector<Message> batch_;
  size_t batch_bytes_ = 0;
  int64_t sent_ = 0;  // Messages of earlier batches.
  Progress progress_;
};

int Send(const SendOptions& options) {
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return Fail(bus.status());
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return Fail(producer.status());
  Sender sender(options, *producer);
  return options.stdin_lines ? sender.SendLines() : sender.SendBodies();
}

// Checks that there is one body, of one kind.
void CheckSource(SendOptions& options, bool has_size, bool has_count) {
  const int sources = (options.body ? 1 : 0) + (options.file ? 1 : 0) +
                      (options.stdin_lines ? 1 : 0) + (has_size ? 1 : 0);
  if (sources > 1) {
    throw CLI::ValidationError(
        "send",
        "there are several bodies; expected one of BODY, --file, "
        "--stdin-lines and --size");
  }
  if (options.stdin_lines && has_count) {
    throw CLI::ValidationError(
        "send", "--count does not go with --stdin-lines; expected one of them");
  }
  if (sources == 0 && !has_count) {
    throw CLI::ValidationError(
        "send",
        "there is no body; expected BODY, --file, --stdin-lines, "
        "--size or --count");
  }
  options.made_up = has_size || sources == 0;
}

// Returns: what a text means, as the JSON form of a message has it: a number, a
// truth value, else the text itself.
Value ValueOf(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  if (int64_t whole = 0; internal::ParseInteger(text, whole)) return whole;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == end &&
                         std::isfinite(number);
  if (is_number) return number;
  return std::string_view(text);
}

// Adds NAME=VALUE.
void AddProperty(KeyValue& properties, const std::string& text) {
  const size_t equals = text.find('=');
  absl::Status status = absl::InvalidArgumentError("no \"=\"");
  if (equals != std::string::npos) {
    status = properties.Put(text.substr(0, equals),
                            ValueOf(text.substr(equals + 1)));
  }
  if (status.ok()) return;
  throw CLI::ValidationError(
      "--property", Concat("value is \"", internal::Printable(text),
                           "\"; expected NAME=VALUE"));
}

constexpr const char* kSendExamples =
    R"(An id is printed once the queue has acknowledged the message. A queue is
created by "oms queue create", never by sending. With --stdin-lines, a line
that fails ends the sending: the error names it, and later ones are not sent.

Examples:
  oms send oms:file:/tmp/shop orders '42 apples'
  oms send oms:file:/tmp/shop orders --file order.pdf --key customer-7
  oms send oms:file:/tmp/shop orders apples --property kg=2.5
  tail -f app.log | oms send oms:file:/tmp/shop logs --stdin-lines --json
  oms send oms:file:/tmp/shop orders 'are you there?' --delay 10m --expire 1h
  oms send oms:file:/tmp/shop orders --count 1000 --size 1KiB)";

}  // namespace

void AddSendCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<SendOptions>();
  CLI::App* const command =
      app.add_subcommand("send", "Send messages and print the id of each");
  AddUrl(*command, options->url);
  AddQueue(*command, options->queue)->required();
  command->add_option("BODY", options->body, "the body of the message");
  command
      ->add_option("--file", options->file,
                   "the body is in this file; - is standard input")
      ->type_name("FILE");
  command->add_flag("--stdin-lines", options->stdin_lines,
                    "each line of standard input is a message");
  AddNumber(*command, "--count", options->count, 0,
            std::numeric_limits<int64_t>::max(), "send so many messages (1)");
  AddSize(*command, "--size", options->size_bytes, kMaxBodyBytes,
          "send made-up bodies of so many bytes (100)");
  command
      ->add_option("--key", options->key,
                   "messages with the same key keep their order")
      ->type_name("KEY");
  command
      ->add_option_function<std::vector<std::string>>(
          "--property",
          [options](const std::vector<std::string>& all) {
            for (const std::string& one : all) {
              AddProperty(options->properties, one);
            }
          },
          "for filters and receivers: a number, true, false or a\n"
          "text; may be given more than once")
      ->type_name("NAME=VALUE");
  AddNumber(*command, "--priority", options->priority, 1, 10,
            "10 is delivered first (5); the queue must have\n"
            "been created with priorities");
  command
      ->add_option("--dedup-id", options->deduplication_id,
                   "a message with an id that came before within the\n"
                   "queue's window is not stored again; the id of the\n"
                   "first one is printed")
      ->type_name("ID");
  AddChoice(*command, "--durability", "HOW", options->durability,
            {"default", "volatile", "process", "disk"},
            "disk (survives a power loss), process (kill -9),\n"
            "volatile, or default: what the queue has");
  AddTime(*command, "--delay", options->delay,
          "deliver it after so long; \"oms cancel\" withdraws it");
  AddTime(*command, "--expire", options->expire,
          "do not deliver it any more after so long");
  command->add_flag("--json", options->json,
                    "print message_id, queue, partition, offset as JSON");
  command->footer(kSendExamples);
  command->callback([command, options, &work] {
    CheckSource(*options, command->count("--size") > 0,
                command->count("--count") > 0);
    work = [options] { return Send(*options); };
  });
}

}  // namespace openmessaging::tools
