// SPDX-License-Identifier: Apache-2.0
//
// Operations on messages; those on the store as a whole are in
// store_operations.cc.

#include "step/operations.h"

#include <chrono>
#include <string>
#include <thread>
#include <utility>

namespace openmessaging::reference::step {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Decision = driver::TransactionSource::Decision;

Message Cheap(std::string_view queue, std::string_view body) {
  Message message(queue, body);
  message.SetDurability(Durability::kProcess);
  return message;
}

void Prepare(Shop& shop) {
  driver::PrepareOptions options;
  options.group = "shop";
  options.check_after = milliseconds(500);
  options.max_checks = 10;
  const Message message = Cheap("bills", "t0");
  shop.transaction =
      Want(shop.transactions().Prepare(message, options, {})).transaction_id;
}

void Decide(Shop& shop, Decision decision) {
  Want(shop.transactions().Resolve(
      shop.transaction, decision,
      std::chrono::steady_clock::now() + seconds(2)));
}

void WorkAndPrepare(Shop& shop) {
  Work(shop);
  shop.OpenSecond();
  Prepare(shop);
}

void WorkAndDelay(Shop& shop, milliseconds delay) {
  Work(shop);
  Message message = Cheap("orders", "d0");
  message.SetDelay(delay);
  shop.delayed = Want(shop.producer->Send(message)).message_id;
}

// Leaves its taken message with the last delivery that it may have.
void Exhaust(Shop& shop) {
  Work(shop);
  for (int more = 1; more < kShopDeliveries; ++more) {
    Want(shop.held.back().Nack(milliseconds(0)));
    shop.held.back() = shop.Take();
    // It comes again before the others do.
    if (shop.held.back()->body() != "o2") throw Wrong("another one came");
  }
  Want(shop.held.back().Nack(milliseconds(0)));
  shop.held.clear();
}

// Fills the window behind the peer's message, so that this one is to be moved.
void Crowd(Shop& shop) {
  Work(shop);
  for (int n = 0; n < 8; ++n) shop.Send("orders", "w" + std::to_string(n));
  Want(shop.held.back().Ack());
  shop.held.clear();
  for (int n = 3; n < 13; ++n) Want(shop.Take().Ack());
}

void TakeTwo(Shop& shop) {
  const auto taken = Want(shop.consumer->ReceiveBatch(2, milliseconds(0)));
  if (taken.empty()) throw Wrong("something was to be had");
  for (const Delivery& one : taken) shop.held.push_back(one);
}

void AddSends(std::vector<Operation>& all) {
  all.push_back({.name = "send",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Message message("orders", "new");
                       message.SetDurability(Durability::kDisk);
                       Want(shop.producer->Send(message).status());
                     },
                 .differences = {{"orders", "6=new"}, {"billing", "newx1"}}});
  all.push_back({.name = "batch",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       const Message batch[] = {Cheap("orders", "b0"),
                                                Cheap("orders", "b1"),
                                                Cheap("orders", "b2")};
                       for (const auto& sent : shop.producer->Send(batch)) {
                         Want(sent.status());
                       }
                     },
                 .differences = {{"orders", "6=b0"},
                                 {"orders", "7=b1"},
                                 {"orders", "8=b2"},
                                 {"billing", "b0x1"},
                                 {"billing", "b1x1"},
                                 {"billing", "b2x1"}}});
  all.push_back({.name = "routed send",
                 .prepare = Work,
                 .act = [](Shop& shop) { shop.Send("routed", "c"); },
                 .differences = {{"routed", "0=c"}, {"copies", "0=c"}}});
  all.push_back({.name = "large send",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Message message("bills", std::string(1900, 'L'));
                       message.SetDurability(Durability::kDisk);
                       Want(shop.producer->Send(message).status());
                     },
                 .differences = {{"bills", "0=LLLLLLLLLLLL"}}});
  all.push_back({.name = "send into a new extent",
                 .prepare =
                     [](Shop& shop) {
                       Work(shop);
                       // An extent of the index has 254.
                       for (int n = 0; n < 254; ++n) shop.Send("bills", "e");
                     },
                 .act = [](Shop& shop) { shop.Send("bills", "new"); },
                 .differences = {{"bills", "254=new"}},
                 .loose = true});
  all.push_back({.name = "deduplicated send",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Message message = Cheap("once", "u0");
                       message.SetDeduplicationId("id");
                       Want(shop.producer->Send(message).status());
                     },
                 .differences = {{"once", "0=u1", false}, {"once", "0=u0"}}});
}

void AddDelays(std::vector<Operation>& all) {
  all.push_back({.name = "delayed send",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Message message = Cheap("orders", "d0");
                       message.SetDelay(std::chrono::hours(1));
                       Want(shop.producer->Send(message).status());
                     },
                 .differences = {{"delayed", "0", false},
                                 {"delayed", "1"},
                                 {"orders", "6=d0"},
                                 {"later", "d0x1"}}});
  all.push_back(
      {.name = "cancel",
       .prepare = [](Shop& shop) { WorkAndDelay(shop, std::chrono::hours(1)); },
       .act =
           [](Shop& shop) {
             Want(shop.producer->CancelDelayed("orders", shop.delayed));
           },
       .differences = {{"delayed", "0"},
                       {"delayed", "1", false},
                       {"orders", "6=d0", false},
                       {"later", "d0x1", false}}});
  all.push_back({.name = "due",
                 .atomic = false,
                 .prepare =
                     [](Shop& shop) {
                       WorkAndDelay(shop, milliseconds(1));
                       std::this_thread::sleep_for(milliseconds(3));
                     },
                 .act = TakeTwo,
                 .loose = true});
}

