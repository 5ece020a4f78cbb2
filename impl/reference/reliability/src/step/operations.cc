// SPDX-License-Identifier: Apache-2.0

#include "step/operations.h"

#include <chrono>
#include <string>
#include <utility>

#include "openmessaging/reference/inspect.h"

namespace openmessaging::reference::step {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Decision = driver::TransactionSource::Decision;

// What most of them begin with: an open store in use, and one order taken.
void Work(Shop& shop) {
  shop.Open();
  shop.Send("log", "l1");
  shop.held.push_back(shop.Take());
}

void Prepare(Shop& shop) {
  driver::PrepareOptions options;
  options.group = "shop";
  options.check_after = milliseconds(500);
  options.max_checks = 10;
  Message message("bills", "t0");
  message.SetDurability(Durability::kProcess);
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

// Sends until what is left of the segment has no room for one of 1,500 bytes.
void Fill(Shop& shop) {
  while (true) {
    const InspectReport report = Want(InspectStore(shop.directory));
    uint64_t room = 0;
    for (const InspectSegment& segment : report.segments) {
      const uint64_t end = segment.base + segment.capacity_bytes;
      if (segment.base <= report.committed && end > report.committed) {
        room = end - report.committed;
      }
    }
    if (room < 1500) return;
    shop.Send("log", std::string(room < 3000 ? 200 : 1000, 'f'));
  }
}

void SendLarge(Shop& shop) { shop.Send("log", "r" + std::string(1500, 'r')); }

std::vector<Operation> MakeOperations() {
  std::vector<Operation> all;
  const auto add = [&](Operation operation) {
    all.push_back(std::move(operation));
  };
  add({.name = "send",
       .prepare = Work,
       .act =
           [](Shop& shop) {
             Message message("orders", "new");
             message.SetDurability(Durability::kDisk);
             Want(shop.producer->Send(message).status());
           },
       .differences = {{"orders", "6=new"}, {"billing", "newx1"}}});
  add({.name = "batch",
       .prepare = Work,
       .act =
           [](Shop& shop) {
             std::vector<Message> batch;
             for (const char* const body : {"b0", "b1", "b2"}) {
               batch.emplace_back("orders", body);
               batch.back().SetDurability(Durability::kProcess);
             }
             for (const auto& sent :
                  shop.producer->Send(std::span<const Message>(batch))) {
               Want(sent.status());
             }
           },
       .differences = {{"orders", "6=b0"},
                       {"orders", "7=b1"},
                       {"orders", "8=b2"},
                       {"billing", "b0x1"},
                       {"billing", "b1x1"},
                       {"billing", "b2x1"}}});
  add({.name = "receive",
       .atomic = false,
       .prepare = Work,
       .act =
           [](Shop& shop) {
             const auto taken =
                 Want(shop.consumer->ReceiveBatch(2, milliseconds(0)));
             if (taken.size() != 2) throw Wrong("two were to be had");
             for (const Delivery& one : taken) shop.held.push_back(one);
           },
       .differences = {{"billing", "o3x1", false},
                       {"billing", "o4x1", false},
                       {"again", "o3x2"},
                       {"again", "o4x2"}}});
  add({.name = "ack",
       .prepare = Work,
       .act = [](Shop& shop) { Want(shop.held[0].Ack()); },
       .differences = {{"again", "o2x2", false}}});
  add({.name = "nack",
       .prepare = Work,
       .act = [](Shop& shop) { Want(shop.held[0].Nack(seconds(5))); },
       .differences = {{"again", "o2x2", false}, {"later", "o2x2"}}});
  add({.name = "extend", .prepare = Work, .act = [](Shop& shop) {
         Want(shop.held[0].Extend(seconds(60)));
       }});
  add({.name = "reject",
       .prepare = Work,
       .act = [](Shop& shop) { Want(shop.held[0].Reject()); },
       .differences = {
           {"again", "o2x2", false}, {"dead", "0=o2"}, {"buried", "o2x1"}}});
  add({.name = "prepare",
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
  add({.name = "commit",
       .prepare = WorkAndPrepare,
       .act = [](Shop& shop) { Decide(shop, Decision::kCommit); },
       .differences = {{"undecided", "1", false},
                       {"undecided", "0"},
                       {"asked", "t0", false}}});
  add({.name = "rollback",
       .prepare = WorkAndPrepare,
       .act = [](Shop& shop) { Decide(shop, Decision::kRollback); },
       .differences = {{"undecided", "1", false},
                       {"undecided", "0"},
                       {"asked", "t0", false},
                       {"bills", "0=t0", false}}});
  add({.name = "local transaction",
       .prepare =
           [](Shop& shop) {
             Work(shop);
             shop.held.push_back(shop.Take());
           },
       .act =
           [](Shop& shop) {
             Want(shop.producer
                      ->Transact([&](LocalTransaction& tx) {
                        absl::Status status = tx.Ack(shop.held[0]);
                        status.Update(tx.Ack(shop.held[1]));
                        for (const char* const queue : {"bills", "orders"}) {
                          Message message(queue, "x");
                          message.SetDurability(Durability::kProcess);
                          status.Update(tx.Send(message));
                        }
                        return status;
                      })
                      .status());
           },
       .differences = {{"again", "o2x2", false},
                       {"again", "o3x2", false},
                       {"billing", "xx1"},
                       {"orders", "6=x"},
                       {"bills", "0=x"}}});
  add({.name = "routed send",
       .prepare = Work,
       .act = [](Shop& shop) { shop.Send("routed", "c"); },
       .differences = {{"routed", "0=c"}, {"copies", "0=c"}}});
  add({.name = "segment roll",
       .prepare =
           [](Shop& shop) {
             Work(shop);
             Fill(shop);
           },
       .act = SendLarge,
       .differences = {{"log", "=rrr"}}});
  add({.name = "open: join", .act = [](Shop& shop) { shop.Open(); }});
  add({.name = "open: warm", .before = Before::kLeft, .act = [](Shop& shop) {
         shop.Open();
       }});
  add({.name = "open: cold", .before = Before::kNoCtl, .act = [](Shop& shop) {
         shop.Open();
       }});
  add({.name = "open: clean", .before = Before::kClosed, .act = [](Shop& shop) {
         shop.Open();
       }});
  add({.name = "open: create",
       .before = Before::kNothing,
       .act = [](Shop& shop) { shop.Open(); }});
  add({.name = "close: leave", .prepare = Work, .act = [](Shop& shop) {
         shop.held.clear();
         shop.consumer.reset();
         shop.producer.reset();
         shop.bus.reset();
       }});
  add({.name = "close: last",
       .before = Before::kLeft,
       .prepare = Work,
       .act = [](Shop& shop) {
         shop.held.clear();
         shop.consumer.reset();
         shop.producer.reset();
         shop.bus.reset();
       }});
  return all;
}

}  // namespace

std::span<const Operation> Operations() {
  static const auto* const all = new std::vector<Operation>(MakeOperations());
  return *all;
}

const Operation* FindOperation(std::string_view name) {
  for (const Operation& operation : Operations()) {
    if (operation.name == name) return &operation;
  }
  return nullptr;
}

}  // namespace openmessaging::reference::step
