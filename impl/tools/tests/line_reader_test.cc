// SPDX-License-Identifier: Apache-2.0
//
// Tests of oms/line_reader.h.

#include "line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/limits.h"

namespace openmessaging::tools::line_reader_test {
namespace {

using Lines = std::vector<std::string>;

// A pipe that a test writes to and a reader reads from.
struct Pipe {
  Pipe() { REQUIRE(::pipe(ends.data()) == 0); }
  ~Pipe() {
    Close();
    ::close(ends[0]);
  }
  void Write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::write(ends[1], text.data(), text.size());
      REQUIRE(count > 0);
      text.remove_prefix(static_cast<size_t>(count));
    }
  }
  void Close() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }

  std::array<int, 2> ends{-1, -1};
};

// Returns: all lines to the end, taken one batch after another.
Lines TakeAll(LineReader& reader, size_t max_lines, size_t max_bytes) {
  Lines all;
  for (;;) {
    Lines batch = reader.Take(max_lines, max_bytes);
    if (batch.empty()) return all;
    CHECK(batch.size() <= max_lines);
    all.insert(all.end(), batch.begin(), batch.end());
  }
}

Lines LinesOf(std::string_view text) {
  Pipe pipe;
  LineReader reader(pipe.ends[0]);
  pipe.Write(text);
  pipe.Close();
  Lines lines = TakeAll(reader, 3, 1 << 20);
  CHECK(reader.status().ok());
  return lines;
}

}  // namespace

TEST_CASE("OMS-CLI-004: lines end with a newline and keep all else") {
  CHECK(LinesOf("") == Lines{});
  CHECK(LinesOf("a\n") == Lines{"a"});
  CHECK(LinesOf("a\nb") == Lines{"a", "b"});
  CHECK(LinesOf("\n\nb\r\n") == Lines{"", "", "b\r"});
  CHECK(LinesOf(std::string_view("a\0b\n", 4)) ==
        Lines{std::string("a\0b", 3)});
}

TEST_CASE("OMS-CLI-004: a line is there before the next one comes") {
  Pipe pipe;
  LineReader reader(pipe.ends[0]);

  pipe.Write("one\ntw");
  CHECK(reader.Take(512, 1 << 20) == Lines{"one"});
  pipe.Write("o\n");
  CHECK(reader.Take(512, 1 << 20) == Lines{"two"});
}

TEST_CASE("OMS-CLI-004: a batch respects both limits but is never empty") {
  Pipe pipe;
  LineReader reader(pipe.ends[0]);
  pipe.Write("1234567890\n12\n34\n56\n");
  pipe.Close();

  CHECK(reader.Take(9, 5) == Lines{"1234567890"});
  CHECK(reader.Take(9, 5) == Lines{"12", "34"});
  CHECK(reader.Take(9, 5) == Lines{"56"});
  CHECK(reader.Take(9, 5) == Lines{});
}

TEST_CASE("OMS-CLI-004: many lines of many lengths come through in order") {
  std::string text;
  Lines expected;
  for (size_t i = 0; i < 20000; ++i) {
    expected.push_back(std::to_string(i) + std::string(i * 7 % 3001, 'x'));
    text += expected.back() + "\n";
  }
  Pipe pipe;
  LineReader reader(pipe.ends[0]);

  std::thread writer([&] {
    pipe.Write(text);
    pipe.Close();
  });
  const Lines lines = TakeAll(reader, 512, 1 << 20);
  writer.join();

  CHECK((lines == expected));
}

TEST_CASE("OMS-CLI-004: an endless line is cut above the largest body") {
  const int zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  REQUIRE(zeros >= 0);

  LineReader reader(zeros);
  const Lines lines = TakeAll(reader, 512, 1 << 20);

  REQUIRE(lines.size() == 1);
  CHECK(lines.front().size() > kMaxBodyBytes);
  CHECK(lines.front().size() < kMaxBodyBytes + (1 << 20));
  ::close(zeros);
}

TEST_CASE("OMS-CLI-004: lines that nobody takes are not read without end") {
  Pipe pipe;
  ::fcntl(pipe.ends[1], F_SETFL, O_NONBLOCK);
  const std::string text(4096, '\n');
  size_t accepted = 0;
  LineReader reader(pipe.ends[0]);

  // The pipe stays full once the reader has enough: it does not read on.
  int refused = 0;
  while (refused < 200 && accepted < (size_t{64} << 20)) {
    const ssize_t count = ::write(pipe.ends[1], text.data(), text.size());
    if (count > 0) {
      accepted += static_cast<size_t>(count);
      refused = 0;
    } else {
      ++refused;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  CHECK(refused == 200);
}

TEST_CASE("OMS-CLI-004: the destructor ends a reader that waits for input") {
  Pipe pipe;
  { LineReader reader(pipe.ends[0]); }
  // Reaching this line is the check; the test has a deadline.
  CHECK(pipe.ends[1] >= 0);
}

TEST_CASE("OMS-CLI-004: input that cannot be read is an error") {
  const int write_only = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(write_only >= 0);

  LineReader reader(write_only);

  CHECK(reader.Take(1, 1).empty());
  CHECK(!reader.status().ok());
  ::close(write_only);
}

}  // namespace openmessaging::tools::line_reader_test
