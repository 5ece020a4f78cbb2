// SPDX-License-Identifier: Apache-2.0
//
// A store on a network file system is refused. To mount one takes a server, so
// this program says of its own what fstatfs(2) answers.

#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace {

long claimed_type = 0;  // 0: the truth.

}  // namespace

extern "C" int fstatfs(int fd, struct statfs* system) noexcept {
  const long result = ::syscall(SYS_fstatfs, fd, system);
  if (result == 0 && claimed_type != 0) system->f_type = claimed_type;
  return static_cast<int>(result);
}

namespace openmessaging::reference::testing::network_file_system_test {
namespace {

struct Folder {
  Folder() {
    std::string name = "/tmp/oms_network_XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    claimed_type = 0;
    std::filesystem::remove_all(path);
  }
  std::filesystem::path path;
};

absl::Status CreateQueue(const std::filesystem::path& store) {
  auto bus = MessagingAccessPoint::Connect("oms:file:" + store.string());
  if (!bus.ok()) return bus.status();
  return bus->resource_manager().CreateQueue("orders");
}

}  // namespace

TEST_CASE("OMS-REF-011: a store on a network file system is refused") {
  const Folder folder;
  const auto store = folder.path / "store";
  struct Kind {
    const char* name;
    long type;
  };
  for (const Kind& kind : {Kind{"NFS", 0x6969}, Kind{"CIFS", 0xff534d42},
                           Kind{"SMB2", 0xfe534d42}, Kind{"9P", 0x01021997},
                           Kind{"FUSE", 0x65735546}, Kind{"Ceph", 0xc36400}}) {
    CAPTURE(kind.name);
    claimed_type = kind.type;
    const absl::Status refused = CreateQueue(store);
    CHECK(OmsCode(refused) == Code::kForbidden);
    CHECK(std::string(refused.message()).find("network file system") !=
          std::string::npos);
  }
  claimed_type = 0;
  CHECK(CreateQueue(store).ok());

  // One that was made before it was mounted elsewhere is refused as well.
  claimed_type = 0x6969;
  CHECK(OmsCode(CreateQueue(store)) == Code::kForbidden);
}

}  // namespace openmessaging::reference::testing::network_file_system_test
