// SPDX-License-Identifier: Apache-2.0
//
// project_headers: a program that links no driver. It reads a URL and builds a
// message; without a driver, connecting says what is missing.

#include <iostream>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto url = oms::Url::Parse("oms:kafka://h1:9092,h2/eu?operation.timeout=2s");
  if (!url.ok()) return url.status();
  std::cout << "driver " << url->driver() << ", " << url->hosts().size()
            << " hosts, region " << url->region() << "\n";

  oms::Message message("orders", "42 apples");
  message.SetMessageKey("customer-7");
  if (auto set = message.SetProperty("weight", 6.5); !set.ok()) return set;
  auto weight = message.properties().Get<double>("weight");
  if (!weight.ok()) return weight.status();
  std::cout << message.body() << " for " << message.message_key() << ", "
            << *weight << " kg\n";

  auto bus = oms::MessagingAccessPoint::Connect(url->ToString());
  std::cout << bus.status().message() << " (OMS "
            << static_cast<int>(oms::OmsCode(bus.status())) << ")\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
