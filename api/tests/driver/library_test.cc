// SPDX-License-Identifier: Apache-2.0
//
// Tests of drivers in shared libraries: which are loaded, from where, and which
// are refused.

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/messaging_access_point.h"
#include "openmessaging/status.h"

namespace openmessaging::library_test {
namespace {

namespace fs = std::filesystem;

// Where the build puts the libraries of this test.
const std::string kDirectory = DRIVER_LIBRARIES;

std::string Text(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

absl::Status Connect(driver::Registry& registry, std::string_view url) {
  return MessagingAccessPoint::Connect(url, {}, &registry).status();
}

// An empty directory, and the current one as long as it lives.
class EmptyPlace {
 public:
  EmptyPlace() : before_(fs::current_path()) {
    std::string path = (fs::temp_directory_path() / "oms-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    path_ = path;
    fs::current_path(path_);
  }
  ~EmptyPlace() {
    std::error_code ignored;
    fs::current_path(before_, ignored);
    fs::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }

 private:
  const fs::path before_;
  std::string path_;
};

TEST_CASE("OMS-DRV-020: a driver that is not linked comes from the directory") {
  driver::Registry registry;
  registry.LookIn(kDirectory);

  const absl::Status answered = Connect(registry, "oms:plugin://host");

  CHECK(OmsCode(answered) == Code::kUnavailable);
  CHECK(Text(answered) == "connect \"oms:plugin\": the library answers");
  // It is there from now on, wherever the directory is.
  registry.LookIn("");
  CHECK(OmsCode(Connect(registry, "oms:plugin://host")) == Code::kUnavailable);
}

TEST_CASE("OMS-DRV-020: neither the current directory nor a URL is searched") {
  EmptyPlace place;
  fs::copy_file(kDirectory + "/liboms_plugin.so",
                place.path() + "/liboms_plugin.so");
  driver::Registry registry;

  const absl::Status nowhere = Connect(registry, "oms:plugin://host");
  CHECK(Text(nowhere) ==
        "connect \"oms:plugin\": no such driver is linked; there are: none");

  registry.LookIn(".");
  const absl::Status relative = Connect(registry, "oms:plugin://host");
  CHECK(OmsCode(relative) == Code::kBadParameter);
  CHECK(
      Text(relative) ==
      "load driver library \"./liboms_plugin.so\": expected an absolute path");

  // What would lead out of the directory is no driver's name.
  registry.LookIn(place.path() + "/below");
  fs::create_directory(place.path() + "/below");
  fs::create_directory(place.path() + "/below/liboms_");
  const auto up = registry.Find("/../../liboms_plugin");
  CHECK(OmsCode(up.status()) == Code::kCannotConstruct);
  CHECK(Text(up.status()).find("no such driver is linked; there are: none") !=
        std::string::npos);
}

TEST_CASE("OMS-DRV-020: a directory without the library is named") {
  const EmptyPlace place;
  driver::Registry registry;
  registry.LookIn(place.path());

  const absl::Status missing = Connect(registry, "oms:plugin://host");

  CHECK(OmsCode(missing) == Code::kCannotConstruct);
  CHECK(Text(missing) ==
        "connect \"oms:plugin\": no such driver is linked, and " +
            place.path() + " has no liboms_plugin.so; there are: none");
}

TEST_CASE("OMS-DRV-019: a library with another tag is refused") {
  driver::Registry registry;
  registry.LookIn(kDirectory);

  const absl::Status foreign = Connect(registry, "oms:foreign://host");

  CHECK(OmsCode(foreign) == Code::kIncompatibleVersion);
  const std::string text = Text(foreign);
  CAPTURE(text);
  CHECK(text.find("; exceptions 0; ") != std::string::npos);
  CHECK(text.find("expected \"" + driver::AbiTag() + "\"") !=
        std::string::npos);
  CHECK(OmsCode(registry.Find("foreign").status()) ==
        Code::kIncompatibleVersion);
}

TEST_CASE("OMS-DRV-021: a library without what it needs names that") {
  driver::Registry registry;

  const absl::Status needy = registry.Load(kDirectory + "/liboms_needy.so");

  CHECK(OmsCode(needy) == Code::kCannotConstruct);
  CHECK(Text(needy).find("broker_client_connect") != std::string::npos);
}

TEST_CASE("what is no driver's library is refused") {
  const EmptyPlace place;
  driver::Registry registry;

  const absl::Status no_entry =
      registry.Load(kDirectory + "/liboms_entryless.so");
  CHECK(OmsCode(no_entry) == Code::kCannotConstruct);
  CHECK(Text(no_entry).find("it is no driver's library") != std::string::npos);

  std::ofstream(place.path() + "/liboms_text.so") << "no library at all\n";
  const absl::Status text = registry.Load(place.path() + "/liboms_text.so");
  CHECK(OmsCode(text) == Code::kCannotConstruct);
  CHECK(Text(text).find("liboms_text.so") != std::string::npos);

  // The file says one name, the driver another.
  fs::copy_file(kDirectory + "/liboms_plugin.so",
                place.path() + "/liboms_other.so");
  registry.LookIn(place.path());
  const absl::Status other = Connect(registry, "oms:other://host");
  CHECK(OmsCode(other) == Code::kCannotConstruct);
  CHECK(Text(other).find("it has no driver \"other\"") != std::string::npos);
}

TEST_CASE("OMS-DRV-018: a library whose driver is there already is refused") {
  driver::Registry registry;
  REQUIRE(registry.Load(kDirectory + "/liboms_plugin.so").ok());

  const absl::Status again = registry.Load(kDirectory + "/liboms_plugin.so");

  CHECK(OmsCode(again) == Code::kBadParameter);
  CHECK(Text(again).find("the name is taken") != std::string::npos);
}

TEST_CASE("several threads that ask at once load a library once") {
  driver::Registry registry;
  registry.LookIn(kDirectory);
  std::vector<std::thread> threads;
  std::vector<absl::StatusOr<std::shared_ptr<driver::Driver>>> found(
      8, absl::UnknownError("not asked"));

  for (auto& one : found) {
    threads.emplace_back([&registry, &one] { one = registry.Find("plugin"); });
  }
  for (std::thread& thread : threads) thread.join();

  for (const auto& one : found) {
    REQUIRE(one.ok());
    CHECK(*one == *found.front());
  }
}

}  // namespace
}  // namespace openmessaging::library_test
