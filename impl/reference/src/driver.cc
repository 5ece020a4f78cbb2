// SPDX-License-Identifier: Apache-2.0
//
// The driver and its connections: from URLs to stores.

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "consumer.h"
#include "env/storage.h"
#include "fault_plan.h"
#include "faulty_connection.h"
#include "group_control.h"
#include "local_transactions.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/optional.h"
#include "openmessaging/limits.h"
#include "openmessaging/reference/driver.h"
#include "openmessaging/status.h"
#include "producer.h"
#include "queue_stats.h"
#include "store.h"
#include "stream_source.h"
#include "transaction_source.h"

namespace openmessaging::reference {
namespace {

constexpr std::string_view kVersion = "0.1.0";
constexpr std::string_view kSpecification = "1.0.0";

Capabilities CapabilitiesOfStore(const Store& store) {
  Capabilities all;
  for (const Capability native :
       {Capability::kIndividualAck, Capability::kNack, Capability::kNackDelay,
        Capability::kCumulativeAck, Capability::kExtend,
        Capability::kDeliveryCount, Capability::kPromptRelease,
        Capability::kGroups, Capability::kBroadcast, Capability::kExclusive,
        Capability::kPartitions,
        Capability::kKeyOrder,
        Capability::kExplicitPartition, Capability::kDelay,
        Capability::kDelayCancel, Capability::kExpiry,
        Capability::kAdmin, Capability::kNamespaces,
        Capability::kTypedProperties, Capability::kLease,
        Capability::kSharedReceipt, Capability::kSettleConfirmed,
        Capability::kStartEarliest, Capability::kSharedPartition,
        Capability::kStream, Capability::kSeek, Capability::kStats, Capability::kFilter,
        Capability::kTransactionCheck, Capability::kTransactionLocal,
        Capability::kExactlyOnce, Capability::kRouting}) {
    all.Set(native, Support::kNative);
  }
  // The portable layer gives it with queues and an exclusive consumer.
  all.Set(Capability::kRequestReply, Support::kEmulated);
  if (!store.volatile_storage()) {
    all.Set(Capability::kDurable, Support::kNative);
  }
  all.mutable_limits().max_partitions = kMaxPartitions;
  all.mutable_limits().max_queues = kMaxQueues;
  all.mutable_limits().max_namespaces = kMaxNamespaces;
  all.mutable_limits().max_body_bytes = kMaxBodyBytes;
  all.mutable_limits().max_delay = std::chrono::milliseconds(kMaxDelayMs);
  return all;
}

// What one queue adds.
void AddCapabilitiesOf(const Queue& queue, Capabilities& all) {
  if (!queue.options.dead_letter_queue.empty()) {
    all.Set(Capability::kReject, Support::kNative);
    all.Set(Capability::kDeadLetter, Support::kNative);
  }
  if (queue.options.deduplication_window.count() > 0) {
    all.Set(Capability::kDeduplication, Support::kNative);
    all.mutable_limits().max_deduplication_window =
        std::chrono::milliseconds(kMaxDeduplicationMs);
  }
  if (queue.has_priorities()) {
    all.Set(Capability::kPriority, Support::kNative);
    // A partition has an order of offsets in each lane, and a key of which
    // messages have several priorities has two orders that differ.
    for (const Capability lost :
         {Capability::kStream, Capability::kSeek, Capability::kKeyOrder,
          Capability::kCumulativeAck}) {
      all.Set(lost, Support::kUnsupported);
    }
    all.mutable_limits().priority_levels = static_cast<int32_t>(kLanes);
    all.mutable_limits().max_partitions =
        static_cast<int32_t>(kMaxPartitionsPerQueue / kLanes);
  }
}

struct ConnectionSettings {
  bool auto_create = false;
  bool spin = false;
  bool ack_sync = false;
};

class ReferenceConnection final : public driver::Connection,
                                  public driver::Admin,
                                  public driver::NamespaceControl,
                                  public driver::QueueUpdater,
                                  public driver::RouteAdmin,
                                  public driver::DelayControl {
 public:
  ReferenceConnection(std::shared_ptr<Store> store,
                      const ConnectionSettings& settings)
      : store_(std::move(store)),
        settings_(settings),
        groups_(store_),
        stats_(store_),
        stream_(store_, settings.spin),
        transactions_(store_, settings.auto_create),
        local_transactions_(store_, settings.auto_create, settings.ack_sync) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(
      std::string_view queue, TimePoint deadline) noexcept override {
    Capabilities all = CapabilitiesOfStore(*store_);
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    const auto found = store_->catalog().FindQueue(queue, deadline);
    if (found.ok()) {
      AddCapabilitiesOf(**found, all);
    } else if (OmsCode(found.status()) != Code::kQueueNotFound &&
               OmsCode(found.status()) != Code::kNamespaceNotFound) {
      return found.status();
    }
    return all;
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions& /*options*/,
      TimePoint /*deadline*/) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return std::make_unique<ReferenceProducer>(store_, settings_.auto_create);
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint /*deadline*/) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return std::make_unique<ReferenceConsumer>(
        store_, options,
        ConsumerSettings{settings_.auto_create, settings_.spin,
                         settings_.ack_sync},
        &events);
  }

