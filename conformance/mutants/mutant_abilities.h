// SPDX-License-Identifier: Apache-2.0
//
// The optional interfaces of a mutant: each hands on to the real one, unless
// the fault is in it.

#ifndef OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_ABILITIES_H_
#define OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_ABILITIES_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mutants.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"

namespace openmessaging::conformance {

class MutantAbilities final : public driver::Admin,
                              public driver::DelayControl,
                              public driver::StreamSource,
                              public driver::GroupControl,
                              public driver::StatsSource {
 public:
  // `inner` has all of them and outlives this.
  MutantAbilities(driver::Connection& inner, Mutant mutant)
      : admin_(*driver::QueryInterface<driver::Admin>(inner)),
        delays_(*driver::QueryInterface<driver::DelayControl>(inner)),
        streams_(*driver::QueryInterface<driver::StreamSource>(inner)),
        groups_(*driver::QueryInterface<driver::GroupControl>(inner)),
        stats_(*driver::QueryInterface<driver::StatsSource>(inner)),
        routes_(*driver::QueryInterface<driver::RouteAdmin>(inner)),
        mutant_(mutant) {}

  // Returns: as Connection::Query; nullptr for what is not among them.
  void* Query(std::string_view name);

  // driver::Admin
  absl::Status CreateQueue(std::string_view queue, const QueueOptions& options,
                           driver::TimePoint deadline) override;
  absl::Status DeleteQueue(std::string_view queue,
                           driver::TimePoint deadline) override;
  absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, driver::TimePoint deadline) override;
  absl::StatusOr<QueueInfo> DescribeQueue(std::string_view queue,
                                          driver::TimePoint deadline) override {
    return admin_.DescribeQueue(queue, deadline);
  }

  // driver::DelayControl
  absl::Status Cancel(std::string_view queue, const MessageId& id,
                      driver::TimePoint deadline) override;

  // driver::StreamSource
  absl::StatusOr<int32_t> PartitionsOf(std::string_view queue,
                                       driver::TimePoint deadline) override {
    return streams_.PartitionsOf(queue, deadline);
  }
  absl::StatusOr<Range> RangeOf(std::string_view queue, int32_t partition,
                                driver::TimePoint deadline) override {
    return streams_.RangeOf(queue, partition, deadline);
  }
  absl::StatusOr<int64_t> OffsetAt(std::string_view queue, int32_t partition,
                                   std::chrono::milliseconds since_1970_utc,
                                   driver::TimePoint deadline) override;
  absl::StatusOr<std::unique_ptr<driver::StreamReader>> Open(
      std::string_view queue, int32_t partition, int64_t offset,
      driver::TimePoint deadline) override;

  // driver::GroupControl
  absl::StatusOr<std::vector<std::string>> ListGroups(
      std::string_view queue, driver::TimePoint deadline) override {
    return groups_.ListGroups(queue, deadline);
  }
  absl::Status Seek(std::string_view queue, std::string_view group,
                    int32_t partition, int64_t offset,
                    driver::TimePoint deadline) override;
  absl::Status DeleteGroup(std::string_view queue, std::string_view group,
                           driver::TimePoint deadline) override {
    return groups_.DeleteGroup(queue, group, deadline);
  }

  // driver::StatsSource
  absl::StatusOr<QueueStats> StatsOf(std::string_view queue,
                                     driver::TimePoint deadline) override;

 private:
  driver::Admin& admin_;
  driver::DelayControl& delays_;
  driver::StreamSource& streams_;
  driver::GroupControl& groups_;
  driver::StatsSource& stats_;
  driver::RouteAdmin& routes_;
  const Mutant mutant_;
};

}  // namespace openmessaging::conformance
#endif  // OPENMESSAGING_CONFORMANCE_MUTANTS_MUTANT_ABILITIES_H_
