// SPDX-License-Identifier: Apache-2.0
//
// The store that operations are stepped through in: its queues and what is in
// them, a process that uses it, and the time of such a process.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SHOP_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SHOP_H_

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::reference::step {

// Gives this process a clock that can be put forward, and after Hurry() sleeps
// that end at once, as those of a waiter may: what waits for time then takes
// none. Before any store is opened.
void UseOwnTime();
void Hurry();
void Pass(std::chrono::milliseconds time);

// What must not be.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};
inline void Want(const absl::Status& status) {
  if (!status.ok()) {
    throw Wrong(std::string(status.message().data(), status.message().size()));
  }
}
template <typename T>
T Want(absl::StatusOr<T> result) {
  Want(result.status());
  return *std::move(result);
}

// Small, and with no thread beside the caller's.
inline constexpr std::string_view kShopAttributes =
    "?housekeeper=off&slots=8&bells=4&window=16&max-segments=64&reserve=0"
    "&first-segment=16KiB&max-segment=16KiB&big-body=1KiB";

// One process in the shop.
struct Shop {
  explicit Shop(std::string directory_of_store)
      : directory(std::move(directory_of_store)),
        url("oms:file://" + directory + std::string(kShopAttributes)) {}

  void Open();
  // Opens it a second time, below the client library.
  void OpenSecond();
  // Makes the queues.
  void MakeQueues() const;
  // Sends at level process. Returns: the offset.
  int64_t Send(std::string_view queue, std::string_view body);
  Delivery Take();
  // Lets go of everything, the store last.
  void Close();
  driver::TransactionSource& transactions() const;

  const std::string directory;
  std::string url;
  std::optional<MessagingAccessPoint> bus{};
  std::optional<Producer> producer{};
  // Of the group "billing", in the queue "orders".
  std::optional<PullConsumer> consumer{};
  std::vector<Delivery> held{};
  std::unique_ptr<driver::Connection> second{};
  std::string transaction{};
  MessageId delayed{};
};

// Where they keep things.
inline constexpr const char* kQueues[] = {"dead",   "orders", "bills", "log",
                                          "copies", "routed", "once"};

// How often an order is delivered before it is a dead letter.
inline constexpr int kShopDeliveries = 6;

// Opens it and puts in what every operation finds: six orders, of which the
// first is settled and the second is this process's.
void Furnish(Shop& shop);

}  // namespace openmessaging::reference::step
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_STEP_SHOP_H_
