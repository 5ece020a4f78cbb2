// SPDX-License-Identifier: Apache-2.0
//
// Receipt names one delivery of one message, so that it can be settled. The
// rules of settlement are in spec/consumer.md.

#ifndef OPENMESSAGING_RECEIPT_H_
#define OPENMESSAGING_RECEIPT_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging {
inline namespace v0 {

// A small printable value. What its token means is the driver's business; the
// source (Kafka: partition and generation; RabbitMQ: channel; MQTT: session)
// lets a whole assignment of deliveries be given up at once.
//
// It is good on the consumer that received it; on others, and in other
// processes, only where the capability shared-receipt is declared.
//
// Threads: a value. Tokens up to kInlineBytes cost no allocation.
// Implements: OMS-CONS-022.
class Receipt {
 public:
  static constexpr size_t kInlineBytes = 38;
  static constexpr size_t kMaxTokenBytes = 4096;

  // The empty receipt, of no delivery; settling it answers 1603.
  Receipt() = default;

  Receipt(uint64_t source, std::string_view token)
      : source_(source), size_(static_cast<uint16_t>(token.size())) {
    if (token.size() <= kInlineBytes) {
      std::memcpy(inline_.data(), token.data(), token.size());
    } else {
      large_ = std::make_shared<const std::string>(token);
    }
  }

  bool empty() const { return size_ == 0; }
  uint64_t source() const { return source_; }
  std::string_view token() const {
    return large_ ? std::string_view(*large_)
                  : std::string_view(inline_.data(), size_);
  }

  // Returns: `<source>.<token in hex>`, which Parse() reads.
  std::string ToString() const {
    std::string out = internal::Concat(source_, '.');
    internal::AppendHex(out, token());
    return out;
  }

  // Errors: 1603 text that ToString() cannot have made.
  static absl::StatusOr<Receipt> Parse(std::string_view text) {
    const size_t dot = text.find('.');
    uint64_t source = 0;
    std::string token;
    if (dot == std::string_view::npos ||
        text.size() - dot > 2 * kMaxTokenBytes + 1 ||
        !internal::ParseInteger(text.substr(0, dot), source) ||
        !internal::ParseHex(text.substr(dot + 1), token) || token.empty()) {
      return MakeStatus(Code::kReceiptInvalid,
                        "parse receipt: the text is not a receipt; expected "
                        "<source>.<hex digits>");
    }
    return Receipt(source, token);
  }

  friend bool operator==(const Receipt& a, const Receipt& b) {
    return a.source_ == b.source_ && a.token() == b.token();
  }

 private:
  uint64_t source_ = 0;
  uint16_t size_ = 0;
  std::array<char, kInlineBytes> inline_{};
  std::shared_ptr<const std::string> large_;
};

}  // namespace v0
}  // namespace openmessaging
#endif  // OPENMESSAGING_RECEIPT_H_
