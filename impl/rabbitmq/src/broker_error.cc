// SPDX-License-Identifier: Apache-2.0

#include "broker_error.h"

#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"

namespace openmessaging::rabbitmq {

Code CodeOf(int reply_code) {
  switch (reply_code) {
    case AMQP_NO_ROUTE:
    case AMQP_NOT_FOUND:
      return Code::kQueueNotFound;
    case AMQP_CONTENT_TOO_LARGE:
      return Code::kBodyTooLarge;
    case AMQP_ACCESS_REFUSED:
    case AMQP_NOT_ALLOWED:
      return Code::kForbidden;
    case AMQP_RESOURCE_LOCKED:
      return Code::kConsumerExists;
    case AMQP_PRECONDITION_FAILED:
      return Code::kIllegalState;
    case AMQP_CONNECTION_FORCED:
      return Code::kUnavailable;
    case AMQP_RESOURCE_ERROR:
      return Code::kStorageBusy;
    case AMQP_NOT_IMPLEMENTED:
      return Code::kUnsupported;
    default:
      return Code::kBrokerError;
  }
}

absl::Status RefusedBy(std::string_view operation, std::string_view object,
                       int reply_code, std::string_view reply_text) {
  const std::string words = internal::Printable(reply_text);
  // Only the words tell it from a right that is missing.
  const bool exclusive =
      reply_code == AMQP_ACCESS_REFUSED &&
      reply_text.find("in exclusive use") != std::string_view::npos;
  // A queue that is not replicated is not gone with its node: it comes back.
  const auto says = [reply_text](std::string_view words_of_it) {
    return reply_text.find(words_of_it) != std::string_view::npos;
  };
  const bool away = (reply_code == AMQP_NOT_FOUND &&
                     (says("is down") || says("is stopped"))) ||
                    // Nor a quorum queue whose leader died a moment ago.
                    (reply_code == AMQP_INTERNAL_ERROR &&
                     (says("nodedown") || says("noproc")));
  const Code code = exclusive ? Code::kConsumerExists
                    : away    ? Code::kUnavailable
                              : CodeOf(reply_code);
  StatusDetail detail = DefaultDetail(code);
  detail.native = internal::Concat(reply_code, ' ', std::string_view(words));
  return WithDetail(
      MakeStatus(code, operation, " \"", object, "\": the broker says ",
                 reply_code, ", ", std::string_view(words)),
      detail);
}

absl::Status BrokenLink(std::string_view operation, std::string_view object,
                        std::string_view why, Outcome outcome) {
  StatusDetail detail = DefaultDetail(Code::kUnavailable);
  detail.outcome = outcome;
  return WithDetail(
      MakeStatus(Code::kUnavailable, operation, " \"", object, "\": ", why),
      detail);
}

absl::Status About(std::string_view operation, std::string_view object,
                   const absl::Status& status, Outcome outcome) {
  StatusDetail detail = DetailOf(status);
  detail.outcome = outcome;
  return WithDetail(MakeStatus(detail.code, operation, " \"", object, "\": ",
                               std::string_view(status.message().data(),
                                                status.message().size())),
                    detail);
}

}  // namespace openmessaging::rabbitmq
