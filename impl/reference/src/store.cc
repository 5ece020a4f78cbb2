// SPDX-License-Identifier: Apache-2.0
//
// Life of a handle: the gate, joining, closing. Rebuilding is in recovery.cc,
// retirement in retention.cc.

#include "store.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include "control_check.h"
#include "cursor_image.h"
#include "cursor_words.h"
#include "env/page_guard.h"
#include "openmessaging/internal/mutex.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"
#include "planted.h"

namespace openmessaging::reference {
namespace {

using internal::Mutex;
using internal::MutexLock;

constexpr std::chrono::milliseconds kGatePoll{1};
// So long the last one to close gives segments back.
constexpr std::chrono::seconds kLastLook{1};

// Every open handle of this process, for the child of a fork.
struct OpenStores {
  Mutex mutex;
  std::set<Store*> stores ABSL_GUARDED_BY(mutex);

  static OpenStores& Get() {
    static auto* const all = [] {
      auto* const made = new OpenStores();
      pthread_atfork([] { Get().BeforeFork(); }, [] { Get().AfterFork(); },
                     [] { Get().AfterForkInChild(); });
      return made;
    }();
    return *all;
  }

  // The lock spans the fork, which no annotation can say.
  void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Lock(); }
  void AfterFork() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Unlock(); }
  void AfterForkInChild() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (Store* const store : stores) store->AbandonAfterFork();
    stores.clear();
    mutex.Unlock();
  }
};

// Whether the machine said no, and not a file something wrong.
bool IsOfMachine(const absl::Status& status) {
  const Code code = OmsCode(status);
  return code == Code::kStorageError || code == Code::kStorageBusy ||
         code == Code::kForbidden;
}

// Holds byte 0 of LOCK while a store is opened or closed.
class Gate {
 public:
  Gate(ByteLocks& locks, TimePoint deadline) : locks_(locks) {
    while (true) {
      const auto locked = locks_.TryLock(kGateByte);
      if (!locked.ok()) {
        status_ = locked.status();
        return;
      }
      if (*locked || OMS_PLANTED(kGateNotAwaited)) return;
      if (std::chrono::steady_clock::now() >= deadline) {
        StatusDetail detail = DefaultDetail(Code::kTimeout);
        detail.outcome = Outcome::kNotStored;
        status_ = WithDetail(
            MakeStatus(Code::kTimeout,
                       "open store: another process was opening or closing it "
                       "until the deadline"),
            detail);
        return;
      }
      std::this_thread::sleep_for(kGatePoll);
    }
  }
  ~Gate() {
    if (status_.ok()) locks_.Unlock(kGateByte).IgnoreError();
  }
  const absl::Status& status() const { return status_; }

