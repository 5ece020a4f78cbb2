// SPDX-License-Identifier: Apache-2.0

#include "samples.h"

#include <vector>

#include "doctest/doctest.h"

namespace openmessaging::tools::samples_test {

TEST_CASE("OMS-BENCH-001: percentiles are times that were measured") {
  std::vector<int64_t> times_ns;
  for (int64_t i = 2000; i >= 1; --i) times_ns.push_back(i * 10);

  const Latency latency = Summarise(times_ns);

  CHECK(latency.count == 2000);
  CHECK(latency.p50_ns == 10000);
  CHECK(latency.p99_ns == 19800);
  CHECK(latency.p99_9_ns == 19980);
  CHECK(latency.max_ns == 20000);
}

TEST_CASE("OMS-BENCH-001: few samples have the nearest one as percentile") {
  CHECK(Summarise(std::vector<int64_t>{}).count == 0);
  CHECK(Summarise(std::vector<int64_t>{7}).p50_ns == 7);
  CHECK(Summarise(std::vector<int64_t>{7}).p99_9_ns == 7);

  const Latency three = Summarise(std::vector<int64_t>{30, 10, 20});
  CHECK(three.p50_ns == 20);
  CHECK(three.p99_ns == 30);
}

TEST_CASE("OMS-BENCH-001: samples end with their room and keep every time") {
  Samples samples(2);
  samples.Add(5);
  CHECK_FALSE(samples.full());
  samples.Add(3);

  CHECK(samples.full());
  CHECK(samples.times_ns()[0] == 5);
  CHECK(Summarise(samples).max_ns == 5);
}

}  // namespace openmessaging::tools::samples_test