void AddSettlements(std::vector<Operation>& all) {
  all.push_back({.name = "receive",
                 .atomic = false,
                 .prepare = Work,
                 .act = TakeTwo,
                 .differences = {{"billing", "o3x1", false},
                                 {"billing", "o4x1", false},
                                 {"again", "o3x2"},
                                 {"again", "o4x2"}}});
  all.push_back({.name = "ack",
                 .prepare = Work,
                 .act = [](Shop& shop) { Want(shop.held[0].Ack()); },
                 .differences = {{"again", "o2x2", false}}});
  all.push_back({.name = "ack in the log",
                 .prepare =
                     [](Shop& shop) {
                       shop.url += "&ack.sync=on";
                       Work(shop);
                     },
                 .act = [](Shop& shop) { Want(shop.held[0].Ack()); },
                 .differences = {{"again", "o2x2", false}}});
  all.push_back(
      {.name = "ack of all before",
       .atomic = false,
       .prepare =
           [](Shop& shop) {
             Work(shop);
             shop.held.push_back(shop.Take());
           },
       .act = [](Shop& shop) { Want(shop.held[1].AckUpTo()); },
       .differences = {{"again", "o2x2", false}, {"again", "o3x2", false}}});
  all.push_back(
      {.name = "nack",
       .prepare = Work,
       .act =
           [](Shop& shop) { Want(shop.held[0].Nack(std::chrono::hours(1))); },
       .differences = {{"again", "o2x2", false}, {"later", "o2x2"}}});
  all.push_back({.name = "extend", .prepare = Work, .act = [](Shop& shop) {
                   Want(shop.held[0].Extend(seconds(60)));
                 }});
  all.push_back(
      {.name = "reject",
       .prepare = Work,
       .act = [](Shop& shop) { Want(shop.held[0].Reject()); },
       .differences = {
           {"again", "o2x2", false}, {"dead", "0=o2"}, {"buried", "o2x1"}}});
  all.push_back({.name = "last delivery",
                 .atomic = false,
                 .prepare = Exhaust,
                 .act = TakeTwo,
                 .loose = true});
  all.push_back({.name = "move to the exceptions",
                 .atomic = false,
                 .prepare = Crowd,
                 .act = TakeTwo,
                 .loose = true});
}

void AddTransactions(std::vector<Operation>& all) {
  all.push_back({.name = "prepare",
                 .prepare =
                     [](Shop& shop) {
                       Work(shop);
                       shop.OpenSecond();
                     },
                 .act = Prepare,
                 .differences = {{"undecided", "0", false},
                                 {"undecided", "1"},
                                 {"asked", "t0"},
                                 {"bills", "0=t0"}}});
  all.push_back({.name = "commit",
                 .prepare = WorkAndPrepare,
                 .act = [](Shop& shop) { Decide(shop, Decision::kCommit); },
                 .differences = {{"undecided", "1", false},
                                 {"undecided", "0"},
                                 {"asked", "t0", false}}});
  all.push_back({.name = "rollback",
                 .prepare = WorkAndPrepare,
                 .act = [](Shop& shop) { Decide(shop, Decision::kRollback); },
                 .differences = {{"undecided", "1", false},
                                 {"undecided", "0"},
                                 {"asked", "t0", false},
                                 {"bills", "0=t0", false}}});
  all.push_back({.name = "local transaction",
                 .prepare =
                     [](Shop& shop) {
                       Work(shop);
                       shop.held.push_back(shop.Take());
                     },
                 .act =
                     [](Shop& shop) {
                       const auto work = [&](LocalTransaction& tx) {
                         absl::Status status = tx.Ack(shop.held[0]);
                         status.Update(tx.Ack(shop.held[1]));
                         status.Update(tx.Send(Cheap("bills", "x")));
                         status.Update(tx.Send(Cheap("orders", "x")));
                         return status;
                       };
                       Want(shop.producer->Transact(work).status());
                     },
                 .differences = {{"again", "o2x2", false},
                                 {"again", "o3x2", false},
                                 {"billing", "xx1"},
                                 {"orders", "6=x"},
                                 {"bills", "0=x"}}});
}

}  // namespace

void Work(Shop& shop) {
  shop.Open();
  shop.Send("log", "l1");
  shop.held.push_back(shop.Take());
}

std::span<const Operation> Operations() {
  static const auto* const all = [] {
    auto* const made = new std::vector<Operation>();
    AddSends(*made);
    AddDelays(*made);
    AddSettlements(*made);
    AddTransactions(*made);
    AddStoreOperations(*made);
    return made;
  }();
  return *all;
}

const Operation* FindOperation(std::string_view name) {
  for (const Operation& operation : Operations()) {
    if (operation.name == name) return &operation;
  }
  return nullptr;
}

}  // namespace openmessaging::reference::step
