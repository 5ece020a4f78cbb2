// SPDX-License-Identifier: Apache-2.0

#include "yardstick.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "bare_log.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "ping_pong.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

constexpr size_t kBytesOfPage = 4096;
constexpr size_t kTouchedBytes = size_t{64} << 20;
constexpr size_t kCopiedBytes = size_t{32} << 20;
constexpr size_t kLogBytes = size_t{16} << 20;
constexpr size_t kMaxLatencies = size_t{1} << 20;

absl::Status SystemError(std::string_view operation, std::string_view object) {
  return MakeStatus(Code::kStorageError, operation, " \"", object,
                    "\": ", std::string_view(std::strerror(errno)),
                    "; expected room to measure the machine");
}

// A file that nobody else sees, and that is gone when it is closed.
class NamelessFile {
 public:
  static absl::StatusOr<NamelessFile> Make(const std::string& directory) {
    std::string name = directory + "/.oms-bench-XXXXXX";
    const int fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd < 0) return SystemError("make file", name);
    ::unlink(name.c_str());
    return NamelessFile(fd);
  }
  NamelessFile(NamelessFile&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  NamelessFile& operator=(NamelessFile&&) = delete;
  ~NamelessFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  explicit NamelessFile(int fd) : fd_(fd) {}
  int fd_;
};

class Mapping {
 public:
  // `fd`: -1 for private memory.
  Mapping(size_t bytes, int fd)
      : bytes_(bytes),
        data_(::mmap(
            nullptr, bytes, PROT_READ | PROT_WRITE,
            fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED,
            fd, 0)) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (ok()) ::munmap(data_, bytes_);
  }
  bool ok() const { return data_ != MAP_FAILED; }
  char* data() const { return static_cast<char*>(data_); }

 private:
  const size_t bytes_;
  void* const data_;
};

double PerSecond(const std::vector<int64_t>& times_ns) {
  int64_t sum_ns = 0;
  for (const int64_t time_ns : times_ns) sum_ns += time_ns;
  return RateOf(times_ns.size(), sum_ns).per_second;
}

}  // namespace

std::string SizeName(size_t bytes) {
  if (bytes >= 1024 && bytes % 1024 == 0) return Concat(bytes / 1024, "KiB");
  return Concat(bytes, "B");
}

absl::StatusOr<const Measured*> Yardstick::Remember(const std::string& name,
                                                    const Measure& measure) {
  for (const Measured& known : measured_) {
    if (known.name == name) return &known;
  }
  if (auto status = CheckInterrupted(); !status.ok()) return status;
  auto measured = measure();
  if (!measured.ok()) return measured.status();
  measured->name = name;
  return &measured_.emplace_back(*std::move(measured));
}

absl::StatusOr<const Measured*> Yardstick::Copy(size_t bytes) {
  return Remember(Concat("memcpy/", SizeName(bytes)),
                  [&] { return MeasureCopy(bytes); });
}

absl::StatusOr<const Measured*> Yardstick::TouchMemory() {
  return Remember("first-touch/memory", [&] { return MeasureTouch(-1); });
}

absl::StatusOr<const Measured*> Yardstick::TouchFile() {
  return Remember("first-touch/file", [&] { return MeasureTouchFile(); });
}

absl::StatusOr<const Measured*> Yardstick::Append(size_t bytes,
                                                  size_t threads) {
  return Remember(Concat("append-fdatasync/", SizeName(bytes), '/', threads),
                  [&] { return MeasureAppend(bytes, threads); });
}

absl::StatusOr<const Measured*> Yardstick::PingPong(bool spin) {
  return Remember(spin ? "ping-pong/spin" : "ping-pong/futex",
                  [&] { return MeasurePingPong(spin); });
}

absl::StatusOr<Measured> Yardstick::MeasureCopy(size_t bytes) const {
  // Touched before, so that no page fault is measured.
  std::vector<char> to(std::max(kCopiedBytes, 2 * bytes), 'x');
  const std::vector<char> from(bytes, 'y');
  size_t at = 0;
  const auto rate =
      MeasureRate({time_, SIZE_MAX}, [&]() -> absl::StatusOr<bool> {
        std::memcpy(to.data() + at, from.data(), bytes);
        // Nobody reads it, but the compiler must not know.
        asm volatile("" : : "r"(to.data()) : "memory");
        at += bytes;
        if (at + bytes > to.size()) at = 0;
        return true;
      });
  if (!rate.ok()) return rate.status();
  Measured measured;
  measured.text = Concat("memcpy of ", SizeName(bytes));
  measured.per_second = rate->per_second;
  return measured;
}

