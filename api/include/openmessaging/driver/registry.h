// SPDX-License-Identifier: Apache-2.0
//
// Registry finds a driver by its name in a URL.

#ifndef OPENMESSAGING_DRIVER_REGISTRY_H_
#define OPENMESSAGING_DRIVER_REGISTRY_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

// Holds drivers for life. Tests and plugins use registries of their own.
//
// Threads: every method may be called from any thread at any time.
class Registry {
 public:
  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Returns: the one that linked drivers register with. It is one exported
  // symbol: a library with hidden visibility would otherwise have its own.
  __attribute__((visibility("default"))) static Registry& Default() {
    static auto* const registry = new Registry();
    return *registry;
  }

  // Adds a driver under its name and under `aliases`. The first of a name wins.
  // Errors: 1418 a name is taken.
  absl::Status Register(std::shared_ptr<Driver> driver,
                        const std::vector<std::string>& aliases = {});

  // Errors: 10000 no driver of that name; the text lists those that there are.
  absl::StatusOr<std::shared_ptr<Driver>> Find(std::string_view name) const;

 private:
  mutable internal::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Driver>, std::less<>> drivers_
      ABSL_GUARDED_BY(mutex_);
};

inline absl::Status Registry::Register(
    std::shared_ptr<Driver> driver, const std::vector<std::string>& aliases) {
  std::vector<std::string> names = aliases;
  names.push_back(driver->Info().name);
  const internal::MutexLock lock(mutex_);
  for (const std::string& name : names) {
    if (drivers_.contains(name)) {
      return MakeStatus(Code::kBadParameter, "register driver \"",
                        std::string_view(name), "\": the name is taken");
    }
  }
  for (std::string& name : names) drivers_.emplace(std::move(name), driver);
  return absl::OkStatus();
}

inline absl::StatusOr<std::shared_ptr<Driver>> Registry::Find(
    std::string_view name) const {
  const internal::MutexLock lock(mutex_);
  const auto found = drivers_.find(name);
  if (found != drivers_.end()) return found->second;
  std::string known;
  for (const auto& [driver_name, driver] : drivers_) {
    known += known.empty() ? "" : ", ";
    known += driver_name;
  }
  return MakeStatus(Code::kCannotConstruct, "connect \"oms:", name,
                    "\": no such driver is linked; there are: ",
                    std::string_view(known.empty() ? "none" : known));
}

// Registers `driver` with the default registry while a program starts:
//   static const bool kRegistered = RegisterLinked(std::make_shared<MyDriver>());
inline bool RegisterLinked(std::shared_ptr<Driver> driver,
                           const std::vector<std::string>& aliases = {}) {
  return Registry::Default().Register(std::move(driver), aliases).ok();
}

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_DRIVER_REGISTRY_H_
