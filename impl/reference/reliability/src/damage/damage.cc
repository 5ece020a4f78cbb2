// SPDX-License-Identifier: Apache-2.0

#include "damage/damage.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <random>
#include <sstream>
#include <utility>

#include "doctest/doctest.h"

namespace openmessaging::reference::damage {
namespace {

constexpr uint64_t kPageBytes = 4096;

constexpr std::array<const char*, 15> kWords = {
    "flip",    "cut",        "zeros",        "ones",       "noise",
    "stale",   "swap-pages", "swap-records", "swap-files", "duplicate",
    "foreign", "delete",     "length",       "fields",     "version"};

// Notes [first, end) of a file where two versions of it differ.
void NoteChange(const std::string& file, const std::string& before,
                const std::string& after, std::vector<Range>& hit) {
  const size_t common = std::min(before.size(), after.size());
  size_t first = 0;
  while (first < common && before[first] == after[first]) ++first;
  if (first == common && before.size() == after.size()) return;
  size_t end = std::max(before.size(), after.size());
  if (before.size() == after.size()) {
    while (end > first && before[end - 1] == after[end - 1]) --end;
  }
  hit.push_back({file, first, end});
}

void ReplacePage(const Damage& damage, const SampleStore& sample,
                 std::string& bytes) {
  const uint64_t size = std::min(kPageBytes, bytes.size() - damage.at);
  if (damage.kind == Kind::kStale) {
    const Image& old = sample.earlier[damage.value];
    if (!old.Has(damage.file)) return;
    const std::string& before = old.Of(damage.file);
    if (before.size() < damage.at + size) return;
    bytes.replace(damage.at, size, before, damage.at, size);
    return;
  }
  std::mt19937_64 random(damage.value);
  for (uint64_t n = 0; n < size; ++n) {
    bytes[damage.at + n] = damage.kind == Kind::kZeros ? '\0'
                           : damage.kind == Kind::kOnes
                               ? '\xff'
                               : static_cast<char>(random());
  }
}

// Sets a length in a record and makes its checksum right.
void SetLength(const Damage& damage, std::string& bytes) {
  SegmentHeader segment;
  std::memcpy(&segment, bytes.data(), sizeof(segment));
  RecordHeader header;
  std::memcpy(&header, bytes.data() + damage.at, sizeof(header));
  const auto value = static_cast<uint32_t>(damage.value);
  if (damage.kind == Kind::kFields) {
    header.fields_bytes = value;
  } else {
    header.commit = CommitWord::Make(value, CommitWord::Type(header.commit),
                                     CommitWord::Flags(header.commit),
                                     header.sequence, segment.salt);
  }
  header.header_checksum = SealOf(header, segment.salt);
  std::memcpy(bytes.data() + damage.at, &header, sizeof(header));
}

void SetVersion(const Damage& damage, std::string& bytes) {
  const auto major = static_cast<uint16_t>(damage.value);
  if (damage.file == "STORE") {
    StoreFile store;
    std::memcpy(&store, bytes.data(), sizeof(store));
    store.major = major;
    store.checksum = Crc32c(0, &store, offsetof(StoreFile, checksum));
    std::memcpy(bytes.data(), &store, sizeof(store));
    return;
  }
  SegmentHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.major = major;
  header.checksum = SealOf(header);
  std::memcpy(bytes.data(), &header, sizeof(header));
}

void SwapRecords(const Damage& damage, std::string& bytes) {
  const auto length_of = [&](uint64_t at) {
    RecordHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    return uint64_t{PaddedBytes(header)};
  };
  const uint64_t length =
      std::min(length_of(damage.at), length_of(damage.value));
  for (uint64_t n = 0; n < length; ++n) {
    std::swap(bytes[damage.at + n], bytes[damage.value + n]);
  }
}

void SwapPages(const Damage& damage, Image& image) {
  std::string one = image.Of(damage.file);
  if (damage.file == damage.other) {
    std::swap_ranges(
        one.begin() + static_cast<ptrdiff_t>(damage.at),
        one.begin() + static_cast<ptrdiff_t>(damage.at + kPageBytes),
        one.begin() + static_cast<ptrdiff_t>(damage.value));
    image.Set(damage.file, std::move(one));
    return;
  }
  std::string two = image.Of(damage.other);
  std::swap_ranges(one.begin() + static_cast<ptrdiff_t>(damage.at),
                   one.begin() + static_cast<ptrdiff_t>(damage.at + kPageBytes),
                   two.begin() + static_cast<ptrdiff_t>(damage.value));
  image.Set(damage.file, std::move(one));
  image.Set(damage.other, std::move(two));
}

void ChangeBytes(const Damage& damage, const SampleStore& sample,
                 Image& image) {
  std::string bytes = image.Of(damage.file);
  switch (damage.kind) {
    case Kind::kFlip:
      bytes[damage.at] =
          static_cast<char>(bytes[damage.at] ^ (1 << damage.value));
      break;
    case Kind::kCut:
      bytes.resize(damage.at);
      break;
    case Kind::kLength:
    case Kind::kFields:
      SetLength(damage, bytes);
      break;
    case Kind::kVersion:
      SetVersion(damage, bytes);
      break;
    case Kind::kSwapRecords:
      SwapRecords(damage, bytes);
      break;
    default:
      ReplacePage(damage, sample, bytes);
  }
  image.Set(damage.file, std::move(bytes));
}

}  // namespace

std::string Damage::ToText() const {
  std::ostringstream out;
  out << kWords[static_cast<size_t>(kind)] << ' ' << file << ' ' << at << ' '
      << value << ' ' << (other.empty() ? "-" : other);
  return out.str();
}

std::optional<Damage> Damage::Parse(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string word;
  Damage damage;
  if (!(in >> word >> damage.file >> damage.at >> damage.value >>
        damage.other)) {
    return std::nullopt;
  }
  if (damage.other == "-") damage.other.clear();
  const auto* const found = std::find(kWords.begin(), kWords.end(), word);
  if (found == kWords.end()) return std::nullopt;
  damage.kind = static_cast<Kind>(found - kWords.begin());
  return damage;
}

Damaged Apply(const Damage& damage, const SampleStore& sample,
              const Image& image) {
  Damaged result{image, {}};
  Image& now = result.image;
  switch (damage.kind) {
    case Kind::kDelete:
      now.files.erase(damage.file);
      break;
    case Kind::kSwapFiles:
      std::swap(now.files[damage.file], now.files[damage.other]);
      break;
    case Kind::kDuplicate:
      now.files[damage.other] = image.files.at(damage.file);
      break;
    case Kind::kForeign:
      now.files[damage.file] = sample.foreign.files.at(damage.other);
      break;
    case Kind::kSwapPages:
      SwapPages(damage, now);
      break;
    default:
      ChangeBytes(damage, sample, now);
  }
  for (const auto& [name, content] : image.files) {
    if (!now.Has(name)) {
      result.hit.push_back({name, 0, content->size() + 1});
    } else if (now.files[name] != content) {
      NoteChange(name, *content, now.Of(name), result.hit);
    }
  }
  for (const auto& [name, content] : now.files) {
    if (!image.Has(name)) result.hit.push_back({name, 0, content->size()});
  }
  return result;
}

std::vector<std::string> SegmentsOf(const Image& image) {
  std::vector<std::string> names;
  for (const auto& [name, content] : image.files) {
    if (name.starts_with("log/") && name.ends_with(".seg")) {
      names.push_back(name);
    }
  }
  return names;
}

std::vector<Record> RecordsOf(const Image& image) {
  std::vector<Record> all;
  for (const std::string& name : SegmentsOf(image)) {
    const std::string& bytes = image.Of(name);
    SegmentHeader segment;
    REQUIRE(bytes.size() >= kSegmentHeaderBytes);
    std::memcpy(&segment, bytes.data(), sizeof(segment));
    uint64_t at = kSegmentHeaderBytes;
    while (at + sizeof(RecordHeader) <= bytes.size()) {
      Record record{name, at, {}, segment.salt};
      std::memcpy(&record.header, bytes.data() + at, sizeof(RecordHeader));
      if (record.header.commit == 0 ||
          record.header.position != segment.base + at - kSegmentHeaderBytes ||
          SealOf(record.header, segment.salt) !=
              record.header.header_checksum) {
        break;
      }
      at += record.bytes();
      all.push_back(std::move(record));
    }
  }
  return all;
}

}  // namespace openmessaging::reference::damage
