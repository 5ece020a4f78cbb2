// SPDX-License-Identifier: Apache-2.0
//
// Attributes are the settings of an access point or a client by name, as a URL
// or a call gives them: "operation.timeout" = "5s". Secrets among them are
// never printed.

#ifndef OPENMESSAGING_ATTRIBUTES_H_
#define OPENMESSAGING_ATTRIBUTES_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/internal/attribute_text.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// Returns: whether the value of that attribute must never be printed:
// "account.key", "password", "token", "secret" and "passphrase", and whatever
// ends in one of these words after a dot or a hyphen, or in ".key".
// Implements: OMS-ATTR-005.
inline bool IsSecretAttribute(std::string_view name) {
  for (const std::string_view word :
       {"password", "token", "secret", "passphrase"}) {
    if (!name.ends_with(word)) continue;
    if (name.size() == word.size()) return true;
    const char before = name[name.size() - word.size() - 1];
    if (before == '.' || before == '-') return true;
  }
  return name.ends_with(".key");
}

// Names of [a-z0-9.-] with text, in the order of the names.
//
// The typed readers take a fallback for an attribute that is not set; one that
// is set but cannot be read is an error either way.
//
// Threads: const methods may run together; others need the caller's lock.
// Lifetime: a value. A view of it ends with the next change.
// Implements: OMS-ATTR-001 to OMS-ATTR-005.
class Attributes {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;

  // Sets `name`, in place of what it was.
  // Errors: kInvalidArgument 1418: a bad name, or a value that is not UTF-8.
  // Implements: OMS-ATTR-001.
  [[nodiscard]] absl::Status Set(std::string_view name, std::string_view value);

  // Returns: whether `name` was set.
  bool Remove(std::string_view name);

  // Takes all of `stronger` over, in place of what is already set: attributes
  // of a call override those of the URL.
  // Implements: OMS-ATTR-002.
  void OverrideWith(const Attributes& stronger);

  std::optional<std::string_view> Find(std::string_view name) const;
  bool Contains(std::string_view name) const { return Find(name).has_value(); }

  // Reads "100ms", "5s", "2m", "3h" or "1d": a whole number and a unit.
  // Errors: kInvalidArgument 1418: not set, of another form, or too large.
  // Implements: OMS-ATTR-003.
  [[nodiscard]] absl::StatusOr<std::chrono::milliseconds> GetDuration(
      std::string_view name) const;
  [[nodiscard]] absl::StatusOr<std::chrono::milliseconds> GetDuration(
      std::string_view name, std::chrono::milliseconds fallback) const;

  // Reads a number of bytes: "512", "512B", "64KiB", "1MiB", "2GiB", "1TiB"
  // by 1024, or "10KB", "10MB", "10GB", "10TB" by 1000.
  // Errors: kInvalidArgument 1418: not set, of another form, or too large.
  // Implements: OMS-ATTR-003.
  [[nodiscard]] absl::StatusOr<size_t> GetSize(std::string_view name) const;
  [[nodiscard]] absl::StatusOr<size_t> GetSize(std::string_view name,
                                               size_t fallback) const;

  // Reads "on" or "true", "off" or "false".
  // Errors: kInvalidArgument 1418: not set, or of another form.
  // Implements: OMS-ATTR-003.
  [[nodiscard]] absl::StatusOr<bool> GetBool(std::string_view name) const;
  [[nodiscard]] absl::StatusOr<bool> GetBool(std::string_view name,
                                             bool fallback) const;

  // Reads a whole decimal number.
  // Errors: kInvalidArgument 1418: not set, of another form, or too large.
  // Implements: OMS-ATTR-003.
  [[nodiscard]] absl::StatusOr<int64_t> GetInteger(std::string_view name) const;
  [[nodiscard]] absl::StatusOr<int64_t> GetInteger(std::string_view name,
                                                   int64_t fallback) const;

  // Checks that every attribute is one of `known`.
  // Errors: kInvalidArgument 1418: names the first that is not, and the known
  //   one that it looks most like.
  // Implements: OMS-ATTR-004.
  [[nodiscard]] absl::Status CheckKnown(
      std::span<const std::string_view> known) const;

  size_t size() const { return map_.size(); }
  bool empty() const { return map_.empty(); }
  Map::const_iterator begin() const { return map_.begin(); }
  Map::const_iterator end() const { return map_.end(); }

  // Returns: `a=1, b=2` for people to read; each secret is "***".
  // Implements: OMS-ATTR-005.
  std::string ToString() const;

  friend bool operator==(const Attributes&, const Attributes&) = default;

 private:
  template <typename T>
  absl::StatusOr<T> Read(std::string_view name,
                         std::optional<T> (*parse)(std::string_view),
                         std::string_view expected, const T* fallback) const;

  Map map_;
};

