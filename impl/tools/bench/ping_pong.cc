// SPDX-License-Identifier: Apache-2.0

#include "ping_pong.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <new>

#include "measure.h"
#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

using Word = std::atomic<uint32_t>;

constexpr uint32_t kEnd = ~uint32_t{0};
constexpr int64_t kPatienceNs = 5'000'000'000;

// Returns: whether somebody slept until now.
bool Put(Word& word, uint32_t value, bool spin) {
  word.store(value, std::memory_order_release);
  return !spin && ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr,
                            nullptr, 0) > 0;
}

// Waits until `word` is no longer `old`. Returns: false when it stays.
bool AwaitChange(const Word& word, uint32_t old, bool spin) {
  int64_t end_ns = 0;  // The clock is read for long waits only.
  do {
    const int looks = spin ? 100'000 : 1;
    for (int i = 0; i < looks; ++i) {
      if (word.load(std::memory_order_acquire) != old) return true;
    }
    if (!spin) {
      const timespec limit{1, 0};
      ::syscall(SYS_futex, &word, FUTEX_WAIT, old, &limit, nullptr, 0);
      if (word.load(std::memory_order_acquire) != old) return true;
    }
    if (end_ns == 0) end_ns = NowNs() + kPatienceNs;
  } while (NowNs() < end_ns);
  return false;
}

absl::Status NoProcess(std::string_view what) {
  return MakeStatus(Code::kUnavailable, "start \"ping-pong\": ", what, ": ",
                    std::string_view(std::strerror(errno)),
                    "; expected room for one more process");
}

}  // namespace

// In memory that both share, each word in a cache line of its own.
struct PingPong::Table {
  alignas(64) Word ping{0};
  alignas(64) Word pong{0};
};

absl::StatusOr<std::unique_ptr<PingPong>> PingPong::Start(bool spin) {
  void* const memory = ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NoProcess("map");
  std::unique_ptr<PingPong> game(new PingPong(new (memory) Table, spin));
  const pid_t parent = ::getpid();
  game->child_ = ::fork();
  if (game->child_ < 0) return NoProcess("fork");
  if (game->child_ == 0) game->Answer(parent);
  return game;
}

PingPong::~PingPong() {
  if (child_ > 0) {
    Put(table_->ping, kEnd, spin_);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  ::munmap(table_, sizeof(Table));
}

// The child of a process with threads: system calls and the table only.
void PingPong::Answer(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  uint32_t seen = 0;
  // It may have died before the line above.
  if (::getppid() != parent) ::_exit(0);
  while (AwaitChange(table_->ping, seen, spin_)) {
    seen = table_->ping.load(std::memory_order_acquire);
    if (seen == kEnd) break;
    Put(table_->pong, seen, spin_);
  }
  ::_exit(0);
}

void PingPong::Pause() {
  const timespec pause{0, 100'000};
  ::nanosleep(&pause, nullptr);
}

absl::StatusOr<bool> PingPong::Once() {
  const uint32_t old = table_->pong.load(std::memory_order_acquire);
  const bool woke = Put(table_->ping, old + 1, spin_);
  if (AwaitChange(table_->pong, old, spin_)) {
    return spin_ || woke;
  }
  return MakeStatus(Code::kTimeout,
                    "play \"ping-pong\": the other process does not answer; "
                    "expected it to run");
}

}  // namespace openmessaging::tools
