// SPDX-License-Identifier: Apache-2.0
//
// CheckStore reads a file store from outside and says whether it is sound.

#ifndef OPENMESSAGING_REFERENCE_CHECK_H_
#define OPENMESSAGING_REFERENCE_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace openmessaging::reference {

// One thing worth saying of one place.
struct CheckFinding {
  // Relative to the store's directory.
  std::string file{};
  // In the log; the bytes of a segment begin at its base position.
  uint64_t position = 0;
  std::string what{};
  // False: a note about a sound store, for example a torn tail.
  bool damage = false;

  friend bool operator==(const CheckFinding&, const CheckFinding&) = default;
};

struct CheckReport {
  std::vector<CheckFinding> findings{};
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;  // Of the log.
  uint64_t bodies = 0;  // That have files of their own, and their bytes.
  uint64_t body_bytes = 0;
  bool in_use = false;

  bool damaged() const;
  // Returns: a line for each finding, then one with the counts.
  std::string ToText() const;
};

// Is told now and then how many bytes of the log have been checked, on the
// thread of the call. A store in use may be looked at again from the beginning.
using CheckProgress =
    std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

// Reads STORE, the segments and the checkpoints of `directory`. Takes no lock
// and writes nothing, so a store in use is not disturbed; there, only what several
// looks find in the same place is told.
// Errors: 1404 no such directory, 1418 not a store, 1403, 1501; 10003 another
// format.
absl::StatusOr<CheckReport> CheckStore(const std::string& directory,
                                       const CheckProgress& progress = {});

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_CHECK_H_