inline absl::Status Attributes::Set(std::string_view name,
                                    std::string_view value) {
  if (!internal::IsAttributeName(name)) {
    return MakeStatus(Code::kBadParameter, "set attribute \"",
                      internal::Printable(name),
                      "\": not an attribute's name; expected 1 to ",
                      kMaxNameBytes, " of [a-z0-9.-] (OMS-ATTR-001)");
  }
  if (!internal::IsUtf8(value)) {
    return MakeStatus(Code::kBadParameter, "set attribute \"", name,
                      "\": value is not UTF-8; expected UTF-8 text "
                      "(OMS-ATTR-001)");
  }
  map_.insert_or_assign(std::string(name), std::string(value));
  return absl::OkStatus();
}

inline bool Attributes::Remove(std::string_view name) {
  const auto found = map_.find(name);
  if (found == map_.end()) return false;
  map_.erase(found);
  return true;
}

inline void Attributes::OverrideWith(const Attributes& stronger) {
  for (const auto& [name, value] : stronger) map_.insert_or_assign(name, value);
}

inline std::optional<std::string_view> Attributes::Find(
    std::string_view name) const {
  const auto found = map_.find(name);
  if (found == map_.end()) return std::nullopt;
  return found->second;
}

template <typename T>
absl::StatusOr<T> Attributes::Read(std::string_view name,
                                   std::optional<T> (*parse)(std::string_view),
                                   std::string_view expected,
                                   const T* fallback) const {
  const auto text = Find(name);
  if (!text && fallback != nullptr) return *fallback;
  if (!text) {
    return MakeStatus(Code::kBadParameter, "read attribute \"",
                      internal::Printable(name), "\": not set; expected ",
                      expected, " (OMS-ATTR-003)");
  }
  if (const auto value = parse(*text)) return *value;
  return MakeStatus(
      Code::kBadParameter, "read attribute \"", name, "\": value is \"",
      IsSecretAttribute(name) ? "***" : internal::Printable(*text),
      "\"; expected ", expected, " (OMS-ATTR-003)");
}

inline absl::StatusOr<std::chrono::milliseconds> Attributes::GetDuration(
    std::string_view name) const {
  return Read<std::chrono::milliseconds>(name, internal::ParseDuration,
                                         internal::kDurationForm, nullptr);
}
inline absl::StatusOr<std::chrono::milliseconds> Attributes::GetDuration(
    std::string_view name, std::chrono::milliseconds fallback) const {
  return Read<std::chrono::milliseconds>(name, internal::ParseDuration,
                                         internal::kDurationForm, &fallback);
}

inline absl::StatusOr<size_t> Attributes::GetSize(std::string_view name) const {
  return Read<size_t>(name, internal::ParseSize, internal::kSizeForm, nullptr);
}
inline absl::StatusOr<size_t> Attributes::GetSize(std::string_view name,
                                                  size_t fallback) const {
  return Read<size_t>(name, internal::ParseSize, internal::kSizeForm,
                      &fallback);
}

inline absl::StatusOr<bool> Attributes::GetBool(std::string_view name) const {
  return Read<bool>(name, internal::ParseSwitch, internal::kSwitchForm,
                    nullptr);
}
inline absl::StatusOr<bool> Attributes::GetBool(std::string_view name,
                                                bool fallback) const {
  return Read<bool>(name, internal::ParseSwitch, internal::kSwitchForm,
                    &fallback);
}

inline absl::StatusOr<int64_t> Attributes::GetInteger(
    std::string_view name) const {
  return Read<int64_t>(name, internal::ParseWhole, internal::kWholeForm,
                       nullptr);
}
inline absl::StatusOr<int64_t> Attributes::GetInteger(std::string_view name,
                                                      int64_t fallback) const {
  return Read<int64_t>(name, internal::ParseWhole, internal::kWholeForm,
                       &fallback);
}

inline absl::Status Attributes::CheckKnown(
    std::span<const std::string_view> known) const {
  for (const auto& [name, value] : map_) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string_view nearest = internal::NearestName(name, known);
    if (!nearest.empty()) {
      return MakeStatus(Code::kBadParameter, "check attribute \"", name,
                        "\": unknown; did you mean \"", nearest,
                        "\" (OMS-ATTR-004)");
    }
    std::string names;
    for (const std::string_view choice : known) {
      names += internal::Concat(names.empty() ? "" : ", ", choice);
    }
    return MakeStatus(Code::kBadParameter, "check attribute \"", name,
                      "\": unknown; expected ",
                      names.empty() ? "none at all" : "one of ", names,
                      " (OMS-ATTR-004)");
  }
  return absl::OkStatus();
}

inline std::string Attributes::ToString() const {
  std::string out;
  for (const auto& [name, value] : map_) {
    if (!out.empty()) out.append(", ");
    out += internal::Concat(
        name, '=',
        IsSecretAttribute(name) ? "***" : internal::Printable(value));
  }
  return out;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_ATTRIBUTES_H_
