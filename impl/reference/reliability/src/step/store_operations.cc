// SPDX-License-Identifier: Apache-2.0
//
// Operations on the store as a whole: opening, closing, segments, and what
// queues and groups there are.

#include <chrono>
#include <string>

#include "openmessaging/reference/inspect.h"
#include "step/operations.h"

namespace openmessaging::reference::step {
namespace {

using std::chrono::milliseconds;

void Leave(Shop& shop) { shop.Close(); }

uint64_t RoomOf(const Shop& shop) {
  const InspectReport report = Want(InspectStore(shop.directory));
  for (const InspectSegment& segment : report.segments) {
    const uint64_t end = segment.base + segment.capacity_bytes;
    if (segment.base <= report.committed && end > report.committed) {
      return end - report.committed;
    }
  }
  return 0;
}

// Sends until the segment has no room for SendOver.
void Fill(Shop& shop) {
  for (uint64_t room = RoomOf(shop); room > 1000; room = RoomOf(shop)) {
    shop.Send("log", std::string(room < 2200 ? 100 : 900, 'f'));
  }
}

// Sends until the next one of SendOver uses more than half of it, where the
// sender makes the next segment.
void FillHalf(Shop& shop) {
  constexpr uint64_t kHalf = 8192;
  for (uint64_t room = RoomOf(shop); room > kHalf + 1000; room = RoomOf(shop)) {
    shop.Send("log", std::string(room < kHalf + 2000 ? 100 : 900, 'h'));
  }
}

void SendOver(Shop& shop) { shop.Send("log", std::string(1000, 'r')); }

void WorkAndFill(Shop& shop) {
  Work(shop);
  Fill(shop);
}

// Acknowledges all that comes to a group.
void Settle(Shop& shop, std::string_view group, std::string_view queue) {
  PullConsumer consumer =
      Want(shop.bus->CreatePullConsumer({.group = std::string(group)}));
  Want(consumer.Bind(queue));
  while (true) {
    const auto batch = Want(consumer.ReceiveBatch(16, milliseconds(100)));
    if (batch.empty()) break;
    for (const Delivery& one : batch) Want(one.Ack());
  }
}

// Fills a segment of which nobody needs anything, and half of the next one.
void FillForNobody(Shop& shop) {
  shop.Open();
  Fill(shop);
  SendOver(shop);
  Settle(shop, "billing", "orders");
  Settle(shop, "archive", "log");
  FillHalf(shop);
}

// Fills three, of which somebody needs one message of the first.
void FillForOne(Shop& shop) {
  shop.Open();
  shop.Send("bills", "kept");
  for (int n = 0; n < 3; ++n) {
    Fill(shop);
    SendOver(shop);
  }
  Settle(shop, "billing", "orders");
  Settle(shop, "archive", "log");
}

void AddOpenings(std::vector<Operation>& all) {
  const auto open = [](Shop& shop) { shop.Open(); };
  all.push_back({.name = "open: join", .act = open});
  all.push_back({.name = "open: warm", .before = Before::kLeft, .act = open});
  all.push_back({.name = "open: cold", .before = Before::kNoCtl, .act = open});
  all.push_back(
      {.name = "open: clean", .before = Before::kClosed, .act = open});
  all.push_back(
      {.name = "open: create", .before = Before::kNothing, .act = open});
  all.push_back({.name = "close: leave", .prepare = Work, .act = Leave});
  all.push_back({.name = "close: last",
                 .before = Before::kLeft,
                 .prepare = Work,
                 .act = Leave});
}

void AddSegments(std::vector<Operation>& all) {
  all.push_back({.name = "segment roll",
                 .prepare = WorkAndFill,
                 .act = SendOver,
                 .loose = true});
  all.push_back({.name = "making a segment",
                 .prepare =
                     [](Shop& shop) {
                       Work(shop);
                       FillHalf(shop);
                     },
                 .act = SendOver,
                 .loose = true});
  all.push_back(
      {.name = "retention",
       .before = Before::kLeft,
       .atomic = false,
       .prepare = FillForNobody,
       .act = SendOver,
       .differences = {{"orders", "0=o0", false}, {"log", "0=l0", false}},
       .loose = true,
       .retires = true});
  all.push_back({.name = "evacuation",
                 .before = Before::kLeft,
                 .atomic = false,
                 .prepare = FillForOne,
                 .act = Leave,
                 .loose = true,
                 .retires = true});
}

void AddAdministration(std::vector<Operation>& all) {
  all.push_back({.name = "create queue",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Want(shop.bus->resource_manager().CreateQueue("extra"));
                     },
                 .differences = {{"queues", "extra"}}});
  all.push_back({.name = "delete queue",
                 .prepare =
                     [](Shop& shop) {
                       Work(shop);
                       Want(shop.bus->resource_manager().CreateQueue("extra"));
                       shop.Send("extra", "x");
                     },
                 .act =
                     [](Shop& shop) {
                       Want(shop.bus->resource_manager().DeleteQueue("extra"));
                     },
                 .differences = {{"queues", "extra", false}}});
  all.push_back(
      {.name = "change queue",
       .prepare = Work,
       .act =
           [](Shop& shop) {
             QueueUpdate update;
             update.retention = std::chrono::hours(1);
             Want(shop.bus->resource_manager().UpdateQueue("bills", update));
           },
       .differences = {{"queues", "bills", false}, {"queues", "bills+"}}});
  all.push_back({.name = "create route",
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       Want(shop.bus->resource_manager().CreateRoute(
                           {"bills", "copies", ""}));
                     },
                 .differences = {{"routes", "bills>copies"}}});
  all.push_back(
      {.name = "delete route",
       .prepare = Work,
       .act =
           [](Shop& shop) {
             Want(shop.bus->resource_manager().DeleteRoute("routed", "copies"));
           },
       .differences = {{"routes", "routed>copies", false}}});
}

void AddGroups(std::vector<Operation>& all) {
  all.push_back(
      {.name = "seek",
       .prepare = Work,
       .act =
           [](Shop& shop) {
             Want(shop.bus->resource_manager().SeekGroup(
                 "orders", "billing", StreamPosition::Offset(4)));
           },
       .differences = {{"billing", "o3x1", false}, {"again", "o2x2", false}},
       .loose = true});
  all.push_back({.name = "new group",
                 .atomic = false,
                 .prepare = Work,
                 .act =
                     [](Shop& shop) {
                       PullConsumer consumer = Want(
                           shop.bus->CreatePullConsumer({.group = "audit"}));
                       Want(consumer.Bind("orders"));
                       Want(Want(consumer.Receive(milliseconds(0)))->Ack());
                     },
                 .differences = {{"groups", "audit"}}});
  all.push_back({.name = "exclusive group",
                 .atomic = false,
                 .prepare = Work,
                 .act = [](Shop& shop) {
                   PullConsumer consumer = Want(shop.bus->CreatePullConsumer(
                       {.group = "solo", .exclusive = true}));
                   Want(consumer.Bind("bills"));
                 }});
  all.push_back(
      {.name = "delete group",
       .prepare =
           [](Shop& shop) {
             Work(shop);
             Settle(shop, "audit", "orders");
           },
       .act =
           [](Shop& shop) {
             Want(shop.bus->resource_manager().DeleteGroup("orders", "audit"));
           },
       .differences = {{"groups", "audit", false}}});
}

}  // namespace

void AddStoreOperations(std::vector<Operation>& all) {
  AddOpenings(all);
  AddSegments(all);
  AddAdministration(all);
  AddGroups(all);
}

}  // namespace openmessaging::reference::step