  void* Query(std::string_view interface_name) noexcept override {
    if (interface_name == driver::Admin::kInterface) {
      return static_cast<driver::Admin*>(this);
    }
    if (interface_name == driver::NamespaceControl::kInterface) {
      return static_cast<driver::NamespaceControl*>(this);
    }
    if (interface_name == driver::QueueUpdater::kInterface) {
      return static_cast<driver::QueueUpdater*>(this);
    }
    if (interface_name == driver::RouteAdmin::kInterface) {
      return static_cast<driver::RouteAdmin*>(this);
    }
    if (interface_name == driver::DelayControl::kInterface) {
      return static_cast<driver::DelayControl*>(this);
    }
    if (interface_name == driver::StreamSource::kInterface) {
      return static_cast<driver::StreamSource*>(&stream_);
    }
    if (interface_name == driver::GroupControl::kInterface) {
      return static_cast<driver::GroupControl*>(&groups_);
    }
    if (interface_name == driver::TransactionSource::kInterface) {
      return static_cast<driver::TransactionSource*>(&transactions_);
    }
    if (interface_name == driver::StatsSource::kInterface) {
      return static_cast<driver::StatsSource*>(&stats_);
    }
    if (interface_name == driver::LocalTransactions::kInterface) {
      return static_cast<driver::LocalTransactions*>(&local_transactions_);
    }
    return nullptr;
  }

  absl::Status Close(TimePoint deadline) noexcept override {
    return store_->Close(deadline);
  }

  // driver::Admin
  absl::Status CreateQueue(std::string_view queue, const QueueOptions& options,
                           TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().CreateQueue(queue, options, deadline);
  }

  absl::Status DeleteQueue(std::string_view queue,
                           TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().DeleteQueue(queue, deadline);
  }

  absl::StatusOr<std::vector<QueueInfo>> ListQueues(
      std::string_view name_space, TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    const auto queues = store_->catalog().QueuesOf(name_space, deadline);
    if (!queues.ok()) return queues.status();
    std::vector<QueueInfo> infos;
    for (const auto& queue : *queues) infos.push_back(InfoOf(*queue));
    return infos;
  }

  absl::StatusOr<QueueInfo> DescribeQueue(
      std::string_view queue, TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    const auto found = store_->catalog().FindQueue(queue, deadline);
    if (!found.ok()) return found.status();
    return InfoOf(**found);
  }

  // driver::NamespaceControl
  absl::Status CreateNamespace(std::string_view name_space,
                               TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().CreateNamespace(name_space, deadline);
  }

  absl::Status DeleteNamespace(std::string_view name_space,
                               TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().DeleteNamespace(name_space, deadline);
  }

  absl::StatusOr<std::vector<std::string>> ListNamespaces(
      TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().Namespaces(deadline);
  }

  // driver::QueueUpdater
  absl::Status UpdateQueue(std::string_view queue, const QueueUpdate& update,
                           TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().UpdateQueue(queue, update, deadline);
  }

  // driver::RouteAdmin
  absl::Status CreateRoute(const Route& route,
                           TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().CreateRoute(route, deadline);
  }

  absl::Status DeleteRoute(std::string_view source, std::string_view target,
                           TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().DeleteRoute(source, target, deadline);
  }

  absl::StatusOr<std::vector<Route>> ListRoutes(
      std::string_view source, TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    return store_->catalog().ListRoutes(source, deadline);
  }

  // driver::DelayControl
  absl::Status Cancel(std::string_view queue, const MessageId& id,
                      TimePoint deadline) noexcept override {
    if (auto s = store_->CheckUsable(); !s.ok()) return s;
    const auto found = store_->catalog().FindQueue(queue, deadline);
    if (!found.ok()) return found.status();
    return store_->delays().Cancel(**found, id, deadline);
  }

