// SPDX-License-Identifier: Apache-2.0

#include "mutant_resources.h"

#include "openmessaging/queue_name.h"
#include "openmessaging/send_result.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace mutant_resources {
namespace {

class Nobody final : public driver::SendCompletion {
 public:
  void Sent(size_t, const SendResult&) override { delete this; }
  void Failed(size_t, absl::Status) override { delete this; }
};

}  // namespace
}  // namespace mutant_resources

using driver::TimePoint;

void* MutantResources::Query(std::string_view name) {
  if (name == driver::RouteAdmin::kInterface) {
    return static_cast<driver::RouteAdmin*>(this);
  }
  if (name == driver::NamespaceControl::kInterface) {
    return static_cast<driver::NamespaceControl*>(this);
  }
  if (name == driver::QueueUpdater::kInterface) {
    return static_cast<driver::QueueUpdater*>(this);
  }
  return nullptr;
}

absl::Status MutantResources::CreateRoute(const Route& route,
                                          TimePoint deadline) {
  Route changed = route;
  if (mutant_ == Mutant::kForgetsRouteFilter) changed.filter.clear();
  if (mutant_ == Mutant::kCopiesAnew || mutant_ == Mutant::kRoutesOneStep) {
    changed.filter = "1 = 2";  // The producer makes the copies.
  }
  absl::Status status = routes_.CreateRoute(changed, deadline);
  if (mutant_ == Mutant::kAcceptsBadRoute &&
      OmsCode(status) == Code::kBadParameter) {
    return absl::OkStatus();
  }
  return status;
}

absl::Status MutantResources::DeleteRoute(std::string_view source,
                                          std::string_view target,
                                          TimePoint deadline) {
  if (mutant_ == Mutant::kKeepsRoute) return absl::OkStatus();
  return routes_.DeleteRoute(source, target, deadline);
}

absl::Status MutantResources::CreateNamespace(std::string_view name_space,
                                              TimePoint deadline) {
  absl::Status status = spaces_.CreateNamespace(name_space, deadline);
  if (mutant_ == Mutant::kNamespaceTwice &&
      OmsCode(status) == Code::kNamespaceExists) {
    return absl::OkStatus();
  }
  return status;
}

absl::Status MutantResources::DeleteNamespace(std::string_view name_space,
                                              TimePoint deadline) {
  if (mutant_ == Mutant::kKeepsNamespace) return absl::OkStatus();
  return spaces_.DeleteNamespace(name_space, deadline);
}

absl::Status MutantResources::UpdateQueue(std::string_view queue,
                                          const QueueUpdate& update,
                                          TimePoint deadline) {
  if (mutant_ == Mutant::kForgetsUpdate) return absl::OkStatus();
  QueueUpdate changed = update;
  if (mutant_ == Mutant::kUpdateResets && !update.retention) {
    changed.retention = QueueOptions().retention;
  }
  if (mutant_ == Mutant::kKeepsQueueFilter && update.filter == "") {
    changed.filter.reset();
  }
  absl::Status status = updater_.UpdateQueue(queue, changed, deadline);
  if (mutant_ == Mutant::kHalfUpdate && !status.ok() && update.retention) {
    (void)updater_.UpdateQueue(queue, {.retention = update.retention},
                               deadline);
  }
  return status;
}

void CopyByRoutes(driver::Connection& connection, driver::Producer& producer,
                  const Message& message, TimePoint deadline) {
  auto* const routes = driver::QueryInterface<driver::RouteAdmin>(connection);
  const auto all = routes->ListRoutes(message.destination(), deadline);
  if (!all.ok()) return;
  for (const Route& route : *all) {
    Message copy(route.target, message.body());
    copy.SetProperties(message.properties());
    copy.SetMessageKey(message.message_key());
    copy.SetCorrelationId(message.correlation_id());
    SendForNobody(producer, copy, deadline);
  }
}

void SendForNobody(driver::Producer& producer, const Message& message,
                   TimePoint deadline) {
  producer.Send({&message, 1}, {.deadline = deadline, .caller_waits = true},
                *new mutant_resources::Nobody);
}

std::string WithoutNamespace(std::string_view queue) {
  return std::string(SplitQueueName(queue).queue);
}

}  // namespace openmessaging::conformance
