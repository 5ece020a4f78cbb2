// SPDX-License-Identifier: Apache-2.0
//
// Routes, namespaces and changes of queues, as a mutant has them.

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_RESOURCES_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_RESOURCES_H_

#include <string>
#include <string_view>
#include <vector>

#include "mutants.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/driver/producer.h"

namespace openmessaging::conformance {

class MutantResources final : public driver::RouteAdmin,
                              public driver::NamespaceControl,
                              public driver::QueueUpdater {
 public:
  // `inner` has all of them and outlives this.
  MutantResources(driver::Connection& inner, Mutant mutant)
      : routes_(*driver::QueryInterface<driver::RouteAdmin>(inner)),
        spaces_(*driver::QueryInterface<driver::NamespaceControl>(inner)),
        updater_(*driver::QueryInterface<driver::QueueUpdater>(inner)),
        mutant_(mutant) {}

  // Returns: as Connection::Query; nullptr for what is not among them.
  void* Query(std::string_view name);

  // driver::RouteAdmin
  absl::Status CreateRoute(const Route& route,
                           driver::TimePoint deadline) override;
  absl::Status DeleteRoute(std::string_view source, std::string_view target,
                           driver::TimePoint deadline) override;
  absl::StatusOr<std::vector<Route>> ListRoutes(
      std::string_view source, driver::TimePoint deadline) override {
    return routes_.ListRoutes(source, deadline);
  }

  // driver::NamespaceControl
  absl::Status CreateNamespace(std::string_view name_space,
                               driver::TimePoint deadline) override;
  absl::Status DeleteNamespace(std::string_view name_space,
                               driver::TimePoint deadline) override;
  absl::StatusOr<std::vector<std::string>> ListNamespaces(
      driver::TimePoint deadline) override {
    return spaces_.ListNamespaces(deadline);
  }

  // driver::QueueUpdater
  absl::Status UpdateQueue(std::string_view queue, const QueueUpdate& update,
                           driver::TimePoint deadline) override;

 private:
  driver::RouteAdmin& routes_;
  driver::NamespaceControl& spaces_;
  driver::QueueUpdater& updater_;
  const Mutant mutant_;
};

// Sends a new message like `message` to each target of a route of its queue.
void CopyByRoutes(driver::Connection& connection, driver::Producer& producer,
                  const Message& message, driver::TimePoint deadline);

// Sends `message` and forgets what becomes of it.
void SendForNobody(driver::Producer& producer, const Message& message,
                   driver::TimePoint deadline);

// Returns: the queue of that name in the default namespace.
std::string WithoutNamespace(std::string_view queue);

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_RESOURCES_H_
