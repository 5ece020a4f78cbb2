// SPDX-License-Identifier: Apache-2.0
//
// What a Message points at: a holder keeps received bytes alive, a block is the
// holder whose bytes a sender is still building. docs/design/message.md has the
// layout and the cost of each step.

#ifndef OPENMESSAGING_INTERNAL_MESSAGE_HOLDER_H_
#define OPENMESSAGING_INTERNAL_MESSAGE_HOLDER_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "openmessaging/message_id.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Counts the messages that view its bytes. One holder may serve many messages
// (the file store has one for each queue and mapped segment).
//
// Threads: Ref and Unref from any thread; the rest is constant once shared.
struct MessageHolder {
  using Destroy = void (*)(MessageHolder*);

  explicit MessageHolder(Destroy destroy_function)
      : destroy(destroy_function) {}

  void Ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (refs.load(std::memory_order_acquire) == 1 ||
        refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      destroy(this);
    }
  }
  bool IsShared() const { return refs.load(std::memory_order_acquire) != 1; }

  std::atomic<uint32_t> refs{1};
  const Destroy destroy;
  MessageId::StoreId store_id{};
  // The queue the message was received from; a received message has no
  // destination field.
  std::string_view destination{};
  // The name of the machine that stored it, where no field says so.
  std::string_view store_host{};
  // The body, where it does not follow the fields; good for one message only.
  const char* body = nullptr;
};

// A holder with room for fields and body behind it. The body starts at
// fields_capacity unless it is borrowed.
struct MessageBlock : MessageHolder {
  using Release = void (*)(void*);

  MessageBlock() : MessageHolder(&MessageBlock::Free) {}

  char* data() { return reinterpret_cast<char*>(this + 1); }

  // Gets a block with `bytes` of room, from this thread's cache if it can.
  static MessageBlock* Make(size_t bytes);
  static void Free(MessageHolder* holder);

  uint32_t capacity = 0;         // Bytes behind the block.
  uint32_t fields_capacity = 0;  // Bytes of them that are for fields.
  Release release = nullptr;     // Gives a borrowed body back.
  void* release_context = nullptr;
  MessageBlock* next = nullptr;  // In the cache.
};

// Blocks of 512 to 4,096 bytes that this thread freed, at most 32 of each size.
// Messages made and dropped in a loop allocate nothing.
class BlockCache {
 public:
  static constexpr size_t kMinBytes = 512;
  static constexpr size_t kClasses = 4;
  static constexpr uint32_t kMaxBlocks = 32;

  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() {
    current() = nullptr;
    ended() = true;
    for (MessageBlock* list : lists_) {
      while (list != nullptr) ::operator delete(Pop(list));
    }
  }

  // Returns: this thread's cache; nothing once the thread is ending.
  static BlockCache* OfThread() {
    BlockCache*& cache = current();
    if (cache == nullptr && !ended()) {
      static thread_local BlockCache instance;
      cache = &instance;
    }
    return cache;
  }

  static constexpr size_t ClassOf(size_t total_bytes) {
    const size_t size = std::bit_ceil(total_bytes);
    return size <= kMinBytes
               ? 0
               : static_cast<size_t>(std::countr_zero(size / kMinBytes));
  }
  static constexpr size_t BytesOf(size_t size_class) {
    return kMinBytes << size_class;
  }

  MessageBlock* Take(size_t size_class) {
    MessageBlock*& list = lists_[size_class];
    if (list == nullptr) return nullptr;
    --counts_[size_class];
    return Pop(list);
  }
  bool Give(MessageBlock* block, size_t size_class) {
    if (counts_[size_class] == kMaxBlocks) return false;
    block->next = lists_[size_class];
    lists_[size_class] = block;
    ++counts_[size_class];
    return true;
  }

 private:
  static BlockCache*& current() {
    static constinit thread_local BlockCache* cache = nullptr;
    return cache;
  }
  static bool& ended() {
    static constinit thread_local bool value = false;
    return value;
  }
  static MessageBlock* Pop(MessageBlock*& list) {
    MessageBlock* const block = list;
    list = block->next;
    return block;
  }

  std::array<MessageBlock*, kClasses> lists_{};
  std::array<uint32_t, kClasses> counts_{};
};

inline MessageBlock* MessageBlock::Make(size_t bytes) {
  const size_t size_class = BlockCache::ClassOf(bytes + sizeof(MessageBlock));
  size_t total = (bytes + sizeof(MessageBlock) + 4095) & ~size_t{4095};
  void* memory = nullptr;
  if (size_class < BlockCache::kClasses) {
    total = BlockCache::BytesOf(size_class);
    if (BlockCache* const cache = BlockCache::OfThread()) {
      memory = cache->Take(size_class);
    }
  }
  if (memory == nullptr) memory = ::operator new(total);
  auto* const block = new (memory) MessageBlock();
  block->capacity = static_cast<uint32_t>(total - sizeof(MessageBlock));
  return block;
}

inline void MessageBlock::Free(MessageHolder* holder) {
  auto* const block = static_cast<MessageBlock*>(holder);
  if (block->release != nullptr) block->release(block->release_context);
  const size_t size_class =
      BlockCache::ClassOf(block->capacity + sizeof(MessageBlock));
  if (size_class < BlockCache::kClasses) {
    BlockCache* const cache = BlockCache::OfThread();
    if (cache != nullptr && cache->Give(block, size_class)) return;
  }
  ::operator delete(block);
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_MESSAGE_HOLDER_H_