 private:
  static QueueInfo InfoOf(const Queue& queue) {
    QueueInfo info;
    info.name = queue.name;
    info.options = queue.options;
    return info;
  }

  const std::shared_ptr<Store> store_;
  const ConnectionSettings settings_;
  ReferenceGroupControl groups_;
  ReferenceStatsSource stats_;
  ReferenceStreamSource stream_;
  ReferenceTransactionSource transactions_;
  ReferenceLocalTransactions local_transactions_;
};

// Shared attributes of both storages.
constexpr std::array<std::string_view, 14> kKnownAttributes = {
    "ack.sync",      "auto-create", "wait",  "slots",        "window",
    "first-segment", "max-segment", "bells", "max-segments", "housekeeper",
    "max-bytes",     "reserve",     "big-body", "sigbus-guard"};

absl::Status BadAttribute(std::string_view name, std::string_view value,
                          std::string_view expected) {
  return MakeStatus(Code::kBadParameter, "set attribute \"", name, "\": \"",
                    value, "\" is not one of its values; expected ", expected);
}

absl::StatusOr<ConnectionSettings> ReadSettings(const Attributes& attributes) {
  ConnectionSettings settings;
  if (const auto create = attributes.Find("auto-create")) {
    if (*create != "queue" && *create != "off") {
      return BadAttribute("auto-create", *create, "queue or off");
    }
    settings.auto_create = *create == "queue";
  }
  if (const auto sync = attributes.Find("ack.sync")) {
    if (*sync != "on" && *sync != "off") {
      return BadAttribute("ack.sync", *sync, "on or off");
    }
    settings.ack_sync = *sync == "on";
  }
  if (const auto wait = attributes.Find("wait")) {
    if (*wait != "spin" && *wait != "block") {
      return BadAttribute("wait", *wait, "block or spin");
    }
    settings.spin = *wait == "spin";
  }
  return settings;
}

// How much room a store may take, and what it keeps for when there is none.
absl::Status ReadRoom(const Attributes& attributes, StoreOptions& options) {
  const auto most = attributes.GetSize("max-bytes", options.max_bytes);
  if (!most.ok()) return most.status();
  const auto reserve = attributes.GetSize("reserve", options.reserve_bytes);
  if (!reserve.ok()) return reserve.status();
  constexpr size_t kLeastReserve = size_t{16} << 10;
  constexpr size_t kMostReserve = size_t{1} << 30;
  if (*reserve != 0 && (*reserve < kLeastReserve || *reserve > kMostReserve)) {
    return MakeStatus(Code::kBadParameter, "set attribute \"reserve\": ",
                      *reserve, " bytes; expected 0, or 16KiB to 1GiB");
  }
  if (*most != 0 && *most < options.first_segment_bytes) {
    return MakeStatus(Code::kBadParameter, "set attribute \"max-bytes\": ",
                      *most, " bytes; expected 0 for no limit, or as much as "
                      "the first segment at least, ",
                      options.first_segment_bytes);
  }
  const auto big = attributes.GetSize("big-body", options.big_body_bytes);
  if (!big.ok()) return big.status();
  constexpr size_t kLeastBig = 64;
  constexpr size_t kMostBig = size_t{1} << 30;
  if (*big < kLeastBig || *big > kMostBig) {
    return MakeStatus(Code::kBadParameter, "set attribute \"big-body\": ",
                      *big, " bytes; expected 64 to 1GiB");
  }
  options.big_body_bytes = *big;
  options.max_bytes = *most;
  options.reserve_bytes = AlignUp(*reserve, kPage);
  return absl::OkStatus();
}

