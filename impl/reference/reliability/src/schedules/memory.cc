// SPDX-License-Identifier: Apache-2.0

#include "schedules/memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace openmessaging::reference::schedules {
namespace {

constexpr size_t kHeapBytes = size_t{64} << 20;
// Where nothing else is, not even the shadows of the sanitizers.
constexpr uintptr_t kHeapAt = 0x2000'0000'0000;
constexpr uintptr_t kFilesAt = 0x2100'0000'0000;

char* Reserve(uintptr_t at, size_t bytes) {
  void* const data = mmap(
      reinterpret_cast<void*>(at), bytes, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (data == MAP_FAILED) {
    std::fputs("schedules: no addresses for the world\n", stderr);
    std::abort();
  }
  return static_cast<char*>(data);
}

}  // namespace

bool Memory::on_ = false;

Memory& Memory::Get() {
  static Memory memory;
  return memory;
}

Memory::Memory()
    : heap_(Reserve(kHeapAt, kHeapBytes)),
      files_(Reserve(kFilesAt, kFileBytes * kMaxFiles)),
      sizes_(kMaxFiles) {}

void* Memory::Allocate(size_t bytes, size_t alignment) {
  if (alignment < 16) alignment = 16;
  const size_t begin = (used_ + alignment - 1) / alignment * alignment;
  if (begin + bytes > kHeapBytes) {
    std::fputs("schedules: the world has no memory left\n", stderr);
    std::abort();
  }
  used_ = begin + bytes;
  return heap_ + begin;
}

bool Memory::Owns(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return at >= kHeapAt && at < kHeapAt + kHeapBytes;
}

uint32_t Memory::NewFile() {
  if (next_file_ == kMaxFiles) {
    std::fputs("schedules: too many files\n", stderr);
    std::abort();
  }
  return next_file_++;
}

char* Memory::FileBytes(uint32_t file) const {
  return files_ + kFileBytes * file;
}

void Memory::GrowFile(uint32_t file, uint64_t size) {
  if (size > kFileBytes) std::abort();
  if (size <= sizes_[file]) return;
  std::memset(FileBytes(file) + sizes_[file], 0, size - sizes_[file]);
  sizes_[file] = size;
}

uint32_t Memory::FileOf(const void* address) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at < kFilesAt) return kMaxFiles;
  const uintptr_t file = (at - kFilesAt) / kFileBytes;
  return file < kMaxFiles ? static_cast<uint32_t>(file) : kMaxFiles;
}

void Memory::Keep() {
  kept_heap_.assign(heap_, heap_ + used_);
  kept_sizes_ = sizes_;
  kept_files_.clear();
  kept_next_file_ = next_file_;
  for (uint32_t n = 0; n < next_file_; ++n) {
    kept_files_.emplace_back(FileBytes(n), FileBytes(n) + sizes_[n]);
  }
}

void Memory::Restore() {
  used_ = kept_heap_.size();
  std::memcpy(heap_, kept_heap_.data(), used_);
  const uint32_t files = std::exchange(next_file_, kept_next_file_);
  for (uint32_t n = 0; n < files; ++n) {
    sizes_[n] = kept_sizes_[n];
    if (sizes_[n] == 0) continue;
    std::memcpy(FileBytes(n), kept_files_[n].data(), sizes_[n]);
  }
}

namespace {

void* New(size_t bytes, size_t alignment) {
  if (Memory::on()) return Memory::Get().Allocate(bytes, alignment);
  void* const data =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(bytes)
          : std::aligned_alloc(alignment,
                               (bytes + alignment - 1) / alignment * alignment);
  if (data == nullptr) std::abort();
  return data;
}

void Delete(void* data) {
  if (data != nullptr && !Memory::Owns(data)) std::free(data);
}

}  // namespace
}  // namespace openmessaging::reference::schedules

namespace {

namespace world = openmessaging::reference::schedules;

}  // namespace

// Those of the whole program: what the engine allocates must be put back too.
void* operator new(size_t bytes) { return world::New(bytes, 1); }
void* operator new[](size_t bytes) { return world::New(bytes, 1); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return world::New(bytes, 1);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return world::New(bytes, 1);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return world::New(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return world::New(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* data) noexcept { world::Delete(data); }
void operator delete[](void* data) noexcept { world::Delete(data); }
void operator delete(void* data, size_t) noexcept { world::Delete(data); }
void operator delete[](void* data, size_t) noexcept { world::Delete(data); }
void operator delete(void* data, std::align_val_t) noexcept {
  world::Delete(data);
}
void operator delete[](void* data, std::align_val_t) noexcept {
  world::Delete(data);
}
void operator delete(void* data, size_t, std::align_val_t) noexcept {
  world::Delete(data);
}
void operator delete[](void* data, size_t, std::align_val_t) noexcept {
  world::Delete(data);
}
