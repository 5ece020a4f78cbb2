// SPDX-License-Identifier: Apache-2.0

#include "output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "command.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging::tools {
namespace {

// Writes all of `text`. Returns: 0, or the errno of what went wrong.
int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {  // Somebody made the terminal non-blocking.
      pollfd room{fd, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// Adds how to create what is missing.
absl::Status Advise(const absl::Status& status, std::string_view url,
                    std::string_view kind, std::string_view name) {
  const absl::string_view text = status.message();
  std::string advice(text.data(), text.size());
  if (url.starts_with("oms:memory:")) {
    advice += "; a memory store ends with the program that made it";
  } else {
    advice += internal::Concat("; to create it: oms ", kind, " create ", url,
                               ' ', name);
  }
  return WithDetail(absl::Status(status.code(), advice), DetailOf(status));
}

}  // namespace

absl::Status Print(std::string_view text) {
  const int error = WriteAll(STDOUT_FILENO, text);
  if (error == 0) return absl::OkStatus();
  return MakeStatus(Code::kCancelled, "print \"standard output\": ",
                    std::string_view(std::strerror(error)),
                    "; expected that it can be written");
}

int PrintResult(std::string_view text) {
  const absl::Status printed = Print(text);
  return printed.ok() ? static_cast<int>(kDone) : Fail(printed);
}

std::string JsonLine(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false,
                     nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

void PrintToError(std::string_view text) { WriteAll(STDERR_FILENO, text); }

void PrintError(const absl::Status& status, std::string_view where) {
  const absl::string_view text = status.message();
  std::string line = internal::Concat(
      "oms: ", where, std::string_view(text.data(), text.size()), " (OMS ",
      static_cast<int>(OmsCode(status)), ")");
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  line.push_back('\n');
  PrintToError(line);
}

int Fail(const absl::Status& status) {
  PrintError(status);
  return kFailed;
}

absl::Status WithAdvice(absl::Status status, std::string_view url,
                        std::string_view queue) {
  if (OmsCode(status) == Code::kNamespaceNotFound) {
    return WithNamespaceAdvice(std::move(status), url,
                               SplitQueueName(queue).name_space);
  }
  if (OmsCode(status) != Code::kQueueNotFound) return status;
  return Advise(status, url, "queue", queue);
}

absl::Status WithNamespaceAdvice(absl::Status status, std::string_view url,
                                 std::string_view name_space) {
  if (OmsCode(status) != Code::kNamespaceNotFound || name_space.empty()) {
    return status;
  }
  return Advise(status, url, "namespace", name_space);
}

}  // namespace openmessaging::tools