// How a store is made if it does not exist yet.
absl::StatusOr<StoreOptions> ReadCreation(const Attributes& attributes) {
  StoreOptions options;
  const auto first =
      attributes.GetSize("first-segment", options.first_segment_bytes);
  if (!first.ok()) return first.status();
  const auto max = attributes.GetSize("max-segment", options.max_segment_bytes);
  if (!max.ok()) return max.status();
  constexpr size_t kLeast = size_t{4} << 10;
  constexpr size_t kMost = size_t{1} << 30;
  if (*first < kLeast || *max < *first || *max > kMost) {
    return MakeStatus(Code::kBadParameter, "set attributes \"first-segment\", "
                      "\"max-segment\": ", *first, " and ", *max,
                      " bytes; expected 4KiB <= first-segment <= max-segment "
                      "<= 1GiB");
  }
  options.first_segment_bytes = AlignUp(*first, kPage);
  options.max_segment_bytes = AlignUp(*max, kPage);
  if (auto s = ReadRoom(attributes, options); !s.ok()) return s;
  struct Count {
    std::string_view name;
    uint32_t* value;
    int64_t least;
    int64_t most;
  };
  for (const Count& count :
       {Count{"slots", &options.slots, 2, 1024},
        Count{"bells", &options.bells, 1, int64_t{kMaxBells}},
        Count{"window", &options.window, 16, 32768},
        Count{"max-segments", &options.max_segments, 4, 65536}}) {
    const auto value = attributes.GetInteger(count.name, *count.value);
    if (!value.ok()) return value.status();
    if (*value < count.least || *value > count.most) {
      return MakeStatus(Code::kBadParameter, "set attribute \"", count.name,
                        "\": ", *value, "; expected ", count.least, " to ",
                        count.most);
    }
    *count.value = static_cast<uint32_t>(*value);
  }
  return options;
}

class ReferenceDriver final : public driver::Driver {
 public:
  explicit ReferenceDriver(bool memory) : memory_(memory) {}

  driver::DriverInfo Info() const noexcept override {
    driver::DriverInfo info;
    info.name = memory_ ? "memory" : "file";
    info.version = kVersion;
    info.specification = kSpecification;
    return info;
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& url, const Attributes& attributes,
      TimePoint deadline) noexcept override {
    Attributes for_store = attributes;
    const auto faults = TakeFaults(for_store);
    if (!faults.ok()) return faults.status();
    if (auto s = for_store.CheckKnown(kKnownAttributes); !s.ok()) return s;
    const auto settings = ReadSettings(attributes);
    if (!settings.ok()) return settings.status();
    StoreOpenOptions options;
    auto creation = ReadCreation(attributes);
    if (!creation.ok()) return creation.status();
    options.create = *creation;
    const auto housekeeper = attributes.GetBool("housekeeper", true);
    if (!housekeeper.ok()) return housekeeper.status();
    options.housekeeper = *housekeeper;
    const auto guard = attributes.GetBool("sigbus-guard", false);
    if (!guard.ok()) return guard.status();
    auto storage = memory_ ? MemoryOf(url) : DirectoryOf(url, *guard);
    if (!storage.ok()) return storage.status();
    auto store = Store::Open(*std::move(storage), &Environment::OfMachine(),
                             options, deadline);
    if (!store.ok()) return store.status();
    auto connection =
        std::make_unique<ReferenceConnection>(*std::move(store), *settings);
    if (!*faults) return connection;
    return MakeFaultyConnection(std::move(connection), **faults);
  }

 private:
  absl::StatusOr<std::optional<FaultPlan>> TakeFaults(
      Attributes& attributes) const {
    auto plan = ReadFaultPlan(attributes);
    if (!plan.ok()) return plan.status();
    if (*plan && !memory_) {
      return MakeStatus(Code::kBadParameter, "set attribute \"",
                        kFaultAttribute,
                        "\": a store of files has no faults to order; expected "
                        "oms:memory");
    }
    attributes.Remove(kFaultAttribute);
    attributes.Remove(kFaultSeedAttribute);
    return plan;
  }
  static absl::StatusOr<std::shared_ptr<Storage>> DirectoryOf(const Url& url,
                                                              bool guard) {
    if (auto s = url.CheckHasPath(); !s.ok()) return s;
    DirectoryOptions options;
    options.guard_pages = guard;
    auto storage = OpenDirectory(url.path(), options);
    if (!storage.ok()) return storage.status();
    return std::shared_ptr<Storage>(*std::move(storage));
  }
  static absl::StatusOr<std::shared_ptr<Storage>> MemoryOf(const Url& url) {
    if (url.hosts().size() != 1 || url.hosts()[0].port) {
      return MakeStatus(Code::kIllegalUrl, "parse url \"",
                        std::string_view(url.ToString()),
                        "\": it names no memory store; expected "
                        "oms:memory://name");
    }
    return OpenMemory(url.hosts()[0].host);
  }

  const bool memory_;
};

}  // namespace

std::shared_ptr<driver::Driver> MakeFileDriver() {
  return std::make_shared<ReferenceDriver>(false);
}

std::shared_ptr<driver::Driver> MakeMemoryDriver() {
  return std::make_shared<ReferenceDriver>(true);
}

}  // namespace openmessaging::reference
