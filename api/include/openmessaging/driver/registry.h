// SPDX-License-Identifier: Apache-2.0
//
// Registry finds a driver by its name in a URL: one that is linked, or one in a
// shared library.

#ifndef OPENMESSAGING_DRIVER_REGISTRY_H_
#define OPENMESSAGING_DRIVER_REGISTRY_H_

#if !defined(OPENMESSAGING_NO_DRIVER_LIBRARIES)
#include <dlfcn.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/driver/abi_tag.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace driver {

// Holds drivers for life, and the libraries that they came from. Tests use
// registries of their own.
//
// Threads: every method may be called from any thread at any time.
class Registry {
 public:
  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Returns: the one that linked drivers register with. It is one exported
  // symbol: a library with hidden visibility would otherwise have its own.
  // It looks for drivers that are not linked in the directory that the
  // environment variable OMS_DRIVER_DIRECTORY names, unless the program has
  // more rights than who started it.
  __attribute__((visibility("default"))) static Registry& Default() {
    static auto* const registry = OfEnvironment();
    return *registry;
  }

  // Adds a driver under its name and under `aliases`. The first of a name wins.
  // Errors: 1418 a name is taken.
  absl::Status Register(std::shared_ptr<Driver> driver,
                        const std::vector<std::string>& aliases = {});

  // Says where Find looks for liboms_<name>.so where no driver is called
  // `name`: an absolute directory, or "" for nowhere, as it is at first. No
  // other place is ever searched. Whoever can write there decides what this
  // program runs.
  // Implements: OMS-DRV-020.
  void LookIn(std::string directory);

  // Loads the drivers of one shared library, for good.
  // Errors: 10000 it cannot be loaded, or is no driver's library; the text is
  // the system's, and names what is missing. 10003 it was built otherwise than
  // this program; nothing of it was called. 1418 `path` is not absolute, or a
  // name of its drivers is taken.
  // Implements: OMS-DRV-019.
  absl::Status Load(const std::string& path);

  // Blocks: while a library is loaded.
  // Errors: 10000 no driver of that name; the text lists those that there are.
  // As Load, where there is a library of that name.
  absl::StatusOr<std::shared_ptr<Driver>> Find(std::string_view name);

 private:
  static Registry* OfEnvironment();
  // Returns: the driver; nullptr if there is none.
  std::shared_ptr<Driver> FindHere(std::string_view name) const;
  absl::Status NotFound(std::string_view name,
                        std::string_view directory) const;

