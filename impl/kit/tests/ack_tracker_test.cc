// SPDX-License-Identifier: Apache-2.0
//
// The tracker by itself, and against a simple model of it.

#include "openmessaging/kit/ack_tracker.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace openmessaging::ack_tracker_test {
namespace {

using kit::AckTracker;
using Outcome = AckTracker::Outcome;

constexpr size_t kWindow = 100;
constexpr size_t kRoom = 3000;

void DeliverAll(AckTracker& tracker, int64_t first, int64_t last) {
  for (int64_t offset = first; offset <= last; ++offset) {
    REQUIRE(tracker.Arrive(offset));
    REQUIRE(tracker.Deliver(offset) == 1);
  }
}

TEST_CASE("the low-water mark waits for the oldest unsettled message") {
  AckTracker tracker(10, kWindow);
  DeliverAll(tracker, 10, 13);

  CHECK(tracker.Ack(11, 1) == Outcome::kDone);
  CHECK(tracker.Ack(12, 1) == Outcome::kDone);
  CHECK(tracker.low_water() == 10);
  CHECK(tracker.Ack(10, 1) == Outcome::kDone);
  CHECK(tracker.low_water() == 13);
  CHECK(tracker.Ack(13, 1) == Outcome::kDone);
  CHECK(tracker.low_water() == 14);
}

TEST_CASE("an ack is good once more and not for what was never out") {
  AckTracker tracker(5, kWindow);
  DeliverAll(tracker, 5, 6);

  CHECK(tracker.Ack(5, 1) == Outcome::kDone);
  CHECK(tracker.Ack(5, 1) == Outcome::kDone);
  CHECK(tracker.Ack(4, 1) == Outcome::kDone);
  CHECK(tracker.Ack(7, 1) == Outcome::kUnknown);
  CHECK(tracker.Ack(-1, 1) == Outcome::kUnknown);
  CHECK(tracker.Ack(6, 0) == Outcome::kUnknown);
  CHECK(tracker.Ack(6, 2) == Outcome::kUnknown);
}

TEST_CASE("what was given back has another receipt") {
  AckTracker tracker(0, kWindow);
  DeliverAll(tracker, 0, 0);

  CHECK(tracker.GiveBack(0, 1) == Outcome::kDone);
  CHECK(tracker.Ack(0, 1) == Outcome::kStale);
  CHECK(tracker.Deliver(0) == 2);
  CHECK(tracker.Ack(0, 1) == Outcome::kStale);
  CHECK(tracker.low_water() == 0);
  CHECK(tracker.Ack(0, 2) == Outcome::kDone);
  CHECK(tracker.low_water() == 1);
}

TEST_CASE("a cumulative ack goes by the order of delivery") {
  AckTracker tracker(0, kWindow);
  DeliverAll(tracker, 0, 3);
  CHECK(tracker.GiveBack(1, 1) == Outcome::kDone);
  CHECK(tracker.Deliver(1) == 2);  // Now it is the last one.

  std::vector<int64_t> settled;
  const auto note = [&](int64_t offset) { settled.push_back(offset); };
  CHECK(tracker.AckUpTo(2, 1, note) == Outcome::kDone);

  CHECK(settled == std::vector<int64_t>{0, 2});
  CHECK(tracker.low_water() == 1);
  CHECK(tracker.AckUpTo(1, 2, note) == Outcome::kDone);
  CHECK(tracker.low_water() == 4);
}

TEST_CASE("offsets that the log has not are no gap") {
  AckTracker tracker(0, kWindow);
  CHECK(tracker.Arrive(3));
  CHECK(tracker.Deliver(3) == 1);
  CHECK(tracker.Arrive(9));
  CHECK(tracker.Deliver(9) == 1);

  CHECK(tracker.Ack(3, 1) == Outcome::kDone);
  CHECK(tracker.low_water() == 9);
  CHECK(tracker.Ack(9, 1) == Outcome::kDone);
  CHECK(tracker.low_water() == 10);
}

TEST_CASE("the window ends receiving and not the memory") {
  AckTracker tracker(0, kWindow);
  DeliverAll(tracker, 0, kWindow - 1);

  CHECK_FALSE(tracker.HasRoom(kWindow));
  CHECK(tracker.Ack(50, 1) == Outcome::kDone);
  CHECK_FALSE(tracker.HasRoom(kWindow));
  CHECK(tracker.Ack(0, 1) == Outcome::kDone);
  CHECK(tracker.HasRoom(kWindow));
  // With nothing unsettled any jump has room.
  AckTracker idle(0, kWindow);
  CHECK(idle.HasRoom(int64_t{1} << 40));
}

TEST_CASE("the next owner delivers what was not settled and counts on") {
  AckTracker first(100, kWindow);
  DeliverAll(first, 100, 105);
  CHECK(first.GiveBack(101, 1) == Outcome::kDone);
  CHECK(first.Deliver(101) == 2);
  for (const int64_t offset : {102, 103, 105}) {
    CHECK(first.Ack(offset, 1) == Outcome::kDone);
  }

  AckTracker next(first.low_water(), kWindow);
  REQUIRE(next.Restore(first.Image(kRoom)));

  CHECK(next.Arrive(100));
  CHECK(next.Deliver(100) == 2);
  CHECK(next.Arrive(101));
  CHECK(next.Deliver(101) == 3);
  CHECK_FALSE(next.Arrive(102));
  CHECK_FALSE(next.Arrive(103));
  CHECK(next.Arrive(104));
  CHECK(next.Deliver(104) == 2);
  CHECK_FALSE(next.Arrive(105));
  CHECK(next.Arrive(106));
  CHECK(next.Deliver(106) == 1);
  for (const int64_t offset : {100, 104}) CHECK(next.Ack(offset, 2) == Outcome::kDone);
  CHECK(next.Ack(101, 3) == Outcome::kDone);
  CHECK(next.low_water() == 106);
}

TEST_CASE("what the log deleted meanwhile is waited for no longer") {
  AckTracker first(0, kWindow);
  DeliverAll(first, 0, 3);
  AckTracker next(0, kWindow);
  REQUIRE(next.Restore(first.Image(kRoom)));

  CHECK(next.Arrive(2));

  CHECK(next.low_water() == 2);
}

TEST_CASE("an image that does not fit loses counts before acks") {
  AckTracker tracker(0, kWindow);
  DeliverAll(tracker, 0, 31);
  for (int64_t offset = 0; offset < 32; ++offset) {
    CHECK(tracker.GiveBack(offset, 1) == Outcome::kDone);
    CHECK(tracker.Deliver(offset) == 2);
  }
  CHECK(tracker.Ack(20, 2) == Outcome::kDone);

  AckTracker next(0, kWindow);
  REQUIRE(next.Restore(tracker.Image(6)));
  CHECK(next.Arrive(0));
  CHECK(next.Deliver(0) == 2);  // One delivery was forgotten.
  for (int64_t offset = 1; offset < 20; ++offset) CHECK(next.Arrive(offset));
  CHECK_FALSE(next.Arrive(20));
  CHECK(tracker.Image(4).empty());
}

TEST_CASE("bytes that are no image change nothing") {
  std::mt19937 random(7);
  AckTracker whole(0, kWindow);
  DeliverAll(whole, 0, 40);
  CHECK(whole.GiveBack(3, 1) == Outcome::kDone);
  CHECK(whole.Deliver(3) == 2);
  const std::string image = whole.Image(kRoom);
  CHECK_FALSE(AckTracker(0, kWindow).Restore(""));
  CHECK_FALSE(AckTracker(0, kWindow).Restore("\xff\xff\xff\xff\xff"));
  for (size_t size = 1; size < 6; ++size) {
    CHECK_FALSE(AckTracker(0, kWindow).Restore(image.substr(0, size)));
  }
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = image;
    for (int n = 0; n < 3; ++n) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    AckTracker tracker(0, kWindow);
    (void)tracker.Restore(bytes);
    (void)tracker.Arrive(5);
    (void)tracker.Image(kRoom);
  }
}

