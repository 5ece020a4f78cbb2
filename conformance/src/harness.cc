// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/conformance/harness.h"

#include <map>
#include <string>
#include <utility>

#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

std::map<std::string, HarnessFactory, std::less<>>& Factories() {
  static auto* const factories =
      new std::map<std::string, HarnessFactory, std::less<>>();
  return *factories;
}

// A URL with a path is a store that no server keeps: it restarts when its last
// process has closed it, and the suite's is the only one.
class StoreHarness final : public Harness {
 public:
  explicit StoreHarness(const Url& url)
      : unreachable_("oms:" + url.driver() + ":///dev/null/store") {}

  bool CanRestart() const override { return true; }
  absl::Status Restart() override { return absl::OkStatus(); }
  std::string UnreachableUrl() const override { return unreachable_; }

 private:
  const std::string unreachable_;
};

}  // namespace

absl::Status Harness::CreateQueue(const MessagingAccessPoint& bus,
                                  std::string_view queue,
                                  const QueueOptions& options) {
  absl::Status made = bus.resource_manager().CreateQueue(queue, options);
  const bool plain = options.partitions == 1 && options.max_deliveries == 0 &&
                     options.retention.count() == 0 && !options.priorities &&
                     options.deduplication_window.count() == 0 &&
                     options.filter.empty();
  // Where nobody makes queues they are there as soon as somebody names them.
  if (plain && OmsCode(made) == Code::kUnsupported) {
    const auto capabilities = bus.capabilities(queue);
    if (capabilities.ok() && !capabilities->Has(Capability::kAdmin)) {
      return absl::OkStatus();
    }
  }
  return made;
}

void Harness::RemoveQueue(const MessagingAccessPoint& bus,
                          std::string_view queue) {
  (void)bus.resource_manager().DeleteQueue(queue);
}

absl::Status Harness::Restart() {
  return MakeStatus(Code::kUnsupported,
                    "restart the broker: this harness cannot");
}

absl::Status Harness::SendForeign(std::string_view, std::string_view) {
  return MakeStatus(Code::kUnsupported,
                    "send with a foreign client: this harness cannot");
}

bool RegisterHarness(std::string_view driver, HarnessFactory factory) {
  Factories().insert_or_assign(std::string(driver), std::move(factory));
  return true;
}

std::unique_ptr<Harness> MakeHarness(const Url& url) {
  const auto found = Factories().find(url.driver());
  if (found != Factories().end()) return found->second(url);
  if (!url.path().empty()) return std::make_unique<StoreHarness>(url);
  return std::make_unique<Harness>();
}

}  // namespace openmessaging::conformance
