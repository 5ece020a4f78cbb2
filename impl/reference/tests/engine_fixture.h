// SPDX-License-Identifier: Apache-2.0
//
// What tests of the engine's parts share: a machine whose clock stands still,
// storages that die or tell of each change, stores, members of groups, and the
// records of an image on disk.

#ifndef OPENMESSAGING_REFERENCE_TESTS_ENGINE_FIXTURE_H_
#define OPENMESSAGING_REFERENCE_TESTS_ENGINE_FIXTURE_H_

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consumer.h"
#include "doctest/doctest.h"
#include "env/environment.h"
#include "env/storage.h"
#include "format.h"
#include "openmessaging/message.h"
#include "openmessaging/reference/check.h"
#include "openmessaging/status.h"
#include "producer.h"
#include "store.h"

namespace openmessaging::reference::testing {

// Stands still until it is moved.
class ManualClock final : public Clock {
 public:
  int64_t BootNs() const override { return boot_ns.load(); }
  int64_t WallMs() const override { return wall_ms.load(); }
  int64_t ExactWallMs() const override { return wall_ms.load(); }
  uint64_t BootHash() const override { return boot_hash.load(); }

  std::atomic<int64_t> boot_ns{1'000'000'000'000};
  std::atomic<int64_t> wall_ms{1'700'000'000'000};
  std::atomic<uint64_t> boot_hash{0x5eed};
};

// Sleeps as the machine does, and counts.
class CountingWaiting final : public Waiting {
 public:
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected,
            std::chrono::nanoseconds timeout) override {
    waits.fetch_add(1);
    Environment::OfMachine().waiting->Wait(word, expected, timeout);
  }
  void WakeAll(const std::atomic<uint32_t>& word) override {
    wakes.fetch_add(1);
    Environment::OfMachine().waiting->WakeAll(word);
  }

  std::atomic<int> waits{0};
  std::atomic<int> wakes{0};
};

// The same numbers in each run.
class SeededRandom final : public Random {
 public:
  uint64_t Next() override { return Mix64(state_.fetch_add(1) + 1); }

 private:
  std::atomic<uint64_t> state_{0x0517};
};

// A machine of a test's own.
struct TestMachine {
  ManualClock clock{};
  CountingWaiting waiting{};
  SeededRandom random{};
  Environment environment{&clock, &waiting, &random, "test.example"};
};

// A directory that goes with this object.
class TempDirectory {
 public:
  TempDirectory() {
    const char* const parent = getenv("TMPDIR");
    path_ = std::string(parent != nullptr && *parent != 0 ? parent : "/tmp") +
            "/oms_engine_XXXXXX";
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }

  // Replaces what is here by a copy of another directory.
  void CopyFrom(const std::string& other) {
    Clear();
    std::filesystem::copy(other, path_,
                          std::filesystem::copy_options::recursive);
  }
  void Clear() {
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      std::filesystem::remove_all(entry.path());
    }
  }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Changes bytes of a file that exists.
inline void Overwrite(const std::string& path, uint64_t at,
                      std::string_view bytes) {
  std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(static_cast<std::streamoff>(at));
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(out.good());
}

inline void FlipBit(const std::string& path, uint64_t at, int bit) {
  const std::string bytes = ReadFile(path);
  REQUIRE(at < bytes.size());
  const char changed = static_cast<char>(bytes[at] ^ (1 << bit));
  Overwrite(path, at, {&changed, 1});
}

// A storage that another one serves until Kill(): from then on every call
// fails and its byte locks are free, as after the death of its process. It
// flushes nothing, which only a power loss could tell.
class MortalStorage final : public Storage {
 public:
  explicit MortalStorage(std::shared_ptr<Storage> base)
      : base_(std::move(base)), life_(std::make_shared<Life>()) {}
  static std::shared_ptr<MortalStorage> OfDirectory(const std::string& path) {
    auto base = OpenDirectory(path, DirectoryOptions{});
    REQUIRE(base.ok());
    return std::make_shared<MortalStorage>(*std::move(base));
  }

