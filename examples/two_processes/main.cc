// SPDX-License-Identifier: Apache-2.0
//
// two_processes: this program sends, and starts itself as a worker that
// receives from the same directory. There is no server. The first worker is
// killed in the middle of a step; the second one goes on with that step.

#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <string>

#include "openmessaging/openmessaging.h"

extern char** environ;

namespace oms = openmessaging;

constexpr const char* kUrl = "oms:file:workshop";

// The worker: does steps until the last one. `fatal` is one that kills it.
absl::Status Work(const std::string& name, const std::string& fatal) {
  auto bus = oms::MessagingAccessPoint::Connect(kUrl);
  if (!bus.ok()) return bus.status();
  // Ordered: what belongs to one chair is done one after the other, also when
  // whoever had the last step died.
  auto consumer = bus->CreatePullConsumer({.group = "bench", .ordered = true});
  if (!consumer.ok()) return consumer.status();
  if (auto bound = consumer->Bind("steps"); !bound.ok()) return bound;
  while (true) {
    auto received = consumer->Receive(std::chrono::seconds(20));
    if (!received.ok()) return received.status();
    if (!received->has_value()) return absl::NotFoundError("nothing came");
    oms::Delivery& step = **received;
    std::cout << name << ": " << step->body() << ", delivery "
              << step->delivery_count() << std::endl;
    if (step->body() == fatal) std::raise(SIGKILL);
    const bool last = step->body() == "pack";
    if (auto acked = step.Ack(); !acked.ok() || last) return acked;
  }
}

// Starts this program as a worker. Returns: what waitpid says of its end.
int RunWorker(std::string name, std::string fatal) {
  std::string program = "two_processes";
  char* const arguments[] = {program.data(), name.data(), fatal.data(),
                             nullptr};
  pid_t worker = 0;
  int end = -1;
  if (::posix_spawn(&worker, "/proc/self/exe", nullptr, nullptr, arguments,
                    environ) == 0) {
    ::waitpid(worker, &end, 0);
  }
  return end;
}

absl::Status Run() {
  auto bus = oms::MessagingAccessPoint::Connect(kUrl);
  if (!bus.ok()) return bus.status();
  auto made = bus->resource_manager().CreateQueue("steps");
  if (!made.ok()) return made;
  auto producer = bus->CreateProducer();
  if (!producer.ok()) return producer.status();
  for (const char* const step : {"cut", "drill", "glue", "paint", "pack"}) {
    oms::Message message("steps", step);
    message.SetMessageKey("chair 7");
    if (auto sent = producer->Send(message); !sent.ok()) return sent.status();
  }
  std::cout << "sent 5 steps" << std::endl;

  const int first = RunWorker("first", "glue");
  if (!WIFSIGNALED(first)) return absl::InternalError("it was not killed");
  std::cout << "first was killed" << std::endl;
  if (RunWorker("second", "") != 0) return absl::InternalError("it failed");

  const auto stats = bus->resource_manager().Stats("steps");
  if (!stats.ok()) return stats.status();
  std::cout << stats->depth << " steps are left\n";
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  const absl::Status status = argc == 3 ? Work(argv[1], argv[2]) : Run();
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