 private:
  ByteLocks& locks_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Store>> Store::Open(
    std::shared_ptr<Storage> storage, const Environment* environment,
    const StoreOpenOptions& options, TimePoint deadline) {
  std::shared_ptr<Store> store(new Store(std::move(storage), environment));
  // Until it is open there is nothing that its destructor could close.
  store->closed_ = true;
  if (auto s = store->CheckPlace(); !s.ok()) return s;
  {
    // Known from its first lock on: the child of a fork at any time lets go.
    OpenStores& all = OpenStores::Get();
    const MutexLock lock(all.mutex);
    auto locks = store->storage_->OpenLocks("LOCK");
    if (!locks.ok()) return locks.status();
    store->locks_ = std::move(*locks);
    all.stores.insert(store.get());
  }
  {
    const Gate gate(*store->locks_, deadline);
    if (!gate.status().ok()) return gate.status();
    if (auto s = store->OpenGated(options); !s.ok()) return s;
  }
  if (options.housekeeper) {
    store->housekeeper_ = std::make_shared<Housekeeper>(store.get());
    // Before its thread begins, which looks at this.
    store->segments_->set_on_roll(
        [keeper = store->housekeeper_.get()] { keeper->Nudge(); });
    // From then on something may be retired while nobody sends, perhaps only
    // by a process that receives.
    const ControlHeader& header = store->control_->header();
    if (header.catalog.first_segment.Load() != header.append.current.Load() ||
        header.catalog.counts_deliveries.Load() != 0 ||
        store->delays_->next_ns() != 0) {
      store->housekeeper_->Nudge();
    }
  }
  store->closed_ = false;
  return store;
}

absl::Status Store::OpenGated(const StoreOpenOptions& options) {
  if (auto s = ReadOrCreateStoreFile(options); !s.ok()) return s;
  const auto others =
      locks_->HeldElsewhere(kSlotByte, store_file_.options.slots);
  if (!others.ok()) return others.status();
  if (*others) {
    if (auto s = Attach(false); !s.ok()) return s;
    open_path_ = OpenPath::kJoined;
  } else if (auto taken = TakeOver(); taken.ok()) {
    open_path_ = OpenPath::kWarm;
  } else if (!control_refused_ && IsOfMachine(taken)) {
    // The log knows less of what was settled than ctl does: it is read where
    // ctl is to blame, and not because a call failed that may succeed later.
    return taken;
  } else if (auto s = Rebuild(); !s.ok()) {
    return s;
  }
  if (open_path_ != OpenPath::kJoined) {
    if (auto s = bodies_->Recount(); !s.ok()) return s;
  }
  // What cannot be removed now takes room, and does no other harm.
  if (named_bodies_) {
    RemoveUnnamed().IgnoreError();
  } else {
    RemoveLeftovers();
  }
  if (open_path_ != OpenPath::kJoined) log_->OpenReserve();
  opened_durable_ = log_->durable();
  opened_end_ = log_->committed();
  return absl::OkStatus();
}

absl::Status Store::TakeOver() {
  if (auto s = Attach(true); !s.ok()) return s;
  const bool in_flight = control_->header().append.intent_end.Load() != 0;
  // Whoever holds a lock is dead: repair as its heir would.
  if (auto s = log_->Repair(); !s.ok()) return s;
  // Of what was under way not everything could be told before.
  if (in_flight) {
    if (auto s = CheckLeftControl(); !s.ok()) return s;
  }
  absl::Status status = LogCursors(true, TimePoint::max());
  // On a full disk ctl alone knows it, as it did before.
  if (OmsCode(status) == Code::kStorageBusy) return absl::OkStatus();
  return status;
}

absl::Status Store::CheckControl(bool alone) {
  const ControlHeader& header = control_->header();
  const auto place = control_->ctl().file().Identity();
  if (!place.ok()) return place.status();
  // The files grow before ctl says so; asked in this order they are never
  // shorter than it says, unless somebody cut them.
  const uint64_t ctl_bytes = header.size.Load();
  const uint64_t extents = header.catalog.index_extents.Load();
  const auto ctl_size = control_->ctl().file().Size();
  if (!ctl_size.ok()) return ctl_size.status();
  const auto idx_size = control_->idx().file().Size();
  if (!idx_size.ok()) return idx_size.status();
  const bool believed =
      ctl_bytes <= *ctl_size && extents <= *idx_size / kPage &&
      header.magic == ControlHeader::kMagic &&
      header.format == (uint32_t{kFormatMajor} << 16 | kFormatMinor) &&
      header.uuid == store_file_.uuid &&
      (header.boot_hash == environment_->clock->BootHash() ||
       OMS_PLANTED(kOldBootBelieved)) &&
      // Who cannot tell one boot from another takes it for another.
      (!alone || header.boot_hash != 0 || storage_->IsVolatile()) &&
      header.device == place->device && header.inode == place->inode &&
      header.state.Load() == static_cast<uint32_t>(ControlState::kLive) &&
      (header.poisoned.Load() == 0 || OMS_PLANTED(kPoisonForgotten));
  if (believed) return absl::OkStatus();
  control_refused_ = true;
  return MakeStatus(Code::kStorageError, "open store \"",
                    std::string_view(Describe()),
                    "\": ctl is not of this store, boot or place");
}

absl::Status Store::CheckLeftControl() {
  // Of memory there is nothing to doubt, and no checksum to ask.
  if (storage_->IsVolatile()) return absl::OkStatus();
  ControlCheck check(storage_.get(), control_.get(), &store_file_);
  const std::string_view fault = check.FindFault();
  if (!check.failure().ok()) return check.failure();
  if (fault.empty()) {
    check.Renew();
    return absl::OkStatus();
  }
  control_refused_ = true;
  const std::string why =
      internal::Concat("after epoch ", control_->header().epoch, ": ", fault);
  // For people; where there is no room for it there is none.
  if (auto note = storage_->Create(kRefusedControlName); note.ok()) {
    (*note)->WriteAll(why).IgnoreError();
  }
  return MakeStatus(Code::kStorageError, "open store \"",
                    std::string_view(Describe()), "\": ctl is damaged ",
                    std::string_view(why));
}

absl::Status Store::Attach(bool alone) {
  auto ctl = GrowingFile::Open(*storage_, "ctl");
  if (!ctl.ok()) return ctl.status();
  const auto size = (*ctl)->file().Size();
  if (!size.ok()) return size.status();
  if (*size < ControlLayout(store_file_.options).end) {
    control_refused_ = true;
    return MakeStatus(Code::kStorageError, "open store \"",
                      std::string_view(Describe()), "\": ctl is cut short");
  }
  auto idx = GrowingFile::Open(*storage_, "idx");
  if (!idx.ok()) return idx.status();
  control_ = std::make_unique<Control>(std::move(*ctl), std::move(*idx));
  if (auto s = CheckControl(alone); !s.ok()) return s;
  if (alone) {
    if (auto s = CheckLeftControl(); !s.ok()) return s;
  }
  if (auto s = TakeSlot(); !s.ok()) return s;
  Assemble();
  return absl::OkStatus();
}

absl::Status Store::TakeSlot() {
  // What a dead process left in big/ is found by what its slot says: such a slot
  // is taken only where there is no other.
  for (const bool left : {false, true}) {
    for (uint32_t n = 0; n < store_file_.options.slots; ++n) {
      if ((control_->slots()[n].body_number.Load() != 0) != left) continue;
      const auto taken = TryTakeSlot(n);
      if (!taken.ok()) return taken.status();
      if (*taken) return absl::OkStatus();
    }
  }
  return MakeStatus(Code::kStorageBusy, "open store \"",
                    std::string_view(Describe()), "\": all its ",
                    store_file_.options.slots,
                    " places for processes are taken; close one");
}

absl::StatusOr<bool> Store::TryTakeSlot(uint32_t n) {
  const auto held = locks_->HeldElsewhere(kSlotByte + n, 1);
  if (!held.ok()) return held.status();
  if (*held) return false;
  Slot* const slots = control_->slots();
  const LeftBodies left = LeftBodies::Of(slots[n]);
  // The generation first: a word of a dead predecessor must never name us.
  // One that nobody had begins anywhere: no receipt of before a recovery, which
  // knows nothing of slots, is like one of after it.
  uint32_t generation = slots[n].generation.Load();
  if (generation == 0) {
    generation = static_cast<uint32_t>(environment_->random->Next());
  }
  generation = (generation + 1) & 0xfffff;
  if (generation == 0) generation = 1;
  if (!OMS_PLANTED(kGenerationKept)) slots[n].generation.Store(generation);
  const auto locked = locks_->TryLock(kSlotByte + n);
  if (!locked.ok()) return locked.status();
  if (!*locked) return false;
  predecessor_ = left;
  slots[n].body_number.Store(0);
  slots[n].pid.Store(static_cast<uint32_t>(getpid()));
  slots[n].opened_boot_ns.Store(environment_->clock->BootNs());
  liveness_ = std::make_unique<Liveness>(locks_.get(), slots,
                                         store_file_.options.slots,
                                         Owner(n, generation));
  return true;
}

void Store::Assemble() {
  segments_ = std::make_unique<SegmentMap>(storage_.get(), &control_->header(),
                                           control_->segments());
  catalog_ = std::make_unique<Catalog>(environment_, control_.get(),
                                       segments_.get(), liveness_.get());
  members_ = std::make_unique<Members>(locks_.get(), control_.get(),
                                       liveness_.get(), environment_->waiting);
  terms_ = std::make_unique<GroupTerms>(environment_, control_.get(),
                                        liveness_.get(), catalog_.get());
  bodies_ = std::make_unique<LargeBodies>(storage_.get(), control_.get(),
                                          liveness_.get(),
                                          environment_->waiting);
  log_ = std::make_unique<Log>(storage_.get(), environment_, control_.get(),
                               segments_.get(), bodies_.get(), liveness_.get(),
                               this);
  catalog_->set_log(log_.get());
  delays_ = std::make_unique<Delays>(this);
  transactions_ = std::make_unique<Transactions>(this);
}

absl::Status Store::CheckUsable() const {
  if (forked_) {
    return MakeStatus(Code::kClosed, "use store \"",
                      std::string_view(Describe()),
                      "\": the handle belongs to the parent process; open one "
                      "after fork");
  }
  if (closed_) {
    return MakeStatus(Code::kClosed, "use store \"",
                      std::string_view(Describe()), "\": it is closed");
  }
  return CheckPages();
}

absl::Status Store::CheckPages() const {
  return storage_->LostPages() ? LostPagesError(Describe()) : absl::OkStatus();
}

void Store::AbandonAfterFork() {
  forked_ = true;
  closed_ = true;
  if (housekeeper_ != nullptr) housekeeper_->AbandonAfterFork();
  if (OMS_PLANTED(kForkKeepsLocks)) return;
  locks_->AbandonAfterFork();
}

Store::~Store() {
  Close(TimePoint::max()).IgnoreError();
  OpenStores& all = OpenStores::Get();
  const MutexLock lock(all.mutex);
  all.stores.erase(this);
}

absl::Status Store::Close(TimePoint deadline) {
  if (closed_.exchange(true)) return absl::OkStatus();
  if (housekeeper_ != nullptr) housekeeper_->Stop(deadline);
  const MutexLock lock(gate_mutex_);
  const Gate gate(*locks_, deadline);
  const uint64_t slot_byte = kSlotByte + liveness_->self().slot();
  if (!gate.status().ok()) {
    locks_->Unlock(slot_byte).IgnoreError();
    return gate.status();
  }
  const auto others =
      locks_->HeldElsewhere(kSlotByte, store_file_.options.slots);
  absl::Status status = others.status();
  if (status.ok() && !*others && !storage_->IsVolatile() &&
      !log_->poisoned()) {
    log_->Heal();
    // Short-lived processes have no housekeeper that comes to it.
    const TimePoint until = std::chrono::steady_clock::now() + kLastLook;
    while (RetireOldest(true) && std::chrono::steady_clock::now() < until) {
    }
    // The next one to open it will not look.
    RemoveLeftovers();
    if (!OMS_PLANTED(kClosedUnlogged)) status = LogCursors(false, deadline);
    if (status.ok() && !OMS_PLANTED(kClosedUnflushed)) {
      status = log_->WaitDurable(log_->committed(), deadline);
    }
    if (status.ok()) status = bodies_->SyncRemovals();
    if (status.ok()) status = control_->idx().file().Sync();
    // A checkpoint leaves out what has no state, and a creator may have died
    // before it gave its queue one.
    if (status.ok()) status = catalog_->Queues(deadline).status();
    const bool whole = !catalog_->HasDamage(deadline);
    if (status.ok() && whole) {
      status = WriteCheckpoint(*storage_, *environment_->clock, *control_,
                               *segments_, *catalog_);
    }
    if (status.ok() && whole) {
      control_->header().state.Store(
          static_cast<uint32_t>(ControlState::kClean));
    }
  }
  locks_->Unlock(slot_byte).IgnoreError();
  return status;
}

void Store::Publish(const RecordHeader& header) { catalog_->Publish(header); }

PartitionState* Store::FindPartition(uint32_t queue_partition) {
  return catalog_->FindPartition(queue_partition);
}

void Store::SettleDead(const DeadSource& source, Cursor* cursor) {
  if (cursor == nullptr) {
    cursor = catalog_->FindCursor(source.group,
                                  PartitionOf(source.queue_partition));
  }
  if (cursor != nullptr && !OMS_PLANTED(kDeadNotSettled)) {
    CursorWords(control_.get(), cursor).Settle(source.offset, source.attempts);
  }
  if (source.expired == 0) return;
  if (PartitionState* const from = FindPartition(source.queue_partition);
      from != nullptr) {
    IndexWriter(control_.get())
        .Bury(*from, source.queue_partition, source.offset);
  }
}

void Store::MoveCursor(const SeekTarget& target, uint32_t queue_partition,
                       Cursor* cursor) {
  if (cursor == nullptr) {
    cursor = catalog_->FindCursor(target.group, PartitionOf(queue_partition));
  }
  if (cursor == nullptr) return;
  uint64_t number = cursor->images.Load();
  if (SeeksOf(number) >= SeeksOf(target.number)) return;
  if (OMS_PLANTED(kSeekNumberFirst)) cursor->images.Store(target.number);
  CursorWords(control_.get(), cursor).MoveTo(*cursor, target.offset);
  // Last, so that an image with a number behind this one sees all of it; and an
  // heir who finds the number as it was does all of it again.
  while (number < target.number &&
         !cursor->images.CompareExchange(number, target.number)) {
  }
}

void Store::BeforeFlush() {
  // What cannot be logged now is logged with the next flush; until then a
  // power loss may repeat a message.
  LogCursors(false, std::chrono::steady_clock::now() + std::chrono::seconds(1))
      .IgnoreError();
}

void Store::BeforePrepare() { Retire(); }

absl::Status Store::MakeDelayRoom(uint32_t needed, TimePoint deadline) {
  return catalog_->MakeDelayRoom(needed, deadline);
}

absl::Status Store::MakeDeduplicationRoom(uint32_t needed,
                                          TimePoint deadline) {
  return catalog_->MakeDeduplicationRoom(needed, deadline);
}

absl::Status Store::MakePreparedRoom(TimePoint deadline) {
  return catalog_->MakePreparedRoom(deadline);
}

int64_t Store::DeduplicationMs(uint32_t queue) {
  const CatalogEntry* const entry = catalog_->FindLiveQueue(queue);
  if (entry == nullptr) return 0;
  return control_->Get<QueueState>(entry->state.Load())
      ->deduplication_ms.Load();
}

bool Store::WorkIsAhead() {
  return housekeeper_ != nullptr && housekeeper_->Nudge();
}

absl::Status Store::LogCursor(GroupState& group, uint32_t partition,
                              TimePoint deadline) {
  // Each flush comes here, and allocates nothing. They are taken while they are
  // used, because an append may retire segments, which comes here again.
  struct Buffers {
    std::string image;
    std::string body;
  };
  static thread_local Buffers buffers;
  Cursor& cursor = *group.cursor(partition);
  // Two may be under way at once, and be appended the other way round. Numbered
  // before it looks, the one of the highest number has all that was settled
  // before any of them was numbered; that one counts.
  const uint64_t number = cursor.images.FetchAdd(1) + 1;
  ImageWriter image(std::move(buffers.image));
  PutCursorImage(*control_, cursor, image);
  ImageWriter body(std::move(buffers.body));
  body.Put(group.id);
  body.Put(number);
  body.PutBytes(image.bytes());
  Append record;
  record.type = RecordType::kAckRange;
  record.queue_partition = QueuePartition(group.queue, partition);
  record.offset = group.id;
  record.pieces[2] = body.bytes();
  log_->AppendAll({&record, 1}, environment_->clock->WallMs(), deadline);
  buffers = {std::move(image.bytes()), std::move(body.bytes())};
  return record.status;
}

absl::Status Store::LogCursors(bool all, TimePoint deadline) {
  // Only what ctl has: an entry without state has not handed out anything.
  for (uint32_t n = 0; n < catalog_->count(); ++n) {
    const CatalogEntry& entry = *catalog_->entry(n);
    if (entry.kind.Load() != 2 || entry.live.Load() != kLive ||
        entry.state.Load() == 0) {
      continue;
    }
    auto* const group = control_->Get<GroupState>(entry.state.Load());
    // A look first: most are clean.
    if (group->dirty.Load() == 0 && !all) continue;
    BeginLogging(group->dirty);
    if (OMS_PLANTED(kGroupCleanEarly)) EndLogging(group->dirty);
    for (uint32_t p = 0; p < group->partitions; ++p) {
      Cursor& cursor = *group->cursor(p);
      if (cursor.dirty.Load() == 0 && !all) continue;
      BeginLogging(cursor.dirty);
      // Without a window it is where it began, unless it was moved.
      if (cursor.window.Load() != 0 || cursor.images.Load() != 0) {
        if (auto s = LogCursor(*group, p, deadline); !s.ok()) return s;
      }
      if (OMS_PLANTED(kCursorCleanLate)) BeginLogging(cursor.dirty);
      EndLogging(cursor.dirty);
    }
    EndLogging(group->dirty);
  }
  return absl::OkStatus();
}

}  // namespace openmessaging::reference