  void Kill() {
    life_->dead = true;
    life_->locks.clear();
  }
  // Called after each operation that may have changed files.
  void set_after_change(std::function<void()> call) {
    life_->after_change = std::move(call);
  }

  bool IsVolatile() const override { return base_->IsVolatile(); }
  uint64_t MaxBytes() const override { return base_->MaxBytes(); }
  std::string Describe() const override { return base_->Describe(); }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access access) override {
    if (life_->dead) return Death();
    auto file = base_->Open(name, access);
    if (!file.ok()) return file.status();
    return std::make_unique<MortalFile>(*std::move(file), life_);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override {
    if (life_->dead) return Death();
    return Made(base_->Create(name));
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(
      std::string_view name) override {
    if (life_->dead) return Death();
    return Made(base_->CreateNew(name));
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view name) override {
    if (life_->dead) return Death();
    auto locks = base_->OpenLocks(name);
    if (!locks.ok()) return locks.status();
    std::shared_ptr<ByteLocks> shared = *std::move(locks);
    life_->locks.push_back(shared);
    return std::make_unique<MortalLocks>(shared);
  }
  absl::Status MakeDirectory(std::string_view name) override {
    return Change([&] { return base_->MakeDirectory(name); });
  }
  absl::Status Rename(std::string_view from, std::string_view to) override {
    return Change([&] { return base_->Rename(from, to); });
  }
  absl::Status Remove(std::string_view name) override {
    return Change([&] { return base_->Remove(name); });
  }
  absl::Status SyncDirectory(std::string_view /*name*/) override {
    return Change([] { return absl::OkStatus(); });
  }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    if (life_->dead) return Death();
    return base_->List(directory);
  }

 private:
  struct Life {
    bool dead = false;
    std::vector<std::shared_ptr<ByteLocks>> locks{};
    std::function<void()> after_change{};

    void Changed() const {
      if (after_change) after_change();
    }
  };

  static absl::Status Death() {
    return MakeStatus(Code::kStorageError, "use storage: its process is dead");
  }

  class MortalFile final : public File {
   public:
    MortalFile(std::unique_ptr<File> base, std::shared_ptr<Life> life)
        : base_(std::move(base)), life_(std::move(life)) {}

    absl::StatusOr<uint64_t> Size() const override { return base_->Size(); }
    absl::StatusOr<FileIdentity> Identity() const override {
      return base_->Identity();
    }
    absl::StatusOr<std::unique_ptr<Region>> Map(Access access,
                                                size_t size) override {
      if (life_->dead) return Death();
      return base_->Map(access, size);
    }
    absl::StatusOr<std::string> ReadAll(size_t limit) const override {
      if (life_->dead) return Death();
      return base_->ReadAll(limit);
    }
    absl::Status Grow(uint64_t size) override {
      return Change([&] { return base_->Grow(size); });
    }
    absl::Status WriteAll(std::string_view bytes) override {
      return Change([&] { return base_->WriteAll(bytes); });
    }
    absl::Status Sync() override {
      return Change([] { return absl::OkStatus(); });
    }

   private:
    template <typename Operation>
    absl::Status Change(Operation operation) {
      if (life_->dead) return Death();
      absl::Status status = operation();
      life_->Changed();
      return status;
    }

    const std::unique_ptr<File> base_;
    const std::shared_ptr<Life> life_;
  };

  class MortalLocks final : public ByteLocks {
   public:
    explicit MortalLocks(const std::shared_ptr<ByteLocks>& base)
        : base_(base) {}

    absl::StatusOr<bool> TryLock(uint64_t byte) override {
      const auto base = base_.lock();
      return base == nullptr ? Death() : base->TryLock(byte);
    }
    absl::Status Unlock(uint64_t byte) override {
      const auto base = base_.lock();
      return base == nullptr ? Death() : base->Unlock(byte);
    }
    absl::StatusOr<bool> HeldElsewhere(uint64_t first,
                                       uint64_t count) const override {
      const auto base = base_.lock();
      return base == nullptr ? Death() : base->HeldElsewhere(first, count);
    }
    void AbandonAfterFork() override {}

   private:
    const std::weak_ptr<ByteLocks> base_;
  };

  absl::StatusOr<std::unique_ptr<File>> Made(
      absl::StatusOr<std::unique_ptr<File>> file) {
    if (!file.ok()) return file.status();
    life_->Changed();
    return std::make_unique<MortalFile>(*std::move(file), life_);
  }
  template <typename Operation>
  absl::Status Change(Operation operation) {
    if (life_->dead) return Death();
    absl::Status status = operation();
    life_->Changed();
    return status;
  }

  const std::shared_ptr<Storage> base_;
  const std::shared_ptr<Life> life_;
};

