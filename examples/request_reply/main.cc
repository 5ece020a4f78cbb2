// SPDX-License-Identifier: Apache-2.0
//
// request_reply: one side asks for prices, several at once, and each question
// gets its own answer, whatever the order in which they come.

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("prices");
  if (!created.ok()) return created;

  // The answering side: the reply goes where the request wants it.
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  auto clerk = bus->CreatePushConsumer({.group = "clerks"});
  if (!clerk.ok()) return clerk.status();
  auto bound = clerk->Bind("prices", [&](const oms::Message& question) {
    if (question.body() == "durians") return oms::Ack();  // No answer.
    const auto price = std::to_string(question.body().size()) + " cents";
    auto reply = oms::MakeReply(question, price);
    if (!reply.ok()) return oms::Ack();  // Nobody waits.
    return producer->Send(*reply).ok() ? oms::Ack() : oms::Nack();
  });
  if (!bound.ok()) return bound;
  if (auto started = clerk->Start(); !started.ok()) return started;

  // The asking side: three questions are on their way at once.
  auto requester = bus->CreateRequester();
  if (!requester.ok()) return requester.status();
  const std::vector<std::string> fruits = {"apples", "pears", "melons"};
  std::vector<oms::Future<oms::Message>> answers;
  for (const std::string& fruit : fruits) {
    answers.push_back(requester->RequestAsync(oms::Message("prices", fruit)));
  }
  for (size_t i = 0; i < fruits.size(); ++i) {
    const auto answer = answers[i].Await();
    if (!answer.ok()) return answer.status();
    std::cout << fruits[i] << ": " << answer->body() << "\n";
  }

  // Nobody answers this one in time.
  const auto nothing = requester->Request(oms::Message("prices", "durians"),
                                          std::chrono::milliseconds(50));
  std::cout << "durians: " << static_cast<int>(oms::OmsCode(nothing.status()))
            << "\n";
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
