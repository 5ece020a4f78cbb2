// SPDX-License-Identifier: Apache-2.0
//
// ClaimCheck: what lies where, what is refused, and large bodies on their way
// through the memory store.

#include "openmessaging/kit/claim_check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/openmessaging.h"

namespace openmessaging::claim_check_test {
namespace {

namespace fs = std::filesystem;
using kit::ClaimCheck;
using std::chrono::seconds;

// A folder that goes with this object.
struct Folder {
  Folder() {
    path = (fs::temp_directory_path() / "oms_claim_XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(path)) {
      files.push_back(entry.path());
    }
    return files;
  }

  std::string path{};
};

std::shared_ptr<ClaimCheck> Make(const Folder& folder,
                                 size_t max_body_bytes = 1 << 20) {
  auto made = ClaimCheck::Create({.directory = folder.path,
                                  .max_inline_bytes = 100,
                                  .max_body_bytes = max_body_bytes});
  REQUIRE(made.ok());
  return *std::move(made);
}

std::string Body(size_t bytes) {
  std::string body(bytes, '\0');
  for (size_t n = 0; n < bytes; ++n) body[n] = static_cast<char>(n * 7 + n / 256);
  return body;
}

Message Claimed(ClaimCheck& check, std::string_view body) {
  Message message("orders", body);
  message.SetMessageKey("key");
  REQUIRE(message.SetProperty("tries", 3).ok());
  REQUIRE(check.BeforeSend(message).ok());
  return message;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST_CASE("OMS-CLAIM-001: the directory is one's own, or is made") {
  const Folder folder;
  const auto code = [](const std::string& path) {
    return OmsCode(ClaimCheck::Create({.directory = path}).status());
  };
  CHECK(code("") == Code::kBadParameter);
  CHECK(code(folder.path + "/a/b") == Code::kStorageError);
  CHECK(code(folder.path + "/new") == Code::kOk);
  struct stat stat {};
  REQUIRE(::stat((folder.path + "/new").c_str(), &stat) == 0);
  CHECK((stat.st_mode & 0777) == 0700);
  REQUIRE(chmod((folder.path + "/new").c_str(), 0777) == 0);
  CHECK(code(folder.path + "/new") == Code::kForbidden);
  fs::create_symlink(folder.path, folder.path + "/link");
  CHECK(code(folder.path + "/link") == Code::kForbidden);
  std::ofstream(folder.path + "/file") << "x";
  CHECK(code(folder.path + "/file") == Code::kForbidden);
}

TEST_CASE("OMS-CLAIM-002: a long body is in a blob and comes back whole") {
  const Folder folder;
  const auto check = Make(folder);
  const std::string body = Body(100'000);

  Message message = Claimed(*check, body);

  CHECK(message.body().empty());
  CHECK(message.properties().Contains(ClaimCheck::kClaimProperty));
  REQUIRE(folder.Files().size() == 1);
  CHECK(ReadFile(folder.Files()[0]) == body);
  struct stat stat {};
  REQUIRE(::stat(folder.Files()[0].c_str(), &stat) == 0);
  CHECK((stat.st_mode & 0777) == 0600);
  REQUIRE(Make(folder)->BeforeReceive(message).ok());
  CHECK(message.body() == body);
  CHECK_FALSE(message.properties().Contains(ClaimCheck::kClaimProperty));
  CHECK(*message.properties().Get<int32_t>("tries") == 3);
  CHECK(message.message_key() == "key");
  // Another group may come.
  CHECK(folder.Files().size() == 1);
}

TEST_CASE("OMS-CLAIM-002: a short body stays where it is") {
  const Folder folder;
  const auto check = Make(folder);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{100}}) {
    Message message = Claimed(*check, Body(bytes));
    CHECK(message.body() == Body(bytes));
    CHECK(check->BeforeReceive(message).ok());
    CHECK(message.body() == Body(bytes));
  }
  CHECK(folder.Files().empty());
}

TEST_CASE("OMS-CLAIM-002: who has a claim already gets no other") {
  const Folder folder;
  const auto check = Make(folder);
  Message message = Claimed(*check, Body(200));

  CHECK(OmsCode(check->BeforeSend(message)) == Code::kBadParameter);
}

TEST_CASE("OMS-CLAIM-003: the limit holds at both ends") {
  const Folder folder;
  const auto check = Make(folder, 1000);
  Message large("orders", Body(1001));
  CHECK(OmsCode(check->BeforeSend(large)) == Code::kBodyTooLarge);
  CHECK(folder.Files().empty());
  Message message = Claimed(*check, Body(1000));

  // Not a byte of it is read.
  CHECK(OmsCode(Make(folder, 999)->BeforeReceive(message)) ==
        Code::kBodyTooLarge);
}

TEST_CASE("OMS-CLAIM-004: a blob that is gone or altered shows nothing") {
  const Folder folder;
  const auto check = Make(folder);
  const Message sent = Claimed(*check, Body(5000));
  const fs::path blob = folder.Files()[0];
  const auto code = [&] {
    Message message = sent;
    const Code answer = OmsCode(check->BeforeReceive(message));
    CHECK(message.body().empty());
    return answer;
  };

  std::string changed = Body(5000);
  changed[4321] = static_cast<char>(changed[4321] ^ 1);
  std::ofstream(blob, std::ios::binary) << changed;
  CHECK(code() == Code::kDamaged);
  std::ofstream(blob, std::ios::binary) << Body(4999);
  CHECK(code() == Code::kDamaged);
  std::ofstream(blob, std::ios::binary) << Body(5001);
  CHECK(code() == Code::kDamaged);
  fs::remove(blob);
  CHECK(code() == Code::kDamaged);
  fs::create_symlink("/etc/hostname", blob);
  CHECK(code() == Code::kStorageError);
  fs::remove(blob);
  fs::create_directory(blob);
  CHECK(code() == Code::kDamaged);
}

TEST_CASE("OMS-CLAIM-004: a claim names a blob and no other file") {
  const Folder folder;
  const auto check = Make(folder);
  const Message sent = Claimed(*check, Body(5000));
  const std::string good(
      *sent.properties().Get<std::string_view>(ClaimCheck::kClaimProperty));
  const std::string name = good.substr(0, 32);
  for (const std::string& claim :
       {std::string(), std::string(" "), std::string("../../etc/passwd 10 0"),
        name, name + " 1388", name + " 1388 ", name + "  1388",
        name + " 1388 1234567890", name + " 99999999999999999 0",
        name.substr(1) + " 1388 0", name + "x 1388 0", "/" + good,
        good + " 1", std::string(32, 'G') + " 1388 0"}) {
    CAPTURE(claim);
    Message message = sent;
    REQUIRE(message.SetProperty(ClaimCheck::kClaimProperty,
                                std::string_view(claim))
                .ok());
    CHECK(OmsCode(check->BeforeReceive(message)) == Code::kDamaged);
  }
  Message number = sent;
  REQUIRE(number.SetProperty(ClaimCheck::kClaimProperty, 5).ok());
  CHECK(OmsCode(check->BeforeReceive(number)) == Code::kDamaged);
}

TEST_CASE("OMS-CLAIM-005: a blob that cannot be written is not sent") {
  const Folder folder;
  const auto check = Make(folder);
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  Message message("orders", Body(10'000));

  const absl::Status status = check->BeforeSend(message);

  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(OmsCode(status) == Code::kStorageError);
  CHECK(DetailOf(status).outcome == Outcome::kNotStored);
  CHECK(folder.Files().empty());
  CHECK(check->BeforeSend(message).ok());
}

TEST_CASE("OMS-CLAIM-005: the blob of a message that was not stored goes") {
  const Folder folder;
  const auto bus = MessagingAccessPoint::Connect("oms:memory://claims-refused");
  REQUIRE(bus.ok());
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  REQUIRE(producer->AddInterceptor(Make(folder)).ok());

  CHECK(OmsCode(producer->Send(Message("nowhere", Body(500))).status()) ==
        Code::kQueueNotFound);

  CHECK(folder.Files().empty());
}

TEST_CASE("OMS-CLAIM-006: old blobs go, and nothing else does") {
  const Folder folder;
  const auto check = Make(folder);
  Claimed(*check, Body(200));
  const fs::path old_blob = folder.Files()[0];
  const fs::path half = old_blob.string().substr(0, old_blob.string().size() - 1) +
                        "0.part";
  std::ofstream(half) << "half";
  std::ofstream(folder.path + "/notes.txt") << "mine";
  for (const fs::path& path : {old_blob, half, fs::path(folder.path) / "notes.txt"}) {
    fs::last_write_time(path, fs::file_time_type::clock::now() -
                                  std::chrono::hours(48));
  }
  Message fresh = Claimed(*check, Body(300));

  const auto removed = check->RemoveOlderThan(std::chrono::hours(24));

  REQUIRE(removed.ok());
  CHECK(*removed == 2);
  CHECK(folder.Files().size() == 2);
  CHECK(fs::exists(folder.path + "/notes.txt"));
  CHECK(check->BeforeReceive(fresh).ok());
}

TEST_CASE("bodies larger than a broker takes go through one") {
  const Folder folder;
  constexpr size_t kLarge = size_t{70} << 20;  // A message has 64 MiB at most.
  const auto bus = MessagingAccessPoint::Connect("oms:memory://claims");
  REQUIRE(bus.ok());
  REQUIRE(bus->resource_manager().CreateQueue("orders").ok());
  const auto check = Make(folder, 2 * kLarge);
  auto producer = bus->CreateProducer();
  REQUIRE(producer.ok());
  REQUIRE(producer->AddInterceptor(check).ok());
  const std::string body = Body(kLarge);

  REQUIRE(producer->Send(Message("orders", body)).ok());
  REQUIRE(producer->Send(Message("orders", "small")).ok());

  for (const char* const group : {"billing", "audit"}) {
    auto consumer = bus->CreatePullConsumer({.group = group});
    REQUIRE(consumer.ok());
    REQUIRE(consumer->Bind("orders").ok());
    REQUIRE(consumer->AddInterceptor(check).ok());
    auto first = consumer->Receive(seconds(20));
    REQUIRE(first.ok());
    REQUIRE(first->has_value());
    CHECK((**first)->body() == body);
    CHECK((**first)->partition() == 0);
    REQUIRE((*first)->Ack().ok());
    auto second = consumer->Receive(seconds(20));
    REQUIRE(second.ok());
    REQUIRE(second->has_value());
    CHECK((**second)->body() == "small");
    REQUIRE((*second)->Ack().ok());
  }
}

TEST_CASE("many threads write and read blobs of one directory") {
  const Folder folder;
  const auto check = Make(folder);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < 20; ++n) {
        const std::string body = Body(static_cast<size_t>(200 + t * 100 + n));
        Message message("orders", body);
        if (check->BeforeSend(message).ok() &&
            check->BeforeReceive(message).ok() && message.body() == body) {
          good.fetch_add(1);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK(good == 80);
  CHECK(folder.Files().size() == 80);
}

}  // namespace
}  // namespace openmessaging::claim_check_test
