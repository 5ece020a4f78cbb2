// SPDX-License-Identifier: Apache-2.0
//
// Reads a store's files by spec/file-store.md alone: nothing of the engine is
// included, and every number here stands on that page.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "store_fixture.h"

namespace openmessaging::reference::file_format_test {
namespace {

// CRC-32C, bit by bit.
uint32_t Crc(uint32_t seed, std::string_view bytes) {
  uint32_t crc = ~seed;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    }
  }
  return ~crc;
}

uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdU;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53U;
  return x ^ x >> 33;
}

// A file's bytes.
class Image {
 public:
  explicit Image(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }

  std::string_view Bytes(size_t at, size_t size) const {
    REQUIRE(at + size <= bytes_.size());
    return std::string_view(bytes_).substr(at, size);
  }
  template <typename T>
  T At(size_t at) const {
    T value{};
    std::memcpy(&value, Bytes(at, sizeof(T)).data(), sizeof(T));
    return value;
  }
  size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
};

std::vector<std::string> FilesIn(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().string());
  }
  return names;
}

struct Record {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint64_t sequence = 0;
  uint32_t queue_partition = 0;
  uint32_t epoch = 0;
  uint64_t offset = 0;
  std::string fields{};
  std::string body{};
};

// Reads a segment of the base 0 up to its unused rest.
std::vector<Record> RecordsOf(const Image& segment) {
  const auto salt = segment.At<uint64_t>(64);
  std::vector<Record> records;
  size_t at = 4096;
  while (at + 64 <= segment.size() && segment.At<uint64_t>(at) != 0) {
    const auto word = segment.At<uint64_t>(at);
    const auto length = static_cast<uint32_t>(word);
    Record record;
    record.type = static_cast<uint8_t>(word >> 32);
    record.flags = static_cast<uint8_t>(word >> 40);
    record.sequence = segment.At<uint64_t>(at + 16);
    record.queue_partition = segment.At<uint32_t>(at + 32);
    record.epoch = segment.At<uint32_t>(at + 36);
    record.offset = segment.At<uint64_t>(at + 40);
    const auto fields = segment.At<uint32_t>(at + 60);
    record.fields = segment.Bytes(at + 64, fields);
    record.body = segment.Bytes(at + 64 + fields, length - 64 - fields);

    CHECK((word >> 48) == ((record.sequence ^ salt) & 0xffff));
    CHECK((record.flags & 1) == 0);
    const uint64_t sealed = word & ~(uint64_t{1} << 40);
    const uint32_t seed = Crc(
        static_cast<uint32_t>(salt ^ salt >> 32),
        {reinterpret_cast<const char*>(&sealed), sizeof(sealed)});
    CHECK(segment.At<uint32_t>(at + 8) == Crc(seed, segment.Bytes(at + 16, 48)));
    CHECK(segment.At<uint32_t>(at + 12) ==
          Crc(0, segment.Bytes(at + 64, length - 64)));
    CHECK(segment.At<uint64_t>(at + 24) == at - 4096);
    CHECK(record.sequence == records.size() + 1);
    records.push_back(record);
    at += (length + 31) / 32 * 32;
  }
  return records;
}

TEST_CASE("OMS-REF-025: a store's files are as the specification says") {
  using std::string_view_literals::operator""sv;
  const FilePlace place;
  std::string id;
  {
    const auto bus = ConnectWith(place.Url(), "q");
    Message message("q", "hello");
    message.SetMessageKey("k");
    Must(message.SetProperty("tries", int64_t{2}));
    id = SendOne(bus, message).message_id.ToString();
    PullConsumer consumer = Consume(bus, "q", {.group = "g"});
    Must(Take(consumer).Ack());
  }

  const Image store(place.path() + "/STORE");
  REQUIRE(store.size() == 128);
  CHECK(store.Bytes(0, 8) == "OSTORE01");
  CHECK(store.At<uint16_t>(8) == 0);
  CHECK(store.At<uint16_t>(10) == 6);
  CHECK(store.At<uint32_t>(12) == 128);
  CHECK(store.At<uint64_t>(64) == 1 << 20);
  CHECK(store.At<uint64_t>(72) == 64 << 20);
  CHECK(store.At<uint64_t>(112) == 256 << 10);
  CHECK(store.At<uint32_t>(124) == Crc(0, store.Bytes(0, 124)));

  const auto segments = FilesIn(place.path() + "/log");
  REQUIRE(segments.size() == 1);
  CHECK(segments[0].ends_with("/0000000000000000-00000001.seg"));
  const Image segment(segments[0]);
  CHECK(segment.Bytes(0, 8) == "OMSSEG01");
  CHECK(segment.Bytes(24, 16) == store.Bytes(24, 16));
  CHECK(segment.At<uint64_t>(48) == segment.size() - 4096);
  CHECK(segment.At<uint32_t>(84) == Crc(0, segment.Bytes(0, 84)));
  CHECK(segment.At<uint32_t>(116) ==
        Crc(static_cast<uint32_t>(Mix(segment.At<uint64_t>(64))),
            segment.Bytes(88, 28)));

  const auto records = RecordsOf(segment);
  REQUIRE(records.size() >= 4);
  CHECK(records[0].type == 10);  // QUEUE
  CHECK(records[0].queue_partition == 1 << 10);
  CHECK(records[0].body ==
        "\x07\x04name\x01q\x03\x0apartitions\x01\x00\x00\x00"sv);
  CHECK(records[1].type == 1);  // MESSAGE
  CHECK(records[1].flags == 4);
  CHECK(records[1].queue_partition == 1 << 10);
  CHECK(records[1].offset == 0);
  // When it was born is there where a millisecond went by until it was stored.
  std::string_view fields = records[1].fields;
  if (fields.starts_with("\x05\x08"sv)) fields.remove_prefix(10);
  CHECK(fields ==
        "\x0d\x01k\x7f\x0f\x04\x05tries\x02\x00\x00\x00\x00\x00\x00\x00"sv);
  CHECK(records[1].body == "hello");
  CHECK(id.ends_with('-' + std::to_string(records[1].epoch) + "-2"));
  CHECK(records[2].type == 11);  // GROUP
  CHECK(records[2].body.starts_with("\x07\x04name\x01g"));
  // The last one is the image of a cursor that has settled the message.
  const Record& image = records.back();
  CHECK(image.type == 2);  // ACK-RANGE
  CHECK(image.offset == records[2].offset);
  REQUIRE(image.body.size() == 32);
  uint64_t floor = 0;
  std::memcpy(&floor, image.body.data() + 16, sizeof(floor));
  CHECK(floor == 1);
}

}  // namespace
}  // namespace openmessaging::reference::file_format_test