  internal::Mutex loading_;  // Held while a library is looked for.
  mutable internal::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Driver>, std::less<>> drivers_
      ABSL_GUARDED_BY(mutex_);
  std::string directory_ ABSL_GUARDED_BY(mutex_);
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

inline void Registry::LookIn(std::string directory) {
  const internal::MutexLock lock(mutex_);
  directory_ = std::move(directory);
}

inline std::shared_ptr<Driver> Registry::FindHere(std::string_view name) const {
  const internal::MutexLock lock(mutex_);
  const auto found = drivers_.find(name);
  return found == drivers_.end() ? nullptr : found->second;
}

inline absl::Status Registry::NotFound(std::string_view name,
                                       std::string_view directory) const {
  std::string known;
  {
    const internal::MutexLock lock(mutex_);
    for (const auto& [driver_name, driver] : drivers_) {
      known += known.empty() ? "" : ", ";
      known += driver_name;
    }
  }
  if (known.empty()) known = "none";
  const std::string looked =
      directory.empty() ? ""
                        : internal::Concat(", and ", directory,
                                           " has no liboms_", name, ".so");
  return MakeStatus(Code::kCannotConstruct, "connect \"oms:", name,
                    "\": no such driver is linked", looked,
                    "; there are: ", known);
}

#if defined(OPENMESSAGING_NO_DRIVER_LIBRARIES)

inline Registry* Registry::OfEnvironment() { return new Registry(); }

inline absl::Status Registry::Load(const std::string& path) {
  return MakeStatus(Code::kCannotConstruct, "load driver library \"", path,
                    "\": this program was built without it");
}

inline absl::StatusOr<std::shared_ptr<Driver>> Registry::Find(
    std::string_view name) {
  if (auto driver = FindHere(name)) return driver;
  return NotFound(name, "");
}

#else

inline Registry* Registry::OfEnvironment() {
  auto* const registry = new Registry();
  // What somebody else's environment says is no order for a program that runs
  // with more rights.
  const char* const directory =
      ::getuid() == ::geteuid() && ::getgid() == ::getegid()
          ? std::getenv("OMS_DRIVER_DIRECTORY")
          : nullptr;
  if (directory != nullptr) registry->LookIn(directory);
  return registry;
}

inline absl::Status Registry::Load(const std::string& path) {
  const auto refuse = [&path](Code code, const auto&... why) {
    return MakeStatus(code, "load driver library \"", internal::Printable(path),
                      "\": ", why...);
  };
  if (!path.starts_with('/')) {
    return refuse(Code::kBadParameter, "expected an absolute path");
  }
  // Never unloaded: who knows which threads run in it.
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    return refuse(Code::kCannotConstruct,
                  internal::Printable(why == nullptr ? "" : why));
  }
  auto* const symbol = ::dlsym(handle, "openmessaging_driver_library");
  const Library* const library =
      symbol == nullptr ? nullptr
                        : reinterpret_cast<const Library* (*)()>(symbol)();
  if (library == nullptr || library->abi_tag == nullptr) {
    ::dlclose(handle);
    return refuse(Code::kCannotConstruct,
                  "it is no driver's library: it has no function "
                  "openmessaging_driver_library");
  }
  const std::string_view tag = library->abi_tag;
  if (tag != AbiTag()) {
    absl::Status foreign = refuse(Code::kIncompatibleVersion,
                                  "it was built otherwise than this "
                                  "program: it says \"",
                                  internal::Printable(tag), "\"; expected \"",
                                  AbiTag(), "\" (OMS-DRV-019)");
    ::dlclose(handle);
    return foreign;
  }
  absl::Status entered;
  library->enter(*this, entered);
  return entered;
}

inline absl::StatusOr<std::shared_ptr<Driver>> Registry::Find(
    std::string_view name) {
  if (auto driver = FindHere(name)) return driver;
  const internal::MutexLock one_at_a_time(loading_);
  if (auto driver = FindHere(name)) return driver;
  std::string directory;
  {
    const internal::MutexLock lock(mutex_);
    directory = directory_;
  }
  const bool plain =
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") ==
      std::string_view::npos;
  if (directory.empty() || !plain) return NotFound(name, "");
  const std::string path = internal::Concat(directory, "/liboms_", name, ".so");
  if (directory.starts_with('/') && ::access(path.c_str(), F_OK) != 0) {
    return NotFound(name, directory);
  }
  if (absl::Status s = Load(path); !s.ok()) return s;
  if (auto driver = FindHere(name)) return driver;
  return MakeStatus(Code::kCannotConstruct, "load driver library \"", path,
                    "\": it has no driver \"", name, "\"");
}

#endif  // OPENMESSAGING_NO_DRIVER_LIBRARIES

// Registers `driver` with the default registry while a program starts:
//   static const bool kRegistered =
//   RegisterLinked(std::make_shared<MyDriver>());
inline bool RegisterLinked(std::shared_ptr<Driver> driver,
                           const std::vector<std::string>& aliases = {}) {
  return Registry::Default().Register(std::move(driver), aliases).ok();
}

}  // namespace driver
}  // namespace v0
}  // namespace openmessaging

// Makes the source that says it the entry of a driver's library. The expression
// is a std::shared_ptr to the driver; a list of aliases may follow. Say it
// once, outside of every namespace, and do not link what registers the driver:
//
//   OPENMESSAGING_DRIVER_LIBRARY(std::make_shared<MyDriver>())
#define OPENMESSAGING_DRIVER_LIBRARY(...)                     \
  extern "C" __attribute__((visibility("default")))           \
  const ::openmessaging::driver::Library*                     \
  openmessaging_driver_library() {                            \
    static const ::openmessaging::driver::Library library = { \
        ::openmessaging::driver::AbiTag().c_str(),            \
        [](::openmessaging::driver::Registry& registry,       \
           ::absl::Status& status) {                          \
          status = registry.Register(__VA_ARGS__);            \
        }};                                                   \
    return &library;                                          \
  }

#endif  // OPENMESSAGING_DRIVER_REGISTRY_H_
