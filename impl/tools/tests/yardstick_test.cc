// SPDX-License-Identifier: Apache-2.0
//
// Tests that the yardstick does the work whose time it tells.

#include "yardstick.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "bare_log.h"
#include "doctest/doctest.h"
#include "openmessaging/status.h"
#include "ping_pong.h"

namespace openmessaging::tools::yardstick_test {
namespace {

using std::chrono::milliseconds;

std::string Directory() {
  return std::filesystem::temp_directory_path().string();
}

// A file that is gone with the test.
class TestFile {
 public:
  TestFile() {
    std::string name = Directory() + "/yardstick_test_XXXXXX";
    fd_ = ::mkstemp(name.data());
    REQUIRE(fd_ >= 0);
    ::unlink(name.c_str());
  }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  ~TestFile() { ::close(fd_); }
  int fd() const { return fd_; }

  std::string Read(size_t bytes) const {
    std::string text(bytes, '?');
    const ssize_t count = ::pread(fd_, text.data(), bytes, 0);
    text.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return text;
  }

 private:
  int fd_ = -1;
};

}  // namespace

TEST_CASE("OMS-BENCH-009: a bare log writes one record behind another") {
  const TestFile file;
  REQUIRE(FillWithZeros(file.fd(), 9).ok());
  CHECK(file.Read(100) == std::string(9, '\0'));
  BareLog log(file.fd(), 9);

  REQUIRE(log.Append("abc").ok());
  REQUIRE(log.Append("defg").ok());
  CHECK(file.Read(100) == std::string("abcdefg\0\0", 9));

  REQUIRE(log.Append("XYZ").ok());  // It does not fit behind them.
  CHECK(file.Read(100) == std::string("XYZdefg\0\0", 9));
}

TEST_CASE("OMS-BENCH-009: a bare log keeps what many threads append") {
  constexpr size_t kThreads = 8;
  constexpr size_t kRecords = 20;
  const TestFile file;
  BareLog log(file.fd(), kThreads * kRecords);

  std::vector<std::thread> threads;
  for (size_t n = 0; n < kThreads; ++n) {
    threads.emplace_back([&log, n] {
      for (size_t i = 0; i < kRecords; ++i) {
        CHECK(log.Append(std::string(1, static_cast<char>('a' + n))).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::vector<size_t> counts(kThreads);
  for (const char c : file.Read(1000)) {
    const auto n = static_cast<size_t>(c - 'a');
    REQUIRE(n < kThreads);
    ++counts[n];
  }
  CHECK(counts == std::vector<size_t>(kThreads, kRecords));
}

TEST_CASE("OMS-BENCH-009: a bare log that cannot write fails for ever") {
  const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  BareLog log(fd, 100);

  CHECK(OmsCode(log.Append("abc")) == Code::kStorageError);
  CHECK(OmsCode(log.Append("abc")) == Code::kStorageError);

  ::close(fd);
}

TEST_CASE("OMS-BENCH-010: a word goes to another process and back") {
  for (const bool spin : {true, false}) {
    CAPTURE(spin);
    const auto game = PingPong::Start(spin);
    REQUIRE(game.ok());
    for (int i = 0; i < 20; ++i) {
      const auto as_asked = (*game)->Once();
      REQUIRE(as_asked.ok());
      if (spin) CHECK(*as_asked);
    }
  }
}

TEST_CASE("OMS-BENCH-011: a limit is measured once and told again") {
  Yardstick yardstick(Directory(), milliseconds(5));

  const auto copy = yardstick.Copy(256);
  REQUIRE(copy.ok());
  CHECK((*copy)->name == "memcpy/256B");
  CHECK((*copy)->per_second > 1000);
  const auto append = yardstick.Append(256, 3);
  REQUIRE(append.ok());
  CHECK((*append)->name == "append-fdatasync/256B/3");
  CHECK((*append)->latency.count >= 3);
  const auto touch = yardstick.TouchFile();
  REQUIRE(touch.ok());
  CHECK((*touch)->latency.count >= 1);
  REQUIRE(yardstick.TouchMemory().ok());
  REQUIRE(yardstick.PingPong(false).ok());

  CHECK(*yardstick.Copy(256) == *copy);
  CHECK(yardstick.measured().size() == 5);
}

TEST_CASE("OMS-BENCH-011: a directory that is not there is a clear error") {
  Yardstick yardstick(Directory() + "/there/is/none", milliseconds(5));

  const auto append = yardstick.Append(256, 1);

  CHECK(OmsCode(append.status()) == Code::kStorageError);
  CHECK(append.status().message().find("there/is/none") !=
        absl::string_view::npos);
  CHECK(yardstick.measured().empty());
}

}  // namespace openmessaging::tools::yardstick_test
