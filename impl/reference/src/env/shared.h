// SPDX-License-Identifier: Apache-2.0
//
// Shared<T> is the only atomic of the engine: a word in memory that several
// processes map. A build with OPENMESSAGING_TRACE_ATOMICS tells a hook before
// each operation, which is how schedules and kills are explored.

#ifndef OPENMESSAGING_REFERENCE_ENV_SHARED_H_
#define OPENMESSAGING_REFERENCE_ENV_SHARED_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace openmessaging::reference {

#ifdef OPENMESSAGING_TRACE_ATOMICS
// What is about to be done to a shared word.
enum class SharedOperation : uint8_t { kLoad, kStore, kUpdate };

// Called before each operation on a shared word of so many bytes; set by tests.
extern thread_local void (*shared_word_hook)(const void* word, size_t bytes,
                                             SharedOperation operation);
#define OPENMESSAGING_SHARED_HOOK(operation)                          \
  do {                                                                \
    if (shared_word_hook != nullptr) {                                \
      shared_word_hook(this, sizeof(*this),                           \
                       SharedOperation::operation);                   \
    }                                                                 \
  } while (false)
#else
#define OPENMESSAGING_SHARED_HOOK(operation) \
  do {                                       \
  } while (false)
#endif

// Loads acquire and stores release unless the name says otherwise. All-zero
// bytes are a Shared of zero, so that zeroed pages need no construction.
template <typename T>
class Shared {
 public:
  static_assert(std::atomic<T>::is_always_lock_free,
                "a lock would not be shared between processes");

  T Load() const {
    OPENMESSAGING_SHARED_HOOK(kLoad);
    return value_.load(std::memory_order_acquire);
  }
  T LoadRelaxed() const {
    OPENMESSAGING_SHARED_HOOK(kLoad);
    return value_.load(std::memory_order_relaxed);
  }
  // For the two sides of a doorbell, each of which writes one word and then
  // reads the other's.
  T LoadSequential() const {
    OPENMESSAGING_SHARED_HOOK(kLoad);
    return value_.load(std::memory_order_seq_cst);
  }
  void Store(T value) {
    OPENMESSAGING_SHARED_HOOK(kStore);
    value_.store(value, std::memory_order_release);
  }
  void StoreRelaxed(T value) {
    OPENMESSAGING_SHARED_HOOK(kStore);
    value_.store(value, std::memory_order_relaxed);
  }
  void StoreSequential(T value) {
    OPENMESSAGING_SHARED_HOOK(kStore);
    value_.store(value, std::memory_order_seq_cst);
  }
  T Exchange(T value) {
    OPENMESSAGING_SHARED_HOOK(kUpdate);
    return value_.exchange(value, std::memory_order_seq_cst);
  }
  // Returns: whether the word was `expected`; it holds what was there.
  bool CompareExchange(T& expected, T desired) {
    OPENMESSAGING_SHARED_HOOK(kUpdate);
    return value_.compare_exchange_strong(expected, desired,
                                          std::memory_order_seq_cst);
  }
  T FetchAdd(T amount) {
    OPENMESSAGING_SHARED_HOOK(kUpdate);
    return value_.fetch_add(amount, std::memory_order_seq_cst);
  }
  T FetchOr(T bits) {
    OPENMESSAGING_SHARED_HOOK(kUpdate);
    return value_.fetch_or(bits, std::memory_order_seq_cst);
  }
  T FetchAnd(T bits) {
    OPENMESSAGING_SHARED_HOOK(kUpdate);
    return value_.fetch_and(bits, std::memory_order_seq_cst);
  }
  const std::atomic<T>& word() const { return value_; }

 private:
  std::atomic<T> value_;
};

// Returns: the T at `offset` of mapped bytes.
template <typename T>
T& At(char* base, uint64_t offset) {
  return *reinterpret_cast<T*>(base + offset);
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_ENV_SHARED_H_
