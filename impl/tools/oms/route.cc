// SPDX-License-Identifier: Apache-2.0
//
// oms route: makes, ends and lists routes between queues.

#include <memory>
#include <string>

#include "absl/status/status.h"
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

struct RouteArguments {
  std::string url;
  Route route;
  bool json = false;
};

// What to do next where a queue is missing: it may be either.
int FailBetween(const RouteArguments& arguments, const absl::Status& status) {
  const std::string_view text(status.message().data(),
                              status.message().size());
  for (const std::string* const queue :
       {&arguments.route.source, &arguments.route.target}) {
    const std::string missing =
        Concat("find queue \"", *queue, "\": no such queue");
    if (text.find(missing) != std::string_view::npos) {
      return Fail(WithAdvice(status, arguments.url, *queue));
    }
  }
  return Fail(status);
}

std::string Ends(const Route& route) {
  return Concat(route.source, " to ", route.target);
}

int Create(const RouteArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const absl::Status created =
      bus->resource_manager().CreateRoute(arguments.route);
  if (!created.ok()) return FailBetween(arguments, created);
  return PrintResult(Concat("routed ", Ends(arguments.route), '\n'));
}

int Delete(const RouteArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const Route& route = arguments.route;
  const absl::Status deleted =
      bus->resource_manager().DeleteRoute(route.source, route.target);
  if (!deleted.ok()) return FailBetween(arguments, deleted);
  return PrintResult(Concat("deleted ", Ends(route), '\n'));
}

int List(const RouteArguments& arguments) {
  auto bus = MessagingAccessPoint::Connect(arguments.url);
  if (!bus.ok()) return Fail(bus.status());
  const auto routes =
      bus->resource_manager().ListRoutes(arguments.route.source);
  if (!routes.ok()) return FailBetween(arguments, routes.status());
  Table table;
  std::string lines;
  for (const Route& route : *routes) {
    if (arguments.json) {
      nlohmann::ordered_json object;
      object["source"] = route.source;
      object["target"] = route.target;
      object["filter"] = route.filter;
      lines += JsonLine(object);
    } else {
      table.Add({route.source, route.target,
                 route.filter.empty() ? "all" : route.filter});
    }
  }
  return PrintResult(arguments.json ? lines : table.ToText());
}

void AddEnds(CLI::App& command, RouteArguments& arguments) {
  command.add_option("SOURCE", arguments.route.source,
                     "the queue that messages enter")
      ->required();
  command.add_option("TARGET", arguments.route.target,
                     "the queue that they enter as well")
      ->required();
}

void AddCreate(CLI::App& command,
               const std::shared_ptr<RouteArguments>& arguments, Work& work) {
  CLI::App* const create = command.add_subcommand(
      "create", "Copy what enters a queue to another one from now on");
  AddUrl(*create, arguments->url);
  AddEnds(*create, *arguments);
  create
      ->add_option("--filter", arguments->route.filter,
                   "an SQL condition; only what it is true for (all)")
      ->type_name("EXPRESSION");
  create->footer(
      R"(A message and its copies are stored together or not at all, and have one id.
Routes go on from queue to queue, and never in a ring. What is delayed is
copied when it is due; dead letters are not.

Examples:
  oms route create oms:file:/tmp/shop orders audit
  oms route create oms:file:/tmp/shop orders large --filter "price > 100")");
  create->callback([arguments, &work] {
    work = [arguments] { return Create(*arguments); };
  });
}

void AddDelete(CLI::App& command,
               const std::shared_ptr<RouteArguments>& arguments, Work& work) {
  CLI::App* const command_delete =
      command.add_subcommand("delete", "End a route; what was copied stays");
  AddUrl(*command_delete, arguments->url);
  AddEnds(*command_delete, *arguments);
  command_delete->footer(
      R"(Example:
  oms route delete oms:file:/tmp/shop orders audit)");
  command_delete->callback([arguments, &work] {
    work = [arguments] { return Delete(*arguments); };
  });
}

void AddList(CLI::App& command,
             const std::shared_ptr<RouteArguments>& arguments, Work& work) {
  CLI::App* const list = command.add_subcommand(
      "list", "Print the routes, one a line: source, target, filter");
  AddUrl(*list, arguments->url);
  list->add_option("SOURCE", arguments->route.source,
                   "only those that begin at this queue");
  list->add_flag("--json", arguments->json,
                 "print each as one line of JSON");
  list->footer(
      R"(Examples:
  oms route list oms:file:/tmp/shop
  oms route list oms:file:/tmp/shop orders --json)");
  list->callback(
      [arguments, &work] { work = [arguments] { return List(*arguments); }; });
}

}  // namespace

void AddRouteCommand(CLI::App& app, Work& work) {
  const auto arguments = std::make_shared<RouteArguments>();
  CLI::App* const command = app.add_subcommand(
      "route", "Create, delete and list routes from queue to queue");
  command->require_subcommand(1);
  command->footer(
      R"(Examples:
  oms route create oms:file:/tmp/shop orders large --filter "price > 100"
  oms route list oms:file:/tmp/shop
  oms route delete oms:file:/tmp/shop orders large)");
  AddCreate(*command, arguments, work);
  AddDelete(*command, arguments, work);
  AddList(*command, arguments, work);
}

}  // namespace openmessaging::tools
