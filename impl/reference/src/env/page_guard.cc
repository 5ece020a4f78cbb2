// SPDX-License-Identifier: Apache-2.0

#include "env/page_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using internal::Mutex;
using internal::MutexLock;

// One watched mapping, or a place for one. Its version is odd while it changes:
// then nobody touches that mapping.
struct Watched {
  std::atomic<uint32_t> version{0};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<std::atomic<bool>*> lost{nullptr};
  Watched* next = nullptr;  // Constant once it is linked.
};

// What the handler reads: places are linked and never freed.
std::atomic<Watched*> watched_places{nullptr};

// The rest of the process's state.
Mutex guard_mutex;
int guards ABSL_GUARDED_BY(guard_mutex) = 0;
bool installed ABSL_GUARDED_BY(guard_mutex) = false;
// Written before the handler is installed.
struct sigaction handler_before {};
uintptr_t page_bytes = 4096;

// Returns: whether `address` is watched; its page is one of zeros then.
bool Mend(uintptr_t address) {
  for (Watched* place = watched_places.load(std::memory_order_acquire);
       place != nullptr; place = place->next) {
    const uint32_t version = place->version.load(std::memory_order_acquire);
    const uintptr_t begin = place->begin.load(std::memory_order_acquire);
    const uintptr_t end = place->end.load(std::memory_order_acquire);
    std::atomic<bool>* const lost = place->lost.load(std::memory_order_acquire);
    if (version % 2 != 0 || address < begin || address >= end ||
        version != place->version.load(std::memory_order_relaxed)) {
      continue;
    }
    void* const page =
        reinterpret_cast<void*>(address - address % page_bytes);
    if (mmap(page, page_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
      return false;
    }
    lost->store(true, std::memory_order_release);
    return true;
  }
  return false;
}

void OnBusError(int number, siginfo_t* info, void* context) {
  const int error = errno;
  // A signal that somebody sent has no page.
  const bool mended =
      info->si_code > 0 && Mend(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = error;
  if (mended) return;
  if ((handler_before.sa_flags & SA_SIGINFO) != 0) {
    handler_before.sa_sigaction(number, info, context);
  } else if (handler_before.sa_handler == SIG_DFL ||
             handler_before.sa_handler == SIG_IGN) {
    if (handler_before.sa_handler == SIG_IGN && info->si_code <= 0) return;
    // Delivered when this returns, or by the same instruction once more.
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);
  } else {
    handler_before.sa_handler(number);
  }
}

void Change(Watched& place, uintptr_t begin, uintptr_t end,
            std::atomic<bool>* lost) {
  place.version.fetch_add(1, std::memory_order_acq_rel);
  place.begin.store(begin, std::memory_order_release);
  place.end.store(end, std::memory_order_release);
  place.lost.store(lost, std::memory_order_release);
  place.version.fetch_add(1, std::memory_order_release);
}

}  // namespace

std::shared_ptr<PageGuard> PageGuard::Make() {
  return std::make_shared<PageGuard>();
}

PageGuard::PageGuard() {
  const MutexLock lock(guard_mutex);
  if (guards++ != 0 || installed) return;
  page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  sigaction(SIGBUS, nullptr, &handler_before);
  struct sigaction ours {};
  ours.sa_sigaction = OnBusError;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  installed = sigaction(SIGBUS, &ours, nullptr) == 0;
}

PageGuard::~PageGuard() {
  const MutexLock lock(guard_mutex);
  if (--guards != 0 || !installed) return;
  struct sigaction now {};
  sigaction(SIGBUS, nullptr, &now);
  // Who put another above it may call it still.
  if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != OnBusError) {
    return;
  }
  installed = sigaction(SIGBUS, &handler_before, nullptr) != 0;
}

void PageGuard::Watch(const void* data, size_t size) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const MutexLock lock(guard_mutex);
  Watched* const first = watched_places.load(std::memory_order_relaxed);
  for (Watched* place = first; place != nullptr; place = place->next) {
    if (place->begin.load(std::memory_order_relaxed) != 0) continue;
    Change(*place, begin, begin + size, &lost_);
    return;
  }
  auto* const fresh = new Watched;
  fresh->next = first;
  Change(*fresh, begin, begin + size, &lost_);
  watched_places.store(fresh, std::memory_order_release);
}

void PageGuard::Forget(const void* data) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const MutexLock lock(guard_mutex);
  for (Watched* place = watched_places.load(std::memory_order_relaxed);
       place != nullptr; place = place->next) {
    if (place->begin.load(std::memory_order_relaxed) != begin) continue;
    Change(*place, 0, 0, nullptr);
    return;
  }
}

absl::Status LostPagesError(std::string_view store) {
  return MakeStatus(Code::kStorageError, "use store \"", store,
                    "\": a page of its files is not there any more; close it "
                    "in every process and open it again");
}

}  // namespace openmessaging::reference
