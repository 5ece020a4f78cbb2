// SPDX-License-Identifier: Apache-2.0
//
// A time to come, as records have it: in this boot by the boot clock, which
// nobody sets, in another by the wall clock.

#ifndef OPENMESSAGING_REFERENCE_WRITTEN_TIME_H_
#define OPENMESSAGING_REFERENCE_WRITTEN_TIME_H_

#include <algorithm>
#include <cstdint>

#include "env/environment.h"

namespace openmessaging::reference {

struct WrittenTime {
  int64_t ns = 0;          // By the boot clock of that boot.
  int64_t ms = 0;          // By the wall clock.
  uint64_t boot_hash = 0;  // 0: only the wall clock is known.
};

// Returns: the boot time that it is in this boot; not more than `most_ms` away,
// however the wall clock was set.
inline int64_t BootTimeOf(const WrittenTime& time, int64_t most_ms,
                          const Clock& clock) {
  if (time.boot_hash != 0 && time.boot_hash == clock.BootHash()) {
    return time.ns;
  }
  const int64_t left_ms =
      std::clamp<int64_t>(time.ms - clock.ExactWallMs(), 0, most_ms);
  return clock.BootNs() + left_ms * 1'000'000;
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_WRITTEN_TIME_H_
