// SPDX-License-Identifier: Apache-2.0
//
// transaction: a bill is sent if its order was written, and not otherwise, also
// where the shop dies between the two: then its successor is asked.

#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// What the shop knows: the orders by the transaction of their bill.
class Orders {
 public:
  void Write(const std::string& transaction_id, bool paid) {
    const std::lock_guard lock(mutex_);
    paid_[transaction_id] = paid;
  }
  oms::TransactionState StateOf(const oms::Message& bill) const {
    const std::lock_guard lock(mutex_);
    const auto found = paid_.find(std::string(bill.transaction_id()));
    if (found == paid_.end()) return oms::TransactionState::kUnknown;
    return found->second ? oms::TransactionState::kCommit
                         : oms::TransactionState::kRollback;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, bool> paid_;
};

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto made = bus->resource_manager().CreateQueue("bills");
  if (!made.ok()) return made;
  Orders orders;
  oms::ProducerOptions options;
  options.group = "shop";
  options.check = [&](const oms::Message& bill) { return orders.StateOf(bill); };
  options.check_after = std::chrono::milliseconds(20);

  {
    auto shop = bus->CreateProducer(options);
    if (!shop.ok()) return shop.status();
    // The usual way: prepare, write, commit.
    auto apples = shop->Prepare(oms::Message("bills", "42 apples"));
    if (!apples.ok()) return apples.status();
    orders.Write(apples->transaction_id(), true);
    if (auto done = apples->Commit(); !done.ok()) return done;
    auto undone = apples->Rollback();
    std::cout << "too late: " << static_cast<int>(oms::OmsCode(undone)) << "\n";
    // Written, and then the shop is gone.
    for (const bool paid : {false, true}) {
      auto pears = shop->Prepare(
          oms::Message("bills", paid ? "7 pears" : "a car on credit"));
      if (!pears.ok()) return pears.status();
      orders.Write(pears->transaction_id(), paid);
    }
  }

  auto successor = bus->CreateProducer(options);
  if (!successor.ok()) return successor.status();
  if (auto started = successor->Start(); !started.ok()) return started;
  auto consumer = bus->CreatePullConsumer();
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("bills"); !bound.ok()) return bound;
  for (int n = 0; n < 2; ++n) {
    auto bill = consumer->Receive(std::chrono::seconds(5));
    if (!bill.ok()) return bill.status();
    if (!bill->has_value()) return absl::NotFoundError("no bill came");
    std::cout << "bill: " << (**bill)->body() << "\n";
    if (auto acked = (*bill)->Ack(); !acked.ok()) return acked;
  }
  auto more = consumer->Receive(std::chrono::milliseconds(100));
  if (!more.ok()) return more.status();
  std::cout << (more->has_value() ? "another bill" : "no other bill") << "\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
