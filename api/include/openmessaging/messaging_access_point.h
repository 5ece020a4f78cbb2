// SPDX-License-Identifier: Apache-2.0
//
// MessagingAccessPoint is where everything begins: a URL chooses the broker,
// and producers, consumers and the resource manager come from here.

#ifndef OPENMESSAGING_MESSAGING_ACCESS_POINT_H_
#define OPENMESSAGING_MESSAGING_ACCESS_POINT_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openmessaging/attributes.h"
#include "openmessaging/capability.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/internal/client_settings.h"
#include "openmessaging/internal/connection_core.h"
#include "openmessaging/internal/deadline.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/limits.h"
#include "openmessaging/message.h"
#include "openmessaging/producer.h"
#include "openmessaging/pull_consumer.h"
#include "openmessaging/push_consumer.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/requester.h"
#include "openmessaging/resource_manager.h"
#include "openmessaging/status.h"
#include "openmessaging/stream_position.h"
#include "openmessaging/stream_reader.h"
#include "openmessaging/telemetry.h"
#include "openmessaging/url.h"

namespace openmessaging {
inline namespace v0 {

// One connection to a broker or a store. Obtain one from Connect().
//
// These attributes are for this layer, every other one for the driver:
//   operation.timeout  longest time of any call, `3s` where nobody says so;
//                      a longer timeout of a client is cut to it
//   lenient            `on`: a message that asks for what its queue cannot give
//                      is sent without it, and SendResult::ignored says so
//   producer.send-timeout, producer.max-body, producer.max-in-flight-messages,
//   producer.max-in-flight-bytes, consumer.lease, consumer.concurrency,
//   consumer.prefetch-messages, consumer.prefetch-bytes,
//   consumer.max-batch-messages
//                      what clients are whose options do not say otherwise;
//                      producer_options.h, pull_consumer.h and push_consumer.h
//
// Threads: every method may be called from any thread at any time.
// Lifetime: a copyable handle; copies share the connection. It ends with the
// last of them and of the clients made from them, in whatever order.
class MessagingAccessPoint {
 public:
  // Makes a connection, without network input or output: a broker that is not
  // there shows in the first call. `attributes` override those of the URL.
  // `registry` knows the drivers; nullptr: those that the program links.
  //
  // Errors:
  //   kInvalidArgument  10000: no such driver; the text lists those there are
  //   kInvalidArgument  10001: not a URL, or not one for that driver
  //   kInvalidArgument  1418: an unknown attribute or a bad value
  //   kInvalidArgument  10002: the driver's specification version is malformed
  //   kUnimplemented    10003: it is of another major version
  //   ... and what opening a local store can say
  // Implements: OMS-MAP-001, 002, 003.
  [[nodiscard]] static absl::StatusOr<MessagingAccessPoint> Connect(
      std::string_view url, const Attributes& attributes = {},
      driver::Registry* registry = nullptr);

  // Returns: the version of the specification that this library implements.
  std::string_view version() const { return kSpecificationVersion; }

  // Returns: those of the URL and of the call. ToString() prints no secret.
  // Implements: OMS-MAP-004.
  const Attributes& attributes() const { return connection_->attributes(); }
  const Url& url() const { return connection_->url(); }

  // Asks what a queue can do; a queue that does not exist is answered for its
  // kind. The answer does not change while the connection lasts.
  // Blocks: the first time, up to operation.timeout.
  // Errors: 1418 not a name; 1410, 1503 no answer.
  // Implements: OMS-MAP-005.
  [[nodiscard]] absl::StatusOr<Capabilities> capabilities(
      std::string_view queue) const;

  // Makes the clients of this connection tell what they do, those that are made
  // from now on. Without it they pay nothing for it.
  // Implements: OMS-TEL-001.
  void SetTelemetry(Telemetry telemetry) const {
    connection_->SetTelemetry(std::move(telemetry));
  }

  // Make a client, which starts with its first call or its Start().
  // Errors: kInvalidArgument 1418: an option is wrong.
  // Implements: OMS-MAP-009.
  [[nodiscard]] absl::StatusOr<Producer> CreateProducer(
      const ProducerOptions& options = {}) const;
  [[nodiscard]] absl::StatusOr<PullConsumer> CreatePullConsumer(
      const PullConsumerOptions& options = {}) const;
  // A push consumer binds at once and calls listeners after its Start().
  [[nodiscard]] absl::StatusOr<PushConsumer> CreatePushConsumer(
      const PushConsumerOptions& options = {}) const;

  // Makes one that sends requests and gets their answers.
  // Implements: OMS-REQ-009.
  [[nodiscard]] absl::StatusOr<Requester> CreateRequester(
      const RequesterOptions& options = {}) const;

  // Deletes the reply queues that requesters left behind which were killed: of
  // those named `oms-reply.…`, the ones that nobody holds exclusively.
  // Blocks: up to operation.timeout.
  // Returns: the names of the queues that it deleted.
  // Errors: 1600 the driver cannot manage queues, or not tell who lives; 1401,
  // 1403, 1410, 1503.
  // Implements: OMS-REQ-008.
  [[nodiscard]] absl::StatusOr<std::vector<std::string>>
  RemoveAbandonedReplyQueues() const {
    return internal::RemoveAbandonedReplyQueues(connection_);
  }

  // Asks how many partitions a queue has, for CreateStreamReader.
  // Blocks: up to operation.timeout.
  // Errors: 1404; 1418 not a name; 1600 it cannot be read as a stream.
  // Implements: OMS-STRM-001, 002.
  [[nodiscard]] absl::StatusOr<int32_t> partitions(
      std::string_view queue) const;

  // Makes a reader of one partition, from `start` on.
  // Blocks: up to operation.timeout.
  // Errors: those above; 1418 a partition or position that cannot be; 1410,
  // 1503 no answer.
  // Implements: OMS-STRM-001, 002, 003.
  [[nodiscard]] absl::StatusOr<StreamReader> CreateStreamReader(
      std::string_view queue, int32_t partition,
      StreamPosition start = StreamPosition::Earliest()) const;

  ResourceManager resource_manager() const {
    return ResourceManager(connection_);
  }

  // Finds a driver's own interface or native handle, T::kInterface being its
  // name. Returns: nullptr where there is none.
  // Lifetime: as long as the connection.
  // Implements: OMS-MAP-006.
  template <typename T>
  T* native() const {
    return driver::QueryInterface<T>(connection_->connection());
  }

 private:
  explicit MessagingAccessPoint(
      std::shared_ptr<internal::ConnectionCore> connection)
      : connection_(std::move(connection)) {}

  std::shared_ptr<internal::ConnectionCore> connection_;
};

namespace internal {

// Reads the first number of `1.2.3`. Returns: -1 where it is not of that form.
inline int MajorVersion(std::string_view version) {
  std::array<int, 3> numbers{};
  for (size_t i = 0; i < numbers.size(); ++i) {
    const size_t dot =
        i + 1 < numbers.size() ? version.find('.') : version.size();
    if (dot == std::string_view::npos ||
        !ParseInteger(version.substr(0, dot), numbers[i]) || numbers[i] < 0) {
      return -1;
    }
    version.remove_prefix(std::min(dot + 1, version.size()));
  }
  return numbers[0];
}

// Errors: 10002, 10003.
inline absl::Status CheckSpecification(const driver::DriverInfo& info) {
  const std::string_view version = info.specification;
  const int major = MajorVersion(version);
  if (major < 0) {
    return MakeStatus(Code::kIllegalVersion,
                      "connect \"oms:", Printable(info.name),
                      "\": the driver is written for "
                      "specification \"",
                      Printable(version), "\"; expected a version such as ",
                      kSpecificationVersion, " (OMS-MAP-002)");
  }
  if (major != MajorVersion(kSpecificationVersion)) {
    return MakeStatus(Code::kIncompatibleVersion,
                      "connect \"oms:", Printable(info.name),
                      "\": the driver is written for "
                      "specification ",
                      version,
                      "; expected the same major "
                      "version as ",
                      kSpecificationVersion, " (OMS-MAP-002)");
  }
  return absl::OkStatus();
}

}  // namespace internal

inline absl::StatusOr<MessagingAccessPoint> MessagingAccessPoint::Connect(
    std::string_view url, const Attributes& attributes,
    driver::Registry* registry) {
  auto parsed = Url::Parse(url);
  if (!parsed.ok()) return parsed.status();
  Attributes merged = parsed->attributes();
  merged.OverrideWith(attributes);

  Attributes for_driver = merged;
  auto settings = internal::SettingsReader(for_driver).Take();
  if (!settings.ok()) return settings.status();

  if (registry == nullptr) registry = &driver::Registry::Default();
  auto found = registry->Find(parsed->driver());
  if (!found.ok()) return found.status();
  absl::Status compatible = internal::CheckSpecification((*found)->Info());
  if (!compatible.ok()) return compatible;

  auto connection = (*found)->Connect(
      *parsed, for_driver,
      internal::DeadlineAfter(settings->operation_timeout.value_or(
          internal::ConnectionCore::kDefaultTimeout)));
  if (!connection.ok()) return connection.status();
  return MessagingAccessPoint(std::make_shared<internal::ConnectionCore>(
      *std::move(found), *std::move(connection), *std::move(parsed),
      std::move(merged), *std::move(settings)));
}

inline absl::StatusOr<Capabilities> MessagingAccessPoint::capabilities(
    std::string_view queue) const {
  const auto facts = connection_->FactsOf(
      queue, internal::DeadlineAfter(connection_->operation_timeout()));
  if (!facts.ok()) return facts.status();
  return (*facts)->capabilities;
}

inline absl::StatusOr<int32_t> MessagingAccessPoint::partitions(
    std::string_view queue) const {
  const auto deadline =
      internal::DeadlineAfter(connection_->operation_timeout());
  const auto source = internal::StreamSourceOf(*connection_, queue, deadline);
  if (!source.ok()) return source.status();
  return (*source)->PartitionsOf(queue, deadline);
}

inline absl::StatusOr<StreamReader> MessagingAccessPoint::CreateStreamReader(
    std::string_view queue, int32_t partition, StreamPosition start) const {
  auto core = std::make_shared<internal::StreamCore>(connection_, queue,
                                                     partition, start);
  absl::Status status =
      core->Start(internal::DeadlineAfter(connection_->operation_timeout()));
  if (!status.ok()) return status;
  return StreamReader(std::move(core));
}

inline absl::StatusOr<Producer> MessagingAccessPoint::CreateProducer(
    const ProducerOptions& options) const {
  constexpr std::string_view kOperation = "create producer";
  internal::ProducerSettings settings = connection_->settings().producer;
  settings.autostart = options.autostart;
  settings.at_in_flight_limit = options.at_in_flight_limit;
  settings.group = options.group;
  settings.check = options.check;
  settings.check_after = options.check_after;
  settings.max_checks = options.max_checks;
  settings.send_timeout =
      options.send_timeout.value_or(connection_->send_timeout());
  internal::Take(options.max_body_bytes, settings.max_body_bytes);
  internal::Take(options.max_in_flight_messages,
                 settings.max_in_flight_messages);
  internal::Take(options.max_in_flight_bytes, settings.max_in_flight_bytes);

  absl::Status status = internal::CheckTimeout(kOperation, "send_timeout",
                                               settings.send_timeout, 0);
  status.Update(internal::CheckMaxBody(kOperation, "max_body_bytes",
                                       settings.max_body_bytes));
  status.Update(internal::CheckCount(kOperation, "max_in_flight_messages",
                                     settings.max_in_flight_messages,
                                     internal::kMostMessages));
  status.Update(internal::CheckCount(kOperation, "max_in_flight_bytes",
                                     settings.max_in_flight_bytes,
                                     internal::kMostInFlightBytes));
  if (!settings.group.empty()) status.Update(CheckGroupName(settings.group));
  status.Update(internal::CheckChecks(kOperation, settings));
  if (!status.ok()) return status;
  return Producer(std::make_shared<internal::ProducerCore>(
      connection_, std::move(settings)));
}

namespace internal {

// Checks what pull and push consumers have in common, and takes it for the
// driver.
template <typename Options>
absl::StatusOr<driver::ConsumerOptions> ConsumerOptionsOf(
    std::string_view operation, const Options& options,
    const ConnectionSettings& defaults) {
  driver::ConsumerOptions for_driver;
  for_driver.lease = options.lease.value_or(defaults.lease);
  absl::Status status = CheckGroupName(options.group);
  status.Update(CheckTimeout(operation, "lease", for_driver.lease, 1));
  if (options.operation_timeout) {
    status.Update(CheckTimeout(operation, "operation_timeout",
                               *options.operation_timeout, 1));
  }
  if (!status.ok()) return status;
  for_driver.group = options.group;
  for_driver.start = options.start;
  for_driver.broadcast = options.broadcast;
  for_driver.exclusive = options.exclusive;
  for_driver.ordered = options.ordered;
  return for_driver;
}

}  // namespace internal

inline absl::StatusOr<PullConsumer> MessagingAccessPoint::CreatePullConsumer(
    const PullConsumerOptions& options) const {
  auto for_driver = internal::ConsumerOptionsOf("create pull consumer", options,
                                                connection_->settings());
  if (!for_driver.ok()) return for_driver.status();
  return PullConsumer(std::make_shared<internal::ConsumerCore>(
      connection_, *std::move(for_driver), options.autostart,
      options.operation_timeout.value_or(connection_->operation_timeout())));
}

inline absl::StatusOr<PushConsumer> MessagingAccessPoint::CreatePushConsumer(
    const PushConsumerOptions& options) const {
  constexpr std::string_view kOperation = "create push consumer";
  auto for_driver =
      internal::ConsumerOptionsOf(kOperation, options, connection_->settings());
  if (!for_driver.ok()) return for_driver.status();
  internal::PushSettings settings = connection_->settings().push;
  settings.renew_leases = options.renew_leases;
  internal::Take(options.concurrency, settings.concurrency);
  internal::Take(options.prefetch_messages, settings.prefetch_messages);
  internal::Take(options.prefetch_bytes, settings.prefetch_bytes);
  internal::Take(options.max_batch_messages, settings.max_batch_messages);

  absl::Status status =
      internal::CheckCount(kOperation, "concurrency", settings.concurrency,
                           internal::kMostConcurrency);
  status.Update(internal::CheckCount(kOperation, "prefetch_messages",
                                     settings.prefetch_messages,
                                     internal::kMostMessages));
  status.Update(internal::CheckCount(kOperation, "prefetch_bytes",
                                     settings.prefetch_bytes,
                                     internal::kMostInFlightBytes));
  status.Update(internal::CheckCount(kOperation, "max_batch_messages",
                                     settings.max_batch_messages,
                                     internal::kMostMessages));
  if (!status.ok()) return status;
  for_driver->prefetch_messages = settings.prefetch_messages;
  for_driver->prefetch_bytes = settings.prefetch_bytes;
  return PushConsumer(std::make_shared<internal::PushCore>(
      std::make_shared<internal::ConsumerCore>(
          connection_, *std::move(for_driver), /*autostart=*/true,
          options.operation_timeout.value_or(connection_->operation_timeout())),
      settings, options.on_failure));
}

inline absl::StatusOr<Requester> MessagingAccessPoint::CreateRequester(
    const RequesterOptions& options) const {
  constexpr std::string_view kOperation = "create requester";
  absl::Status status = internal::CheckTimeout(kOperation, "request_timeout",
                                               options.request_timeout, 1);
  status.Update(internal::CheckCount(kOperation, "max_in_flight",
                                     options.max_in_flight,
                                     internal::kMostMessages));
  status.Update(internal::CheckMaxBody(kOperation, "max_body_bytes",
                                       options.max_body_bytes));
  if (!options.reply_queue.empty()) {
    status.Update(CheckQueueName(options.reply_queue));
  }
  if (!status.ok()) return status;
  return Requester(
      std::make_shared<internal::RequesterCore>(connection_, options));
}

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_MESSAGING_ACCESS_POINT_H_
