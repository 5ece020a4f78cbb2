// SPDX-License-Identifier: Apache-2.0

#include "schedules/fiber.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "schedules/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define OPENMESSAGING_FIBERS_OF_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OPENMESSAGING_FIBERS_OF_ASAN 1
#endif
#endif
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace openmessaging::reference::schedules {
namespace {

constexpr size_t kStackBytes = size_t{1} << 20;

// Where the program's thread-local variables are, and how they begin.
struct Segment {
  char* data = nullptr;
  size_t bytes = 0;
  const char* image = nullptr;
  size_t image_bytes = 0;

  static const Segment& Get() {
    static const Segment segment = [] {
      Segment found;
      dl_iterate_phdr(
          [](dl_phdr_info* info, size_t, void* out) {
            auto& result = *static_cast<Segment*>(out);
            for (int n = 0; n < info->dlpi_phnum; ++n) {
              const auto& header = info->dlpi_phdr[n];
              if (header.p_type != PT_TLS) continue;
              result.data = static_cast<char*>(info->dlpi_tls_data);
              result.bytes = header.p_memsz;
              result.image = reinterpret_cast<const char*>(info->dlpi_addr +
                                                           header.p_vaddr);
              result.image_bytes = header.p_filesz;
            }
            return 1;  // The program itself comes first.
          },
          &found);
      return found;
    }();
    return segment;
  }
};

void CopyOut(LocalVariables& to) {
  std::memcpy(to.data(), Segment::Get().data, to.size());
}
void CopyIn(const LocalVariables& from) {
  std::memcpy(Segment::Get().data, from.data(), from.size());
}

}  // namespace

LocalVariables NewLocalVariables() {
  const Segment& segment = Segment::Get();
  LocalVariables local(segment.bytes);
  if (segment.image_bytes > 0) {
    std::memcpy(local.data(), segment.image, segment.image_bytes);
  }
  return local;
}

Fiber::Fiber() : resumer_local_(Segment::Get().bytes) {
  void* const stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) std::abort();
  stack_ = static_cast<char*>(stack);
}

Fiber::~Fiber() { munmap(stack_, kStackBytes); }

void Fiber::Enter(unsigned high, unsigned low) {
  auto* const self =
      reinterpret_cast<Fiber*>(uintptr_t{high} << 32 | uintptr_t{low});
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &self->resumer_stack_,
                                  &self->resumer_stack_bytes_);
#endif
  self->body_(self->argument_);
  std::abort();
}

void Fiber::Start(void (*body)(void*), void* argument,
                  const LocalVariables& local) {
  body_ = body;
  argument_ = argument;
  local_ = local;
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
  own_fake_stack_ = nullptr;
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::Enter), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

void Fiber::Resume() {
  const bool on = Memory::on();
  CopyOut(resumer_local_);
  CopyIn(local_);
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __sanitizer_start_switch_fiber(&resumer_fake_stack_, stack_, kStackBytes);
#endif
  Memory::set_on(true);
  swapcontext(&resumer_, &own_);
  Memory::set_on(on);
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __sanitizer_finish_switch_fiber(resumer_fake_stack_, nullptr, nullptr);
#endif
  CopyOut(local_);
  CopyIn(resumer_local_);
}

void Fiber::Leave() {
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __sanitizer_start_switch_fiber(&own_fake_stack_, resumer_stack_,
                                 resumer_stack_bytes_);
#endif
  swapcontext(&own_, &resumer_);
#ifdef OPENMESSAGING_FIBERS_OF_ASAN
  __sanitizer_finish_switch_fiber(own_fake_stack_, &resumer_stack_,
                                  &resumer_stack_bytes_);
#endif
}

}  // namespace openmessaging::reference::schedules
