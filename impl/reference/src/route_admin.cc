// SPDX-License-Identifier: Apache-2.0
//
// Making, listing and ending routes.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catalog.h"
#include "catalog_locked.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"
#include "routes.h"

namespace openmessaging::reference {
namespace {

using Edges = std::map<uint32_t, std::vector<uint32_t>>;

std::string EncodeRouteRecord(std::string_view filter) {
  KeyValue body;
  if (!filter.empty()) body.Put("filter", Bytes{filter}).IgnoreError();
  return std::string(body.encoded());
}

// Returns: what can be reached along `edges`, without `from`.
std::set<uint32_t> Reach(const Edges& edges, uint32_t from) {
  std::set<uint32_t> reached;
  std::vector<uint32_t> open{from};
  while (!open.empty()) {
    const auto next = edges.find(open.back());
    open.pop_back();
    if (next == edges.end()) continue;
    for (const uint32_t target : next->second) {
      if (reached.insert(target).second) open.push_back(target);
    }
  }
  return reached;
}

Edges Reversed(const Edges& edges) {
  Edges reversed;
  for (const auto& [source, targets] : edges) {
    for (const uint32_t target : targets) reversed[target].push_back(source);
  }
  return reversed;
}

template <typename... What>
absl::Status RefuseRoute(Code code, const Route& route, const What&... what) {
  return MakeStatus(code, "create a route from queue \"",
                    std::string_view(route.source), "\" to \"",
                    std::string_view(route.target), "\": ", what...);
}

}  // namespace

std::optional<std::string> DecodeRouteRecord(std::string_view body) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return std::nullopt;
  return std::string(fields->GetOr<Bytes>("filter", Bytes{}).data);
}

void Catalog::PublishRoute(const RecordHeader& header) {
  ControlHeader& control = control_->header();
  const uint32_t source = QueueOf(header.queue_partition);
  const auto id = static_cast<uint32_t>(header.offset);
  const uint32_t total = count();
  CatalogEntry* from = nullptr;
  CatalogEntry* target = nullptr;
  // One that was deleted before is used again.
  for (uint32_t n = 0; n < total; ++n) {
    CatalogEntry* const candidate = entry(n);
    const uint32_t kind = candidate->kind.Load();
    if (kind == kQueueKind && candidate->id.Load() == source) from = candidate;
    if (kind == kRouteKind && candidate->queue.Load() == source &&
        candidate->id.Load() == id) {
      target = candidate;
    }
  }
  const bool fresh = target == nullptr;
  if (fresh) target = entry(total);
  if (target == nullptr) return;  // The creator made room; a heir can't fail.
  // With its source a route is gone, too.
  const bool gone = (CommitWord::Flags(header.commit) & kGone) != 0 ||
                    from == nullptr || from->live.Load() == 0;
  target->id.Store(id);
  target->queue.Store(source);
  target->kind.Store(kRouteKind);
  target->record.Store(header.position);
  target->live.Store(gone ? 0 : kLive);
  if (fresh) control.catalog.count.Store(total + 1);
  // Whoever knows the source looks again.
  if (from != nullptr && from->live.Load() != 0) MarkChanged(*from);
  control.catalog.version.FetchAdd(1);
}

void Catalog::EndRoutesOf(uint32_t queue) {
  for (uint32_t n = 0; n < count(); ++n) {
    CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() == kRouteKind &&
        candidate.queue.Load() == queue) {
      candidate.live.Store(0);
    }
  }
}

absl::Status Catalog::LoadRoute(const CatalogEntry& from) {
  uint64_t position = 0;
  const auto body = ReadRecord(from, &position);
  if (!body.ok()) return body.status();
  const auto text = DecodeRouteRecord(*body);
  LoadedRoute route;
  route.entry = &from;
  auto compiled =
      text && !text->empty()
          ? kit::Filter::Compile(*text)
          : absl::StatusOr<kit::Filter>(absl::UnknownError("none"));
  if (!text || (!text->empty() && !compiled.ok())) {
    return MakeStatus(Code::kDamaged, "read the record at position ", position,
                      ": it does not describe a route");
  }
  route.text = *text;
  if (compiled.ok()) route.filter = *std::move(compiled);
  loaded_routes_[{from.queue.Load(), from.id.Load()}] = std::move(route);
  return absl::OkStatus();
}

void Catalog::RefreshRoutes() {
  std::erase_if(loaded_routes_,
                [](const auto& e) { return e.second.entry->live.Load() == 0; });
  auto table = std::make_shared<RouteTable>();
  for (const auto& [ends, route] : loaded_routes_) {
    const auto source = queues_by_id_.find(ends.first);
    const auto target = queues_by_id_.find(ends.second);
    if (source == queues_by_id_.end() || target == queues_by_id_.end()) {
      continue;
    }
    RoutesFrom& routes = table->from[ends.first];
    routes.source = source->second;
    routes.to.push_back({target->second, route.filter, route.text});
  }
  for (auto& [id, routes] : table->from) {
    std::sort(routes.to.begin(), routes.to.end(),
              [](const RouteTo& a, const RouteTo& b) {
                return a.target->name < b.target->name;
              });
  }
  routes_ = std::move(table);
  for (auto& [id, queue] : queues_by_id_) {
    const bool routed = routes_->from.contains(id);
    if (queue->routed == routed) continue;
    // Somebody may have the old one.
    auto changed = std::make_shared<Queue>(*queue);
    changed->routed = routed;
    queues_[changed->name] = changed;
    queue = std::move(changed);
  }
}

