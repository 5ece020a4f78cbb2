// SPDX-License-Identifier: Apache-2.0
//
// project_text: messages as JSON and as text. It reads a message's JSON form,
// changes the message, writes it again, and says what is wrong with another.

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "openmessaging/format.h"
#include "openmessaging/json.h"
#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto message = oms::FromJson(
      R"({"destination":"orders","properties":{"tries":2},"body":"42 apples"})");
  if (!message.ok()) return message.status();
  message->SetPriority(7);
  if (auto set = message->SetProperty("weight", 6.5); !set.ok()) return set;
  fmt::print("{}\n", oms::ToJson(*message));
  fmt::print("{}\n", message->properties());

  const auto bad = oms::FromJson(R"({"destination":"orders","prio":7})");
  fmt::print("OMS {}: {}\n", oms::OmsCode(bad.status()),
             std::string(bad.status().message()));
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}
