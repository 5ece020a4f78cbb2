// SPDX-License-Identifier: Apache-2.0
//
// The pattern of a LIKE, compiled.

#ifndef OPENMESSAGING_KIT_LIKE_PATTERN_H_
#define OPENMESSAGING_KIT_LIKE_PATTERN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace openmessaging::inline v0::kit {

// Matches whole texts: `%` is any characters or none, `_` is one, everything
// else is itself. A character is a code point; a byte that is not UTF-8 counts
// as one.
//
// The time is linear in the text. What stands between two `%` is looked for
// from the left, and never looked for again once found: an earlier place leaves
// more to the rest. A piece without `_` is found in linear time; one with `_`
// is compared at each place, and may therefore be kMaxSearched characters long.
//
// Threads: constant.
class LikePattern {
 public:
  // What is wrong with a pattern, and at which of its bytes.
  struct Flaw {
    size_t offset = 0;
    const char* what = nullptr;
    const char* expected = nullptr;
  };

  static constexpr size_t kMaxSearched = 64;

  // Compiles `pattern`, well-formed UTF-8; `escape` is one character or empty,
  // and takes the meaning from what follows it. Returns: what is wrong, or
  // nothing.
  std::optional<Flaw> Compile(std::string_view pattern,
                              std::string_view escape);

  bool Matches(std::string_view text) const;

 private:
  // A run of characters between two `%`: literal parts with `_` between them.
  struct Piece {
    // How many `_` come before each part; the last part may be empty.
    struct Part {
      size_t skip = 0;
      std::string literal{};
    };
    std::vector<Part> parts{};
    size_t characters = 0;
    bool has_skip = false;
  };

  static std::optional<size_t> MatchFront(const Piece& piece,
                                          std::string_view text);
  static std::optional<size_t> MatchBack(const Piece& piece,
                                         std::string_view text);
  static std::optional<size_t> Search(const Piece& piece,
                                      std::string_view text);

  // n pieces for n - 1 `%`.
  std::vector<Piece> pieces_;
};

}  // namespace openmessaging::inline v0::kit
#endif  // OPENMESSAGING_KIT_LIKE_PATTERN_H_
