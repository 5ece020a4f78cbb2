// SPDX-License-Identifier: Apache-2.0
//
// Partner is the other end of a measurement with two: a thread of this process,
// or this program once more.

#ifndef OPENMESSAGING_TOOLS_BENCH_PARTNER_H_
#define OPENMESSAGING_TOOLS_BENCH_PARTNER_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "case.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::tools {

// What the other end does: it receives and acknowledges what is in `queue` and,
// where `reply_queue` is not empty, answers each message there, until one comes
// whose body begins with kLastMessage.
struct PartnerTask {
  std::string url{};
  std::string queue{};
  std::string reply_queue{};
  size_t size_bytes = 0;  // Of an answer.
  size_t batch = 1;
  Durability durability = Durability::kDefault;
  Wait wait = Wait::kNone;
};

inline constexpr char kMessage = 'm';
inline constexpr char kLastMessage = 'L';

struct PartnerReport {
  uint64_t messages = 0;
  int64_t done_ns = 0;  // NowNs() after the last acknowledgement.
};

// Connects as everybody here does; `wait` may be an attribute of the driver's.
absl::StatusOr<MessagingAccessPoint> ConnectWith(const std::string& url,
                                                 Wait wait);

// Does the whole task on the calling thread; `ready` is called once it is
// bound. Ends with 1606 when `stop` becomes true, with 1410 when nothing comes
// for ten seconds.
absl::StatusOr<PartnerReport> RunTask(const PartnerTask& task,
                                      const std::atomic<bool>& stop,
                                      const std::function<void()>& ready);

// Threads: one. Lifetime: the destructor ends the other end, whatever it does.
class Partner {
 public:
  virtual ~Partner() = default;

  // Starts one, and waits until it receives.
  static absl::StatusOr<std::unique_ptr<Partner>> Start(Place place,
                                                        PartnerTask task);

  // Waits for the end of the task.
  virtual absl::StatusOr<PartnerReport> Finish() = 0;
};

// The command line that makes this program the other process.
inline constexpr char kSecondProcess[] = "second-process";

// Runs that other process. Returns: its exit code.
int RunSecondProcess(int argc, char** argv);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_BENCH_PARTNER_H_
