// SPDX-License-Identifier: Apache-2.0
//
// Yardstick measures what the machine itself can do, with no messaging in
// between: figures of oms-bench mean something beside these only. It uses
// nothing of OpenMessaging but its status codes.

#ifndef OPENMESSAGING_TOOLS_BENCH_YARDSTICK_H_
#define OPENMESSAGING_TOOLS_BENCH_YARDSTICK_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "measure.h"
#include "samples.h"

namespace openmessaging::tools {

// One limit of the machine. What has a latency was timed call by call.
struct Measured {
  std::string name{};  // Stable, for scripts: "append-fdatasync/256B/64".
  std::string text{};  // For people.
  double per_second = 0;
  Latency latency{};
};

// Each limit is measured when it is first asked for, so that it stands close to
// what is compared with it, and is the same from then on.
//
// Threads: one; no other thread of the process should be busy meanwhile.
class Yardstick {
 public:
  // `directory`: where the files that are measured lie, without a name; on the
  // disk that messages would go to.
  Yardstick(std::string directory, std::chrono::nanoseconds time)
      : directory_(std::move(directory)), time_(time) {}

  // memcpy of so many bytes that are in the cache to where nothing was for a
  // while, as in a log.
  absl::StatusOr<const Measured*> Copy(size_t bytes);

  // The first write to a page: of private memory, in huge pages where the
  // kernel has them, or of a file that was just mapped, its blocks reserved.
  absl::StatusOr<const Measured*> TouchMemory();
  absl::StatusOr<const Measured*> TouchFile();

  // A bare log: so many bytes are written behind the last ones, into a file
  // full of zeros, then fdatasync. With several threads each waits for its own
  // bytes, and one flush serves all that are written by then.
  absl::StatusOr<const Measured*> Append(size_t bytes, size_t threads);

  // A word goes to another process and back: who waits sleeps on a futex, or
  // looks again and again.
  absl::StatusOr<const Measured*> PingPong(bool spin);

  // Returns: what was asked for, in that order.
  const std::deque<Measured>& measured() const { return measured_; }

 private:
  using Measure = std::function<absl::StatusOr<Measured>()>;

  absl::StatusOr<const Measured*> Remember(const std::string& name,
                                           const Measure& measure);
  absl::StatusOr<Measured> MeasureCopy(size_t bytes) const;
  absl::StatusOr<Measured> MeasureTouch(int fd) const;
  absl::StatusOr<Measured> MeasureTouchFile() const;
  absl::StatusOr<Measured> MeasureAppend(size_t bytes, size_t threads) const;
  absl::StatusOr<Measured> MeasurePingPong(bool spin) const;

  const std::string directory_;
  const std::chrono::nanoseconds time_;
  std::deque<Measured> measured_;  // Its elements stay where they are.
};

// Returns: "64B", "1KiB", for names.
std::string SizeName(size_t bytes);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_YARDSTICK_H_
