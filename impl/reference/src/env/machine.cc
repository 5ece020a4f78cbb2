// SPDX-License-Identifier: Apache-2.0
//
// Clocks, waiting and randomness of the machine itself.

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <random>
#include <string>

#include "env/environment.h"

namespace openmessaging::reference {
namespace {

int64_t Nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class MachineClock final : public Clock {
 public:
  MachineClock() : boot_hash_(ReadBootHash()) {}

  int64_t BootNs() const override { return Nanoseconds(CLOCK_BOOTTIME); }
  int64_t WallMs() const override {
    return Nanoseconds(CLOCK_REALTIME_COARSE) / 1'000'000;
  }
  int64_t ExactWallMs() const override {
    return Nanoseconds(CLOCK_REALTIME) / 1'000'000;
  }
  uint64_t BootHash() const override { return boot_hash_; }

 private:
  static uint64_t ReadBootHash() {
    const int fd =
        open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    std::array<char, 64> text;
    const ssize_t size = read(fd, text.data(), text.size());
    close(fd);
    // FNV-1a, 64 bits.
    uint64_t hash = 0xcbf29ce484222325;
    for (ssize_t i = 0; i < size; ++i) {
      hash = (hash ^ static_cast<uint8_t>(text[static_cast<size_t>(i)])) *
             0x100000001b3;
    }
    return size > 0 ? hash : 0;
  }

  const uint64_t boot_hash_;
};

// futex(2), the kind that works between processes.
class MachineWaiting final : public Waiting {
 public:
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
            std::chrono::nanoseconds timeout) override {
    if (timeout.count() <= 0) return;
    timespec limit{};
    limit.tv_sec = timeout.count() / 1'000'000'000;
    limit.tv_nsec = timeout.count() % 1'000'000'000;
    syscall(SYS_futex, &word, FUTEX_WAIT, expected, &limit, nullptr, 0);
  }
  void WakeAll(const std::atomic<uint32_t>& word) override {
    syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
};

class MachineRandom final : public Random {
 public:
  uint64_t Next() override {
    uint64_t value = 0;
    if (getrandom(&value, sizeof(value), 0) ==
        static_cast<ssize_t>(sizeof(value))) {
      return value;
    }
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }
};

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace

Environment& Environment::OfMachine() {
  static auto* const machine = new Environment{
      new MachineClock(), new MachineWaiting(), new MachineRandom(),
      HostName()};
  return *machine;
}

}  // namespace openmessaging::reference
