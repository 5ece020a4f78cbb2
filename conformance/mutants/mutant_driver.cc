// SPDX-License-Identifier: Apache-2.0
//
// The driver "mutant": the driver "memory", found by its name, with one fault.

#include <array>
#include <atomic>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mutant_abilities.h"
#include "mutant_consumer.h"
#include "mutant_producer.h"
#include "mutant_resources.h"
#include "mutant_transactions.h"
#include "mutants.h"
#include "openmessaging/driver/connection.h"
#include "openmessaging/driver/registry.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using driver::TimePoint;

class MutantConnection final : public driver::Connection {
 public:
  MutantConnection(std::unique_ptr<driver::Connection> inner, Mutant mutant)
      : inner_(std::move(inner)),
        number_(NextNumber(mutant)),
        abilities_(*inner_, mutant),
        resources_(*inner_, mutant),
        transactions_(*inner_, mutant, number_),
        mutant_(mutant) {}

  absl::StatusOr<Capabilities> CapabilitiesOf(std::string_view queue,
                                              TimePoint deadline) override {
    auto all = inner_->CapabilitiesOf(queue, deadline);
    if (!all.ok()) return all;
    if (mutant_ == Mutant::kHidesNackDelay) {
      all->Set(Capability::kNackDelay, Support::kUnsupported);
    }
    if (mutant_ == Mutant::kChangesCapabilities) {
      all->Set(Capability::kStats,
               number_ % 2 == 0 ? Support::kNative : Support::kEmulated);
    }
    if (mutant_ == Mutant::kClaimsTls) {
      all->Set(Capability::kTls, Support::kNative);
    }
    if (mutant_ == Mutant::kClaimsDurable) {
      all->Set(Capability::kDurable, Support::kNative);
    }
    return all;
  }

  absl::StatusOr<std::unique_ptr<driver::Producer>> CreateProducer(
      const driver::ProducerOptions& options, TimePoint deadline) override {
    auto made = inner_->CreateProducer(options, deadline);
    if (!made.ok()) return made.status();
    return MakeMutantProducer(*inner_, *std::move(made), mutant_);
  }

  absl::StatusOr<std::unique_ptr<driver::Consumer>> CreateConsumer(
      const driver::ConsumerOptions& options, driver::ConsumerEvents& events,
      TimePoint deadline) override {
    auto own = std::make_unique<MutantEvents>(events, mutant_);
    auto made = inner_->CreateConsumer(ChangedOptions(options, mutant_), *own,
                                       deadline);
    if (!made.ok()) return made.status();
    return MakeMutantConsumer(*std::move(made), std::move(own), mutant_);
  }

  void* Query(std::string_view interface_name) override {
    if (void* const ability = abilities_.Query(interface_name)) return ability;
    if (void* const ability = resources_.Query(interface_name)) return ability;
    if (void* const ability = transactions_.Query(interface_name)) {
      return ability;
    }
    // One that claims an ability without the interface for it.
    if (mutant_ == Mutant::kClaimsStream &&
        interface_name == driver::StreamSource::kInterface) {
      return nullptr;
    }
    return inner_->Query(interface_name);
  }

  absl::Status Close(TimePoint deadline) override {
    return inner_->Close(deadline);
  }

 private:
  // Mutants run side by side, so each counts for itself.
  static int NextNumber(Mutant mutant) {
    static std::array<std::atomic<int>, std::size(kMutants)> connections{};
    return connections[static_cast<size_t>(mutant)].fetch_add(1);
  }

  const std::unique_ptr<driver::Connection> inner_;
  const int number_;
  MutantAbilities abilities_;
  MutantResources resources_;
  MutantTransactions transactions_;
  const Mutant mutant_;
};

absl::StatusOr<Mutant> FindMutant(std::string_view name) {
  for (const MutantInfo& info : kMutants) {
    if (info.name == name) return info.mutant;
  }
  return MakeStatus(Code::kBadParameter, "set attribute \"mutant\": \"", name,
                    "\" is none; expected a name of conformance/mutants");
}

class MutantDriver final : public driver::Driver {
 public:
  driver::DriverInfo Info() const override {
    driver::DriverInfo info;
    info.name = "mutant";
    info.version = "0.1.0";
    info.specification = "1.0.0";
    return info;
  }

  absl::StatusOr<std::unique_ptr<driver::Connection>> Connect(
      const Url& url, const Attributes& attributes,
      TimePoint deadline) override {
    if (auto s = url.CheckHasHosts(); !s.ok()) return s;
    Attributes rest = attributes;
    const auto mutant =
        FindMutant(attributes.Find("mutant").value_or("none"));
    if (!mutant.ok()) return mutant.status();
    rest.Remove("mutant");
    // What no broker is at; see the harnesses of mutants_test.cc.
    if (url.hosts()[0].host == "nowhere" &&
        *mutant != Mutant::kStartsWithoutBroker) {
      return MakeStatus(Code::kUnavailable, "connect \"oms:mutant://nowhere\"",
                        ": nobody is there");
    }
    if (*mutant == Mutant::kAcceptsAnyAttribute) rest = Attributes();
    const auto memory = driver::Registry::Default().Find("memory");
    if (!memory.ok()) return memory.status();
    const auto place =
        Url::Parse(internal::Concat("oms:memory://",
                                    std::string_view(url.hosts()[0].host)));
    if (!place.ok()) return place.status();
    auto inner = (*memory)->Connect(*place, rest, deadline);
    if (!inner.ok()) return inner.status();
    return std::make_unique<MutantConnection>(*std::move(inner), *mutant);
  }
};

const bool kRegistered =
    driver::RegisterLinked(std::make_shared<MutantDriver>());

}  // namespace
}  // namespace openmessaging::conformance
