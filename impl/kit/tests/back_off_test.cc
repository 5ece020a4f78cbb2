// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/back_off.h"

#include <doctest/doctest.h>

#include <set>

namespace openmessaging::inline v0::kit::back_off_test {

using Milliseconds = std::chrono::milliseconds;

TEST_CASE("each wait may be twice the one before, up to the longest") {
  BackOff back_off({.first = Milliseconds(100), .longest = Milliseconds(700)},
                   1);

  for (const int64_t most : {100, 200, 400, 700, 700, 700}) {
    const int64_t wait = back_off.Next().count();
    CHECK(wait >= most / 2);
    CHECK(wait <= most);
  }
}

TEST_CASE("a success makes the next failure a first one") {
  BackOff back_off({.first = Milliseconds(10), .longest = Milliseconds(80000)},
                   1);
  for (int i = 0; i < 100; ++i) (void)back_off.Next();

  back_off.Reset();

  CHECK(back_off.Next() <= Milliseconds(10));
}

TEST_CASE("clients that fail together do not come back together") {
  std::set<int64_t> waits;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    waits.insert(BackOff({.first = Milliseconds(100000),
                          .longest = Milliseconds(100000)},
                         seed)
                     .Next()
                     .count());
  }
  CHECK(waits.size() > 15);
}

TEST_CASE("a longest wait under the first bounds that too") {
  BackOff back_off({.first = Milliseconds(100), .longest = Milliseconds(30)},
                   1);
  CHECK(back_off.Next() <= Milliseconds(30));
  CHECK(back_off.Next() <= Milliseconds(30));
}

}  // namespace openmessaging::inline v0::kit::back_off_test
