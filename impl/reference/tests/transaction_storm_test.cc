// SPDX-License-Identifier: Apache-2.0
//
// Processes that prepare, decide, answer checks and receive, killed at random
// instants: what was prepared is decided once, and comes or does not accordingly.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
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

namespace openmessaging::reference::transaction_storm_test {
namespace {

constexpr char kQueue[] = "bills";
constexpr char kGroup[] = "payers";
// So that kills also meet rolls and retirement.
constexpr char kSmallSegments[] = "?first-segment=16KiB&max-segment=32KiB";

// What is to become of a message: its body says it.
TransactionState WishOf(std::string_view body) {
  return body.starts_with('c') ? TransactionState::kCommit
                               : TransactionState::kRollback;
}
TransactionState Opposite(TransactionState state) {
  return state == TransactionState::kCommit ? TransactionState::kRollback
                                            : TransactionState::kCommit;
}

ProducerOptions Answering(CheckListener check) {
  ProducerOptions options;
  options.group = "shop";
  options.check = std::move(check);
  options.check_after = milliseconds(20);
  options.max_checks = 10'000;
  return options;
}

// Arguments: URL, seed. Says "prepared <id> <body>", "opposing <id>",
// "reversed <id>", "kept <id>", "decided <id>".
OMS_ROLE(preparer) {
  const auto bus = Connect(role.argument(0));
  std::mt19937_64 random(std::stoull(role.argument(1)));
  Producer producer = Must(bus.CreateProducer(Answering(
      [](const Message& message) { return WishOf(message.body()); })));
  Must(producer.Start());
  role.Say("ready");
  for (int n = 0; n < 2000 && !role.Called(); ++n) {
    const std::string body = (random() % 2 == 0 ? "c" : "r") +
                             std::string(random() % 400, ' ');
    Message message(kQueue, body);
    message.SetDurability(random() % 4 == 0 ? Durability::kDisk
                                            : Durability::kProcess);
    auto prepared = producer.Prepare(message);
    if (!prepared.ok()) role.Say("failed " + Text(prepared.status()));
    const std::string id = Must(std::move(prepared)).transaction_id();
    role.Say("prepared " + id + " " + body.substr(0, 1));
    const auto what = random() % 4;
    if (what == 0) continue;  // A check decides.
    const TransactionState wish = WishOf(body);
    if (what == 1) {
      role.Say("opposing " + id);
      const absl::Status status = producer.Resolve(id, Opposite(wish));
      if (!status.ok() && OmsCode(status) != Code::kTransactionConflict) {
        role.Say("failed " + Text(status));
      }
      role.Say((status.ok() ? "reversed " : "kept ") + id);
    } else {
      const absl::Status status = producer.Resolve(id, wish);
      if (!status.ok()) role.Say("failed " + Text(status));
      role.Say("decided " + id);
    }
  }
  role.Hear();
}

// Where a message is: a partition and an offset.
std::string PlaceOf(const Message& message) {
  return std::to_string(message.partition()) + "/" +
         std::to_string(message.offset());
}

// Argument: URL. Says "got <id> <place>" for each message.
OMS_ROLE(decided_taker) {
  const auto bus = Connect(role.argument(0));
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  role.Say("ready");
  while (!role.Called()) {
    for (const Delivery& delivery :
         Must(consumer.ReceiveBatch(16, milliseconds(50)))) {
      role.Say("got " + std::string(delivery->transaction_id()) + " " +
               PlaceOf(*delivery));
      Must(delivery.Ack());
    }
  }
}

struct Ledger {
  std::map<std::string, TransactionState> prepared{};
  std::set<std::string> perhaps_reversed{};
  std::set<std::string> reversed{};
  std::set<std::string> kept{};
  // The places of each message. It may come twice, but is in one place.
  std::map<std::string, std::set<std::string>> received{};

  void Hear(Child& child, milliseconds patience, int lines = 100) {
    while (lines-- > 0) {
      const auto line = child.Hear(patience);
      if (!line) return;
      std::istringstream words(*line);
      std::string verb;
      std::string id;
      std::string rest;
      words >> verb >> id >> rest;
      if (verb == "prepared") prepared[id] = WishOf(rest);
      if (verb == "opposing") perhaps_reversed.insert(id);
      if (verb == "reversed") reversed.insert(id);
      if (verb == "kept") kept.insert(id);
      if (verb == "got") received[id].insert(rest);
      if (verb == "failed") FAIL(*line);
    }
  }
  bool MustCome(const std::string& id, TransactionState wish) const {
    if (reversed.contains(id)) return wish == TransactionState::kRollback;
    if (perhaps_reversed.contains(id) && !kept.contains(id)) return false;
    return wish == TransactionState::kCommit;
  }
  bool IsComplete() const {
    for (const auto& [id, wish] : prepared) {
      if (MustCome(id, wish) && !received.contains(id)) return false;
    }
    return true;
  }
};

void Storm(const char* attributes, bool rob_ctl) {
  FilePlace place;
  const std::string url = place.Url(kSmallSegments + std::string(attributes));
  ConnectWith(url, kQueue, 2);
  Ledger ledger;
  auto random = RandomOf(rob_ctl ? 12 : 11);
  Torment({"decided_taker", "preparer"}, url, place.path(), rob_ctl, random,
          ledger);
  CheckSound(place.path());

  const auto bus = Connect(url);
  Producer heir = Must(bus.CreateProducer(Answering(
      [](const Message& message) { return WishOf(message.body()); })));
  Must(heir.Start());
  PullConsumer consumer = Consume(bus, kQueue, {.group = kGroup});
  const auto deadline = Soon() + kLong * (kSlowness - 1);
  bool more = true;
  while ((more || !ledger.IsComplete()) && steady_clock::now() < deadline) {
    more = false;
    for (const Delivery& delivery :
         Must(consumer.ReceiveBatch(64, milliseconds(250)))) {
      more = true;
      ledger.received[std::string(delivery->transaction_id())].insert(
          PlaceOf(*delivery));
      Must(delivery.Ack());
    }
  }

  std::printf("%zu prepared, %zu reversed, %zu too late for it, %zu received\n",
              ledger.prepared.size(), ledger.reversed.size(),
              ledger.kept.size(), ledger.received.size());
  CHECK(ledger.IsComplete());
  for (const auto& one : ledger.received) {
    const auto& id = one.first;
    const auto& places = one.second;
    CAPTURE(id);
    CHECK(places.size() == 1);
  }
  for (const auto& one : ledger.prepared) {
    const auto& id = one.first;
    const auto wish = one.second;
    CAPTURE(id);
    const bool came = ledger.received.contains(id);
    if (!ledger.perhaps_reversed.contains(id) || ledger.kept.contains(id)) {
      CHECK(came == (wish == TransactionState::kCommit));
    } else if (ledger.reversed.contains(id)) {
      CHECK(came == (wish == TransactionState::kRollback));
    }
    // The outcome is known still, and is what the receivers saw.
    const TransactionState outcome =
        came ? TransactionState::kCommit : TransactionState::kRollback;
    CHECK(heir.Resolve(id, outcome).ok());
    CHECK(OmsCode(heir.Resolve(id, Opposite(outcome))) ==
          Code::kTransactionConflict);
  }
  CHECK(ledger.prepared.size() > 0);
}

TEST_CASE("OMS-TX-012: killed processes leave every transaction decided once") {
  Storm("", false);
}

TEST_CASE("OMS-TX-012: the log alone tells what was decided") {
  Storm("", true);
}

}  // namespace
}  // namespace openmessaging::reference::transaction_storm_test