absl::StatusOr<Measured> Yardstick::MeasureTouch(int fd) const {
  const Mapping mapping(kTouchedBytes, fd);
  if (!mapping.ok()) return SystemError("map", "yardstick");
  // No more than advice: without huge pages it takes more faults.
  if (fd < 0) ::madvise(mapping.data(), kTouchedBytes, MADV_HUGEPAGE);
  Samples samples(kTouchedBytes / kBytesOfPage);
  size_t at = 0;
  auto status =
      MeasureLatency({time_, SIZE_MAX}, samples, [&]() -> absl::StatusOr<bool> {
        static_cast<volatile char*>(mapping.data())[at] = 1;
        at += kBytesOfPage;
        return true;
      });
  if (!status.ok()) return status;
  Measured measured;
  measured.text =
      fd < 0 ? "first touch of 4 KiB of memory, huge pages if there are"
             : "first touch of 4 KiB of a fresh mapped file";
  measured.per_second =
      PerSecond({samples.times_ns().begin(), samples.times_ns().end()});
  measured.latency = Summarise(samples);
  return measured;
}

absl::StatusOr<Measured> Yardstick::MeasureTouchFile() const {
  const auto file = NamelessFile::Make(directory_);
  if (!file.ok()) return file.status();
  const int error = ::posix_fallocate(file->fd(), 0, kTouchedBytes);
  if (error != 0) {
    errno = error;
    return SystemError("reserve file in", directory_);
  }
  return MeasureTouch(file->fd());
}

absl::StatusOr<Measured> Yardstick::MeasureAppend(size_t bytes,
                                                  size_t threads) const {
  const auto file = NamelessFile::Make(directory_);
  if (!file.ok()) return file.status();
  const size_t file_bytes = std::max(kLogBytes, 2 * bytes * threads);
  if (auto status = FillWithZeros(file->fd(), file_bytes); !status.ok()) {
    return status;
  }
  BareLog log(file->fd(), file_bytes);
  const std::string record(bytes, 'r');
  std::vector<Samples> samples(threads, Samples(kMaxLatencies / threads));
  std::vector<absl::Status> statuses(threads);
  const auto append = [&](size_t n) {
    statuses[n] = MeasureLatency({time_, SIZE_MAX}, samples[n],
                                 [&]() -> absl::StatusOr<bool> {
                                   auto status = log.Append(record);
                                   if (!status.ok()) return status;
                                   return true;
                                 });
  };
  const int64_t start_ns = NowNs();
  std::vector<std::thread> running;
  for (size_t n = 1; n < threads; ++n) running.emplace_back(append, n);
  append(0);
  for (std::thread& thread : running) thread.join();
  const int64_t elapsed_ns = NowNs() - start_ns;

  std::vector<int64_t> times_ns;
  for (size_t n = 0; n < threads; ++n) {
    if (!statuses[n].ok()) return statuses[n];
    const auto some = samples[n].times_ns();
    times_ns.insert(times_ns.end(), some.begin(), some.end());
  }
  Measured measured;
  measured.text = Concat("append of ", SizeName(bytes), " + fdatasync, ");
  measured.text +=
      threads == 1 ? "alone" : Concat(threads, " threads share flushes");
  measured.per_second = RateOf(times_ns.size(), elapsed_ns).per_second;
  measured.latency = Summarise(std::move(times_ns));
  return measured;
}

absl::StatusOr<Measured> Yardstick::MeasurePingPong(bool spin) const {
  const auto game = tools::PingPong::Start(spin);
  if (!game.ok()) return game.status();
  Samples samples(kMaxLatencies);
  const auto once = [&]() -> absl::StatusOr<bool> {
    const int64_t start_ns = NowNs();
    const auto as_asked = (*game)->Once();
    if (!as_asked.ok()) return as_asked.status();
    if (*as_asked) {
      samples.Add(NowNs() - start_ns);
    } else {
      tools::PingPong::Pause();
    }
    return !samples.full();
  };
  // More tries on a busy machine, where few rounds are what they should be.
  constexpr size_t kEnough = 100;
  constexpr int kTries = 8;
  for (int n = 0; n < kTries && samples.times_ns().size() < kEnough; ++n) {
    const auto rate = MeasureRate({time_, SIZE_MAX}, once);
    if (!rate.ok()) return rate.status();
  }
  if (samples.times_ns().empty()) {
    return MakeStatus(Code::kTimeout,
                      "play \"ping-pong\": the other process never slept; "
                      "expected a machine with time for it");
  }
  Measured measured;
  measured.text = spin ? "spin ping-pong of two processes"
                       : "futex ping-pong of two processes";
  measured.per_second =
      PerSecond({samples.times_ns().begin(), samples.times_ns().end()});
  measured.latency = Summarise(samples);
  return measured;
}

}  // namespace openmessaging::tools
