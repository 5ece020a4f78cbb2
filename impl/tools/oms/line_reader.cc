// SPDX-License-Identifier: Apache-2.0

#include "line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "openmessaging/limits.h"
#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

absl::Status ReadError(int error) {
  return MakeStatus(Code::kCancelled, "read \"standard input\": ",
                    std::string_view(std::strerror(error)),
                    "; expected that it can be read");
}

// What a line costs while it waits, so that empty ones are bounded too.
size_t WaitingBytes(const std::string& line) {
  return line.size() + sizeof(line);
}

}  // namespace

LineReader::LineReader(int fd) : fd_(fd) {
  if (::pipe2(stop_pipe_.data(), O_CLOEXEC) != 0) {
    End(ReadError(errno));
    return;
  }
  thread_ = std::thread([this] { Run(); });
}

LineReader::~LineReader() {
  {
    const internal::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  // Closing this end wakes the poll on the other one.
  if (stop_pipe_[1] >= 0) ::close(stop_pipe_[1]);
  if (thread_.joinable()) thread_.join();
  if (stop_pipe_[0] >= 0) ::close(stop_pipe_[0]);
}

std::vector<std::string> LineReader::Take(size_t max_lines, size_t max_bytes) {
  std::vector<std::string> taken;
  size_t bytes = 0;
  const internal::MutexLock lock(mutex_);
  while (lines_.empty() && !ended_) changed_.Wait(mutex_);
  while (!lines_.empty() && taken.size() < max_lines) {
    bytes += lines_.front().size();
    if (!taken.empty() && bytes > max_bytes) break;
    waiting_bytes_ -= WaitingBytes(lines_.front());
    taken.push_back(std::move(lines_.front()));
    lines_.pop_front();
  }
  changed_.NotifyAll();
  return taken;
}

absl::Status LineReader::status() const {
  const internal::MutexLock lock(mutex_);
  return status_;
}

void LineReader::Run() {
  std::vector<char> buffer(size_t{64} << 10);
  for (;;) {
    std::array<pollfd, 2> ready{{{fd_, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) {
      return End(ReadError(errno));
    }
    if (ready[1].revents != 0) return End(absl::OkStatus());
    if (ready[0].revents == 0) continue;
    const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return End(ReadError(errno));
    }
    if (count == 0) {
      if (!begun_.empty()) Push({std::move(begun_)});
      return End(absl::OkStatus());
    }
    if (!Split({buffer.data(), static_cast<size_t>(count)})) {
      return End(absl::OkStatus());
    }
  }
}

bool LineReader::Split(std::string_view chunk) {
  std::vector<std::string> lines;
  for (;;) {
    const size_t end = chunk.find('\n');
    begun_.append(chunk.substr(0, end));
    if (begun_.size() > kMaxBodyBytes) {
      lines.push_back(std::move(begun_));
      Push(std::move(lines));
      return false;
    }
    if (end == std::string_view::npos) break;
    lines.push_back(std::exchange(begun_, {}));
    chunk.remove_prefix(end + 1);
  }
  return lines.empty() || Push(std::move(lines));
}

bool LineReader::Push(std::vector<std::string> lines) {
  const internal::MutexLock lock(mutex_);
  while (waiting_bytes_ > kMaxWaitingBytes && !stopping_) changed_.Wait(mutex_);
  if (stopping_) return false;
  for (std::string& line : lines) {
    waiting_bytes_ += WaitingBytes(line);
    lines_.push_back(std::move(line));
  }
  changed_.NotifyAll();
  return true;
}

void LineReader::End(absl::Status status) {
  const internal::MutexLock lock(mutex_);
  ended_ = true;
  status_ = std::move(status);
  changed_.NotifyAll();
}

}  // namespace openmessaging::tools
