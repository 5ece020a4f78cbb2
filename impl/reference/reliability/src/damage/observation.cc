// SPDX-License-Identifier: Apache-2.0

#include "damage/observation.h"

#include <atomic>
#include <chrono>
#include <string_view>
#include <utility>

#include "consumer.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "prepared_table.h"
#include "store.h"

namespace openmessaging::reference::damage {
namespace {

using internal::Concat;
using std::chrono::hours;

// A member of a group that takes what is there and keeps it.
class Reader final : private driver::DeliverySink {
 public:
  Reader(const std::shared_ptr<Store>& store, std::string queue,
         std::string_view group, Observation& seen)
      : queue_(std::move(queue)), seen_(seen) {
    driver::ConsumerOptions options;
    options.group = std::string(group);
    options.lease = hours(1'000'000);
    consumer_ = std::make_unique<ReferenceConsumer>(
        store, options, ConsumerSettings{}, nullptr);
    const absl::Status bound = consumer_->Bind(queue_, {}, InGoodTime());
    if (!bound.ok()) {
      seen_.told.push_back(bound);
      consumer_->Close(InGoodTime()).IgnoreError();
      consumer_.reset();
    }
  }
  ~Reader() {
    if (consumer_ != nullptr) consumer_->Close(InGoodTime()).IgnoreError();
  }

  // Returns: what came, by its place.
  std::map<Place, Sight> Take() {
    came_.clear();
    if (consumer_ == nullptr) return {};
    for (int round = 0; round < 1000; ++round) {
      const size_t before = came_.size();
      const absl::Status status =
          consumer_->Receive(64, std::chrono::steady_clock::now(), *this);
      if (!status.ok()) {
        seen_.told.push_back(status);
        // What is not of one message ends it.
        if (OmsCode(status) != Code::kDamaged) break;
      } else if (came_.size() == before) {
        break;
      }
    }
    return std::move(came_);
  }

 private:
  static TimePoint InGoodTime() {
    return std::chrono::steady_clock::now() + std::chrono::seconds(5);
  }

  void Deliver(Message message, const Receipt& /*receipt*/) override {
    Sight sight;
    sight.body = std::string(message.body());
    sight.content = ContentOf(message);
    sight.once = message.qos() == Qos::kAtMostOnce;
    sight.id = Concat(std::string_view(message.message_id().ToString()), ' ',
                      std::string_view(message.origin_id().ToString()), ' ',
                      message.store_timestamp().count(), ' ',
                      message.born_timestamp().count());
    seen_.all.push_back(sight);
    came_[Concat(std::string_view(queue_), '/', message.partition(), '/',
                 message.offset(), '@', message.priority())] = std::move(sight);
  }

  const std::string queue_;
  Observation& seen_;
  std::unique_ptr<ReferenceConsumer> consumer_;
  std::map<Place, Sight> came_;
};

void ListResources(Store& store, Observation& seen) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(5);
  const auto queues = store.catalog().Queues(deadline);
  if (!queues.ok()) {
    seen.told.push_back(queues.status());
  } else {
    for (const auto& queue : *queues) {
      seen.resources.insert(
          Concat("queue ", std::string_view(queue->name), ' ',
                 queue->options.partitions, ' ', queue->options.max_deliveries,
                 ' ', std::string_view(queue->options.dead_letter_queue), ' ',
                 queue->options.retention.count(), ' ',
                 queue->options.deduplication_window.count(), ' ',
                 queue->options.priorities ? 1 : 0));
    }
  }
  const auto names = store.catalog().Namespaces(deadline);
  if (names.ok()) {
    for (const auto& name : *names) seen.resources.insert("namespace " + name);
  } else {
    seen.told.push_back(names.status());
  }
  const auto routes = store.catalog().ListRoutes("", deadline);
  if (routes.ok()) {
    for (const auto& route : *routes) {
      seen.resources.insert("route " + route.source + " to " + route.target +
                            " if " + route.filter);
    }
  } else {
    seen.told.push_back(routes.status());
  }
}

}  // namespace

Questions QuestionsOf(const SampleStore& sample) {
  return {{{"orders", "slow"},
           {"orders", "workers"},
           {"bulk", "fast"},
           {"dead", "undertaker"},
           {"copies", "mover"},
           {"urgent", "workers"}},
          sample.undecided};
}

Observation Observe(const std::shared_ptr<Storage>& storage,
                    const Questions& questions, bool other_boot) {
  Observation seen;
  StandingClock clock(other_boot);
  const Environment environment = clock.InEnvironment();
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(5);
  auto opened = Store::Open(storage, &environment, {}, deadline);
  if (!opened.ok()) {
    seen.opened = opened.status();
    return seen;
  }
  const std::shared_ptr<Store> store = *std::move(opened);
  ListResources(*store, seen);
  std::vector<std::string> names;
  if (const auto queues = store->catalog().Queues(deadline); queues.ok()) {
    for (const auto& queue : *queues) names.push_back(queue->name);
  }
  std::map<std::string, std::unique_ptr<Reader>> readers;
  for (const std::string& name : names) {
    readers[name] = std::make_unique<Reader>(store, name, "reader", seen);
    seen.stored.merge(readers[name]->Take());
  }
  // What was to be delivered again later, delayed, or due for a check.
  clock.Pass(hours(48));
  for (const auto& [queue, group] : questions.groups) {
    Reader reader(store, queue, group, seen);
    auto& owed = seen.owed[group + " of " + queue];
    for (const auto& [place, sight] : reader.Take()) {
      // A recovery from the log may leave those out (engine.md, Redelivery).
      if (!sight.once) owed.insert(sight.body);
    }
  }
  for (const std::string& id : questions.undecided) {
    const absl::Status committed =
        store->transactions().Resolve(id, PreparedState::kCommitted, deadline);
    if (!committed.ok()) seen.told.push_back(committed);
  }
  for (auto& [name, reader] : readers) {
    for (const auto& [place, sight] : reader->Take()) {
      seen.later.insert(name + ": " + sight.body);
    }
  }
  readers.clear();
  return seen;
}

}  // namespace openmessaging::reference::damage
