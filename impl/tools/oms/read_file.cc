// SPDX-License-Identifier: Apache-2.0

#include "read_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "openmessaging/status.h"

namespace openmessaging::tools {

absl::StatusOr<std::string> ReadFile(const std::string& name, size_t max_bytes,
                                     std::string_view argument) {
  const auto failed = [&] {
    return MakeStatus(Code::kBadParameter, "read file \"",
                      std::string_view(name),
                      "\": ", std::string_view(std::strerror(errno)),
                      "; expected a file that can be read (", argument, ")");
  };
  const int fd =
      name == "-" ? STDIN_FILENO : ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed();
  std::string bytes;
  ssize_t count = 0;
  do {
    constexpr size_t kStep = size_t{64} << 10;
    const size_t old_size = bytes.size();
    bytes.resize(old_size + kStep);
    count = ::read(fd, bytes.data() + old_size, kStep);
    const bool again = count < 0 && errno == EINTR;
    bytes.resize(old_size + static_cast<size_t>(std::max<ssize_t>(count, 0)));
    if (again) count = 1;
  } while (count > 0 && bytes.size() <= max_bytes);
  absl::StatusOr<std::string> result = std::move(bytes);
  if (count < 0) result = failed();
  if (fd != STDIN_FILENO) ::close(fd);
  return result;
}

}  // namespace openmessaging::tools
