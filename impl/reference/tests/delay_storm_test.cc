// SPDX-License-Identifier: Apache-2.0
//
// Processes that delay, cancel and receive, killed at random instants: what was
// acknowledged comes, once it is due and not before, unless it was cancelled.

#include <time.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "child.h"
#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"
#include "store_fixture.h"
#include "storm.h"

namespace openmessaging::reference::delay_storm_test {
namespace {

constexpr char kQueue[] = "later";
constexpr char kGroup[] = "watchers";
// So that kills also meet rolls and retirement.
constexpr char kSmallSegments[] = "?first-segment=16KiB&max-segment=32KiB";

int64_t BootNs() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// When a message may be delivered at the earliest: its body says it.
bool IsEarly(std::string_view body) {
  return BootNs() < std::stoll(std::string(body));
}

// Arguments: URL, seed. Says "sent <id>", "cancelling <id>", "cancelled <id>",
// "kept <id>".
OMS_ROLE(delayer) {
  const auto bus = Connect(role.argument(0));
  std::mt19937_64 random(std::stoull(role.argument(1)));
  Producer producer = Must(bus.CreateProducer());
  std::vector<MessageId> waiting;
  role.Say("ready");
  for (int n = 0; n < 2000 && !role.Called(); ++n) {
    const auto delay = milliseconds(1 + random() % 60);
    // Of the time before the call, so that it is no later than the driver's.
    Message message(kQueue,
                    std::to_string(BootNs() + delay.count() * 1'000'000) +
                        std::string(random() % 400, ' '));
    message.SetDelay(delay);
    message.SetDurability(random() % 4 == 0 ? Durability::kDisk
                                            : Durability::kProcess);
    const auto sent = producer.Send(message);
    if (!sent.ok()) role.Say("failed " + Text(sent.status()));
    const MessageId id = Must(sent).message_id;
    role.Say("sent " + id.ToString());
    if (random() % 3 == 0) waiting.push_back(id);
    if (waiting.size() < 5) continue;
    const size_t which = random() % waiting.size();
    const std::string text = waiting[which].ToString();
    role.Say("cancelling " + text);
    const absl::Status status =
        producer.CancelDelayed(kQueue, waiting[which]);
    if (!status.ok() && OmsCode(status) != Code::kIllegalState) {
      role.Say("failed " + Text(status));
    }
    role.Say((status.ok() ? "cancelled " : "kept ") + text);
    waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(which));
  }
  role.Hear();
}

// Where a message is: a partition and an offset.
std::string PlaceOf(const Message& message) {
  return std::to_string(message.partition()) + "/" +
         std::to_string(message.offset());
}

// Argument: URL. Says "got <id> <place>" for each message, or "early <id>".
OMS_ROLE(delayed_taker) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  role.Say("ready");
  while (!role.Called()) {
    for (const Delivery& delivery :
         Must(consumer.ReceiveBatch(16, milliseconds(50)))) {
      role.Say((IsEarly(delivery->body()) ? "early " : "got ") +
               delivery->message_id().ToString() + " " + PlaceOf(*delivery));
      Must(delivery.Ack());
    }
  }
}

struct Ledger {
  std::set<std::string> sent{};
  std::set<std::string> cancelled{};
  std::set<std::string> kept{};
  std::set<std::string> perhaps_cancelled{};
  // The places of each message. It may come twice, but is in one place.
  std::map<std::string, std::set<std::string>> received{};

  // Some lines: who never stops talking must not keep the others alive.
  void Hear(Child& child, milliseconds patience, int lines = 100) {
    while (lines-- > 0) {
      const auto line = child.Hear(patience);
      if (!line) return;
      std::istringstream words(*line);
      std::string verb;
      std::string id;
      std::string place;
      words >> verb >> id >> place;
      if (verb == "sent") sent.insert(id);
      if (verb == "cancelling") perhaps_cancelled.insert(id);
      if (verb == "cancelled") cancelled.insert(id);
      if (verb == "kept") kept.insert(id);
      if (verb == "got") received[id].insert(place);
      if (verb == "early") FAIL("early: " << id);
      if (verb == "failed") FAIL(*line);
    }
  }
  bool IsComplete() const {
    for (const std::string& id : sent) {
      if (!received.contains(id) && !perhaps_cancelled.contains(id)) {
        return false;
      }
    }
    return true;
  }
};

void Storm(const char* attributes, bool rob_ctl) {
  FilePlace place;
  const std::string url = place.Url(kSmallSegments + std::string(attributes));
  ConnectWith(url, kQueue, 2);
  auto random = RandomOf(3);
  Ledger ledger;
  Torment({"delayed_taker", "delayer"}, url, place.path(), rob_ctl, random,
          ledger);
  CheckSound(place.path());
  const auto bus = Connect(url);
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  const auto deadline = Soon();
  bool more = true;
  while ((more || !ledger.IsComplete()) && steady_clock::now() < deadline) {
    more = false;
    for (const Delivery& delivery :
         Must(consumer.ReceiveBatch(64, milliseconds(250)))) {
      more = true;
      CHECK_FALSE(IsEarly(delivery->body()));
      ledger.received[delivery->message_id().ToString()].insert(
          PlaceOf(*delivery));
      Must(delivery.Ack());
    }
  }

  std::printf("%zu delayed, %zu received, %zu cancelled, %zu too late for it\n",
              ledger.sent.size(), ledger.received.size(),
              ledger.cancelled.size(), ledger.kept.size());
  CHECK(ledger.IsComplete());
  for (const auto& one : ledger.received) {
    const auto& id = one.first;
    const auto& places = one.second;
    CAPTURE(id);
    CHECK(places.size() == 1);
  }
  for (const std::string& id : ledger.cancelled) {
    CHECK_FALSE(ledger.received.contains(id));
  }
  for (const std::string& id : ledger.kept) {
    CHECK(ledger.received.contains(id));
  }
  CHECK(ledger.sent.size() > 0);
}

TEST_CASE("OMS-TIME-003: killed processes lose nothing that waits") {
  Storm("", false);
}

TEST_CASE("OMS-TIME-003: receivers that are killed hand the clock on") {
  Storm("&housekeeper=off", false);
}

TEST_CASE("OMS-TIME-003: the log alone tells what waits") { Storm("", true); }

}  // namespace
}  // namespace openmessaging::reference::delay_storm_test