absl::StatusOr<std::shared_ptr<const RouteTable>> Catalog::Routes(
    TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  return routes_;
}

absl::Status Catalog::CheckRoute(const Route& route, uint32_t source,
                                 uint32_t target) const {
  Edges edges;
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kRouteKind || candidate.live.Load() == 0) {
      continue;
    }
    const uint32_t from = candidate.queue.Load();
    if (from == source && candidate.id.Load() == target) {
      return RefuseRoute(Code::kQueueExists, route,
                         "it exists already; delete it to set another filter");
    }
    edges[from].push_back(candidate.id.Load());
  }
  if (source == target || Reach(edges, target).contains(source)) {
    return RefuseRoute(
        Code::kBadParameter, route,
        "messages would come back to where they came from; expected "
        "a target from which no route leads there (OMS-ROUTE-004)");
  }
  std::set<uint32_t> before = Reach(Reversed(edges), source);
  before.insert(source);
  edges[source].push_back(target);
  for (const uint32_t queue : before) {
    if (const size_t copies = Reach(edges, queue).size();
        copies > kMaxCopies) {
      return RefuseRoute(Code::kBadParameter, route, "a message could have ",
                         copies,
                         " copies; expected at "
                         "most ",
                         kMaxCopies, " (OMS-ROUTE-004)");
    }
  }
  return absl::OkStatus();
}

absl::Status Catalog::CreateRoute(const Route& route, TimePoint deadline) {
  if (!route.filter.empty()) {
    if (auto s = kit::Filter::Compile(route.filter).status(); !s.ok()) return s;
  }
  const auto source = FindQueue(route.source, deadline);
  if (!source.ok()) return source.status();
  const auto target = FindQueue(route.target, deadline);
  if (!target.ok()) return target.status();
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  for (const auto& queue : {*source, *target}) {
    if (!queue->live()) {
      return RefuseRoute(Code::kQueueNotFound, route, "queue \"",
                         std::string_view(queue->name),
                         "\" was deleted meanwhile");
    }
  }
  if (auto s = CheckRoute(route, (*source)->id, (*target)->id); !s.ok()) {
    return s;
  }
  if (auto s = EnsurePage(); !s.ok()) return s;
  return AppendRecord(RecordType::kRoute, (*source)->id, (*target)->id, 0,
                      EncodeRouteRecord(route.filter), deadline);
}

absl::Status Catalog::DeleteRoute(std::string_view source,
                                  std::string_view target,
                                  TimePoint deadline) {
  const auto from = FindQueue(source, deadline);
  if (!from.ok()) return from.status();
  const auto to = FindQueue(target, deadline);
  if (!to.ok()) return to.status();
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() == kRouteKind && candidate.live.Load() != 0 &&
        candidate.queue.Load() == (*from)->id &&
        candidate.id.Load() == (*to)->id) {
      return AppendRecord(RecordType::kRoute, (*from)->id, (*to)->id, kGone,
                          EncodeRouteRecord({}), deadline);
    }
  }
  return MakeStatus(Code::kQueueNotFound, "delete the route from queue \"",
                    source, "\" to \"", target, "\": no such route");
}

absl::StatusOr<std::vector<Route>> Catalog::ListRoutes(std::string_view source,
                                                       TimePoint deadline) {
  if (!source.empty()) {
    const auto from = FindQueue(source, deadline);
    if (!from.ok()) return from.status();
  }
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<Route> all;
  for (const auto& [name, queue] : queues_) {
    const auto routes = routes_->from.find(queue->id);
    if (routes == routes_->from.end() || (!source.empty() && name != source)) {
      continue;
    }
    for (const RouteTo& route : routes->second.to) {
      all.push_back({name, route.target->name, route.text});
    }
  }
  return all;
}

absl::Status Catalog::CheckNoTarget(const Queue& queue) {
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kRouteKind || candidate.live.Load() == 0 ||
        candidate.id.Load() != queue.id) {
      continue;
    }
    std::string source = "another one";
    for (uint32_t k = 0; k < count(); ++k) {
      const CatalogEntry& from = *entry(k);
      if (from.kind.Load() != kQueueKind ||
          from.id.Load() != candidate.queue.Load()) {
        continue;
      }
      const auto body = ReadRecord(from);
      auto record = body.ok() ? DecodeQueueRecord(*body) : std::nullopt;
      if (record) source = std::move(record->name);
    }
    return MakeStatus(Code::kIllegalState, "delete queue \"",
                      std::string_view(queue.name), "\": a route from \"",
                      std::string_view(source),
                      "\" ends there; delete that one first");
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
