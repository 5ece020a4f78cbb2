// SPDX-License-Identifier: Apache-2.0
//
// Listener is a function of the application's that gets messages, in one of the
// four forms that PushConsumer::Bind takes.

#ifndef OPENMESSAGING_INTERNAL_LISTENER_H_
#define OPENMESSAGING_INTERNAL_LISTENER_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "openmessaging/delivery.h"
#include "openmessaging/internal/consumer_core.h"
#include "openmessaging/internal/consumer_watch.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/user_code.h"
#include "openmessaging/message.h"
#include "openmessaging/receipt.h"
#include "openmessaging/verdict.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

struct Binding;

// One message on its way to a listener.
struct PushItem {
  uint64_t id = 0;
  Message message{};
  Receipt receipt{};
  std::shared_ptr<Binding> binding{};
  // What is told of its settlement; nullptr where nobody listens.
  WatchedSettle::Origin origin{};
};

// Absent: the listener owns the delivery.
using MaybeVerdict = std::optional<Verdict>;

class Listener {
 public:
  virtual ~Listener() = default;

  // Whether it takes many messages in one call.
  virtual bool takes_batches() const = 0;

  // Runs it with `items`, which it may take apart; one item unless it takes
  // batches. `nack_dropped`: what is dropped unsettled is given back. Fills a
  // verdict for each into `verdicts`, all absent before, which its thread uses
  // again and again. Nothing is thrown.
  virtual void Run(std::span<PushItem> items,
                   const std::shared_ptr<ConsumerCore>& core,
                   bool nack_dropped, std::span<MaybeVerdict> verdicts) = 0;
};

// A queue that is bound, and who gets its messages.
struct Binding {
  std::string_view queue{};  // Good as long as the consumer.
  std::unique_ptr<Listener> listener{};
  bool has_lease = false;
  bool renews = false;  // Its leases are extended while it has messages.
  bool releases = false;  // What was not shown goes back at once.
};

// `Message const& -> Verdict`.
template <typename F>
concept VerdictFunction =
    std::is_invocable_r_v<Verdict, F&, const Message&>;
// `span<Message const> -> vector<Verdict>`.
template <typename F>
concept BatchVerdictFunction =
    std::is_invocable_r_v<std::vector<Verdict>, F&, std::span<const Message>>;
// `Delivery -> void`.
template <typename F>
concept DeliveryFunction =
    std::invocable<F&, Delivery> && !VerdictFunction<F> &&
    std::is_void_v<std::invoke_result_t<F&, Delivery>>;
// `vector<Delivery> -> void`.
template <typename F>
concept BatchDeliveryFunction =
    std::invocable<F&, std::vector<Delivery>> && !BatchVerdictFunction<F> &&
    std::is_void_v<std::invoke_result_t<F&, std::vector<Delivery>>>;

template <typename F>
concept ListenerFunction =
    VerdictFunction<F> || BatchVerdictFunction<F> || DeliveryFunction<F> ||
    BatchDeliveryFunction<F>;

template <typename F>
class VerdictListener final : public Listener {
 public:
  explicit VerdictListener(F function) : function_(std::move(function)) {}
  bool takes_batches() const override { return false; }
  void Run(std::span<PushItem> items,
           const std::shared_ptr<ConsumerCore>& /*core*/, bool /*nack_dropped*/,
           std::span<MaybeVerdict> verdicts) override {
    const bool returned =
        RunUserCode([&] { verdicts[0] = function_(items[0].message); });
    if (!returned) verdicts[0] = Nack();
  }

 private:
  F function_;
};

template <typename F>
class BatchVerdictListener final : public Listener {
 public:
  explicit BatchVerdictListener(F function) : function_(std::move(function)) {}
  bool takes_batches() const override { return true; }
  void Run(std::span<PushItem> items,
           const std::shared_ptr<ConsumerCore>& /*core*/, bool /*nack_dropped*/,
           std::span<MaybeVerdict> verdicts) override {
    std::vector<Message> messages;
    messages.reserve(items.size());
    for (PushItem& item : items) messages.push_back(std::move(item.message));
    std::vector<Verdict> said;
    const bool returned = RunUserCode(
        [&] { said = function_(std::span<const Message>(messages)); });
    for (size_t i = 0; i < verdicts.size(); ++i) {
      // What it said nothing of is given back.
      verdicts[i] = returned && i < said.size() ? said[i] : Nack();
    }
  }

 private:
  F function_;
};

// Hands deliveries over. A guard is kept for each until the listener returned:
// one that throws gives back what it did not settle.
template <typename F, bool kBatches>
class DeliveryListener final : public Listener {
 public:
  explicit DeliveryListener(F function) : function_(std::move(function)) {}
  bool takes_batches() const override { return kBatches; }
  void Run(std::span<PushItem> items, const std::shared_ptr<ConsumerCore>& core,
           bool nack_dropped, std::span<MaybeVerdict> /*verdicts*/) override {
    std::vector<Delivery> deliveries(items.size());
    std::vector<std::shared_ptr<UnsettledGuard>> guards;
    guards.reserve(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      DeliveryAccess::Fill(deliveries[i], std::move(items[i].message),
                           items[i].receipt, core);
      guards.push_back(DeliveryAccess::Guard(deliveries[i], nack_dropped));
    }
    const bool returned = RunUserCode([&] {
      if constexpr (kBatches) {
        function_(std::move(deliveries));
      } else {
        function_(std::move(deliveries[0]));
      }
    });
    if (!returned) {
      for (const auto& guard : guards) guard->NackWhenDropped();
    }
  }

 private:
  F function_;
};

template <ListenerFunction F>
std::unique_ptr<Listener> MakeListener(F function) {
  if constexpr (VerdictFunction<F>) {
    return std::make_unique<VerdictListener<F>>(std::move(function));
  } else if constexpr (BatchVerdictFunction<F>) {
    return std::make_unique<BatchVerdictListener<F>>(std::move(function));
  } else if constexpr (DeliveryFunction<F>) {
    return std::make_unique<DeliveryListener<F, false>>(std::move(function));
  } else {
    return std::make_unique<DeliveryListener<F, true>>(std::move(function));
  }
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_LISTENER_H_
