// SPDX-License-Identifier: Apache-2.0
//
// Both storages by one source where they promise the same; the directory's
// trust; a full disk.

#include "env/storage.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "child.h"
#include "doctest/doctest.h"
#include "engine_fixture.h"

namespace openmessaging::reference::storage_test {
namespace {

using namespace testing;  // The fixture is part of this test.

struct DirectoryKind {
  std::shared_ptr<Storage> Make() {
    auto storage = OpenDirectory(directory.path(), DirectoryOptions{});
    REQUIRE(storage.ok());
    return *std::move(storage);
  }
  TempDirectory directory{};
};

struct MemoryKind {
  std::shared_ptr<Storage> Make() {
    static std::atomic<int> count{0};
    return OpenMemory("storage-" + std::to_string(count.fetch_add(1)));
  }
};

TEST_CASE_TEMPLATE("a grown file holds zeros and keeps what it had", Kind,
                   DirectoryKind, MemoryKind) {
  Kind kind;
  const auto storage = kind.Make();
  auto file = storage->Create("f");
  REQUIRE(file.ok());
  REQUIRE((*file)->Grow(4096).ok());
  auto region = (*file)->Map(Access::kWrite, 1 << 20);
  REQUIRE(region.ok());
  std::memset((*region)->data(), 'x', 4096);

  REQUIRE((*file)->Grow(300'000).ok());

  CHECK((*file)->Size().value() == 300'000);
  CHECK(std::all_of((*region)->data(), (*region)->data() + 4096,
                    [](char c) { return c == 'x'; }));
  CHECK(std::all_of((*region)->data() + 4096, (*region)->data() + 300'000,
                    [](char c) { return c == 0; }));
  // Growing to less changes nothing.
  REQUIRE((*file)->Grow(10).ok());
  CHECK((*file)->Size().value() == 300'000);
  CHECK((*file)->Sync().ok());
}

TEST_CASE_TEMPLATE("two maps of a file see the same bytes", Kind, DirectoryKind,
                   MemoryKind) {
  Kind kind;
  const auto storage = kind.Make();
  auto made = storage->Create("f");
  REQUIRE(made.ok());
  REQUIRE((*made)->Grow(8192).ok());
  auto write = (*made)->Map(Access::kWrite, 8192);
  auto opened = storage->Open("f", Access::kRead);
  REQUIRE(opened.ok());
  auto read = (*opened)->Map(Access::kRead, 8192);
  REQUIRE(write.ok());
  REQUIRE(read.ok());

  std::memcpy((*write)->data() + 5000, "hello", 5);

  CHECK(std::string_view((*read)->data() + 5000, 5) == "hello");
  CHECK((*opened)->ReadAll(8192).value().substr(5000, 5) == "hello");
  CHECK((*opened)->ReadAll(10).value().size() == 10);
  CHECK((*opened)->Identity().value() == (*made)->Identity().value());
}

// Page faults of this thread that needed no disk.
int64_t Faults() {
  rusage usage{};
  REQUIRE(::getrusage(RUSAGE_THREAD, &usage) == 0);
  return usage.ru_minflt;
}

TEST_CASE_TEMPLATE("touched pages are there, and as they were", Kind,
                   DirectoryKind, MemoryKind) {
  constexpr size_t kBytes = 256 * 4096;
  Kind kind;
  const auto storage = kind.Make();
  auto file = storage->Create("f");
  REQUIRE(file.ok());
  REQUIRE((*file)->Grow(kBytes).ok());
  const auto region = (*file)->Map(Access::kWrite, kBytes).value();
  std::memset(region->data(), 'x', 4096);

  region->Touch(100, kBytes, true);

  const int64_t before = Faults();
  CHECK(region->data()[4095] == 'x');
  CHECK(region->data()[4096] == 0);
  for (size_t at = 0; at < kBytes; at += 4096) region->data()[at] = 'y';
  const int64_t faults = Faults() - before;
  // An old kernel does nothing, which is allowed. A sanitizer's shadow of the
  // bytes has faults of its own.
  if (kSlowness == 1 && ::madvise(region->data(), 4096, MADV_POPULATE_WRITE) == 0) {
    CHECK(faults < 16);
  } else {
    MESSAGE("faults not counted: an old kernel or a sanitizer");
  }
}

TEST_CASE_TEMPLATE("files are written, renamed, listed and removed", Kind,
                   DirectoryKind, MemoryKind) {
  Kind kind;
  const auto storage = kind.Make();
  REQUIRE(storage->MakeDirectory("log").ok());
  REQUIRE(storage->MakeDirectory("log").ok());
  for (const char* const name : {"log/b", "log/a", "log/tmp"}) {
    auto file = storage->Create(name);
    REQUIRE(file.ok());
    REQUIRE((*file)->WriteAll(name).ok());
  }

  REQUIRE(storage->Rename("log/tmp", "log/a").ok());
  REQUIRE(storage->Remove("log/b").ok());
  REQUIRE(storage->Remove("log/b").ok());
  REQUIRE(storage->SyncDirectory("log").ok());
  REQUIRE(storage->SyncDirectory("").ok());

  CHECK(storage->List("log").value() == std::vector<std::string>{"a"});
  CHECK((*storage->Open("log/a", Access::kRead))->ReadAll(99).value() ==
        "log/tmp");
  // Made anew, it is empty.
  auto again = storage->Create("log/a");
  REQUIRE(again.ok());
  CHECK((*again)->Size().value() == 0);
}

TEST_CASE_TEMPLATE("a file that is not there is 1404", Kind, DirectoryKind,
                   MemoryKind) {
  Kind kind;
  const auto storage = kind.Make();
  CHECK(OmsCode(storage->Open("nothing", Access::kRead).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(storage->Open("nothing", Access::kWrite).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(storage->Rename("nothing", "something")) ==
        Code::kQueueNotFound);
}

TEST_CASE_TEMPLATE("byte locks exclude other objects, byte by byte", Kind,
                   DirectoryKind, MemoryKind) {
  Kind kind;
  const auto storage = kind.Make();
  auto one = storage->OpenLocks("LOCK");
  auto two = storage->OpenLocks("LOCK");
  REQUIRE(one.ok());
  REQUIRE(two.ok());

  CHECK((*one)->TryLock(16).value());
  CHECK((*one)->TryLock(16).value());
  CHECK(!(*two)->TryLock(16).value());
  CHECK((*two)->TryLock(17).value());

  CHECK((*two)->HeldElsewhere(16, 1).value());
  CHECK(!(*one)->HeldElsewhere(16, 1).value());
  CHECK((*one)->HeldElsewhere(16, 8).value());
  CHECK(!(*one)->HeldElsewhere(18, 1000).value());
  CHECK(!(*one)->HeldElsewhere(0, 16).value());
  // What another holds cannot be unlocked from here.
  CHECK((*two)->Unlock(16).ok());
  CHECK((*two)->HeldElsewhere(16, 1).value());

  SUBCASE("until they are unlocked") {
    CHECK((*one)->Unlock(16).ok());
    CHECK((*two)->TryLock(16).value());
    CHECK((*one)->HeldElsewhere(16, 1).value());
  }
  SUBCASE("until their object ends") {
    one->reset();
    CHECK((*two)->TryLock(16).value());
  }
  SUBCASE("whatever else of the file is closed") {
    storage->OpenLocks("LOCK")->reset();
    CHECK((*two)->HeldElsewhere(16, 1).value());
  }
}

TEST_CASE("links, pipes and directories are refused as files") {
  TempDirectory directory;
  auto storage = OpenDirectory(directory.path(), DirectoryOptions{});
  REQUIRE(storage.ok());
  TempDirectory elsewhere;
  const std::string path = directory.path() + "/f";
  const std::string target = elsewhere.path() + "/target";
  REQUIRE(storage.value()->Create("real").value()->WriteAll("secret").ok());
  std::filesystem::copy_file(directory.path() + "/real", target);

  SUBCASE("a symbolic link") {
    REQUIRE(symlink(target.c_str(), path.c_str()) == 0);
  }
  SUBCASE("a symbolic link to nothing") {
    REQUIRE(symlink((target + "2").c_str(), path.c_str()) == 0);
  }
  SUBCASE("a hard link") { REQUIRE(link(target.c_str(), path.c_str()) == 0); }
  SUBCASE("a pipe") { REQUIRE(mkfifo(path.c_str(), 0600) == 0); }

  CHECK(OmsCode((*storage)->Open("f", Access::kRead).status()) ==
        Code::kForbidden);
  CHECK(!(*storage)->Open("f", Access::kWrite).ok());
  CHECK(!(*storage)->Create("f").ok());
  CHECK(!(*storage)->OpenLocks("f").ok());
  CHECK(!std::filesystem::exists(target + "2"));
  CHECK(ReadFile(target) == "secret");
}

TEST_CASE("a directory below a link is not followed when it is listed") {
  TempDirectory directory;
  TempDirectory elsewhere;
  auto storage = OpenDirectory(directory.path(), DirectoryOptions{});
  REQUIRE(storage.ok());
  REQUIRE(symlink(elsewhere.path().c_str(),
                  (directory.path() + "/log").c_str()) == 0);
  CHECK(!(*storage)->List("log").ok());
  CHECK(!(*storage)->SyncDirectory("log").ok());
}

TEST_CASE("files are made for their owner only") {
  TempDirectory directory;
  auto storage = OpenDirectory(directory.path() + "/store", DirectoryOptions{});
  REQUIRE(storage.ok());
  REQUIRE((*storage)->Create("f").ok());
  REQUIRE((*storage)->MakeDirectory("d").ok());
  const auto mode_of = [&](const std::string& name) {
    struct stat info {};
    REQUIRE(stat((directory.path() + name).c_str(), &info) == 0);
    return info.st_mode & 0777;
  };
  CHECK(mode_of("/store") == 0700);
  CHECK(mode_of("/store/f") == 0600);
  CHECK(mode_of("/store/d") == 0700);
}

TEST_CASE("a directory that others may write is refused") {
  for (const mode_t mode : {0777, 0720, 0702}) {
    TempDirectory directory;
    REQUIRE(chmod(directory.path().c_str(), mode) == 0);
    CHECK(
        OmsCode(OpenDirectory(directory.path(), DirectoryOptions{}).status()) ==
        Code::kForbidden);
  }
}

TEST_CASE("a directory that belongs to another user is refused") {
  if (geteuid() != 0) {
    MESSAGE("not applicable: only root can give a directory away");
    return;
  }
  TempDirectory directory;
  REQUIRE(chown(directory.path().c_str(), 12345, 12345) == 0);
  CHECK(OmsCode(OpenDirectory(directory.path(), DirectoryOptions{}).status()) ==
        Code::kForbidden);

  REQUIRE(chown(directory.path().c_str(), 0, 0) == 0);
  auto storage = OpenDirectory(directory.path(), DirectoryOptions{});
  REQUIRE(storage.ok());
  REQUIRE((*storage)->Create("f").ok());
  REQUIRE(chown((directory.path() + "/f").c_str(), 12345, 12345) == 0);
  CHECK(OmsCode((*storage)->Open("f", Access::kRead).status()) ==
        Code::kForbidden);
}

TEST_CASE("what is missing or no directory is told apart") {
  TempDirectory directory;
  REQUIRE(OpenDirectory(directory.path(), DirectoryOptions{})
              .value()
              ->Create("file")
              .ok());
  DirectoryOptions look;
  look.create = false;
  CHECK(OmsCode(OpenDirectory(directory.path() + "/no", look).status()) ==
        Code::kQueueNotFound);
  CHECK(OmsCode(OpenDirectory(directory.path() + "/no/no", {}).status()) ==
        Code::kBadParameter);
  CHECK(OmsCode(OpenDirectory(directory.path() + "/file", {}).status()) ==
        Code::kBadParameter);
}

TEST_CASE("a full disk fails a growth with 1502 and takes it back") {
  TempDirectory directory;
  const std::string path = directory.path() + "/full";
  REQUIRE(mkdir(path.c_str(), 0700) == 0);
  if (mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0) {
    MESSAGE("not applicable: this user cannot mount a small file system");
    return;
  }
  {
    auto storage = OpenDirectory(path, DirectoryOptions{});
    REQUIRE(storage.ok());
    auto file = (*storage)->Create("f");
    REQUIRE(file.ok());
    REQUIRE((*file)->Grow(100'000).ok());

    const absl::Status full = (*file)->Grow(4 << 20);

    CHECK(OmsCode(full) == Code::kStorageBusy);
    CHECK((*file)->Size().value() == 100'000);
    // What was taken back can be had by another file.
    auto other = (*storage)->Create("g");
    REQUIRE(other.ok());
    CHECK((*other)->Grow(700'000).ok());
  }
  CHECK(umount(path.c_str()) == 0);
}

}  // namespace
}  // namespace openmessaging::reference::storage_test
