// SPDX-License-Identifier: Apache-2.0
//
// What a commit says of a partition beside its mark: docs/kafka.md.

#include "assigned.h"

#include <doctest/doctest.h>

#include "openmessaging/driver/message_access.h"

namespace openmessaging::kafka::kafka_assigned_test {
namespace {

TEST_CASE("what is settled above the mark outlives the member") {
  for (const bool stopped : {false, true}) {
    CAPTURE(stopped);
    kit::AckTracker tracker(10, kWindow);
    for (int64_t offset = 10; offset < 14; ++offset) {
      REQUIRE(tracker.Arrive(offset));
      REQUIRE(tracker.Deliver(offset) == 1);
    }
    REQUIRE(tracker.Ack(12, 1) == kit::AckTracker::Outcome::kDone);

    const std::string metadata = MetadataOf(tracker, stopped);
    kit::AckTracker heir(10, kWindow);
    RestoreFrom(metadata, heir);

    CHECK(SaysStopped(metadata) == stopped);
    CHECK(heir.settled_above() == 1);
    CHECK_FALSE(heir.Arrive(12));
  }
}

TEST_CASE("a mark alone says that its group is stopped, or nothing") {
  const kit::AckTracker fresh(10, kWindow);

  CHECK(MetadataOf(fresh, false).empty());
  CHECK(SaysStopped(MetadataOf(fresh, true)));
}

TEST_CASE("metadata of somebody else's says nothing") {
  for (const std::string_view metadata : {"", "oms", "their own", "oms1:?"}) {
    CAPTURE(metadata);
    kit::AckTracker tracker(10, kWindow);
    RestoreFrom(metadata, tracker);

    CHECK_FALSE(SaysStopped(metadata));
    CHECK(tracker.settled_above() == 0);
  }
}

TEST_CASE("a partition is stopped while what came last has no room") {
  Assigned partition(1, "orders", 0, 0, {});
  const auto park = [&](int64_t offset) {
    Received received;
    driver::MessageAccess::SetDelivery(received.message, {.offset = offset});
    partition.parked.push_back(std::move(received));
  };
  REQUIRE(partition.tracker.Arrive(0));
  CHECK_FALSE(partition.IsStopped());

  park(kWindow);
  CHECK(partition.IsStopped());

  REQUIRE(partition.tracker.Deliver(0) == 1);
  REQUIRE(partition.tracker.Ack(0, 1) == kit::AckTracker::Outcome::kDone);
  CHECK_FALSE(partition.IsStopped());
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_assigned_test
