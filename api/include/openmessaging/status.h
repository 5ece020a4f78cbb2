// SPDX-License-Identifier: Apache-2.0
//
// Status codes and what a status of this library carries beside its text: the
// OpenMessaging code, whether a retry may help, whether the message was stored,
// and the broker's own words. The table of codes is in spec/errors.md.

#ifndef OPENMESSAGING_STATUS_H_
#define OPENMESSAGING_STATUS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "openmessaging/internal/status_payload.h"
#include "openmessaging/internal/text.h"

namespace openmessaging {
inline namespace v0 {

// The codes of OpenMessaging 1.0, and the block 1600 to 1609 for what it has no
// word for. Each maps to one absl::StatusCode, see CanonicalCode().
enum class Code : int {
  kUnsupportedVersion = 1101,
  kOk = 1200,
  kBadRequest = 1400,
  kUnauthorized = 1401,
  kBodyRequired = 1402,
  kForbidden = 1403,
  kQueueNotFound = 1404,
  kNamespaceNotFound = 1405,
  kQueueExists = 1406,
  kNamespaceExists = 1407,
  kConsumerExists = 1408,
  kProducerExists = 1409,
  kTimeout = 1410,
  kAttributesTooLarge = 1411,
  kHeaderTooLarge = 1412,
  kBodyTooLarge = 1413,
  kNoNewMessage = 1414,
  kTooManyPartitions = 1415,
  kTooManyQueues = 1416,
  kTooManyNamespaces = 1417,
  kBadParameter = 1418,
  kBrokerError = 1500,
  kStorageError = 1501,
  kStorageBusy = 1502,
  kUnavailable = 1503,
  kFlushTimeout = 1504,
  kUnsupported = 1600,
  kClosed = 1601,
  kIllegalState = 1602,
  kReceiptInvalid = 1603,
  kReceiptExpired = 1604,
  kTransactionConflict = 1605,
  kCancelled = 1606,
  kLocalQueueFull = 1607,
  kFenced = 1608,
  kDamaged = 1609,
  kCannotConstruct = 10000,
  kIllegalUrl = 10001,
  kIllegalVersion = 10002,
  kIncompatibleVersion = 10003,
};

// Whether the operation took effect although it reports an error.
enum class Outcome { kNotStored, kStored, kUnknown };

// What a failed status says beyond its text. Obtain it with DetailOf().
struct StatusDetail {
  Code code = Code::kBrokerError;
  // True: the same call, unchanged, may succeed later.
  bool retriable = false;
  Outcome outcome = Outcome::kNotStored;
  // The broker's own code and text; empty where there is none.
  std::string native;
};

// Returns: the one absl code of each of ours, for callers that know only those.
// Implements: OMS-ERR-001.
inline absl::StatusCode CanonicalCode(Code code) {
  switch (code) {
    case Code::kOk:
      return absl::StatusCode::kOk;
    case Code::kUnauthorized:
      return absl::StatusCode::kUnauthenticated;
    case Code::kForbidden:
      return absl::StatusCode::kPermissionDenied;
    case Code::kQueueNotFound:
    case Code::kNamespaceNotFound:
    case Code::kNoNewMessage:
    case Code::kReceiptExpired:
      return absl::StatusCode::kNotFound;
    case Code::kQueueExists:
    case Code::kNamespaceExists:
    case Code::kConsumerExists:
    case Code::kProducerExists:
      return absl::StatusCode::kAlreadyExists;
    case Code::kTimeout:
    case Code::kFlushTimeout:
      return absl::StatusCode::kDeadlineExceeded;
    case Code::kTooManyPartitions:
    case Code::kTooManyQueues:
    case Code::kTooManyNamespaces:
    case Code::kStorageBusy:
    case Code::kLocalQueueFull:
      return absl::StatusCode::kResourceExhausted;
    case Code::kBrokerError:
      return absl::StatusCode::kInternal;
    case Code::kStorageError:
    case Code::kDamaged:
      return absl::StatusCode::kDataLoss;
    case Code::kUnavailable:
      return absl::StatusCode::kUnavailable;
    case Code::kUnsupported:
    case Code::kUnsupportedVersion:
    case Code::kIncompatibleVersion:
      return absl::StatusCode::kUnimplemented;
    case Code::kClosed:
    case Code::kIllegalState:
    case Code::kFenced:
      return absl::StatusCode::kFailedPrecondition;
    case Code::kTransactionConflict:
      return absl::StatusCode::kAborted;
    case Code::kCancelled:
      return absl::StatusCode::kCancelled;
    case Code::kBadRequest:
    case Code::kBodyRequired:
    case Code::kAttributesTooLarge:
    case Code::kHeaderTooLarge:
    case Code::kBodyTooLarge:
    case Code::kBadParameter:
    case Code::kReceiptInvalid:
    case Code::kCannotConstruct:
    case Code::kIllegalUrl:
    case Code::kIllegalVersion:
      return absl::StatusCode::kInvalidArgument;
  }
  return absl::StatusCode::kUnknown;
}

// Returns: what each code means when nobody says otherwise. A driver that knows
// better says so with WithDetail().
// Implements: OMS-ERR-001 to OMS-ERR-003.
inline StatusDetail DefaultDetail(Code code) {
  StatusDetail detail;
  detail.code = code;
  detail.retriable = code == Code::kStorageBusy || code == Code::kUnavailable ||
                     code == Code::kTimeout || code == Code::kLocalQueueFull;
  if (code == Code::kTimeout || code == Code::kStorageError) {
    detail.outcome = Outcome::kUnknown;
  } else if (code == Code::kFlushTimeout || code == Code::kOk) {
    detail.outcome = Outcome::kStored;
  }
  return detail;
}

// Builds `status` anew with `detail`. Returns: OK unchanged.
// Implements: OMS-ERR-001 to OMS-ERR-004.
inline absl::Status WithDetail(absl::Status status,
                               const StatusDetail& detail) {
  if (!status.ok()) {
    internal::SetStatusPayload(
        status, {static_cast<int>(detail.code), detail.retriable,
                 static_cast<int>(detail.outcome), detail.native});
  }
  return status;
}

// Builds a status whose text is `parts` one after another, as absl::StrCat
// would, with the default detail of `code`. Text: one line, no capital, no full
// stop: `<operation> "<object>": <what is wrong>; <what was expected>`.
// Implements: OMS-ERR-001.
template <typename... Parts>
absl::Status MakeStatus(Code code, const Parts&... parts) {
  return WithDetail(
      absl::Status(CanonicalCode(code), internal::Concat(parts...)),
      DefaultDetail(code));
}

// Returns: the detail; for a status that is not of this library's making, the
// code nearest to its absl code.
// Implements: OMS-ERR-001 to OMS-ERR-004.
inline StatusDetail DetailOf(const absl::Status& status) {
  if (status.ok()) return DefaultDetail(Code::kOk);
  if (auto payload = internal::GetStatusPayload(status)) {
    return {static_cast<Code>(payload->code), payload->retriable,
            static_cast<Outcome>(payload->outcome), std::move(payload->native)};
  }
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return DefaultDetail(Code::kBadParameter);
    case absl::StatusCode::kDeadlineExceeded:
      return DefaultDetail(Code::kTimeout);
    case absl::StatusCode::kUnavailable:
      return DefaultDetail(Code::kUnavailable);
    case absl::StatusCode::kUnimplemented:
      return DefaultDetail(Code::kUnsupported);
    case absl::StatusCode::kCancelled:
      return DefaultDetail(Code::kCancelled);
    default:
      return DefaultDetail(Code::kBrokerError);
  }
}

// Returns: the OpenMessaging code; kOk (1200) for success.
// Implements: OMS-ERR-001.
inline Code OmsCode(const absl::Status& status) {
  return DetailOf(status).code;
}

// Returns: true when the same call, unchanged, may succeed later.
// Implements: OMS-ERR-002.
inline bool IsRetriable(const absl::Status& status) {
  return !status.ok() && DetailOf(status).retriable;
}

// Returns: whether what was asked for took effect nevertheless.
// Implements: OMS-ERR-003.
inline Outcome OutcomeOf(const absl::Status& status) {
  return DetailOf(status).outcome;
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_STATUS_H_
