// SPDX-License-Identifier: Apache-2.0
//
// In steady state the reference driver allocates nothing: not for a send, not
// for a receive, not for an ack. The test replaces operator new, so it is a
// program of its own.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "store_fixture.h"

namespace {

// By any thread.
std::atomic<size_t> allocations{0};

// Not inlined: GCC 12 would see malloc in the one and delete in the other.
[[gnu::noinline]] void* Allocate(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}

[[gnu::noinline]] void* AllocateAligned(size_t bytes, size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::aligned_alloc(
      alignment, (bytes + alignment) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

[[gnu::noinline]] void Free(void* memory) { std::free(memory); }

}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return AllocateAligned(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return AllocateAligned(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept {
  Free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  Free(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  Free(memory);
}

namespace openmessaging::reference::allocation_test {
namespace {

// Rolling into another segment allocates; that is not the steady state.
constexpr std::string_view kOneSegment = "?first-segment=8MiB&max-segment=8MiB";
constexpr int kWarmUp = 100;
constexpr int kRounds = 2000;
constexpr int kRoundsWithFlush = 200;

// Returns: how many allocations `rounds` calls make once it is warm.
template <typename Operation>
size_t AllocationsOf(int rounds, Operation operation) {
  for (int i = 0; i < kWarmUp; ++i) operation();
  const size_t before = allocations.load();
  for (int i = 0; i < rounds; ++i) operation();
  return allocations.load() - before;
}

// One queue with a producer and a consumer.
template <typename Place>
struct Line {
  Place place;
  MessagingAccessPoint bus = ConnectWith(place.Url(kOneSegment), "orders");
  Producer producer = Must(bus.CreateProducer());
  PullConsumer consumer = Consume(bus, "orders");

  void SendReceiveAck(const Message& message) {
    // No macro of the test library here: they allocate.
    if (!producer.Send(message).ok()) std::abort();
    const auto received = consumer.Receive(kLong);
    if (!received.ok() || !received->has_value()) std::abort();
    if ((**received)->body() != message.body()) std::abort();
    if (!(**received).Ack().ok()) std::abort();
  }
};

Message MakeMessage(Durability durability) {
  Message message("orders", "42 apples");
  message.SetMessageKey("key").SetDurability(durability);
  return message;
}

TEST_CASE("OMS-PROD-016: the count sees an allocation") {
  CHECK(AllocationsOf(kRounds, [] { ::operator delete(::operator new(1)); }) ==
        kRounds);
}

TEST_CASE_TEMPLATE("OMS-REF-022: send and receive and ack allocate nothing",
                   Place, MemoryPlace, FilePlace) {
  Line<Place> line;
  const Message message = MakeMessage(Durability::kVolatile);

  CHECK(AllocationsOf(kRounds, [&] { line.SendReceiveAck(message); }) == 0);
}

TEST_CASE_TEMPLATE("OMS-PROD-016: nor with a message that is built each time",
                   Place, MemoryPlace, FilePlace) {
  Line<Place> line;

  CHECK(AllocationsOf(kRounds, [&] {
          line.SendReceiveAck(MakeMessage(Durability::kVolatile));
        }) == 0);
}

TEST_CASE("OMS-REF-022: nor where the file must survive its processes") {
  Line<FilePlace> line;
  const Message message = MakeMessage(Durability::kProcess);

  CHECK(AllocationsOf(kRounds, [&] { line.SendReceiveAck(message); }) == 0);
  CHECK(AllocationsOf(kRounds, [&] {
          line.SendReceiveAck(MakeMessage(Durability::kProcess));
        }) == 0);
}

TEST_CASE("OMS-REF-022: nor where each message is flushed to the disk") {
  Line<FilePlace> line;
  const Message message = MakeMessage(Durability::kDisk);

  CHECK(AllocationsOf(kRoundsWithFlush,
                      [&] { line.SendReceiveAck(message); }) == 0);
  CHECK(AllocationsOf(kRoundsWithFlush, [&] {
          line.SendReceiveAck(MakeMessage(Durability::kDisk));
        }) == 0);
}

TEST_CASE_TEMPLATE("OMS-CONS-017: an empty receive allocates nothing", Place,
                   MemoryPlace, FilePlace) {
  Line<Place> line;
  line.SendReceiveAck(MakeMessage(Durability::kVolatile));

  CHECK(AllocationsOf(kRounds, [&] {
          const auto received = line.consumer.Receive(milliseconds(0));
          if (!received.ok() || received->has_value()) std::abort();
        }) == 0);
}

TEST_CASE_TEMPLATE("OMS-CONS-017: nor a batch into the caller's storage", Place,
                   MemoryPlace, FilePlace) {
  Line<Place> line;
  const Message message = MakeMessage(Durability::kVolatile);
  std::array<Delivery, 4> deliveries;

  CHECK(AllocationsOf(kRounds, [&] {
          for (size_t i = 0; i < deliveries.size(); ++i) {
            if (!line.producer.Send(message).ok()) std::abort();
          }
          const auto count = line.consumer.ReceiveBatch(deliveries, kLong);
          if (!count.ok() || *count != deliveries.size()) std::abort();
          for (const Delivery& delivery : deliveries) {
            if (!delivery.Ack().ok()) std::abort();
          }
        }) == 0);
}

TEST_CASE_TEMPLATE("OMS-CONS-017: nor a message that is given back", Place,
                   MemoryPlace, FilePlace) {
  Line<Place> line;
  const Message message = MakeMessage(Durability::kVolatile);

  CHECK(AllocationsOf(kRounds, [&] {
          if (!line.producer.Send(message).ok()) std::abort();
          const auto first = line.consumer.Receive(kLong);
          if (!first.ok() || !first->has_value()) std::abort();
          if (!(**first).Nack(milliseconds(0)).ok()) std::abort();
          const auto second = line.consumer.Receive(kLong);
          if (!second.ok() || !second->has_value()) std::abort();
          if ((**second)->delivery_count() != 2) std::abort();
          if (!(**second).Ack().ok()) std::abort();
        }) == 0);
}

}  // namespace
}  // namespace openmessaging::reference::allocation_test
