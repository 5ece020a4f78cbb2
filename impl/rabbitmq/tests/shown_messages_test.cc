// SPDX-License-Identifier: Apache-2.0

#include "shown_messages.h"

#include <doctest/doctest.h>

namespace openmessaging::rabbitmq::rabbitmq_shown_messages_test {

TEST_CASE("what is shown is found until it is forgotten") {
  ShownMessages shown;
  for (uint64_t tag = 3; tag <= 9; tag += 2) {
    shown.Show(tag, Message("q", std::to_string(tag)));
  }
  REQUIRE(shown.Find(5) != nullptr);
  CHECK(shown.Find(5)->body() == "5");
  for (const uint64_t none : {0, 2, 4, 10}) CHECK(shown.Find(none) == nullptr);

  shown.Forget(5, 7);

  CHECK(shown.Find(5) == nullptr);
  CHECK(shown.Find(7) == nullptr);
  CHECK(shown.Find(3)->body() == "3");
  CHECK(shown.Find(9)->body() == "9");
}

TEST_CASE("what is forgotten in front takes no room") {
  ShownMessages shown;
  for (uint64_t tag = 1; tag <= 1000; ++tag) {
    shown.Show(tag, Message("q", "x"));
    if (tag > 10) shown.Forget(tag - 10, tag - 10);
  }
  CHECK(shown.size() == 10);
  shown.Forget(0, 2000);
  CHECK(shown.size() == 0);
  shown.Forget(0, 2000);
  shown.Show(1001, Message("q", "again"));
  CHECK(shown.Find(1001)->body() == "again");
}

}  // namespace openmessaging::rabbitmq::rabbitmq_shown_messages_test
