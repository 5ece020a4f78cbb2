// SPDX-License-Identifier: Apache-2.0
//
// What a driver costs above the client library that it uses: the same work
// written straight on that library and through the API, in turns, so that
// whatever else the machine does befalls both. Each driver's bench defines the
// two sides of each case and calls Main.

#ifndef OPENMESSAGING_KIT_BENCH_PRICE_H_
#define OPENMESSAGING_KIT_BENCH_PRICE_H_

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::price {

inline constexpr size_t kBodyBytes = 1024;

inline void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s failed\n", what);
  std::exit(1);
}

// Measures what lies between Start and Stop: processor time of the whole
// process, of the client library's threads too, and wall clock.
class Meter {
 public:
  void Start() {
    began_ = std::chrono::steady_clock::now();
    cpu_us_ = -CpuUs();
  }
  void Stop() {
    cpu_us_ += CpuUs();
    wall_us_ = std::chrono::duration<double, std::micro>(
                   std::chrono::steady_clock::now() - began_)
                   .count();
  }
  double cpu_us() const { return cpu_us_; }
  double wall_us() const { return wall_us_; }

 private:
  static double CpuUs() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto micros = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) * 1e6 +
             static_cast<double>(time.tv_usec);
    };
    return micros(usage.ru_utime) + micros(usage.ru_stime);
  }

  std::chrono::steady_clock::time_point began_{};
  double cpu_us_ = 0;
  double wall_us_ = 0;
};

// Moves `count` messages between meter.Start() and meter.Stop(); what comes
// before and after, such as connecting, does not count.
using Side = std::function<void(int count, Meter& meter)>;

struct Case {
  std::string name{};
  int count = 0;
  Side native{};
  Side api{};
  // Called before each side, and after the last one; may be empty.
  std::function<void(int count)> prepare{};
};

struct Options {
  std::string url{};
  int pairs = 15;
  // Of one case, and of one side of it: for profilers. Empty: all.
  std::string only{};
  std::string side{};
  double scale = 1;
};

inline double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half]
                                : (values[half - 1] + values[half]) / 2;
}

// Prints the median of the ratios, and the two of them between which the true
// one lies with at least 95 %: that the median of all lies below the k-th of n
// is as likely as fewer than k heads in n throws.
inline void PrintRatio(std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  const size_t n = ratios.size();
  double chance = 1;  // Of exactly k heads, and the sum of those before.
  for (size_t i = 0; i < n; ++i) chance /= 2;
  double below = 0;
  size_t k = 0;
  while (k < n / 2 && below + chance <= 0.025) {
    below += chance;
    chance *= static_cast<double>(n - k) / static_cast<double>(k + 1);
    ++k;
  }
  const size_t low = k == 0 ? 0 : k - 1;
  std::printf("  %+6.1f %% (%+.1f to %+.1f)", (MedianOf(ratios) - 1) * 100,
              (ratios[low] - 1) * 100, (ratios[n - 1 - low] - 1) * 100);
}

inline void Compare(const Case& one, const Options& options) {
  const int count = std::max(1, static_cast<int>(one.count * options.scale));
  std::vector<double> native_cpu;
  std::vector<double> api_cpu;
  std::vector<double> cpu_ratios;
  std::vector<double> native_wall;
  std::vector<double> api_wall;
  std::vector<double> wall_ratios;
  const auto run = [&](const Side& side) {
    if (one.prepare) one.prepare(count);
    Meter meter;
    side(count, meter);
    return meter;
  };
  if (!options.side.empty()) {
    const Meter meter = run(options.side == "api" ? one.api : one.native);
    std::printf("%-12s %s  %.2f us of processor, %.2f us each\n",
                one.name.c_str(), options.side.c_str(), meter.cpu_us() / count,
                meter.wall_us() / count);
    return;
  }
  for (int pair = 0; pair < options.pairs; ++pair) {
    // Who goes first takes turns too.
    const bool api_first = pair % 2 == 1;
    Meter api;
    if (api_first) api = run(one.api);
    const Meter native = run(one.native);
    if (!api_first) api = run(one.api);
    native_cpu.push_back(native.cpu_us() / count);
    api_cpu.push_back(api.cpu_us() / count);
    cpu_ratios.push_back(api.cpu_us() / native.cpu_us());
    native_wall.push_back(native.wall_us() / count);
    api_wall.push_back(api.wall_us() / count);
    wall_ratios.push_back(api.wall_us() / native.wall_us());
  }
  std::printf("%-12s %7d  %8.2f %8.2f", one.name.c_str(), count,
              MedianOf(native_cpu), MedianOf(api_cpu));
  PrintRatio(cpu_ratios);
  std::printf("   %9.2f %9.2f", MedianOf(native_wall), MedianOf(api_wall));
  PrintRatio(wall_ratios);
  std::printf("\n");
  std::fflush(stdout);
}

// Reads `URL [--pairs N] [--scale F] [--only CASE] [--side native|api]`.
inline Options ReadOptions(int argc, char** argv) {
  Options options;
  bool good = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) {
      options.url = word;
      continue;
    }
    good = good && i + 1 < argc;
    if (!good) break;
    const char* const value = argv[++i];
    if (word == "--pairs") {
      options.pairs = std::max(1, std::atoi(value));
    } else if (word == "--scale") {
      options.scale = std::atof(value);
    } else if (word == "--only") {
      options.only = value;
    } else if (word == "--side") {
      options.side = value;
    } else {
      good = false;
    }
  }
  if (good && !options.url.empty()) return options;
  std::fprintf(stderr,
               "usage: %s URL [--pairs N] [--scale F] [--only CASE] "
               "[--side native|api]\n",
               argv[0]);
  std::exit(2);
}

inline void RunAll(const std::vector<Case>& cases, const Options& options) {
  if (options.side.empty()) {
    std::printf(
        "%d pairs of %zu bytes; median of the ratios with a 95 %% interval\n"
        "%-12s %7s  %8s %8s  %-28s  %9s %9s  %s\n",
        options.pairs, kBodyBytes, "us each", "count", "library", "API",
        "processor time", "library", "API", "wall clock");
  }
  for (const Case& one : cases) {
    if (options.only.empty() || options.only == one.name) {
      Compare(one, options);
    }
  }
}

}  // namespace openmessaging::price
#endif  // OPENMESSAGING_KIT_BENCH_PRICE_H_