TEST_CASE("any order of settling leaves what the model says") {
  std::mt19937 random(42);
  for (int round = 0; round < 200; ++round) {
    AckTracker tracker(0, kWindow);
    std::map<int64_t, int32_t> unsettled;  // With their deliveries.
    std::set<int64_t> out;
    int64_t next = 0;
    for (int step = 0; step < 300; ++step) {
      if (random() % 3 == 0 && tracker.HasRoom(next)) {
        REQUIRE(tracker.Arrive(next));
        unsettled[next] = tracker.Deliver(next);
        out.insert(next);
        next += 1 + static_cast<int64_t>(random() % 3 == 0);
      } else if (!out.empty()) {
        auto one = out.begin();
        std::advance(one, random() % out.size());
        const int64_t offset = *one;
        if (random() % 4 == 0) {
          REQUIRE(tracker.GiveBack(offset, unsettled[offset]) ==
                  Outcome::kDone);
          unsettled[offset] = tracker.Deliver(offset);
        } else {
          REQUIRE(tracker.Ack(offset, unsettled[offset]) == Outcome::kDone);
          out.erase(one);
          unsettled.erase(offset);
        }
      }
      if (random() % 40 == 0) {
        // Another owner takes over.
        AckTracker heir(tracker.low_water(), kWindow);
        const std::string image = tracker.Image(kRoom);
        REQUIRE(heir.Restore(image) == !image.empty());
        for (int64_t offset = tracker.low_water(); offset < tracker.end();
             ++offset) {
          const bool wanted = unsettled.contains(offset);
          REQUIRE(heir.Arrive(offset) == wanted);
          if (!wanted) continue;
          REQUIRE(heir.Deliver(offset) == unsettled[offset] + 1);
          ++unsettled[offset];
        }
        tracker = std::move(heir);
      }
      if (!unsettled.empty()) {
        REQUIRE(tracker.low_water() == unsettled.begin()->first);
      }
    }
  }
}

}  // namespace
}  // namespace openmessaging::ack_tracker_test
