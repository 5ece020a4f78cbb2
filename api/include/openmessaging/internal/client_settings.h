// SPDX-License-Identifier: Apache-2.0
//
// What the portable layer takes from the attributes of an access point: its own
// settings, and the defaults of the options of clients.

#ifndef OPENMESSAGING_INTERNAL_CLIENT_SETTINGS_H_
#define OPENMESSAGING_INTERNAL_CLIENT_SETTINGS_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/limits.h"
#include "openmessaging/producer_options.h"
#include "openmessaging/status.h"
#include "openmessaging/transaction.h"

namespace openmessaging {
inline namespace v0 {
namespace internal {

// Of a producer, once nothing is left open.
struct ProducerSettings {
  std::chrono::milliseconds send_timeout{};
  size_t max_body_bytes = kDefaultMaxBodyBytes;
  size_t max_in_flight_messages = 10000;
  size_t max_in_flight_bytes = size_t{64} << 20;
  InFlightPolicy at_in_flight_limit = InFlightPolicy::kBlock;
  bool autostart = true;
  std::string group{};
  CheckListener check{};
  std::chrono::milliseconds check_after{};
  int32_t max_checks = 0;
};

// Of a consumer that pushes.
struct PushSettings {
  size_t concurrency = 1;
  size_t prefetch_messages = 256;
  size_t prefetch_bytes = size_t{16} << 20;
  size_t max_batch_messages = 64;
  bool renew_leases = true;
};

// The portable settings of a connection; a driver never sees them.
struct ConnectionSettings {
  // Bounds every call. Where nobody set it, calls that have a timeout of their
  // own go by that alone.
  std::optional<std::chrono::milliseconds> operation_timeout{};

  // A message may ask for what its queue cannot give.
  bool lenient = false;

  // What clients are that do not say otherwise; nothing: operation.timeout.
  std::optional<std::chrono::milliseconds> send_timeout{};
  ProducerSettings producer{};
  std::chrono::milliseconds lease{30000};
  PushSettings push{};
};

// The attributes that are for this layer; every other one is the driver's.
inline constexpr std::array kPortableAttributes = {
    std::string_view("operation.timeout"),
    std::string_view("lenient"),
    std::string_view("producer.send-timeout"),
    std::string_view("producer.max-body"),
    std::string_view("producer.max-in-flight-messages"),
    std::string_view("producer.max-in-flight-bytes"),
    std::string_view("consumer.lease"),
    std::string_view("consumer.concurrency"),
    std::string_view("consumer.prefetch-messages"),
    std::string_view("consumer.prefetch-bytes"),
    std::string_view("consumer.max-batch-messages"),
};

inline constexpr size_t kMostMessages = 1'000'000;
inline constexpr size_t kMostInFlightBytes = size_t{64} << 30;
inline constexpr size_t kMostConcurrency = 1024;

// Checks an option that is a number, which must be at least 1.
inline absl::Status CheckCount(std::string_view operation,
                               std::string_view option, size_t value,
                               size_t maximum) {
  if (value >= 1 && value <= maximum) return absl::OkStatus();
  return MakeStatus(Code::kBadParameter, operation, ": ", option, " is ", value,
                    "; expected 1 to ", maximum, " (OMS-MAP-009)");
}

// Checks an option that is a time.
inline absl::Status CheckTimeout(std::string_view operation,
                                 std::string_view option,
                                 std::chrono::milliseconds value,
                                 int64_t minimum_ms) {
  if (value.count() >= minimum_ms) return absl::OkStatus();
  return MakeStatus(Code::kBadParameter, operation, ": ", option, " is ",
                    value.count(), " ms; expected ", minimum_ms,
                    " or more (OMS-MAP-009)");
}

inline absl::Status CheckMaxBody(std::string_view operation,
                                 std::string_view option, size_t value) {
  if (value <= kMaxBodyBytes) return absl::OkStatus();
  return MakeStatus(Code::kBadParameter, operation, ": ", option, " is ", value,
                    "; expected at most ", kMaxBodyBytes, " (OMS-MAP-009)");
}

// Checks what a producer says of checks.
inline absl::Status CheckChecks(std::string_view operation,
                                const ProducerSettings& settings) {
  if (settings.check == nullptr) return absl::OkStatus();
  if (settings.group.empty()) {
    return MakeStatus(Code::kBadParameter, operation,
                      ": there is a check listener and no group; expected a "
                      "name of whom it answers for (group)");
  }
  constexpr std::chrono::milliseconds kDay = std::chrono::hours(24);
  if (settings.check_after.count() < 1 || settings.check_after > kDay) {
    return MakeStatus(Code::kBadParameter, operation, ": check_after is ",
                      settings.check_after.count(), " ms; expected 1 to ",
                      kDay.count());
  }
  constexpr int32_t kMostChecks = 10'000;
  if (settings.max_checks >= 1 && settings.max_checks <= kMostChecks) {
    return absl::OkStatus();
  }
  return MakeStatus(Code::kBadParameter, operation, ": max_checks is ",
                    settings.max_checks, "; expected 1 to ", kMostChecks);
}

// An option that is set is stronger than the attribute.
template <typename T>
void Take(const std::optional<T>& option, T& setting) {
  if (option) setting = *option;
}

// Moves the portable attributes from `attributes` into settings.
//
// Keeps the first failure and reads nothing behind it, so that Take() is a list
// of the attributes and not of the ways in which one may be wrong.
class SettingsReader {
 public:
  explicit SettingsReader(Attributes& attributes) : attributes_(attributes) {}

  absl::StatusOr<ConnectionSettings> Take();

 private:
  static constexpr std::string_view kOperation = "connect";

  // Takes a time, left as it is where the attribute is not set.
  template <typename Target>
  void TakeTime(std::string_view name, int64_t minimum_ms, Target& target) {
    Read(name, target, [&]() -> absl::StatusOr<std::chrono::milliseconds> {
      const auto value = attributes_.GetDuration(name);
      if (!value.ok()) return value;
      absl::Status status = CheckTimeout(kOperation, name, *value, minimum_ms);
      if (!status.ok()) return status;
      return value;
    });
  }
  void TakeBytes(std::string_view name, size_t& target) {
    Read(name, target, [&]() -> absl::StatusOr<size_t> {
      const auto value = attributes_.GetSize(name);
      if (!value.ok()) return value;
      absl::Status status =
          CheckCount(kOperation, name, *value, kMostInFlightBytes);
      if (!status.ok()) return status;
      return value;
    });
  }
  void TakeCount(std::string_view name, size_t maximum, size_t& target) {
    Read(name, target, [&]() -> absl::StatusOr<size_t> {
      const auto value = attributes_.GetInteger(name);
      if (!value.ok()) return value.status();
      // What is negative shows as 0, which is refused as well.
      const auto count = static_cast<size_t>(std::max<int64_t>(*value, 0));
      absl::Status status = CheckCount(kOperation, name, count, maximum);
      if (!status.ok()) return status;
      return count;
    });
  }

  template <typename Target, typename Reader>
  void Read(std::string_view name, Target& target, const Reader& read) {
    if (!status_.ok() || !attributes_.Contains(name)) return;
    const auto value = read();
    if (value.ok()) {
      target = *value;
    } else {
      status_ = value.status();
    }
    attributes_.Remove(name);
  }

  // What looks like a client's attribute must be one.
  void CheckNames();

  Attributes& attributes_;
  absl::Status status_;
};

inline absl::StatusOr<ConnectionSettings> SettingsReader::Take() {
  ConnectionSettings settings;
  CheckNames();
  TakeTime("operation.timeout", 1, settings.operation_timeout);
  Read("lenient", settings.lenient,
       [&] { return attributes_.GetBool("lenient"); });

  ProducerSettings& producer = settings.producer;
  TakeTime("producer.send-timeout", 0, settings.send_timeout);
  Read("producer.max-body", producer.max_body_bytes,
       [&]() -> absl::StatusOr<size_t> {
         const auto value = attributes_.GetSize("producer.max-body");
         if (!value.ok()) return value;
         absl::Status status =
             CheckMaxBody(kOperation, "producer.max-body", *value);
         if (!status.ok()) return status;
         return value;
       });
  TakeCount("producer.max-in-flight-messages", kMostMessages,
            producer.max_in_flight_messages);
  TakeBytes("producer.max-in-flight-bytes", producer.max_in_flight_bytes);

  PushSettings& push = settings.push;
  TakeTime("consumer.lease", 1, settings.lease);
  TakeCount("consumer.concurrency", kMostConcurrency, push.concurrency);
  TakeCount("consumer.prefetch-messages", kMostMessages,
            push.prefetch_messages);
  TakeBytes("consumer.prefetch-bytes", push.prefetch_bytes);
  TakeCount("consumer.max-batch-messages", kMostMessages,
            push.max_batch_messages);
  if (!status_.ok()) return status_;
  return settings;
}

inline void SettingsReader::CheckNames() {
  Attributes ours;
  for (const auto& [name, value] : attributes_) {
    if (name.starts_with("producer.") || name.starts_with("consumer.") ||
        name.starts_with("operation.")) {
      status_.Update(ours.Set(name, value));
    }
  }
  status_.Update(ours.CheckKnown(kPortableAttributes));
}

}  // namespace internal
}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_INTERNAL_CLIENT_SETTINGS_H_
