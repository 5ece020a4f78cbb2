// SPDX-License-Identifier: Apache-2.0
//
// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, public domain):
// a keyed hash, so that nobody who does not know the key can make two texts of
// one hash. It is part of the format.

#ifndef OPENMESSAGING_REFERENCE_SIP_HASH_H_
#define OPENMESSAGING_REFERENCE_SIP_HASH_H_

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace openmessaging::reference {

using Hash128 = std::array<uint64_t, 2>;
using SipKey = std::array<uint64_t, 2>;

class SipState {
 public:
  explicit SipState(const SipKey& key)
      : v_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d ^ 0xee,
           key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573} {}

  void Add(uint64_t word) {
    v_[3] ^= word;
    Rounds(2);
    v_[0] ^= word;
  }
  // Begins an output word.
  void Mark(size_t word, uint64_t mark) {
    v_[word] ^= mark;
    Rounds(4);
  }
  uint64_t Fold() const { return v_[0] ^ v_[1] ^ v_[2] ^ v_[3]; }

 private:
  void Rounds(int count) {
    auto& [a, b, c, d] = v_;
    for (; count > 0; --count) {
      a += b;
      b = std::rotl(b, 13) ^ a;
      a = std::rotl(a, 32);
      c += d;
      d = std::rotl(d, 16) ^ c;
      a += d;
      d = std::rotl(d, 21) ^ a;
      c += b;
      b = std::rotl(b, 17) ^ c;
      c = std::rotl(c, 32);
    }
  }

  std::array<uint64_t, 4> v_;
};

inline Hash128 SipHash128(const SipKey& key, std::string_view text) {
  SipState state(key);
  const uint64_t length = text.size();
  uint64_t word = 0;
  while (text.size() >= sizeof(word)) {
    std::memcpy(&word, text.data(), sizeof(word));
    state.Add(word);
    text.remove_prefix(sizeof(word));
  }
  word = length << 56;
  for (size_t n = 0; n < text.size(); ++n) {
    word |= uint64_t{static_cast<uint8_t>(text[n])} << (8 * n);
  }
  state.Add(word);
  Hash128 hash{};
  state.Mark(2, 0xee);
  hash[0] = state.Fold();
  state.Mark(1, 0xdd);
  hash[1] = state.Fold();
  return hash;
}

}  // namespace openmessaging::reference
#endif  // OPENMESSAGING_REFERENCE_SIP_HASH_H_
