// SPDX-License-Identifier: Apache-2.0
//
// Names of queues, groups and namespaces. A queue is named `queue`, or
// `namespace://queue` when it is not in the default namespace.

#ifndef OPENMESSAGING_QUEUE_NAME_H_
#define OPENMESSAGING_QUEUE_NAME_H_

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Names and property keys that start with this belong to the library.
inline constexpr std::string_view kReservedPrefix = "oms.";

// A queue's name in its two parts.
//
// Threads: a value.
// Lifetime: views of the text that was split.
struct QueueName {
  // Empty: the default namespace.
  std::string_view name_space;
  std::string_view queue;

  friend bool operator==(const QueueName&, const QueueName&) = default;
};

// Splits `text` at its first "://" and checks nothing. For names that passed
// CheckQueueName().
// Implements: OMS-NAME-003.
constexpr QueueName SplitQueueName(std::string_view text) {
  constexpr std::string_view kSeparator = "://";
  const size_t at = text.find(kSeparator);
  if (at == std::string_view::npos) return {{}, text};
  return {text.substr(0, at), text.substr(at + kSeparator.size())};
}

// Check a name of a queue (with or without its namespace), of a group, of a
// namespace: each part is 1 to 255 of [A-Za-z0-9._-] and does not start with
// "oms.". Nothing is allocated for a good name.
//
// Errors: kInvalidArgument 1418: says which character or part is wrong.
// Implements: OMS-NAME-001, OMS-NAME-002.
[[nodiscard]] absl::Status CheckQueueName(std::string_view text);
[[nodiscard]] absl::Status CheckGroupName(std::string_view text);
[[nodiscard]] absl::Status CheckNamespaceName(std::string_view text);

// Checks and splits the name of a queue.
// Errors: as CheckQueueName().
// Implements: OMS-NAME-003.
[[nodiscard]] absl::StatusOr<QueueName> ParseQueueName(std::string_view text);

namespace internal {

constexpr bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

// Checks one part; `kind` and `text` are for the error.
inline absl::Status CheckName(std::string_view part, std::string_view kind,
                              std::string_view text) {
  const auto fail = [&](const auto&... wrong) {
    return MakeStatus(Code::kBadParameter, "check ", kind, " \"",
                      Printable(text), "\": ", wrong..., "; expected 1 to ",
                      kMaxNameBytes, " of [A-Za-z0-9._-], not starting with ",
                      kReservedPrefix, " (OMS-NAME-001)");
  };
  if (part.empty()) return fail("name is empty");
  if (part.size() > kMaxNameBytes) {
    return fail("name is ", part.size(), " bytes long");
  }
  const auto bad = std::find_if_not(part.begin(), part.end(), IsNameCharacter);
  if (bad != part.end()) {
    return fail("character '", Printable({&*bad, 1}), "' at byte ",
                &*bad - text.data(), " is not allowed");
  }
  if (part.starts_with(kReservedPrefix)) {
    return fail("prefix ", kReservedPrefix, " is reserved");
  }
  return absl::OkStatus();
}

}  // namespace internal

inline absl::Status CheckQueueName(std::string_view text) {
  const QueueName name = SplitQueueName(text);
  if (name.queue.size() != text.size()) {
    absl::Status status =
        internal::CheckName(name.name_space, "namespace of queue", text);
    if (!status.ok()) return status;
  }
  return internal::CheckName(name.queue, "queue", text);
}

inline absl::Status CheckGroupName(std::string_view text) {
  return internal::CheckName(text, "group", text);
}

inline absl::Status CheckNamespaceName(std::string_view text) {
  return internal::CheckName(text, "namespace", text);
}

inline absl::StatusOr<QueueName> ParseQueueName(std::string_view text) {
  if (absl::Status status = CheckQueueName(text); !status.ok()) return status;
  return SplitQueueName(text);
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_QUEUE_NAME_H_
