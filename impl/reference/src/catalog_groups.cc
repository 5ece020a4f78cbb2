// SPDX-License-Identifier: Apache-2.0
//
// Groups of the catalog: how they are found, made and ended.

#include <atomic>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catalog_locked.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

// What the names of private groups begin with; epoch, owner, number follow.
constexpr std::string_view kPrivatePrefix = "oms.member.";
}  // namespace

absl::StatusOr<std::shared_ptr<const Group>> Catalog::LookUpGroup(
    uint32_t queue, std::string_view name, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  const auto found = groups_.find({queue, std::string(name)});
  if (found != groups_.end()) return found->second;
  return std::shared_ptr<const Group>();
}

absl::StatusOr<std::shared_ptr<const Group>> Catalog::FindGroup(
    const Queue& queue, std::string_view name, TimePoint deadline) {
  auto group = LookUpGroup(queue.id, name, deadline);
  if (group.ok() && *group == nullptr) {
    return MakeStatus(Code::kQueueNotFound, "find group \"", name,
                      "\" of queue \"", std::string_view(queue.name),
                      "\": no such group; expected one that has bound the "
                      "queue");
  }
  return group;
}

absl::StatusOr<std::vector<std::shared_ptr<const Group>>> Catalog::GroupsOf(
    const Queue& queue, TimePoint deadline) {
  const internal::MutexLock lock(mutex_);
  if (auto s = Refresh(deadline); !s.ok()) return s;
  std::vector<std::shared_ptr<const Group>> all;
  for (auto at = groups_.lower_bound({queue.id, std::string()});
       at != groups_.end() && at->first.first == queue.id; ++at) {
    all.push_back(at->second);
  }
  return all;
}

absl::Status Catalog::DeleteGroup(const Queue& queue, std::string_view name,
                                  TimePoint deadline) {
  const auto group = FindGroup(queue, name, deadline);
  if (!group.ok()) return group.status();
  const Locked locked(*this, deadline);
  if (!locked.status().ok()) return locked.status();
  if ((*group)->live()) return EndGroup(**group, deadline);
  return MakeStatus(Code::kQueueNotFound, "delete group \"", name,
                    "\" of queue \"", std::string_view(queue.name),
                    "\": it was deleted meanwhile");
}

absl::Status Catalog::MakeGroup(const Queue& queue, std::string_view name,
                                StartPosition start, uint8_t flags,
                                TimePoint deadline) {
  if (!queue.live()) return QueueNotFound(queue.name);
  std::vector<uint64_t> first(queue.partitions);
  for (uint32_t p = 0; p < queue.partitions; ++p) {
    const PartitionState& partition = *queue.state->partition(p);
    first[p] = start == StartPosition::kLatest ? partition.next_offset.Load()
                                               : partition.first_offset.Load();
  }
  if (auto s = EnsurePage(); !s.ok()) return s;
  const uint32_t id = control_->header().append.next_group.Load();
  return AppendRecord(RecordType::kGroup, queue.id, id, flags,
                      EncodeGroupRecord(name, first), deadline);
}

absl::StatusOr<std::shared_ptr<const Group>> Catalog::OpenGroup(
    const std::shared_ptr<const Queue>& queue, std::string_view name,
    StartPosition start, TimePoint deadline) {
  auto group = LookUpGroup(queue->id, name, deadline);
  if (!group.ok() || *group != nullptr) return group;
  {
    const Locked locked(*this, deadline);
    if (!locked.status().ok()) return locked.status();
    // Somebody may have made it while this waited.
    bool exists = false;
    for (uint32_t n = count(); n-- > 0 && !exists;) {
      const CatalogEntry& candidate = *entry(n);
      if (candidate.kind.Load() != kGroupKind ||
          candidate.queue.Load() != queue->id || candidate.live.Load() == 0) {
        continue;
      }
      const auto body = ReadRecord(candidate);
      std::string taken;
      std::vector<uint64_t> ignored;
      exists = body.ok() && DecodeGroupRecord(*body, taken, ignored) &&
               taken == name;
    }
    if (!exists) {
      if (auto s = MakeGroup(*queue, name, start, 0, deadline); !s.ok()) {
        return s;
      }
    }
  }
  group = LookUpGroup(queue->id, name, deadline);
  if (group.ok() && *group == nullptr) return QueueNotFound(queue->name);
  return group;
}

absl::StatusOr<std::shared_ptr<const Group>> Catalog::OpenPrivateGroup(
    const std::shared_ptr<const Queue>& queue, StartPosition start,
    TimePoint deadline) {
  // Tells whose it is: a life of a slot in one opening of the store. The prefix
  // is reserved, so that nobody else can join it.
  static std::atomic<uint64_t> number{0};
  const std::string name =
      internal::Concat(kPrivatePrefix, control_->header().epoch, '.',
                       liveness_->self().word(), '.', number.fetch_add(1));
  {
    const Locked locked(*this, deadline);
    if (!locked.status().ok()) return locked.status();
    if (auto s = MakeGroup(*queue, name, start, kPrivateGroup, deadline);
        !s.ok()) {
      return s;
    }
  }
  auto group = LookUpGroup(queue->id, name, deadline);
  if (group.ok() && *group == nullptr) return QueueNotFound(queue->name);
  return group;
}

absl::Status Catalog::EndGroup(const Group& group, TimePoint deadline) {
  const uint8_t flags = group.entry->live.Load() == kLivePrivately
                            ? kGone | kPrivateGroup
                            : kGone;
  return AppendRecord(RecordType::kGroup, group.queue->id, group.id, flags,
                      EncodeGroupRecord(group.name, {}), deadline);
}

bool Catalog::IsOrphan(const CatalogEntry& entry) {
  if (entry.live.Load() != kLivePrivately) return false;
  const auto body = ReadRecord(entry);
  std::string name;
  std::vector<uint64_t> ignored;
  if (!body.ok() || !DecodeGroupRecord(*body, name, ignored)) return false;
  std::string_view rest = name;
  if (!rest.starts_with(kPrivatePrefix)) return false;
  rest.remove_prefix(kPrivatePrefix.size());
  uint32_t epoch = 0;
  uint32_t owner = 0;
  const char* const end = rest.data() + rest.size();
  const auto dot = std::from_chars(rest.data(), end, epoch);
  if (dot.ec != std::errc() || dot.ptr == end ||
      std::from_chars(dot.ptr + 1, end, owner).ec != std::errc()) {
    return false;
  }
  return epoch != control_->header().epoch ||
         !liveness_->IsAlive(Owner::FromWord(owner));
}

absl::Status Catalog::EndOrphans(TimePoint deadline) {
  for (uint32_t n = 0; n < count(); ++n) {
    const CatalogEntry& candidate = *entry(n);
    if (candidate.kind.Load() != kGroupKind || !IsOrphan(candidate)) continue;
    // Whoever does it twice does nothing.
    if (auto s = AppendRecord(RecordType::kGroup, candidate.queue.Load(),
                              candidate.id.Load(), kGone | kPrivateGroup,
                              EncodeGroupRecord(kPrivatePrefix, {}), deadline);
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}
}  // namespace openmessaging::reference
