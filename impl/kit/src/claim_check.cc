// SPDX-License-Identifier: Apache-2.0

#include "openmessaging/kit/claim_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "body_codec.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/internal/utf8.h"
#include "openmessaging/key_value.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {
namespace kit {
namespace {

using internal::Concat;

// While it is written.
constexpr std::string_view kUnfinished = ".part";
constexpr size_t kNameBytes = 16;

// Closes a descriptor at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }
  bool ok() const { return number_ >= 0; }

 private:
  const int number_;
};

// What a claim says: "<name> <bytes> <checksum>", each in hexadecimal.
struct Claim {
  std::string name{};
  uint64_t bytes = 0;
  uint32_t checksum = 0;
};

std::string Hex(uint64_t number) {
  std::array<char, 16> digits{};
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return {digits.data(), end.ptr};
}

template <typename Number>
bool ParseHexNumber(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number, 16);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

bool IsName(std::string_view text) {
  return text.size() == 2 * kNameBytes &&
         text.find_first_not_of(internal::kHexDigits) == text.npos;
}

std::string TextOf(const Claim& claim) {
  return Concat(std::string_view(claim.name), ' ', Hex(claim.bytes), ' ',
                Hex(claim.checksum));
}

// Returns: nothing where a text is no claim. A name comes from outside: what
// passes is a name in the directory and nothing else.
std::optional<Claim> ParseClaim(std::string_view text) {
  const size_t first = text.find(' ');
  const size_t last = text.rfind(' ');
  if (first == std::string_view::npos || last == first) return std::nullopt;
  Claim claim{std::string(text.substr(0, first))};
  if (!IsName(claim.name) ||
      !ParseHexNumber(text.substr(first + 1, last - first - 1), claim.bytes) ||
      !ParseHexNumber(text.substr(last + 1), claim.checksum)) {
    return std::nullopt;
  }
  return claim;
}

uint32_t ChecksumOf(std::string_view bytes) {
  // ISA-L takes an int length and a pointer that it only reads.
  constexpr size_t kStep = size_t{1} << 30;
  uint32_t crc = ~uint32_t{0};
  for (size_t at = 0; at < bytes.size(); at += kStep) {
    const std::string_view part = bytes.substr(at, kStep);
    crc = crc32_iscsi(
        reinterpret_cast<unsigned char*>(const_cast<char*>(part.data())),
        static_cast<int>(part.size()), crc);
  }
  return ~crc;
}

absl::StatusOr<std::string> NewName() {
  std::array<char, kNameBytes> random{};
  if (getrandom(random.data(), kNameBytes, 0) !=
      static_cast<ssize_t>(kNameBytes)) {
    return MakeStatus(Code::kStorageError,
                      "claim body: there are no random numbers");
  }
  std::string name;
  internal::AppendHex(name, {random.data(), random.size()});
  return name;
}

// Of a call that failed just now.
absl::Status SystemFailure(std::string_view operation, std::string_view path) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  return MakeStatus(full ? Code::kStorageBusy : Code::kStorageError, operation,
                    " \"", internal::Printable(path), "\": ",
                    std::string_view(strerror(error)), " (OMS-CLAIM-005)");
}

bool WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Returns: false where a read fails, or the file is shorter than `bytes`.
bool ReadAll(int file, std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(file, bytes.data() + done, bytes.size() - done);
    if (got == 0) return false;
    if (got < 0 && errno != EINTR) return false;
    if (got > 0) done += static_cast<size_t>(got);
  }
  return true;
}