inline TimePoint InGoodTime() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(20);
}

// Small enough that a few messages fill several segments.
inline StoreOptions SmallStore() {
  StoreOptions options;
  options.first_segment_bytes = 8192;
  options.max_segment_bytes = 16384;
  options.slots = 8;
  options.bells = 4;
  options.window = 64;
  options.max_segments = 64;
  options.reserve_bytes = 8192;
  return options;
}

// One "process" that has a store open.
struct Handle {
  std::shared_ptr<MortalStorage> storage{};
  std::shared_ptr<Store> store{};

  // As kill -9 does. Whoever still holds the store can do nothing with it.
  void Kill() {
    storage->Kill();
    store.reset();
  }
  void Close() {
    const absl::Status status = store->Close(InGoodTime());
    CHECK_MESSAGE(status.ok(), status.message());
    store.reset();
  }
};

inline absl::StatusOr<Handle> TryOpen(std::shared_ptr<MortalStorage> storage,
                                      const TestMachine& machine,
                                      const StoreOptions& create) {
  StoreOpenOptions options;
  options.create = create;
  auto store = Store::Open(storage, &machine.environment, options, InGoodTime());
  if (!store.ok()) return store.status();
  return Handle{std::move(storage), *std::move(store)};
}

inline Handle OpenStore(const std::string& path, const TestMachine& machine,
                        const StoreOptions& create = SmallStore()) {
  auto handle = TryOpen(MortalStorage::OfDirectory(path), machine, create);
  REQUIRE_MESSAGE(handle.ok(), handle.status().message());
  return *std::move(handle);
}

inline void CreateQueue(Store& store, std::string_view name,
                        int32_t partitions = 1) {
  QueueOptions options;
  options.partitions = partitions;
  const absl::Status status =
      store.catalog().CreateQueue(name, options, InGoodTime());
  REQUIRE_MESSAGE(status.ok(), status.message());
}

// Sends in one batch. Returns: the outcome of each message.
inline std::vector<absl::StatusOr<SendResult>> TrySend(
    const std::shared_ptr<Store>& store, std::span<const Message> batch,
    TimePoint deadline = InGoodTime()) {
  struct Results final : driver::SendCompletion {
    void Sent(size_t index, const SendResult& result) override {
      all[index] = result;
    }
    void Failed(size_t index, absl::Status status) override {
      all[index] = std::move(status);
    }
    std::vector<absl::StatusOr<SendResult>> all{};
  } results;
  results.all.resize(batch.size());
  driver::CallContext context;
  context.deadline = deadline;
  ReferenceProducer producer(store, false);
  producer.Send(batch, context, results);
  return std::move(results.all);
}

inline Message MakeMessage(std::string_view body,
                           Durability durability = Durability::kDisk,
                           int32_t partition = 0) {
  Message message("orders", body);
  message.SetDurability(durability);
  message.SetPartition(partition);
  return message;
}

inline SendResult SendOne(const std::shared_ptr<Store>& store,
                          std::string_view body,
                          Durability durability = Durability::kDisk,
                          int32_t partition = 0) {
  const Message message = MakeMessage(body, durability, partition);
  auto results = TrySend(store, {&message, 1});
  REQUIRE_MESSAGE(results[0].ok(), results[0].status().message());
  return *results[0];
}

