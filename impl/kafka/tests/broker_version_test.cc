// SPDX-License-Identifier: Apache-2.0
//
// What brokers say of their version, and what is declared for it.

#include "broker_version.h"

#include <doctest/doctest.h>

namespace openmessaging::kafka::kafka_broker_version_test {
namespace {

TEST_CASE("a version is the first two numbers") {
  CHECK(ParseVersion("3.9-IV0") == BrokerVersion{3, 9});
  CHECK(ParseVersion("2.4") == BrokerVersion{2, 4});
  CHECK(ParseVersion("0.11.0.0") == BrokerVersion{0, 11});
  CHECK(ParseVersion("10.12-IV3") == BrokerVersion{10, 12});
}

TEST_CASE("what is no version is 0.0") {
  for (const char* text : {"", "3", "3.", "IV0", ".9", "3,9", "99999999999.1"}) {
    CAPTURE(text);
    CHECK(ParseVersion(text) == BrokerVersion{});
  }
}

TEST_CASE("brokers that do not fence groups have no transactions here") {
  QueueOptions options;
  options.dead_letter_queue = "dead";
  for (const auto version : {BrokerVersion{2, 4}, BrokerVersion{2, 5},
                             BrokerVersion{3, 9}, BrokerVersion{4, 0}}) {
    CAPTURE(version.major);
    CAPTURE(version.minor);
    const Capabilities all = CapabilitiesFor(options, version);

    const bool fences = version >= kFencesGroups;
    CHECK(all.Has(Capability::kTransactionLocal) == fences);
    CHECK(all.Has(Capability::kDeadLetter) == fences);
    CHECK(all.Has(Capability::kReject) == fences);
    CHECK(all.Has(Capability::kIndividualAck));
  }
}

}  // namespace
}  // namespace openmessaging::kafka::kafka_broker_version_test
