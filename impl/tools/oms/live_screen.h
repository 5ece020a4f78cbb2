// SPDX-License-Identifier: Apache-2.0
//
// LiveScreen shows text that changes, at a terminal.

#ifndef OPENMESSAGING_TOOLS_OMS_LIVE_SCREEN_H_
#define OPENMESSAGING_TOOLS_OMS_LIVE_SCREEN_H_

#include <string_view>

#include "absl/status/status.h"

namespace openmessaging::tools {

// The terminal's other screen, as an editor uses it: what was there before is
// there again at the end of this object. Where the standard output is no
// terminal each text is printed behind the one before, an empty line between.
//
// Threads: one.
class LiveScreen {
 public:
  LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  ~LiveScreen();

  // Writes `text` in place of the last one, cut to what the terminal has room
  // for. Errors: as Print().
  absl::Status Show(std::string_view text);

 private:
  const bool terminal_;
  bool shown_ = false;
};

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_LIVE_SCREEN_H_
