// SPDX-License-Identifier: Apache-2.0
//
// What the catalog writes of a queue, and reads.

#include "catalog.h"

#include <doctest/doctest.h>

namespace openmessaging::kafka::kafka_catalog_test {
namespace {

TEST_CASE("options are read as they were written") {
  QueueOptions options;
  options.max_deliveries = 3;
  options.dead_letter_queue = "dead.letters-1";
  options.redelivery_delay = milliseconds(10);
  options.max_redelivery_delay = milliseconds(20000);
  options.retention = std::chrono::hours(24);

  const QueueOptions read = ReadOptions(OptionsText(options));

  CHECK(read.max_deliveries == 3);
  CHECK(read.dead_letter_queue == "dead.letters-1");
  CHECK(read.redelivery_delay == milliseconds(10));
  CHECK(read.max_redelivery_delay == milliseconds(20000));
  CHECK(read.retention == std::chrono::hours(24));
  CHECK_FALSE(IsPlain(options));
  CHECK(IsPlain(ReadOptions(OptionsText(QueueOptions()))));
}

TEST_CASE("words of a later version and nonsense are passed over") {
  const QueueOptions read = ReadOptions(
      "colour=red max-deliveries=many redelivery-delay=-5 = alone "
      "max-deliveries=99999999999 dead-letter-queue=d");
  CHECK(read.max_deliveries == 0);
  CHECK(read.redelivery_delay == QueueOptions().redelivery_delay);
  CHECK(read.dead_letter_queue == "d");
  CHECK(IsPlain(ReadOptions("")));
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_catalog_test
