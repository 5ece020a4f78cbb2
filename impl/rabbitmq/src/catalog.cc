// SPDX-License-Identifier: Apache-2.0

#include "catalog.h"

#include <utility>

#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::rabbitmq {
namespace {

using internal::Concat;

constexpr std::string_view kHead = "oms-catalog 1 ";
constexpr std::string_view kQueue = "queue ";

// Takes what is before `separator`, and that too.
std::string_view TakeUntil(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

absl::Status Damaged(std::string_view line) {
  return MakeStatus(Code::kDamaged, "read catalog \"",
                    std::string_view(internal::Printable(line)),
                    "\": not a line of one; expected version 1");
}

// Returns: whether the word could be read.
bool ReadOption(std::string_view word, CatalogQueue& queue) {
  const std::string_view name = TakeUntil(word, '=');
  if (name == "type") {
    queue.type = word == "classic" ? QueueType::kClassic : QueueType::kQuorum;
    return word == "classic" || word == "quorum";
  }
  if (name == "first") {
    queue.first_group = word;
  } else if (name == "dead") {
    queue.dead_letter_queue = word;
  } else if (name == "limit") {
    return internal::ParseInteger(word, queue.max_deliveries);
  } else if (name == "priorities") {
    queue.priorities = word == "on";
  } else if (name == "delays") {
    queue.delays = word == "on";
  } else if (name == "groups") {
    while (!word.empty()) queue.groups.emplace_back(TakeUntil(word, ','));
  }
  // What a later version has beside is not for this one.
  return true;
}

}  // namespace

std::string ToText(const Catalog& catalog) {
  std::string text = Concat(kHead, catalog.version, '\n');
  for (const auto& [name, queue] : catalog.queues) {
    text += Concat(kQueue, std::string_view(name), " type=",
                   queue.type == QueueType::kClassic ? "classic" : "quorum");
    if (!queue.first_group.empty()) {
      text += Concat(" first=", std::string_view(queue.first_group));
    }
    for (size_t i = 0; i < queue.groups.size(); ++i) {
      text +=
          Concat(i == 0 ? " groups=" : ",", std::string_view(queue.groups[i]));
    }
    if (queue.max_deliveries > 0)
      text += Concat(" limit=", queue.max_deliveries);
    if (!queue.dead_letter_queue.empty()) {
      text += Concat(" dead=", std::string_view(queue.dead_letter_queue));
    }
    if (queue.priorities) text += " priorities=on";
    if (queue.delays) text += " delays=on";
    text += '\n';
  }
  return text;
}

absl::StatusOr<Catalog> ParseCatalog(std::string_view text) {
  Catalog catalog;
  std::string_view line = TakeUntil(text, '\n');
  if (!line.starts_with(kHead) ||
      !internal::ParseInteger(line.substr(kHead.size()), catalog.version)) {
    return Damaged(line);
  }
  while (!text.empty()) {
    line = TakeUntil(text, '\n');
    std::string_view rest = line;
    if (!rest.starts_with(kQueue)) return Damaged(line);
    rest.remove_prefix(kQueue.size());
    const std::string name(TakeUntil(rest, ' '));
    CatalogQueue queue;
    while (!rest.empty()) {
      if (!ReadOption(TakeUntil(rest, ' '), queue)) return Damaged(line);
    }
    if (name.empty() || !catalog.queues.emplace(name, queue).second) {
      return Damaged(line);
    }
  }
  return catalog;
}

}  // namespace openmessaging::rabbitmq
