// SPDX-License-Identifier: Apache-2.0

#define DOCTEST_CONFIG_IMPLEMENT
#include "hostile_files.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "checksum.h"
#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::reference {
namespace {

using fuzz::Expect;
using fuzz::Input;

// Time goes on by one step for each look.
class StepClock final : public Clock {
 public:
  int64_t BootNs() const override { return boot_ns_ += 1000; }
  int64_t WallMs() const override {
    return 1'790'000'000'000 + boot_ns_ / 1'000'000;
  }
  int64_t ExactWallMs() const override { return WallMs(); }
  uint64_t BootHash() const override { return 0xb007; }

 private:
  mutable std::atomic<int64_t> boot_ns_{3'600'000'000'000};
};

class StepRandom final : public Random {
 public:
  uint64_t Next() override {
    return Mix64(state_.fetch_add(0x9e3779b97f4a7c15));
  }

 private:
  std::atomic<uint64_t> state_{1};
};

Samples MakeSamples() {
  // The same store in each process, so that a finding can be replayed.
  static StepClock clock;
  static StepRandom random;
  Environment& machine = Environment::OfMachine();
  // Not leaks.
  static const Environment original = machine;
  machine.clock = &clock;
  machine.random = &random;
  // What makes and opens the sample has the assertions of a test.
  static doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler([](const doctest::AssertData& failed) {
    Expect(!failed.m_failed, "a test would fail", failed.m_expr);
  });
  Samples samples;
  samples.store = damage::MakeSampleStore();
  samples.closed = damage::RecordsOf(samples.store.closed);
  samples.crashed = damage::RecordsOf(samples.store.crashed);
  samples.questions = damage::QuestionsOf(samples.store);
  return samples;
}

class CopyRegion final : public Region {
 public:
  CopyRegion(std::unique_ptr<char[]> bytes, size_t size)
      : Region(bytes.get(), size), bytes_(std::move(bytes)) {}

 private:
  const std::unique_ptr<char[]> bytes_;
};

class CopyFile final : public File {
 public:
  CopyFile(damage::Content content, FileIdentity identity)
      : content_(std::move(content)), identity_(identity) {}

  absl::StatusOr<uint64_t> Size() const override { return content_->size(); }
  absl::StatusOr<FileIdentity> Identity() const override { return identity_; }
  absl::StatusOr<std::unique_ptr<Region>> Map(Access /*access*/,
                                              size_t size) override {
    // Whoever maps more may not touch it.
    auto bytes = std::make_unique_for_overwrite<char[]>(
        std::min(size, content_->size()));
    std::memcpy(bytes.get(), content_->data(),
                std::min(size, content_->size()));
    return std::make_unique<CopyRegion>(std::move(bytes), size);
  }
  absl::Status Grow(uint64_t /*size*/) override { return Refusal(); }
  absl::StatusOr<std::string> ReadAll(size_t limit) const override {
    return content_->substr(0, limit);
  }
  absl::Status WriteAll(std::string_view /*bytes*/) override {
    return Refusal();
  }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  static absl::Status Refusal() {
    return MakeStatus(Code::kForbidden, "write: the files are only read");
  }

  const damage::Content content_;
  const FileIdentity identity_;
};

class CopyStorage final : public Storage {
 public:
  explicit CopyStorage(const damage::Image& image) : image_(image) {}

  bool IsVolatile() const override { return false; }
  uint64_t MaxBytes() const override { return 0; }
  std::string Describe() const override { return "image"; }
  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name,
                                             Access /*access*/) override {
    const auto found = image_.files.find(std::string(name));
    if (found == image_.files.end()) {
      return MakeStatus(Code::kQueueNotFound, "open \"", name,
                        "\": no such file in the image");
    }
    const auto known = image_.identities.find(found->first);
    return std::make_unique<CopyFile>(
        found->second,
        known == image_.identities.end() ? FileIdentity{} : known->second);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view) override {
    return Refusal();
  }
  absl::StatusOr<std::unique_ptr<File>> CreateNew(std::string_view) override {
    return Refusal();
  }
  absl::StatusOr<std::unique_ptr<ByteLocks>> OpenLocks(
      std::string_view) override {
    return Refusal();
  }
  absl::Status MakeDirectory(std::string_view) override { return Refusal(); }
  absl::Status Rename(std::string_view, std::string_view) override {
    return Refusal();
  }
  absl::Status Remove(std::string_view) override { return Refusal(); }
  absl::Status SyncDirectory(std::string_view) override { return Refusal(); }
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view directory) const override {
    std::set<std::string> names;
    const std::string prefix =
        directory.empty() ? "" : std::string(directory) + "/";
    for (const auto& [name, content] : image_.files) {
      if (!name.starts_with(prefix)) continue;
      const std::string rest = name.substr(prefix.size());
      names.insert(rest.substr(0, rest.find('/')));
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

 private:
  static absl::Status Refusal() {
    return MakeStatus(Code::kForbidden, "the files are only read");
  }

  const damage::Image& image_;
};

}  // namespace

const Samples& Samples::Get() {
  static const Samples samples = MakeSamples();
  return samples;
}

HostileFiles::HostileFiles(bool crashed)
    : image_(crashed ? Samples::Get().store.crashed
                     : Samples::Get().store.closed),
      records_(crashed ? &Samples::Get().crashed : &Samples::Get().closed) {}

std::string& HostileFiles::Bytes(const std::string& file) {
  const auto found = changed_.find(file);
  if (found != changed_.end()) return found->second;
  return changed_[file] = image_.Of(file);
}

void HostileFiles::Cut(const std::string& file, size_t bytes) {
  std::string& all = Bytes(file);
  if (bytes < all.size()) all.resize(bytes);
}

void HostileFiles::Remove(const std::string& file) {
  image_.files.erase(file);
  changed_.erase(file);
}

const damage::Image& HostileFiles::Finish() {
  for (auto& [name, bytes] : changed_) image_.Set(name, std::move(bytes));
  changed_.clear();
  return image_;
}

void HostileFiles::CheckSent(const std::string& body,
                             const std::string& content) const {
  if (forged_) return;
  const auto& all = Samples::Get().store.sent;
  const auto sent = all.find(body);
  Expect(sent != all.end(), "a message that nobody sent", body);
  Expect(sent->second == content, "an altered message", body);
}

std::unique_ptr<Storage> OpenToRead(const damage::Image& image) {
  return std::make_unique<CopyStorage>(image);
}

uint64_t HostileNumber(Input& input, uint64_t old) {
  constexpr uint64_t kLimits[] = {
      0, 1, 31, 63, 64, 4096, 0xffff, 1u << 31, 0xffffffff, ~uint64_t{0},
      uint64_t{1} << 63, uint64_t{1} << 52, (uint64_t{1} << 48) - 1};
  switch (input.Pick(6)) {
    case 0:
      return kLimits[input.Pick(std::size(kLimits))];
    case 1:
      return old + input.Byte();
    case 2:
      return old - input.Byte();
    case 3:
      return old + 32 * input.Number<2>();
    case 4:
      return old ^ uint64_t{1} << input.Pick(64);
    default:
      return input.Number();
  }
}

void ChangeNumber(Input& input, std::string& bytes, size_t at, size_t size) {
  if (at > bytes.size() || size > bytes.size() - at) return;
  uint64_t number = 0;
  std::memcpy(&number, bytes.data() + at, size);
  number = HostileNumber(input, number);
  std::memcpy(bytes.data() + at, &number, size);
}

}  // namespace openmessaging::reference