bool SyncDirectory(const std::string& path) {
  const Descriptor directory(
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.ok() && fsync(directory.get()) == 0;
}

// The blob under its name, on stable storage.
absl::Status WriteBlob(const std::string& directory, const std::string& name,
                       std::string_view bytes) {
  const std::string path = Concat(std::string_view(directory), '/',
                                  std::string_view(name));
  const std::string unfinished = path + std::string(kUnfinished);
  const auto fail = [&](std::string_view operation) {
    absl::Status status = SystemFailure(operation, path);
    unlink(unfinished.c_str());
    return status;
  };
  {
    const Descriptor file(open(unfinished.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
                                   O_CLOEXEC,
                               0600));
    if (!file.ok()) return fail("make blob");
    if (!WriteAll(file.get(), bytes)) return fail("write blob");
    if (fsync(file.get()) != 0) return fail("flush blob");
  }
  if (rename(unfinished.c_str(), path.c_str()) != 0) return fail("name blob");
  if (!SyncDirectory(directory)) {
    absl::Status status = SystemFailure("flush the directory of blob", path);
    unlink(path.c_str());
    return status;
  }
  return absl::OkStatus();
}

absl::Status Refuse(const Message& message, std::string_view what) {
  return MakeStatus(Code::kDamaged, "redeem the claim of a message of \"",
                    internal::Printable(message.destination()), "\": ", what,
                    " (OMS-CLAIM-004)");
}

absl::StatusOr<std::string> ReadBlob(const std::string& directory,
                                     const Claim& claim,
                                     const Message& message) {
  const std::string path = Concat(std::string_view(directory), '/',
                                  std::string_view(claim.name));
  const Descriptor file(
      open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file.ok()) {
    if (errno == ENOENT) {
      return Refuse(message, Concat("blob \"", std::string_view(claim.name),
                                    "\" is not there; expected it to be kept "
                                    "as long as its message"));
    }
    return SystemFailure("open blob", path);
  }
  struct stat stat {};
  if (fstat(file.get(), &stat) != 0) return SystemFailure("look at blob", path);
  if (!S_ISREG(stat.st_mode) ||
      static_cast<uint64_t>(stat.st_size) != claim.bytes) {
    return Refuse(message, "the blob is not as long as the claim says");
  }
  std::string bytes(claim.bytes, '\0');
  if (!ReadAll(file.get(), bytes)) return SystemFailure("read blob", path);
  if (ChecksumOf(bytes) != claim.checksum) {
    return Refuse(message, "the checksum of the blob is wrong");
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ClaimCheck>> ClaimCheck::Create(
    ClaimCheckOptions options) {
  const std::string& path = options.directory;
  if (path.empty()) {
    return MakeStatus(Code::kBadParameter,
                      "create claim check: there is no directory; expected one "
                      "(directory, OMS-CLAIM-001)");
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return SystemFailure("make directory", path);
  }
  struct stat stat {};
  if (lstat(path.c_str(), &stat) != 0) {
    return SystemFailure("look at directory", path);
  }
  if (!S_ISDIR(stat.st_mode) || stat.st_uid != geteuid() ||
      (stat.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return MakeStatus(Code::kForbidden, "create claim check \"",
                      internal::Printable(path),
                      "\": expected a directory of this user in which nobody "
                      "else may write (OMS-CLAIM-001)");
  }
  return std::shared_ptr<ClaimCheck>(new ClaimCheck(std::move(options)));
}

ClaimCheck::ClaimCheck(ClaimCheckOptions options)
    : options_(std::move(options)) {}

absl::Status ClaimCheck::BeforeSend(Message& message) {
  if (message.properties().Contains(kClaimProperty)) {
    return MakeStatus(Code::kBadParameter, "claim the body of a message of \"",
                      internal::Printable(message.destination()),
                      "\": property \"", kClaimProperty,
                      "\" is set; expected a message without (OMS-CLAIM-002)");
  }
  const std::string_view body = message.body();
  if (body.size() <= options_.max_inline_bytes) return absl::OkStatus();
  if (body.size() > options_.max_body_bytes) {
    return MakeStatus(Code::kBodyTooLarge, "claim the body of a message of \"",
                      internal::Printable(message.destination()),
                      "\": it is ", body.size(), " bytes; limit is ",
                      options_.max_body_bytes,
                      " (max_body_bytes, OMS-CLAIM-003)");
  }
  auto name = NewName();
  if (!name.ok()) return name.status();
  const Claim claim{*std::move(name), body.size(), ChecksumOf(body)};
  absl::Status status = WriteBlob(options_.directory, claim.name, body);
  if (!status.ok()) {
    StatusDetail detail = DetailOf(status);
    detail.outcome = Outcome::kNotStored;
    return WithDetail(status, detail);
  }
  message.SetBody({});
  return message.SetProperty(kClaimProperty, TextOf(claim));
}

void ClaimCheck::AfterSend(const Message& message,
                           const absl::StatusOr<SendResult>& result) {
  if (result.ok() || DetailOf(result.status()).outcome != Outcome::kNotStored) {
    return;
  }
  const auto text =
      message.properties().Get<std::string_view>(kClaimProperty);
  const auto claim = ParseClaim(text.value_or(std::string_view()));
  if (!claim) return;
  unlink((options_.directory + '/' + claim->name).c_str());
}

absl::Status ClaimCheck::BeforeReceive(Message& message) {
  const KeyValueView properties = message.properties();
  if (!properties.Contains(kClaimProperty)) return absl::OkStatus();
  const auto text = properties.Get<std::string_view>(kClaimProperty);
  const auto claim = ParseClaim(text.value_or(std::string_view()));
  if (!claim) return Refuse(message, "it names no blob");
  if (claim->bytes > options_.max_body_bytes) {
    return MakeStatus(Code::kBodyTooLarge, "redeem the claim of a message of \"",
                      internal::Printable(message.destination()),
                      "\": the body is ", claim->bytes, " bytes; limit is ",
                      options_.max_body_bytes,
                      " (max_body_bytes, OMS-CLAIM-003)");
  }
  const auto body = ReadBlob(options_.directory, *claim, message);
  if (!body.ok()) return body.status();
  KeyValue rest(properties);
  rest.Remove(kClaimProperty);
  ReplaceBody(message, *body);
  message.SetProperties(rest.view());
  return absl::OkStatus();
}

absl::StatusOr<size_t> ClaimCheck::RemoveOlderThan(std::chrono::seconds age) {
  DIR* const directory = opendir(options_.directory.c_str());
  if (directory == nullptr) {
    return SystemFailure("list directory", options_.directory);
  }
  const int64_t before = static_cast<int64_t>(time(nullptr)) - age.count();
  size_t removed = 0;
  while (const dirent* const entry = readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name.ends_with(kUnfinished)) name.remove_suffix(kUnfinished.size());
    struct stat stat {};
    if (!IsName(name) ||
        fstatat(dirfd(directory), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) !=
            0 ||
        static_cast<int64_t>(stat.st_mtime) >= before) {
      continue;
    }
    if (unlinkat(dirfd(directory), entry->d_name, 0) == 0) ++removed;
  }
  closedir(directory);
  return removed;
}

}  // namespace kit
}  // namespace v0
}  // namespace openmessaging
