// SPDX-License-Identifier: Apache-2.0

#include "broker_version.h"

#include <charconv>
#include <string>

#include "admin_call.h"

namespace openmessaging::kafka {
namespace {

using OwnedResource =
    Owned<rd_kafka_ConfigResource_t, rd_kafka_ConfigResource_destroy>;

constexpr std::string_view kSetting = "inter.broker.protocol.version";

// Returns: the version that these settings tell of, if any.
std::optional<BrokerVersion> VersionIn(const rd_kafka_ConfigEntry_t** settings,
                                       size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (kSetting != rd_kafka_ConfigEntry_name(settings[i])) continue;
    const char* const value = rd_kafka_ConfigEntry_value(settings[i]);
    const auto version =
        value == nullptr ? BrokerVersion{} : ParseVersion(value);
    if (version == BrokerVersion{}) return std::nullopt;
    return version;
  }
  return BrokerVersion{4, 0};
}

}  // namespace

BrokerVersion ParseVersion(std::string_view text) {
  BrokerVersion version;
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') {
    return {};
  }
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  return minor.ec == std::errc() ? version : BrokerVersion{};
}

std::optional<BrokerVersion> AskVersion(Cluster& cluster, TimePoint deadline) {
  const auto control = cluster.Control();
  if (!control.ok()) return std::nullopt;
  const OwnedResource broker(rd_kafka_ConfigResource_new(
      RD_KAFKA_RESOURCE_BROKER,
      std::to_string(cluster.some_broker()).c_str()));
  rd_kafka_ConfigResource_t* one = broker.get();
  const auto event = AdminCall(
      (*control)->get(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
      "ask for the broker's version", deadline,
      [&](const rd_kafka_AdminOptions_t* call, rd_kafka_queue_t* answers) {
        rd_kafka_DescribeConfigs((*control)->get(), &one, 1, call, answers);
      });
  if (!event.ok()) return std::nullopt;
  size_t count = 0;
  const rd_kafka_ConfigResource_t** const found =
      rd_kafka_DescribeConfigs_result_resources(
          rd_kafka_event_DescribeConfigs_result(event->get()), &count);
  if (count != 1 || rd_kafka_ConfigResource_error(found[0]) !=
                        RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::nullopt;
  }
  const rd_kafka_ConfigEntry_t** const settings =
      rd_kafka_ConfigResource_configs(found[0], &count);
  return VersionIn(settings, count);
}

Capabilities CapabilitiesFor(const QueueOptions& options,
                             BrokerVersion version) {
  Capabilities all;
  for (const Capability native :
       {Capability::kGroups, Capability::kPartitions,
        Capability::kExplicitPartition, Capability::kStartEarliest,
        Capability::kDurable, Capability::kAuthentication, Capability::kTls,
        Capability::kAdmin, Capability::kStream}) {
    all.Set(native, Support::kNative);
  }
  for (const Capability emulated :
       {Capability::kIndividualAck, Capability::kCumulativeAck,
        Capability::kNack, Capability::kNackDelay, Capability::kDeliveryCount,
        Capability::kTypedProperties, Capability::kSeek, Capability::kStats,
        Capability::kBroadcast, Capability::kDelay, Capability::kExpiry,
        Capability::kRequestReply}) {
    all.Set(emulated, Support::kEmulated);
  }
  if (version < kFencesGroups) return all;
  all.Set(Capability::kTransactionLocal, Support::kNative);
  // A dead letter moves in a transaction.
  if (!options.dead_letter_queue.empty()) {
    all.Set(Capability::kReject, Support::kEmulated);
    all.Set(Capability::kDeadLetter, Support::kEmulated);
  }
  return all;
}

}  // namespace openmessaging::kafka
