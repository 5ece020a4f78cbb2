// SPDX-License-Identifier: Apache-2.0

#include "faults/allocations.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <set>

#include "openmessaging/internal/text.h"
#include "store_fixture.h"

namespace openmessaging::reference::faults {
namespace {

using internal::Concat;

std::atomic<bool> counting{false};
std::atomic<int64_t> made{0};
int64_t failing = -1;
bool failing_for_good = false;

void CountAllocation() {
  if (!counting.load(std::memory_order_relaxed)) return;
  const int64_t number = made.fetch_add(1);
  if (failing >= 0 &&
      (number == failing || (failing_for_good && number > failing))) {
    throw std::bad_alloc();
  }
}

// Not inlined: GCC 12 would see malloc in the one and delete in the other.
[[gnu::noinline]] void* AllocateCounted(size_t bytes) {
  CountAllocation();
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

[[gnu::noinline]] void* AllocateCounted(size_t bytes, size_t alignment) {
  CountAllocation();
  void* const memory = std::aligned_alloc(
      alignment, (bytes + alignment) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

[[gnu::noinline]] void FreeCounted(void* memory) { std::free(memory); }

// What the child tells, a line each: "+body" is stored, "-body" is not,
// "?body" either; then one of "returned N", "caught".
void WriteLines(int to, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(to, text.data() + done, text.size() - done);
    if (count <= 0) ::_exit(2);
    done += static_cast<size_t>(count);
  }
}

std::string LedgerOf(const World& world) {
  std::string text;
  for (const auto& [body, fate] : world.fates()) {
    text += fate == Fate::kThere ? '+' : fate == Fate::kGone ? '-' : '?';
    text += body + '\n';
  }
  return text;
}

// Never returns.
void RunChild(World& world, const Operation& operation,
              const AllocationFault& fault, int to, int from) {
  // A core file and last words would only be in the way.
  ::signal(SIGABRT, SIG_DFL);
  ::close(STDERR_FILENO);
  const struct rlimit none {};
  ::setrlimit(RLIMIT_CORE, &none);
  operation.set_up(world);
  WriteLines(to, LedgerOf(world) + "begin\n");
  failing = fault.allocation;
  failing_for_good = fault.for_good;
  made.store(0);
  std::string last;
  try {
    counting.store(true);
    operation.run(world);
    counting.store(false);
    last = LedgerOf(world) + "returned " + std::to_string(made.load()) + '\n';
  } catch (const std::bad_alloc&) {
    counting.store(false);
    last = "caught\n";
  }
  WriteLines(to, last);
  // It lives on, and holds what it holds.
  char byte = 0;
  static_cast<void>(::read(from, &byte, 1));
  ::_exit(0);
}

// Returns: all lines up to the last word, or to the child's death.
std::string Hear(int from) {
  std::string text;
  std::array<char, 4096> buffer;
  while (true) {
    pollfd ready{from, POLLIN, 0};
    if (::poll(&ready, 1, 20'000) != 1) return text + "silent\n";
    const ssize_t count = ::read(from, buffer.data(), buffer.size());
    if (count <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(count));
    const size_t begun = text.find("begin\n");
    if (begun == std::string::npos || !text.ends_with('\n')) continue;
    const std::string_view rest = std::string_view(text).substr(begun + 6);
    if (rest.find("returned ") != std::string_view::npos ||
        rest.find("caught\n") != std::string_view::npos) {
      return text;
    }
  }
}

void ReadLedger(std::string_view text, std::map<std::string, Fate>& fates) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.size() > 1) {
      const std::string body(line.substr(1));
      if (line[0] == '+') fates[body] = Fate::kThere;
      if (line[0] == '-') fates[body] = Fate::kGone;
      if (line[0] == '?') fates[body] = Fate::kEither;
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}

// Another process does what it likes, and waits for nobody. Returns: what is
// wrong.
std::string UseMeanwhile(const World& world) {
  auto bus = MessagingAccessPoint::Connect(world.Url());
  if (!bus.ok()) {
    return Concat("another opens it: ", std::string_view(Text(bus.status())));
  }
  auto manager = bus->resource_manager();
  absl::Status status = manager.CreateQueue("beside");
  if (OmsCode(status) == Code::kQueueExists) status = absl::OkStatus();
  auto producer = bus->CreateProducer();
  auto consumer = bus->CreatePullConsumer();
  if (status.ok()) status = producer.status();
  if (status.ok()) status = consumer.status();
  if (status.ok()) status = consumer->Bind("beside");
  if (status.ok()) status = producer->Send(Message("beside", "x")).status();
  if (!status.ok()) {
    return Concat("another uses it: ", std::string_view(Text(status)));
  }
  const auto received = consumer->Receive(milliseconds(200));
  if (!received.ok() || !received->has_value()) {
    return "another receives nothing of its own";
  }
  status = (**received).Ack();
  if (!status.ok()) {
    return Concat("another acks: ", std::string_view(Text(status)));
  }
  return {};
}

}  // namespace

AllocationResult RunAllocationCase(const Operation& operation,
                                   const AllocationFault& fault,
                                   std::string_view parent) {
  AllocationResult result;
  World world(parent, operation.attributes);
  std::array<int, 2> up{};
  std::array<int, 2> down{};
  REQUIRE(::pipe(up.data()) == 0);
  REQUIRE(::pipe(down.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) RunChild(world, operation, fault, up[1], down[0]);
  ::close(up[1]);
  ::close(down[0]);
  const std::string told = Hear(up[0]);
  const size_t begun = told.find("begin\n");
  REQUIRE(begun != std::string::npos);
  std::map<std::string, Fate> before;
  ReadLedger(std::string_view(told).substr(0, begun), before);
  std::map<std::string, Fate> after = before;
  const std::string_view rest = std::string_view(told).substr(begun + 6);
  ReadLedger(rest, after);
  if (const size_t at = rest.find("returned "); at != std::string_view::npos) {
    result.allocations = std::atoll(rest.data() + at + 9);
  } else {
    result.end = rest.find("caught\n") != std::string_view::npos
                     ? AllocationResult::End::kCaught
                     : AllocationResult::End::kDied;
    if (rest.find("silent\n") != std::string_view::npos) {
      result.wrong = "it hangs";
    }
    // What it was doing when it ended may be done or not.
    for (auto& [body, fate] : after) {
      if (operation.settles) fate = Fate::kEither;
    }
  }
  if (result.wrong.empty()) result.wrong = UseMeanwhile(world);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(up[0]);
  ::close(down[1]);
  for (const auto& [body, fate] : after) world.SetFate(body, fate);
  world.AllowUnknown();
  if (result.wrong.empty()) result.wrong = world.CheckStored(true);
  return result;
}

}  // namespace openmessaging::reference::faults

void* operator new(size_t bytes) {
  return openmessaging::reference::faults::AllocateCounted(bytes);
}
void* operator new[](size_t bytes) {
  return openmessaging::reference::faults::AllocateCounted(bytes);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return openmessaging::reference::faults::AllocateCounted(
      bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return openmessaging::reference::faults::AllocateCounted(
      bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
void operator delete[](void* memory) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
void operator delete(void* memory, size_t) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  openmessaging::reference::faults::FreeCounted(memory);
}
