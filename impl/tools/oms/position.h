// SPDX-License-Identifier: Apache-2.0
//
// Positions in a queue as the command line takes them.

#ifndef OPENMESSAGING_TOOLS_OMS_POSITION_H_
#define OPENMESSAGING_TOOLS_OMS_POSITION_H_

#include <string>

#include "openmessaging/stream_position.h"

namespace openmessaging::tools {

// Reads "earliest", "latest", an offset, a time such as 2026-11-24T21:58:00Z,
// or how long ago, such as "10m". Anything else is a CLI::ValidationError of
// the option that is called `option`.
StreamPosition ParsePosition(const std::string& option,
                             const std::string& text);

}  // namespace openmessaging::tools
#endif  // OPENMESSAGING_TOOLS_OMS_POSITION_H_
