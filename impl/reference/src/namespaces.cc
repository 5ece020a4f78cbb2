// SPDX-License-Identifier: Apache-2.0
//
// The namespaces of a catalog: names that queues may begin with.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catalog.h"
#include "catalog_locked.h"
#include "openmessaging/key_value.h"
#include "openmessaging/limits.h"
#include "openmessaging/queue_name.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {

std::string EncodeNamespaceRecord(std::string_view name) {
  KeyValue body;
  body.Put("name", name).IgnoreError();
  return std::string(body.encoded());
}

std::optional<std::string> DecodeNamespaceRecord(std::string_view body) {
  const auto fields = KeyValueView::Parse(body);
  if (!fields.ok()) return std::nullopt;
  std::string name(fields->GetOr<std::string>("name", ""));
  if (name.empty()) return std::nullopt;
  return name;
}

absl::Status NamespaceNotFound(std::string_view operation,
                               std::string_view object,
                               std::string_view name_space) {
  return MakeStatus(Code::kNamespaceNotFound, operation, " \"", object,
                    "\": there is no namespace \"", name_space,
                    "\"; create it first");
}

absl::StatusOr<std::vector<Catalog::LiveNamespace>> Catalog::LiveNamespaces() {
  std::vector<LiveNamespace> all;
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kNamespaceKind ||
        candidate.live.Load() == 0) {
      continue;
    }
    const auto body = ReadRecord(candidate);
    if (!body.ok()) return body.status();
    auto name = DecodeNamespaceRecord(*body);
    if (!name) {
      return MakeStatus(Code::kDamaged, "read the record at position ",
                        candidate.record.Load(),
                        ": it does not describe a namespace");
    }
    all.push_back({*std::move(name), candidate.id.Load()});
  }
  return all;
}

absl::Status Catalog::CheckNamespaceOf(std::string_view queue,
                                       std::string_view created) {
  const std::string_view name_space = SplitQueueName(queue).name_space;
  if (name_space.empty()) return absl::OkStatus();
  const auto all = LiveNamespaces();
  if (!all.ok()) return all.status();
  const bool there = std::any_of(
      all->begin(), all->end(),
      [&](const LiveNamespace& one) { return one.name == name_space; });
  if (there) return absl::OkStatus();
  return NamespaceNotFound("create queue", created, name_space);
}

absl::StatusOr<std::vector<std::shared_ptr<const Queue>>> Catalog::QueuesOf(
    std::string_view name_space, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<std::shared_ptr<const Queue>> all;
  for (const auto& [name, queue] : queues_) {
    if (SplitQueueName(name).name_space == name_space) all.push_back(queue);
  }
  // One that has queues is there, even where its own record was lost.
  if (all.empty() && !name_space.empty() &&
      !namespaces_.contains(name_space)) {
    return NamespaceNotFound("list queues of", name_space, name_space);
  }
  return all;
}

absl::StatusOr<std::vector<std::string>> Catalog::Namespaces(
    TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<std::string> all;
  for (const auto& [name, entry] : namespaces_) all.push_back(name);
  return all;
}

absl::Status Catalog::CreateNamespace(std::string_view name,
                                      TimePoint deadline) {
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  const auto all = LiveNamespaces();
  if (!all.ok()) return all.status();
  for (const LiveNamespace& other : *all) {
    if (other.name != name) continue;
    return MakeStatus(Code::kNamespaceExists, "create namespace \"", name,
                      "\": it exists already");
  }
  if (all->size() >= static_cast<size_t>(kMaxNamespaces)) {
    return MakeStatus(Code::kTooManyNamespaces, "create namespace \"", name,
                      "\": the store has ", kMaxNamespaces,
                      " namespaces, which is the limit; delete one");
  }
  const uint32_t id = control_->header().append.next_queue.Load();
  if (id > static_cast<uint32_t>(kMaxQueueId)) {
    return MakeStatus(Code::kTooManyNamespaces, "create namespace \"", name,
                      "\": the store has used all its ", kMaxQueueId,
                      " numbers of queues and namespaces");
  }
  if (auto s = EnsurePage(); !s.ok()) return s;
  return AppendRecord(RecordType::kNamespace, id, 0, 0,
                      EncodeNamespaceRecord(name), deadline);
}

absl::Status Catalog::DeleteNamespace(std::string_view name,
                                      TimePoint deadline) {
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  const auto all = LiveNamespaces();
  if (!all.ok()) return all.status();
  const auto found = std::find_if(
      all->begin(), all->end(),
      [&](const LiveNamespace& one) { return one.name == name; });
  if (found == all->end()) {
    return NamespaceNotFound("delete namespace", name, name);
  }
  const auto queues = LiveQueues();
  if (!queues.ok()) return queues.status();
  for (const QueueRecord& queue : *queues) {
    if (SplitQueueName(queue.name).name_space != name) continue;
    return MakeStatus(Code::kIllegalState, "delete namespace \"", name,
                      "\": it has queue \"", std::string_view(queue.name),
                      "\"; delete its queues first");
  }
  return AppendRecord(RecordType::kNamespace, found->id, 0, kGone,
                      EncodeNamespaceRecord(name), deadline);
}

}  // namespace openmessaging::reference
