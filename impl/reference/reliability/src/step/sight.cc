// SPDX-License-Identifier: Apache-2.0

#include "step/sight.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "openmessaging/internal/text.h"
#include "openmessaging/reference/inspect.h"
#include "openmessaging/status.h"

namespace openmessaging::reference::step {
namespace {

using internal::Concat;
using std::chrono::milliseconds;

constexpr char kBetween = '\x1f';
constexpr milliseconds kLook{10};
// Of a dead owner everything is back by then.
constexpr milliseconds kBack{200};
// So long more is waited for what must not come, or comes late.
constexpr milliseconds kMore{1000};
// What was put off is due by then.
constexpr std::chrono::hours kLater{2};

void Add(std::string& line, std::string_view word) {
  if (!line.empty()) line += ' ';
  line += word;
}

// Returns: all that is stored of a queue. Errors: throws where an offset is
// missing or comes twice.
std::string StreamOf(const MessagingAccessPoint& bus, std::string_view queue,
                     int64_t& end) {
  StreamReader reader = Want(bus.CreateStreamReader(queue, 0));
  std::string line;
  int64_t next = -1;
  std::vector<std::string> words;
  while (true) {
    const auto messages = Want(reader.Read(100, milliseconds(0)));
    if (messages.empty()) break;
    for (const Message& message : messages) {
      if (next >= 0 && message.offset() != next) {
        throw Wrong(Concat("queue ", queue, ": offset ", message.offset(),
                           " in place of ", next));
      }
      next = message.offset() + 1;
      words.push_back(
          Concat(message.offset(), '=', message.body().substr(0, 12)));
    }
  }
  // Of many the ends are enough, since there is no gap.
  for (size_t n = 0; n < words.size(); ++n) {
    if (words.size() < 80 || n < 10 || n + 10 >= words.size()) {
      Add(line, words[n]);
    }
  }
  end = Want(reader.range()).end;
  if (next >= 0 && next != end) {
    throw Wrong(
        Concat("queue ", queue, ": it ends at ", next, ", not at ", end));
  }
  return line;
}

// What came: for the first time, in its order, and again, by its place, since
// that comes whenever somebody looks.
struct Came {
  std::string first{};
  std::string again{};
};

// Receives what comes in `time`, and acknowledges it.
Came Drain(PullConsumer& consumer, milliseconds time) {
  Came came;
  std::map<int64_t, std::string> again;
  for (milliseconds passed{0}; passed <= time; passed += kLook) {
    while (true) {
      const auto batch = Want(consumer.ReceiveBatch(16, milliseconds(0)));
      if (batch.empty()) break;
      for (const Delivery& one : batch) {
        const std::string word =
            Concat(one->body().substr(0, 12), 'x', one->delivery_count(),
                   passed > kBack ? "!late" : "");
        if (one->delivery_count() == 1) {
          Add(came.first, word);
        } else if (!again.emplace(one->offset(), word).second) {
          throw Wrong(Concat(word, " came twice"));
        }
        Want(one.Ack());
      }
    }
    Pass(kLook);
  }
  for (const auto& [offset, word] : again) Add(came.again, word);
  return came;
}

PullConsumer ConsumerOf(const MessagingAccessPoint& bus, std::string_view group,
                        std::string_view queue) {
  PullConsumer consumer =
      Want(bus.CreatePullConsumer({.group = std::string(group)}));
  Want(consumer.Bind(queue));
  return consumer;
}

// Commits what was prepared and left.
std::string AnswerChecks(Shop& shop) {
  std::string line;
  if (shop.second == nullptr) shop.OpenSecond();
  const auto checks = Want(shop.transactions().OpenChecks(
      "shop", std::chrono::steady_clock::now() + milliseconds(500)));
  Pass(milliseconds(600));
  while (true) {
    const auto asked =
        Want(checks->Take(std::chrono::steady_clock::time_point::min()));
    if (!asked) break;
    Add(line, asked->body());
    Want(shop.transactions().Resolve(
        asked->transaction_id(), driver::TransactionSource::Decision::kCommit,
        std::chrono::steady_clock::now() + milliseconds(500)));
  }
  shop.second.reset();
  return line;
}

// What queues, routes and groups there are.
void SeeNames(const MessagingAccessPoint& bus, Sight& sight) {
  ResourceManager manager = bus.resource_manager();
  std::set<std::string> names;
  for (const QueueInfo& queue : Want(manager.ListQueues())) {
    names.insert(queue.name +
                 (queue.options.retention.count() != 0 ? "+" : ""));
  }
  for (const std::string& name : names) Add(sight["queues"], name);
  for (const Route& route : Want(manager.ListRoutes())) {
    Add(sight["routes"], route.source + '>' + route.target);
  }
  names.clear();
  for (const std::string& group : Want(manager.ListGroups("orders"))) {
    names.insert(group);
  }
  for (const std::string& group : names) Add(sight["groups"], group);
}

// Sends again what the operation may have sent: it is there once.
void SendOnce(Shop& shop) {
  Message message("once", "u1");
  message.SetDurability(Durability::kProcess);
  message.SetDeduplicationId("id");
  Want(shop.producer->Send(message).status());
}

// What another handle finds, which must be what the first one does (I20).
void CompareHandles(Shop& shop) {
  Shop other(shop.directory);
  other.Open();
  for (const char* const queue : kQueues) {
    int64_t end = 0;
    const std::string mine = StreamOf(*shop.bus, queue, end);
    const std::string theirs = StreamOf(*other.bus, queue, end);
    if (mine != theirs) {
      throw Wrong(Concat("queue ", queue, ": one handle sees ", mine,
                         ", another ", theirs));
    }
    const QueueStats first = Want(shop.bus->resource_manager().Stats(queue));
    const QueueStats second = Want(other.bus->resource_manager().Stats(queue));
    bool same = first.depth == second.depth && first.bytes == second.bytes &&
                first.groups.size() == second.groups.size();
    for (size_t n = 0; same && n < first.groups.size(); ++n) {
      same = first.groups[n].group == second.groups[n].group &&
             first.groups[n].lag == second.groups[n].lag &&
             first.groups[n].leased == second.groups[n].leased;
    }
    if (!same) {
      throw Wrong(Concat("queue ", queue, ": two handles count otherwise"));
    }
  }
  PullConsumer again = ConsumerOf(*other.bus, "billing", "orders");
  const auto more = Want(again.ReceiveBatch(16, milliseconds(0)));
  if (!more.empty()) {
    throw Wrong(
        Concat("another handle gets ", more[0]->body(), ", which was settled"));
  }
}

}  // namespace

std::string ToLine(const Sight& sight) {
  std::string line;
  for (const auto& [name, words] : sight) {
    line += Concat(name, ": ", words, kBetween);
  }
  return line;
}

Sight FromLine(const std::string& line) {
  Sight sight;
  std::istringstream in(line);
  for (std::string entry; std::getline(in, entry, kBetween);) {
    const size_t colon = entry.find(": ");
    if (colon != std::string::npos) {
      sight[entry.substr(0, colon)] = entry.substr(colon + 2);
    }
  }
  return sight;
}

Sight SeeStored(Shop& shop) {
  Sight sight;
  if (!shop.bus) shop.Open();
  for (const char* const queue : kQueues) {
    int64_t end = 0;
    sight[queue] = StreamOf(*shop.bus, queue, end);
  }
  return sight;
}

Sight GoOn(Shop& shop) {
  Sight sight;
  if (!shop.bus) {
    shop.Open();
    if (Want(shop.bus->resource_manager().ListQueues()).empty()) {
      shop.MakeQueues();
    }
  }
  // Whoever appends finishes what the dead one had begun.
  shop.Send("log", "probe");
  if (!shop.consumer) {
    shop.consumer.emplace(ConsumerOf(*shop.bus, "billing", "orders"));
  }
  const Came billing = Drain(*shop.consumer, kBack + kMore);
  sight["billing"] = billing.first;
  sight["again"] = billing.again;
  for (const Delivery& mine : shop.held) {
    const absl::Status settled = mine.Ack();
    Add(sight["held"],
        Concat(mine->body(), ':',
               settled.ok() ? 0 : static_cast<int>(OmsCode(settled))));
  }
  shop.held.clear();
  const InspectReport report = Want(InspectStore(shop.directory));
  sight["undecided"] = std::to_string(report.undecided);
  sight["delayed"] = std::to_string(report.delayed);
  Pass(kLater);
  const Came later = Drain(*shop.consumer, kLook);
  sight["later"] = later.first + later.again;
  sight["asked"] = AnswerChecks(shop);
  {
    PullConsumer undertaker = ConsumerOf(*shop.bus, "undertaker", "dead");
    sight["buried"] = Drain(undertaker, kLook).first;
  }
  SeeNames(*shop.bus, sight);
  SendOnce(shop);
  // Nobody who lives has it.
  Want(Want(shop.bus->CreatePullConsumer({.group = "solo", .exclusive = true}))
           .Bind("bills"));
  int64_t orders = 0;
  for (const char* const queue : kQueues) {
    int64_t end = 0;
    sight[queue] = StreamOf(*shop.bus, queue, end);
    if (std::string_view(queue) == "orders") orders = end;
  }
  const int64_t offset = shop.Send("orders", "onward");
  if (offset != orders) {
    throw Wrong(
        Concat("the next order got offset ", offset, " in place of ", orders));
  }
  if (Drain(*shop.consumer, kLook).first != "onwardx1") {
    throw Wrong("what was sent did not come");
  }
  CompareHandles(shop);
  return sight;
}

namespace {

std::vector<std::string> WordsOf(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

// A word that begins with '=' may stand behind any offset.
bool Fits(const std::string& word, std::string_view wanted) {
  if (!wanted.starts_with('=')) return word == wanted;
  return word.find(wanted) != std::string::npos;
}

std::string Explain(const std::string& name, const std::string& before,
                    const std::string& after, const std::string& found) {
  return Concat(name, ": found \"", found, "\", before \"", before,
                "\", after \"", after, "\"; ");
}

// Whether a queue may look like that while it loses its oldest messages and
// perhaps gets a new one.
bool IsOnTheWay(const std::string& before, const std::string& after,
                const std::string& found) {
  if (found.empty() || before.ends_with(found)) return true;
  const size_t common = before.find(after.substr(0, after.find(' ')));
  const std::string whole = before.substr(0, common) + after;
  return whole.ends_with(found) && found.size() >= after.size();
}

// What a group got, by body: each once, for the first time or again.
std::map<std::string, std::string> ByBody(const Sight& sight) {
  std::map<std::string, std::string> words;
  for (const char* const line : {"billing", "again", "later"}) {
    for (const std::string& word : WordsOf(sight.at(line))) {
      const std::string body = word.substr(0, word.rfind('x'));
      if (!words.emplace(body, word).second) {
        throw Wrong(Concat(body, " came twice"));
      }
    }
  }
  return words;
}

// Returns: what is wrong where each delivery stands for itself.
std::string CompareEach(const Operation& operation, const Sight& before,
                        const Sight& after, const Sight& found) {
  std::string wrong;
  const auto old_words = ByBody(before);
  const auto new_words = ByBody(after);
  const auto words = ByBody(found);
  for (const auto& [body, word] : words) {
    const auto old_word = old_words.find(body);
    const auto new_word = new_words.find(body);
    if ((old_word == old_words.end() || old_word->second != word) &&
        (new_word == new_words.end() || new_word->second != word)) {
      wrong += Concat("unexpected: ", word, "; ");
    }
  }
  for (const auto& [body, word] : old_words) {
    if (!words.contains(body) && new_words.contains(body)) {
      wrong += Concat("lost: ", body, "; ");
    }
  }
  for (const auto& [name, line] : found) {
    if (name == "billing" || name == "again" || name == "later") continue;
    if (operation.retires &&
        IsOnTheWay(before.at(name), after.at(name), line)) {
      continue;
    }
    if (before.at(name) != line && after.at(name) != line) {
      wrong += Explain(name, before.at(name), after.at(name), line);
    }
  }
  return wrong;
}

}  // namespace

std::string CompareEnds(const Operation& operation, const Sight& before,
                        const Sight& after) {
  std::string wrong;
  std::map<std::string, std::set<std::string>> gone;
  std::map<std::string, std::set<std::string>> come;
  for (const auto& [name, line] : before) {
    const std::vector<std::string> words = WordsOf(line);
    gone[name] = {words.begin(), words.end()};
  }
  for (const auto& [name, line] : after) {
    for (const std::string& word : WordsOf(line)) {
      if (gone[name].erase(word) == 0) come[name].insert(word);
    }
  }
  for (const Difference& difference : operation.differences) {
    std::set<std::string>& words =
        (difference.comes ? come : gone)[std::string(difference.line)];
    if (std::erase_if(words, [&](const std::string& word) {
          return Fits(word, difference.word);
        }) == 0) {
      wrong +=
          Concat(difference.line, " should ",
                 difference.comes ? "get " : "lose ", difference.word, "; ");
    }
  }
  if (operation.loose) return wrong;
  // Where the operation sends to the log, the probe lies behind that.
  const auto tell = [&](const auto& all, std::string_view what) {
    for (const auto& [name, words] : all) {
      for (const std::string& word : words) {
        if (word.ends_with("=probe")) continue;
        wrong += Concat(name, " should not ", what, ' ', word, "; ");
      }
    }
  };
  tell(come, "get");
  tell(gone, "lose");
  return wrong;
}

std::string CompareStored(const Operation& operation, const Sight& before,
                          const Sight& after, const Sight& found) {
  std::string wrong;
  bool is_before = true;
  bool is_after = true;
  for (const char* const queue : kQueues) {
    const std::string& line = found.at(queue);
    const bool as_before =
        line == before.at(queue) ||
        (operation.retires &&
         IsOnTheWay(before.at(queue), after.at(queue), line));
    const bool as_after = line == after.at(queue);
    is_before = is_before && as_before;
    is_after = is_after && as_after;
    if (!as_before && !as_after) {
      wrong += Explain(queue, before.at(queue), after.at(queue), line);
    }
  }
  if (wrong.empty() && operation.atomic && !is_before && !is_after) {
    wrong = "some queues are as before and some as after";
  }
  return wrong;
}

std::string CompareWithLog(const Operation& operation, const Sight& found,
                           const Sight& stored) {
  std::string wrong;
  for (const auto& [queue, line] : stored) {
    std::vector<std::string> seen = WordsOf(found.at(queue));
    std::vector<std::string> words = WordsOf(line);
    if (queue == "orders") {
      if (words.empty() || !words.back().ends_with("=onward")) {
        wrong += "the last order is not in the log; ";
        continue;
      }
      words.pop_back();
    }
    if (operation.retires) {
      // The ends, as far as both have them.
      const size_t common = std::min({seen.size(), words.size(), size_t{5}});
      seen.erase(seen.begin(),
                 seen.end() - static_cast<std::ptrdiff_t>(common));
      words.erase(words.begin(),
                  words.end() - static_cast<std::ptrdiff_t>(common));
    }
    if (seen != words) {
      wrong += Concat(queue, ": seen \"", found.at(queue), "\", in the log \"",
                      line, "\"; ");
    }
  }
  return wrong;
}

std::string Compare(const Operation& operation, const Sight& before,
                    const Sight& after, const Sight& found, bool& behind) {
  if (!operation.atomic) return CompareEach(operation, before, after, found);
  if (found == after) {
    behind = true;
    return {};
  }
  if (found == before) {
    return behind ? "it was behind the operation, and is before it again" : "";
  }
  std::string wrong = "neither before nor after: ";
  for (const auto& [name, line] : found) {
    if (before.at(name) != line && after.at(name) != line) {
      wrong += Explain(name, before.at(name), after.at(name), line);
    } else if (before.at(name) != after.at(name)) {
      wrong += Concat(name, " is as ",
                      before.at(name) == line ? "before" : "after", "; ");
    }
  }
  return wrong;
}

}  // namespace openmessaging::reference::step
