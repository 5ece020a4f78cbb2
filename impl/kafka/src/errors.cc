// SPDX-License-Identifier: Apache-2.0

#include "errors.h"

namespace openmessaging::kafka {

Code CodeOf(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      return Code::kOk;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
      return Code::kQueueNotFound;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
      return Code::kQueueExists;
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
      return Code::kTooManyPartitions;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
      return Code::kBodyTooLarge;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
      return Code::kLocalQueueFull;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
      return Code::kUnauthorized;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return Code::kForbidden;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__NODE_UPDATE:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
      return Code::kUnavailable;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
      return Code::kTimeout;
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
      return Code::kFlushTimeout;
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
      return Code::kStorageBusy;
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
      return Code::kStorageError;
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
      return Code::kDamaged;
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return Code::kBadParameter;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      return Code::kFenced;
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
    case RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__CONFLICT:
      return Code::kIllegalState;
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
      return Code::kUnsupported;
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
      return Code::kClosed;
    default:
      return Code::kBrokerError;
  }
}

std::string NativeText(rd_kafka_resp_err_t error, std::string_view text) {
  const std::string_view name = rd_kafka_err2name(error);
  return internal::Concat(
      name, ": ",
      text.empty() ? std::string_view(rd_kafka_err2str(error)) : text);
}

absl::Status KafkaStatus(rd_kafka_resp_err_t error, std::string_view what,
                         std::string_view text) {
  const Code code = CodeOf(error);
  StatusDetail detail = DefaultDetail(code);
  detail.native = NativeText(error, text);
  return WithDetail(
      MakeStatus(code, what, ": ", std::string_view(detail.native)), detail);
}

absl::Status KafkaStatus(rd_kafka_resp_err_t error, std::string_view what,
                         Outcome outcome) {
  const absl::Status status = KafkaStatus(error, what);
  StatusDetail detail = DetailOf(status);
  detail.outcome = outcome;
  if (detail.code == Code::kTimeout && outcome == Outcome::kNotStored) {
    // It never left this process: there was nobody to send it to.
    detail.code = Code::kUnavailable;
    return WithDetail(MakeStatus(Code::kUnavailable, what, ": ",
                                 std::string_view(detail.native)),
                      detail);
  }
  return WithDetail(status, detail);
}

absl::Status LookupStatus(rd_kafka_resp_err_t error, std::string_view what,
                          std::string_view text) {
  const absl::Status status = KafkaStatus(error, what, text);
  StatusDetail detail = DetailOf(status);
  if (detail.code != Code::kTimeout) return status;
  detail.code = Code::kUnavailable;
  detail.outcome = Outcome::kNotStored;
  return WithDetail(MakeStatus(Code::kUnavailable, what,
                               ": no broker answered in time: ",
                               std::string_view(detail.native)),
                    detail);
}

}  // namespace openmessaging::kafka