// Returns: whether `oms check` would call the store sound; what it says where
// it would not is shown.
inline bool IsSound(const std::string& path) {
  const auto report = CheckStore(path);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  if (report->damaged()) MESSAGE(report->ToText());
  return !report->damaged();
}

// Leaves a store nothing but its log.
inline void RemoveDerived(const std::string& path) {
  for (const char* const derived : {"/ctl", "/idx", "/ckpt/A", "/ckpt/B"}) {
    std::filesystem::remove(path + derived);
  }
}

// Time passes, by every clock.
inline void Advance(TestMachine& machine, std::chrono::milliseconds time) {
  machine.clock.boot_ns.fetch_add(
      std::chrono::nanoseconds(time).count());
  machine.clock.wall_ms.fetch_add(time.count());
}

// What a receiver sees of one message.
struct Seen {
  int32_t partition = 0;
  int64_t offset = 0;
  std::string body{};
  std::string id{};
  int32_t delivery_count = 0;

  auto Key() const {
    return std::tie(partition, offset, body, id, delivery_count);
  }
  friend bool operator==(const Seen& a, const Seen& b) {
    return a.Key() == b.Key();
  }
  friend bool operator<(const Seen& a, const Seen& b) {
    return a.Key() < b.Key();
  }
};

// A consumer of "orders".
class Member final : private driver::DeliverySink {
 public:
  Member(std::shared_ptr<Store> store, std::string_view group,
         std::chrono::milliseconds lease = std::chrono::seconds(30))
      : Member(std::move(store), group, "orders", lease) {}
  // A consumer of another queue.
  Member(std::shared_ptr<Store> store, std::string_view group,
         std::string_view queue,
         std::chrono::milliseconds lease = std::chrono::seconds(30))
      : queue_(queue) {
    driver::ConsumerOptions options;
    options.group = group;
    options.lease = lease;
    consumer_ = std::make_unique<ReferenceConsumer>(std::move(store), options,
                                                    ConsumerSettings{}, nullptr);
    const absl::Status bound = Bind();
    REQUIRE_MESSAGE(bound.ok(), bound.message());
  }
  // One that has not bound yet.
  Member(std::shared_ptr<Store> store, const driver::ConsumerOptions& options,
         const ConsumerSettings& settings)
      : consumer_(std::make_unique<ReferenceConsumer>(std::move(store), options,
                                                      settings, nullptr)) {}

  absl::Status Bind() { return consumer_->Bind(queue_, {}, InGoodTime()); }
  absl::Status Unbind() { return consumer_->Unbind(queue_, InGoodTime()); }

  // Takes what is there now, up to `max`; what is damaged goes to damage().
  std::vector<Seen> Take(size_t max = SIZE_MAX) {
    const size_t first = seen_.size();
    for (int rounds = 0; rounds < 100'000 && seen_.size() - first < max;
         ++rounds) {
      const size_t before = seen_.size();
      const absl::Status status =
          consumer_->Receive(std::min<size_t>(max - (before - first), 64),
                             std::chrono::steady_clock::now(), *this);
      if (!status.ok()) {
        damage_.push_back(status);
      } else if (seen_.size() == before) {
        break;
      }
    }
    return {seen_.begin() + static_cast<std::ptrdiff_t>(first), seen_.end()};
  }

  absl::Status Settle(size_t index, driver::Verb verb,
                      std::chrono::milliseconds duration = {}) {
    return Settle(receipts_[index], verb, duration);
  }
  absl::Status Settle(const Receipt& receipt, driver::Verb verb,
                      std::chrono::milliseconds duration = {}) {
    struct Results final : driver::SettleCompletion {
      void Settled(size_t, const Receipt&) override {}
      void Failed(size_t, absl::Status status) override {
        result = std::move(status);
      }
      absl::Status result{};
    } results;
    const driver::Settlement settlement{receipt, verb, duration};
    driver::CallContext context;
    context.deadline = InGoodTime();
    consumer_->Settle({&settlement, 1}, context, results);
    return results.result;
  }
  // Of the `index`th message that this member ever took.
  absl::Status Ack(size_t index) { return Settle(index, driver::Verb::kAck); }

