// SPDX-License-Identifier: Apache-2.0

#include "live_screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "openmessaging/internal/text.h"
#include "output.h"

namespace openmessaging::tools {
namespace {

// The other screen, no cursor, long lines cut instead of wrapped; and back.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr std::string_view kLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kEraseToEnd = "\x1b[K";
constexpr std::string_view kEraseBelow = "\x1b[J";

size_t Rows() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1) {
    return size.ws_row;
  }
  return 24;
}

// Returns: `text` drawn from the upper left corner on. In place of what does
// not fit the last line says how much that is.
std::string Draw(std::string_view text, size_t rows) {
  const auto lines =
      static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  const size_t shown = lines < rows ? lines : rows - 2;
  std::string drawn(kHome);
  for (size_t n = 0; n < shown; ++n) {
    const size_t end = text.find('\n');
    drawn.append(text.substr(0, end)).append(kEraseToEnd).append("\r\n");
    text.remove_prefix(end + 1);
  }
  if (shown < lines) {
    drawn.append(internal::Concat("and ", lines - shown, " lines more"))
        .append(kEraseToEnd)
        .append("\r\n");
  }
  return drawn.append(kEraseBelow);
}

}  // namespace

LiveScreen::LiveScreen() : terminal_(isatty(STDOUT_FILENO) == 1) {}

LiveScreen::~LiveScreen() {
  if (terminal_ && shown_) Print(kLeave).IgnoreError();
}

absl::Status LiveScreen::Show(std::string_view text) {
  const bool first = !shown_;
  shown_ = true;
  if (terminal_) {
    return Print(
        internal::Concat(first ? kEnter : "", Draw(text, Rows())));
  }
  return Print(internal::Concat(first ? "" : "\n", text));
}

}  // namespace openmessaging::tools
