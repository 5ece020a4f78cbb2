// SPDX-License-Identifier: Apache-2.0

#include "tag_table.h"

#include <doctest/doctest.h>

namespace openmessaging::rabbitmq::rabbitmq_tag_table_test {

using Acks = std::vector<TagTable::Ack>;
using State = TagTable::State;

TagTable Shown(uint64_t count) {
  TagTable tags;
  for (uint64_t tag = 1; tag <= count; ++tag) {
    tags.Add(tag);
    tags.Show(tag);
  }
  return tags;
}

TEST_CASE("acknowledgements without a gap are told as one") {
  TagTable tags = Shown(5);
  for (const uint64_t tag : {2, 1, 3}) tags.Acknowledge(tag);

  CHECK(tags.TakeAcks() == Acks{{3, true}});
  CHECK(tags.TakeAcks().empty());
  tags.Acknowledge(4);
  CHECK(tags.TakeAcks() == Acks{{4, false}});
}

TEST_CASE("what is unsettled is never covered by another's acknowledgement") {
  TagTable tags = Shown(6);
  tags.Add(7);  // Held, not shown.
  for (const uint64_t tag : {1, 2, 4, 6}) tags.Acknowledge(tag);

  CHECK(tags.TakeAcks() == Acks{{2, true}, {4, false}, {6, false}});

  CHECK(tags.Of(3) == State::kShown);
  CHECK(tags.Of(7) == State::kHeld);
  tags.Acknowledge(3);
  tags.Acknowledge(5);
  CHECK(tags.TakeAcks() == Acks{{5, true}});
}

TEST_CASE("an acknowledgement of many covers what was returned before it") {
  // The owner tells the broker first of what was returned.
  TagTable tags = Shown(3);
  tags.Return(1);
  tags.Acknowledge(2);
  tags.Acknowledge(3);
  CHECK(tags.TakeAcks() == Acks{{3, true}});
  CHECK(tags.Of(1) == State::kReturned);
}

TEST_CASE("what leaves for later is not covered before it has arrived") {
  TagTable tags = Shown(3);
  tags.Leave(2);
  tags.Acknowledge(1);
  tags.Acknowledge(3);
  CHECK(tags.TakeAcks() == Acks{{1, false}, {3, false}});
  CHECK(tags.Of(2) == State::kLeaving);
  tags.Return(2);
  CHECK(tags.Of(2) == State::kReturned);
}

TEST_CASE("acknowledging up to one settles what was shown and no more") {
  TagTable tags = Shown(3);
  tags.Add(4);
  tags.Return(2);
  tags.AcknowledgeUpTo(4);
  CHECK(tags.TakeAcks() == Acks{{3, true}});
  CHECK(tags.Of(2) == State::kReturned);
  CHECK(tags.Of(4) == State::kHeld);
}

TEST_CASE("what is on its way to the dead letters is covered by no other") {
  TagTable tags = Shown(4);
  tags.Hold(2);
  tags.AcknowledgeUpTo(4);
  CHECK(tags.TakeAcks() == Acks{{1, false}, {3, false}, {4, false}});
  CHECK(tags.Of(2) == State::kDying);
  tags.Acknowledge(2);
  CHECK(tags.TakeAcks() == Acks{{2, false}});
}

TEST_CASE("every tag is told apart when it is settled") {
  TagTable tags = Shown(2);
  CHECK(tags.Of(0) == State::kNone);
  CHECK(tags.Of(3) == State::kNone);
  CHECK(tags.Of(UINT64_MAX) == State::kNone);
  tags.Acknowledge(1);
  CHECK(tags.Of(1) == State::kAcked);
  (void)tags.TakeAcks();
  CHECK(tags.Of(1) == State::kSettled);
  tags.Return(2);
  CHECK(tags.Of(2) == State::kReturned);
  // A number from elsewhere does no harm.
  tags.Return(99);
  tags.Acknowledge(99);
  CHECK(tags.TakeAcks().empty());
}

TEST_CASE("a new channel counts anew") {
  TagTable tags = Shown(3);
  tags.Acknowledge(1);
  tags.Reset();
  CHECK(tags.Of(1) == State::kNone);
  tags.Add(1);
  CHECK(tags.Of(1) == State::kHeld);
  CHECK(tags.TakeAcks().empty());
}

}  // namespace openmessaging::rabbitmq::rabbitmq_tag_table_test