  void Close() { CHECK(consumer_->Close(InGoodTime()).ok()); }

  const Receipt& receipt(size_t index) const { return receipts_.at(index); }
  const std::vector<absl::Status>& damage() const { return damage_; }

 private:
  void Deliver(Message message, const Receipt& receipt) override {
    seen_.push_back(
        {message.partition(), message.offset(), std::string(message.body()),
         message.message_id().ToString(), message.delivery_count()});
    receipts_.push_back(receipt);
  }

  const std::string queue_ = "orders";
  std::unique_ptr<ReferenceConsumer> consumer_;
  std::vector<Seen> seen_;
  std::vector<Receipt> receipts_;
  std::vector<absl::Status> damage_;
};

inline std::vector<std::string> BodiesOf(const std::vector<Seen>& all) {
  std::vector<std::string> bodies;
  for (const Seen& seen : all) bodies.push_back(seen.body);
  return bodies;
}

// Every message that the store has, by a group that nobody used before.
inline std::vector<Seen> AllStored(
    const std::shared_ptr<Store>& store,
    std::vector<absl::Status>* damage = nullptr) {
  static std::atomic<int> groups{0};
  Member member(store, "all-" + std::to_string(groups.fetch_add(1)));
  std::vector<Seen> all;
  // More than a window, so settle as they come.
  for (size_t next = 0;;) {
    const auto some = member.Take(16);
    if (some.empty()) break;
    for (size_t n = 0; n < some.size(); ++n) {
      CHECK(member.Ack(next++).ok());
    }
    all.insert(all.end(), some.begin(), some.end());
  }
  std::sort(all.begin(), all.end());
  if (damage != nullptr) *damage = member.damage();
  return all;
}

// A record in a segment file of a store that nobody has open.
struct RecordPlace {
  std::string file{};  // Relative to the store.
  uint64_t at = 0;     // In the file.
  RecordHeader header{};
  uint64_t salt = 0;

  uint64_t bytes() const { return CommitWord::Length(header.commit); }
  uint64_t padded() const { return PaddedBytes(bytes()); }
  RecordType type() const { return CommitWord::Type(header.commit); }
};

inline std::vector<std::string> SegmentFiles(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path + "/log")) {
    uint64_t base = 0;
    uint32_t epoch = 0;
    const std::string name = entry.path().filename();
    if (ParseSegmentName(name, base, epoch)) names.push_back("log/" + name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Walks the files on its own, so that the scanner is not judged by itself.
inline std::vector<RecordPlace> RecordsOf(const std::string& path) {
  std::vector<RecordPlace> all;
  for (const std::string& name : SegmentFiles(path)) {
    const std::string bytes = ReadFile(path + "/" + name);
    SegmentHeader segment;
    std::memcpy(&segment, bytes.data(), sizeof(segment));
    uint64_t at = kSegmentHeaderBytes;
    while (at + sizeof(RecordHeader) <= bytes.size()) {
      RecordPlace place{name, at, {}, segment.salt};
      std::memcpy(&place.header, bytes.data() + at, sizeof(RecordHeader));
      if (place.header.commit == 0 ||
          place.header.position != segment.base + at - kSegmentHeaderBytes ||
          SealOf(place.header, segment.salt) != place.header.header_checksum) {
        break;
      }
      all.push_back(place);
      at += place.padded();
    }
  }
  return all;
}

inline std::vector<RecordPlace> MessagesOf(const std::string& path) {
  auto all = RecordsOf(path);
  std::erase_if(all, [](const RecordPlace& place) {
    return place.type() != RecordType::kMessage;
  });
  return all;
}

}  // namespace openmessaging::reference::testing
#endif  // OPENMESSAGING_REFERENCE_TESTS_ENGINE_FIXTURE_H_
