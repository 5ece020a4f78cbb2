// SPDX-License-Identifier: Apache-2.0

#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "openmessaging/internal/text.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

constexpr std::chrono::milliseconds kPause{250};
constexpr std::string_view kEraseLine = "\r\x1b[K";

// Returns: how many columns a line has; a longer one could not be erased.
size_t Columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
    return size.ws_col;
  }
  return 80;
}

}  // namespace

Progress::Progress(bool wanted)
    : wanted_(wanted && isatty(STDERR_FILENO) == 1) {}

bool Progress::IsDue() const {
  return wanted_ && std::chrono::steady_clock::now() >= next_;
}

void Progress::Show(std::string_view text) {
  if (!wanted_) return;
  // Not to the last column: some terminals go on to the next line there.
  PrintToError(internal::Concat(kEraseLine, text.substr(0, Columns() - 1)));
  shown_ = true;
  next_ = std::chrono::steady_clock::now() + kPause;
}

void Progress::Erase() {
  if (shown_) PrintToError(kEraseLine);
  shown_ = false;
}

std::string ProgressText(std::string_view verb, uint64_t done, uint64_t total,
                         std::string_view noun) {
  const uint64_t percent = total == 0 ? 100 : done * 100 / total;
  return internal::Concat(verb, ": ", done, " of ", total, ' ', noun, " (",
                          percent, " %)");
}

}  // namespace openmessaging::tools
