// SPDX-License-Identifier: Apache-2.0
//
// LineReader reads lines ahead while others are being sent.

#ifndef OPENMESSAGING_TOOLS_OMS_LINE_READER_H_
#define OPENMESSAGING_TOOLS_OMS_LINE_READER_H_

#include <array>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "openmessaging/internal/mutex.h"

namespace openmessaging::tools {

// Splits a file descriptor into lines on a thread of its own. A line ends with
// '\n', which is not part of it; what follows the last '\n' is a line unless it
// is empty. A line over kMaxBodyBytes ends the reading: it comes out as far as
// it was read, longer than any body may be.
//
// Threads: Take() by one thread at a time. At most about kMaxWaitingBytes wait
// to be taken, however fast the lines come.
class LineReader {
 public:
  explicit LineReader(int fd);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Stops reading, also in the middle of a read that waits for input.
  ~LineReader();

  // Takes the lines that are there: one at least, more while they are at most
  // `max_lines` and `max_bytes`.
  // Blocks: until there is a line, or the end.
  // Returns: nothing at the end of the input.
  std::vector<std::string> Take(size_t max_lines, size_t max_bytes);

  // Returns: why the reading ended early; OK at the end of the input.
  absl::Status status() const;

 private:
  static constexpr size_t kMaxWaitingBytes = size_t{8} << 20;

  void Run();
  // Takes new bytes apart. Returns: false when no more is wanted.
  bool Split(std::string_view chunk);
  bool Push(std::vector<std::string> lines);
  void End(absl::Status status);

  // Constant after construction.
  const int fd_;
  std::array<int, 2> stop_pipe_{-1, -1};

  // The reading thread's own.
  std::string begun_;  // A line whose end has not been read yet.

  mutable internal::Mutex mutex_;
  internal::Condition changed_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_LINE_READER_H_
