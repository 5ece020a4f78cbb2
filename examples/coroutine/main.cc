// SPDX-License-Identifier: Apache-2.0
//
// coroutine: asks and goes on where the answer comes, without a thread that
// waits. Any coroutine type will do; this one is the least there can be.

#include <coroutine>
#include <exception>
#include <future>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

namespace oms = openmessaging;

// Runs until its first co_await, and then by itself to its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// Parameters are copied into the coroutine, so that it owns what it needs.
Detached AskForPrices(oms::Requester* requester,
                      std::promise<absl::Status>* done) {
  for (const std::string fruit : {"apples", "pears"}) {
    const auto answer =
        co_await requester->RequestAsync(oms::Message("prices", fruit));
    if (!answer.ok()) {
      done->set_value(answer.status());
      co_return;
    }
    std::cout << fruit << ": " << answer->body() << "\n";
  }
  done->set_value(absl::OkStatus());
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect("oms:memory://shop");
  if (!bus.ok()) return bus.status();
  auto created = bus->resource_manager().CreateQueue("prices");
  if (!created.ok()) return created;
  // Ends after the requester, which waits for what it resumes.
  std::promise<absl::Status> done;
  auto producer = bus->CreateProducer();
  auto clerk = bus->CreatePushConsumer();
  auto requester = bus->CreateRequester();
  if (!producer.ok()) return producer.status();
  if (!clerk.ok()) return clerk.status();
  if (!requester.ok()) return requester.status();
  auto bound = clerk->Bind("prices", [&](const oms::Message& question) {
    const auto reply = oms::MakeReply(
        question, std::to_string(question.body().size()) + " cents");
    if (reply.ok()) (void)producer->SendAsync(*reply);
    return oms::Ack();
  });
  if (!bound.ok()) return bound;
  if (auto started = clerk->Start(); !started.ok()) return started;

  AskForPrices(&*requester, &done);
  return done.get_future().get();
}

int main() {
  const absl::Status status = Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
