// SPDX-License-Identifier: Apache-2.0
//
// Progress tells somebody at a terminal that long work is under way.

#ifndef OPENMESSAGING_TOOLS_OMS_PROGRESS_H_
#define OPENMESSAGING_TOOLS_OMS_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace openmessaging::tools {

// One line on the standard error, written over a few times a second and erased
// at the end. Where the standard error is no terminal it writes nothing: a log
// file has no use for it.
//
// Threads: one.
class Progress {
 public:
  // `wanted`: false makes every call do nothing.
  explicit Progress(bool wanted = true);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { Erase(); }

  // Returns: whether it is time for the next Show(); so the text is made only
  // when somebody will see it.
  bool IsDue() const;

  // Writes `text` in place of the line that is there.
  void Show(std::string_view text);

  // Takes the line away. Call it before anything else is written there.
  void Erase();

 private:
  const bool wanted_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

// Returns: "<verb>: <done> of <total> <noun> (<percent> %)".
std::string ProgressText(std::string_view verb, uint64_t done, uint64_t total,
                         std::string_view noun);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_PROGRESS_H_
