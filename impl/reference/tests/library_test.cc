// SPDX-License-Identifier: Apache-2.0
//
// The driver in a program that does not link it: it comes from shared libraries
// in the directory that the environment names.

#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::library_test {
namespace {

// Before anything asks for the default registry.
const bool kDirectoryIsSet =
    ::setenv("OMS_DRIVER_DIRECTORY", DRIVER_LIBRARIES, 1) == 0;

// Sends ten messages and receives them.
void SendAndReceive(const std::string& url) {
  const auto bus = MessagingAccessPoint::Connect(url);
  REQUIRE_MESSAGE(bus.ok(), bus.status());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  auto consumer = bus->CreatePullConsumer({.group = "billing"});
  REQUIRE(consumer.ok());
  REQUIRE(consumer->Bind("orders").ok());
  for (int n = 0; n < 10; ++n) {
    const auto sent = producer->Send(Message("orders", std::to_string(n)));
    REQUIRE_MESSAGE(sent.ok(), sent.status());
  }
  for (int n = 0; n < 10; ++n) {
    const auto delivery = consumer->Receive(std::chrono::seconds(10));
    REQUIRE(delivery.ok());
    REQUIRE(delivery->has_value());
    CHECK((*delivery)->message().body() == std::to_string(n));
    CHECK((*delivery)->Ack().ok());
  }
  // A status of the library's is one of the program's.
  const auto none = consumer->Receive(std::chrono::milliseconds(0));
  REQUIRE(none.ok());
  CHECK_FALSE(none->has_value());
  const absl::Status again = bus->resource_manager().CreateQueue("orders");
  CHECK(OmsCode(again) == Code::kQueueExists);
}

TEST_CASE("OMS-DRV-020: the memory driver from its library") {
  REQUIRE(kDirectoryIsSet);
  SendAndReceive("oms:memory://library");
}

TEST_CASE("OMS-DRV-020: the file driver from its library") {
  std::string path =
      (std::filesystem::temp_directory_path() / "oms-XXXXXX").string();
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  SendAndReceive("oms:file://" + path + "/store");
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace
}  // namespace openmessaging::library_test
