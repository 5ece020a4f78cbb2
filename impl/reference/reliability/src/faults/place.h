// SPDX-License-Identifier: Apache-2.0
//
// Where the stores of the faults machine lie.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_PLACE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_PLACE_H_

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "store_fixture.h"

namespace openmessaging::reference::faults {

// A directory of its own. In memory where there is such a disk: no flush
// reaches it, and it is quick.
struct Place {
  Place() {
    std::string name = "/dev/shm/oms-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) {
      path = name;
    } else {
      path = fallback.emplace().path();
    }
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::optional<TemporaryDirectory> fallback{};
  std::string path{};
};

}  // namespace openmessaging::reference::faults
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_FAULTS_PLACE_H_
