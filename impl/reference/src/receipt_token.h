// SPDX-License-Identifier: Apache-2.0
//
// What a receipt of the reference driver says: which word of which window.

#ifndef OPENMESSAGING_REFERENCE_RECEIPT_TOKEN_H_
#define OPENMESSAGING_REFERENCE_RECEIPT_TOKEN_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "checksum.h"
#include "format.h"
#include "openmessaging/receipt.h"

namespace openmessaging::reference {

struct ReceiptToken {
  uint32_t group = 0;
  uint32_t queue_partition = 0;
  uint64_t offset = 0;
  uint64_t word = 0;
  // How often the group had been moved in that partition.
  uint32_t seeks = 0;
  uint32_t seal = 0;  // Binds the rest to one store.
};
static_assert(sizeof(ReceiptToken) <= Receipt::kInlineBytes);

// Makes and reads receipts of one store. The seal keeps accidents out (another
// store's receipt, a cut one), not a peer of the same user, who could change
// the files as well.
class ReceiptCodec {
 public:
  explicit ReceiptCodec(const StoreUuid& uuid) {
    std::memcpy(&secret_, uuid.data(), sizeof(secret_));
  }

  // `source`: which binding of which consumer delivers it.
  Receipt Make(ReceiptToken token, uint64_t source) const {
    token.seal = Seal(token);
    return Receipt(source, {reinterpret_cast<const char*>(&token), sizeof(token)});
  }

  // Returns: nothing for a receipt that this store never made.
  std::optional<ReceiptToken> Read(const Receipt& receipt) const {
    ReceiptToken token;
    if (receipt.token().size() != sizeof(token)) return std::nullopt;
    std::memcpy(&token, receipt.token().data(), sizeof(token));
    if (token.seal != Seal(token)) return std::nullopt;
    return token;
  }

 private:
  uint32_t Seal(const ReceiptToken& token) const {
    const uint64_t place =
        uint64_t{token.group} << 32 | token.queue_partition;
    return static_cast<uint32_t>(
        Mix64(Mix64(Mix64(Mix64(place ^ secret_) ^ token.offset) ^ token.word) ^
              token.seeks));
  }

  uint64_t secret_ = 0;
};

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_RECEIPT_TOKEN_H_
