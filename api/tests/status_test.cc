// SPDX-License-Identifier: Apache-2.0
//
// Tests of status.h: an error says its OpenMessaging code, whether a retry may
// help, whether the message was stored, and what the broker itself said.

#include "openmessaging/status.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "doctest/doctest.h"

namespace openmessaging::status_test {
namespace {

// What spec/errors.md says of a code.
struct Row {
  Code code;
  int number;
  absl::StatusCode canonical;
  bool retriable = false;
  Outcome outcome = Outcome::kNotStored;
};

constexpr Row kRows[] = {
    {Code::kUnsupportedVersion, 1101, absl::StatusCode::kUnimplemented},
    {Code::kBadRequest, 1400, absl::StatusCode::kInvalidArgument},
    {Code::kUnauthorized, 1401, absl::StatusCode::kUnauthenticated},
    {Code::kBodyRequired, 1402, absl::StatusCode::kInvalidArgument},
    {Code::kForbidden, 1403, absl::StatusCode::kPermissionDenied},
    {Code::kQueueNotFound, 1404, absl::StatusCode::kNotFound},
    {Code::kNamespaceNotFound, 1405, absl::StatusCode::kNotFound},
    {Code::kQueueExists, 1406, absl::StatusCode::kAlreadyExists},
    {Code::kNamespaceExists, 1407, absl::StatusCode::kAlreadyExists},
    {Code::kConsumerExists, 1408, absl::StatusCode::kAlreadyExists},
    {Code::kProducerExists, 1409, absl::StatusCode::kAlreadyExists},
    {Code::kTimeout, 1410, absl::StatusCode::kDeadlineExceeded, true,
     Outcome::kUnknown},
    {Code::kAttributesTooLarge, 1411, absl::StatusCode::kInvalidArgument},
    {Code::kHeaderTooLarge, 1412, absl::StatusCode::kInvalidArgument},
    {Code::kBodyTooLarge, 1413, absl::StatusCode::kInvalidArgument},
    {Code::kNoNewMessage, 1414, absl::StatusCode::kNotFound},
    {Code::kTooManyPartitions, 1415, absl::StatusCode::kResourceExhausted},
    {Code::kTooManyQueues, 1416, absl::StatusCode::kResourceExhausted},
    {Code::kTooManyNamespaces, 1417, absl::StatusCode::kResourceExhausted},
    {Code::kBadParameter, 1418, absl::StatusCode::kInvalidArgument},
    {Code::kBrokerError, 1500, absl::StatusCode::kInternal},
    {Code::kStorageError, 1501, absl::StatusCode::kDataLoss, false,
     Outcome::kUnknown},
    {Code::kStorageBusy, 1502, absl::StatusCode::kResourceExhausted, true},
    {Code::kUnavailable, 1503, absl::StatusCode::kUnavailable, true},
    {Code::kFlushTimeout, 1504, absl::StatusCode::kDeadlineExceeded, false,
     Outcome::kStored},
    {Code::kUnsupported, 1600, absl::StatusCode::kUnimplemented},
    {Code::kClosed, 1601, absl::StatusCode::kFailedPrecondition},
    {Code::kIllegalState, 1602, absl::StatusCode::kFailedPrecondition},
    {Code::kReceiptInvalid, 1603, absl::StatusCode::kInvalidArgument},
    {Code::kReceiptExpired, 1604, absl::StatusCode::kNotFound},
    {Code::kTransactionConflict, 1605, absl::StatusCode::kAborted},
    {Code::kCancelled, 1606, absl::StatusCode::kCancelled},
    {Code::kLocalQueueFull, 1607, absl::StatusCode::kResourceExhausted, true},
    {Code::kFenced, 1608, absl::StatusCode::kFailedPrecondition},
    {Code::kDamaged, 1609, absl::StatusCode::kDataLoss},
    {Code::kCannotConstruct, 10000, absl::StatusCode::kInvalidArgument},
    {Code::kIllegalUrl, 10001, absl::StatusCode::kInvalidArgument},
    {Code::kIllegalVersion, 10002, absl::StatusCode::kInvalidArgument},
    {Code::kIncompatibleVersion, 10003, absl::StatusCode::kUnimplemented},
};

TEST_CASE("OMS-ERR-001: a status carries its code and the absl code of it") {
  for (const Row& row : kRows) {
    CAPTURE(row.number);

    const absl::Status status = MakeStatus(row.code, "send failed");

    CHECK(static_cast<int>(row.code) == row.number);
    CHECK(status.code() == row.canonical);
    CHECK(OmsCode(status) == row.code);
    CHECK(status.message() == "send failed");
  }
}

TEST_CASE("every code of the library is in the table above") {
  for (int number = 0; number <= 20000; ++number) {
    CAPTURE(number);
    const bool listed =
        std::any_of(std::begin(kRows), std::end(kRows),
                    [number](const Row& row) { return row.number == number; });

    const absl::StatusCode canonical = CanonicalCode(static_cast<Code>(number));

    const bool known =
        number != 1200 && canonical != absl::StatusCode::kUnknown;
    CHECK(known == listed);
  }
}

TEST_CASE("OMS-ERR-002: a status says whether a retry may help") {
  for (const Row& row : kRows) {
    CAPTURE(row.number);
    CHECK(IsRetriable(MakeStatus(row.code, "x")) == row.retriable);
  }
}

TEST_CASE("OMS-ERR-003: a status says whether the message was stored") {
  for (const Row& row : kRows) {
    CAPTURE(row.number);
    CHECK(OutcomeOf(MakeStatus(row.code, "x")) == row.outcome);
  }
}

TEST_CASE("OMS-ERR-004: a status carries what the broker itself said") {
  const std::string native("-185 \"timed\nout\" \0 5", 20);
  StatusDetail detail = DefaultDetail(Code::kUnavailable);
  detail.retriable = false;
  detail.outcome = Outcome::kUnknown;
  detail.native = native;

  const absl::Status status =
      WithDetail(MakeStatus(Code::kUnavailable, "send failed"), detail);

  const StatusDetail read = DetailOf(status);
  CHECK(read.code == Code::kUnavailable);
  CHECK_FALSE(read.retriable);
  CHECK(read.outcome == Outcome::kUnknown);
  CHECK(read.native == native);
  CHECK(status.message() == "send failed");
  CHECK(DetailOf(MakeStatus(Code::kUnavailable, "x")).native.empty());
}

TEST_CASE("a code that says more than its absl code replaces only the detail") {
  const absl::Status plain = absl::InternalError("link 7 went down");

  const absl::Status status =
      WithDetail(plain, DefaultDetail(Code::kStorageError));

  CHECK(status.code() == absl::StatusCode::kInternal);
  CHECK(status.message() == "link 7 went down");
  CHECK(OmsCode(status) == Code::kStorageError);
  CHECK(OmsCode(plain) == Code::kBrokerError);
}

TEST_CASE("success is 1200 and stays success whatever detail is given") {
  const absl::Status status =
      WithDetail(absl::OkStatus(), DefaultDetail(Code::kTimeout));

  CHECK(status.ok());
  CHECK(OmsCode(status) == Code::kOk);
  CHECK(static_cast<int>(Code::kOk) == 1200);
  CHECK(OutcomeOf(status) == Outcome::kStored);
  CHECK_FALSE(IsRetriable(status));
  CHECK(MakeStatus(Code::kOk, "fine").ok());
}

TEST_CASE("a status of another library gets the nearest code") {
  CHECK(OmsCode(absl::InvalidArgumentError("x")) == Code::kBadParameter);
  CHECK(OmsCode(absl::DeadlineExceededError("x")) == Code::kTimeout);
  CHECK(OmsCode(absl::UnavailableError("x")) == Code::kUnavailable);
  CHECK(OmsCode(absl::UnimplementedError("x")) == Code::kUnsupported);
  CHECK(OmsCode(absl::CancelledError("x")) == Code::kCancelled);
  CHECK(OmsCode(absl::InternalError("x")) == Code::kBrokerError);
  CHECK(OutcomeOf(absl::DeadlineExceededError("x")) == Outcome::kUnknown);
  CHECK(IsRetriable(absl::UnavailableError("x")));
}

TEST_CASE("a payload that this library did not write is not believed") {
  for (const std::string_view text :
       {"", "1413", "1413 0", "1413 0 0", "x 0 0 y", "1413 x 0 y", "1413 0 x y",
        "99999999999 0 0 y", " 1413 0 0 y"}) {
    CAPTURE(text);
    absl::Status status = absl::UnavailableError("x");
    status.SetPayload(internal::kStatusPayloadUrl,
                      absl::Cord(std::string(text)));

    CHECK(OmsCode(status) == Code::kUnavailable);
  }
}

TEST_CASE("a status may be read and dropped by several threads") {
  for (int i = 0; i < 50; ++i) {
    absl::Status status = MakeStatus(Code::kUnavailable, "send failed");
    const auto read = [](const absl::Status& copy) {
      CHECK(copy.message() == "send failed");
      CHECK(OmsCode(copy) == Code::kUnavailable);
    };

    std::thread first([read, status] { read(status); });
    std::thread second([read, status] { read(status); });
    status = absl::OkStatus();

    first.join();
    second.join();
  }
}

TEST_CASE("the parts of a text are joined as they are") {
  const std::string queue = "orders";

  const absl::Status status =
      MakeStatus(Code::kBodyTooLarge, "send to \"", queue, "\": body is ",
                 size_t{5000000}, " bytes; limit is ", -1, '/', true);

  CHECK(status.message() ==
        "send to \"orders\": body is 5000000 bytes; limit is -1/true");
}

}  // namespace
}  // namespace openmessaging::status_test
