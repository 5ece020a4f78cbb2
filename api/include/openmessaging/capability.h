// SPDX-License-Identifier: Apache-2.0
//
// What a driver can do for one queue, and how much of it. Asked with
// MessagingAccessPoint::capabilities(queue); the ids are in
// spec/capabilities.md.

#ifndef OPENMESSAGING_CAPABILITY_H_
#define OPENMESSAGING_CAPABILITY_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace openmessaging {
inline namespace v0 {

enum class Capability : uint8_t {
  kIndividualAck,
  kCumulativeAck,
  kNack,
  kNackDelay,
  kReject,
  kExtend,
  kDeliveryCount,
  kDeadLetter,
  kPromptRelease,
  kGroups,
  kBroadcast,
  kExclusive,
  kPartitions,
  kKeyOrder,
  kExplicitPartition,
  kDelay,
  kDelayCancel,
  kExpiry,
  kPriority,
  kFilter,
  kStream,
  kSeek,
  kTransactionCheck,
  kTransactionLocal,
  kRequestReply,
  kAdmin,
  kNamespaces,
  kRouting,
  kStats,
  kTypedProperties,
  kDeduplication,
  kExactlyOnce,
  kDurable,
  kAuthentication,
  kTls,
  kLease,
  kSharedReceipt,
  kSettleConfirmed,
  kStartEarliest,
  kSharedPartition,
};

// In the order of the enumeration; the text is the specification's id.
inline constexpr std::array<std::string_view, 40> kCapabilityNames = {
    "individual-ack",
    "cumulative-ack",
    "nack",
    "nack-delay",
    "reject",
    "extend",
    "delivery-count",
    "dead-letter",
    "prompt-release",
    "groups",
    "broadcast",
    "exclusive",
    "partitions",
    "key-order",
    "explicit-partition",
    "delay",
    "delay-cancel",
    "expiry",
    "priority",
    "filter",
    "stream",
    "seek",
    "tx-check",
    "tx-local",
    "request-reply",
    "admin",
    "namespaces",
    "routing",
    "stats",
    "typed-properties",
    "dedup",
    "exactly-once",
    "durable",
    "auth",
    "tls",
    "lease",
    "shared-receipt",
    "settle-confirmed",
    "start-earliest",
    "shared-partition"};

// Implements: OMS-FMT-001.
inline constexpr std::string_view Name(Capability capability) {
  return kCapabilityNames[static_cast<size_t>(capability)];
}

// kEmulated: the driver gives it with more than one broker operation, and its
// documentation says which guarantees are weaker.
enum class Support : uint8_t { kUnsupported, kEmulated, kNative };

inline constexpr std::string_view Name(Support support) {
  constexpr std::array<std::string_view, 3> kNames = {"unsupported", "emulated",
                                                      "native"};
  return kNames[static_cast<size_t>(support)];
}

// How much of it. An absent limit is the portable one (limits.h).
struct CapabilityLimits {
  std::optional<size_t> max_body_bytes = std::nullopt;
  std::optional<size_t> max_properties_bytes = std::nullopt;
  std::optional<size_t> max_properties = std::nullopt;
  std::optional<size_t> max_batch_messages = std::nullopt;
  std::optional<int32_t> max_partitions = std::nullopt;
  std::optional<int32_t> max_queues = std::nullopt;
  std::optional<int32_t> max_namespaces = std::nullopt;
  std::optional<int32_t> priority_levels = std::nullopt;
  std::optional<std::chrono::milliseconds> max_delay = std::nullopt;
  std::optional<std::chrono::milliseconds> max_deduplication_window =
      std::nullopt;
  std::optional<std::chrono::milliseconds> min_lease = std::nullopt;
  std::optional<std::chrono::milliseconds> max_lease = std::nullopt;

  friend bool operator==(const CapabilityLimits&,
                         const CapabilityLimits&) = default;
};

// The answer for one queue. It does not change until the connection does.
//
// Threads: a value.
// Implements: OMS-CAP-001, OMS-CAP-002.
class Capabilities {
 public:
  // Returns: everything unsupported.
  Capabilities() = default;

  Support Of(Capability capability) const {
    return support_[static_cast<size_t>(capability)];
  }
  bool Has(Capability capability) const {
    return Of(capability) != Support::kUnsupported;
  }
  Capabilities& Set(Capability capability, Support support) {
    support_[static_cast<size_t>(capability)] = support;
    return *this;
  }

  const CapabilityLimits& limits() const { return limits_; }
  CapabilityLimits& mutable_limits() { return limits_; }

  friend bool operator==(const Capabilities&, const Capabilities&) = default;

 private:
  std::array<Support, kCapabilityNames.size()> support_{};
  CapabilityLimits limits_;
};

// A set of capabilities, for example what a lenient send left out.
// Implements: OMS-PROD-012.
class CapabilitySet {
 public:
  bool empty() const { return bits_ == 0; }
  bool Contains(Capability capability) const {
    return (bits_ & Bit(capability)) != 0;
  }
  void Add(Capability capability) { bits_ |= Bit(capability); }
  friend bool operator==(CapabilitySet, CapabilitySet) = default;

 private:
  static uint64_t Bit(Capability capability) {
    return uint64_t{1} << static_cast<unsigned>(capability);
  }

  uint64_t bits_ = 0;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_CAPABILITY_H_
