// SPDX-License-Identifier: Apache-2.0
//
// oms capabilities: what a queue of a URL can do, and how much of it.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arguments.h"
#include "command.h"
#include "nlohmann/json.hpp"
#include "openmessaging/internal/text.h"
#include "openmessaging/openmessaging.h"
#include "output.h"
#include "table.h"

namespace openmessaging::tools {
namespace {

using internal::Concat;

// A queue that does not exist is answered for its kind.
const std::string kAnyQueue = "any";

struct CapabilitiesOptions {
  std::string url;
  std::string queue{};  // Empty: any.
  bool json = false;
};

// A limit of the driver's, as programs and as people read it.
struct Limit {
  std::string name{};
  int64_t value = 0;
  std::string text{};
};

// Returns: the limits that the driver named; the rest are the portable ones.
std::vector<Limit> LimitsOf(const CapabilityLimits& limits) {
  std::vector<Limit> named;
  const auto add_bytes = [&named](const char* name,
                                  std::optional<size_t> bytes) {
    if (bytes) {
      named.push_back(
          {name, static_cast<int64_t>(*bytes), FormatBytes(*bytes)});
    }
  };
  const auto add_number = [&named](const char* name, auto number) {
    if (number) {
      const auto value = static_cast<int64_t>(*number);
      named.push_back({name, value, Concat(value)});
    }
  };
  const auto add_time = [&named](
                            const char* name,
                            std::optional<std::chrono::milliseconds> time) {
    if (time) named.push_back({name, time->count(), FormatTime(*time)});
  };
  add_bytes("max_body_bytes", limits.max_body_bytes);
  add_bytes("max_properties_bytes", limits.max_properties_bytes);
  add_number("max_properties", limits.max_properties);
  add_number("max_batch_messages", limits.max_batch_messages);
  add_number("max_partitions", limits.max_partitions);
  add_number("max_queues", limits.max_queues);
  add_number("max_namespaces", limits.max_namespaces);
  add_number("priority_levels", limits.priority_levels);
  add_time("max_delay_ms", limits.max_delay);
  add_time("max_deduplication_window_ms", limits.max_deduplication_window);
  add_time("min_lease_ms", limits.min_lease);
  add_time("max_lease_ms", limits.max_lease);
  return named;
}

// Calls `visit` with each capability, those that are supported first.
template <typename Visit>
void ForEach(const Capabilities& capabilities, const Visit& visit) {
  for (const Support support :
       {Support::kNative, Support::kEmulated, Support::kUnsupported}) {
    for (size_t i = 0; i < kCapabilityNames.size(); ++i) {
      const auto capability = static_cast<Capability>(i);
      if (capabilities.Of(capability) == support) visit(capability, support);
    }
  }
}

std::string AsJson(const CapabilitiesOptions& options,
                   const Capabilities& capabilities) {
  nlohmann::ordered_json object;
  if (!options.queue.empty()) object["queue"] = options.queue;
  nlohmann::ordered_json& supports = object["capabilities"];
  supports = nlohmann::ordered_json::object();
  ForEach(capabilities, [&supports](Capability capability, Support support) {
    supports[std::string(Name(capability))] = Name(support);
  });
  nlohmann::ordered_json& limits = object["limits"];
  limits = nlohmann::ordered_json::object();
  for (const Limit& limit : LimitsOf(capabilities.limits())) {
    limits[limit.name] = limit.value;
  }
  return JsonLine(object);
}

// A limit's name without its unit, which the value has.
std::string WithoutUnit(std::string name) {
  for (const std::string_view unit : {"_bytes", "_ms"}) {
    if (name.ends_with(unit)) name.resize(name.size() - unit.size());
  }
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return name;
}

std::string AsText(const Capabilities& capabilities) {
  Table table;
  ForEach(capabilities, [&table](Capability capability, Support support) {
    table.Add({std::string(Name(capability)), std::string(Name(support))});
  });
  const std::vector<Limit> limits = LimitsOf(capabilities.limits());
  if (!limits.empty()) table.Add({});
  for (const Limit& limit : limits) {
    table.Add({WithoutUnit(limit.name), limit.text});
  }
  return table.ToText();
}

int PrintCapabilities(const CapabilitiesOptions& options) {
  auto bus = MessagingAccessPoint::Connect(options.url);
  if (!bus.ok()) return Fail(bus.status());
  const auto capabilities =
      bus->capabilities(options.queue.empty() ? kAnyQueue : options.queue);
  if (!capabilities.ok()) return Fail(capabilities.status());
  return PrintResult(options.json ? AsJson(options, *capabilities)
                                  : AsText(*capabilities));
}

}  // namespace

void AddCapabilitiesCommand(CLI::App& app, Work& work) {
  const auto options = std::make_shared<CapabilitiesOptions>();
  CLI::App* const command = app.add_subcommand(
      "capabilities", "Print what the queues of a URL can do");
  AddUrl(*command, options->url);
  command->add_option("QUEUE", options->queue,
                      "of this queue, where they differ by queue");
  command->add_flag("--json", options->json, "print it as one line of JSON");
  command->footer(
      R"(Each is native, emulated (its driver's documentation says which guarantees
are weaker) or unsupported: a message that asks for it is refused. Limits
follow; one that is not named is that of every driver.

Examples:
  oms capabilities oms:file:/tmp/shop
  oms capabilities oms:file:/tmp/shop orders --json)");
  command->callback([options, &work] {
    work = [options] { return PrintCapabilities(*options); };
  });
}

}  // namespace openmessaging::tools
