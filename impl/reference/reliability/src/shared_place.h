// SPDX-License-Identifier: Apache-2.0
//
// Where the machines put their stores.

#ifndef OPENMESSAGING_REFERENCE_RELIABILITY_SHARED_PLACE_H_
#define OPENMESSAGING_REFERENCE_RELIABILITY_SHARED_PLACE_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "doctest/doctest.h"

namespace openmessaging::reference {

// A directory of its own, in shared memory where there is some: no machine asks
// what a real disk keeps, and it is quick. TMPDIR says another place. Removed
// at the end.
class SharedPlace {
 public:
  SharedPlace() {
    const char* const asked = ::getenv("TMPDIR");
    const std::string parent = asked != nullptr ? asked
                               : std::filesystem::is_directory("/dev/shm")
                                   ? "/dev/shm"
                                   : "/tmp";
    path_ = parent + "/oms-XXXXXX";
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
  }
  ~SharedPlace() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedPlace(const SharedPlace&) = delete;
  SharedPlace& operator=(const SharedPlace&) = delete;

  const std::string& path() const { return path_; }
  std::string store() const { return path_ + "/store"; }
  std::string stash() const { return path_ + "/stash"; }
  std::string Url(std::string_view attributes) const {
    return "oms:file://" + store() + std::string(attributes);
  }

 private:
  std::string path_;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_RELIABILITY_SHARED_PLACE_H_
