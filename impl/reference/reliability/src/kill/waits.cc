// SPDX-License-Identifier: Apache-2.0

#include "kill/waits.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "openmessaging/internal/text.h"

namespace openmessaging::reference::kill {
namespace {

std::string Milliseconds(int64_t ns) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f",
                static_cast<double>(ns) / 1e6);
  return text.data();
}

}  // namespace

int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

size_t Histogram::StepOf(int64_t ns) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(ns, kSteps));
  const auto octave = static_cast<size_t>(std::bit_width(value)) - 5;
  const size_t step = (value >> octave) - kSteps;
  return std::min(octave * kSteps + step, kSteps * kOctaves - 1);
}

void Histogram::Add(int64_t ns) {
  counts_[StepOf(ns)].fetch_add(1, std::memory_order_relaxed);
  int64_t most = max_ns_.load(std::memory_order_relaxed);
  while (ns > most && !max_ns_.compare_exchange_weak(most, ns)) {
  }
}

uint64_t Histogram::count() const {
  uint64_t all = 0;
  for (const auto& count : counts_) all += count.load();
  return all;
}

int64_t Histogram::QuantileNs(double share) const {
  const uint64_t all = count();
  if (all == 0) return 0;
  const auto wanted = static_cast<uint64_t>(share * static_cast<double>(all));
  uint64_t seen = 0;
  for (size_t n = 0; n < counts_.size(); ++n) {
    seen += counts_[n].load();
    if (seen > wanted || seen == all) {
      const auto end =
          static_cast<int64_t>((kSteps + n % kSteps + 1) << (n / kSteps));
      return std::min(end, max_ns());
    }
  }
  return max_ns();
}

std::string Histogram::ToText() const {
  return internal::Concat("p50 ", Milliseconds(QuantileNs(0.5)), ", p99 ",
                          Milliseconds(QuantileNs(0.99)), ", p99.9 ",
                          Milliseconds(QuantileNs(0.999)), ", max ",
                          Milliseconds(max_ns()), " ms");
}

void GapList::Add(const Gap& gap) {
  const uint64_t at = count_.fetch_add(1) % kMost;
  begins_[at] = gap.begin_ns;
  ends_[at] = gap.end_ns;
}

std::vector<Gap> GapList::All() const {
  std::vector<Gap> all;
  const size_t count = std::min<uint64_t>(count_.load(), kMost);
  for (size_t n = 0; n < count; ++n) {
    all.push_back({begins_[n].load(), ends_[n].load()});
  }
  return all;
}

void WatchMachine(const std::atomic<bool>& stop, std::chrono::nanoseconds least,
                  Histogram& stalls, GapList& gaps) {
  constexpr int64_t kNapNs = 500'000;
  while (!stop.load()) {
    const int64_t begin = NowNs();
    const timespec nap{0, kNapNs};
    ::nanosleep(&nap, nullptr);
    // A nap, and then as much work as a call is.
    for (int n = 0; n < 2000; ++n) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    const int64_t end = NowNs();
    const int64_t late = end - begin - kNapNs;
    stalls.Add(late);
    if (late > least.count()) gaps.Add({end - late, end});
  }
}

RunDelay::RunDelay()
    : fd_(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}

RunDelay::~RunDelay() {
  if (fd_ >= 0) ::close(fd_);
}

int64_t RunDelay::Ns() const {
  std::array<char, 96> text{};
  if (fd_ < 0 || ::pread(fd_, text.data(), text.size() - 1, 0) <= 0) return 0;
  char* end = nullptr;
  std::strtoll(text.data(), &end, 10);
  return std::strtoll(end, nullptr, 10);
}

int64_t WithoutGaps(const Gap& wait, const std::vector<Gap>& gaps) {
  std::vector<Gap> inside;
  for (const Gap& gap : gaps) {
    const Gap cut{std::max(gap.begin_ns, wait.begin_ns),
                  std::min(gap.end_ns, wait.end_ns)};
    if (cut.begin_ns < cut.end_ns) inside.push_back(cut);
  }
  // Several watchers see one stall.
  std::sort(inside.begin(), inside.end(),
            [](const Gap& a, const Gap& b) { return a.begin_ns < b.begin_ns; });
  int64_t left = wait.end_ns - wait.begin_ns;
  int64_t from = wait.begin_ns;
  for (const Gap& gap : inside) {
    const int64_t begin = std::max(from, gap.begin_ns);
    if (gap.end_ns > begin) left -= gap.end_ns - begin;
    from = std::max(from, gap.end_ns);
  }
  return left;
}

}  // namespace openmessaging::reference::kill
